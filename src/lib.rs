//! backout takes a bad deployment back when an Azure Monitor alert says so.

// In the direction of the flow.
pub mod host;
pub mod inbound;
pub mod domain;
pub mod decide;
pub mod process;
pub mod ports;
pub mod platforms;
pub mod telemetry;
pub mod notify;
pub mod azure;
pub mod local;
pub mod settings;
pub mod policy;
pub mod cli;
pub mod observability;
pub mod sim;
