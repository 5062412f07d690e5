//! For one machine: stores, an embedded queue, a clock.

pub mod memory_store;
