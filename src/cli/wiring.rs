//! Puts the parts together: settings in, a process with its real adapters out. Nothing is contacted before it is needed.

use std::sync::Arc;

use anyhow::Context;
use secrecy::SecretString;

use crate::{
    azure::{
        blob_store::BlobStore,
        http,
        identity::{Identities, TokenSource, credential},
        resource_manager::{Limits, ResourceManager},
        service_bus::ServiceBusQueues,
        tenant_keys::TenantKeys,
    },
    domain::{policy::Policy, resource_id::ResourceId, service::Mode},
    host::webhook::{
        AlertWebhook,
        acceptance::Acceptance,
        token::{ExpectedToken, TokenCheck},
    },
    local::{clock::SystemClock, embedded_queue::EmbeddedQueue, memory_store::MemoryStore, sqlite_store::SqliteStore},
    notify::Channels,
    observability::Export,
    platforms::AzurePlatforms,
    policy::{BearerSource, PolicySource},
    ports::{Clock, DeadLetters, FollowUps, Incoming, PortError, PortErrorKind, StateStore},
    process::{Policies, PolicyTrouble, Ports, Process},
    settings::{
        BusConnection, BusSetting, Environment, PolicyLocation, Settings, Source, StoreSetting, TelemetrySetting, endpoint,
        names, secret,
    },
    sim::clock::ScaledClock,
    telemetry::{AlertsManagement, AzureMetrics},
};

/// Everything that a command may need.
pub struct Wired {
    pub process: Arc<Process>,
    pub ports: Ports,
    pub policies: Arc<dyn Policies>,
    pub settings: Settings,
    pub queues: Queues,
    /// For who asks about the set-up itself: `check`.
    pub identities: Arc<Identities>,
    pub arm: Arc<ResourceManager>,
}

/// Our queues from every side; `ports` has the sending one.
pub struct Queues {
    pub incoming: Arc<dyn Incoming>,
    pub dead_letters: Arc<dyn DeadLetters>,
    pub place: QueuePlace,
}

pub enum QueuePlace {
    /// Nobody but us takes messages from it.
    Embedded,
    ServiceBus(Arc<ServiceBusQueues>),
}

/// Reads the settings; every problem is in the error's text.
pub fn settings() -> anyhow::Result<Settings> {
    Ok(Settings::from_source(&Environment)?)
}

/// The settings of a command on one machine: where neither `BACKOUT_BUS` nor a Service Bus connection is set, the queue is the
/// embedded one.
pub fn settings_without_bus() -> anyhow::Result<Settings> {
    Ok(Settings::from_source(&WithoutBus(Environment))?)
}

/// The environment, but `local:` for the queue where the environment names none.
struct WithoutBus(Environment);

impl Source for WithoutBus {
    fn get(&self, name: &str) -> Option<String> {
        let value = self.0.get(name);
        let names_a_queue =
            || ["ServiceBus", "ServiceBus__fullyQualifiedNamespace"].iter().any(|name| self.0.get_in_any_case(name).is_some());
        match value {
            None if name == names::BACKOUT_BUS && !names_a_queue() => Some("local:".to_owned()),
            Some(_) | None => value,
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn binary_folder(&self) -> Option<std::path::PathBuf> {
        self.0.binary_folder()
    }
}

/// The settings of a command that sends nothing, with another policy file than `BACKOUT_POLICY`.
pub fn settings_with_policy(policy: Option<&std::path::Path>) -> anyhow::Result<Settings> {
    let mut settings = settings_without_bus()?;
    if let Some(path) = policy {
        settings.policy = PolicyLocation::File(path.to_owned());
    }
    Ok(settings)
}

/// The process over the adapters that the settings name.
pub fn wire(settings: Settings) -> anyhow::Result<Wired> {
    let clock = clock(&settings)?;
    let identities = Arc::new(identities(&settings)?);
    let store = store(&settings, &identities);
    let (follow_ups, queues) = bus(&settings, &clock)?;
    let policies = policies(&settings)?;
    let arm = Arc::new(resource_manager(&settings, &identities)?);
    let ports = Ports {
        store,
        follow_ups,
        platforms: Arc::new(AzurePlatforms::new(
            Arc::clone(&arm),
            Arc::clone(&identities),
            Arc::new(Environment),
            Arc::clone(&clock),
        )),
        telemetry: Arc::new(AzureMetrics::new(Arc::clone(&arm))),
        alerts: Arc::new(AlertsManagement::new(Arc::clone(&arm))),
        notifier: Arc::new(Channels::new(Box::new(|name| secret(&Environment, name)))),
        clock,
    };
    let process = Arc::new(Process::new(ports.clone(), Arc::clone(&policies), settings.mode_ceiling, settings.own_site.clone()));
    Ok(Wired { process, ports, policies, settings, queues, identities, arm })
}

pub fn clock(settings: &Settings) -> anyhow::Result<Arc<dyn Clock>> {
    Ok(match &settings.time_scale {
        Some(scale) => Arc::new(ScaledClock::from_setting(&scale.raw).context("`BACKOUT_TIME_SCALE`")?),
        None => Arc::new(SystemClock::new()),
    })
}

/// What exports traces and metrics, where a setting asks for it. What can't be used is a sentence for the log: it keeps nothing from
/// being handled.
pub fn export(settings: &Settings) -> Result<Option<Export>, String> {
    let bearer = match &settings.telemetry {
        TelemetrySetting::ApplicationInsights { token: Some(client_id), .. } => {
            let identity = credential(client_id.as_deref(), settings.identity.platform_endpoint)
                .map_err(|error| format!("`{}`: {error}", names::APPLICATIONINSIGHTS_AUTHENTICATION_STRING))?;
            Some(TokenSource::new(identity, settings.cloud.telemetry_scope()))
        }
        TelemetrySetting::ApplicationInsights { token: None, .. }
        | TelemetrySetting::Otlp { .. }
        | TelemetrySetting::Unusable(_)
        | TelemetrySetting::Off => None,
    };
    let service_name = settings.own_site.as_ref().map_or(env!("CARGO_PKG_NAME"), ResourceId::name);
    Export::of(&settings.telemetry, bearer, service_name)
}

fn store(settings: &Settings, identities: &Identities) -> Arc<dyn StateStore> {
    match &settings.store {
        StoreSetting::Sqlite(path) => Arc::new(SqliteStore::new(path)),
        StoreSetting::Memory => Arc::new(MemoryStore::new()),
        StoreSetting::Blob(container) => Arc::new(BlobStore::new(container.clone(), identities.reading())),
    }
}

fn bus(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<(Arc<dyn FollowUps>, Queues)> {
    Ok(match &settings.bus {
        BusSetting::Local => {
            let queue = Arc::new(match &settings.store {
                StoreSetting::Sqlite(path) => EmbeddedQueue::in_file(path, Arc::clone(clock)),
                StoreSetting::Memory | StoreSetting::Blob(_) => EmbeddedQueue::in_memory(Arc::clone(clock)),
            });
            (queue.clone(), Queues { incoming: queue.clone(), dead_letters: queue, place: QueuePlace::Embedded })
        }
        BusSetting::ServiceBus { connection, .. } => {
            let queues = Arc::new(service_bus(settings, connection, clock)?);
            let place = QueuePlace::ServiceBus(Arc::clone(&queues));
            (queues.clone(), Queues { incoming: queues.clone(), dead_letters: queues, place })
        }
    })
}

fn service_bus(settings: &Settings, connection: &BusConnection, clock: &Arc<dyn Clock>) -> anyhow::Result<ServiceBusQueues> {
    let (endpoint, clock) = (settings.bus_endpoint.clone(), Arc::clone(clock));
    Ok(match connection {
        BusConnection::Namespace { host, client_id } => {
            let client_id = client_id.as_deref().or(settings.identity.client_id.as_deref());
            let identity = credential(client_id, settings.identity.platform_endpoint)?;
            ServiceBusQueues::with_identity(host, endpoint, identity, clock)?
        }
        BusConnection::ConnectionString(text) => ServiceBusQueues::with_connection_string(text, endpoint, clock)?,
    })
}

fn identities(settings: &Settings) -> anyhow::Result<Identities> {
    let (reader, actor) = (settings.identity.client_id.as_deref(), settings.actor_client_id.as_deref());
    Ok(Identities::new(reader, actor, settings.identity.platform_endpoint)?)
}

fn resource_manager(settings: &Settings, identities: &Identities) -> anyhow::Result<ResourceManager> {
    let scope = settings.cloud.resource_manager_scope();
    Ok(ResourceManager::new(arm_endpoint(settings)?, identities.reader(scope), identities.actor(scope)))
}

fn arm_endpoint(settings: &Settings) -> anyhow::Result<url::Url> {
    match &settings.arm_endpoint {
        Some(url) => Ok(url.clone()),
        None => Ok(endpoint::parse(settings.cloud.resource_manager())?),
    }
}

/// The receiver of `alert-webhook`.
pub fn alert_webhook(wired: &Wired) -> anyhow::Result<Arc<AlertWebhook>> {
    let (settings, clock) = (&wired.settings, &wired.ports.clock);
    let token = match &settings.webhook {
        None => None,
        Some(webhook) => {
            let login = match &settings.login_endpoint {
                Some(url) => url.clone(),
                None => endpoint::parse(settings.cloud.login())?,
            };
            let keys = TenantKeys::new(&login, &webhook.tenant).context("`BACKOUT_LOGIN_ENDPOINT`")?;
            let expected = ExpectedToken::of(webhook, &settings.cloud.token_issuers(&webhook.tenant));
            Some(TokenCheck::new(expected, Arc::new(keys), Arc::clone(clock)))
        }
    };
    let acceptance = Acceptance::new(Arc::clone(&wired.ports.follow_ups));
    Ok(Arc::new(AlertWebhook::new(acceptance, token, settings.webhook_secrets.clone(), Arc::clone(clock))))
}

fn policies(settings: &Settings) -> anyhow::Result<Arc<dyn Policies>> {
    let bearer: Option<Arc<dyn BearerSource>> = match &settings.policy {
        PolicyLocation::File(_) => None,
        PolicyLocation::Url(_) => {
            let identity = credential(settings.identity.client_id.as_deref(), settings.identity.platform_endpoint)?;
            Some(Arc::new(StorageBearer(TokenSource::new(identity, "https://storage.azure.com/.default"))))
        }
    };
    let client = policy_client(&settings.policy)?;
    let source = PolicySource::new(settings.policy.clone(), settings.own_site.clone(), client, bearer);
    // A simulated Azure loses nothing that matters; everywhere else a store that forgets may act twice.
    let simulated = settings.arm_endpoint.as_ref().is_some_and(endpoint::is_loopback);
    let forgets = matches!(settings.store, StoreSetting::Memory) && !simulated;
    Ok(Arc::new(LocatedPolicy { source, forgets, mode_ceiling: settings.mode_ceiling }))
}

/// What asks for a policy. A client loads the system's certificates when it is made: only where a URL asks for one.
pub fn policy_client(location: &PolicyLocation) -> reqwest::Result<reqwest::Client> {
    match location {
        PolicyLocation::File(_) => http::client_without_proxy(&Limits::default()).tls_certs_only([]).build(),
        PolicyLocation::Url(url) => http::client(url, &Limits::default()).build(),
    }
}

/// The policy at its place, as the process wants it.
struct LocatedPolicy {
    source: PolicySource,
    forgets: bool,
    mode_ceiling: Option<Mode>,
}

#[async_trait::async_trait]
impl Policies for LocatedPolicy {
    async fn load(&self) -> Result<Arc<Policy>, PolicyTrouble> {
        let policy = self.source.load().await.map_err(|unavailable| {
            let says = unavailable.to_string();
            match unavailable.kind {
                PortErrorKind::Transient | PortErrorKind::Throttled => {
                    PolicyTrouble::Unreachable(PortError::new("read the policy", unavailable.kind, says))
                }
                PortErrorKind::NotFound | PortErrorKind::Denied | PortErrorKind::Invalid => PolicyTrouble::Wrong(says),
            }
        })?;
        let may_act = policy
            .services
            .values()
            .find(|service| self.mode_ceiling.is_none_or(|ceiling| ceiling == Mode::Act) && service.mode == Mode::Act);
        match may_act.filter(|_| self.forgets) {
            Some(service) => Err(PolicyTrouble::Wrong(format!(
                "`BACKOUT_STORE` is `memory:`, which forgets what was done, but service `{}` may act; use `sqlite:PATH`",
                service.name
            ))),
            None => Ok(policy),
        }
    }
}

struct StorageBearer(TokenSource);

#[async_trait::async_trait]
impl BearerSource for StorageBearer {
    async fn token(&self) -> Result<SecretString, PortError> {
        self.0.bearer().await
    }
}
