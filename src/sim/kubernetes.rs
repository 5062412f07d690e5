//! NOT YET: Kubernetes clusters.

use jiff::Timestamp;

use super::{
    arm::{ArmRequest, nothing_here},
    call::Reply,
    world::World,
};
use crate::domain::resource_id::ResourceId;

pub(super) const API_VERSIONS: &[&str] = &["2025-05-01", "2026-08-01"];

#[derive(Debug, Default)]
pub(super) struct State {}

impl State {
    /// Every resource that is there.
    pub fn ids(&self) -> impl Iterator<Item = ResourceId> + '_ {
        std::iter::empty()
    }
}

pub(super) fn answer(_world: &mut World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    Err(nothing_here(request.call))
}

/// Lets what has ended by the clock take effect.
pub(super) fn settle(_world: &mut World, _now: Timestamp) {}
