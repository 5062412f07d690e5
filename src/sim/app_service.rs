//! Sites and slots as `Microsoft.Web` shows them, and the calls that change them. Names as in api-version 2025-05-01.

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    arm::{ArmRequest, Place, nothing_here},
    call::Reply,
    faults::FaultEffect,
    operations::{accepted, app_service_error, prepared},
    site_config,
    world::{Deployment, PRODUCTION, Site, Slot, World},
};

/// The right that a call needs; `None` when there is no such call. `below` is what follows the site or slot, in lower case.
pub(super) fn action(method: &Method, place: &Place, below: &[&str]) -> Option<String> {
    let kind = if place.slot == PRODUCTION { "Microsoft.Web/sites" } else { "Microsoft.Web/sites/slots" };
    let tail = match (method.as_str(), below) {
        ("GET", []) => "read",
        ("GET", ["slots"]) if place.slot == PRODUCTION => "slots/read",
        ("GET", ["config", "web"]) => "config/read",
        ("GET", ["config", "slotconfignames"]) if place.slot == PRODUCTION => "config/read",
        ("PATCH" | "PUT", ["config", "web"]) | ("PUT", ["config", "appsettings"]) => "config/write",
        ("POST", ["config", "appsettings", "list"]) => "config/list/action",
        ("GET", ["deployments"] | ["deployments", _]) => "deployments/read",
        ("POST", ["slotsdiffs"]) => "slotsdiffs/action",
        ("POST", ["slotsswap"]) => "slotsswap/action",
        ("POST", ["applyslotconfig"]) => "applySlotConfig/action",
        ("POST", ["resetslotconfig"]) => "resetSlotConfig/action",
        ("GET", ["operationresults", _]) => "operationresults/read",
        _ => return None,
    };
    Some(format!("{kind}/{tail}"))
}

/// Answers a call whose place exists and whose right was checked.
pub(super) fn answer(world: &mut World, request: &ArmRequest<'_>, place: &Place, below: &[&str]) -> Result<Reply, Reply> {
    let call = request.call;
    let (Some(site), method) = (world.sites.get(&place.site), call.method.as_str()) else {
        return Err(nothing_here(call));
    };
    let slot = &site.slots[&place.slot];
    let ok = |body: Value| Ok(Reply::json(StatusCode::OK, &body));
    match (method, below) {
        ("GET", []) => ok(resource(site, slot)),
        ("GET", ["slots"]) => {
            let slots: Vec<Value> =
                site.slots.values().filter(|slot| slot.name != PRODUCTION).map(|slot| resource(site, slot)).collect();
            ok(json!({ "value": slots, "nextLink": null, "id": null }))
        }
        ("GET", ["config", "web"]) => ok(site_config::web(site, slot, request.now)),
        ("GET", ["config", "slotconfignames"]) => ok(json!({
            "id": format!("{}/config/slotConfigNames", site.id),
            "name": "slotConfigNames",
            "type": "Microsoft.Web/sites/config",
            "properties": {
                "appSettingNames": site.sticky_names,
                "connectionStringNames": null,
                "azureStorageConfigNames": null,
            },
        })),
        ("POST", ["config", "appsettings", "list"]) => ok(site_config::app_settings(site, slot)),
        ("GET", ["deployments"]) => {
            let log: Vec<Value> =
                slot.content.deployments.iter().rev().map(|deployment| deployment_entry(site, slot, deployment)).collect();
            ok(json!({ "value": log, "nextLink": null, "id": null }))
        }
        ("GET", ["deployments", id]) => {
            match slot.content.deployments.iter().find(|deployment| deployment.id.eq_ignore_ascii_case(id)) {
                Some(deployment) => ok(deployment_entry(site, slot, deployment)),
                None => Err(Reply::error(StatusCode::NOT_FOUND, "NotFound", &format!("Deployment '{id}' was not found."))),
            }
        }
        ("GET", ["operationresults", id]) => {
            let location = operation_url(request.here, site, slot, id, call.parameter("api-version").unwrap_or_default());
            Ok(world.poll(&place.site, id, &location))
        }
        ("POST", ["slotsdiffs"]) => {
            let target = target_slot(request)?;
            let Some(target) = site.slot(&target) else {
                return Err(no_such_slot(site, &target));
            };
            ok(differences(site, slot, target))
        }
        ("POST", ["slotsswap"]) => swap(world, request, place),
        ("POST", ["applyslotconfig"]) => prepare(world, request, place),
        ("POST", ["resetslotconfig"]) => Ok(reset(world, place)),
        ("PATCH" | "PUT", ["config", "web"]) => site_config::change_web(world, request, place),
        ("PUT", ["config", "appsettings"]) => site_config::replace_app_settings(world, request, place),
        _ => Err(nothing_here(call)),
    }
}

/// Both fields of a `CsmSlotEntity` are required.
fn target_slot(request: &ArmRequest<'_>) -> Result<String, Reply> {
    let refuse = |message: &str| app_service_error(StatusCode::BAD_REQUEST, "BadRequest", "51016", message);
    let body: Value = serde_json::from_slice(&request.call.body)
        .map_err(|_| refuse("The request body is no JSON; `targetSlot` and `preserveVnet` are required."))?;
    if !body["preserveVnet"].is_boolean() {
        return Err(refuse("The parameter 'preserveVnet' is required and must be true or false."));
    }
    match body["targetSlot"].as_str() {
        Some(target) if !target.is_empty() => Ok(target.to_owned()),
        _ => Err(refuse("The parameter 'targetSlot' is required.")),
    }
}

/// The site's own form names the other slot, which is the source then; production is what changes.
fn swap_pair(request: &ArmRequest<'_>, place: &Place) -> Result<(String, String), Reply> {
    let target = target_slot(request)?;
    Ok(if place.slot == PRODUCTION { (target, PRODUCTION.to_owned()) } else { (place.slot.clone(), target) })
}

fn swap(world: &mut World, request: &ArmRequest<'_>, place: &Place) -> Result<Reply, Reply> {
    let (source, target) = swap_pair(request, place)?;
    let name = site_name(&place.site);
    let id = world.begin_swap(&place.site, &source, &target, request.now, None).map_err(|refusal| refusal.reply(name))?;
    if let Some(FaultEffect::OperationFails { says }) = request.twist {
        world.let_operation_fail(&id, says);
    }
    let site = &world.sites[&place.site];
    let location = match request.twist {
        Some(FaultEffect::OperationUrlElsewhere) => request.elsewhere,
        _ => request.here,
    };
    let version = request.call.parameter("api-version").unwrap_or_default();
    let location = operation_url(location, site, &site.slots[&place.slot], &id, version);
    let done = world.operations.get(&id).is_some_and(super::operations::Operation::is_done);
    // A swap without a duration is over already: 200, or the 4xx of its failure.
    let reply = if done { world.poll(&place.site, &id, &location) } else { accepted(&location) };
    Ok(reply.with_effects(1))
}

fn prepare(world: &mut World, request: &ArmRequest<'_>, place: &Place) -> Result<Reply, Reply> {
    let (source, target) = swap_pair(request, place)?;
    let Some(site) = world.sites.get_mut(&place.site) else {
        return Err(nothing_here(request.call));
    };
    if site.slot(&target).is_none() {
        return Err(no_such_slot(site, &target));
    }
    if site.slots.values().any(|slot| slot.prepared_for.is_some()) {
        return Err(prepared(site.id.name()));
    }
    if site.slots.values().any(|slot| slot.in_progress.is_some()) {
        return Err(app_service_error(
            StatusCode::CONFLICT,
            "Conflict",
            "59203",
            "Cannot modify this site because another operation is in progress.",
        ));
    }
    let Some(slot) = site.slot_mut(&source) else {
        return Err(no_such_slot(site, &source));
    };
    slot.prepared_for = Some(target);
    Ok(Reply::empty(StatusCode::OK).with_effects(1))
}

/// Called on either slot of a prepared swap, it ends the preparation; with none, it changes nothing.
fn reset(world: &mut World, place: &Place) -> Reply {
    let mut effects = 0;
    if let Some(site) = world.sites.get_mut(&place.site) {
        for (name, slot) in &mut site.slots {
            let prepared = slot.prepared_for.as_ref().is_some_and(|target| target.eq_ignore_ascii_case(&place.slot));
            if prepared || (*name == place.slot && slot.prepared_for.is_some()) {
                slot.prepared_for = None;
                effects += 1;
            }
        }
    }
    Reply::empty(StatusCode::OK).with_effects(effects)
}

fn resource(site: &Site, slot: &Slot) -> Value {
    let production = slot.name == PRODUCTION;
    let site_name = site.id.name();
    let host = if production {
        format!("{site_name}.azurewebsites.net")
    } else {
        format!("{site_name}-{}.azurewebsites.net", slot.name)
    };
    json!({
        "id": site.slot_id(slot),
        "name": if production { site_name.to_owned() } else { format!("{site_name}/{}", slot.name) },
        "type": if production { "Microsoft.Web/sites" } else { "Microsoft.Web/sites/slots" },
        "kind": if site.delivery.is_container() { "app,linux,container" } else { "app,linux" },
        "location": "West Europe",
        "properties": {
            "name": if production { site_name.to_owned() } else { format!("{site_name}({})", slot.name) },
            "state": if slot.running { "Running" } else { "Stopped" },
            "enabled": true,
            "availabilityState": "Normal",
            "defaultHostName": host,
            "hostNames": [host],
            "resourceGroup": site.id.resource_group(),
            "lastModifiedTimeUtc": slot.last_modified,
            "targetSwapSlot": slot.prepared_for,
            "inProgressOperationId": slot.in_progress,
            "slotSwapStatus": slot.last_swap.as_ref().map(|status| json!({
                "timestampUtc": seven_digits(status.at),
                "sourceSlotName": status.source,
                "destinationSlotName": status.destination,
            })),
            "siteConfig": { "linuxFxVersion": slot.content.image },
        },
    })
}

fn deployment_entry(site: &Site, slot: &Slot, deployment: &Deployment) -> Value {
    json!({
        "id": format!("{}/deployments/{}", site.slot_id(slot), deployment.id),
        "name": deployment.id,
        "type": if slot.name == PRODUCTION { "Microsoft.Web/sites/deployments" } else { "Microsoft.Web/sites/slots/deployments" },
        "properties": {
            "id": deployment.id,
            "status": 4,
            "active": deployment.active,
            "author": "N/A",
            "deployer": "simulated-pipeline",
            "message": format!("Deployed {}", deployment.build),
            "received_time": seven_digits(deployment.started),
            "start_time": seven_digits(deployment.started),
            "end_time": seven_digits(deployment.ended),
            "details": null,
        },
    })
}

fn differences(site: &Site, slot: &Slot, target: &Slot) -> Value {
    let item = |level: &str, setting_type: &str, name: &str, rule: &str, ours: Option<&str>, theirs: Option<&str>, says: &str| {
        json!({
            "id": format!("{}/slotsdiffs/{name}", site.slot_id(slot)),
            "name": name,
            "type": "Microsoft.Web/sites/slots",
            "properties": {
                "level": level,
                "settingType": setting_type,
                "diffRule": rule,
                "settingName": name,
                "valueInCurrentSlot": ours,
                "valueInTargetSlot": theirs,
                "description": says,
            },
        })
    };
    let mut names: Vec<&String> = slot.content.settings.keys().chain(target.content.settings.keys()).collect();
    names.sort();
    names.dedup();
    let mut items: Vec<Value> = Vec::new();
    for name in names {
        let (ours, theirs) = (slot.content.settings.get(name), target.content.settings.get(name));
        if ours != theirs {
            let (ours, theirs) = (ours.map(String::as_str), theirs.map(String::as_str));
            items.push(item(
                "Information",
                "AppSetting",
                name,
                "SettingValueDiffers",
                ours,
                theirs,
                "The value moves with the swap.",
            ));
        }
    }
    for difference in &site.differences {
        let name = &difference.setting_name;
        items.push(item(
            &difference.level,
            &difference.setting_type,
            name,
            &difference.rule,
            None,
            None,
            &difference.description,
        ));
    }
    json!({ "value": items, "nextLink": null })
}

fn operation_url(base: &url::Url, site: &Site, slot: &Slot, id: &str, api_version: &str) -> String {
    let base = base.as_str().trim_end_matches('/');
    format!("{base}{}/operationresults/{id}?api-version={api_version}", site.slot_id(slot))
}

fn no_such_slot(site: &Site, slot: &str) -> Reply {
    Reply::error(StatusCode::NOT_FOUND, "ResourceNotFound", &format!("Slot '{slot}' of site '{}' was not found.", site.id.name()))
}

fn site_name(canonical: &str) -> &str {
    canonical.rsplit('/').next().unwrap_or_default()
}

/// .NET's round-trip form, which App Service uses.
fn seven_digits(at: Timestamp) -> String {
    format!("{at:.7}")
}
