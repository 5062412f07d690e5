//! Container images and packages: how they name a rollout, which of them may be named again, and the calls that do it.

use backout::{
    domain::{
        observation::{Observation, ObstacleWeight},
        rollback::{Step, StepKind, Submission},
        rule::RuleId,
        target::{AppServiceWay, Fingerprint, FingerprintSource, RUN_FROM_PACKAGE, Target},
    },
    ports::{Platform, PortErrorKind},
};
use serde_json::{Value, json};

use super::{
    app_service::{Slot, default_observation, fence, moment, production, staging, summary, target},
    server::{FakeAzure, Reply, SITE},
};

const SWAP: &str = "swap|2026-11-25T10:02:31.2500000Z";
const GOOD: &str = "r.io/shop/app@sha256:0000000000000000000000000000000000000000000000000000000000000041";
const BAD: &str = "r.io/shop/app@sha256:0000000000000000000000000000000000000000000000000000000000000042";
const URL: &str = "https://store.test/app/41.zip";

/// The content that is offered, and what stands against it.
type Offer<'a> = Option<(&'a str, Vec<(RuleId, ObstacleWeight)>)>;

/// What an answer must be taken for.
type IsIt = fn(&Submission) -> bool;

fn container(slot: Slot, image: &str) -> Slot {
    slot.configured("/properties/linuxFxVersion", json!(format!("DOCKER|{image}")))
}

fn image(image: &str) -> Fingerprint {
    Fingerprint(format!("image:{image}"))
}

fn package(url: &str) -> Fingerprint {
    Fingerprint(format!("setting:{url}"))
}

fn by_package() -> Target {
    target(&["staging"], FingerprintSource::Setting(RUN_FROM_PACKAGE.to_owned()))
}

fn preferring(mut target: Target, ways: &[AppServiceWay]) -> Target {
    let Target::AppService(site) = &mut target else { panic!("not a site") };
    site.ways_back = ways.to_vec();
    target
}

#[tokio::test]
async fn an_image_is_a_part_of_the_rollouts_name() {
    let swapped = default_observation(&container(production(), BAD), &container(staging(), GOOD)).await;
    assert_eq!(swapped.running.token.0, format!("{SWAP}|image:{BAD}"));
    assert_eq!(swapped.running.serving_since, Some(moment("2026-11-25T10:02:31.25Z")));
    let never = container(production(), BAD).with("/properties/slotSwapStatus", Value::Null).without_log();
    let never = default_observation(&never, &staging()).await;
    assert_eq!(never.running.token.0, format!("swap|none|image:{BAD}"));
    assert_eq!(never.running.serving_since, None, "nobody tells when an image was set");
    // The content moves to another slot as it is; only the rollout has another name.
    assert_eq!(swapped.ways_back[0].fingerprint, Some(image(GOOD)));
}

/// What runs, what is proven, and the way that is offered: its content and what stands against it.
#[tokio::test]
async fn a_proven_image_is_offered_while_an_image_runs() {
    use ObstacleWeight::Propose;
    let (tag, other) = ("r.io/shop/app:41", GOOD.replace("r.io", "other.io"));
    let rows: Vec<(&str, Slot, Vec<Fingerprint>, Offer<'_>)> = vec![
        ("proven", container(production(), BAD), vec![image(GOOD)], Some((GOOD, vec![]))),
        ("nothing is proven", container(production(), BAD), vec![], None),
        ("only what runs is proven", container(production(), BAD), vec![image(BAD)], None),
        ("the last one counts", container(production(), BAD), vec![image(BAD), image(GOOD), image(tag)], Some((GOOD, vec![]))),
        ("a tag", container(production(), BAD), vec![image(tag)], Some((tag, vec![(RuleId::S5, Propose)]))),
        ("another registry", container(production(), BAD), vec![image(&other)], Some((&other, vec![(RuleId::S9, Propose)]))),
        ("code runs", production(), vec![image(GOOD)], None),
        ("code was proven", container(production(), BAD), vec![Fingerprint("deployment:old1".to_owned())], None),
        ("what is no reference", container(production(), BAD), vec![image("r.io/app:1|x")], None),
    ];
    for (name, production, proven, expected) in rows {
        let azure = FakeAzure::start().await;
        production.serve(&azure, SITE);
        let platform = azure.adapter(&target(&["staging"], FingerprintSource::Default));
        let observation = platform.observe().await.unwrap();
        let ways = platform.ways_back(&observation, &proven);
        let offered = ways.first().map(|way| {
            assert_eq!((way.name.as_str(), ways.len()), ("the image registry", 1), "{name}");
            (way.fingerprint.clone().unwrap(), summary(&way.obstacles), way.detail.clone())
        });
        let expected = expected.map(|(text, obstacles)| (image(text), obstacles, json!({"image": text})));
        assert_eq!(offered, expected, "{name}");
    }
}

#[tokio::test]
async fn the_ways_stand_in_the_policys_order_after_the_end_of_a_ramp() {
    use AppServiceWay::{Image, Slots};
    let azure = FakeAzure::start().await;
    container(production(), BAD).serve(&azure, SITE);
    container(staging(), GOOD).serve(&azure, &format!("{SITE}/slots/staging"));
    let (slot, registry) = ("slot staging", "the image registry");
    for (ways, names) in [
        (&[Slots, Image][..], &[slot, registry][..]),
        (&[Image, Slots], &[registry, slot]),
        (&[Image], &[registry]),
        (&[Slots], &[slot]),
    ] {
        let platform = azure.adapter(&preferring(target(&["staging"], FingerprintSource::Default), ways));
        let observation = platform.observe().await.unwrap();
        let offered = platform.ways_back(&observation, &[image(GOOD)]);
        assert_eq!(offered.iter().map(|way| way.name.as_str()).collect::<Vec<_>>(), names, "{ways:?}");
        // Looked at again with this content alone, each is found under its name.
        for way in &offered {
            let again = platform.ways_back(&platform.observe().await.unwrap(), &[way.fingerprint.clone().unwrap()]);
            assert!(again.contains(way), "{again:#?}");
        }
    }
    let rule = json!([{"actionHostName": "checkout-staging.test", "reroutePercentage": 20.0, "name": "staging"}]);
    let ramped = container(production(), BAD).configured("/properties/experiments/rampUpRules", rule);
    ramped.serve(&azure, SITE);
    container(staging(), GOOD)
        .with("/properties/defaultHostName", json!("checkout-staging.test"))
        .deployed("next", true, 4, &json!({"end_time": "2026-11-25T10:20:00Z"}))
        .serve(&azure, &format!("{SITE}/slots/staging"));
    let platform = azure.adapter(&preferring(target(&["staging"], FingerprintSource::Default), &[Image, Slots]));
    let ways = platform.ways_back(&platform.observe().await.unwrap(), &[image(GOOD)]);
    assert_eq!(ways.iter().map(|way| way.name.as_str()).collect::<Vec<_>>(), ["slot production alone", slot]);
}

async fn image_step(platform: &dyn Platform) -> Step {
    let observation = platform.observe().await.unwrap();
    let way = platform.ways_back(&observation, &[image(GOOD)]).remove(0);
    let mut steps = platform.steps(&way, &fence());
    assert_eq!(steps.len(), 1);
    steps.remove(0)
}

#[tokio::test]
async fn an_image_is_set_by_one_patch() {
    let azure = FakeAzure::start().await;
    container(production(), BAD).serve(&azure, SITE);
    let patch = format!("PATCH {SITE}/config/web");
    let platform = azure.adapter(&target(&[], FingerprintSource::Default));
    let step = image_step(&*platform).await;
    assert_eq!(step.says, format!("set image `{GOOD}` in slot production of `checkout`"));
    assert_eq!(step.kind, StepKind::Convergent);
    let rows: Vec<(Reply, IsIt)> = vec![
        (Reply::json(200, &json!({"properties": {}})), |s| *s == Submission::Done),
        (Reply::empty(409), |s| matches!(s, Submission::Busy { .. })),
        (Reply::json(409, &json!({"error": {"code": "ScopeLocked", "message": "locked"}})), |s| {
            matches!(s, Submission::Refused { .. })
        }),
        (Reply::empty(403), |s| matches!(s, Submission::Refused { .. })),
        (Reply::empty(404), |s| matches!(s, Submission::Refused { .. })),
        (Reply::empty(429).with("retry-after", "17"), |s| matches!(s, Submission::NotSent { retry_after_seconds: Some(17), .. })),
        (Reply::empty(504), |s| matches!(s, Submission::Unknown { .. })),
    ];
    for (reply, is_it) in rows {
        let before = azure.recorded().len();
        azure.on(&patch, [reply]);
        let submission = platform.submit(&step).await;
        assert!(is_it(&submission), "{submission:?}");
        let recorded = azure.recorded().split_off(before);
        assert_eq!(
            (recorded.len(), recorded[0].line(), recorded[0].query.as_str()),
            (1, patch.clone(), "api-version=2025-05-01")
        );
        let body: Value = serde_json::from_str(&recorded[0].body).unwrap();
        assert_eq!(body, json!({"properties": {"linuxFxVersion": format!("DOCKER|{GOOD}")}}), "and nothing else");
        assert_eq!(recorded[0].header("authorization"), Some("Bearer actor-token"));
    }
}

#[tokio::test]
async fn what_the_policy_does_not_list_is_not_sent() {
    let azure = FakeAzure::start().await;
    let slots = azure.adapter(&preferring(target(&["staging"], FingerprintSource::Default), &[AppServiceWay::Slots]));
    let images = azure.adapter(&preferring(target(&["staging"], FingerprintSource::Default), &[AppServiceWay::Image]));
    let step = |detail: Value| Step { says: "x".to_owned(), kind: StepKind::Convergent, detail };
    let rows = [
        (&slots, json!({"image": GOOD})),
        (&slots, json!({"package": URL, "insteadOf": URL})),
        (&images, json!({"slot": "staging"})),
        (&images, json!({"image": "r.io/app|x"})),
        (&images, json!({"image": ""})),
    ];
    for (platform, detail) in rows {
        let submission = platform.submit(&step(detail.clone())).await;
        assert!(matches!(submission, Submission::Refused { .. }), "{detail} {submission:?}");
    }
    assert!(azure.recorded().is_empty());
}

#[tokio::test]
async fn another_serving_slot_has_a_configuration_of_its_own() {
    let azure = FakeAzure::start().await;
    let Target::AppService(mut site) = target(&[], FingerprintSource::Default) else { panic!("not a site") };
    site.serving_slot = "live".to_owned();
    container(production(), BAD).serve(&azure, &format!("{SITE}/slots/live"));
    azure.on(&format!("PATCH {SITE}/slots/live/config/web"), [Reply::json(200, &json!({}))]);
    let platform = azure.adapter(&Target::AppService(site));
    assert_eq!(platform.submit(&image_step(&*platform).await).await, Submission::Done);
    let actions: Vec<String> = platform.rights().into_iter().map(|right| right.action).collect();
    assert!(actions.contains(&"Microsoft.Web/sites/slots/config/write".to_owned()), "{actions:?}");
}

/// A slot whose setting has this value.
fn packaged(slot: Slot, value: &str) -> Slot {
    slot.set("DB", json!("hunter2")).set(RUN_FROM_PACKAGE, json!(value))
}

async fn observed(value: &str) -> Observation {
    let azure = FakeAzure::start().await;
    packaged(production(), value).serve(&azure, SITE);
    azure.adapter(&by_package()).observe().await.unwrap()
}

#[tokio::test]
async fn a_package_names_content_and_rollout_without_its_signature() {
    let plain = observed(URL).await.running;
    assert_eq!((plain.fingerprint, plain.token.0), (Some(package(URL)), format!("{SWAP}|setting:{URL}")));
    assert_eq!(plain.label, "41.zip (swapped in from staging at 10:02:31Z)");
    let signed = observed(&format!("{URL}?sv=2026&sig=hunter2{}", "x".repeat(300))).await;
    assert_eq!(signed.running.fingerprint, Some(package(&format!("{URL}?"))));
    assert!(!format!("{signed:?}").contains("hunter2"), "{signed:?}");
    for (value, why) in [("1", "lies in the app itself"), ("0", "does not run from a package"), ("app.zip", "is no URL")] {
        let running = observed(value).await.running;
        assert_eq!((running.fingerprint, running.token.0.as_str()), (None, SWAP), "{value}");
        assert!(running.label.contains(why), "{}", running.label);
    }
}

#[tokio::test]
async fn a_package_that_cannot_be_read_makes_no_other_rollout() {
    let azure = FakeAzure::start().await;
    packaged(production(), URL).serve(&azure, SITE);
    azure.on(&format!("POST {SITE}/config/appsettings/list"), [Reply::empty(403)]);
    let error = azure.adapter(&by_package()).observe().await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn a_proven_package_is_offered_unless_it_needs_a_signature() {
    use ObstacleWeight::{Page, Propose};
    let (bad, signed) = ("https://store.test/app/42.zip", format!("{URL}?"));
    let signed_bad = format!("{bad}?sig=hunter2");
    let rows: Vec<(&str, &str, Vec<Fingerprint>, Offer<'_>)> = vec![
        ("proven", bad, vec![package(URL)], Some((URL, vec![]))),
        ("nothing is proven", bad, vec![], None),
        ("only what runs is proven", bad, vec![package(bad)], None),
        ("it needs a signature", bad, vec![package(&signed)], Some((&signed, vec![(RuleId::S5, Page)]))),
        ("an older one needs none", bad, vec![package(&signed), package(URL)], Some((URL, vec![]))),
        ("what runs has one", &signed_bad, vec![package(URL)], Some((URL, vec![(RuleId::S9, Propose)]))),
        ("what runs has no name", "1", vec![package(URL)], None),
    ];
    for (name, runs, proven, expected) in rows {
        let azure = FakeAzure::start().await;
        packaged(production(), runs).serve(&azure, SITE);
        let platform = azure.adapter(&by_package());
        let ways = platform.ways_back(&platform.observe().await.unwrap(), &proven);
        let offered = ways.first().map(|way| (way.fingerprint.clone().unwrap(), summary(&way.obstacles)));
        assert_eq!(offered, expected.map(|(url, obstacles)| (package(url), obstacles)), "{name}");
        assert!(ways.iter().all(|way| way.name == "the package store"), "{name}");
    }
    // Another setting of the same words is none.
    let azure = FakeAzure::start().await;
    production().set("RELEASE_ID", json!(bad)).serve(&azure, SITE);
    let platform = azure.adapter(&target(&[], FingerprintSource::Setting("RELEASE_ID".to_owned())));
    assert_eq!(platform.ways_back(&platform.observe().await.unwrap(), &[package(URL)]), []);
}

#[tokio::test]
async fn a_package_is_set_by_reading_all_settings_and_writing_them_back() {
    let azure = FakeAzure::start().await;
    packaged(production(), "https://store.test/app/42.zip?sig=hunter3").serve(&azure, SITE);
    let (list, put) = (format!("POST {SITE}/config/appsettings/list"), format!("PUT {SITE}/config/appsettings"));
    let platform = azure.adapter(&by_package());
    let way = platform.ways_back(&platform.observe().await.unwrap(), &[package(URL)]).remove(0);
    let step = platform.steps(&way, &fence()).remove(0);
    assert_eq!(
        (step.says.as_str(), step.kind),
        ("let slot production of `checkout` run from package 41.zip", StepKind::Convergent)
    );
    let kept = serde_json::to_string(&(&way, &step)).unwrap();
    assert!(!kept.contains("hunter"), "{kept}");

    azure.on(&put, [Reply::json(200, &json!({}))]);
    let before = azure.recorded().len();
    assert_eq!(platform.submit(&step).await, Submission::Done);
    let recorded = azure.recorded().split_off(before);
    assert_eq!(recorded.iter().map(super::server::Recorded::line).collect::<Vec<_>>(), [list.clone(), put.clone()]);
    assert_eq!(recorded[0].header("authorization"), Some("Bearer reader-token"));
    assert_eq!(recorded[1].header("authorization"), Some("Bearer actor-token"));
    let body: Value = serde_json::from_str(&recorded[1].body).unwrap();
    let settings = json!({"RELEASE_ID": "new1", "PASSWORD": "hunter2", "DB": "hunter2", RUN_FROM_PACKAGE: URL});
    assert_eq!(body, json!({"properties": settings}), "all others as they were");
    for (status, is_busy) in [(409, true), (403, false)] {
        azure.on(&put, [Reply::empty(status)]);
        let submission = platform.submit(&step).await;
        assert_eq!(matches!(submission, Submission::Busy { .. }), is_busy, "{submission:?}");
        assert_eq!(matches!(submission, Submission::Refused { .. }), !is_busy, "{submission:?}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_read_or_changed_meanwhile_are_not_written() {
    let azure = FakeAzure::start().await;
    packaged(production(), "https://store.test/app/42.zip").serve(&azure, SITE);
    let list = format!("POST {SITE}/config/appsettings/list");
    let platform = azure.adapter(&by_package());
    let way = platform.ways_back(&platform.observe().await.unwrap(), &[package(URL)]).remove(0);
    let step = platform.steps(&way, &fence()).remove(0);
    let value = |value: &str| Reply::json(200, &json!({"properties": {RUN_FROM_PACKAGE: value, "DB": "hunter2"}}));
    let rows: Vec<(Reply, IsIt)> = vec![
        (Reply::empty(500), |s| matches!(s, Submission::NotSent { .. })),
        (Reply::empty(429).with("retry-after", "9"), |s| matches!(s, Submission::NotSent { retry_after_seconds: Some(9), .. })),
        (Reply::empty(403), |s| matches!(s, Submission::NotSent { .. })),
        (Reply::json(200, &json!({"value": []})), |s| matches!(s, Submission::Refused { .. })),
        (
            value("https://store.test/app/43.zip"),
            |s| matches!(s, Submission::Refused { says } if says.contains("another package")),
        ),
        (value("1"), |s| matches!(s, Submission::Refused { .. })),
        (Reply::json(200, &json!({"properties": {"DB": "hunter2"}})), |s| matches!(s, Submission::Refused { .. })),
        // It is set already: nothing is to be written.
        (value(URL), |s| *s == Submission::Done),
    ];
    for (reply, is_it) in rows {
        azure.on(&list, [reply]);
        let submission = platform.submit(&step).await;
        assert!(is_it(&submission), "{submission:?}");
        assert!(!format!("{submission:?}").contains("hunter2"));
    }
    assert!(azure.recorded().iter().all(|recorded| recorded.method != "PUT"));
}

#[tokio::test]
async fn each_way_asks_for_its_own_rights() {
    use AppServiceWay::{Image, Package, Slots};
    const SWAP_ACTION: &str = "Microsoft.Web/sites/slots/slotsswap/action";
    const WRITE: &str = "Microsoft.Web/sites/config/write";
    const POLL: [&str; 2] = ["Microsoft.Web/sites/operationresults/read", "Microsoft.Web/sites/slots/operationresults/read"];
    let azure = FakeAzure::start().await;
    let rights = |ways: &[AppServiceWay]| {
        let rights = azure.adapter(&preferring(by_package(), ways)).rights();
        rights.into_iter().map(|right| right.action).collect::<Vec<_>>()
    };
    assert_eq!(rights(&[Slots]), [SWAP_ACTION, POLL[0], POLL[1], WRITE]);
    assert_eq!(rights(&[Slots, Image]), rights(&[Slots]), "an image needs no more than a ramp's end");
    assert_eq!(rights(&[Image]), [WRITE]);
    assert_eq!(rights(&[Package]), [WRITE, "Microsoft.Web/sites/config/list/action"]);
}
