//! Worlds on one thread and virtual time, and checkers that look for what must never be.

mod cases;
pub mod explore;
pub mod timeline;
