//! For one machine: stores, an embedded queue, a clock.

pub mod memory_store;
pub mod sqlite_store;
pub mod embedded_queue;
pub mod clock;

mod sqlite_file;
