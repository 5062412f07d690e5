//! The answers of every platform's API, read into its own types.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error};
use serde_json::Value;

use crate::{
    azure::answer::time,
    domain::printable::printable_place,
    ports::{PortError, PortErrorKind},
};

/// Reads one answer; a wrong type of a field is an error that names the field's place, and repeats nothing of what stands there.
pub fn parse<T: DeserializeOwned>(operation: &'static str, answer: Value) -> Result<T, PortError> {
    serde_path_to_error::deserialize(answer).map_err(|error| {
        let place = printable_place(error.path());
        PortError::new(operation, PortErrorKind::Invalid, format!("the answer makes no sense at `{place}`"))
    })
}

/// A field that holds a time as [`time`] reads it, or nothing; for `deserialize_with`.
pub fn optional_time<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(field)?;
    text.map(|text| time(&text).ok_or_else(|| Error::custom("no time"))).transpose()
}
