//! Traces and metrics of the real handler process, at a receiver on this machine: real bytes over HTTP.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
    time::Duration,
};

use backout::{
    domain::{record::Record, record::RecordId, rollback::RollbackState, target::PlatformKind::AppService},
    observability::{RecordTrace, metrics},
    ports::Clock,
    process::mark::Marked,
    settings::names,
    sim::{
        FaultEffect, Moment, Wait,
        host::{InvocationOutcome, ServiceBusMessage},
    },
};

use crate::support::{
    collector::{Collector, Received, ReceivedSpan},
    leaks::SEEDED,
    policy::site,
    program::Program,
    redirects::{Redirects, connections},
    scene::{self, Scene},
    world::World,
};

/// Real time after which a story has failed, on any machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// Over two processes, at a collector that takes everything and answers nothing until the story has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_delays_no_story_and_gets_all_of_it_later() {
    let collector = Collector::that_hangs().await;
    let settings = [
        (names::OTEL_EXPORTER_OTLP_ENDPOINT, collector.url()),
        (names::OTEL_EXPORTER_OTLP_HEADERS, format!("x-api-key={SEEDED}-of-the-collector")),
        // Where both are set, the collector gets it.
        (names::APPLICATIONINSIGHTS_CONNECTION_STRING, connection_string(&collector)),
    ];
    let mut scene = Scene::open_with(AppService, 2, settings).await;
    let (id, record) = told_in_time(rolled_back(&mut scene)).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", scene.lines());
    let received = collector.received();
    assert!(received.requests > 0 && received.spans.is_empty(), "{received:?}");

    collector.answer();
    keep_going_until(&scene, &collector, |received| is_complete(received, &id)).await;
    let received = collector.received();
    assert_one_tree(&received, &id);
    assert_steps(&received, &id, "consumer", "client");
    let instances: BTreeSet<&str> = spans_of(&received, &id).map(|span| span.instance.as_str()).collect();
    assert_eq!(instances.len(), 2, "both processes took part");
    assert_counted(&collector);
    let keys = received.headers.iter().filter(|headers| headers.get("x-api-key").is_some());
    assert_eq!(keys.count(), received.headers.len());

    let command = async |arguments: &[&str]| {
        let output = Program::new(arguments).with(&scene.environment).ran().await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let mark = ["mark", &id.0, "false-revert", "--by", "ann"];
    assert!(command(&mark).await.starts_with("marked; "));
    assert!(command(&mark).await.starts_with("it was marked already, by ann at "));
    let shown = command(&["show", &id.0]).await;
    assert!(shown.contains("marked as a false revert by ann at "), "{shown}");
    assert!(shown.contains(&format!("trace {}\n", RecordTrace::of(&id).trace_id)), "{shown}");
    assert_eq!(collector.counted(metrics::FALSE_REVERTS.name, "backout.service.name"), counts([("checkout", 1)]));
}

/// Into Application Insights which takes telemetry with a token only; the handler is killed right after its call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_does_not_break_the_trace_in_application_insights() {
    let collector = Collector::start().await;
    let settings = [
        (names::APPLICATIONINSIGHTS_CONNECTION_STRING, connection_string(&collector)),
        (names::APPLICATIONINSIGHTS_AUTHENTICATION_STRING, "Authorization=AAD".to_owned()),
    ];
    let mut scene = Scene::open_with(AppService, 1, settings).await;
    let (id, record) = told_in_time(async {
        scene.break_it().await;
        let (body, id) = scene.alert();
        let late = Wait::Real(Duration::from_secs(2));
        scene.inject_at_the_call(FaultEffect::Delay { moment: Moment::AfterEffect, wait: late });
        scene.send("alerts", &body);
        scene.wait_until(|| !scene.calls().is_empty()).await;
        scene.hosts[0].kill().await;
        scene.answer_quickly();
        scene.hosts[0].restart().await.unwrap();
        scene.sweep_often();
        let record = scene.ended(&id).await;
        (id, record)
    })
    .await;
    assert_eq!((record.rollback, scene.calls().len()), (Some(RollbackState::Recovered), 1), "{:#?}", scene.lines());

    keep_going_until(&scene, &collector, |received| is_complete(received, &id)).await;
    let received = collector.received();
    assert_one_tree(&received, &id);
    let root = root_of(&received, &id).unwrap();
    assert_eq!((root.kind.as_str(), root.failed), ("request", false));
    assert_eq!(root.attributes["backout.rollback.state"], "recovered");
    assert!(spans_of(&received, &id).any(|span| span.name == "verify" && span.kind == "dependency"));
    assert_eq!(collector.counted(metrics::ROLLBACKS.name, "backout.rollback.state"), counts([("recovered", 1)]));
    for headers in &received.headers {
        let token = headers["authorization"].to_str().unwrap();
        assert!(token.starts_with("Bearer simulated."), "the managed identity's");
    }
}

/// At first nobody listens where the collector should be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_the_story_goes_on_and_is_kept_for_it() {
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let settings = [(names::OTEL_EXPORTER_OTLP_ENDPOINT, format!("http://127.0.0.1:{port}"))];
    let mut scene = Scene::open_with(AppService, 1, settings).await;
    let (id, record) = told_in_time(rolled_back(&mut scene)).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", scene.lines());
    assert!(scene.lines().iter().any(|line| line.contains("telemetry could not be exported")), "{:#?}", scene.lines());

    let collector = Collector::start_at(port, true).await;
    keep_going_until(&scene, &collector, |received| is_complete(received, &id)).await;
    assert_one_tree(&collector.received(), &id);
    assert_counted(&collector);
    scene.wait_until(|| scene.lines().iter().any(|line| line.contains("telemetry is exported again"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_or_is_switched_off_keeps_nothing_from_being_handled() {
    let collector = Collector::start().await;
    let broken = [(names::APPLICATIONINSIGHTS_CONNECTION_STRING, format!("Key={SEEDED}"))];
    let scene = Scene::open_with(AppService, 1, broken).await;
    assert!(scene.lines().iter().any(|line| line.contains("no traces and metrics are exported")), "{:#?}", scene.lines());

    let off = [(names::OTEL_EXPORTER_OTLP_ENDPOINT, collector.url()), (names::OTEL_SDK_DISABLED, "true".to_owned())];
    let scene = Scene::open_with(AppService, 1, off).await;
    invoke_about_nothing(&scene).await;
    assert_eq!(collector.received().requests, 0);
}

/// Each way of naming a receiver elsewhere in plain http: a sentence names the setting, and alerts are handled all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_to_another_machine_is_refused_with_a_sentence() {
    let collector = Collector::start().await;
    let far = "http://collector.contoso.example:4318";
    let key = "InstrumentationKey=5eeded00-0000-4000-8000-000000000001";
    let plain = "is a plain http URL, which is allowed on loopback only";
    let otlp =
        |name: &'static str, value: &str| vec![(names::OTEL_EXPORTER_OTLP_ENDPOINT, collector.url()), (name, value.to_owned())];
    let rows = [
        (names::OTEL_EXPORTER_OTLP_ENDPOINT, otlp(names::OTEL_EXPORTER_OTLP_ENDPOINT, far), String::new()),
        (names::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, otlp(names::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, far), String::new()),
        (names::OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, otlp(names::OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, far), String::new()),
        (
            names::APPLICATIONINSIGHTS_CONNECTION_STRING,
            vec![(names::APPLICATIONINSIGHTS_CONNECTION_STRING, format!("{key};IngestionEndpoint={far}/"))],
            "has an `IngestionEndpoint` that ".to_owned(),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, settings, which) in rows {
        let says = format!("no traces and metrics are exported: `{name}` {which}{plain}; hint: write an https URL");
        let program = Program::new(["check", "--offline"]).in_folder(folder.path()).without_environment();
        let output = program.with([(names::BACKOUT_BUS, "local:")]).with(settings.clone()).ran().await;
        let checked = String::from_utf8_lossy(&output.stdout);
        assert!(checked.contains(&says) && output.status.code() == Some(1), "{checked}");

        let [.., last] = settings.as_slice() else { unreachable!("each row has its settings") };
        let handled = match settings.as_slice() {
            [only] => Scene::open_with(AppService, 1, [only.clone()]).await,
            [first, _] => Scene::open_with(AppService, 1, [first.clone(), last.clone()]).await,
            other => panic!("{other:?}"),
        };
        invoke_about_nothing(&handled).await;
        assert!(handled.lines().iter().any(|line| line.contains(&says)), "{:#?}", handled.lines());
    }
    assert_eq!(collector.received().requests, 0, "half of it is not exported either");
}

/// Every receiver on this machine in turn, where the environment names a proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_proxy_sees_what_goes_to_a_receiver_on_this_machine() {
    let (proxy, came) = connections().await;
    for to_application_insights in [false, true] {
        let collector = Collector::start().await;
        let receiver = if to_application_insights {
            (names::APPLICATIONINSIGHTS_CONNECTION_STRING, connection_string(&collector))
        } else {
            (names::OTEL_EXPORTER_OTLP_ENDPOINT, collector.url())
        };
        let settings = [
            receiver,
            ("HTTP_PROXY", proxy.clone()),
            ("http_proxy", proxy.clone()),
            ("HTTPS_PROXY", proxy.clone()),
            ("https_proxy", proxy.clone()),
            ("ALL_PROXY", proxy.clone()),
            ("all_proxy", proxy.clone()),
        ];
        let scene = Scene::open_with(AppService, 1, settings).await;
        let id = invoke_about_nothing(&scene).await;
        let arrived = collector.wait_until(|received| root_of(received, &id).is_some() && !received.counts.is_empty());
        tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("it went to the receiver");
        assert_eq!(came.load(Ordering::SeqCst), 0);
    }
}

/// Application Insights is sent a token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_of_a_receiver_is_not_followed() {
    for (status, to_application_insights) in [(302, false), (307, false), (302, true), (307, true)] {
        let redirects = Redirects::start(status).await;
        let key = "5eeded00-0000-4000-8000-000000000001";
        let settings = if to_application_insights {
            [
                (
                    names::APPLICATIONINSIGHTS_CONNECTION_STRING,
                    format!("InstrumentationKey={key};IngestionEndpoint={}", redirects.url()),
                ),
                (names::APPLICATIONINSIGHTS_AUTHENTICATION_STRING, "Authorization=AAD".to_owned()),
            ]
        } else {
            [
                (names::OTEL_EXPORTER_OTLP_ENDPOINT, redirects.url().to_string()),
                (names::OTEL_EXPORTER_OTLP_HEADERS, format!("x-api-key={SEEDED}-of-the-collector")),
            ]
        };
        let scene = Scene::open_with(AppService, 1, settings).await;
        invoke_about_nothing(&scene).await;
        let told = scene.wait_until(|| scene.lines().iter().any(|line| line.contains("telemetry could not be exported")));
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("a redirect is no success");
        assert!(redirects.asked() > 0, "{status}");
        assert_eq!(redirects.led_away(), 0, "{status}, to Application Insights: {to_application_insights}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_about_nothing_is_counted_with_the_rule_that_said_so() {
    let collector = Collector::start().await;
    let scene = Scene::open_with(AppService, 1, [(names::OTEL_EXPORTER_OTLP_ENDPOINT, collector.url())]).await;
    assert_eq!(collector.received().requests, 0, "a sweep that decides nothing exports nothing");
    let id = invoke_about_nothing(&scene).await;
    // Sent before the invocation was answered.
    let received = collector.received();
    assert_one_tree(&received, &id);
    let root = root_of(&received, &id).unwrap();
    assert_eq!(
        (root.attributes["backout.decision.kind"].as_str(), root.attributes["backout.rule.id"].as_str()),
        ("ignore", "C4")
    );
    assert_eq!(collector.counted(metrics::DECISIONS.name, "backout.decision.kind"), counts([("ignore", 1)]));
    assert_eq!(collector.counted(metrics::VETOES.name, "backout.rule.id"), counts([("C4", 1)]));

    let lines = scene.lines();
    let trace_id = RecordTrace::of(&id).trace_id.to_string();
    let line = lines.iter().find(|line| line.contains(&trace_id)).unwrap_or_else(|| panic!("{lines:#?}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((line["span"]["record.id"].as_str(), line["span"]["name"].as_str()), (Some(id.0.as_str()), Some("invocation")));
}

#[tokio::test]
async fn a_mark_changes_nothing_else_and_comes_after_the_end_only() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let id = RecordId::of(&firing);
    let early = process.mark_false_revert(&id, "ann").await.unwrap_err();
    assert!(early.to_string().contains("has not ended"), "{early}");
    world.run_to_end(&process, &firing, 2).await;
    let before = world.record(&firing).await;
    assert_eq!(process.mark_false_revert(&id, "ann").await.unwrap(), Marked::Now);
    let after = world.record(&firing).await;
    assert_eq!((&after.receipt, &after.decision, after.generation), (&before.receipt, &before.decision, before.generation));
    assert_eq!(after.timeline.len(), before.timeline.len() + 1);
    let first = after.false_revert.clone().unwrap();
    assert_eq!(process.mark_false_revert(&id, "bob").await.unwrap(), Marked::Before(first));

    let unknown = process.mark_false_revert(&RecordId("abcdefghijklmnopqrstuvwxyz".to_owned()), "ann").await.unwrap_err();
    assert!(unknown.to_string().contains("`backout history` lists them"), "{unknown}");
    // As an earlier version wrote it.
    let mut old = serde_json::to_value(&after).unwrap();
    for member in ["told", "falseRevert"] {
        assert!(old.as_object_mut().unwrap().remove(member).is_some(), "{member}");
    }
    old["decision"]["accused"].as_object_mut().unwrap().remove("onsetAt");
    let read: Record = serde_json::from_value(old).unwrap();
    assert_eq!((read.told, read.false_revert), (None, None));
}

#[test]
fn the_ids_of_a_trace_are_those_of_the_record_for_ever() {
    let trace = RecordTrace::of(&RecordId("abcdefghijklmnopqrstuvwxyz".to_owned()));
    let other = RecordTrace::of(&RecordId("abcdefghijklmnopqrstuvwxy2".to_owned()));
    assert_eq!(trace, RecordTrace::of(&RecordId("abcdefghijklmnopqrstuvwxyz".to_owned())));
    assert_ne!(trace.trace_id, other.trace_id);
    assert_ne!(trace.root_id, other.root_id);
}

/// Names are a promise to dashboards: they change only together with the page that tells them.
#[test]
fn every_metric_of_the_rule_has_its_name_and_its_row() {
    let names: Vec<&str> = metrics::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(
        names,
        ["backout.decisions", "backout.vetoes", "backout.rollbacks", "backout.false_reverts", "backout.time_to_act"]
    );
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/telemetry.md")).unwrap();
    for metric in metrics::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` ", metric.name)));
        let row = row.unwrap_or_else(|| panic!("docs/telemetry.md has no row for `{}`", metric.name));
        assert!(row.contains(metric.unit), "{row}");
        for attribute in metric.attributes {
            assert!(row.contains(attribute), "`{attribute}` is not in: {row}");
        }
    }
}

async fn rolled_back(scene: &mut Scene) -> (RecordId, Record) {
    scene.break_it().await;
    let (body, id) = scene.alert();
    scene.send("alerts", &body);
    let record = scene.ended(&id).await;
    (id, record)
}

/// An alert about nothing in the policy: decided and told at once.
async fn invoke_about_nothing(scene: &Scene) -> RecordId {
    let now = scene.clock.now();
    let (body, id) = scene::alert(&site("another"), now);
    let invoked = scene.hosts[0].invoke("alerts", &ServiceBusMessage::new(body, "about-nothing", now)).await;
    assert_eq!(invoked.outcome, InvocationOutcome::Succeeded, "{:#?}", scene.lines());
    id
}

async fn told_in_time<T>(story: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, story).await.expect("the story did not end in time")
}

/// What was kept while nobody answered goes out with a later invocation of the same process.
async fn keep_going_until(scene: &Scene, collector: &Collector, is_it: impl Fn(&Received) -> bool) {
    let sweeps = async {
        loop {
            for host in &scene.hosts {
                host.invoke_timer("sweep").await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = collector.wait_until(is_it) => {}
        () = sweeps => {}
    }
}

/// The end of the story, and of what is counted about it. Another invocation may have sent the root before its own had ended.
fn is_complete(received: &Received, id: &RecordId) -> bool {
    let ids: BTreeSet<&str> = spans_of(received, id).map(|span| span.span_id.as_str()).collect();
    let has_parent = |span: &ReceivedSpan| span.parent_id.as_ref().is_none_or(|parent| ids.contains(parent.as_str()));
    root_of(received, id).is_some()
        && spans_of(received, id).all(has_parent)
        && received.counts.iter().any(|point| point.metric == metrics::ROLLBACKS.name)
}

fn connection_string(collector: &Collector) -> String {
    let key = "5eeded00-0000-4000-8000-000000000001";
    format!("InstrumentationKey={key};IngestionEndpoint={}/;LiveEndpoint={}/", collector.url(), collector.url())
}

fn spans_of<'a>(received: &'a Received, id: &RecordId) -> impl Iterator<Item = &'a ReceivedSpan> {
    let trace_id = RecordTrace::of(id).trace_id.to_string();
    received.spans.iter().filter(move |span| span.trace_id == trace_id)
}

fn root_of<'a>(received: &'a Received, id: &RecordId) -> Option<&'a ReceivedSpan> {
    spans_of(received, id).find(|span| span.name == "alert")
}

/// One root without a parent, which every other span leads to; each span once.
#[track_caller]
fn assert_one_tree(received: &Received, id: &RecordId) {
    let spans: Vec<_> = spans_of(received, id).collect();
    let by_id: BTreeMap<&str, &ReceivedSpan> = spans.iter().map(|span| (span.span_id.as_str(), *span)).collect();
    assert_eq!(by_id.len(), spans.len(), "a span came twice: {spans:#?}");
    let roots: Vec<_> = spans.iter().filter(|span| span.parent_id.is_none()).collect();
    assert_eq!(roots.iter().map(|root| root.name.as_str()).collect::<Vec<_>>(), ["alert"], "{spans:#?}");
    assert_eq!(roots[0].span_id, RecordTrace::of(id).root_id.to_string());
    for span in &spans {
        let mut at = *span;
        while let Some(parent) = &at.parent_id {
            at = by_id.get(parent.as_str()).unwrap_or_else(|| panic!("`{}` has no parent `{parent}`: {spans:#?}", at.name));
        }
        assert_eq!(at.name, "alert");
    }
    let handled: Vec<_> = spans.iter().filter(|span| span.name.starts_with("process ")).collect();
    assert!(!handled.is_empty(), "{spans:#?}");
    for span in handled {
        assert_eq!(span.parent_id.as_deref(), Some(roots[0].span_id.as_str()));
        assert_eq!(span.linked_traces.len(), 1, "the host's own trace: {span:?}");
        assert_ne!(span.linked_traces[0], span.trace_id);
    }
}

/// The steps that matter, below the message in which they were taken.
#[track_caller]
fn assert_steps(received: &Received, id: &RecordId, consumer: &str, client: &str) {
    let spans: Vec<_> = spans_of(received, id).collect();
    let steps = [
        ("gather", "process alerts", "internal"),
        ("decide", "process alerts", "internal"),
        ("claim", "process alerts", "internal"),
        ("submit", "process alerts", client),
        ("tell", "process alerts", "internal"),
        ("poll", "process followups", client),
        ("verify", "process followups", "internal"),
        ("tell", "process followups", "internal"),
    ];
    for (name, below, kind) in steps {
        let parent_of = |span: &ReceivedSpan| spans.iter().find(|parent| Some(&parent.span_id) == span.parent_id.as_ref());
        let found = spans.iter().find(|span| span.name == name && parent_of(span).is_some_and(|parent| parent.name == below));
        let found = found.unwrap_or_else(|| panic!("no `{name}` below `{below}`: {spans:#?}"));
        assert_eq!((found.kind.as_str(), found.failed), (kind, false), "{found:?}");
    }
    let with = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert_eq!(with("decide").attributes["backout.decision.kind"], "act");
    assert_eq!(with("submit").attributes["backout.submission"], "accepted");
    assert_eq!(with("submit").attributes["backout.platform"], "app-service");
    assert!(spans.iter().any(|span| span.name == "verify" && span.attributes["backout.recovery"] == "recovered"));
    let handled = with("process alerts");
    assert_eq!(handled.kind, consumer);
    for (name, value) in [
        ("messaging.system", "servicebus"),
        ("messaging.destination.name", "alerts"),
        ("messaging.operation.type", "process"),
        ("faas.trigger", "pubsub"),
        ("backout.record.id", &id.0),
    ] {
        assert_eq!(handled.attributes[name], value);
    }
    assert_eq!(handled.attributes["faas.invocation_id"].len(), 36);
}

/// One act, which came to its recovery; the bad build ran for five minutes before the alert.
#[track_caller]
fn assert_counted(collector: &Collector) {
    assert_eq!(collector.counted(metrics::DECISIONS.name, "backout.decision.kind")["act"], 1);
    assert_eq!(collector.counted(metrics::ROLLBACKS.name, "backout.rollback.state"), counts([("recovered", 1)]));
    let times = collector.received().counts.into_iter().filter(|point| point.metric == metrics::TIME_TO_ACT.name);
    let times: Vec<_> = times.map(|point| (point.count, point.sum, point.attributes["backout.service.name"].clone())).collect();
    assert_eq!(times.len(), 1, "{times:?}");
    let (count, seconds, service) = &times[0];
    assert_eq!((*count, service.as_str()), (1, "checkout"));
    assert!((60.0..1800.0).contains(seconds), "{seconds}");
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}
