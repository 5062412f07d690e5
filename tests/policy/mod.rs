//! Settings, the policy file, and the channels that tell people.

mod notify;
mod problems;
mod reading;
mod settings;
mod source;
mod targets_arm_deployment;
mod targets_container_app;
mod targets_kubernetes;
mod targets_logic_app;
mod targets_pipeline;
