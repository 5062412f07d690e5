//! The marker step for other people's pipelines: the real script, against the simulated Service Bus.

use std::{
    process::{Output, Stdio},
    sync::Arc,
};

use backout::{
    domain::{
        deployment::{DeploymentEvent, DeploymentStatus},
        event::Event,
    },
    inbound::{self, Format},
    sim::AzureSimulation,
};
use serde_json::Value;
use tokio::process::Command;

use crate::support::simulated;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/workflows/marker/send-marker.sh");

struct Pipeline {
    azure: AzureSimulation,
    token: String,
}

impl Pipeline {
    async fn new() -> Self {
        let azure = AzureSimulation::start(Arc::new(backout::local::clock::SystemClock::new())).await.unwrap();
        let scope = ["https://servicebus.azure.net/.default"];
        let token = simulated::identity(&azure, None).get_token(&scope, None).await.unwrap().token.secret().to_owned();
        Self { azure, token }
    }

    /// Runs the script with these variables, and with what every pipeline sets.
    async fn run(&self, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new("bash");
        command
            .arg(SCRIPT)
            .env("MARKER_ENDPOINT", self.azure.bus_url().as_str().trim_end_matches('/'))
            .env("MARKER_TOKEN", &self.token)
            .env("MARKER_RUN", "shop/4711-1")
            .env("MARKER_SERVICE", "shop/checkout")
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        command.output().await.unwrap()
    }

    /// The one new marker, as backout understands it.
    async fn told(&self, variables: &[(&str, &str)]) -> DeploymentEvent {
        let ran = self.run(variables).await;
        assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        let message = self.azure.take("markers").expect("a message");
        assert!(self.azure.complete(&message.lock.clone()));
        assert_eq!(message.content_type.as_deref(), Some("application/json"));
        let written: Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(written["context"]["id"].as_str(), Some(message.message_id.as_str()), "duplicate detection sees the same id");
        let understood = inbound::recognise(&message.body).remove(0).unwrap();
        assert_eq!(understood.format, Format::BareCdEvents);
        match understood.event {
            Event::Deployment(event) => event,
            other => panic!("{other:?}"),
        }
    }
}

fn says(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn started_succeeded_and_failed_arrive_as_meant() {
    let pipeline = Pipeline::new().await;
    let common = [
        ("MARKER_VERSION", "1.4.2"),
        ("MARKER_ENVIRONMENT", "prod \"eu\" \\ 1"),
        ("MARKER_PIPELINE", "release"),
        ("MARKER_REVERSIBLE", "false"),
    ];
    let mut ids = Vec::new();
    for (state, status, operation) in [
        ("started", DeploymentStatus::Started, "dev.cdevents.pipelinerun.started.0.2.0"),
        ("succeeded", DeploymentStatus::Succeeded, "dev.cdevents.service.deployed.0.2.0"),
        ("failed", DeploymentStatus::Failed, "dev.cdevents.pipelinerun.finished.0.2.0"),
    ] {
        let event = pipeline.told(&[&common[..], &[("MARKER_STATE", state)]].concat()).await;
        assert_eq!((event.status, event.operation.as_deref()), (status, Some(operation)), "{state}");
        assert_eq!(event.subject.subject.as_deref(), Some("shop/checkout"), "{state}");
        assert_eq!(event.subject.environment.as_deref(), Some("prod \"eu\" \\ 1"), "{state}");
        assert_eq!((event.version.as_deref(), event.reversible), (Some("1.4.2"), Some(false)), "{state}");
        assert!(event.at.is_some() && event.resources.is_empty(), "{state}");
        ids.push(event.id.unwrap());
    }
    let again = pipeline.told(&[&common[..], &[("MARKER_STATE", "started")]].concat()).await;
    assert_eq!(again.id.as_deref(), Some(ids[0].as_str()), "a step that is tried again tells the same thing");
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn little_may_be_said_and_a_resource_may_be_named() {
    let pipeline = Pipeline::new().await;
    let site = super::command::SITE;
    for (state, reversible) in [("started", Some(true)), ("succeeded", Some(true)), ("failed", None)] {
        let declared = if reversible.is_some() { "true" } else { "" };
        let event = pipeline.told(&[("MARKER_STATE", state), ("MARKER_SERVICE", site), ("MARKER_REVERSIBLE", declared)]).await;
        assert_eq!(event.resources, [site], "{state}");
        assert_eq!((event.reversible, event.version, event.subject.environment), (reversible, None, None), "{state}");
    }
    let image = pipeline.told(&[("MARKER_STATE", "succeeded"), ("MARKER_VERSION", "pkg:oci/checkout@sha256%3A01")]).await;
    assert_eq!(image.version.as_deref(), Some("pkg:oci/checkout@sha256%3A01"));
}

#[tokio::test]
async fn what_cannot_be_sent_fails_with_a_sentence_and_without_the_token() {
    let pipeline = Pipeline::new().await;
    let cases = [
        (("MARKER_STATE", "done"), "MARKER_STATE is 'done'; write started, succeeded or failed"),
        (("MARKER_STATE", ""), "MARKER_STATE is not set"),
        (("MARKER_SERVICE", ""), "MARKER_SERVICE is not set"),
        (("MARKER_SERVICE", "two\nlines"), "a value has a line break"),
        (("MARKER_REVERSIBLE", "yes"), "MARKER_REVERSIBLE is 'yes'; write true, false or nothing"),
        (("MARKER_QUEUE", "elsewhere"), "the queue elsewhere did not take the marker"),
        (("MARKER_TOKEN", "forged"), "the queue markers did not take the marker"),
    ];
    for (variable, expected) in cases {
        let said = says(&pipeline.run(&[("MARKER_STATE", "started"), variable]).await);
        assert!(said.contains(expected), "{variable:?}: {said}");
        assert!(!said.contains(&pipeline.token), "the token is shown: {said}");
    }
    assert_eq!(pipeline.azure.queue_length("markers"), 0);
}
