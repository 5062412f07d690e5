//! Whether `sweep` can look for alerts that never arrived, subscription by subscription.

use super::{
    finding::{Finding, Status},
    rights::assignment,
};
use crate::{
    cli::wiring::Wired,
    domain::{
        policy::Policy,
        right::{Identity, NeededRight},
    },
    ports::PortErrorKind,
    process::lost_alerts::LOOKED_BACK,
    telemetry::alerts_management::READING_ACTION,
};

pub async fn check(wired: &Wired, policy: &Policy) -> Vec<Finding> {
    let subscriptions = policy.subscriptions();
    if subscriptions.is_empty() {
        return vec![Finding::not_checked(
            "lost alerts",
            "the policy names nothing in Azure, so there is no subscription in which alerts that never arrived could be looked for",
        )];
    }
    let since = wired.ports.clock.now() - LOOKED_BACK;
    let mut findings = Vec::new();
    for subscription in &subscriptions {
        let what = format!("lost alerts of subscription {subscription}");
        findings.push(match wired.ports.alerts.changed_since(subscription, since).await {
            Ok(seen) => Finding::ok(
                what,
                format!("can be looked for: {} alerts in the last {} minutes", seen.len(), LOOKED_BACK.as_mins()),
            ),
            Err(error) if error.kind == PortErrorKind::Denied => {
                let right = NeededRight {
                    identity: Identity::Reading,
                    action: READING_ACTION.to_owned(),
                    scope: format!("/subscriptions/{subscription}"),
                    role: "Monitoring Reader",
                };
                let says = format!(
                    "{error}; infra/ grants it for the subscriptions of `targets`, `evidenceIds` and `alertResourceIds` (role `backout NAME \
                     alert reader`); or by hand:"
                );
                Finding::of(what, Status::Missing, says).mended_by(assignment(wired, &right)).about(&right)
            }
            Err(error) => Finding::problem(what, error.to_string()),
        });
    }
    findings
}
