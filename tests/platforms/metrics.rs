//! Platform metrics: the question, and what each kind of silence in the answer means.

use std::sync::Arc;

use backout::{
    domain::{
        resource_id::ResourceId,
        series::{EvidenceMetric, NoData, Point, Series, WorseWhen},
    },
    ports::{PortError, PortErrorKind, Telemetry},
    telemetry::AzureMetrics,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::server::{FakeAzure, Reply, SITE};

fn metric(name: &str, of: Option<&str>) -> EvidenceMetric {
    EvidenceMetric {
        metric: name.to_owned(),
        of: of.map(str::to_owned),
        worse_when: WorseWhen::Higher,
        no_data: NoData::Unknown,
        resource: None,
    }
}

fn metrics_of(resource: &str) -> String {
    format!("GET {resource}/providers/Microsoft.Insights/metrics")
}

async fn ask(azure: &FakeAzure, metric: &EvidenceMetric) -> Result<Series, PortError> {
    let (from, to) = ("2026-11-25T10:00:20Z".parse().unwrap(), "2026-11-25T10:03:40Z".parse().unwrap());
    AzureMetrics::new(Arc::new(azure.arm())).series(metric, &ResourceId::parse(SITE).unwrap(), from, to).await
}

async fn answer(metric: &EvidenceMetric, body: Value) -> Result<Series, PortError> {
    let azure = FakeAzure::start().await;
    azure.on(&metrics_of(SITE), [Reply::json(200, &body)]);
    ask(&azure, metric).await
}

fn named(name: &str, timeseries: &Value) -> Value {
    json!({"name": {"value": name, "localizedValue": "x"}, "unit": "Count", "errorCode": "Success", "timeseries": timeseries})
}

fn one_series(data: &Value) -> Value {
    json!([{"metadatavalues": [], "data": data}])
}

fn point(end: &str, value: Option<f64>, weight: Option<f64>) -> Point {
    Point { end: format!("2026-11-25T{end}Z").parse().unwrap(), value, weight }
}

#[tokio::test]
async fn a_share_is_asked_in_one_request_over_whole_bins() {
    let azure = FakeAzure::start().await;
    let body = json!({"interval": "PT1M", "value": [
        named("http5xx", &one_series(&json!([{"timeStamp": "2026-11-25T10:00:00Z", "total": 5.0}, {"timeStamp": "2026-11-25T10:01:00Z"}]))),
        named("Requests", &one_series(&json!([{"timeStamp": "2026-11-25T10:00:00Z", "total": 50},
            {"timeStamp": "2026-11-25T10:01:00Z", "total": 40}, {"timeStamp": "2026-11-25T10:02:00Z"}])))]});
    azure.on(&metrics_of(SITE), [Reply::json(200, &body)]);
    let series = ask(&azure, &metric("Http5xx", Some("Requests"))).await.unwrap();
    assert_eq!(series.name, "Http5xx of Requests");
    assert_eq!(series.interval, SignedDuration::from_mins(1));
    assert_eq!(series.source_lag, SignedDuration::from_mins(3));
    assert_eq!(
        series.points,
        [point("10:01:00", Some(0.1), Some(50.0)), point("10:02:00", Some(0.0), Some(40.0)), point("10:03:00", None, None)]
    );
    let recorded = azure.recorded();
    assert_eq!(recorded.len(), 1);
    assert_eq!(
        recorded[0].query,
        "api-version=2024-02-01&timespan=2026-11-25T10%3A00%3A00Z%2F2026-11-25T10%3A03%3A00Z&interval=PT1M\
         &metricnames=Http5xx%2CRequests&aggregation=total"
    );
    assert_eq!(recorded[0].header("authorization"), Some("Bearer reader-token"));
}

#[tokio::test]
async fn each_metric_is_asked_as_it_is_kept() {
    let components =
        "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/microsoft.insights/components/shop";
    let rows = [
        (SITE, metric("Http5xx", None), "PT1M", "total"),
        (SITE, metric("HttpResponseTime", None), "PT1M", "average"),
        (SITE, metric("HealthCheckStatus", None), "PT5M", "average"),
        (SITE, metric("MemoryWorkingSet", None), "PT1M", "average"),
        (components, metric("requests/failed", Some("requests/count")), "PT1M", "count"),
        (components, metric("requests/duration", None), "PT1M", "average"),
        (components, metric("availabilityResults/availabilityPercentage", None), "PT1M", "average"),
    ];
    for (resource, mut metric, interval, aggregation) in rows {
        let azure = FakeAzure::start().await;
        azure.on(&metrics_of(resource), [Reply::json(200, &json!({"value": []}))]);
        metric.resource = Some(ResourceId::parse(resource).unwrap());
        let (from, to) = ("2026-11-25T10:00:00Z".parse().unwrap(), "2026-11-25T10:10:00Z".parse().unwrap());
        let telemetry = AzureMetrics::new(Arc::new(azure.arm()));
        let series = telemetry.series(&metric, &ResourceId::parse(SITE).unwrap(), from, to).await.unwrap();
        assert!(series.points.iter().all(|p| p.value.is_none()) && !series.points.is_empty());
        let query = &azure.recorded()[0].query;
        assert!(query.contains(&format!("&interval={interval}&")), "{query}");
        assert!(query.ends_with(&format!("&aggregation={aggregation}")), "{query}");
    }
}

#[tokio::test]
async fn silence_is_unknown_in_every_form() {
    let share = metric("Http5xx", Some("Requests"));
    let unknown = [point("10:01:00", None, None), point("10:02:00", None, None), point("10:03:00", None, None)];
    let empty = named("Http5xx", &json!([]));
    let errors = named("Http5xx", &one_series(&json!([{"timeStamp": "2026-11-25T10:00:00Z", "total": 5}])));
    let many: Vec<Value> = (0..200).map(|_| json!({"data": [{"timeStamp": "2026-11-25T10:00:00Z", "total": 1}]})).collect();
    for value in [
        json!([]),
        json!([empty, named("Requests", &json!([]))]),
        json!([errors]),
        json!([errors, named("Requests", &json!(many))]),
    ] {
        assert_eq!(answer(&share, json!({"value": value})).await.unwrap().points, unknown);
    }
    // A measured zero of the denominator: no traffic, so nothing is shown.
    let quiet = named("Requests", &one_series(&json!([{"timeStamp": "2026-11-25T10:00:00Z", "total": 0}])));
    let points = answer(&share, json!({"value": [errors, quiet]})).await.unwrap().points;
    assert_eq!(points[0], point("10:01:00", None, Some(0.0)));
    // Absent errors beside traffic are none.
    let busy = named("Requests", &one_series(&json!([{"timeStamp": "2026-11-25T10:00:00Z", "total": 8}])));
    let points = answer(&share, json!({"value": [empty, busy]})).await.unwrap().points;
    assert_eq!(points[0], point("10:01:00", Some(0.0), Some(8.0)));
    // On its own a metric has no zero, but a measured one.
    let plain = answer(&metric("Http5xx", None), json!({"value": [errors]})).await.unwrap().points;
    assert_eq!(plain, [point("10:01:00", Some(5.0), None), point("10:02:00", None, None), point("10:03:00", None, None)]);
}

#[tokio::test]
async fn series_of_instances_are_added_but_never_averaged() {
    let split = |key: &str| {
        let data = |n: u8| json!({"data": [{"timeStamp": "2026-11-25T10:01:00Z", key: n}]});
        json!([data(2), data(3)])
    };
    let requests = answer(&metric("Requests", None), json!({"value": [named("Requests", &split("total"))]})).await.unwrap();
    assert_eq!(requests.points[1], point("10:02:00", Some(5.0), None));
    let error = answer(&metric("HttpResponseTime", None), json!({"value": [named("HttpResponseTime", &split("average"))]})).await;
    assert_eq!(error.unwrap_err().kind, PortErrorKind::Invalid);
}

#[tokio::test]
async fn a_failed_read_is_an_error_and_no_silence() {
    let with_code = |code: &str| {
        let mut metric = named("Http5xx", &json!([]));
        metric["errorCode"] = json!(code);
        metric["errorMessage"] = json!("no such thing");
        json!({"value": [metric]})
    };
    let rows = [
        (Reply::json(200, &with_code("InternalServerError")), PortErrorKind::Transient),
        (Reply::json(200, &with_code("Throttled")), PortErrorKind::Throttled),
        (Reply::json(200, &with_code("BadRequest")), PortErrorKind::Invalid),
        (Reply::json(200, &json!({"interval": "PT5M", "value": []})), PortErrorKind::Invalid),
        (Reply::json(200, &json!({"cost": 1})), PortErrorKind::Invalid),
        (Reply::empty(529), PortErrorKind::Throttled),
        (Reply::empty(403), PortErrorKind::Denied),
        (Reply::empty(404), PortErrorKind::NotFound),
        (Reply::empty(503), PortErrorKind::Transient),
    ];
    for (reply, kind) in rows {
        let azure = FakeAzure::start().await;
        azure.on(&metrics_of(SITE), [reply.clone()]);
        let error = ask(&azure, &metric("Http5xx", None)).await.unwrap_err();
        assert_eq!(error.kind, kind, "{reply:?}");
        assert_eq!(error.operation, "read metrics");
    }
}

#[tokio::test]
async fn a_span_without_a_whole_bin_is_not_asked() {
    let azure = FakeAzure::start().await;
    let moment = "2026-11-25T10:00:20Z".parse().unwrap();
    let telemetry = AzureMetrics::new(Arc::new(azure.arm()));
    let series = telemetry.series(&metric("Requests", None), &ResourceId::parse(SITE).unwrap(), moment, moment).await.unwrap();
    assert_eq!(series.points, []);
    assert!(azure.recorded().is_empty());
}
