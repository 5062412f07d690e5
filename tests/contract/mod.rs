//! Suites that hold every implementation of a port to the port's promises.

mod incoming;
mod queue;
mod sqlite;
mod store;
mod service_bus;
