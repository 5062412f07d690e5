//! What a rollback needs of a cluster, however the cluster is reached. What the answers mean is judged elsewhere, and alike.

use serde_json::Value;

use super::{
    command_line,
    connection::Connection,
    direct, observe,
    run_command::{self, Patched, RunCommand},
    wire::Reading,
};
use crate::{
    domain::{
        rollback::{OperationState, Submission},
        target::KubernetesTarget,
    },
    ports::{PortError, PortErrorKind},
};

/// One cluster.
pub enum Cluster {
    /// Its API server, over the network.
    Direct(Connection),
    /// Commands that AKS runs in it.
    RunCommand(RunCommand),
}

/// How far the patch is.
pub enum Applied {
    /// It was applied; its rollout is what `undo::operation` names.
    By(Value),
    /// It was not applied yet, or nothing tells.
    Not(OperationState),
}

impl Cluster {
    /// The workload, and everything that may be a revision of it.
    pub async fn read(
        &self,
        target: &KubernetesTarget,
        known_selector: Option<String>,
    ) -> Result<(Reading, Vec<Value>), PortError> {
        match self {
            Self::Direct(connection) => direct::read(connection, target, known_selector).await,
            Self::RunCommand(commands) => {
                const OPERATION: &str = "read the workload and its revisions";
                let output = commands.read(OPERATION, command_line::get_workload_and_revisions(target)).await?;
                let mut values = command_line::values(OPERATION, &output)?.into_iter();
                let workload = values.next().ok_or_else(|| printed_nothing(OPERATION))?;
                Ok((Reading::parse(target.kind, workload)?, values.collect()))
            }
        }
    }

    /// The workload alone.
    pub async fn read_workload(&self, target: &KubernetesTarget) -> Result<Reading, PortError> {
        match self {
            Self::Direct(connection) => direct::read_workload(connection, target).await,
            Self::RunCommand(commands) => {
                let output = commands.read(observe::READ_WORKLOAD, command_line::get_workload(target)).await?;
                let first = command_line::values(observe::READ_WORKLOAD, &output)?.into_iter().next();
                Reading::parse(target.kind, first.ok_or_else(|| printed_nothing(observe::READ_WORKLOAD))?)
            }
        }
    }

    /// Sends one JSON patch (RFC 6902) of the workload, once.
    pub async fn patch(&self, target: &KubernetesTarget, patch: &Value) -> Submission {
        match self {
            Self::Direct(connection) => direct::patch(connection, target, patch).await,
            Self::RunCommand(commands) => commands.patch(target, patch).await,
        }
    }

    /// Whether a patch that was accepted has reached the workload.
    pub async fn applied(&self, operation: &Value) -> Result<Applied, PortError> {
        match self {
            Self::Direct(_) => Ok(Applied::By(operation.clone())),
            Self::RunCommand(commands) => Ok(match commands.poll(operation).await? {
                None => Applied::By(operation.clone()),
                Some(Patched::Applied(patched)) => Applied::By(run_command::operation(patched)),
                Some(Patched::Is(state)) => Applied::Not(state),
            }),
        }
    }

    /// Until a rollout is asked for again, in seconds.
    pub fn poll_after_seconds(&self) -> u32 {
        match self {
            Self::Direct(_) => direct::POLL_AFTER_SECONDS,
            Self::RunCommand(_) => run_command::POLL_AFTER_SECONDS,
        }
    }
}

fn printed_nothing(operation: &'static str) -> PortError {
    PortError::new(operation, PortErrorKind::Invalid, "the command printed no workload")
}
