//! host
pub mod delivery;
