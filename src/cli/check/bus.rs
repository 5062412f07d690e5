//! Whether the queues are there and may be received from, asked without receiving or sending anything.

use futures::future;

use super::{
    finding::{Finding, Status},
    identity::bus_assignee,
};
use crate::{
    azure::service_bus::QueueAnswer,
    cli::wiring::{QueuePlace, Wired},
    host::delivery::Function,
    ports::PortErrorKind,
    settings::{BusConnection, BusSetting, Settings},
};

/// The queues that the triggers read.
const QUEUES: [Function; 4] = [Function::Alerts, Function::Deployments, Function::Markers, Function::FollowUps];

pub async fn check(wired: &Wired) -> Vec<Finding> {
    let QueuePlace::ServiceBus(bus) = &wired.queues.place else {
        return vec![Finding::ok("bus", "the embedded queue; nothing to reach")];
    };
    let asked = QUEUES.iter().map(|function| async move { (function.name(), bus.ask(function.name()).await) });
    let mut findings = Vec::new();
    for (queue, answer) in future::join_all(asked).await {
        let what = format!("queue {queue}");
        findings.push(match answer {
            Ok(QueueAnswer::There) => Finding::ok(what, "is there, and may be received from"),
            Ok(QueueAnswer::NotThere) => {
                Finding::problem(what, format!("there is no queue `{queue}`; make it")).mended_by(format!(
                    "az servicebus queue create --resource-group GROUP --namespace-name {} --name {queue}",
                    namespace(&wired.settings)
                ))
            }
            Ok(QueueAnswer::Unclear(status)) => Finding::not_checked(
                what,
                format!("Service Bus answered {status}, which does not tell whether the queue is there"),
            ),
            Err(error) if error.kind == PortErrorKind::Denied => Finding::of(what, Status::Missing, error.to_string())
                .mended_by(grant(&wired.settings, "Azure Service Bus Data Receiver")),
            Err(error) => Finding::problem(what, error.to_string()),
        });
    }
    findings.push(
        Finding::not_checked(
            "sending to the queues",
            "only a message would tell, and it would be handled; the identity needs `Azure Service Bus Data Sender`",
        )
        .mended_by(grant(&wired.settings, "Azure Service Bus Data Sender")),
    );
    findings
}

fn grant(settings: &Settings, role: &str) -> String {
    format!(
        "az role assignment create --assignee {} --role \"{role}\" --scope \"$(az servicebus namespace show --resource-group GROUP \
         --name {} --query id --output tsv)\"",
        bus_assignee(settings),
        namespace(settings)
    )
}

/// The name without its host, where the settings tell it.
fn namespace(settings: &Settings) -> &str {
    match &settings.bus {
        BusSetting::ServiceBus { connection: BusConnection::Namespace { host, .. }, .. } => {
            host.split('.').next().unwrap_or(host)
        }
        BusSetting::ServiceBus { connection: BusConnection::ConnectionString(_), .. } | BusSetting::Local => "NAMESPACE",
    }
}
