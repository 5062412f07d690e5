//! Whether there are tokens, and for whom.

use super::finding::Finding;
use crate::{
    cli::wiring::Wired,
    domain::{resource_id::ResourceId, right::Identity},
    settings::{BusConnection, BusSetting, IdentitySetting, Settings},
};

/// Asks for a token of each identity; its text stays where it is.
pub async fn check(wired: &Wired) -> Vec<Finding> {
    let settings = &wired.settings;
    let scope = settings.cloud.resource_manager_scope();
    let reader = wired.identities.reader(scope);
    let actor = wired.identities.actor(scope);
    let alone = reader.is_same(&actor);
    let (reading, acting) = futures::join!(reader.bearer(), async { if alone { None } else { Some(actor.bearer().await) } });
    let finding = |identity: Identity, does: &str, token: Result<_, crate::ports::PortError>| {
        let what = format!("identity that {does}");
        match token {
            Ok(_) => Finding::ok(what, format!("{}: a token for `{scope}`", who(settings, identity))),
            Err(error) => Finding::problem(what, format!("{}: {error}", who(settings, identity))),
        }
    };
    match acting {
        None => vec![finding(Identity::Reading, "reads and acts", reading)],
        Some(acting) => {
            vec![finding(Identity::Reading, "reads", reading), finding(Identity::Acting, "acts", acting)]
        }
    }
}

/// An identity in words, by its client id where the settings name one.
pub fn who(settings: &Settings, identity: Identity) -> String {
    let IdentitySetting { platform_endpoint, .. } = settings.identity;
    match (client_id(settings, identity), platform_endpoint) {
        (Some(id), true) => format!("managed identity with client id {id}"),
        (None, true) => "the system-assigned managed identity".to_owned(),
        (_, false) => "whoever is signed in here (`az login`), not the Function App's own identity".to_owned(),
    }
}

/// What `az role assignment create --assignee` is given.
pub fn assignee(settings: &Settings, identity: Identity) -> String {
    match client_id(settings, identity) {
        Some(id) => id.to_owned(),
        None => without_client_id(settings),
    }
}

/// The same of whoever uses Service Bus.
pub fn bus_assignee(settings: &Settings) -> String {
    match &settings.bus {
        BusSetting::ServiceBus { connection: BusConnection::Namespace { client_id: Some(id), .. }, .. } => id.clone(),
        BusSetting::ServiceBus { .. } | BusSetting::Local => assignee(settings, Identity::Reading),
    }
}

fn client_id(settings: &Settings, identity: Identity) -> Option<&str> {
    let reader = settings.identity.client_id.as_deref();
    match identity {
        Identity::Reading => reader,
        Identity::Acting => settings.actor_client_id.as_deref().or(reader),
    }
}

/// A sub-command that finds the object id when the line is run.
fn without_client_id(settings: &Settings) -> String {
    let own = settings.own_site.as_ref().and_then(|site: &ResourceId| Some((site.name(), site.resource_group()?)));
    match (settings.identity.platform_endpoint, own) {
        (true, Some((name, group))) => {
            format!("$(az webapp identity show --name {name} --resource-group {group} --query principalId --output tsv)")
        }
        (true, None) => "PRINCIPAL_ID".to_owned(),
        (false, _) => "$(az ad signed-in-user show --query id --output tsv)".to_owned(),
    }
}
