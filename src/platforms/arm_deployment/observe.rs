//! Which deployment runs, since when, what came before, and what is under way.
//!
//! **Token.** `deployment|NAME|CORRELATION ID` of the newest record of the lineage that took effect. Whoever deploys the same
//! content, or under the same name, again gets another correlation id.
//! **A deployment that failed** is no release that can be told apart, but it may have changed a part of the resources. So unless
//! its operations show that it changed nothing, it is what runs, without a fingerprint; nothing is acted upon by itself then.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    content,
    lineage::{Line, is_own},
    wire::{API_VERSION, Operation, RECORDS_MAX, RESTORES_TAG, Record, State, operations_path, parse, record_path, records_path},
};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager},
    domain::{
        observation::{Observation, Obstacle, RunningVersion, WayBack},
        rule::RuleId,
        target::{ArmDeploymentTarget, Lineage, VersionToken},
    },
    ports::{PortError, PortErrorKind},
};

/// How many earlier contents are offered; further back a rollback would skip more than it should (S3).
const WAYS_MAX: usize = 3;

/// Of how many failed deployments in a row the operations are read.
const BROKEN_MAX: usize = 5;

/// All answers of one observation, also those which failed.
#[derive(Debug)]
pub struct Readings {
    pub records: Vec<Record>,
    /// By name of the record.
    pub templates: BTreeMap<String, Result<Value, PortError>>,
    /// By name of a failed record that is newer than everything that succeeded: what it did.
    pub operations: BTreeMap<String, Result<Vec<Operation>, PortError>>,
}

/// Reads the list of records, and then side by side what the few records that matter hold: two trips deep.
pub async fn read(arm: &ResourceManager, target: &ArmDeploymentTarget) -> Result<Readings, PortError> {
    const LIST: &str = "list the deployments";
    let records = arm.read_all(LIST, &format!("{}?{API_VERSION}", records_path(target))).await?;
    let records: Vec<Record> = parse(LIST, Value::Array(records))?;
    let line = Line::of(target, &records);
    let templates = join_all(that_matter(&line).into_iter().map(|record| async {
        let template = export(arm, target, &record.name).await;
        (record.name.clone(), template)
    }));
    let operations = join_all(broken(&line).into_iter().take(BROKEN_MAX).map(|record| async {
        const OPERATIONS: &str = "read the operations of a failed deployment";
        let path = format!("{}?{API_VERSION}", operations_path(target, &record.name));
        let all = arm.read_all(OPERATIONS, &path).await.and_then(|all| parse(OPERATIONS, Value::Array(all)));
        (record.name.clone(), all)
    }));
    let (templates, operations) = tokio::join!(Box::pin(templates), Box::pin(operations));
    let (templates, operations) = (templates.into_iter().collect(), operations.into_iter().collect());
    Ok(Readings { records, templates, operations })
}

/// The template of a record, as the platform stored it.
pub async fn export(arm: &ResourceManager, target: &ArmDeploymentTarget, name: &str) -> Result<Value, PortError> {
    const EXPORT: &str = "export the deployment's template";
    let path = format!("{}/exportTemplate?{API_VERSION}", record_path(target, name));
    let mut answer = arm.read_by_post(EXPORT, &path, None).await?;
    match answer.get_mut("template").map(Value::take) {
        Some(template) if template.is_object() => Ok(template),
        _ => Err(PortError::new(EXPORT, PortErrorKind::Invalid, "the answer holds no `template`")),
    }
}

/// Failed records that are newer than everything that succeeded.
fn broken<'a>(line: &Line<'a>) -> Vec<&'a Record> {
    line.ended.iter().copied().take_while(|record| record.state() == State::Broken).collect()
}

/// The newest record that succeeded, and the newest different ones before it that are not ours.
fn that_matter<'a>(line: &Line<'a>) -> Vec<&'a Record> {
    let mut succeeded = line.ended.iter().copied().filter(|record| record.state() == State::Succeeded);
    let Some(newest) = succeeded.next() else { return Vec::new() };
    // The newest may prove to be a way back itself, when a failed deployment came after it; if it is ours, what it restored may.
    let mut seen: BTreeSet<String> = (!is_own(newest)).then(|| rough(newest)).into_iter().collect();
    let mut all = vec![newest];
    all.extend(succeeded.filter(|record| !is_own(record)).filter(|record| seen.insert(rough(record))).take(WAYS_MAX));
    all
}

/// Spares reading equal contents twice. Two records with unequal ones here may still prove equal, which costs nothing but a read.
fn rough(record: &Record) -> String {
    let properties = &record.properties;
    match &properties.template_hash {
        Some(hash) => format!("{hash} {}", json!(properties.parameters)),
        None => record.name.clone(),
    }
}

/// What the answers mean. Pure.
pub fn interpret(target: &ArmDeploymentTarget, readings: &Readings, observed_at: Timestamp) -> Result<Observation, PortError> {
    let line = Line::of(target, &readings.records);
    if let Some(record) = line.undated.first() {
        let says = format!("deployment `{}` tells no time, so which one is the newest is not known", clean(&record.name));
        return Err(PortError::new("list the deployments", PortErrorKind::Invalid, says));
    }
    let half_done = broken(&line).into_iter().enumerate().find(|(index, record)| {
        let changed_nothing = readings
            .operations
            .get(&record.name)
            .filter(|_| *index < BROKEN_MAX)
            .is_some_and(|read| read.as_ref().is_ok_and(|all| !all.iter().any(Operation::may_have_changed)));
        !changed_nothing
    });
    let succeeded = line.ended.iter().copied().find(|record| record.state() == State::Succeeded);
    let Some(runs) = half_done.map(|(_, record)| record).or(succeeded) else {
        return Err(PortError::new(
            "list the deployments",
            PortErrorKind::NotFound,
            format!("`{}` holds no deployment {} that took effect", target.scope, in_words(&target.lineage)),
        ));
    };
    let running = running(readings, runs)?;
    let mut ways_back: Vec<WayBack> = Vec::new();
    for record in that_matter(&line).into_iter().filter(|record| !is_own(record)) {
        if record.correlation_id() == runs.correlation_id() || record.ended_at() >= runs.ended_at() {
            continue;
        }
        let way = way_back(target, readings, record, runs)?;
        let known = |fingerprint: &Option<_>| fingerprint.is_some() && *fingerprint == way.fingerprint;
        if !known(&running.fingerprint) && !ways_back.iter().any(|earlier| known(&earlier.fingerprint)) {
            ways_back.push(way);
        }
    }
    let mut obstacles = Vec::new();
    if readings.records.len() >= RECORDS_MAX {
        obstacles.push(Obstacle::page(
            RuleId::S9,
            format!("`{}` holds {RECORDS_MAX} deployment records, so no further one is taken; delete old ones", target.scope),
        ));
    }
    Ok(Observation {
        observed_at,
        running,
        under_way: line.under_way.first().map(|record| {
            let since = record.began_at().map(|at| format!(" (last change at {})", moment(at))).unwrap_or_default();
            format!("deployment `{}`{since}", clean(&record.name))
        }),
        ways_back,
        obstacles,
    })
}

fn running(readings: &Readings, record: &Record) -> Result<RunningVersion, PortError> {
    let name = clean(&record.name);
    let at = record.ended_at().map(moment).unwrap_or_default();
    let (fingerprint, label) = match (record.state(), readings.templates.get(&record.name)) {
        (State::Succeeded, Some(Ok(template))) => {
            let label = match record.tag(RESTORES_TAG).filter(|_| is_own(record)) {
                Some(restored) => format!("{} again (deployed as {name} at {at})", clean(restored)),
                None => format!("{name} (deployed at {at})"),
            };
            (Some(content::fingerprint(record, template)), label)
        }
        (State::Succeeded, Some(Err(error))) if may_pass(error) => return Err(error.clone()),
        (State::Succeeded, Some(Err(error))) => (None, format!("{name} (deployed at {at}; its content is not known: {error})")),
        (State::Succeeded | State::GoesOn, _) => (None, format!("{name} (deployed at {at}; its content is not known)")),
        (State::Broken, _) => (None, format!("{name}, which ended half way at {at} and may have changed a part")),
    };
    Ok(RunningVersion { token: token(record), fingerprint, serving_since: record.began_at(), label })
}

/// Names of deployments compare without case.
fn token(record: &Record) -> VersionToken {
    VersionToken(format!("deployment|{}|{}", record.name.to_lowercase(), record.correlation_id().to_ascii_lowercase()))
}

fn way_back(target: &ArmDeploymentTarget, readings: &Readings, record: &Record, runs: &Record) -> Result<WayBack, PortError> {
    let mut obstacles = Vec::new();
    let missing = content::missing_secrets(target, record);
    if !missing.is_empty() {
        obstacles.push(Obstacle::page(RuleId::S5, content::lacks_secrets(&clean(&record.name), &missing)));
    }
    if target.scope.resource_group().is_none() && record.location.is_none() {
        obstacles.push(Obstacle::page(
            RuleId::S5,
            format!("deployment `{}` names no location to deploy it in again", clean(&record.name)),
        ));
    }
    let fingerprint = match readings.templates.get(&record.name) {
        Some(Ok(template)) => {
            if content::has_links(record, template) {
                let says = format!(
                    "the template of `{}` takes in others by link, and what they hold may have changed since",
                    clean(&record.name)
                );
                obstacles.push(Obstacle::propose(RuleId::S5, says));
            }
            Some(content::fingerprint(record, template))
        }
        Some(Err(error)) if may_pass(error) => return Err(error.clone()),
        Some(Err(error)) => {
            obstacles.push(Obstacle::page(
                RuleId::S5,
                format!("the template of `{}` could not be read ({error})", clean(&record.name)),
            ));
            None
        }
        None => None,
    };
    let at = record.ended_at().map(moment).unwrap_or_default();
    Ok(WayBack {
        name: format!("deployment {}", record.name),
        label: format!("{} (deployed at {at})", clean(&record.name)),
        detail: json!({
            "good": { "name": record.name, "correlationId": record.correlation_id(), "fingerprint": fingerprint },
            "accused": { "name": runs.name, "correlationId": runs.correlation_id() },
        }),
        fingerprint,
        obstacles,
    })
}

/// Such a read is better done again than taken for an answer.
fn may_pass(error: &PortError) -> bool {
    match error.kind {
        PortErrorKind::Transient | PortErrorKind::Throttled => true,
        PortErrorKind::NotFound | PortErrorKind::Denied | PortErrorKind::Invalid => false,
    }
}

fn in_words(lineage: &Lineage) -> String {
    match lineage {
        Lineage::Name(pattern) => format!("named `{pattern}`"),
        Lineage::Tag { name, value } => format!("with the tag `{name}: {value}`"),
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%F %H:%M:%SZ").to_string()
}
