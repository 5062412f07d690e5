//! Configuration of a simulated slot: `config/web` with image and traffic rules, and the app settings. A change restarts the app.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    arm::{ArmRequest, Place, nothing_here},
    call::Reply,
    operations::{app_service_error, prepared},
    world::{PACKAGE_SETTING, Site, Slot, World},
};

pub(super) fn web(site: &Site, slot: &Slot, now: Timestamp) -> Value {
    json!({
        "id": format!("{}/config/web", site.slot_id(slot)),
        "name": "web",
        "type": "Microsoft.Web/sites/config",
        "properties": {
            "autoSwapSlotName": slot.auto_swap_slot_name,
            "linuxFxVersion": slot.content.image.as_deref().unwrap_or("NODE|22-lts"),
            "experiments": { "rampUpRules": slot.ramp_up_rules.at(now) },
            "alwaysOn": true,
            "healthCheckPath": null,
        },
    })
}

pub(super) fn app_settings(site: &Site, slot: &Slot) -> Value {
    let all = slot.content.settings.iter().chain(&slot.sticky_settings);
    let settings: Map<String, Value> = all.map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "id": format!("{}/config/appsettings", site.slot_id(slot)),
        "name": "appsettings",
        "type": "Microsoft.Web/sites/config",
        "properties": settings,
    })
}

pub(super) fn change_web(world: &mut World, request: &ArmRequest<'_>, place: &Place) -> Result<Reply, Reply> {
    let (site, properties) = changed(world, request, place)?;
    let builds = &site.builds;
    let Some(slot) = site.slots.get_mut(&place.slot) else {
        return Err(nothing_here(request.call));
    };
    if let Some(experiments) = properties.get("experiments") {
        let rules = experiments["rampUpRules"].as_array().cloned().unwrap_or_default();
        slot.ramp_up_rules.set(request.now, rules);
    }
    if let Some(auto_swap) = properties.get("autoSwapSlotName") {
        slot.auto_swap_slot_name = auto_swap.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    }
    if let Some(image) = properties.get("linuxFxVersion").and_then(Value::as_str) {
        slot.content.image = Some(image.to_owned());
        let build = builds.get(image).map_or_else(|| image.rsplit([':', '@']).next().unwrap_or(image), String::as_str);
        serve(slot, build, request.now);
    }
    slot.last_modified = request.now;
    let site = &world.sites[&place.site];
    Ok(Reply::json(StatusCode::OK, &web(site, &site.slots[&place.slot], request.now)).with_effects(1))
}

/// All settings at once: what is not named is gone.
pub(super) fn replace_app_settings(world: &mut World, request: &ArmRequest<'_>, place: &Place) -> Result<Reply, Reply> {
    let (site, properties) = changed(world, request, place)?;
    let Some(settings) = properties
        .into_iter()
        .map(|(name, value)| value.as_str().map(|value| (name, value.to_owned())))
        .collect::<Option<Vec<(String, String)>>>()
    else {
        return Err(app_service_error(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "51016",
            "The value of an app setting must be a text.",
        ));
    };
    let (sticky_names, builds) = (&site.sticky_names, &site.builds);
    let Some(slot) = site.slots.get_mut(&place.slot) else {
        return Err(nothing_here(request.call));
    };
    let (sticky, moving): (Vec<_>, Vec<_>) = settings.into_iter().partition(|(name, _)| sticky_names.contains(name));
    slot.sticky_settings = sticky.into_iter().collect();
    slot.content.settings = moving.into_iter().collect();
    if let Some(build) = slot.content.settings.get(PACKAGE_SETTING).and_then(|package| builds.get(package)) {
        serve(slot, build, request.now);
    }
    slot.last_modified = request.now;
    let site = &world.sites[&place.site];
    Ok(Reply::json(StatusCode::OK, &app_settings(site, &site.slots[&place.slot])).with_effects(1))
}

/// The site whose configuration may be changed, and the `properties` of the call's body.
fn changed<'a>(
    world: &'a mut World,
    request: &ArmRequest<'_>,
    place: &Place,
) -> Result<(&'a mut Site, Map<String, Value>), Reply> {
    let Some(site) = world.sites.get_mut(&place.site) else {
        return Err(nothing_here(request.call));
    };
    if site.slots.values().any(|slot| slot.prepared_for.is_some()) {
        return Err(prepared(site.id.name()));
    }
    let properties = serde_json::from_slice::<Value>(&request.call.body).ok().map(|mut body| body["properties"].take());
    match properties {
        Some(Value::Object(properties)) => Ok((site, properties)),
        Some(_) | None => {
            Err(app_service_error(StatusCode::BAD_REQUEST, "BadRequest", "51016", "The parameter 'properties' is required."))
        }
    }
}

/// The app starts anew with this build.
fn serve(slot: &mut Slot, build: &str, now: Timestamp) {
    build.clone_into(&mut slot.content.build);
    slot.served.set(now, build.to_owned());
}
