//! What backout costs: its start, its memory, and its work for an alert that needs no answer from a platform.
//!
//! Each figure stands beside that of a bare axum server on the same machine at the same moment, so the ratio is what to
//! read. Nothing here fails on speed. The bare server is a copy of this very binary, which is larger than a bare server would
//! be: a part of its start and of its memory is the size of the file. How many pages of a file a start maps, the kernel
//! decides too, so the memory of one build varies by a tenth.
//!
//! Linux only: the figures come from `/proc`.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use axum::{
    Json, Router,
    body::Bytes,
    http::StatusCode,
    routing::{get, post},
    serve::ListenerExt,
};
use backout::sim::host::{FunctionApp, FunctionDefinition, ServiceBusMessage, Trigger, service_bus_envelope};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

/// Set to a port: this process is the bare server.
const BARE_SERVER_PORT: &str = "BARE_SERVER_PORT";

const STARTS: usize = 20;
/// Short rounds and many: the machine's own speed changes within a second, and all servers should meet the same.
const ALERTS: usize = 300;
const WARM_UP_ALERTS: usize = 200;
const ROUNDS: usize = 25;

fn main() -> anyhow::Result<()> {
    if let Some(port) = std::env::var_os(BARE_SERVER_PORT) {
        let port = port.to_str().and_then(|port| port.parse().ok()).context("`BARE_SERVER_PORT` is not a port")?;
        return bare_server(port);
    }
    // `cargo bench` says which build it makes; a figure of another build would mislead.
    if cfg!(debug_assertions) {
        println!("NOTE: not an optimised build; the figures mean nothing.");
    }
    let folder = tempfile::tempdir()?;
    // Pages of a file that this process runs as well would not count as private.
    let bare = folder.path().join("bare");
    fs::copy(std::env::current_exe()?, &bare)?;
    starts(folder.path(), &bare)?;
    memory(folder.path(), &bare)?;
    work(folder.path(), &bare)
}

fn starts(folder: &Path, bare: &Path) -> anyhow::Result<()> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..STARTS {
        ours.push(start_backout(folder, &sqlite(folder, &format!("start-{number}")))?.first_answer_after);
        theirs.push(start_bare(bare)?.first_answer_after);
    }
    let (ours, bare) = (median(ours), median(theirs));
    let met = ours <= bare * 2 || ours <= bare + Duration::from_millis(5);
    println!("exec to first 200 (median of {STARTS}, polled every ms)");
    println!("  backout, sqlite  {:>9.2} ms", milliseconds(ours));
    println!("  bare axum        {:>9.2} ms", milliseconds(bare));
    println!("  ratio {:.2}, target at most 2, or 5 ms more: {}", ratio(ours, bare), verdict(met));
    Ok(())
}

fn memory(folder: &Path, bare: &Path) -> anyhow::Result<()> {
    let ours = start_backout(folder, &sqlite(folder, "memory"))?;
    let bare = start_bare(bare)?;
    // What follows the answer at start-up, such as a first sweep, belongs to the figure too.
    thread::sleep(Duration::from_secs(1));
    let (ours_first, bare_first) = (ours.memory()?, bare.memory()?);
    Client::connect(ours.port)?.post_alerts(&envelopes(1)?)?;
    println!("private memory (clean and dirty); all but the anonymous part are pages of the program's file");
    let line = |name: &str, memory: &Memory| {
        let (private, anonymous) = (megabytes(memory.private_kilobytes), megabytes(memory.anonymous_kilobytes));
        println!("  {name:<34}{private:>6.2} MB   anonymous {anonymous:>5.2} MB");
    };
    line("backout, after the first answer", &ours_first);
    line("backout, after the first alert", &ours.memory()?);
    line("bare axum, after its first answer", &bare_first);
    println!(
        "  ratio {:.2}, target for the first answer at most 10 MB: {}",
        megabytes(ours_first.private_kilobytes) / megabytes(bare_first.private_kilobytes),
        verdict(ours_first.private_kilobytes <= 10_000_000 / 1024)
    );
    Ok(())
}

fn work(folder: &Path, bare: &Path) -> anyhow::Result<()> {
    let memory = start_backout(folder, "memory:")?;
    let sqlite = start_backout(folder, &sqlite(folder, "work"))?;
    let bare = start_bare(bare)?;
    let mut clients = Vec::new();
    for server in [&memory, &sqlite, &bare] {
        let mut client = Client::connect(server.port)?;
        let answers = client.post_alerts(&envelopes(WARM_UP_ALERTS)?)?;
        clients.push((server, client, answers, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (server, client, _, spent) in &mut clients {
            let envelopes = envelopes(ALERTS)?;
            let before = server.cpu_time()?;
            client.post_alerts(&envelopes)?;
            // Nothing that was put off until after the answer may escape the count.
            thread::sleep(Duration::from_millis(50));
            spent.push(server.cpu_time()?.saturating_sub(before) / u32::try_from(ALERTS)?);
        }
    }
    println!("CPU per alert that ends without a platform (median of {ROUNDS} times {ALERTS}, one connection)");
    let mut medians = Vec::new();
    for (name, (_, _, last_answer, spent)) in ["backout, memory", "backout, sqlite", "bare axum"].into_iter().zip(clients) {
        let spent = median(spent);
        println!("  {name:<17}{:>9.1} µs   answers {last_answer}", milliseconds(spent) * 1_000.0);
        medians.push(spent);
    }
    let [memory, sqlite, bare] = medians[..] else { bail!("there are three servers") };
    println!("  ratio {:.2} with memory, target at most 3: {}", ratio(memory, bare), verdict(memory <= bare * 3));
    println!("  ratio {:.2} with sqlite, for information", ratio(sqlite, bare));
    Ok(())
}

/// A process that listens; killed when dropped.
struct Server {
    child: Child,
    port: u16,
    /// From just before the exec.
    first_answer_after: Duration,
}

/// Of one process alone.
struct Memory {
    private_kilobytes: u64,
    /// The part that belongs to no file: heap, stacks, and what the start wrote into the program's own data.
    anonymous_kilobytes: u64,
}

/// The real handler, with only the settings that it needs.
fn start_backout(folder: &Path, store: &str) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_backout"));
    command
        .arg("serve")
        .env_clear()
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("BACKOUT_POLICY", policy(folder)?)
        .env("BACKOUT_STORE", store)
        .env("BACKOUT_BUS", "local:")
        // On loopback, where nobody listens: a read of a platform would show as a failure.
        .env("BACKOUT_ARM_ENDPOINT", "http://127.0.0.1:1");
    Server::start(command, port)
}

fn start_bare(file: &Path) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(file);
    command.env_clear().env(BARE_SERVER_PORT, port.to_string());
    Server::start(command, port)
}

impl Server {
    fn start(mut command: Command, port: u16) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        let child = command.spawn()?;
        let mut server = Self { child, port, first_answer_after: Duration::ZERO };
        while !answers(port) {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended before it answered: {status}");
            }
            ensure!(started.elapsed() < Duration::from_secs(30), "the server did not answer within 30 s");
            thread::sleep(Duration::from_millis(1));
        }
        server.first_answer_after = started.elapsed();
        Ok(server)
    }

    fn memory(&self) -> anyhow::Result<Memory> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let kilobytes = |name: &str| -> anyhow::Result<u64> {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).context("`smaps_rollup` lacks a line")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        Ok(Memory {
            private_kilobytes: kilobytes("Private_Clean:")? + kilobytes("Private_Dirty:")?,
            anonymous_kilobytes: kilobytes("Anonymous:")?,
        })
    }

    /// User and system time of all threads, in nanoseconds: `/proc/PID/stat` counts in ticks of 10 ms, which is a large
    /// part of what the bare server needs. A thread that ended is not counted; the runtime keeps its threads for 10 s.
    fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let times = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += times.split_whitespace().next().context("`schedstat` is empty")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether `GET /` is answered with 200.
fn answers(port: u16) -> bool {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

/// One connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Posts one after the other, and gives the last answer's text.
    fn post_alerts(&mut self, envelopes: &[String]) -> anyhow::Result<String> {
        let mut last = String::new();
        for envelope in envelopes {
            last = self.post_alert(envelope)?;
        }
        Ok(last)
    }

    fn post_alert(&mut self, envelope: &str) -> anyhow::Result<String> {
        let length = envelope.len();
        let head = "POST /alerts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json";
        let invocation = Uuid::new_v4();
        let request =
            format!("{head}\r\nX-Azure-Functions-InvocationId: {invocation}\r\nContent-Length: {length}\r\n\r\n{envelope}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let mut answer_length = None;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    answer_length = Some(value.trim().parse()?);
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut answer = vec![0; answer_length.context("an answer has no length")?];
        self.stream.read_exact(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        ensure!(status.starts_with("HTTP/1.1 200 "), "an alert was not handled: {} {answer}", status.trim_end());
        Ok(answer)
    }
}

/// One service, which none of the alerts is about.
fn policy(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("backout.yaml");
    if !path.exists() {
        fs::write(
            &path,
            "version: 1
services:
  checkout:
    target:
      platform: app-service
      site: /subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/shop/providers/Microsoft.Web/sites/checkout
      goodSlots: [staging]
    reversible: always
    mode: observe
",
        )?;
    }
    Ok(path)
}

/// A store of its own in a folder of its own, as a first start finds it.
fn sqlite(folder: &Path, name: &str) -> String {
    format!("sqlite:{}", folder.join(format!("{name}.db")).display())
}

/// Firings of one rule, each with its own id, as the host posts them.
fn envelopes(count: usize) -> anyhow::Result<Vec<String>> {
    let app = FunctionApp::built_in()?;
    let Some(FunctionDefinition { name, binding, trigger: Trigger::ServiceBus { data_type, .. } }) = app.function("alerts")
    else {
        bail!("there is no function `alerts` with a Service Bus trigger");
    };
    #[expect(clippy::disallowed_methods, reason = "this is Azure's clock, outside the handler")]
    let now = jiff::Timestamp::now();
    let envelope = |_| {
        let message = ServiceBusMessage::new(alert(now).to_string(), Uuid::new_v4().to_string(), now);
        service_bus_envelope(name, binding, *data_type, &message).to_string()
    };
    Ok((0..count).map(envelope).collect())
}

/// Composed by us after the common alert schema of a metric alert.
fn alert(fired: jiff::Timestamp) -> Value {
    let id = Uuid::new_v4();
    let subscription = "/subscriptions/00000000-0000-0000-0000-000000000000";
    json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": format!("{subscription}/providers/Microsoft.AlertsManagement/alerts/{id}"),
                "alertRule": "other-5xx",
                "severity": "Sev1",
                "signalType": "Metric",
                "monitorCondition": "Fired",
                "monitoringService": "Platform",
                "alertTargetIDs": [format!("{subscription}/resourcegroups/other/providers/microsoft.web/sites/other")],
                "configurationItems": ["other"],
                "originAlertId": format!("other-5xx_{id}"),
                "firedDateTime": fired.to_string(),
                "description": "Server errors",
                "essentialsVersion": "1.0",
                "alertContextVersion": "1.0",
            },
            "alertContext": {
                "conditionType": "SingleResourceMultipleMetricCriteria",
                "condition": {
                    "windowSize": "PT5M",
                    "allOf": [{
                        "metricName": "Http5xx",
                        "metricNamespace": "Microsoft.Web/sites",
                        "operator": "GreaterThan",
                        "threshold": "5",
                        "timeAggregation": "Total",
                        "dimensions": [{"name": "Instance", "value": "pd1sdwk0001"}],
                        "metricValue": 81,
                    }],
                },
            },
            "customProperties": {"team": "other"},
        },
    })
}

/// Takes the same requests apart, and does nothing about them.
fn bare_server(port: u16) -> anyhow::Result<()> {
    // As many threads as backout has.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let router = Router::new().route("/", get(async || "listens")).route("/alerts", post(take_apart));
        axum::serve(listener, router).await?;
        Ok(())
    })
}

async fn take_apart(request: Bytes) -> Result<Json<Value>, StatusCode> {
    let envelope: Value = serde_json::from_slice(&request).map_err(|_| StatusCode::BAD_REQUEST)?;
    let data = envelope["Data"].as_object().and_then(|data| data.values().next()).and_then(Value::as_str);
    let body = STANDARD.decode(data.ok_or(StatusCode::BAD_REQUEST)?).map_err(|_| StatusCode::BAD_REQUEST)?;
    let alert: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    if alert["schemaId"].is_string() { Ok(Json(json!({}))) } else { Err(StatusCode::BAD_REQUEST) }
}

fn median(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 * 1_024.0 / 1_000_000.0
}

fn ratio(ours: Duration, bare: Duration) -> f64 {
    ours.as_secs_f64() / bare.as_secs_f64()
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
