//! The deterministic simulation: real handlers, real decisions, everything around them faked; one thread, virtual time, one seed.
//!
//! [`story`] makes a timeline of a seed: services over all platforms, deployments good and bad, alerts true and false, and how much
//! goes wrong. [`run`] starts two or three handlers ([`host::dispatch`](backout::host::dispatch), as the host and the pump call it)
//! over fakes of their ports, and lets [`executor`] decide by chance who goes on next: each call through a port takes a while of
//! virtual time, may fail before or after its effect, and may be the last thing that its instance does. [`world`] keeps the truth,
//! and [`checkers`] judge by that alone.
//!
//! # To read a failure
//!
//! A failing run ends with the seed, the invariant and two commands. `cargo sim --seed N` tells that timeline from its begin, one
//! line an event in virtual time, lines of the truth indented: what was sent, what a platform answered, which document changed how.
//! The second command leaves out what the failure does not need: lines of the story (`--without`), parts of the weather
//! (`--still`). Read it from the line `BROKEN` upwards: the last `takes message` is the invocation that broke it, `is busy with` and
//! `is free` bracket each rollback. The same seed tells the same timeline, until the code calls its ports in another order; so a seed
//! that once failed is kept in `simulation::cases::REGRESSIONS` with a word why, beside a small test of the flow itself.
//!
//! # To see a checker fail
//!
//! `cargo sim --bug retry-post` puts a bug between the handlers and their ports; [`bugs`] has them all, and says which invariant
//! each breaks. `cargo sim --bugs` tries every one.

pub mod around;
pub mod bodies;
pub mod bugs;
pub mod checkers;
pub mod counts;
pub mod executor;
pub mod hunt;
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
