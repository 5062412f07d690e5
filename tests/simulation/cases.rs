//! The simulation as a test: some thousand timelines, the seeds that once failed, and bugs that must be caught.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::timeline::{
    bugs::{AnyBug, caught_alone_by, caught_by},
    checkers::Invariant,
    counts::Kind,
    hunt::{hunt, replay_command, shrink},
    run::{Options, run},
};

/// Seeds from here on.
const TIMELINES: u64 = 2_000;

/// Within so many timelines a bug must be caught.
const CAUGHT_WITHIN: u64 = 800;

/// What some thousand timelines may lack.
const RARE: [Kind; 1] = [Kind::CallBusy];

/// Timelines that once broke an invariant, and why.
const REGRESSIONS: &[(u64, &str)] = &[
    (7_526, "a sender that had stood still wrote over how its rollback had ended meanwhile"),
    (8_527, "the same, on another platform"),
    (18_375, "the same, after a death"),
    (1_245, "a person did the same swap while ours was on its way: ours undid it, and the target was free"),
    (120_923, "the same, after longer"),
    (1_120_412, "whoever had stood still freed a target that somebody else had left to a person meanwhile"),
    (1_147_772, "the same, on another platform"),
    (1_166_111, "a sender that had stood still sent, although the target had been left to a person: the claim was open"),
    (1_144_300, "a message was parked, its process died before it told, and the next delivery was not parked any more"),
    (105_384, "a firing was never decided: its message and the wake-up that a copy left had become dead letters"),
    (457_848, "whoever was overtaken while it looked closed the claim of the other one's call, and told it as failed"),
    (954_594, "the same, on another platform"),
    (683_099, "a person did the same as our call, which undid it: our result was not marked, and was taken back the next time"),
    (837_159, "without a policy, the service that was rolled back was measured instead of the one that had alerted"),
    (388_024, "a record that was attached and undecided when its process died was on no waiting list, and its wake-up got lost"),
    (504_754, "no fault but the checker's: a message was told of, its process died, and it was parked for another reason"),
    (441_706, "no fault but the end's: it came before an instance that stood still had swept"),
    (560_559, "what an unanswered call to a pipeline had begun ended after the quiet time, and was not marked as ours"),
    (667_630, "the same, with a call that was turned away before"),
    (401_433, "no fault but the checker's: without a policy nobody looks for lost alerts"),
    (109_291, "a decision was stored and its telling failed; when the message came again, there was nothing new to decide"),
];

fn threads() -> usize {
    thread::available_parallelism().map_or(2, NonZeroUsize::get)
}

#[test]
fn nothing_breaks_in_two_thousand_timelines() {
    let options = Options::default();
    let haul = hunt(0..TIMELINES, threads(), &options, 1, |_| {});
    if let Some((seed, broken)) = haul.broken.first_key_value() {
        let (smallest, told) = shrink(*seed, &options, broken);
        panic!(
            "invariant {}: {}\n{}\nagain: {}",
            broken.invariant,
            broken.says,
            told.trace.join("\n"),
            replay_command(*seed, &smallest)
        );
    }
    // A world in which nothing happens proves nothing.
    for kind in Kind::ALL.iter().filter(|kind| !RARE.contains(kind)) {
        assert!(haul.counts.of(*kind) > 0, "in {TIMELINES} timelines: no {}", kind.says().trim());
    }
}

#[test]
fn the_same_seed_tells_the_same_timeline() {
    let traced = Options { traced: true, ..Options::default() };
    for seed in 0..40 {
        let (first, second) = (run(seed, &traced), run(seed, &traced));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        let differ = first.trace.iter().zip(&second.trace).find(|(one, other)| one != other);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
    }
}

#[test]
fn what_once_broke_holds() {
    for (seed, why) in REGRESSIONS {
        let told = run(*seed, &Options::default());
        assert_eq!(told.broken, None, "seed {seed}, kept because {why}");
    }
}

#[test]
fn each_invariant_alone_catches_some_bug() {
    for invariant in Invariant::ALL {
        assert!(caught_alone_by(invariant).is_some(), "no bug is caught by {invariant} alone");
    }
}

#[test]
fn each_bug_is_caught_by_its_checker() {
    let bugs = AnyBug::all();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    is_caught(*bug);
                }
            });
        }
    });
}

fn is_caught(bug: AnyBug) {
    assert_eq!(AnyBug::named(bug.name()), Some(bug));
    let options = Options { bug: Some(bug), ..Options::default() };
    let haul = hunt(0..CAUGHT_WITHIN, 1, &options, 1, |_| {});
    let Some((seed, broken)) = haul.broken.first_key_value() else {
        panic!("`{}` ({}) was not caught in {CAUGHT_WITHIN} timelines", bug.name(), bug.says());
    };
    assert!(
        caught_by(bug).contains(&broken.invariant),
        "`{}` was caught by {} in seed {seed}: {}",
        bug.name(),
        broken.invariant,
        broken.says
    );
}
