//! Invariant 2: what our calls produced, whether it is marked as ours, and how long each target stays busy.

use std::collections::BTreeMap;

use backout::{
    domain::target::{TargetKey, short_hash},
    ports::Key,
};
use serde::Deserialize;

use super::super::{
    counts::Kind,
    platform::Serving,
    time::{MINUTE, Micros, SECOND},
    world::{Event, PERSON, World},
};
use super::{Invariant, text_after};

/// What a call of ours produced.
#[derive(Debug)]
struct Result {
    site: usize,
    claim: String,
    token: String,
}

#[derive(Debug, Clone)]
pub struct BusyTarget {
    pub target: TargetKey,
    pub record: String,
    pub since: Micros,
    pub left_to_a_person: bool,
    claim: String,
}

#[derive(Default)]
pub struct Rollbacks {
    results: Vec<Result>,
    /// Claims and tombstones by key, and whether they are closed.
    claims: BTreeMap<String, bool>,
    /// By key of the target's document.
    pub busy: BTreeMap<String, BusyTarget>,
    /// How long the longest rollback took, faults or not.
    pub longest: Micros,
}

#[derive(Deserialize)]
struct TargetDocument {
    value: TargetValue,
}

#[derive(Deserialize)]
struct TargetValue {
    target: TargetKey,
    busy: Option<BusyValue>,
}

#[derive(Deserialize)]
struct BusyValue {
    record: String,
    accused: String,
}

impl World {
    pub fn result_of_ours(&mut self, site: usize, claim: &str, before: &Serving, serving: &Serving) {
        let own = self.checks.rollbacks.results.iter().any(|result| result.site == site && result.token == before.token);
        if own {
            self.broken(Invariant::NeverOurOwn, || {
                format!("build-{} was put in service by us, and taken out of it by us", before.build)
            });
        }
        let (claim, token) = (claim.to_owned(), serving.token.clone());
        self.checks.rollbacks.results.push(Result { site, claim, token });
    }

    /// A document was written, in truth.
    pub fn store_written(&mut self, instance: usize, key: &Key, body: &[u8]) {
        self.count(Kind::StoreWrite);
        let (text, key) = (std::str::from_utf8(body).unwrap_or_default(), key.as_str());
        match key.split('/').next().unwrap_or_default() {
            "targets" => self.target_written(instance, key, text),
            "claims" => self.claim_written(key, text),
            "records" => self.record_written(key, text),
            "parked" => self.parked_written(key, text),
            "control" => self.tell(|| format!("  control: {}", text.contains("\"paused\":true"))),
            _ => {}
        }
    }

    pub fn store_deleted(&mut self, instance: usize, key: &Key) {
        let kept =
            ["claims/", "inputs/", "records/", "receipts/", "targets/"].iter().any(|prefix| key.as_str().starts_with(prefix));
        if kept {
            self.broken(Invariant::OnceOnly, || format!("instance {instance} removed `{key}`, which is kept for ever"));
        }
    }

    pub fn store_read(&mut self, _instance: usize, key: &Key, body: Option<&[u8]>) {
        if key.as_str() == "control" {
            let paused = body.is_some_and(|body| String::from_utf8_lossy(body).contains("\"paused\":true"));
            let now = self.now;
            self.facts().paused = Some((now, paused));
        }
    }

    fn claim_written(&mut self, key: &str, text: &str) {
        let now = self.now;
        let first = self.checks.rollbacks.claims.insert(key.to_owned(), text.contains("\"closed\":true")).is_none();
        if first && self.faults && self.chance.happens(self.weather.meddling) {
            // A person has seen it as well, and has hands.
            let busy: Vec<TargetKey> = self.checks.rollbacks.busy.values().map(|busy| busy.target.clone()).collect();
            let site = busy.iter().rev().find_map(|target| self.site_of.get(&target.0).copied());
            if let Some(site) = site {
                let after = self.chance.between(0, 3 * MINUTE);
                let kind = self.chance.below(3);
                self.push(
                    now + after,
                    Event::Deed(Box::new(move |world| match kind {
                        0 => world.person_changes(site, 1),
                        1 => world.person_changes(site, 0),
                        _ => world.person_overwrites_place(site, 0),
                    })),
                );
            }
        }
    }

    fn target_written(&mut self, instance: usize, key: &str, text: &str) {
        let busy = !text.contains("\"busy\":null");
        let before = self.checks.rollbacks.busy.contains_key(key);
        if busy {
            let left = text.contains("\"leftToAPerson\":\"");
            if let Some(known) = self.checks.rollbacks.busy.get_mut(key)
                && text_after(text, "\"busy\":{\"record\":\"") == Some(known.record.as_str())
            {
                known.left_to_a_person = left;
                return;
            }
            let Ok(document) = serde_json::from_str::<TargetDocument>(text) else { return };
            let Some(value) = document.value.busy else { return };
            if before {
                self.freed(instance, key);
            }
            let target = document.value.target;
            let claim = short_hash(&[target.claimed(), &value.accused]);
            self.tell(|| format!("  {target} is busy with record {}", value.record));
            let busy = BusyTarget { target, record: value.record, since: self.now, left_to_a_person: left, claim };
            self.checks.rollbacks.busy.insert(key.to_owned(), busy);
        } else if before {
            self.freed(instance, key);
        }
    }

    /// A target is free again: whatever our call produced must be marked as ours by now.
    fn freed(&mut self, instance: usize, key: &str) {
        let Some(busy) = self.checks.rollbacks.busy.remove(key) else { return };
        self.tell(|| format!("  {} is free", busy.target));
        let lasted = self.now - busy.since;
        self.checks.rollbacks.longest = self.checks.rollbacks.longest.max(lasted);
        if instance == PERSON {
            return;
        }
        // A sender that stands still would find its claim as it left it, and send.
        let open = self.checks.rollbacks.claims.get(&format!("claims/{}", busy.claim)) == Some(&false);
        if open && self.checks.records.has_failed(&busy.record) {
            self.broken(Invariant::SentOnce, || {
                format!("the rollback of record {} was given up, and its claim is not closed", busy.record)
            });
        }
        let unmarked = self.checks.rollbacks.results.iter().find(|result| {
            let key = format!("claims/{}", short_hash(&[busy.target.claimed(), &result.token]));
            // What somebody replaced at once was never seen, and harms nobody.
            let serves = self.sites[result.site].serving.token == result.token;
            result.claim == busy.claim && serves && !self.checks.rollbacks.claims.contains_key(&key)
        });
        if let Some(token) = unmarked.map(|result| result.token.clone()) {
            self.broken(Invariant::NeverOurOwn, || {
                format!(
                    "{} is free after {} s, but `{token}`, which we produced, is not marked as ours",
                    busy.target,
                    lasted / SECOND
                )
            });
        }
    }
}
