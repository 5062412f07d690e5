//! A reading that may have failed. Unknown is neither good nor bad (invariant 5).

use serde::{Deserialize, Serialize};

/// What a read told: a value, or that it could not be known, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "known", content = "is")]
pub enum Known<T> {
    Value(T),
    Unknown(String),
}

impl<T> Known<T> {
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// Why it is unknown, in words for a person.
    pub fn why_unknown(&self) -> Option<&str> {
        match self {
            Self::Value(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }
}
