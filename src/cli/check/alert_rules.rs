//! Which alert rules speak about the services, and which of them are not wired or lie below the severity gate.

use std::collections::BTreeMap;

use super::{
    finding::{Finding, Status},
    rights::assignment,
};
use crate::{
    cli::wiring::Wired,
    decide::who,
    domain::{
        alert::{Alert, AlertSchema, AlertSignal, Condition},
        policy::Policy,
        right::{Identity, NeededRight},
        service::Service,
    },
    ports::PortErrorKind,
    telemetry::alert_rules::{AlertRule, AlertRules, READING_ACTIONS, Reach, Receiver},
};

pub async fn check(wired: &Wired, policy: &Policy) -> Vec<Finding> {
    let receiver = Receiver { site: wired.settings.own_site.clone(), public_url: wired.settings.public_url.clone() };
    let mut all = AlertRules::default();
    let mut findings = Vec::new();
    for subscription in policy.subscriptions() {
        if let Err(error) = all.read(&wired.arm, &subscription, &receiver).await {
            let what = format!("alert rules of subscription {subscription}");
            findings.push(match error.kind {
                PortErrorKind::Denied => {
                    let scope = format!("/subscriptions/{subscription}");
                    let rights = NeededRight::all(Identity::Reading, &READING_ACTIONS, &scope, "Monitoring Reader");
                    let says = format!(
                        "{error}; infra/ grants it with `readsAlertRules` (role `backout NAME alert rule reader`); or by hand:"
                    );
                    Finding::not_checked(what, says).mended_by(assignment(wired, &rights[0]))
                }
                PortErrorKind::Transient | PortErrorKind::Throttled | PortErrorKind::NotFound | PortErrorKind::Invalid => {
                    Finding::not_checked(what, error.to_string())
                }
            });
        }
    }
    let all_read = findings.is_empty();
    for service in policy.services.values() {
        let what = format!("alert rules for {}", service.name);
        let speaking: Vec<&AlertRule> =
            all.rules.iter().filter(|rule| rule.enabled && speaks_about(rule, service, policy)).collect();
        if speaking.is_empty() && all_read {
            findings.push(Finding::of(
                &what,
                Status::Note,
                "no metric or log search rule that is enabled speaks about it; rules of other kinds are not listed here",
            ));
        }
        findings.extend(speaking.into_iter().map(|rule| told(&what, rule, all.reach(rule), service)));
    }
    findings
}

/// Nothing here fails: the sweep finds what is not wired, and the gate is what somebody wrote.
fn told(what: &str, rule: &AlertRule, reach: Reach, service: &Service) -> Finding {
    let mut notes = Vec::new();
    match reach {
        Reach::Brought => {}
        Reach::NotBrought => notes.push(
            "is not wired: no action group of it or of an alert processing rule calls `alert-webhook`; its alerts are only pulled, minutes \
             later"
                .to_owned(),
        ),
        Reach::TakenAway => notes.push("is silenced: an alert processing rule takes its action groups away".to_owned()),
        Reach::Unclear => {
            notes.push("may be wired: that depends on the conditions or times of an alert processing rule, or on an action group elsewhere".to_owned());
        }
    }
    match rule.severity {
        Some(severity) if !severity.at_least(service.severity_at_least) => {
            notes.push(format!(
                "lies below the gate: {severity}, and `severityAtLeast` is {}; nothing is done about it",
                service.severity_at_least
            ));
        }
        Some(_) | None => {}
    }
    match notes.as_slice() {
        [] => Finding::ok(what, format!("`{}` is wired, and passes the severity gate", rule.name)),
        notes => Finding::of(what, Status::Note, format!("`{}` {}", rule.name, notes.join("; and it "))),
    }
}

/// By what an alert of the rule would say, as far as the rule tells it: not its custom properties.
fn speaks_about(rule: &AlertRule, service: &Service, policy: &Policy) -> bool {
    let alert = Alert {
        id: None,
        rule: Some(rule.name.clone()),
        severity: rule.severity,
        condition: Condition::Fired,
        resources: rule.scopes.clone(),
        fired_at: None,
        resolved_at: None,
        schema: AlertSchema::Common,
        signal: AlertSignal::Unknown,
        window: None,
        dimensions: BTreeMap::new(),
        properties: BTreeMap::new(),
    };
    who::services_meant(&alert, policy).iter().any(|meant| meant.name == service.name)
}
