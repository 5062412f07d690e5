//! From bytes to JSON values: byte order mark, .NET-serialized strings, arrays.

use serde_json::Value;

use super::{dotnet_string, fields::Problem};

/// More elements than any sender batches: Event Grid and Azure Monitor send one.
const ELEMENTS_MAX: usize = 100;
/// A message that is larger than any sender's: an alert has 256 KB at most, an event of Event Grid 1 MB. JSON of many small parts takes a
/// hundred times its size in memory, so what a larger queue would take is not parsed.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

const ARRAY_DEPTH_MAX: usize = 2;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The elements of a body, arrays taken apart; at least one.
pub(super) fn elements(body: &[u8]) -> Result<Vec<Value>, Problem> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Problem::body(format!("has more than {BODY_BYTES_MAX} bytes; send one event at a time")));
    }
    let body = without_byte_order_mark(body);
    if dotnet_string::is_serialized(body) {
        let text = dotnet_string::decode(body)?;
        return elements_of_text(without_byte_order_mark(text.as_bytes()));
    }
    elements_of_text(body)
}

fn without_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

fn elements_of_text(body: &[u8]) -> Result<Vec<Value>, Problem> {
    if body.trim_ascii().is_empty() {
        return Err(Problem::body("is empty; send the event's JSON as the message's body"));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(Problem::body("is not UTF-8; send the event's JSON without compression and in UTF-8"));
    };
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::body(match error.classify() {
            serde_json::error::Category::Eof => "ends in the middle of the JSON; it was cut on the way".to_owned(),
            // Syntax errors and too deep nesting: the parser's own words name a place, never the text there.
            _ if error.to_string().starts_with("recursion limit") => "is nested too deeply (128 levels are allowed)".to_owned(),
            _ => format!("is not JSON at line {line}, column {column}"),
        })
    })?;
    let mut elements = Vec::new();
    take_apart(value, 0, &mut elements)?;
    if elements.is_empty() {
        return Err(Problem::body("is an empty array; send at least one event"));
    }
    Ok(elements)
}

fn take_apart(value: Value, depth: usize, elements: &mut Vec<Value>) -> Result<(), Problem> {
    let Value::Array(inner) = value else {
        if elements.len() == ELEMENTS_MAX {
            return Err(Problem::body(format!("holds more than {ELEMENTS_MAX} events; send them in smaller batches")));
        }
        elements.push(value);
        return Ok(());
    };
    if depth == ARRAY_DEPTH_MAX {
        return Err(Problem::body("holds arrays inside arrays inside arrays; send one array of events"));
    }
    inner.into_iter().try_for_each(|element| take_apart(element, depth + 1, elements))
}
