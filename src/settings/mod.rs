//! Every app setting: its name and meaning, where it is read, and how it becomes a final type.
//!
//! The only place that looks at the environment; everything else receives [`Settings`] or parts of it.

pub mod blob_container;
pub mod endpoint;
pub mod names;
mod parse;
mod source;
mod types;

pub use parse::{Settings, SettingsProblem, SettingsProblems, secret};
pub use source::{Environment, MapSource, Source};
pub use types::{
    ApproverAuth, BusConnection, BusSetting, IdentitySetting, PolicyLocation, StoreSetting, TelemetrySetting, TimeScale,
    WebhookSecrets, WebhookToken,
};
