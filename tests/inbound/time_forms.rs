//! Times as senders write them, seen through the fields that hold them.

use backout::inbound::Format;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::{alert, changed, one_value};

const FIRED: &str = "/data/essentials/firedDateTime";

fn fired_at(text: &str) -> Option<Timestamp> {
    alert(Format::CommonAlert, &changed("common-metric", FIRED, Some(json!(text)))).fired_at
}

fn classic_at(text: &str) -> Option<Timestamp> {
    alert(Format::ClassicAlert, &changed("classic-alert", "/context/timestamp", Some(json!(text)))).fired_at
}

#[test]
fn forms_that_are_read() {
    let cases = [
        ("2026-03-04T02:11:09Z", "2026-03-04T02:11:09Z"),
        ("2026-03-04t02:11:09z", "2026-03-04T02:11:09Z"),
        (" 2026-03-04T02:11:09.1Z ", "2026-03-04T02:11:09.1Z"),
        ("2026-03-04T02:11:09.123456789Z", "2026-03-04T02:11:09.123456789Z"),
        ("2026-03-04T02:11:09.1234567", "2026-03-04T02:11:09.1234567Z"),
        ("2026-03-04T02:11:09+00:00", "2026-03-04T02:11:09Z"),
        ("2026-03-04T02:11:09+05:30", "2026-03-03T20:41:09Z"),
        ("2026-03-04T02:11:09-08:00", "2026-03-04T10:11:09Z"),
    ];
    for (text, expected) in cases {
        assert_eq!(fired_at(text), Some(expected.parse().unwrap()), "{text}");
        assert_eq!(classic_at(text), Some(expected.parse().unwrap()), "{text}");
    }
}

#[test]
fn us_forms_of_the_legacy_schemas() {
    let cases = [
        ("3/22/2019 1:36:31 PM", "2019-03-22T13:36:31Z"),
        ("12/13/2017 20:53:57", "2017-12-13T20:53:57Z"),
        ("Friday, March 11, 2016 9:13:23 PM", "2016-03-11T21:13:23Z"),
        ("03/04/2026 12:00:00 AM", "2026-03-04T00:00:00Z"),
    ];
    for (text, expected) in cases {
        assert_eq!(classic_at(text), Some(expected.parse().unwrap()), "{text}");
        let refused = one_value(&changed("common-metric", FIRED, Some(json!(text)))).expect_err(text);
        assert_eq!(refused.field, "data.essentials.firedDateTime");
    }
}

#[test]
fn the_year_one_is_absent() {
    for text in ["0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.0000000+00:00", "", "  "] {
        assert_eq!(fired_at(text), None, "{text}");
    }
    assert_eq!(classic_at("1/1/0001 12:00:00 AM"), None);
}

#[test]
fn forms_that_are_refused() {
    for text in [
        "yesterday",
        "2026-03-04",
        "2026-03-04 02:11:09Z",
        "2026-03-04T02:11Z",
        "2026-03-04T02:11:09.Z",
        "2026-03-04T02:11:09.1234567891Z",
        "2026-02-30T02:11:09Z",
        "2026-03-04T25:11:09Z",
        "2026-03-04T02:11:09+0100",
        "2026-03-04T02:11:09+99:00",
        "2026-03-04T02:11:09[Europe/Berlin]",
        "9999-12-31T23:59:59-23:59",
        "-009999-01-02T00:00:00Z",
        "２０２６-03-04T02:11:09Z",
        "1772590269",
    ] {
        let refused = one_value(&changed("common-metric", FIRED, Some(json!(text)))).expect_err(text);
        assert_eq!(refused.field, "data.essentials.firedDateTime", "{text}");
        assert!(refused.reason.contains("RFC 3339"), "{}", refused.reason);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_time_comes_out_as_it_went_in(second in 946_684_800_i64..4_102_444_800, nanosecond in 0_i32..1_000_000_000, minutes in -14 * 60..14 * 60_i32) {
        let at = Timestamp::new(second, nanosecond).unwrap();
        prop_assert_eq!(fired_at(&at.to_string()), Some(at));
        let offset = jiff::tz::Offset::from_seconds(minutes * 60).unwrap();
        prop_assert_eq!(fired_at(&at.display_with_offset(offset).to_string()), Some(at));
    }
}

/// From the second the century begins to the one before the next: an offset may lead past neither end.
#[test]
fn times_outside_of_the_century_are_refused_by_their_instant() {
    for (text, fits) in [
        ("1999-12-31T23:59:59.999999999Z", false),
        ("2000-01-01T00:00:00Z", true),
        ("2000-01-01T00:00:00+01:00", false),
        ("2099-12-31T23:59:59.999999999Z", true),
        ("2100-01-01T00:00:00+01:00", true),
        ("2100-01-01T00:00:00Z", false),
        ("0001-01-02T00:00:00Z", false),
    ] {
        let read = one_value(&changed("common-metric", FIRED, Some(json!(text))));
        match read {
            Ok(_) => assert!(fits, "{text}"),
            Err(refused) => assert!(!fits && refused.reason.contains("before the year 2000, or after 2099"), "{text}: {refused}"),
        }
    }
    // .NET's default stands for no time.
    assert!(one_value(&changed("common-metric", FIRED, Some(json!("0001-01-01T00:00:00Z")))).is_ok());
}
