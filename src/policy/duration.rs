//! Durations as the policy file writes them: `30s`, `60m`, `24h`, `2h30m`.

use std::borrow::Cow;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Hours, minutes and seconds in this order, each at most once.
pub const PATTERN: &str = "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?$";

/// Long enough for every span of the policy, short enough that no sum of times overflows.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A duration as written; [`DurationText::parse`] gives the value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationProblem {
    #[error("is not a duration")]
    Unreadable,
    #[error("is no time at all")]
    Zero,
    #[error("is longer than 90 days")]
    TooLong,
}

impl DurationText {
    /// The duration: more than nothing, at most 90 days.
    pub fn parse(&self) -> Result<SignedDuration, DurationProblem> {
        let text = self.0.trim();
        // jiff also reads ISO 8601, signs and fractions; one spelling is enough for a file that people compare.
        let mut units = text.chars().filter(|c| !c.is_ascii_digit());
        let in_order = match (units.next(), units.next(), units.next(), units.next()) {
            (Some('h' | 'm' | 's'), None, None, None)
            | (Some('h'), Some('m' | 's'), None, None)
            | (Some('m'), Some('s'), None, None)
            | (Some('h'), Some('m'), Some('s'), None) => true,
            (_, _, _, _) => false,
        };
        if !in_order {
            return Err(DurationProblem::Unreadable);
        }
        // Digits that overflow are "too long" in everybody's words.
        if text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.trim_start_matches('0').len() > 9) {
            return Err(DurationProblem::TooLong);
        }
        let duration: SignedDuration = text.parse().map_err(|_| DurationProblem::Unreadable)?;
        if duration.is_zero() {
            return Err(DurationProblem::Zero);
        }
        if duration > LONGEST {
            return Err(DurationProblem::TooLong);
        }
        Ok(duration)
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "description": "Hours, minutes and seconds, such as `30s`, `60m`, `24h` or `2h30m`; more than nothing, at most 90 days.",
            "examples": ["30s", "60m", "2h30m"]
        })
    }
}
