//! Whole stories through the process.

mod commands;
mod crash;
mod platform_kubernetes;
mod real;
mod saga;
mod trips;
