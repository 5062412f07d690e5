//! Times as senders write them. Source: `event-formats` 7, "Times", and 4.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::Offset,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    At(Timestamp),
    /// The first instant of the year 1: .NET's default, written where there is no time.
    Absent,
}

/// RFC 3339 with 0 to 9 fraction digits, `Z` or an offset; without a zone it is UTC. `None` if it is no such time.
pub(super) fn parse(text: &str) -> Option<Reading> {
    let text = text.trim();
    let (local, zone) = text.split_at_checked(zone_start(text)?)?;
    let local = civil(local)?;
    if is_default(local) {
        return Some(Reading::Absent);
    }
    let at = offset(zone)?.to_timestamp(local).ok()?;
    Some(Reading::At(at))
}

/// As [`parse`], and the US forms of old alert schemas, which are UTC.
pub(super) fn parse_legacy(text: &str) -> Option<Reading> {
    const US_FORMS: &[&str] = &["%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S", "%A, %B %d, %Y %I:%M:%S %p"];
    parse(text).or_else(|| {
        let local = US_FORMS.iter().find_map(|form| DateTime::strptime(form, text.trim()).ok())?;
        if is_default(local) {
            return Some(Reading::Absent);
        }
        Offset::UTC.to_timestamp(local).ok().map(Reading::At)
    })
}

/// Within a century that backout can see: nearer to the ends of time a span added to it would have no date.
pub(super) fn is_plausible(at: Timestamp) -> bool {
    const FIRST: Timestamp = Timestamp::constant(946_684_800, 0);
    const END: Timestamp = Timestamp::constant(4_102_444_800, 0);
    (FIRST..END).contains(&at)
}

fn is_default(local: DateTime) -> bool {
    local.date() == Date::constant(1, 1, 1)
}

/// Where the seconds and their fraction end; `None` if the text does not look like a date and a time.
fn zone_start(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        b'T' => byte.eq_ignore_ascii_case(&b'T'),
        other => byte == other,
    };
    if bytes.len() < shape.len() || !bytes.iter().zip(shape).all(fits) {
        return None;
    }
    if bytes.get(shape.len()) != Some(&b'.') {
        return Some(shape.len());
    }
    let digits = bytes[shape.len() + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=9).contains(&digits).then_some(shape.len() + 1 + digits)
}

fn civil(local: &str) -> Option<DateTime> {
    local.to_ascii_uppercase().parse().ok()
}

fn offset(zone: &str) -> Option<Offset> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("Z") {
        return Some(Offset::UTC);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |text: &str, below: i32| -> Option<i32> {
        let two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        two_digits.then(|| text.parse().ok())?.filter(|number| *number < below)
    };
    Offset::from_seconds(sign * (number(hours, 24)? * 3600 + number(minutes, 60)? * 60)).ok()
}
