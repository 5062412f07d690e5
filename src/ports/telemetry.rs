//! Measurements that show a fault and its end.

use jiff::Timestamp;

use super::PortError;
use crate::domain::{
    resource_id::ResourceId,
    series::{EvidenceMetric, Series},
};

#[async_trait::async_trait]
pub trait Telemetry: Send + Sync {
    /// The signal between `from` and `to`. `resource` is where it lives unless the metric names another.
    ///
    /// A bin without a value is a point with `None`; no data at all is a series without known points, not an error.
    /// Points carry the end of their window: one for each bin that has ended, after `from` and not after `to`, the oldest first.
    /// The resource is not there: [`super::PortErrorKind::NotFound`].
    async fn series(
        &self,
        metric: &EvidenceMetric,
        resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError>;
}
