//! The part of `tests/support` that the properties need.

#[path = "../../support/fake_alerts.rs"]
pub mod fake_alerts;
#[path = "../../support/fake_notifier.rs"]
pub mod fake_notifier;
#[path = "../../support/fake_platform.rs"]
pub mod fake_platform;
#[path = "../../support/fake_queue.rs"]
pub mod fake_queue;
#[path = "../../support/fake_telemetry.rs"]
pub mod fake_telemetry;
/// The log is not searched here: what a fuzzer writes into a message may look like a token, and is logged as what it is.
pub mod leaks {
    use std::sync::Arc;

    use backout::process::{Policies, Ports, Process};

    pub fn watched_process(ports: Ports, policies: Arc<dyn Policies>) -> Process {
        Process::new(ports, policies, None, None)
    }
}
#[path = "../../support/lethal.rs"]
pub mod lethal;
#[path = "../../support/policy.rs"]
pub mod policy;
#[path = "../../support/world.rs"]
pub mod world;
