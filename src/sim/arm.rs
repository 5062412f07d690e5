//! The resource manager's front door: token, api-version, right, and then the one who knows.

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::{
    app_service,
    call::{Call, Reply, Role},
    faults::FaultEffect,
    metrics,
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
    /// A fault that changes what is done rather than what is answered.
    pub twist: Option<&'a FaultEffect>,
}

/// One slot of one site; production for the site itself.
pub(super) struct Place {
    /// Canonical id of the site, which exists.
    pub site: String,
    /// Lower-case name of the slot, which exists.
    pub slot: String,
}

const WEB_VERSIONS: &[&str] =
    &["2022-03-01", "2022-09-01", "2023-01-01", "2023-12-01", "2024-04-01", "2024-11-01", "2025-03-01", "2025-05-01"];
const INSIGHTS_VERSIONS: &[&str] = &["2018-01-01", "2019-07-01", "2021-05-01", "2023-10-01", "2024-02-01"];
/// Of permissions, and of locks.
const AUTHORIZATION_VERSIONS: &[&str] =
    &["2015-07-01", "2016-09-01", "2018-07-01", "2020-05-01", "2022-04-01", "2022-05-01-preview"];

pub(super) fn answer(
    world: &mut World,
    call: &Call,
    now: Timestamp,
    here: &Url,
    elsewhere: &Url,
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
    let request = ArmRequest { call, identity: &identity, now, here, elsewhere, twist };
    let correlation = call.header("x-ms-correlation-request-id").map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    route(world, &request)
        .unwrap_or_else(|refusal| refusal)
        .with_header("x-ms-request-id", Uuid::new_v4().to_string())
        .with_header("x-ms-correlation-request-id", correlation)
}

fn route(world: &mut World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    let call = request.call;
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();

    // An extension resource belongs to whatever stands before it.
    let extension = lower.windows(2).rposition(|pair| pair[0] == "providers" && pair[1] != "microsoft.web");
    let (scope, rest) = lower.split_at(extension.unwrap_or(lower.len()));
    let provider = rest.get(1).or_else(|| scope.get(5)).copied().unwrap_or_default();
    require_api_version(call, provider)?;

    match scope {
        ["subscriptions", _, "resourcegroups", _] => match (&call.method, rest) {
            (&Method::GET, ["providers", "microsoft.authorization", "permissions"]) => {
                let group = format!("/{}", segments[..4].join("/"));
                if !world.sites.keys().any(|site| site.starts_with(&format!("{}/", group.to_ascii_lowercase()))) {
                    return Err(Reply::error(
                        StatusCode::NOT_FOUND,
                        "ResourceGroupNotFound",
                        &format!("Resource group '{}' could not be found.", segments[3]),
                    ));
                }
                Ok(Reply::json(StatusCode::OK, &world.permissions.listing(request.identity, &group)))
            }
            _ => Err(nothing_here(call)),
        },
        ["subscriptions", _, "resourcegroups", _, "providers", "microsoft.web", "sites", _, below @ ..] => {
            let site = ResourceId::parse(&format!("/{}", segments[..8].join("/")))
                .map_err(|problem| Reply::error(StatusCode::BAD_REQUEST, "InvalidResourceId", &problem.to_string()))?;
            let (slot, below) = match below {
                ["slots", slot, below @ ..] => (*slot, below),
                below => (PRODUCTION, below),
            };
            let place = Place { site: site.canonical().to_owned(), slot: slot.to_owned() };
            let scope_text = if slot == PRODUCTION { site.to_string() } else { format!("{site}/slots/{slot}") };
            let require = |action: &str| world.permissions.require(request.identity, &scope_text, action);
            match rest {
                [] => {
                    require(&app_service::action(&call.method, &place, below).ok_or_else(|| nothing_here(call))?)?;
                    existing(world, &place, &site)?;
                    unlocked(world, &place, call, &scope_text)?;
                    app_service::answer(world, request, &place, below)
                }
                ["providers", "microsoft.authorization", "permissions"] if call.method == Method::GET && below.is_empty() => {
                    existing(world, &place, &site)?;
                    Ok(Reply::json(StatusCode::OK, &world.permissions.listing(request.identity, &scope_text)))
                }
                ["providers", "microsoft.authorization", "locks"] if call.method == Method::GET && below.is_empty() => {
                    require("Microsoft.Authorization/locks/read")?;
                    existing(world, &place, &site)?;
                    Ok(locks(world, &place, &site))
                }
                ["providers", "microsoft.insights", "metrics"] if call.method == Method::GET && below.is_empty() => {
                    require("Microsoft.Insights/Metrics/Read")?;
                    existing(world, &place, &site)?;
                    metrics::answer(world, request, &place)
                }
                ["providers", "microsoft.insights", "metricdefinitions"] if call.method == Method::GET && below.is_empty() => {
                    require("Microsoft.Insights/MetricDefinitions/Read")?;
                    existing(world, &place, &site)?;
                    Ok(metrics::definitions(world, &place))
                }
                _ => Err(nothing_here(call)),
            }
        }
        _ => Err(nothing_here(call)),
    }
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

fn existing(world: &World, place: &Place, site: &ResourceId) -> Result<(), Reply> {
    if world.sites.get(&place.site).is_some_and(|found| found.slots.contains_key(&place.slot)) {
        return Ok(());
    }
    let kind = if place.slot == PRODUCTION {
        format!("Microsoft.Web/sites/{}", site.name())
    } else {
        format!("Microsoft.Web/sites/{}/slots/{}", site.name(), place.slot)
    };
    Err(Reply::error(
        StatusCode::NOT_FOUND,
        "ResourceNotFound",
        &format!(
            "The Resource '{kind}' under resource group '{}' was not found. For more details please go to \
             https://aka.ms/ARMResourceNotFoundFix",
            site.resource_group().unwrap_or_default()
        ),
    ))
}

/// A lock of the site holds for its slots.
fn locks(world: &World, place: &Place, site: &ResourceId) -> Reply {
    let level = world.sites.get(&place.site).and_then(|site| site.lock).map(|lock| match lock {
        LockLevel::CanNotDelete => "CanNotDelete",
        LockLevel::ReadOnly => "ReadOnly",
    });
    let value: Vec<_> = level
        .into_iter()
        .map(|level| {
            json!({
                "id": format!("{site}/providers/Microsoft.Authorization/locks/simulated"),
                "name": "simulated",
                "type": "Microsoft.Authorization/locks",
                "properties": { "level": level, "notes": null },
            })
        })
        .collect();
    Reply::json(StatusCode::OK, &json!({ "value": value }))
}

fn unlocked(world: &World, place: &Place, call: &Call, scope: &str) -> Result<(), Reply> {
    let read_only = world.sites.get(&place.site).is_some_and(|site| site.lock == Some(LockLevel::ReadOnly));
    if call.method == Method::GET || !read_only {
        return Ok(());
    }
    Err(Reply::error(
        StatusCode::CONFLICT,
        "ScopeLocked",
        &format!(
            "The scope '{scope}' cannot perform write operation because following scope(s) are locked: '{scope}'. Please remove \
             the lock and try again."
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
