//! Is it bigger than us? Many alerts that no one change explains mean a platform or a dependency (P1).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::case::{Case, LATE_WINDOW};
use crate::domain::{
    decision::{Effect, Reason},
    policy::StormRule,
    rule::RuleId,
    service::ServiceName,
};

/// Since when the firings of others count.
///
/// The storm in which an alert arrived goes on counting for as long as a late event may raise its decision: that nobody else fired for
/// some minutes does not say that it is over.
pub fn counts_since(received_at: Timestamp, now: Timestamp, rule: StormRule) -> Timestamp {
    received_at.max(now - LATE_WINDOW).min(now) - rule.within
}

/// Stands down when the alert's own resource and those which the accused service does not explain reach the rule's number.
///
/// Five dependents of one bad deployment are all explained by it, and so no storm. In a large one only a part of it is in the case.
pub fn judge(case: &Case, accused: Option<&ServiceName>) -> Option<Reason> {
    let horizon = counts_since(case.received_at, case.now, case.storm_rule);
    let own: BTreeSet<String> = case.alert.resources.iter().map(|r| r.trim_end_matches('/').to_ascii_lowercase()).collect();
    let unexplained: BTreeSet<&str> = case
        .storm
        .iter()
        .filter(|other| other.at >= horizon && !own.contains(&other.resource))
        .filter(|other| accused.is_none_or(|accused| !other.explained_by.contains(accused)))
        .map(|other| other.resource.as_str())
        .collect();
    let count = unexplained.len() + 1;
    (count >= case.storm_rule.resources as usize).then(|| Reason {
        rule: RuleId::P1,
        effect: Effect::Page,
        says: format!(
            "alerts on at least {count} resources within {} min share no recent change, which points at the platform or a common dependency",
            whole_minutes(case.now.duration_since(horizon))
        ),
    })
}

/// Rounded up, so that what is said to lie within them does.
fn whole_minutes(span: SignedDuration) -> i64 {
    (span + SignedDuration::from_secs(59)).as_mins()
}
