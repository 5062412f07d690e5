//! Pipelines that deploy workloads: Azure DevOps and GitHub, each on a port of its own.
//!
//! A run takes time by the simulation's clock, may wait for a person, and may fail; when it succeeds, its workload serves the
//! version that it was asked for, else the commit that it is of. Shapes follow published clients and documentation; message texts are
//! composed. A run is never started again, and no run waits for another one.

mod azure_dev_ops;
mod github;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{
    AzureSimulation,
    call::{Call, Reply, Role},
    faults::FaultEffect,
    world::World,
};

/// A pipeline to put into the world. Its first run ended long ago and deployed `version`.
#[derive(Debug, Clone)]
pub struct SimulatedPipeline {
    pub place: PipelinePlace,
    /// What its runs deploy; must be there.
    pub workload: String,
    pub version: String,
    pub served_for: SignedDuration,
    /// How long a run takes once it may go on.
    pub run_takes: Duration,
    /// Names of the inputs that it declares: the version's first, then the decision's.
    pub inputs: [String; 2],
}

/// Where the pipeline is. All of it compares without case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelinePlace {
    AzureDevOps { organization: String, project: String, pipeline: u32 },
    GitHub { repository: String, workflow: String },
}

impl SimulatedPipeline {
    pub fn new(place: PipelinePlace, workload: &str, version: &str) -> Self {
        Self {
            place,
            workload: workload.to_owned(),
            version: version.to_owned(),
            served_for: SignedDuration::from_hours(30 * 24),
            run_takes: Duration::from_mins(4),
            inputs: ["version".to_owned(), "decisionId".to_owned()],
        }
    }

    pub fn with_runs_taking(mut self, duration: Duration) -> Self {
        self.run_takes = duration;
        self
    }
}

/// The branch on which every pipeline here lives.
pub const BRANCH: &str = "main";

/// What GitHub's API takes as a token.
pub const GITHUB_TOKEN: &str = "ghs_simulated0123456789";

#[derive(Debug, Default)]
pub(super) struct State {
    pipelines: Vec<Pipeline>,
    last_run: u64,
}

#[derive(Debug)]
struct Pipeline {
    set_up: SimulatedPipeline,
    enabled: bool,
    /// Whoever may see it may not queue it.
    queueing_denied: bool,
    /// GitHub: it has a `workflow_dispatch` trigger.
    dispatchable: bool,
    needs_approval: bool,
    /// Every run that begins ends with this.
    runs_fail: bool,
    /// Runs that were asked for over HTTP.
    asked_for: u32,
    /// The oldest first.
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    id: u64,
    /// Counts the runs of its pipeline.
    number: usize,
    /// The inputs that it was asked with; none for a push.
    inputs: Option<[Option<String>; 2]>,
    commit: String,
    branch: String,
    queued_at: Timestamp,
    progress: Progress,
    fails: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    WaitsForApproval,
    Ends(Timestamp),
    Succeeded(Timestamp),
    Failed(Timestamp),
}

impl Run {
    fn version(&self) -> &str {
        self.inputs.as_ref().and_then(|inputs| inputs[0].as_deref()).unwrap_or(&self.commit)
    }

    fn ended_at(&self) -> Option<Timestamp> {
        match self.progress {
            Progress::WaitsForApproval | Progress::Ends(_) => None,
            Progress::Succeeded(at) | Progress::Failed(at) => Some(at),
        }
    }
}

impl State {
    fn find(&self, place: &PipelinePlace) -> Option<usize> {
        self.pipelines.iter().position(|pipeline| pipeline.set_up.place.is(place))
    }

    /// The pipeline, for set-up code.
    ///
    /// # Panics
    /// When there is none: a mistake in the scenario.
    fn known(&mut self, place: &PipelinePlace) -> &mut Pipeline {
        let at = self.find(place).unwrap_or_else(|| panic!("the simulation has no {place:?}; add it with `add_pipeline` first"));
        &mut self.pipelines[at]
    }

    /// Queues a run of the pipeline at index `at`; its id.
    fn queue(&mut self, at: usize, asked: Asked, now: Timestamp) -> u64 {
        self.last_run += 1;
        let pipeline = &mut self.pipelines[at];
        let takes =
            asked.taking.unwrap_or_else(|| SignedDuration::try_from(pipeline.set_up.run_takes).unwrap_or(SignedDuration::MAX));
        let waits = pipeline.needs_approval && asked.taking.is_none();
        pipeline.runs.push(Run {
            id: self.last_run,
            number: pipeline.runs.len() + 1,
            inputs: asked.inputs,
            commit: asked.commit,
            branch: asked.branch,
            queued_at: now,
            progress: if waits {
                Progress::WaitsForApproval
            } else {
                Progress::Ends(now.checked_add(takes).unwrap_or(Timestamp::MAX))
            },
            fails: asked.fails || (pipeline.runs_fail && asked.taking.is_none()),
        });
        self.last_run
    }
}

/// A run that is to begin.
struct Asked {
    inputs: Option<[Option<String>; 2]>,
    commit: String,
    branch: String,
    /// `None`: as long as the pipeline's runs take, and as they end.
    taking: Option<SignedDuration>,
    fails: bool,
}

impl PipelinePlace {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::AzureDevOps { organization, project, pipeline },
                Self::AzureDevOps { organization: other_organization, project: other_project, pipeline: other_pipeline },
            ) => {
                organization.eq_ignore_ascii_case(other_organization)
                    && project.eq_ignore_ascii_case(other_project)
                    && pipeline == other_pipeline
            }
            (Self::GitHub { repository, workflow }, Self::GitHub { repository: other_repository, workflow: other_workflow }) => {
                repository.eq_ignore_ascii_case(other_repository) && workflow.eq_ignore_ascii_case(other_workflow)
            }
            (Self::AzureDevOps { .. }, Self::GitHub { .. }) | (Self::GitHub { .. }, Self::AzureDevOps { .. }) => false,
        }
    }
}

/// Lets what has ended by the clock take effect, in the order of the ends.
pub(super) fn settle(world: &mut World, now: Timestamp) {
    let mut served: Vec<(Timestamp, String, String)> = Vec::new();
    for pipeline in &mut world.pipelines.pipelines {
        for run in &mut pipeline.runs {
            let Progress::Ends(at) = run.progress else { continue };
            if at > now {
                continue;
            }
            if run.fails {
                run.progress = Progress::Failed(at);
            } else {
                run.progress = Progress::Succeeded(at);
                served.push((at, pipeline.set_up.workload.clone(), run.version().to_owned()));
            }
        }
    }
    served.sort();
    for (at, workload, version) in served {
        world.serve(&workload, &version, at);
    }
}

pub(super) fn answer(world: &mut World, call: &Call, now: Timestamp, here: &Url, twist: Option<&FaultEffect>) -> Reply {
    let fails = matches!(twist, Some(FaultEffect::OperationFails { .. }));
    let answered = match call.role {
        Role::AzureDevOps => azure_dev_ops::answer(world, call, now, here, fails),
        _ => github::answer(&mut world.pipelines, call, now, here, fails),
    };
    answered.unwrap_or_else(|refusal| refusal)
}

/// Pipelines. Each panics when the scenario names one which is not there.
impl AzureSimulation {
    /// For `server` of an Azure DevOps pipeline.
    pub fn azure_dev_ops_url(&self) -> Url {
        self.shared().url(Role::AzureDevOps).clone()
    }

    /// For `api` of a GitHub workflow.
    pub fn github_url(&self) -> Url {
        self.shared().url(Role::GitHub).clone()
    }

    /// The workload must be there.
    pub fn add_pipeline(&self, pipeline: SimulatedPipeline) {
        let now = self.now();
        let mut world = self.shared().settled_world();
        world.known_workload(&pipeline.workload);
        let began = now.checked_sub(pipeline.served_for).unwrap_or(now);
        let inputs = Some([Some(pipeline.version.clone()), None]);
        world.pipelines.pipelines.push(Pipeline {
            set_up: pipeline,
            enabled: true,
            queueing_denied: false,
            dispatchable: true,
            needs_approval: false,
            runs_fail: false,
            asked_for: 0,
            runs: Vec::new(),
        });
        let at = world.pipelines.pipelines.len() - 1;
        world.pipelines.queue(at, ended(inputs, FIRST_COMMIT), began);
        if let Some(run) = world.pipelines.pipelines[at].runs.last_mut() {
            // The workload says itself what served before now.
            run.progress = Progress::Succeeded(began);
        }
    }

    /// Somebody runs the pipeline for `version`; it is over at once.
    pub fn run_pipeline(&self, place: &PipelinePlace, version: &str) {
        self.begin_run(place, version, SignedDuration::ZERO);
    }

    /// Somebody runs the pipeline for `version`, which ends after `taking`.
    pub fn begin_run(&self, place: &PipelinePlace, version: &str, taking: SignedDuration) {
        let asked = Asked { taking: Some(taking), ..ended(Some([Some(version.to_owned()), None]), FIRST_COMMIT) };
        self.queue_run(place, asked);
    }

    /// A run of a push, which deploys `commit`; it is over at once.
    pub fn push_through(&self, place: &PipelinePlace, branch: &str, commit: &str) {
        self.queue_run(place, Asked { branch: branch.to_owned(), ..ended(None, commit) });
    }

    /// A run for `version` that has failed.
    pub fn fail_a_run(&self, place: &PipelinePlace, version: &str) {
        self.queue_run(place, Asked { fails: true, ..ended(Some([Some(version.to_owned()), None]), FIRST_COMMIT) });
    }

    fn queue_run(&self, place: &PipelinePlace, asked: Asked) {
        let now = self.now();
        let mut world = self.shared().settled_world();
        world.pipelines.known(place);
        if let Some(at) = world.pipelines.find(place) {
            world.pipelines.queue(at, asked, now);
        }
        world.settle(now);
    }

    /// Runs that were asked for over HTTP and queued.
    pub fn runs_asked_for(&self, place: &PipelinePlace) -> u32 {
        self.shared().settled_world().pipelines.known(place).asked_for
    }

    /// True while a run has not ended.
    pub fn is_pipeline_busy(&self, place: &PipelinePlace) -> bool {
        self.shared().settled_world().pipelines.known(place).runs.iter().any(|run| run.ended_at().is_none())
    }

    /// Runs that begin from now on over HTTP wait for a person first.
    pub fn set_approval_needed(&self, place: &PipelinePlace, needed: bool) {
        self.shared().settled_world().pipelines.known(place).needs_approval = needed;
    }

    /// A person approves all that waits.
    pub fn approve_runs(&self, place: &PipelinePlace) {
        let now = self.now();
        let mut world = self.shared().settled_world();
        let pipeline = world.pipelines.known(place);
        let takes = SignedDuration::try_from(pipeline.set_up.run_takes).unwrap_or(SignedDuration::MAX);
        for run in pipeline.runs.iter_mut().filter(|run| run.progress == Progress::WaitsForApproval) {
            run.progress = Progress::Ends(now.checked_add(takes).unwrap_or(Timestamp::MAX));
        }
    }

    /// Runs that begin from now on over HTTP fail at their end.
    pub fn set_runs_fail(&self, place: &PipelinePlace, fail: bool) {
        self.shared().settled_world().pipelines.known(place).runs_fail = fail;
    }

    pub fn set_pipeline_enabled(&self, place: &PipelinePlace, enabled: bool) {
        self.shared().settled_world().pipelines.known(place).enabled = enabled;
    }

    /// Queueing answers 403 to everybody.
    pub fn deny_queueing(&self, place: &PipelinePlace, denied: bool) {
        self.shared().settled_world().pipelines.known(place).queueing_denied = denied;
    }

    /// Whether the workflow has a `workflow_dispatch` trigger.
    pub fn set_dispatchable(&self, place: &PipelinePlace, dispatchable: bool) {
        self.shared().settled_world().pipelines.known(place).dispatchable = dispatchable;
    }

    /// Somebody deletes the pipeline with its history.
    pub fn remove_pipeline(&self, place: &PipelinePlace) {
        let mut world = self.shared().settled_world();
        world.pipelines.known(place);
        world.pipelines.pipelines.retain(|pipeline| !pipeline.set_up.place.is(place));
    }
}

const FIRST_COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A run of the branch that is over at once and succeeds.
fn ended(inputs: Option<[Option<String>; 2]>, commit: &str) -> Asked {
    Asked { inputs, commit: commit.to_owned(), branch: BRANCH.to_owned(), taking: Some(SignedDuration::ZERO), fails: false }
}
