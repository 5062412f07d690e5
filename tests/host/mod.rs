//! The host server, and the emulator of the host that stands on the other side.

mod emulator;
mod envelope;
mod files;
mod logs;
mod process;
mod router;
pub mod scripted;
mod verdict;
mod webhook;
