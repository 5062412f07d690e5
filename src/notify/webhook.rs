//! Any receiver of JSON: the whole notice. It may be shown to people anywhere, so what deceives them is left out here too.

use serde_json::{Value, json};

use super::message;
use crate::{
    domain::printable::{printable, printable_lines},
    ports::Notice,
};

/// Keys: `product`, `kind`, `title`, `text`, `record` (null without a record).
pub(super) fn body(notice: &Notice) -> Value {
    json!({
        "product": "backout",
        "kind": message::kind_word(notice.kind),
        "title": printable(&notice.title),
        "text": printable_lines(&notice.text),
        "record": notice.record,
    })
}
