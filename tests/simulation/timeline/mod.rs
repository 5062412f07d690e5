//! The deterministic simulation: real handlers on one thread, everything around them faked, all chance from one seed.

pub mod around;
pub mod bodies;
pub mod checkers;
pub mod counts;
pub mod executor;
pub mod platform;
pub mod queue;
pub mod run;
pub mod seed;
pub mod services;
pub mod store;
pub mod story;
pub mod telemetry;
pub mod time;
pub mod world;
