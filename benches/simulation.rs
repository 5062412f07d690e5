//! `cargo sim`.
#[path = "../tests/simulation/timeline/mod.rs"]
mod timeline;
#[path = "../tests/support"]
mod support {
    pub mod fake_alerts;
    pub mod policy;
}
fn main() {
    let n: u64 = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(1);
    let first: u64 = std::env::args().filter_map(|a| a.parse().ok()).nth(1).unwrap_or(0);
    let traced = std::env::args().any(|a| a == "--trace");
    let begin = std::time::Instant::now();
    let mut counts = timeline::counts::Counts::default();
    let mut fails = std::collections::BTreeMap::<String, Vec<(u64,String)>>::new();
    for seed in first..first + n {
        let told = timeline::run::run(seed, &timeline::run::Options { traced, ..Default::default() });
        counts.merge(&told.counts);
        if traced { for l in &told.trace { println!("{l}"); } println!("{:?}", told.broken); }
        if let Some(b) = told.broken { fails.entry(b.invariant.to_string()).or_default().push((seed, b.says)); }
    }
    for k in timeline::counts::Kind::ALL { println!("{:60} {}", k.says(), counts.of(*k)); }
    for (k, v) in &fails { println!("{k}: {}", v.len()); for (s, t) in v.iter().take(5) { println!("   {s}: {t}"); } }
    println!("{:?} for {n}", begin.elapsed());
}
