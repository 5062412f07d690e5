//! Management locks, api-version 2020-05-01.

use serde_json::Value;

use super::{resource_manager::ResourceManager, resource_path::resource_path};
use crate::{domain::resource_id::ResourceId, ports::PortError};

/// Ids of the `ReadOnly` locks on `scope` and on what it lies in: each refuses every write there. An id that is missing is empty.
///
/// `CanNotDelete` locks are left out, since no rollback deletes.
pub async fn read_only(arm: &ResourceManager, scope: &ResourceId) -> Result<Vec<String>, PortError> {
    let path = format!("{}/providers/Microsoft.Authorization/locks?api-version=2020-05-01", resource_path(scope));
    let is_read_only = |lock: &&Value| {
        let level = lock.pointer("/properties/level").and_then(Value::as_str);
        level.is_some_and(|level| level.eq_ignore_ascii_case("ReadOnly"))
    };
    let id = |lock: &Value| lock.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(arm.read_all("read the locks", &path).await?.iter().filter(is_read_only).map(id).collect())
}
