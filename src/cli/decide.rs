//! `backout decide FILE...`: what would be decided about each message, and why. The real process runs over a store in
//! memory and a platform that only knows the earlier files; nothing leaves this machine unless `--live` reads the platforms.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Parser;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Format, complain, out, out_json, view, wiring};
use crate::{
    decide::who,
    domain::{
        alert::Alert,
        decision::Decision,
        deployment::{DeploymentEvent, DeploymentStatus},
        event::Event,
        observation::{Observation, Preflight, RunningVersion, WayBack},
        policy::{NotifyRule, Policy},
        printable::printable,
        record::Record,
        resource_id::ResourceId,
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        series::{EvidenceMetric, Series},
        target::{Target, TargetKey, VersionToken},
    },
    inbound,
    local::memory_store::MemoryStore,
    ports::{
        Alerts, FollowUps, KeptAlert, Notice, Notifier, Platform, Platforms, PortError, PortErrorKind, QueueMessage, Telemetry,
    },
    process::{Ports, Process},
    sim::clock::ManualClock,
};

#[derive(Debug, Parser)]
pub struct Args {
    /// Messages, in order of arrival; earlier files are the history of later ones
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Instead of `BACKOUT_POLICY`
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Read the platforms and measurements as they are now; still without any effect
    #[arg(long)]
    live: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let wired = wiring::wire(wiring::settings_with_policy(args.policy.as_deref())?)?;
    let policy = wired.policies.load().await;
    let mut failed = false;
    if let Err(trouble) = &policy {
        failed = true;
        complain(&format!("error: {trouble}"));
    }
    let offline = Arc::new(Offline::default());
    let clock = Arc::new(ManualClock::at(wired.ports.clock.now()));
    let ports = Ports {
        store: Arc::new(MemoryStore::new()),
        follow_ups: offline.clone(),
        platforms: if args.live { wired.ports.platforms.clone() } else { Arc::new(OfflinePlatforms(offline.clone())) },
        alerts: offline.clone(),
        telemetry: if args.live { wired.ports.telemetry.clone() } else { offline.clone() },
        notifier: offline.clone(),
        clock: clock.clone(),
    };
    let ceiling = wired.settings.mode_ceiling;
    let process = Process::new(ports, Arc::clone(&wired.policies), ceiling, wired.settings.own_site.clone());
    for file in &args.files {
        let name = file.display().to_string();
        let body = match tokio::fs::read(file).await {
            Ok(body) => body,
            Err(error) => {
                failed = true;
                print(args.format, &refused(&name, None, &format!("the file could not be read: {error}")));
                continue;
            }
        };
        for recognised in inbound::recognise(&body) {
            let line = match recognised {
                Err(malformed) => refused(
                    &name,
                    malformed.format.map(inbound::Format::as_str),
                    &format!("refused, and would be parked: {malformed}"),
                ),
                Ok(understood) => {
                    let mut line =
                        json!({ "input": name, "format": understood.format.as_str(), "event": view::event(&understood.event) });
                    let judged = match &policy {
                        Ok(policy) => judge(&process, policy, &offline, &clock, understood.event, args.live).await?,
                        Err(_) => without_decision("there is no policy to decide by"),
                    };
                    view::merge(&mut line, judged);
                    line
                }
            };
            print(args.format, &line);
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the event leads to: a decision for an alert, history for a deployment.
async fn judge(
    process: &Process,
    policy: &Policy,
    offline: &Offline,
    clock: &ManualClock,
    event: Event,
    live: bool,
) -> anyhow::Result<Value> {
    match event {
        Event::Other(_) => Ok(without_decision("nothing to decide about")),
        Event::Deployment(event) => {
            let services = who::services_changed(&event, policy);
            let because = match services.as_slice() {
                [] => "a change of nothing in the policy".to_owned(),
                [service, ..] => format!("kept as history of `{}`", service.name),
            };
            let mut judged = without_decision(&because);
            if let Some(service) = services.first() {
                view::merge(&mut judged, json!({ "service": service.name, "target": service.target.key() }));
            }
            if !live {
                advance_to(clock, event.at);
                offline.learn(&event, policy);
            }
            process.deployment_received(event, policy, true).await?;
            Ok(judged)
        }
        Event::Alert(alert) => {
            if !live {
                advance_to(clock, alert.fired_at.max(alert.resolved_at));
            }
            let (decision, record) = explain(process, policy, alert).await?;
            Ok(view::decision(Some(&decision), Some(&record)))
        }
    }
}

async fn explain(process: &Process, policy: &Policy, alert: Alert) -> anyhow::Result<(Decision, Record)> {
    Ok(process.explain(alert, policy).await?)
}

/// Offline, the clock stands at the newest time that a message told; it never goes back.
fn advance_to(clock: &ManualClock, at: Option<Timestamp>) {
    if let Some(at) = at {
        clock.set(at);
    }
}

fn without_decision(because: &str) -> Value {
    json!({ "decision": null, "service": null, "target": null, "rules": [], "because": because })
}

fn refused(name: &str, format: Option<&str>, because: &str) -> Value {
    let mut line = json!({ "input": name, "format": format, "event": null });
    view::merge(&mut line, without_decision(because));
    line
}

fn print(format: Format, line: &Value) {
    match format {
        Format::Json => out_json(line),
        Format::Text => {
            let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            let rules: Vec<&str> = line["rules"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            out(&printable(&format!(
                "{}: {} -> {} {}[{}]",
                text("input"),
                text("format"),
                text("decision"),
                text("service"),
                rules.join(" ")
            )));
            out(&printable(&format!("  {}", text("because"))));
        }
    }
}

/// Everything outside, as far as the earlier files tell: no platform, no measurements, nobody to tell.
#[derive(Default)]
struct Offline {
    rollouts: Mutex<BTreeMap<TargetKey, DeploymentEvent>>,
}

impl Offline {
    /// A finished change becomes what runs.
    fn learn(&self, event: &DeploymentEvent, policy: &Policy) {
        if event.status != DeploymentStatus::Succeeded || event.at.is_none() {
            return;
        }
        for service in who::services_changed(event, policy) {
            self.rollouts.lock().unwrap_or_else(PoisonError::into_inner).insert(service.target.key(), event.clone());
        }
    }
}

struct OfflinePlatforms(Arc<Offline>);

impl Platforms for OfflinePlatforms {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        Arc::new(OfflineTarget(Arc::clone(&self.0), target.key()))
    }
}

/// A target as the events told of it.
struct OfflineTarget(Arc<Offline>, TargetKey);

#[async_trait::async_trait]
impl Platform for OfflineTarget {
    async fn observe(&self) -> Result<Observation, PortError> {
        let rollouts = self.0.rollouts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((event, at)) = rollouts.get(&self.1).and_then(|event| Some((event, event.at?))) else {
            return Err(unread("read the target"));
        };
        let before =
            event.slots.as_ref().map_or_else(|| "an earlier version".to_owned(), |slots| format!("slot {}", slots.source));
        Ok(Observation {
            observed_at: at,
            running: RunningVersion {
                token: VersionToken(format!("event|{at}")),
                fingerprint: None,
                serving_since: Some(at),
                label: event
                    .version
                    .clone()
                    .unwrap_or_else(|| format!("the change of {}", crate::domain::instant::whole_seconds(at))),
            },
            under_way: None,
            ways_back: vec![WayBack {
                name: before,
                fingerprint: None,
                label: "what ran before".to_owned(),
                obstacles: Vec::new(),
                detail: Value::Null,
            }],
            obstacles: Vec::new(),
        })
    }

    fn rights(&self) -> Vec<NeededRight> {
        Vec::new()
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        Ok(Preflight { obstacles: Vec::new(), ways_back: Vec::new() })
    }

    fn steps(&self, _way_back: &WayBack, _fence: &Fence) -> Vec<Step> {
        Vec::new()
    }

    async fn submit(&self, _step: &Step) -> Submission {
        Submission::Refused { says: "`decide` has no effects".to_owned() }
    }

    async fn poll(&self, _operation: &Value) -> Result<OperationState, PortError> {
        Err(unread("poll an operation"))
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        self.observe().await
    }
}

#[async_trait::async_trait]
impl Telemetry for Offline {
    async fn series(
        &self,
        _metric: &EvidenceMetric,
        _resource: &ResourceId,
        _from: Timestamp,
        _to: Timestamp,
    ) -> Result<Series, PortError> {
        Err(unread("read the measurements"))
    }
}

#[async_trait::async_trait]
impl Alerts for Offline {
    async fn changed_since(&self, _subscription: &str, _since: Timestamp) -> Result<Vec<KeptAlert>, PortError> {
        Err(unread("look for alerts"))
    }
}

#[async_trait::async_trait]
impl FollowUps for Offline {
    async fn send(&self, _message: QueueMessage, _delay: Duration) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Notifier for Offline {
    async fn tell(&self, _notice: &Notice, _rule: &NotifyRule) -> Result<(), PortError> {
        Ok(())
    }
}

fn unread(operation: &'static str) -> PortError {
    PortError::new(operation, PortErrorKind::Transient, "`decide` works offline; `--live` would read it")
}
