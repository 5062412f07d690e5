//! What the platform says that the deployment would do, judged before anything is deployed.
//!
//! Only a result that is whole, and that touches nothing but what the two deployments made, lets the rollback go on.

use std::collections::BTreeSet;

use serde_json::Value;

use super::wire::Record;
use crate::{azure::answer::clean, decide::once::is_off_limits, domain::resource_id::ResourceId};

/// Nested deployments are records, not resources.
const RECORD_TYPE: &str = "/providers/microsoft.resources/deployments/";

/// Whether the result allows the deployment; else why not.
///
/// `result` is the body of a what-if that ended well by its status.
pub fn judge(result: &Value, good: &Record, accused: &Record) -> Result<(), String> {
    if let Some(problem) = result.get("error").filter(|error| error.is_object()) {
        let text = |key| problem.get(key).and_then(Value::as_str).map(clean).unwrap_or_default();
        return Err(format!("the what-if failed: {}: {}", text("code"), text("message")));
    }
    let status = result.get("status").and_then(Value::as_str).unwrap_or_default();
    if !status.eq_ignore_ascii_case("succeeded") {
        return Err(format!("the what-if ended as `{}`, not `Succeeded`", clean(status)));
    }
    let Some(changes) = result.pointer("/properties/changes").and_then(Value::as_array) else {
        return Err("the what-if's result lists no changes".to_owned());
    };
    let Some(promised) = good.resources() else {
        return Err(format!("deployment `{}` does not tell what it made", clean(&good.name)));
    };
    let promised: BTreeSet<String> = promised.collect();
    // A deployment that failed tells nothing of it, which only makes less touchable.
    let touchable: BTreeSet<String> = promised.iter().cloned().chain(accused.resources().into_iter().flatten()).collect();
    let mut effects = 0;
    for change in changes {
        let id = change.get("resourceId").and_then(Value::as_str).unwrap_or_default();
        let kind = change.get("changeType").and_then(Value::as_str).unwrap_or_default();
        let (shown, key) = (clean(id), id.to_ascii_lowercase());
        match kind.to_ascii_lowercase().as_str() {
            // What lies beside the template. Beyond the what-if's own limits the rest of the template is reported so too.
            "ignore" if promised.contains(&key) => {
                return Err(format!("the what-if did not look at `{shown}`, so what would become of it is not known"));
            }
            "ignore" | "nochange" => {}
            "create" | "modify" | "deploy" if is_monitoring(id) => {
                return Err(format!("it would change `{shown}`, which belongs to monitoring or messaging (E9)"));
            }
            "create" | "modify" | "deploy" if touchable.contains(&key) => effects += 1,
            "create" | "modify" | "deploy" if key.contains(RECORD_TYPE) => {}
            "create" | "modify" | "deploy" => {
                return Err(format!("it would change `{shown}`, which neither of the two deployments made"));
            }
            "delete" => return Err(format!("it would delete `{shown}`")),
            "unsupported" => return Err(format!("the what-if can't tell what would become of `{shown}`")),
            _ => return Err(format!("the what-if reports a `{}` of `{shown}`, which is not known here", clean(kind))),
        }
    }
    if effects == 0 {
        return Err("it would change nothing, so it would take nothing back".to_owned());
    }
    Ok(())
}

fn is_monitoring(id: &str) -> bool {
    ResourceId::parse(id).is_ok_and(|id| is_off_limits(&id, None))
}
