//! Whole stories through the process.

mod commands;
mod crash;
mod put_back;
mod kill_matrix;
mod real;
mod saga;
mod storm;
mod told_once;
mod trips;
mod two_services;
