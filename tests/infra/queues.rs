//! The queues that the functions listen on are the queues that are created, watched, and granted.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::read;

fn of_functions() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("function-app");
    let functions = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("function.json"));
    let queue = |path| {
        let function: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let bindings = function["bindings"].as_array().unwrap().clone();
        bindings.iter().find_map(|binding| binding["queueName"].as_str().map(str::to_owned))
    };
    functions.filter_map(queue).collect()
}

#[test]
fn queues_of_functions_and_of_the_infrastructure_are_the_same() {
    let bus = read("infra/modules/service-bus.bicep");
    let queues = bus.split("resource ").filter(|part| part.contains("/namespaces/queues@"));
    let created: BTreeSet<String> =
        queues.filter_map(|part| part.split_once("\n  name: '")?.1.split_once('\'').map(|(name, _)| name.to_owned())).collect();
    assert_eq!(created, of_functions());
}

#[test]
fn each_queue_is_watched_for_dead_letters_and_granted_to_the_reading_identity() {
    let (watchdog, bus) = (read("infra/modules/watchdog.bicep"), read("infra/modules/service-bus.bicep"));
    for queue in of_functions() {
        assert!(watchdog.contains(&format!("'{queue}'\n")), "the watchdog does not look at `{queue}`");
        for role in ["dataReceiver", "dataSender"] {
            let assignment = format!("name: guid({queue}.id, readerPrincipalId, {role})");
            assert!(bus.contains(&assignment), "`{queue}` lacks `{role}` for the reading identity");
        }
    }
    let by_events = bus.matches("principalId: deliveryPrincipalId").count();
    assert_eq!(by_events, 1, "Event Grid may send to `deployments` and nowhere else");
    assert!(!bus.contains("actorPrincipalId"), "the acting identity has no business with queues");
}
