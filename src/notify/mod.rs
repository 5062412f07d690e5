//! Telling people: the log, Teams, Slack, or any receiver of JSON. One file a channel.

mod log;
mod message;
mod post;
mod slack;
mod teams;
mod webhook;

use std::sync::OnceLock;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::{
    azure::{http, resource_manager::Limits},
    domain::policy::{Channel, NotifyRule},
    ports::{Notice, Notifier, PortError, PortErrorKind},
    settings::endpoint,
};

/// Gives the secret under the name of an app setting.
pub type SecretByName = Box<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;

/// All channels. The URL of a channel is looked up by the rule's `urlFrom` each time, so a new policy needs no restart.
pub struct Channels {
    /// Made at the first post: it loads the system's certificates, which cost memory that most processes never need.
    remote: OnceLock<reqwest::Client>,
    loopback: OnceLock<reqwest::Client>,
    secrets: SecretByName,
}

impl Channels {
    pub fn new(secrets: SecretByName) -> Self {
        Self { remote: OnceLock::new(), loopback: OnceLock::new(), secrets }
    }

    /// Fails only if the process has no usable TLS.
    fn client(&self, url: &Url) -> Result<&reqwest::Client, PortError> {
        let made = if endpoint::is_loopback(url) { &self.loopback } else { &self.remote };
        if let Some(client) = made.get() {
            return Ok(client);
        }
        let limits = Limits { answer_within: post::TIME_OUT, ..Limits::default() };
        let client = http::client(url, &limits)
            .retry(reqwest::retry::never())
            .build()
            .map_err(|_| PortError::new(OPERATION, PortErrorKind::Invalid, "the HTTP client cannot be made: no usable TLS"))?;
        Ok(made.get_or_init(|| client))
    }

    async fn post(&self, rule: &NotifyRule, body: Value) -> Result<(), PortError> {
        let url = self.url(rule)?;
        post::once(self.client(&url)?, url, &body).await
    }

    /// Every sentence here names the setting, never its value.
    fn url(&self, rule: &NotifyRule) -> Result<Url, PortError> {
        let invalid = |says: String| PortError::new(OPERATION, PortErrorKind::Invalid, says);
        let Some(name) = &rule.url_from else {
            return Err(invalid(
                "the channel has no `urlFrom` in the policy: name the app setting that holds its URL".to_owned(),
            ));
        };
        let Some(secret) = (self.secrets)(name) else {
            return Err(invalid(format!("the app setting `{name}` is not set: store the channel's URL in it")));
        };
        endpoint::parse(secret.expose_secret())
            .map_err(|problem| invalid(format!("the app setting `{name}` {problem}: store the channel's https URL in it")))
    }
}

#[async_trait::async_trait]
impl Notifier for Channels {
    async fn tell(&self, notice: &Notice, rule: &NotifyRule) -> Result<(), PortError> {
        match rule.channel {
            Channel::Log => {
                log::write(notice);
                Ok(())
            }
            Channel::Teams => self.post(rule, teams::body(notice)).await,
            Channel::Slack => self.post(rule, slack::body(notice)).await,
            Channel::Webhook => self.post(rule, webhook::body(notice)).await,
        }
    }
}

pub(crate) const OPERATION: &str = "tell people";
