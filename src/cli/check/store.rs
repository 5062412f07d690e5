//! Whether state can be kept: one small document is written, read back and removed.

use super::finding::Finding;
use crate::{
    cli::wiring::Wired,
    ports::{Inserted, Key, PortError, PortErrorKind, StateStore},
};

pub async fn check(wired: &Wired) -> Finding {
    const WHAT: &str = "store";
    if let Err(error) = write_and_read_back(&*wired.ports.store).await {
        return Finding::problem(WHAT, error.to_string());
    }
    match wired.process.control().await {
        Err(error) => Finding::problem(WHAT, error.to_string()),
        Ok(control) => {
            let paused = control.filter(|control| control.paused).map(|control| format!("; paused by {}", control.by));
            Finding::ok(WHAT, format!("a document was written, read back and removed{}", paused.unwrap_or_default()))
        }
    }
}

/// Under a key that nobody else uses, so that a check beside a running handler disturbs nothing.
async fn write_and_read_back(store: &dyn StateStore) -> Result<(), PortError> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let key = Key::new(format!("check/{id}"));
    match store.insert(&key, id.as_bytes()).await? {
        // A write whose answer got lost meets itself.
        Inserted::Now(_) | Inserted::AlreadyThere => {}
    }
    let wrong = |says: &str| Err(PortError::new("check the store", PortErrorKind::Invalid, says));
    let Some(stored) = store.read(&key).await? else {
        return wrong("a document that was written is not there; look at `BACKOUT_STORE`");
    };
    if stored.body != id.as_bytes() {
        return wrong("a document reads back as another one; look at `BACKOUT_STORE`");
    }
    if !store.delete(&key, &stored.version).await? {
        return wrong("a document changed though nobody else knows it; look at `BACKOUT_STORE`");
    }
    Ok(())
}
