//! Every order of things in a small world, over the real process (docs/reliability.md, "Exhaustive exploration").

mod checks;
mod documents;
mod engine;
mod explorer;
mod platform;
mod tape;
pub mod undisturbed;
mod world;

use std::collections::BTreeSet;

use crate::support::{seeded::Bug, world::World};
use explorer::{Explorer, Found};
use tape::WayKind;
use world::{Bounds, Points};

/// One firing delivered twice, a toggle, anything that can go wrong once.
const SMALL: Bounds = Bounds {
    name: "one firing twice, a toggle, one disturbance anywhere",
    way: WayKind::Toggle,
    resubmit: false,
    copies: [2, 0],
    preemptions: 1,
    faults: 1,
    stalls: 1,
    disturbances: 1,
    patience: 1,
    store_faults: false,
    losses: false,
    own_order: false,
    refusals: false,
    points: Points::Every,
    sweeps: 0,
};

/// What comes between the decision and the call: two switches, one stall, and all of them on one path.
const UNTIL_THE_CALL: Bounds = Bounds {
    name: "one firing twice, a toggle, three disturbances until the call",
    preemptions: 2,
    faults: 0,
    disturbances: 3,
    points: Points::UntilTheCall,
    ..SMALL
};

/// Claim, decision and last look are written and read side by side: whoever stands still in the look may have stored the decision by
/// then, and another one goes on from it.
const OVERTAKEN: Bounds = Bounds {
    name: "one firing twice, a convergent step, three disturbances until the call, calls side by side in every order",
    way: WayKind::Convergent,
    resubmit: true,
    own_order: true,
    ..UNTIL_THE_CALL
};

const CALLS_ONCE: Bounds = Bounds { points: Points::Calls, ..SMALL };

const ANY_FAULT: Bounds = Bounds { preemptions: 0, stalls: 0, store_faults: true, losses: true, refusals: true, ..SMALL };

/// Where the protocol's own steps meet: two switches, one fault and one stall.
const CALLS: Bounds = Bounds {
    name: "one firing twice, a toggle, two disturbances at the calls",
    preemptions: 2,
    disturbances: 2,
    points: Points::Calls,
    ..SMALL
};

/// Two firings, each delivered once.
const TWO_FIRINGS: Bounds = Bounds {
    name: "two firings, a toggle, one disturbance until the call",
    copies: [1, 1],
    points: Points::UntilTheCall,
    ..SMALL
};

const CONVERGENT: Bounds = Bounds {
    name: "one firing twice, a convergent step, one crash or lost answer at the calls",
    way: WayKind::Convergent,
    resubmit: true,
    preemptions: 0,
    stalls: 0,
    points: Points::Calls,
    ..SMALL
};

const TWO_STEPS: Bounds = Bounds {
    name: "one firing twice, two steps, one crash or lost answer at the calls",
    way: WayKind::TwoSteps,
    preemptions: 0,
    stalls: 0,
    points: Points::Calls,
    ..SMALL
};

/// So many that each change pays for them.
const QUICK: [Bounds; 6] = [SMALL, UNTIL_THE_CALL, OVERTAKEN, TWO_FIRINGS, CONVERGENT, TWO_STEPS];

fn explore(bounds: Bounds) {
    let figures = Explorer::new(bounds, None).explore().unwrap_or_else(|found| {
        panic!("{}: {} after {} states\n{}choices: {:?}", bounds.name, found.why, found.states, found.trail, found.choices)
    });
    println!("{}: {figures}", bounds.name);
    assert!(figures.states > 1_000 && figures.ends > 10, "{}: it went nowhere: {figures}", bounds.name);
}

#[test]
fn nothing_goes_wrong_in_a_small_world() {
    QUICK.into_iter().for_each(explore);
}

#[test]
#[ignore = "takes minutes; .ci/full runs it"]
fn nothing_goes_wrong_where_more_is_disturbed() {
    explore(CALLS);
    explore(Bounds {
        name: "one firing twice, a toggle, four disturbances until the call",
        preemptions: 3,
        faults: 1,
        stalls: 2,
        disturbances: 4,
        ..UNTIL_THE_CALL
    });
    explore(Bounds {
        name: "one firing twice, a toggle, one disturbance at the calls, calls side by side in every order, a sweep at any time",
        own_order: true,
        sweeps: 1,
        ..CALLS_ONCE
    });
}

#[test]
#[ignore = "takes minutes; .ci/full runs it"]
fn nothing_goes_wrong_whatever_fails() {
    explore(Bounds {
        name: "one firing twice, a toggle, one crash, lost answer of platform or store, refusal or last delivery anywhere",
        ..ANY_FAULT
    });
    explore(Bounds {
        name: "one firing twice, a toggle that may be sent once more, two of these at the calls",
        resubmit: true,
        faults: 2,
        disturbances: 2,
        points: Points::Calls,
        ..ANY_FAULT
    });
}

#[test]
#[ignore = "takes minutes; .ci/full runs it"]
fn nothing_goes_wrong_with_two_firings() {
    explore(Bounds { name: "two firings, each twice, a toggle, one disturbance until the call", copies: [2, 2], ..TWO_FIRINGS });
    explore(Bounds {
        name: "two firings, a toggle, two disturbances until the call",
        preemptions: 2,
        disturbances: 2,
        ..TWO_FIRINGS
    });
}

#[test]
#[ignore = "takes minutes; .ci/full runs it"]
fn nothing_goes_wrong_with_other_steps() {
    let disturbed = |bounds, name| Bounds { name, preemptions: 2, stalls: 1, disturbances: 2, ..bounds };
    explore(disturbed(CONVERGENT, "one firing twice, a convergent step, two disturbances at the calls"));
    explore(disturbed(TWO_STEPS, "one firing twice, two steps, two disturbances at the calls"));
    explore(Bounds {
        name: "one firing twice, a toggle that may be sent once more, three disturbances until the call, calls in every order",
        way: WayKind::Toggle,
        ..OVERTAKEN
    });
    explore(Bounds {
        name: "one firing twice, two steps, three disturbances until the call, calls in every order",
        way: WayKind::TwoSteps,
        resubmit: false,
        ..OVERTAKEN
    });
    explore(Bounds {
        name: "one firing twice, a convergent step, three disturbances and a crash or lost answer until the call, calls in every order",
        faults: 1,
        disturbances: 4,
        ..OVERTAKEN
    });
}

/// Ways that once led to something wrong: the world, and the choices as the failure printed them. Put one here, with the bug if it had
/// one, to see it step by step: `cargo test --test backout explore::ways -- --nocapture`.
const WAYS: [(Bounds, Option<Bug>, &[usize]); 2] = [
    // Dies between the claim and the decision that it was for.
    (SMALL, None, &[0, 0, 0, 0, 0, 0, 0, 1]),
    // The same before the claim.
    (SMALL, None, &[0, 0, 0, 0, 0, 1]),
];

#[test]
fn ways_that_once_went_wrong_go_well() {
    for (bounds, bug, choices) in WAYS {
        let (trail, wrong) = Explorer::new(bounds, bug).replay(choices);
        println!("{}, {choices:?}:\n{trail}", bounds.name);
        assert!(trail.contains("crashes") && trail.contains("has ended"), "{trail}");
        assert_eq!(wrong, None, "{trail}");
    }
}

/// Finds a bug in the first of these worlds that shows it, and goes the way there once more by its choices alone.
fn find(bug: Bug, worlds: &[Bounds]) -> Option<(Bounds, Found)> {
    worlds.iter().find_map(|bounds| {
        let found = Explorer::new(*bounds, Some(bug)).explore().err()?;
        let again = Explorer::new(*bounds, Some(bug)).replay(&found.choices);
        assert_eq!((again.0.as_str(), again.1.as_ref()), (found.trail.as_str(), Some(&found.why)), "{}", bug.name());
        Some((*bounds, found))
    })
}

/// Worlds in which bugs are looked for: the smaller one first.
const SEARCHED: [Bounds; 4] = [
    Bounds { name: "one firing twice, undisturbed", disturbances: 0, ..SMALL },
    UNTIL_THE_CALL,
    Bounds { name: "one firing twice, one crash that loses the message", preemptions: 0, stalls: 0, losses: true, ..CALLS_ONCE },
    SMALL,
];

const TWO_CALLS: &str = "two calls of ours took effect";
const OPEN_CLAIM: &str = "a claim is open, its result is not marked as ours, and the target is free";
const FAILED_AND_TOOK_EFFECT: &str = "a record says that the rollback failed, and a call of ours took effect";
const BUSY_FOR_EVER: &str = "the target is busy, and nobody will ever end it";

/// What is wrong then: a bug that is found by something else was not understood.
const WRONG_THEN: [(Bug, &str); 9] = [
    (Bug::NoClaim, TWO_CALLS),
    (Bug::TombstoneLate, OPEN_CLAIM),
    (Bug::FreshByReadOnly, FAILED_AND_TOOK_EFFECT),
    (Bug::NoFreshness, FAILED_AND_TOOK_EFFECT),
    (Bug::NoQuietTime, FAILED_AND_TOOK_EFFECT),
    (Bug::ConcludeWithoutClosing, OPEN_CLAIM),
    (Bug::RetryPost, TWO_CALLS),
    (Bug::ClearEarly, OPEN_CLAIM),
    (Bug::NoSweep, BUSY_FOR_EVER),
];

#[test]
fn each_bug_of_the_protocol_is_found() {
    assert_eq!(WRONG_THEN.map(|(bug, _)| bug), Bug::OF_THE_PROTOCOL);
    for (bug, wrong_then) in WRONG_THEN {
        let (bounds, found) = find(bug, &SEARCHED).unwrap_or_else(|| panic!("{} ({}) was not found", bug.name(), bug.says()));
        assert_eq!(found.why, wrong_then, "{}", bug.name());
        println!("{}: {}\n  in the world: {}; after {} states", bug.name(), found.why, bounds.name, found.states);
        println!("{}choices: {:?}\n", found.trail, found.choices);
    }
}

#[test]
#[ignore = "takes minutes; .ci/full runs it"]
fn other_bugs_that_a_small_world_shows_are_found() {
    let found: Vec<&str> = Bug::ALL
        .into_iter()
        .filter(|bug| !Bug::OF_THE_PROTOCOL.contains(bug))
        .filter_map(|bug| {
            let (bounds, found) = find(bug, &SEARCHED)?;
            println!(
                "{}: {} in the world: {}; after {} states\n{}",
                bug.name(),
                found.why,
                bounds.name,
                found.states,
                found.trail
            );
            Some(bug.name())
        })
        .collect();
    assert_eq!(found, ["tombstone-missing", "busy-never-written", "claim-skipped"]);
}

#[test]
fn each_seeded_bug_has_a_name_and_a_sentence_of_its_own() {
    let names: BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    let sentences: BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.says()).collect();
    assert_eq!((names.len(), sentences.len()), (Bug::ALL.len(), Bug::ALL.len()));
    assert!(Bug::ALL.iter().all(|bug| Bug::named(bug.name()) == Some(*bug)));
    let (driven, _): (Vec<Bug>, Vec<Bug>) = Bug::ALL.iter().partition(|bug| !bug.sweeps() || bug.completes_before_handling());
    assert_eq!(driven, [Bug::NoSweep, Bug::CompleteBeforeStore]);
    let world = World::new();
    let wrong = Bug::NoFreshness.put_into(&world.ports);
    world.advance(jiff::SignedDuration::from_mins(1));
    assert_eq!((wrong.clock.monotonic().as_secs(), world.ports.clock.monotonic().as_secs()), (0, 60));
}
