//! Clocks for the demo, drills and tests: one that runs faster, one that runs by hand.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::ports::Clock;

/// Time that runs `scale` times as fast as real time, from an origin on.
///
/// Two processes with the same setting, origin included, agree on the time.
#[derive(Debug)]
pub struct ScaledClock {
    scale: f64,
    origin: Timestamp,
    started: Instant,
}

/// What is wrong with the setting of a scaled clock, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClockSettingProblem(String);

/// Slower than this, a bounded wait would not end; faster, a request takes hours.
const SCALE_MIN: f64 = 0.01;
const SCALE_MAX: f64 = 100_000.0;

impl ScaledClock {
    /// Reads `SCALE` or `SCALE@ORIGIN`, such as `60` or `60@2026-11-25T10:00:00Z`. Without an origin it is this moment.
    pub fn from_setting(text: &str) -> Result<Self, ClockSettingProblem> {
        let text = text.trim();
        let (scale, origin) = match text.split_once('@') {
            Some((scale, origin)) => (scale.trim(), Some(origin.trim())),
            None => (text, None),
        };
        let number: f64 = scale.parse().map_err(|_| {
            ClockSettingProblem(format!(
                "`{scale}` is not a number of virtual seconds per real second; write for example `60` or `60@2026-11-25T10:00:00Z`"
            ))
        })?;
        if !(SCALE_MIN..=SCALE_MAX).contains(&number) {
            return Err(ClockSettingProblem(format!("the scale `{scale}` is not between {SCALE_MIN} and {SCALE_MAX}")));
        }
        let origin = match origin {
            None => real_now(),
            Some(written) => written.parse().map_err(|_| {
                ClockSettingProblem(format!(
                    "`{written}` after the `@` is not a time in UTC; write for example `2026-11-25T10:00:00Z`"
                ))
            })?,
        };
        Ok(Self { scale: number, origin, started: Instant::now() })
    }

    /// The setting that makes another process agree with this clock.
    pub fn setting(&self) -> String {
        format!("{}@{}", self.scale, self.origin)
    }

    /// What this clock shows when a real clock shows `real`; held at the ends of what a [`Timestamp`] can say.
    pub fn at(&self, real: Timestamp) -> Timestamp {
        let real_seconds = real.duration_since(self.origin).as_secs_f64();
        let Ok(elapsed) = SignedDuration::try_from_secs_f64(real_seconds * self.scale) else {
            return if real_seconds < 0.0 { Timestamp::MIN } else { Timestamp::MAX };
        };
        self.origin.checked_add(elapsed).unwrap_or(if elapsed.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
    }
}

#[async_trait::async_trait]
impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        self.at(real_now())
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed().mul_f64(self.scale)
    }

    async fn sleep(&self, duration: Duration) {
        let real = Duration::try_from_secs_f64(duration.as_secs_f64() / self.scale).unwrap_or(Duration::MAX);
        tokio::time::sleep(real).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "this is a clock")]
fn real_now() -> Timestamp {
    Timestamp::now()
}

/// Time that stands until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    time: Mutex<ManualTime>,
    moved: Notify,
    sleep_advances: bool,
}

#[derive(Debug, Clone, Copy)]
struct ManualTime {
    now: Timestamp,
    monotonic: Duration,
}

impl ManualClock {
    /// Stands at `now`; a sleep returns once the clock was advanced far enough.
    pub fn at(now: Timestamp) -> Self {
        Self { time: Mutex::new(ManualTime { now, monotonic: Duration::ZERO }), moved: Notify::new(), sleep_advances: false }
    }

    /// Stands at `now`; a sleep advances the clock itself and returns at once.
    pub fn that_advances_on_sleep(now: Timestamp) -> Self {
        Self { sleep_advances: true, ..Self::at(now) }
    }

    /// Moves wall and monotonic time on, and ends the sleeps that are due.
    pub fn advance(&self, by: Duration) {
        {
            let mut time = self.lock();
            time.monotonic = time.monotonic.saturating_add(by);
            time.now = SignedDuration::try_from(by).ok().and_then(|by| time.now.checked_add(by).ok()).unwrap_or(Timestamp::MAX);
        }
        self.moved.notify_waiters();
    }

    /// Sets the wall clock. Forward takes monotonic time along; backward is a corrected wall clock, and monotonic time stands.
    pub fn set(&self, now: Timestamp) {
        {
            let mut time = self.lock();
            let forward = Duration::try_from(now.duration_since(time.now)).unwrap_or(Duration::ZERO);
            time.monotonic = time.monotonic.saturating_add(forward);
            time.now = now;
        }
        self.moved.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, ManualTime> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    async fn sleep(&self, duration: Duration) {
        if self.sleep_advances {
            self.advance(duration);
            tokio::task::yield_now().await;
            return;
        }
        let due = self.monotonic().saturating_add(duration);
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Registered before the look, or a move in between would be missed.
            moved.as_mut().enable();
            if self.monotonic() >= due {
                return;
            }
            moved.await;
        }
    }
}
