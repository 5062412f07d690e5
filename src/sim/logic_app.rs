//! NOT YET: Consumption logic apps.

use jiff::Timestamp;

use super::{
    arm::{ArmRequest, nothing_here},
    call::Reply,
    metrics::Measured,
    world::World,
};
use crate::domain::resource_id::ResourceId;

pub(super) const API_VERSIONS: &[&str] = &["2019-05-01"];

#[derive(Debug, Default)]
pub(super) struct State {}

impl State {
    /// Every resource that is there.
    pub fn ids(&self) -> impl Iterator<Item = ResourceId> + '_ {
        std::iter::empty()
    }

    pub fn measured<'a>(&'a self, _world: &'a World, _id: &ResourceId) -> Option<Measured<'a>> {
        None
    }
}

pub(super) fn answer(_world: &mut World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    Err(nothing_here(request.call))
}

/// Lets what has ended by the clock take effect.
pub(super) fn settle(_world: &mut World, _now: Timestamp) {}
