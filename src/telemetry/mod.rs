//! Where measurements come from. An empty answer is unknown: neither good nor bad.

pub mod combine;
pub mod azure_metrics;

pub use azure_metrics::AzureMetrics;
