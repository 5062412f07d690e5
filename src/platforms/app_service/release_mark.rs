//! What a slot itself says about its build, where the policy names a setting or a path for that.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use super::{
    package,
    wire::{API_VERSION, slot_path},
};
use crate::{
    azure::{
        answer::clean,
        http,
        resource_manager::{Limits, ResourceManager},
        resource_path::resource_path,
    },
    domain::{printable::deceives, target::AppServiceTarget},
    ports::{PortError, PortErrorKind},
    settings::endpoint::is_loopback,
};

/// The answer to "which build are you", for the fingerprint sources that ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseMark {
    Says(String),
    /// Why nothing is known, for people.
    Unknown(String),
    /// It may be known, but not now.
    Unread(PortError),
}

/// Longer marks are no names of builds; a cut one could make two builds look alike.
const MARK_CHARS_MAX: usize = 256;

impl ReleaseMark {
    fn from_text(text: &str, place: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            Self::Unknown(format!("{place} is empty"))
        } else if text.chars().count() > MARK_CHARS_MAX {
            Self::Unknown(format!("{place} is longer than {MARK_CHARS_MAX} characters"))
        } else if text.chars().any(deceives) {
            Self::Unknown(format!("{place} holds control characters"))
        } else {
            Self::Says(text.to_owned())
        }
    }
}

/// Reads the app setting `name` of a slot. The other settings in the answer are dropped unseen.
pub async fn setting(arm: &ResourceManager, target: &AppServiceTarget, slot: &str, name: &str) -> ReleaseMark {
    let path = format!("{}/config/appsettings/list?{API_VERSION}", slot_path(target, slot));
    let is_package = target.package_setting().is_some();
    let sticky = format!("{}/config/slotConfigNames?{API_VERSION}", resource_path(&target.site));
    let (settings, sticky) = tokio::join!(
        arm.read_by_post("read the setting that names the build", &path, None),
        arm.read("read the names of sticky settings", &sticky),
    );
    match sticky {
        Ok(names) if is_sticky(&names, name) => {
            return ReleaseMark::Unknown(format!("setting `{name}` is sticky, so it does not move with the build"));
        }
        Err(error) if error.kind != PortErrorKind::NotFound => return ReleaseMark::Unread(error),
        Ok(_) | Err(_) => {}
    }
    match settings {
        Ok(settings) => match settings.get("properties").and_then(|all| all.get(name)).and_then(Value::as_str) {
            Some(text) if is_package => package::mark(text),
            Some(text) => ReleaseMark::from_text(text, &format!("setting `{name}`")),
            None => ReleaseMark::Unknown(format!("setting `{name}` is not there")),
        },
        Err(error) => ReleaseMark::Unread(error),
    }
}

fn is_sticky(names: &Value, name: &str) -> bool {
    let sticky = names.pointer("/properties/appSettingNames").and_then(Value::as_array);
    sticky.is_some_and(|all| all.iter().filter_map(Value::as_str).any(|sticky| sticky.eq_ignore_ascii_case(name)))
}

/// Asks slots on their own host names, without any token.
#[derive(Default)]
pub struct SiteClient {
    remote: OnceCell<Client>,
    loopback: OnceCell<Client>,
    /// By path of the slot: the host name that it had, so that it can be asked while its name is read anew.
    hosts: Mutex<BTreeMap<String, String>>,
    /// By path of the serving slot: slots that its traffic rules named beyond those of the policy, read beside it next time.
    ramp_slots: Mutex<BTreeMap<String, Vec<String>>>,
}

impl SiteClient {
    /// The host name that a slot had when it was last read.
    pub fn known_host(&self, slot: &str) -> Option<String> {
        self.hosts().get(slot).cloned()
    }

    pub fn keep_host(&self, slot: &str, host: &str) {
        self.hosts().insert(slot.to_owned(), host.to_owned());
    }

    /// The slots beyond those of the policy to which users of this one were sent when it was last read.
    pub fn known_ramp_slots(&self, serving: &str) -> Vec<String> {
        self.ramp_slots.lock().unwrap_or_else(PoisonError::into_inner).get(serving).cloned().unwrap_or_default()
    }

    pub fn keep_ramp_slots(&self, serving: &str, slots: Vec<String>) {
        self.ramp_slots.lock().unwrap_or_else(PoisonError::into_inner).insert(serving.to_owned(), slots);
    }

    /// Whoever panicked while holding it left nothing half-written.
    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// GETs `path` on the slot's host: https, or plain http on loopback.
    pub async fn ask(&self, host: &str, path: &str) -> ReleaseMark {
        match self.body(host, path).await {
            Ok(body) => ReleaseMark::from_text(&body, &format!("the answer of `{path}`")),
            Err(why) => ReleaseMark::Unknown(why),
        }
    }

    async fn body(&self, host: &str, path: &str) -> Result<String, String> {
        let url = site_url(host, path).ok_or_else(|| format!("`{path}` on `{}` is no URL", clean(host)))?;
        let client = self.client_of(&url).await.map_err(|_| "the HTTP client cannot be made".to_owned())?;
        let silent = |error: reqwest::Error| {
            format!("`{path}` {}", if error.is_timeout() { "did not answer in time" } else { "gave no answer" })
        };
        let mut response = client.get(url).send().await.map_err(silent)?;
        if response.status() != StatusCode::OK {
            return Err(format!("`{path}` answered {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(silent)? {
            body.extend_from_slice(&chunk);
            if body.len() > 8 * MARK_CHARS_MAX {
                return Err(format!("the answer of `{path}` is longer than {MARK_CHARS_MAX} characters"));
            }
        }
        String::from_utf8(body).map_err(|_| format!("the answer of `{path}` is no text"))
    }

    async fn client_of(&self, url: &Url) -> Result<&Client, reqwest::Error> {
        let limits = Limits { answer_within: Duration::from_secs(10), ..Limits::default() };
        let made = if is_loopback(url) { &self.loopback } else { &self.remote };
        made.get_or_try_init(|| async { http::client(url, &limits).build() }).await
    }
}

/// The URL of `path` on `host`, if both are what they seem to be.
fn site_url(host: &str, path: &str) -> Option<Url> {
    if !path.starts_with('/') || host.is_empty() || host.contains(['/', '@', '?', '#', '\\']) {
        return None;
    }
    let secure = Url::parse(&format!("https://{host}{path}")).ok()?;
    if is_loopback(&secure) { Url::parse(&format!("http://{host}{path}")).ok() } else { Some(secure) }
}

/// What a failed read of the slot's own host means for a mark.
pub fn without_host(error: &PortError) -> ReleaseMark {
    ReleaseMark::Unknown(format!("the slot's host name is unknown ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slots_host_is_asked_over_https_unless_it_is_this_machine() {
        let url = |host, path| site_url(host, path).map(String::from);
        assert_eq!(url("a.azurewebsites.net", "/version").as_deref(), Some("https://a.azurewebsites.net/version"));
        assert_eq!(url("127.0.0.1:81", "/v").as_deref(), Some("http://127.0.0.1:81/v"));
        assert_eq!(url("staging.localhost:81", "/v").as_deref(), Some("http://staging.localhost:81/v"));
        for (host, path) in [("", "/v"), ("a.net", "v"), ("a@evil.net", "/v"), ("a.net/x", "/v"), ("a b", "/v")] {
            assert_eq!(url(host, path), None, "{host} {path}");
        }
    }

    #[test]
    fn only_a_short_plain_text_is_a_mark() {
        assert_eq!(ReleaseMark::from_text(" build-42\r\n", "it"), ReleaseMark::Says("build-42".to_owned()));
        for text in ["", "  \n", "a\u{1}b", &"x".repeat(257)] {
            assert!(matches!(ReleaseMark::from_text(text, "it"), ReleaseMark::Unknown(_)), "{text}");
        }
    }
}
