//! House rules, checked like everything else.

mod platforms;
mod purity;
mod security;
mod sources;
mod supply_chain;
mod text;
mod troubleshooting;
