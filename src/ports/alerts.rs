//! Alerts as the monitoring service keeps them, whoever was told of them.

use jiff::Timestamp;

use super::PortError;
use crate::domain::alert::Alert;

/// One alert as it stands there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAlert {
    pub alert: Alert,
    /// A message that says so, as queue `alerts` takes it. Without personal data.
    pub message: Vec<u8>,
}

#[async_trait::async_trait]
pub trait Alerts: Send + Sync {
    /// Alerts of a subscription that fired or changed since `since`, the newest change first; of very many the newest. Reads only.
    ///
    /// Left out is what an operator keeps from being told (suppressed), and what can't be understood.
    async fn changed_since(&self, subscription: &str, since: Timestamp) -> Result<Vec<KeptAlert>, PortError>;
}
