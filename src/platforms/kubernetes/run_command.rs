//! A private cluster, by commands that AKS runs in it (`runCommand`): what each came to.
//!
//! Every command starts a pod of its own and takes some ten to thirty seconds, also one that only reads. Reads wait for their end
//! within the invocation, for a bounded time; the patch does not wait: its result is polled by the saga. Who runs a command is
//! whoever's token for the cluster travels with it; a cluster without Entra runs it as its administrator.
//! Source: API reference of `ManagedClusters_RunCommand` and `GetCommandResult`; Azure CLI, which decides by the body's state.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    command_line::{self, Failure},
    connection::AKS_SCOPE,
    direct, locked,
    managed_cluster::{self, API_VERSION, ManagedCluster},
    wire::plural,
};
use crate::{
    azure::{
        answer::clean,
        identity::{Identities, TokenSource},
        resource_manager::{Begun, ResourceManager, Told},
        resource_path::resource_path,
    },
    domain::{
        resource_id::ResourceId,
        right::Identity,
        rollback::{OperationState, Submission},
        target::KubernetesTarget,
    },
    ports::{Clock, PortError, PortErrorKind},
};

pub const RUN_ACTION: &str = "Microsoft.ContainerService/managedClusters/runcommand/action";
pub const RESULT_ACTION: &str = "Microsoft.ContainerService/managedClusters/commandResults/read";

/// How long a read may take. AKS waits no longer than 60 s for a pod to be scheduled.
const READ_WITHIN: Duration = Duration::from_secs(80);
/// Between two looks for a read's result.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at a patch, and at its rollout, each of which is a command.
pub const POLL_AFTER_SECONDS: u32 = 30;
/// Until the patch's result is first asked for.
const FIRST_POLL_AFTER_SECONDS: u32 = 15;

/// Refusals that come before a pod is made, beside 401 and 403. After any other one it may be there, and run when a node is free: for a
/// pod that did not start in time AKS answers this very call with an error, `KubernetesOperationError` or `KubernetesPerformanceError`.
/// Source: "Resolve az aks command invoke failures"; issues 24192, 25336 and 27776 of azure-cli.
const BEFORE_ANY_POD: [&str; 6] =
    ["AuthorizationFailed", "ResourceNotFound", "ResourceGroupNotFound", "InvalidParameter", "RunCommandDisabled", "ScopeLocked"];

/// What a step's operation is kept under.
const KEY: &str = "runCommand";

/// One cluster, spoken to by commands.
pub struct RunCommand {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    reader: TokenSource,
    actor: TokenSource,
    id: ResourceId,
    /// As it was when it was last looked at: the patch is sent by it, since seconds count then.
    last: Mutex<Option<ManagedCluster>>,
}

/// What became of a command, by the body of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Running,
    Ended {
        exit_code: i64,
        output: String,
    },
    /// AKS gave up on it: why. Its pod may be there all the same, and Kubernetes tries for ever to pull an image.
    Failed(String),
    /// The answer does not tell.
    Unclear(String),
}

/// How the patch stands.
pub enum Patched {
    /// It was applied: uid and generation of what came of it, where they could be read.
    Applied(Option<(String, i64)>),
    Is(OperationState),
}

impl RunCommand {
    pub fn new(arm: Arc<ResourceManager>, clock: Arc<dyn Clock>, identities: &Identities, id: ResourceId) -> Self {
        let (reader, actor) = (identities.reader(AKS_SCOPE), identities.actor(AKS_SCOPE));
        Self { arm, clock, reader, actor, id, last: Mutex::default() }
    }

    /// Runs a line that only reads, and gives what it printed.
    pub async fn read(&self, operation: &'static str, line: Result<String, String>) -> Result<String, PortError> {
        let cluster = self.look().await?;
        self.print(Identity::Reading, cluster, operation, line, Ok(String::new())).await
    }

    /// What a line printed that changes nothing, and that ended well.
    async fn print(
        &self,
        identity: Identity,
        cluster: ManagedCluster,
        operation: &'static str,
        line: Result<String, String>,
        archive: Result<String, String>,
    ) -> Result<String, PortError> {
        let invalid = |says: String| PortError::new(operation, PortErrorKind::Invalid, says);
        let (line, archive) = (line.map_err(invalid)?, archive.map_err(invalid)?);
        match self.run(identity, cluster, operation, &line, &archive).await? {
            (0, output) => Ok(output),
            (exit_code, output) => {
                let kind = match command_line::failure(exit_code, &output) {
                    Failure::NotFound => PortErrorKind::NotFound,
                    Failure::Denied => PortErrorKind::Denied,
                    Failure::Refused => PortErrorKind::Invalid,
                    Failure::Conflict | Failure::Unclear => PortErrorKind::Transient,
                };
                let says = format!("the command ended with exit code {exit_code}: {}", command_line::reason(&output));
                Err(PortError::new(operation, kind, says))
            }
        }
    }

    /// Whether the identity that acts may patch the workload, by the cluster's own word.
    pub async fn may_patch(&self, target: &KubernetesTarget) -> Result<bool, PortError> {
        const OPERATION: &str = "ask the cluster for our rights";
        let cluster = self.look().await?;
        if !cluster.takes_entra_tokens {
            // The cluster's administrator may.
            return Ok(true);
        }
        let review = direct::review(target, "patch", plural(target.kind), Some(&target.name));
        let archive = command_line::archive(command_line::REVIEW_FILE, &review);
        let output = self.print(Identity::Acting, cluster, OPERATION, Ok(command_line::review()), archive).await?;
        let answer = command_line::values(OPERATION, &output)?.into_iter().next().unwrap_or_default();
        direct::allowed(OPERATION, &answer)
    }

    pub fn id(&self) -> &ResourceId {
        &self.id
    }

    pub fn arm(&self) -> &ResourceManager {
        &self.arm
    }

    /// Sends the patch once, and does not wait for it.
    pub async fn patch(&self, target: &KubernetesTarget, patch: &Value) -> Submission {
        let not_sent = |says: String| Submission::NotSent { says, retry_after_seconds: None };
        let refused = |says: String| Submission::Refused { says: format!("{says}; nothing was sent") };
        let line = match command_line::patch(target) {
            Ok(line) => line,
            Err(says) => return refused(says),
        };
        let archive = match command_line::archive(command_line::PATCH_FILE, patch) {
            Ok(archive) => archive,
            Err(says) => return refused(says),
        };
        let Some(cluster) = *locked(&self.last) else {
            return not_sent("the cluster must be read before it is changed".to_owned());
        };
        let body = match self.body(Identity::Acting, cluster, &line, &archive).await {
            Ok(body) => body,
            Err(error) => return not_sent(error.says),
        };
        let (submission, told) = self.arm.submit_for_answer(Method::POST, &self.path(), Some(body.to_string())).await;
        match submission {
            Submission::Accepted { operation, .. } if operation.get("location").is_some() => {
                Submission::Accepted { operation: json!({ KEY: operation }), poll_after_seconds: FIRST_POLL_AFTER_SECONDS }
            }
            Submission::Accepted { .. } => lost("the command was accepted without a URL to ask"),
            Submission::Done => match outcome(&told.body) {
                Outcome::Ended { exit_code: 0, output } => Submission::Accepted {
                    operation: operation(command_line::patched(&output)),
                    poll_after_seconds: FIRST_POLL_AFTER_SECONDS,
                },
                Outcome::Ended { exit_code, output } => {
                    let says = failed(exit_code, &output);
                    match command_line::failure(exit_code, &output) {
                        Failure::NotFound | Failure::Denied | Failure::Refused => Submission::Refused { says },
                        Failure::Conflict => Submission::Busy { says },
                        Failure::Unclear => lost(&says),
                    }
                }
                Outcome::Running => lost("the command runs, and the answer names no URL to ask"),
                Outcome::Failed(why) | Outcome::Unclear(why) => lost(&why),
            },
            Submission::Refused { says } if told.status.is_some() && !is_before_any_pod(&told) => lost(&says),
            Submission::Refused { .. } | Submission::Busy { .. } | Submission::NotSent { .. } | Submission::Unknown { .. } => {
                submission
            }
        }
    }

    /// How the patch stands; `None` for an operation that is no command's.
    pub async fn poll(&self, operation: &Value) -> Result<Option<Patched>, PortError> {
        let Some(command) = operation.get(KEY) else { return Ok(None) };
        let unknown = |says: String| Patched::Is(OperationState::Unknown { says: format!("{says}; the workload itself tells") });
        let running = Patched::Is(OperationState::Running { poll_after_seconds: FIRST_POLL_AFTER_SECONDS });
        let (state, answer) = self.arm.poll_for_answer(command).await?;
        Ok(Some(match state {
            OperationState::Running { .. } | OperationState::WaitsForAPerson { .. } => running,
            OperationState::Succeeded => match outcome(&answer) {
                Outcome::Running => running,
                Outcome::Ended { exit_code: 0, output } => Patched::Applied(command_line::patched(&output)),
                Outcome::Ended { exit_code, output } => {
                    let says = failed(exit_code, &output);
                    match command_line::failure(exit_code, &output) {
                        Failure::NotFound | Failure::Denied | Failure::Refused => Patched::Is(OperationState::Failed { says }),
                        // The same patch may be taken later, if it still fits: that is found by looking.
                        Failure::Conflict | Failure::Unclear => unknown(says),
                    }
                }
                Outcome::Failed(why) | Outcome::Unclear(why) => unknown(why),
            },
            // The question was refused, which says nothing about the command.
            OperationState::Failed { says } | OperationState::Unknown { says } => unknown(says),
        }))
    }

    /// Exit code and output of a line, once it has ended.
    async fn run(
        &self,
        identity: Identity,
        cluster: ManagedCluster,
        operation: &'static str,
        line: &str,
        archive: &str,
    ) -> Result<(i64, String), PortError> {
        let error = |kind, says: String| PortError::new(operation, kind, says);
        let until = self.clock.monotonic() + READ_WITHIN;
        let body = self.body(identity, cluster, line, archive).await?;
        let begun = self.arm.begin_by_post(identity, operation, &self.path(), &body).await;
        let (mut answer, polled) = match begun.map_err(|error| self.without_right(identity, error))? {
            Begun::Answered(body) => (outcome(&body), json!({})),
            Begun::Accepted(polled) => (Outcome::Running, polled),
        };
        loop {
            match answer {
                Outcome::Ended { exit_code, output } => return Ok((exit_code, output)),
                Outcome::Failed(why) => return Err(error(PortErrorKind::Transient, why)),
                Outcome::Unclear(why) => return Err(error(PortErrorKind::Invalid, why)),
                Outcome::Running => {}
            }
            if self.clock.monotonic() >= until {
                let says = format!(
                    "the command did not end within {} s; check that the cluster's nodes can run one more pod (`az aks command \
                     invoke`)",
                    READ_WITHIN.as_secs()
                );
                return Err(error(PortErrorKind::Transient, says));
            }
            self.clock.sleep(LOOK_EVERY).await;
            answer = match self.arm.poll_for_answer(&polled).await {
                Ok((OperationState::Succeeded, body)) => outcome(&body),
                Ok((OperationState::Failed { says } | OperationState::Unknown { says }, _)) => {
                    let says = format!("{says}; the reading identity needs `{RESULT_ACTION}` on `{}`", self.id);
                    return Err(error(PortErrorKind::Transient, says));
                }
                // The command only reads: the next look may get through.
                Ok((OperationState::Running { .. } | OperationState::WaitsForAPerson { .. }, _)) | Err(_) => Outcome::Running,
            };
        }
    }

    /// What the cluster says about itself, and that it can run commands.
    async fn look(&self) -> Result<ManagedCluster, PortError> {
        const OPERATION: &str = "run a command in the cluster";
        let cluster = managed_cluster::read(&self.arm, &self.id).await?;
        if cluster.is_stopped {
            return Err(managed_cluster::stopped(OPERATION));
        }
        if cluster.runs_no_commands {
            let says = "the cluster refuses commands (`disableRunCommand`), which `access: run-command` needs; allow them with \
                        `az aks update --enable-run-command`, or let backout reach the API server and write `access: direct`";
            return Err(PortError::new(OPERATION, PortErrorKind::Invalid, says));
        }
        *locked(&self.last) = Some(cluster);
        Ok(cluster)
    }

    async fn body(&self, identity: Identity, cluster: ManagedCluster, line: &str, archive: &str) -> Result<Value, PortError> {
        let mut body = json!({ "command": line, "context": archive });
        if cluster.takes_entra_tokens {
            let source = match identity {
                Identity::Reading => &self.reader,
                Identity::Acting => &self.actor,
            };
            body["clusterToken"] = json!(source.bearer().await?.expose_secret());
        }
        Ok(body)
    }

    fn path(&self) -> String {
        format!("{}/runCommand?{API_VERSION}", resource_path(&self.id))
    }

    fn without_right(&self, identity: Identity, error: PortError) -> PortError {
        match error.kind {
            PortErrorKind::Denied => PortError {
                says: format!("{}; the {identity} identity needs `{RUN_ACTION}` on `{}`", error.says, self.id),
                ..error
            },
            PortErrorKind::Transient | PortErrorKind::Throttled | PortErrorKind::NotFound | PortErrorKind::Invalid => error,
        }
    }
}

/// What [`super::undo::poll`] needs after the patch.
pub fn operation(patched: Option<(String, i64)>) -> Value {
    let (uid, generation) = patched.unzip();
    super::undo::operation(uid.as_deref(), generation)
}

fn is_before_any_pod(told: &Told) -> bool {
    matches!(told.status, Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
        || told.problem.is_unregistered()
        || BEFORE_ANY_POD.iter().any(|code| told.problem.is(code))
}

fn lost(says: &str) -> Submission {
    Submission::Unknown { says: format!("{says}; whether the call took effect must be read from the cluster") }
}

fn failed(exit_code: i64, output: &str) -> String {
    format!("the patch ended with exit code {exit_code}: {}", command_line::reason(output))
}

/// Reads a command's result. Its own state decides, in whatever case it is written: a 200 may hold one that has not ended.
fn outcome(answer: &Value) -> Outcome {
    let text = |key: &str| answer.pointer(&format!("/properties/{key}")).and_then(Value::as_str);
    let Some(state) = text("provisioningState").map(str::to_ascii_lowercase) else {
        return Outcome::Unclear("the command's result holds no `provisioningState`".to_owned());
    };
    match state.as_str() {
        "succeeded" => match answer.pointer("/properties/exitCode").and_then(Value::as_i64) {
            Some(exit_code) => Outcome::Ended { exit_code, output: text("logs").unwrap_or_default().to_owned() },
            None => Outcome::Unclear("the command's result holds no `exitCode`".to_owned()),
        },
        "failed" | "canceled" | "cancelled" => {
            let why = text("reason").or_else(|| text("logs")).map(clean).filter(|why| !why.is_empty());
            Outcome::Failed(format!("AKS gave up on the command: {}", why.unwrap_or_else(|| "it gives no reason".to_owned())))
        }
        _ => Outcome::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_decides_in_any_case() {
        let of = |properties: Value| outcome(&json!({"id": "def7", "properties": properties}));
        let ended = |exit_code, output: &str| Outcome::Ended { exit_code, output: output.to_owned() };
        let rows = [
            (json!({"provisioningState": "succeeded", "exitCode": 0, "logs": "x"}), ended(0, "x")),
            (json!({"provisioningState": "Succeeded", "exitCode": 1}), ended(1, "")),
            (json!({"provisioningState": "Running"}), Outcome::Running),
            (json!({"provisioningState": "Accepted"}), Outcome::Running),
            (
                json!({"provisioningState": "failed", "reason": "ImagePullBackoff"}),
                Outcome::Failed("AKS gave up on the command: ImagePullBackoff".to_owned()),
            ),
            (
                json!({"provisioningState": "FAILED"}),
                Outcome::Failed("AKS gave up on the command: it gives no reason".to_owned()),
            ),
            (json!({"provisioningState": "Succeeded"}), Outcome::Unclear("the command's result holds no `exitCode`".to_owned())),
            (json!({"exitCode": 0}), Outcome::Unclear("the command's result holds no `provisioningState`".to_owned())),
            (Value::Null, Outcome::Unclear("the command's result holds no `provisioningState`".to_owned())),
        ];
        for (properties, expected) in rows {
            assert_eq!(of(properties.clone()), expected, "{properties}");
        }
    }
}
