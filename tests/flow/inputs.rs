//! What a decision was made from is kept before the record names it, whatever happens between the two.

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        record::{Record, RecordId},
        rollback::RollbackState,
        target::sha256_hex,
    },
    ports::Key,
    process::documents::keys,
};
use jiff::SignedDuration;
use serde_json::{Value, value::RawValue};

use crate::support::{
    lethal::Death,
    policy::alert,
    world::{BAD, World},
};

#[derive(serde::Deserialize)]
struct Stored {
    value: Box<RawValue>,
}

/// The case behind the record's decision, once its hash is seen to fit; `None` where the record names none.
async fn kept(world: &World, record: &Record) -> Option<Value> {
    let named = record.decided_from.as_ref()?;
    let stored = world.ports.store.read(&Key::new(&*named.key)).await.unwrap();
    let stored = stored.unwrap_or_else(|| panic!("record {} names `{}`, which is not there", record.id, named.key));
    let stored: Stored = serde_json::from_slice(&stored.body).unwrap();
    assert_eq!(sha256_hex(stored.value.get().as_bytes()), named.sha256, "`{}`", named.key);
    Some(serde_json::from_str(stored.value.get()).unwrap())
}

async fn documents(world: &World) -> Vec<Key> {
    world.ports.store.list("inputs/", None, 100).await.unwrap()
}

#[tokio::test]
async fn a_decision_names_what_it_was_made_from() {
    let world = World::new();
    let firing = world.break_it().await;
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    let acted = world.record(&firing).await;
    let case = kept(&world, &acted).await.expect("an Act is made by reading");
    assert_eq!(case["alert"]["rule"], Value::from(firing.rule.clone()));
    assert!(case.pointer("/services/0/observation/is/running").unwrap().to_string().contains(BAD), "{case}");
    // A copy decides nothing, and the end of the rollback is read off the platform, not decided.
    world.run_to_end(&world.process(), &firing, 3).await;
    let ended = world.record(&firing).await;
    assert_eq!((ended.rollback, &ended.decided_from), (Some(RollbackState::Recovered), &acted.decided_from));
    assert_eq!(documents(&world).await.len(), 1);
    // Written down before there was such a document: the record is read all the same.
    let key = keys::record(&ended.id);
    let written = world.ports.store.read(&key).await.unwrap().unwrap();
    let mut old: Value = serde_json::from_slice(&written.body).unwrap();
    old["value"].as_object_mut().unwrap().remove("decidedFrom");
    old["value"]["inputs"] = case;
    world.ports.store.replace(&key, &written.version, old.to_string().as_bytes()).await.unwrap();
    assert_eq!(world.record(&firing).await, Record { decided_from: None, ..ended });
}

#[tokio::test]
async fn each_look_of_a_hold_keeps_its_own() {
    let world = World::new();
    let firing = world.break_it().await;
    // The fault began a moment ago, and its measurements are not there yet.
    world.telemetry.from(world.now() - SignedDuration::from_mins(12), None);
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    let held = world.record(&firing).await;
    assert_eq!(held.decision.as_ref().unwrap().kind, DecisionKind::Hold);
    let first = kept(&world, &held).await.unwrap();
    let due_at = held.next_step_at.unwrap();
    world.clock.set(due_at);
    world.measure();
    world.deliver_due(&world.process()).await;
    let looked = world.record(&firing).await;
    assert_eq!(kept(&world, &looked).await.unwrap()["now"], Value::from(due_at.to_string()));
    assert_ne!(looked.decided_from, held.decided_from);
    assert_eq!(kept(&world, &held).await.unwrap(), first, "what the earlier decision was made from stays");
}

#[tokio::test]
async fn wherever_the_process_dies_no_record_names_what_is_not_there() {
    let calls = {
        let world = World::new();
        let firing = world.break_it().await;
        world.takes_in(&firing, None).await
    };
    let mut nobody_names_it = 0;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            let world = World::new();
            let firing = world.break_it().await;
            world.takes_in(&firing, Some(Death { at_call, after_effect })).await;
            let record = world.process().record(&RecordId::of(&firing)).await.unwrap();
            let Some(record) = record else { continue };
            let named = kept(&world, &record).await.is_some();
            assert_eq!(named, record.decision.is_some(), "death at call {at_call}, after its effect: {after_effect}");
            nobody_names_it += usize::from(!named && !documents(&world).await.is_empty());
        }
    }
    assert!(nobody_names_it > 0, "no death came between the two");
}

/// Nothing is wrong, and an alert fires: the same each time, so its case has the same name each time.
fn quiet_world() -> (World, Alert) {
    let world = World::new();
    let firing = alert("a2", "checkout", world.now() - SignedDuration::from_mins(1));
    (world, firing)
}

#[tokio::test]
async fn equal_inputs_are_one_document() {
    let (earlier, firing) = quiet_world();
    earlier.process().alert_received(firing, &earlier.policy).await.unwrap();
    let key = documents(&earlier).await.remove(0);
    let there = earlier.ports.store.read(&key).await.unwrap().unwrap();
    // A delivery before this one came as far as that.
    let (world, firing) = quiet_world();
    world.ports.store.insert(&key, &there.body).await.unwrap();
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!(world.record(&firing).await.decided_from.map(|named| named.key), Some(key.to_string()));
    assert!(kept(&world, &world.record(&firing).await).await.is_some());
    assert_eq!(documents(&world).await, [key]);
}

#[tokio::test]
async fn inputs_that_somebody_changed_are_told_and_nothing_is_decided_on_them() {
    let (earlier, firing) = quiet_world();
    earlier.process().alert_received(firing, &earlier.policy).await.unwrap();
    let key = documents(&earlier).await.remove(0);
    let (world, firing) = quiet_world();
    let nobodys = format!("{{\"nonce\":\"{}\",\"value\":null}}", uuid::Uuid::nil());
    world.ports.store.insert(&key, nobodys.as_bytes()).await.unwrap();
    let error = world.process().alert_received(firing.clone(), &world.policy).await.unwrap_err().to_string();
    assert!(error.contains(&format!("`{key}` holds other inputs than its name says")), "{error}");
    assert_eq!(world.record(&firing).await.decision, None);
}
