//! Reads fields out of JSON objects that somebody else wrote; every refusal names the field by its path.
//!
//! Rules for all formats: names are compared without case, the exact spelling first; `null`, absent and blank are the
//! same; unknown fields are ignored; a field of the wrong type refuses the message. Deserializing into structs was left aside since
//! its errors repeat the value (which may be personal) and name the parent where a field is missing.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Format, Malformed, times};
use crate::domain::printable::deceives;

pub(super) const TEXT_CHARS_MAX: usize = 1024;
pub(super) const ENTRIES_MAX: usize = 64;

/// What is wrong with which field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    field: String,
    reason: String,
}

impl Problem {
    /// About the message as a whole.
    pub(super) fn body(reason: impl Into<String>) -> Self {
        Self { field: "body".to_owned(), reason: reason.into() }
    }

    pub(super) fn in_format(self, format: Option<Format>) -> Malformed {
        Malformed { format, field: self.field, reason: self.reason }
    }
}

/// A JSON object and where it was found.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    map: Cow<'a, Map<String, Value>>,
    path: String,
}

impl<'a> Object<'a> {
    pub(super) fn top(map: &'a Map<String, Value>) -> Self {
        Self { map: Cow::Borrowed(map), path: String::new() }
    }

    pub(super) fn problem(&self, key: &str, reason: impl Into<String>) -> Problem {
        Problem { field: self.path_of(key), reason: reason.into() }
    }

    pub(super) fn missing(&self, key: &str) -> Problem {
        self.problem(key, "is missing")
    }

    fn wrong_type(&self, key: &str, expected: &str, found: &Value) -> Problem {
        self.problem(key, format!("must be {expected}, but is {}", kind(found)))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let exact = self.map.get(key);
        let found = exact.or_else(|| self.map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value));
        found.filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The text of a field as it stands, for comparing only; `None` if it is no text.
    pub(super) fn raw_text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// True if the field is an object that has `inner`.
    pub(super) fn inner_has(&self, key: &str, inner: &str) -> bool {
        matches!(self.object(key), Ok(Some(object)) if object.has(inner))
    }

    pub(super) fn inner_text(&self, key: &str, inner: &str) -> Option<String> {
        self.object(key).ok()??.raw_text(inner).map(str::to_owned)
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Object<'_>>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Object { map: Cow::Borrowed(map), path: self.path_of(key) })),
            Some(other) => Err(self.wrong_type(key, "an object", other)),
        }
    }

    pub(super) fn required_object(&self, key: &str) -> Result<Object<'_>, Problem> {
        self.object(key)?.ok_or_else(|| self.missing(key))
    }

    /// The object of a free-form field, which some senders write as JSON inside a text; `None` for anything else.
    pub(super) fn object_or_json_text(&self, key: &str) -> Option<Object<'_>> {
        let map = match self.get(key)? {
            Value::Object(map) => Cow::Borrowed(map),
            Value::String(text) => Cow::Owned(serde_json::from_str(text).ok()?),
            _ => return None,
        };
        Some(Object { map, path: self.path_of(key) })
    }

    /// Objects of a list; `null` elements are skipped.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<Object<'_>>, Problem> {
        let mut objects = Vec::new();
        for (index, value) in self.list(key)? {
            let place = place(key, index);
            match value {
                Value::Object(map) => objects.push(Object { map: Cow::Borrowed(map), path: self.path_of(&place) }),
                other => return Err(self.wrong_type(&place, "an object", other)),
            }
        }
        Ok(objects)
    }

    /// Text for people: without control characters, cut to a bounded length.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(clean(text)),
            Some(other) => Err(self.wrong_type(key, "text", other)),
        }
    }

    /// Text that a number or a boolean may stand for, such as the numeric ids of GitHub.
    pub(super) fn scalar(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.get(key) {
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            _ => self.text(key),
        }
    }

    /// A name that must be whole to be right, so that it is refused rather than cut or cleaned.
    pub(super) fn identifier(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => self.whole(key, text),
            Some(other) => Err(self.wrong_type(key, "text", other)),
        }
    }

    pub(super) fn identifiers(&self, key: &str) -> Result<Vec<String>, Problem> {
        let mut found = Vec::new();
        for (index, value) in self.list(key)? {
            found.extend(self.whole(&place(key, index), self.text_in_list(key, index, value)?)?);
        }
        Ok(found)
    }

    /// Texts of a list as they stand, to be picked from.
    pub(super) fn raw_texts(&self, key: &str) -> Result<Vec<&str>, Problem> {
        self.list(key)?.map(|(index, value)| self.text_in_list(key, index, value)).collect()
    }

    pub(super) fn raw_lists(&self, key: &str) -> Result<Vec<&Vec<Value>>, Problem> {
        let mut lists = Vec::new();
        for (index, value) in self.list(key)? {
            match value {
                Value::Array(list) => lists.push(list),
                other => return Err(self.wrong_type(&place(key, index), "a list", other)),
            }
        }
        Ok(lists)
    }

    /// Every entry of the object itself as text; `null` entries are skipped. Numbers and booleans stand for their text.
    pub(super) fn entries(&self) -> Result<Vec<(String, String)>, Problem> {
        let mut found = Vec::new();
        for (name, value) in self.map.iter() {
            match value {
                Value::Null => {}
                Value::String(text) => found.push((name.clone(), text.clone())),
                Value::Number(_) | Value::Bool(_) => found.push((name.clone(), value.to_string())),
                other => return Err(self.wrong_type(&clean(name).unwrap_or_default(), "text", other)),
            }
        }
        Ok(found)
    }

    /// The operator's own properties: any value, those that are no text as their JSON.
    pub(super) fn properties(&self, key: &str, into: &mut BTreeMap<String, String>) -> Result<(), Problem> {
        let Some(object) = self.object(key)? else { return Ok(()) };
        for (name, value) in object.map.iter().filter(|(_, value)| !value.is_null()) {
            match value {
                Value::String(text) => keep(into, name, text),
                other => keep(into, name, &other.to_string()),
            }
        }
        Ok(())
    }

    /// RFC 3339; the year 1 stands for absent.
    pub(super) fn time(&self, key: &str) -> Result<Option<Timestamp>, Problem> {
        self.time_by(key, times::parse, "is no time; RFC 3339 is expected, such as `2026-03-01T12:00:00Z`")
    }

    /// RFC 3339 or one of the US forms that old alert schemas write.
    pub(super) fn legacy_time(&self, key: &str) -> Result<Option<Timestamp>, Problem> {
        self.time_by(key, times::parse_legacy, "is no time; RFC 3339 or a US date is expected, such as `3/22/2019 1:36:31 PM`")
    }

    fn time_by(&self, key: &str, parse: fn(&str) -> Option<times::Reading>, reason: &str) -> Result<Option<Timestamp>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => match parse(text) {
                Some(times::Reading::At(at)) if times::is_plausible(at) => Ok(Some(at)),
                Some(times::Reading::At(_)) => Err(self.problem(key, "is a time before the year 2000, or after 2099")),
                Some(times::Reading::Absent) => Ok(None),
                None => Err(self.problem(key, reason)),
            },
            Some(other) => Err(self.wrong_type(key, "a time", other)),
        }
    }

    /// A declaration that must be clear: true, false, or the text of either.
    pub(super) fn declared(&self, key: &str) -> Result<Option<bool>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "" => Ok(None),
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(self.problem(key, "must be true or false")),
            },
            Some(other) => Err(self.wrong_type(key, "true or false", other)),
        }
    }

    /// Elements that are not `null`, with their index.
    fn list(&self, key: &str) -> Result<impl Iterator<Item = (usize, &Value)>, Problem> {
        let list = match self.get(key) {
            None => &[],
            Some(Value::Array(list)) => list.as_slice(),
            Some(other) => return Err(self.wrong_type(key, "a list", other)),
        };
        Ok(list.iter().enumerate().filter(|(_, value)| !value.is_null()))
    }

    fn text_in_list<'v>(&self, key: &str, index: usize, value: &'v Value) -> Result<&'v str, Problem> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong_type(&place(key, index), "text", other)),
        }
    }

    fn whole(&self, key: &str, text: &str) -> Result<Option<String>, Problem> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(self.problem(key, format!("is longer than {TEXT_CHARS_MAX} characters")));
        }
        if text.chars().any(deceives) {
            return Err(self.problem(key, "holds a control character, or one that shows nothing"));
        }
        Ok(Some(text.to_owned()))
    }
}

/// Puts a name and its text into a bounded map; the first one of a name stays.
pub(super) fn keep(map: &mut BTreeMap<String, String>, name: &str, text: &str) {
    let (Some(name), text) = (clean(name), clean(text).unwrap_or_default()) else { return };
    if map.contains_key(&name) || map.len() == ENTRIES_MAX {
        return;
    }
    let text = if is_mail_address(&text) { ADDRESS_REMOVED.to_owned() } else { text };
    map.insert(name, text);
}

/// Stands where a dimension or property held somebody's sign-in name.
const ADDRESS_REMOVED: &str = "(address removed)";

/// Queries split by user name put people's addresses into dimensions.
fn is_mail_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let Some((host, top)) = domain.rsplit_once('.') else { return false };
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "._%+-#'".contains(c));
    plain(local) && plain(host) && top.len() >= 2 && top.chars().all(char::is_alphabetic)
}

/// Text without what deceives the eye and blanks around it, cut to [`TEXT_CHARS_MAX`]; `None` if nothing is left.
pub(super) fn clean(text: &str) -> Option<String> {
    let kept: Cow<'_, str> = if text.contains(deceives) { text.chars().filter(|c| !deceives(*c)).collect() } else { text.into() };
    let kept = kept.trim();
    let end = kept.char_indices().nth(TEXT_CHARS_MAX).map_or(kept.len(), |(end, _)| end);
    let cut = kept[..end].trim_end();
    (!cut.is_empty()).then(|| cut.to_owned())
}

fn place(key: &str, index: usize) -> String {
    format!("{key}[{index}]")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
