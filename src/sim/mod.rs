//! sim
pub mod host;
