//! Whole stories through the process.

mod commands;
mod crash;
mod saga;
mod trips;
