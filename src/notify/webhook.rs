//! Any receiver of JSON: the notice as it is.

use serde_json::{Value, json};

use super::message;
use crate::ports::Notice;

/// Keys: `product`, `kind`, `title`, `text`, `record` (null without a record).
pub(super) fn body(notice: &Notice) -> Value {
    json!({
        "product": "backout",
        "kind": message::kind_word(notice.kind),
        "title": notice.title,
        "text": notice.text,
        "record": notice.record,
    })
}
