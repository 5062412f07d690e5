//! A receiver of telemetry on this machine: OTLP over HTTP in protobuf, and Application Insights' ingestion. Real bytes over HTTP; what
//! arrives is decoded into one form, and searched for secrets.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{AggregationTemporality, metric::Data, number_data_point},
};
use prost::Message;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use super::leaks::search;

/// Connections wait for answers until it is told to go on ([`Collector::answer`]), if it was started so.
#[derive(Clone)]
pub struct Collector {
    received: Arc<Mutex<Received>>,
    answers: Arc<watch::Sender<bool>>,
    port: u16,
}

#[derive(Debug, Clone, Default)]
pub struct Received {
    pub spans: Vec<ReceivedSpan>,
    pub counts: Vec<ReceivedCount>,
    /// `authorization` and the like, of each request; never shown.
    pub headers: Vec<HeaderMap>,
    /// Requests that came, answered or not.
    pub requests: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedSpan {
    pub name: String,
    /// In lower case: `consumer`, `client`, `internal`; of Application Insights `request` or `dependency`.
    pub kind: String,
    pub trace_id: String,
    pub span_id: String,
    pub parent_id: Option<String>,
    pub attributes: BTreeMap<String, String>,
    pub linked_traces: Vec<String>,
    pub failed: bool,
    /// `service.instance.id`: one process.
    pub instance: String,
}

/// One data point of a metric, as far as it was counted since the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedCount {
    pub metric: String,
    pub attributes: BTreeMap<String, String>,
    /// Of a counter what was added; of a histogram how many values.
    pub count: u64,
    /// Of a histogram.
    pub sum: f64,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_at(0, true).await
    }

    /// Takes requests, and answers none of them before [`Self::answer`].
    pub async fn that_hangs() -> Self {
        Self::start_at(0, false).await
    }

    pub async fn start_at(port: u16, answers: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let collector = Self { received: Arc::default(), answers: Arc::new(watch::Sender::new(answers)), port };
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .route("/v2/track", post(track))
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on every request is answered, also those that wait.
    pub fn answer(&self) {
        self.answers.send_replace(true);
    }

    pub fn received(&self) -> Received {
        self.lock().clone()
    }

    /// What has been counted of a metric, by the value of one of its attributes.
    pub fn counted(&self, metric: &str, attribute: &str) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for point in self.lock().counts.iter().filter(|point| point.metric == metric) {
            *counted.entry(point.attributes.get(attribute).cloned().unwrap_or_default()).or_default() += point.count;
        }
        counted
    }

    pub async fn wait_until(&self, is_it: impl Fn(&Received) -> bool) {
        let waited = tokio::time::timeout(Duration::from_mins(1), async {
            while !is_it(&self.lock()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("it did not arrive: {:#?}", self.lock().spans));
    }

    async fn take(&self, headers: HeaderMap, decode: impl FnOnce(&mut Received)) -> StatusCode {
        self.lock().requests += 1;
        let mut answers = self.answers.subscribe();
        answers.wait_for(|answers| *answers).await.unwrap();
        let mut received = self.lock();
        received.headers.push(headers);
        decode(&mut received);
        StatusCode::OK
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn traces(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let decode = |received: &mut Received| {
        search("exported telemetry", &String::from_utf8_lossy(&body));
        let request = ExportTraceServiceRequest::decode(body.as_ref()).unwrap();
        for resource_spans in request.resource_spans {
            let resource = attributes(&resource_spans.resource.unwrap_or_default().attributes);
            for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                received.spans.push(ReceivedSpan {
                    kind: format!("{:?}", span.kind()).to_ascii_lowercase(),
                    trace_id: hex(&span.trace_id),
                    span_id: hex(&span.span_id),
                    parent_id: Some(hex(&span.parent_span_id)).filter(|id| !id.is_empty()),
                    attributes: attributes(&span.attributes),
                    linked_traces: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
                    failed: span.status.is_some_and(|status| status.code == 2),
                    instance: resource["service.instance.id"].clone(),
                    name: span.name,
                });
            }
        }
    };
    collector.take(headers, decode).await
}

async fn metrics(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let decode = |received: &mut Received| {
        search("exported telemetry", &String::from_utf8_lossy(&body));
        let request = ExportMetricsServiceRequest::decode(body.as_ref()).unwrap();
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            match metric.data.unwrap() {
                Data::Sum(sum) => {
                    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
                    for point in sum.data_points {
                        let Some(number_data_point::Value::AsInt(count)) = point.value else { panic!("{point:?}") };
                        received.counts.push(ReceivedCount {
                            metric: metric.name.clone(),
                            attributes: attributes(&point.attributes),
                            count: u64::try_from(count).unwrap(),
                            sum: 0.0,
                        });
                    }
                }
                Data::Histogram(histogram) => {
                    assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Delta);
                    received.counts.extend(histogram.data_points.iter().map(|point| ReceivedCount {
                        metric: metric.name.clone(),
                        attributes: attributes(&point.attributes),
                        count: point.count,
                        sum: point.sum.unwrap(),
                    }));
                }
                other => panic!("{other:?}"),
            }
        }
    };
    collector.take(headers, decode).await
}

/// "Breeze": a list of envelopes, packed.
async fn track(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let decode = |received: &mut Received| {
        let mut text = String::new();
        GzDecoder::new(body.as_ref()).read_to_string(&mut text).unwrap();
        search("exported telemetry", &text);
        let envelopes: Vec<Value> = serde_json::from_str(&text).unwrap();
        for envelope in envelopes {
            let (tags, data) = (&envelope["tags"], &envelope["data"]["baseData"]);
            let properties: BTreeMap<String, String> = serde_json::from_value(data["properties"].clone()).unwrap_or_default();
            let tag = |name: &str| tags[name].as_str().map(str::to_owned);
            match envelope["data"]["baseType"].as_str().unwrap() {
                "MetricData" => {
                    for point in data["metrics"].as_array().unwrap() {
                        let value = point["value"].as_f64().unwrap();
                        #[expect(
                            clippy::cast_possible_truncation,
                            clippy::cast_sign_loss,
                            reason = "a counter's value is a count"
                        )]
                        let count = point["count"].as_u64().unwrap_or(value as u64);
                        received.counts.push(ReceivedCount {
                            metric: point["name"].as_str().unwrap().to_owned(),
                            attributes: properties.clone(),
                            count,
                            sum: value,
                        });
                    }
                }
                kind @ ("RequestData" | "RemoteDependencyData") => received.spans.push(ReceivedSpan {
                    name: data["name"].as_str().unwrap().to_owned(),
                    kind: if kind == "RequestData" { "request" } else { "dependency" }.to_owned(),
                    trace_id: tag("ai.operation.id").unwrap(),
                    span_id: data["id"].as_str().unwrap().to_owned(),
                    parent_id: tag("ai.operation.parentId"),
                    linked_traces: linked_traces(&properties),
                    failed: data["success"] == false,
                    instance: tag("ai.cloud.roleInstance").unwrap_or_default(),
                    attributes: properties,
                }),
                other => panic!("{other}: {envelope}"),
            }
        }
    };
    collector.take(headers, decode).await
}

fn linked_traces(properties: &BTreeMap<String, String>) -> Vec<String> {
    let Some(links) = properties.get("_MS.links") else { return Vec::new() };
    let links: Vec<Value> = serde_json::from_str(links).unwrap();
    links.iter().map(|link| link["operation_Id"].as_str().unwrap().to_owned()).collect()
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: Option<&AnyValue>| match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref()))).collect()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
