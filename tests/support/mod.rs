//! Fakes of the ports, a world made of them, and a switch that ends the process at any call.

pub mod azurite;
pub mod broker;
pub mod cluster;
pub mod counted;
pub mod collector;
pub mod fake_alerts;
pub mod fake_notifier;
pub mod fake_platform;
pub mod fake_queue;
pub mod fake_telemetry;
pub mod kept_log;
pub mod leaks;
pub mod lethal;
pub mod load;
pub mod meddled;
pub mod outage;
pub mod policy;
pub mod program;
pub mod receiver;
pub mod redirects;
pub mod scene;
pub mod seeded;
pub mod simulated;
pub mod slots;
pub mod town;
pub mod world;
