//! The words that all channels share. Titles and texts hold names from alerts, so nothing in them is trusted.

use crate::{
    domain::{policy::NoticeKind, printable::printable},
    ports::Notice,
};

/// The outcome in a word.
pub(super) fn kind_word(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Act => "act",
        NoticeKind::Propose => "propose",
        NoticeKind::Hold => "hold",
        NoticeKind::Page => "page",
        NoticeKind::Ignore => "ignore",
    }
}

/// One line, so that no name can begin a line of its own.
pub(super) fn title(notice: &Notice) -> String {
    clipped(&printable(&notice.title), 300)
}

/// The lines of the text, at most `characters_max` in all.
pub(super) fn lines(notice: &Notice, characters_max: usize) -> Vec<String> {
    clipped(&notice.text, characters_max).lines().map(printable).collect()
}

/// How to read on, if there is a record.
pub(super) fn pointer(notice: &Notice) -> Option<String> {
    notice.record.as_ref().map(|record| format!("backout show {record}"))
}

/// The text, or its beginning and an ellipsis.
pub(super) fn clipped(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(characters_max.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}
