//! Instants as people read them; what is stored keeps its full precision.

use std::fmt;

use jiff::Timestamp;

/// RFC 3339 in UTC, whole seconds, such as `2026-03-10T11:50:00Z`; what is below a second is cut off.
pub fn whole_seconds(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%dT%H:%M:%SZ")
}

#[cfg(test)]
mod tests {
    use super::whole_seconds;

    #[test]
    fn below_a_second_nothing_is_shown() {
        for (at, shown) in [
            ("2026-03-10T11:50:00Z", "2026-03-10T11:50:00Z"),
            ("2026-03-10T11:50:00.999999999Z", "2026-03-10T11:50:00Z"),
            ("2026-03-10T13:50:59.5+02:00", "2026-03-10T11:50:59Z"),
        ] {
            assert_eq!(whole_seconds(at.parse().unwrap()).to_string(), shown);
        }
    }
}
