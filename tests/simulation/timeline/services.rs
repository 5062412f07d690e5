//! The policy of a story: some services over all platforms, each with its own way to be taken back.

use std::collections::BTreeSet;

use backout::domain::{
    policy::{Channel, NoticeKind, NotifyRule, Policy, StormRule},
    resource_id::ResourceId,
    service::{AlertMatcher, Budget, DeploymentMatcher, Mode, Resubmit, Reversible, Service},
    target::{
        ArmDeploymentTarget, ClusterAccess, ContainerAppTarget, KubernetesCluster, KubernetesTarget, Lineage, LogicAppTarget,
        PipelinePlace, PipelineTarget, PlatformKind, Target, WorkloadKind,
    },
};
use jiff::SignedDuration;

use super::seed::Chance;
use crate::support::policy::{SUBSCRIPTION, policy as plain_policy, service as plain_service, site};

fn resource(group: &str, rest: &str) -> ResourceId {
    ResourceId::parse(&format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}{rest}")).expect("a resource id")
}

fn target(kind: PlatformKind, name: &str) -> Target {
    match kind {
        PlatformKind::AppService => plain_service(name).target,
        PlatformKind::Kubernetes => Target::Kubernetes(KubernetesTarget {
            cluster: KubernetesCluster::Aks {
                id: resource("shop-prod", "/providers/Microsoft.ContainerService/managedClusters/prod"),
                access: ClusterAccess::Direct,
            },
            namespace: "shop".to_owned(),
            kind: WorkloadKind::Deployment,
            name: name.to_owned(),
        }),
        PlatformKind::ArmDeployment => Target::ArmDeployment(ArmDeploymentTarget {
            scope: resource(name, ""),
            lineage: Lineage::Name("hub-*".to_owned()),
            secure_parameters: std::collections::BTreeMap::new(),
        }),
        PlatformKind::LogicApp => Target::LogicApp(LogicAppTarget {
            workflow: resource("shop-prod", &format!("/providers/Microsoft.Logic/workflows/{name}")),
        }),
        PlatformKind::ContainerApp => Target::ContainerApp(ContainerAppTarget {
            app: resource("shop-prod", &format!("/providers/Microsoft.App/containerApps/{name}")),
        }),
        PlatformKind::Pipeline => Target::Pipeline(PipelineTarget {
            place: PipelinePlace::AzureDevOps {
                server: "https://dev.azure.com".to_owned(),
                organization: "shop".to_owned(),
                project: name.to_owned(),
                pipeline: 12,
                branch: "refs/heads/main".to_owned(),
            },
            version_parameter: "version".to_owned(),
            decision_parameter: "decisionId".to_owned(),
        }),
    }
}

/// Where the signals of a service live.
pub fn signal_resource(service: &Service) -> ResourceId {
    resource("shop-prod", &format!("/providers/Microsoft.Insights/components/{}", service.name))
}

pub fn some(chance: &mut Chance, count: usize) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for number in 0..count {
        let name = format!("svc-{number}");
        let kind = *chance.one_of(&[
            PlatformKind::AppService,
            PlatformKind::AppService,
            PlatformKind::Kubernetes,
            PlatformKind::ArmDeployment,
            PlatformKind::LogicApp,
            PlatformKind::ContainerApp,
            PlatformKind::Pipeline,
        ]);
        let mut service = plain_service(&name);
        service.target = target(kind, &name);
        service.alerts = vec![AlertMatcher { resource: None, rule: Some(format!("{name}-*")), property: Vec::new() }];
        service.deployments = vec![DeploymentMatcher { subject: Some(name.clone()), ..DeploymentMatcher::default() }];
        if number > 0 && chance.percent(50) {
            service.depends_on = vec![services[chance.index(number)].name.clone()];
        }
        service.mode =
            *chance.one_of(&[Mode::Act, Mode::Act, Mode::Act, Mode::Act, Mode::Act, Mode::Act, Mode::Propose, Mode::Observe]);
        service.reversible = if chance.percent(8) {
            Reversible::Never
        } else {
            *chance.one_of(&[Reversible::Always, Reversible::Always, Reversible::Declared])
        };
        let minutes = |chance: &mut Chance, choices: &[i64]| SignedDuration::from_mins(*chance.one_of(choices));
        service.correlation_window = minutes(chance, &[30, 45, 60]);
        service.cool_down = minutes(chance, &[10, 30]);
        service.quiet_time = minutes(chance, &[6, 10]);
        service.verify_within = minutes(chance, &[15, 20, 25]);
        service.evidence_wait = SignedDuration::from_secs(*chance.one_of(&[60, 120, 300]));
        service.budget = Budget { rollbacks: *chance.one_of(&[1, 3, 10, 10]), per: SignedDuration::from_hours(24) };
        service.resubmit = if chance.percent(50) { Resubmit::Once } else { Resubmit::Never };
        let lives_at = signal_resource(&service);
        for metric in &mut service.evidence {
            metric.resource = Some(lives_at.clone());
        }
        services.push(service);
    }
    services
}

pub fn policy(chance: &mut Chance, services: &[Service]) -> Policy {
    let all = [NoticeKind::Act, NoticeKind::Propose, NoticeKind::Hold, NoticeKind::Page, NoticeKind::Ignore];
    let rule = |channel, url_from: &str, kinds: &[NoticeKind]| NotifyRule {
        channel,
        url_from: Some(url_from.to_owned()),
        kinds: kinds.to_vec(),
    };
    let teams = rule(Channel::Teams, "TEAMS_WEBHOOK_URL", &[NoticeKind::Act, NoticeKind::Propose, NoticeKind::Page]);
    let notify = match chance.below(4) {
        0 => Vec::new(),
        1 => vec![teams],
        2 => vec![teams, rule(Channel::Slack, "SLACK_WEBHOOK_URL", &[NoticeKind::Page])],
        _ => vec![rule(Channel::Webhook, "WEBHOOK_URL", &all)],
    };
    let storm = StormRule { resources: *chance.one_of(&[2, 3, 5]), within: SignedDuration::from_mins(5) };
    Policy { notify, storm, ..plain_policy(services.to_vec()) }
}

/// By service of the story: itself, then everything that it depends on as a policy has it; nothing for one that it does not have.
pub fn upstream(services: &[Service], policy: &Policy) -> Vec<Vec<usize>> {
    let place = |name| services.iter().position(|service| service.name == name);
    let known = |service: usize| policy.services.get(&services[service].name);
    let all = |first: usize| {
        let mut found: Vec<usize> = known(first).map(|_| first).into_iter().collect();
        let mut at = 0;
        while at < found.len() {
            let named = known(found[at]).map(|service| service.depends_on.clone()).unwrap_or_default();
            let more: BTreeSet<usize> = named.into_iter().filter_map(place).collect();
            for next in more {
                if !found.contains(&next) {
                    found.push(next);
                }
            }
            at += 1;
        }
        found
    };
    (0..services.len()).map(all).collect()
}

/// What somebody makes of a policy file.
pub fn edited(chance: &mut Chance, policy: &Policy) -> Policy {
    let mut edited = policy.clone();
    let names: Vec<_> = edited.services.keys().cloned().collect();
    let name = chance.one_of(&names).clone();
    match chance.below(4) {
        0 | 1 => {
            edited.services.remove(&name);
            for service in edited.services.values_mut() {
                service.depends_on.retain(|upstream| *upstream != name);
            }
        }
        2 => {
            if let Some(service) = edited.services.get_mut(&name) {
                service.mode = *chance.one_of(&[Mode::Observe, Mode::Propose]);
            }
        }
        _ => {
            for service in edited.services.values_mut() {
                service.depends_on.clear();
            }
        }
    }
    edited.sha256 = format!("{}-edited", policy.sha256);
    edited
}

/// What other people run beside it: never to be touched.
pub fn outside() -> Vec<Target> {
    let others = |name: &str| match plain_service(name).target {
        Target::AppService(target) => {
            Target::AppService(backout::domain::target::AppServiceTarget { site: site(name), ..target })
        }
        other => other,
    };
    vec![others("others-shop"), target(PlatformKind::LogicApp, "others-invoices")]
}
