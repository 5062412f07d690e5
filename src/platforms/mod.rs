//! Platforms which can be taken back. Each is cut alike: observe, preflight, steps and submission, and its wire format.

pub mod app_service;

use std::sync::{Arc, OnceLock};

use crate::{
    azure::resource_manager::ResourceManager,
    domain::target::PlatformKind,
    ports::{Clock, Platform, Platforms},
};

/// The adapters behind one resource manager; each is made when first used.
pub struct AzurePlatforms {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    app_service: OnceLock<Arc<app_service::AppService>>,
}

impl AzurePlatforms {
    pub fn new(arm: Arc<ResourceManager>, clock: Arc<dyn Clock>) -> Self {
        Self { arm, clock, app_service: OnceLock::new() }
    }
}

impl Platforms for AzurePlatforms {
    fn of(&self, kind: PlatformKind) -> Arc<dyn Platform> {
        match kind {
            PlatformKind::AppService => {
                let make = || Arc::new(app_service::AppService::new(Arc::clone(&self.arm), Arc::clone(&self.clock)));
                Arc::clone(self.app_service.get_or_init(make)) as Arc<dyn Platform>
            }
        }
    }
}
