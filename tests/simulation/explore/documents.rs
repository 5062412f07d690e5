//! Stored documents, as far as an exploration looks at them: what must never be, and which two of them are as good as equal.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    sync::{Arc, Mutex},
};

use backout::domain::{
    decision::DecisionKind,
    record::{Record, RecordId},
    rollback::{Claim, ClaimKind, RollbackState},
    target_state::TargetState,
};
use jiff::Timestamp;
use serde_json::Value;

use super::tape::{BodyId, Keeping, KeyId, Seconds};

#[derive(Debug, Clone)]
pub struct BusyPart {
    pub record: String,
    pub left_to_a_person: bool,
    says: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecisionPart {
    None,
    Act,
    Hold,
    /// Propose, Page, Ignore: nothing more comes by itself.
    Other,
}

#[derive(Debug, Clone)]
pub enum Document {
    Target { busy: Option<BusyPart> },
    Rollback { record: String, closed: bool },
    Tombstone { record: String, token: u32 },
    Record { firing: usize, decision: DecisionPart, rollback: bool, ended_as: String, told: bool },
}

pub struct Reader {
    texts: Arc<Mutex<Keeping>>,
    firings: [RecordId; 2],
    documents: HashMap<BodyId, Rc<Document>>,
    /// All but the times, and the times.
    essences: HashMap<BodyId, (u64, Vec<Seconds>)>,
}

impl Reader {
    pub fn new(texts: Arc<Mutex<Keeping>>, firings: [RecordId; 2]) -> Self {
        Self { texts, firings, documents: HashMap::new(), essences: HashMap::new() }
    }

    pub fn read(&mut self, key: KeyId, body: BodyId) -> Rc<Document> {
        if let Some(document) = self.documents.get(&body) {
            return Rc::clone(document);
        }
        let document = Rc::new(self.parse(key, body));
        self.documents.insert(body, Rc::clone(&document));
        document
    }

    fn value(&self, key: KeyId, body: BodyId) -> (String, Value) {
        let texts = self.texts.lock().unwrap();
        let envelope: Value = serde_json::from_slice(&texts.bodies.text(body)).unwrap();
        (texts.keys.string(key), envelope["value"].clone())
    }

    fn parse(&self, key: KeyId, body: BodyId) -> Document {
        let (key, value) = self.value(key, body);
        if key.starts_with("targets/") {
            let state: TargetState = serde_json::from_value(value).unwrap();
            let busy = state.busy.map(|busy| BusyPart {
                record: busy.record.0.clone(),
                left_to_a_person: busy.left_to_a_person.is_some(),
                says: format!("{:?}, step {}", busy.phase, busy.step + 1).to_lowercase(),
            });
            return Document::Target { busy };
        }
        if key.starts_with("claims/") {
            let claim: Claim = serde_json::from_value(value).unwrap();
            return match claim.kind {
                ClaimKind::Rollback { record, closed, .. } => Document::Rollback { record: record.0, closed },
                ClaimKind::Tombstone { record, .. } => Document::Tombstone {
                    record: record.0,
                    token: claim.token.0.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap(),
                },
            };
        }
        let record: Record = serde_json::from_value(value).unwrap();
        Document::Record {
            firing: self.firings.iter().position(|id| *id == record.id).unwrap(),
            decision: match record.decision.as_ref().map(|decision| decision.kind) {
                None => DecisionPart::None,
                Some(DecisionKind::Act) => DecisionPart::Act,
                Some(DecisionKind::Hold) => DecisionPart::Hold,
                Some(DecisionKind::Propose | DecisionKind::Page | DecisionKind::Ignore) => DecisionPart::Other,
            },
            rollback: record.rollback.is_some(),
            ended_as: record
                .rollback
                .filter(|state| state.is_terminal())
                .map(|state: RollbackState| state.words().to_owned())
                .unwrap_or_default(),
            told: record.told_generation == record.generation,
        }
    }

    /// For the trail: what a write makes of a document.
    pub fn words(&mut self, key: KeyId, body: BodyId) -> String {
        match &*self.read(key, body) {
            Document::Target { busy: Some(busy) } if busy.left_to_a_person => "busy, left to a person".to_owned(),
            Document::Target { busy: Some(busy) } => format!("busy ({})", busy.says),
            Document::Target { busy: None } => "free".to_owned(),
            Document::Rollback { closed, .. } => (if *closed { "closed" } else { "open" }).to_owned(),
            Document::Tombstone { token, .. } => format!("rollout-{token} is ours"),
            Document::Record { decision, ended_as, told, .. } => {
                let told = if *told { "told" } else { "not told" };
                let ended = if ended_as.is_empty() { String::new() } else { format!(", {ended_as}") };
                format!("{decision:?}{ended}, {told}").to_lowercase()
            }
        }
    }

    pub fn name(&mut self, key: KeyId) -> String {
        let name = self.texts.lock().unwrap().keys.string(key);
        match self.firings.iter().position(|id| name == format!("records/{id}")) {
            Some(firing) => format!("record {}", firing + 1),
            None if name.starts_with("targets/") => "target".to_owned(),
            None => name.chars().take(12).collect(),
        }
    }

    /// Equal for documents that differ only in what nothing here is decided by: texts, times that have passed for good, counts of
    /// copies; and in when all of it happens.
    pub fn essence(&mut self, key: Option<KeyId>, body: BodyId, now: Seconds) -> u64 {
        if !self.essences.contains_key(&body) {
            let essence = self.essence_of(key, body);
            self.essences.insert(body, essence);
        }
        let (rest, times) = &self.essences[&body];
        let mut hasher = DefaultHasher::new();
        rest.hash(&mut hasher);
        for time in times {
            (time - now).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn essence_of(&self, key: Option<KeyId>, body: BodyId) -> (u64, Vec<Seconds>) {
        let (name, mut value) = match key {
            Some(key) => self.value(key, body),
            None => (String::new(), serde_json::from_slice(&self.texts.lock().unwrap().bodies.text(body)).unwrap()),
        };
        if name.starts_with("records/") {
            for part in ["timeline", "decidedFrom", "duplicates", "receipt", "decidedAt", "receivedAt", "alert"] {
                value.as_object_mut().unwrap().remove(part);
            }
            if let Some(decision) = value["decision"].as_object_mut() {
                decision.remove("because");
                decision.remove("candidates");
                for reason in decision.get_mut("reasons").and_then(Value::as_array_mut).into_iter().flatten() {
                    reason.as_object_mut().unwrap().remove("says");
                }
            }
        }
        if name.starts_with("targets/") {
            for part in ["receiptHead", "receiptCount"] {
                value.as_object_mut().unwrap().remove(part);
            }
            for rollout in value["rollouts"].as_array_mut().into_iter().flatten() {
                for part in ["servingSince", "firstSeenAt", "lastSeenAt"] {
                    rollout.as_object_mut().unwrap().remove(part);
                }
            }
            for firing in value["firings"].as_array_mut().into_iter().flatten() {
                firing.as_object_mut().unwrap().remove("firedAt");
            }
            if let Some(busy) = value["busy"].as_object_mut() {
                busy.remove("service");
                // Of another step than the next one it says nothing.
                if busy["wakeUpSentFor"] != busy["nextStepAt"] {
                    busy.remove("wakeUpSentFor");
                }
            }
        }
        let mut times = Vec::new();
        take_times(&mut value, &mut times);
        let mut hasher = DefaultHasher::new();
        value.to_string().hash(&mut hasher);
        (hasher.finish(), times)
    }
}

/// Takes every time out of a value.
fn take_times(value: &mut Value, times: &mut Vec<Seconds>) {
    match value {
        Value::String(text) => {
            if text.len() >= 20
                && text.as_bytes()[10] == b'T'
                && let Ok(time) = text.parse::<Timestamp>()
            {
                times.push(time.as_second());
                *value = Value::Null;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| take_times(value, times)),
        Value::Object(values) => values.values_mut().for_each(|value| take_times(value, times)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
