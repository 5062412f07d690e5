//! Whole stories through the process.

mod commands;
mod crash;
mod platform_pipeline;
mod real;
mod saga;
mod trips;
