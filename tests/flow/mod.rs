//! Whole stories through the process.

mod crash;
mod real;
mod saga;
mod trips;
