//! The whole story of a bad ARM deployment, with the real adapter over simulated Azure: what is sent, and how it ends.

use std::{sync::Arc, time::Duration};

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        policy::Policy,
        record::{Record, RecordId},
        resource_id::ResourceId,
        rollback::{ClaimKind, RollbackState},
        rule::RuleId,
        series::NoData,
        service::AlertMatcher,
        target::{ArmDeploymentTarget, KeyVaultSecret, Lineage, Target},
        target_state::TargetState,
    },
    ports::{Clock, FollowUp, StepName},
    process::{
        Ports, Process,
        documents::{Documents, keys},
    },
    settings::MapSource,
    sim::{
        AzureSimulation, Fault, FaultBody, FaultEffect, JournalEntry, Moment, SimulatedDeployment, SimulatedLineage, Wait,
        clock::ManualClock,
    },
};
use jiff::{SignedDuration, Timestamp};

use crate::support::{
    fake_queue::FakeQueue,
    leaks::watched_process,
    lethal::{Death, Switch},
    policy::{FixedPolicy, SUBSCRIPTION, alert, policy, service},
    simulated::{deliver_due, failed_requests, identity, ports, run_while},
    world::{BAD, GOOD},
};

const WORKLOAD: &str = "network";

struct Story {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    queue: FakeQueue,
    scope: ResourceId,
    component: ResourceId,
    policy: Arc<Policy>,
    ports: Ports,
}

impl Story {
    /// `hub-41` runs the good build since a day.
    async fn begin() -> Self {
        Self::with(SimulatedDeployment::new("hub-41", GOOD), |_| {}).await
    }

    async fn with(first: SimulatedDeployment, refine: impl FnOnce(&mut ArmDeploymentTarget)) -> Self {
        let start: Timestamp = "2026-03-02T03:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::that_advances_on_sleep(start));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let azure = AzureSimulation::start(as_clock.clone()).await.unwrap();
        let scope = ResourceId::parse(&format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/net")).unwrap();
        let component = ResourceId::parse(&format!("{scope}/providers/Microsoft.Insights/components/net-insights")).unwrap();
        azure.add_workload(WORKLOAD, GOOD, 300.0);
        azure.add_component(&component, WORKLOAD);
        azure.set_error_share(GOOD, 0.002);
        azure.set_error_share(BAD, 0.33);
        azure.add_lineage(SimulatedLineage::new(scope.clone(), WORKLOAD));
        azure.deploy_template(&scope, first.ago(SignedDuration::from_hours(24)));

        let mut target = ArmDeploymentTarget {
            scope: scope.clone(),
            lineage: Lineage::Name("hub-*".to_owned()),
            secure_parameters: [].into(),
        };
        refine(&mut target);
        let mut network = service("network");
        network.target = Target::ArmDeployment(target);
        network.alerts = vec![AlertMatcher { resource: Some(component.clone()), rule: None, property: Vec::new() }];
        network.evidence = vec![failed_requests(&component, NoData::Unknown)];

        let (reader, actor) = (identity(&azure, None), identity(&azure, Some("actor")));
        let (ports, queue) = ports(&azure, as_clock, reader, actor, MapSource::new([("", "")]));
        Self { azure, clock, queue, scope, component, policy: Arc::new(policy(vec![network])), ports }
    }

    fn process(&self) -> Process {
        watched_process(self.ports.clone(), Arc::new(FixedPolicy(Arc::clone(&self.policy))))
    }

    fn advance(&self, by: SignedDuration) {
        self.clock.advance(by.unsigned_abs());
    }

    /// The good build is seen to serve; then `hub-42` rolls out the bad one, and an alert fires.
    async fn break_it(&self) -> Alert {
        self.break_it_by(SimulatedDeployment::new("hub-42", BAD)).await
    }

    async fn break_it_by(&self, deployment: SimulatedDeployment) -> Alert {
        self.process().sweep(&self.policy).await.unwrap();
        self.advance(SignedDuration::from_mins(40));
        self.azure.deploy_template(&self.scope, deployment);
        self.firing("a1")
    }

    fn firing(&self, id: &str) -> Alert {
        self.advance(SignedDuration::from_mins(8));
        let mut alert = alert(id, "network", self.clock.now() - SignedDuration::from_mins(1));
        alert.resources = vec![self.component.canonical().to_owned()];
        alert
    }

    /// Delivers what is due as time passes, with a sweep every five minutes.
    async fn run(&self, hours: i64) {
        run_while(&self.clock, &self.queue, &self.process(), &self.policy, hours * 60, async || true).await;
    }

    async fn deliver_due(&self, process: &Process) {
        deliver_due(&self.queue, process, &self.policy).await;
    }

    async fn record(&self, alert: &Alert) -> Record {
        self.process().record(&RecordId::of(alert)).await.unwrap().expect("the firing has its record")
    }

    /// One alert from its arrival to its end.
    async fn told(&self, firing: &Alert) -> Record {
        self.process().alert_received(firing.clone(), &self.policy).await.unwrap();
        self.run(2).await;
        self.record(firing).await
    }

    fn requests(&self, method: &str, path_contains: &str) -> Vec<JournalEntry> {
        let is_it = |entry: &JournalEntry| entry.method == method && entry.path_and_query.contains(path_contains);
        self.azure.journal().into_iter().filter(is_it).collect()
    }

    fn puts(&self) -> usize {
        self.requests("PUT", "/deployments/rb-").len()
    }

    fn serves(&self) -> String {
        self.azure.serving_build(WORKLOAD)
    }

    #[track_caller]
    fn assert_recovered(&self, record: &Record, puts: usize) {
        let says = format!("{:#?}", record.timeline);
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{says}");
        assert_eq!((self.puts(), self.azure.redeployments(&self.scope)), (puts, 1), "{says}");
        assert_eq!(self.serves(), GOOD, "{says}");
    }

    #[track_caller]
    fn assert_untouched(&self, record: &Record, puts: usize) {
        let says = format!("{:#?}", record.timeline);
        assert_eq!((self.puts(), self.azure.redeployments(&self.scope)), (puts, 0), "{says}");
        assert_eq!(self.serves(), BAD, "{says}");
    }
}

fn status(moment: Moment, status: u16) -> FaultEffect {
    FaultEffect::Status { moment, status, body: FaultBody::Empty }
}

#[tokio::test]
async fn a_bad_deployment_is_taken_back_once_and_copies_add_nothing() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    for _ in 0..3 {
        story.process().alert_received(firing.clone(), &story.policy).await.unwrap();
    }
    let record = story.told(&firing).await;
    story.assert_recovered(&record, 1);
    assert_eq!(record.duplicates, 3);
    let decision = record.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Act, RuleId::C6));

    let ours = story.azure.record_names(&story.scope).into_iter().find(|name| name.starts_with("rb-")).unwrap();
    assert_eq!(ours.len(), "rb-".len() + 26);
    let what_ifs = story.requests("POST", "/whatIf");
    assert_eq!(what_ifs.len(), 1);
    assert!(what_ifs[0].path_and_query.contains(&format!("/deployments/{ours}/whatIf?")), "{}", what_ifs[0].path_and_query);
    let order: Vec<_> = story
        .azure
        .journal()
        .into_iter()
        .filter(|e| e.path_and_query.contains("/whatIf") || e.method == "PUT")
        .map(|e| e.method)
        .collect();
    assert_eq!(order, ["POST", "PUT"], "the what-if comes first");
}

#[tokio::test]
async fn lost_answers_are_looked_into_and_never_sent_twice_in_effect() {
    for (effect, puts) in [
        (status(Moment::AfterEffect, 504), 1),
        (FaultEffect::Reset { moment: Moment::AfterEffect }, 1),
        (status(Moment::BeforeEffect, 504), 2),
        (FaultEffect::Reset { moment: Moment::BeforeEffect }, 2),
        (FaultEffect::Throttle { retry_after_seconds: 40 }, 2),
        (FaultEffect::OperationUrlElsewhere, 1),
    ] {
        let story = Story::begin().await;
        let firing = story.break_it().await;
        let name = effect.name();
        story.azure.inject(Fault::on("PUT", "/deployments/rb-", effect));
        let record = story.told(&firing).await;
        assert_eq!(story.requests("POST", "/whatIf").len(), 1, "{name}");
        story.assert_recovered(&record, puts);
    }
}

#[tokio::test]
async fn a_what_if_that_gave_no_answer_is_asked_again() {
    for effect in [
        status(Moment::BeforeEffect, 503),
        FaultEffect::Reset { moment: Moment::AfterEffect },
        FaultEffect::Throttle { retry_after_seconds: 40 },
    ] {
        let story = Story::begin().await;
        let firing = story.break_it().await;
        story.azure.inject(Fault::on("POST", "/whatIf", effect));
        let record = story.told(&firing).await;
        assert_eq!(story.requests("POST", "/whatIf").len(), 2);
        story.assert_recovered(&record, 1);
    }
}

#[tokio::test]
async fn a_what_if_that_surprises_leaves_everything_as_it_is_and_asks_a_person() {
    let disk = |story: &Story| format!("{}/providers/Microsoft.Compute/disks/data", story.scope);
    let made = |story: &Story| format!("{}/providers/Microsoft.Storage/storageAccounts/apidata", story.scope);
    for (outside, kind, says) in [
        (true, "Delete", "it would delete"),
        (true, "Unsupported", "can't tell what would become of"),
        (true, "Modify", "which neither of the two deployments made"),
        (true, "Replace", "reports a `Replace`"),
        (false, "Ignore", "did not look at"),
    ] {
        let story = Story::begin().await;
        let firing = story.break_it().await;
        let id = if outside { disk(&story) } else { made(&story) };
        story.azure.set_further_changes(&story.scope, &[(&id, kind)]);
        let record = story.told(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Failed), "{kind}: {:#?}", record.timeline);
        story.assert_untouched(&record, 0);
        let told = format!("{:?}", record.timeline);
        assert!(told.contains(says) && told.contains("nothing was deployed"), "{kind}: {told}");
    }
    let story = Story::begin().await;
    let firing = story.break_it().await;
    story.azure.inject(Fault::on(
        "GET",
        "/operationresults/",
        FaultEffect::Status {
            moment: Moment::BeforeEffect,
            status: 403,
            body: FaultBody::Error { code: "AuthorizationFailed".to_owned(), message: "no right".to_owned() },
        },
    ));
    let record = story.told(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Failed), "a result that can't be read is no permission");
    story.assert_untouched(&record, 0);
}

#[tokio::test]
async fn a_refused_or_failing_deployment_is_told_as_it_is() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    story.azure.inject(Fault::on("PUT", "/deployments/rb-", status(Moment::BeforeEffect, 403)));
    let record = story.told(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Failed), "{:#?}", record.timeline);
    story.assert_untouched(&record, 1);

    for touching in [false, true] {
        let story = Story::begin().await;
        let firing = story.break_it().await;
        story.azure.set_deployments_fail(&story.scope, Some(("the image could not be pulled", touching)));
        let record = story.told(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Unknown), "half way is not nothing: {:#?}", record.timeline);
        let told = format!("{:?}", record.timeline);
        assert!(told.contains("half way") && told.contains("the image could not be pulled"), "{:#?}", record.timeline);
        let documents = Documents::new(story.ports.store.clone());
        let key = story.policy.services.values().next().unwrap().target.key();
        let state = documents.read::<TargetState>(&keys::target(&key)).await.unwrap().unwrap().value;
        assert!(state.busy.is_some_and(|busy| busy.left_to_a_person.is_some()), "only a person can end this");
        story.assert_untouched(&record, 1);
    }
}

#[tokio::test]
async fn a_template_that_is_not_the_one_of_the_record_is_not_sent() {
    let story = Story::begin().await;
    story.azure.set_template_hash(&story.scope, "hub-41", Some("12345"));
    let firing = story.break_it().await;
    let record = story.told(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Failed), "{:#?}", record.timeline);
    let told = format!("{:?}", record.timeline);
    assert!(told.contains("not the one that was deployed") && told.contains("nothing was sent"), "{told}");
    assert_eq!(story.requests("POST", "/whatIf").len(), 0);
    story.assert_untouched(&record, 0);
}

#[tokio::test]
async fn a_record_without_the_hash_of_its_template_is_acted_upon_by_nobody() {
    for name in ["hub-41", "hub-42"] {
        let story = Story::begin().await;
        let firing = story.break_it().await;
        story.azure.set_template_hash(&story.scope, name, None);
        let record = story.told(&firing).await;
        let decision = record.decision.clone().unwrap();
        assert!([DecisionKind::Propose, DecisionKind::Page].contains(&decision.kind), "{name}: {decision:?}");
        assert!(format!("{decision:?}").contains("templateHash"), "{name}: {decision:?}");
        story.assert_untouched(&record, 0);
    }
}

#[tokio::test]
async fn a_deployment_that_comes_in_between_stops_the_rollback() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    story.process().alert_received(firing.clone(), &story.policy).await.unwrap();
    assert_eq!(story.requests("POST", "/whatIf").len(), 1, "the what-if is asked");
    story.azure.deploy_template(&story.scope, SimulatedDeployment::new("hub-43", BAD));
    story.run(2).await;
    let record = story.record(&firing).await;
    story.assert_untouched(&record, 0);
    assert_eq!(record.rollback, Some(RollbackState::Failed), "{:#?}", record.timeline);
    assert!(format!("{:?}", record.timeline).contains("the accused version does not run any more"), "{:#?}", record.timeline);

    let story = Story::begin().await;
    let firing = story.break_it().await;
    story.azure.deploy_template(&story.scope, SimulatedDeployment::new("hub-43", BAD).taking(SignedDuration::from_hours(3)));
    let record = story.told(&firing).await;
    assert_eq!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Page), "{:#?}", record.timeline);
    story.assert_untouched(&record, 0);
}

#[tokio::test]
async fn lost_wake_ups_are_made_good_by_the_sweep() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    story.process().alert_received(firing.clone(), &story.policy).await.unwrap();
    story.queue.lose_all();
    story.run(1).await;
    let record = story.record(&firing).await;
    assert_eq!(story.requests("POST", "/whatIf").len(), 1, "the what-if that was asked is followed");
    story.assert_recovered(&record, 1);
}

#[tokio::test]
async fn a_lineage_by_tag_goes_on_with_our_own_deployment() {
    let tagged = |name: &str, build: &str| SimulatedDeployment::new(name, build).with_tag("product", "hub");
    let by_tag = |target: &mut ArmDeploymentTarget| {
        target.lineage = Lineage::Tag { name: "Product".to_owned(), value: "hub".to_owned() };
    };
    let story = Story::with(tagged("first", GOOD), by_tag).await;
    let firing = story.break_it_by(tagged("second", BAD)).await;
    let record = story.told(&firing).await;
    story.assert_recovered(&record, 1);
}

#[tokio::test]
async fn the_same_bad_content_deployed_again_is_a_new_version() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    let record = story.told(&firing).await;
    story.assert_recovered(&record, 1);
    story.advance(SignedDuration::from_mins(60));
    story.process().sweep(&story.policy).await.unwrap();

    // Under the very same name: what names it is its correlation id.
    story.azure.deploy_template(&story.scope, SimulatedDeployment::new("hub-42", BAD));
    let mut second = story.firing("a2");
    // Of the same rule it would go to a person: it fired within the last days already (C2).
    second.rule = Some("network-availability".to_owned());
    let record = story.told(&second).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((story.azure.redeployments(&story.scope), story.serves().as_str()), (2, GOOD));
    let ours = story.azure.record_names(&story.scope).into_iter().filter(|name| name.starts_with("rb-")).count();
    assert_eq!(ours, 2, "each rollback has a name of its own");
}

#[tokio::test]
async fn our_own_deployment_is_marked_and_never_taken_back() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    let record = story.told(&firing).await;
    story.assert_recovered(&record, 1);
    let target = story.policy.services.values().next().unwrap().target.clone();
    let running = story.ports.platforms.of(&target).observe().await.unwrap().running;
    assert!(running.token.0.starts_with("deployment|rb-"), "{}", running.token);
    assert!(running.label.starts_with("hub-41 again"), "{}", running.label);
    let documents = Documents::new(story.ports.store.clone());
    let claim =
        documents.read::<backout::domain::rollback::Claim>(&keys::claim(&target.key(), &running.token)).await.unwrap().unwrap();
    assert!(matches!(claim.value.kind, ClaimKind::Tombstone { .. }), "{:?}", claim.value);
}

#[tokio::test]
async fn secrets_come_from_the_policy_or_the_way_is_closed() {
    let with_password = |name: &str, build: &str| SimulatedDeployment::new(name, build).with_secure_parameter("adminPassword");
    let story = Story::with(with_password("hub-41", GOOD), |_| {}).await;
    let firing = story.break_it_by(with_password("hub-42", BAD)).await;
    let record = story.told(&firing).await;
    let decision = record.decision.clone().unwrap();
    assert_eq!(decision.kind, DecisionKind::Page, "{:#?}", record.timeline);
    assert!(decision.reasons.iter().any(|reason| reason.says.contains("`adminPassword`")), "{decision:?}");
    story.assert_untouched(&record, 0);

    let vault = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.KeyVault/vaults/kv");
    let secret = KeyVaultSecret { vault: ResourceId::parse(&vault).unwrap(), secret: "admin".to_owned() };
    let story = Story::with(with_password("hub-41", GOOD), |target| {
        target.secure_parameters = [("AdminPassword".to_owned(), secret)].into();
    })
    .await;
    let firing = story.break_it_by(with_password("hub-42", BAD)).await;
    let record = story.told(&firing).await;
    story.assert_recovered(&record, 1);
}

#[tokio::test]
async fn a_deleted_good_record_takes_the_way_back_with_it() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    story.azure.delete_record(&story.scope, "hub-41");
    let record = story.told(&firing).await;
    let decision = record.decision.clone().unwrap();
    assert_eq!(decision.kind, DecisionKind::Page);
    assert!(decision.reasons.iter().any(|reason| reason.rule == RuleId::S5), "{decision:?}");
    story.assert_untouched(&record, 0);
}

#[tokio::test]
async fn a_deployment_that_ended_half_way_is_for_a_person() {
    let story = Story::begin().await;
    story.azure.set_error_share(GOOD, 0.002);
    let firing = story.break_it_by(SimulatedDeployment::new("hub-42", BAD).failing("quota", true)).await;
    story.azure.change_error_share(GOOD, 0.33);
    story.clock.advance(Duration::from_mins(6));
    let record = story.told(&firing).await;
    assert_ne!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Act), "{:#?}", record.timeline);
    assert_eq!((story.puts(), story.requests("POST", "/whatIf").len()), (0, 0));
}

/// The whole story with one death; returns the number of calls through the ports when nobody dies.
async fn story_with(death: Option<Death>) -> u64 {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
    let ports = switch.guard(&story.ports);
    let mortal = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&story.policy))));
    let life = Box::pin(async {
        mortal.alert_received(firing.clone(), &story.policy).await.unwrap();
        for _ in 0..20 {
            story.deliver_due(&mortal).await;
            story.advance(SignedDuration::from_secs(30));
        }
    });
    let crashed = tokio::select! {
        biased;
        () = life => false,
        () = switch.died() => true,
    };
    drop(mortal);
    let calls = switch.calls();
    story.queue.unlock_all();
    if crashed {
        story.process().alert_received(firing.clone(), &story.policy).await.unwrap();
    }
    story.run(2).await;
    let record = story.record(&firing).await;
    let name = format!("{death:?}: {:#?}", record.timeline);
    let (puts, effects) = (story.puts(), story.azure.redeployments(&story.scope));
    assert!(puts <= 1 && effects <= 1, "{puts} {effects} {name}");
    match record.rollback {
        Some(RollbackState::Recovered) => assert_eq!((story.serves().as_str(), effects), (GOOD, 1), "{name}"),
        Some(RollbackState::Failed) => assert_eq!((story.serves().as_str(), effects), (BAD, 0), "{name}"),
        other => panic!("{other:?} {name}"),
    }
    calls
}

/// Every few calls only: each of these stories goes over HTTP.
#[tokio::test]
async fn a_death_between_the_two_steps_or_within_one_leads_to_at_most_one_deployment() {
    const STRIDE: usize = 5;
    let calls = Box::pin(story_with(None)).await;
    assert!(calls > 40, "{calls} calls are a whole story");
    for (index, at_call) in (1..=calls).step_by(STRIDE).enumerate() {
        Box::pin(story_with(Some(Death { at_call, after_effect: index % 2 == 0 }))).await;
    }
}

/// The queue's wake-up and the sweep's may come at the same time; the slower one hears of the end when the next call is long sent.
#[tokio::test]
async fn two_wake_ups_that_see_the_end_of_a_step_send_the_next_one_once() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    let process = story.process();
    process.alert_received(firing.clone(), &story.policy).await.unwrap();
    assert_eq!((story.requests("POST", "/whatIf").len(), story.puts()), (1, 0), "{:#?}", story.record(&firing).await.timeline);
    story.advance(SignedDuration::from_mins(3));
    let follow_up: FollowUp = loop {
        let (id, message) = story.queue.take().expect("the wake-up of the first step");
        story.queue.complete(id);
        let follow_up: FollowUp = serde_json::from_slice(&message.body).unwrap();
        if follow_up.step == StepName::Rollback {
            break follow_up;
        }
    };
    let late = FaultEffect::Delay { moment: Moment::AfterEffect, wait: Wait::Real(Duration::from_millis(500)) };
    story.azure.inject(Fault::on("GET", "/operation", late).times(1));
    let (one, other) = tokio::join!(
        process.follow_up_received(follow_up.clone(), &story.policy),
        process.follow_up_received(follow_up, &story.policy)
    );
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    assert_eq!(story.puts(), 1);
    story.run(2).await;
    let record = story.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!(story.puts(), 1);
}

/// A wake-up looks while the call is being answered: what it saw before the answer must not undo what the answer told.
#[tokio::test]
async fn a_look_during_the_answer_does_not_forget_the_answer() {
    let story = Story::begin().await;
    let firing = story.break_it().await;
    let process = story.process();
    let late =
        |milliseconds| FaultEffect::Delay { moment: Moment::AfterEffect, wait: Wait::Real(Duration::from_millis(milliseconds)) };
    story.azure.inject(Fault::on("POST", "/whatIf", late(500)).times(1));
    let look = async {
        while story.requests("POST", "/whatIf").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let target = story.policy.services.values().next().unwrap().target.key();
        let documents = Documents::new(story.ports.store.clone());
        let state = documents.read::<TargetState>(&keys::target(&target)).await.unwrap().unwrap().value;
        story.advance(SignedDuration::from_secs(20));
        story.azure.inject(Fault::on("GET", "/deployments?", late(1500)).times(1));
        let wake_up = FollowUp {
            v: 1,
            record: RecordId::of(&firing),
            target: Some(target),
            step: StepName::Rollback,
            generation: state.generation,
            due_at: story.clock.now(),
        };
        process.follow_up_received(wake_up, &story.policy).await.unwrap();
    };
    let (received, ()) = tokio::join!(process.alert_received(firing.clone(), &story.policy), look);
    received.unwrap();
    story.run(2).await;
    let record = story.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((story.requests("POST", "/whatIf").len(), story.puts()), (1, 1), "{:#?}", record.timeline);
}
