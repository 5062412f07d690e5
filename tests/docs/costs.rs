//! The page of costs counts what a sweep really asks of the store.

use std::{fs, path::Path, sync::Arc};

use crate::support::{
    counted::Counted,
    policy::{policy, service},
    town::Town,
};

#[tokio::test]
async fn the_page_counts_the_calls_of_an_idle_sweep() {
    let mut town = Town::of(policy(["basket", "checkout", "mail", "orders", "search"].map(service).to_vec())).await;
    let store = Counted::new(town.world.ports.store.clone());
    town.world.ports.store = Arc::<Counted>::clone(&store);
    let process = town.world.process();
    for _ in 0..2 {
        town.minutes_pass(5);
        store.take();
        process.sweep(&town.world.policy).await.unwrap();
    }
    let counts = store.take();
    let calls = |operation: &str| -> usize {
        counts.iter().filter(|(what, _)| what.starts_with(operation)).map(|(_, (calls, _))| calls).sum()
    };
    let (lists, reads, writes) = (calls("list"), calls("read"), calls("replace"));
    assert_eq!(lists + reads + writes, counts.values().map(|(calls, _)| calls).sum::<usize>(), "nothing else: {counts:?}");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/costs.md")).unwrap();
    for (name, count) in [("lists", lists), ("reads", reads), ("writes", writes)] {
        let row = format!("| state: {name} | 8,640 × {count} ");
        assert!(page.contains(&row), "the page has no `{row}`; an idle sweep asks: {counts:?}");
    }
}
