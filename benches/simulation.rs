//! `cargo sim`: as many timelines of `tests/simulation` as wanted, on all cores; or one again, told line by line.
//!
//! Ends with 1 as soon as a timeline broke an invariant, and says how to see that one again.

#[path = "../tests/simulation/timeline/mod.rs"]
mod timeline;

#[path = "../tests/support"]
#[expect(dead_code, reason = "other tests use more of it")]
mod support {
    pub mod fake_alerts;
    pub mod kept_log;
    pub mod leaks;
    pub mod policy;
    pub mod seeded;
}

use std::{
    io::Write as _,
    num::NonZeroUsize,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use timeline::{
    bugs::{AnyBug, caught_alone_by, caught_by},
    checkers::{Broken, Invariant},
    counts::{Counts, Kind},
    hunt::{hunt, replay_command, shrink},
    run::{Options, run},
    story::Part,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs timelines of the deterministic simulation.
#[derive(Parser)]
#[command(name = "cargo sim")]
struct Arguments {
    /// How many timelines.
    #[arg(default_value_t = 10_000)]
    timelines: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Worlds at a time, each on a thread of its own [default: all cores].
    #[arg(long)]
    threads: Option<usize>,
    /// Runs this one only, and prints everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Leaves out lines of the story, by number.
    #[arg(long, value_delimiter = ',')]
    without: Vec<usize>,
    /// Parts of the weather that are calm.
    #[arg(long, value_delimiter = ',', value_parser = part)]
    still: Vec<Part>,
    /// Puts a bug between the handlers and their ports.
    #[arg(long, value_parser = bug)]
    bug: Option<AnyBug>,
    /// Tries every bug, and says which invariant catches it and where.
    #[arg(long)]
    bugs: bool,
    /// Goes on after failures, and lists them all.
    #[arg(long)]
    keep_going: bool,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn part(name: &str) -> Result<Part, String> {
    Part::ALL.into_iter().find(|part| part.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Part::ALL.iter().map(|part| part.name()).collect();
        format!("one of {} is expected", names.join(", "))
    })
}

fn bug(name: &str) -> Result<AnyBug, String> {
    AnyBug::named(name).ok_or_else(|| {
        let names: Vec<&str> = AnyBug::all().into_iter().map(AnyBug::name).collect();
        format!("one of {} is expected", names.join(", "))
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options =
        Options { traced: false, without: arguments.without.clone(), still: arguments.still.clone(), bug: arguments.bug };
    if cfg!(debug_assertions) {
        println!("NOTE: not an optimised build; the figures mean nothing.");
    }
    if arguments.bugs {
        return bugs(&arguments);
    }
    match arguments.seed {
        Some(seed) => one(seed, &options),
        None => many(&arguments, &options),
    }
}

fn one(seed: u64, options: &Options) -> ExitCode {
    let told = run(seed, &Options { traced: true, ..options.clone() });
    for line in &told.trace {
        println!("{line}");
    }
    println!("seed {seed}, digest {:016x}", told.digest);
    match told.broken {
        None => {
            println!("nothing broke");
            ExitCode::SUCCESS
        }
        Some(broken) => {
            println!("BROKEN invariant {}: {}", broken.invariant, broken.says);
            ExitCode::FAILURE
        }
    }
}

fn many(arguments: &Arguments, options: &Options) -> ExitCode {
    let threads = threads(arguments);
    let seeds = arguments.from..arguments.from + arguments.timelines;
    println!("{} timelines from seed {} on {threads} threads", arguments.timelines, arguments.from);
    let begun = Instant::now();
    let step = (arguments.timelines / 50).clamp(1, 5_000);
    let broken_max = if arguments.keep_going { usize::MAX } else { 1 };
    let haul = hunt(seeds, threads, options, broken_max, |done| {
        if done.is_multiple_of(step) {
            print!("\r{done} timelines, {:.0} a second", done as f64 / begun.elapsed().as_secs_f64());
            drop(std::io::stdout().flush());
        }
    });
    let lasted = begun.elapsed();
    println!("\r{:60}", "");
    report(&haul.counts, lasted, threads);
    println!("digest of all: {:016x}", haul.digest);
    let Some((seed, broken)) = haul.broken.first_key_value() else {
        println!("nothing broke");
        return ExitCode::SUCCESS;
    };
    for (seed, broken) in haul.broken.iter().take(40) {
        println!("seed {seed} broke {}: {}", broken.invariant, broken.says);
    }
    println!("{} timelines broke an invariant", haul.broken.len());
    if !arguments.keep_going {
        failure(*seed, broken, options);
    }
    ExitCode::FAILURE
}

fn bugs(arguments: &Arguments) -> ExitCode {
    let mut all = true;
    for bug in AnyBug::all() {
        let options = Options { bug: Some(bug), ..Options::default() };
        let haul = hunt(arguments.from..arguments.from + arguments.timelines, threads(arguments), &options, 1, |_| {});
        let caught = haul.broken.first_key_value();
        all &= caught.is_some_and(|(_, broken)| caught_by(bug).contains(&broken.invariant));
        println!("{}: {}", bug.name(), bug.says());
        match caught {
            Some((seed, broken)) => println!("    seed {seed}, invariant {}: {}", broken.invariant, broken.says),
            None => println!("    NOT CAUGHT in {} timelines", arguments.timelines),
        }
    }
    for invariant in Invariant::ALL {
        let alone = caught_alone_by(invariant);
        all &= alone.is_some();
        println!("{invariant} alone catches {}", alone.map_or("NO BUG", AnyBug::name));
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn threads(arguments: &Arguments) -> usize {
    arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

fn report(counts: &Counts, lasted: Duration, threads: usize) {
    for kind in Kind::ALL {
        println!("{:>12}  {}", counts.of(*kind), kind.says());
    }
    let seconds = lasted.as_secs_f64();
    let a_core = |count: u64| count as f64 / seconds / threads as f64;
    println!(
        "{seconds:.1} s: {:.0} timelines a second; {:.0} messages and {:.0} timer ticks a second a core",
        counts.of(Kind::Timeline) as f64 / seconds,
        a_core(counts.of(Kind::Message)),
        a_core(counts.of(Kind::Tick))
    );
}

fn failure(seed: u64, broken: &Broken, options: &Options) {
    println!("\nBROKEN invariant {}\n{}\nmaking it smaller ...", broken.invariant, broken.says);
    let (smallest, told) = shrink(seed, options, broken);
    for line in &told.trace {
        println!("{line}");
    }
    println!("\nseed {seed}: invariant {}: {}", broken.invariant, broken.says);
    println!("the whole story:     {}", replay_command(seed, options));
    println!("what it needs of it: {}", replay_command(seed, &smallest));
}
