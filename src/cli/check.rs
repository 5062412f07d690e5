//! `backout check`: says what would fail at 3 a.m., now.

use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use super::{Format, out, progress, wiring};
use crate::{
    domain::observation::{Obstacle, ObstacleWeight},
    process::receipt::printable,
};

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

/// One thing that was checked.
struct Finding {
    what: String,
    good: bool,
    says: String,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    let mut add = |what: &str, good: bool, says: String| findings.push(Finding { what: what.to_owned(), good, says });
    match wiring::settings() {
        Err(error) => add("settings", false, format!("{error:#}")),
        Ok(_) => add("settings", true, "understood".to_owned()),
    }
    // What is wrong with the settings of the queue hides nothing of the policy.
    match wiring::settings_with_policy(args.policy.as_deref()).and_then(wiring::wire) {
        Err(error) => add("set-up", false, format!("{error:#}")),
        Ok(wired) => match wired.policies.load().await {
            Err(trouble) => add("policy", false, trouble.to_string()),
            Ok(policy) => {
                add("policy", true, format!("{} services at {}", policy.services.len(), wired.settings.policy));
                // Known without asking anybody: whoever grants them has them before the first contact.
                for service in policy.services.values() {
                    for right in wired.ports.platforms.of(&service.target).rights() {
                        let says = format!("needs `{}` on {} ({} identity)", right.action, right.scope, right.identity);
                        add(&format!("rights for {}", service.name), true, says);
                    }
                }
                if !args.offline {
                    progress("reading the store");
                    match wired.process.control().await {
                        Ok(control) => {
                            let paused =
                                control.filter(|control| control.paused).map(|control| format!("; paused by {}", control.by));
                            add("store", true, format!("readable{}", paused.unwrap_or_default()));
                        }
                        Err(error) => add("store", false, error.to_string()),
                    }
                    for service in policy.services.values() {
                        progress(&format!("reading the target of {}", service.name));
                        let platform = wired.ports.platforms.of(&service.target);
                        let (observation, preflight) = futures::join!(platform.observe(), platform.preflight());
                        let name = format!("target of {}", service.name);
                        match observation {
                            Err(error) => add(&name, false, error.to_string()),
                            Ok(observation) => {
                                add(&name, true, format!("runs {}", observation.running.label));
                                observation
                                    .obstacles
                                    .iter()
                                    .for_each(|obstacle| add(&name, is_good(obstacle), obstacle.says.clone()));
                                match wired.process.ways_back(service, &observation).await {
                                    Err(error) => add(&name, false, error.to_string()),
                                    Ok(ways) if ways.is_empty() => {
                                        add(&name, false, "there is no earlier version to go back to".to_owned());
                                    }
                                    Ok(_) => {}
                                }
                            }
                        }
                        match preflight {
                            Err(error) => add(&name, false, error.to_string()),
                            Ok(preflight) => {
                                let all = preflight
                                    .obstacles
                                    .iter()
                                    .chain(preflight.ways_back.iter().flat_map(|(_, obstacles)| obstacles));
                                all.for_each(|obstacle| add(&name, is_good(obstacle), obstacle.says.clone()));
                            }
                        }
                    }
                }
            }
        },
    }
    let good = findings.iter().all(|finding| finding.good);
    for finding in &findings {
        out(&match args.format {
            Format::Json => json!({ "what": finding.what, "good": finding.good, "says": finding.says }).to_string(),
            Format::Text => {
                let mark = if finding.good { "ok     " } else { "PROBLEM" };
                let lines: Vec<String> = finding.says.lines().map(printable).collect();
                format!("{mark}  {}: {}", finding.what, lines.join("\n         "))
            }
        });
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What merely asks for a person is no failure of the set-up.
fn is_good(obstacle: &Obstacle) -> bool {
    match obstacle.weight {
        ObstacleWeight::Propose => true,
        ObstacleWeight::Page => false,
    }
}
