//! A platform that can take software back. Every adapter answers the same few questions.

use std::sync::Arc;

use serde_json::Value;

use super::PortError;
use crate::domain::{
    observation::{Observation, Preflight, WayBack},
    right::NeededRight,
    rollback::{Fence, OperationState, Step, Submission},
    target::{Fingerprint, Target},
};

/// One target, as its platform shows it and takes it back.
///
/// Each question may be another process's: what is stored of steps and operations is all that it needs, and a look before it sends.
#[async_trait::async_trait]
pub trait Platform: Send + Sync {
    /// What runs, since when, what came before, and what is under way. Reads only, side by side: one round trip deep, once
    /// connection data (host names, cluster credentials) are known.
    ///
    /// Called twice: the same, but for when it was. What a call of ours began is under way from its answer to its end. A version that
    /// is rolled out again has another token, where the platform tells one rollout from the next.
    ///
    /// Not there: [`super::PortErrorKind::NotFound`]. A part that cannot be read becomes an obstacle or an unknown
    /// fingerprint, never a guess.
    async fn observe(&self) -> Result<Observation, PortError>;

    /// Every right that a rollback of exactly this target needs beyond reading it. Pure.
    fn rights(&self) -> Vec<NeededRight>;

    /// The ways back of an observation, in the policy's order, and those whose content the platform holds no more but would
    /// take again by name. Only contents of `proven` may be named: the last to serve first. None is the
    /// version that runs, though one may hold the same content, which no decision goes back to (S5). Pure.
    ///
    /// From one of them alone, the way that leads to it is found again under the same name.
    fn ways_back(&self, observation: &Observation, _proven: &[Fingerprint]) -> Vec<WayBack> {
        observation.ways_back.clone()
    }

    /// Whether the ways back are open: rights, locks, differences. Reads only, side by side with `observe`.
    ///
    /// What only a first answer names is read here, or by a step of its own, and never by `observe`: so it may be two trips deep.
    async fn preflight(&self) -> Result<Preflight, PortError>;

    /// The ordered mutating calls; at least one, at most one toggle. The last leads to exactly the content of `way_back`, under another
    /// token than the one that runs now. Pure.
    ///
    /// A call that the caller may name carries `fence`, so that a look at the platform can find it again.
    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step>;

    /// Sends one step, once: no retry of any kind, no redirect followed. Called twice: sent twice; the caller's claim prevents it.
    ///
    /// Changed meanwhile: where the step names what it was made for, it is refused, or accepted and fails, without any effect.
    /// Elsewhere nothing compares: the caller's look just before it has to do.
    ///
    /// Too late by [`super::SendBy`], whatever took so long: [`Submission::NotSent`].
    async fn submit(&self, step: &Step) -> Submission;

    /// Asks how an accepted operation stands, which ends at some time. Reads only; called twice: the same answer.
    ///
    /// A transient failure is an error; an operation that can't be read at all, or is none of ours, is [`OperationState::Unknown`].
    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError>;

    /// Whether the platform itself calls the version of `way_back` completely in service. Reads only. Not there: as [`Self::observe`].
    ///
    /// The observation is fresh; [`Observation::under_way`] is set while the platform still works on it. After that a look shows the same.
    async fn verify(&self, way_back: &WayBack) -> Result<Observation, PortError>;
}

/// Picks the adapter of a target. Makes it without any request; what a platform needs beyond that, it gets when first used.
pub trait Platforms: Send + Sync {
    fn of(&self, target: &Target) -> Arc<dyn Platform>;
}
