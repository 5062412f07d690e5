//! Patterns in which `*` stands for any run of characters; case does not matter.

/// True if the whole of `text` fits.
pub fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_run_and_case_does_not_matter() {
        for (pattern, text, expect) in [
            ("checkout-*", "Checkout-5xx", true),
            ("checkout-*", "checkout", false),
            ("*", "", true),
            ("*5xx*", "a 5XX b", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "acb", false),
            ("a**c", "ac", true),
            ("a", "ab", false),
            ("", "a", false),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("hub-*", "hub-41", true),
            ("hub-*", "HUB-", true),
            ("hub-*", "my-hub-41", false),
            ("hub", "hub", true),
            ("hub", "hub-41", false),
            ("*-hub-*-prod", "a-hub-1-prod", true),
            ("*-hub-*-prod", "a-hub-prod", false),
        ] {
            assert_eq!(fits(pattern, text), expect, "`{pattern}` against `{text}`");
        }
    }
}
