//! Each source of deployment events, field by field.

use backout::{
    domain::{
        deployment::{DeploymentStatus, DeploymentSubject, SlotPair},
        event::{Event, OtherEvent},
    },
    inbound::Format,
};
use serde_json::{Value, json};

use super::{arm, changed, deployment, fixture, one_value};

fn other(value: &Value) -> OtherEvent {
    match one_value(value).map(|understood| understood.event) {
        Ok(Event::Other(other)) => other,
        unexpected => panic!("{unexpected:?}"),
    }
}

#[test]
fn slot_swap() {
    let event = deployment(Format::EventGridSchema, &fixture("event-grid-slot-swap"));
    assert_eq!(event.id.as_deref(), Some("d0c1a2b3-0001-4000-8000-000000000001"));
    assert_eq!(event.source, "event-grid");
    assert_eq!(event.resources, [arm("/resourceGroups/rg-shop/providers/Microsoft.Web/sites/checkout")]);
    assert_eq!(event.operation.as_deref(), Some("Microsoft.Web.SlotSwapCompleted"));
    assert_eq!(event.status, DeploymentStatus::Succeeded);
    assert_eq!(event.at, Some("2026-03-04T02:00:00.7194887Z".parse().unwrap()));
    assert_eq!(event.slots, Some(SlotPair { source: "staging".into(), target: "production".into() }));
    assert_eq!(event.subject, DeploymentSubject { subject: Some("checkout".into()), ..DeploymentSubject::default() });
    assert_eq!((event.version, event.reversible), (None, None));
}

#[test]
fn site_events_by_type() {
    let cases = [
        ("Microsoft.Web.SlotSwapStarted", DeploymentStatus::Started),
        ("Microsoft.Web.SlotSwapWithPreviewStarted", DeploymentStatus::Started),
        ("Microsoft.Web.SlotSwapWithPreviewCancelled", DeploymentStatus::Failed),
        ("Microsoft.Web.SlotSwapFailed", DeploymentStatus::Failed),
        ("Microsoft.Web/sites.SlotSwapCompleted", DeploymentStatus::Succeeded),
        ("Microsoft.Web.RestoreOperationCompleted", DeploymentStatus::Succeeded),
    ];
    for (event_type, status) in cases {
        let event = deployment(Format::EventGridSchema, &changed("event-grid-slot-swap", "/eventType", Some(json!(event_type))));
        assert_eq!(event.status, status, "{event_type}");
        assert_eq!(event.operation.as_deref(), Some(event_type));
    }
}

#[test]
fn a_slot_called_none_is_no_slot() {
    let event = deployment(Format::EventGridSchema, &changed("event-grid-slot-swap", "/data/sourceSlot", Some(json!("None"))));
    assert_eq!(event.slots, None);
}

#[test]
fn arm_failure_is_told_by_the_type_and_not_by_the_status() {
    let event = deployment(Format::CloudEvents, &fixture("cloud-event-arm-failure"));
    assert_eq!(event.status, DeploymentStatus::Failed);
    assert_eq!(event.operation.as_deref(), Some("Microsoft.Resources/deployments/write"));
    assert_eq!(event.resources, [arm("/resourceGroups/rg-net/providers/Microsoft.Resources/deployments/hub-42")]);
    assert_eq!(event.version.as_deref(), Some("7c1f8f5e-6f6b-4a4e-9d6b-5a7f2f1f0a11"));
    assert_eq!(event.at, Some("2026-03-04T02:01:00Z".parse().unwrap()));
    let stored = serde_json::to_string(&event).unwrap();
    assert!(!stored.contains("Pat") && !stored.contains("example.org"), "{stored}");
}

#[test]
fn arm_events_by_type_and_operation() {
    let cases = [
        ("Microsoft.Resources.ResourceWriteSuccess", Some(DeploymentStatus::Succeeded)),
        ("Microsoft.Resources.ResourceActionSuccess", Some(DeploymentStatus::Succeeded)),
        ("Microsoft.Resources.ResourceDeleteSuccess", Some(DeploymentStatus::Succeeded)),
        ("Microsoft.Resources.ResourceDeleteCancel", Some(DeploymentStatus::Failed)),
        ("Microsoft.Resources.ResourceWriteCancel", Some(DeploymentStatus::Failed)),
        ("Microsoft.Resources.ResourceWritePondered", None),
    ];
    for (event_type, status) in cases {
        let value = changed("cloud-event-arm-failure", "/type", Some(json!(event_type)));
        match status {
            Some(status) => assert_eq!(deployment(Format::CloudEvents, &value).status, status, "{event_type}"),
            None => assert_eq!(other(&value).name, event_type),
        }
    }
    for dry_run in ["Microsoft.Resources/deployments/whatIf/action", "MICROSOFT.RESOURCES/deployments/Validate/action"] {
        let event = other(&changed("cloud-event-arm-failure", "/data/operationName", Some(json!(dry_run))));
        assert_eq!(event.name, "Microsoft.Resources.ResourceWriteFailure");
        assert_eq!(event.warning, None);
    }
}

#[test]
fn arm_event_falls_back_to_the_subject_and_to_the_authorized_action() {
    let mut value = changed("cloud-event-arm-failure", "/data/resourceUri", None);
    value["data"]["operationName"] = Value::Null;
    let event = deployment(Format::CloudEvents, &value);
    assert_eq!(event.resources, [arm("/resourceGroups/rg-net/providers/Microsoft.Resources/deployments/hub-42")]);
    assert_eq!(event.operation.as_deref(), Some("Microsoft.Resources/deployments/write"));
}

#[test]
fn changed_settings_are_a_deployment_and_a_restart_is_none() {
    let event = deployment(Format::EventGridSchema, &fixture("event-grid-app-settings"));
    assert_eq!(event.status, DeploymentStatus::Succeeded);
    assert_eq!(event.resources, [arm("/resourceGroups/rg-shop/providers/Microsoft.Web/sites/orders")]);
    for action in ["Restarted", "Stopped", "Started"] {
        let event = other(&changed("event-grid-app-settings", "/data/appEventTypeDetail/action", Some(json!(action))));
        assert_eq!(event.name, "Microsoft.Web.AppUpdated");
    }
}

#[test]
fn resource_notification_adds_the_version() {
    let event = deployment(Format::EventGridSchema, &fixture("event-grid-resource-notification"));
    assert_eq!(event.status, DeploymentStatus::Other);
    assert_eq!(event.resources, [arm("/resourceGroups/rg-shop/providers/Microsoft.App/containerApps/search")]);
    assert_eq!(event.version.as_deref(), Some("search--r42"));
}

#[test]
fn configuration_change_is_a_deployment_of_the_store() {
    let event = deployment(Format::CloudEvents, &fixture("cloud-event-app-configuration"));
    assert_eq!(event.status, DeploymentStatus::Succeeded);
    assert_eq!(
        event.resources,
        [arm("/resourceGroups/rg-shop/providers/microsoft.appconfiguration/configurationstores/shop-config")]
    );
    assert_eq!(event.operation.as_deref(), Some("Microsoft.AppConfiguration.KeyValueModified"));
}

#[test]
fn a_deleted_event_subscription_warns() {
    let event = other(&fixture("event-grid-subscription-deleted"));
    assert_eq!(event.name, "Microsoft.EventGrid.SubscriptionDeletedEvent");
    let warning = event.warning.expect("a source has gone silent");
    assert!(warning.contains("eventSubscriptions/to-bus` was deleted"), "{warning}");
}

#[test]
fn everything_else_of_event_grid_is_noise() {
    for event_type in [
        "Microsoft.ContainerRegistry.ImagePushed",
        "Microsoft.ContainerService.NodePoolRollingFailed",
        "Microsoft.Web.AppServicePlanUpdated",
        "Microsoft.Web.BackupOperationCompleted",
        "Microsoft.EventGrid.SubscriptionValidationEvent",
        "Microsoft.ResourceNotifications.HealthResources.AvailabilityStatusChanged",
        "Microsoft.Storage.BlobCreated",
        "Contoso.Something",
    ] {
        let mut value = changed("event-grid-slot-swap", "/eventType", Some(json!(event_type)));
        value["data"] = json!("any");
        let event = other(&value);
        assert_eq!((event.name.as_str(), event.warning), (event_type, None));
        assert_eq!(event.id.as_deref(), Some("d0c1a2b3-0001-4000-8000-000000000001"));
    }
}

#[test]
fn azure_devops_stage() {
    let event = deployment(Format::AzureDevOpsServiceHook, &fixture("azure-devops-stage"));
    assert_eq!(event.id.as_deref(), Some("d0c1a2b3-0002-4000-8000-000000000001"));
    assert_eq!(event.source, "azure-devops");
    assert_eq!(event.status, DeploymentStatus::Succeeded);
    assert_eq!(event.operation.as_deref(), Some("ms.vss-pipelines.stage-state-changed-event"));
    assert_eq!(
        event.subject,
        DeploymentSubject {
            project: Some("6a2d1a50-0000-4000-8000-000000000002".into()),
            pipeline: Some("checkout-cd".into()),
            stage: Some("deploy-prod".into()),
            ..DeploymentSubject::default()
        }
    );
    assert_eq!(event.version.as_deref(), Some("2026.3.4"));
    assert_eq!(event.reversible, Some(true));
    assert_eq!(event.at, Some("2026-03-04T01:59:00.683Z".parse().unwrap()));
    assert!(event.resources.is_empty());
}

#[test]
fn azure_devops_states_and_results() {
    let cases = [
        (json!("inProgress"), json!(null), DeploymentStatus::Started),
        (json!("running"), json!(null), DeploymentStatus::Started),
        (json!("canceling"), json!(null), DeploymentStatus::Other),
        (json!("waiting"), json!(null), DeploymentStatus::Other),
        (json!("completed"), json!("succeeded"), DeploymentStatus::Succeeded),
        (json!("completed"), json!("partiallySucceeded"), DeploymentStatus::Succeeded),
        (json!("completed"), json!("failed"), DeploymentStatus::Failed),
        (json!("completed"), json!("canceled"), DeploymentStatus::Failed),
        (json!("completed"), json!("skipped"), DeploymentStatus::Other),
    ];
    for (state, result, status) in cases {
        let mut stage = fixture("azure-devops-stage");
        stage["resource"]["stage"]["state"] = state.clone();
        stage["resource"]["stage"]["result"] = result.clone();
        assert_eq!(deployment(Format::AzureDevOpsServiceHook, &stage).status, status, "stage {state} {result}");

        let mut run = fixture("azure-devops-stage");
        run["eventType"] = json!("ms.vss-pipelines.run-state-changed-event");
        run["resource"]["run"]["state"] = state.clone();
        run["resource"]["run"]["result"] = result.clone();
        let event = deployment(Format::AzureDevOpsServiceHook, &run);
        assert_eq!(event.status, status, "run {state} {result}");
        assert_eq!(event.subject.stage, None);
    }
}

#[test]
fn azure_devops_release() {
    let event = deployment(Format::AzureDevOpsServiceHook, &fixture("azure-devops-release"));
    assert_eq!(event.status, DeploymentStatus::Failed);
    assert_eq!(event.version.as_deref(), Some("Release-31"));
    assert_eq!(event.subject.project.as_deref(), Some("Shop"));
    assert_eq!(event.subject.pipeline.as_deref(), Some("orders-release"));
    assert_eq!(event.subject.stage.as_deref(), Some("Production"));

    let started = changed("azure-devops-release", "/eventType", Some(json!("ms.vss-release.deployment-started-event")));
    assert_eq!(deployment(Format::AzureDevOpsServiceHook, &started).status, DeploymentStatus::Started);
}

#[test]
fn azure_devops_builds_and_jobs_deploy_nothing() {
    for event_type in ["build.complete", "ms.vss-pipelines.job-state-changed-event", "git.push"] {
        assert_eq!(other(&changed("azure-devops-stage", "/eventType", Some(json!(event_type)))).name, event_type);
    }
}

#[test]
fn bare_cdevent() {
    let event = deployment(Format::BareCdEvents, &fixture("cdevents-bare"));
    assert_eq!(event.source, "cdevents");
    assert_eq!(event.id.as_deref(), Some("d0c1a2b3-0003-4000-8000-000000000001"));
    assert_eq!(event.operation.as_deref(), Some("dev.cdevents.service.upgraded.0.2.0"));
    assert_eq!(event.status, DeploymentStatus::Succeeded);
    assert_eq!(event.subject.subject.as_deref(), Some("shop/payments"));
    assert_eq!(event.subject.environment.as_deref(), Some("prod-eu"));
    assert_eq!(event.version.as_deref(), Some("pkg:oci/payments@sha256%3A0123"));
    assert_eq!(event.reversible, Some(false));
    assert_eq!(event.at, Some("2026-03-04T01:57:00.315384Z".parse().unwrap()));
    assert!(event.resources.is_empty());
}

#[test]
fn cdevent_in_a_cloud_event_may_name_the_resource_itself() {
    let event = deployment(Format::CdEventsInCloudEvents, &fixture("cdevents-in-cloud-event"));
    assert_eq!(event.id.as_deref(), Some("d0c1a2b3-0003-4000-8000-000000000002"));
    assert_eq!(event.resources, [arm("/resourceGroups/rg-shop/providers/Microsoft.Web/sites/checkout")]);
    assert_eq!(event.reversible, Some(true));
}

#[test]
fn cdevents_by_type() {
    let with_type = |event_type: &str| changed("cdevents-bare", "/context/type", Some(json!(event_type)));
    for verb in ["deployed", "published", "rolledback", "removed"] {
        let event = deployment(Format::BareCdEvents, &with_type(&format!("dev.cdevents.service.{verb}.0.3.0-draft")));
        assert_eq!(event.status, DeploymentStatus::Succeeded, "{verb}");
    }
    let event = deployment(Format::BareCdEvents, &with_type("dev.cdevents.environment.modified.0.3.0"));
    assert_eq!(event.status, DeploymentStatus::Other);
    assert_eq!(event.subject.environment.as_deref(), Some("shop/payments"));
    for quiet in ["dev.cdevents.incident.detected.0.3.0", "dev.cdevents.build.finished.0.2.0"] {
        assert_eq!(other(&with_type(quiet)).name, quiet);
    }
}

#[test]
fn a_run_deploys_only_if_it_names_a_service() {
    let run = |verb: &str, outcome: Value, custom: Value| {
        let mut event = changed("cdevents-bare", "/context/type", Some(json!(format!("dev.cdevents.pipelinerun.{verb}.0.2.0"))));
        event["subject"] = json!({ "id": "4711", "content": { "pipelineName": "release", "outcome": outcome } });
        event["customData"] = custom;
        event
    };
    let names = json!({ "service": "shop/payments", "environment": "prod-eu", "version": "1.4.2", "reversible": true });
    let event = deployment(Format::BareCdEvents, &run("started", Value::Null, names.clone()));
    assert_eq!(event.status, DeploymentStatus::Started);
    let subject = DeploymentSubject {
        pipeline: Some("release".into()),
        environment: Some("prod-eu".into()),
        subject: Some("shop/payments".into()),
        ..DeploymentSubject::default()
    };
    assert_eq!((event.subject, event.version.as_deref(), event.reversible), (subject, Some("1.4.2"), Some(true)));
    for (outcome, status) in [
        (json!("success"), DeploymentStatus::Succeeded),
        (json!("failure"), DeploymentStatus::Failed),
        (json!("error"), DeploymentStatus::Failed),
        (json!("cancel"), DeploymentStatus::Failed),
        (json!("perhaps"), DeploymentStatus::Other),
        (Value::Null, DeploymentStatus::Other),
    ] {
        assert_eq!(
            deployment(Format::BareCdEvents, &run("finished", outcome.clone(), names.clone())).status,
            status,
            "{outcome}"
        );
    }
    for (verb, custom) in [("started", json!({})), ("finished", Value::Null), ("queued", names)] {
        assert_eq!(other(&run(verb, Value::Null, custom)).name, format!("dev.cdevents.pipelinerun.{verb}.0.2.0"));
    }
}

#[test]
fn custom_data_that_is_no_json_declares_nothing() {
    let event = deployment(Format::BareCdEvents, &changed("cdevents-bare", "/customData", Some(json!("reversible: yes"))));
    assert_eq!(event.reversible, None);
}

#[test]
fn github_deployment_status() {
    let event = deployment(Format::GitHubDeploymentStatus, &fixture("github-deployment-status"));
    assert_eq!(event.id.as_deref(), Some("91001"));
    assert_eq!(event.source, "github");
    assert_eq!(event.status, DeploymentStatus::Failed);
    assert_eq!(event.version.as_deref(), Some("1f0c9a7be2d3446a9a51fa97a115f3d323508abc"));
    assert_eq!(event.reversible, Some(true));
    assert_eq!(event.at, Some("2026-03-04T01:55:00Z".parse().unwrap()));
    assert_eq!(
        event.subject,
        DeploymentSubject {
            pipeline: Some("release".into()),
            repository: Some("made-up/checkout".into()),
            environment: Some("prod-eu".into()),
            ..DeploymentSubject::default()
        }
    );
    assert!(!serde_json::to_string(&event).unwrap().contains("pat-doe"));
}

#[test]
fn github_states() {
    let cases = [
        ("success", DeploymentStatus::Succeeded),
        ("failure", DeploymentStatus::Failed),
        ("error", DeploymentStatus::Failed),
        ("in_progress", DeploymentStatus::Started),
        ("queued", DeploymentStatus::Other),
        ("pending", DeploymentStatus::Other),
        ("inactive", DeploymentStatus::Other),
    ];
    for (state, status) in cases {
        let value = changed("github-deployment-status", "/deployment_status/state", Some(json!(state)));
        assert_eq!(deployment(Format::GitHubDeploymentStatus, &value).status, status, "{state}");
    }
}

#[test]
fn github_deployment_and_workflow_run() {
    let event = deployment(Format::GitHubDeployment, &fixture("github-deployment"));
    assert_eq!(event.id.as_deref(), Some("45002"));
    assert_eq!(event.status, DeploymentStatus::Started);
    assert_eq!(event.reversible, Some(false));
    assert_eq!(event.subject.repository.as_deref(), Some("made-up/orders"));

    let run = other(&fixture("github-workflow-run"));
    assert_eq!((run.id.as_deref(), run.name.as_str()), (Some("70077"), "workflow_run"));
}

#[test]
fn flux() {
    let event = deployment(Format::Flux, &fixture("flux"));
    assert_eq!(event.id, None);
    assert_eq!(event.source, "flux");
    assert_eq!(event.status, DeploymentStatus::Succeeded);
    assert_eq!(event.subject.subject.as_deref(), Some("HelmRelease/shop/payments"));
    assert_eq!(event.subject.environment.as_deref(), Some("prod-eu"));
    assert_eq!(event.version.as_deref(), Some("4.2.0"));
    assert_eq!(event.resources, [arm("/resourceGroups/rg-aks/providers/Microsoft.ContainerService/managedClusters/prod")]);
    assert_eq!(event.at, Some("2026-03-04T01:54:00Z".parse().unwrap()));

    let failed = changed("flux", "/severity", Some(json!("error")));
    assert_eq!(deployment(Format::Flux, &failed).status, DeploymentStatus::Failed);
    let fetched = changed("flux", "/involvedObject/kind", Some(json!("GitRepository")));
    assert_eq!(deployment(Format::Flux, &fetched).status, DeploymentStatus::Other);
}

#[test]
fn kudu() {
    let event = deployment(Format::Kudu, &fixture("kudu"));
    assert_eq!(event.source, "kudu");
    assert_eq!(event.status, DeploymentStatus::Failed);
    assert_eq!(event.subject.subject.as_deref(), Some("attic"));
    assert_eq!(event.version.as_deref(), Some("aa17489fbcb7e2dda9012ec285811b9b751ebb5e"));
    assert_eq!(event.at, Some("2026-03-04T01:53:00.6393049Z".parse().unwrap()));
    let stored = serde_json::to_string(&event).unwrap();
    assert!(!stored.contains("Pat") && !stored.contains("example.org"), "{stored}");

    let running = changed("kudu", "/complete", Some(json!(false)));
    assert_eq!(deployment(Format::Kudu, &running).status, DeploymentStatus::Started);
}
