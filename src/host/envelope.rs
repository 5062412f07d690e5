//! The host's JSON envelope `{"Data": {...}, "Metadata": {...}}` -> the message's own bytes.
//!
//! The triggers are declared `dataType: "binary"`, cardinality one: `Data.message` is one base64 string. The other
//! encodings that the host has are understood too, so that an edited `function.json` loses no message.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::delivery::Function;

/// Application property that counts how often backout itself put a message back.
pub const RETURNS_PROPERTY: &str = "backout-returns";

/// What an invocation carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The message, byte for byte; empty for the timer. With a problem that hides it: the whole request, so that a person
    /// finds it parked.
    pub body: Vec<u8>,
    /// 0 if the property is absent or unreadable.
    pub returns: u32,
    /// False only where the host says that it is the first delivery, of bytes that we never put back.
    pub delivered_before: bool,
    pub problem: Option<EnvelopeProblem>,
}

/// Why a request is no envelope of the host. It will not become one by being delivered again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeProblem {
    /// The text of the JSON error is left out: it quotes the input.
    #[error("the request is not the host's JSON envelope: broken at line {line}, column {column}")]
    NotAnEnvelope { line: usize, column: usize },
    #[error("the envelope has no `Data`: was the request sent by the Functions host?")]
    NoData,
    #[error("`Data` has {members} members and none is called `{binding}`: name the trigger binding `{binding}` in function.json")]
    NoBinding { binding: &'static str, members: usize },
    #[error("`Data.req` is not the host's form of an HTTP request: broken at line {line}, column {column}")]
    NotARequest { line: usize, column: usize },
    #[error("`Data.req.Body` is no text that can be read; send the body in UTF-8")]
    BodyIsNoText,
    /// The message itself is there; only how often it was put back is not known, and counts as 0.
    #[error("`{field}` is not readable: {expected} is expected there")]
    Metadata { field: &'static str, expected: &'static str },
}

impl EnvelopeProblem {
    /// True if the message's own bytes are not known: [`Decoded::body`] is the whole request.
    pub fn hides_the_message(&self) -> bool {
        match self {
            Self::NotAnEnvelope { .. }
            | Self::NoData
            | Self::NoBinding { .. }
            | Self::NotARequest { .. }
            | Self::BodyIsNoText => true,
            Self::Metadata { .. } => false,
        }
    }
}

/// The name of the trigger binding in `function-app/*/function.json`.
pub fn binding_name(function: Function) -> &'static str {
    match function {
        Function::Alerts | Function::Deployments | Function::Markers | Function::FollowUps => "message",
        Function::Sweep => "timer",
    }
}

/// Decodes the body of one POST. Never fails: what is no envelope is kept whole, with the problem.
///
/// Metadata can be forged by a producer and retyped by the host, so nothing in it can fail an invocation.
pub fn decode(function: Function, request: &[u8]) -> Decoded {
    match function {
        Function::Alerts | Function::Deployments | Function::Markers | Function::FollowUps => {
            decode_message(binding_name(function), request).unwrap_or_else(|problem| Decoded {
                body: request.to_vec(),
                returns: 0,
                delivered_before: true,
                problem: Some(problem),
            })
        }
        // A tick has no content that anything depends on.
        Function::Sweep => Decoded { body: Vec::new(), returns: 0, delivered_before: false, problem: None },
    }
}

/// The value of one binding, as it stands in the request.
pub(super) fn data_member<'a>(binding: &'static str, request: &'a [u8]) -> Result<&'a RawValue, EnvelopeProblem> {
    opened(binding, request).map(|(value, _)| value)
}

/// The value of the binding and the metadata.
fn opened<'a>(binding: &'static str, request: &'a [u8]) -> Result<(&'a RawValue, Option<&'a RawValue>), EnvelopeProblem> {
    let envelope: Envelope<'a> = serde_json::from_slice(request)
        .map_err(|error| EnvelopeProblem::NotAnEnvelope { line: error.line(), column: error.column() })?;
    let DataMembers(members) = envelope.data.ok_or(EnvelopeProblem::NoData)?;
    match (members.iter().find(|(name, _)| name == binding), members.as_slice()) {
        (Some((_, value)), _) | (None, [(_, value)]) => Ok((value, envelope.metadata)),
        (None, others) => Err(EnvelopeProblem::NoBinding { binding, members: others.len() }),
    }
}

fn decode_message(binding: &'static str, request: &[u8]) -> Result<Decoded, EnvelopeProblem> {
    let (value, metadata) = opened(binding, request)?;
    let body = message_bytes(value);
    Ok(match metadata_of(metadata).and_then(|metadata| Ok((metadata.is_first_delivery(), metadata.returns()?))) {
        Ok((is_first, returns)) => Decoded { body, returns, delivered_before: !is_first || returns > 0, problem: None },
        Err(problem) => Decoded { body, returns: 0, delivered_before: true, problem: Some(problem) },
    })
}

/// The message in one value of `Data`.
///
/// Base64 comes first, as declared. The fast path decodes straight from the request: base64 needs no JSON escape.
fn message_bytes(value: &RawValue) -> Vec<u8> {
    let json = value.get();
    let Some(inside) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return json.as_bytes().to_vec();
    };
    if let Ok(bytes) = STANDARD.decode(inside) {
        return bytes;
    }
    let Ok(Text(text)) = serde_json::from_str(json) else {
        return json.as_bytes().to_vec();
    };
    if let Ok(bytes) = STANDARD.decode(text.as_bytes()) {
        return bytes;
    }
    // `dataType` string: the text is quoted once more. Exactly one layer is peeled, and only if it is a string.
    match serde_json::from_str(&text) {
        Ok(Text(peeled)) => STANDARD.decode(peeled.as_bytes()).unwrap_or_else(|_| peeled.into_owned().into_bytes()),
        Err(_) => text.into_owned().into_bytes(),
    }
}

/// The host sends null for what it does not have.
fn metadata_of(metadata: Option<&RawValue>) -> Result<Metadata, EnvelopeProblem> {
    let Some(metadata) = metadata.filter(|raw| raw.get() != "null") else { return Ok(Metadata::default()) };
    // A list would do for serde as the fields in their order.
    Some(metadata.get())
        .filter(|json| json.starts_with('{'))
        .and_then(|json| serde_json::from_str(json).ok())
        .ok_or(EnvelopeProblem::Metadata { field: "Metadata", expected: "an object" })
}

/// A whole number, or text that is one; beyond `u32` it is as good as the largest.
fn whole_number(value: &serde_json::Value) -> Option<u32> {
    let text = match value {
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::String(text) => text.trim_matches(|c: char| c == '"' || c.is_whitespace()).to_owned(),
        _ => return None,
    };
    // The REST API of Service Bus may hand a number back as a double.
    let whole = text.strip_suffix(".0").unwrap_or(&text);
    whole.parse::<u64>().ok().map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "Data", borrow, default)]
    data: Option<DataMembers<'a>>,
    #[serde(rename = "Metadata", borrow, default)]
    metadata: Option<&'a RawValue>,
}

/// What is read of the trigger's metadata; application properties come under two names.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    application_properties: Option<serde_json::Value>,
    user_properties: Option<serde_json::Value>,
    delivery_count: Option<serde_json::Value>,
}

impl Metadata {
    /// Whether the broker says so; what it says may be forged, and nothing but care depends on it.
    fn is_first_delivery(&self) -> bool {
        self.delivery_count.as_ref().and_then(whole_number) == Some(1)
    }

    /// 0 where there is no such property.
    fn returns(&self) -> Result<u32, EnvelopeProblem> {
        for (field, properties) in
            [("Metadata.ApplicationProperties", &self.application_properties), ("Metadata.UserProperties", &self.user_properties)]
        {
            let Some(properties) = properties else { continue };
            let Some(properties) = properties.as_object() else {
                return Err(EnvelopeProblem::Metadata { field, expected: "an object" });
            };
            if let Some((_, value)) = properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(RETURNS_PROPERTY)) {
                let expected = "a whole number";
                return whole_number(value)
                    .ok_or(EnvelopeProblem::Metadata { field: "Metadata.ApplicationProperties.backout-returns", expected });
            }
        }
        Ok(0)
    }
}

/// The members of `Data` in their order, each still as it stands in the request: a body of many megabytes is copied once.
struct DataMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for DataMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> de::Visitor<'de> for Members {
            type Value = DataMembers<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with one member a binding")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(1);
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(DataMembers(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A JSON string, borrowed where it holds no escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
