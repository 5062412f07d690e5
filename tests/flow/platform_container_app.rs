//! The whole story of a bad revision, with the real adapter over simulated Azure: what is sent, and how it ends.

use std::sync::Arc;

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        policy::Policy,
        record::{Record, RecordId},
        resource_id::ResourceId,
        rollback::{Claim, ClaimKind, RollbackState},
        rule::RuleId,
        series::NoData,
        service::AlertMatcher,
        target::{ContainerAppTarget, Target},
    },
    ports::Clock,
    process::{
        Ports, Process,
        documents::{Documents, keys},
    },
    settings::MapSource,
    sim::{AzureSimulation, Fault, FaultBody, FaultEffect, JournalEntry, Moment, SimulatedContainerApp, clock::ManualClock},
};
use jiff::{SignedDuration, Timestamp};

use crate::support::{
    fake_queue::FakeQueue,
    leaks::watched_process,
    policy::{FixedPolicy, SUBSCRIPTION, alert, policy, service},
    simulated::{failed_requests, identity, ports, run_while},
    world::{BAD, GOOD},
};

const WORKLOAD: &str = "orders";
const FIRST: &str = "orders--0000001";

struct Story {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    queue: FakeQueue,
    app: ResourceId,
    component: ResourceId,
    policy: Arc<Policy>,
    ports: Ports,
}

impl Story {
    /// The first revision has served the good build for long.
    async fn begin(multiple: bool) -> Self {
        let start: Timestamp = "2026-03-02T03:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::that_advances_on_sleep(start));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let azure = AzureSimulation::start(as_clock.clone()).await.unwrap();
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop/providers");
        let app = ResourceId::parse(&format!("{group}/Microsoft.App/containerApps/orders")).unwrap();
        let component = ResourceId::parse(&format!("{group}/Microsoft.Insights/components/orders-insights")).unwrap();
        azure.add_workload(WORKLOAD, GOOD, 300.0);
        azure.add_component(&component, WORKLOAD);
        azure.set_error_share(GOOD, 0.002);
        azure.set_error_share(BAD, 0.33);
        let simulated = SimulatedContainerApp::new(app.clone(), WORKLOAD, GOOD);
        azure.add_container_app(if multiple { simulated.with_multiple_revisions() } else { simulated });

        let mut orders = service("orders");
        orders.target = Target::ContainerApp(ContainerAppTarget { app: app.clone() });
        orders.alerts = vec![AlertMatcher { resource: Some(component.clone()), rule: None, property: Vec::new() }];
        orders.evidence = vec![failed_requests(&component, NoData::Unknown)];

        let (reader, actor) = (identity(&azure, None), identity(&azure, Some("actor")));
        let (ports, queue) = ports(&azure, as_clock, reader, actor, MapSource::new([("", "")]));
        Self { azure, clock, queue, app, component, policy: Arc::new(policy(vec![orders])), ports }
    }

    fn process(&self) -> Process {
        watched_process(self.ports.clone(), Arc::new(FixedPolicy(Arc::clone(&self.policy))))
    }

    fn advance(&self, by: SignedDuration) {
        self.clock.advance(by.unsigned_abs());
    }

    /// The good build is seen to serve; then the bad one is rolled out, and an alert fires.
    async fn break_it(&self) -> Alert {
        self.process().sweep(&self.policy).await.unwrap();
        self.advance(SignedDuration::from_mins(40));
        self.azure.roll_out_container_app(&self.app, BAD);
        self.firing("a1")
    }

    /// As [`Self::break_it`]; the pipeline has stopped the good revision meanwhile.
    async fn break_it_for_good(&self) -> Alert {
        let firing = self.break_it().await;
        self.azure.deactivate_container_app_revision(&self.app, FIRST);
        firing
    }

    fn firing(&self, id: &str) -> Alert {
        self.advance(SignedDuration::from_mins(8));
        let mut alert = alert(id, "orders", self.clock.now() - SignedDuration::from_mins(1));
        alert.resources = vec![self.component.canonical().to_owned()];
        alert
    }

    /// Delivers what is due as time passes, with a sweep every five minutes.
    async fn run(&self, minutes: i64) {
        run_while(&self.clock, &self.queue, &self.process(), &self.policy, minutes, async || true).await;
    }

    async fn record(&self, alert: &Alert) -> Record {
        self.process().record(&RecordId::of(alert)).await.unwrap().expect("the firing has its record")
    }

    /// One alert from its arrival to its end.
    async fn told(&self, firing: &Alert) -> Record {
        self.process().alert_received(firing.clone(), &self.policy).await.unwrap();
        self.run(90).await;
        self.record(firing).await
    }

    fn requests(&self, method: &str, path_contains: &str) -> Vec<JournalEntry> {
        let is_it = |entry: &JournalEntry| entry.method == method && entry.path_and_query.contains(path_contains);
        self.azure.journal().into_iter().filter(is_it).collect()
    }

    fn patches(&self) -> usize {
        self.requests("PATCH", "/containerApps/").len()
    }

    #[track_caller]
    fn assert_recovered(&self, record: &Record, patches: usize, says: &str) {
        let says = format!("{says}: {:#?}", record.timeline);
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{says}");
        assert_eq!((self.patches(), self.azure.container_app_changes(&self.app)), (patches, 1), "{says}");
        assert_eq!(self.azure.serving_build(WORKLOAD), GOOD, "{says}");
    }

    #[track_caller]
    fn assert_untouched(&self, record: &Record, patches: usize, says: &str) {
        let says = format!("{says}: {:#?}", record.timeline);
        assert_eq!((self.patches(), self.azure.container_app_changes(&self.app)), (patches, 0), "{says}");
        assert_eq!(self.azure.serving_build(WORKLOAD), BAD, "{says}");
    }
}

fn status(moment: Moment, status: u16) -> FaultEffect {
    FaultEffect::Status { moment, status, body: FaultBody::Empty }
}

fn refusal(status: u16, code: &str) -> FaultEffect {
    let body = FaultBody::Error { code: code.to_owned(), message: "says no".to_owned() };
    FaultEffect::Status { moment: Moment::BeforeEffect, status, body }
}

#[tokio::test]
async fn a_bad_revision_is_taken_back_once_and_copies_add_nothing() {
    for multiple in [false, true] {
        let story = Story::begin(multiple).await;
        let firing = story.break_it().await;
        for _ in 0..3 {
            story.process().alert_received(firing.clone(), &story.policy).await.unwrap();
        }
        let record = story.told(&firing).await;
        story.assert_recovered(&record, 1, &format!("multiple: {multiple}"));
        assert_eq!(record.duplicates, 3);
        let decision = record.decision.unwrap();
        assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Act, RuleId::C6));
        let serving = story.azure.container_app_serving(&story.app);
        let name = &serving[0].0;
        assert_eq!((serving.len(), serving[0].1), (1, 100));
        if multiple {
            assert_eq!(name, FIRST);
        } else {
            assert!(name.starts_with("orders--back-") && name.len() == "orders--back-".len() + 10, "{name}");
        }
        assert_eq!(story.requests("POST", "/activate").len(), 0, "what is active, or copied, is not activated");
    }
}

#[tokio::test]
async fn a_revision_that_was_stopped_is_started_before_it_gets_traffic() {
    let story = Story::begin(true).await;
    let firing = story.break_it_for_good().await;
    let record = story.told(&firing).await;
    story.assert_recovered(&record, 1, "activated");
    assert_eq!(story.requests("POST", "/activate").len(), 1);
    let journal = story.azure.journal();
    let at = |is_it: &dyn Fn(&JournalEntry) -> bool| journal.iter().position(is_it).unwrap();
    let activated = at(&|entry| entry.method == "POST" && entry.path_and_query.contains("/activate"));
    let moved = at(&|entry| entry.method == "PATCH");
    let looks =
        journal[activated..moved].iter().filter(|entry| entry.path_and_query.contains(&format!("/revisions/{FIRST}?"))).count();
    assert!(looks >= 2, "traffic waits until the revision is ready; {looks} looks");

    // The answer to the activation is lost: it is looked into, and activating again changes nothing more.
    for (moment, activations) in [(Moment::AfterEffect, 2), (Moment::BeforeEffect, 2)] {
        let story = Story::begin(true).await;
        let firing = story.break_it_for_good().await;
        story.azure.inject(Fault::on("POST", "/activate", status(moment, 504)));
        let record = story.told(&firing).await;
        story.assert_recovered(&record, 1, "lost activation");
        assert_eq!(story.requests("POST", "/activate").len(), activations);
    }
}

#[tokio::test]
async fn lost_answers_are_looked_into_and_never_sent_twice_in_effect() {
    for multiple in [false, true] {
        for (effect, patches) in [
            (status(Moment::AfterEffect, 504), 1),
            (FaultEffect::Reset { moment: Moment::AfterEffect }, 1),
            (status(Moment::BeforeEffect, 504), 2),
            (FaultEffect::Reset { moment: Moment::BeforeEffect }, 2),
            (FaultEffect::Throttle { retry_after_seconds: 40 }, 2),
            (refusal(409, "ContainerAppOperationInProgress"), 2),
            (FaultEffect::OperationUrlElsewhere, 1),
        ] {
            let story = Story::begin(multiple).await;
            let firing = story.break_it().await;
            let name = format!("multiple: {multiple}, {}", effect.name());
            story.azure.inject(Fault::on("PATCH", "/containerApps/", effect));
            let record = story.told(&firing).await;
            story.assert_recovered(&record, patches, &name);
        }
        let story = Story::begin(multiple).await;
        let firing = story.break_it().await;
        story.azure.revoke(None, "Microsoft.App/locations/*");
        let record = story.told(&firing).await;
        story.assert_recovered(&record, 1, "the operation can't be read, the app can");
    }
}

#[tokio::test]
async fn a_refusal_ends_it() {
    for multiple in [false, true] {
        for (code, name) in [(400, "ContainerAppInvalidRequest"), (403, "AuthorizationFailed"), (409, "ScopeLocked")] {
            let story = Story::begin(multiple).await;
            let firing = story.break_it().await;
            story.azure.inject(Fault::on("PATCH", "/containerApps/", refusal(code, name)));
            let record = story.told(&firing).await;
            assert_eq!(record.rollback, Some(RollbackState::Failed), "{name}: {:#?}", record.timeline);
            story.assert_untouched(&record, 1, name);
        }
    }
}

#[tokio::test]
async fn an_operation_that_fails_is_told() {
    let story = Story::begin(false).await;
    let firing = story.break_it().await;
    story.azure.set_container_app_changes_fail(&story.app, Some("the image can't be pulled"));
    let record = story.told(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Failed), "{:#?}", record.timeline);
    story.assert_untouched(&record, 1, "single");
    assert!(format!("{:?}", record.timeline).contains("the image can't be pulled"), "{:#?}", record.timeline);

    // In multiple-revision mode the write itself made another token: a person must look.
    let story = Story::begin(true).await;
    let firing = story.break_it().await;
    story.azure.set_container_app_changes_fail(&story.app, Some("the ingress is broken"));
    let record = story.told(&firing).await;
    assert_ne!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    story.assert_untouched(&record, 1, "multiple");
}

#[tokio::test]
async fn what_changed_meanwhile_is_left_alone() {
    for multiple in [false, true] {
        let story = Story::begin(multiple).await;
        let firing = story.break_it().await;
        story.azure.inject(Fault::on("PATCH", "/containerApps/", FaultEffect::Throttle { retry_after_seconds: 40 }));
        story.process().alert_received(firing.clone(), &story.policy).await.unwrap();
        assert_eq!(story.patches(), 1);
        story.azure.roll_out_container_app(&story.app, "build-43");
        story.run(30).await;
        let record = story.record(&firing).await;
        let says = format!("{:#?}", record.timeline);
        assert_eq!((story.patches(), story.azure.container_app_changes(&story.app)), (1, 0), "{says}");
        assert_eq!(story.azure.serving_build(WORKLOAD), "build-43", "{says}");
        assert!(says.contains("the accused version does not run any more"), "{says}");
    }
}

#[tokio::test]
async fn a_missing_right_or_secret_is_told_before_anything_is_sent() {
    for (multiple, action) in [
        (false, "Microsoft.App/containerApps/write"),
        (true, "Microsoft.App/containerApps/revisions/activate/action"),
        (true, "Microsoft.App/managedEnvironments/join/action"),
    ] {
        let story = Story::begin(multiple).await;
        let firing = story.break_it().await;
        story.azure.revoke(Some("actor"), action);
        let record = story.told(&firing).await;
        let decision = record.decision.clone().unwrap();
        assert_eq!(decision.kind, DecisionKind::Page, "{action}");
        assert!(decision.reasons.iter().any(|reason| reason.says.contains(action)), "{decision:?}");
        story.assert_untouched(&record, 0, action);
    }
    let story = Story::begin(false).await;
    let firing = story.break_it().await;
    story.azure.set_container_app_secret(&story.app, false);
    let record = story.told(&firing).await;
    let decision = record.decision.clone().unwrap();
    assert_eq!(decision.kind, DecisionKind::Page);
    assert!(decision.reasons.iter().any(|reason| reason.says.contains("a secret that the app does not have")), "{decision:?}");
    story.assert_untouched(&record, 0, "secret");
}

#[tokio::test]
async fn a_canary_is_taken_back_to_the_revision_that_served_alone() {
    let story = Story::begin(true).await;
    story.process().sweep(&story.policy).await.unwrap();
    story.advance(SignedDuration::from_mins(40));
    let staged = story.azure.stage_container_app(&story.app, BAD);
    story.azure.label_container_app(&story.app, &staged, "next");
    // More than half, as the simulated telemetry follows the greater part.
    story.azure.set_container_app_traffic(&story.app, &[(FIRST, 40), (&staged, 60)]);
    let firing = story.firing("a1");
    let record = story.told(&firing).await;
    story.assert_recovered(&record, 1, "canary");
    assert_eq!(story.azure.container_app_serving(&story.app), [(FIRST.to_owned(), 100)]);
}

/// A revision is made without traffic, and gets a tenth, half and all of it, ten minutes apart, up to `share`; swept meanwhile.
async fn rolled_out_in_shares(story: &Story, share: u32) -> String {
    story.process().sweep(&story.policy).await.unwrap();
    story.advance(SignedDuration::from_mins(40));
    let staged = story.azure.stage_container_app(&story.app, BAD);
    for weight in [10, 50, 100].into_iter().filter(|weight| *weight <= share) {
        story.process().sweep(&story.policy).await.unwrap();
        story.advance(SignedDuration::from_mins(10));
        // Named last: the simulated telemetry follows the greater part, of two halves the last one.
        let shares = [(FIRST, 100 - weight), (staged.as_str(), weight)];
        story.azure.set_container_app_traffic(&story.app, &shares);
    }
    story.process().sweep(&story.policy).await.unwrap();
    staged
}

fn assert_acted_once(story: &Story, record: &Record, says: &str) {
    story.assert_recovered(record, 1, says);
    assert_eq!(story.azure.container_app_serving(&story.app), [(FIRST.to_owned(), 100)]);
    let decision = record.decision.as_ref().unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Act, RuleId::C6), "{decision:?}");
    assert_eq!(decision.candidates.len(), 1, "one rollout, one story: {decision:?}");
}

#[tokio::test]
async fn a_rollout_in_shares_is_taken_back_once() {
    let story = Story::begin(true).await;
    let staged = rolled_out_in_shares(&story, 100).await;
    let firing = story.firing("a1");
    let record = story.told(&firing).await;
    assert_acted_once(&story, &record, "10, 50, 100");
    let accused = record.decision.as_ref().unwrap().accused.clone().unwrap();
    assert!(accused.token.0.starts_with(&format!("traffic|{staged}=100|")), "{accused:?}");
}

#[tokio::test]
async fn a_rollout_in_shares_is_taken_back_half_way() {
    let story = Story::begin(true).await;
    rolled_out_in_shares(&story, 50).await;
    let firing = story.firing("a1");
    let record = story.told(&firing).await;
    assert_acted_once(&story, &record, "at 50 %");
}

#[tokio::test]
async fn a_write_after_the_rollout_that_changes_nothing_that_serves_does_not_hide_it() {
    for (swept, minutes) in [(false, 1), (true, 1), (true, 4)] {
        let story = Story::begin(true).await;
        rolled_out_in_shares(&story, 100).await;
        story.advance(SignedDuration::from_mins(minutes));
        // Another scale setting makes a revision, which gets no traffic; the app is written.
        let scaled = story.azure.stage_container_app(&story.app, "build-43");
        if swept {
            story.process().sweep(&story.policy).await.unwrap();
        }
        let firing = story.firing("a1");
        let record = story.told(&firing).await;
        assert_acted_once(&story, &record, &format!("{scaled}, swept: {swept}"));
    }
}

#[tokio::test]
async fn a_revision_that_waited_without_traffic_is_one_rollout() {
    let story = Story::begin(true).await;
    story.process().sweep(&story.policy).await.unwrap();
    story.advance(SignedDuration::from_mins(40));
    let staged = story.azure.stage_container_app(&story.app, BAD);
    story.process().sweep(&story.policy).await.unwrap();
    story.advance(SignedDuration::from_mins(10));
    story.azure.set_container_app_traffic(&story.app, &[(&staged, 100)]);
    let firing = story.firing("a1");
    let record = story.told(&firing).await;
    assert_acted_once(&story, &record, "staged");
}

#[tokio::test]
async fn writes_alone_prove_nothing_good() {
    // The good build served for 20 min in all, whatever was written meanwhile.
    let story = Story::begin(true).await;
    story.azure.roll_out_container_app(&story.app, "build-40");
    story.process().sweep(&story.policy).await.unwrap();
    let good = story.azure.stage_container_app(&story.app, GOOD);
    story.azure.set_container_app_traffic(&story.app, &[(&good, 100)]);
    story.process().sweep(&story.policy).await.unwrap();
    for _ in 0..2 {
        story.advance(SignedDuration::from_mins(10));
        story.azure.stage_container_app(&story.app, BAD);
        story.process().sweep(&story.policy).await.unwrap();
    }
    story.azure.roll_out_container_app(&story.app, BAD);
    let firing = story.firing("a1");
    let record = story.told(&firing).await;
    let decision = record.decision.clone().unwrap();
    assert_eq!(decision.kind, DecisionKind::Propose, "{decision:?}");
    assert!(
        decision.reasons.iter().any(|reason| reason.rule == RuleId::S5 && reason.says.contains("20 min only")),
        "{decision:?}"
    );
    story.assert_untouched(&record, 0, "young");
}

#[tokio::test]
async fn the_same_bad_content_deployed_again_is_a_new_version_and_ours_is_marked() {
    for multiple in [false, true] {
        let story = Story::begin(multiple).await;
        let firing = story.break_it().await;
        let record = story.told(&firing).await;
        story.assert_recovered(&record, 1, "first");

        let target = story.policy.services.values().next().unwrap().target.clone();
        let running = story.ports.platforms.of(&target).observe().await.unwrap().running;
        let documents = Documents::new(story.ports.store.clone());
        let claim = documents.read::<Claim>(&keys::claim(&target.key(), &running.token)).await.unwrap().unwrap();
        assert!(matches!(claim.value.kind, ClaimKind::Tombstone { .. }), "{:?}", claim.value);

        story.azure.roll_out_container_app(&story.app, BAD);
        let mut second = story.firing("a2");
        // Of the same rule it would go to a person: it fired within the last days already (C2).
        second.rule = Some("orders-availability".to_owned());
        let record = story.told(&second).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{multiple}: {:#?}", record.timeline);
        assert_eq!((story.azure.container_app_changes(&story.app), story.azure.serving_build(WORKLOAD).as_str()), (2, GOOD));
    }
}
