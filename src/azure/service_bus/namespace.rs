//! Where the queues are and who may use them, as settings say it.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

/// What is wrong with a setting of the Service Bus connection, as a sentence. Holds no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BusSettingProblem(String);

/// A namespace and the URL at which it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namespace {
    /// What the crate puts before `.servicebus.windows.net`; it becomes part of what a shared access signature covers.
    pub name: String,
    /// Scheme, host and port of every request; the path is `/`.
    pub endpoint: Url,
}

/// A rule of the namespace that signs for us.
#[derive(Clone)]
pub(super) struct SharedAccessKey {
    pub name: String,
    pub key: SecretString,
}

const PUBLIC_CLOUD: &str = ".servicebus.windows.net";
/// The sovereign clouds of today; any other host would be sent a token that is meant for Azure.
const OTHER_CLOUDS: [&str; 2] = [".servicebus.usgovcloudapi.net", ".servicebus.chinacloudapi.cn"];

impl Namespace {
    /// `field` is the setting that `host` comes from.
    pub fn new(field: &str, host: &str, endpoint_override: Option<Url>) -> Result<Self, BusSettingProblem> {
        let host = host.trim().to_ascii_lowercase();
        let is_host = !host.is_empty()
            && host.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            });
        if !is_host {
            return Err(BusSettingProblem(format!(
                "{field}: `{host}` is not a host name; write for example `shop.servicebus.windows.net`"
            )));
        }
        let cloud = [PUBLIC_CLOUD].into_iter().chain(OTHER_CLOUDS).find(|cloud| host.ends_with(cloud));
        let endpoint = match endpoint_override {
            Some(url) => checked_override(url)?,
            None if cloud.is_none() => {
                return Err(BusSettingProblem(format!(
                    "{field}: `{host}` is not in Azure; it has to end in `{PUBLIC_CLOUD}`, `{}` or `{}`. \
                     For any other host set its URL in `BACKOUT_BUS_ENDPOINT`",
                    OTHER_CLOUDS[0], OTHER_CLOUDS[1]
                )));
            }
            None => Url::parse(&format!("https://{host}/"))
                .map_err(|problem| BusSettingProblem(format!("{field}: `{host}` does not make a URL: {problem}")))?,
        };
        let name = cloud.and_then(|cloud| host.strip_suffix(cloud)).unwrap_or(&host).to_owned();
        Ok(Self { name, endpoint })
    }
}

/// Reads `Endpoint=sb://HOST/;SharedAccessKeyName=NAME;SharedAccessKey=KEY`. Names of parts compare without case.
pub(super) fn parse_connection_string(
    text: &SecretString,
    endpoint_override: Option<Url>,
) -> Result<(Namespace, SharedAccessKey), BusSettingProblem> {
    let part = |wanted: &str| {
        text.expose_secret()
            .split(';')
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    };
    let required = |name: &str| {
        part(name).ok_or_else(|| {
            BusSettingProblem(format!(
                "the Service Bus connection string has no `{name}`; it reads \
                 `Endpoint=sb://HOST/;SharedAccessKeyName=NAME;SharedAccessKey=KEY`"
            ))
        })
    };
    if part("EntityPath").is_some() {
        return Err(BusSettingProblem(
            "`EntityPath` in the Service Bus connection string limits it to one queue, and several are used; \
             take the connection string of a policy of the whole namespace"
                .to_owned(),
        ));
    }
    let endpoint = Url::parse(required("Endpoint")?).ok();
    let Some(host) = endpoint.as_ref().and_then(Url::host_str) else {
        return Err(BusSettingProblem(
            "`Endpoint` in the Service Bus connection string is not a URL; write for example \
             `Endpoint=sb://shop.servicebus.windows.net/`"
                .to_owned(),
        ));
    };
    if OTHER_CLOUDS.iter().any(|cloud| host.to_ascii_lowercase().ends_with(cloud)) {
        return Err(BusSettingProblem(format!(
            "`Endpoint` in the Service Bus connection string names `{host}`, and a key can only sign for hosts below \
             `{PUBLIC_CLOUD}`; use a managed identity there (`ServiceBus__fullyQualifiedNamespace`)"
        )));
    }
    let namespace = Namespace::new("`Endpoint` in the Service Bus connection string", host, endpoint_override)?;
    let key = SharedAccessKey {
        name: required("SharedAccessKeyName")?.to_owned(),
        key: SecretString::from(required("SharedAccessKey")?.to_owned()),
    };
    // It goes into a header as it is.
    if !key.name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'&') {
        return Err(BusSettingProblem(
            "`SharedAccessKeyName` in the Service Bus connection string has characters that no policy name has".to_owned(),
        ));
    }
    Ok((namespace, key))
}

fn checked_override(url: Url) -> Result<Url, BusSettingProblem> {
    let wrong = |why: &str| Err(BusSettingProblem(format!("`BACKOUT_BUS_ENDPOINT`: {why}")));
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return wrong("the URL has no host; write for example `https://shop.servicebus.windows.net`"),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return wrong("plain http is allowed on a loopback address only; write `https://`"),
        _ => return wrong("the URL has to begin with `https://`"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("the URL holds a user name or a password; it has to be without");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return wrong("the URL has to end after host and port");
    }
    Ok(url)
}
