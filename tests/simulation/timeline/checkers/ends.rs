//! That everything comes to its end once nothing goes wrong any more: each rollback in time, each target free or left to a person.

use super::{Invariant, StoredDocuments};
use super::super::{
    time::{HOUR, MINUTE},
    world::World,
};

pub fn judge(world: &mut World, _documents: &StoredDocuments) {
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
    if longest > 5 * HOUR {
        world.broken(Invariant::Ends, || format!("a rollback took {} min", longest / MINUTE));
    }
}
