//! Deployment records of a scope, and the calls that add to them. Names as in `Microsoft.Resources`, api-version 2026-06-01.
//!
//! A scope runs one workload; the parameter `build` of the newest deployment that succeeded says which build serves it.
//! Composed after documentation: the path of what-if results, the texts of errors, which resources a template makes, and that the
//! hash of a template is one of its minified text, so of the order of its keys too.

use std::{collections::BTreeMap, time::Duration};

use axum::http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use url::Url;
use uuid::Uuid;

use super::{
    AzureSimulation,
    arm::{ArmRequest, admit, nothing_here, parsed},
    call::Reply,
    faults::FaultEffect,
    world::World,
};
use crate::domain::resource_id::ResourceId;

pub(super) const API_VERSIONS: &[&str] = &["2021-04-01", "2025-04-01", "2026-06-01"];

/// More records than this a scope does not take.
const RECORDS_MAX: usize = 800;

const RETRY_AFTER_SECONDS: &str = "15";

/// A resource group or subscription whose deployments roll out one workload.
#[derive(Debug, Clone)]
pub struct SimulatedLineage {
    pub scope: ResourceId,
    /// Added with `add_workload` before.
    pub workload: String,
    /// How long a deployment takes by the simulation's clock, and how long a what-if; zero answers 200 at once.
    pub deployment_takes: Duration,
    pub what_if_takes: Duration,
}

impl SimulatedLineage {
    /// Deployments of 60 seconds, what-ifs of 20.
    pub fn new(scope: ResourceId, workload: &str) -> Self {
        Self {
            scope,
            workload: workload.to_owned(),
            deployment_takes: Duration::from_mins(1),
            what_if_takes: Duration::from_secs(20),
        }
    }
}

/// One deployment by somebody else.
#[derive(Debug, Clone)]
pub struct SimulatedDeployment {
    pub name: String,
    pub build: String,
    pub tags: BTreeMap<String, String>,
    /// Secure parameters beside `build`; their values are kept nowhere.
    pub secure_parameters: Vec<String>,
    /// It ended this long ago.
    pub ago: SignedDuration,
    /// It ends this long from now; with zero it has ended.
    pub taking: SignedDuration,
    /// It ends as `Failed` with this text, having begun to change a resource if `touching`.
    pub fails: Option<String>,
    pub touching: bool,
}

impl SimulatedDeployment {
    /// Ended well, just now.
    pub fn new(name: &str, build: &str) -> Self {
        Self {
            name: name.to_owned(),
            build: build.to_owned(),
            tags: BTreeMap::new(),
            secure_parameters: Vec::new(),
            ago: SignedDuration::ZERO,
            taking: SignedDuration::ZERO,
            fails: None,
            touching: false,
        }
    }

    pub fn with_secure_parameter(mut self, name: &str) -> Self {
        self.secure_parameters.push(name.to_owned());
        self
    }

    pub fn with_tag(mut self, name: &str, value: &str) -> Self {
        self.tags.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn ago(mut self, ago: SignedDuration) -> Self {
        self.ago = ago;
        self
    }

    pub fn taking(mut self, taking: SignedDuration) -> Self {
        self.taking = taking;
        self
    }

    pub fn failing(mut self, says: &str, touching: bool) -> Self {
        self.fails = Some(says.to_owned());
        self.touching = touching;
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// By canonical id.
    scopes: BTreeMap<String, Scope>,
    /// By id: what a what-if found, and from when on it can be read.
    what_ifs: BTreeMap<String, (Timestamp, Value)>,
}

#[derive(Debug)]
struct Scope {
    lineage: SimulatedLineage,
    /// By lower-case name.
    records: BTreeMap<String, Record>,
    /// Deployments by request that took effect.
    redeployments: u32,
    fails: Option<(String, bool)>,
    further_changes: Vec<(String, String)>,
}

#[derive(Debug)]
struct Record {
    name: String,
    correlation_id: String,
    /// Names its operation.
    operation: String,
    began: Timestamp,
    ends: Timestamp,
    settled: bool,
    fails: Option<(String, bool)>,
    by_request: bool,
    /// Letter by letter, without spaces.
    template: String,
    /// What the record shows, which is the template's own but where a scenario says otherwise.
    template_hash: Option<String>,
    /// As the record shows them.
    parameters: Map<String, Value>,
    tags: Value,
    location: Option<String>,
    mode: String,
    resources: Vec<String>,
}

impl State {
    /// Every resource that is there: the scopes themselves, and their records.
    pub fn ids(&self) -> impl Iterator<Item = ResourceId> + '_ {
        self.scopes.values().flat_map(|scope| {
            let records = scope.records.values().filter_map(|record| ResourceId::parse(&scope.record_id(record)).ok());
            std::iter::once(scope.lineage.scope.clone()).chain(records)
        })
    }
}

impl Scope {
    fn record_id(&self, record: &Record) -> String {
        format!("{}/providers/Microsoft.Resources/deployments/{}", self.lineage.scope, record.name)
    }

    fn is_subscription(&self) -> bool {
        self.lineage.scope.resource_group().is_none()
    }
}

impl Record {
    fn state(&self) -> &'static str {
        match (self.settled, &self.fails) {
            (false, _) => "Running",
            (true, None) => "Succeeded",
            (true, Some(_)) => "Failed",
        }
    }

    fn build(&self) -> Option<&str> {
        self.parameters.get("build")?.get("value")?.as_str()
    }
}

/// Paths without a provider that are answered here.
pub(super) fn is_its_own(path: &[&str]) -> bool {
    matches!(
        path,
        ["subscriptions", _, "resourcegroups", _, "deployments", _, "operations"] | ["subscriptions", _, "operationresults", _]
    )
}

pub(super) fn answer(world: &mut World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    let call = request.call;
    let lower: Vec<String> = call.segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    if let (&Method::POST, ["providers", "microsoft.resources", "calculatetemplatehash"]) = (&call.method, lower.as_slice()) {
        return calculated_hash(request);
    }
    if let ["subscriptions", _, "operationresults", id] = lower.as_slice() {
        let subscription = parsed(&call.segments[..2])?;
        admit(world, request, &subscription, "Microsoft.Resources/subscriptions/operationresults/read")?;
        return what_if_result(world, request, id);
    }
    let (scope, below): (usize, Vec<&str>) = match lower.as_slice() {
        ["subscriptions", _, "resourcegroups", _, "deployments", name, "operations"] => (4, vec![name, "operations"]),
        path => {
            let at = path.iter().position(|segment| *segment == "providers").ok_or_else(|| nothing_here(call))?;
            match &path[at..] {
                // A group's operations lie elsewhere.
                ["providers", "microsoft.resources", "deployments", _, "operations"] if at == 4 => {
                    return Err(nothing_here(call));
                }
                ["providers", "microsoft.resources", "deployments", below @ ..] => (at, below.to_vec()),
                _ => return Err(nothing_here(call)),
            }
        }
    };
    let scope = parsed(&call.segments[..scope])?;
    let action = action(&call.method, &below).ok_or_else(|| nothing_here(call))?;
    admit(world, request, &scope, &format!("Microsoft.Resources/deployments/{action}"))?;
    let key = scope.canonical().to_owned();
    if !world.arm_deployments.scopes.contains_key(&key) {
        return Ok(Reply::json(StatusCode::OK, &json!({ "value": [] })));
    }
    match (call.method.as_str(), below.as_slice()) {
        ("PUT", [_]) => deploy(world, request, &key),
        ("POST", [_, "whatif"]) => what_if(world, request, &key),
        (_, below) => read(&world.arm_deployments.scopes[&key], request, below),
    }
}

fn action(method: &Method, below: &[&str]) -> Option<&'static str> {
    Some(match (method.as_str(), below) {
        ("GET", [] | [_]) => "read",
        ("PUT", [_]) => "write",
        ("POST", [_, "exporttemplate"]) => "exportTemplate/action",
        ("POST", [_, "whatif"]) => "whatIf/action",
        ("GET", [_, "operations"]) => "operations/read",
        ("GET", [_, "operationstatuses", _]) => "operationstatuses/read",
        _ => return None,
    })
}

fn read(scope: &Scope, request: &ArmRequest<'_>, below: &[&str]) -> Result<Reply, Reply> {
    let ok = |body: &Value| Ok(Reply::json(StatusCode::OK, body));
    let [name, tail @ ..] = below else {
        // In no order that anybody may rely on.
        let all: Vec<Value> = scope.records.values().map(|record| resource(scope, record)).collect();
        return ok(&json!({ "value": all }));
    };
    let Some(record) = scope.records.get(*name) else {
        return Err(Reply::error(
            StatusCode::NOT_FOUND,
            "DeploymentNotFound",
            &format!("Deployment '{name}' could not be found."),
        ));
    };
    match tail {
        [] => ok(&resource(scope, record)),
        ["exporttemplate"] => {
            let body = format!("{{\"template\":{}}}", record.template);
            Ok(Reply::text(StatusCode::OK, "application/json; charset=utf-8", body))
        }
        ["operations"] => ok(&json!({ "value": operations(scope, record) })),
        ["operationstatuses", id] if *id == record.operation => {
            let body = match (record.state(), &record.fails) {
                ("Failed", Some((says, _))) => json!({ "status": "Failed", "error": failure(says) }),
                (state, _) => json!({ "status": state }),
            };
            Ok(Reply::json(StatusCode::OK, &body).with_header("retry-after", RETRY_AFTER_SECONDS))
        }
        _ => Err(nothing_here(request.call)),
    }
}

fn failure(says: &str) -> Value {
    json!({
        "code": "DeploymentFailed",
        "message": "At least one resource deployment operation failed. Please list deployment operations for details.",
        "details": [{ "code": "Conflict", "message": says }],
    })
}

fn resource(scope: &Scope, record: &Record) -> Value {
    let until = if record.settled { record.ends } else { record.began };
    let succeeded = record.state() == "Succeeded";
    let mut resource = json!({
        "id": scope.record_id(record),
        "name": record.name,
        "type": "Microsoft.Resources/deployments",
        "tags": record.tags,
        "properties": {
            "provisioningState": record.state(),
            "correlationId": record.correlation_id,
            "timestamp": format!("{until:.7}"),
            "duration": format!("PT{}S", until.duration_since(record.began).as_secs()),
            "mode": record.mode,
            "parameters": record.parameters,
            "templateHash": record.template_hash,
            "outputResources": if succeeded { record.resources.iter().map(|id| json!({ "id": id })).collect() } else { Vec::new() },
            "error": record.fails.as_ref().filter(|_| record.settled).map(|(says, _)| failure(says)),
        },
    });
    if let Some(location) = &record.location {
        resource["location"] = json!(location);
    }
    resource
}

/// Asked of the tenant; whoever has a token may.
fn calculated_hash(request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    let template =
        std::str::from_utf8(&request.call.body).ok().filter(|text| serde_json::from_str::<Map<String, Value>>(text).is_ok());
    let Some(template) = template.map(minified) else {
        let says = "The request content was invalid and could not be deserialized.";
        return Err(Reply::error(StatusCode::BAD_REQUEST, "InvalidRequestContent", says));
    };
    let body = json!({ "templateHash": template_hash(&template), "minifiedTemplate": template });
    Ok(Reply::json(StatusCode::OK, &body))
}

fn template_hash(minified: &str) -> String {
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, minified.as_bytes());
    u64::from_be_bytes(id.as_bytes()[..8].try_into().unwrap_or_default()).to_string()
}

/// JSON without the spaces between its parts.
fn minified(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    json.chars()
        .filter(|&c| {
            let keep = in_string || !c.is_ascii_whitespace();
            in_string ^= c == '"' && !escaped;
            escaped = in_string && c == '\\' && !escaped;
            keep
        })
        .collect()
}

fn operations(scope: &Scope, record: &Record) -> Vec<Value> {
    let touched = record.fails.as_ref().is_none_or(|(_, touching)| *touching);
    let operation = |id: usize, kind: &str, resource: Option<&String>| {
        json!({
            "id": format!("{}/operations/{id}", scope.record_id(record)),
            "operationId": id.to_string(),
            "properties": {
                "provisioningOperation": kind,
                "provisioningState": record.state(),
                "targetResource": resource.map(|id| json!({ "id": id })),
            },
        })
    };
    let creates =
        record.resources.iter().filter(|_| touched).enumerate().map(|(id, resource)| operation(id, "Create", Some(resource)));
    creates.chain(std::iter::once(operation(record.resources.len(), "EvaluateDeploymentOutput", None))).collect()
}

/// The body of a deployment or a what-if, once the front door's checks of a template are passed.
struct Asked {
    /// As a record keeps it.
    template: String,
    resources: Vec<String>,
    /// As a record shows them.
    parameters: Map<String, Value>,
    mode: String,
    tags: Value,
    location: Option<String>,
}

fn asked(scope: &Scope, request: &ArmRequest<'_>) -> Result<Asked, Reply> {
    let refuse = |code: &str, says: &str| Reply::error(StatusCode::BAD_REQUEST, code, says);
    let body: Value = serde_json::from_slice(&request.call.body)
        .map_err(|_| refuse("InvalidRequestContent", "The request content was invalid and could not be deserialized."))?;
    let location = body["location"].as_str().map(str::to_owned);
    if scope.is_subscription() && location.is_none() {
        return Err(refuse("LocationRequired", "The 'location' property must be specified."));
    }
    let mode = body["properties"]["mode"].as_str().unwrap_or_default().to_owned();
    if !["Incremental", "Complete"].contains(&mode.as_str()) {
        return Err(refuse("InvalidDeployment", "The 'mode' property must be specified."));
    }
    let template = &body["properties"]["template"];
    if !template.is_object() {
        return Err(refuse("InvalidTemplate", "Deployment template is required."));
    }
    let (declared, given) = (&template["parameters"], &body["properties"]["parameters"]);
    let mut parameters = Map::new();
    for (name, declaration) in declared.as_object().into_iter().flatten() {
        let kind = declaration["type"].as_str().unwrap_or_default();
        let secure = kind.to_ascii_lowercase().starts_with("secure");
        let mut shown = Map::from_iter([("type".to_owned(), json!(kind))]);
        match (&given[name]["value"], &given[name]["reference"], &declaration["defaultValue"]) {
            (_, reference, _) if reference.is_object() => drop(shown.insert("reference".to_owned(), reference.clone())),
            (value, _, _) if !value.is_null() && secure => {}
            (value, _, _) if !value.is_null() => drop(shown.insert("value".to_owned(), value.clone())),
            (_, _, default) if !default.is_null() => drop(shown.insert("value".to_owned(), default.clone())),
            _ => {
                return Err(refuse(
                    "InvalidTemplate",
                    &format!(
                        "Deployment template validation failed: 'The value for the template parameter '{name}' is not provided.'"
                    ),
                ));
            }
        }
        parameters.insert(name.clone(), Value::Object(shown));
    }
    if let Some(stray) =
        given.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| declared[name.as_str()].is_null())
    {
        return Err(refuse("InvalidTemplate", &format!("The template has no parameter '{stray}'.")));
    }
    let resources = resources(&scope.lineage.scope, template);
    Ok(Asked {
        template: written_template(&request.call.body),
        resources,
        parameters,
        mode,
        tags: body["tags"].clone(),
        location,
    })
}

/// The template in a body that holds one, with its keys in the order in which they were sent.
fn written_template(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        properties: Properties<'a>,
    }
    #[derive(Deserialize)]
    struct Properties<'a> {
        #[serde(borrow)]
        template: &'a RawValue,
    }
    serde_json::from_slice::<Body<'_>>(body).map(|body| minified(body.properties.template.get())).unwrap_or_default()
}

fn deploy(world: &mut World, request: &ArmRequest<'_>, key: &str) -> Result<Reply, Reply> {
    let call = request.call;
    let Some(scope) = world.arm_deployments.scopes.get_mut(key) else { return Err(nothing_here(call)) };
    let Asked { template, resources, parameters, mode, tags, location } = asked(scope, request)?;
    let name = call.segments.last().cloned().unwrap_or_default();
    let conflict = |code: &str, says: String| Err(Reply::error(StatusCode::CONFLICT, code, &says));
    match scope.records.get(&name.to_ascii_lowercase()) {
        Some(known) if !known.settled => {
            return conflict(
                "DeploymentActive",
                format!("Unable to edit or replace deployment '{name}': previous deployment is still active."),
            );
        }
        None if scope.records.len() >= RECORDS_MAX => {
            return conflict(
                "DeploymentQuotaExceeded",
                format!("Creating the deployment '{name}' would exceed the quota of '{RECORDS_MAX}'."),
            );
        }
        Some(_) | None => {}
    }
    let fails = match request.twist {
        Some(FaultEffect::OperationFails { says }) => Some((says.clone(), true)),
        _ => scope.fails.clone(),
    };
    let taking = SignedDuration::try_from(scope.lineage.deployment_takes).unwrap_or(SignedDuration::MAX);
    let record = Record {
        resources,
        template_hash: Some(template_hash(&template)),
        correlation_id: call.header("x-ms-correlation-request-id").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned),
        operation: Uuid::new_v4().simple().to_string(),
        began: request.now,
        ends: request.now.checked_add(taking).unwrap_or(Timestamp::MAX),
        settled: false,
        fails,
        by_request: true,
        name: name.clone(),
        template,
        parameters,
        tags,
        location,
        mode,
    };
    let version = call.parameter("api-version").unwrap_or_default();
    let status_path = format!("{}/operationStatuses/{}", scope.record_id(&record), record.operation);
    scope.records.insert(name.to_ascii_lowercase(), record);
    settle(world, request.now);
    let scope = &world.arm_deployments.scopes[key];
    let record = &scope.records[&name.to_ascii_lowercase()];
    let body = resource(scope, record);
    let reply = if record.settled {
        Reply::json(StatusCode::OK, &body)
    } else {
        let base = match request.twist {
            Some(FaultEffect::OperationUrlElsewhere) => request.elsewhere,
            _ => request.here,
        };
        Reply::json(StatusCode::CREATED, &body)
            .with_header("azure-asyncoperation", at(base, &status_path, version))
            .with_header("retry-after", RETRY_AFTER_SECONDS)
    };
    Ok(reply.with_effects(1))
}

fn at(base: &Url, path: &str, version: &str) -> String {
    format!("{}{path}?api-version={version}", base.as_str().trim_end_matches('/'))
}

/// Ids of the resources that a template lists.
fn resources(scope: &ResourceId, template: &Value) -> Vec<String> {
    let all = template["resources"].as_array().into_iter().flatten();
    all.filter_map(|resource| Some(format!("{scope}/providers/{}/{}", resource["type"].as_str()?, resource["name"].as_str()?)))
        .collect()
}

fn what_if(world: &mut World, request: &ArmRequest<'_>, key: &str) -> Result<Reply, Reply> {
    let Some(scope) = world.arm_deployments.scopes.get(key) else { return Err(nothing_here(request.call)) };
    let asked = asked(scope, request)?;
    let (takes, workload) = (scope.lineage.what_if_takes, scope.lineage.workload.clone());
    let subscription = scope.lineage.scope.subscription().to_owned();
    let change = |id: &str, kind: &str| json!({ "resourceId": id, "changeType": kind });
    let build = asked.parameters.get("build").and_then(|shown| shown["value"].as_str()).map(str::to_owned);
    let mut changes: Vec<Value> = Vec::new();
    let (ids, further) = (asked.resources, scope.further_changes.clone());
    let serves = world.known_workload(&workload).served.at(request.now).clone();
    for (index, id) in ids.iter().enumerate() {
        // The first resource is the one that runs the build.
        let kind = if index == 0 && build.as_ref() != Some(&serves) { "Modify" } else { "NoChange" };
        changes.push(change(id, kind));
    }
    changes.extend(further.iter().map(|(id, kind)| change(id, kind)));
    let result = match request.twist {
        Some(FaultEffect::OperationFails { says }) => {
            json!({ "status": "Failed", "error": { "code": "InvalidTemplateDeployment", "message": says } })
        }
        _ => json!({ "status": "Succeeded", "properties": { "changes": changes } }),
    };
    if takes.is_zero() {
        return Ok(Reply::json(StatusCode::OK, &result));
    }
    let ends = request.now.checked_add(takes).unwrap_or(Timestamp::MAX);
    let id = Uuid::new_v4().simple().to_string();
    world.arm_deployments.what_ifs.insert(id.clone(), (ends, result));
    let base = match request.twist {
        Some(FaultEffect::OperationUrlElsewhere) => request.elsewhere,
        _ => request.here,
    };
    let version = request.call.parameter("api-version").unwrap_or_default();
    let location = at(base, &format!("/subscriptions/{subscription}/operationresults/{id}"), version);
    Ok(Reply::empty(StatusCode::ACCEPTED).with_header("location", location).with_header("retry-after", RETRY_AFTER_SECONDS))
}

fn what_if_result(world: &World, request: &ArmRequest<'_>, id: &str) -> Result<Reply, Reply> {
    let Some((ends, result)) = world.arm_deployments.what_ifs.get(id) else { return Err(nothing_here(request.call)) };
    if *ends > request.now {
        let version = request.call.parameter("api-version").unwrap_or_default();
        let location = at(request.here, &format!("/{}", request.call.segments.join("/")), version);
        return Ok(Reply::empty(StatusCode::ACCEPTED)
            .with_header("location", location)
            .with_header("retry-after", RETRY_AFTER_SECONDS));
    }
    Ok(Reply::json(StatusCode::OK, result))
}

/// Lets what has ended by the clock take effect, in the order of the ends.
pub(super) fn settle(world: &mut World, now: Timestamp) {
    let mut serves: Vec<(Timestamp, String, String)> = Vec::new();
    for scope in world.arm_deployments.scopes.values_mut() {
        let workload = scope.lineage.workload.clone();
        for record in scope.records.values_mut().filter(|record| !record.settled && record.ends <= now) {
            record.settled = true;
            if record.fails.is_some() {
                continue;
            }
            if record.by_request {
                scope.redeployments += 1;
            }
            if let Some(build) = record.build() {
                serves.push((record.ends, workload.clone(), build.to_owned()));
            }
        }
    }
    serves.sort();
    for (at, workload, build) in serves {
        world.serve(&workload, &build, at);
    }
}

/// Deployment records, and what happens to them from elsewhere. Each panics when the scenario names a scope which is not there.
impl AzureSimulation {
    pub fn add_lineage(&self, lineage: SimulatedLineage) {
        let scope = Scope { records: BTreeMap::new(), redeployments: 0, fails: None, further_changes: Vec::new(), lineage };
        self.shared().settled_world().arm_deployments.scopes.insert(scope.lineage.scope.canonical().to_owned(), scope);
    }

    /// A pipeline's deployment, which overwrites a record of its name.
    pub fn deploy_template(&self, scope: &ResourceId, deployment: SimulatedDeployment) {
        let now = self.now();
        let mut world = self.shared().settled_world();
        let known = known(&mut world, scope);
        let ends = now - deployment.ago + deployment.taking;
        let mut parameters = Map::from_iter([("build".to_owned(), json!({ "type": "String", "value": deployment.build }))]);
        parameters.extend(deployment.secure_parameters.iter().map(|name| (name.clone(), json!({ "type": "SecureString" }))));
        let template = template(&deployment.secure_parameters);
        let record = Record {
            resources: resources(scope, &serde_json::from_str(&template).unwrap_or_default()),
            template_hash: Some(template_hash(&template)),
            correlation_id: Uuid::new_v4().to_string(),
            operation: Uuid::new_v4().simple().to_string(),
            began: (ends - SignedDuration::from_secs(30)).min(now),
            ends,
            settled: false,
            fails: deployment.fails.map(|says| (says, deployment.touching)),
            by_request: false,
            template,
            parameters,
            tags: json!(deployment.tags),
            location: known.is_subscription().then(|| "westeurope".to_owned()),
            mode: "Incremental".to_owned(),
            name: deployment.name.clone(),
        };
        known.records.insert(deployment.name.to_ascii_lowercase(), record);
        settle(&mut world, now);
    }

    /// The history is pruned, or somebody deletes one record.
    pub fn delete_record(&self, scope: &ResourceId, name: &str) {
        known(&mut self.shared().settled_world(), scope).records.remove(&name.to_ascii_lowercase());
    }

    /// What a record shows as the hash of its template: none, or one that is not the exported template's.
    pub fn set_template_hash(&self, scope: &ResourceId, name: &str, hash: Option<&str>) {
        let mut world = self.shared().settled_world();
        if let Some(record) = known(&mut world, scope).records.get_mut(&name.to_ascii_lowercase()) {
            record.template_hash = hash.map(str::to_owned);
        }
    }

    /// Names of the records, in alphabetical order.
    pub fn record_names(&self, scope: &ResourceId) -> Vec<String> {
        let mut world = self.shared().settled_world();
        known(&mut world, scope).records.values().map(|record| record.name.clone()).collect()
    }

    /// Deployments by request that took effect.
    pub fn redeployments(&self, scope: &ResourceId) -> u32 {
        known(&mut self.shared().settled_world(), scope).redeployments
    }

    /// True while a deployment of the scope goes on.
    pub fn is_deploying(&self, scope: &ResourceId) -> bool {
        known(&mut self.shared().settled_world(), scope).records.values().any(|record| !record.settled)
    }

    /// Every deployment by request fails from now on, after it has begun to change a resource if `touching`; `None` ends that.
    pub fn set_deployments_fail(&self, scope: &ResourceId, fails: Option<(&str, bool)>) {
        known(&mut self.shared().settled_world(), scope).fails = fails.map(|(says, touching)| (says.to_owned(), touching));
    }

    /// What every what-if reports beside the template's own resources: id and `changeType`.
    pub fn set_further_changes(&self, scope: &ResourceId, changes: &[(&str, &str)]) {
        known(&mut self.shared().settled_world(), scope).further_changes =
            changes.iter().map(|(id, kind)| ((*id).to_owned(), (*kind).to_owned())).collect();
    }
}

fn known<'a>(world: &'a mut World, scope: &ResourceId) -> &'a mut Scope {
    world
        .arm_deployments
        .scopes
        .get_mut(scope.canonical())
        .unwrap_or_else(|| panic!("the simulation has no deployments in `{scope}`; add them with `add_lineage` first"))
}

/// A container app that runs the build, and a store beside it. Keys stand as people write them.
fn template(secure_parameters: &[String]) -> String {
    let secure: Vec<String> =
        secure_parameters.iter().map(|name| format!(r#",{}:{{"type":"securestring"}}"#, json!(name))).collect();
    let text = r#"{
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": { "build": { "type": "string" }SECURE },
        "resources": [
            { "type": "Microsoft.App/containerApps", "apiVersion": "2025-07-01", "name": "api", "location": "westeurope",
              "properties": { "template": { "containers": [{ "name": "api", "image": "[concat('registry.example.com/api:', parameters('build'))]" }] } } },
            { "type": "Microsoft.Storage/storageAccounts", "apiVersion": "2024-01-01", "name": "apidata", "location": "westeurope" }
        ]
    }"#;
    minified(&text.replace("SECURE", &secure.concat()))
}
