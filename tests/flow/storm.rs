//! Bigger than us (P1): many alerts that no one change explains make backout stand down.

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
        policy::Policy,
        rollback::RollbackState,
        rule::RuleId,
        service::{Mode, Service},
    },
    ports::StateStore as _,
    process::{Process, documents::keys},
};
use jiff::SignedDuration;

use crate::support::{
    counted::Counted,
    policy::{alert, policy, service, site},
    town::Town,
};

const OTHERS: [&str; 6] = ["basket", "invoices", "mail", "orders", "search", "stock"];

fn unrelated() -> Policy {
    let mut services: Vec<Service> = OTHERS.iter().map(|name| service(name)).collect();
    services.push(service("checkout"));
    policy(services)
}

/// `checkout` has a bad deployment, measured for long enough; nothing else changed.
async fn broken_checkout(policy: Policy) -> Town {
    let town = Town::of(policy).await;
    town.deploy_bad("checkout");
    town.requests_fail("checkout");
    town.minutes_pass(8);
    town
}

fn firing(town: &Town, service: &str) -> Alert {
    alert(&format!("alert-of-{service}"), service, town.world.now() - SignedDuration::from_mins(1))
}

async fn fire(town: &Town, process: &Process, service: &str) -> Alert {
    let firing = firing(town, service);
    process.alert_received(firing.clone(), &town.world.policy).await.unwrap();
    firing
}

async fn decided(town: &Town, firing: &Alert) -> (DecisionKind, RuleId) {
    let decision = town.world.record(firing).await.decision.unwrap();
    (decision.kind, decision.reasons[0].rule)
}

#[tokio::test]
async fn the_limit_is_a_storm_and_one_below_is_none() {
    for (others, calls, kind) in [(3, 1, DecisionKind::Act), (4, 0, DecisionKind::Page), (5, 0, DecisionKind::Page)] {
        let town = broken_checkout(unrelated()).await;
        let process = town.world.process();
        for other in &OTHERS[..others] {
            fire(&town, &process, other).await;
        }
        let last = fire(&town, &process, "checkout").await;
        let decision = town.world.record(&last).await.decision.unwrap();
        let name = format!("{others} others: {decision:#?}");
        assert_eq!((decision.kind, town.calls()), (kind, calls), "{name}");
        if kind == DecisionKind::Page {
            assert_eq!(decision.reasons[0].rule, RuleId::P1, "{name}");
            let says = format!("alerts on at least {} resources within 5 min share no recent change", others + 1);
            assert!(decision.because.starts_with(&says), "{name}");
        }
    }
}

/// An event of the activity log about the swap that is known already.
fn late_event(town: &Town, number: i64) -> DeploymentEvent {
    DeploymentEvent {
        id: Some(format!("late-{number}")),
        source: "event-grid".to_owned(),
        resources: vec![site("checkout").to_string()],
        operation: None,
        status: DeploymentStatus::Succeeded,
        at: Some(town.world.now() - SignedDuration::from_mins(8 + number)),
        subject: DeploymentSubject::default(),
        version: None,
        reversible: None,
        slots: None,
    }
}

#[tokio::test]
async fn a_storm_is_told_and_stays_without_a_call_whatever_comes_later() {
    let town = broken_checkout(unrelated()).await;
    let process = town.world.process();
    for other in &OTHERS[..4] {
        fire(&town, &process, other).await;
    }
    let last = fire(&town, &process, "checkout").await;
    for _ in 0..3 {
        process.alert_received(last.clone(), &town.world.policy).await.unwrap();
    }
    for minute in 1..=60 {
        town.minutes_pass(1);
        town.world.deliver_due(&process).await;
        // The storm goes on, and nobody else fires any more; late events may come for twenty minutes.
        if [6, 12, 20].contains(&minute) {
            process.sweep(&town.world.policy).await.unwrap();
            process.deployment_received(late_event(&town, minute), &town.world.policy, true).await.unwrap();
        }
    }
    assert_eq!(decided(&town, &last).await, (DecisionKind::Page, RuleId::P1));
    assert_eq!((town.calls(), town.world.record(&last).await.duplicates), (0, 3));
    let told = town.world.notifier.notices();
    assert_eq!(told.iter().filter(|notice| notice.record == Some(backout::domain::record::RecordId::of(&last).0)).count(), 1);
}

#[tokio::test]
async fn alerts_count_for_five_minutes() {
    for (seconds, kind) in [(0, DecisionKind::Page), (300, DecisionKind::Page), (301, DecisionKind::Act)] {
        let town = broken_checkout(unrelated()).await;
        let process = town.world.process();
        for other in &OTHERS[..4] {
            fire(&town, &process, other).await;
        }
        town.world.advance(SignedDuration::from_secs(seconds));
        let last = fire(&town, &process, "checkout").await;
        assert_eq!(decided(&town, &last).await.0, kind, "{seconds} s later");
    }
}

/// Found by the benchmark of years of history, whose notes are none: each alert read them until a sweep had removed them.
#[tokio::test]
async fn notes_that_no_rule_looks_at_any_more_are_not_read() {
    let mut town = broken_checkout(unrelated()).await;
    let store = Counted::new(town.world.ports.store.clone());
    town.world.ports.store = store.clone();
    for (number, hours) in (1..=60).zip([1, 24, 24 * 365].into_iter().cycle()) {
        let long_ago = town.world.now() - SignedDuration::from_hours(hours);
        store.insert(&keys::storm(long_ago, &number.to_string()), b"no note").await.unwrap();
    }
    let last = fire(&town, &town.world.process(), "checkout").await;
    let counts = store.take();
    assert_eq!((counts["list storms"], counts.get("read storms")), ((1, 32), None), "{counts:?}");
    assert_eq!((decided(&town, &last).await.0, town.calls()), (DecisionKind::Act, 1));
}

#[tokio::test]
async fn many_alerts_about_one_resource_are_no_storm() {
    let town = broken_checkout(unrelated()).await;
    let process = town.world.process();
    for number in 0..6 {
        let mut other = firing(&town, "search");
        other.id = Some(format!("search-{number}"));
        other.rule = Some(format!("search-rule-{number}"));
        process.alert_received(other, &town.world.policy).await.unwrap();
    }
    let last = fire(&town, &process, "checkout").await;
    assert_eq!((decided(&town, &last).await.0, town.calls()), (DecisionKind::Act, 1));
}

/// The alert comes at the end of one bucket of the storm's count, and waits; the others come in the next.
#[tokio::test]
async fn a_storm_that_breaks_while_an_alert_waits_is_seen_at_its_next_look() {
    let town = Town::of(unrelated()).await;
    let process = town.world.process();
    town.minutes_pass(3);
    town.world.advance(SignedDuration::from_secs(50));
    town.deploy_bad("checkout");
    town.requests_fail("checkout");
    town.minutes_pass(1);
    assert_eq!(town.world.now().to_string(), "2026-03-02T03:44:50Z", "ten seconds before the next five minutes");
    let waiting = alert("early", "checkout", town.world.now());
    process.alert_received(waiting.clone(), &town.world.policy).await.unwrap();
    assert_eq!(decided(&town, &waiting).await.0, DecisionKind::Hold, "no complete window shows the fault yet");
    town.world.advance(SignedDuration::from_secs(20));
    for other in &OTHERS[..4] {
        fire(&town, &process, other).await;
    }
    town.world.advance(SignedDuration::from_secs(20));
    town.world.deliver_due(&process).await;
    assert_eq!(decided(&town, &waiting).await, (DecisionKind::Page, RuleId::P1));
    assert_eq!(town.calls(), 0);
}

/// `payments`, upstream of five services, and some that have nothing to do with it.
fn five_dependents(mode: Mode) -> Policy {
    let mut payments = service("payments");
    payments.mode = mode;
    let mut services = vec![payments];
    for (index, name) in OTHERS.iter().enumerate() {
        let mut other = service(name);
        if index < 5 {
            other.depends_on = vec![services[0].name.clone()];
        }
        services.push(other);
    }
    services.extend(["a", "b", "c", "d"].map(service));
    policy(services)
}

async fn broken_payments(mode: Mode) -> Town {
    let town = Town::of(five_dependents(mode)).await;
    town.deploy_bad("payments");
    for name in OTHERS[..5].iter().copied().chain(["payments"]) {
        town.requests_fail(name);
    }
    town.minutes_pass(8);
    town
}

#[tokio::test]
async fn five_dependents_of_one_bad_deployment_are_no_storm() {
    let town = broken_payments(Mode::Propose).await;
    let process = town.world.process();
    for name in &OTHERS[..5] {
        let firing = fire(&town, &process, name).await;
        let decision = town.world.record(&firing).await.decision.unwrap();
        assert_eq!(decision.kind, DecisionKind::Propose, "{name}: {decision:#?}");
        assert_eq!(decision.accused.unwrap().service.0, "payments");
        assert!(decision.reasons.iter().all(|reason| reason.rule != RuleId::P1));
    }
    let own = fire(&town, &process, "payments").await;
    assert_eq!(decided(&town, &own).await, (DecisionKind::Propose, RuleId::T3));
}

#[tokio::test]
async fn five_dependents_of_one_bad_deployment_lead_to_one_call_and_end_after_it() {
    let town = broken_payments(Mode::Act).await;
    let process = town.world.process();
    let mut firings = Vec::new();
    for name in &OTHERS[..5] {
        firings.push(fire(&town, &process, name).await);
    }
    assert_eq!((town.calls(), town.site("payments").calls()), (1, 1));
    for minute in 0..40 {
        town.minutes_pass(1);
        if minute == 2 {
            for name in OTHERS[..5].iter().copied().chain(["payments"]) {
                town.requests_work(name);
            }
        }
        town.world.deliver_due(&process).await;
    }
    assert_eq!((town.calls(), town.effects()), (1, 1));
    assert_eq!(decided(&town, &firings[0]).await.0, DecisionKind::Act);
    for firing in &firings[1..] {
        // Only `payments` was measured for the rollback: each looked at its own signals, and they are back.
        assert_eq!(decided(&town, firing).await, (DecisionKind::Ignore, RuleId::A13));
    }
}

#[tokio::test]
async fn what_the_bad_deployment_explains_does_not_count_and_the_rest_does() {
    for (unrelated, kind) in [(3, DecisionKind::Propose), (4, DecisionKind::Page)] {
        let town = broken_payments(Mode::Propose).await;
        let process = town.world.process();
        for name in OTHERS[..4].iter().copied().chain(["a", "b", "c", "d"].into_iter().take(unrelated)) {
            fire(&town, &process, name).await;
        }
        let last = fire(&town, &process, OTHERS[4]).await;
        assert_eq!(decided(&town, &last).await.0, kind, "{unrelated} unrelated ones");
        assert_eq!(town.calls(), 0);
    }
}

/// The bad deployment upstream was taken back, and one of its dependents has a fault of its own.
#[tokio::test]
async fn that_an_upstream_has_recovered_is_no_recovery_of_its_dependents() {
    let town = broken_payments(Mode::Act).await;
    let process = town.world.process();
    let own = fire(&town, &process, "payments").await;
    let dependent = fire(&town, &process, OTHERS[0]).await;
    let waiting = town.world.record(&dependent).await;
    assert_eq!(waiting.attached_to.as_ref(), Some(&town.world.record(&own).await.id));
    town.minutes_pass(3);
    town.requests_work("payments");
    for _ in 0..60 {
        town.minutes_pass(1);
        town.world.deliver_due(&process).await;
    }
    assert_eq!(town.world.record(&own).await.rollback, Some(RollbackState::Recovered));
    let record = town.world.record(&dependent).await;
    let decision = record.decision.unwrap();
    // Its fault goes on, and no change explains it any more: a person must know.
    assert_eq!((decision.kind, town.calls()), (DecisionKind::Page, 1), "{:#?}", record.timeline);
    assert_eq!(record.told_generation, record.generation);
}

/// `payments`, upstream of forty services, and five that have nothing to do with it.
async fn broken_payments_of_many() -> (Town, Vec<String>) {
    let mut payments = service("payments");
    payments.mode = Mode::Propose;
    let dependents: Vec<String> = (1..=40).map(|number| format!("dependent-{number:02}")).collect();
    let mut services = vec![payments];
    for name in &dependents {
        let mut dependent = service(name);
        dependent.depends_on = vec![services[0].name.clone()];
        services.push(dependent);
    }
    services.extend(["a", "b", "c", "d", "e"].map(service));
    let town = Town::of(policy(services)).await;
    town.deploy_bad("payments");
    for name in dependents.iter().map(String::as_str).chain(["payments"]) {
        town.requests_fail(name);
    }
    town.minutes_pass(8);
    (town, dependents)
}

/// The newest notes are all explained by the bad deployment; those which are not lie behind more of them than are listed first.
#[tokio::test]
async fn a_storm_behind_many_explained_alerts_is_seen() {
    for (unrelated, kind) in [(3, DecisionKind::Propose), (4, DecisionKind::Page)] {
        let (town, dependents) = broken_payments_of_many().await;
        let process = town.world.process();
        for name in ["a", "b", "c", "d"].into_iter().take(unrelated) {
            fire(&town, &process, name).await;
        }
        town.world.advance(SignedDuration::from_secs(90));
        for name in &dependents {
            fire(&town, &process, name).await;
        }
        let last = fire(&town, &process, "payments").await;
        assert_eq!(decided(&town, &last).await.0, kind, "{unrelated} unrelated ones");
    }
}

/// Found by the benchmark of load over blobs: sixteen alerts at once held the descriptions of two hundred blobs each.
#[tokio::test]
async fn an_alert_in_a_storm_lists_and_reads_a_few_notes() {
    let names: Vec<String> = (1..=60).map(|number| format!("service-{number:02}")).collect();
    let mut town = broken_checkout(policy(names.iter().map(|name| service(name)).chain([service("checkout")]).collect())).await;
    let store = Counted::new(town.world.ports.store.clone());
    town.world.ports.store = store.clone();
    let process = town.world.process();
    for name in &names {
        fire(&town, &process, name).await;
    }
    store.take();
    let last = fire(&town, &process, "checkout").await;
    let counts = store.take();
    assert_eq!(decided(&town, &last).await, (DecisionKind::Page, RuleId::P1));
    assert_eq!((counts["list storms"], counts["read storms"].0), ((1, 32), 16), "{counts:?}");
}

/// An alert on two resources is one alert. A note of another one about the second of them does not count, so the rest has to be listed.
#[tokio::test]
async fn a_note_about_a_second_resource_of_the_alert_hides_no_storm() {
    for (others, kind) in [(3, DecisionKind::Propose), (4, DecisionKind::Page)] {
        let (town, dependents) = broken_payments_of_many().await;
        let process = town.world.process();
        if others == 4 {
            fire(&town, &process, "e").await;
        }
        town.world.advance(SignedDuration::from_secs(90));
        for name in &dependents {
            fire(&town, &process, name).await;
        }
        town.world.advance(SignedDuration::from_secs(60));
        for name in ["a", "b", "c", "d"] {
            fire(&town, &process, name).await;
        }
        let mut last = firing(&town, "payments");
        last.resources.extend(firing(&town, "a").resources);
        process.alert_received(last.clone(), &town.world.policy).await.unwrap();
        assert_eq!(decided(&town, &last).await.0, kind, "{others} others");
    }
}
