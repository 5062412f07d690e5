//! A strict emulator of the Azure Functions host: it starts the real handler process and treats it as the host does.
//!
//! Where the real host forgives, this one forgives; where it fails, hangs or kills, this one does too, and says why.
//! Sources: azure-functions-host `Workers/Http/*`, `Workers/ProcessManagement/*` (4.1037); what was only derived from
//! that code and never seen on a real host is marked "derived" where it is emulated.
//!
//! Time is compressed in one place: an answer on which the real host would hang until `functionTimeout` is judged at once.

mod app;
mod client;
mod http;
mod request;
mod supervisor;
mod verdict;

use std::{collections::VecDeque, path::PathBuf, sync::Arc, sync::Mutex, time::Duration};

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};
use url::Url;

pub use app::{AppProblem, DataType, FunctionApp, FunctionDefinition, Trigger};
pub use client::{call_url, invoke_timer_url, invoke_url};
pub use http::{FUNCTION_KEY, HttpCall, HttpReply, http_envelope, http_reply};
pub use request::{ServiceBusMessage, service_bus_envelope, timer_envelope};
pub use supervisor::{HandlerState, RestartBudget};
pub use verdict::{Verdict, judge};

use client::Client;
use supervisor::{Order, Supervisor};

/// What to start, and how.
#[derive(Default)]
pub struct HostOptions {
    /// Folder with `host.json` and the functions (in `function-app/` or beside it). `None`: the files of this repository,
    /// as they were when it was compiled.
    pub root: Option<PathBuf>,
    /// Instead of `customHandler.description.defaultExecutablePath`.
    pub executable: Option<PathBuf>,
    /// Instead of `customHandler.description.arguments`.
    pub arguments: Option<Vec<String>>,
    /// App settings: on top of this process's own environment, below what the host sets itself.
    pub environment: Vec<(String, String)>,
    /// Nothing of this process's own environment: what is not among the settings is not there.
    pub settings_only: bool,
    /// Instead of `functionTimeout`.
    pub function_timeout: Option<Duration>,
    /// Instead of `customHandler.initializationTimeout` (30 s).
    pub initialization_timeout: Option<Duration>,
    /// Called with each line that the handler prints, as it comes.
    pub on_line: Option<LineSink>,
}

pub type LineSink = Arc<dyn Fn(&HandlerLine) + Send + Sync>;

/// One line that the handler printed, as the host would record it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerLine {
    pub stream: LineStream,
    pub level: LineLevel,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineStream {
    Stdout,
    Stderr,
}

/// Stdout is information. Stderr is an error, unless the line contains "warn".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineLevel {
    Information,
    Warning,
    Error,
}

/// How one invocation went, in the host's eyes.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    pub invocation_id: String,
    pub outcome: InvocationOutcome,
    /// Empty after a failure: the host then discards them.
    pub logs: Vec<String>,
    pub outputs: Map<String, Value>,
}

/// Succeeded: the message is completed. Failed: it is abandoned, and comes again at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationOutcome {
    Succeeded,
    Failed { why: String },
}

/// What became of a message in the end.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivered {
    Completed {
        invocations: Vec<Invocation>,
    },
    /// Failed as often as the queue's `maxDeliveryCount` allows: reason `MaxDeliveryCountExceeded`.
    DeadLettered {
        invocations: Vec<Invocation>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum HostProblem {
    #[error(transparent)]
    App(#[from] AppProblem),
    #[error("no free port on 127.0.0.1: {0}")]
    Port(std::io::Error),
    #[error("the HTTP client could not be made: {0}")]
    Client(reqwest::Error),
    #[error("the host stopped: {0}")]
    Stopped(String),
}

/// One host instance with its one handler process. Dropped: the process is killed.
pub struct HostEmulator {
    app: FunctionApp,
    base: Url,
    client: Client,
    function_timeout: Option<Duration>,
    initialization_timeout: Duration,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<HandlerState>,
    lines: Arc<Lines>,
}

/// A port that nobody listens on.
///
/// As with the host, another process could take it before the handler binds it. So it lies below the range from which systems give
/// connections theirs (Linux: from 32768, RFC 6335: from 49152), where one is taken at any moment.
fn free_port() -> std::io::Result<u16> {
    const LOWEST: u16 = 10_240;
    const COUNT: u128 = 22_000;
    let is_free = |port: &u16| std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, *port)).is_ok();
    let some = (0..50).map(|_| LOWEST + u16::try_from(uuid::Uuid::new_v4().as_u128() % COUNT).unwrap_or(0));
    match { some }.find(is_free) {
        Some(port) => Ok(port),
        None => Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()),
    }
}

impl HostEmulator {
    /// Starts the handler and waits until it listens. The port is chosen here and stays the same.
    pub async fn start(options: HostOptions) -> Result<Self, HostProblem> {
        let app = match &options.root {
            Some(root) => FunctionApp::read(root)?,
            None => FunctionApp::built_in()?,
        };
        let function_timeout = options.function_timeout.or(app.function_timeout);
        let initialization_timeout = options.initialization_timeout.unwrap_or(app.initialization_timeout);
        let port = free_port().map_err(HostProblem::Port)?;
        let base = client::loopback(port);
        let client = Client::new(function_timeout).map_err(HostProblem::Client)?;
        let lines = Arc::new(Lines { kept: Mutex::default(), sink: options.on_line });
        let (orders, orders_received) = mpsc::channel(16);
        let (state_sent, state) = watch::channel(HandlerState::Starting);
        let supervisor = Supervisor {
            executable: options.executable.unwrap_or_else(|| app.executable.clone()),
            arguments: options.arguments.unwrap_or_else(|| app.arguments.clone()),
            working_directory: app.root.clone(),
            environment: options.environment,
            settings_only: options.settings_only,
            port,
            base: base.clone(),
            client: client.clone(),
            initialization_timeout,
            lines: Arc::clone(&lines),
            state: state_sent,
            orders: orders_received,
        };
        tokio::spawn(supervisor.run());
        let host = Self { app, base, client, function_timeout, initialization_timeout, orders, state, lines };
        host.wait_until_started().await?;
        Ok(host)
    }

    /// `http://127.0.0.1:PORT/`; what listens there is the handler, not the host.
    pub fn base_url(&self) -> &Url {
        &self.base
    }

    pub fn app(&self) -> &FunctionApp {
        &self.app
    }

    pub fn state(&self) -> HandlerState {
        self.state.borrow().clone()
    }

    /// Waits until the state is one that `is_it` accepts, or until the emulator is gone.
    pub async fn wait_for(&self, is_it: impl FnMut(&HandlerState) -> bool) -> HandlerState {
        let mut state = self.state.clone();
        let last = state.wait_for(is_it).await.map(|found| found.clone());
        last.unwrap_or_else(|_| self.state())
    }

    /// Hands one message over once. A failure is not repeated: see [`Self::deliver`].
    pub async fn invoke(&self, function: &str, message: &ServiceBusMessage) -> Invocation {
        let invocation_id = client::new_id();
        let Some(FunctionDefinition { name, binding, trigger: Trigger::ServiceBus { data_type, .. } }) =
            self.app.function(function)
        else {
            return failed(invocation_id, format!("there is no function `{function}` with a Service Bus trigger"));
        };
        let envelope = service_bus_envelope(name, binding, *data_type, message);
        self.post(name, &envelope, invocation_id).await
    }

    /// Lets a timer tick.
    pub async fn invoke_timer(&self, function: &str) -> Invocation {
        let invocation_id = client::new_id();
        let Some(FunctionDefinition { name, binding, trigger: Trigger::Timer { use_monitor } }) = self.app.function(function)
        else {
            return failed(invocation_id, format!("there is no function `{function}` with a timer trigger"));
        };
        let envelope = timer_envelope(name, binding, *use_monitor);
        self.post(name, &envelope, invocation_id).await
    }

    /// Calls a function over HTTP, as somebody outside.
    pub async fn call(&self, call: &HttpCall) -> HttpReply {
        let (function, parameters) = match http::routed(&self.app, call) {
            Ok(routed) => routed,
            Err(refused) => return refused,
        };
        let Trigger::Http { output, .. } = &function.trigger else { return HttpReply::empty(404) };
        let envelope = http_envelope(&function.name, &function.binding, call, &parameters);
        let invocation = self.post(&function.name, &envelope, client::new_id()).await;
        http_reply(&invocation, output)
    }

    /// Delivers as the broker does: at once again after a failure, one delivery more each time, then to the dead letters.
    pub async fn deliver(&self, function: &str, message: &ServiceBusMessage, delivery_count_max: u32) -> Delivered {
        let mut message = message.clone();
        let mut invocations = Vec::new();
        loop {
            let invocation = self.invoke(function, &message).await;
            let succeeded = invocation.outcome == InvocationOutcome::Succeeded;
            invocations.push(invocation);
            if succeeded {
                return Delivered::Completed { invocations };
            }
            if message.delivery_count >= delivery_count_max {
                return Delivered::DeadLettered { invocations };
            }
            message.delivery_count += 1;
        }
    }

    /// SIGKILL, as when an instance is taken away; nothing starts again until [`Self::restart`].
    pub async fn kill(&self) {
        self.order(Order::Kill).await;
    }

    /// A new host instance on the same port: kills what runs, forgets earlier errors, waits until the handler listens.
    pub async fn restart(&self) -> Result<(), HostProblem> {
        self.order(Order::Restart).await;
        self.wait_until_started().await
    }

    /// The last lines of stdout, oldest first; 2,000 lines of both streams are kept.
    pub fn stdout_lines(&self) -> Vec<String> {
        let stdout = |line: &HandlerLine| line.stream == LineStream::Stdout;
        self.lines().into_iter().filter(stdout).map(|line| line.text).collect()
    }

    pub fn lines(&self) -> Vec<HandlerLine> {
        self.lines.kept.lock().map(|kept| kept.iter().cloned().collect()).unwrap_or_default()
    }

    async fn post(&self, function: &str, envelope: &Value, invocation_id: String) -> Invocation {
        // Invocations queue while the handler starts or restarts: four initialisation time-outs long.
        let patience = self.initialization_timeout * 4;
        if tokio::time::timeout(patience, self.wait_for(|state| *state != HandlerState::Starting)).await.is_err() {
            self.order(Order::StopHost).await;
        }
        let generation = match self.state() {
            HandlerState::Running { generation, .. } => generation,
            // Nobody listens any more, but the host does not know: it tries, and is refused.
            HandlerState::EndedGracefully => 0,
            HandlerState::Starting => return failed(invocation_id, "the handler did not get ready in time".to_owned()),
            HandlerState::Killed => return failed(invocation_id, "the handler was killed, with its host".to_owned()),
            HandlerState::HostStopped { why } => return failed(invocation_id, format!("the host has stopped: {why}")),
        };
        let answer = self.client.post(&self.base, function, envelope, &invocation_id);
        let verdict = match self.function_timeout {
            Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or(Verdict::Hangs { why: "no answer".to_owned() }),
            None => answer.await,
        };
        if let Verdict::Hangs { why } = &verdict {
            tracing::debug!("{why}: killing the handler");
            self.order(|done| Order::TimedOut { generation, done }).await;
        }
        verdict.into_invocation(invocation_id)
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, done_received) = oneshot::channel();
        // Both fail only when the supervisor is gone, and with it the process.
        if self.orders.send(order(done)).await.is_ok() {
            let _ = done_received.await;
        }
    }

    async fn wait_until_started(&self) -> Result<(), HostProblem> {
        match self.wait_for(|state| *state != HandlerState::Starting).await {
            HandlerState::Running { .. } => Ok(()),
            HandlerState::HostStopped { why } => Err(HostProblem::Stopped(why)),
            HandlerState::EndedGracefully => Err(HostProblem::Stopped(
                "the handler exited with code 0 before it listened; the host would not notice".to_owned(),
            )),
            HandlerState::Starting | HandlerState::Killed => {
                Err(HostProblem::Stopped("the handler was killed before it listened".to_owned()))
            }
        }
    }
}

fn failed(invocation_id: String, why: String) -> Invocation {
    Invocation { invocation_id, outcome: InvocationOutcome::Failed { why }, logs: Vec::new(), outputs: Map::new() }
}

const LINES_KEPT_MAX: usize = 2_000;

/// What the handler printed, bounded.
struct Lines {
    kept: Mutex<VecDeque<HandlerLine>>,
    sink: Option<LineSink>,
}

impl Lines {
    fn add(&self, stream: LineStream, text: String) {
        let level = match stream {
            LineStream::Stdout => LineLevel::Information,
            LineStream::Stderr if text.to_ascii_lowercase().contains("warn") => LineLevel::Warning,
            LineStream::Stderr => LineLevel::Error,
        };
        let line = HandlerLine { stream, level, text };
        if let Some(sink) = &self.sink {
            sink(&line);
        }
        if let Ok(mut kept) = self.kept.lock() {
            if kept.len() == LINES_KEPT_MAX {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }

    fn last_errors(&self, count: usize) -> Vec<String> {
        let Ok(kept) = self.kept.lock() else { return Vec::new() };
        let mut last: Vec<String> = kept
            .iter()
            .rev()
            .filter(|line| line.stream == LineStream::Stderr)
            .take(count)
            .map(|line| line.text.clone())
            .collect();
        last.reverse();
        last
    }
}
