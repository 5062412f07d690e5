//! Every request that arrived: what a test asks when it wants to know what was really sent.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;

use super::call::{Call, Role};

/// One request and what became of it. Never holds a token.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    /// Grows by one with each request.
    pub number: u64,
    /// By the simulation's clock.
    pub at: Timestamp,
    pub role: Role,
    /// Upper case.
    pub method: String,
    pub path_and_query: String,
    /// Lower-case names and values of the headers that tell something; `authorization` and the identity secret are left out.
    pub headers: Vec<(String, String)>,
    /// Whether any `authorization` header came along.
    pub authorized: bool,
    /// Client id of the identity whose token was sent; `system` for the system-assigned one; `None` for an unknown token.
    pub identity: Option<String>,
    pub body: Bytes,
    /// `None` while it is being answered, and for ever if the connection was cut instead.
    pub status: Option<u16>,
    /// Changes of the simulated world that it made: operations begun, configurations written, messages stored.
    pub effects: u32,
    /// The fault that it met, by name.
    pub fault: Option<&'static str>,
}

impl JournalEntry {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

pub const JOURNAL_ENTRIES_MAX: usize = 10_000;

/// Secrets, and what says nothing about the caller.
const HEADERS_LEFT_OUT: &[&str] = &["authorization", "x-identity-header", "host", "connection"];

#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<JournalEntry>,
    next_number: u64,
}

impl Journal {
    /// Notes an arrival; the oldest entry makes room when there are too many.
    pub fn arrived(&mut self, call: &Call, at: Timestamp, identity: Option<String>, fault: Option<&'static str>) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        if self.entries.len() == JOURNAL_ENTRIES_MAX {
            self.entries.pop_front();
        }
        let headers = call
            .headers
            .iter()
            .filter(|(name, _)| !HEADERS_LEFT_OUT.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        self.entries.push_back(JournalEntry {
            number,
            at,
            role: call.role,
            method: call.method.as_str().to_owned(),
            path_and_query: call.path_and_query.clone(),
            headers,
            authorized: call.headers.contains_key("authorization"),
            identity,
            body: call.body.clone(),
            status: None,
            effects: 0,
            fault,
        });
        number
    }

    /// Notes the answer; `status` is `None` when the connection was cut.
    pub fn answered(&mut self, number: u64, status: Option<u16>, effects: u32) {
        let first = self.entries.front().map_or(number, |entry| entry.number);
        let Some(entry) = number.checked_sub(first).and_then(|at| self.entries.get_mut(usize::try_from(at).ok()?)) else {
            return;
        };
        entry.status = status;
        entry.effects = effects;
    }

    pub fn entries(&self) -> Vec<JournalEntry> {
        self.entries.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Method, Uri};

    use super::*;

    #[test]
    fn the_newest_entries_stay_and_take_their_answers() {
        let mut journal = Journal::default();
        let call = Call::new(Role::Identity, Method::GET, &Uri::from_static("/x"), HeaderMap::new(), Bytes::new());
        let first = journal.arrived(&call, Timestamp::UNIX_EPOCH, None, None);
        for _ in 0..JOURNAL_ENTRIES_MAX {
            journal.arrived(&call, Timestamp::UNIX_EPOCH, None, None);
        }
        journal.answered(first, Some(200), 1);
        journal.answered(7, Some(202), 1);
        let entries = journal.entries();
        assert_eq!(entries.len(), JOURNAL_ENTRIES_MAX);
        assert_eq!((entries[0].number, entries[0].status), (1, None));
        assert_eq!((entries[6].number, entries[6].status), (7, Some(202)));
        assert_eq!(entries.iter().filter(|entry| entry.status.is_some()).count(), 1);
    }
}
