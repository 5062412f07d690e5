//! How long to wait before the next try, and whether there is news to tell.

use std::time::Duration;

use uuid::Uuid;

use crate::ports::{PortError, PortErrorKind};

/// Between two tries where only a person can help: a right or a queue is missing.
const PERSON_PAUSE: Duration = Duration::from_mins(1);

const AWAY_PAUSE_MIN: Duration = Duration::from_secs(1);
const AWAY_PAUSE_MAX: Duration = Duration::from_mins(1);

/// The longest pause that a queue can ask for.
const ASKED_PAUSE_MAX: Duration = Duration::from_mins(5);

const RETURN_PAUSE_MIN: Duration = Duration::from_secs(5);
const RETURN_PAUSE_MAX: Duration = Duration::from_mins(5);

/// What is wrong with receiving from one queue at the moment.
#[derive(Debug, Default)]
pub struct ReceiveTrouble {
    since_tries: u32,
    told: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Throttled, or not there at the moment.
    Away,
    QueueMissing,
    Denied,
    Wrong,
}

impl ReceiveTrouble {
    /// The pause after a failed try. `true`: it is told for the first time.
    pub fn failed(&mut self, error: &PortError) -> (Duration, bool) {
        let kind = match error.kind {
            PortErrorKind::Transient | PortErrorKind::Throttled => Kind::Away,
            PortErrorKind::NotFound => Kind::QueueMissing,
            PortErrorKind::Denied => Kind::Denied,
            PortErrorKind::Invalid => Kind::Wrong,
        };
        let pause = match kind {
            Kind::Away => doubled(AWAY_PAUSE_MIN, self.since_tries, AWAY_PAUSE_MAX)
                .max(error.retry_after.unwrap_or_default().min(ASKED_PAUSE_MAX)),
            Kind::QueueMissing | Kind::Denied | Kind::Wrong => PERSON_PAUSE,
        };
        self.since_tries = self.since_tries.saturating_add(1);
        (longer_by_chance(pause), self.told.replace(kind) != Some(kind))
    }

    /// Receiving works. `true`: it did not before.
    pub fn over(&mut self) -> bool {
        self.since_tries = 0;
        self.told.take().is_some()
    }
}

/// How long a message that could not be handled is held before it is given back: 5 s after its first delivery, then twice as
/// long each time, up to 5 min. Ten deliveries so take about twenty minutes.
pub fn before_return(delivery_count: u32) -> Duration {
    doubled(RETURN_PAUSE_MIN, delivery_count.saturating_sub(1), RETURN_PAUSE_MAX)
}

fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(max)
}

/// By up to a half, so that receivers which failed together do not come back together.
fn longer_by_chance(pause: Duration) -> Duration {
    let chance = Uuid::new_v4().as_bytes()[0];
    pause + pause.mul_f64(f64::from(chance) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: PortErrorKind, retry_after: Option<u64>) -> PortError {
        PortError { retry_after: retry_after.map(Duration::from_secs), ..PortError::new("receive", kind, "composed") }
    }

    fn within(pause: Duration, seconds: u64) -> bool {
        let least = Duration::from_secs(seconds);
        least <= pause && pause <= least.mul_f64(1.5)
    }

    #[test]
    fn pauses_grow_to_a_minute_and_are_told_once() {
        let mut trouble = ReceiveTrouble::default();
        assert!(!trouble.over());
        let mut told = Vec::new();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let (pause, news) = trouble.failed(&error(PortErrorKind::Transient, None));
            assert!(within(pause, seconds), "{pause:?} for {seconds} s");
            told.push(news);
        }
        assert_eq!(told, [true, false, false, false, false, false, false, false]);
        assert!(trouble.over());
        assert!(!trouble.over());
        let (pause, news) = trouble.failed(&error(PortErrorKind::Transient, None));
        assert!(within(pause, 1) && news, "{pause:?}");
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept_within_reason() {
        let pause = |retry_after| ReceiveTrouble::default().failed(&error(PortErrorKind::Throttled, Some(retry_after))).0;
        assert!(within(pause(17), 17) && within(pause(0), 1) && within(pause(86_400), 300));
    }

    #[test]
    fn what_needs_a_person_is_tried_each_minute_and_each_kind_is_told() {
        let mut trouble = ReceiveTrouble::default();
        let kinds = [PortErrorKind::NotFound, PortErrorKind::NotFound, PortErrorKind::Denied, PortErrorKind::Invalid];
        let told = kinds.map(|kind| {
            let (pause, news) = trouble.failed(&error(kind, None));
            assert!(within(pause, 60), "{pause:?}");
            news
        });
        assert_eq!(told, [true, false, true, true]);
    }

    #[test]
    fn ten_deliveries_take_about_twenty_minutes() {
        let seconds: Vec<u64> = (1..=10).map(|delivery| before_return(delivery).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]);
        assert_eq!(before_return(u32::MAX).as_secs(), 300);
    }
}
