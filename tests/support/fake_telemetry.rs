//! Measurements that follow what runs: bad builds fail.

use std::sync::{Arc, Mutex};

use backout::{
    domain::{
        resource_id::ResourceId,
        series::{EvidenceMetric, Point, Series},
    },
    ports::{PortError, PortErrorKind, Telemetry},
};
use jiff::{SignedDuration, Timestamp};

/// From a time on, the share of errors; `None` is no data.
type Change = (Timestamp, Option<f64>);

#[derive(Clone, Default)]
pub struct FakeTelemetry {
    changes: Arc<Mutex<Vec<Change>>>,
    /// Where nothing is measured: such a resource is not there.
    missing: Arc<Mutex<Vec<ResourceId>>>,
}

impl FakeTelemetry {
    /// From `at` on the share of errors is `share`; `None` is no data.
    pub fn from(&self, at: Timestamp, share: Option<f64>) {
        let mut changes = self.changes.lock().unwrap();
        if changes.last().is_none_or(|(_, last)| *last != share) {
            changes.push((at, share));
        }
    }

    /// Somebody deletes a resource.
    pub fn delete(&self, resource: &ResourceId) {
        self.missing.lock().unwrap().push(resource.clone());
    }
}

#[async_trait::async_trait]
impl Telemetry for FakeTelemetry {
    async fn series(
        &self,
        metric: &EvidenceMetric,
        resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError> {
        if self.missing.lock().unwrap().contains(metric.resource.as_ref().unwrap_or(resource)) {
            return Err(PortError::new("read a metric", PortErrorKind::NotFound, "404 ResourceNotFound"));
        }
        let interval = SignedDuration::from_mins(1);
        let changes = self.changes.lock().unwrap().clone();
        let mut points = Vec::new();
        let mut end = Timestamp::from_second(from.as_second().div_euclid(60) * 60 + 60).unwrap();
        while end <= to {
            let start = end - interval;
            let share = changes.iter().rev().find(|(at, _)| *at <= start).map_or(Some(0.001), |(_, share)| *share);
            points.push(Point { end, value: share, weight: share.map(|_| 300.0) });
            end += interval;
        }
        Ok(Series {
            name: metric.name(),
            worse_when: metric.worse_when,
            interval,
            source_lag: SignedDuration::from_mins(3),
            points,
        })
    }
}
