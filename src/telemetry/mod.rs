//! Where measurements and kept alerts come from. An empty answer is unknown: neither good nor bad.

pub mod combine;
pub mod azure_metrics;
pub mod alert_rules;
pub mod alerts_management;

pub use alerts_management::AlertsManagement;
pub use azure_metrics::AzureMetrics;
