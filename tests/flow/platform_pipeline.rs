//! A pipeline as the way back, from the alert to the end, over the simulated servers with the real adapter.

use std::{sync::Arc, time::Duration};

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        policy::Policy,
        record::{Record, RecordId},
        resource_id::ResourceId,
        rollback::RollbackState,
        rule::RuleId,
        series::NoData,
        service::AlertMatcher,
        target::{self, PipelineTarget, Target},
    },
    ports::{Clock, FollowUp},
    process::{Ports, Process},
    settings::MapSource,
    sim::{
        AzureSimulation, Fault, FaultBody, FaultEffect, GITHUB_TOKEN, JournalEntry, Moment, PipelinePlace, Role,
        SimulatedPipeline, clock::ManualClock,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::support::{
    fake_queue::FakeQueue,
    leaks::watched_process,
    meddled::{Meddled, Meddling, Meddlings},
    policy::{FixedPolicy, SUBSCRIPTION, alert, policy, service},
    simulated::{failed_requests, identity, ports, run_while},
};

const GOOD: &str = "1.41.2";
const BAD: &str = "1.42.0";
const WORKLOAD: &str = "legacy";
const READER: &str = "00000000-0000-4000-8000-00000000000a";
const ACTOR: &str = "00000000-0000-4000-8000-00000000000b";

struct Story {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    place: PipelinePlace,
    policy: Arc<Policy>,
    queue: FakeQueue,
    meddling: Meddlings,
    process: Process,
}

fn azure_dev_ops() -> PipelinePlace {
    PipelinePlace::AzureDevOps { organization: "contoso".to_owned(), project: "Shop Legacy".to_owned(), pipeline: 12 }
}

fn github() -> PipelinePlace {
    PipelinePlace::GitHub { repository: "contoso/legacy".to_owned(), workflow: "deploy.yml".to_owned() }
}

impl Story {
    /// The pipeline deployed the good version long ago, and has been looked at.
    async fn begin(place: PipelinePlace) -> Self {
        let start: Timestamp = "2026-03-02T03:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::that_advances_on_sleep(start));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let azure = AzureSimulation::start(as_clock.clone()).await.unwrap();
        let insights = ResourceId::parse(&format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/shop-prod/providers/Microsoft.Insights/components/legacy"
        ))
        .unwrap();
        azure.add_workload(WORKLOAD, GOOD, 300.0);
        azure.add_component(&insights, WORKLOAD);
        azure.set_error_share(GOOD, 0.002);
        azure.set_error_share(BAD, 0.33);
        azure.add_pipeline(SimulatedPipeline::new(place.clone(), WORKLOAD, GOOD));

        let mut legacy = service("legacy");
        legacy.target = Target::Pipeline(PipelineTarget {
            place: match place.clone() {
                PipelinePlace::AzureDevOps { organization, project, pipeline } => target::PipelinePlace::AzureDevOps {
                    server: azure.azure_dev_ops_url().as_str().trim_end_matches('/').to_owned(),
                    organization,
                    project,
                    pipeline,
                    branch: "main".to_owned(),
                },
                PipelinePlace::GitHub { repository, workflow } => target::PipelinePlace::GitHub {
                    api: azure.github_url().as_str().trim_end_matches('/').to_owned(),
                    repository,
                    workflow,
                    reference: "main".to_owned(),
                    token_from: "DEPLOY_TOKEN".to_owned(),
                },
            },
            version_parameter: "version".to_owned(),
            decision_parameter: "decisionId".to_owned(),
        });
        legacy.alerts = vec![AlertMatcher { resource: None, rule: Some("legacy-*".to_owned()), property: Vec::new() }];
        legacy.evidence = vec![failed_requests(&insights, NoData::Zero)];
        let policy = Arc::new(policy(vec![legacy]));

        let (reader, actor) = (identity(&azure, Some(READER)), identity(&azure, Some(ACTOR)));
        let (real, queue) = ports(&azure, as_clock, reader, actor, MapSource::new([("DEPLOY_TOKEN", GITHUB_TOKEN)]));
        let meddling = Meddlings::default();
        let platforms = Arc::new(Meddled { real: real.platforms.clone(), azure: azure.clone(), meddling: Arc::clone(&meddling) });
        let ports = Ports { platforms, ..real };
        let process = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&policy))));
        process.sweep(&policy).await.unwrap();
        Self { azure, clock, place, policy, queue, meddling, process }
    }

    fn minutes(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(60 * minutes));
    }

    /// The bad version goes out, and its errors fire an alert.
    fn break_it(&self, id: &str) -> Alert {
        self.minutes(40);
        self.azure.run_pipeline(&self.place, BAD);
        assert_eq!(self.azure.serving_build(WORKLOAD), BAD);
        self.minutes(8);
        let fired_at = self.clock.now() - SignedDuration::from_mins(1);
        Alert { resources: Vec::new(), ..alert(id, "legacy", fired_at) }
    }

    async fn fire(&self, alert: &Alert) {
        self.process.alert_received(alert.clone(), &self.policy).await.unwrap();
    }

    /// Everything that is scheduled, and a sweep every five minutes, until the rollback has ended.
    async fn run_to_end(&self, firing: &Alert) -> Record {
        run_while(&self.clock, &self.queue, &self.process, &self.policy, 240, async || {
            let ended = self.record(firing).await.rollback.is_none_or(RollbackState::is_terminal);
            !ended || self.queue.next_due().is_some()
        })
        .await;
        self.record(firing).await
    }

    async fn record(&self, alert: &Alert) -> Record {
        self.process.record(&RecordId::of(alert)).await.unwrap().expect("the firing has its record")
    }

    /// Calls that asked for a run.
    fn calls(&self) -> Vec<JournalEntry> {
        let asks = |entry: &JournalEntry| entry.method == "POST" && matches!(entry.role, Role::AzureDevOps | Role::GitHub);
        self.azure.journal().into_iter().filter(asks).collect()
    }

    #[track_caller]
    fn assert_ended(&self, record: &Record, state: RollbackState, calls: usize, effects: u32, serves: &str) {
        let says = format!("{:#?}\n{:#?}", record.decision, record.timeline);
        assert_eq!(record.rollback, Some(state), "{says}");
        assert_eq!(self.calls().len(), calls, "{says}");
        assert_eq!(self.azure.runs_asked_for(&self.place), effects, "{says}");
        assert_eq!(self.azure.serving_build(WORKLOAD), serves, "{says}");
    }
}

fn told(record: &Record, text: &str) -> bool {
    record.timeline.iter().any(|line| format!("{line:?}").contains(text))
}

fn once(effect: FaultEffect) -> [Fault; 2] {
    [Fault::on("POST", "/runs?", effect.clone()), Fault::on("POST", "/dispatches", effect)]
}

async fn story(place: PipelinePlace, faults: impl IntoIterator<Item = Fault>) -> (Story, Alert, Record) {
    let story = Story::begin(place).await;
    let alert = story.break_it("a1");
    for fault in faults {
        story.azure.inject(fault);
    }
    story.fire(&alert).await;
    let record = story.run_to_end(&alert).await;
    (story, alert, record)
}

#[tokio::test]
async fn a_bad_version_is_taken_back_by_one_run() {
    for place in [azure_dev_ops(), github()] {
        let story = Story::begin(place).await;
        let alert = story.break_it("a1");
        story.fire(&alert).await;
        story.fire(&alert).await;
        let record = story.run_to_end(&alert).await;
        story.assert_ended(&record, RollbackState::Recovered, 1, 1, GOOD);
        assert_eq!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Act));
        assert_eq!(record.duplicates, 1);

        let call = &story.calls()[0];
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let inputs = match story.place {
            PipelinePlace::AzureDevOps { .. } => {
                assert_eq!(call.identity.as_deref(), Some(ACTOR));
                assert_eq!(call.path_and_query, "/contoso/Shop%20Legacy/_apis/pipelines/12/runs?api-version=7.1");
                &body["templateParameters"]
            }
            PipelinePlace::GitHub { .. } => {
                assert_eq!(call.path_and_query, "/repos/contoso/legacy/actions/workflows/deploy.yml/dispatches");
                &body["inputs"]
            }
        };
        assert_eq!(*inputs, serde_json::json!({ "version": GOOD, "decisionId": record.id.0 }));
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_by_looking() {
    for place in [azure_dev_ops(), github()] {
        for effect in [
            FaultEffect::Reset { moment: Moment::AfterEffect },
            FaultEffect::Status { moment: Moment::AfterEffect, status: 504, body: FaultBody::Html },
        ] {
            let (story, _, record) = story(place.clone(), once(effect)).await;
            story.assert_ended(&record, RollbackState::Recovered, 1, 1, GOOD);
        }
    }
}

#[tokio::test]
async fn a_call_that_never_arrived_is_not_sent_again() {
    for place in [azure_dev_ops(), github()] {
        let (story, _, record) = story(place, once(FaultEffect::Reset { moment: Moment::BeforeEffect })).await;
        story.assert_ended(&record, RollbackState::Failed, 1, 0, BAD);
    }
}

#[tokio::test]
async fn a_throttled_call_is_sent_later() {
    for place in [azure_dev_ops(), github()] {
        let (story, _, record) = story(place, once(FaultEffect::Throttle { retry_after_seconds: 40 })).await;
        story.assert_ended(&record, RollbackState::Recovered, 2, 1, GOOD);
    }
}

#[tokio::test]
async fn a_refusal_ends_it() {
    for place in [azure_dev_ops(), github()] {
        let story = Story::begin(place.clone()).await;
        let alert = story.break_it("a1");
        story.azure.deny_queueing(&place, true);
        story.fire(&alert).await;
        let record = story.run_to_end(&alert).await;
        story.assert_ended(&record, RollbackState::Failed, 1, 0, BAD);
        assert!(told(&record, "403"), "{:#?}", record.timeline);
    }
}

#[tokio::test]
async fn a_run_that_fails_ends_it() {
    for place in [azure_dev_ops(), github()] {
        let fails = once(FaultEffect::OperationFails { says: "the smoke test failed".to_owned() });
        let (story, _, record) = story(place, fails).await;
        story.assert_ended(&record, RollbackState::Failed, 1, 1, BAD);
        assert!(told(&record, "ended as `fail"), "{:#?}", record.timeline);
        assert!(told(&record, "may have changed what serves"), "{:#?}", record.timeline);
        assert!(!told(&record, "nothing was changed") && !told(&record, "gave up"), "{:#?}", record.timeline);
    }
}

/// The call arrived, its answer did not, and the run that it began failed.
#[tokio::test]
async fn a_failed_run_whose_answer_was_lost_is_told_as_what_it_was() {
    for place in [azure_dev_ops(), github()] {
        let story = Story::begin(place.clone()).await;
        story.azure.set_runs_fail(&place, true);
        let alert = story.break_it("a1");
        for fault in once(FaultEffect::Reset { moment: Moment::AfterEffect }) {
            story.azure.inject(fault);
        }
        story.fire(&alert).await;
        let record = story.run_to_end(&alert).await;
        story.assert_ended(&record, RollbackState::Failed, 1, 1, BAD);
        for part in ["no answer told what became of it", "the accused version still runs", "may have changed what serves"] {
            assert!(told(&record, part), "{part}: {:#?}", record.timeline);
        }
        assert!(!told(&record, "nothing has happened"), "{:#?}", record.timeline);
    }
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_says_so_and_is_followed() {
    for place in [azure_dev_ops(), github()] {
        let story = Story::begin(place.clone()).await;
        let alert = story.break_it("a1");
        story.azure.set_approval_needed(&place, true);
        story.fire(&alert).await;
        for _ in 0..3 {
            story.minutes(2);
            while let Some((id, message)) = story.queue.take() {
                let follow_up: FollowUp = serde_json::from_slice(&message.body).unwrap();
                story.process.follow_up_received(follow_up, &story.policy).await.unwrap();
                story.queue.complete(id);
            }
        }
        let waiting = story.record(&alert).await;
        let server = if place == github() { "GitHub" } else { "Azure DevOps" };
        assert!(told(&waiting, &format!("waits for an approval in {server}")), "{:#?}", waiting.timeline);
        assert_eq!(story.azure.serving_build(WORKLOAD), BAD);
        story.azure.approve_runs(&place);
        let record = story.run_to_end(&alert).await;
        story.assert_ended(&record, RollbackState::Recovered, 1, 1, GOOD);
    }
}

#[tokio::test]
async fn what_changed_before_the_call_is_not_touched() {
    for place in [azure_dev_ops(), github()] {
        let story = Story::begin(place.clone()).await;
        let alert = story.break_it("a1");
        // The first look decides; before the second one the team rolls forward.
        let elsewhere = place.clone();
        let roll_forward: Meddling = Box::new(move |azure| azure.run_pipeline(&elsewhere, "1.42.1"));
        *story.meddling.lock().unwrap() = Some((1, roll_forward));
        story.fire(&alert).await;
        let record = story.run_to_end(&alert).await;
        assert!(story.calls().is_empty(), "{:#?}", record.timeline);
        assert_eq!(story.azure.serving_build(WORKLOAD), "1.42.1");
        let rules = record.decision.map(|decision| decision.reasons.iter().map(|reason| reason.rule).collect::<Vec<_>>());
        assert!(rules.as_ref().is_some_and(|rules| rules.contains(&RuleId::A5)), "{rules:?}");
    }
}

#[tokio::test]
async fn the_bad_version_deployed_again_is_taken_back_again() {
    let (story, _, record) = story(azure_dev_ops(), []).await;
    story.assert_ended(&record, RollbackState::Recovered, 1, 1, GOOD);
    story.minutes(120);
    story.process.sweep(&story.policy).await.unwrap();
    let again = story.break_it("a2");
    story.fire(&again).await;
    let record = story.run_to_end(&again).await;
    story.assert_ended(&record, RollbackState::Recovered, 2, 2, GOOD);
}

#[tokio::test]
async fn a_failed_run_after_the_last_success_leaves_it_to_a_person() {
    let story = Story::begin(github()).await;
    let alert = story.break_it("a1");
    story.azure.fail_a_run(&story.place, "1.42.1");
    story.fire(&alert).await;
    let record = story.run_to_end(&alert).await;
    assert!(story.calls().is_empty());
    assert_eq!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Propose), "{:#?}", record.decision);
}
