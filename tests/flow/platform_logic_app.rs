//! The whole story of a logic app: the real adapter and the real metrics over the simulated Azure, in virtual time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backout::{
    domain::{
        alert::{Alert, AlertSchema, AlertSignal, Condition, Severity},
        decision::{Decision, DecisionKind},
        policy::Policy,
        record::{Record, RecordId},
        resource_id::ResourceId,
        rollback::RollbackState,
        rule::RuleId,
        series::{EvidenceMetric, NoData, WorseWhen},
        target::{LogicAppTarget, Target},
    },
    ports::Clock,
    process::Process,
    settings::MapSource,
    sim::{AzureSimulation, Fault, FaultBody, FaultEffect, LockLevel, Moment, SimulatedWorkflow, Wait, clock::ManualClock},
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{
    fake_queue::FakeQueue,
    leaks::watched_process,
    policy::{FixedPolicy, SUBSCRIPTION, policy, service},
    simulated::{identity, ports, run_while},
    world::{BAD, GOOD},
};

struct Story {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    queue: FakeQueue,
    policy: Arc<Policy>,
    process: Process,
    id: ResourceId,
}

impl Story {
    /// `orders` has run the good build for 30 days; the bad one lets three of ten runs fail.
    async fn begin() -> Self {
        let clock = Arc::new(ManualClock::that_advances_on_sleep("2026-03-02T03:00:00Z".parse().unwrap()));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let azure = AzureSimulation::start(as_clock.clone()).await.unwrap();
        let id = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop/providers/Microsoft.Logic/workflows/orders");
        let id = ResourceId::parse(&id).unwrap();
        azure.add_workflow(SimulatedWorkflow::new(id.clone(), GOOD));
        azure.set_error_share(BAD, 0.3);

        let token = identity(&azure, None);
        let (ports, queue) = ports(&azure, as_clock, Arc::clone(&token), token, MapSource::new([("", "")]));
        let mut orders = service("orders");
        orders.target = Target::LogicApp(LogicAppTarget { workflow: id.clone() });
        orders.evidence = vec![EvidenceMetric {
            metric: "RunsFailed".to_owned(),
            of: Some("RunsCompleted".to_owned()),
            worse_when: WorseWhen::Higher,
            no_data: NoData::Zero,
            resource: None,
        }];
        let policy = Arc::new(policy(vec![orders]));
        let process = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&policy))));
        Self { azure, clock, queue, policy, process, id }
    }

    fn advance(&self, minutes: i64) {
        self.clock.advance(SignedDuration::from_mins(minutes).unsigned_abs());
    }

    /// The sweep sees the good build serve; then the bad one is saved. Returns the firing.
    async fn break_it(&self, alert_id: &str) -> Alert {
        self.break_with(alert_id, save_bad).await
    }

    /// The same, where the team does something else than only to save.
    async fn break_with(&self, alert_id: &str, rollout: impl FnOnce(&Self)) -> Alert {
        self.process.sweep(&self.policy).await.unwrap();
        self.advance(40);
        rollout(self);
        self.advance(8);
        Alert {
            id: Some(format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/{alert_id}")),
            rule: Some(format!("orders-failed-{alert_id}")),
            severity: Severity::new(1),
            condition: Condition::Fired,
            resources: vec![self.id.canonical().to_owned()],
            fired_at: Some(self.clock.now() - SignedDuration::from_mins(1)),
            resolved_at: None,
            schema: AlertSchema::Common,
            signal: AlertSignal::Metric,
            window: None,
            dimensions: BTreeMap::new(),
            properties: BTreeMap::new(),
        }
    }

    async fn receive(&self, alert: &Alert) {
        self.process.alert_received(alert.clone(), &self.policy).await.unwrap();
    }

    /// Runs everything that is scheduled, and a sweep every five minutes, for two hours or until the rollback has ended.
    async fn run(&self, alert: &Alert) -> Record {
        run_while(&self.clock, &self.queue, &self.process, &self.policy, 120, async || {
            let ended = self.record(alert).await.rollback.is_some_and(RollbackState::is_terminal);
            !ended || self.queue.next_due().is_some()
        })
        .await;
        self.record(alert).await
    }

    async fn record(&self, alert: &Alert) -> Record {
        self.process.record(&RecordId::of(alert)).await.unwrap().expect("the firing has its record")
    }

    async fn decision(&self, alert: &Alert) -> Decision {
        self.record(alert).await.decision.unwrap()
    }

    fn saves(&self) -> (String, u32) {
        (self.azure.workflow_build(&self.id), self.azure.workflow_save_count(&self.id))
    }

    fn puts(&self) -> usize {
        self.azure.journal().iter().filter(|entry| entry.method == "PUT").count()
    }
}

fn save_bad(story: &Story) {
    story.azure.save_workflow(&story.id, BAD);
}

#[tokio::test]
async fn an_alert_saves_the_good_version_again_once_and_keeps_all_else() {
    let story = Story::begin().await;
    let before = story.azure.workflow(&story.id);
    let alert = story.break_it("a1").await;
    story.receive(&alert).await;
    story.receive(&alert).await;
    let record = story.run(&alert).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    story.receive(&alert).await;
    assert_eq!((story.saves(), story.puts()), ((GOOD.to_owned(), 1), 1));
    assert_eq!(story.record(&alert).await.duplicates, 2);
    let decision = record.decision.unwrap();
    assert_eq!(decision.kind, DecisionKind::Act, "{decision:#?}");

    let mut after = story.azure.workflow(&story.id);
    assert_ne!(after["properties"]["version"], before["properties"]["version"], "a rollout of its own");
    for key in ["version", "changedTime"] {
        after["properties"][key] = before["properties"][key].clone();
    }
    // Of an identity only its type is sent; the rest is the platform's.
    assert_eq!(after["identity"], json!({"type": "SystemAssigned"}));
    after["identity"] = before["identity"].clone();
    assert_eq!(after, before, "everything else is as it was");
}

#[tokio::test]
async fn every_answer_ends_in_a_state_that_says_what_is_so() {
    let status = |moment, status: u16, code: &str| {
        let body = FaultBody::Error { code: code.to_owned(), message: "simulated".to_owned() };
        FaultEffect::Status { moment, status, body }
    };
    for (effect, saved, puts, runs, state) in [
        (FaultEffect::Reset { moment: Moment::AfterEffect }, 1, 1, GOOD, RollbackState::Recovered),
        (status(Moment::AfterEffect, 504, "GatewayTimeout"), 1, 1, GOOD, RollbackState::Recovered),
        // A save is convergent: where nothing came of it, it is sent once more after the quiet time.
        (FaultEffect::Reset { moment: Moment::BeforeEffect }, 1, 2, GOOD, RollbackState::Recovered),
        (FaultEffect::Throttle { retry_after_seconds: 20 }, 1, 2, GOOD, RollbackState::Recovered),
        (status(Moment::BeforeEffect, 409, "Conflict"), 1, 2, GOOD, RollbackState::Recovered),
        (status(Moment::BeforeEffect, 403, "LinkedAuthorizationFailed"), 0, 1, BAD, RollbackState::Failed),
        (status(Moment::BeforeEffect, 400, "InvalidTemplate"), 0, 1, BAD, RollbackState::Failed),
    ] {
        let says = format!("{effect:?}");
        let story = Story::begin().await;
        let alert = story.break_it("a1").await;
        story.azure.inject(Fault::on("PUT", "/workflows/orders", effect));
        story.receive(&alert).await;
        let record = story.run(&alert).await;
        assert_eq!((story.saves(), story.puts()), ((runs.to_owned(), saved), puts), "{says} {:#?}", record.timeline);
        assert_eq!(record.rollback, Some(state), "{says} {:#?}", record.timeline);
    }
}

#[tokio::test]
async fn a_rollback_that_does_not_help_is_told_and_never_repeated() {
    let story = Story::begin().await;
    let alert = story.break_it("a1").await;
    story.azure.change_error_share(GOOD, 0.3);
    story.receive(&alert).await;
    let record = story.run(&alert).await;
    assert_eq!(record.rollback, Some(RollbackState::NotRecovered), "{:#?}", record.timeline);
    assert_eq!((story.saves(), story.puts()), ((GOOD.to_owned(), 1), 1));
}

#[tokio::test]
async fn triggers_that_are_not_ready_keep_it_from_being_called_recovered() {
    let story = Story::begin().await;
    let alert = story.break_it("a1").await;
    story.azure.set_trigger_provisioning_state(&story.id, "Failed");
    story.receive(&alert).await;
    let record = story.run(&alert).await;
    assert_eq!(record.rollback, Some(RollbackState::Unknown), "{:#?}", record.timeline);
    assert_eq!(story.saves(), (GOOD.to_owned(), 1));
}

#[tokio::test]
async fn what_somebody_saves_meanwhile_is_left_alone() {
    let story = Story::begin().await;
    let alert = story.break_it("a1").await;
    // The look just before the call comes late, and the team is faster.
    let late = FaultEffect::Delay { moment: Moment::BeforeEffect, wait: Wait::Real(Duration::from_millis(600)) };
    story.azure.inject(Fault::on("GET", "/workflows/orders?api-version", late).after(1));
    let team = async {
        let met = || story.azure.journal().iter().any(|entry| entry.fault.is_some());
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        story.azure.save_workflow(&story.id, "build-43");
    };
    tokio::join!(story.receive(&alert), team);
    let record = story.run(&alert).await;
    assert_eq!((story.saves(), story.puts()), (("build-43".to_owned(), 0), 0), "{:#?}", record.timeline);
    assert_ne!(record.rollback, Some(RollbackState::Recovered));
}

#[tokio::test]
async fn the_bad_version_saved_again_is_a_rollout_of_its_own() {
    let story = Story::begin().await;
    let first = story.break_it("a1").await;
    story.receive(&first).await;
    assert_eq!(story.run(&first).await.rollback, Some(RollbackState::Recovered));
    story.advance(40);
    let second = story.break_it("a2").await;
    story.receive(&second).await;
    let record = story.run(&second).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?} {:#?}", record.decision, record.timeline);
    assert_eq!((story.saves(), story.puts()), ((GOOD.to_owned(), 2), 2));
}

#[tokio::test]
async fn a_connection_that_the_bad_save_dropped_comes_back() {
    let story = Story::begin().await;
    let before = story.azure.workflow(&story.id);
    let alert = story.break_with("a1", |story| story.azure.save_workflow_without_connections(&story.id, BAD)).await;
    story.receive(&alert).await;
    let record = story.run(&alert).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    let after = story.azure.workflow(&story.id);
    assert_eq!(after["properties"]["parameters"], before["properties"]["parameters"]);
    assert_eq!((story.saves(), story.puts()), ((GOOD.to_owned(), 1), 1));
}

/// Tags were changed after the bad save, and both versions were seen: their content is the same, and began once.
#[tokio::test]
async fn a_save_of_equal_content_does_not_hide_the_bad_one() {
    let story = Story::begin().await;
    let alert = story.break_it("a1").await;
    story.process.sweep(&story.policy).await.unwrap();
    story.azure.set_workflow_state(&story.id, "Enabled");
    story.receive(&alert).await;
    let record = story.run(&alert).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?} {:#?}", record.decision, record.timeline);
    let decision = story.decision(&alert).await;
    assert_eq!((decision.kind, decision.candidates.len()), (DecisionKind::Act, 1), "{decision:#?}");
    assert_eq!((story.saves(), story.puts()), ((GOOD.to_owned(), 1), 1));
}

/// What happens to a workflow.
type Change<'a> = &'a dyn Fn(&Story);

#[tokio::test]
async fn a_person_decides_where_going_back_could_lose_something() {
    let office = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop/providers/Microsoft.Web/connections/office365");
    let office = ResourceId::parse(&office).unwrap();
    let nothing: Change<'_> = &|_| ();
    let disabled: Change<'_> = &|story| {
        save_bad(story);
        story.azure.set_workflow_state(&story.id, "Disabled");
    };
    let unconnected: Change<'_> = &|story| {
        story.azure.save_workflow_without_connections(&story.id, BAD);
        story.azure.remove_connection(&office);
    };
    let no_right: Change<'_> = &|story| {
        save_bad(story);
        story.azure.revoke(None, "Microsoft.Logic/workflows/write");
    };
    let locked: Change<'_> = &|story| {
        save_bad(story);
        story.azure.set_lock(&story.id, Some(LockLevel::ReadOnly));
    };
    // Saved for a moment only, so that no sweep saw it serve.
    let twice: Change<'_> = &|story| {
        story.azure.save_workflow(&story.id, "build-41b");
        save_bad(story);
    };
    let secure: Change<'_> = &|story| {
        story.azure.declare_secure_parameter(&story.id, "key");
        story.azure.prune_workflow_versions(&story.id, 1);
    };
    for (name, before, with_it, kind, rule) in [
        ("disabled", nothing, disabled, DecisionKind::Propose, RuleId::S9),
        ("connection gone", nothing, unconnected, DecisionKind::Page, RuleId::S10),
        ("two saves", nothing, twice, DecisionKind::Propose, RuleId::S3),
        ("no right", nothing, no_right, DecisionKind::Page, RuleId::S9),
        ("locked", nothing, locked, DecisionKind::Page, RuleId::S9),
        ("secure value", secure, &save_bad, DecisionKind::Page, RuleId::S10),
    ] {
        let story = Story::begin().await;
        before(&story);
        story.advance(60);
        let alert = story.break_with("a1", with_it).await;
        story.receive(&alert).await;
        story.run(&alert).await;
        let decision = story.decision(&alert).await;
        assert_eq!(decision.kind, kind, "{name}: {decision:#?}");
        assert!(decision.reasons.iter().any(|reason| reason.rule == rule), "{name}: {decision:#?}");
        assert_eq!((story.saves().1, story.puts()), (0, 0), "{name}");
    }
}
