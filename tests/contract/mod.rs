//! Suites that hold every implementation of a port to the port's promises.

mod alerts;
mod calm;
mod incoming;
mod notifier;
mod platform;
mod queue;
mod sqlite;
mod store;
mod service_bus;
mod telemetry;
