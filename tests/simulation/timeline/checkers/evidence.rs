//! Invariant 5: what an invocation was told before it decided to act, or called a service recovered.

use super::super::telemetry::Reading;
use super::super::world::World;
use super::Invariant;

impl World {
    /// An invocation has read a signal.
    pub fn measured(&mut self, reading: Reading) {
        self.facts().readings.push(reading);
    }

    /// It stores that it acts, without a person's word.
    pub(super) fn judge_act(&mut self, record: &str, service: usize) {
        let facts = self.facts().clone();
        let scope = self.story.policies[facts.policy].upstream[service].clone();
        let shows_fault = facts.readings.iter().rev().find(|reading| reading.service == service);
        let problem = match shows_fault {
            None => Some("its signal was not read"),
            Some(_) if scope.is_empty() => Some("the policy does not have that service any more"),
            Some(reading) if reading.failed => Some("its signal could not be read"),
            Some(reading) if reading.bad < 2 => Some("no measured window shows a fault"),
            // It may have been gathered twice, and be looked at once more beside this write.
            Some(_) if scope.iter().any(|site| !facts.reads.contains(&(*site, true))) => {
                Some("a target in question could not be read")
            }
            Some(_) if scope.iter().any(|site| facts.unchecked.contains(site)) && scope.len() == 1 => {
                Some("whether the way back is open could not be checked")
            }
            Some(_) => match facts.paused {
                Some(_) => None,
                None => Some("the kill switch could not be read"),
            },
        };
        if let Some(problem) = problem {
            self.broken(Invariant::UnknownIsNeither, || format!("record {record} decides to act, but {problem}"));
        }
    }

    /// It stores that the service has recovered. What is usual there is for the handler to say; that something was measured is not.
    pub(super) fn judge_recovery(&mut self, record: &str, service: usize) {
        let reading = self.facts().readings.iter().rev().find(|reading| reading.service == service).cloned();
        // Three windows in a row.
        let known = reading
            .is_some_and(|reading| !reading.failed && reading.newest.windows(3).any(|row| row.iter().all(Option::is_some)));
        if !known {
            self.broken(Invariant::UnknownIsNeither, || {
                format!("record {record} is called recovered, and no measurement says so")
            });
        }
    }
}
