//! Measurements of what truly runs: late, now and then with gaps or not at all.

use backout::{
    domain::{
        resource_id::ResourceId,
        series::{EvidenceMetric, Point, Series},
    },
    ports::{PortError, PortErrorKind, Telemetry},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    counts::Kind,
    time::{MINUTE, Micros, SECOND, micros, skewed},
    world::{Handle, Side, World},
};

/// Until a bin is complete.
const LAG: Micros = 3 * MINUTE;

/// From here on a share of failed requests is a fault, for everybody.
pub const FAULT: f64 = 0.1;

const NEWEST: usize = 8;

/// What one reading of a signal told, in truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub service: usize,
    pub failed: bool,
    /// Windows that showed a fault.
    pub bad: usize,
    /// What the last windows held that were listed; whether the very last ones are complete depends on a clock.
    pub newest: [Option<f64>; NEWEST],
}

pub struct FaultyTelemetry(pub Handle);

impl World {
    /// The share of requests that truly failed at a moment.
    fn share(&self, service: usize, at: Micros) -> f64 {
        let noise = |size: f64| {
            let mixed = (at / SECOND).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(service as u64 * 77) >> 40;
            size * (mixed % 1_000) as f64 / 1_000.0
        };
        if self.story.outages[service].iter().any(|window| window.holds(at)) {
            return 0.4 + noise(0.05);
        }
        for (distance, upstream) in self.story.upstream[service].iter().enumerate() {
            let serves = self.sites[*upstream].served.iter().rev().find(|(since, _)| *since <= at);
            if serves.is_some_and(|(_, build)| self.story.is_bad(*build)) {
                return if distance == 0 { 0.31 } else { 0.2 } + noise(0.03);
            }
        }
        0.001 + noise(0.001)
    }

    fn read(&mut self, service: usize, from: Timestamp, to: Timestamp) -> (Vec<Point>, Reading) {
        let interval = Micros::from(self.story.interval_minutes) * MINUTE;
        let gappy = self.faults && self.chance.happens(self.weather.gaps);
        let blind_from = if gappy { self.now.saturating_sub(self.chance.between(0, 40 * MINUTE)) } else { Micros::MAX };
        let blind_to = if gappy { self.now.saturating_sub(self.chance.between(0, 20 * MINUTE)) } else { 0 };
        if gappy {
            self.count(Kind::Gap);
        }
        // The beginning of all timelines lies on a whole minute of every interval.
        let interval_seconds = i64::from(self.story.interval_minutes) * 60;
        let first = from.as_second().div_euclid(interval_seconds) * interval_seconds + interval_seconds;
        let (beginning, now) = (skewed(0, 0).as_second(), skewed(self.now, 0).min(to).as_second());
        let complete = micros(skewed(self.now, 0)).saturating_sub(LAG);
        let mut points = Vec::with_capacity(usize::try_from((now - first) / interval_seconds + 2).unwrap_or(0));
        let mut reading = Reading { service, failed: false, bad: 0, newest: [None; NEWEST] };
        let mut end = first;
        while end <= now {
            let end_micros = u64::try_from((end - beginning).max(0)).unwrap_or(0) * SECOND;
            let start = end_micros.saturating_sub(interval);
            // Incomplete bins show what has come in so far, or nothing.
            let incomplete = end_micros > complete && self.chance.next() & 1 == 0;
            let unknown = incomplete || (start >= blind_from && start < blind_to);
            let value = (!unknown).then(|| self.share(service, start));
            reading.bad += usize::from(value.is_some_and(|share| share > FAULT));
            reading.newest.rotate_left(1);
            reading.newest[NEWEST - 1] = value;
            points.push(Point {
                end: Timestamp::from_second(end).unwrap_or(Timestamp::MAX),
                value,
                weight: value.map(|_| 300.0),
            });
            end += interval_seconds;
        }
        (points, reading)
    }
}

#[async_trait::async_trait]
impl Telemetry for FaultyTelemetry {
    async fn series(
        &self,
        metric: &EvidenceMetric,
        resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError> {
        let travel = self.0.set_out(Side::Telemetry).await;
        let name = metric.resource.as_ref().unwrap_or(resource).name();
        let service = self.0.with(|world| world.story.services.iter().position(|known| known.name.0.eq_ignore_ascii_case(name)));
        let Some(service) = service else {
            return Err(PortError::new("read a metric", PortErrorKind::NotFound, "404 ResourceNotFound"));
        };
        let (points, mut reading) = self.0.with(|world| world.read(service, from, to));
        self.0.come_back(travel, Side::Telemetry).await;
        reading.failed = travel.fault.is_some();
        let interval = self.0.with(|world| {
            world.measured(reading);
            world.story.interval_minutes
        });
        if travel.fault.is_some() {
            return Err(PortError::new("read a metric", PortErrorKind::Transient, "no answer from the metrics"));
        }
        Ok(Series {
            name: metric.name(),
            worse_when: metric.worse_when,
            interval: SignedDuration::from_mins(i64::from(interval)),
            source_lag: SignedDuration::from_mins(3),
            points,
        })
    }
}
