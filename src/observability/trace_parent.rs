//! The `traceparent` header of W3C Trace Context: accepted where it is valid, never required.

use axum::http::HeaderMap;

/// The header's value, if there is exactly one and it is valid.
pub fn trace_parent(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && is_valid(value)).then(|| value.to_owned())
}

/// The trace id of a valid `traceparent`: 32 hexadecimal digits.
pub fn trace_id(trace_parent: &str) -> &str {
    trace_parent.split('-').nth(1).unwrap_or_default()
}

/// `version-traceid-parentid-flags`, lower-case hexadecimal, neither id all zeros. Later versions may append parts.
fn is_valid(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, parent, flags, rest @ ..] = parts.as_slice() else {
        return false;
    };
    let hexadecimal =
        |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = |part: &str, digits: usize| hexadecimal(part, digits) && part.bytes().any(|b| b != b'0');
    hexadecimal(version, 2)
        && *version != "ff"
        && (rest.is_empty() || *version != "00")
        && id(trace, 32)
        && id(parent, 16)
        && hexadecimal(flags, 2)
}
