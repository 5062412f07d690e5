//! Resource ids and names as parts of a URL.

use std::fmt::Write as _;

use crate::domain::resource_id::ResourceId;

/// The path of a resource, each segment percent-encoded: `/subscriptions/.../sites/checkout`.
pub fn resource_path(id: &ResourceId) -> String {
    id.as_written().split('/').map(encoded).collect::<Vec<_>>().join("/")
}

/// `text` as one path segment or query value: all but RFC 3986's unreserved characters encoded.
///
/// The segments `.` and `..` have no encoding that a URL parser would keep; [`super::resource_manager::ResourceManager`]
/// refuses paths which the parser changes.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
