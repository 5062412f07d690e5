//! What fits the shape, piece by piece -> domain values, every default filled in.
//!
//! A piece with a problem still becomes a value, so that the checks after it can run; the problem keeps it from being used.

use jiff::SignedDuration;

use super::{
    duration::DurationText,
    file::{
        AlertFile, BudgetFile, ChannelWord, DefaultsFile, DeploymentFile, EvidenceFile, ModeWord, NoDataWord, NotifyFile,
        OutcomeWord, PolicyFile, ResubmitWord, ReversibleWord, ServiceFile, StormFile, WorseWhenWord,
    },
    read::Findings,
    relations::service_path,
    target,
    tree::{Path, Step},
};
use crate::domain::{
    alert::Severity,
    policy::{Channel, NoticeKind, NotifyRule, StormRule},
    resource_id::ResourceId,
    series::{EvidenceMetric, NoData, WorseWhen},
    service::{AlertMatcher, Budget, DeploymentMatcher, Mode, Resubmit, Reversible, Service, ServiceName},
    target::{PlatformKind, Target},
};

/// functionTimeout (5 min) and the longest HTTP time-out: while a sender may still be alive, silence proves nothing.
const QUIET_TIME_MIN: SignedDuration = SignedDuration::from_mins(6);

/// `defaults:` with everything filled in.
pub(super) struct Defaults {
    mode: Mode,
    severity_at_least: Severity,
    correlation_window: SignedDuration,
    evidence_wait: SignedDuration,
    healthy_for: SignedDuration,
    cool_down: SignedDuration,
    budget: Budget,
    quiet_time: SignedDuration,
    verify_within: SignedDuration,
    reversible: Reversible,
    resubmit: Resubmit,
}

impl Defaults {
    /// What holds where the file says nothing. The same values stand in the schema.
    fn built_in() -> Self {
        Self {
            mode: Mode::Observe,
            severity_at_least: sev2(),
            correlation_window: SignedDuration::from_mins(60),
            evidence_wait: SignedDuration::from_secs(120),
            healthy_for: SignedDuration::from_mins(30),
            cool_down: SignedDuration::from_mins(30),
            budget: Budget { rollbacks: 3, per: SignedDuration::from_hours(24) },
            quiet_time: SignedDuration::from_mins(10),
            verify_within: SignedDuration::from_mins(15),
            reversible: Reversible::Declared,
            resubmit: Resubmit::Never,
        }
    }
}

/// The parts that stand before the services.
pub(super) fn version_and_defaults(findings: &mut Findings<'_>, file: &PolicyFile) -> Defaults {
    match file.version {
        Some(1) => {}
        Some(version) => {
            findings.add(&root("version"), format!("is {version}"), "this version of backout reads `version: 1`");
        }
        None => findings.add(&root("version"), "is missing", "write `version: 1` at the top"),
    }
    if file.services.as_ref().is_none_or(std::collections::BTreeMap::is_empty) {
        findings.add(&root("services"), "names no service", "write at least one service with its target");
    }
    let written = file.defaults.clone().unwrap_or_default();
    levels(findings, &root("defaults"), written, &Defaults::built_in())
}

/// One service. `None` only when there is no target to speak of.
pub(super) fn service(
    findings: &mut Findings<'_>,
    name: &str,
    file: ServiceFile,
    defaults: &Defaults,
    own_site: Option<&ResourceId>,
) -> Option<Service> {
    let path = service_path(name, &[]);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.len() > 64 || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
        findings.misfit(
            &path,
            "is not a name for a service",
            "begin with a letter or digit and go on with letters, digits, `.`, `_` and `-`, 64 characters at most",
        );
    }
    let levels = levels(
        findings,
        &path,
        DefaultsFile {
            mode: file.mode,
            severity_at_least: file.severity_at_least,
            correlation_window: file.correlation_window,
            evidence_wait: file.evidence_wait,
            healthy_for: file.healthy_for,
            cool_down: file.cool_down,
            budget: file.budget,
            quiet_time: file.quiet_time,
            verify_within: file.verify_within,
            reversible: file.reversible,
            resubmit: file.resubmit,
        },
        defaults,
    );
    let alerts = each(&below(&path, "alerts"), file.alerts, |at, entry| alert(findings, at, entry));
    let deployments = each(&below(&path, "deployments"), file.deployments, |at, entry| deployment(findings, at, entry));
    let target = target::read(findings, name, file.target, file.fingerprint, own_site);
    let evidence = evidence(findings, &path, file.evidence, target.as_ref().map(Target::platform));
    let target = target?;
    Some(Service {
        name: ServiceName(name.to_owned()),
        target,
        alerts,
        deployments,
        depends_on: file.depends_on.unwrap_or_default().into_iter().map(ServiceName).collect(),
        reversible: levels.reversible,
        mode: levels.mode,
        severity_at_least: levels.severity_at_least,
        correlation_window: levels.correlation_window,
        evidence_wait: levels.evidence_wait,
        healthy_for: levels.healthy_for,
        cool_down: levels.cool_down,
        budget: levels.budget,
        quiet_time: levels.quiet_time,
        verify_within: levels.verify_within,
        resubmit: levels.resubmit,
        evidence,
    })
}

/// `storm:`
pub(super) fn storm(findings: &mut Findings<'_>, file: StormFile) -> StormRule {
    let path = root("storm");
    let resources = file.resources.unwrap_or(5);
    if resources < 2 {
        findings.add(
            &below(&path, "resources"),
            format!("is {resources}, so that every alert would be a storm"),
            "write 2 or more; the default is 5",
        );
    }
    StormRule { resources, within: duration(findings, &below(&path, "within"), file.within, SignedDuration::from_mins(5)) }
}

/// `notify:`
pub(super) fn notify(findings: &mut Findings<'_>, files: Vec<NotifyFile>) -> Vec<NotifyRule> {
    each(&root("notify"), Some(files), |at, file| Some(channel(findings, at, file)))
}

fn channel(findings: &mut Findings<'_>, path: &[Step], file: NotifyFile) -> NotifyRule {
    let channel = match file.channel {
        ChannelWord::Log => Channel::Log,
        ChannelWord::Teams => Channel::Teams,
        ChannelWord::Slack => Channel::Slack,
        ChannelWord::Webhook => Channel::Webhook,
    };
    let at = below(path, "urlFrom");
    match (&file.url_from, channel) {
        (None, Channel::Teams | Channel::Slack | Channel::Webhook) => findings.add(
            path,
            "names no `urlFrom`",
            "store the channel's URL in an app setting and write the setting's name as `urlFrom`",
        ),
        (Some(_), Channel::Log) => findings.add(&at, "has no meaning for `log`", "remove it"),
        (Some(name), _) if !is_setting_name(name) => {
            let says = if name.contains("://") || name.contains('/') || name.contains('?') {
                "looks like a URL, which is a secret"
            } else {
                "is not the name of an app setting"
            };
            findings.add(
                &at,
                says,
                "store the URL in an app setting, write only its name here, such as `TEAMS_WEBHOOK_URL`, and renew the URL if it was committed",
            );
        }
        (Some(_) | None, _) => {}
    }
    let kinds = match file.kinds {
        None => vec![NoticeKind::Act, NoticeKind::Propose, NoticeKind::Page],
        Some(words) => {
            if words.is_empty() {
                findings.add(&below(path, "for"), "is empty, so nothing would be told", "name an outcome, or remove the entry");
            }
            let kind = |word: &OutcomeWord| match word {
                OutcomeWord::Act => NoticeKind::Act,
                OutcomeWord::Propose => NoticeKind::Propose,
                OutcomeWord::Hold => NoticeKind::Hold,
                OutcomeWord::Page => NoticeKind::Page,
                OutcomeWord::Ignore => NoticeKind::Ignore,
            };
            words.iter().map(kind).collect()
        }
    };
    NotifyRule { channel, url_from: file.url_from, kinds }
}

/// What `defaults:` and every service may say, over what holds otherwise.
fn levels(findings: &mut Findings<'_>, path: &[Step], file: DefaultsFile, otherwise: &Defaults) -> Defaults {
    let mut span = |key: &str, text, otherwise| duration(findings, &below(path, key), text, otherwise);
    let correlation_window = span("correlationWindow", file.correlation_window, otherwise.correlation_window);
    let evidence_wait = span("evidenceWait", file.evidence_wait, otherwise.evidence_wait);
    let healthy_for = span("healthyFor", file.healthy_for, otherwise.healthy_for);
    let cool_down = span("coolDown", file.cool_down, otherwise.cool_down);
    let quiet_time = span("quietTime", file.quiet_time, otherwise.quiet_time);
    let verify_within = span("verifyWithin", file.verify_within, otherwise.verify_within);
    // A wrong default is told once, where it is written.
    if quiet_time < QUIET_TIME_MIN && quiet_time != otherwise.quiet_time {
        findings.add(
            &below(path, "quietTime"),
            "is too short: a call that was sent may still be under way",
            "write `6m` or more; the function's own time-out is 5 minutes, and the call has one too",
        );
    }
    Defaults {
        mode: match file.mode {
            None => otherwise.mode,
            Some(ModeWord::Observe) => Mode::Observe,
            Some(ModeWord::Propose) => Mode::Propose,
            Some(ModeWord::Act) => Mode::Act,
        },
        severity_at_least: severity(findings, &below(path, "severityAtLeast"), file.severity_at_least, otherwise),
        correlation_window,
        evidence_wait,
        healthy_for,
        cool_down,
        budget: budget(findings, &below(path, "budget"), file.budget.unwrap_or_default(), otherwise.budget),
        quiet_time,
        verify_within,
        reversible: match file.reversible {
            None => otherwise.reversible,
            Some(ReversibleWord::Always) => Reversible::Always,
            Some(ReversibleWord::Declared) => Reversible::Declared,
            Some(ReversibleWord::Never) => Reversible::Never,
        },
        resubmit: match file.resubmit {
            None => otherwise.resubmit,
            Some(ResubmitWord::Never) => Resubmit::Never,
            Some(ResubmitWord::Once) => Resubmit::Once,
        },
    }
}

fn severity(findings: &mut Findings<'_>, path: &[Step], text: Option<String>, otherwise: &Defaults) -> Severity {
    let Some(text) = text else { return otherwise.severity_at_least };
    // The legacy digit is for messages; in the file one spelling is enough.
    let word = text.trim().to_ascii_lowercase();
    Severity::parse(&word).filter(|_| word.len() == 4 && word.starts_with("sev")).unwrap_or_else(|| {
        findings.add(path, "is not a severity", "write `Sev0` (critical), `Sev1`, `Sev2`, `Sev3` or `Sev4`");
        otherwise.severity_at_least
    })
}

fn budget(findings: &mut Findings<'_>, path: &[Step], file: BudgetFile, otherwise: Budget) -> Budget {
    let rollbacks = file.rollbacks.unwrap_or(otherwise.rollbacks);
    if file.rollbacks == Some(0) {
        findings.add(&below(path, "rollbacks"), "is 0", "write 1 or more; to take nothing back write `mode: observe`");
    }
    Budget { rollbacks, per: duration(findings, &below(path, "per"), file.per, otherwise.per) }
}

fn duration(findings: &mut Findings<'_>, path: &[Step], text: Option<DurationText>, otherwise: SignedDuration) -> SignedDuration {
    let Some(text) = text else { return otherwise };
    text.parse().unwrap_or_else(|problem| {
        findings.add(path, problem.to_string(), "write hours, minutes and seconds, such as `30s`, `60m`, `24h` or `2h30m`");
        otherwise
    })
}

/// Names the reason only: the text may be anything, a secret included.
pub(super) fn resource_id(findings: &mut Findings<'_>, path: &[Step], text: &str, hint: &str) -> Option<ResourceId> {
    ResourceId::parse(text)
        .inspect_err(|problem| findings.add(path, format!("is not an Azure resource id: {}", problem.reason), hint))
        .ok()
}

fn alert(findings: &mut Findings<'_>, path: &[Step], file: AlertFile) -> Option<AlertMatcher> {
    let property: Vec<(String, String)> = file.property.unwrap_or_default().into_iter().collect();
    if file.resource.is_none() && file.rule.is_none() && property.is_empty() {
        findings.add(path, "has no key, so it would match nothing or everything", "write `resource:`, `rule:` or `property:`");
        return None;
    }
    if file.rule.as_ref().is_some_and(|rule| rule.trim().is_empty()) {
        findings.add(&below(path, "rule"), "is empty", "write the rule's name; `*` stands for any run of characters");
    }
    if property.iter().any(|(name, _)| name.trim().is_empty()) {
        findings.add(&below(path, "property"), "has an empty name", "write the name of a custom property or dimension");
    }
    let resource = match file.resource {
        None => None,
        Some(text) => {
            let hint = "write the id of an Azure resource, as the portal shows it under `JSON view`";
            Some(resource_id(findings, &below(path, "resource"), &text, hint)?)
        }
    };
    Some(AlertMatcher { resource, rule: file.rule, property })
}

fn deployment(findings: &mut Findings<'_>, path: &[Step], file: DeploymentFile) -> Option<DeploymentMatcher> {
    let keys = [
        ("project", &file.project),
        ("pipeline", &file.pipeline),
        ("stage", &file.stage),
        ("repository", &file.repository),
        ("environment", &file.environment),
        ("subject", &file.subject),
    ];
    if keys.iter().all(|(_, value)| value.is_none()) {
        findings.add(
            path,
            "has no key, so it would match nothing or everything",
            "write `project:`, `pipeline:`, `stage:`, `repository:`, `environment:` or `subject:`",
        );
        return None;
    }
    for (key, value) in keys {
        if value.as_ref().is_some_and(|value| value.trim().is_empty()) {
            findings.add(&below(path, key), "is empty", "write a value, or remove the key");
        }
    }
    Some(DeploymentMatcher {
        project: file.project,
        pipeline: file.pipeline,
        stage: file.stage,
        repository: file.repository,
        environment: file.environment,
        subject: file.subject,
    })
}

fn evidence(
    findings: &mut Findings<'_>,
    service: &[Step],
    files: Option<Vec<EvidenceFile>>,
    platform: Option<PlatformKind>,
) -> Vec<EvidenceMetric> {
    let path = &below(service, "evidence");
    let Some(files) = files else {
        let Some(platform) = platform else { return Vec::new() };
        return target::evidence(platform).unwrap_or_else(|| {
            findings.add(
                service,
                format!("names no `evidence`, and `{platform}` has no measurement of its own that shows a fault"),
                "write `evidence:` with `resource:`, the id of what measures the service (such as its Application Insights), `metric: requests/failed` and `of: requests/count`",
            );
            Vec::new()
        });
    };
    if files.is_empty() {
        findings.add(path, "is empty, so no fault could be shown", "remove it for the default, or name a metric");
    }
    each(path, Some(files), |at, file| {
        let metric = file.metric.filter(|metric| !metric.trim().is_empty());
        if metric.is_none() {
            findings.add(at, "names no metric", "write `metric:` and the name of an Azure metric, such as `Http5xx`");
        }
        if file.of.as_ref().is_some_and(|of| of.trim().is_empty()) {
            findings.add(&below(at, "of"), "is empty", "write the name of a metric, or remove it");
        }
        let resource = file.resource.and_then(|text| {
            let hint = "write the id of the resource which has this metric, or remove it for the target's own";
            resource_id(findings, &below(at, "resource"), &text, hint)
        });
        Some(EvidenceMetric {
            metric: metric?,
            of: file.of,
            worse_when: match file.worse_when {
                None | Some(WorseWhenWord::Higher) => WorseWhen::Higher,
                Some(WorseWhenWord::Lower) => WorseWhen::Lower,
            },
            no_data: match file.no_data {
                None | Some(NoDataWord::Unknown) => NoData::Unknown,
                Some(NoDataWord::Zero) => NoData::Zero,
            },
            resource,
        })
    })
}

fn each<F, T>(path: &[Step], files: Option<Vec<F>>, mut one: impl FnMut(&[Step], F) -> Option<T>) -> Vec<T> {
    let entries = files.unwrap_or_default().into_iter().enumerate();
    entries
        .filter_map(|(index, file)| {
            let mut at = path.to_vec();
            at.push(Step::Index(index));
            one(&at, file)
        })
        .collect()
}

fn root(key: &str) -> Path {
    vec![Step::Key(key.to_owned())]
}

pub(super) fn below(path: &[Step], key: &str) -> Path {
    let mut path = path.to_vec();
    path.push(Step::Key(key.to_owned()));
    path
}

/// Letters, digits and what the portal allows in names of app settings on Linux and Windows.
pub(super) fn is_setting_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c))
        && !name.contains("://")
}

fn sev2() -> Severity {
    Severity::new(2).unwrap_or_else(|| unreachable!("severities reach from 0 to 4"))
}
