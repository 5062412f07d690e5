//! Whole stories through the process.

mod commands;
mod crash;
mod platform_arm_deployment;
mod real;
mod saga;
mod trips;
