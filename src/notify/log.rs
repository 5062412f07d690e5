//! The log of this process: one event a notice, at the level of its outcome.

use super::message;
use crate::{domain::policy::NoticeKind, ports::Notice};

/// Cannot fail, so with this channel every outcome is told.
pub(super) fn write(notice: &Notice) {
    let kind = message::kind_word(notice.kind);
    let record = notice.record.as_deref().unwrap_or_default();
    let title = message::title(notice);
    let text = message::lines(notice, 8_000).join(" | ");
    match notice.kind {
        NoticeKind::Page => {
            tracing::error!({ notice.kind = kind, record.id = record, notice.text = text }, "{kind}: {title}");
        }
        NoticeKind::Act | NoticeKind::Propose | NoticeKind::Hold | NoticeKind::Ignore => {
            tracing::info!({ notice.kind = kind, record.id = record, notice.text = text }, "{kind}: {title}");
        }
    }
}
