//! Whatever comes in: no panic, at least one result, bounded texts, and no person's name.

use backout::inbound::{Malformed, Understood, recognise};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FIXTURES, fixture};

/// The nth node below the root, depth first.
fn node_mut<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|inner| node_mut(inner, left)),
        Value::Object(map) => map.values_mut().find_map(|inner| node_mut(inner, left)),
        _ => None,
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!("0001-01-01T00:00:00")),
        Just(json!("/subscriptions/x")),
        Just(json!("{\"reversible\":[]}")),
        Just(json!("é".repeat(2000))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z_@.]{0,12}", inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|inner| texts(inner, into)),
        Value::Object(map) => map.iter().for_each(|(name, inner)| {
            into.push(name.clone());
            texts(inner, into);
        }),
        _ => {}
    }
}

fn check(results: &[Result<Understood, Malformed>]) -> Result<(), TestCaseError> {
    prop_assert!(!results.is_empty());
    for result in results {
        match result {
            Ok(understood) => {
                let stored = serde_json::to_value(&understood.event).unwrap();
                let back: backout::domain::event::Event = serde_json::from_value(stored.clone()).unwrap();
                prop_assert_eq!(&back, &understood.event);
                let mut found = Vec::new();
                texts(&stored, &mut found);
                for text in found {
                    // Warnings put a sentence around one text.
                    prop_assert!(text.chars().count() <= 1024 + 200, "{}", text);
                    prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
                    prop_assert!(
                        !text.to_lowercase().contains("pat.doe") && !text.contains("Pat Doe") && !text.contains("pat-doe")
                    );
                }
            }
            Err(refused) => {
                prop_assert!(!refused.field.is_empty() && !refused.reason.is_empty());
                prop_assert!(!refused.to_string().contains("pat.doe"));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&recognise(&bytes))?;
    }

    #[test]
    fn arbitrary_bytes_behind_the_dotnet_mark(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut body = b"\x40\x06string".to_vec();
        body.extend(bytes);
        check(&recognise(&body))?;
    }

    #[test]
    fn arbitrary_json(value in any_json()) {
        check(&recognise(value.to_string().as_bytes()))?;
    }

    #[test]
    fn fixtures_with_a_node_replaced(name in prop::sample::select(FIXTURES), place in any::<prop::sample::Index>(), node in any_json()) {
        let mut value = fixture(name);
        let mut left = place.index(count(&value));
        if let Some(found) = node_mut(&mut value, &mut left) {
            *found = node;
        }
        check(&recognise(value.to_string().as_bytes()))?;
    }

    #[test]
    fn fixtures_with_a_node_emptied(name in prop::sample::select(FIXTURES), place in any::<prop::sample::Index>()) {
        let mut value = fixture(name);
        let mut left = place.index(count(&value));
        match node_mut(&mut value, &mut left) {
            Some(Value::Object(map)) => { let last = map.keys().next_back().cloned(); last.map(|key| map.remove(&key)); }
            Some(Value::Array(list)) => { list.pop(); }
            Some(other) => *other = Value::Null,
            None => {}
        }
        check(&recognise(value.to_string().as_bytes()))?;
    }

    #[test]
    fn fixtures_cut_or_with_a_byte_changed(name in prop::sample::select(FIXTURES), place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = fixture(name).to_string().into_bytes();
        let at = place.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        check(&recognise(&bytes))?;
    }
}
