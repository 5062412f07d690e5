//! Changes an input where its JSON is: a byte flipped in a JSON document mostly gives no JSON, and tests the same parser again.

use serde_json::{Map, Value, json};

/// A changed copy, or nothing where there is no JSON in the input. The same seed makes the same change.
///
/// JSON may begin at any of the first lines; what stands before it stays.
pub fn json(input: &[u8], seed: u32) -> Option<Vec<u8>> {
    let (start, mut value) = find(input)?;
    let mut dice = Dice(u64::from(seed) ^ 0x9e37_79b9_7f4a_7c15);
    for _ in 0..=dice.below(3) {
        change(&mut value, &mut dice);
    }
    let mut changed = input[..start].to_vec();
    changed.extend(value.to_string().into_bytes());
    Some(changed)
}

/// Of a document that begins with one of the first lines.
fn find(input: &[u8]) -> Option<(usize, Value)> {
    const LINES: usize = 4;
    let after = input.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after).take(LINES).find_map(|start| {
        let value: Value = serde_json::from_slice(&input[start..]).ok()?;
        (value.is_object() || value.is_array()).then_some((start, value))
    })
}

fn change(value: &mut Value, dice: &mut Dice) {
    let count = count(value);
    let other = node_mut(value, &mut dice.below(count)).cloned().unwrap_or_default();
    let Some(node) = node_mut(value, &mut dice.below(count)) else { return };
    match dice.below(8) {
        0 => *node = odd(dice),
        // A part of the same document in another place.
        1 => *node = other,
        2 => *node = json!([node.take()]),
        3 => *node = Value::String(node.to_string()),
        4 | 5 => match node {
            Value::Object(map) => {
                let name = map.keys().nth(dice.below(map.len().max(1))).cloned();
                match (name, dice.below(3)) {
                    (Some(name), 0) => drop(map.remove(&name)),
                    (Some(name), 1) => {
                        let moved = map.remove(&name).unwrap_or_default();
                        map.insert(name.to_uppercase(), moved);
                    }
                    (Some(name), _) => drop(map.insert(name, odd(dice))),
                    (None, _) => drop(map.insert("name".to_owned(), odd(dice))),
                }
            }
            Value::Array(list) => match dice.below(3) {
                0 => drop(list.pop()),
                1 => list.extend(list.clone()),
                _ => list.push(odd(dice)),
            },
            leaf => *leaf = odd(dice),
        },
        _ => match node {
            Value::String(text) => *text = twisted(text, dice),
            Value::Number(_) => *node = odd_number(dice),
            leaf => *leaf = odd(dice),
        },
    }
}

fn odd(dice: &mut Dice) -> Value {
    match dice.below(7) {
        0 => Value::Null,
        1 => json!(dice.below(2) == 0),
        2 => odd_number(dice),
        3 => Value::String(ODD_TEXTS[dice.below(ODD_TEXTS.len())].to_owned()),
        4 => Value::Array(Vec::new()),
        5 => Value::Object(Map::new()),
        _ => Value::String("x".repeat(1 << dice.below(13))),
    }
}

fn odd_number(dice: &mut Dice) -> Value {
    match dice.below(8) {
        0 => json!(0),
        1 => json!(-1),
        2 => json!(u64::MAX),
        3 => json!(i64::MIN),
        4 => json!(1.5),
        5 => json!(1e308),
        6 => json!(-1e308),
        _ => json!(dice.below(1000)),
    }
}

fn twisted(text: &str, dice: &mut Dice) -> String {
    let at = text.char_indices().map(|(at, _)| at).nth(dice.below(text.chars().count().max(1))).unwrap_or_default();
    let (before, after) = text.split_at(at);
    match dice.below(6) {
        0 => text.to_uppercase(),
        1 => before.to_owned(),
        2 => after.to_owned(),
        3 => format!("{before}{}{after}", ODD_TEXTS[dice.below(ODD_TEXTS.len())]),
        4 => format!("{before}{}{after}", char::from_u32(u32::try_from(dice.below(0x3_0000)).unwrap_or(0)).unwrap_or('\u{1b}')),
        _ => format!("{text}{text}"),
    }
}

const ODD_TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "\u{1b}[2J",
    "\r\n",
    "\u{202e}",
    "\u{feff}",
    "é",
    "İ",
    "<script>alert(1)</script>",
    "*",
    "/",
    "..",
    "%2e%2e",
    "?",
    "#",
    "@",
    "|",
    "0001-01-01T00:00:00",
    "9999-12-30T22:00:00.999999999Z",
    "9999-12-31T23:59:59Z",
    "0000-01-01T00:00:00Z",
    "2026-03-02T03:00:00+23:59",
    "3/22/2019 1:36:31 PM",
    "PT1H",
    "P9999999D",
    "true",
    "null",
    "-1",
    "18446744073709551616",
    "1e999",
    "Fired",
    "Resolved",
    "https://elsewhere.test/x",
    "http://127.0.0.1:1/x",
    "file:///x",
    "pat.doe@example.com",
    "/subscriptions/x",
    "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/shop-prod/providers/Microsoft.Web/sites/checkout",
    "/subscriptions/6c7d1a52-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/shop-prod/providers/Microsoft.Web/sites/checkout/slots/staging",
];

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The nth node below the root, depth first.
fn node_mut<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(list) => list.iter_mut().find_map(|inner| node_mut(inner, left)),
        Value::Object(map) => map.values_mut().find_map(|inner| node_mut(inner, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Splitmix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or_default()
    }
}
