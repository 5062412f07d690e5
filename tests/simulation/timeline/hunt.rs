//! Many timelines, each on one thread at a time; and what a failure needs to happen.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::{
    checkers::Broken,
    counts::Counts,
    run::{Options, Told, run},
    story::{Part, Story},
};

/// What many timelines came to.
#[derive(Default)]
pub struct Haul {
    pub counts: Counts,
    /// By seed.
    pub broken: BTreeMap<u64, Broken>,
    pub digest: u64,
}

/// Runs the seeds over `threads` threads; ends early after `broken_max` failures. `progress` hears of each timeline that is done.
pub fn hunt(seeds: Range<u64>, threads: usize, options: &Options, broken_max: usize, progress: impl Fn(u64) + Sync) -> Haul {
    let (next, done, enough) = (AtomicU64::new(seeds.start), AtomicU64::new(0), AtomicBool::new(false));
    let haul = Mutex::new(Haul::default());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Haul::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || enough.load(Ordering::Relaxed) {
                        break;
                    }
                    let told = run(seed, options);
                    mine.counts.merge(&told.counts);
                    mine.digest ^= told.digest.wrapping_mul(seed | 1);
                    if let Some(broken) = told.broken {
                        let mut haul = haul.lock().unwrap();
                        haul.broken.insert(seed, broken);
                        enough.fetch_or(haul.broken.len() >= broken_max, Ordering::Relaxed);
                    }
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                }
                let mut haul = haul.lock().unwrap();
                haul.counts.merge(&mine.counts);
                haul.digest ^= mine.digest;
            });
        }
    });
    haul.into_inner().unwrap()
}

/// Leaves out what a failure does not need: parts of the weather first, then lines of the story, as long as the same invariant breaks.
pub fn shrink(seed: u64, options: &Options, broken: &Broken) -> (Options, Told) {
    let mut smallest = Options { traced: false, ..options.clone() };
    let still_breaks = |options: &Options| run(seed, options).broken.is_some_and(|now| now.invariant == broken.invariant);
    for part in Part::ALL {
        let mut candidate = smallest.clone();
        candidate.still.push(part);
        if still_breaks(&candidate) {
            smallest = candidate;
        }
    }
    for line in 0..Story::of(seed).lines.len() {
        if smallest.without.contains(&line) {
            continue;
        }
        let mut candidate = smallest.clone();
        candidate.without.push(line);
        if still_breaks(&candidate) {
            smallest = candidate;
        }
    }
    let told = run(seed, &Options { traced: true, ..smallest.clone() });
    (smallest, told)
}

/// The command that shows one timeline again.
pub fn replay_command(seed: u64, options: &Options) -> String {
    let mut command = format!("cargo sim --seed {seed}");
    let lines: Vec<String> = options.without.iter().map(ToString::to_string).collect();
    let still: Vec<&str> = options.still.iter().map(|part| part.name()).collect();
    for (name, list) in [("without", lines.join(",")), ("still", still.join(","))] {
        if !list.is_empty() {
            command.extend([" --", name, " ", list.as_str()]);
        }
    }
    if let Some(bug) = options.bug {
        command.extend([" --bug ", bug.name()]);
    }
    command
}
