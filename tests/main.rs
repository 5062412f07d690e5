//! One test binary: it links once and shares its support.

mod contract;
mod decide;
mod flow;
mod host;
mod inbound;
mod infra;
mod packaging;
mod platforms;
mod policy;
mod sim;
mod simulation;
mod support;
mod tidy;
