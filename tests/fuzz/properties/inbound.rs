//! Bytes of a message -> events. Whatever the bytes: each event says only what stands there, each refusal is a sentence.

use std::collections::BTreeSet;

use backout::{
    domain::event::Event,
    inbound::{Malformed, Understood, recognise},
};
use serde_json::Value;

use super::{is_sentence, texts};

/// Events of one body: more are refused.
const EVENTS_MAX: usize = 100;
/// A text is cut to 1,024 characters; a warning or a refusal puts a sentence around one.
const TEXT_CHARACTERS_MAX: usize = 1024 + 200;

pub fn holds(input: &[u8]) {
    let results = recognise(input);
    assert!((1..=EVENTS_MAX).contains(&results.len()), "{} results", results.len());
    let said = what_stands_in(input);
    for result in &results {
        match result {
            Ok(understood) => {
                is_bounded(understood);
                if let Some(said) = &said {
                    names_only(understood, said);
                }
            }
            Err(refused) => is_sentence(&refused.to_string(), TEXT_CHARACTERS_MAX + 200),
        }
    }
    wrapped_is_the_same(input, &results);
}

fn is_bounded(understood: &Understood) {
    let stored = serde_json::to_value(&understood.event).unwrap();
    let back: Event = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(back, understood.event);
    let mut found = Vec::new();
    plain_texts(&stored, &mut found);
    for text in found {
        assert!(text.chars().count() <= TEXT_CHARACTERS_MAX, "{text:?}");
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}

fn plain_texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|inner| plain_texts(inner, into)),
        Value::Object(map) => {
            into.extend(map.keys().cloned());
            map.values().for_each(|inner| plain_texts(inner, into));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The texts of a body in plain JSON; a .NET string is held against the plain form of it instead.
fn what_stands_in(body: &[u8]) -> Option<BTreeSet<String>> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let value: Value = serde_json::from_slice(body).ok()?;
    let mut found = Vec::new();
    texts(&value, &mut found);
    Some(found.into_iter().collect())
}

/// Nothing is named that the sender did not write: neither a resource nor the alert or event itself.
fn names_only(understood: &Understood, said: &BTreeSet<String>) {
    let (resources, id) = match &understood.event {
        Event::Alert(alert) => (alert.resources.as_slice(), alert.id.as_ref()),
        Event::Deployment(event) => (event.resources.as_slice(), None),
        Event::Other(_) => (&[][..], None),
    };
    for resource in resources.iter().chain(id) {
        assert!(said.contains(resource), "`{resource}` does not stand in the message ({})", understood.format);
    }
}

/// A byte order mark, an array around it, and a .NET serializer change nothing, however the text is cut into records.
fn wrapped_is_the_same(body: &[u8], results: &[Result<Understood, Malformed>]) {
    if std::str::from_utf8(body).is_err() || body.starts_with(b"\x40\x06string") || body.starts_with(b"\xEF\xBB\xBF") {
        return;
    }
    let marked = [b"\xEF\xBB\xBF", body].concat();
    assert_eq!(recognise(&marked), results);
    // The mark hides the sender's mistake from nobody: these two begin otherwise than JSON.
    if body.trim_ascii().is_empty() {
        return;
    }
    for record_bytes in [body.len(), 7, 300] {
        assert_eq!(recognise(&dotnet(body, record_bytes)), results, "in records of {record_bytes} bytes");
    }
    if body.trim_ascii().starts_with(b"{") {
        let [only] = results else { panic!("an object is one event") };
        let listed = recognise(&[b"[", body, b"]"].concat());
        match (only, listed.as_slice()) {
            (Ok(understood), [Ok(in_list)]) => assert_eq!(understood, in_list),
            // What is no JSON stays none; the place moves, and `{},{}` is a list.
            (Err(_), _) => {}
            (Ok(_), other) => panic!("understood alone, but not in a list: {other:?}"),
        }
    }
}

/// Source of the numbers: [MC-NBFX] .NET Binary Format: XML.
fn dotnet(text: &[u8], record_bytes: usize) -> Vec<u8> {
    const NAMESPACE: &[u8] = b"http://schemas.microsoft.com/2003/10/Serialization/";
    let mut body = b"\x40\x06string\x08".to_vec();
    body.push(u8::try_from(NAMESPACE.len()).unwrap());
    body.extend_from_slice(NAMESPACE);
    let records: Vec<&[u8]> = text.chunks(record_bytes.max(1)).collect();
    for (number, record) in records.iter().enumerate() {
        let end = u8::from(number + 1 == records.len());
        if let Ok(length) = u8::try_from(record.len()) {
            body.extend([0x98 + end, length]);
        } else if let Ok(length) = u16::try_from(record.len()) {
            body.push(0x9a + end);
            body.extend(length.to_le_bytes());
        } else {
            body.push(0x9c + end);
            body.extend(u32::try_from(record.len()).unwrap().to_le_bytes());
        }
        body.extend_from_slice(record);
    }
    body
}
