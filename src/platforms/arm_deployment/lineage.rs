//! Which records of a scope are versions of the same thing, and which of them is the newest.

use std::collections::BTreeSet;

use super::wire::{RESTORES_TAG, Record, State};
use crate::domain::{
    glob,
    target::{ArmDeploymentTarget, Lineage},
};

/// Deployments that Azure makes by itself; they are nobody's release.
const MADE_BY_AZURE: [&str; 2] = ["PolicyDeployment_", "Failure-Anomalies-"];

/// What our own deployments are called: `rb-` and the claim.
const OWN_PREFIX: &str = "rb-";

pub fn own_name(claim: &str) -> String {
    format!("{OWN_PREFIX}{claim}")
}

/// The records of a lineage.
#[derive(Debug, Default)]
pub struct Line<'a> {
    /// Those that have ended, the newest first. One a correlation id: nested deployments share their parent's and end before it.
    pub ended: Vec<&'a Record>,
    /// Those that go on.
    pub under_way: Vec<&'a Record>,
    /// Those that have ended and do not say when.
    pub undated: Vec<&'a Record>,
}

impl<'a> Line<'a> {
    /// Order is by the records' own times; the list itself promises none.
    pub fn of(target: &ArmDeploymentTarget, records: &'a [Record]) -> Self {
        let ours = || records.iter().filter(|record| belongs(&target.lineage, record));
        let under_way = ours().filter(|record| record.state() == State::GoesOn).collect();
        let all_ended = || ours().filter(|record| record.state() != State::GoesOn);
        let undated = all_ended().filter(|record| record.ended_at().is_none()).collect();
        let mut ended: Vec<_> = all_ended().filter_map(|record| Some((record.ended_at()?, record))).collect();
        ended.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.name.cmp(&other.name)));
        let mut seen = BTreeSet::new();
        let ended = ended
            .into_iter()
            .map(|(_, record)| record)
            .filter(|record| record.correlation_id().is_empty() || seen.insert(record.correlation_id()))
            .collect();
        Self { ended, under_way, undated }
    }
}

/// Whether a record is a rollback of ours.
pub fn is_own(record: &Record) -> bool {
    record.tag(RESTORES_TAG).is_some() && record.name.starts_with(OWN_PREFIX)
}

fn belongs(lineage: &Lineage, record: &Record) -> bool {
    if record.name.is_empty() || MADE_BY_AZURE.iter().any(|prefix| record.name.starts_with(prefix)) {
        return false;
    }
    match lineage {
        // Our own deployment has another name; what it restores says where it belongs.
        Lineage::Name(pattern) => {
            let name = record.tag(RESTORES_TAG).filter(|_| is_own(record)).unwrap_or(&record.name);
            glob::fits(pattern, name)
        }
        Lineage::Tag { name, value } => record.tag(name) == Some(value),
    }
}
