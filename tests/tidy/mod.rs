//! House rules, checked like everything else.

mod platforms;
mod purity;
mod sources;
mod text;
mod troubleshooting;
