//! What is sent to Azure, byte for byte, and what each documented answer is taken for.
//!
//! The answers are composed by us in the shapes that Microsoft's generated clients read; none was recorded.

mod alerts_management;
mod app_service;
mod app_service_names;
mod app_service_ramp;
mod arm_deployment;
mod bad_targets;
mod cloud;
mod container_app;
mod kubernetes;
mod kubernetes_commands;
mod line;
mod logic_app;
mod metrics;
mod pipeline;
mod preflight;
mod resource_manager;
mod server;
mod trips;
