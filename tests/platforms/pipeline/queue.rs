//! The one call, what its answers prove, and the run that is followed to its end.

use std::time::Duration;

use backout::{
    domain::{
        observation::ObstacleWeight,
        rollback::{OperationState, Submission},
        rule::RuleId,
    },
    ports::{Platform, PortErrorKind},
    settings::MapSource,
};
use serde_json::{Value, json};

use super::{
    AzureDevOps, BOTH, DEFINITION, DISPATCH, GitHub, QUEUE, RECORD, Run, WORKFLOW, adapter, adapter_with, run, serve, submit,
    target,
};
use crate::platforms::server::{FakeAzure, Recorded, Reply};

#[tokio::test]
async fn a_missing_token_names_the_setting_and_sends_nothing() {
    let azure = FakeAzure::start().await;
    for settings in [MapSource::default(), MapSource::new([("DEPLOY_TOKEN", " ")]), MapSource::new([("DEPLOY_TOKEN", "a b")])] {
        let adapter = adapter_with(target(GitHub, azure.url.as_str()), Duration::from_secs(30), settings);
        let error = adapter.observe().await.unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Denied);
        assert!(error.says.contains("`DEPLOY_TOKEN`"), "{error}");
        let says = adapter.preflight().await.unwrap().obstacles.remove(0);
        assert_eq!((says.rule, says.weight), (RuleId::S9, ObstacleWeight::Page));
        assert!(matches!(submit(&adapter, "1.41.2").await, Submission::NotSent { .. }));
    }
    let plain = adapter_with(target(GitHub, "http://api.example.com"), Duration::from_secs(30), MapSource::default());
    assert!(plain.observe().await.unwrap_err().says.contains("plain http"));
    assert!(azure.recorded().is_empty());
}

#[tokio::test]
async fn the_call_names_version_and_record_and_nothing_more() {
    let azure = FakeAzure::start().await;
    azure.on(QUEUE, [Reply::json(200, &json!({"id": 77, "state": "inProgress"}))]);
    azure.on(DISPATCH, [Reply::json(200, &json!({"workflow_run_id": 78})), Reply::empty(204)]);
    for (server, operation) in [
        (AzureDevOps, json!({"run": 77, "decision": RECORD})),
        (GitHub, json!({"run": 78, "decision": RECORD})),
        (GitHub, json!({"decision": RECORD})),
    ] {
        let accepted = submit(&adapter(server, &azure), "1.41.2").await;
        assert_eq!(accepted, Submission::Accepted { operation, poll_after_seconds: 15 });
    }
    let recorded = azure.recorded();
    assert_eq!(recorded.iter().map(Recorded::line).collect::<Vec<_>>(), [QUEUE, DISPATCH, DISPATCH]);
    assert_eq!(recorded[0].query, "api-version=7.1");
    assert_eq!(recorded[0].header("authorization"), Some("Bearer actor-token"));
    assert_eq!(recorded[1].header("authorization"), Some("Bearer github-token"));
    let body = |at: usize| serde_json::from_str::<Value>(&recorded[at].body).unwrap();
    let inputs = json!({"version": "1.41.2", "decisionId": RECORD});
    let reference = json!({"repositories": {"self": {"refName": "refs/heads/main"}}});
    assert_eq!(body(0), json!({"resources": reference, "templateParameters": inputs}));
    assert_eq!(body(1), json!({"ref": "main", "inputs": inputs, "return_run_details": true}));
    assert_ne!(recorded[1].connection, recorded[2].connection, "each call has a connection of its own");
}

#[tokio::test]
async fn an_enterprise_server_is_not_asked_for_what_it_refuses() {
    let azure = FakeAzure::start().await;
    let path = "POST /api/v3/repos/contoso/legacy/actions/workflows/deploy.yml/dispatches";
    azure.on(path, [Reply::empty(204)]);
    let target = target(GitHub, &format!("{}api/v3", azure.url));
    let settings = MapSource::new([("DEPLOY_TOKEN", "t")]);
    let adapter = adapter_with(target, Duration::from_secs(30), settings);
    assert!(matches!(submit(&adapter, "1.41.2").await, Submission::Accepted { .. }));
    assert!(!azure.recorded()[0].body.contains("return_run_details"), "{}", azure.recorded()[0].body);
}

#[tokio::test]
async fn every_answer_to_the_call_is_taken_for_what_it_proves() {
    #[derive(Debug, PartialEq)]
    enum Proves {
        Accepted,
        Refused,
        Busy,
        NotSent(Option<u32>),
        Unknown,
    }
    use Proves::{Accepted, Busy, NotSent, Refused, Unknown};
    let says = |status, text: &str| Reply::json(status, &json!({"message": text}));
    // The reset is that of the other limit.
    let secondary = says(403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
        .with("x-ratelimit-remaining", "14")
        .with("x-ratelimit-reset", "1795600890")
        .with("date", "Wed, 25 Nov 2026 09:59:00 GMT");
    let rows = [
        (BOTH.as_slice(), says(200, "no run in here"), Accepted, ""),
        (&BOTH, Reply::text(200, "<html>"), Accepted, ""),
        (&BOTH, says(400, "Unexpected parameter 'decisionId'"), Refused, "`version` and `decisionId`"),
        (&BOTH, says(401, "Bad credentials"), Refused, "Bad credentials"),
        (&BOTH, says(403, "Access denied"), Refused, "Access denied"),
        (&BOTH, says(404, "Not Found"), Refused, "was deleted"),
        (&BOTH, says(409, "another one"), Busy, "another one"),
        (&BOTH, Reply::empty(429).with("retry-after", "90"), NotSent(Some(90)), "429"),
        (&BOTH, Reply::empty(429), NotSent(None), "429"),
        (&BOTH, Reply::empty(500), Unknown, "list of runs"),
        (&BOTH, Reply::text(502, "<html>"), Unknown, "list of runs"),
        (&BOTH, Reply::empty(504), Unknown, "list of runs"),
        (&BOTH, Reply::empty(307).with("location", "https://elsewhere.test"), Unknown, "not followed"),
        (&BOTH, Reply::never(), Unknown, "in time"),
        (&[AzureDevOps], Reply::text(203, "<html>Sign in</html>"), Refused, "sign-in"),
        (&[AzureDevOps], Reply::empty(302).with("location", "/_signin"), Refused, "sign-in"),
        (
            &[GitHub],
            says(422, "Workflow does not have 'workflow_dispatch' trigger"),
            Refused,
            "`workflow_dispatch` trigger with the inputs",
        ),
        (&[GitHub], Reply::empty(403).with("retry-after", "60"), NotSent(Some(60)), "403"),
        (&[GitHub], Reply::empty(403).with("x-ratelimit-remaining", "0"), NotSent(None), "403"),
        (&[GitHub], secondary.clone(), NotSent(Some(60)), "secondary rate limit"),
        (&[GitHub], secondary.clone().with("retry-after", "90"), NotSent(Some(90)), "secondary rate limit"),
        (&[AzureDevOps], secondary, Refused, "secondary rate limit"),
    ];
    for (servers, reply, proves, text) in rows {
        for server in servers {
            let azure = FakeAzure::start().await;
            azure.on(if *server == AzureDevOps { QUEUE } else { DISPATCH }, [reply.clone()]);
            // Short only where no answer ever comes.
            let patience = if text == "in time" { Duration::from_millis(150) } else { Duration::from_secs(30) };
            let settings = MapSource::new([("DEPLOY_TOKEN", "t")]);
            let adapter = adapter_with(target(*server, azure.url.as_str()), patience, settings);
            let (is, words) = match submit(&adapter, "1.41.2").await {
                Submission::Accepted { operation, .. } => {
                    assert_eq!(operation, json!({"decision": RECORD}));
                    (Accepted, String::new())
                }
                Submission::Refused { says } => (Refused, says),
                Submission::Busy { says } => (Busy, says),
                Submission::NotSent { says, retry_after_seconds } => (NotSent(retry_after_seconds), says),
                Submission::Unknown { says } => (Unknown, says),
                Submission::Done => panic!("a run is never done at once"),
            };
            assert_eq!(is, proves, "{server:?} {words}");
            assert!(words.contains(text), "{server:?} {words}");
            assert_eq!(azure.recorded().len(), 1, "sent once, whatever the answer");
        }
    }
}

#[tokio::test]
async fn nothing_but_a_plain_version_is_ever_sent() {
    let azure = FakeAzure::start().await;
    for version in ["", "1; curl evil", "$(id)", "a\nb"] {
        for server in BOTH {
            let refused = submit(&adapter(server, &azure), version).await;
            assert!(matches!(&refused, Submission::Refused { says } if says.contains("nothing was sent")), "{refused:?}");
        }
    }
    assert!(azure.recorded().is_empty());
    let nobody = target(AzureDevOps, "http://127.0.0.1:1");
    let silent = submit(&adapter_with(nobody, Duration::from_secs(30), MapSource::default()), "1.41.2").await;
    assert!(matches!(&silent, Submission::NotSent { says, .. } if says.contains("no connection to Azure DevOps")), "{silent:?}");
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    let good = || run(77, "2026-11-25T10:00:00Z", "1.41.2");
    let failed = |text: &str| OperationState::Failed { says: text.to_owned() };
    let running = |seconds| OperationState::Running { poll_after_seconds: seconds };
    for server in BOTH {
        let path = if server == AzureDevOps {
            "GET /contoso/Shop%20Legacy/_apis/build/builds/77"
        } else {
            "GET /repos/contoso/legacy/actions/runs/77"
        };
        let told = |run: Run| Reply::json(200, &if server == AzureDevOps { run.build() } else { run.workflow_run() });
        let (number, name, word) = match server {
            AzureDevOps => ("20261125.77", "Azure DevOps", "failed"),
            GitHub => ("#77", "GitHub", "failure"),
        };
        let rows = [
            (told(good().state("under way")), running(15)),
            (told(good().state("under way")).with("retry-after", "50"), running(50)),
            (told(good()), OperationState::Succeeded),
            (told(good().state("failed")), failed(&format!("run {number} ended as `{word}` in {name}"))),
        ];
        for (reply, expected) in rows {
            let azure = FakeAzure::start().await;
            azure.on(path, [reply]);
            assert_eq!(adapter(server, &azure).poll(&json!({"run": 77, "decision": RECORD})).await.unwrap(), expected);
        }
        for (reply, kind) in [
            (Reply::empty(404), None),
            (Reply::empty(403), None),
            (Reply::text(200, "?"), None),
            (Reply::empty(503), Some(PortErrorKind::Transient)),
            (Reply::empty(429), Some(PortErrorKind::Throttled)),
        ] {
            let azure = FakeAzure::start().await;
            azure.on(path, [reply]);
            match (adapter(server, &azure).poll(&json!({"run": 77, "decision": RECORD})).await, kind) {
                (Ok(OperationState::Unknown { .. }), None) => {}
                (Err(error), Some(kind)) => assert_eq!(error.kind, kind),
                (other, _) => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_run_without_an_id_is_found_by_its_record() {
    let ours = |state| Run { record: RECORD, ..run(77, "2026-11-25T10:00:00Z", "1.41.2").state(state) };
    let theirs = Run { record: "bbbbbbbbbbbbbbbbbbbbbbbbbb", ..run(76, "2026-11-25T10:00:00Z", "1.41.2") };
    for server in BOTH {
        for (runs, expected) in [
            (vec![theirs.clone(), ours("under way")], Some(OperationState::Running { poll_after_seconds: 15 })),
            (vec![ours("succeeded"), theirs.clone()], Some(OperationState::Succeeded)),
            (vec![theirs.clone()], None),
        ] {
            let azure = FakeAzure::start().await;
            serve(server, &azure, &runs);
            let state = adapter(server, &azure).poll(&json!({"decision": RECORD})).await.unwrap();
            match expected {
                Some(expected) => assert_eq!(state, expected),
                None => {
                    assert!(matches!(&state, OperationState::Unknown { says } if says.contains("none with our id")), "{state:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_is_told_while_it_is_followed() {
    let waiting = Run { record: RECORD, ..run(77, "2026-11-25T09:00:00Z", "1.41.2").state("under way") };
    let waits = |name: &str, server: &str| OperationState::WaitsForAPerson {
        says: format!("{name}, asked for by record {RECORD} waits for an approval in {server}"),
        poll_after_seconds: 15,
    };
    let azure = FakeAzure::start().await;
    azure.on("GET /contoso/Shop%20Legacy/_apis/build/builds/77", [Reply::json(200, &waiting.build())]);
    let timeline = |state: &str| json!({"records": [{"type": "Stage", "state": "pending"}, {"type": "Checkpoint.Approval", "state": state}]});
    let on = |state| Reply::json(200, &timeline(state));
    azure.on(
        "GET /contoso/Shop%20Legacy/_apis/build/builds/77/timeline",
        [on("inProgress"), on("completed"), Reply::empty(204), Reply::empty(500)],
    );
    let running = OperationState::Running { poll_after_seconds: 15 };
    for expected in [waits("run 20261125.77", "Azure DevOps"), running.clone(), running.clone(), running] {
        let operation = json!({"run": 77, "decision": RECORD});
        assert_eq!(adapter(AzureDevOps, &azure).poll(&operation).await.unwrap(), expected);
    }
    let mut github = waiting.workflow_run();
    github["status"] = json!("waiting");
    azure.on("GET /repos/contoso/legacy/actions/runs/77", [Reply::json(200, &github)]);
    let state = adapter(GitHub, &azure).poll(&json!({"run": 77, "decision": RECORD})).await.unwrap();
    assert_eq!(state, waits("run #77", "GitHub"));
}

#[tokio::test]
async fn preflight_asks_as_the_one_who_acts_whether_runs_are_taken() {
    let status = |key: &str, word: &str| Reply::json(200, &json!({ key: word }));
    let rows = [
        (AzureDevOps, status("queueStatus", "enabled"), None),
        (AzureDevOps, status("queueStatus", "disabled"), Some((ObstacleWeight::Page, "is `disabled` in Azure DevOps"))),
        (AzureDevOps, status("queueStatus", "paused"), Some((ObstacleWeight::Page, "is `paused`"))),
        (AzureDevOps, Reply::text(203, "<html>"), Some((ObstacleWeight::Page, "asks for a sign-in"))),
        (GitHub, status("state", "active"), None),
        (GitHub, status("state", "disabled_inactivity"), Some((ObstacleWeight::Page, "is `disabled_inactivity` in GitHub"))),
        (GitHub, Reply::empty(404), Some((ObstacleWeight::Page, "was deleted"))),
        (GitHub, Reply::empty(503), Some((ObstacleWeight::Propose, "could not be checked"))),
        (GitHub, status("other", ""), Some((ObstacleWeight::Propose, "could not be told"))),
    ];
    for (server, reply, expected) in rows {
        let azure = FakeAzure::start().await;
        azure.on(if server == AzureDevOps { DEFINITION } else { WORKFLOW }, [reply]);
        let preflight = adapter(server, &azure).preflight().await.unwrap();
        assert_eq!(preflight.ways_back, []);
        match (preflight.obstacles.as_slice(), expected) {
            ([], None) => {}
            ([obstacle], Some((weight, says))) => {
                assert_eq!((obstacle.rule, obstacle.weight), (RuleId::S9, weight));
                assert!(obstacle.says.contains(says), "{}", obstacle.says);
            }
            (other, _) => panic!("{server:?} {other:?}"),
        }
        let token = if server == AzureDevOps { "Bearer actor-token" } else { "Bearer github-token" };
        assert!(azure.recorded().iter().all(|asked| asked.header("authorization") == Some(token)));
    }
}
