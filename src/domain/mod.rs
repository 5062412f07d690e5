//! The vocabulary: ids, events, what was seen, what was decided, what is stored. No IO, no clock.
//!
//! Everything here is a value. Times are [`jiff::Timestamp`] in UTC and arrive from outside.

pub mod alert;
pub mod approval;
pub mod decision;
pub mod deployment;
pub mod event;
pub mod glob;
pub mod instant;
pub mod known;
pub mod observation;
pub mod policy;
pub mod printable;
pub mod record;
pub mod resource_id;
pub mod right;
pub mod rollback;
pub mod rule;
pub mod series;
pub mod service;
pub mod target;
pub mod target_state;
