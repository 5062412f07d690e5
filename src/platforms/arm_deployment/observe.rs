//! Which deployment runs, since when, what came before, and what is under way.
//!
//! **Token.** `deployment|NAME|CORRELATION ID` of the newest record of the lineage. Whoever deploys the same content, or under the
//! same name, again gets another correlation id.
//! **Content.** The record itself tells it: the platform's hash of the template, and the parameters. So the list of records is all
//! that is read.
//! **A deployment that failed** is no release that can be told apart, but it may have changed a part of the resources. So it is
//! what runs, without a fingerprint; nothing is acted upon by itself then. What it changed, [`super::preflight`] tells.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    content,
    lineage::{Line, is_own},
    wire::{API_VERSION, RECORDS_MAX, RESTORES_TAG, Record, State, records_path},
};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager},
    domain::{
        observation::{Observation, Obstacle, RunningVersion, WayBack},
        rule::RuleId,
        target::{ArmDeploymentTarget, Fingerprint, Lineage, VersionToken},
    },
    platforms::answer::parse,
    ports::{PortError, PortErrorKind},
};

/// How many earlier contents are offered; further back a rollback would skip more than it should (S3).
const WAYS_MAX: usize = 3;

const LIST: &str = "list the deployments";

/// Reads the list of records: one trip, but for its further pages.
pub async fn read(arm: &ResourceManager, target: &ArmDeploymentTarget) -> Result<Vec<Record>, PortError> {
    let records = arm.read_all(LIST, &format!("{}?{API_VERSION}", records_path(target))).await?;
    parse(LIST, Value::Array(records))
}

/// The records that matter.
pub struct Versions<'a> {
    /// The newest that has ended, well or not.
    pub runs: &'a Record,
    /// The newest ones before it that succeeded and hold other contents, as far as that is known; none of our own.
    pub earlier: Vec<&'a Record>,
    /// Those that go on.
    under_way: Vec<&'a Record>,
}

impl<'a> Versions<'a> {
    pub fn of(target: &ArmDeploymentTarget, records: &'a [Record]) -> Result<Self, PortError> {
        let line = Line::of(target, records);
        if let Some(record) = line.undated.first() {
            let says = format!("deployment `{}` tells no time, so which one is the newest is not known", clean(&record.name));
            return Err(PortError::new(LIST, PortErrorKind::Invalid, says));
        }
        let Some((runs, before)) = line.ended.split_first() else {
            return Err(PortError::new(
                LIST,
                PortErrorKind::NotFound,
                format!(
                    "`{}` holds no deployment {} that has ended; check `scope` and `lineage` in the policy",
                    target.scope,
                    in_words(&target.lineage)
                ),
            ));
        };
        let mut seen: BTreeSet<String> = running_content(runs).map(|content| content.0).into_iter().collect();
        let earlier = before
            .iter()
            .copied()
            .filter(|record| record.state() == State::Succeeded && !is_own(record))
            .filter(|record| record.correlation_id() != runs.correlation_id() && record.ended_at() < runs.ended_at())
            .filter(|record| content::fingerprint(record).is_none_or(|content| seen.insert(content.0)))
            .take(WAYS_MAX)
            .collect();
        Ok(Self { runs, earlier, under_way: line.under_way })
    }
}

/// What the records mean. Pure.
pub fn interpret(target: &ArmDeploymentTarget, records: &[Record], observed_at: Timestamp) -> Result<Observation, PortError> {
    let versions = Versions::of(target, records)?;
    let mut obstacles = Vec::new();
    if records.len() >= RECORDS_MAX {
        obstacles.push(Obstacle::page(
            RuleId::S9,
            format!("`{}` holds {RECORDS_MAX} deployment records, so no further one is taken; delete old ones", target.scope),
        ));
    }
    Ok(Observation {
        observed_at,
        running: running(versions.runs),
        under_way: versions.under_way.first().map(|record| {
            let since = record.began_at().map(|at| format!(" (last change at {})", moment(at))).unwrap_or_default();
            format!("deployment `{}`{since}", clean(&record.name))
        }),
        ways_back: versions.earlier.iter().map(|record| way_back(target, record, versions.runs)).collect(),
        obstacles,
    })
}

/// Of a deployment that ended half way nobody knows what serves.
fn running_content(record: &Record) -> Option<Fingerprint> {
    match record.state() {
        State::Succeeded => content::fingerprint(record),
        State::Broken | State::GoesOn => None,
    }
}

fn running(record: &Record) -> RunningVersion {
    let name = clean(&record.name);
    let at = record.ended_at().map(moment).unwrap_or_default();
    let fingerprint = running_content(record);
    let label = match (record.state(), record.tag(RESTORES_TAG).filter(|_| is_own(record))) {
        (State::Broken, _) => format!("{name}, which ended half way at {at} and may have changed a part"),
        (State::Succeeded | State::GoesOn, _) if fingerprint.is_none() => {
            format!("{name} (deployed at {at}; its record names no `templateHash`, so its content is not known)")
        }
        (State::Succeeded | State::GoesOn, Some(restored)) => format!("{} again (deployed as {name} at {at})", clean(restored)),
        (State::Succeeded | State::GoesOn, None) => format!("{name} (deployed at {at})"),
    };
    RunningVersion { token: token(record), fingerprint, serving_since: record.began_at(), label }
}

/// Names of deployments compare without case.
fn token(record: &Record) -> VersionToken {
    VersionToken(format!("deployment|{}|{}", record.name.to_lowercase(), record.correlation_id().to_ascii_lowercase()))
}

/// Name of a way back, by which [`super::preflight`] speaks about it too.
pub fn way_name(record: &Record) -> String {
    format!("deployment {}", record.name)
}

fn way_back(target: &ArmDeploymentTarget, record: &Record, runs: &Record) -> WayBack {
    let mut obstacles = Vec::new();
    let missing = content::missing_secrets(target, record);
    if !missing.is_empty() {
        obstacles.push(Obstacle::page(RuleId::S5, content::lacks_secrets(&clean(&record.name), &missing)));
    }
    if target.scope.resource_group().is_none() && record.location.as_ref().is_none_or(String::is_empty) {
        obstacles.push(Obstacle::page(RuleId::S5, content::lacks_location(&clean(&record.name))));
    }
    let fingerprint = content::fingerprint(record);
    let at = record.ended_at().map(moment).unwrap_or_default();
    let label = match &fingerprint {
        Some(_) => format!("{} (deployed at {at})", clean(&record.name)),
        None => format!("{} (deployed at {at}; its record names no `templateHash`)", clean(&record.name)),
    };
    WayBack {
        name: way_name(record),
        label,
        detail: json!({
            "good": { "name": record.name, "correlationId": record.correlation_id(), "fingerprint": fingerprint },
            "accused": { "name": runs.name, "correlationId": runs.correlation_id() },
        }),
        fingerprint,
        obstacles,
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
