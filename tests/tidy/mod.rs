//! House rules, checked like everything else.

mod purity;
mod sources;
mod text;
