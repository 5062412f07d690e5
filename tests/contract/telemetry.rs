//! The promises of measurements, one function each: over both fakes, and over Azure Monitor's metrics of a simulated site.

use std::{sync::Arc, time::Duration};

use backout::{
    domain::{
        resource_id::ResourceId,
        series::{EvidenceMetric, NoData, Point, WorseWhen},
    },
    ports::{Clock, PortErrorKind, Telemetry},
    sim::clock::ManualClock,
};
use jiff::{SignedDuration, Timestamp};

use super::calm::CalmWorld;
use crate::{
    simulation::timeline::{
        around::SkewedClock,
        services::signal_resource,
        story::{Part, Story},
        telemetry::FaultyTelemetry,
    },
    support::{fake_telemetry::FakeTelemetry, policy::site, slots::SlotScene},
};

macro_rules! holds_for {
    ($kind:ident => $source:expr; $($promise:ident)*) => {
        mod $kind {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let source = $source;
                    source.play(super::$promise(&source)).await;
                }
            )*
        }
    };
}

macro_rules! all_promises {
    ($($kind:ident => $source:expr, $($more:ident)*;)*) => {
        $(holds_for! { $kind => $source;
            every_bin_of_the_range_is_one_point_in_order
            what_was_measured_has_a_value_and_a_weight
            a_bin_that_was_not_measured_is_unknown_and_not_zero
            a_resource_that_is_not_there_is_an_error
            the_metric_may_name_another_resource
            $($more)*
        })*
    };
}

all_promises! {
    flow_fake => FakeSource::open(), no_data_at_all_is_no_error;
    // Its gaps come by chance: no reading is sure to be all gap.
    timeline => TimelineSource::open(),;
    azure_metrics => AzureSource::open().await, no_data_at_all_is_no_error;
}

const MINUTE: Duration = Duration::from_mins(1);

/// Readings until one must have had a gap.
const READINGS_MAX: usize = 200;

/// Somewhere that counts requests and failures.
trait Source {
    fn telemetry(&self) -> Arc<dyn Telemetry>;

    fn clock(&self) -> Arc<dyn Clock>;

    fn measured(&self) -> ResourceId;

    fn nowhere(&self) -> ResourceId;

    /// From now on, and until it is over, bins may be missing.
    fn lose_bins(&self);

    fn lose_no_more_bins(&self);

    async fn pass(&self, span: Duration);

    async fn play(&self, story: impl Future<Output = ()>) {
        story.await;
    }
}

fn errors() -> EvidenceMetric {
    EvidenceMetric {
        metric: "Http5xx".to_owned(),
        of: Some("Requests".to_owned()),
        worse_when: WorseWhen::Higher,
        no_data: NoData::Zero,
        resource: None,
    }
}

/// The half hour that ended a quarter of an hour ago, when every bin was complete, by times that no bin begins or ends at.
fn past(source: &impl Source) -> (Timestamp, Timestamp) {
    let minute = Timestamp::from_second(source.clock().now().as_second().div_euclid(60) * 60).unwrap();
    (minute - SignedDuration::from_secs(45 * 60 - 20), minute - SignedDuration::from_secs(15 * 60 - 40))
}

async fn read(source: &impl Source) -> Vec<Point> {
    let (from, to) = past(source);
    source.telemetry().series(&errors(), &source.measured(), from, to).await.unwrap().points
}

fn bin(moment: Timestamp, interval: SignedDuration) -> i64 {
    moment.as_second().div_euclid(interval.as_secs())
}

async fn every_bin_of_the_range_is_one_point_in_order(source: &impl Source) {
    source.pass(60 * MINUTE).await;
    let (from, to) = past(source);
    let series = source.telemetry().series(&errors(), &source.measured(), from, to).await.unwrap();
    assert_eq!((series.name.as_str(), series.worse_when), ("Http5xx of Requests", WorseWhen::Higher));
    let bins = bin(from, series.interval) + 1..=bin(to, series.interval);
    let expected: Vec<i64> = bins.map(|number| number * series.interval.as_secs()).collect();
    let ends: Vec<i64> = series.points.iter().map(|point| point.end.as_second()).collect();
    assert_eq!(ends, expected, "every {} from {from} to {to}", series.interval);
    assert!(series.points.iter().all(|point| point.end.subsec_nanosecond() == 0));
}

async fn what_was_measured_has_a_value_and_a_weight(source: &impl Source) {
    source.pass(60 * MINUTE).await;
    for point in read(source).await {
        assert!(point.value.is_some_and(|share| (0.0..=1.0).contains(&share)), "{point:?}");
        assert!(point.weight.is_some_and(|requests| requests > 0.0), "{point:?}");
    }
}

async fn a_bin_that_was_not_measured_is_unknown_and_not_zero(source: &impl Source) {
    source.pass(60 * MINUTE).await;
    let whole = read(source).await.len();
    source.lose_bins();
    source.pass(10 * MINUTE).await;
    source.lose_no_more_bins();
    source.pass(20 * MINUTE).await;
    for _ in 0..READINGS_MAX {
        let points = read(source).await;
        assert_eq!(points.len(), whole, "a gap is listed");
        let unknown: Vec<&Point> = points.iter().filter(|point| point.value.is_none()).collect();
        // Not even where the policy takes a missing count for zero: the denominator is missing too.
        assert!(unknown.iter().all(|point| point.weight.is_none()), "{unknown:?}");
        if !unknown.is_empty() && unknown.len() < points.len() {
            return;
        }
    }
    panic!("no gap");
}

async fn no_data_at_all_is_no_error(source: &impl Source) {
    source.lose_bins();
    source.pass(60 * MINUTE).await;
    let points = read(source).await;
    assert!(!points.is_empty() && points.iter().all(|point| point.value.is_none() && point.weight.is_none()), "{points:?}");
}

async fn a_resource_that_is_not_there_is_an_error(source: &impl Source) {
    source.pass(60 * MINUTE).await;
    let (from, to) = past(source);
    let read = source.telemetry().series(&errors(), &source.nowhere(), from, to).await;
    assert_eq!(read.unwrap_err().kind, PortErrorKind::NotFound);
}

async fn the_metric_may_name_another_resource(source: &impl Source) {
    source.pass(60 * MINUTE).await;
    let (from, to) = past(source);
    let elsewhere = |resource: ResourceId| EvidenceMetric { resource: Some(resource), ..errors() };
    let telemetry = source.telemetry();
    let there = telemetry.series(&elsewhere(source.measured()), &source.nowhere(), from, to).await.unwrap();
    assert_eq!(there.points, read(source).await);
    let nowhere = telemetry.series(&elsewhere(source.nowhere()), &source.measured(), from, to).await;
    assert_eq!(nowhere.unwrap_err().kind, PortErrorKind::NotFound);
}

struct FakeSource {
    clock: Arc<ManualClock>,
    telemetry: FakeTelemetry,
}

impl FakeSource {
    fn open() -> Self {
        let clock = Arc::new(ManualClock::at("2026-03-02T03:00:00Z".parse().unwrap()));
        let telemetry = FakeTelemetry::default();
        telemetry.delete(&site("gone"));
        Self { clock, telemetry }
    }
}

impl Source for FakeSource {
    fn telemetry(&self) -> Arc<dyn Telemetry> {
        Arc::new(self.telemetry.clone())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn measured(&self) -> ResourceId {
        site("checkout")
    }

    fn nowhere(&self) -> ResourceId {
        site("gone")
    }

    fn lose_bins(&self) {
        self.telemetry.from(self.clock.now(), None);
    }

    fn lose_no_more_bins(&self) {
        self.telemetry.from(self.clock.now(), Some(0.001));
    }

    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}

/// The fake of the simulation.
struct TimelineSource {
    world: CalmWorld,
    measured: ResourceId,
}

impl TimelineSource {
    fn open() -> Self {
        let story = Story::of(0);
        let measured = signal_resource(&story.services[0]);
        Self { world: CalmWorld::of(story, 0), measured }
    }
}

impl Source for TimelineSource {
    fn telemetry(&self) -> Arc<dyn Telemetry> {
        Arc::new(FaultyTelemetry(self.world.handle.clone()))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SkewedClock(self.world.handle.clone()))
    }

    fn measured(&self) -> ResourceId {
        self.measured.clone()
    }

    fn nowhere(&self) -> ResourceId {
        site("in no story")
    }

    /// The only weather there is.
    fn lose_bins(&self) {
        self.world.handle.with(|world| {
            for part in Part::ALL {
                world.weather.still(part);
            }
            world.weather.gaps = 10_000;
            world.faults = true;
        });
    }

    /// A gap is of each reading, so it goes on.
    fn lose_no_more_bins(&self) {}

    async fn pass(&self, span: Duration) {
        self.world.pass(span).await;
    }

    async fn play(&self, story: impl Future<Output = ()>) {
        self.world.play(story);
    }
}

/// The real metrics.
struct AzureSource {
    scene: SlotScene,
}

impl AzureSource {
    async fn open() -> Self {
        Self { scene: SlotScene::open().await }
    }
}

impl Source for AzureSource {
    fn telemetry(&self) -> Arc<dyn Telemetry> {
        self.scene.ports.telemetry.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.scene.clock.clone()
    }

    fn measured(&self) -> ResourceId {
        self.scene.site.clone()
    }

    fn nowhere(&self) -> ResourceId {
        site("gone")
    }

    fn lose_bins(&self) {
        self.scene.azure.silence_metrics(&self.scene.site, true);
    }

    fn lose_no_more_bins(&self) {
        self.scene.azure.silence_metrics(&self.scene.site, false);
    }

    async fn pass(&self, span: Duration) {
        self.scene.clock.advance(span);
    }
}

impl Drop for AzureSource {
    fn drop(&mut self) {
        self.scene.azure.stop();
    }
}
