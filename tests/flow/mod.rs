//! Whole stories through the process.

mod commands;
mod crash;
mod real;
mod saga;
mod trips;
