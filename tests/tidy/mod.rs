//! House rules, checked like everything else.

mod leaks;
mod platforms;
mod purity;
mod security;
pub mod sources;
mod supply_chain;
mod text;
mod troubleshooting;
