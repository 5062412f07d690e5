//! Azure Monitor's platform metrics through resource manager, api-version 2024-02-01.
//!
//! Source: the generated client azure-mgmt-monitor, the documentation of supported metrics and of metrics troubleshooting.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::combine::{Bins, plain, share};
use crate::{
    azure::{
        answer::{clean, time},
        resource_manager::ResourceManager,
        resource_path::{encoded, resource_path},
    },
    domain::{
        printable::printable_place,
        resource_id::ResourceId,
        series::{EvidenceMetric, Point, Series},
    },
    ports::{PortError, PortErrorKind, Telemetry},
};

const OPERATION: &str = "read metrics";

/// The newest bins are filled for "a couple of minutes" after their end.
const SOURCE_LAG: SignedDuration = SignedDuration::from_mins(3);

/// From so many series on, the answer may be cut, which nothing marks.
const SERIES_MAX: usize = 200;

pub struct AzureMetrics {
    arm: Arc<ResourceManager>,
}

impl AzureMetrics {
    pub fn new(arm: Arc<ResourceManager>) -> Self {
        Self { arm }
    }
}

#[async_trait::async_trait]
impl Telemetry for AzureMetrics {
    async fn series(
        &self,
        metric: &EvidenceMetric,
        resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError> {
        let question = Question::new(metric, resource, from, to);
        let points = if question.from >= question.to {
            Vec::new()
        } else {
            let answer = self.arm.read(OPERATION, &question.path_and_query()).await?;
            question.points(answer)?
        };
        Ok(Series {
            name: metric.name(),
            worse_when: metric.worse_when,
            interval: question.grain.interval(),
            source_lag: SOURCE_LAG,
            points,
        })
    }
}

/// One request: a metric and what it is a share of, over whole bins.
struct Question<'a> {
    metric: &'a EvidenceMetric,
    resource: &'a ResourceId,
    resource_type: String,
    grain: Grain,
    from: Timestamp,
    to: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grain {
    OneMinute,
    FiveMinutes,
}

impl Grain {
    fn of(metric: &EvidenceMetric) -> Self {
        let only_by_five = |name: &str| name.eq_ignore_ascii_case("HealthCheckStatus");
        if only_by_five(&metric.metric) || metric.of.as_deref().is_some_and(only_by_five) {
            Self::FiveMinutes
        } else {
            Self::OneMinute
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::OneMinute => "PT1M",
            Self::FiveMinutes => "PT5M",
        }
    }

    fn interval(self) -> SignedDuration {
        match self {
            Self::OneMinute => SignedDuration::from_mins(1),
            Self::FiveMinutes => SignedDuration::from_mins(5),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregation {
    Total,
    Count,
    Average,
    Maximum,
}

impl Aggregation {
    /// What a metric supports, by its name. Application Insights counters are counts of samples, not totals.
    fn of(metric: &str, resource_type: &str) -> Self {
        const AVERAGES: [&str; 9] = [
            "healthcheckstatus",
            "appconnections",
            "memoryworkingset",
            "averagememoryworkingset",
            "workingsetbytes",
            "usagenanocores",
            "deadletteredmessages",
            "activemessages",
            "workflowjobexecutiondelay",
        ];
        const AVERAGE_ENDS: [&str; 4] = ["time", "duration", "latency", "percentage"];
        let name = metric.to_ascii_lowercase();
        if AVERAGES.contains(&name.as_str()) || AVERAGE_ENDS.iter().any(|end| name.ends_with(end)) {
            Self::Average
        } else if ["replicas", "restartcount"].contains(&name.as_str()) {
            Self::Maximum
        } else if resource_type == "microsoft.insights/components" {
            Self::Count
        } else {
            Self::Total
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Count => "count",
            Self::Average => "average",
            Self::Maximum => "maximum",
        }
    }

    fn is_additive(self) -> bool {
        match self {
            Self::Total | Self::Count => true,
            Self::Average | Self::Maximum => false,
        }
    }
}

impl<'a> Question<'a> {
    fn new(metric: &'a EvidenceMetric, resource: &'a ResourceId, from: Timestamp, to: Timestamp) -> Self {
        let resource = metric.resource.as_ref().unwrap_or(resource);
        let grain = Grain::of(metric);
        Self {
            metric,
            resource,
            resource_type: resource.resource_type().unwrap_or_default(),
            grain,
            from: start_of_bin(from, grain),
            to: start_of_bin(to, grain),
        }
    }

    fn names(&self) -> Vec<&'a str> {
        let mut names = vec![self.metric.metric.as_str()];
        names.extend(self.metric.of.as_deref().filter(|of| !of.eq_ignore_ascii_case(&self.metric.metric)));
        names
    }

    fn path_and_query(&self) -> String {
        let names = self.names();
        let mut aggregations: Vec<&str> = names.iter().map(|name| Aggregation::of(name, &self.resource_type).as_str()).collect();
        aggregations.dedup();
        // A comma separates names; one inside a name could only come from a mistaken policy, and is encoded twice over.
        let names: Vec<String> = names.into_iter().map(|name| name.replace(',', "%2C")).collect();
        format!(
            "{}/providers/Microsoft.Insights/metrics?api-version=2024-02-01&timespan={}&interval={}&metricnames={}&aggregation={}",
            resource_path(self.resource),
            encoded(&format!("{}/{}", self.from, self.to)),
            self.grain.as_str(),
            encoded(&names.join(",")),
            encoded(&aggregations.join(",")),
        )
    }

    fn points(&self, answer: Value) -> Result<Vec<Point>, PortError> {
        let answer: Answer = serde_path_to_error::deserialize(answer)
            .map_err(|error| invalid(format!("the answer makes no sense at `{}`", printable_place(error.path()))))?;
        if let Some(interval) = answer.interval.as_deref().filter(|text| !text.eq_ignore_ascii_case(self.grain.as_str())) {
            return Err(invalid(format!("asked for bins of {}, got `{}`", self.grain.as_str(), clean(interval))));
        }
        for metric in &answer.value {
            metric.check()?;
        }
        let part = self.bins(&answer, &self.metric.metric)?;
        let interval = self.grain.interval();
        Ok(match &self.metric.of {
            Some(of) => share(self.metric, &part, &self.bins(&answer, of)?, interval),
            None => plain(&part, interval),
        })
    }

    /// The bins of one metric, with those that the answer leaves out as `None`.
    fn bins(&self, answer: &Answer, name: &str) -> Result<Bins, PortError> {
        let mut bins = Bins::new();
        let mut start = self.from;
        while start < self.to {
            bins.insert(start, None);
            start += self.grain.interval();
        }
        let Some(metric) = answer.value.iter().find(|metric| metric.name.value.eq_ignore_ascii_case(name)) else {
            return Ok(bins);
        };
        if metric.timeseries.len() >= SERIES_MAX {
            return Ok(bins); // Perhaps cut: a sum over a part of the series would look like fewer errors.
        }
        let aggregation = Aggregation::of(name, &self.resource_type);
        for data in metric.timeseries.iter().flat_map(|series| &series.data) {
            let Some(value) = data.value(aggregation) else { continue };
            let Some(start) = time(&data.time_stamp) else {
                return Err(invalid("a `timeStamp` is no time".to_owned()));
            };
            // Another span than asked for has no place in the bins; a bin at its edge is partial.
            let Some(bin) = bins.get_mut(&start) else { continue };
            *bin = match *bin {
                None => Some(value),
                Some(other) if aggregation.is_additive() => Some(other + value),
                Some(_) => return Err(invalid(format!("`{}` came in several series, which cannot be merged", clean(name)))),
            };
        }
        Ok(bins)
    }
}

fn start_of_bin(moment: Timestamp, grain: Grain) -> Timestamp {
    let second = moment.as_second();
    Timestamp::from_second(second - second.rem_euclid(grain.interval().as_secs())).unwrap_or(moment)
}

fn invalid(says: String) -> PortError {
    PortError::new(OPERATION, PortErrorKind::Invalid, says)
}

#[derive(Deserialize)]
struct Answer {
    interval: Option<String>,
    value: Vec<MetricAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricAnswer {
    name: Name,
    error_code: Option<String>,
    error_message: Option<String>,
    #[serde(default)]
    timeseries: Vec<SeriesAnswer>,
}

impl MetricAnswer {
    /// 200 with anything but `Success` is a failed read.
    fn check(&self) -> Result<(), PortError> {
        let Some(code) = self.error_code.as_deref().filter(|code| !code.eq_ignore_ascii_case("Success")) else {
            return Ok(());
        };
        let lower = code.to_ascii_lowercase();
        let kind = if ["throttl", "toomany"].iter().any(|word| lower.contains(word)) {
            PortErrorKind::Throttled
        } else if ["timeout", "internal", "server", "unavailable"].iter().any(|word| lower.contains(word)) {
            PortErrorKind::Transient
        } else {
            PortErrorKind::Invalid
        };
        let message = self.error_message.as_deref().map(clean).unwrap_or_default();
        Err(PortError::new(OPERATION, kind, format!("`{}`: {} {message}", clean(&self.name.value), clean(code)).trim_end()))
    }
}

#[derive(Deserialize)]
struct Name {
    value: String,
}

#[derive(Deserialize)]
struct SeriesAnswer {
    #[serde(default)]
    data: Vec<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    time_stamp: String,
    total: Option<f64>,
    count: Option<f64>,
    average: Option<f64>,
    maximum: Option<f64>,
}

impl Data {
    fn value(&self, aggregation: Aggregation) -> Option<f64> {
        match aggregation {
            Aggregation::Total => self.total,
            Aggregation::Count => self.count,
            Aggregation::Average => self.average,
            Aggregation::Maximum => self.maximum,
        }
    }
}
