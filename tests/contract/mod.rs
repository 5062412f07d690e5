//! contract

mod service_bus;
