//! `backout local`, the real binary, takes its messages from simulated Service Bus queues: no host in between.

use std::{
    process::{Child, Command},
    time::Duration,
};

use backout::{
    cli::demo::stage::GOOD,
    domain::{decision::DecisionKind, record::Record, rollback::RollbackState, target::PlatformKind},
    sim::{Fault, FaultEffect, Moment, Wait},
};

use crate::support::{program::Program, scene::Scene};

/// Real time after which a story has failed, on any machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Virtual; ten seconds of real time, so that what a killed receiver held comes back within the story.
const LOCK: Duration = Duration::from_mins(10);

/// One process; killed when dropped.
struct Local {
    child: Child,
    /// What it said before it listened.
    said: Vec<String>,
}

impl Local {
    fn start(scene: &Scene) -> Self {
        let program = Program::new(["local", "--listen", "127.0.0.1:0", "--concurrency", "2"]);
        let (child, lines) = program.with(&scene.environment).start();
        let mut said = Vec::new();
        for line in lines {
            let listens = line.starts_with("listening");
            said.push(line);
            if listens {
                break;
            }
        }
        Self { child, said }
    }

    fn url(&self) -> &str {
        let line = self.said.last().expect("it said that it listens");
        line.split(' ').find(|word| word.starts_with("http://")).unwrap().trim_end_matches(';')
    }

    /// SIGTERM; the exit code once it has ended.
    async fn terminate(mut self) -> Option<i32> {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn within_patience<T>(story: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, story).await.expect("the story did not end in time")
}

fn assert_recovered(scene: &Scene, record: &Record) {
    let says = format!("{:#?}", record.timeline);
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{says}");
    assert_eq!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Act), "{says}");
    assert_eq!((scene.calls().len(), scene.effects()), (1, 1), "{says}");
    assert_eq!(scene.serves(), GOOD, "{says}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_in_the_queue_leads_to_a_recovery_without_a_host() {
    let mut scene = Scene::without_handlers(PlatformKind::AppService, LOCK).await;
    let local = Local::start(&scene);
    assert!(local.said.iter().any(|line| line.contains("Service Bus namespace `simulated.servicebus.windows.net`")));
    let record = within_patience(async {
        scene.looked_at().await;
        scene.break_it().await;
        let (body, id) = scene.alert();
        // One copy by the intake, one in the queue.
        let posted = reqwest::Client::new().post(format!("{}/alerts", local.url())).body(body.clone()).send().await.unwrap();
        assert_eq!(posted.status(), 202);
        scene.send("alerts", &body);
        scene.ended(&id).await;
        // Late enough to meet no other copy at the same moment.
        scene.wait_until(|| scene.azure.queue_length("alerts") + scene.azure.queue_length("deployments") == 0).await;
        scene.send("alerts", &body);
        scene.wait_until(|| scene.azure.queue_length("alerts") == 0).await;
        scene.ended(&id).await
    })
    .await;
    assert_recovered(&scene, &record);
    assert!(record.duplicates >= 1, "the late copy is counted: {:#?}", record.timeline);
    for queue in ["alerts", "deployments", "markers", "followups"] {
        assert_eq!(scene.azure.dead_letters(queue), [], "{queue}");
    }
    assert_eq!(local.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_in_the_middle_nothing_is_lost_and_one_swap_is_made() {
    let mut scene = Scene::without_handlers(PlatformKind::AppService, LOCK).await;
    let local = Local::start(&scene);
    let record = within_patience(async {
        scene.looked_at().await;
        scene.break_it().await;
        let late = FaultEffect::Delay { moment: Moment::AfterEffect, wait: Wait::Real(Duration::from_secs(1)) };
        scene.azure.inject(Fault::on("POST", "/slotsswap", late));
        let (body, id) = scene.alert();
        scene.send("alerts", &body);
        scene.wait_until(|| !scene.calls().is_empty()).await;
        assert_eq!(local.terminate().await, Some(0), "a clean end");
        let answered: Vec<_> = scene.calls().iter().map(|entry| entry.status).collect();
        assert_eq!(answered, [Some(202)], "the message in work came to its end");
        let _again = Local::start(&scene);
        scene.ended(&id).await
    })
    .await;
    assert_recovered(&scene, &record);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_on_the_same_queues_with_one_store_swap_once() {
    let mut scene = Scene::without_handlers(PlatformKind::AppService, LOCK).await;
    let _locals = [Local::start(&scene), Local::start(&scene)];
    let record = within_patience(async {
        scene.looked_at().await;
        scene.break_it().await;
        let (body, id) = scene.alert();
        for _ in 0..3 {
            scene.send("alerts", &body);
        }
        let record = scene.ended(&id).await;
        scene.wait_until(|| scene.azure.queue_length("alerts") == 0).await;
        record
    })
    .await;
    assert_recovered(&scene, &record);
}
