//! `runCommand`: a pod that runs one line in the cluster, and its result.
//!
//! States, bodies and delays follow the API's reference; message texts are composed here.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
    time::Duration,
};

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, controller, kubectl};
use crate::{
    domain::resource_id::ResourceId,
    sim::{
        AzureSimulation,
        arm::{ArmRequest, admit},
        call::Reply,
    },
};

/// What AKS keeps of an output.
const OUTPUT_BYTES_MAX: usize = 512 * 1024;

/// How a cluster runs commands.
#[derive(Debug)]
pub(super) struct Commands {
    pub disabled: bool,
    runs_after: SignedDuration,
    ends_after: SignedDuration,
    failures: Vec<Failure>,
    all: Vec<Command>,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            disabled: false,
            runs_after: SignedDuration::from_secs(8),
            ends_after: SignedDuration::from_secs(12),
            failures: Vec::new(),
            all: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Failure {
    /// Of the lines that it meets.
    part: String,
    times: u32,
    reason: String,
    /// When the pod runs all the same, from the moment that AKS gives up on it.
    runs_after: Option<SignedDuration>,
}

#[derive(Debug)]
struct Command {
    id: String,
    line: String,
    files: BTreeMap<String, String>,
    token: Option<String>,
    begun: Timestamp,
    runs_at: Timestamp,
    ends_at: Timestamp,
    /// Why AKS gave up on it, which is no end of its pod.
    given_up: Option<String>,
    ran: Option<Ran>,
    forgotten: bool,
}

#[derive(Debug, Clone)]
enum Ran {
    Ended { exit_code: i64, output: String },
    Never,
}

/// A command that was taken, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedCommand {
    pub line: String,
    /// `None` before it ran, and where it could not be run.
    pub exit_code: Option<i64>,
    /// Standard output and errors as one text.
    pub output: String,
}

/// Lets time pass in all clusters: controllers, and commands between them in the order of their moments.
pub fn settle(world: &mut World, now: Timestamp) {
    loop {
        let waiting = world.kubernetes.clusters.values().flat_map(|cluster| {
            let all = cluster.commands.all.iter().enumerate();
            all.filter(|(_, command)| command.ran.is_none()).map(|(at, command)| (command.runs_at, cluster.id.canonical(), at))
        });
        let Some((runs_at, cluster, at)) = waiting.filter(|(runs_at, ..)| *runs_at <= now).min() else { break };
        let cluster = cluster.to_owned();
        controller::settle(world, runs_at);
        run(world, &cluster, at, runs_at);
    }
    controller::settle(world, now);
}

fn run(world: &mut World, canonical: &str, at: usize, now: Timestamp) {
    let Some(cluster) = world.kubernetes.clusters.get_mut(canonical) else { return };
    let (name, entra) = (cluster.id.name().to_owned(), cluster.entra);
    let commands = &mut cluster.commands;
    let line = commands.all[at].line.clone();
    let command = &mut commands.all[at];
    let failure = commands.failures.iter_mut().find(|failure| failure.times > 0 && line.contains(&failure.part));
    if let Some(failure) = failure.filter(|_| command.given_up.is_none()) {
        failure.times -= 1;
        command.given_up = Some(failure.reason.clone());
        match failure.runs_after {
            Some(after) => command.runs_at = now + after,
            None => command.ran = Some(Ran::Never),
        }
        return;
    }
    let (files, token) = (commands.all[at].files.clone(), commands.all[at].token.clone());
    let (exit_code, mut output) = if entra && token.is_none() {
        (1, "error: You must be logged in to the server (Unauthorized)\n".to_owned())
    } else {
        let mut shell = kubectl::Shell { world, cluster: &name, token: token.filter(|_| entra), files: &files, now };
        shell.run(&line)
    };
    if let Some((end, _)) = output.char_indices().find(|(at, c)| at + c.len_utf8() > OUTPUT_BYTES_MAX) {
        output.truncate(end);
    }
    if let Some(cluster) = world.kubernetes.clusters.get_mut(canonical) {
        cluster.commands.all[at].ran = Some(Ran::Ended { exit_code, output });
    }
}

/// `POST .../runCommand`
pub fn begin(world: &mut World, request: &ArmRequest<'_>, id: &ResourceId) -> Result<Reply, Reply> {
    admit(world, request, id, "Microsoft.ContainerService/managedClusters/runcommand/action")?;
    let refuse = |status, code: &str, message: &str| Err(Reply::error(status, code, message));
    let Ok(body) = serde_json::from_slice::<Value>(&request.call.body) else {
        return refuse(StatusCode::BAD_REQUEST, "InvalidRequestContent", "The request content was invalid.");
    };
    let Some(line) = body["command"].as_str().filter(|line| !line.is_empty()) else {
        return refuse(StatusCode::BAD_REQUEST, "InvalidParameter", "Required parameter command is missing (null or empty).");
    };
    let Some(files) = files(body["context"].as_str().unwrap_or_default()) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "InvalidParameter",
            "The value of parameter context is invalid: no base64 encoded zip.",
        );
    };
    let Some(cluster) = world.kubernetes.clusters.get_mut(id.canonical()) else {
        return refuse(StatusCode::NOT_FOUND, "ResourceNotFound", "The cluster was not found.");
    };
    if cluster.commands.disabled {
        return refuse(StatusCode::BAD_REQUEST, "RunCommandDisabled", "Run command is disabled for this cluster.");
    }
    if cluster.stopped {
        let message = "Operation is not allowed because the cluster is stopped.";
        return refuse(StatusCode::CONFLICT, "OperationNotAllowed", message);
    }
    let command = Command {
        id: Uuid::new_v4().simple().to_string(),
        line: line.to_owned(),
        files,
        token: body["clusterToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned),
        begun: request.now,
        runs_at: request.now + cluster.commands.runs_after,
        ends_at: request.now + cluster.commands.ends_after,
        given_up: None,
        ran: None,
        forgotten: false,
    };
    let location = location(request, &cluster.id, &command.id);
    cluster.commands.all.push(command);
    Ok(Reply::empty(StatusCode::ACCEPTED).with_header("location", location))
}

/// `GET .../commandResults/{id}`
pub fn result(world: &World, request: &ArmRequest<'_>, id: &ResourceId, command: &str) -> Result<Reply, Reply> {
    admit(world, request, id, "Microsoft.ContainerService/managedClusters/commandResults/read")?;
    let cluster = &world.kubernetes.clusters[id.canonical()];
    let found = cluster.commands.all.iter().find(|known| known.id.eq_ignore_ascii_case(command) && !known.forgotten);
    let Some(found) = found else {
        return Err(Reply::error(StatusCode::NOT_FOUND, "NotFound", "The command was not found."));
    };
    let properties = match (&found.given_up, &found.ran) {
        (Some(reason), _) if found.ends_at <= request.now => json!({ "provisioningState": "failed", "reason": reason }),
        (None, Some(Ran::Ended { exit_code, output })) if found.ends_at <= request.now => json!({
            "provisioningState": "Succeeded", "exitCode": exit_code, "startedAt": found.begun, "finishedAt": found.ends_at,
            "logs": output,
        }),
        (Some(_) | None, Some(_) | None) => {
            let location = location(request, &cluster.id, &found.id);
            return Ok(Reply::empty(StatusCode::ACCEPTED).with_header("location", location));
        }
    };
    Ok(Reply::json(StatusCode::OK, &json!({ "id": found.id, "properties": properties })))
}

fn location(request: &ArmRequest<'_>, cluster: &ResourceId, command: &str) -> String {
    let here = request.here.as_str().trim_end_matches('/');
    let version = request.call.parameter("api-version").unwrap_or_default();
    format!("{here}{cluster}/commandResults/{command}?api-version={version}")
}

/// The files of an archive by their names; none for an empty text.
fn files(context: &str) -> Option<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if context.is_empty() {
        return Some(files);
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(STANDARD.decode(context).ok()?)).ok()?;
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).ok()?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let name = file.name().ok()?.into_owned();
        files.insert(name, text);
    }
    Some(files)
}

/// Commands, and clusters that do not take them. Each panics when the scenario names what is not there.
impl AzureSimulation {
    /// When a command runs, and when its result is there, each from its beginning.
    pub fn set_command_times(&self, cluster: &ResourceId, runs_after: Duration, ends_after: Duration) {
        let mut world = self.shared().settled_world();
        let commands = &mut world.kubernetes.known(cluster).commands;
        commands.runs_after = SignedDuration::try_from(runs_after).unwrap_or(SignedDuration::ZERO);
        commands.ends_after = SignedDuration::try_from(ends_after).unwrap_or(SignedDuration::ZERO);
    }

    /// The next `times` commands with `part` in their line cannot be run, for this reason.
    pub fn let_commands_fail(&self, cluster: &ResourceId, part: &str, times: u32, reason: &str) {
        self.let_aks_give_up(cluster, Failure { part: part.to_owned(), times, reason: reason.to_owned(), runs_after: None });
    }

    /// The next command with `part` in its line is said to have failed for this reason, and its pod runs all the same, so much later.
    pub fn let_command_run_late(&self, cluster: &ResourceId, part: &str, reason: &str, runs_after: Duration) {
        let runs_after = Some(SignedDuration::try_from(runs_after).unwrap_or(SignedDuration::ZERO));
        self.let_aks_give_up(cluster, Failure { part: part.to_owned(), times: 1, reason: reason.to_owned(), runs_after });
    }

    fn let_aks_give_up(&self, cluster: &ResourceId, failure: Failure) {
        self.shared().settled_world().kubernetes.known(cluster).commands.failures.push(failure);
    }

    pub fn set_run_command_disabled(&self, cluster: &ResourceId, disabled: bool) {
        self.shared().settled_world().kubernetes.known(cluster).commands.disabled = disabled;
    }

    /// The results of all commands so far are not kept any more.
    pub fn forget_command_results(&self, cluster: &ResourceId) {
        let mut world = self.shared().settled_world();
        world.kubernetes.known(cluster).commands.all.iter_mut().for_each(|command| command.forgotten = true);
    }

    /// The commands that were taken, in their order.
    pub fn commands(&self, cluster: &ResourceId) -> Vec<SimulatedCommand> {
        let mut world = self.shared().settled_world();
        let all = world.kubernetes.known(cluster).commands.all.iter();
        all.map(|command| {
            let (exit_code, output) = match command.ran.clone() {
                Some(Ran::Ended { exit_code, output }) => (Some(exit_code), output),
                Some(Ran::Never) | None => (None, command.given_up.clone().unwrap_or_default()),
            };
            SimulatedCommand { line: command.line.clone(), exit_code, output }
        })
        .collect()
    }

    /// Runs a line at once as the cluster's administrator, with files beside it: exit code and output.
    pub fn run_in_cluster(&self, cluster: &ResourceId, line: &str, files: &BTreeMap<String, String>) -> (i64, String) {
        let now = self.now();
        let mut world = self.shared().settled_world();
        kubectl::Shell { world: &mut world, cluster: cluster.name(), token: None, files, now }.run(line)
    }
}
