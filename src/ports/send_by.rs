//! Until when a mutating call may leave this machine.

use std::{sync::Arc, time::Duration};

use super::Clock;

/// A moment of the monotonic clock after which a call that was decided before is not begun any more.
///
/// Whoever decides a call binds the work that leads to it; the clients that send such calls look at it when their connection stands,
/// which is after everything that can take long: reads, a token, a name, a handshake, and a process that was stopped in between.
/// From there to the first byte nothing waits. It travels with the task, since an HTTP client asks its connector for a
/// connection without saying for which request.
#[derive(Clone)]
pub struct SendBy {
    clock: Arc<dyn Clock>,
    until: Duration,
}

tokio::task_local! { static SEND_BY: SendBy; }

impl SendBy {
    pub fn within(clock: Arc<dyn Clock>, span: Duration) -> Self {
        let until = clock.monotonic().saturating_add(span);
        Self { clock, until }
    }

    /// Runs `work`, every call of which has to leave in time. In a task of its own it would not be bound.
    pub async fn bound<F: Future>(self, work: F) -> F::Output {
        SEND_BY.scope(self, work).await
    }

    /// Whether what runs now is too late to send a call. Work that nobody bound is never late.
    pub fn has_passed() -> bool {
        SEND_BY.try_with(|by| by.clock.monotonic() > by.until).unwrap_or(false)
    }
}
