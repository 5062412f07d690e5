//! Azure Monitor metrics out of a traffic model. Shapes as in api-version 2024-02-01.

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    arm::ArmRequest,
    call::Reply,
    world::{Timeline, World},
};

/// What one minute adds to a metric.
#[derive(Debug, Clone, Copy)]
struct Sample {
    sum: f64,
    count: f64,
    each: f64,
}

/// One metric of a kind of resource.
#[derive(Debug)]
pub(super) struct Metric {
    pub name: &'static str,
    pub says: &'static str,
    pub unit: &'static str,
    pub primary: &'static str,
    pub class: &'static str,
    pub measures: Measures,
}

/// What of the traffic a metric tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum Measures {
    Requests,
    Successes,
    Failures,
    ResponseSeconds,
}

/// A resource that is measured: who serves its traffic, and how much there is.
pub(super) struct Measured<'a> {
    /// As answers show it.
    pub id: String,
    pub namespace: &'static str,
    pub metrics: &'static [Metric],
    pub requests_per_minute: Box<dyn Fn(Timestamp) -> f64 + 'a>,
    pub served: &'a Timeline<String>,
    /// While true, minutes have no value.
    pub silenced: &'a Timeline<bool>,
}

/// Of sites and slots.
pub(super) const SITE_METRICS: &[Metric] = &[
    Metric {
        name: "Requests",
        says: "Requests",
        unit: "Count",
        primary: "Total",
        class: "Transactions",
        measures: Measures::Requests,
    },
    Metric {
        name: "Http2xx",
        says: "Http 2xx",
        unit: "Count",
        primary: "Total",
        class: "Transactions",
        measures: Measures::Successes,
    },
    Metric {
        name: "Http5xx",
        says: "Http Server Errors",
        unit: "Count",
        primary: "Total",
        class: "Errors",
        measures: Measures::Failures,
    },
    Metric {
        name: "HttpResponseTime",
        says: "Response Time",
        unit: "Seconds",
        primary: "Average",
        class: "Latency",
        measures: Measures::ResponseSeconds,
    },
];
/// Of Application Insights components.
pub(super) const COMPONENT_METRICS: &[Metric] = &[
    Metric {
        name: "requests/count",
        says: "Server requests",
        unit: "Count",
        primary: "Count",
        class: "Transactions",
        measures: Measures::Requests,
    },
    Metric {
        name: "requests/failed",
        says: "Failed requests",
        unit: "Count",
        primary: "Count",
        class: "Errors",
        measures: Measures::Failures,
    },
];
const AGGREGATIONS: &[&str] = &["average", "minimum", "maximum", "total", "count"];
const GRAINS: &[(&str, i64)] = &[("PT1M", 1), ("PT5M", 5), ("PT15M", 15), ("PT30M", 30), ("PT1H", 60)];
const METRICS_MAX: usize = 20;
/// A longer span is refused, so that one request cannot cost without bound: 30 days.
const MINUTES_MAX: i64 = 30 * 24 * 60;

/// Answers `GET {resource}/providers/Microsoft.Insights/metrics`.
pub(super) fn answer(world: &World, request: &ArmRequest<'_>, measured: &Measured<'_>) -> Result<Reply, Reply> {
    let call = request.call;
    let namespace = measured.namespace;

    if let Some(asked) = call.parameter("metricnamespace").filter(|asked| !asked.eq_ignore_ascii_case(namespace)) {
        return Err(bad_request(&format!("Metric namespace `{asked}` does not exist for this resource; it is `{namespace}`")));
    }
    if let Some(filter) = call.parameter("$filter")
        && !filter.trim().to_ascii_lowercase().starts_with("instance eq ")
    {
        return Err(bad_request(&format!(
            "Metric: Requests does not support requested dimension combination: {filter}, supported ones are: Instance"
        )));
    }
    let interval = call.parameter("interval").unwrap_or("PT1M");
    let Some((_, grain)) = GRAINS.iter().find(|(name, _)| name.eq_ignore_ascii_case(interval)) else {
        let known: Vec<&str> = GRAINS.iter().map(|(name, _)| *name).collect();
        return Err(bad_request(&format!("Invalid time grain `{interval}`; supported ones are: {}", known.join(","))));
    };
    let (start, end) = timespan(call.parameter("timespan"), *grain)?;
    let metrics = names(call.parameter("metricnames"), measured)?;
    let aggregations = aggregations(call.parameter("aggregation"))?;

    let value: Vec<Value> = metrics
        .iter()
        .map(|metric| {
            let wanted: Vec<String> =
                if aggregations.is_empty() { vec![metric.primary.to_ascii_lowercase()] } else { aggregations.clone() };
            let mut data = Vec::new();
            let mut bin = start;
            while bin < end && bin < request.now {
                let samples = samples(world, measured, metric.measures, bin, *grain, request.now);
                data.push(point(bin, &samples, &wanted));
                bin = minutes_later(bin, *grain);
            }
            json!({
                "id": format!("{}/providers/Microsoft.Insights/metrics/{}", measured.id, metric.name),
                "type": "Microsoft.Insights/metrics",
                "name": { "value": metric.name, "localizedValue": metric.says },
                "displayDescription": metric.says,
                "unit": metric.unit,
                "timeseries": [{ "metadatavalues": [], "data": data }],
                "errorCode": "Success",
            })
        })
        .collect();
    Ok(Reply::json(
        StatusCode::OK,
        &json!({
            "cost": end.duration_since(start).as_mins() * i64::try_from(value.len()).unwrap_or(i64::MAX),
            "timespan": format!("{start}/{end}"),
            "interval": interval.to_ascii_uppercase(),
            "value": value,
            "namespace": namespace,
            "resourceregion": "westeurope",
        }),
    ))
}

/// Answers `GET {resource}/providers/Microsoft.Insights/metricDefinitions`.
pub(super) fn definitions(measured: &Measured<'_>) -> Reply {
    let value: Vec<Value> = measured
        .metrics
        .iter()
        .map(|metric| {
            let grains: Vec<Value> = GRAINS.iter().map(|(grain, _)| json!({ "timeGrain": grain, "retention": "P93D" })).collect();
            json!({
                "id": format!("{}/providers/microsoft.insights/metricdefinitions/{}", measured.id, metric.name),
                "resourceId": measured.id,
                "namespace": measured.namespace,
                "category": measured.namespace,
                "name": { "value": metric.name, "localizedValue": metric.says },
                "displayDescription": metric.says,
                "isDimensionRequired": false,
                "unit": metric.unit,
                "primaryAggregationType": metric.primary,
                "supportedAggregationTypes": ["None", "Average", "Minimum", "Maximum", "Total", "Count"],
                "metricAvailabilities": grains,
                "dimensions": [{ "value": "Instance", "localizedValue": "Instance" }],
                "metricClass": metric.class,
            })
        })
        .collect();
    Reply::json(StatusCode::OK, &json!({ "value": value }))
}

/// `START/END`, both explicit. The start is cut down to the grain, as bins begin there.
fn timespan(written: Option<&str>, grain: i64) -> Result<(Timestamp, Timestamp), Reply> {
    let written = written.unwrap_or_default();
    let refuse = |why: &str| bad_request(&format!("Invalid timespan `{written}`: {why}"));
    let (start, end) = written.split_once('/').ok_or_else(|| refuse("write START/END, both in UTC"))?;
    let parse = |text: &str| text.parse::<Timestamp>().map_err(|_| refuse("write START/END, both in UTC"));
    let (start, end) = (parse(start)?, parse(end)?);
    if end <= start {
        return Err(refuse("the end is not after the start"));
    }
    if end.duration_since(start).as_mins() > MINUTES_MAX {
        return Err(refuse("it is longer than 30 days"));
    }
    let seconds = grain * 60;
    let start = Timestamp::from_second(start.as_second().div_euclid(seconds) * seconds).map_err(|_| refuse("out of range"))?;
    Ok((start, end))
}

fn names(written: Option<&str>, measured: &Measured<'_>) -> Result<Vec<&'static Metric>, Reply> {
    let written: Vec<&str> = written.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if written.is_empty() {
        return Err(bad_request("At least one metric name is required in `metricnames`"));
    }
    if written.len() > METRICS_MAX {
        return Err(bad_request("Requested metrics count exceeds the maximum of 20"));
    }
    let valid: Vec<&str> = measured.metrics.iter().map(|metric| metric.name).collect();
    written
        .into_iter()
        .map(|name| {
            measured.metrics.iter().find(|metric| metric.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
                bad_request(&format!(
                    "Failed to find metric configuration for namespace: {}, metric: {name}, Valid metrics: {}",
                    measured.namespace,
                    valid.join(",")
                ))
            })
        })
        .collect()
}

fn aggregations(written: Option<&str>) -> Result<Vec<String>, Reply> {
    written
        .unwrap_or_default()
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .map(|name| {
            if AGGREGATIONS.contains(&name.as_str()) {
                Ok(name)
            } else {
                Err(bad_request(&format!("Invalid aggregation `{name}`; supported ones are: {}", AGGREGATIONS.join(","))))
            }
        })
        .collect()
}

/// The minutes of one bin that have arrived; none of them means null.
fn samples(world: &World, measured: &Measured<'_>, kind: Measures, bin: Timestamp, grain: i64, now: Timestamp) -> Vec<Sample> {
    (0..grain)
        .map(|minute| minutes_later(bin, minute))
        .filter(|minute| {
            let arrived = minutes_later(*minute, 1).checked_add(world.metrics_lag).is_ok_and(|shown| shown <= now);
            arrived && !measured.silenced.at(*minute)
        })
        .filter_map(|minute| sample(world, measured, kind, minute))
        .collect()
}

fn sample(world: &World, measured: &Measured<'_>, kind: Measures, minute: Timestamp) -> Option<Sample> {
    // A little unrest, the same in every run: -3 % to +3 % over seven minutes.
    let unrest = 1.0 + (minute.as_second().div_euclid(60).rem_euclid(7) - 3) as f64 * 0.01;
    let requests = ((measured.requests_per_minute)(minute) * unrest).round();
    let end = minutes_later(minute, 1);
    let served =
        world.site_measured_by(&measured.id).map_or_else(|| measured.served.pieces(minute, end), |site| site.served(minute, end));
    let mixed = |of: &dyn Fn(&str) -> f64| served.iter().map(|(share, build)| share * of(build)).sum::<f64>();
    let errors =
        (requests * mixed(&|build| world.builds.get(build).map_or(0.0, |behaviour| *behaviour.error_share.at(minute)))).round();
    // `sum` of every sample is what both `total` and Application Insights' `count` add up.
    let counted = |sum: f64| Some(Sample { sum, count: if measured.counts_by_count() { sum } else { 1.0 }, each: sum });
    match kind {
        Measures::Requests => counted(requests),
        Measures::Failures => counted(errors),
        Measures::Successes => counted(requests - errors),
        // Latency knows no zero: without requests there is nothing to tell.
        Measures::ResponseSeconds if requests == 0.0 => None,
        Measures::ResponseSeconds => {
            let seconds = mixed(&|build| world.builds.get(build).map_or(0.2, |behaviour| *behaviour.response_seconds.at(minute)));
            Some(Sample { sum: seconds * requests, count: requests, each: seconds })
        }
    }
}

impl Measured<'_> {
    /// Application Insights counts a request as one value; platform metrics of a minute are one value that is a sum.
    fn counts_by_count(&self) -> bool {
        self.metrics.iter().any(|metric| metric.primary == "Count")
    }
}

/// A bin without samples has its time only.
fn point(bin: Timestamp, samples: &[Sample], aggregations: &[String]) -> Value {
    let mut point = Map::from_iter([("timeStamp".to_owned(), json!(bin.to_string()))]);
    if !samples.is_empty() {
        let sum: f64 = samples.iter().map(|sample| sample.sum).sum();
        let count: f64 = samples.iter().map(|sample| sample.count).sum();
        let each = samples.iter().map(|sample| sample.each);
        for aggregation in aggregations {
            let value = match aggregation.as_str() {
                "total" => sum,
                "count" => count,
                "minimum" => each.clone().fold(f64::INFINITY, f64::min),
                "maximum" => each.clone().fold(f64::NEG_INFINITY, f64::max),
                _ => sum / count,
            };
            point.insert(aggregation.clone(), json!(value));
        }
    }
    Value::Object(point)
}

fn minutes_later(at: Timestamp, minutes: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX)
}

fn bad_request(message: &str) -> Reply {
    Reply::error(StatusCode::BAD_REQUEST, "BadRequest", message)
}
