//! That everything comes to its end once nothing goes wrong any more: each rollback in time, each target free or left to a person.

use super::super::{
    time::{HOUR, MINUTE, Micros},
    world::World,
};
use super::Invariant;

/// An operation may take an hour, and a store or a person may be away as long.
const LONGEST: Micros = 5 * HOUR;

pub fn judge(world: &mut World) {
    let busy = world.checks.rollbacks.busy.values().find(|busy| !busy.left_to_a_person).cloned();
    if let Some(busy) = busy {
        world.broken(Invariant::Ends, || {
            format!("{} is still busy with record {}, for {} min", busy.target, busy.record, busy.since / MINUTE)
        });
    }
    if let Some(queued) = world.queue.messages.values().next() {
        let queue = queued.message.queue.clone();
        let deliveries = queued.deliveries;
        world.broken(Invariant::Ends, || format!("a message of `{queue}` is still there after {deliveries} deliveries"));
    }
    let longest = world.checks.rollbacks.longest;
    if longest > LONGEST {
        world.broken(Invariant::Ends, || format!("a rollback took {} min", longest / MINUTE));
    }
}
