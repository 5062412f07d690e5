//! What resource manager says about an AKS cluster, whoever its API server may let in.

use serde_json::Value;

use crate::{
    azure::{resource_manager::ResourceManager, resource_path::resource_path},
    domain::resource_id::ResourceId,
    ports::{PortError, PortErrorKind},
};

pub const API_VERSION: &str = "api-version=2025-05-01";
pub const READ_ACTION: &str = "Microsoft.ContainerService/managedClusters/read";

/// As far as it decides how the cluster is spoken to. Fields of `Microsoft.ContainerService/managedClusters`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagedCluster {
    /// `aadProfile.managed`: whoever speaks to the API server needs an Entra token.
    pub takes_entra_tokens: bool,
    /// `apiServerAccessProfile.disableRunCommand`
    pub runs_no_commands: bool,
    /// `apiServerAccessProfile.enablePrivateCluster`
    pub is_private: bool,
    /// `powerState.code`
    pub is_stopped: bool,
}

pub async fn read(arm: &ResourceManager, id: &ResourceId) -> Result<ManagedCluster, PortError> {
    const OPERATION: &str = "read the cluster";
    let answer =
        arm.read(OPERATION, &format!("{}?{API_VERSION}", resource_path(id))).await.map_err(|error| match error.kind {
            PortErrorKind::Denied => {
                PortError { says: format!("{}; the reading identity needs `{READ_ACTION}` on `{id}`", error.says), ..error }
            }
            PortErrorKind::NotFound => PortError { says: format!("{}; check `cluster:` in the policy", error.says), ..error },
            PortErrorKind::Transient | PortErrorKind::Throttled | PortErrorKind::Invalid => error,
        })?;
    if !answer["properties"].is_object() {
        return Err(PortError::new(OPERATION, PortErrorKind::Invalid, "the answer holds no `properties`"));
    }
    Ok(parse(&answer))
}

fn parse(answer: &Value) -> ManagedCluster {
    let says = |pointer: &str| answer.pointer(pointer).and_then(Value::as_bool) == Some(true);
    let power = answer.pointer("/properties/powerState/code").and_then(Value::as_str);
    ManagedCluster {
        takes_entra_tokens: says("/properties/aadProfile/managed"),
        runs_no_commands: says("/properties/apiServerAccessProfile/disableRunCommand"),
        is_private: says("/properties/apiServerAccessProfile/enablePrivateCluster"),
        is_stopped: power.is_some_and(|code| code.eq_ignore_ascii_case("Stopped")),
    }
}

/// What a person reads about a cluster that cannot be spoken to because it does not run.
pub fn stopped(operation: &'static str) -> PortError {
    let says = "the cluster is stopped, so nothing in it serves and nothing can be taken back; start it with `az aks start`";
    PortError::new(operation, PortErrorKind::Transient, says)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_is_not_so() {
        let plain = ManagedCluster { takes_entra_tokens: false, runs_no_commands: false, is_private: false, is_stopped: false };
        let rows = [
            (json!({}), plain),
            (json!({"aadProfile": null, "apiServerAccessProfile": null, "powerState": null}), plain),
            (json!({"aadProfile": {"managed": true}}), ManagedCluster { takes_entra_tokens: true, ..plain }),
            (json!({"aadProfile": {"managed": false}, "powerState": {"code": "Running"}}), plain),
            (json!({"powerState": {"code": "stopped"}}), ManagedCluster { is_stopped: true, ..plain }),
            (
                json!({"apiServerAccessProfile": {"enablePrivateCluster": true, "disableRunCommand": true}}),
                ManagedCluster { is_private: true, runs_no_commands: true, ..plain },
            ),
        ];
        for (properties, expected) in rows {
            assert_eq!(parse(&json!({ "properties": properties })), expected, "{properties}");
        }
    }
}
