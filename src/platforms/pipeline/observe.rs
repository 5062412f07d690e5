//! What the history of runs says: which version runs, since when, and which versions ran before.
//!
//! **Token.** `run|ID|ATTEMPT` of the newest successful run of the branch that deploys, in the order of their ends. **Fingerprint.** The version which it
//! was asked for, else the commit that it is of: the run of a rollback, asked for a commit, so has the fingerprint of the run
//! that first deployed it. A run that failed after it began is no version, but it may have changed what serves: then a person decides.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    PipelineClients, Who, azure_dev_ops,
    client::Connection,
    github,
    queue::VERSION,
    run::{Run, RunState, SUCCESSES_READ_MAX, shown},
};
use crate::{
    azure::answer::clean,
    domain::{
        observation::{Observation, Obstacle, ObstacleWeight, RunningVersion, WayBack},
        rule::RuleId,
        target::{Fingerprint, PipelinePlace, PipelineTarget, VersionToken},
    },
    ports::{PortError, PortErrorKind},
};

const READ_RUNS: &str = "read the pipeline's runs";
const READ_SUCCESSES: &str = "read the pipeline's successes";

/// More of the past is no place to go back to.
const WAYS_BACK_MAX: usize = 10;

/// The newest runs, and beside them the newest successes of the branch that deploys: a pipeline which also checks proposals has pages of
/// runs that deploy nothing. One trip deep, but for a pipeline of Azure DevOps that never ran. Whether a run waits for a person there is
/// not in these answers; [`look_for_approval`].
pub async fn read(clients: &PipelineClients, target: &PipelineTarget) -> Result<Vec<Run>, PortError> {
    let connection = clients.connection(&target.place)?;
    let token = clients.token(&target.place, Who::Reader).await?;
    match &target.place {
        PipelinePlace::AzureDevOps { organization, project, pipeline, branch, .. } => {
            let place = azure_dev_ops::Place { organization, project, pipeline: *pipeline, branch };
            let (newest, successes) = read_both(&connection, &place.runs(), &place.successes(), &token).await?;
            let successes = azure_dev_ops::runs(target, &place, READ_SUCCESSES, successes)?;
            let runs = joined(target, azure_dev_ops::runs(target, &place, READ_RUNS, newest)?, successes)?;
            if runs.is_empty() {
                // Of a pipeline that is not there the list is empty too.
                connection.read("read the pipeline", &place.definition(), &token).await?;
            }
            Ok(runs)
        }
        PipelinePlace::GitHub { repository, workflow, reference, .. } => {
            let place = github::Place { repository, workflow, reference };
            let (newest, successes) = read_both(&connection, &place.runs(), &place.successes(), &token).await?;
            let successes = github::runs(target, &place, READ_SUCCESSES, successes)?;
            joined(target, github::runs(target, &place, READ_RUNS, newest)?, successes)
        }
    }
}

async fn read_both(
    connection: &Connection,
    newest: &str,
    successes: &str,
    token: &secrecy::SecretString,
) -> Result<(Value, Value), PortError> {
    let (newest, successes) =
        tokio::try_join!(connection.read(READ_RUNS, newest, token), connection.read(READ_SUCCESSES, successes, token))?;
    Ok((newest.0, successes.0))
}

/// Each run once, as the newest list tells it: a run that is started again is a success no more. That nothing was ever deployed is
/// told by a list that ended, and not by a full one.
fn joined(target: &PipelineTarget, mut runs: Vec<Run>, successes: Vec<Run>) -> Result<Vec<Run>, PortError> {
    let is_full = successes.len() >= SUCCESSES_READ_MAX;
    let known: BTreeSet<u64> = runs.iter().map(|run| run.id).collect();
    runs.extend(successes.into_iter().filter(|run| !known.contains(&run.id)));
    if is_full && !runs.iter().any(|run| run.is_deployment() && run.state == RunState::Succeeded) {
        let says = format!(
            "the last {SUCCESSES_READ_MAX} successes of `{}` are of pull requests from branches of that name, so what runs cannot be \
             told; keep a pipeline that deploys apart from one that only builds",
            branch(target)
        );
        return Err(PortError::new(READ_SUCCESSES, PortErrorKind::Invalid, says));
    }
    Ok(runs)
}

/// Whether a run of Azure DevOps waits for a person. What can't be read is left at "under way", which it is.
pub async fn look_for_approval(
    connection: &Connection,
    place: &azure_dev_ops::Place<'_>,
    token: &secrecy::SecretString,
    run: &mut Run,
) {
    if let Ok((timeline, _)) = connection.read("read what the run waits for", &place.timeline(run.id), token).await
        && azure_dev_ops::waits_for_approval(&timeline)
    {
        run.state = RunState::UnderWay { waits_for_approval: true };
    }
}

/// What the runs mean. Pure.
pub fn interpret(target: &PipelineTarget, runs: &[Run], observed_at: Timestamp) -> Result<Observation, PortError> {
    let deploying: Vec<&Run> = runs.iter().filter(|run| run.is_deployment()).collect();
    let mut successes = Vec::new();
    for run in deploying.iter().filter(|run| run.state == RunState::Succeeded) {
        let Some(at) = run.finished_at else {
            let says = format!("{} succeeded and names no time at which it ended, so what runs cannot be told", run.name());
            return Err(PortError::new(READ_RUNS, PortErrorKind::Invalid, says));
        };
        successes.push((at, *run));
    }
    successes.sort_by_key(|(at, run)| std::cmp::Reverse((*at, run.id)));
    let newest = successes.first().copied();
    Ok(Observation {
        observed_at,
        running: running(newest),
        under_way: deploying.iter().find_map(|run| under_way(target, run)),
        ways_back: ways_back(&successes),
        obstacles: doubts(target, runs, newest.map(|(at, _)| at)),
    })
}

fn running(newest: Option<(Timestamp, &Run)>) -> RunningVersion {
    match newest {
        Some((at, run)) => RunningVersion {
            token: VersionToken(format!("run|{}|{}", run.id, run.attempt)),
            fingerprint: run.version.clone().map(Fingerprint),
            serving_since: Some(at),
            label: format!(
                "{} ({}, ended at {}{})",
                run.version.as_deref().map_or("unknown version", shown),
                run.name(),
                at.strftime("%H:%M:%SZ"),
                run.asked_for()
            ),
        },
        None => RunningVersion {
            token: VersionToken("run|none".to_owned()),
            fingerprint: None,
            serving_since: None,
            label: "unknown version (no run has succeeded)".to_owned(),
        },
    }
}

pub fn under_way(target: &PipelineTarget, run: &Run) -> Option<String> {
    let name = format!("{}{}", run.name(), run.asked_for());
    match run.state {
        RunState::UnderWay { waits_for_approval: true } => Some(format!("{name} waits for an approval in {}", server(target))),
        RunState::UnderWay { waits_for_approval: false } => Some(name),
        RunState::Succeeded | RunState::Ended(_) | RunState::NeverRan(_) => None,
    }
}

pub fn server(target: &PipelineTarget) -> &'static str {
    match target.place {
        PipelinePlace::AzureDevOps { .. } => "Azure DevOps",
        PipelinePlace::GitHub { .. } => "GitHub",
    }
}

/// Earlier versions, each once, the last that served first.
fn ways_back(successes: &[(Timestamp, &Run)]) -> Vec<WayBack> {
    let current = successes.first().and_then(|(_, run)| run.version.as_deref());
    let mut seen: BTreeSet<&str> = current.into_iter().collect();
    let mut ways = Vec::new();
    for (_, run) in successes.iter().skip(1) {
        let Some(version) = run.version.as_deref().filter(|version| seen.insert(version)) else { continue };
        ways.push(WayBack {
            name: format!("version {version}"),
            fingerprint: Some(Fingerprint(version.to_owned())),
            label: format!("{} ({})", shown(version), run.name()),
            obstacles: Vec::new(),
            detail: json!({ VERSION: version }),
        });
        if ways.len() == WAYS_BACK_MAX {
            break;
        }
    }
    ways
}

/// Runs that may have changed what serves without being a version.
fn doubts(target: &PipelineTarget, runs: &[Run], since: Option<Timestamp>) -> Vec<Obstacle> {
    let mut doubts = Vec::new();
    let later = |run: &Run| run.finished_at.is_none_or(|at| since.is_none_or(|since| at > since));
    let propose = |says: String| Obstacle { rule: RuleId::S8, weight: ObstacleWeight::Propose, says };
    let after: Vec<&Run> = runs.iter().filter(|run| !run.of_pull_request && later(run)).collect();
    if let Some((run, word)) = after.iter().find_map(|run| match &run.state {
        RunState::Ended(word) if run.deploys => Some((run, word)),
        RunState::Ended(_) | RunState::NeverRan(_) | RunState::Succeeded | RunState::UnderWay { .. } => None,
    }) {
        doubts.push(propose(format!(
            "{}{} ended as `{}` after the last success, and may have changed what serves before it did; look what runs",
            run.name(),
            run.asked_for(),
            clean(word)
        )));
    }
    let elsewhere = after.iter().find(|run| match &run.state {
        RunState::Ended(_) | RunState::Succeeded | RunState::UnderWay { .. } => !run.deploys,
        RunState::NeverRan(_) => false,
    });
    if let Some(run) = elsewhere {
        doubts.push(propose(format!(
            "{} is of `{}` and came after the last success of `{}`; if it deploys, what runs is not what it seems: keep a pipeline that \
             deploys apart from one that only builds",
            run.name(),
            clean(&run.branch),
            branch(target)
        )));
    }
    doubts
}

fn branch(target: &PipelineTarget) -> &str {
    match &target.place {
        PipelinePlace::AzureDevOps { branch, .. } => branch,
        PipelinePlace::GitHub { reference, .. } => reference,
    }
}
