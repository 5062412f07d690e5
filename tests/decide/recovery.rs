//! Did the rollback help (V2): back in range, with data, and long enough.

use backout::{
    decide::recovery::{self, Recovery},
    domain::{
        known::Known,
        series::{Point, Series},
    },
};
use jiff::Timestamp;

use super::case::{at, fault_from, minutes, share};

/// The accused version came at 11:50, the rollback took effect at 12:02:30, and it is `now`. One letter a window from
/// the one that ended 12:03: `.` in range, `X` out of it, `?` no value, `0` no requests, `-` not even listed.
fn series(letters: &str) -> Series {
    let mut series = share("10:30:00", "12:02:00", |end| Some(if end >= at("11:52:00") { 0.31 } else { 0.002 }));
    for (end, letter) in (0..).map(|index| at("12:03:00") + minutes(index)).zip(letters.chars()) {
        let (value, weight) = match letter {
            '.' => (Some(0.002), Some(400.0)),
            'X' => (Some(0.31), Some(400.0)),
            // Just as far beyond the worst before as is not noticed, and a little farther.
            '=' => (Some(0.3199), Some(400.0)),
            '!' => (Some(0.321), Some(400.0)),
            // One too few to judge, and just enough.
            's' => (Some(0.0), Some(19.0)),
            'e' => (Some(0.0), Some(20.0)),
            '?' => (None, None),
            '0' => (None, Some(0.0)),
            '-' => continue,
            other => panic!("`{other}` is no window"),
        };
        series.points.push(Point { end, value, weight });
    }
    series
}

fn judge(signals: &[Known<Series>], now: Timestamp) -> Recovery {
    recovery::judge(signals, at("11:50:00"), at("12:02:30"), now)
}

fn kind(recovery: &Recovery) -> &'static str {
    match recovery {
        Recovery::Recovered(_) => "recovered",
        Recovery::Worse(_) => "worse",
        Recovery::StillBad(_) => "still bad",
        Recovery::Unknown(_) => "unknown",
    }
}

#[test]
fn v2_three_windows_in_range_with_data_are_a_recovery() {
    // The window that ended 12:03 holds the swap; those up to 12:07 are complete at 12:10.
    for (letters, expect) in [
        ("X....", "recovered"),
        ("X.X...", "still bad"),
        ("X..X.", "still bad"),
        ("X...X", "still bad"),
        ("XX...", "recovered"),
        ("X??..", "unknown"),
        ("X...?", "unknown"),
        ("X..?.", "unknown"),
        ("X..-.", "unknown"),
        ("X.0..", "unknown"),
        ("XXXXX", "still bad"),
        ("X", "stale"),
        // Windows that are not complete do not count yet.
        ("X....XXX", "recovered"),
        ("XXXX....", "still bad"),
    ] {
        let found = judge(&[Known::Value(series(letters))], at("12:10:00"));
        match expect {
            "stale" => assert!(matches!(&found, Recovery::Unknown(says) if says.contains("the newest measurement")), "{found:?}"),
            expect => assert_eq!(kind(&found), expect, "{letters}: {found:?}"),
        }
    }
}

#[test]
fn v2_the_third_window_must_be_complete() {
    let recovered_at = |now| kind(&judge(&[Known::Value(series("X........"))], at(now)));
    assert_eq!(recovered_at("12:08:59"), "unknown");
    assert_eq!(recovered_at("12:09:00"), "recovered");
}

#[test]
fn v2_the_window_in_which_it_took_effect_is_left_out() {
    let at_effect =
        |applied| kind(&recovery::judge(&[Known::Value(series("XX..."))], at("11:50:00"), at(applied), at("12:10:00")));
    assert_eq!(at_effect("12:04:00"), "recovered");
    assert_eq!(at_effect("12:04:01"), "unknown");
}

#[test]
fn v2_data_must_be_there() {
    for (signals, part) in [
        (vec![], "no signal is configured"),
        (vec![Known::Unknown("403".to_owned())], "403"),
        (vec![Known::Value(share("12:00:00", "12:08:00", |_| Some(0.002)))], "measured windows"),
        (vec![Known::Value(fault_from("11:52:00"))], "the newest measurement"),
    ] {
        let Recovery::Unknown(says) = judge(&signals, at("12:10:00")) else { panic!("unknown expected: {part}") };
        assert!(says.contains(part), "{says}");
    }
}

#[test]
fn v2_every_signal_must_be_back() {
    let good = Known::Value(series("X...."));
    let bad = Known::Value(series("XXXXX"));
    let unknown = Known::Unknown("403".to_owned());
    for (signals, expect) in [
        (vec![good.clone(), good.clone()], "recovered"),
        (vec![good.clone(), bad.clone()], "still bad"),
        (vec![good.clone(), unknown.clone()], "unknown"),
        (vec![unknown, bad, good], "still bad"),
    ] {
        assert_eq!(kind(&judge(&signals, at("12:10:00"))), expect, "{signals:?}");
    }
}

#[test]
fn v2_a_fault_that_no_signal_showed_is_not_known_to_be_over() {
    let quiet = Known::Value(share("10:30:00", "12:08:00", |_| Some(0.002)));
    let Recovery::Unknown(says) = judge(std::slice::from_ref(&quiet), at("12:10:00")) else { panic!("unknown") };
    assert!(says.starts_with("no signal showed the fault"), "{says}");
    // Another one did.
    assert_eq!(kind(&judge(&[quiet.clone(), Known::Value(series("X...."))], at("12:10:00"))), "recovered");
    assert_eq!(kind(&judge(&[quiet, Known::Value(series("XXXXX"))], at("12:10:00"))), "still bad");
    // What was out of range before the accused version, or after it was gone, is not its fault.
    for out in ["11:49:00", "12:03:00"] {
        let blip = Known::Value(share("10:30:00", "12:08:00", |end| Some(if end == at(out) { 0.31 } else { 0.002 })));
        assert_eq!(kind(&judge(&[blip], at("12:10:00"))), "unknown", "{out}");
    }
}

#[test]
fn v2_the_sentence_names_the_signal_and_its_values() {
    let Recovery::Recovered(says) = judge(&[Known::Value(series("X...."))], at("12:10:00")) else { panic!("recovered") };
    assert_eq!(says, "`Http5xx of Requests` is back at 0.2 % (usual 0.2 %) in 3 windows in a row");
    let Recovery::StillBad(says) = judge(&[Known::Value(series("XXXXX"))], at("12:10:00")) else { panic!("still bad") };
    assert_eq!(says, "`Http5xx of Requests` is at 31.0 % in the window that ended 2026-03-10T12:05:00Z; usual is 0.2 %");
}

#[test]
fn v4_worse_in_three_windows_in_a_row_than_ever_before_is_told_at_once() {
    for (letters, expect) in [
        ("X!!!!", "worse"),
        ("XX!!!", "worse"),
        ("X!!!X", "still bad"),
        ("X!!X!", "still bad"),
        ("XX!?!", "still bad"),
        ("XX!s!", "still bad"),
        ("X====", "still bad"),
        ("XXXXX", "still bad"),
        ("X....", "recovered"),
    ] {
        let found = judge(&[Known::Value(series(letters))], at("12:10:00"));
        assert_eq!(kind(&found), expect, "{letters}: {found:?}");
    }
    // One that got worse outweighs whatever the others say.
    for other in [Known::Value(series("X....")), Known::Value(series("XXXXX")), Known::Unknown("403".to_owned())] {
        for signals in [[other.clone(), Known::Value(series("X!!!!"))], [Known::Value(series("X!!!!")), other]] {
            assert_eq!(kind(&judge(&signals, at("12:10:00"))), "worse", "{signals:?}");
        }
    }
    let Recovery::Worse(says) = judge(&[Known::Value(series("X!!!!"))], at("12:10:00")) else { panic!("worse") };
    assert_eq!(
        says,
        "`Http5xx of Requests` got worse after the rollback: 32.1 % in the last 3 windows, against 31.0 % at worst before it; whether to go forward again is for a person to decide"
    );
}

#[test]
fn e5_too_few_requests_are_no_recovery() {
    for (letters, expect) in [("Xeeee", "recovered"), ("Xeese", "unknown"), ("Xssss", "unknown")] {
        let found = judge(&[Known::Value(series(letters))], at("12:10:00"));
        assert_eq!(kind(&found), expect, "{letters}: {found:?}");
    }
}
