//! backout takes a bad deployment back when an Azure Monitor alert says so.

// In the direction of the flow.
pub mod azure;
pub mod cli;
pub mod decide;
pub mod domain;
pub mod host;
pub mod inbound;
pub mod local;
pub mod notify;
pub mod observability;
pub mod platforms;
pub mod policy;
pub mod ports;
pub mod process;
pub mod settings;
pub mod sim;
pub mod telemetry;
