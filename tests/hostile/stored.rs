//! Whoever may write the store is trusted with what was done, and with no more: what is touched says the policy.

use backout::{
    domain::{
        resource_id::ResourceId,
        rollback::{Claim, ClaimKind, RollbackState},
        target::Target,
        target_state::TargetState,
    },
    process::documents::{Documents, keys},
};
use jiff::SignedDuration;

use crate::support::{
    fake_platform::Answer,
    policy::{alert, site},
    world::World,
};

/// Claimed and provably not sent, so that the call is due again; what is stored is then altered.
async fn altered(change: impl Fn(&mut TargetState) + Send + Sync) -> (World, Option<RollbackState>, String) {
    let world = World::new();
    let firing = world.break_it().await;
    world.platform.answer_next(&[Answer::NotSent]);
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!((world.platform.calls(), world.platform.effects()), (1, 0));
    let documents = Documents::new(world.ports.store.clone());
    let changed = |state: &mut TargetState| {
        change(state);
        Some(())
    };
    documents.update(&keys::target(&world.target("checkout").key()), || None, changed).await.unwrap().unwrap();
    world.run(&process, 3).await;
    let record = world.record(&firing).await;
    let told = format!("{:#?}", record.timeline);
    (world, record.rollback, told)
}

#[tokio::test]
async fn what_was_stored_unaltered_is_sent() {
    let (world, rollback, told) = altered(|_| {}).await;
    assert_eq!((world.platform.calls(), rollback), (2, Some(RollbackState::Recovered)), "{told}");
}

#[tokio::test]
async fn a_stored_target_that_the_policy_does_not_name_gets_no_call() {
    let payroll = |state: &mut TargetState| {
        let busy = state.busy.as_mut().unwrap();
        let Target::AppService(target) = &mut busy.service.target else { panic!("{busy:?}") };
        target.site = ResourceId::parse(&site("payroll").to_string()).unwrap();
    };
    let (world, rollback, told) = altered(payroll).await;
    assert_eq!((world.platform.calls(), rollback), (1, Some(RollbackState::Failed)), "{told}");
    assert!(told.contains("the policy does not name this target any more"), "{told}");
}

#[tokio::test]
async fn a_claim_of_another_record_or_a_closed_one_is_never_sent_under() {
    for closed in [false, true] {
        let world = World::new();
        let firing = world.break_it().await;
        let documents = Documents::new(world.ports.store.clone());
        let token = {
            let observation = world.ports.platforms.of(&world.target("checkout")).observe().await.unwrap();
            observation.running.token
        };
        let target = world.target("checkout").key();
        let other = backout::domain::record::RecordId::of(&alert("another", "checkout", world.now()));
        let kind = ClaimKind::Rollback { record: other, attempt: 1, resubmissions: 0, closed };
        let claim = Claim { target: target.clone(), token: token.clone(), kind, written_at: world.now() };
        documents.insert(&keys::claim(&target, &token), claim).await.unwrap();
        let process = world.process();
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        world.run(&process, 2).await;
        assert_eq!(world.platform.calls(), 0, "closed: {closed}");
        let record = world.record(&firing).await;
        assert!(record.decision.is_some_and(|decision| decision.because.contains("by record ")), "{:#?}", record.timeline);
    }
}

#[tokio::test]
async fn a_document_that_makes_no_sense_stops_what_needs_it_and_is_named() {
    let world = World::new();
    let firing = world.break_it().await;
    let key = keys::target(&world.target("checkout").key());
    let stored = world.ports.store.read(&key).await.unwrap().unwrap();
    world.ports.store.replace(&key, &stored.version, b"{\"nonce\":1}").await.unwrap();
    let trouble = world.process().alert_received(firing, &world.policy).await.unwrap_err().to_string();
    assert!(trouble.contains(key.as_str()) && trouble.contains("is not readable"), "{trouble}");
    world.advance(SignedDuration::from_mins(10));
    assert_eq!(world.platform.calls(), 0);
}
