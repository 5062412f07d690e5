//! App settings: connection strings, URLs, ids. No problem that is told shows a secret, and no URL that is taken sends a token out.

use backout::settings::{
    MapSource, Settings, Source,
    blob_container::{BlobAccess, BlobContainer},
    endpoint, names,
};
use secrecy::ExposeSecret;
use url::Url;

use super::{choose, is_sentence};

pub fn holds(input: &[u8]) {
    let (kind, rest) = choose(&["settings", "container", "endpoint"], input);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind {
        "settings" => settings(text),
        "container" => container(text),
        "endpoint" => url(text),
        other => unreachable!("{other}"),
    }
}

/// Lines `NAME=value`.
fn settings(text: &str) {
    let pairs: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let source = MapSource::new(pairs.iter().copied());
    assert_ne!(Settings::handler_port_of(&source), 0);
    let told = match Settings::from_source(&source) {
        Ok(settings) => {
            assert_eq!(settings.handler_port, Settings::handler_port_of(&source));
            for url in [settings.arm_endpoint, settings.bus_endpoint, settings.logs_endpoint, settings.login_endpoint] {
                url.iter().for_each(is_safe);
            }
            return;
        }
        Err(problems) => problems,
    };
    assert!(!told.0.is_empty());
    for problem in &told.0 {
        is_sentence(&problem.to_string(), 2_000);
    }
    let told = told.to_string();
    for setting in names::ALL.iter().filter(|setting| setting.secret) {
        let Some(value) = source.get(setting.name) else { continue };
        // Parts of it too, where a part has a meaning of its own. Short ones may stand in our own words.
        for part in value.split([';', '&', '?']).chain([value.as_str()]) {
            let secret = part.split_once('=').map_or(part, |(_, secret)| secret).trim();
            let elsewhere = pairs.iter().any(|(name, other)| *name != setting.name && other.contains(secret));
            if secret.len() >= 16 && !elsewhere {
                assert!(!told.contains(secret) || OUR_WORDS.iter().any(|words| words.contains(secret)), "{secret:?} is told");
            }
        }
    }
}

/// Examples in hints, which a value may be by chance.
const OUR_WORDS: &[&str] = &[
    "contoso.servicebus.windows.net",
    "BlobEndpoint=https://ACCOUNT.blob.core.windows.net;SharedAccessSignature=SIGNATURE;container=NAME",
    "https://ACCOUNT.blob.core.windows.net/CONTAINER",
    "https://ACCOUNT.blob.core.windows.net/backout",
    "UseDevelopmentStorage=true;container=NAME",
    "sqlite:.backout/state.db",
    "Storage Blob Data Contributor",
];

fn container(text: &str) {
    let taken =
        if BlobContainer::is_connection(text) { BlobContainer::from_connection(text) } else { BlobContainer::from_url(text) };
    let container = match taken {
        Ok(container) => container,
        Err(unusable) => {
            is_sentence(&unusable.says, 300);
            is_sentence(unusable.hint, 500);
            return;
        }
    };
    is_safe(&container.url);
    assert_eq!((container.url.query(), container.url.fragment()), (None, None));
    let name = container.name();
    assert!((3..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
    assert!(container.url.path().ends_with(&format!("/{name}")));
    match &container.access {
        BlobAccess::Identity => assert_eq!(container.url.scheme(), "https", "a token is sent over https only"),
        BlobAccess::Signature(signature) => {
            let shown = format!("{container:?}");
            assert!(signature.expose_secret().len() < 24 || !shown.contains(signature.expose_secret()), "{shown}");
        }
        BlobAccess::EmulatorKey { .. } => assert!(endpoint::is_loopback(&container.url), "an account's key leaves the machine"),
    }
    // Written as the URL that it is, it is the same container.
    if let BlobAccess::Identity = container.access {
        assert_eq!(BlobContainer::from_url(container.url.as_str()).unwrap().url, container.url);
    }
}

fn url(text: &str) {
    match endpoint::parse(text) {
        Ok(url) => {
            is_safe(&url);
            assert_eq!(endpoint::parse(url.as_str()).as_ref(), Ok(&url));
            let shown = endpoint::Shown(&url).to_string();
            assert!(!shown.contains('?') && !shown.contains('#'), "{shown}");
        }
        Err(problem) => is_sentence(&problem.to_string(), 200),
    }
}

/// A token may be sent there.
fn is_safe(url: &Url) {
    assert!(url.scheme() == "https" || url.scheme() == "http" && endpoint::is_loopback(url), "{url}");
    assert!(
        url.username().is_empty() && url.password().is_none() && url.host_str().is_some_and(|host| !host.is_empty()),
        "{url}"
    );
}
