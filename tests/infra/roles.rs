//! The custom roles grant what the code asks for, action by action, in both directions.

use std::collections::BTreeSet;

use backout::{
    domain::{
        resource_id::ResourceId,
        right::{Identity, NeededRight},
        target::{
            AppServiceTarget, AppServiceWay, ClusterAccess, ContainerAppTarget, FingerprintSource, KubernetesCluster,
            KubernetesTarget, LogicAppTarget, WorkloadKind,
        },
    },
    platforms::{app_service, arm_deployment, container_app, kubernetes, logic_app},
    telemetry::{alert_rules, alerts_management},
};

use super::{ROLE_FILES, list, lists, read};

/// Asked by whoever checks rights before they are needed: both identities.
const PERMISSIONS: &str = "Microsoft.Authorization/permissions/read";
/// Asked by the platforms whose changes a lock refuses.
const LOCKS: &str = "Microsoft.Authorization/locks/read";

fn id(path: &str) -> ResourceId {
    let group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop";
    ResourceId::parse(&format!("{group}/providers/{path}")).unwrap()
}

fn asked(rights: &[NeededRight], identity: Identity) -> BTreeSet<String> {
    rights.iter().filter(|right| right.identity == identity).map(|right| right.action.clone()).collect()
}

fn owned(actions: &[&str]) -> BTreeSet<String> {
    actions.iter().map(|action| (*action).to_owned()).collect()
}

fn with(mut actions: BTreeSet<String>, more: &[&str]) -> BTreeSet<String> {
    for action in more {
        assert!(actions.insert((*action).to_owned()), "`{action}` is asked by `rights()` already");
    }
    actions
}

#[track_caller]
fn same(file: &str, variables: &[&str], asked: &BTreeSet<String>) {
    let granted: Vec<String> = variables.iter().flat_map(|variable| list(file, variable)).collect();
    let unique: BTreeSet<String> = granted.iter().cloned().collect();
    assert_eq!(unique.len(), granted.len(), "{file}: an action of {variables:?} stands twice");
    let missing: Vec<_> = asked.difference(&unique).collect();
    let needless: Vec<_> = unique.difference(asked).collect();
    assert!(missing.is_empty(), "{file}: the code asks for {missing:?}, which {variables:?} do not grant");
    assert!(needless.is_empty(), "{file}: nothing in the code asks for {needless:?} of {variables:?}");
}

fn site(serving: &str, ways_back: &[AppServiceWay]) -> Vec<NeededRight> {
    app_service::preflight::rights(&AppServiceTarget {
        site: id("Microsoft.Web/sites/checkout"),
        serving_slot: serving.to_owned(),
        good_slots: vec!["last-good".to_owned()],
        ways_back: ways_back.to_vec(),
        fingerprint: FingerprintSource::Setting("RELEASE_ID".to_owned()),
    })
}

#[test]
fn app_service() {
    let file = "infra/roles/app-service.bicep";
    let both = |ways: &[AppServiceWay]| [site("production", ways), site("live", ways)].concat();
    let rights = both(&[AppServiceWay::Slots, AppServiceWay::Image]);
    // What `rights()` leaves to `Reader`: see the calls in `observe.rs`, `preflight.rs` and `release_mark.rs`, with and without a slot.
    let reads = [
        "Microsoft.Web/sites/read",
        "Microsoft.Web/sites/slots/read",
        "Microsoft.Web/sites/config/read",
        "Microsoft.Web/sites/slots/config/read",
        "Microsoft.Web/sites/deployments/read",
        "Microsoft.Web/sites/slots/deployments/read",
        "Microsoft.Web/sites/slotsdiffs/action",
        "Microsoft.Web/sites/slots/slotsdiffs/action",
        LOCKS,
        PERMISSIONS,
    ];
    same(file, &["readingActions"], &with(asked(&rights, Identity::Reading), &reads));
    // The app setting that names the build, and all of them where a package is set again.
    same(file, &["settingsReadingActions"], &asked(&both(&[AppServiceWay::Package]), Identity::Reading));
    let acting = asked(&both(&[AppServiceWay::Slots, AppServiceWay::Image, AppServiceWay::Package]), Identity::Acting);
    same(file, &["actingActions", "configuringActions"], &with(acting, &[PERMISSIONS]));
    assert!(list(file, "configuringActions").iter().all(|action| action.ends_with("config/write")));
}

/// In the cluster's own words; the data actions of Azure's roles say the same.
#[test]
fn kubernetes() {
    let file = "infra/roles/kubernetes.bicep";
    let rights = |access: ClusterAccess| -> Vec<NeededRight> {
        let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];
        let of = |kind| {
            let cluster = KubernetesCluster::Aks { id: id("Microsoft.ContainerService/managedClusters/prod"), access };
            let (namespace, name) = ("shop".to_owned(), "web".to_owned());
            kubernetes::preflight::rights(&KubernetesTarget { cluster, namespace, kind, name })
        };
        kinds.into_iter().flat_map(of).collect()
    };
    let is_azures = |right: &NeededRight| right.action.starts_with("Microsoft.");
    let by_commands: Vec<NeededRight> = rights(ClusterAccess::RunCommand).into_iter().filter(is_azures).collect();
    same(file, &["commandReadingActions"], &with(asked(&by_commands, Identity::Reading), &[PERMISSIONS]));
    same(file, &["commandActingActions"], &with(asked(&by_commands, Identity::Acting), &[PERMISSIONS]));
    let (in_azure, in_the_cluster): (Vec<_>, Vec<_>) = rights(ClusterAccess::Direct).into_iter().partition(is_azures);
    let in_the_cluster: Vec<NeededRight> =
        in_the_cluster.into_iter().map(|right| NeededRight { action: data_action(&right.action), ..right }).collect();
    same(file, &["readingActions"], &asked(&in_azure, Identity::Reading));
    same(file, &["readingDataActions"], &asked(&in_the_cluster, Identity::Reading));
    same(file, &["actingDataActions"], &asked(&in_the_cluster, Identity::Acting));
    assert!(asked(&in_azure, Identity::Acting).is_empty());
}

/// `patch deployments.apps` -> `.../apps/deployments/write`.
fn data_action(right: &str) -> String {
    let (verb, resource) = right.split_once(' ').unwrap();
    let verb = match verb {
        "get" | "list" => "read",
        "patch" => "write",
        other => panic!("no data action for `{other}`"),
    };
    let plural = resource.strip_suffix(".apps").unwrap();
    format!("Microsoft.ContainerService/managedClusters/apps/{plural}/{verb}")
}

#[test]
fn arm_deployment() {
    let file = "infra/roles/arm-deployment.bicep";
    same(file, &["readingActions"], &with(owned(&arm_deployment::preflight::READING_ACTIONS), &[LOCKS, PERMISSIONS]));
    same(file, &["actingActions"], &with(owned(&arm_deployment::preflight::ACTING_ACTIONS), &[PERMISSIONS]));
    same(file, &["operationReadingActions"], &with(owned(&arm_deployment::preflight::POLLING_ACTIONS), &[PERMISSIONS]));
}

#[test]
fn logic_app() {
    let file = "infra/roles/logic-app.bicep";
    let rights = logic_app::preflight::rights(&LogicAppTarget { workflow: id("Microsoft.Logic/workflows/orders") });
    same(file, &["readingActions"], &with(asked(&rights, Identity::Reading), &[LOCKS, PERMISSIONS]));
    same(file, &["actingActions"], &with(asked(&rights, Identity::Acting), &[PERMISSIONS]));
    // `observe.rs` reads the connections of an earlier version; joining them is what Azure asks of whoever saves it.
    same(file, &["connectionReadingActions"], &with(BTreeSet::new(), &["Microsoft.Web/connections/read"]));
    same(file, &["connectionActingActions"], &with(BTreeSet::new(), &["Microsoft.Web/connections/join/action"]));
}

#[test]
fn container_app() {
    let file = "infra/roles/container-app.bicep";
    let rights = container_app::preflight::rights(&ContainerAppTarget { app: id("Microsoft.App/containerApps/search") });
    let (environment, app): (Vec<_>, Vec<_>) =
        rights.into_iter().partition(|right| right.action.contains("/managedEnvironments/"));
    same(file, &["readingActions"], &with(asked(&app, Identity::Reading), &[LOCKS, PERMISSIONS]));
    same(file, &["actingActions"], &with(asked(&app, Identity::Acting), &[PERMISSIONS]));
    same(file, &["environmentActingActions"], &with(asked(&environment, Identity::Acting), &[PERMISSIONS]));
    same(file, &["operationReadingActions"], &owned(&container_app::preflight::POLLING_ACTIONS));
}

#[test]
fn azure_monitor() {
    let file = "infra/roles/observation.bicep";
    same(file, &["alertReadingActions"], &owned(&[alerts_management::READING_ACTION]));
    same(file, &["alertRuleReadingActions"], &owned(&alert_rules::READING_ACTIONS));
}

/// The policy's own list (`Policy::subscriptions`): targets, evidence, and what `alerts:` names.
#[test]
fn alerts_can_be_read_in_every_subscription_that_the_policy_may_name() {
    let main = read("infra/main.bicep");
    assert!(main.contains("var watchedSubscriptions = union(targetSubscriptions, evidenceSubscriptions, alertSubscriptions)\n"));
    assert!(main.contains("var assignableScopes = union([ownSubscription], watchedSubscriptions)\n"));
    let module = |name: &str| main.split_once(&format!("module {name} ")).unwrap().1.split_once("\n]\n").unwrap().0.to_owned();
    assert!(module("alertRights").contains("for id in watchedSubscriptions:"));
    assert!(module("alertRuleRights").contains("for id in (readsAlertRules ? watchedSubscriptions : []):"));
    for (rights, subscriptions) in [
        ("deploymentOperationRights", "deploymentSubscriptionsToAct"),
        ("containerAppOperationRights", "containerAppSubscriptionsToAct"),
    ] {
        assert!(module(rights).contains(&format!("for id in {subscriptions}:")));
        let definition = main.split_once(&format!("var {subscriptions} = ")).unwrap().1.split_once("\n)").unwrap().0;
        assert!(definition.contains(".mayAct)"), "{definition}");
    }
}

#[test]
fn a_role_that_reads_cannot_change_anything() {
    let posts_that_read =
        ["/slotsdiffs/action", "/config/list/action", "/listClusterUserCredential/action", "/exportTemplate/action"];
    for file in ROLE_FILES {
        for name in lists(file).iter().filter(|name| name.to_ascii_lowercase().contains("reading")) {
            for action in list(file, name) {
                // What a command may change is bounded by the identity's rights in the cluster; docs/permissions.md says where it is not.
                let commands = name == "commandReadingActions" && action.ends_with("/runcommand/action");
                let reads = action.ends_with("/read") || posts_that_read.iter().any(|post| action.ends_with(post)) || commands;
                assert!(reads, "{file}: `{name}` has `{action}`");
            }
        }
    }
}

/// With `mayAct: false` everywhere there is neither a role to act nor an assignment of one: observing is read-only by Azure's word.
#[test]
fn nothing_is_granted_to_the_acting_identity_unless_a_target_may_be_acted_upon() {
    let main = read("infra/main.bicep");
    let mut assignments = 0;
    for (path, _) in main.split("module ").skip(1).map(|part| part.split_once("' =").unwrap()) {
        let file = path.split_once('\'').unwrap().1;
        let text = read(&format!("infra/{file}"));
        for resource in text.split("\nresource ").skip(1) {
            let (head, body) = resource.split_once('\n').unwrap();
            if body.contains("principalId: actorPrincipalId") {
                assignments += 1;
                let only_of_targets_that_may = file == "modules/target-container-environment.bicep";
                assert!(head.contains("if (mayAct") || only_of_targets_that_may, "{file}: {head}");
            }
            if body.contains("actions: ") && body.to_ascii_lowercase().contains("acting") {
                assert!(head.ends_with("if (mayAct) {"), "{file}: {head}");
            }
        }
    }
    assert_eq!(assignments, 12);
    let environments = main.split_once("var environmentIds = ").unwrap().1.split_once("\n)").unwrap().0;
    assert!(environments.contains("filter(containerApps, app => app.mayAct)"), "{environments}");
}
