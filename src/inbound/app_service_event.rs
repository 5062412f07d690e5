//! What a site says about itself. Source: `event-formats` 5.2.

use crate::domain::{
    deployment::{DeploymentStatus, SlotPair},
    event::Event,
};

use super::{
    event_grid::GridEvent,
    fields::{Object, Problem},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Swap(DeploymentStatus),
    /// A backup that comes back replaces what runs.
    Restore(DeploymentStatus),
    Updated,
}

/// Of the event type in lower case; `None` for all that cannot change what runs, such as backups and plans.
/// The documentation's table writes `Microsoft.Web/sites.`, the payloads `Microsoft.Web.`.
pub(super) fn kind(event_type: &str) -> Option<Kind> {
    let name = event_type.strip_prefix("microsoft.web.").or_else(|| event_type.strip_prefix("microsoft.web/sites."))?;
    match name {
        "slotswapstarted" | "slotswapwithpreviewstarted" => Some(Kind::Swap(DeploymentStatus::Started)),
        "slotswapcompleted" => Some(Kind::Swap(DeploymentStatus::Succeeded)),
        "slotswapfailed" | "slotswapwithpreviewcancelled" => Some(Kind::Swap(DeploymentStatus::Failed)),
        "restoreoperationstarted" => Some(Kind::Restore(DeploymentStatus::Started)),
        "restoreoperationcompleted" => Some(Kind::Restore(DeploymentStatus::Succeeded)),
        "restoreoperationfailed" => Some(Kind::Restore(DeploymentStatus::Failed)),
        "appupdated" => Some(Kind::Updated),
        _ => None,
    }
}

pub(super) fn understand(event: &GridEvent<'_>, kind: Kind) -> Result<Event, Problem> {
    let data = event.message.object("data")?;
    let status = match kind {
        Kind::Swap(status) | Kind::Restore(status) => status,
        Kind::Updated => {
            // Restarted, stopped and the like leave the code and its settings as they are.
            let action = data.as_ref().map(update_action).transpose()?.flatten();
            if !action.is_some_and(|action| action.eq_ignore_ascii_case("ChangedAppSettings")) {
                return Ok(event.other(None));
            }
            DeploymentStatus::Succeeded
        }
    };
    // `subject` is only `/Microsoft.Web/sites/NAME`.
    let mut deployment = event.deployment(event.topic()?, status);
    if let Some(data) = &data {
        deployment.subject.subject = match real_text(data, "name")? {
            Some(name) => Some(name),
            None => real_text(data, "siteName")?,
        };
        if let (Some(source), Some(target)) = (real_text(data, "sourceSlot")?, real_text(data, "targetSlot")?) {
            deployment.slots = Some(SlotPair { source, target });
        }
    }
    Ok(Event::Deployment(deployment))
}

fn update_action(data: &Object<'_>) -> Result<Option<String>, Problem> {
    match data.object("appEventTypeDetail")? {
        Some(detail) => detail.text("action"),
        None => Ok(None),
    }
}

/// The publisher writes `None` where there is no value.
fn real_text(data: &Object<'_>, key: &str) -> Result<Option<String>, Problem> {
    Ok(data.text(key)?.filter(|text| text != "None"))
}
