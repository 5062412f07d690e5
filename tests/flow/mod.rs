//! Whole stories through the process.

mod commands;
mod crash;
mod platform_logic_app;
mod real;
mod saga;
mod trips;
