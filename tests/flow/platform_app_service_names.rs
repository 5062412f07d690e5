//! A site whose earlier build no slot holds any more: its image or its package is named again, on virtual time.

use std::sync::{Arc, Mutex};

use backout::{
    domain::{
        approval::Verdict,
        decision::{Decision, DecisionKind},
        record::{Record, RecordId},
        rollback::RollbackState,
        rule::RuleId,
        target::{AppServiceWay, FingerprintSource, RUN_FROM_PACKAGE, sha256_hex},
    },
    ports::Key,
    process::Ports,
    sim::{Delivery, Fault, FaultBody, FaultEffect, LockLevel, Moment},
};

use crate::support::{
    lethal::Death,
    meddled::{Meddled, Meddling},
    slots::{BAD, GOOD, NEXT, SlotScene},
};

fn told(record: &Record) -> String {
    format!("{:?} {:#?} {:#?}", record.rollback, record.decision, record.timeline)
}

fn status(moment: Moment, status: u16) -> FaultEffect {
    FaultEffect::Status { moment, status, body: FaultBody::Empty }
}

async fn images() -> SlotScene {
    SlotScene::delivering(Delivery::Image, FingerprintSource::Default).await
}

async fn packages() -> SlotScene {
    SlotScene::delivering(Delivery::Package, FingerprintSource::Setting(RUN_FROM_PACKAGE.to_owned())).await
}

fn image(build: &str) -> String {
    format!("registry.example.com/app@sha256:{}", sha256_hex(build.as_bytes()))
}

#[track_caller]
fn says(decision: &Decision, rule: RuleId, part: &str) {
    let found = decision.reasons.iter().any(|reason| reason.rule == rule && reason.says.contains(part));
    assert!(found, "no {rule} says `{part}`: {decision:#?}");
}

#[tokio::test]
async fn a_staging_slot_that_was_redeployed_leaves_the_image() {
    let scene = images().await;
    let before = scene.observe().await.running;
    assert_eq!(before.token.0, format!("swap|none|image:{}", image(GOOD)));
    let firing = scene.swap_and_redeploy("a1");
    let (process, other) = (scene.process(), scene.process());
    let (first, second) =
        tokio::join!(process.alert_received(firing.clone(), &scene.policy), other.alert_received(firing.clone(), &scene.policy));
    assert!(first.is_ok() && second.is_ok());
    for _ in 0..3 {
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    }
    scene.run(&process, 40).await;
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    let record = scene.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
    assert_eq!((scene.patches(), scene.swaps()), ((1, 1), (0, 0)));
    assert_eq!(scene.builds(), (GOOD.to_owned(), NEXT.to_owned()));
    let decision = record.decision.unwrap();
    says(&decision, RuleId::S5, "held by the image registry, served from 2026-03-02T03:00:00Z to 2026-03-02T03:40:00Z");
    let receipt = process.receipt(&record.receipt.unwrap()).await.unwrap().unwrap();
    assert_eq!(receipt.steps, [format!("set image `{}` in slot production of `shop`", image(GOOD))]);
    assert!(receipt.token.unwrap().ends_with(&format!("|image:{}", image(BAD))));
    let patch = scene.azure.journal().into_iter().find(|entry| entry.method == "PATCH").unwrap();
    assert_eq!(patch.identity.as_deref(), Some("actor"));
    // What was known when the rollback was decided is in the stored case, the named way included.
    let inputs = scene.ports.store.read(&Key::new(record.decided_from.unwrap().key)).await.unwrap().unwrap();
    let inputs: serde_json::Value = serde_json::from_slice(&inputs.body).unwrap();
    let ways = inputs.pointer("/value/services/0/observation/is/waysBack").unwrap().as_array().unwrap();
    let names: Vec<&str> = ways.iter().map(|way| way["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["slot staging", "the image registry"]);
}

#[tokio::test]
async fn the_policy_orders_the_ways() {
    use AppServiceWay::{Image, Slots};
    // Staging still holds the good build: a swap, unless the policy prefers the image.
    for (ways, swaps, patches) in
        [(&[Slots, Image][..], (1, 1), (0, 0)), (&[Image, Slots], (0, 0), (1, 1)), (&[Image], (0, 0), (1, 1))]
    {
        let scene = images().await.preferring(ways);
        scene.azure.deploy(&scene.site, "staging", BAD);
        scene.azure.swap_now(&scene.site, "staging", "production").unwrap();
        scene.minutes_pass(8);
        let (firing, process) = (scene.firing("a1"), scene.process());
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 40).await;
        let record = scene.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{ways:?} {}", told(&record));
        assert_eq!((scene.swaps(), scene.patches()), (swaps, patches), "{ways:?}");
    }
    // Not listed is not done.
    let scene = images().await.preferring(&[Slots]);
    let firing = scene.swap_and_redeploy("a1");
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 40).await;
    let decision = scene.record(&firing).await.decision.unwrap();
    assert_ne!(decision.kind, DecisionKind::Act, "{decision:#?}");
    assert_eq!((scene.swaps(), scene.patches()), ((0, 0), (0, 0)));
}

#[tokio::test]
async fn an_image_set_straight_in_production_is_taken_back_and_never_twice() {
    let scene = images().await.preferring(&[AppServiceWay::Image]);
    let process = scene.process();
    let firing = scene.set_in_production(BAD, "a1").await;
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 40).await;
    let record = scene.record(&firing).await;
    assert_eq!((record.rollback, scene.patches()), (Some(RollbackState::Recovered), (1, 1)), "{}", told(&record));
    assert_eq!(scene.observe().await.running.token.0, format!("swap|none|image:{}", image(GOOD)), "as it was before");

    // The same bad image by hand has its old token: a person looks.
    scene.minutes_pass(60);
    let again = scene.set_in_production(BAD, "a2").await;
    process.alert_received(again.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 40).await;
    let decision = scene.record(&again).await.decision.unwrap();
    assert_eq!((decision.kind, scene.patches()), (DecisionKind::Page, (1, 1)), "{decision:#?}");
    says(&decision, RuleId::A1, "already taken back");

    // Another bad image goes back to the same good one: what was taken back lies between no more.
    scene.azure.deploy(&scene.site, "production", GOOD);
    scene.sweep().await;
    // Longer than signals are looked at before a fault (C1).
    scene.minutes_pass(150);
    scene.azure.set_error_share("build-44", 0.4);
    let next = backout::domain::alert::Alert {
        rule: Some("checkout-slow".to_owned()),
        ..scene.set_in_production("build-44", "a3").await
    };
    process.alert_received(next.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 60).await;
    let record = scene.record(&next).await;
    assert_eq!((record.rollback, scene.patches()), (Some(RollbackState::Recovered), (2, 2)), "{}", told(&record));
    assert_eq!(scene.builds().0, GOOD);
}

#[tokio::test]
async fn a_start_that_only_two_readings_enclose_is_no_clear_cause_of_a_fault_between_them() {
    let scene = images().await.preferring(&[AppServiceWay::Image]);
    let process = scene.process();
    scene.sweep().await;
    scene.azure.deploy(&scene.site, "production", BAD);
    scene.minutes_pass(6);
    scene.sweep().await;
    scene.minutes_pass(4);
    let firing = scene.firing("a1");
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 20).await;
    let decision = scene.record(&firing).await.decision.unwrap();
    assert_eq!((decision.kind, scene.patches()), (DecisionKind::Propose, (0, 0)), "{decision:#?}");
    says(&decision, RuleId::C1, "which may be after the fault began");

    // The fault is none of the build's: it goes on after going back, and for longer than what was measured before it. Nor is it what is
    // usual, although nothing tells any more when the bad image came: the good one has its old token again.
    scene.azure.change_error_share(GOOD, 0.33);
    scene.run(&process, 30).await;
    process.answer(&RecordId::of(&firing), Verdict::Approved, "ben").await.unwrap();
    scene.run(&process, 60).await;
    let record = scene.record(&firing).await;
    assert_eq!((record.rollback, scene.patches()), (Some(RollbackState::NotRecovered), (1, 1)), "{}", told(&record));
}

#[tokio::test]
async fn an_image_set_after_a_swap_did_not_begin_with_the_swap() {
    let scene = images().await;
    scene.azure.deploy(&scene.site, "staging", "build-40");
    scene.azure.set_error_share("build-40", 0.001);
    scene.azure.swap_now(&scene.site, "staging", "production").unwrap();
    scene.sweep().await;
    scene.minutes_pass(40);
    let firing = scene.set_in_production(BAD, "a1").await;
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 40).await;
    let record = scene.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
    assert_eq!(
        (scene.builds().0.as_str(), scene.patches()),
        ("build-40", (1, 1)),
        "what ran since the swap, not what staging holds"
    );
}

/// How a call may go wrong: the fault, requests and effects in the end, and the state that is told.
#[tokio::test]
async fn every_answer_to_an_image_ends_in_a_state_that_says_what_is_so() {
    let rows = [
        (FaultEffect::Reset { moment: Moment::AfterEffect }, (1, 1), RollbackState::Recovered),
        (status(Moment::AfterEffect, 504), (1, 1), RollbackState::Recovered),
        // Nothing happened: after the quiet time a convergent call is sent once more.
        (FaultEffect::Reset { moment: Moment::BeforeEffect }, (2, 1), RollbackState::Recovered),
        (status(Moment::BeforeEffect, 500), (2, 1), RollbackState::Recovered),
        (status(Moment::BeforeEffect, 409), (2, 1), RollbackState::Recovered),
        (FaultEffect::Throttle { retry_after_seconds: 20 }, (2, 1), RollbackState::Recovered),
        (status(Moment::BeforeEffect, 403), (1, 0), RollbackState::Failed),
    ];
    for (effect, requests, state) in rows {
        let scene = images().await;
        let firing = scene.swap_and_redeploy("a1");
        scene.azure.inject(Fault::on("PATCH", "/config/web", effect.clone()));
        let process = scene.process();
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 60).await;
        let record = scene.record(&firing).await;
        assert_eq!(record.rollback, Some(state), "{effect:?}: {}", told(&record));
        assert_eq!((scene.patches(), scene.swaps()), (requests, (0, 0)), "{effect:?}");
    }
}

#[tokio::test]
async fn what_changed_meanwhile_is_left_alone() {
    for way in [AppServiceWay::Image, AppServiceWay::Package] {
        let scene = match way {
            AppServiceWay::Package => packages().await,
            AppServiceWay::Image | AppServiceWay::Slots => images().await,
        };
        let scene = scene.preferring(&[way]);
        let firing = scene.set_in_production(BAD, "a1").await;
        let site = scene.site.clone();
        let roll_forward: Meddling = Box::new(move |azure| azure.deploy(&site, "production", NEXT));
        let platforms = Arc::new(Meddled {
            real: scene.ports.platforms.clone(),
            azure: scene.azure.clone(),
            // The first look decides, the second one comes just before the call.
            meddling: Arc::new(Mutex::new(Some((1, roll_forward)))),
        });
        let process = scene.process_over(Ports { platforms, ..scene.ports.clone() });
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 30).await;
        let record = scene.record(&firing).await;
        assert_eq!((scene.patches(), scene.puts()), ((0, 0), (0, 0)), "{way:?} {}", told(&record));
        assert_eq!(scene.builds().0, NEXT, "{way:?}");
        assert!(record.timeline.iter().any(|entry| entry.what.contains("does not run any more")), "{way:?} {}", told(&record));
    }
}

#[tokio::test]
async fn a_tag_is_left_to_a_person() {
    let scene = SlotScene::delivering(Delivery::TaggedImage, FingerprintSource::Default).await;
    let firing = scene.swap_and_redeploy("a1");
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 20).await;
    let decision = scene.record(&firing).await.decision.unwrap();
    assert_eq!((decision.kind, scene.patches()), (DecisionKind::Propose, (0, 0)), "{decision:#?}");
    says(&decision, RuleId::S5, "named by a tag, which may have been pushed again");
    assert_eq!(decision.accused.unwrap().way_back.unwrap().label, format!("app:{GOOD}"));
}

#[tokio::test]
async fn what_closes_the_way_is_told_before_anything_is_sent() {
    for lock in [false, true] {
        let scene = images().await.preferring(&[AppServiceWay::Image]);
        let firing = scene.swap_and_redeploy("a1");
        if lock {
            scene.azure.set_lock(&scene.site, Some(LockLevel::ReadOnly));
        } else {
            scene.azure.revoke(Some("actor"), "Microsoft.Web/sites/config/write");
        }
        let process = scene.process();
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 30).await;
        let decision = scene.record(&firing).await.decision.unwrap();
        assert_eq!((decision.kind, scene.patches()), (DecisionKind::Page, (0, 0)), "{decision:#?}");
        let part = if lock { "`ReadOnly` lock" } else { "acting identity lacks `Microsoft.Web/sites/config/write`" };
        says(&decision, RuleId::S9, part);
    }
}

/// The whole story with one death; returns the number of calls through the ports when nobody dies.
async fn story_with(death: Option<Death>) -> u64 {
    let scene = Box::pin(images()).await;
    let firing = scene.swap_and_redeploy("a1");
    let calls = Box::pin(scene.live_through(&firing, death)).await;
    let record = scene.record(&firing).await;
    let says = format!("{death:?}: {}", told(&record));
    assert_eq!((record.rollback, scene.builds().0.as_str()), (Some(RollbackState::Recovered), GOOD), "{says}");
    assert!((1..=2).contains(&scene.patches().0) && scene.swaps() == (0, 0), "{says}");
    calls
}

/// Every few calls only: each of these stories goes over HTTP.
#[tokio::test]
async fn a_death_at_any_call_ends_with_the_good_image() {
    const STRIDE: usize = 5;
    let calls = Box::pin(story_with(None)).await;
    assert!(calls > 40, "{calls} calls are a whole story");
    for (index, at_call) in (1..=calls).step_by(STRIDE).enumerate() {
        Box::pin(story_with(Some(Death { at_call, after_effect: index % 2 == 0 }))).await;
    }
}

#[tokio::test]
async fn the_package_that_served_before_is_named_again() {
    let rows = [
        (None, (1, 1)),
        (Some(FaultEffect::Reset { moment: Moment::AfterEffect }), (1, 1)),
        (Some(FaultEffect::Reset { moment: Moment::BeforeEffect }), (2, 1)),
        (Some(FaultEffect::Throttle { retry_after_seconds: 20 }), (2, 1)),
    ];
    for (effect, puts) in rows {
        let scene = packages().await.preferring(&[AppServiceWay::Package]);
        scene.azure.set_app_setting(&scene.site, "production", "DB_PASSWORD", "hunter2");
        let firing = scene.set_in_production(BAD, "a1").await;
        if let Some(effect) = &effect {
            scene.azure.inject(Fault::on("PUT", "/config/appsettings", effect.clone()));
        }
        let process = scene.process();
        for _ in 0..2 {
            process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        }
        scene.run(&process, 60).await;
        let record = scene.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{effect:?} {}", told(&record));
        assert_eq!((scene.puts(), scene.patches(), scene.swaps()), (puts, (0, 0), (0, 0)), "{effect:?}");
        assert_eq!(scene.builds().0, GOOD);
        let settings = scene.azure.app_settings(&scene.site, "production");
        assert_eq!(settings["DB_PASSWORD"], "hunter2", "the others stay");
        assert_eq!(settings["ENVIRONMENT_NAME"], "production");
        assert_eq!(settings[RUN_FROM_PACKAGE], format!("https://packages.example.com/app/{GOOD}.zip"));
        let stored = serde_json::to_string(&record).unwrap();
        assert!(!stored.contains("hunter2"), "{stored}");
        let decision = record.decision.unwrap();
        says(&decision, RuleId::S5, "build-41.zip, held by the package store, served from");
    }
}

#[tokio::test]
async fn a_package_with_a_signature_is_never_kept_nor_named_again() {
    let scene = packages().await;
    let signed = format!("https://packages.example.com/app/{GOOD}.zip?sv=1&sig=hunter2");
    scene.azure.set_app_setting(&scene.site, "production", RUN_FROM_PACKAGE, &signed);
    scene.sweep().await;
    scene.minutes_pass(40);
    // The scene began with the same package without a signature, which staging and history know: they are of another name.
    scene.azure.deploy(&scene.site, "staging", NEXT);
    let firing = scene.set_in_production(BAD, "a1").await;
    let observation = scene.observe().await;
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 30).await;
    let record = scene.record(&firing).await;
    let stored = format!("{} {observation:?}", serde_json::to_string(&record).unwrap());
    assert!(!stored.contains("hunter2"), "{stored}");
    assert_eq!(scene.puts(), (0, 0), "the plain one lies two rollouts back: {}", told(&record));
    let decision = record.decision.unwrap();
    assert_eq!(decision.kind, DecisionKind::Propose, "{decision:#?}");
    says(&decision, RuleId::S3, "2 deployments back");
}
