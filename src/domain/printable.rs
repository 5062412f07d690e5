//! Text of others, fit to be shown: on a terminal, in a log, in a chat. The one rule for all of them.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// A character that is not what people see: it steers a terminal, breaks a line, turns the direction of reading, or shows nothing.
///
/// Control characters (C0, DEL, C1), and those that Unicode calls default ignorable or bidirectional controls (UAX #9, UTS #39), but
/// for variation selectors, which emoji need.
pub fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180E}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// One line: a blank for each such character.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if deceives(c) { ' ' } else { c }).collect()
}

/// A place in JSON of others, such as `value[0].id`: the names of its members are theirs, so it is one line, and cut.
pub fn printable_place(place: &impl fmt::Display) -> String {
    printable(&place.to_string()).chars().take(PLACE_CHARS_MAX).collect()
}

const PLACE_CHARS_MAX: usize = 200;

/// As [`printable`], line by line: `\n` stays.
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && deceives(c) { ' ' } else { c }).collect()
}

/// JSON that means the same, with such characters escaped: outside of its texts JSON has none but line breaks.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let is_plain = |byte: &u8| (0x20..0x7f).contains(byte) || *byte == b'\n';
    if json.as_bytes().iter().all(is_plain) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && deceives(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `\u{1b}[2J` clears a terminal, and so does `\u{9b}2J`; U+202E turns `exe.gpj` round; U+E0041 is an invisible `A`.
    const NASTY: &str = "a\u{1b}[2J\u{9b}2J\u{7f}\r\nb\u{202e}gpj\u{2066}\u{200b}\u{feff}\u{2028}\u{e0041}c";

    #[test]
    fn what_deceives_becomes_a_blank() {
        assert_eq!(printable(NASTY), "a [2J 2J   b gpj     c");
        assert_eq!(printable_place(&NASTY), printable(NASTY));
        assert_eq!(printable_place(&"x".repeat(300)), "x".repeat(200));
        assert_eq!(printable_lines(NASTY), "a [2J 2J  \nb gpj     c");
    }

    #[test]
    fn words_of_all_people_stay_as_they_are() {
        for text in ["Größe, naïve, Ελληνικά", "支付-5xx", "שלום", "مرحبا", "किताब", "⚠️ page", "a\u{00a0}b", "e\u{0301}"]
        {
            assert_eq!(printable(text), text);
            assert_eq!(printable_lines(text), text);
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ NASTY: [NASTY, 1.5, null], "plain": "x\ny" });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = printable_json(&json);
            assert!(!shown.chars().any(|c| c != '\n' && deceives(c)), "{shown:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
        assert!(matches!(printable_json("{\"a\":1}"), Cow::Borrowed(_)));
    }
}
