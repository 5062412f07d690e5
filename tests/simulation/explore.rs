//! Bugs that are put in on purpose, and what finds them.

use std::collections::BTreeSet;

use crate::support::{seeded::Bug, world::World};

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
