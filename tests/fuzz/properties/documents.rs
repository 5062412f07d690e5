//! Documents that a store gives back, whatever became of them there: read, or refused with a sentence that names the document.
//! Nobody crashes over one, and nothing is sent because of one.

use std::sync::Arc;

use backout::{
    domain::{
        approval::{Control, Verdict},
        record::{Record, RecordId},
        rollback::Claim,
        target::VersionToken,
        target_state::TargetState,
    },
    host::{
        delivery::{Deliveries, Delivery, Function},
        dispatch::Dispatcher,
        reply,
    },
    ports::{Key, PortError, Replaced, StateStore},
    process::{
        documents::{Documents, keys},
        park::Parked,
        receipt::{self, Receipt},
    },
};
use jiff::SignedDuration;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    super::support::{fake_alerts, world::World},
    choose, is_sentence, run,
};

pub fn holds(input: &[u8]) {
    let words = ["target", "claim", "record", "receipt", "parked", "outbox", "control", "budget", "storm", "unreadable-alerts"];
    let (kind, document) = choose(&words, input);
    match kind {
        "target" => same_again::<TargetState>(document),
        "claim" => same_again::<Claim>(document),
        "record" => same_again::<Record>(document),
        "receipt" => same_again::<Receipt>(document),
        "parked" => same_again::<Parked>(document),
        "control" => same_again::<Control>(document),
        _ => {}
    }
    run(met(kind, document));
}

/// What was read and is written again says the same.
fn same_again<T: Serialize + DeserializeOwned>(document: &[u8]) {
    let Ok(envelope) = serde_json::from_slice::<Value>(document) else { return };
    let Ok(value) = serde_json::from_value::<T>(envelope["value"].clone()) else { return };
    let written = serde_json::to_value(&value).unwrap();
    let again: T = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), written);
}

async fn met(kind: &'static str, document: &[u8]) {
    let world = World::new();
    let firing = world.break_it().await;
    let target = world.target("checkout").key();
    let record = RecordId::of(&firing);
    let token = VersionToken(format!("swap|{}", world.now()));
    let key = match kind {
        "target" => keys::target(&target),
        "claim" => keys::claim(&target, &token),
        "record" => keys::record(&record),
        "receipt" => keys::target_receipt(&target, 0),
        "parked" => keys::parked("aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        "outbox" => keys::outbox("aaaaaaaaaaaaaaaaaaaaaaaaaa"),
        "control" => keys::control(),
        "budget" => keys::budget("6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20"),
        "storm" => keys::storm(world.now(), target.0.as_str()),
        "unreadable-alerts" => keys::unreadable_alerts("6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20"),
        other => unreachable!("{other}"),
    };
    put(&*world.ports.store, &key, document).await;

    let process = Arc::new(world.process());
    let told = |result: Result<(), PortError>| {
        if let Err(error) = result {
            is_sentence(&super::one_line(&error.to_string()), 1_000);
        }
    };
    told(process.record(&record).await.map(drop));
    told(process.control().await.map(drop));
    if let Ok(records) = process.records(10).await {
        for record in &records {
            let text = backout::cli::view::record_text(record);
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
            if let Some(reference) = &record.receipt {
                told(process.receipt(reference).await.map(drop));
            }
        }
    }
    let documents = Documents::new(world.ports.store.clone());
    told(receipt::verify_chain(&documents, &target).await.map(drop));
    match documents.read::<Receipt>(&keys::target_receipt(&target, 0)).await {
        Ok(Some(found)) => assert!(!found.value.text().contains(|c: char| c.is_control() && c != '\n')),
        Ok(None) => {}
        Err(error) => told(Err(error)),
    }
    if let Ok(parked) = process.parked(10).await {
        for parked in &parked {
            told(process.replay_parked(parked).await.map(drop));
        }
    }
    let dispatcher = Dispatcher::new(Arc::clone(&process));
    let follow_up = |step: &str| {
        json!({"v": 1, "record": record, "target": target, "step": step, "generation": 1, "dueAt": world.now()})
            .to_string()
            .into_bytes()
    };
    let deliveries = [
        (Function::Alerts, fake_alerts::message(&firing)),
        (Function::FollowUps, follow_up("rollback")),
        (Function::FollowUps, follow_up("lookAgain")),
        (Function::FollowUps, follow_up("approval")),
        (Function::Sweep, Vec::new()),
    ];
    for (function, body) in deliveries {
        let delivery = Delivery {
            function,
            body,
            returns: 0,
            delivered_before: true,
            envelope_problem: None,
            invocation_id: "fuzz".to_owned(),
            trace_parent: None,
        };
        let outcome = dispatcher.deliver(delivery).await;
        is_sentence(&reply::log_text(&outcome), 4_000);
        world.advance(SignedDuration::from_mins(2));
    }
    let _ = process.answer(&record, Verdict::Approved, "somebody").await.map_err(|error| error.to_string());
    let _ = process.clear(&target, "somebody").await.map_err(|error| error.to_string());
    assert!(world.platform.calls() <= 1, "{} calls", world.platform.calls());
    if kind == "control" && serde_json::from_slice::<Value>(document).is_err() {
        assert_eq!(world.platform.calls(), 0, "sent although nobody can tell whether it is paused");
    }
}

async fn put(store: &dyn StateStore, key: &Key, document: &[u8]) {
    match store.read(key).await.unwrap() {
        Some(there) => assert!(matches!(store.replace(key, &there.version, document).await.unwrap(), Replaced::Now(_))),
        None => drop(store.insert(key, document).await.unwrap()),
    }
}
