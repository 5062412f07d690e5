//! The shape of the policy file. The JSON schema is made from these types, so every field says what it means and what holds without it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{duration::DurationText, target::TargetFile};

/// What backout watches, what it may take back, and how far it may go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyFile {
    /// Version of this format.
    #[schemars(required, range(min = 1, max = 1))]
    pub version: Option<u64>,
    /// What holds for every service that does not say otherwise. Default: the values that stand there.
    pub defaults: Option<DefaultsFile>,
    /// The services by name. A name begins with a letter or digit; letters, digits, `.`, `_` and `-` follow, 64 in all at most.
    #[schemars(required)]
    pub services: Option<BTreeMap<String, ServiceFile>>,
    /// When many alerts at once mean something bigger than one deployment. Default: the values that stand there.
    pub storm: Option<StormFile>,
    /// Where outcomes are told. Default: the log only.
    pub notify: Option<Vec<NotifyFile>>,
}

/// What holds for every service that does not say otherwise.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultsFile {
    /// How far automation may go. Default: `observe`.
    #[schemars(extend("default" = "observe"))]
    pub mode: Option<ModeWord>,
    /// Alerts less severe than this are ignored: `Sev0` (critical) to `Sev4`. Default: `Sev2`.
    #[schemars(regex(pattern = "^[Ss][Ee][Vv][0-4]$"), extend("default" = "Sev2"))]
    pub severity_at_least: Option<String>,
    /// How long after a rollout an alert may still accuse it. Default: `60m`.
    #[schemars(extend("default" = "60m"))]
    pub correlation_window: Option<DurationText>,
    /// How long a decision waits for evidence, from when the alert first arrived; what Azure takes to show a measurement is added. Default: `120s`.
    #[schemars(extend("default" = "120s"))]
    pub evidence_wait: Option<DurationText>,
    /// How long a version must have served, without an alert, to be proven good. Default: `30m`.
    #[schemars(extend("default" = "30m"))]
    pub healthy_for: Option<DurationText>,
    /// How long after a rollback another one of the same target is only proposed; two versions that take turns twice in such a span are left to a person. Default: `30m`.
    #[schemars(extend("default" = "30m"))]
    pub cool_down: Option<DurationText>,
    /// How many rollbacks are allowed per subscription of the targets. Default: the values that stand there.
    pub budget: Option<BudgetFile>,
    /// How long a platform must show no effect of a call whose answer was lost, before that counts as "nothing happened"; at least `6m`. Default: `10m`.
    #[schemars(extend("default" = "10m"))]
    pub quiet_time: Option<DurationText>,
    /// How long a rollback has to prove that it helped, from when it took effect; then a person is told. Default: `15m`.
    #[schemars(extend("default" = "15m"))]
    pub verify_within: Option<DurationText>,
    /// Which changes can be taken back. Default: `declared`.
    #[schemars(extend("default" = "declared"))]
    pub reversible: Option<ReversibleWord>,
    /// Whether a call that provably had no effect may be sent a second time. Default: `never`.
    #[schemars(extend("default" = "never"))]
    pub resubmit: Option<ResubmitWord>,
}

/// One service: what can be taken back, and which alerts speak about it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceFile {
    /// The platform resource which can be taken back.
    #[schemars(with = "TargetFile")]
    pub target: Value,
    /// Any of these makes an alert speak about the service. An alert on the target's own resource always does. Default: none.
    pub alerts: Option<Vec<AlertFile>>,
    /// Any of these makes an event of a pipeline, which names no resource, speak about the service. Default: none.
    pub deployments: Option<Vec<DeploymentFile>>,
    /// Services that this one calls; their deployments may be the cause of its alerts. Default: none.
    pub depends_on: Option<Vec<String>>,
    /// Which changes of this service can be taken back. Default: that of `defaults`.
    pub reversible: Option<ReversibleWord>,
    /// How far automation may go for this service. Default: that of `defaults`.
    pub mode: Option<ModeWord>,
    /// Alerts less severe than this are ignored: `Sev0` (critical) to `Sev4`. Default: that of `defaults`.
    #[schemars(regex(pattern = "^[Ss][Ee][Vv][0-4]$"))]
    pub severity_at_least: Option<String>,
    /// How long after a rollout an alert may still accuse it. Default: that of `defaults`.
    pub correlation_window: Option<DurationText>,
    /// How long a decision waits for evidence, from when the alert first arrived; what Azure takes to show a measurement is added. Default: that of `defaults`.
    pub evidence_wait: Option<DurationText>,
    /// How long a version must have served, without an alert, to be proven good. Default: that of `defaults`.
    pub healthy_for: Option<DurationText>,
    /// How long after a rollback another one of the same target is only proposed; two versions that take turns twice in such a span are left to a person. Default: that of `defaults`.
    pub cool_down: Option<DurationText>,
    /// How many rollbacks are allowed per subscription of the target. Default: that of `defaults`, key by key.
    pub budget: Option<BudgetFile>,
    /// How long a platform must show no effect of a call whose answer was lost, before that counts as "nothing happened"; at least `6m`. Default: that of `defaults`.
    pub quiet_time: Option<DurationText>,
    /// How long a rollback has to prove that it helped, from when it took effect; then a person is told. Default: that of `defaults`.
    pub verify_within: Option<DurationText>,
    /// Whether a call that provably had no effect may be sent a second time. Default: that of `defaults`.
    pub resubmit: Option<ResubmitWord>,
    /// Signals that show the fault and the recovery. Default: for `app-service` the share of `Http5xx` in `Requests` of the site, for `logic-app` that of `RunsFailed` in `RunsCompleted`; other platforms must name one.
    #[schemars(
        length(min = 1),
        extend("default" = [{ "metric": "Http5xx", "of": "Requests", "worseWhen": "higher", "noData": "unknown" }])
    )]
    pub evidence: Option<Vec<EvidenceFile>>,
    /// `app-service` only: what tells one build from another. Default: the container image, else the id of the active deployment.
    pub fingerprint: Option<FingerprintFile>,
}

/// Matches alerts: all keys that are given must match, and at least one is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
#[schemars(extend("examples" = [{ "rule": "checkout-*", "property": { "service": "checkout" } }]))]
pub struct AlertFile {
    /// Resource id; the alert names this resource or one below it. Default: any.
    pub resource: Option<String>,
    /// Name of the alert rule; `*` stands for any run of characters, case does not matter. Default: any.
    #[schemars(length(min = 1))]
    pub rule: Option<String>,
    /// Custom properties or dimensions with exactly these values. Default: any.
    pub property: Option<BTreeMap<String, String>>,
}

/// Matches events of pipelines: all keys that are given must match, without case, and at least one is given.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
#[schemars(extend("examples" = [{ "pipeline": "release", "stage": "production" }]))]
pub struct DeploymentFile {
    /// Project of Azure DevOps. Default: any.
    pub project: Option<String>,
    /// Pipeline or workflow. Default: any.
    pub pipeline: Option<String>,
    /// Stage of the pipeline. Default: any.
    pub stage: Option<String>,
    /// Repository, such as `contoso/shop`. Default: any.
    pub repository: Option<String>,
    /// Environment of the deployment. Default: any.
    pub environment: Option<String>,
    /// `subject.id` of a CDEvent, or what stands for it in other formats. Default: any.
    pub subject: Option<String>,
}

/// A signal that shows the fault and the recovery.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "metric": "Http5xx", "of": "Requests", "worseWhen": "higher", "noData": "unknown" }]))]
pub struct EvidenceFile {
    /// Name of the Azure metric.
    #[schemars(required, length(min = 1))]
    pub metric: Option<String>,
    /// Name of the metric by which `metric` is divided. Default: none, the value itself is judged.
    #[schemars(length(min = 1))]
    pub of: Option<String>,
    /// Which direction is worse. Default: `higher`.
    #[schemars(extend("default" = "higher"))]
    pub worse_when: Option<WorseWhenWord>,
    /// What a missing value means while its denominator is there. Default: `unknown`.
    #[schemars(extend("default" = "unknown"))]
    pub no_data: Option<NoDataWord>,
    /// Resource id of where the signal lives. Default: the target's own resource.
    pub resource: Option<String>,
}

/// What tells one build from another; exactly one of the keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
#[schemars(extend("examples" = [{ "setting": "RELEASE_ID" }]))]
pub struct FingerprintFile {
    /// Name of an app setting that moves with the content (not sticky to the slot), such as `RELEASE_ID`. Default: none.
    pub setting: Option<String>,
    /// Path on each slot's own host name that answers with the version, such as `/version`. Default: none.
    #[schemars(regex(pattern = "^/"))]
    pub url: Option<String>,
}

/// At most `rollbacks` in any span of length `per`, counted per subscription of the target.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "rollbacks": 3, "per": "24h" }]))]
pub struct BudgetFile {
    /// How many. Default: `3`.
    #[schemars(range(min = 1), extend("default" = 3))]
    pub rollbacks: Option<u32>,
    /// In which span. Default: `24h`.
    #[schemars(extend("default" = "24h"))]
    pub per: Option<DurationText>,
}

/// Alerts on `resources` or more resources that share no recent change, within `within`, are bigger than one deployment.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "resources": 5, "within": "5m" }]))]
pub struct StormFile {
    /// How many resources. Default: `5`.
    #[schemars(range(min = 2), extend("default" = 5))]
    pub resources: Option<u32>,
    /// In which span before an alert; what fires while its decision is open counts too. Default: `5m`.
    #[schemars(extend("default" = "5m"))]
    pub within: Option<DurationText>,
}

/// One channel, and the outcomes that are told through it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "channel": "teams", "urlFrom": "TEAMS_WEBHOOK_URL", "for": ["act", "propose", "page"] }]))]
pub struct NotifyFile {
    /// The kind of channel.
    pub channel: ChannelWord,
    /// Name of the app setting that holds the channel's URL; the URL is a secret and never stands in this file. Default: none for `log`; every other channel needs it.
    pub url_from: Option<String>,
    /// The outcomes that are told. Default: `[act, propose, page]`.
    #[serde(rename = "for")]
    #[schemars(length(min = 1), extend("default" = ["act", "propose", "page"]))]
    pub kinds: Option<Vec<OutcomeWord>>,
}

macro_rules! words {
    ($(#[$docs:meta])* $name:ident { $($(#[$variant_docs:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$docs])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name { $($(#[$variant_docs])* #[serde(rename = $word)] $variant,)* }
    };
}
pub(super) use words;

words! {
    /// How far automation may go.
    ModeWord {
        /// Record only.
        Observe = "observe",
        /// Ask a person.
        Propose = "propose",
        /// Take it back.
        Act = "act",
    }
}

words! {
    /// Which changes can be taken back.
    ReversibleWord {
        /// Every change.
        Always = "always",
        /// A change whose pipeline said so.
        Declared = "declared",
        /// No change.
        Never = "never",
    }
}

words! {
    /// Whether a call that provably had no effect may be sent a second time.
    ResubmitWord {
        /// A person is asked instead.
        Never = "never",
        /// One second attempt.
        Once = "once",
    }
}

words! {
    /// Which direction of a signal is worse.
    WorseWhenWord {
        /// More is worse, such as errors.
        Higher = "higher",
        /// Less is worse, such as successes.
        Lower = "lower",
    }
}

words! {
    /// What a missing value means while its denominator is there.
    NoDataWord {
        /// Neither good nor bad.
        Unknown = "unknown",
        /// Nothing was counted.
        Zero = "zero",
    }
}

words! {
    /// A kind of channel.
    ChannelWord {
        /// The log of this process.
        Log = "log",
        /// A Teams channel, through a Workflows webhook.
        Teams = "teams",
        /// A Slack channel, through an incoming webhook.
        Slack = "slack",
        /// Any receiver of JSON.
        Webhook = "webhook",
    }
}

words! {
    /// An outcome that can be told.
    OutcomeWord {
        /// A deployment is taken back.
        Act = "act",
        /// A person is asked.
        Propose = "propose",
        /// Waiting for evidence.
        Hold = "hold",
        /// A person must look.
        Page = "page",
        /// Nothing is done.
        Ignore = "ignore",
    }
}
