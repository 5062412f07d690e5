//! House rules, checked like everything else.

mod platforms;
mod purity;
pub mod sources;
mod text;
mod troubleshooting;
