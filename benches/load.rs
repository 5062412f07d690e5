//! Many alerts at once, and years of history: what becomes of them, and what they cost.
//!
//! `cargo bench --bench load` has 10,000 alerts on 1,000 services and 100,000 records behind it; `-- 2000` takes another number of
//! alerts, and `-- 5000 blobs` has them all over Azurite and nothing else. Fails where something is lost, doubled or called, and
//! where memory grows beyond [`GROWTH_MAX_KILOBYTES`]; never on speed, so each figure stands beside another one of the same
//! machine at about the same time.
//!
//! SQLite waits for the disk at each write. On a slow one `TMPDIR=/dev/shm` shows what is left without that.
//!
//! Linux only: CPU and memory come from `/proc`.

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use backout::{
    domain::alert::Severity,
    local::{memory_store::MemoryStore, sqlite_store::SqliteStore},
    ports::{Key, StateStore},
    process::documents::keys,
};
use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use jiff::SignedDuration;

use support::{
    azurite,
    counted::{Counted, Counts},
    load::{Crowd, Kept, Load, Seen, assert_right, kept},
    policy::{alert, policy, service},
    world::World,
};

const FIRINGS: usize = 10_000;
const SIDE_BY_SIDE: usize = 16;

/// Growth counts from this alert on; until then pools fill. A shorter run is not judged, and says so.
const WARM_AFTER: usize = 1_000;
/// Private memory that a handler may need beyond what it needs then.
const GROWTH_MAX_KILOBYTES: u64 = 8 * 1024;

/// Records with their receipts, of which half are one target's; and as many claims, parked bodies and notes.
const HISTORY: usize = 100_000;
/// Azurite takes a minute for a few thousand.
const HISTORY_IN_BLOBS: usize = 2_000;
const DECISIONS: usize = 200;

fn main() -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        println!("NOTE: not an optimised build; the figures mean nothing.");
    }
    let firings = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(FIRINGS);
    let only_blobs = std::env::args().any(|argument| argument == "blobs");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if only_blobs {
            let azurite = azurite::over_http().context("Azurite is not there")?;
            return Box::pin(storm("blobs in Azurite", load(firings, SIDE_BY_SIDE), Place::Blobs(azurite))).await.map(drop);
        }
        storms(firings).await?;
        Box::pin(histories(firings)).await
    })
}

async fn storms(firings: usize) -> anyhow::Result<()> {
    let few = firings.div_ceil(20).max(100);
    let alone = storm("sqlite, one at a time", load(few, 1), Place::Sqlite).await?;
    let many = storm("sqlite", load(firings, SIDE_BY_SIDE), Place::Sqlite).await?;
    println!("  against one at a time: {:.2} times the alerts a second", rate(&many) / rate(&alone));
    let Some(azurite) = azurite::over_http() else {
        println!("NOT MEASURED against Azurite, which is not there");
        return Ok(());
    };
    let blobs = storm("blobs in Azurite", load(firings.div_ceil(5), SIDE_BY_SIDE), Place::Blobs(azurite)).await?;
    println!("  against sqlite: {:.2} times the alerts a second", rate(&blobs) / rate(&many));
    Ok(())
}

fn load(firings: usize, side_by_side: usize) -> Load {
    Load { services: firings.div_ceil(10), firings, side_by_side, time_scale: 20 }
}

enum Place {
    Sqlite,
    Blobs(&'static azurite::Azurite),
}

async fn storm(name: &str, load: Load, place: Place) -> anyhow::Result<Seen> {
    let crowd = Crowd::gather(load).await;
    let (setting, store): (String, Arc<dyn StateStore>) = match place {
        Place::Sqlite => {
            let (setting, file) = crowd.sqlite("state");
            (setting, Arc::new(SqliteStore::new(file)))
        }
        Place::Blobs(azurite) => {
            let (setting, container) = azurite.setting_by_key();
            (setting, Arc::new(azurite::store(&container)))
        }
    };
    let host = crowd.handler("all", &crowd.all(), &setting).await;
    Box::pin(crowd.break_some()).await;
    let seen = Box::pin(crowd.storm(&host)).await;
    let kept = kept(&store).await;
    print_storm(name, load, &seen, &kept);
    assert_right(&seen, &kept);
    match seen.memory.iter().find(|(done, _)| *done >= WARM_AFTER).zip(seen.memory.last()) {
        Some((warm, last)) => {
            ensure!(last.1 <= warm.1 + GROWTH_MAX_KILOBYTES, "memory grew from {} to {} kB", warm.1, last.1);
        }
        None => println!("  NOT JUDGED: how memory grows after {WARM_AFTER} alerts"),
    }
    Ok(seen)
}

fn print_storm(name: &str, load: Load, seen: &Seen, kept: &Kept) {
    let count = seen.ids.len();
    println!(
        "{count} alerts on {} services, {} invocations at a time, state in {name}: {:.1} s, {:.0} a second",
        load.services,
        load.side_by_side,
        seen.took.as_secs_f64(),
        rate(seen)
    );
    println!(
        "  records {}, receipts {}, decisions {:?}, copies {}, calls {}",
        kept.ids.len(),
        kept.receipts,
        kept.decisions,
        kept.copies,
        seen.calls
    );
    println!(
        "  delivered again {}, put back {}, wake-ups {}, dead letters {}, parked {}",
        seen.delivered_again, seen.put_back, seen.follow_ups, seen.dead, kept.parked
    );
    let part = count.div_ceil(10);
    let (first, last) = (&seen.latencies[..part], &seen.latencies[count - part..]);
    let show = |name: &str, of: &[Duration]| {
        let at = |share: f64| milliseconds(percentile(of, share));
        println!("  {name:<14} median {:>7.1} ms   95 % {:>7.1} ms   99 % {:>7.1} ms", at(0.5), at(0.95), at(0.99));
    };
    show("all", &seen.latencies);
    show("first tenth", first);
    show("last tenth", last);
    println!("  last tenth against first: {:.2} at the median", ratio(percentile(last, 0.5), percentile(first, 0.5)));
    println!(
        "  CPU of the handler {:.2} ms an alert, {:.1} reads of the platform an alert, {:.1} kB a record",
        milliseconds(seen.cpu) / count as f64,
        seen.reads as f64 / count as f64,
        kept.record_bytes as f64 / count as f64 / 1_000.0
    );
    let memory: Vec<String> =
        seen.memory.iter().map(|(done, kilobytes)| format!("{done}: {:.1}", *kilobytes as f64 * 1_024.0 / 1e6)).collect();
    println!("  private memory in MB after so many alerts: {}", memory.join(", "));
}

async fn histories(firings: usize) -> anyhow::Result<()> {
    let count = HISTORY.min(firings * 10);
    let past = years(count).await?;
    let folder = tempfile::tempdir()?;
    let (empty, full) = (folder.path().join("empty.db"), folder.path().join("full.db"));
    let (empty, full_store) = (Arc::new(SqliteStore::new(empty)), Arc::new(SqliteStore::new(&full)));
    full_store.insert(&Key::new("first"), b"").await?;
    pour_into_file(&past, &full).await?;
    compare(&format!("sqlite, {count} records"), empty, full_store).await?;
    drop(past);
    let Some(azurite) = azurite::over_http() else { return Ok(()) };
    let count = HISTORY_IN_BLOBS.min(count);
    let past = years(count).await?;
    let (empty, full) = (azurite::store(&azurite.setting_by_key().1), azurite::store(&azurite.setting_by_key().1));
    let (empty, full): (Arc<dyn StateStore>, Arc<dyn StateStore>) = (Arc::new(empty), Arc::new(full));
    let writes: Vec<_> = all(&past)
        .await?
        .into_iter()
        .map(|(key, body)| {
            let full = full.clone();
            async move { full.insert(&key, &body).await.map(|_| ()) }.boxed()
        })
        .collect();
    stream::iter(writes).buffer_unordered(SIDE_BY_SIDE).try_collect::<Vec<()>>().await?;
    compare(&format!("blobs in Azurite, {count} records"), empty, full).await
}

/// A store after years, made by the process itself.
async fn years(count: usize) -> anyhow::Result<Arc<dyn StateStore>> {
    let world = world(Arc::new(MemoryStore::new()));
    let process = world.process();
    for number in 0..count {
        let mut firing = alert(&format!("old-{number}"), if number % 2 == 0 { "checkout" } else { "elsewhere" }, world.now());
        firing.severity = Severity::new(4);
        process.alert_received(firing, &world.policy).await?;
        world.advance(SignedDuration::from_secs(1));
        for kind in ["claims", "parked"] {
            world.ports.store.insert(&Key::new(format!("{kind}/old-{number}")), &[b'x'; 500]).await?;
        }
        let long_ago = world.now() - SignedDuration::from_hours(24 * 365);
        world.ports.store.insert(&keys::storm(long_ago, &number.to_string()), &[b'x'; 100]).await?;
    }
    Ok(world.ports.store)
}

fn world(store: Arc<dyn StateStore>) -> World {
    let mut world = World::with(policy(vec![service("checkout"), service("elsewhere")]));
    world.ports.store = store;
    world
}

async fn all(store: &Arc<dyn StateStore>) -> anyhow::Result<Vec<(Key, Vec<u8>)>> {
    let mut documents = Vec::new();
    for key in store.list("", None, usize::MAX).await? {
        let body = store.read(&key).await?.context("it is there")?.body;
        documents.push((key, body));
    }
    Ok(documents)
}

/// In one go: the store itself would wait for the disk at each.
async fn pour_into_file(past: &Arc<dyn StateStore>, file: &std::path::Path) -> anyhow::Result<()> {
    let mut connection = rusqlite::Connection::open(file)?;
    let transaction = connection.transaction()?;
    for (version, (key, body)) in all(past).await?.into_iter().enumerate() {
        let version = i64::try_from(version)? + 10;
        transaction.execute(
            "INSERT INTO documents (key, body, version) VALUES (?1, ?2, ?3)",
            rusqlite::params![key.as_str(), body, version],
        )?;
        transaction.execute("UPDATE counters SET value = ?1 WHERE name = 'document version'", [version])?;
    }
    Ok(transaction.commit()?)
}

/// The same alerts, by turns, over both.
async fn compare(name: &str, empty: Arc<dyn StateStore>, full: Arc<dyn StateStore>) -> anyhow::Result<()> {
    let mut sides = Vec::new();
    for store in [empty, full] {
        let counted = Counted::new(store);
        let world = world(Arc::<Counted>::clone(&counted));
        // After all that has happened.
        world.advance(SignedDuration::from_hours(48));
        sides.push((world, counted, Vec::new(), Counts::new()));
    }
    for number in 0..DECISIONS {
        for (world, counted, times, counts) in &mut sides {
            let mut firing = alert(&format!("new-{number}"), "checkout", world.now());
            firing.rule = Some(format!("rule-{number}"));
            let process = world.process();
            counted.take();
            let begun = Instant::now();
            process.alert_received(firing, &world.policy).await?;
            times.push(begun.elapsed());
            *counts = counted.take();
            world.advance(SignedDuration::from_mins(6));
        }
    }
    let [(_, _, empty, empty_counts), (_, _, full, full_counts)] = &sides[..] else { anyhow::bail!("there are two") };
    let calls =
        |counts: &Counts| -> Vec<(String, usize)> { counts.iter().map(|(what, (calls, _))| (what.clone(), *calls)).collect() };
    ensure!(calls(empty_counts) == calls(full_counts), "calls to the store: {empty_counts:?} against {full_counts:?}");
    let bytes = |counts: &Counts| counts.values().map(|(_, bytes)| bytes).sum::<usize>();
    println!("a decision in {name}, against an empty store (median of {DECISIONS})");
    println!(
        "  {:.2} ms against {:.2} ms, ratio {:.2}; {} calls each, {} bytes against {}",
        milliseconds(percentile(full, 0.5)),
        milliseconds(percentile(empty, 0.5)),
        ratio(percentile(full, 0.5), percentile(empty, 0.5)),
        calls(full_counts).iter().map(|(_, calls)| calls).sum::<usize>(),
        bytes(full_counts),
        bytes(empty_counts)
    );
    Ok(())
}

fn rate(seen: &Seen) -> f64 {
    seen.ids.len() as f64 / seen.took.as_secs_f64()
}

fn percentile(of: &[Duration], share: f64) -> Duration {
    let mut of = of.to_vec();
    of.sort_unstable();
    let counts = of.len() as f64 * share;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list that is there")]
    let place = counts as usize;
    of.get(place.min(of.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
