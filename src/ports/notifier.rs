//! Telling people.

use serde::{Deserialize, Serialize};

use super::PortError;
use crate::domain::policy::{NoticeKind, NotifyRule};

/// What is told. Holds no secret and no personal data but the approver's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    pub kind: NoticeKind,
    /// One line.
    pub title: String,
    /// Plain text of a few lines: the reason first, the rule ids after.
    pub text: String,
    /// Id of the record, for `backout show`.
    pub record: Option<String>,
}

#[async_trait::async_trait]
pub trait Notifier: Send + Sync {
    /// Tells `notice` through the channel of `rule`. Called twice: told twice. Fails without any effect on a rollback (V6).
    async fn tell(&self, notice: &Notice, rule: &NotifyRule) -> Result<(), PortError>;
}
