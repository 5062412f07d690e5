//! Container apps and their revisions as `Microsoft.App` shows them, and the calls that change them.
//!
//! Field names as in api-version 2025-07-01. Composed rather than seen on Azure: message texts, that a write stamps
//! `systemData` when it is accepted (also if it then fails) and an activation does not, and how long anything takes.
//! Where traffic is split, the workload's telemetry follows the revision with the greatest weight.

use std::{collections::BTreeMap, time::Duration};

use axum::http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    AzureSimulation,
    arm::{ArmRequest, admit, nothing_here, parsed},
    call::Reply,
    faults::FaultEffect,
    metrics::Measured,
    world::World,
};
use crate::domain::resource_id::ResourceId;

pub(super) const API_VERSIONS: &[&str] = &["2025-07-01", "2026-07-01"];

/// A container app to put into the world, with one revision that has served `build` for `served_for`.
#[derive(Debug, Clone)]
pub struct SimulatedContainerApp {
    pub id: ResourceId,
    /// The workload whose users it serves; add that first.
    pub workload: String,
    pub build: String,
    /// Several revisions at once, by weights; else the latest ready one alone.
    pub multiple: bool,
    pub served_for: SignedDuration,
    /// How long a PATCH takes by the simulation's clock; zero answers 200 at once.
    pub change_takes: Duration,
    /// How long an activated revision takes until it is ready.
    pub start_takes: Duration,
}

impl SimulatedContainerApp {
    /// In single-revision mode; changes take a minute, starts 30 seconds.
    pub fn new(id: ResourceId, workload: &str, build: &str) -> Self {
        Self {
            id,
            workload: workload.to_owned(),
            build: build.to_owned(),
            multiple: false,
            served_for: SignedDuration::from_hours(30 * 24),
            change_takes: Duration::from_mins(1),
            start_takes: Duration::from_secs(30),
        }
    }

    pub fn with_multiple_revisions(mut self) -> Self {
        self.multiple = true;
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// By canonical id.
    apps: BTreeMap<String, App>,
}

#[derive(Debug)]
struct App {
    id: ResourceId,
    workload: String,
    multiple: bool,
    change_takes: SignedDuration,
    start_takes: SignedDuration,
    /// Oldest first; the last one is the latest.
    revisions: Vec<Revision>,
    latest_ready: String,
    /// As it was sent, for multiple-revision mode.
    traffic: Vec<Value>,
    secrets: Vec<String>,
    last_modified: Timestamp,
    operations: Vec<Operation>,
    changes_fail: Option<String>,
    /// Changes by request of what serves.
    changes: u32,
}

#[derive(Debug)]
struct Revision {
    name: String,
    template: Value,
    created: Timestamp,
    active: bool,
    ready_at: Timestamp,
    failed: bool,
}

#[derive(Debug)]
struct Operation {
    id: String,
    ends: Timestamp,
    fails: Option<String>,
    settled: bool,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Revision(String),
    Traffic(Vec<Value>),
    Nothing,
}

impl State {
    /// Every resource that is there.
    pub fn ids(&self) -> impl Iterator<Item = ResourceId> + '_ {
        let environments = self.apps.values().filter_map(|app| ResourceId::parse(&app.environment()).ok());
        let apps = self.apps.values().flat_map(|app| {
            let revisions =
                app.revisions.iter().filter_map(|r| ResourceId::parse(&format!("{}/revisions/{}", app.id, r.name)).ok());
            std::iter::once(app.id.clone()).chain(revisions)
        });
        environments.chain(apps)
    }

    /// Nothing: its own request metric tells errors by a dimension only. Add a component for its workload.
    #[expect(clippy::unused_self, reason = "every kind of resource is asked alike")]
    pub fn measured<'a>(&'a self, _world: &'a World, _id: &ResourceId) -> Option<Measured<'a>> {
        None
    }

    fn known(&mut self, id: &ResourceId) -> &mut App {
        let app = self.apps.get_mut(id.canonical());
        app.unwrap_or_else(|| panic!("the simulation has no container app `{id}`; add it with `add_container_app` first"))
    }
}

/// Container apps, and what happens to them from elsewhere. Each panics when the scenario names one which is not there.
impl AzureSimulation {
    pub fn add_container_app(&self, app: SimulatedContainerApp) {
        let now = self.now();
        let since = now.checked_sub(app.served_for).unwrap_or(now);
        let mut world = self.shared().settled_world();
        world.known_workload(&app.workload);
        let taking = |duration: Duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let mut state = App {
            workload: app.workload,
            multiple: app.multiple,
            change_takes: taking(app.change_takes),
            start_takes: taking(app.start_takes),
            revisions: Vec::new(),
            latest_ready: String::new(),
            traffic: Vec::new(),
            secrets: vec!["database".to_owned()],
            last_modified: since,
            operations: Vec::new(),
            changes_fail: None,
            changes: 0,
            id: app.id,
        };
        let name = state.add_revision(template(&app.build), since, since);
        state.latest_ready.clone_from(&name);
        state.traffic = vec![json!({ "latestRevision": true, "weight": 100 })];
        world.container_apps.apps.insert(state.id.canonical().to_owned(), state);
    }

    /// Somebody's deployment of `build`, over at once: a new revision, which serves alone. Its name.
    pub fn roll_out_container_app(&self, app: &ResourceId, build: &str) -> String {
        let name = self.stage_container_app(app, build);
        self.set_container_app_traffic(app, &[(&name, 100)]);
        name
    }

    /// A new revision of `build`, without traffic in multiple-revision mode. Its name.
    pub fn stage_container_app(&self, app: &ResourceId, build: &str) -> String {
        let now = self.now();
        let mut world = self.shared().settled_world();
        let state = world.container_apps.known(app);
        let served = state.serving();
        let name = state.add_revision(template(build), now, now);
        state.last_modified = now;
        state.become_ready(&name);
        if state.multiple {
            state.traffic = served.iter().map(|(name, weight)| json!({ "revisionName": name, "weight": weight })).collect();
        }
        follow(&mut world, app.canonical(), now);
        name
    }

    /// Somebody gives the traffic to these revisions, at once.
    pub fn set_container_app_traffic(&self, app: &ResourceId, weights: &[(&str, u32)]) {
        let now = self.now();
        let mut world = self.shared().settled_world();
        let state = world.container_apps.known(app);
        state.traffic = weights.iter().map(|(name, weight)| json!({ "revisionName": name, "weight": weight })).collect();
        state.last_modified = now;
        follow(&mut world, app.canonical(), now);
    }

    /// Lets a label lead to a revision, whatever its weight.
    pub fn label_container_app(&self, app: &ResourceId, revision: &str, label: &str) {
        let mut world = self.shared().settled_world();
        let state = world.container_apps.known(app);
        match state.traffic.iter_mut().find(|entry| entry["revisionName"] == revision) {
            Some(entry) => entry["label"] = json!(label),
            None => state.traffic.push(json!({ "revisionName": revision, "weight": 0, "label": label })),
        }
    }

    pub fn deactivate_container_app_revision(&self, app: &ResourceId, revision: &str) {
        let mut world = self.shared().settled_world();
        if let Some(revision) = world.container_apps.known(app).revision_mut(revision) {
            revision.active = false;
        }
    }

    /// Names of the revisions that serve, with their weights.
    pub fn container_app_serving(&self, app: &ResourceId) -> Vec<(String, u32)> {
        self.shared().settled_world().container_apps.known(app).serving()
    }

    /// Changes of what serves that took place by request.
    pub fn container_app_changes(&self, app: &ResourceId) -> u32 {
        self.shared().settled_world().container_apps.known(app).changes
    }

    pub fn is_container_app_busy(&self, app: &ResourceId) -> bool {
        self.shared().settled_world().container_apps.known(app).is_busy()
    }

    /// Every change that begins from now on fails at its end and says this; `None` ends that.
    pub fn set_container_app_changes_fail(&self, app: &ResourceId, says: Option<&str>) {
        self.shared().settled_world().container_apps.known(app).changes_fail = says.map(str::to_owned);
    }

    /// Takes a secret away that every revision uses (`database`), or gives it back.
    pub fn set_container_app_secret(&self, app: &ResourceId, there: bool) {
        let secrets = if there { vec!["database".to_owned()] } else { Vec::new() };
        self.shared().settled_world().container_apps.known(app).secrets = secrets;
    }
}

pub(super) fn answer(world: &mut World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    let call = request.call;
    let lower: Vec<String> = call.segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    match lower.as_slice() {
        ["subscriptions", _, "providers", "microsoft.app", "locations", _, kind, id] => poll(world, request, kind, id),
        ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.app", "containerapps", _, below @ ..] => {
            let app = parsed(&call.segments[..8])?;
            of_app(world, request, &app, below)
        }
        _ => Err(nothing_here(call)),
    }
}

fn of_app(world: &mut World, request: &ArmRequest<'_>, id: &ResourceId, below: &[&str]) -> Result<Reply, Reply> {
    let call = request.call;
    let action = match (call.method.as_str(), below) {
        ("GET", []) => "read",
        ("PATCH", []) => "write",
        ("GET", ["revisions"] | ["revisions", _]) => "revisions/read",
        ("POST", ["revisions", _, "activate"]) => "revisions/activate/action",
        ("POST", ["revisions", _, "deactivate"]) => "revisions/deactivate/action",
        _ => return Err(nothing_here(call)),
    };
    admit(world, request, id, &format!("Microsoft.App/containerApps/{action}"))?;
    let now = request.now;
    if call.method == Method::PATCH {
        let environment = world.container_apps.known(id).environment();
        world.permissions.require(request.identity, &environment, "Microsoft.App/managedEnvironments/join/action")?;
        return patch(world, request, id);
    }
    let app = world.container_apps.known(id);
    let ok = |body: &Value| Ok(Reply::json(StatusCode::OK, body));
    match below {
        [] => ok(&app.resource()),
        ["revisions"] => ok(&json!({ "value": app.revisions.iter().map(|r| app.revision_resource(r, now)).collect::<Vec<_>>() })),
        ["revisions", name, rest @ ..] => {
            let start_takes = app.start_takes;
            let Some(revision) = app.revision_mut(name) else {
                let says = format!("The revision '{name}' of container app '{}' was not found.", id.name());
                return Err(Reply::error(StatusCode::NOT_FOUND, "RevisionNotFound", &says));
            };
            let mut effects = 0;
            match rest {
                ["activate"] if !revision.active => {
                    revision.active = true;
                    revision.ready_at = now.checked_add(start_takes).unwrap_or(Timestamp::MAX);
                    effects = 1;
                }
                ["deactivate"] if revision.active => {
                    revision.active = false;
                    effects = 1;
                }
                [] => return ok(&app.revision_of(name, now)),
                _ => {}
            }
            Ok(Reply::empty(StatusCode::OK).with_effects(effects))
        }
        _ => Err(nothing_here(call)),
    }
}

fn patch(world: &mut World, request: &ArmRequest<'_>, id: &ResourceId) -> Result<Reply, Reply> {
    let now = request.now;
    let body: Value = serde_json::from_slice(&request.call.body).map_err(|_| invalid("The request body is no JSON."))?;
    let app = world.container_apps.known(id);
    if app.is_busy() {
        let says =
            format!("Cannot modify container app '{}' because there is an active provisioning operation in progress.", id.name());
        return Err(Reply::error(StatusCode::CONFLICT, "ContainerAppOperationInProgress", &says));
    }
    let mut change = Change::Nothing;
    if let Some(traffic) = body.pointer("/properties/configuration/ingress/traffic") {
        change = Change::Traffic(app.checked_traffic(traffic)?);
    }
    if let Some(template) = body.pointer("/properties/template") {
        change = app.changed_template(template, now)?;
    }
    if let Some(environment) = body.pointer("/properties/environmentId").filter(|at| **at != json!(app.environment())) {
        return Err(invalid(&format!("The environment cannot be changed to {environment}.")));
    }
    app.last_modified = now;
    let fails = match request.twist {
        Some(FaultEffect::OperationFails { says }) => Some(says.clone()),
        _ => app.changes_fail.clone(),
    };
    let operation = Operation {
        id: Uuid::new_v4().to_string(),
        ends: now.checked_add(app.change_takes).unwrap_or(Timestamp::MAX),
        fails,
        settled: false,
        change,
    };
    let operation_id = operation.id.clone();
    app.operations.push(operation);
    settle(world, now);
    let app = world.container_apps.known(id);
    if !app.is_busy() {
        return Ok(Reply::json(StatusCode::OK, &app.resource()).with_effects(1));
    }
    let base = match request.twist {
        Some(FaultEffect::OperationUrlElsewhere) => request.elsewhere,
        _ => request.here,
    };
    let version = request.call.parameter("api-version").unwrap_or_default();
    let url = |kind: &str| {
        let subscription = request.call.segments.get(1).map(String::as_str).unwrap_or_default();
        let base = base.as_str().trim_end_matches('/');
        format!(
            "{base}/subscriptions/{subscription}/providers/Microsoft.App/locations/westeurope/{kind}/{operation_id}?api-version={version}"
        )
    };
    Ok(Reply::json(StatusCode::ACCEPTED, &app.resource())
        .with_header("azure-asyncoperation", url("containerappOperationStatuses"))
        .with_header("location", url("containerappOperationResults"))
        .with_header("retry-after", "10")
        .with_effects(1))
}

fn poll(world: &World, request: &ArmRequest<'_>, kind: &str, id: &str) -> Result<Reply, Reply> {
    let call = request.call;
    let right = match kind {
        "containerappoperationstatuses" => "containerappOperationStatuses",
        "containerappoperationresults" => "containerappOperationResults",
        _ => return Err(nothing_here(call)),
    };
    let scope = format!("/subscriptions/{}", call.segments.get(1).map(String::as_str).unwrap_or_default());
    world.permissions.require(request.identity, &scope, &format!("Microsoft.App/locations/{right}/read"))?;
    let found = world.container_apps.apps.values().flat_map(|app| &app.operations).find(|operation| operation.id == id);
    let Some(operation) = found else {
        return Err(Reply::error(StatusCode::NOT_FOUND, "OperationNotFound", &format!("The operation '{id}' was not found.")));
    };
    if right == "containerappOperationResults" {
        let status = if operation.settled { StatusCode::OK } else { StatusCode::ACCEPTED };
        return Ok(Reply::empty(status));
    }
    let mut body = json!({ "id": format!("/{}", call.segments.join("/")), "name": id, "status": "InProgress" });
    match &operation.fails {
        _ if !operation.settled => {}
        None => body["status"] = json!("Succeeded"),
        Some(says) => {
            body["status"] = json!("Failed");
            body["error"] = json!({ "code": "ContainerAppOperationError", "message": says });
        }
    }
    let reply = Reply::json(StatusCode::OK, &body);
    Ok(if operation.settled { reply } else { reply.with_header("retry-after", "10") })
}

/// Lets what has ended by the clock take effect.
pub(super) fn settle(world: &mut World, now: Timestamp) {
    let mut changed = Vec::new();
    for (id, app) in &mut world.container_apps.apps {
        let due: Vec<usize> =
            (0..app.operations.len()).filter(|at| !app.operations[*at].settled && app.operations[*at].ends <= now).collect();
        for at in due {
            let ends = app.operations[at].ends;
            if app.end(at) {
                changed.push((id.clone(), ends));
            }
        }
    }
    for (id, at) in changed {
        follow(world, &id, at);
    }
}

/// The workload's users are served by the revision with the greatest weight.
fn follow(world: &mut World, app: &str, at: Timestamp) {
    let Some(app) = world.container_apps.apps.get(app) else { return };
    let heaviest = app.serving().into_iter().max_by_key(|(_, weight)| *weight);
    let Some(build) = heaviest.and_then(|(name, _)| Some(build(&app.revision(&name)?.template))) else { return };
    let workload = app.workload.clone();
    if world.known_workload(&workload).served.at(at) != &build {
        world.serve(&workload, &build, at);
    }
}

impl App {
    fn environment(&self) -> String {
        let resource = self.id.to_string();
        let group = resource.rsplit_once("/providers/").map_or("", |(group, _)| group);
        format!("{group}/providers/Microsoft.App/managedEnvironments/simulated")
    }

    fn is_busy(&self) -> bool {
        self.operations.iter().any(|operation| !operation.settled)
    }

    fn revision(&self, name: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.name.eq_ignore_ascii_case(name))
    }

    fn revision_mut(&mut self, name: &str) -> Option<&mut Revision> {
        self.revisions.iter_mut().find(|revision| revision.name.eq_ignore_ascii_case(name))
    }

    fn add_revision(&mut self, template: Value, now: Timestamp, ready_at: Timestamp) -> String {
        let number = self.revisions.len() + 1;
        let suffix = template["revisionSuffix"].as_str().filter(|suffix| !suffix.is_empty());
        let name = format!("{}--{}", self.id.name(), suffix.map_or_else(|| format!("{number:07}"), str::to_owned));
        self.revisions.push(Revision { name: name.clone(), template, created: now, active: true, ready_at, failed: false });
        name
    }

    /// The latest revision is ready; in single-revision mode the others end.
    fn become_ready(&mut self, name: &str) {
        name.clone_into(&mut self.latest_ready);
        if !self.multiple {
            for revision in &mut self.revisions {
                revision.active = revision.name == name;
            }
        }
    }

    fn serving(&self) -> Vec<(String, u32)> {
        if !self.multiple {
            return vec![(self.latest_ready.clone(), 100)];
        }
        let weight = |entry: &Value| entry["weight"].as_u64().and_then(|weight| u32::try_from(weight).ok()).unwrap_or_default();
        let name = |entry: &Value| entry["revisionName"].as_str().unwrap_or(&self.latest_ready).to_owned();
        self.traffic.iter().filter(|entry| weight(entry) > 0).map(|entry| (name(entry), weight(entry))).collect()
    }

    fn checked_traffic(&self, traffic: &Value) -> Result<Vec<Value>, Reply> {
        if !self.multiple {
            return Err(invalid("Traffic weights need the active revisions mode `Multiple`."));
        }
        let entries = traffic.as_array().ok_or_else(|| invalid("`traffic` is no array."))?;
        let total: u64 = entries.iter().filter_map(|entry| entry["weight"].as_u64()).sum();
        if total != 100 {
            return Err(invalid(&format!("The traffic weights add up to {total}, not to 100.")));
        }
        for entry in entries.iter().filter(|entry| entry["latestRevision"] != true) {
            let name = entry["revisionName"].as_str().unwrap_or_default();
            if !self.revision(name).is_some_and(|revision| revision.active) {
                return Err(invalid(&format!("The traffic names revision '{name}', which is not active.")));
            }
        }
        Ok(entries.clone())
    }

    /// Merges a PATCH into the app's template; a new revision comes of what differs.
    fn changed_template(&mut self, patch: &Value, now: Timestamp) -> Result<Change, Reply> {
        let mut template = self.revisions.last().map(|latest| latest.template.clone()).unwrap_or_default();
        merge(&mut template, patch);
        if self.revisions.last().is_some_and(|latest| latest.template == template) {
            return Ok(Change::Nothing);
        }
        if let Some(secret) = secret_refs(&template).find(|secret| !self.secrets.iter().any(|known| known == secret)) {
            return Err(invalid(&format!("SecretRef '{secret}' was not found.")));
        }
        if let Some(suffix) = template["revisionSuffix"].as_str().filter(|suffix| !suffix.is_empty())
            && self.revision(&format!("{}--{suffix}", self.id.name())).is_some()
        {
            return Err(invalid(&format!("Revision with suffix '{suffix}' already exists.")));
        }
        Ok(Change::Revision(self.add_revision(template, now, Timestamp::MAX)))
    }

    /// Whether it changed what serves.
    fn end(&mut self, at: usize) -> bool {
        let operation = &mut self.operations[at];
        operation.settled = true;
        let (fails, change, ends) = (operation.fails.is_some(), operation.change.clone(), operation.ends);
        match change {
            Change::Revision(name) => {
                if let Some(revision) = self.revision_mut(&name) {
                    revision.failed = fails;
                    revision.ready_at = ends;
                }
                if !fails {
                    self.become_ready(&name);
                    self.changes += 1;
                }
            }
            Change::Traffic(traffic) if !fails && self.traffic != traffic => {
                self.traffic = traffic;
                self.changes += 1;
            }
            Change::Traffic(_) | Change::Nothing => return false,
        }
        !fails
    }

    fn resource(&self) -> Value {
        let state = match self.operations.last() {
            Some(operation) if !operation.settled => "InProgress",
            Some(operation) if operation.fails.is_some() => "Failed",
            Some(_) | None => "Succeeded",
        };
        let latest = self.revisions.last();
        json!({
            "id": self.id.to_string(),
            "name": self.id.name(),
            "type": "Microsoft.App/containerApps",
            "location": "West Europe",
            "systemData": {
                "createdAt": self.revisions.first().map(|revision| unmarked(revision.created)),
                "lastModifiedAt": unmarked(self.last_modified),
            },
            "properties": {
                "provisioningState": state,
                "runningStatus": "Running",
                "environmentId": self.environment(),
                "managedEnvironmentId": self.environment(),
                "latestRevisionName": latest.map(|revision| &revision.name),
                "latestReadyRevisionName": self.latest_ready,
                "configuration": {
                    "activeRevisionsMode": if self.multiple { "Multiple" } else { "Single" },
                    "secrets": self.secrets.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
                    "ingress": {
                        "fqdn": format!("{}.simulated.westeurope.azurecontainerapps.io", self.id.name()),
                        "external": true,
                        "targetPort": 8080,
                        "traffic": if self.multiple { self.traffic.clone() } else { vec![json!({ "latestRevision": true, "weight": 100 })] },
                    },
                    "dapr": null,
                    "maxInactiveRevisions": 100,
                },
                "template": latest.map(|revision| &revision.template),
            },
        })
    }

    fn revision_of(&self, name: &str, now: Timestamp) -> Value {
        self.revision(name).map(|revision| self.revision_resource(revision, now)).unwrap_or_default()
    }

    fn revision_resource(&self, revision: &Revision, now: Timestamp) -> Value {
        let ready = revision.active && !revision.failed && revision.ready_at <= now;
        let (health, running) = match (revision.active, revision.failed, ready) {
            (_, true, _) => ("Unhealthy", "Failed"),
            (false, _, _) => ("None", "Stopped"),
            (true, _, true) => ("Healthy", "Running"),
            (true, _, false) => ("None", "Processing"),
        };
        // Revisions show secrets under the app's name.
        let mut template = revision.template.clone();
        each_secret_ref(&mut template, &|secret| format!("{}-{secret}", self.id.name()));
        json!({
            "id": format!("{}/revisions/{}", self.id, revision.name),
            "name": revision.name,
            "type": "Microsoft.App/containerApps/revisions",
            "properties": {
                "active": revision.active,
                "createdTime": marked(revision.created),
                "replicas": u32::from(ready),
                "trafficWeight": self.serving().iter().find(|(name, _)| *name == revision.name).map_or(0, |(_, weight)| *weight),
                "healthState": health,
                "provisioningState": if revision.failed { "Failed" } else { "Provisioned" },
                "runningState": running,
                "provisioningError": null,
                "template": template,
            },
        })
    }
}

/// How `systemData` writes a time: UTC without saying so.
fn unmarked(moment: Timestamp) -> String {
    format!("{moment:.7}").trim_end_matches('Z').to_owned()
}

/// How a revision writes a time.
fn marked(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

const REGISTRY: &str = "registry.example.com/app:";

fn template(build: &str) -> Value {
    json!({
        "revisionSuffix": null,
        "containers": [{
            "name": "app",
            "image": format!("{REGISTRY}{build}"),
            "env": [{ "name": "LEVEL", "value": "1" }, { "name": "DATABASE", "secretRef": "database" }],
            "resources": { "cpu": 0.5, "memory": "1Gi" },
        }],
        "scale": { "minReplicas": 1, "maxReplicas": 10, "rules": null },
    })
}

fn build(template: &Value) -> String {
    let image = template.pointer("/containers/0/image").and_then(Value::as_str).unwrap_or_default();
    image.rsplit(':').next().unwrap_or(image).to_owned()
}

fn secret_refs(template: &Value) -> impl Iterator<Item = &str> {
    let containers = template["containers"].as_array();
    let variables = containers.into_iter().flatten().filter_map(|container| container["env"].as_array()).flatten();
    variables.filter_map(|variable| variable["secretRef"].as_str())
}

fn each_secret_ref(template: &mut Value, rename: &dyn Fn(&str) -> String) {
    let containers = template["containers"].as_array_mut();
    for variable in containers.into_iter().flatten().filter_map(|container| container["env"].as_array_mut()).flatten() {
        if let Some(secret) = variable["secretRef"].as_str() {
            variable["secretRef"] = json!(rename(secret));
        }
    }
}

/// JSON Merge Patch, RFC 7396; what is null is kept as null, as the service shows it.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        merge(&mut target[key], value);
    }
}

fn invalid(says: &str) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, "ContainerAppInvalidRequest", says)
}
