//! What must hold in every state, and when all has come to its end.

use super::{
    documents::{DecisionPart, Document, Reader},
    platform::{GOOD, RESULT},
    tape::Seconds,
    world::State,
};

/// No rollback takes longer.
const END_WITHIN: Seconds = 8 * 3600;

impl State {
    /// What is wrong with the world as it stands.
    pub fn wrong(&self, start: Seconds, reader: &mut Reader) -> Option<String> {
        if self.site.calls > 1 {
            return Some("two calls of ours took effect".to_owned());
        }
        if self.site.wrong_call {
            return Some("a call of ours took effect on another version than the accused one".to_owned());
        }
        if self.now > start + END_WITHIN {
            return Some("there is no end".to_owned());
        }
        let mut busy_of = None;
        let mut claims = Vec::new();
        for (key, doc) in &self.docs {
            match &*reader.read(*key, doc.body) {
                Document::Target { busy, .. } => busy_of = busy.as_ref().map(|busy| busy.record.clone()),
                Document::Rollback { record, closed: false } => claims.push(record.clone()),
                Document::Rollback { closed: true, .. } | Document::Tombstone { .. } => {}
                Document::Record { rollback, ended_as, .. } => {
                    let took_effect = self.site.calls > 0;
                    match ended_as.as_str() {
                        "failed" if took_effect => {
                            return Some("a record says that the rollback failed, and a call of ours took effect".to_owned());
                        }
                        "recovered" if !took_effect || self.site.build != GOOD => {
                            return Some("a record says that the service recovered, and the bad build runs".to_owned());
                        }
                        _ => assert!(*rollback || ended_as.is_empty()),
                    }
                }
            }
        }
        let marked = |by: &str, reader: &mut Reader| {
            self.docs
                .iter()
                .any(|(key, doc)| matches!(&*reader.read(*key, doc.body), Document::Tombstone { record, .. } if record == by))
        };
        for record in claims {
            if busy_of.as_ref() != Some(&record) && !marked(&record, reader) {
                return Some("a claim is open, its result is not marked as ours, and the target is free".to_owned());
            }
        }
        let result_is_marked = self
            .docs
            .iter()
            .any(|(key, doc)| matches!(&*reader.read(*key, doc.body), Document::Tombstone { token, .. } if *token == RESULT));
        if self.site.calls > 0 && busy_of.is_none() && !result_is_marked {
            return Some("the target is free before the result of our call is marked as ours".to_owned());
        }
        None
    }

    /// What has not come to its end; `None` when all has.
    pub fn unfinished(&self, reader: &mut Reader) -> Option<String> {
        for (key, doc) in &self.docs {
            match &*reader.read(*key, doc.body) {
                Document::Target { busy: Some(busy), .. } if !busy.left_to_a_person => {
                    return Some("the target is busy, and nobody will ever end it".to_owned());
                }
                Document::Record { decision, told, rollback, ended_as, firing, .. } => {
                    let is_terminal = match decision {
                        // Its wake-up is a dead letter: no sweep knows of what was never decided.
                        DecisionPart::None => self.lost[*firing],
                        DecisionPart::Act => *rollback && !ended_as.is_empty(),
                        DecisionPart::Hold => false,
                        DecisionPart::Other => true,
                    };
                    if !is_terminal {
                        return Some(format!("record {} comes to no end", firing + 1));
                    }
                    if !told {
                        return Some(format!("nobody was told how record {} ended", firing + 1));
                    }
                }
                Document::Target { .. } | Document::Rollback { .. } | Document::Tombstone { .. } => {}
            }
        }
        None
    }
}
