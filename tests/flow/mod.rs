//! Whole stories through the process.

mod blob_store;
mod check;
mod commands;
mod crash;
mod kill_matrix;
mod lost_alerts;
mod platform_app_service;
mod platform_app_service_names;
mod platform_arm_deployment;
mod platform_container_app;
mod platform_kubernetes;
mod platform_kubernetes_commands;
mod platform_logic_app;
mod platform_pipeline;
mod put_back;
mod real;
mod saga;
mod slow_look;
mod storm;
mod told_once;
mod trips;
mod two_deliveries;
mod two_services;
