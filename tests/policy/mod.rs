//! Settings, the policy file, and the channels that tell people.

mod notify;
mod problems;
mod reading;
mod settings;
mod source;
mod targets_container_app;
