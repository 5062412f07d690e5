//! Raw settings -> final types. Every problem is reported at once, and no value that may be secret is shown.

use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use super::{
    blob_container::BlobContainer,
    endpoint,
    names::{self, ALL},
    source::Source,
    types::{
        ApproverAuth, BusConnection, BusSetting, IdentitySetting, PolicyLocation, StoreSetting, TelemetrySetting, TimeScale,
        WebhookSecrets, WebhookToken,
    },
};
use crate::{
    azure::cloud::Cloud,
    domain::{printable::printable, resource_id::ResourceId, service::Mode},
    policy::nearest,
};

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    pub handler_port: u16,
    pub policy: PolicyLocation,
    /// Ceiling over every service's mode; `None`: the policy decides.
    pub mode_ceiling: Option<Mode>,
    pub store: StoreSetting,
    pub bus: BusSetting,
    /// Override of the resource manager's URL.
    pub arm_endpoint: Option<Url>,
    /// Override of the URL of Service Bus REST.
    pub bus_endpoint: Option<Url>,
    /// Override of the URL of log queries.
    pub logs_endpoint: Option<Url>,
    /// Override of the URL of the sign-in service.
    pub login_endpoint: Option<Url>,
    pub cloud: Cloud,
    pub identity: IdentitySetting,
    /// The identity of mutating calls; `None`: the same as for reading.
    pub actor_client_id: Option<String>,
    pub time_scale: Option<TimeScale>,
    pub approver_auth: ApproverAuth,
    /// `None`: the webhook is protected by its function key only.
    pub webhook: Option<WebhookToken>,
    pub webhook_secrets: WebhookSecrets,
    pub approval_key: Option<SecretString>,
    pub public_url: Option<Url>,
    /// Where traces and metrics go.
    pub telemetry: TelemetrySetting,
    /// The site that this process runs in, which must never be a target (E9); `None` outside Azure.
    pub own_site: Option<ResourceId>,
}

impl Settings {
    /// The handler's port alone, whatever else is wrong: to listen is the first duty towards the host.
    pub fn handler_port_of(source: &dyn Source) -> u16 {
        [names::FUNCTIONS_CUSTOMHANDLER_PORT, names::FUNCTIONS_HTTPWORKER_PORT]
            .iter()
            .find_map(|name| source.get(name)?.trim().parse().ok().filter(|port| *port != 0))
            .unwrap_or(DEFAULT_PORT)
    }

    /// Reads every setting. An empty value counts as unset.
    pub fn from_source(source: &dyn Source) -> Result<Self, SettingsProblems> {
        let mut reader = Reader { source, problems: Vec::new() };
        reader.misspelt_names();
        let arm_endpoint = reader.endpoint(names::BACKOUT_ARM_ENDPOINT);
        let settings = Self {
            handler_port: reader.handler_port(),
            policy: reader.policy(),
            mode_ceiling: reader
                .word(names::BACKOUT_MODE, &[("observe", Mode::Observe), ("propose", Mode::Propose), ("act", Mode::Act)]),
            store: reader.store(),
            bus: reader.bus(),
            time_scale: reader.time_scale(arm_endpoint.as_ref()),
            arm_endpoint,
            bus_endpoint: reader.endpoint(names::BACKOUT_BUS_ENDPOINT),
            logs_endpoint: reader.endpoint(names::BACKOUT_LOGS_ENDPOINT),
            login_endpoint: reader.endpoint(names::BACKOUT_LOGIN_ENDPOINT),
            cloud: reader
                .word(
                    names::BACKOUT_CLOUD,
                    &[("public", Cloud::Public), ("usgovernment", Cloud::UsGovernment), ("china", Cloud::China)],
                )
                .unwrap_or(Cloud::Public),
            identity: reader.identity(),
            actor_client_id: reader.client_id(names::BACKOUT_ACTOR_CLIENT_ID),
            approver_auth: reader
                .word(names::BACKOUT_APPROVER_AUTH, &[("easyauth", ApproverAuth::EasyAuth), ("link", ApproverAuth::Link)])
                .unwrap_or(ApproverAuth::EasyAuth),
            webhook: reader.webhook(),
            webhook_secrets: WebhookSecrets {
                github: reader.webhook_secret(names::BACKOUT_GITHUB_WEBHOOK_SECRET),
                flux: reader.webhook_secret(names::BACKOUT_FLUX_WEBHOOK_SECRET),
                cdevents: reader.webhook_secret(names::BACKOUT_CDEVENTS_WEBHOOK_SECRET),
            },
            approval_key: reader.approval_key(),
            public_url: reader.public_url(),
            telemetry: reader.telemetry(),
            own_site: reader.own_site(),
        };
        let mut problems = reader.problems;
        if problems.is_empty() {
            return Ok(settings);
        }
        // Names under another prefix than the default one are not in the list; they come last.
        problems.sort_by_key(|problem| ALL.iter().position(|setting| setting.name == problem.name).unwrap_or(ALL.len()));
        Err(SettingsProblems(problems))
    }
}

/// The secret under `name`, for a channel whose URL the policy names by an app setting (`urlFrom`).
pub fn secret(source: &dyn Source, name: &str) -> Option<SecretString> {
    let value = source.get(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| SecretString::from(value))
}

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    pub name: String,
    /// What is wrong, to be read after the name. Never the value of a secret.
    pub says: String,
    pub hint: String,
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}; hint: {}", self.name, self.says, self.hint)
    }
}

/// Every problem of the settings, in the order of the list of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblems(pub Vec<SettingsProblem>);

impl fmt::Display for SettingsProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsProblems {}

const DEFAULT_PORT: u16 = 8080;
const DEFAULT_STORE: &str = ".backout/state.db";
const DEFAULT_BUS_PREFIX: &str = "ServiceBus";
const APPROVAL_KEY_LENGTH_MIN: usize = 32;
const WEBHOOK_SECRET_LENGTH_MIN: usize = 16;

/// Azure Monitor's action groups in the public cloud (`AzNS AAD Webhook`). Source: Azure Monitor documentation, "Secure webhook".
const ACTION_GROUPS: &str = "461e8683-5575-4561-ac7f-899cc907d62a";

struct Reader<'a> {
    source: &'a dyn Source,
    problems: Vec<SettingsProblem>,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<String> {
        Some(self.source.get(name)?.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn problem(&mut self, name: &str, says: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(SettingsProblem { name: name.to_owned(), says: says.into(), hint: hint.into() });
    }

    /// A misspelt ceiling must not mean "no ceiling". Other names that begin like ours may be secrets which the policy names.
    fn misspelt_names(&mut self) {
        for name in self.source.names() {
            let ours = name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case(names::PREFIX));
            if !ours || ALL.iter().any(|setting| setting.name == name) {
                continue;
            }
            if let Some(known) = nearest(&name.to_ascii_uppercase(), ALL.iter().map(|setting| setting.name)) {
                self.problem(&printable(&name), "is no setting of backout", format!("did you mean `{known}`?"));
            }
        }
    }

    /// A value out of a fixed set of words, case aside.
    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.get(name)?;
        if let Some((_, found)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&value)) {
            return Some(*found);
        }
        let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        self.problem(name, format!("{} is not known", shown(&value)), format!("write one of {list}"));
        None
    }

    fn handler_port(&mut self) -> u16 {
        for name in [names::FUNCTIONS_CUSTOMHANDLER_PORT, names::FUNCTIONS_HTTPWORKER_PORT] {
            let Some(value) = self.get(name) else { continue };
            return value.parse().ok().filter(|port| *port != 0).unwrap_or_else(|| {
                self.problem(
                    name,
                    format!("{} is not a port", shown(&value)),
                    "write a number from 1 to 65535; the Functions host sets it by itself",
                );
                DEFAULT_PORT
            });
        }
        DEFAULT_PORT
    }

    fn policy(&mut self) -> PolicyLocation {
        const FILE: &str = "backout.yaml";
        let name = names::BACKOUT_POLICY;
        let Some(value) = self.get(name) else {
            return PolicyLocation::File(self.source.binary_folder().map_or_else(|| PathBuf::from(FILE), |f| f.join(FILE)));
        };
        if !value.contains("://") {
            return PolicyLocation::File(PathBuf::from(value));
        }
        match endpoint::parse(&value) {
            Ok(url) => PolicyLocation::Url(url),
            Err(problem) => {
                self.problem(name, problem.to_string(), "write a path, or the https URL of a blob");
                PolicyLocation::File(PathBuf::from(FILE))
            }
        }
    }

    fn store(&mut self) -> StoreSetting {
        let name = names::BACKOUT_STORE;
        let Some(value) = self.get(name) else {
            if self.get(names::WEBSITE_INSTANCE_ID).is_some() || self.get(names::WEBSITE_SITE_NAME).is_some() {
                self.problem(
                    name,
                    "is not set, and in Azure the local disk vanishes with the instance",
                    "write the URL of a blob container, such as `https://ACCOUNT.blob.core.windows.net/backout`, and grant the identity `Storage Blob Data Contributor` on it",
                );
            }
            return StoreSetting::Sqlite(PathBuf::from(DEFAULT_STORE));
        };
        if let Some(path) = value.strip_prefix("sqlite:") {
            if path.is_empty() {
                self.problem(
                    name,
                    "names no file after `sqlite:`",
                    "write `sqlite:` and a path, such as `sqlite:.backout/state.db`",
                );
            }
            return StoreSetting::Sqlite(PathBuf::from(path));
        }
        if value == "memory:" {
            return StoreSetting::Memory;
        }
        let container = if BlobContainer::is_connection(&value) {
            BlobContainer::from_connection(&value)
        } else if value.contains("://") {
            BlobContainer::from_url(&value)
        } else {
            self.problem(
                name,
                "is no kind of store",
                "write `sqlite:PATH`, `memory:`, the https URL of a blob container, or a storage connection string followed by `;container=NAME`",
            );
            return StoreSetting::Memory;
        };
        match container {
            Ok(container) => StoreSetting::Blob(container),
            Err(unusable) => {
                self.problem(name, unusable.says, unusable.hint);
                StoreSetting::Memory
            }
        }
    }

    fn bus(&mut self) -> BusSetting {
        let prefix = self.get(names::BACKOUT_BUS).unwrap_or_else(|| DEFAULT_BUS_PREFIX.to_owned());
        if prefix == "local:" {
            return BusSetting::Local;
        }
        if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.problem(
                names::BACKOUT_BUS,
                "is neither `local:` nor the prefix of a connection",
                "write `local:`, or the name that the triggers give as `connection`, such as `ServiceBus`; the connection string itself belongs into the setting of that name",
            );
            return BusSetting::Local;
        }
        // The host looks for the name with its own prefix first.
        let prefixed = format!("AzureWebJobs{prefix}");
        let is_there = self.connection_part(&prefixed, None).is_some()
            || self.connection_part(&prefixed, Some("fullyQualifiedNamespace")).is_some();
        let connection = self.bus_connection(if is_there { &prefixed } else { &prefix });
        match connection {
            Some(connection) => BusSetting::ServiceBus { prefix, connection },
            None => BusSetting::Local,
        }
    }

    /// The same order as in the host: a connection string wins over a namespace.
    fn bus_connection(&mut self, prefix: &str) -> Option<BusConnection> {
        if let Some(value) = self.connection_part(prefix, None) {
            let has =
                |key: &str| value.split(';').any(|p| p.trim().get(..key.len()).is_some_and(|p| p.eq_ignore_ascii_case(key)));
            if has("Endpoint=sb://") && (has("SharedAccessKey=") || has("SharedAccessSignature=")) {
                return Some(BusConnection::ConnectionString(SecretString::from(value)));
            }
            self.problem(
                prefix,
                "is no Service Bus connection string",
                format!(
                    "write `Endpoint=sb://...;SharedAccessKeyName=...;SharedAccessKey=...`, or remove it and set `{prefix}__fullyQualifiedNamespace`"
                ),
            );
            return None;
        }
        let name = format!("{prefix}__fullyQualifiedNamespace");
        let Some(host) = self.connection_part(prefix, Some("fullyQualifiedNamespace")) else {
            self.problem(
                &name,
                "is not set, so there is no Service Bus to send to",
                format!("write the host name of the namespace, such as `contoso.servicebus.windows.net`; or set `{prefix}` to a connection string, or `BACKOUT_BUS` to `local:` on one machine"),
            );
            return None;
        };
        let is_host = host.contains('.') && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
        if !is_host {
            self.problem(
                &name,
                "is not a host name",
                "write it without `sb://` and without a path, such as `contoso.servicebus.windows.net`",
            );
        }
        let credential = self.connection_part(prefix, Some("credential"));
        let client_id = self.connection_part(prefix, Some("clientId"));
        match (&credential, &client_id) {
            (Some(word), _) if !word.eq_ignore_ascii_case("managedidentity") => self.problem(
                &format!("{prefix}__credential"),
                format!("{} is not known", shown(word)),
                "write `managedidentity`, or remove it for the system-assigned identity",
            ),
            (None, Some(_)) => self.problem(
                &format!("{prefix}__credential"),
                "is not set although a client id is, so the host would ignore that id",
                "write `managedidentity`",
            ),
            (None | Some(_), _) => {}
        }
        is_host.then(|| BusConnection::Namespace { host: host.to_ascii_lowercase(), client_id })
    }

    /// One part of a connection, under the spellings that the host's configuration accepts.
    fn connection_part(&self, prefix: &str, part: Option<&str>) -> Option<String> {
        let spellings = match part {
            Some(part) => vec![format!("{prefix}__{part}"), format!("{prefix}:{part}")],
            None => vec![prefix.to_owned()],
        };
        let find = |name: &String| self.source.get_in_any_case(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        spellings.iter().find_map(find)
    }

    fn endpoint(&mut self, name: &str) -> Option<Url> {
        let value = self.get(name)?;
        match endpoint::parse(&value) {
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                self.problem(name, "is a URL with a query or a fragment", "write scheme, host and port only");
                None
            }
            Ok(url) => Some(url),
            Err(problem) => {
                self.problem(name, problem.to_string(), "write an https URL; plain http is allowed on loopback only");
                None
            }
        }
    }

    fn time_scale(&mut self, arm_endpoint: Option<&Url>) -> Option<TimeScale> {
        let name = names::BACKOUT_TIME_SCALE;
        let raw = self.get(name)?;
        if !arm_endpoint.is_some_and(endpoint::is_loopback) {
            self.problem(
                name,
                "is set, but the resource manager is not on loopback",
                "remove it; it is for the demo and tests, where `BACKOUT_ARM_ENDPOINT` is a loopback URL",
            );
            return None;
        }
        let (factor, from) = match raw.split_once('@') {
            Some((factor, from)) => (factor, Some(from.parse::<Timestamp>())),
            None => (raw.as_str(), None),
        };
        match (factor.parse::<f64>(), from.transpose()) {
            (Ok(factor), Ok(from)) if factor.is_finite() && factor > 0.0 => Some(TimeScale { raw, factor, from }),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => {
                self.problem(
                    name,
                    format!("{} is not a time scale", shown(&raw)),
                    "write a number above 0, optionally followed by `@` and an RFC 3339 time, such as `60@2026-01-31T02:00:00Z`",
                );
                None
            }
        }
    }

    fn identity(&mut self) -> IdentitySetting {
        let platform_endpoint = self.get(names::IDENTITY_ENDPOINT).is_some();
        if platform_endpoint && self.get(names::IDENTITY_HEADER).is_none() {
            self.problem(
                names::IDENTITY_HEADER,
                "is not set although `IDENTITY_ENDPOINT` is",
                "the platform sets both; remove `IDENTITY_ENDPOINT` where there is no managed identity",
            );
        }
        IdentitySetting { client_id: self.client_id(names::AZURE_CLIENT_ID), platform_endpoint }
    }

    /// Never a problem of the settings: a rollback must not wait for its telemetry. Where a value can't be used, the log and `backout
    /// check` say so.
    fn telemetry(&self) -> TelemetrySetting {
        if self.get(names::OTEL_SDK_DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return TelemetrySetting::Off;
        }
        if let Some(collector) = self.get(names::OTEL_EXPORTER_OTLP_ENDPOINT) {
            let traces = self.otlp_receiver(&collector, names::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, "v1/traces");
            let metrics = self.otlp_receiver(&collector, names::OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, "v1/metrics");
            return match (traces, metrics) {
                (Ok(traces), Ok(metrics)) => TelemetrySetting::Otlp { traces, metrics },
                (Err(problem), Ok(_) | Err(_)) | (Ok(_), Err(problem)) => TelemetrySetting::Unusable(problem.to_string()),
            };
        }
        let Some(connection_string) = self.get(names::APPLICATIONINSIGHTS_CONNECTION_STRING) else {
            return TelemetrySetting::Off;
        };
        let ingestion = connection_string.split(';').filter_map(|part| part.split_once('='));
        for (_, value) in ingestion.filter(|(key, _)| key.trim().eq_ignore_ascii_case("IngestionEndpoint")) {
            // The exporter would make https of it, without a word and perhaps in vain.
            if let Err(mut problem) = receiver(names::APPLICATIONINSIGHTS_CONNECTION_STRING, value) {
                problem.says = format!("has an `IngestionEndpoint` that {}", problem.says);
                return TelemetrySetting::Unusable(problem.to_string());
            }
        }
        let authentication = self.get(names::APPLICATIONINSIGHTS_AUTHENTICATION_STRING).unwrap_or_default();
        let part = |name: &str| {
            authentication.split(';').find_map(|part| {
                let (key, value) = part.split_once('=')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned()).filter(|value| !value.is_empty())
            })
        };
        let with_token = part("Authorization").is_some_and(|word| word.eq_ignore_ascii_case("AAD"));
        TelemetrySetting::ApplicationInsights {
            connection_string: SecretString::from(connection_string),
            token: with_token.then(|| part("ClientId")),
        }
    }

    /// Where one signal goes: by its own setting exactly there, else to its place below the collector's URL.
    fn otlp_receiver(&self, collector: &str, own_name: &str, path: &str) -> Result<Url, SettingsProblem> {
        if let Some(own) = self.get(own_name) {
            return receiver(own_name, &own);
        }
        let name = names::OTEL_EXPORTER_OTLP_ENDPOINT;
        let below = receiver(name, collector)?;
        receiver(name, &format!("{}/{path}", below.as_str().trim_end_matches('/')))
    }

    fn client_id(&mut self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        if uuid::Uuid::try_parse(&value).is_ok() {
            return Some(value);
        }
        self.problem(
            name,
            "is not a client id",
            "write the GUID which the portal shows as `Client ID` of the identity, not its name or resource id",
        );
        None
    }

    fn webhook(&mut self) -> Option<WebhookToken> {
        let (tenant, audience) = (self.get(names::BACKOUT_WEBHOOK_TENANT), self.get(names::BACKOUT_WEBHOOK_AUDIENCE));
        let caller = self.client_id(names::BACKOUT_WEBHOOK_CALLER).unwrap_or_else(|| ACTION_GROUPS.to_owned());
        let missing = match (tenant, audience) {
            (None, None) => return None,
            (Some(tenant), Some(audience)) if uuid::Uuid::try_parse(&tenant).is_ok() => {
                return Some(WebhookToken { tenant: tenant.to_ascii_lowercase(), audience, caller });
            }
            (Some(_), Some(_)) => {
                self.problem(names::BACKOUT_WEBHOOK_TENANT, "is not a tenant id", "write the tenant's GUID, not its domain");
                return None;
            }
            (None, Some(_)) => names::BACKOUT_WEBHOOK_TENANT,
            (Some(_), None) => names::BACKOUT_WEBHOOK_AUDIENCE,
        };
        self.problem(missing, "is not set although its counterpart is", "set both, or neither to rely on the function key");
        None
    }

    fn webhook_secret(&mut self, name: &str) -> Option<SecretString> {
        let value = self.get(name)?;
        if value.chars().count() < WEBHOOK_SECRET_LENGTH_MIN {
            self.problem(
                name,
                "is shorter than 16 characters",
                "write random text, such as the output of `openssl rand -hex 32`",
            );
        }
        Some(SecretString::from(value))
    }

    fn approval_key(&mut self) -> Option<SecretString> {
        let name = names::BACKOUT_APPROVAL_KEY;
        let value = self.get(name)?;
        if value.chars().count() < APPROVAL_KEY_LENGTH_MIN {
            self.problem(
                name,
                "is shorter than 32 characters",
                "write random text, such as the output of `openssl rand -base64 48`",
            );
        }
        if self.get(names::BACKOUT_PUBLIC_URL).is_none() {
            self.problem(
                names::BACKOUT_PUBLIC_URL,
                "is not set although `BACKOUT_APPROVAL_KEY` is",
                "write where approval links shall point, such as `https://contoso-backout.azurewebsites.net`",
            );
        }
        Some(SecretString::from(value))
    }

    fn public_url(&mut self) -> Option<Url> {
        let url = self.endpoint(names::BACKOUT_PUBLIC_URL)?;
        if self.get(names::BACKOUT_APPROVAL_KEY).is_none() {
            self.problem(
                names::BACKOUT_APPROVAL_KEY,
                "is not set although `BACKOUT_PUBLIC_URL` is",
                "write random text of at least 32 characters, such as the output of `openssl rand -base64 48`",
            );
        }
        Some(url)
    }

    /// The site's id out of the parts that App Service tells.
    fn own_site(&mut self) -> Option<ResourceId> {
        let site = self.get(names::WEBSITE_SITE_NAME)?;
        let group = self.get(names::WEBSITE_RESOURCE_GROUP)?;
        let owner = self.get(names::WEBSITE_OWNER_NAME)?;
        let subscription = owner.split('+').next().unwrap_or_default();
        let id = format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites/{site}");
        ResourceId::parse(&id)
            .inspect_err(|problem| {
                self.problem(
                    names::WEBSITE_OWNER_NAME,
                    format!("and its companions name no site: {}", problem.reason),
                    "the platform sets `WEBSITE_OWNER_NAME`, `WEBSITE_RESOURCE_GROUP` and `WEBSITE_SITE_NAME`; do not override them",
                );
            })
            .ok()
    }
}

/// The URL of a receiver of telemetry, by the same rule as every other endpoint.
fn receiver(name: &str, value: &str) -> Result<Url, SettingsProblem> {
    let problem = |says: String, hint: &str| SettingsProblem { name: name.to_owned(), says, hint: hint.to_owned() };
    match endpoint::parse(value) {
        Ok(url) if url.query().is_some() || url.fragment().is_some() => Err(problem(
            "is a URL with a query or a fragment".to_owned(),
            "a key for a collector goes into `OTEL_EXPORTER_OTLP_HEADERS`",
        )),
        Ok(url) => Ok(url),
        Err(unusable) => Err(problem(unusable.to_string(), "write an https URL; plain http is allowed on loopback only")),
    }
}

/// A wrong word as it may be echoed: short and plain, so that a misplaced secret is not.
fn shown(value: &str) -> String {
    let plain = value.chars().count() <= 24 && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@: ".contains(c));
    if plain { format!("`{value}`") } else { "the value".to_owned() }
}
