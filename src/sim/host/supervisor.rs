//! The handler process: start, readiness, exit, restart.
//!
//! Source: `HttpWorkerProcess.cs`, `DefaultHttpWorkerService.cs` `IsWorkerReady`, `WorkerProcess.cs`,
//! `HttpFunctionInvocationDispatcher.cs`.

use std::{
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use url::Url;

use super::{
    LineStream, Lines,
    client::{Client, new_id},
};

/// How the handler stands, from the host's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerState {
    /// Started, not listening yet; invocations wait.
    Starting,
    Running {
        /// 1 for the first process; one more with each start.
        generation: u64,
        pid: u32,
    },
    /// It exited with code 0: the host takes that for graceful, starts nothing, and every invocation is refused.
    EndedGracefully,
    /// Killed with its host instance.
    Killed,
    /// The host gave up.
    HostStopped { why: String },
}

/// When the host restarts a handler that ended with an error, and when it gives up: at the third error with no two of them
/// more than 30 minutes apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartBudget {
    newest: Option<Duration>,
    count: u32,
}

impl RestartBudget {
    /// Counts an error at `now`, a time since some fixed moment; whether the handler may start again.
    pub fn restarts_after_error(&mut self, now: Duration) -> bool {
        if self.newest.is_some_and(|newest| now.saturating_sub(newest) > Duration::from_mins(30)) {
            self.count = 0;
        }
        self.newest = Some(now);
        self.count += 1;
        self.count < 3
    }
}

/// What the emulator's owner asks for; answered when done.
pub(super) enum Order {
    Kill(oneshot::Sender<()>),
    Restart(oneshot::Sender<()>),
    /// An invocation ran into `functionTimeout` in the process of that generation.
    TimedOut {
        generation: u64,
        done: oneshot::Sender<()>,
    },
    /// An invocation waited in vain for the handler to get ready.
    StopHost(oneshot::Sender<()>),
}

/// Owns the process. Ends, and kills it, when the emulator is dropped.
pub(super) struct Supervisor {
    pub(super) executable: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) working_directory: Option<PathBuf>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) settings_only: bool,
    pub(super) port: u16,
    pub(super) base: Url,
    pub(super) client: Client,
    pub(super) initialization_timeout: Duration,
    pub(super) lines: Arc<Lines>,
    pub(super) state: watch::Sender<HandlerState>,
    pub(super) orders: mpsc::Receiver<Order>,
}

/// How the life of one process ended.
enum End {
    Exited(ExitStatus),
    NeverStarted(String),
    NeverReady,
    Ordered(Order),
    EmulatorDropped,
}

const PROBE_INTERVAL: Duration = Duration::from_millis(25);
const STOPPED_TEXT: &str = "Exceeded http worker restart retry count. Shutting down Functions Host";

impl Supervisor {
    pub(super) async fn run(mut self) {
        let begun = Instant::now();
        let mut budget = RestartBudget::default();
        let mut generation = 0;
        loop {
            generation += 1;
            let rest = match self.live(generation).await {
                End::EmulatorDropped => return,
                End::Exited(status) if status.code() == Some(0) => HandlerState::EndedGracefully,
                // Asked for by the handler itself: not counted.
                End::Exited(status) if status.code() == Some(200) => HandlerState::Starting,
                End::Exited(status) => self.after_error(&mut budget, begun.elapsed(), &format!("the handler ended: {status}")),
                End::NeverStarted(why) => self.after_error(&mut budget, begun.elapsed(), &why),
                End::NeverReady => self.after_error(&mut budget, begun.elapsed(), "Initializing HttpWorker timed out."),
                End::Ordered(order) => self.obey(order, &mut budget),
            };
            self.state.send_replace(rest);
            // Without a process, only an order brings one back.
            while *self.state.borrow() != HandlerState::Starting {
                let Some(order) = self.orders.recv().await else { return };
                match order {
                    // A process that is gone cannot be killed for its slowness.
                    Order::TimedOut { done, .. } => drop(done.send(())),
                    order @ (Order::Kill(_) | Order::Restart(_) | Order::StopHost(_)) => drop(self.obey(order, &mut budget)),
                }
            }
        }
    }

    /// What follows from an order once no process runs any more. The state is set before the answer, so that whoever asked
    /// for a restart does not see the state before.
    fn obey(&self, order: Order, budget: &mut RestartBudget) -> HandlerState {
        let (rest, done) = match order {
            Order::Kill(done) => (HandlerState::Killed, done),
            Order::Restart(done) => {
                *budget = RestartBudget::default();
                (HandlerState::Starting, done)
            }
            Order::TimedOut { done, .. } => (HandlerState::Starting, done),
            Order::StopHost(done) => {
                (HandlerState::HostStopped { why: "the handler did not get ready while an invocation waited".to_owned() }, done)
            }
        };
        self.state.send_replace(rest.clone());
        let _ = done.send(());
        rest
    }

    fn after_error(&self, budget: &mut RestartBudget, now: Duration, what: &str) -> HandlerState {
        if budget.restarts_after_error(now) {
            return HandlerState::Starting;
        }
        let errors = self.lines.last_errors(3).join(" | ");
        HandlerState::HostStopped { why: format!("{STOPPED_TEXT} ({what}; last on stderr: {errors})") }
    }

    /// One process from start to end; afterwards it is gone and its output is read.
    async fn live(&mut self, generation: u64) -> End {
        let mut child = match self.command().spawn() {
            Ok(child) => child,
            Err(error) => return End::NeverStarted(format!("`{}` could not be started: {error}", self.executable.display())),
        };
        let readers = [
            child.stdout.take().map(|stream| read_lines(stream, LineStream::Stdout, Arc::clone(&self.lines))),
            child.stderr.take().map(|stream| read_lines(stream, LineStream::Stderr, Arc::clone(&self.lines))),
        ];
        let end = self.watch(&mut child, generation).await;
        // SIGKILL: the host never asks politely. An error means that it has ended already.
        let _ = child.kill().await;
        for reader in readers.into_iter().flatten() {
            // A grandchild may hold the pipe open; the host does not wait for it either.
            let _ = tokio::time::timeout(Duration::from_secs(1), reader).await;
        }
        end
    }

    async fn watch(&mut self, child: &mut Child, generation: u64) -> End {
        let pid = child.id().unwrap_or_default();
        let probes = probe_until_ready(self.client.clone(), self.base.clone(), self.initialization_timeout);
        tokio::pin!(probes);
        let mut ready = false;
        loop {
            tokio::select! {
                biased;
                status = child.wait() => return match status {
                    Ok(status) => End::Exited(status),
                    Err(error) => End::NeverStarted(format!("the handler could not be waited for: {error}")),
                },
                order = self.orders.recv() => match order {
                    None => return End::EmulatorDropped,
                    // Its process was replaced meanwhile; this one is not to blame.
                    Some(Order::TimedOut { generation: other, done }) if other != generation => drop(done.send(())),
                    Some(order) => return End::Ordered(order),
                },
                answered = &mut probes, if !ready => {
                    if !answered {
                        return End::NeverReady;
                    }
                    ready = true;
                    self.state.send_replace(HandlerState::Running { generation, pid });
                },
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        if self.settings_only {
            command.env_clear();
        }
        let port = self.port.to_string();
        // New for every start.
        let worker_id = new_id();
        let app_root = self.working_directory.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", &port)
            .env("FUNCTIONS_HTTPWORKER_PORT", &port)
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", &worker_id)
            .env("FUNCTIONS_HTTPWORKER_ID", &worker_id)
            .env("FUNCTIONS_APP_ROOT_PATH", app_root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(directory) = &self.working_directory {
            command.current_dir(directory);
        }
        command
    }
}

/// Probes at once, then every 25 ms, until that sleep (not the clock) adds up to `limit`.
async fn probe_until_ready(client: Client, base: Url, limit: Duration) -> bool {
    let mut slept = Duration::ZERO;
    loop {
        if client.probe(&base).await {
            return true;
        }
        if slept >= limit {
            return false;
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
        slept += PROBE_INTERVAL;
    }
}

fn read_lines(stream: impl AsyncRead + Send + Unpin + 'static, name: LineStream, lines: Arc<Lines>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
            lines.add(name, String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            line.clear();
        }
    })
}
