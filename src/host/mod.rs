//! host
pub mod delivery;
pub mod dispatch;
