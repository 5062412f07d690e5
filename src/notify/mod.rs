//! Telling people: the log, Teams, Slack, or any receiver of JSON. One file a channel.

mod log;
mod message;
mod post;
mod slack;
mod teams;
mod webhook;

use std::sync::OnceLock;

use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::{
    domain::policy::{Channel, NotifyRule},
    ports::{Notice, Notifier, PortError, PortErrorKind},
    settings::endpoint,
};

/// Gives the secret under the name of an app setting.
pub type SecretByName = Box<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;

/// All channels. The URL of a channel is looked up by the rule's `urlFrom` each time, so a new policy needs no restart.
pub struct Channels {
    /// Made at the first post: it loads the system's certificates, which cost memory that most processes never need.
    client: OnceLock<reqwest::Client>,
    secrets: SecretByName,
}

impl Channels {
    pub fn new(secrets: SecretByName) -> Self {
        Self { client: OnceLock::new(), secrets }
    }

    /// Fails only if the process has no usable TLS.
    fn client(&self) -> Result<&reqwest::Client, PortError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(post::TIME_OUT)
            .user_agent("backout")
            .build()
            .map_err(|_| PortError::new(OPERATION, PortErrorKind::Invalid, "the HTTP client cannot be made: no usable TLS"))?;
        Ok(self.client.get_or_init(|| client))
    }

    async fn post(&self, rule: &NotifyRule, body: Value) -> Result<(), PortError> {
        post::once(self.client()?, self.url(rule)?, &body).await
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
