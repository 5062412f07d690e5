//! The kill switch: one document, read before each decision and again just before each call (A10).

use super::{
    Process,
    documents::{Insert, Replace, keys},
    trouble::Trouble,
};
use crate::{
    domain::approval::Control,
    ports::{PortError, PortErrorKind},
};

impl Process {
    /// Stops or allows every mutating call that has not been sent. Returns what was in force before.
    pub async fn set_paused(&self, paused: bool, by: &str) -> Result<Option<Control>, Trouble> {
        let control = Control { paused, by: by.to_owned(), since: self.ports.clock.now() };
        for _ in 0..10 {
            match self.documents.read::<Control>(&keys::control()).await? {
                None => {
                    if let Insert::Now(_) = self.documents.insert(&keys::control(), control.clone()).await? {
                        return Ok(None);
                    }
                }
                Some(before) => {
                    if let Replace::Now(_) = self.documents.replace(&keys::control(), &before.version, control.clone()).await? {
                        return Ok(Some(before.value));
                    }
                }
            }
        }
        Err(PortError::new("set the kill switch", PortErrorKind::Transient, "it kept changing; try again").into())
    }

    pub async fn control(&self) -> Result<Option<Control>, PortError> {
        Ok(self.documents.read::<Control>(&keys::control()).await?.map(|loaded| loaded.value))
    }
}
