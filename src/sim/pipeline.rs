//! NOT YET: Pipelines.

use jiff::Timestamp;

use super::world::World;

#[derive(Debug, Default)]
pub(super) struct State {}

/// Lets what has ended by the clock take effect.
pub(super) fn settle(_world: &mut World, _now: Timestamp) {}
