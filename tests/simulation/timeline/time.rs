//! Virtual time: microseconds since the beginning of every timeline.

use jiff::Timestamp;

pub type Micros = u64;

pub const MILLISECOND: Micros = 1_000;
pub const SECOND: Micros = 1_000_000;
pub const MINUTE: Micros = 60 * SECOND;
pub const HOUR: Micros = 60 * MINUTE;

/// 2026-03-02T03:00:00Z, when everybody sleeps.
const BEGINNING: i64 = 1_772_420_400_000_000;

/// The true time, as a platform writes it.
pub fn timestamp(at: Micros) -> Timestamp {
    skewed(at, 0)
}

/// As somebody reads it whose clock is off.
pub fn skewed(at: Micros, skew: i64) -> Timestamp {
    Timestamp::from_microsecond(BEGINNING + i64::try_from(at).unwrap_or(i64::MAX / 4) + skew).unwrap_or(Timestamp::MAX)
}

/// The true time that a platform wrote; before the beginning: 0.
pub fn micros(at: Timestamp) -> Micros {
    u64::try_from(at.as_microsecond() - BEGINNING).unwrap_or(0)
}

/// `03:41:07.250`, for a trace.
pub fn clock_face(at: Micros) -> String {
    timestamp(at).strftime("%H:%M:%S%.3f").to_string()
}
