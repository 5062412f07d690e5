//! Is it bigger than us? Many alerts that no one change explains mean a platform or a dependency (P1).

use std::collections::BTreeSet;

use super::case::Case;
use crate::domain::{
    decision::{Effect, Reason},
    rule::RuleId,
    service::ServiceName,
};

/// Stands down when the alert's own resource and those which the accused service does not explain reach the rule's number.
///
/// Five dependents of one bad deployment are all explained by it, and so no storm. In a large one only a part of it is in the case.
pub fn judge(case: &Case, accused: Option<&ServiceName>) -> Option<Reason> {
    let horizon = case.now - case.storm_rule.within;
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
            case.storm_rule.within.as_mins()
        ),
    })
}
