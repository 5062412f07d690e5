//! Time, which the pure parts only ever receive as a value.

use std::time::Duration;

use jiff::Timestamp;

/// Wall and monotonic time. In the demo both run faster, together.
#[async_trait::async_trait]
pub trait Clock: Send + Sync {
    /// Wall-clock time in UTC.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment of this process; never goes back. Freshness of a claim is measured by it.
    fn monotonic(&self) -> Duration;

    /// Returns when `duration` of this clock has passed. Only for waits that are bounded and short.
    async fn sleep(&self, duration: Duration);
}
