//! Which revisions serve, since when, and which others could.
//!
//! **Token.** In single-revision mode each rollout makes a revision, so its name and time name the rollout. In multiple-revision
//! mode one revision may serve again and again; so the rollout is named by all serving revisions, their weights, and when the
//! app was last written. Any other write of the app in between gives another token too: between decision and call nothing is
//! sent then, which is safe; before, equal content is the same service, whatever its tokens.
//!
//! **Fingerprint.** Hash of the serving template. When traffic is split, the mix serves: all templates with their weights,
//! equal whichever revisions hold them; revisions of equal content count as one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    template::{self, fingerprint, floating_image, missing_secrets},
    wire::{App, Configuration, Revision, app_path, is},
};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager},
    domain::{
        observation::{Observation, Obstacle, RunningVersion, WayBack},
        rule::RuleId,
        target::{ContainerAppTarget, Fingerprint, VersionToken},
    },
    platforms::answer::parse,
    ports::PortError,
};

/// Both answers of one observation, also those which failed.
pub struct Readings {
    pub app: Result<App, PortError>,
    pub revisions: Result<Vec<Revision>, PortError>,
}

/// How the app treats its revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The latest revision that is ready serves alone.
    Single,
    /// Weights say which revisions serve.
    Multiple,
}

/// A hundred inactive revisions are kept; only the newest can be last known good.
const WAYS_BACK_MAX: usize = 20;

/// Reads the app and its revisions side by side: one trip deep.
pub async fn read(arm: &ResourceManager, target: &ContainerAppTarget) -> Readings {
    const APP: &str = "read the container app";
    const REVISIONS: &str = "read the app's revisions";
    let (app_path, revisions_path) = (app_path(target, ""), app_path(target, "/revisions"));
    let (app, revisions) = tokio::join!(arm.read(APP, &app_path), arm.read_all(REVISIONS, &revisions_path));
    Readings {
        app: app.and_then(|answer| parse(APP, answer)),
        revisions: revisions.and_then(|all| parse(REVISIONS, Value::Array(all))),
    }
}

/// What the answers mean. Pure.
pub fn interpret(target: &ContainerAppTarget, readings: &Readings, observed_at: Timestamp) -> Result<Observation, PortError> {
    let app = match &readings.app {
        Ok(app) => app,
        Err(error) => return Err(error.clone()),
    };
    let configuration = app.configuration();
    let mode = mode_of(&configuration);
    let revisions = readings.revisions.as_deref().unwrap_or_default();
    let state = State { target, app, configuration, mode: mode.unwrap_or(Mode::Single), revisions };
    let serving = state.serving();
    let mut obstacles = state.against_any_rollback(&serving);
    if mode.is_none() {
        obstacles.push(Obstacle::page(
            RuleId::S9,
            format!(
                "revision mode `{}` is not known here; use `Single` or `Multiple`",
                clean(state.configuration.active_revisions_mode.as_deref().unwrap_or_default())
            ),
        ));
    }
    if let Err(error) = &readings.revisions {
        obstacles
            .push(Obstacle::propose(RuleId::S10, format!("the revisions could not be read ({error}), so no way back is known")));
    }
    Ok(Observation {
        observed_at,
        running: state.running(&serving),
        under_way: state.under_way(),
        ways_back: state.ways_back(&serving),
        obstacles,
    })
}

/// `None` for a mode that came after this was written.
pub fn mode_of(configuration: &Configuration) -> Option<Mode> {
    match configuration.active_revisions_mode.as_deref().map(str::trim) {
        None | Some("") => Some(Mode::Single),
        Some(mode) if mode.eq_ignore_ascii_case("single") => Some(Mode::Single),
        Some(mode) if mode.eq_ignore_ascii_case("multiple") => Some(Mode::Multiple),
        Some(_) => None,
    }
}

struct State<'a> {
    target: &'a ContainerAppTarget,
    app: &'a App,
    configuration: Configuration,
    mode: Mode,
    revisions: &'a [Revision],
}

/// Serving revisions by name, with their share of the traffic.
type Serving = BTreeMap<String, u32>;

impl State<'_> {
    fn revision(&self, name: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.name.eq_ignore_ascii_case(name))
    }

    /// What an entry that follows the latest revision leads to.
    fn latest_ready(&self) -> Option<&String> {
        self.app.properties.latest_ready_revision_name.as_ref().filter(|name| !name.is_empty())
    }

    fn serving(&self) -> Serving {
        let latest = self.latest_ready();
        let alone = || latest.map(|name| (name.clone(), 100)).into_iter().collect();
        let traffic = self.configuration.ingress.as_ref().and_then(|ingress| ingress.traffic.as_ref());
        match (self.mode, traffic) {
            (Mode::Multiple, Some(traffic)) if !traffic.is_empty() => {
                let mut serving = Serving::new();
                for entry in traffic.iter().filter(|entry| entry.weight.unwrap_or_default() > 0) {
                    if let Some(name) = entry.revision_name.as_ref().filter(|name| !name.is_empty()).or(latest) {
                        *serving.entry(name.clone()).or_default() += entry.weight.unwrap_or_default();
                    }
                }
                serving
            }
            (Mode::Single | Mode::Multiple, _) => alone(),
        }
    }

    fn hash(&self, name: &str) -> Option<String> {
        let template = self.revision(name)?.properties.template.as_ref()?;
        Some(fingerprint(template, self.target.app.name()))
    }

    fn running(&self, serving: &Serving) -> RunningVersion {
        let last_modified = self.app.system_data.as_ref().and_then(|data| data.last_modified_at);
        let written = |moment: Option<Timestamp>| moment.map_or_else(|| "none".to_owned(), |moment| format!("{moment:.7}"));
        let created = |name: &String| self.revision(name).and_then(|revision| revision.properties.created_time);
        let (token, serving_since) = match self.mode {
            Mode::Single => {
                let name = serving.keys().next();
                let created = name.and_then(created);
                (format!("revision|{}|{}", name.map_or("none", String::as_str), written(created)), created)
            }
            Mode::Multiple => {
                let set: Vec<String> = serving.iter().map(|(name, weight)| format!("{name}={weight}")).collect();
                (format!("traffic|{}|{}", set.join(","), written(last_modified)), last_modified)
            }
        };
        let labels: Vec<String> = serving
            .iter()
            .map(|(name, weight)| {
                let share = if *weight == 100 { String::new() } else { format!("{weight} % ") };
                format!("{share}{} ({name})", self.label(name))
            })
            .collect();
        let label = if labels.is_empty() { "no ready revision".to_owned() } else { labels.join(" and ") };
        RunningVersion { token: VersionToken(token), fingerprint: self.content(serving), serving_since, label }
    }

    fn label(&self, name: &str) -> String {
        let template = self.revision(name).and_then(|revision| revision.properties.template.as_ref());
        clean(&template.map_or_else(|| "unknown image".to_owned(), template::label))
    }

    fn content(&self, serving: &Serving) -> Option<Fingerprint> {
        let mut shares = BTreeMap::<String, u32>::new();
        for (name, weight) in serving {
            *shares.entry(self.hash(name)?).or_default() += weight;
        }
        match shares.len() {
            0 => None,
            1 => shares.into_keys().next().map(|hash| Fingerprint(format!("template:{hash}"))),
            _ => {
                let shares: Vec<(Fingerprint, u32)> =
                    shares.into_iter().map(|(hash, weight)| (Fingerprint(format!("template:{hash}")), weight)).collect();
                Some(Fingerprint::weighted(&shares))
            }
        }
    }

    /// The app's own operation, or a revision that starts and takes the traffic when it is ready.
    fn under_way(&self) -> Option<String> {
        let properties = &self.app.properties;
        if let Some(state) = properties.provisioning_state.as_ref().filter(|state| !state.trim().is_empty())
            && !["Succeeded", "Failed", "Canceled"].iter().any(|end| state.trim().eq_ignore_ascii_case(end))
        {
            return Some(format!("the app's provisioning is `{}`", clean(state)));
        }
        let latest = properties.latest_revision_name.as_ref()?;
        let traffic = self.configuration.ingress.as_ref().and_then(|ingress| ingress.traffic.as_ref());
        let follows = match (self.mode, traffic) {
            (Mode::Multiple, Some(traffic)) if !traffic.is_empty() => {
                traffic.iter().any(|entry| entry.latest_revision == Some(true) && entry.weight.unwrap_or_default() > 0)
            }
            (Mode::Single | Mode::Multiple, _) => true,
        };
        let starts = self.latest_ready().is_none_or(|ready| !ready.eq_ignore_ascii_case(latest))
            && self.revision(latest).is_some_and(|revision| revision.is_active() && !revision.has_failed());
        (follows && starts).then(|| format!("revision `{}` starts", clean(latest)))
    }

    fn against_any_rollback(&self, serving: &Serving) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        let mut say = |obstacle| obstacles.push(obstacle);
        if is(self.app.properties.running_status.as_ref(), "Stopped") {
            say(Obstacle::propose(RuleId::S9, "the app is stopped; start it, or leave it if that was meant".to_owned()));
        }
        if self.mode == Mode::Single {
            return obstacles;
        }
        if self.configuration.ingress.is_none() {
            say(Obstacle::page(
                RuleId::S9,
                "the app has no ingress, so weights do not decide which revision works; deactivate the bad revision by hand"
                    .to_owned(),
            ));
        }
        if self.app.system_data.as_ref().is_none_or(|data| data.last_modified_at.is_none()) {
            say(Obstacle::propose(
                RuleId::S9,
                "the platform does not say when the traffic was last changed (`systemData`)".to_owned(),
            ));
        }
        let consumes =
            serving.keys().filter_map(|name| self.revision(name)?.properties.template.as_ref()).any(consumes_elsewhere);
        if consumes || self.configuration.dapr.as_ref().is_some_and(|dapr| dapr.enabled == Some(true)) {
            say(Obstacle::propose(
                RuleId::S9,
                "the bad revision also takes work that weights do not steer (Dapr, or a scale rule on a queue or event); deactivate \
                 it after the rollback"
                    .to_owned(),
            ));
        }
        obstacles
    }

    /// Every revision but the one that serves alone, the newest first; none without a name, which no call could give traffic to.
    fn ways_back(&self, serving: &Serving) -> Vec<WayBack> {
        let alone = if serving.len() == 1 { serving.keys().next() } else { None };
        let is_way_back = |revision: &&Revision| !revision.name.is_empty() && Some(&revision.name) != alone;
        let mut others: Vec<&Revision> = self.revisions.iter().filter(is_way_back).collect();
        others.sort_by(|a, b| (b.properties.created_time, &b.name).cmp(&(a.properties.created_time, &a.name)));
        others.truncate(WAYS_BACK_MAX);
        others.into_iter().map(|revision| self.way_back(revision)).collect()
    }

    fn way_back(&self, revision: &Revision) -> WayBack {
        let name = &revision.name;
        let hash = self.hash(name);
        let detail = match self.mode {
            Mode::Single => json!({ COPY: name, HASH: hash }),
            Mode::Multiple => json!({ REVISION: name, ACTIVE: revision.is_active(), LABELS: self.labels() }),
        };
        WayBack {
            name: format!("revision {name}"),
            label: format!("{} ({name})", self.label(name)),
            fingerprint: hash.map(|hash| Fingerprint(format!("template:{hash}"))),
            obstacles: self.against(revision),
            detail,
        }
    }

    /// `[{"revisionName", "label"}]`: labels are addresses that people use, and stay where they are.
    fn labels(&self) -> Vec<Value> {
        let traffic = self.configuration.ingress.as_ref().and_then(|ingress| ingress.traffic.as_ref());
        let latest = self.app.properties.latest_revision_name.as_ref();
        let labelled = traffic.into_iter().flatten().filter_map(|entry| {
            let label = entry.label.as_ref().filter(|label| !label.is_empty())?;
            let name = entry.revision_name.as_ref().filter(|name| !name.is_empty()).or(latest)?;
            Some(json!({ "revisionName": name, "label": label }))
        });
        labelled.collect()
    }

    fn against(&self, revision: &Revision) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        let (name, properties) = (&revision.name, &revision.properties);
        let error = properties.provisioning_error.as_deref().map(str::trim).filter(|error| !error.is_empty());
        if is(properties.provisioning_state.as_ref(), "Failed") || error.is_some() {
            let why = error.map(|error| format!(" ({})", clean(error))).unwrap_or_default();
            obstacles.push(Obstacle::page(RuleId::S9, format!("revision {name} was never provisioned{why}")));
        }
        if self.mode == Mode::Multiple && revision.is_active() {
            let word = |text: &Option<String>| clean(text.as_deref().unwrap_or("not told"));
            let state =
                format!("health `{}`, running state `{}`", word(&properties.health_state), word(&properties.running_state));
            if revision.has_failed() {
                obstacles.push(Obstacle::page(RuleId::S9, format!("revision {name} is not healthy ({state}); look at its logs")));
            } else if !revision.is_ready() {
                obstacles.push(Obstacle::propose(RuleId::S9, format!("revision {name} is not ready yet ({state})")));
            }
        }
        if let Some(template) = &properties.template {
            let missing = missing_secrets(template, self.target.app.name(), &self.app.secrets());
            if !missing.is_empty() {
                obstacles.push(Obstacle::page(
                    RuleId::S9,
                    format!(
                        "revision {name} uses `{}`, a secret that the app does not have any more; add it again",
                        clean(&missing.join("`, `"))
                    ),
                ));
            }
            if let Some(image) = floating_image(template) {
                obstacles.push(Obstacle::propose(
                    RuleId::S10,
                    format!(
                        "`{}` of revision {name} names no fixed content; use a tag for each build, or a digest",
                        clean(image)
                    ),
                ));
            }
        }
        obstacles
    }
}

/// What a way back in single-revision mode remembers: the revision to copy, and its content.
pub const COPY: &str = "copy";
pub const HASH: &str = "hash";
/// What a way back in multiple-revision mode remembers.
pub const REVISION: &str = "revision";
pub const ACTIVE: &str = "active";
pub const LABELS: &str = "labels";

/// Scale rules other than `http` and `tcp` tell of queues and events.
fn consumes_elsewhere(template: &Value) -> bool {
    let rules = template.pointer("/scale/rules").and_then(Value::as_array);
    let given = |rule: &Value, key: &str| rule.get(key).is_some_and(|value| !value.is_null());
    rules.is_some_and(|rules| rules.iter().any(|rule| given(rule, "azureQueue") || given(rule, "custom")))
}
