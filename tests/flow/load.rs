//! A storm of alerts over the real handler: nothing is lost, nothing doubled, nothing called. `cargo bench --bench load` has the
//! large one, with figures.

use std::sync::Arc;

use backout::{local::sqlite_store::SqliteStore, ports::StateStore};

use crate::support::load::{Crowd, Load, assert_right, kept};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_hundred_alerts_at_once_each_has_one_record_and_none_leads_to_a_call() {
    let crowd = Crowd::gather(Load { services: 40, firings: 300, side_by_side: 16, time_scale: 60 }).await;
    let (setting, file) = crowd.sqlite("state");
    let host = crowd.handler("all", &crowd.all(), &setting).await;
    crowd.break_some().await;
    let seen = crowd.storm(&host).await;
    let store: Arc<dyn StateStore> = Arc::new(SqliteStore::new(file));
    let kept = kept(&store).await;
    assert_eq!((seen.ids.len(), seen.copies), (300, 6));
    assert_right(&seen, &kept);
    assert_eq!((seen.latencies.len(), seen.memory.len()), (300, 10));
    assert!(seen.reads > 300 && seen.follow_ups <= 300 && !seen.cpu.is_zero() && !seen.took.is_zero());
}
