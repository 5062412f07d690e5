//! The Azure clouds, and the endpoints that settings may put in their place.

use std::{fmt, str::FromStr};

use url::{Host, Url};

/// `BACKOUT_CLOUD`. Source of hosts and scopes: azure-mgmt-core, azure-cli.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cloud {
    #[default]
    Public,
    UsGovernment,
    China,
}

impl Cloud {
    pub const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// Where resource manager answers.
    pub fn resource_manager(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com",
            Self::UsGovernment => "https://management.usgovcloudapi.net",
            Self::China => "https://management.chinacloudapi.cn",
        }
    }

    /// What a token for resource manager is asked for. The host differs from the endpoint's in one cloud (`core`).
    pub fn resource_manager_scope(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com/.default",
            Self::UsGovernment => "https://management.core.usgovcloudapi.net/.default",
            Self::China => "https://management.chinacloudapi.cn/.default",
        }
    }

    /// Where log queries are answered.
    pub fn logs(self) -> &'static str {
        match self {
            Self::Public => "https://api.loganalytics.azure.com",
            Self::UsGovernment => "https://api.loganalytics.us",
            Self::China => "https://api.loganalytics.azure.cn",
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::UsGovernment => "usgovernment",
            Self::China => "china",
        })
    }
}

impl FromStr for Cloud {
    type Err = EndpointProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|cloud| cloud.to_string().eq_ignore_ascii_case(text.trim())).ok_or_else(|| EndpointProblem {
            setting: "BACKOUT_CLOUD",
            reason: format!("`{}` is no cloud; use `public`, `usgovernment` or `china`", cut(text)),
        })
    }
}

/// Where the parts of Azure are reached, after the overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    pub cloud: Cloud,
    pub resource_manager: Url,
    pub logs: Url,
    /// `None`: the namespace's own host.
    pub service_bus: Option<Url>,
}

/// The overrides as the settings hold them; blank counts as unset.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides<'a> {
    /// `BACKOUT_ARM_ENDPOINT`
    pub resource_manager: Option<&'a str>,
    /// `BACKOUT_LOGS_ENDPOINT`
    pub logs: Option<&'a str>,
    /// `BACKOUT_BUS_ENDPOINT`
    pub service_bus: Option<&'a str>,
}

/// A setting that names no endpoint we would send a token to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {reason}")]
pub struct EndpointProblem {
    pub setting: &'static str,
    pub reason: String,
}

impl Endpoints {
    pub fn new(cloud: Cloud, overrides: Overrides<'_>) -> Result<Self, EndpointProblem> {
        Ok(Self {
            cloud,
            resource_manager: endpoint(
                "BACKOUT_ARM_ENDPOINT",
                given(overrides.resource_manager).unwrap_or(cloud.resource_manager()),
            )?,
            logs: endpoint("BACKOUT_LOGS_ENDPOINT", given(overrides.logs).unwrap_or(cloud.logs()))?,
            service_bus: given(overrides.service_bus).map(|text| endpoint("BACKOUT_BUS_ENDPOINT", text)).transpose()?,
        })
    }

    /// Whether resource manager is a simulated one on this machine.
    pub fn is_simulated(&self) -> bool {
        is_loopback(&self.resource_manager)
    }
}

/// Parses an endpoint that will be sent bearer tokens: https, or plain http on loopback.
pub fn endpoint(setting: &'static str, text: &str) -> Result<Url, EndpointProblem> {
    let refuse = |reason: String| Err(EndpointProblem { setting, reason });
    let url = match Url::parse(text.trim()) {
        Ok(url) => url,
        Err(error) => return refuse(format!("`{}` is no URL ({error}); write it like `https://host`", cut(text))),
    };
    if url.host().is_none() {
        return refuse(format!("`{}` names no host; write it like `https://host`", cut(text)));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("the URL holds a user name or password; leave it out, the managed identity is used".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("the URL holds a query or a fragment; give only scheme, host and port".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => refuse(
            "plain http is allowed on loopback only (127.0.0.0/8, ::1, localhost), since tokens travel with each request; use https"
                .to_owned(),
        ),
        other => refuse(format!("`{}` is neither https nor http; write it like `https://host`", cut(other))),
    }
}

/// True for 127.0.0.0/8, ::1 and `localhost` with the names below it, which never leave the machine (RFC 6761).
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}
