//! What the history of runs is taken for.

use std::{collections::BTreeSet, time::Duration};

use backout::{
    domain::{
        observation::{Observation, ObstacleWeight, WayBack},
        rule::RuleId,
    },
    ports::{Platform, PortErrorKind},
};
use serde_json::{Value, json};

use super::{AzureDevOps, BOTH, BUILDS, GitHub, RECORD, RUNS, Run, Server, adapter, run, serve};
use crate::platforms::server::{FakeAzure, Recorded, Reply};

/// How the newest successes of `main` are asked for.
const DEV_OPS_SUCCESSES: &str = "definitions=12&branchName=refs%2Fheads%2Fmain&resultFilter=succeeded&queryOrder=finishTimeDescending&%24top=20&api-version=7.1";
const GITHUB_SUCCESSES: &str = "branch=main&status=success&per_page=20&exclude_pull_requests=true";

async fn observe(server: Server, runs: &[Run]) -> Observation {
    let azure = FakeAzure::start().await;
    serve(server, &azure, runs);
    adapter(server, &azure).observe().await.unwrap()
}

fn names(ways: &[WayBack]) -> Vec<&str> {
    ways.iter().map(|way| way.name.as_str()).collect()
}

#[tokio::test]
async fn runs_are_read_with_the_reading_identity_in_one_trip() {
    let azure = FakeAzure::start().await;
    serve(AzureDevOps, &azure, &[run(5, "2026-11-25T09:00:00Z", "1.42.0")]);
    adapter(AzureDevOps, &azure).observe().await.unwrap();
    serve(GitHub, &azure, &[run(5, "2026-11-25T09:00:00Z", "1.42.0")]);
    adapter(GitHub, &azure).observe().await.unwrap();

    let recorded = azure.recorded();
    let of = |line: &str| recorded.iter().filter(|request| request.line() == line).collect::<Vec<_>>();
    let queries = |requests: &[&Recorded]| requests.iter().map(|request| request.query.clone()).collect::<BTreeSet<_>>();
    let (dev_ops, github) = (of(BUILDS), of(RUNS));
    assert_eq!((recorded.len(), dev_ops.len(), github.len()), (4, 2, 2), "{recorded:#?}");
    let asked = ["definitions=12&queryOrder=queueTimeDescending&%24top=100&api-version=7.1", DEV_OPS_SUCCESSES];
    assert_eq!(queries(&dev_ops), asked.map(str::to_owned).into());
    let asked = ["per_page=50&exclude_pull_requests=true", GITHUB_SUCCESSES];
    assert_eq!(queries(&github), asked.map(str::to_owned).into());
    let (dev_ops, github) = (dev_ops[0], github[0]);
    assert_eq!(dev_ops.header("authorization"), Some("Bearer reader-token"));
    assert_eq!(dev_ops.header("x-tfs-fedauthredirect"), Some("Suppress"));
    assert_eq!(github.header("authorization"), Some("Bearer github-token"));
    assert_eq!(github.header("accept"), Some("application/vnd.github+json"));
    assert_eq!(github.header("x-github-api-version"), Some("2022-11-28"));
    assert!(github.header("user-agent").is_some_and(|agent| agent.starts_with("backout/")));
}

#[tokio::test]
async fn the_newest_success_runs_and_earlier_versions_are_ways_back() {
    let runs = [
        run(9, "2026-11-25T09:00:00Z", "1.42.0"),
        run(8, "2026-11-25T08:00:00Z", "1.41.3").state("failed"),
        run(7, "2026-11-24T08:00:00Z", "1.41.2"),
        run(6, "2026-11-23T08:00:00Z", "1.42.0"),
        run(5, "2026-11-22T08:00:00Z", "1.41.2"),
        run(4, "2026-11-21T08:00:00Z", "1.41.1"),
    ];
    for server in BOTH {
        let seen = observe(server, &runs).await;
        let token = if server == AzureDevOps { "run|9|2026-11-25T09:00:00Z" } else { "run|9|1" };
        assert_eq!(seen.running.token.0, token);
        assert_eq!(seen.running.fingerprint.as_ref().map(|print| print.0.as_str()), Some("1.42.0"));
        assert_eq!(seen.running.serving_since, Some("2026-11-25T09:00:00Z".parse().unwrap()));
        let number = if server == AzureDevOps { "20261125.9" } else { "#9" };
        assert_eq!(seen.running.label, format!("1.42.0 (run {number}, ended at 09:00:00Z)"));
        assert_eq!(seen.observed_at, "2026-11-25T10:30:00Z".parse().unwrap());
        assert_eq!((seen.under_way, seen.obstacles), (None, vec![]), "a failure from before the success is over");
        assert_eq!(names(&seen.ways_back), ["version 1.41.2", "version 1.41.1"]);
        assert_eq!(seen.ways_back[0].fingerprint.as_ref().map(|print| print.0.as_str()), Some("1.41.2"));
        assert_eq!(seen.ways_back[0].detail, json!({"version": "1.41.2"}));
        assert!(seen.ways_back.iter().all(|way| way.obstacles.is_empty()));
    }
}

/// Pages full of runs that deploy nothing, and what the list of the branch's successes tells beside them.
#[tokio::test]
async fn what_runs_is_told_behind_pages_of_pull_requests() {
    let proposal = |id| Run { pull_request: true, ..run(id, "2026-11-25T10:00:00Z", "").branch("topic") };
    let page: Vec<Run> = (1..=100).rev().map(|at| proposal(1000 + at)).collect();
    let deployed = [run(9, "2026-11-25T09:00:00Z", "1.42.0"), run(7, "2026-11-24T08:00:00Z", "1.41.2")];
    // A fork's own `main`.
    let forks: Vec<Run> = (1..=20).rev().map(|at| proposal(900 + at).branch("main")).collect();
    for server in BOTH {
        let read = async |newest: &[Run], successes: &[Run]| {
            let azure = FakeAzure::start().await;
            serve(server, &azure, newest);
            let (line, list) = match server {
                AzureDevOps => {
                    let builds: Vec<Value> = successes.iter().map(Run::build).collect();
                    (format!("{BUILDS}?{DEV_OPS_SUCCESSES}"), json!({ "value": builds }))
                }
                GitHub => {
                    let all: Vec<Value> = successes.iter().map(Run::workflow_run).collect();
                    (format!("{RUNS}?{GITHUB_SUCCESSES}"), json!({ "workflow_runs": all }))
                }
            };
            azure.on(&line, [Reply::json(200, &list)]);
            adapter(server, &azure).observe().await
        };
        let seen = read(&page, &deployed).await.unwrap();
        assert!(seen.running.token.0.starts_with("run|9|"), "{server:?} {}", seen.running.token);
        assert_eq!(names(&seen.ways_back), ["version 1.41.2"], "{server:?}");

        // Started again, it is a success no more, whatever the other list still says.
        let again = [run(9, "2026-11-25T09:00:00Z", "1.42.0").state("under way")];
        let seen = read(&again, &deployed).await.unwrap();
        assert!(seen.running.token.0.starts_with("run|7|") && seen.under_way.is_some(), "{server:?} {seen:#?}");

        let error = read(&page, &forks).await.unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Invalid, "{server:?} {error}");
        assert!(error.says.contains("pull requests from branches of that name"), "{server:?} {error}");
        let seen = read(&page, &[]).await.unwrap();
        assert_eq!(seen.running.token.0, "run|none", "{server:?}: a list that ended tells it");
    }
}

/// One history of runs, and what it means.
struct Row {
    why: &'static str,
    runs: Vec<Run>,
    token: &'static str,
    version: Option<&'static str>,
    ways: &'static [&'static str],
    /// Obstacles, all of which ask a person.
    doubts: usize,
    under_way: bool,
}

#[tokio::test]
async fn what_runs_is_told_at_every_edge() {
    let (old, bad) = (run(1, "2026-11-24T08:00:00Z", "1.41.2"), run(2, "2026-11-25T08:00:00Z", "1.42.0"));
    let later = "2026-11-25T09:00:00Z";
    let rolled_back = Run { record: RECORD, ..run(3, later, "1.41.2") };
    let row = |why, runs, token, version, ways, doubts, under_way| Row { why, runs, token, version, ways, doubts, under_way };
    let (of_old, of_bad): (&'static [&'static str], &'static [&'static str]) = (&["version 1.41.2"], &["version 1.42.0"]);
    let rows = [
        row("nothing at all", vec![], "run|none", None, &[], 0, false),
        row("one version only", vec![old.clone()], "run|1|", Some("1.41.2"), &[], 0, false),
        row("after our own run", vec![rolled_back.clone(), bad.clone(), old.clone()], "run|3|", Some("1.41.2"), of_bad, 0, false),
        row(
            "ends decide, not numbers",
            vec![run(0, later, "1.40.0"), bad.clone(), old.clone()],
            "run|0|",
            Some("1.40.0"),
            &["version 1.42.0", "version 1.41.2"],
            0,
            false,
        ),
        row(
            "a later failure",
            vec![run(3, later, "1.42.1").state("failed"), bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            1,
            false,
        ),
        row(
            "a later cancellation",
            vec![run(3, later, "1.42.1").state("canceled"), bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            1,
            false,
        ),
        row(
            "a later run goes on",
            vec![run(3, later, "1.42.1").state("under way"), bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            0,
            true,
        ),
        row(
            "another branch before",
            vec![bad.clone(), run(3, "2026-11-25T07:00:00Z", "x").branch("topic"), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            0,
            false,
        ),
        row(
            "another branch after",
            vec![run(3, later, "x").branch("topic"), bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            1,
            false,
        ),
        row(
            "a pull request after",
            vec![Run { pull_request: true, ..run(3, later, "x") }, bad.clone(), old.clone()],
            "run|2|",
            Some("1.42.0"),
            of_old,
            0,
            false,
        ),
        row("only failures", vec![bad.clone().state("failed")], "run|none", None, &[], 1, false),
        row("no fit version", vec![run(3, later, "1;reboot"), bad.clone()], "run|3|", None, of_bad, 0, false),
    ];
    for server in BOTH {
        for row in &rows {
            let seen = observe(server, &row.runs).await;
            let why = format!("{server:?}: {}: {seen:#?}", row.why);
            assert!(seen.running.token.0.starts_with(row.token), "{why}");
            assert_eq!(seen.running.fingerprint.as_ref().map(|print| print.0.as_str()), row.version, "{why}");
            assert_eq!(names(&seen.ways_back), row.ways, "{why}");
            assert_eq!(seen.under_way.is_some(), row.under_way, "{why}");
            assert_eq!(seen.obstacles.len(), row.doubts, "{why}");
            assert!(seen.obstacles.iter().all(|o| o.rule == RuleId::S8 && o.weight == ObstacleWeight::Propose), "{why}");
        }
    }
}

#[tokio::test]
async fn a_run_without_a_version_deploys_its_commit() {
    let commit = "1111111111111111111111111111111111111111";
    let dev_ops = observe(AzureDevOps, &[run(2, "2026-11-25T08:00:00Z", "")]).await;
    assert_eq!(dev_ops.running.fingerprint.as_ref().map(|print| print.0.as_str()), Some(commit));
    assert!(dev_ops.running.label.starts_with("111111111111 (run"), "{}", dev_ops.running.label);

    let mut push = run(2, "2026-11-25T08:00:00Z", "").workflow_run();
    push["event"] = json!("push");
    push["display_title"] = json!("Claim that version=9.9.9 is here");
    let mut dispatched = push.clone();
    dispatched["event"] = json!("workflow_dispatch");
    dispatched["display_title"] = json!("Deploy");
    for (told, fingerprint) in [(push, Some(commit)), (dispatched, None)] {
        let azure = FakeAzure::start().await;
        azure.on(RUNS, [Reply::json(200, &json!({"workflow_runs": [told]}))]);
        let seen = adapter(GitHub, &azure).observe().await.unwrap();
        assert_eq!(seen.running.fingerprint.as_ref().map(|print| print.0.as_str()), fingerprint);
    }
}

#[tokio::test]
async fn a_run_started_again_is_another_rollout() {
    let mut again = run(2, "2026-11-25T08:00:00Z", "1.42.0").workflow_run();
    again["run_attempt"] = json!(2);
    let azure = FakeAzure::start().await;
    azure.on(RUNS, [Reply::json(200, &json!({"workflow_runs": [again]}))]);
    assert_eq!(adapter(GitHub, &azure).observe().await.unwrap().running.token.0, "run|2|2");
    // A stage of Azure DevOps that ran again ends the run again.
    let seen = observe(AzureDevOps, &[run(2, "2026-11-25T09:10:00Z", "1.42.0")]).await;
    assert_eq!(seen.running.token.0, "run|2|2026-11-25T09:10:00Z");
}

#[tokio::test]
async fn a_run_that_never_ran_leaves_no_doubt() {
    let success = run(2, "2026-11-25T08:00:00Z", "1.42.0");
    let mut canceled = run(3, "2026-11-25T09:00:00Z", "1.42.1").state("canceled").build();
    canceled["startTime"] = Value::Null;
    let azure = FakeAzure::start().await;
    azure.on(BUILDS, [Reply::json(200, &json!({"value": [canceled, success.build()]}))]);
    let seen = adapter(AzureDevOps, &azure).observe().await.unwrap();
    assert_eq!((seen.obstacles, seen.under_way), (vec![], None));
    for state in ["skipped", "startup_failure", "action_required"] {
        let seen = observe(GitHub, &[run(3, "2026-11-25T09:00:00Z", "1.42.1").state(state), success.clone()]).await;
        assert_eq!((seen.obstacles, seen.under_way, seen.running.token.0.as_str()), (vec![], None, "run|2|1"), "{state}");
    }
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_says_where() {
    let azure = FakeAzure::start().await;
    let waiting = Run { record: RECORD, ..run(3, "2026-11-25T09:00:00Z", "1.41.2").state("under way") };
    serve(AzureDevOps, &azure, &[waiting.clone(), run(2, "2026-11-25T08:00:00Z", "1.42.0")]);
    // Azure DevOps tells it in another answer, which is no part of this one trip; the call that follows the run reads it.
    let seen = adapter(AzureDevOps, &azure).observe().await.unwrap();
    assert_eq!(seen.under_way, Some(format!("run 20261125.3, asked for by record {RECORD}")));
    assert!(azure.recorded().iter().all(|request| request.line() == BUILDS), "{:#?}", azure.recorded());
    let mut github = waiting.workflow_run();
    github["status"] = json!("waiting");
    azure.on(RUNS, [Reply::json(200, &json!({"workflow_runs": [github]}))]);
    let seen = adapter(GitHub, &azure).observe().await.unwrap();
    assert_eq!(seen.under_way, Some(format!("run #3, asked for by record {RECORD} waits for an approval in GitHub")));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_by_its_kind() {
    let rows = [
        (BOTH.as_slice(), Reply::json(401, &json!({"message": "Bad credentials"})), PortErrorKind::Denied, "Bad credentials"),
        (&BOTH, Reply::empty(403), PortErrorKind::Denied, "403"),
        (&BOTH, Reply::json(404, &json!({"message": "Not Found"})), PortErrorKind::NotFound, "was deleted"),
        (&BOTH, Reply::empty(429), PortErrorKind::Throttled, "429"),
        (&BOTH, Reply::empty(503), PortErrorKind::Transient, "503"),
        (&BOTH, Reply::text(200, "<html>"), PortErrorKind::Invalid, "no JSON"),
        (&BOTH, Reply::json(200, &json!({})), PortErrorKind::Invalid, "makes no sense"),
        (&BOTH, Reply::empty(302).with("location", "https://elsewhere.test/"), PortErrorKind::Invalid, "not followed"),
        (&[AzureDevOps], Reply::text(203, "<html>Sign in</html>"), PortErrorKind::Denied, "asks for a sign-in"),
        (
            &[AzureDevOps],
            Reply::empty(302).with("location", "https://app.vssps.visualstudio.com/_signin?x=1"),
            PortErrorKind::Denied,
            "sign-in",
        ),
        (&[GitHub], Reply::empty(403).with("x-ratelimit-remaining", "0"), PortErrorKind::Throttled, "403"),
        (&[GitHub], Reply::empty(403).with("retry-after", "60"), PortErrorKind::Throttled, "403"),
    ];
    for (servers, reply, kind, says) in rows {
        for server in servers {
            let azure = FakeAzure::start().await;
            azure.on(if *server == AzureDevOps { BUILDS } else { RUNS }, [reply.clone()]);
            let error = adapter(*server, &azure).observe().await.unwrap_err();
            assert_eq!(error.kind, kind, "{server:?} {error}");
            assert!(error.says.contains(says), "{server:?} {error}");
        }
    }
}

/// Errors are told to people and kept, so they hold nothing of a body but the place where it makes no sense.
#[tokio::test]
async fn an_answer_that_makes_no_sense_is_not_repeated() {
    for (server, path, list) in [(AzureDevOps, BUILDS, "value"), (GitHub, RUNS, "workflow_runs")] {
        let rows =
            [(json!("hunter2 ".repeat(200)), ".".to_owned()), (json!({ list: [{"id": "hunter2"}] }), format!("{list}[0].id"))];
        for (answer, place) in rows {
            let azure = FakeAzure::start().await;
            azure.on(path, [Reply::json(200, &answer)]);
            let error = adapter(server, &azure).observe().await.unwrap_err();
            assert_eq!((error.kind, error.says), (PortErrorKind::Invalid, format!("the answer makes no sense at `{place}`")));
        }
    }
}

#[tokio::test]
async fn the_wait_that_github_asks_for_is_counted_by_its_own_clock() {
    let azure = FakeAzure::start().await;
    let limited = Reply::empty(403)
        .with("x-ratelimit-remaining", "0")
        .with("x-ratelimit-reset", "1795600890")
        .with("date", "Wed, 25 Nov 2026 10:00:00 GMT");
    azure.on(RUNS, [limited]);
    let error = adapter(GitHub, &azure).observe().await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(1_795_600_890 - 1_795_600_800)));
}

#[tokio::test]
async fn a_read_is_tried_twice_and_a_success_without_an_end_is_no_guess() {
    let azure = FakeAzure::start().await;
    let mut build = run(2, "2026-11-25T08:00:00Z", "1.42.0").build();
    build["finishTime"] = Value::Null;
    azure.on(BUILDS, [Reply::empty(502), Reply::json(200, &json!({"value": [build]}))]);
    let error = adapter(AzureDevOps, &azure).observe().await.unwrap_err();
    assert_eq!((error.kind, azure.recorded().len()), (PortErrorKind::Invalid, 3));
    assert!(error.says.contains("no time at which it ended"), "{error}");
}
