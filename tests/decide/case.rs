//! A case that acts, and the ways to vary one thing of it.
//!
//! `checkout` ran build 41 for 26 h; build 42 came at 11:50, `Http5xx of Requests` left its range in the window that
//! ended 11:52, the alert fired at 11:55 and arrived at 11:56; it is 12:00. The wait for evidence ends at 12:01.

use std::collections::BTreeMap;

use backout::{
    decide::{
        self,
        case::{Case, ServiceFacts, StormAlert},
    },
    domain::{
        alert::{Alert, AlertSchema, AlertSignal, Condition, Severity},
        approval::{Approval, Verdict},
        decision::{Decision, DecisionKind, Effect},
        known::Known,
        observation::{Observation, Obstacle, ObstacleWeight, Preflight, RunningVersion, WayBack},
        policy::StormRule,
        record::RecordId,
        resource_id::ResourceId,
        rule::RuleId,
        series::{EvidenceMetric, NoData, Point, Series, WorseWhen},
        service::{Budget, Mode, Resubmit, Reversible, Service, ServiceName},
        target::{AppServiceTarget, AppServiceWay, Fingerprint, FingerprintSource, Target, VersionToken, short_hash},
        target_state::{Firing, Marker, Rollout, TakenBack, TargetState},
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// A time of the day of the case.
pub fn at(time_of_day: &str) -> Timestamp {
    format!("2026-03-10T{time_of_day}Z").parse().expect("a time of day such as 11:50:00")
}

pub fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

pub fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

pub fn site(name: &str) -> String {
    format!("/subscriptions/5f3c1a52-9a0b-4c7e-8f3d-2d8a40c6b001/resourceGroups/shop/providers/Microsoft.Web/sites/{name}")
}

pub fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).expect("a resource id")
}

pub fn token(text: &str) -> VersionToken {
    VersionToken(text.to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "every field that takes it is optional")]
pub fn build(number: u32) -> Option<Fingerprint> {
    Some(Fingerprint(format!("build-{number}")))
}

pub fn alert() -> Alert {
    Alert {
        id: Some("/subscriptions/5f3c1a52-9a0b-4c7e-8f3d-2d8a40c6b001/alerts/1".to_owned()),
        rule: Some("checkout-5xx".to_owned()),
        severity: Severity::new(1),
        condition: Condition::Fired,
        resources: vec![site("checkout")],
        fired_at: Some(at("11:55:00")),
        resolved_at: None,
        schema: AlertSchema::Common,
        signal: AlertSignal::Metric,
        window: None,
        dimensions: BTreeMap::new(),
        properties: BTreeMap::new(),
    }
}

pub fn service(name: &str) -> Service {
    Service {
        name: ServiceName(name.to_owned()),
        target: Target::AppService(AppServiceTarget {
            site: id(&site(name)),
            serving_slot: "production".to_owned(),
            good_slots: vec!["staging".to_owned()],
            ways_back: vec![AppServiceWay::Slots, AppServiceWay::Image],
            fingerprint: FingerprintSource::Default,
        }),
        alerts: Vec::new(),
        deployments: Vec::new(),
        depends_on: Vec::new(),
        reversible: Reversible::Always,
        mode: Mode::Act,
        severity_at_least: Severity::new(2).expect("a severity"),
        correlation_window: minutes(60),
        evidence_wait: seconds(120),
        healthy_for: minutes(30),
        cool_down: minutes(30),
        budget: Budget { rollbacks: 3, per: SignedDuration::from_hours(24) },
        quiet_time: minutes(10),
        verify_within: minutes(15),
        resubmit: Resubmit::Never,
        evidence: vec![EvidenceMetric {
            metric: "Http5xx".to_owned(),
            of: Some("Requests".to_owned()),
            worse_when: WorseWhen::Higher,
            no_data: NoData::Unknown,
            resource: None,
        }],
    }
}

/// Windows of a minute that end from `first` to `last`, with 400 requests each; `value` tells the share of each.
pub fn share(first: &str, last: &str, value: impl Fn(Timestamp) -> Option<f64>) -> Series {
    let mut points = Vec::new();
    let mut end = at(first);
    while end <= at(last) {
        let value = value(end);
        points.push(Point { end, value, weight: value.map(|_| 400.0) });
        end += minutes(1);
    }
    Series {
        name: "Http5xx of Requests".to_owned(),
        worse_when: WorseWhen::Higher,
        interval: minutes(1),
        source_lag: minutes(3),
        points,
    }
}

/// Bad from the window that ends at `bad_from` until now; 0.2 % before.
pub fn fault_from(bad_from: &str) -> Series {
    let bad_from = at(bad_from);
    share("10:30:00", "11:59:00", |end| Some(if end >= bad_from { 0.31 } else { 0.002 }))
}

pub fn quiet() -> Series {
    share("10:30:00", "11:59:00", |_| Some(0.002))
}

pub fn rollout(name: &str, number: u32, since: Timestamp) -> Rollout {
    Rollout {
        token: token(name),
        fingerprint: build(number),
        serving_since: Some(since),
        first_seen_at: since + seconds(20),
        last_seen_at: since + seconds(20),
        before: Vec::new(),
        label: format!("build {number}"),
    }
}

pub fn way(name: &str, number: u32) -> WayBack {
    WayBack {
        name: name.to_owned(),
        fingerprint: build(number),
        label: format!("build {number}"),
        obstacles: Vec::new(),
        detail: json!({ "slot": name }),
    }
}

pub fn obstacle(rule: RuleId, weight: ObstacleWeight) -> Obstacle {
    Obstacle { rule, weight, says: format!("an obstacle of {rule}") }
}

pub fn firing(record: &str, fired_at: Timestamp, resolved_at: Option<Timestamp>) -> Firing {
    Firing {
        record: RecordId(short_hash(&[record])),
        rule: "checkout-5xx".to_owned(),
        resource: site("checkout"),
        fired_at,
        resolved_at,
    }
}

pub fn marker(at: Timestamp, reversible: Option<bool>) -> Marker {
    Marker {
        event_id: format!("{at}"),
        source: "azure-devops".to_owned(),
        at,
        status: backout::domain::deployment::DeploymentStatus::Succeeded,
        version: None,
        reversible,
    }
}

pub fn taken_back(accused: &str, accused_build: u32, claimed_at: Timestamp) -> TakenBack {
    TakenBack {
        record: RecordId("b".repeat(26)),
        accused: token(accused),
        accused_fingerprint: build(accused_build),
        claimed_at,
        result: None,
        result_fingerprint: None,
        expected: None,
    }
}

pub fn approval(verdict: Verdict, of: &str) -> Approval {
    Approval { verdict, token: token(of), proposal: None, by: "Ada".to_owned(), at: at("11:59:00"), used: false }
}

/// A service that ran build 41 since 26 h before `since`, and build 42 from then on.
pub fn facts(name: &str, distance: u32, since: Timestamp, signal: Series) -> ServiceFacts {
    let service = service(name);
    let mut state = TargetState::new(service.target.key());
    let bad = format!("{name}-2");
    state.rollouts = vec![rollout(&format!("{name}-1"), 41, since - SignedDuration::from_hours(26)), rollout(&bad, 42, since)];
    ServiceFacts {
        service,
        distance,
        state,
        observation: Known::Value(Observation {
            observed_at: at("12:00:00"),
            running: RunningVersion {
                token: token(&bad),
                fingerprint: build(42),
                serving_since: Some(since),
                label: "build 42".to_owned(),
            },
            under_way: None,
            ways_back: vec![way("slot staging", 41)],
            obstacles: Vec::new(),
        }),
        preflight: Known::Value(Preflight { obstacles: Vec::new(), ways_back: Vec::new() }),
        signals: vec![Known::Value(signal)],
        budget_used: Known::Value(0),
    }
}

/// The case that acts.
pub fn case() -> TestCase {
    TestCase(Case {
        now: at("12:00:00"),
        alert: alert(),
        received_at: at("11:56:00"),
        tries: 0,
        mode_ceiling: None,
        paused: Known::Value(None),
        approval: None,
        services: vec![facts("checkout", 0, at("11:50:00"), fault_from("11:52:00"))],
        storm_rule: StormRule { resources: 5, within: minutes(5) },
        storm: Vec::new(),
        own_site: Some(id(&site("backout"))),
    })
}

#[derive(Debug, Clone)]
pub struct TestCase(pub Case);

impl TestCase {
    pub fn with(mut self, change: impl FnOnce(&mut Case)) -> Self {
        change(&mut self.0);
        self
    }

    pub fn alert(self, change: impl FnOnce(&mut Alert)) -> Self {
        self.with(|case| change(&mut case.alert))
    }

    /// Changes what is known of `checkout`.
    pub fn facts(self, change: impl FnOnce(&mut ServiceFacts)) -> Self {
        self.with(|case| change(&mut case.services[0]))
    }

    pub fn policy(self, change: impl FnOnce(&mut Service)) -> Self {
        self.facts(|facts| change(&mut facts.service))
    }

    pub fn state(self, change: impl FnOnce(&mut TargetState)) -> Self {
        self.facts(|facts| change(&mut facts.state))
    }

    pub fn observed(self, change: impl FnOnce(&mut Observation)) -> Self {
        self.facts(|facts| match &mut facts.observation {
            Known::Value(observation) => change(observation),
            Known::Unknown(why) => panic!("the observation is unknown: {why}"),
        })
    }

    pub fn signal(self, series: Series) -> Self {
        self.facts(|facts| facts.signals = vec![Known::Value(series)])
    }

    /// Build 42 came at this time instead.
    pub fn rolled_out_at(self, since: Timestamp) -> Self {
        self.state(|state| state.rollouts[1] = rollout("checkout-2", 42, since))
            .observed(|observation| observation.running.serving_since = Some(since))
    }

    /// Adds a service which `checkout` depends on, whose build 42 came at `since`.
    pub fn upstream(self, name: &str, since: Timestamp, signal: Series) -> Self {
        self.with(|case| case.services.push(facts(name, 1, since, signal)))
    }

    /// Adds alerts on that many other resources, which a change of one of `explained_by` would explain.
    pub fn storm(self, count: usize, fired_at: Timestamp, explained_by: &[&str]) -> Self {
        self.with(|case| {
            for index in 0..count {
                case.storm.push(StormAlert {
                    resource: site(&format!("other-{index}")).to_ascii_lowercase(),
                    at: fired_at,
                    explained_by: explained_by.iter().map(|name| ServiceName((*name).to_owned())).collect(),
                });
            }
        })
    }

    /// A person has approved what is decided so far.
    pub fn approved(self) -> Self {
        let asked = self.clone().with(|case| case.approval = None).decide();
        let answer = match &asked.accused {
            Some(accused) => Approval::new(Verdict::Approved, &asked, accused, "Ada", at("11:59:00")),
            None => approval(Verdict::Approved, "checkout-2"),
        };
        self.with(|case| case.approval = Some(answer))
    }

    /// The same readings, looked at when nothing is waited for any more.
    pub fn after_every_wait(self) -> Self {
        self.with(|case| case.received_at -= minutes(30))
    }

    /// The same readings, looked at when evidence is not waited for any more, but obstructions are.
    pub fn after_the_evidence_wait(self) -> Self {
        self.with(|case| case.received_at -= minutes(5))
    }

    pub fn decide(&self) -> Decision {
        decide::decide(&self.0)
    }
}

/// Decides, and compares the kind and the deciding rule.
#[track_caller]
pub fn check(case: &TestCase, kind: DecisionKind, first_rule: RuleId) -> Decision {
    let decision = case.decide();
    let rules: Vec<String> =
        decision.reasons.iter().map(|reason| format!("{} {:?}: {}", reason.rule, reason.effect, reason.says)).collect();
    assert_eq!(
        (decision.kind, decision.reasons.first().map(|reason| reason.rule)),
        (kind, Some(first_rule)),
        "{}",
        rules.join("\n")
    );
    decision
}

/// The case acts: the first word is that the change stands out.
#[track_caller]
pub fn check_acts(case: &TestCase) -> Decision {
    check(case, DecisionKind::Act, RuleId::C6)
}

/// What a rule says with that effect; panics if it says nothing.
#[track_caller]
pub fn word_of(decision: &Decision, rule: RuleId, effect: Effect) -> &str {
    match decision.reasons.iter().find(|reason| reason.rule == rule && reason.effect == effect) {
        Some(reason) => &reason.says,
        None => panic!("no {effect:?} of {rule} among {:#?}", decision.reasons),
    }
}
