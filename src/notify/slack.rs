//! Slack, through an incoming webhook.

use serde_json::{Value, json};

use super::message;
use crate::ports::Notice;

/// Slack advises to stay below 4,000 characters.
const TEXT_CHARACTERS_MAX: usize = 3_000;

pub(super) fn body(notice: &Notice) -> Value {
    let mut lines = vec![format!("{}: {}", message::kind_word(notice.kind), message::title(notice))];
    lines.extend(message::lines(notice, TEXT_CHARACTERS_MAX));
    lines.extend(message::pointer(notice));
    // `mrkdwn: false` shows the text as it is; names from alerts are no formatting. Neither do they unfurl.
    json!({ "text": escaped(&lines.join("\n")), "mrkdwn": false, "unfurl_links": false, "unfurl_media": false })
}

/// `&`, `<` and `>` are the only characters with a meaning beyond formatting: `<!channel>`, `<@U123>`, links.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
