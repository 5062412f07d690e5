//! Teams, through a Workflows webhook ("Post to a channel when a webhook request is received"): a message with one Adaptive Card.

use serde_json::{Value, json};

use super::message;
use crate::{domain::policy::NoticeKind, ports::Notice};

/// Teams refuses messages above 28 KB; a character takes up to 4 bytes.
const TEXT_CHARACTERS_MAX: usize = 4_000;
const LINES_MAX: usize = 60;

/// Names in a card may come from an alert. A `TextRun` is shown as it is; a `TextBlock` would read it as Markdown, links and
/// mentions included.
pub(super) fn body(notice: &Notice) -> Value {
    let heading = format!("{}: {}", message::kind_word(notice.kind), message::title(notice));
    let mut rows = vec![row(&json!({
        "type": "TextRun", "text": heading, "weight": "Bolder", "size": "Medium", "color": color(notice.kind)
    }))];
    let mut lines = message::lines(notice, TEXT_CHARACTERS_MAX);
    lines.retain(|line| !line.trim().is_empty());
    let left_out = lines.len().saturating_sub(LINES_MAX);
    rows.extend(lines.into_iter().take(LINES_MAX).map(|line| row(&json!({ "type": "TextRun", "text": line }))));
    if left_out > 0 {
        rows.push(row(&json!({ "type": "TextRun", "text": "…", "isSubtle": true })));
    }
    if let Some(pointer) = message::pointer(notice) {
        rows.push(row(&json!({ "type": "TextRun", "text": pointer, "isSubtle": true, "fontType": "Monospace" })));
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": rows
            }
        }]
    })
}

fn row(run: &Value) -> Value {
    json!({ "type": "RichTextBlock", "inlines": [run] })
}

fn color(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Page => "Attention",
        NoticeKind::Propose => "Warning",
        NoticeKind::Act => "Accent",
        NoticeKind::Hold | NoticeKind::Ignore => "Default",
    }
}
