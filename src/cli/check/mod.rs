//! `backout check`: says what would fail at 3 a.m., now. It changes nothing but one document of its own in the store, which it removes.

mod alert_rules;
mod bus;
mod finding;
mod identity;
mod lost_alerts;
mod rights;
mod store;
mod target;

use std::process::ExitCode;

use clap::Parser;

use super::{Format, out, progress, wiring};
use crate::domain::policy::Policy;
use finding::Finding;

#[derive(Debug, Parser)]
pub struct Args {
    /// Instead of `BACKOUT_POLICY`
    #[arg(long)]
    policy: Option<std::path::PathBuf>,
    /// Settings and policy only; nothing is contacted
    #[arg(long)]
    offline: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let findings = findings(&args).await;
    for finding in &findings {
        out(&match args.format {
            Format::Json => finding.to_json().to_string(),
            Format::Text => finding.to_text(),
        });
    }
    let good = findings.iter().all(Finding::is_good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn findings(args: &Args) -> Vec<Finding> {
    let mut findings = vec![match wiring::settings() {
        Err(error) => Finding::problem("settings", format!("{error:#}")),
        Ok(_) => Finding::ok("settings", "understood"),
    }];
    // What is wrong with the settings of the queue hides nothing of the policy.
    let wired = match wiring::settings_with_policy(args.policy.as_deref()).and_then(wiring::wire) {
        Ok(wired) => wired,
        Err(error) => {
            findings.push(Finding::problem("set-up", format!("{error:#}")));
            return findings;
        }
    };
    if let Err(unusable) = wiring::export(&wired.settings) {
        findings.push(Finding::problem("telemetry", format!("no traces and metrics are exported: {unusable}")));
    }
    let policy = wired.policies.load().await;
    findings.push(match &policy {
        Err(trouble) => Finding::problem("policy", trouble.to_string()),
        Ok(policy) => Finding::ok("policy", format!("{} services at {}", policy.services.len(), wired.settings.policy)),
    });
    if args.offline {
        if let Ok(policy) = policy {
            findings.extend(policy.services.values().flat_map(|service| rights::told(&wired, service)));
        }
        return findings;
    }
    progress("asking for tokens, the store and the queues");
    // Neither needs the policy: a wrong one hides nothing of these.
    let (store, bus) = futures::join!(store::check(&wired), bus::check(&wired));
    findings.push(store);
    findings.extend(bus);
    if let Ok(policy) = policy {
        findings.extend(contacted(&wired, &policy).await);
    }
    findings
}

/// Everything that the policy names.
async fn contacted(wired: &wiring::Wired, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut reads = true;
    if !policy.subscriptions().is_empty() {
        let identities = identity::check(wired).await;
        // The one that reads comes first.
        reads = identities.first().is_none_or(Finding::is_good);
        findings.extend(identities);
    }
    if reads {
        findings.extend(lost_alerts::check(wired, policy).await);
        progress("reading the alert rules");
        findings.extend(alert_rules::check(wired, policy).await);
    }
    for service in policy.services.values() {
        // Without a token every line would say so again.
        if !reads && service.target.resource().is_some() {
            findings.extend(rights::told(wired, service));
            let says = "without a token of the identity that reads, nothing can be asked about it";
            findings.push(Finding::not_checked(format!("target of {}", service.name), says));
            continue;
        }
        progress(&format!("reading the target of {}", service.name));
        let (rights, target) = futures::join!(rights::check(wired, service), target::check(wired, service));
        findings.extend(rights.into_iter().chain(target));
    }
    findings
}
