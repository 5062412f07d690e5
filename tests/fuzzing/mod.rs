//! Fuzzing without a fuzzer: every kept input of `tests/fuzz`, and changed copies of them, through the same properties.

mod kept;
mod recording;

#[path = "../fuzz/properties/mod.rs"]
mod properties;

use crate::support;
