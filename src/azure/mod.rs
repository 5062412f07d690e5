//! azure

pub mod service_bus;
