//! The final types of settings. None shows a secret in `Debug` or `Display`.

use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use super::{blob_container::BlobContainer, endpoint::Shown};

/// Where the policy file lies.
#[derive(Clone, PartialEq, Eq)]
pub enum PolicyLocation {
    File(PathBuf),
    /// https, or http on loopback; the query may hold a signature.
    Url(Url),
}

impl fmt::Display for PolicyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => Shown(url).fmt(f),
        }
    }
}

impl fmt::Debug for PolicyLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyLocation({self})")
    }
}

/// Where state is kept.
#[derive(Debug, Clone)]
pub enum StoreSetting {
    Sqlite(PathBuf),
    /// Gone with the process; refused when any service may act, but in tests.
    Memory,
    Blob(BlobContainer),
}

/// Where our own messages go.
#[derive(Debug, Clone)]
pub enum BusSetting {
    /// The embedded queue of one machine.
    Local,
    ServiceBus {
        /// The name that the triggers use as `connection`.
        prefix: String,
        connection: BusConnection,
    },
}

#[derive(Debug, Clone)]
pub enum BusConnection {
    /// Managed identity.
    Namespace {
        /// Host name, such as `contoso.servicebus.windows.net`.
        host: String,
        /// `None`: the system-assigned identity.
        client_id: Option<String>,
    },
    ConnectionString(SecretString),
}

/// The identity that reads, and acts unless there is a second one for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySetting {
    /// `None`: the system-assigned identity.
    pub client_id: Option<String>,
    /// True where the platform hands out tokens (`IDENTITY_ENDPOINT`).
    pub platform_endpoint: bool,
}

/// How fast the virtual clock of a demo runs.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeScale {
    /// As it was written, to be handed on to a child process.
    pub raw: String,
    /// Virtual seconds per real second; positive and finite.
    pub factor: f64,
    /// Where the virtual clock starts; `None` is now.
    pub from: Option<Timestamp>,
}

/// What approving needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApproverAuth {
    /// A signed-in principal in addition to the signed link.
    EasyAuth,
    /// The signed link alone.
    Link,
}

/// What the token of a secure webhook must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookToken {
    pub tenant: String,
    pub audience: String,
    /// Id of the application that calls: Azure Monitor's action groups, unless a setting says otherwise.
    pub caller: String,
}

/// What signs the posts of those that bring no token; `None`: nothing is taken from them.
#[derive(Debug, Clone, Default)]
pub struct WebhookSecrets {
    pub github: Option<SecretString>,
    pub flux: Option<SecretString>,
    pub cdevents: Option<SecretString>,
}

/// Where traces and metrics go.
#[derive(Debug, Clone)]
pub enum TelemetrySetting {
    /// Nowhere; nothing is built for it.
    Off,
    /// To a collector; with which headers and for how long the exporter reads from the environment, as every other one does.
    Otlp { traces: Url, metrics: Url },
    ApplicationInsights {
        connection_string: SecretString,
        /// `None`: the connection string is enough. Else a token of the identity with this client id, or of the system's, is needed.
        token: Option<Option<String>>,
    },
    /// Nowhere, because a value can't be used: why, as a sentence.
    Unusable(String),
}
