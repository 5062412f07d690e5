//! The resource manager's front door: token, api-version, right, and then the one who knows.

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{
    alerts_management, app_service, arm_deployment,
    call::{Call, Reply, Role},
    container_app,
    faults::FaultEffect,
    kubernetes, logic_app, metrics,
    world::{LockLevel, PRODUCTION, World},
};
use crate::domain::resource_id::ResourceId;

/// What the front door tells those behind it.
pub(super) struct ArmRequest<'a> {
    pub call: &'a Call,
    /// Whose token it was.
    pub identity: &'a str,
    pub now: Timestamp,
    /// This resource manager, for absolute URLs.
    pub here: &'a Url,
    /// A host that is no part of Azure.
    pub elsewhere: &'a Url,
    /// Where the API servers of clusters listen.
    pub clusters: &'a Url,
    /// A fault that changes what is done rather than what is answered.
    pub twist: Option<&'a FaultEffect>,
}

/// Where the parts of the simulation listen.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub here: &'a Url,
    pub elsewhere: &'a Url,
    pub clusters: &'a Url,
}

/// One slot of one site; production for the site itself.
pub(super) struct Place {
    /// Canonical id of the site, which exists.
    pub site: String,
    /// Lower-case name of the slot, which exists.
    pub slot: String,
}

/// The first one is that of connections.
const WEB_VERSIONS: &[&str] = &[
    "2016-06-01",
    "2022-03-01",
    "2022-09-01",
    "2023-01-01",
    "2023-12-01",
    "2024-04-01",
    "2024-11-01",
    "2025-03-01",
    "2025-05-01",
];
const INSIGHTS_VERSIONS: &[&str] =
    &["2018-01-01", "2018-03-01", "2019-07-01", "2021-05-01", "2023-01-01", "2023-10-01", "2023-12-01", "2024-02-01"];
/// Of permissions, and of locks.
const AUTHORIZATION_VERSIONS: &[&str] =
    &["2015-07-01", "2016-09-01", "2018-07-01", "2020-05-01", "2022-04-01", "2022-05-01-preview"];

pub(super) fn answer(
    world: &mut World,
    call: &Call,
    now: Timestamp,
    Places { here, elsewhere, clusters }: Places<'_>,
    twist: Option<&FaultEffect>,
) -> Reply {
    let identity = match world.identities.accept(call.bearer_token(), Role::ResourceManager) {
        Ok(identity) => identity,
        Err((code, message)) => {
            return Reply::error(StatusCode::UNAUTHORIZED, code, message).with_header(
                "www-authenticate",
                "Bearer authorization_uri=\"https://login.microsoftonline.com/\", error=\"invalid_token\"",
            );
        }
    };
    let request = ArmRequest { call, identity: &identity, now, here, elsewhere, clusters, twist };
    let correlation = call.header("x-ms-correlation-request-id").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    route(world, &request)
        .unwrap_or_else(|refusal| refusal)
        .with_header("x-ms-request-id", Uuid::new_v4().to_string())
        .with_header("x-ms-correlation-request-id", correlation)
}

fn route(world: &mut World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    let call = request.call;
    let lower: Vec<String> = call.segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    // An extension resource belongs to whatever stands before it.
    let extension = (0..lower.len()).rev().find(|at| is_extension(&lower[*at..]));
    let (scope, rest) = lower.split_at(extension.unwrap_or(lower.len()));
    let provider = rest.get(1).or_else(|| provider_of(scope)).copied().unwrap_or_default();
    require_api_version(call, provider)?;
    if extension.is_some() {
        return extension_of(world, request, scope.len(), rest);
    }
    match provider {
        "microsoft.web" if scope.get(6) == Some(&"connections") => logic_app::connection(world, request),
        "microsoft.web" => site(world, request, scope),
        "microsoft.containerservice" => kubernetes::answer(world, request),
        "microsoft.resources" => arm_deployment::answer(world, request),
        // Results of long operations, and the operations of a group's deployments, have no provider in their path.
        "" if arm_deployment::is_its_own(&lower) => arm_deployment::answer(world, request),
        "microsoft.logic" => logic_app::answer(world, request),
        "microsoft.app" => container_app::answer(world, request),
        "microsoft.insights" => alerts_management::listed(world, request, scope),
        "microsoft.alertsmanagement" => alerts_management::answer(world, request, scope),
        _ => Err(nothing_here(call)),
    }
}

fn is_extension(segments: &[&str]) -> bool {
    matches!(
        segments,
        ["providers", "microsoft.authorization", ..] | ["providers", "microsoft.insights", "metrics" | "metricdefinitions", ..]
    )
}

fn provider_of<'a>(scope: &'a [&'a str]) -> Option<&'a &'a str> {
    let at = scope.iter().position(|segment| *segment == "providers")?;
    scope.get(at + 1)
}

/// Rights, locks and metrics of whatever exists at the scope: the first `segments` of the path.
fn extension_of(world: &mut World, request: &ArmRequest<'_>, segments: usize, rest: &[&str]) -> Result<Reply, Reply> {
    let call = request.call;
    if call.method != Method::GET {
        return Err(nothing_here(call));
    }
    let scope = parsed(&call.segments[..segments])?;
    let require = |world: &World, action: &str| world.permissions.require(request.identity, scope.as_written(), action);
    let exists = |world: &World| if world.exists(&scope) { Ok(()) } else { Err(not_found(&scope)) };
    match rest {
        ["providers", "microsoft.authorization", "permissions"] => {
            exists(world)?;
            Ok(Reply::json(StatusCode::OK, &world.permissions.listing(request.identity, scope.as_written())))
        }
        ["providers", "microsoft.authorization", "locks"] => {
            require(world, "Microsoft.Authorization/locks/read")?;
            exists(world)?;
            Ok(locks(world, &scope))
        }
        ["providers", "microsoft.insights", "metrics"] => {
            require(world, "Microsoft.Insights/Metrics/Read")?;
            exists(world)?;
            let measured = world.measured(&scope).ok_or_else(|| nothing_here(call))?;
            metrics::answer(world, request, &measured)
        }
        ["providers", "microsoft.insights", "metricdefinitions"] => {
            require(world, "Microsoft.Insights/MetricDefinitions/Read")?;
            exists(world)?;
            let measured = world.measured(&scope).ok_or_else(|| nothing_here(call))?;
            Ok(metrics::definitions(&measured))
        }
        _ => Err(nothing_here(call)),
    }
}

fn site(world: &mut World, request: &ArmRequest<'_>, scope: &[&str]) -> Result<Reply, Reply> {
    let call = request.call;
    let ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.web", "sites", _, below @ ..] = scope else {
        return Err(nothing_here(call));
    };
    let site = parsed(&call.segments[..8])?;
    let (slot, below) = match below {
        ["slots", slot, below @ ..] => (*slot, below),
        below => (PRODUCTION, below),
    };
    let place = Place { site: site.canonical().to_owned(), slot: slot.to_owned() };
    let resource = if slot == PRODUCTION { site } else { parsed(&call.segments[..10])? };
    let action = app_service::action(&call.method, &place, below).ok_or_else(|| nothing_here(call))?;
    admit(world, request, &resource, &action)?;
    app_service::answer(world, request, &place, below)
}

/// What holds for every resource: the right first, then that it is there, then that no lock is on it.
pub(super) fn admit(world: &World, request: &ArmRequest<'_>, resource: &ResourceId, action: &str) -> Result<(), Reply> {
    world.permissions.require(request.identity, resource.as_written(), action)?;
    if !world.exists(resource) {
        return Err(not_found(resource));
    }
    unlocked(world, request.call, resource)
}

/// The resource id that some segments of a path make.
pub(super) fn parsed(segments: &[String]) -> Result<ResourceId, Reply> {
    ResourceId::parse(&format!("/{}", segments.join("/")))
        .map_err(|problem| Reply::error(StatusCode::BAD_REQUEST, "InvalidResourceId", &problem.to_string()))
}

fn require_api_version(call: &Call, provider: &str) -> Result<(), Reply> {
    let Some(version) = call.parameter("api-version").filter(|version| !version.is_empty()) else {
        return Err(Reply::error(
            StatusCode::BAD_REQUEST,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        ));
    };
    let known = match provider {
        "microsoft.web" => WEB_VERSIONS,
        "microsoft.insights" => INSIGHTS_VERSIONS,
        "microsoft.authorization" => AUTHORIZATION_VERSIONS,
        "microsoft.containerservice" => kubernetes::API_VERSIONS,
        "microsoft.resources" => arm_deployment::API_VERSIONS,
        "microsoft.logic" => logic_app::API_VERSIONS,
        "microsoft.app" => container_app::API_VERSIONS,
        "microsoft.alertsmanagement" => alerts_management::API_VERSIONS,
        _ => return Ok(()),
    };
    if known.contains(&version) {
        return Ok(());
    }
    Err(Reply::error(
        StatusCode::BAD_REQUEST,
        "NoRegisteredProviderFound",
        &format!(
            "No registered resource provider found for '{provider}' and API version '{version}'. The supported api-versions are '{}'.",
            known.join(", ")
        ),
    ))
}

pub(super) fn not_found(resource: &ResourceId) -> Reply {
    let group = resource.resource_group().unwrap_or_default();
    let Some((_, kind)) = resource.as_written().rsplit_once("/providers/") else {
        return Reply::error(
            StatusCode::NOT_FOUND,
            "ResourceGroupNotFound",
            &format!("Resource group '{group}' could not be found."),
        );
    };
    Reply::error(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        &format!(
            "The Resource '{kind}' under resource group '{group}' was not found. For more details please go to \
             https://aka.ms/ARMResourceNotFoundFix"
        ),
    )
}

/// A lock of a resource holds for what is below it.
fn locks(world: &World, scope: &ResourceId) -> Reply {
    let value: Vec<_> = world
        .locks_over(scope)
        .map(|(at, lock)| {
            let level = match lock {
                LockLevel::CanNotDelete => "CanNotDelete",
                LockLevel::ReadOnly => "ReadOnly",
            };
            json!({
                "id": format!("{at}/providers/Microsoft.Authorization/locks/simulated"),
                "name": "simulated",
                "type": "Microsoft.Authorization/locks",
                "properties": { "level": level, "notes": null },
            })
        })
        .collect();
    Reply::json(StatusCode::OK, &json!({ "value": value }))
}

fn unlocked(world: &World, call: &Call, resource: &ResourceId) -> Result<(), Reply> {
    let read_only = world.locks_over(resource).any(|(_, lock)| lock == LockLevel::ReadOnly);
    if call.method == Method::GET || !read_only {
        return Ok(());
    }
    Err(Reply::error(
        StatusCode::CONFLICT,
        "ScopeLocked",
        &format!(
            "The scope '{resource}' cannot perform write operation because following scope(s) are locked: '{resource}'. Please \
             remove the lock and try again."
        ),
    ))
}

pub(super) fn nothing_here(call: &Call) -> Reply {
    Reply::error(
        StatusCode::NOT_FOUND,
        "NotFound",
        &format!("The simulated resource manager has nothing at `{} /{}`.", call.method, call.segments.join("/")),
    )
}
