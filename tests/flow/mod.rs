//! Whole stories through the process.

mod commands;
mod crash;
mod platform_container_app;
mod real;
mod saga;
mod trips;
