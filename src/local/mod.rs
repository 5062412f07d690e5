//! For one machine: stores, an embedded queue, a clock.

pub mod memory_store;
pub mod sqlite_store;
pub mod embedded_queue;
pub mod back_off;
pub mod clock;
pub mod intake;
pub mod pump;

mod sqlite_file;
