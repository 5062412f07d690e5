//! What runs, since when, and which earlier versions could run again.
//!
//! **Token.** `properties.version`, which every save makes anew. **Content.** Definition and parameters: a save that changes
//! neither (tags, enabling) makes a version of equal content, so a content serves since the oldest of its adjoining versions.
//! **Runs.** They name their version, and no filter does; when the accused one was saved, the reading of versions tells, which is
//! under way at the same time. So beside the newest runs those are read that began some time ago: a busy workflow has hundreds
//! of runs of the accused version by the time that an alert fires.

use std::{cmp::Reverse, collections::BTreeMap};

use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    promote::{INSTEAD_OF, VERSION},
    wire::{API_VERSION, Run, RunPage, Trigger, VersionPage, Workflow, is},
};
use crate::{
    azure::{
        answer::clean,
        resource_manager::ResourceManager,
        resource_path::{encoded, resource_path},
    },
    domain::{
        observation::{Observation, Obstacle, RunningVersion, WayBack},
        rule::RuleId,
        target::{Fingerprint, LogicAppTarget, VersionToken},
    },
    platforms::answer::parse,
    ports::{PortError, PortErrorKind},
};

/// Which runs are read: the newest ones that began before this long ago.
const RUNS_BEFORE: [SignedDuration; 4] =
    [SignedDuration::ZERO, SignedDuration::from_mins(10), SignedDuration::from_hours(1), SignedDuration::from_hours(24)];

/// A version comes with its definition, which may be long: so many of 800 KiB are what is read of an answer at most.
const VERSIONS_READ_MAX: usize = 20;
const RUNS_READ_MAX: usize = 250;
/// Earlier contents that are offered, the newest ones.
const WAYS_BACK_MAX: usize = 5;
/// Runs are few and whole: so many must have succeeded before a version counts as proven ...
const SUCCEEDED_RUNS_MIN: usize = 5;
/// ... and at most one in so many may have failed.
const RUNS_PER_FAILED_RUN_MIN: usize = 10;

/// All answers of one observation, also those which failed.
pub struct Readings {
    pub workflow: Result<Workflow, PortError>,
    pub versions: Result<VersionPage, PortError>,
    /// One list for each of [`RUNS_BEFORE`], each the newest first; they may overlap.
    pub runs: Result<Vec<Vec<Run>>, PortError>,
}

/// Workflow, versions and runs side by side: one trip deep.
pub async fn read(arm: &ResourceManager, target: &LogicAppTarget, now: Timestamp) -> Readings {
    let runs = try_join_all(RUNS_BEFORE.map(|ago| read_runs(arm, target, ago, now)));
    let (workflow, versions, runs) = tokio::join!(read_workflow(arm, target), read_versions(arm, target), Box::pin(runs));
    Readings { workflow, versions, runs }
}

pub async fn read_workflow(arm: &ResourceManager, target: &LogicAppTarget) -> Result<Workflow, PortError> {
    const OPERATION: &str = "read the workflow";
    let answer = arm.read(OPERATION, &format!("{}?{API_VERSION}", resource_path(&target.workflow))).await?;
    parse(OPERATION, answer)
}

pub async fn read_versions(arm: &ResourceManager, target: &LogicAppTarget) -> Result<VersionPage, PortError> {
    const OPERATION: &str = "list the versions";
    let path = format!("{}/versions?{API_VERSION}&$top={VERSIONS_READ_MAX}", resource_path(&target.workflow));
    parse(OPERATION, arm.read(OPERATION, &path).await?)
}

async fn read_runs(
    arm: &ResourceManager,
    target: &LogicAppTarget,
    ago: SignedDuration,
    now: Timestamp,
) -> Result<Vec<Run>, PortError> {
    const OPERATION: &str = "list the runs";
    let filter =
        if ago.is_zero() { String::new() } else { format!("&$filter={}", encoded(&format!("startTime lt {:.0}", now - ago))) };
    let path = format!("{}/runs?{API_VERSION}&$top={RUNS_READ_MAX}{filter}", resource_path(&target.workflow));
    parse::<RunPage>(OPERATION, arm.read(OPERATION, &path).await?).map(|page| page.value)
}

/// A trigger which is not ready yet, in words; reading them is part of verifying only.
pub async fn unready_trigger(arm: &ResourceManager, target: &LogicAppTarget) -> Result<Option<String>, PortError> {
    const OPERATION: &str = "list the triggers";
    let all = arm.read_all(OPERATION, &format!("{}/triggers?{API_VERSION}", resource_path(&target.workflow))).await?;
    let triggers: Vec<Trigger> = parse(OPERATION, Value::Array(all))?;
    let ready = |trigger: &&Trigger| {
        is(trigger.properties.provisioning_state.as_ref(), "Succeeded") && is(trigger.properties.state.as_ref(), "Enabled")
    };
    Ok(triggers.iter().find(|trigger| !ready(trigger)).map(|trigger| {
        let word = |text: &Option<String>| clean(text.as_deref().unwrap_or("unknown"));
        let properties = &trigger.properties;
        format!("trigger `{}` is {} and {}", word(&trigger.name), word(&properties.provisioning_state), word(&properties.state))
    }))
}

/// What the answers mean. Pure.
pub fn interpret(readings: &Readings, observed_at: Timestamp) -> Result<Observation, PortError> {
    let running = readings.workflow.as_ref().map_err(Clone::clone)?;
    let Some(token) = running.version() else {
        return Err(PortError::new(
            "read the workflow",
            PortErrorKind::Invalid,
            "`properties.version` is missing, so the running version cannot be named",
        ));
    };
    let history = History::of(running, readings.versions.as_ref().ok());
    let ways_back = history.earlier.iter().map(|version| way_back(running, token, version, &history, readings));
    let mut ways_back: Vec<(usize, WayBack)> = ways_back.enumerate().collect();
    // The newest one against which nothing stands comes first.
    ways_back.sort_by_key(|(_, way)| !way.obstacles.is_empty());
    let ways_back = ways_back.into_iter().map(|(between, way)| across(between, way)).collect();
    Ok(Observation {
        observed_at,
        running: RunningVersion {
            token: VersionToken(token.to_owned()),
            fingerprint: history.running.clone(),
            serving_since: history.since,
            label: label(running),
        },
        under_way: under_way(running),
        ways_back,
        obstacles: against_any_rollback(running, &history, readings),
    })
}

/// Versions in between may have been too short-lived to be seen serving; that they exist is enough for a person to decide.
fn across(between: usize, mut way: WayBack) -> WayBack {
    if between > 0 {
        let says = format!("{between} other contents were saved between {} and the one that runs", way.name);
        way.obstacles.push(Obstacle::propose(RuleId::S3, says));
    }
    way
}

/// The versions before the running one, each with its content.
pub struct History<'a> {
    running: Option<Fingerprint>,
    /// When its content began to serve; `None` if that lies beyond the list.
    since: Option<Timestamp>,
    /// The newest first.
    older: Vec<Version<'a>>,
    /// Of these, the newest of each other content.
    pub earlier: Vec<Version<'a>>,
    /// Whether the list holds the running version.
    is_complete: bool,
}

pub type Version<'a> = (&'a Workflow, Option<Fingerprint>);

impl<'a> History<'a> {
    pub fn of(workflow: &Workflow, page: Option<&'a VersionPage>) -> Self {
        let running = workflow.fingerprint();
        let Some(page) = page else {
            let since = workflow.saved_at();
            return Self { running, since, older: Vec::new(), earlier: Vec::new(), is_complete: true };
        };
        // Ids count down, so of two versions of one moment the smaller id is the newer.
        let age = |version: &Workflow| (Reverse(version.saved_at()), version.version().map(str::to_owned));
        let is_running = |version: &Workflow| version.version() == workflow.version();
        let is_older = |version: &&Workflow| version.version().is_some() && !is_running(version) && age(version) > age(workflow);
        let mut older: Vec<Version<'a>> =
            page.value.iter().filter(is_older).map(|version| (version, version.fingerprint())).collect();
        older.sort_by_key(|(version, _)| age(version));
        let adjoining = older.iter().take_while(|(_, content)| running.is_some() && *content == running).count();
        let begins_in_list = adjoining < older.len() || page.next_link.is_none();
        let oldest = adjoining.checked_sub(1).map_or(workflow, |last| older[last].0);
        let mut earlier: Vec<Version<'a>> = Vec::new();
        for (version, content) in &older[adjoining..] {
            let is_new = *content != running && earlier.iter().all(|(_, known)| known != content);
            if is_new && earlier.len() < WAYS_BACK_MAX {
                earlier.push((version, content.clone()));
            }
        }
        Self {
            since: oldest.saved_at().filter(|_| begins_in_list),
            is_complete: page.value.iter().any(is_running),
            running,
            older,
            earlier,
        }
    }
}

fn way_back(
    running: &Workflow,
    token: &str,
    (version, content): &Version<'_>,
    history: &History<'_>,
    readings: &Readings,
) -> WayBack {
    let id = version.version().unwrap_or_default();
    let mut obstacles = Vec::new();
    for name in version.secure_parameters() {
        obstacles.push(Obstacle::page(
            RuleId::S10,
            format!(
                "parameter `{}` of version {id} is secure, so its value cannot be read and would be lost; deploy that version \
                 from its pipeline",
                clean(name)
            ),
        ));
    }
    let account = |workflow: &Workflow| {
        let reference = workflow.properties.integration_account.as_ref();
        reference.and_then(|reference| reference.id.as_ref()).map(|id| id.to_ascii_lowercase())
    };
    if account(version) != account(running) {
        obstacles.push(Obstacle::propose(
            RuleId::S10,
            format!("version {id} was saved with another integration account; the present one would be kept"),
        ));
    }
    obstacles.extend(against_runs(id, content.as_ref(), history, readings));
    WayBack {
        name: way_name(version),
        fingerprint: content.clone(),
        label: label(version),
        obstacles,
        detail: json!({ VERSION: id, INSTEAD_OF: token }),
    }
}

/// Name of a way back, by which [`super::preflight`] speaks about it too.
pub fn way_name(version: &Workflow) -> String {
    format!("version {}", version.version().unwrap_or_default())
}

/// Whether the runs of this content, whichever of its versions ran, prove it.
fn against_runs(id: &str, content: Option<&Fingerprint>, history: &History<'_>, readings: &Readings) -> Option<Obstacle> {
    let runs = match &readings.runs {
        Ok(runs) => runs,
        Err(error) => {
            return Some(Obstacle::propose(RuleId::S5, format!("the runs of version {id} could not be read ({error})")));
        }
    };
    let is_same =
        |(version, other): &&Version<'_>| version.version() == Some(id) || (content.is_some() && other.as_ref() == content);
    let same: Vec<&str> = history.older.iter().filter(is_same).filter_map(|(version, _)| version.version()).collect();
    let of_content = |run: &&Run| run.version().is_some_and(|version| same.contains(&version));
    let all: BTreeMap<&String, &Run> =
        runs.iter().flatten().filter(of_content).filter_map(|run| Some((run.name.as_ref()?, run))).collect();
    let (succeeded, failed) = tally(all.values().copied());
    // A list with enough of them counts by itself, too: old successes must not outweigh failures that came after them.
    let apart = runs.iter().map(|list| tally(list.iter().filter(of_content)));
    let apart = apart.filter(|(succeeded, failed)| succeeded + failed >= RUNS_PER_FAILED_RUN_MIN);
    let too_many = |(succeeded, failed): &(usize, usize)| failed * RUNS_PER_FAILED_RUN_MIN > succeeded + failed;
    if succeeded < SUCCEEDED_RUNS_MIN {
        return Some(Obstacle::propose(
            RuleId::S5,
            format!("only {succeeded} runs of version {id} are known to have succeeded; {SUCCEEDED_RUNS_MIN} would prove it"),
        ));
    }
    let (succeeded, failed) = apart.chain([(succeeded, failed)]).find(too_many)?;
    Some(Obstacle::propose(RuleId::S5, format!("{failed} of {} last runs of version {id} failed", succeeded + failed)))
}

/// How many runs succeeded, and how many failed.
fn tally<'a>(runs: impl Iterator<Item = &'a Run>) -> (usize, usize) {
    runs.fold((0, 0), |(succeeded, failed), run| {
        let ended = |words: &[&str]| words.iter().any(|word| is(run.properties.status.as_ref(), word));
        (
            succeeded + usize::from(ended(&["Succeeded"])),
            failed + usize::from(ended(&["Failed", "TimedOut", "Aborted", "Faulted"])),
        )
    })
}

fn against_any_rollback(running: &Workflow, history: &History<'_>, readings: &Readings) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    if !is(running.properties.state.as_ref(), "Enabled") {
        let state = clean(running.properties.state.as_deref().unwrap_or("unknown"));
        obstacles.push(Obstacle::propose(
            RuleId::S9,
            format!("the workflow is `{state}`, and would be left so; enable it first, or leave it if that was meant"),
        ));
    }
    if let Some(state) =
        running.properties.provisioning_state.as_ref().filter(|state| ENDED_BADLY.iter().any(|word| is(Some(state), word)))
    {
        obstacles.push(Obstacle::propose(
            RuleId::S8,
            format!("the last save of the workflow is `{}`; look at it first", clean(state)),
        ));
    }
    match &readings.versions {
        Err(error) => obstacles.push(Obstacle::propose(RuleId::S5, format!("the versions could not be listed ({error})"))),
        Ok(_) if !history.is_complete => obstacles.push(Obstacle::propose(
            RuleId::S5,
            "the list of versions lacks the running one, so others may be missing too".to_owned(),
        )),
        Ok(_) => {}
    }
    obstacles
}

const ENDED_BADLY: [&str; 2] = ["Failed", "Canceled"];
/// States of a workflow that last. Source: the client's `WorkflowProvisioningState`.
const AT_REST: [&str; 8] =
    ["Succeeded", "Ready", "Created", "Completed", "Registered", "NotSpecified", ENDED_BADLY[0], ENDED_BADLY[1]];

fn under_way(running: &Workflow) -> Option<String> {
    let state = running.properties.provisioning_state.as_ref()?;
    let rests = AT_REST.iter().any(|word| is(Some(state), word));
    (!rests).then(|| format!("the workflow is `{}`", clean(state)))
}

fn label(version: &Workflow) -> String {
    let id = version.version().unwrap_or("without id");
    version.saved_at().map_or_else(|| format!("version {id}"), |at| format!("version {id} of {at:.0}"))
}
