//! House rules, checked like everything else.

mod leaks;
mod platforms;
mod purity;
mod sources;
mod text;
mod troubleshooting;
