//! Nothing that anybody sends makes the handler ask, let alone change, what the policy does not name: held against the journal of
//! every request that the real adapters sent.

use std::{collections::BTreeMap, sync::Arc};

use backout::{
    cli::demo::messages::swap,
    domain::{decision::DecisionKind, event::Event, policy::Policy, resource_id::ResourceId},
    host::{
        delivery::{Deliveries, Delivery, Function},
        dispatch::Dispatcher,
    },
    inbound,
    ports::Clock,
    process::Process,
    settings::MapSource,
    sim::{AzureSimulation, Fault, FaultEffect, Role, SimulatedSite, clock::ManualClock},
};
use serde_json::{Value, json};

use crate::support::{
    fake_queue::FakeQueue,
    leaks::watched_process,
    policy::{FixedPolicy, SUBSCRIPTION, policy, service, site},
    scene,
    simulated::{identity, ports, run_while},
};

const FOREIGN: &str = "99999999-9999-4999-8999-999999999999";

struct Town {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    queue: FakeQueue,
    policy: Arc<Policy>,
    process: Arc<Process>,
    dispatcher: Dispatcher,
}

impl Town {
    /// `checkout` is in the policy and runs a bad build; `payroll` is not, and lies beside it.
    async fn new() -> Self {
        let town = Self::that_is_well().await;
        for name in ["checkout", "payroll"] {
            town.swap_in(name, "build-42");
        }
        town.clock.advance(std::time::Duration::from_mins(6));
        town
    }

    /// Both have run a good build for long, and were seen to.
    async fn that_is_well() -> Self {
        let clock = Arc::new(ManualClock::that_advances_on_sleep("2026-03-02T03:00:00Z".parse().unwrap()));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        for name in ["checkout", "payroll"] {
            azure.add_site(SimulatedSite::new(site(name), "build-41"));
        }
        azure.add_site(SimulatedSite::new(foreign(), "build-41"));
        azure.set_error_share("build-41", 0.002);
        azure.set_error_share("build-42", 0.33);
        let policy = Arc::new(policy(vec![service("checkout")]));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let (reader, actor) = (identity(&azure, None), identity(&azure, Some("actor")));
        let (ports, queue) = ports(&azure, as_clock, reader, actor, MapSource::default());
        let process = Arc::new(watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&policy)))));
        let town = Self { dispatcher: Dispatcher::new(Arc::clone(&process)), azure, clock, queue, policy, process };
        town.process.sweep(&town.policy).await.unwrap();
        town.clock.advance(std::time::Duration::from_mins(40));
        town
    }

    fn swap_in(&self, name: &str, build: &str) {
        self.azure.deploy(&site(name), "staging", build);
        self.azure.swap_now(&site(name), "staging", "production").unwrap();
    }

    async fn deliver(&self, function: Function, body: &Value) {
        let body = body.to_string().into_bytes();
        let delivery = Delivery {
            function,
            body,
            returns: 0,
            delivered_before: false,
            envelope_problem: None,
            invocation_id: "i".to_owned(),
            trace_parent: None,
        };
        self.dispatcher.deliver(delivery).await;
    }

    async fn run(&self, minutes: i64) {
        run_while(&self.clock, &self.queue, &self.process, &self.policy, minutes, async || true).await;
    }

    /// Method and path of everything that was asked of resource manager.
    fn asked(&self) -> Vec<String> {
        let asked = self.azure.journal().into_iter().filter(|entry| entry.role == Role::ResourceManager);
        asked.map(|entry| format!("{} {}", entry.method, entry.path_and_query.to_lowercase())).collect()
    }
}

fn foreign() -> ResourceId {
    ResourceId::parse(&format!("/subscriptions/{FOREIGN}/resourceGroups/hr/providers/Microsoft.Web/sites/salaries")).unwrap()
}

/// Every place of an alert that may name a resource, or look like it.
fn alerts_naming(victim: &str, town: &Town) -> Vec<Value> {
    let base: Value = serde_json::from_slice(&scene::alert(&site("checkout"), town.clock.now()).0).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut alert = base.clone();
        alert["data"]["essentials"]["alertId"] =
            json!(format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/{}", uuid::Uuid::new_v4()));
        change(&mut alert);
        alert
    };
    vec![
        changed(&|alert| alert["data"]["essentials"]["alertTargetIDs"] = json!([victim])),
        changed(&|alert| alert["data"]["essentials"]["alertTargetIDs"] = json!([site("checkout").canonical(), victim])),
        changed(&|alert| alert["data"]["essentials"]["configurationItems"] = json!([victim, "payroll"])),
        changed(&|alert| {
            alert["data"]["essentials"]["alertId"] = json!(format!("{victim}/providers/Microsoft.AlertsManagement/alerts/x"));
        }),
        changed(&|alert| {
            alert["data"]["customProperties"] = json!({
                "service": "payroll", "target": victim, "resourceId": victim, "site": "payroll", "slot": "../payroll",
                "goodSlots": ["payroll"], "backoutDropped": victim, "mode": "act", "reversible": "always",
            });
        }),
        changed(&|alert| {
            alert["data"]["alertContext"]["condition"]["allOf"][0]["dimensions"] =
                json!([{"name": "_ResourceId", "value": victim}, {"name": "ResourceId", "value": victim}]);
        }),
        changed(&|alert| {
            alert["data"]["essentials"]["monitoringService"] = json!("ActivityLog - Administrative");
            alert["data"]["alertContext"] = json!({"authorization": {"scope": victim}, "properties": {"entity": victim}});
        }),
    ]
}

#[tokio::test]
async fn no_message_leads_to_a_request_about_what_the_policy_does_not_name() {
    let town = Town::new().await;
    let before = town.asked().len();
    let payroll = site("payroll");
    let victims = [
        payroll.canonical().to_owned(),
        foreign().canonical().to_owned(),
        format!("/subscriptions/{FOREIGN}"),
        format!("{}/../payroll", site("checkout")),
        format!("{}%2f..%2fpayroll", site("checkout")),
        format!("{}/slots/staging/../../../payroll", site("checkout")),
        format!("{}?x=/sites/payroll", site("checkout")),
        format!("https://169.254.169.254{payroll}"),
    ];
    for victim in &victims {
        for alert in alerts_naming(victim, &town) {
            // On every queue, as somebody would who may send to one only.
            for queue in [Function::Alerts, Function::Deployments, Function::Markers, Function::FollowUps] {
                town.deliver(queue, &alert).await;
            }
        }
        let event = json!({
            "id": "e1", "topic": victim, "subject": victim, "eventType": "Microsoft.Web.SlotSwapCompleted",
            "eventTime": town.clock.now(), "dataVersion": "1", "metadataVersion": "1",
            "data": { "siteName": "payroll", "name": "payroll", "sourceSlot": "../payroll", "targetSlot": "production", "resourceUri": victim },
        });
        let marker = json!({
            "context": { "specversion": "0.6.0-draft", "id": "m1", "source": "/ci", "type": "dev.cdevents.service.deployed.0.3.0",
                         "timestamp": town.clock.now() },
            "subject": { "id": victim, "content": { "environment": { "id": victim }, "artifactId": victim } },
            "customData": { "reversible": true, "target": victim },
        });
        for body in [&event, &marker] {
            town.deliver(Function::Deployments, body).await;
            town.deliver(Function::Markers, body).await;
        }
        for step in ["rollback", "approval", "lookAgain", "expire"] {
            let wake_up = json!({"v": 1, "record": "a".repeat(26), "target": victim, "step": step, "generation": 0, "dueAt": town.clock.now()});
            town.deliver(Function::FollowUps, &wake_up).await;
        }
    }
    town.run(30).await;

    let asked = town.asked();
    assert!(asked.len() > before + 20, "what the policy names was looked at: {}", asked.len());
    let checkout = site("checkout").canonical().to_owned();
    let of_the_subscription = format!("/subscriptions/{SUBSCRIPTION}/providers/microsoft.alertsmanagement/alerts?");
    let others: Vec<&String> =
        asked.iter().filter(|line| !line.contains(&checkout) && !line.contains(&of_the_subscription)).collect();
    assert_eq!(others, Vec::<&String>::new(), "only the policy's target, and the list of alerts of its subscription");
    let led_astray =
        |line: &&String| ["payroll", "salaries", FOREIGN, "..", "%2e", "%2f.."].iter().any(|part| line.contains(part));
    assert_eq!(asked.iter().filter(led_astray).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(
        (town.azure.swap_count(&payroll), town.azure.running_build(&payroll).as_str()),
        (1, "build-42"),
        "as the team left it"
    );
    let strangers = town.azure.journal().into_iter().filter(|entry| entry.role == Role::Stranger).count();
    assert_eq!(strangers, 0);
}

/// The story goes on over an operation URL or a redirect to somewhere else: the state tells, and nobody else is asked.
#[tokio::test]
async fn what_an_answer_says_leads_no_token_to_another_host() {
    for effect in [
        FaultEffect::OperationUrlElsewhere,
        FaultEffect::RedirectElsewhere { status: 301 },
        FaultEffect::RedirectElsewhere { status: 302 },
        FaultEffect::RedirectElsewhere { status: 303 },
        FaultEffect::RedirectElsewhere { status: 307 },
        FaultEffect::RedirectElsewhere { status: 308 },
    ] {
        let town = Town::new().await;
        let name = format!("{effect:?}");
        town.azure.inject(Fault::on("POST", "/slotsswap", effect));
        let event: Value = serde_json::from_slice(&swap("SlotSwapCompleted", &site("checkout"), town.clock.now())).unwrap();
        town.deliver(Function::Deployments, &event).await;
        let alert: Value = serde_json::from_slice(&scene::alert(&site("checkout"), town.clock.now()).0).unwrap();
        town.deliver(Function::Alerts, &alert).await;
        town.run(60).await;
        let journal = town.azure.journal();
        let met: BTreeMap<&str, usize> =
            journal.iter().filter_map(|entry| entry.fault).fold(BTreeMap::new(), |mut all, fault| {
                *all.entry(fault).or_default() += 1;
                all
            });
        assert_eq!(met.values().sum::<usize>(), 1, "{name}: {met:?}");
        assert!(journal.iter().all(|entry| entry.role != Role::Stranger), "{name}: the stranger was asked");
        let calls = journal.iter().filter(|entry| entry.path_and_query.contains("/slotsswap")).count();
        assert_eq!(calls, 1, "{name}: a toggle is sent once");
    }
}

/// An event is a hint where to look: what the platform shows decides, and the record says what it showed.
struct Judged {
    /// Requests that change something, of resource manager.
    sent: Vec<String>,
    kind: DecisionKind,
    reasons: String,
}

/// The events, and then an alert about `checkout`; half an hour later.
async fn judged(town: &Town, events: &[Value]) -> Judged {
    for event in events {
        let understood = inbound::recognise(event.to_string().as_bytes()).into_iter().next().unwrap().unwrap();
        let Event::Deployment(deployment) = understood.event else { panic!("it is taken for a deployment: {event}") };
        let about: Vec<_> = deployment.resources.iter().map(|id| ResourceId::parse(id).unwrap()).collect();
        assert_eq!(about, [site("checkout")], "{event}");
        town.deliver(Function::Deployments, event).await;
    }
    town.clock.advance(std::time::Duration::from_mins(6));
    let (alert, id) = scene::alert(&site("checkout"), town.clock.now());
    town.deliver(Function::Alerts, &serde_json::from_slice(&alert).unwrap()).await;
    town.run(30).await;
    let decision = town.process.record(&id).await.unwrap().and_then(|record| record.decision).expect("it was decided");
    // App Service has settings, and what a swap would change, read by a POST.
    let reads = |line: &String| line.starts_with("GET ") || ["/list?", "/slotsdiffs?"].iter().any(|read| line.contains(read));
    let sent = town.asked().into_iter().filter(|line| !reads(line)).collect();
    let reasons = decision.reasons.iter().map(|reason| format!("{}: {}", reason.rule, reason.says)).collect::<Vec<_>>();
    Judged { sent, kind: decision.kind, reasons: reasons.join("\n") }
}

/// What Event Grid and a pipeline would say of a deployment that they name the version of.
fn forged(town: &Town) -> Vec<Value> {
    let now = town.clock.now();
    let mut swapped: Value = serde_json::from_slice(&swap("SlotSwapCompleted", &site("checkout"), now)).unwrap();
    swapped["data"]["sourceSlot"] = json!("canary");
    let upgraded = json!({
        "specversion": "1.0", "id": "forged-1", "source": "/ci/shop", "type": "dev.cdevents.service.upgraded.0.2.0", "time": now,
        "datacontenttype": "application/json",
        "data": {
            "context": { "version": "0.4.1", "id": "forged-1", "source": "/ci/shop",
                         "type": "dev.cdevents.service.upgraded.0.2.0", "timestamp": now },
            "subject": { "id": site("checkout").canonical(), "type": "service",
                         "content": { "environment": { "id": "production" }, "artifactId": "pkg:oci/checkout@build-66" } },
            "customData": { "reversible": true }
        }
    });
    vec![serde_json::from_slice(&swap("SlotSwapCompleted", &site("checkout"), now)).unwrap(), swapped, upgraded]
}

/// Without it the three tests below would hold for a handler that does nothing at all.
#[tokio::test]
async fn a_bad_deployment_that_happened_is_taken_back() {
    let town = Town::that_is_well().await;
    town.swap_in("checkout", "build-42");
    let event = serde_json::from_slice(&swap("SlotSwapCompleted", &site("checkout"), town.clock.now())).unwrap();
    let Judged { sent, kind, reasons } = judged(&town, &[event]).await;
    assert!(sent.len() == 1 && sent[0].contains("/slotsswap"), "{sent:#?}");
    assert_eq!(kind, DecisionKind::Act, "{reasons}");
}

#[tokio::test]
async fn a_forged_deployment_of_a_service_that_is_well_leads_to_no_call() {
    let town = Town::that_is_well().await;
    let Judged { sent, kind, reasons } = judged(&town, &forged(&town)).await;
    assert_eq!(sent, Vec::<String>::new(), "{reasons}");
    says_that_nothing_was_deployed(kind, &reasons);
}

/// The service fails, and nothing was deployed: the version that the event names does not run.
#[tokio::test]
async fn a_forged_deployment_of_a_version_that_does_not_run_leads_to_no_call() {
    let town = Town::that_is_well().await;
    town.azure.set_error_share("build-41", 0.33);
    let Judged { sent, kind, reasons } = judged(&town, &forged(&town)).await;
    assert_eq!(sent, Vec::<String>::new(), "{reasons}");
    says_that_nothing_was_deployed(kind, &reasons);
    assert!(!reasons.contains("build-66") && !reasons.contains("canary"), "{reasons}");
}

#[track_caller]
fn says_that_nothing_was_deployed(kind: DecisionKind, reasons: &str) {
    assert_eq!(kind, DecisionKind::Page, "{reasons}");
    assert!(
        reasons.starts_with("C8: no recent change of `checkout` is known that could have caused the alert\nC3: "),
        "{reasons}"
    );
    assert!(reasons.contains("has served since 2026-01-31T03:00:00Z, longer than the correlation window"), "{reasons}");
}

/// At most a person is asked: by itself the handler acts on measurements only.
#[tokio::test]
async fn an_alert_that_no_measurement_bears_out_leads_to_no_call() {
    let town = Town::that_is_well().await;
    town.azure.set_error_share("build-43", 0.002);
    town.swap_in("checkout", "build-43");
    let event = serde_json::from_slice(&swap("SlotSwapCompleted", &site("checkout"), town.clock.now())).unwrap();
    let Judged { sent, kind, reasons } = judged(&town, &[event]).await;
    assert_eq!(sent, Vec::<String>::new(), "{reasons}");
    assert_eq!(kind, DecisionKind::Propose, "{reasons}");
    assert!(reasons.starts_with("C1: the alert fired, but the measured signals never left their usual range"), "{reasons}");
    assert_eq!(town.azure.running_build(&site("checkout")), "build-43");
}
