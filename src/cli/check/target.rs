//! Whether a target, its way back and its evidence can be read now.

use jiff::SignedDuration;

use super::finding::{Finding, Status};
use crate::{
    cli::wiring::Wired,
    domain::{
        observation::{Obstacle, ObstacleWeight},
        rule::RuleId,
        service::Service,
    },
};

/// Measurements of this long are asked for.
const EVIDENCE_LOOKED_AT: SignedDuration = SignedDuration::from_mins(30);

pub async fn check(wired: &Wired, service: &Service) -> Vec<Finding> {
    let what = format!("target of {}", service.name);
    let platform = wired.ports.platforms.of(&service.target);
    let (observation, preflight, evidence) = futures::join!(platform.observe(), platform.preflight(), evidence(wired, service));
    let mut findings = Vec::new();
    match observation {
        Err(error) => findings.push(Finding::problem(&what, error.to_string())),
        Ok(observation) => {
            findings.push(Finding::ok(&what, format!("runs {}", observation.running.label)));
            findings.extend(observation.obstacles.iter().map(|obstacle| in_the_way(&what, obstacle)));
            match wired.process.ways_back(service, &observation).await {
                Err(error) => findings.push(Finding::problem(&what, error.to_string())),
                Ok(ways) if ways.is_empty() => {
                    findings.push(Finding::problem(&what, "there is no earlier version to go back to"));
                }
                Ok(_) => {}
            }
        }
    }
    match preflight {
        Err(error) => findings.push(Finding::problem(&what, error.to_string())),
        Ok(preflight) => {
            let all = preflight.obstacles.iter().chain(preflight.ways_back.iter().flat_map(|(_, obstacles)| obstacles));
            let all = all.filter(|obstacle| !has_a_line_of_its_own(wired, service, obstacle));
            findings.extend(all.map(|obstacle| in_the_way(&what, obstacle)));
        }
    }
    let mut distinct: Vec<Finding> = Vec::new();
    for finding in findings.into_iter().chain(evidence) {
        if !distinct.contains(&finding) {
            distinct.push(finding);
        }
    }
    distinct
}

/// Rights that resource manager knows were asked one by one.
fn has_a_line_of_its_own(wired: &Wired, service: &Service, obstacle: &Obstacle) -> bool {
    let needed = super::rights::needed(wired, service);
    obstacle.rule == RuleId::S9
        && needed.iter().any(|right| {
            right.action.starts_with("Microsoft.")
                && right.scope.starts_with('/')
                && (obstacle.says.contains(&format!("`{}` on `{}`", right.action, right.scope))
                    || obstacle.says.contains("could not be checked") && obstacle.says.contains(&format!("`{}`", right.action)))
        })
}

/// What merely asks for a person is no failure of the set-up.
fn in_the_way(what: &str, obstacle: &Obstacle) -> Finding {
    match obstacle.weight {
        ObstacleWeight::Propose => Finding::of(what, Status::Note, format!("would be left to a person: {}", obstacle.says)),
        ObstacleWeight::Page => Finding::problem(what, obstacle.says.clone()),
    }
}

/// Reads each signal once, as a decision would.
async fn evidence(wired: &Wired, service: &Service) -> Vec<Finding> {
    let what = format!("evidence of {}", service.name);
    let now = wired.ports.clock.now();
    let mut findings = Vec::new();
    for metric in &service.evidence {
        let Some(resource) = metric.resource.as_ref().or_else(|| service.target.resource()) else {
            findings.push(Finding::problem(
                &what,
                format!("`{}` names no resource, and the target is none of Azure's", metric.name()),
            ));
            continue;
        };
        let read = wired.ports.telemetry.series(metric, resource, now - EVIDENCE_LOOKED_AT, now).await;
        findings.push(match read {
            Err(error) => Finding::problem(&what, format!("`{}` of {resource}: {error}", metric.name())),
            Ok(series) => {
                let known = series.points.iter().filter(|point| point.value.is_some()).count();
                let says = match known {
                    0 => format!(
                        "`{}` of {resource} can be read, and has no value in the last {} minutes; without values nothing is acted upon",
                        metric.name(),
                        EVIDENCE_LOOKED_AT.as_mins()
                    ),
                    _ => format!("`{}` of {resource}: {known} values in the last {} minutes", metric.name(), EVIDENCE_LOOKED_AT.as_mins()),
                };
                Finding::ok(&what, says)
            }
        });
    }
    findings
}
