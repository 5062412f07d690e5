//! `host.json` and `function.json` of this repository, and wrong ones.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use backout::{
    host::{
        delivery::Function,
        envelope::binding_name,
        http::{ANSWER_BINDING, HttpFunction, REQUEST_BINDING},
    },
    sim::host::{DataType, FunctionApp, Trigger},
};
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read_json(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

#[test]
fn the_repository_is_a_function_app() {
    let app = FunctionApp::read(root()).unwrap();
    let folders: BTreeSet<_> = app.functions.iter().map(|function| function.name.as_str()).collect();
    let names = Function::ALL.iter().map(|function| function.name());
    let names = names.chain(HttpFunction::ALL.iter().map(|function| function.name()));
    assert_eq!(folders, names.collect(), "folders, `Function::ALL` and `HttpFunction::ALL`");
    for function in Function::ALL.iter().copied() {
        let found = app.function(function.name()).unwrap();
        assert_eq!(found.binding, binding_name(function));
        let expected = match function {
            Function::Alerts | Function::Deployments | Function::Markers | Function::FollowUps => Trigger::ServiceBus {
                queue: function.name().to_owned(),
                connection: "ServiceBus".to_owned(),
                data_type: DataType::Binary,
            },
            // No monitor: catching up on ticks that were missed is pointless, the next one looks at the state.
            Function::Sweep => Trigger::Timer { use_monitor: false },
        };
        assert_eq!(found.trigger, expected);
    }
    for function in HttpFunction::ALL {
        let found = app.function(function.name()).unwrap();
        assert_eq!(found.binding, REQUEST_BINDING);
        let expected = match function {
            HttpFunction::AlertWebhook => Trigger::Http {
                methods: vec!["post".to_owned()],
                route: "alert-webhook/{source?}".to_owned(),
                key_needed: true,
                output: ANSWER_BINDING.to_owned(),
            },
        };
        assert_eq!(found.trigger, expected);
    }
    assert_eq!(app.arguments, ["serve"]);
    assert_eq!(app.executable.file_name().unwrap(), "backout");
    let built_in = FunctionApp::built_in().unwrap();
    assert_eq!(built_in.functions, app.functions, "the built-in copy is another app");
    assert_eq!((built_in.function_timeout, built_in.arguments), (app.function_timeout, app.arguments));
}

#[test]
fn the_host_is_set_up_for_a_handler_that_acts_once() {
    let host = read_json("host.json");
    let app = FunctionApp::built_in().unwrap();
    // The quiet time of a claim, 10 minutes, is longer than anything that this lets run.
    assert_eq!(app.function_timeout, Some(Duration::from_mins(5)));
    let bus = &host["extensions"]["serviceBus"];
    // Without it, a message that was handled is never completed and comes back.
    assert_eq!(bus["autoCompleteMessages"], true);
    // Prefetched messages lose their lock while they wait in memory.
    assert_eq!(bus["prefetchCount"], 0);
    assert!(bus["maxConcurrentCalls"].as_u64().unwrap() <= 8);
    let renewal = bus["maxAutoLockRenewalDuration"].as_str().unwrap();
    assert_eq!(renewal, "00:10:00", "not below functionTimeout: else a message comes again while it is still handled");
    for forwarding in ["enableForwardingHttpRequest", "enableProxyingHttpRequest"] {
        assert!(host["customHandler"].get(forwarding).is_none(), "{forwarding}: calls over HTTP come in the envelope");
    }
    assert!(host.get("retry").is_none(), "the host's own retry holds the lock and is not meant for Service Bus");
    // A record may be told by the log alone, so no line may be sampled away.
    assert_eq!(host["logging"]["applicationInsights"]["samplingSettings"]["isEnabled"], false);
    for function in Function::ALL {
        let file = read_json(&format!("function-app/{}/function.json", function.name()));
        assert!(file.get("retry").is_none(), "{}", function.name());
        assert_eq!(file["bindings"].as_array().unwrap().len(), 1, "{}", function.name());
    }
    let sweep = read_json("function-app/sweep/function.json");
    assert_eq!(sweep["bindings"][0]["schedule"], "0 */5 * * * *");
    assert_eq!(sweep["bindings"][0]["runOnStartup"], false, "each new instance would sweep");
}

fn app_with(host: &Value, (name, function): (&str, &Value)) -> Result<FunctionApp, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("host.json"), host.to_string()).unwrap();
    fs::create_dir(folder.path().join(name)).unwrap();
    fs::write(folder.path().join(name).join("function.json"), function.to_string()).unwrap();
    FunctionApp::read(folder.path()).map_err(|problem| problem.says)
}

fn good_host() -> Value {
    json!({"version": "2.0", "customHandler": {"description": {"defaultExecutablePath": "handler", "arguments": ["a b", "c"]}}})
}

fn queue_function() -> Value {
    json!({"bindings": [{"type": "ServiceBusTrigger", "direction": "In", "name": "msg", "queueName": "q", "connection": "SB"}]})
}

#[test]
fn a_package_has_its_functions_beside_host_json() {
    let app = app_with(&good_host(), ("OnAlert", &queue_function())).unwrap();
    assert_eq!(app.functions.len(), 1);
    assert_eq!((app.functions[0].name.as_str(), app.functions[0].binding.as_str()), ("OnAlert", "msg"));
    let trigger = Trigger::ServiceBus { queue: "q".to_owned(), connection: "SB".to_owned(), data_type: DataType::Text };
    assert_eq!(app.functions[0].trigger, trigger);
    assert_eq!(app.arguments, ["a", "b", "c"], "arguments are not quoted");
    assert_eq!(app.function_timeout, Some(Duration::from_mins(30)));
    assert_eq!(app.initialization_timeout, Duration::from_secs(30));
}

#[test]
fn what_the_host_refuses_is_refused_here() {
    let of_host = |host: Value| app_with(&host, ("f", &queue_function())).unwrap_err();
    assert_eq!(of_host(json!({"version": "2.0"})), "Missing worker Description (`customHandler.description`)");
    let nameless = json!({"customHandler": {"description": {}}});
    assert_eq!(of_host(nameless), "WorkerDescription DefaultExecutablePath cannot be empty");
    let mut timeless = good_host();
    timeless["functionTimeout"] = json!("five minutes");
    assert_eq!(of_host(timeless), "`functionTimeout` is not `hh:mm:ss`");
    let mut unbounded = good_host();
    unbounded["functionTimeout"] = json!("-1");
    assert_eq!(app_with(&unbounded, ("f", &queue_function())).unwrap().function_timeout, None);

    let of_function = |name, change: fn(&mut Value)| {
        let mut function = queue_function();
        change(&mut function);
        app_with(&good_host(), (name, &function)).unwrap_err()
    };
    assert!(of_function("host", |_| {}).starts_with("the folder's name is not a function name"));
    assert!(of_function("1st", |_| {}).starts_with("the folder's name is not a function name"));
    assert_eq!(of_function("f", |f| f["bindings"] = json!([])), "`bindings` has no entry");
    assert_eq!(of_function("f", |f| f["bindings"][0]["name"] = json!("")), "the binding has no `name`");
    assert_eq!(of_function("f", |f| f["bindings"][0]["cardinality"] = json!("many")), "cardinality `many` is not emulated");
    let out = of_function("f", |f| f["bindings"][0]["direction"] = json!("out"));
    assert_eq!(out, "the binding is not the trigger: `direction` is not `in`");
    let stream = of_function("f", |f| f["bindings"][0]["dataType"] = json!("stream"));
    assert_eq!(stream, "`dataType` is neither `binary` nor `string`");
}
