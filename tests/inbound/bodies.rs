//! From bytes to elements: marks, wrappings, arrays, and what is no JSON.

use backout::inbound::{Format, recognise};
use proptest::prelude::*;

use super::{fixture, fixture_bytes, one};

/// How a .NET sender wraps a string: one text record of the given kind, or several.
fn serialized(records: &[(u8, &[u8])], end: &[u8]) -> Vec<u8> {
    let mut body = b"\x40\x06string\x08\x33http://schemas.microsoft.com/2003/10/Serialization/".to_vec();
    for (kind, text) in records {
        body.push(*kind);
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        let width = match kind & !1 {
            0x98 => 1,
            0x9a => 2,
            _ => 4,
        };
        body.extend_from_slice(&length[..width]);
        body.extend_from_slice(text);
    }
    body.extend_from_slice(end);
    body
}

fn refusal(body: &[u8]) -> String {
    let refused = one(body).expect_err("must be refused");
    assert_eq!((refused.format, refused.field.as_str()), (None, "body"));
    refused.to_string()
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let mut body = b"\xEF\xBB\xBF".to_vec();
    body.extend(fixture_bytes("kudu"));
    assert_eq!(one(&body).unwrap().format, Format::Kudu);
}

#[test]
fn dotnet_serialized_strings_are_decoded() {
    let json = fixture_bytes("azure-devops-stage");
    let plain = one(&json);
    for (kind, end) in [(0x9a, &b"\x01"[..]), (0x9b, b""), (0x9c, b"\x01"), (0x9d, b""), (0x9a, b"")] {
        assert_eq!(one(&serialized(&[(kind, &json)], end)), plain, "record {kind:#x}");
    }
    let (first, rest) = json.split_at(200);
    assert_eq!(one(&serialized(&[(0x98, first), (0x9a, rest)], b"\x01")), plain, "in two records");
    let mut marked = b"\xEF\xBB\xBF".to_vec();
    marked.extend(&json);
    assert_eq!(one(&serialized(&[(0x9b, &marked)], b"")), plain, "with a mark inside");
}

#[test]
fn a_serialized_string_that_cannot_be_decoded_names_the_senders_setting() {
    let json = fixture_bytes("kudu");
    let good = serialized(&[(0x9b, &json)], b"");
    let broken: Vec<Vec<u8>> = vec![
        good[..8].to_vec(),
        good[..40].to_vec(),
        good[..good.len() - 5].to_vec(),
        serialized(&[(0x42, &json)], b"\x01"),
        serialized(&[(0x9b, b"\xFF\xFE{}")], b""),
        serialized(&[(0x9b, &json)], b"trailing"),
    ];
    for body in broken {
        let text = refusal(&body);
        assert!(text.contains("useDataContractSerializer: false"), "{text}");
        assert!(text.contains("send as non-serialized string"), "{text}");
    }
}

#[test]
fn an_array_gives_one_result_an_element() {
    let body = format!("[{}, 5, [{}], {{}}]", fixture("kudu"), fixture("flux"));
    let results = recognise(body.as_bytes());
    let formats: Vec<_> = results.iter().map(|result| result.as_ref().ok().map(|understood| understood.format)).collect();
    assert_eq!(formats, [Some(Format::Kudu), None, Some(Format::Flux), None]);
}

#[test]
fn arrays_are_bounded() {
    assert_eq!(recognise(format!("[{}]", vec!["{}"; 100].join(",")).as_bytes()).len(), 100);
    let text = refusal(format!("[{}]", vec!["{}"; 101].join(",")).as_bytes());
    assert!(text.contains("more than 100 events"), "{text}");
    let nested = format!("[{}]", vec![format!("[{}]", vec!["{}"; 60].join(",")); 2].join(","));
    assert!(refusal(nested.as_bytes()).contains("more than 100 events"));
    assert_eq!(recognise(b"[[{}]]").len(), 1);
    assert!(refusal(b"[[[{}]]]").contains("one array of events"));
    assert!(refusal(b"[]").contains("empty array"));
    assert!(refusal(b"[[],[]]").contains("empty array"));
}

#[test]
fn what_is_no_json_is_told_apart() {
    assert!(refusal(b"").contains("is empty"));
    assert!(refusal(b" \r\n").contains("is empty"));
    assert!(refusal(b"\xEF\xBB\xBF").contains("is empty"));
    assert!(refusal(b"{\"a\": \"\xFF\"}").contains("not UTF-8"));
    assert!(refusal(b"{\"a\": ").contains("was cut on the way"));
    assert_eq!(refusal(b"hello secret"), "`body`: is not JSON at line 1, column 1");
    assert_eq!(refusal(b"{} {}"), "`body`: is not JSON at line 1, column 4");
    assert!(refusal(b"\"text\"").contains("must be a JSON object"));
    assert!(refusal(b"null").contains("must be a JSON object"));
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(refusal(deep.as_bytes()).contains("nested too deeply"));
    let deep = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    assert!(refusal(deep.as_bytes()).contains("nested too deeply"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn serialized_text_comes_out_as_it_went_in(site in "[a-zA-Z0-9äöü→🚀 ]{1,120}", kind in prop::sample::select(vec![0x9a_u8, 0x9b, 0x9c, 0x9d])) {
        let json = serde_json::json!({ "siteName": site, "deployer": "d", "complete": true, "status": "success" }).to_string();
        let end: &[u8] = if kind & 1 == 1 { b"" } else { b"\x01" };
        prop_assert_eq!(one(&serialized(&[(kind, json.as_bytes())], end)), one(json.as_bytes()));
    }
}
