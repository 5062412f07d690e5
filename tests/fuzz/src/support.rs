//! The part of `tests/support` that the properties need.

#[path = "../../support/fake_alerts.rs"]
pub mod fake_alerts;
#[path = "../../support/fake_platform.rs"]
pub mod fake_platform;
#[path = "../../support/fake_queue.rs"]
pub mod fake_queue;
#[path = "../../support/fake_telemetry.rs"]
pub mod fake_telemetry;
#[path = "../../support/lethal.rs"]
pub mod lethal;
#[path = "../../support/policy.rs"]
pub mod policy;
#[path = "../../support/world.rs"]
pub mod world;
