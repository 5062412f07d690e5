//! Azure over HTTP: which cloud, who we are, resource manager with its long-running operations, queues, and state in blobs.

pub mod cloud;
pub mod identity;
pub mod tenant_keys;
pub mod resource_path;
pub mod answer;
pub mod http;
pub mod resource_manager;
pub mod permissions;
pub mod locks;
pub mod service_bus;
pub mod blob_store;
