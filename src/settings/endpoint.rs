//! URLs that we may call: https, or plain http on loopback. One rule for every endpoint, since most carry a token.

use std::fmt;

use url::{Host, Url};

/// Why a URL may not be called. Never holds the URL, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointProblem {
    #[error("is not an absolute URL")]
    NotAUrl,
    #[error("is a URL without a host name")]
    NoHost,
    #[error("is a plain http URL, which is allowed on loopback only")]
    PlainHttp,
    #[error("is a URL that is neither https nor http")]
    OtherScheme,
    #[error("is a URL with a user name or a password in it")]
    UserInfo,
}

/// Parses a URL that may carry a token: https, or http on loopback.
pub fn parse(text: &str) -> Result<Url, EndpointProblem> {
    let url = Url::parse(text.trim()).map_err(|_| EndpointProblem::NotAUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(EndpointProblem::PlainHttp),
        _ => return Err(EndpointProblem::OtherScheme),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(EndpointProblem::NoHost);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EndpointProblem::UserInfo);
    }
    Ok(url)
}

/// True for 127.0.0.0/8, ::1 and `localhost` with the names below it, which never leave the machine (RFC 6761).
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A URL as it may be shown: without query and fragment, where signatures stand.
pub struct Shown<'a>(pub &'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        url.set_query(None);
        url.set_fragment(None);
        f.write_str(url.as_str())
    }
}
