//! Tables for the rules, one boundary a case, and properties over many cases. Every value here is composed by us.

mod case;
mod cause;
mod evidence;
mod history;
mod once;
mod outcome;
mod progress;
mod properties;
mod recovery;
mod serving;
mod way_back;
mod who;
