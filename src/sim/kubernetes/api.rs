//! The API server of a simulated cluster, as far as `kubectl get`, `rollout`, `set image`, `patch` and backout need it.

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Cluster, Key, World,
    objects::{KINDS, kind_of, merge_strategically, selects},
};
use crate::sim::call::{Call, Reply, Role};

/// Answers a request to `/clusters/{name}/...`.
pub fn answer(world: &mut World, call: &Call, now: Timestamp) -> Reply {
    route(world, call, now).unwrap_or_else(|refusal| refusal)
}

fn route(world: &mut World, call: &Call, now: Timestamp) -> Result<Reply, Reply> {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let only = world.kubernetes.clusters.values().next().filter(|_| world.kubernetes.clusters.len() == 1);
    let only = only.map(|cluster| cluster.id.name().to_owned());
    let (name, path) = match (segments.as_slice(), &only) {
        (["clusters", name, path @ ..], _) => (*name, path),
        // `kubectl --raw` leaves the path of the server's address out.
        (path, Some(only)) => (only.as_str(), path),
        (_, None) => return Err(not_found("no cluster is named")),
    };
    let canonical =
        world.kubernetes.clusters.values().find(|cluster| cluster.id.name() == name).map(|c| c.id.canonical().to_owned());
    let Some(canonical) = canonical else { return Err(not_found("there is no such cluster")) };
    let caller = caller(world, &canonical, call)?;
    let ok = |value: &Value| Ok(Reply::json(StatusCode::OK, value));
    match (&call.method, path) {
        (&Method::GET, ["version"]) => {
            ok(&json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.1", "platform": "linux/amd64" }))
        }
        (&Method::GET, ["api"]) => ok(&json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })),
        (&Method::GET, ["apis"]) => ok(&groups()),
        (&Method::GET, ["api", "v1"]) => ok(&resources("v1", &[("Pod", "pods"), ("Namespace", "namespaces")])),
        (&Method::GET, ["apis", "apps", "v1"]) => ok(&resources("apps/v1", &KINDS)),
        (&Method::GET, ["apis", "authorization.k8s.io", "v1"]) => {
            ok(&resources("authorization.k8s.io/v1", &[("SelfSubjectAccessReview", "selfsubjectaccessreviews")]))
        }
        // `kubectl get` asks for it where an object is not there.
        (&Method::GET, ["api", "v1", "namespaces", namespace]) => {
            ok(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }))
        }
        (&Method::GET, ["api", "v1", "namespaces", _, "pods"]) => {
            ok(&json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [] }))
        }
        (&Method::POST, ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]) => {
            review(world, &canonical, &caller, call)
        }
        (&Method::GET, ["apis", "apps", "v1", "namespaces", namespace, plural]) => {
            list(world, &canonical, &caller, call, Some(namespace), plural)
        }
        (&Method::GET, ["apis", "apps", "v1", plural]) => list(world, &canonical, &caller, call, None, plural),
        (&Method::GET, ["apis", "apps", "v1", "namespaces", namespace, plural, name]) => {
            require(world, &canonical, &caller, namespace, plural, "get")?;
            ok(find(world, &canonical, namespace, plural, name)?.1)
        }
        (&Method::PATCH, ["apis", "apps", "v1", "namespaces", namespace, plural, name]) => {
            require(world, &canonical, &caller, namespace, plural, "patch")?;
            let (key, object) = find(world, &canonical, namespace, plural, name)?;
            let (key, old) = (key.clone(), object.clone());
            let new = patched(call, &old)?;
            if call.parameter("dryRun").is_some() {
                return ok(&new);
            }
            let manager = call.parameter("fieldManager").map_or_else(|| agent(call), str::to_owned);
            let cluster = cluster(world, &canonical);
            let effects = u32::from(cluster.write(&key, new, &manager, now));
            let reply = Reply::json(StatusCode::OK, &cluster.objects[&key]);
            super::controller::settle(world, now);
            Ok(reply.with_effects(effects))
        }
        _ => Err(not_found("the simulated API server has nothing here")),
    }
}

enum Caller {
    Administrator,
    Identity(String),
}

fn caller(world: &World, canonical: &str, call: &Call) -> Result<Caller, Reply> {
    match call.bearer_token() {
        None => Ok(Caller::Administrator),
        Some(token) if token == world.kubernetes.clusters[canonical].admin_token => Ok(Caller::Administrator),
        Some(token) => world
            .identities
            .accept(Some(token), Role::Kubernetes)
            .map(Caller::Identity)
            .map_err(|_| status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")),
    }
}

/// Azure's roles for Kubernetes: one data action to read, one to write.
fn allows(world: &World, canonical: &str, caller: &Caller, namespace: &str, plural: &str, verb: &str) -> bool {
    let Caller::Identity(identity) = caller else { return true };
    let scope = format!("{}/namespaces/{namespace}", world.kubernetes.clusters[canonical].id);
    let right = if matches!(verb, "get" | "list" | "watch") { "read" } else { "write" };
    world.permissions.allows(identity, &scope, &format!("Microsoft.ContainerService/managedClusters/apps/{plural}/{right}"))
}

fn require(world: &World, canonical: &str, caller: &Caller, namespace: &str, plural: &str, verb: &str) -> Result<(), Reply> {
    if allows(world, canonical, caller, namespace, plural, verb) {
        return Ok(());
    }
    let message = format!(
        "{plural}.apps is forbidden: User cannot {verb} resource \"{plural}\" in API group \"apps\" in the namespace \"{namespace}\""
    );
    Err(status(StatusCode::FORBIDDEN, "Forbidden", &message))
}

fn review(world: &World, canonical: &str, caller: &Caller, call: &Call) -> Result<Reply, Reply> {
    let Ok(mut review) = serde_json::from_slice::<Value>(&call.body) else { return Err(bad_request("the body is no JSON")) };
    let asked = &review["spec"]["resourceAttributes"];
    let text = |key: &str| asked[key].as_str().unwrap_or_default();
    let allowed = text("group") == "apps" && allows(world, canonical, caller, text("namespace"), text("resource"), text("verb"));
    review["status"] = json!({ "allowed": allowed });
    Ok(Reply::json(StatusCode::CREATED, &review))
}

fn list(
    world: &World,
    canonical: &str,
    caller: &Caller,
    call: &Call,
    namespace: Option<&str>,
    plural: &str,
) -> Result<Reply, Reply> {
    let Some(kind) = kind_of(plural) else { return Err(not_found("the server could not find the requested resource")) };
    require(world, canonical, caller, namespace.unwrap_or("*"), plural, "list")?;
    if call.parameter("sendInitialEvents").is_some() {
        let message = "sendInitialEvents is forbidden: the simulated API server has no watch list";
        return Err(status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message));
    }
    if call.parameter("watch").is_some_and(|watch| watch == "true" || watch == "1") {
        // A watch that ends at once: the caller lists again.
        return Ok(Reply::text(StatusCode::OK, "application/json", String::new()));
    }
    let selector = call.parameter("labelSelector").filter(|text| !text.is_empty());
    let name = call.parameter("fieldSelector").and_then(|text| text.strip_prefix("metadata.name="));
    let cluster = &world.kubernetes.clusters[canonical];
    let mut items = Vec::new();
    for (key, object) in &cluster.objects {
        let here =
            key.0 == plural && namespace.is_none_or(|namespace| key.1 == namespace) && name.is_none_or(|name| key.2 == name);
        let labels = &object["metadata"]["labels"];
        let selected = selector.map_or(Some(true), |selector| selects(selector, labels));
        let selected = selected.ok_or_else(|| bad_request("unable to parse the label selector"))?;
        if here && selected {
            items.push(object.clone());
        }
    }
    let version = cluster.resource_version.to_string();
    let list = json!({ "apiVersion": "apps/v1", "kind": format!("{kind}List"), "metadata": { "resourceVersion": version }, "items": items });
    Ok(Reply::json(StatusCode::OK, &list))
}

fn find<'a>(world: &'a World, canonical: &str, namespace: &str, plural: &str, name: &str) -> Result<(&'a Key, &'a Value), Reply> {
    let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
    let found = world.kubernetes.clusters[canonical].objects.get_key_value(&key);
    found.ok_or_else(|| not_found(&format!("{plural}.apps \"{name}\" not found")))
}

fn cluster<'a>(world: &'a mut World, canonical: &str) -> &'a mut Cluster {
    world.kubernetes.clusters.get_mut(canonical).expect("the caller found the cluster")
}

/// The object after the patch of the body; what may not change, and a stale resource version, are refused.
fn patched(call: &Call, old: &Value) -> Result<Value, Reply> {
    let content_type = call.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
    let Ok(body) = serde_json::from_slice::<Value>(&call.body) else { return Err(bad_request("the body is no JSON")) };
    let mut new = old.clone();
    match content_type.as_str() {
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_value(body).map_err(|error| bad_request(&error.to_string()))?;
            json_patch::patch(&mut new, &patch).map_err(|error| {
                let message = format!("the server rejected our request due to an error in our request: {error}");
                status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", &message)
            })?;
        }
        "application/merge-patch+json" => json_patch::merge(&mut new, &body),
        "application/strategic-merge-patch+json" => merge_strategically(&mut new, &body),
        _ => {
            let message = format!("the body of the request was in an unknown format - {content_type}");
            return Err(status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", &message));
        }
    }
    for fixed in ["/metadata/uid", "/metadata/resourceVersion"] {
        if new.pointer(fixed) != old.pointer(fixed) {
            let message =
                "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version";
            return Err(status(StatusCode::CONFLICT, "Conflict", message));
        }
    }
    if new["spec"]["selector"] != old["spec"]["selector"] || new["metadata"]["name"] != old["metadata"]["name"] {
        return Err(status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "field is immutable"));
    }
    let images = new["spec"]["template"]["spec"]["containers"].as_array();
    if images.is_none_or(|all| all.is_empty() || all.iter().any(|container| !container["image"].is_string())) {
        return Err(status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "spec.template.spec.containers: Required value"));
    }
    // Status is written by the controller alone.
    new["status"] = old["status"].clone();
    Ok(new)
}

/// The program's name of a user agent such as `kubectl/v1.32.4 (linux/amd64)`.
fn agent(call: &Call) -> String {
    call.header("user-agent").unwrap_or_default().split('/').next().unwrap_or_default().to_owned()
}

fn groups() -> Value {
    let group = |name: &str| {
        let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
        json!({ "name": name, "versions": [version], "preferredVersion": version })
    };
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group("apps"), group("authorization.k8s.io")] })
}

fn resources(group_version: &str, kinds: &[(&str, &str)]) -> Value {
    let short = |plural: &str| match plural {
        "deployments" => json!(["deploy"]),
        "statefulsets" => json!(["sts"]),
        "daemonsets" => json!(["ds"]),
        "replicasets" => json!(["rs"]),
        _ => json!([]),
    };
    let all: Vec<Value> = kinds
        .iter()
        .map(|(kind, plural)| {
            json!({ "name": plural, "singularName": kind.to_ascii_lowercase(), "namespaced": *plural != "namespaces", "kind": kind,
                "shortNames": short(plural), "verbs": ["get", "list", "patch", "watch"] })
        })
        .collect();
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": all })
}

fn not_found(message: &str) -> Reply {
    status(StatusCode::NOT_FOUND, "NotFound", message)
}

fn bad_request(message: &str) -> Reply {
    status(StatusCode::BAD_REQUEST, "BadRequest", message)
}

fn status(code: StatusCode, reason: &str, message: &str) -> Reply {
    Reply::json(
        code,
        &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
            "code": code.as_u16() }),
    )
}
