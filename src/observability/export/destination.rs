//! Where telemetry goes: a collector that speaks OTLP, or Application Insights.

use opentelemetry_application_insights::Exporter as ApplicationInsights;
use opentelemetry_otlp::{MetricExporter, SpanExporter as OtlpSpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SpanData, SpanExporter},
};
use secrecy::ExposeSecret;

use super::client::Client;
use crate::{
    azure::identity::TokenSource,
    settings::{TelemetrySetting, endpoint},
};

#[derive(Debug)]
pub(super) enum Destination {
    /// OTLP over HTTP, in protobuf.
    Otlp {
        spans: Box<OtlpSpanExporter>,
        metrics: Box<MetricExporter>,
    },
    ApplicationInsights(Box<ApplicationInsights<Client>>),
}

impl Destination {
    /// `Ok(None)` where no setting asks for any; `bearer` is for Application Insights.
    pub fn of(setting: &TelemetrySetting, bearer: Option<TokenSource>, resource: &Resource) -> Result<Option<Self>, String> {
        match setting {
            TelemetrySetting::Off => Ok(None),
            TelemetrySetting::Unusable(says) => Err(says.clone()),
            TelemetrySetting::Otlp { traces, metrics } => {
                let client = || Client::new(None, false);
                let unusable = |error: opentelemetry_otlp::ExporterBuildError| {
                    format!("`OTEL_EXPORTER_OTLP_ENDPOINT`, or another setting of OTLP, can't be used ({error})")
                };
                let spans = OtlpSpanExporter::builder().with_http().with_http_client(client()).with_endpoint(traces.as_str());
                let mut spans = spans.build().map_err(unusable)?;
                spans.set_resource(resource);
                let metrics = MetricExporter::builder().with_http().with_http_client(client()).with_endpoint(metrics.as_str());
                let metrics = metrics.with_temporality(Temporality::Delta).build().map_err(unusable)?;
                Ok(Some(Self::Otlp { spans: Box::new(spans), metrics: Box::new(metrics) }))
            }
            TelemetrySetting::ApplicationInsights { connection_string, .. } => {
                let text = connection_string.expose_secret();
                let client = Client::new(bearer, is_on_this_machine(text));
                let mut exporter = ApplicationInsights::new_from_connection_string(text, client)
                    .map_err(|error| format!("`APPLICATIONINSIGHTS_CONNECTION_STRING` can't be used ({error})"))?;
                SpanExporter::set_resource(&mut exporter, resource);
                Ok(Some(Self::ApplicationInsights(Box::new(exporter))))
            }
        }
    }

    pub async fn export_spans(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        match self {
            Self::Otlp { spans: exporter, .. } => exporter.export(spans).await,
            Self::ApplicationInsights(exporter) => SpanExporter::export(exporter.as_ref(), spans).await,
        }
    }

    pub async fn export_metrics(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        match self {
            Self::Otlp { metrics: exporter, .. } => exporter.export(metrics).await,
            Self::ApplicationInsights(exporter) => PushMetricExporter::export(exporter.as_ref(), metrics).await,
        }
    }
}

/// The exporter makes https of every endpoint.
fn is_on_this_machine(connection_string: &str) -> bool {
    let endpoint = connection_string.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("IngestionEndpoint").then_some(value)
    });
    let url = endpoint.and_then(|text| endpoint::parse(text).ok());
    url.is_some_and(|url| url.scheme() == "http")
}
