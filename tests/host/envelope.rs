//! Envelopes composed by us after the host's encoding rules; the first is the reference form of a Service Bus trigger.

use backout::{
    host::{
        delivery::Function,
        envelope::{Decoded, EnvelopeProblem, decode},
    },
    sim::host::{DataType, ServiceBusMessage, service_bus_envelope},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

fn decode_json(envelope: &Value) -> Decoded {
    decode(Function::Alerts, envelope.to_string().as_bytes())
}

fn body_of(data: &Value) -> String {
    let decoded = decode_json(&json!({"Data": {"message": data}, "Metadata": {}}));
    assert_eq!(decoded.problem, None);
    String::from_utf8(decoded.body).unwrap()
}

fn returns_of(metadata: &Value) -> u32 {
    let decoded = decode_json(&json!({"Data": {"message": "e30="}, "Metadata": metadata}));
    assert_eq!((decoded.body.as_slice(), decoded.problem), (&b"{}"[..], None), "metadata {metadata} changed the body");
    decoded.returns
}

#[test]
fn a_binary_message_arrives_byte_for_byte() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let data = STANDARD.encode(&every_byte);
    let decoded = decode_json(&json!({"Data": {"message": data}, "Metadata": {"DeliveryCount": "1"}}));
    assert_eq!(decoded, Decoded { body: every_byte, returns: 0, delivered_before: false, problem: None });
}

#[test]
fn an_empty_message_is_an_empty_body() {
    assert_eq!(body_of(&json!("")), "");
}

#[test]
fn every_encoding_of_data_gives_the_same_body() {
    let body = r#"{"schemaId":"azureMonitorCommonAlertSchema","n":1.0}"#;
    let base64 = STANDARD.encode(body);
    let cases = [
        ("base64", json!(base64)),
        ("base64, quoted once more", json!(format!("\"{base64}\""))),
        ("text, quoted once more", json!(Value::String(body.to_owned()).to_string())),
        ("text", json!(body)),
    ];
    for (name, data) in cases {
        assert_eq!(body_of(&data), body, "{name}");
    }
    // An object or a list is taken as it was written: 1.0 stays 1.0, and the order stays.
    for written in [r#"{"b": 1.0, "a": [12345678901234567890123]}"#, r#"[ {"a":1} ]"#, "42"] {
        let envelope = format!(r#"{{"Data":{{"message":{written}}},"Metadata":{{}}}}"#);
        let decoded = decode(Function::Deployments, envelope.as_bytes());
        assert_eq!(String::from_utf8(decoded.body).unwrap(), written);
    }
}

#[test]
fn escapes_in_base64_are_understood() {
    let envelope = r#"{"Data":{"message":"e30\u003d"},"Metadata":{}}"#;
    assert_eq!(decode(Function::Alerts, envelope.as_bytes()).body, b"{}");
}

#[test]
fn exactly_one_layer_of_quotes_is_peeled() {
    let inner = "\"{}\"";
    let once = Value::String(inner.to_owned()).to_string();
    assert_eq!(body_of(&json!(once)), inner);
}

#[test]
fn the_binding_may_have_another_name_if_it_is_alone() {
    let decoded = decode_json(&json!({"Data": {"msg": "e30="}, "Metadata": {}}));
    assert_eq!((decoded.body.as_slice(), decoded.problem), (&b"{}"[..], None));
    let decoded = decode_json(&json!({"Data": {"other": "eA==", "message": "e30="}, "Metadata": {}}));
    assert_eq!((decoded.body.as_slice(), decoded.problem), (&b"{}"[..], None));
}

#[test]
fn what_is_no_envelope_is_kept_whole_with_the_reason() {
    let no_data = EnvelopeProblem::NoData;
    let not_an_envelope = |line, column| EnvelopeProblem::NotAnEnvelope { line, column };
    let cases: [(&[u8], EnvelopeProblem); 9] = [
        (b"", not_an_envelope(1, 0)),
        (b"hello", not_an_envelope(1, 1)),
        (b"{\"Data\":", not_an_envelope(1, 8)),
        (b"{\"Data\":{\"message\":\"\xff\xfe\"}}", not_an_envelope(1, 21)),
        (b"{}", no_data.clone()),
        (b"{\"Data\":null}", no_data.clone()),
        (b"{\"Metadata\":{}}", no_data),
        (b"{\"Data\":{}}", EnvelopeProblem::NoBinding { binding: "message", members: 0 }),
        (b"{\"Data\":{\"a\":\"\",\"b\":\"\"}}", EnvelopeProblem::NoBinding { binding: "message", members: 2 }),
    ];
    for (request, problem) in cases {
        let expected = Decoded { body: request.to_vec(), returns: 0, delivered_before: true, problem: Some(problem) };
        assert_eq!(decode(Function::Alerts, request), expected, "{}", String::from_utf8_lossy(request));
    }
    for request in ["[]", "\"secret\"", "{\"Data\":\"secret\"}", "{\"Data\":{\"message\":\"\"},\"Data\":{}}", "{} {}"] {
        let decoded = decode(Function::Alerts, request.as_bytes());
        assert_eq!(decoded.body, request.as_bytes());
        let problem = decoded.problem.expect(request).to_string();
        assert!(!problem.contains("secret"), "the reason quotes the input: {problem}");
    }
}

#[test]
fn a_tick_has_no_body_whatever_is_sent() {
    for request in [&b"{\"Data\":{\"timer\":{\"IsPastDue\":false}},\"Metadata\":{}}"[..], b"", b"junk"] {
        assert_eq!(
            decode(Function::Sweep, request),
            Decoded { body: Vec::new(), returns: 0, delivered_before: false, problem: None }
        );
    }
}

#[test]
fn returns_are_a_number_or_text_that_is_one() {
    let application = |value: Value| returns_of(&json!({"ApplicationProperties": {"backout-returns": value}}));
    assert_eq!(application(json!(3)), 3);
    assert_eq!(application(json!(3.0)), 3);
    assert_eq!(application(json!("3")), 3);
    assert_eq!(application(json!("\"3\"")), 3);
    assert_eq!(application(json!(99_999_999_999_u64)), u32::MAX);
    assert_eq!(returns_of(&json!({"UserProperties": {"backout-returns": 2}})), 2);
    assert_eq!(returns_of(&json!({"ApplicationProperties": {}, "UserProperties": {"Backout-Returns": 2}})), 2);
    for unreadable in [json!(-1), json!(1.5), json!("many"), json!(""), json!(null), json!(true), json!([1]), json!({"a": 1})] {
        let decoded = decode_json(
            &json!({"Data": {"message": "e30="}, "Metadata": {"ApplicationProperties": {"backout-returns": unreadable}}}),
        );
        let (field, expected) = ("Metadata.ApplicationProperties.backout-returns", "a whole number");
        let problem = Some(EnvelopeProblem::Metadata { field, expected });
        assert_eq!(decoded, Decoded { body: b"{}".to_vec(), returns: 0, delivered_before: true, problem });
    }
}

#[test]
fn a_delivery_is_the_first_only_where_the_host_says_so() {
    let delivered_before =
        |metadata: Value| decode_json(&json!({"Data": {"message": "e30="}, "Metadata": metadata})).delivered_before;
    for first in [json!("1"), json!(1), json!("\"1\"")] {
        assert!(!delivered_before(json!({"DeliveryCount": first})), "{first}");
        assert!(delivered_before(json!({"DeliveryCount": first, "ApplicationProperties": {"backout-returns": 1}})), "{first}");
    }
    for other in [json!("2"), json!(10), json!("0"), json!(null), json!({}), json!("one"), json!(-1)] {
        assert!(delivered_before(json!({"DeliveryCount": other})), "{other}");
    }
    assert!(delivered_before(json!({})));
}

#[test]
fn hostile_metadata_changes_nothing_and_is_named() {
    let odd = |field| Some(EnvelopeProblem::Metadata { field, expected: "an object" });
    let hostile = [
        (json!(null), None),
        (json!("text"), odd("Metadata")),
        (json!([1, 2]), odd("Metadata")),
        (json!(7), odd("Metadata")),
        (json!({"DeliveryCount": {}, "MessageId": [], "sys": "forged", "EnqueuedTimeUtc": -1}), None),
        (json!({"ApplicationProperties": "text", "UserProperties": [1]}), odd("Metadata.ApplicationProperties")),
        (json!({"ApplicationProperties": null, "UserProperties": [1]}), odd("Metadata.UserProperties")),
        (json!({"backout-returns": 9}), None),
    ];
    for (metadata, problem) in hostile {
        let decoded = decode_json(&json!({"Data": {"message": "e30="}, "Metadata": metadata}));
        assert_eq!(decoded, Decoded { body: b"{}".to_vec(), returns: 0, delivered_before: true, problem }, "{metadata}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let envelope = format!(r#"{{"Data":{{"message":"e30="}},"Metadata":{deep}}}"#);
    let decoded = decode(Function::Alerts, envelope.as_bytes());
    assert_eq!(decoded, Decoded { body: b"{}".to_vec(), returns: 0, delivered_before: true, problem: odd("Metadata") });
    let missing = decode(Function::Alerts, br#"{"Data":{"message":"e30="}}"#);
    assert_eq!(missing, Decoded { body: b"{}".to_vec(), returns: 0, delivered_before: true, problem: None });
}

fn message(body: Vec<u8>) -> ServiceBusMessage {
    ServiceBusMessage::new(body, "m-1", jiff::Timestamp::UNIX_EPOCH)
}

proptest! {
    #[test]
    fn the_hosts_binary_encoding_comes_back_exactly(body: Vec<u8>, returns: u32) {
        let mut message = message(body.clone());
        message.properties.insert("backout-returns".to_owned(), json!(returns));
        let envelope = service_bus_envelope("alerts", "message", DataType::Binary, &message);
        prop_assert_eq!(decode_json(&envelope), Decoded { body, returns, delivered_before: returns > 0, problem: None });
    }

    #[test]
    fn the_hosts_text_encoding_of_json_objects_comes_back_exactly(key in ".*", value in ".*") {
        let body = json!({key: value, "DeliveryCount": {}}).to_string();
        let envelope = service_bus_envelope("alerts", "message", DataType::Text, &message(body.clone().into_bytes()));
        let decoded = decode_json(&envelope);
        prop_assert_eq!(decoded, Decoded { body: body.into_bytes(), returns: 0, delivered_before: true, problem: None });
    }

    #[test]
    fn nothing_makes_the_decoder_fail(request: Vec<u8>) {
        let decoded = decode(Function::Markers, &request);
        prop_assert!(!decoded.problem.is_some_and(|problem| problem.hides_the_message()) || decoded.body == request);
    }
}
