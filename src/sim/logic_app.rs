//! Consumption logic apps as `Microsoft.Logic` shows them, and the save that replaces one. Names as in api-version 2019-05-01.
//!
//! Composed rather than seen on Azure: the texts of refusals; that a change of state makes a version; that a save without a
//! secure value, or with a connection that is gone, is refused. Runs are made up from the traffic: one a minute at most.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    AzureSimulation,
    arm::{ArmRequest, admit, nothing_here, parsed},
    call::Reply,
    metrics::{Measured, Measures, Metric},
    world::{Timeline, Workload, World},
};
use crate::domain::resource_id::ResourceId;

pub(super) const API_VERSIONS: &[&str] = &["2016-06-01", "2019-05-01"];

const fn metric(name: &'static str, says: &'static str, class: &'static str, measures: Measures) -> Metric {
    Metric { name, says, unit: "Count", primary: "Total", class, measures }
}

const METRICS: &[Metric] = &[
    metric("RunsStarted", "Runs Started", "Transactions", Measures::Requests),
    metric("RunsCompleted", "Runs Completed", "Transactions", Measures::Requests),
    metric("RunsSucceeded", "Runs Succeeded", "Transactions", Measures::Successes),
    metric("RunsFailed", "Runs Failed", "Errors", Measures::Failures),
    Metric {
        name: "RunLatency",
        says: "Run Latency",
        unit: "Seconds",
        primary: "Average",
        class: "Latency",
        measures: Measures::ResponseSeconds,
    },
];

/// A workflow to put into the world, which calls the HTTP service `build` and uses one connection.
#[derive(Debug, Clone)]
pub struct SimulatedWorkflow {
    pub id: ResourceId,
    pub build: String,
    pub runs_per_minute: f64,
    pub served_for: SignedDuration,
}

impl SimulatedWorkflow {
    /// One that runs 60 times a minute, and has done so for 30 days.
    pub fn new(id: ResourceId, build: &str) -> Self {
        Self { id, build: build.to_owned(), runs_per_minute: 60.0, served_for: SignedDuration::from_hours(30 * 24) }
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// By canonical id.
    workflows: BTreeMap<String, Workflow>,
    connections: BTreeMap<String, ResourceId>,
}

#[derive(Debug)]
struct Workflow {
    id: ResourceId,
    created: Timestamp,
    /// What the last save left, and versions do not hold: `location`, `tags`, `identity`, access control.
    outside: Value,
    /// Newest last; never empty.
    versions: Vec<Version>,
    enabled: Timeline<bool>,
    provisioning_state: String,
    trigger_provisioning_state: String,
    saves: u32,
}

/// What a version keeps.
#[derive(Debug, Clone)]
struct Version {
    id: String,
    changed: Timestamp,
    state: String,
    definition: Value,
    parameters: Value,
    integration_account: Value,
}

impl State {
    /// Every resource that is there.
    pub fn ids(&self) -> impl Iterator<Item = ResourceId> + '_ {
        self.workflows.values().map(|workflow| workflow.id.clone()).chain(self.connections.values().cloned())
    }

    pub fn measured<'a>(&'a self, world: &'a World, id: &ResourceId) -> Option<Measured<'a>> {
        let workflow = self.workflows.get(id.canonical())?;
        let workload = world.workloads.get(id.canonical())?;
        Some(Measured {
            id: workflow.id.to_string(),
            namespace: "Microsoft.Logic/workflows",
            metrics: METRICS,
            requests_per_minute: Box::new(|minute| runs_per_minute(workflow, workload, minute)),
            served: &workload.served,
            silenced: &workload.silenced,
        })
    }
}

fn runs_per_minute(workflow: &Workflow, workload: &Workload, minute: Timestamp) -> f64 {
    if *workflow.enabled.at(minute) { *workload.requests_per_minute.at(minute) } else { 0.0 }
}

pub(super) fn answer(world: &mut World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    let call = request.call;
    let lower: Vec<String> = call.segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.logic", "workflows", _, below @ ..] = lower.as_slice()
    else {
        return Err(nothing_here(call));
    };
    let action = match (call.method.as_str(), below) {
        ("GET", []) => "read",
        ("PUT", []) => "write",
        ("GET", ["versions"] | ["versions", _]) => "versions/read",
        ("GET", ["runs"]) => "runs/read",
        ("GET", ["triggers"]) => "triggers/read",
        _ => return Err(nothing_here(call)),
    };
    let id = parsed(&call.segments[..8])?;
    admit(world, request, &id, &format!("Microsoft.Logic/workflows/{action}"))?;
    if action == "write" {
        return save(world, request, &id);
    }
    let Some(workflow) = world.logic_apps.workflows.get(id.canonical()) else { return Err(nothing_here(call)) };
    let body = match below {
        [] => workflow.shown(),
        ["versions", version] => {
            let found = workflow.versions.iter().find(|known| known.id == *version);
            let gone = || {
                let says = format!("The workflow version '{version}' could not be found.");
                Reply::error(StatusCode::NOT_FOUND, "WorkflowVersionNotFound", &says)
            };
            workflow.shown_version(found.ok_or_else(gone)?)
        }
        ["versions"] => {
            let top = call.parameter("$top").and_then(|top| top.parse().ok()).unwrap_or(usize::MAX);
            let value: Vec<Value> =
                workflow.versions.iter().rev().take(top).map(|version| workflow.shown_version(version)).collect();
            let more = workflow.versions.len() > value.len();
            let next = format!("{}{}&$skiptoken=more", request.here, call.path_and_query.trim_start_matches('/'));
            json!({ "value": value, "nextLink": more.then_some(next) })
        }
        ["runs"] => json!({ "value": runs(world, workflow, request)? }),
        _ => json!({ "value": workflow.triggers() }),
    };
    Ok(Reply::json(StatusCode::OK, &body))
}

/// Answers `GET .../Microsoft.Web/connections/{name}`.
pub(super) fn connection(world: &World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    let call = request.call;
    let id = parsed(&call.segments)?;
    if call.method != Method::GET || id.resource_type().as_deref() != Some("microsoft.web/connections") {
        return Err(nothing_here(call));
    }
    admit(world, request, &id, "Microsoft.Web/connections/read")?;
    let properties = json!({ "overallStatus": "Connected" });
    let body = json!({ "id": id.as_written(), "name": id.name(), "type": "Microsoft.Web/connections", "properties": properties });
    Ok(Reply::json(StatusCode::OK, &body))
}

/// Nothing takes long here: a save is answered when it is done.
pub(super) fn settle(_world: &mut World, _now: Timestamp) {}

/// Replaces the whole resource: what is not sent is gone.
fn save(world: &mut World, request: &ArmRequest<'_>, id: &ResourceId) -> Result<Reply, Reply> {
    let refuse = |code: &str, says: &str| Err(Reply::error(StatusCode::BAD_REQUEST, code, says));
    let Ok(mut body) = serde_json::from_slice::<Value>(&request.call.body) else {
        return refuse("InvalidRequestContent", "The request content is not valid JSON.");
    };
    let mut properties = body["properties"].take();
    let (definition, parameters) = (properties["definition"].take(), properties["parameters"].take());
    if !definition.is_object() {
        return refuse("InvalidRequestContent", "The workflow 'definition' is required.");
    }
    for (name, declared) in definition["parameters"].as_object().into_iter().flatten() {
        let secure = declared["type"].as_str().is_some_and(|kind| kind.to_ascii_lowercase().starts_with("secure"));
        if secure && parameters[name]["value"].is_null() {
            return refuse("InvalidTemplate", &format!("The value for the workflow parameter '{name}' is not provided."));
        }
    }
    for (name, entry) in parameters["$connections"]["value"].as_object().into_iter().flatten() {
        let there = entry["connectionId"].as_str().and_then(|id| ResourceId::parse(id).ok()).is_some_and(|id| world.exists(&id));
        if !there {
            return refuse("WorkflowConnectionNotFound", &format!("The API connection '{name}' could not be found."));
        }
    }
    let Some(workflow) = world.logic_apps.workflows.get_mut(id.canonical()) else { return Err(nothing_here(request.call)) };
    if body["location"] != workflow.outside["location"] {
        return refuse("InvalidResourceLocation", "The location of an existing resource cannot be changed.");
    }
    workflow.outside = json!({
        "location": body["location"],
        "tags": body["tags"],
        "identity": body["identity"],
        "accessControl": properties["accessControl"],
        "endpointsConfiguration": properties["endpointsConfiguration"],
    });
    let version = Version {
        id: String::new(),
        changed: request.now,
        state: properties["state"].as_str().unwrap_or("Enabled").to_owned(),
        definition,
        parameters: if parameters.is_null() { json!({}) } else { parameters },
        integration_account: properties["integrationAccount"].take(),
    };
    workflow.saves += 1;
    let shown = workflow.put(version).shown();
    let build = workflow.build();
    world.serve(id.canonical(), &build, request.now);
    Ok(Reply::json(StatusCode::OK, &shown).with_effects(1))
}

/// The newest runs that fit `$filter`, which knows `startTime lt T` and `status eq 'S'`.
fn runs(world: &World, workflow: &Workflow, request: &ArmRequest<'_>) -> Result<Vec<Value>, Reply> {
    let call = request.call;
    let refuse = || Reply::error(StatusCode::BAD_REQUEST, "InvalidFilterInQueryString", "The filter is not understood.");
    let Some(workload) = world.workloads.get(workflow.id.canonical()) else { return Ok(Vec::new()) };
    let (mut before, mut only) = (request.now, None);
    for clause in call.parameter("$filter").unwrap_or_default().split(" and ").filter(|clause| !clause.is_empty()) {
        match clause.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["startTime", "lt", time] => before = time.parse().map_err(|_| refuse())?,
            ["status", "eq", name] => only = Some(name.trim_matches('\'').to_owned()),
            _ => return Err(refuse()),
        }
    }
    let top: usize = call.parameter("$top").and_then(|top| top.parse().ok()).unwrap_or(30);
    let mut runs = Vec::new();
    for back in 1..=3 * 1440_i64 {
        let start = before - SignedDuration::from_mins(back);
        if start < workflow.created || runs.len() == top {
            break;
        }
        let Some(version) = workflow.versions.iter().rev().find(|version| version.changed <= start) else { break };
        if runs_per_minute(workflow, workload, start) == 0.0 {
            continue;
        }
        let share = world.builds.get(workload.served.at(start)).map_or(0.0, |build| *build.error_share.at(start));
        let fails = (share * (back + 1) as f64).floor() > (share * back as f64).floor();
        let ended = if fails { "Failed" } else { "Succeeded" };
        if only.as_deref().is_none_or(|wanted| wanted == ended) {
            let named = format!("{}/versions/{}", workflow.id, version.id);
            runs.push(json!({
                "name": format!("run-{}", start.as_second()),
                "type": "Microsoft.Logic/workflows/runs",
                "properties": {
                    "startTime": start,
                    "status": ended,
                    "workflow": { "id": named, "name": version.id, "type": "Microsoft.Logic/workflows/versions" },
                },
            }));
        }
    }
    Ok(runs)
}

impl Workflow {
    fn running(&self) -> &Version {
        &self.versions[self.versions.len() - 1]
    }

    /// Which build the definition calls.
    fn build(&self) -> String {
        self.running().definition["actions"]["Call_service"]["inputs"]["headers"]["x-build"]
            .as_str()
            .unwrap_or("unknown")
            .to_owned()
    }

    /// Adds a version with an id of its own: ids count down with time.
    fn put(&mut self, mut version: Version) -> &Self {
        let last = self.versions.last().and_then(|last| last.id.parse::<i64>().ok()).unwrap_or(i64::MAX);
        version.id = format!("{:020}", version_number(version.changed).min(last - 1));
        self.enabled.set(version.changed, version.state == "Enabled");
        self.versions.push(version);
        self
    }

    fn shown(&self) -> Value {
        let mut shown = self.shown_version(self.running());
        shown["identity"] = self.outside["identity"].clone();
        shown["properties"]["provisioningState"] = json!(self.provisioning_state);
        shown
    }

    /// As in the published examples, a version carries the workflow's own id and name.
    fn shown_version(&self, version: &Version) -> Value {
        json!({
            "id": self.id.as_written(),
            "name": self.id.name(),
            "type": "Microsoft.Logic/workflows",
            "location": self.outside["location"],
            "tags": self.outside["tags"],
            "properties": {
                "provisioningState": "Succeeded",
                "createdTime": self.created,
                "changedTime": version.changed,
                "state": version.state,
                "version": version.id,
                "accessEndpoint": "https://prod-01.westeurope.logic.azure.com:443/workflows/simulated",
                "definition": version.definition,
                "parameters": version.parameters,
                "integrationAccount": version.integration_account,
                "accessControl": self.outside["accessControl"],
                "endpointsConfiguration": self.outside["endpointsConfiguration"],
            },
        })
    }

    fn triggers(&self) -> Vec<Value> {
        let running = self.running();
        let names = running.definition["triggers"].as_object().into_iter().flatten().map(|(name, _)| name);
        names
            .map(|name| {
                json!({
                    "name": name,
                    "type": "Microsoft.Logic/workflows/triggers",
                    "properties": { "provisioningState": self.trigger_provisioning_state, "state": running.state },
                })
            })
            .collect()
    }
}

/// The largest signed 64-bit number less .NET's ticks.
fn version_number(at: Timestamp) -> i64 {
    let ticks = i64::try_from(at.as_nanosecond() / 100).unwrap_or_default() + 621_355_968_000_000_000;
    i64::MAX - ticks
}

fn definition(build: &str) -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#",
        "contentVersion": "1.0.0.0",
        "parameters": { "$connections": { "type": "Object", "defaultValue": {} } },
        "triggers": { "When_an_order_arrives": { "type": "Request", "kind": "Http" } },
        "actions": { "Call_service": { "type": "Http", "inputs": {
            "method": "POST", "uri": "https://orders.example.com/api", "headers": { "x-build": build },
        } } },
        "outputs": {},
    })
}

impl World {
    /// The workflow, for set-up code.
    ///
    /// # Panics
    /// When there is none: a mistake in the scenario.
    fn known_workflow(&mut self, id: &ResourceId) -> &mut Workflow {
        self.logic_apps
            .workflows
            .get_mut(id.canonical())
            .unwrap_or_else(|| panic!("the simulation has no workflow `{id}`; add it with `add_workflow` first"))
    }

    /// Somebody else's save.
    fn resave(&mut self, id: &ResourceId, now: Timestamp, change: impl FnOnce(&mut Version)) {
        let workflow = self.known_workflow(id);
        let mut version = Version { changed: now, ..workflow.running().clone() };
        change(&mut version);
        workflow.put(version);
        let build = workflow.build();
        self.serve(id.canonical(), &build, now);
    }
}

/// Workflows, and what happens to them from elsewhere. Each panics when the scenario names a workflow which is not there.
impl AzureSimulation {
    /// Adds a workflow with the connection `office365`, an identity, tags and an integration account.
    pub fn add_workflow(&self, workflow: SimulatedWorkflow) {
        let now = self.now();
        let created = now.checked_sub(workflow.served_for).unwrap_or(now);
        let group = workflow.id.as_written().split("/providers/").next().unwrap_or_default().to_owned();
        let office = format!("{group}/providers/Microsoft.Web/connections/office365");
        let entry = json!({ "connectionId": office, "connectionName": "office365", "id": "/managedApis/office365" });
        let mut added = Workflow {
            id: workflow.id.clone(),
            created,
            outside: json!({
                "location": "westeurope",
                "tags": { "team": "orders" },
                "identity": { "type": "SystemAssigned", "principalId": "11111111-0000-0000-0000-000000000001" },
                "accessControl": { "triggers": { "allowedCallerIpAddresses": [{ "addressRange": "10.0.0.0/8" }] } },
                "endpointsConfiguration": null,
            }),
            versions: Vec::new(),
            enabled: Timeline::starting_with(true),
            provisioning_state: "Succeeded".to_owned(),
            trigger_provisioning_state: "Succeeded".to_owned(),
            saves: 0,
        };
        added.put(Version {
            id: String::new(),
            changed: created,
            state: "Enabled".to_owned(),
            definition: definition(&workflow.build),
            parameters: json!({ "$connections": { "value": { "office365": entry } } }),
            integration_account: json!({ "id": format!("{group}/providers/Microsoft.Logic/integrationAccounts/partners") }),
        });
        let mut world = self.shared().settled_world();
        let SimulatedWorkflow { id, build, runs_per_minute, .. } = workflow;
        world.workloads.insert(id.canonical().to_owned(), Workload::new(&build, runs_per_minute));
        world.logic_apps.workflows.insert(id.canonical().to_owned(), added);
        drop(world);
        if let Ok(office) = ResourceId::parse(&office) {
            self.add_connection(&office);
        }
    }

    /// The team saves a definition that calls `build`.
    pub fn save_workflow(&self, id: &ResourceId, build: &str) {
        self.shared().settled_world().resave(id, self.now(), |version| version.definition = definition(build));
    }

    /// The team changes the parameters; `parameter` is one more of them.
    pub fn set_workflow_parameter(&self, id: &ResourceId, parameter: &str, entry: Value) {
        self.shared().settled_world().resave(id, self.now(), |version| version.parameters[parameter] = entry);
    }

    /// The team declares a secure parameter, whose value no answer shows.
    pub fn declare_secure_parameter(&self, id: &ResourceId, parameter: &str) {
        self.shared().settled_world().resave(id, self.now(), |version| {
            version.definition["parameters"][parameter] = json!({ "type": "SecureString" });
        });
    }

    /// `Enabled` or `Disabled`; makes a version of equal content.
    pub fn set_workflow_state(&self, id: &ResourceId, state: &str) {
        self.shared().settled_world().resave(id, self.now(), |version| state.clone_into(&mut version.state));
    }

    /// What the platform says of the workflow itself, such as `Updating`.
    pub fn set_workflow_provisioning_state(&self, id: &ResourceId, state: &str) {
        state.clone_into(&mut self.shared().settled_world().known_workflow(id).provisioning_state);
    }

    /// What the platform says of every trigger.
    pub fn set_trigger_provisioning_state(&self, id: &ResourceId, state: &str) {
        state.clone_into(&mut self.shared().settled_world().known_workflow(id).trigger_provisioning_state);
    }

    /// The team saves a definition that calls `build` and uses no connection any more.
    pub fn save_workflow_without_connections(&self, id: &ResourceId, build: &str) {
        self.shared().settled_world().resave(id, self.now(), |version| {
            version.definition = definition(build);
            version.parameters = json!({});
        });
    }

    pub fn add_connection(&self, id: &ResourceId) {
        self.shared().settled_world().logic_apps.connections.insert(id.canonical().to_owned(), id.clone());
    }

    pub fn remove_connection(&self, id: &ResourceId) {
        self.shared().settled_world().logic_apps.connections.remove(id.canonical());
    }

    /// Forgets all but the newest versions.
    pub fn prune_workflow_versions(&self, id: &ResourceId, keep: usize) {
        let mut world = self.shared().settled_world();
        let versions = &mut world.known_workflow(id).versions;
        versions.drain(..versions.len().saturating_sub(keep.max(1)));
    }

    /// The workflow as a GET shows it.
    pub fn workflow(&self, id: &ResourceId) -> Value {
        self.shared().settled_world().known_workflow(id).shown()
    }

    /// Which build the running definition calls.
    pub fn workflow_build(&self, id: &ResourceId) -> String {
        self.shared().settled_world().known_workflow(id).build()
    }

    /// Saves over HTTP that took effect.
    pub fn workflow_save_count(&self, id: &ResourceId) -> u32 {
        self.shared().settled_world().known_workflow(id).saves
    }

    /// True while the platform works on the workflow.
    pub fn is_workflow_busy(&self, id: &ResourceId) -> bool {
        self.shared().settled_world().known_workflow(id).provisioning_state != "Succeeded"
    }
}
