//! process
pub mod outcome;
