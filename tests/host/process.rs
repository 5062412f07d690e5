//! The emulator with a real process: this test binary, started again as a handler.

use std::{
    path::PathBuf,
    process::{Command, exit},
    sync::{Arc, Mutex},
    time::Duration,
};

use backout::{
    host::{
        delivery::{Deliveries, Delivery},
        server,
    },
    observability::{self, LogFormat},
    process::outcome::Outcome,
    sim::host::{
        Delivered, HandlerState, HostEmulator, HostOptions, HostProblem, Invocation, InvocationOutcome, LineLevel, LineStream,
        RestartBudget, ServiceBusMessage,
    },
};
use serde_json::Value;
use tokio::sync::Notify;

/// Not a test: the handler process of the tests below. Run by hand, it fails for want of a port.
#[tokio::test]
#[ignore = "the handler process that the emulator's tests start"]
async fn handler_process() {
    let port = setting("FUNCTIONS_CUSTOMHANDLER_PORT").expect("set by the emulator").parse().unwrap();
    observability::init(LogFormat::Host, None).unwrap();
    let listener = server::bind(port).await.unwrap();
    let stop = async { server::stop_signal().await.unwrap() };
    server::serve(listener, Arc::new(Obedient), stop).await.unwrap();
}

fn setting(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the handler process, which has no settings of its own")]
    std::env::var(name).ok()
}

/// Does what the body says: `exit N`, `never`, `soon`, `panic`, `settings`, `fail`; anything else settles.
struct Obedient;

#[async_trait::async_trait]
impl Deliveries for Obedient {
    async fn deliver(&self, delivery: Delivery) -> Outcome {
        let command = String::from_utf8(delivery.body).unwrap();
        let mut says = "done".to_owned();
        match command.split(' ').collect::<Vec<_>>().as_slice() {
            ["exit", code] => exit(code.parse().unwrap()),
            ["never"] => {
                tracing::info!("began");
                std::future::pending::<()>().await;
            }
            ["soon"] => {
                tracing::info!("began");
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            ["panic", about] => panic!("composed panic about {about}"),
            ["complain"] => {
                eprintln!("this is a Warning");
                eprintln!("this is wrong");
            }
            ["settings"] => {
                let names =
                    ["CUSTOMHANDLER_PORT", "HTTPWORKER_PORT", "CUSTOMHANDLER_WORKER_ID", "HTTPWORKER_ID", "APP_ROOT_PATH"];
                let hosts = names.map(|name| setting(&format!("FUNCTIONS_{name}")).unwrap_or_default());
                says = format!("{} {}", hosts.join(" "), setting("COMPOSED_SETTING").unwrap_or_default());
            }
            ["fail"] => return Outcome::DeliverAgain { says },
            _ => {}
        }
        Outcome::Settled { says }
    }
}

fn options() -> HostOptions {
    let arguments = ["host::process::handler_process", "--exact", "--ignored", "--nocapture"];
    HostOptions {
        executable: Some(std::env::current_exe().unwrap()),
        arguments: Some(arguments.map(str::to_owned).to_vec()),
        environment: vec![("COMPOSED_SETTING".to_owned(), "composed".to_owned())],
        ..HostOptions::default()
    }
}

fn message(body: &str) -> ServiceBusMessage {
    ServiceBusMessage::new(body, "m-1", jiff::Timestamp::UNIX_EPOCH)
}

async fn succeeds(host: &HostEmulator, body: &str) -> Invocation {
    let invocation = host.invoke("alerts", &message(body)).await;
    assert_eq!(invocation.outcome, InvocationOutcome::Succeeded, "{body}");
    invocation
}

async fn fails(host: &HostEmulator, body: &str) -> String {
    match host.invoke("alerts", &message(body)).await.outcome {
        InvocationOutcome::Failed { why } => why,
        InvocationOutcome::Succeeded => panic!("{body}: succeeded"),
    }
}

/// Waits until that process runs.
async fn generation(host: &HostEmulator, wanted: u64) {
    let reached = |state: &HandlerState| match state {
        HandlerState::Running { generation, .. } => *generation >= wanted,
        HandlerState::HostStopped { .. } | HandlerState::Killed | HandlerState::EndedGracefully => true,
        HandlerState::Starting => false,
    };
    match host.wait_for(reached).await {
        HandlerState::Running { generation, .. } => assert_eq!(generation, wanted),
        other => panic!("{other:?} instead of process {wanted}"),
    }
}

/// A host whose lines can be waited for.
async fn listening_host(options: HostOptions) -> (HostEmulator, Arc<Notify>) {
    let began = Arc::new(Notify::new());
    let notify = Arc::clone(&began);
    let on_line = move |line: &backout::sim::host::HandlerLine| {
        if line.text.contains("began") {
            notify.notify_one();
        }
    };
    let host = HostEmulator::start(HostOptions { on_line: Some(Arc::new(on_line)), ..options }).await.unwrap();
    (host, began)
}

#[tokio::test]
async fn a_handler_gets_messages_ticks_and_its_settings() {
    let host = HostEmulator::start(options()).await.unwrap();
    assert_eq!(succeeds(&host, "hello").await.logs, ["done"]);
    assert_eq!(host.invoke_timer("sweep").await.outcome, InvocationOutcome::Succeeded);
    let logs = succeeds(&host, "settings").await.logs;
    let [port, same_port, id, same_id, root, composed] = logs[0].split(' ').collect::<Vec<_>>()[..] else { panic!("{logs:?}") };
    assert_eq!((port, id, composed), (same_port, same_id, "composed"));
    assert_eq!(Some(port), host.base_url().port().map(|port| port.to_string()).as_deref());
    assert!(uuid::Uuid::try_parse(id).is_ok(), "{id}");
    assert!(PathBuf::from(root).is_dir(), "{root}");
    host.restart().await.unwrap();
    let logs = succeeds(&host, "settings").await.logs;
    assert!(logs[0].starts_with(&format!("{port} {port} ")), "another port after the restart: {logs:?}");
    assert!(!logs[0].contains(id), "the worker id is new for every start");
}

#[tokio::test]
async fn functions_that_are_not_there_are_not_invoked() {
    let host = HostEmulator::start(options()).await.unwrap();
    for function in ["nothing", "Alerts", "sweep"] {
        let invocation = host.invoke(function, &message("hello")).await;
        let why = format!("there is no function `{function}` with a Service Bus trigger");
        assert_eq!(invocation.outcome, InvocationOutcome::Failed { why });
    }
    let why = "there is no function `alerts` with a timer trigger".to_owned();
    assert_eq!(host.invoke_timer("alerts").await.outcome, InvocationOutcome::Failed { why });
}

#[tokio::test]
async fn the_third_error_stops_the_host() {
    let host = HostEmulator::start(options()).await.unwrap();
    for process in 1..3 {
        fails(&host, "exit 7").await;
        generation(&host, process + 1).await;
        succeeds(&host, "hello").await;
    }
    fails(&host, "exit 7").await;
    let state = host.wait_for(|state| matches!(state, HandlerState::HostStopped { .. })).await;
    let HandlerState::HostStopped { why } = state else { panic!("{state:?}") };
    assert!(why.starts_with("Exceeded http worker restart retry count. Shutting down Functions Host"), "{why}");
    assert!(fails(&host, "hello").await.starts_with("the host has stopped: "));
    host.restart().await.unwrap();
    succeeds(&host, "hello").await;
}

#[tokio::test]
async fn exit_200_is_a_restart_for_free() {
    let host = HostEmulator::start(options()).await.unwrap();
    for process in 1..5 {
        fails(&host, "exit 200").await;
        generation(&host, process + 1).await;
    }
    succeeds(&host, "hello").await;
}

#[tokio::test]
async fn exit_0_is_never_noticed() {
    let host = HostEmulator::start(options()).await.unwrap();
    fails(&host, "exit 0").await;
    host.wait_for(|state| *state == HandlerState::EndedGracefully).await;
    let why = fails(&host, "hello").await;
    assert!(why.contains("refused"), "{why}");
    assert_eq!(host.state(), HandlerState::EndedGracefully);
}

#[tokio::test]
async fn a_handler_that_does_not_start_stops_the_host() {
    let shell = |script: &str| HostOptions {
        executable: Some("sh".into()),
        arguments: Some(vec!["-c".to_owned(), script.to_owned()]),
        initialization_timeout: Some(Duration::from_millis(100)),
        ..HostOptions::default()
    };
    let why = |problem: HostProblem| match problem {
        HostProblem::Stopped(why) => why,
        other => panic!("{other}"),
    };
    let crashing = why(HostEmulator::start(shell("echo bad policy >&2; exit 3")).await.err().unwrap());
    assert!(crashing.contains("exit status: 3"), "{crashing}");
    assert!(crashing.contains("bad policy | bad policy | bad policy"), "{crashing}");
    let deaf = why(HostEmulator::start(shell("exec sleep 60")).await.err().unwrap());
    assert!(deaf.contains("Initializing HttpWorker timed out."), "{deaf}");
    let absent = HostOptions { executable: Some("no-such-executable".into()), ..HostOptions::default() };
    let absent = why(HostEmulator::start(absent).await.err().unwrap());
    assert!(absent.contains("`no-such-executable` could not be started"), "{absent}");
}

#[tokio::test]
async fn a_slow_invocation_takes_the_process_and_the_others_with_it() {
    let options = HostOptions { function_timeout: Some(Duration::from_millis(500)), ..options() };
    let (host, began) = listening_host(options).await;
    let slow = message("never");
    let (first, second) = tokio::join!(host.invoke("alerts", &slow), async {
        began.notified().await;
        host.invoke("markers", &slow).await
    });
    for invocation in [first, second] {
        assert!(matches!(invocation.outcome, InvocationOutcome::Failed { .. }), "{invocation:?}");
    }
    // Whether the second one was cut off or ran into the limit itself: a working process is there again.
    generation(&host, 2).await;
    succeeds(&host, "hello").await;
}

#[tokio::test]
async fn killed_in_the_middle_the_message_fails_and_a_restart_works() {
    let (host, began) = listening_host(options()).await;
    let slow = message("never");
    let (cut, ()) = tokio::join!(host.invoke("alerts", &slow), async {
        began.notified().await;
        host.kill().await;
    });
    assert!(matches!(cut.outcome, InvocationOutcome::Failed { .. }), "{cut:?}");
    assert_eq!(host.state(), HandlerState::Killed);
    assert_eq!(fails(&host, "hello").await, "the handler was killed, with its host");
    host.restart().await.unwrap();
    succeeds(&host, "hello").await;
}

#[tokio::test]
async fn sigterm_lets_what_is_under_way_end() {
    let (host, began) = listening_host(options()).await;
    let HandlerState::Running { pid, .. } = host.state() else { panic!("{:?}", host.state()) };
    let soon = message("soon");
    let (invocation, ()) = tokio::join!(host.invoke("alerts", &soon), async {
        began.notified().await;
        let status = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().unwrap();
        assert!(status.success());
    });
    assert_eq!(invocation.outcome, InvocationOutcome::Succeeded);
    host.wait_for(|state| *state == HandlerState::EndedGracefully).await;
}

#[tokio::test]
async fn a_failing_message_comes_again_until_it_is_dead() {
    let host = HostEmulator::start(options()).await.unwrap();
    let Delivered::DeadLettered { invocations } = host.deliver("alerts", &message("fail"), 3).await else { panic!() };
    let ids: std::collections::BTreeSet<_> = invocations.iter().map(|invocation| &invocation.invocation_id).collect();
    assert_eq!((invocations.len(), ids.len()), (3, 3));
    let Delivered::Completed { invocations } = host.deliver("alerts", &message("hello"), 3).await else { panic!() };
    assert_eq!(invocations.len(), 1);
}

#[tokio::test]
async fn one_line_an_invocation_says_which_and_how_but_no_body() {
    let host = HostEmulator::start(options()).await.unwrap();
    let settled = succeeds(&host, "secret-word").await;
    let panicked = host.invoke("markers", &message("panic secret-word")).await;
    host.kill().await;
    let lines: Vec<Value> =
        host.stdout_lines().iter().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |invocation: &Invocation| -> Vec<&Value> {
        lines.iter().filter(|line| line["span"]["invocation.id"] == invocation.invocation_id.as_str()).collect()
    };
    let [line] = of(&settled)[..] else { panic!("{lines:?}") };
    assert_eq!((line["level"].as_str(), line["message"].as_str()), (Some("INFO"), Some("done")));
    let span = &line["span"];
    assert_eq!((span["function"].as_str(), span["outcome"].as_str()), (Some("alerts"), Some("settled")));
    assert_eq!(span["trace.id"].as_str().map(str::len), Some(32));
    let [place, end] = of(&panicked)[..] else { panic!("{lines:?}") };
    assert_eq!(place["level"], "ERROR");
    assert!(place["panic.place"].as_str().unwrap().contains("process.rs:"), "{place}");
    assert_eq!((end["level"].as_str(), end["span"]["outcome"].as_str()), (Some("ERROR"), Some("deliver again")));
    for line in host.lines() {
        assert!(!line.text.contains("secret-word"), "{}", line.text);
    }
}

#[tokio::test]
async fn lines_have_the_level_that_the_host_gives_them() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_inside = Arc::clone(&seen);
    let on_line = move |line: &backout::sim::host::HandlerLine| seen_inside.lock().unwrap().push(line.clone());
    let host = HostEmulator::start(HostOptions { on_line: Some(Arc::new(on_line)), ..options() }).await.unwrap();
    succeeds(&host, "complain").await;
    host.kill().await;
    let stderr: Vec<_> = host.lines().into_iter().filter(|line| line.stream == LineStream::Stderr).collect();
    let levels: Vec<_> = stderr.iter().map(|line| (line.level, line.text.as_str())).collect();
    assert_eq!(levels, [(LineLevel::Warning, "this is a Warning"), (LineLevel::Error, "this is wrong")]);
    assert!(host.lines().iter().any(|line| line.level == LineLevel::Information));
    assert_eq!(*seen.lock().unwrap(), host.lines());
}

#[test]
fn errors_more_than_half_an_hour_apart_are_forgotten() {
    let minutes = Duration::from_mins;
    let errors = |at: &[u64]| {
        let mut budget = RestartBudget::default();
        at.iter().map(|minute| budget.restarts_after_error(minutes(*minute))).collect::<Vec<_>>()
    };
    assert_eq!(errors(&[0, 1, 2]), [true, true, false]);
    assert_eq!(errors(&[0, 30, 60]), [true, true, false], "each is within 30 minutes of the one before");
    assert_eq!(errors(&[0, 1, 32, 33, 34]), [true, true, true, true, false]);
}
