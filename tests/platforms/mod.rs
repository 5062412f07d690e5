//! What is sent to Azure, byte for byte, and what each documented answer is taken for.
//!
//! The answers are composed by us in the shapes that Microsoft's generated clients read; none was recorded.

mod server;
mod cloud;
mod resource_manager;
mod app_service;
mod app_service_ramp;
mod arm_deployment;
mod preflight;
mod kubernetes;
mod metrics;
mod pipeline;
