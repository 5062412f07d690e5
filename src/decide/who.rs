//! Who is meant: which services an alert or an event speaks about.

use crate::domain::{
    alert::Alert,
    deployment::{DeploymentEvent, DeploymentSubject},
    glob,
    policy::Policy,
    resource_id::ResourceId,
    service::{AlertMatcher, DeploymentMatcher, Service, ServiceName},
};

/// The services that the alert means, in order of name. A resource id that does not parse means nothing, never everything.
pub fn services_meant<'a>(alert: &Alert, policy: &'a Policy) -> Vec<&'a Service> {
    let resources = parsed(&alert.resources);
    policy
        .services
        .values()
        .filter(|service| {
            resources.iter().any(|resource| service.target.is_spoken_of_by(resource))
                || service.alerts.iter().any(|matcher| matches_alert(matcher, alert, &resources))
        })
        .collect()
}

/// The services that an alert meant when it arrived, as the policy has them now; `Err`: the first that it does not have any more.
pub fn still_meant<'a, 'n>(names: &'n [ServiceName], policy: &'a Policy) -> Result<Vec<&'a Service>, &'n ServiceName> {
    names.iter().map(|name| policy.services.get(name).ok_or(name)).collect()
}

/// The services meant and everything upstream of them, nearest first (C4).
pub fn scope<'a>(meant: &[&'a Service], policy: &'a Policy) -> Vec<(&'a Service, u32)> {
    let mut scope: Vec<(&Service, u32)> = Vec::new();
    for service in meant {
        for (upstream, distance) in policy.upstream(&service.name) {
            match scope.iter_mut().find(|(known, _)| known.name == upstream.name) {
                Some((_, known)) => *known = (*known).min(distance),
                None => scope.push((upstream, distance)),
            }
        }
    }
    scope.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.name.cmp(&b.0.name)));
    scope
}

/// The services whose target the event may have changed, or which its pipeline speaks about.
pub fn services_changed<'a>(event: &DeploymentEvent, policy: &'a Policy) -> Vec<&'a Service> {
    let resources = parsed(&event.resources);
    policy
        .services
        .values()
        .filter(|service| {
            resources.iter().any(|resource| service.target.is_changed_by(resource))
                || service.deployments.iter().any(|matcher| matches_deployment(matcher, &event.subject))
        })
        .collect()
}

/// The services which have `upstream` in their scope: those whose alerts a change of it may explain.
pub fn services_downstream<'a>(upstream: &ServiceName, policy: &'a Policy) -> Vec<&'a Service> {
    policy.services.values().filter(|service| policy.upstream(&service.name).iter().any(|(s, _)| s.name == *upstream)).collect()
}

fn parsed(resources: &[String]) -> Vec<ResourceId> {
    resources.iter().filter_map(|text| ResourceId::parse(text).ok()).collect()
}

fn matches_alert(matcher: &AlertMatcher, alert: &Alert, resources: &[ResourceId]) -> bool {
    let resource = matcher.resource.as_ref().is_none_or(|wanted| resources.iter().any(|resource| resource.is_within(wanted)));
    let rule = matcher.rule.as_ref().is_none_or(|pattern| alert.rule.as_ref().is_some_and(|rule| glob::fits(pattern, rule)));
    let property = matcher.property.iter().all(|(name, value)| {
        let found = |map: &std::collections::BTreeMap<String, String>| {
            map.iter().any(|(k, v)| k.eq_ignore_ascii_case(name) && v == value)
        };
        found(&alert.properties) || found(&alert.dimensions)
    });
    let says_something = matcher.resource.is_some() || matcher.rule.is_some() || !matcher.property.is_empty();
    says_something && resource && rule && property
}

fn matches_deployment(matcher: &DeploymentMatcher, subject: &DeploymentSubject) -> bool {
    let pairs = [
        (&matcher.project, &subject.project),
        (&matcher.pipeline, &subject.pipeline),
        (&matcher.stage, &subject.stage),
        (&matcher.repository, &subject.repository),
        (&matcher.environment, &subject.environment),
        (&matcher.subject, &subject.subject),
    ];
    let says_something = pairs.iter().any(|(wanted, _)| wanted.is_some());
    says_something
        && pairs.iter().all(|(wanted, found)| {
            wanted.as_ref().is_none_or(|wanted| found.as_ref().is_some_and(|found| found.eq_ignore_ascii_case(wanted)))
        })
}
