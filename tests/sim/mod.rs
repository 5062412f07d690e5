//! The simulated Azure, driven from outside with a plain HTTP client. All bodies are composed by us.

mod arm_deployments;
mod clock;
mod container_app;
mod faults;
mod identity;
mod kubernetes;
mod kubernetes_commands;
mod logic_app;
mod metrics;
mod pipelines;
mod queues;
mod service_bus_crate;
mod slots;
mod swaps;

use std::sync::Arc;

use backout::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, SimulatedSite, clock::ManualClock},
};
use jiff::Timestamp;
use reqwest::{Method, StatusCode, redirect::Policy};
use serde_json::{Value, json};

const SITE: &str =
    "/subscriptions/8d1f7a0e-0000-4000-8000-000000000001/resourceGroups/shop/providers/Microsoft.Web/sites/checkout";
const ARM: &str = "https://management.azure.com/";
const BUS: &str = "https://servicebus.azure.net";

/// A simulation with one site, `checkout`, which runs `build-1` everywhere; and a client with a token for each audience.
struct Drill {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    http: reqwest::Client,
    arm_token: String,
    bus_token: String,
}

struct Answer {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Code of the resource manager's error body.
    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn site() -> ResourceId {
    ResourceId::parse(SITE).unwrap()
}

impl Drill {
    async fn new() -> Self {
        Self::with(SimulatedSite::new(site(), "build-1")).await
    }

    async fn with(site: SimulatedSite) -> Self {
        let clock = Arc::new(ManualClock::at(time("2026-11-25T10:00:00Z")));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        azure.add_site(site);
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        let arm_token = token(&http, &azure, ARM, None).await;
        let bus_token = token(&http, &azure, BUS, None).await;
        Self { azure, clock, http, arm_token, bus_token }
    }

    async fn arm(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.try_arm(method, path, body).await.unwrap()
    }

    /// `path` below the site, with the api-version of App Service unless it has a query.
    async fn try_arm(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Result<Answer> {
        let query = if path.contains('?') { "" } else { "?api-version=2025-05-01" };
        let base = self.azure.resource_manager_url();
        let url = format!("{}{SITE}{path}{query}", base.as_str().trim_end_matches('/'));
        let mut request = self.http.request(method, url).bearer_auth(&self.arm_token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.arm(Method::GET, path, None).await
    }

    async fn swap(&self, slot: &str) -> Answer {
        self.arm(Method::POST, &format!("/slots/{slot}/slotsswap"), Some(to_production())).await
    }

    async fn try_swap(&self, slot: &str) -> reqwest::Result<Answer> {
        self.try_arm(Method::POST, &format!("/slots/{slot}/slotsswap"), Some(to_production())).await
    }

    async fn poll(&self, location: &str) -> Answer {
        answer(self.http.get(location).bearer_auth(&self.arm_token)).await.unwrap()
    }

    async fn bus(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.azure.bus_url()))
            .bearer_auth(&self.bus_token)
            .body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await.unwrap()
    }

    fn advance_seconds(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }
}

fn to_production() -> Value {
    json!({ "targetSlot": "production", "preserveVnet": true })
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, text: response.text().await? })
}

async fn token(http: &reqwest::Client, azure: &AzureSimulation, resource: &str, client_id: Option<&str>) -> String {
    let mut query = vec![("resource", resource), ("api-version", "2019-08-01")];
    query.extend(client_id.map(|id| ("client_id", id)));
    let url = url::Url::parse_with_params(&azure.identity_endpoint(), &query).unwrap();
    let answer = answer(http.get(url).header("X-IDENTITY-HEADER", azure.identity_header())).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}
