//! A message all the way: recognised, judged, acted on once, told. The world is `support::world`, where `checkout` has just broken.

use std::sync::Arc;

use backout::{
    domain::record::Record,
    host::{
        delivery::{Deliveries, Delivery, Function},
        dispatch::Dispatcher,
        reply,
    },
    ports::FollowUp,
    process::outcome::Outcome,
};
use jiff::SignedDuration;

use super::{super::support::world::World, choose, is_sentence, run};

pub fn holds(input: &[u8]) {
    let (kind, body) = choose(&["alerts", "deployments", "markers", "followups"], input);
    let function = Function::ALL.iter().copied().find(|function| function.name() == kind).unwrap();
    run(delivered(function, body));
}

async fn delivered(function: Function, body: &[u8]) {
    let world = World::new();
    world.break_it().await;
    let process = Arc::new(world.process());
    let dispatcher = Dispatcher::new(Arc::clone(&process));
    let delivery = |returns| Delivery {
        function,
        body: body.to_vec(),
        returns,
        delivered_before: returns > 0,
        envelope_problem: None,
        invocation_id: "fuzz".to_owned(),
        trace_parent: None,
    };
    let first = dispatcher.deliver(delivery(0)).await;
    is_settled(&first);
    let records = process.records(1_000).await.unwrap();
    make_sense(&records);
    // The same bytes again: nothing but a count.
    is_settled(&dispatcher.deliver(delivery(1)).await);
    assert_eq!(process.records(1_000).await.unwrap().len(), records.len(), "a copy made a record");
    let parked = process.parked(1_000).await.unwrap();
    assert!(!parked.is_empty() || !is_parked(&first), "parked, and not there");
    for parked in &parked {
        is_sentence(&parked.reason, 4_000);
    }
    for _ in 0..4 {
        while let Some((id, message)) = world.queue.take() {
            // Everything that we send ourselves can be read again.
            let follow_up: FollowUp = serde_json::from_slice(&message.body).unwrap();
            process.follow_up_received(follow_up, &world.policy).await.unwrap();
            world.queue.complete(id);
        }
        world.advance(SignedDuration::from_mins(3));
        world.measure();
    }
    process.sweep(&world.policy).await.unwrap();
    make_sense(&process.records(1_000).await.unwrap());
    assert!(world.platform.calls() <= 1, "{} calls", world.platform.calls());
}

/// Nothing here fails but the message: it never comes back, since it would be no better then.
fn is_settled(outcome: &Outcome) {
    match outcome {
        Outcome::Settled { says } | Outcome::Parked { says } => assert!(!says.trim().is_empty()),
        Outcome::PutBack { says } | Outcome::DeliverAgain { says } => panic!("it comes again: {says}"),
    }
    is_sentence(&reply::log_text(outcome), 4_000);
}

fn is_parked(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Parked { .. } => true,
        Outcome::Settled { .. } | Outcome::PutBack { .. } | Outcome::DeliverAgain { .. } => false,
    }
}

/// Each explains itself to a person.
fn make_sense(records: &[Record]) {
    for record in records {
        let text = backout::cli::view::record_text(record);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let decision = record.decision.as_ref().unwrap();
        assert!(!decision.because.trim().is_empty() && !decision.reasons.is_empty());
        let stored = serde_json::to_vec(record).unwrap();
        assert!(stored.len() < 1024 * 1024, "{} bytes", stored.len());
        assert_eq!(&serde_json::from_slice::<Record>(&stored).unwrap(), record);
    }
}
