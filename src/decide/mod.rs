//! The judgement, pure: the same case gives the same decision. Time, readings and settings arrive as values.
//!
//! One file a question: [`who`] is meant, what the [`evidence`] says, which change is the [`cause`], whether it is
//! bigger than us ([`storm`]), whether the [`way_back`] is safe, whether we may act now ([`once`]); [`outcome`] weighs
//! the answers. [`serving`] tells what served when; [`progress`] and [`recovery`] judge a rollback under way, [`history`] keeps what is known of a target.

pub mod case;
pub mod cause;
pub mod evidence;
pub mod history;
pub mod once;
pub mod outcome;
pub mod progress;
pub mod recovery;
pub mod serving;
pub mod storm;
pub mod way_back;
pub mod who;

pub use outcome::{decide, decide_without_reading};
