//! Whole stories through the process.

mod crash;
mod saga;
mod trips;
