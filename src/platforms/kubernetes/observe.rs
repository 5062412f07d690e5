//! What a workload runs, since when, and which of its earlier revisions are kept.
//!
//! **Token.** `revision|UID|N`: the workload's uid and the number of its newest revision. The controller gives a revision that is
//! used again a new number, so the same content rolled out again is a new token.
//! **Fingerprint.** The pod template's content, so that it is the same before and after a rollback.
//! **Since when.** A ControllerRevision began when its controller gave it its number (`managedFields`). A ReplicaSet began when it
//! was made; one that is used again is older than its rollout, and then the earliest of two times counts that cannot lie before
//! it: the last change of the template, and the last progress of the rollout (the condition `Progressing`).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::Selector;
use serde_json::{Value, json};

use super::{
    Clusters, owners,
    progress::{Progress, partition, progress, progressing},
    wire::{REVISION, Reading, Revision, canonical, fingerprint, images, revisions},
};
use crate::{
    azure::answer::clean,
    domain::{
        observation::{Observation, Obstacle, RunningVersion, WayBack},
        rule::RuleId,
        target::{KubernetesTarget, VersionToken, WorkloadKind},
    },
    ports::{PortError, PortErrorKind},
};

/// One reading of a workload: all that an observation and a rollback need.
pub struct Readings {
    pub workload: Reading,
    /// The newest first.
    pub revisions: Vec<Revision>,
    /// The selector that found them.
    pub selector: String,
}

/// Earlier revisions that are told; more steps back than this is nothing to decide by night.
const WAYS_MAX: usize = 5;

/// Kinds without a deadline of their own are taken as stuck after this long, and no longer as under way.
const STUCK_AFTER: SignedDuration = SignedDuration::from_mins(30);

/// What a way back, and a step, remember.
pub mod detail {
    /// Uid of the workload.
    pub const WORKLOAD: &str = "workload";
    /// Number of the revision that runs.
    pub const FROM: &str = "from";
    /// Number and uid of the revision to go back to.
    pub const REVISION: &str = "revision";
    pub const REVISION_UID: &str = "revisionUid";
}

/// The name of that read, in errors.
pub const READ_WORKLOAD: &str = "read the workload";

/// Reads the workload and its revisions. `known_selector` is what an earlier reading found them by; it never changes.
pub async fn read(clusters: &Clusters, target: &KubernetesTarget, known_selector: Option<String>) -> Result<Readings, PortError> {
    let (workload, items) = clusters.ask(&target.cluster, async |cluster| cluster.read(target, known_selector).await).await?;
    let selector = selector(&workload)?;
    let revisions = revisions(target.kind, workload.uid(), items)?;
    Ok(Readings { workload, revisions, selector })
}

/// The workload's selector in `kubectl`'s spelling.
pub fn selector(workload: &Reading) -> Result<String, PortError> {
    let selector = Selector::try_from(workload.spec().selector.clone()).map(|selector| selector.to_string());
    selector.map_err(|_| {
        let says = "the workload's selector holds an operator that is not known";
        PortError::new("list the revisions", PortErrorKind::Invalid, says)
    })
}

/// The revision that the workload's template stands for, if the controller has made it.
///
/// Workload and revisions are read side by side, so they may show two moments: only where they agree is there an answer.
pub fn current(readings: &Readings) -> Option<&Revision> {
    let newest = readings.revisions.first();
    let template = || canonical(&readings.workload.spec().template);
    match &readings.workload {
        Reading::Deployment(deployment) => {
            let named = readings.workload.annotation(REVISION).and_then(|text| text.parse().ok());
            let numbered = readings.revisions.iter().find(|revision| Some(revision.number) == named)?;
            // While paused, a changed template runs nowhere.
            let runs = deployment.spec.paused == Some(true) || canonical(&numbered.template) == template();
            runs.then_some(numbered)
        }
        Reading::StatefulSet(set) => {
            let named = set.status.as_ref().and_then(|status| status.update_revision.as_deref());
            newest.filter(|newest| newest.metadata.name.as_deref() == named && canonical(&newest.template) == template())
        }
        Reading::DaemonSet(_) => newest.filter(|newest| canonical(&newest.template) == template()),
    }
}

/// What the answers mean. Pure.
pub fn interpret(target: &KubernetesTarget, readings: &Readings, observed_at: Timestamp) -> Observation {
    let workload = &readings.workload;
    let progress = progress(workload);
    let current = current(readings).filter(|revision| revision.number > 0);
    let mut obstacles = owners::obstacles(workload);
    against_any_rollback(target, workload, &progress, &mut obstacles);

    let since = current.and_then(|current| serving_since(workload, current));
    let stuck =
        target.kind != WorkloadKind::Deployment && since.is_some_and(|since| observed_at.duration_since(since) > STUCK_AFTER);
    let under_way = match (&progress, current) {
        (Progress::NotObserved, _) => Some("its controller has not seen the last change yet".to_owned()),
        (_, None) => Some("its controller has not made a revision of the last change yet".to_owned()),
        (Progress::Working { says, was_complete: false }, Some(current)) if stuck => {
            obstacles.push(Obstacle::propose(
                RuleId::S9,
                format!("the rollout of revision {} does not end: {says}; a person should look why", current.number),
            ));
            None
        }
        (Progress::Working { says, was_complete: false }, Some(current)) => {
            Some(format!("the rollout of revision {}: {says}", current.number))
        }
        (Progress::Working { .. } | Progress::Complete | Progress::GaveUp(_) | Progress::ByHand, Some(_)) => None,
    };
    let uid = workload.uid();
    let running = match current {
        Some(current) => RunningVersion {
            token: token(uid, current.number),
            fingerprint: Some(fingerprint(&current.template)),
            serving_since: since,
            label: label(current),
        },
        None => RunningVersion {
            token: token(uid, 0),
            fingerprint: None,
            serving_since: template_changed(workload),
            label: format!("the last change of {} `{}`", target.kind, target.name),
        },
    };
    let ways_back = current.map_or_else(Vec::new, |current| ways_back(workload, current, &readings.revisions));
    Observation { observed_at, running, under_way, ways_back, obstacles }
}

fn token(uid: &str, number: i64) -> VersionToken {
    VersionToken(format!("revision|{uid}|{number}"))
}

/// Every kept revision with other content than the running one, the newest first. Revision 0 was never numbered: no version.
fn ways_back(workload: &Reading, current: &Revision, revisions: &[Revision]) -> Vec<WayBack> {
    let running = fingerprint(&current.template);
    revisions
        .iter()
        .filter(|revision| revision.number > 0 && revision.uid() != current.uid())
        .map(|revision| (revision, fingerprint(&revision.template)))
        .filter(|(_, content)| *content != running)
        .take(WAYS_MAX)
        .map(|(revision, content)| WayBack {
            name: format!("revision {}", revision.number),
            fingerprint: Some(content),
            label: label(revision),
            obstacles: against_revision(current, revision),
            detail: json!({
                detail::WORKLOAD: workload.uid(),
                detail::FROM: current.number,
                detail::REVISION: revision.number,
                detail::REVISION_UID: revision.uid(),
            }),
        })
        .collect()
}

/// A tag that moves does not bring the old bits back.
fn against_revision(current: &Revision, revision: &Revision) -> Vec<Obstacle> {
    let running = images(&current.template);
    let moving = images(&revision.template).into_iter().filter(|image| !running.contains(image)).find(|image| is_moving(image));
    let says = |image: &str| {
        format!(
            "image `{}` of revision {} has a tag that moves, so what it would start now is not known; use a tag a build, or a digest",
            clean(image),
            revision.number
        )
    };
    moving.map(|image| Obstacle::propose(RuleId::S5, says(image))).into_iter().collect()
}

/// No digest, and no tag or `latest`.
fn is_moving(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn against_any_rollback(target: &KubernetesTarget, workload: &Reading, progress: &Progress, obstacles: &mut Vec<Obstacle>) {
    let spec = workload.spec();
    if spec.paused == Some(true) {
        let says = format!(
            "the Deployment is paused, so nothing would be rolled out; resume it with `kubectl rollout resume deployment/{} -n {}`",
            target.name, target.namespace
        );
        obstacles.push(Obstacle::page(RuleId::S9, says));
    }
    if spec.revision_history_limit == Some(0) {
        let says = "`revisionHistoryLimit` is 0, so no earlier revision is kept; roll forward, and raise the limit".to_owned();
        obstacles.push(Obstacle::page(RuleId::S5, says));
    }
    if spec.replicas == Some(0) {
        obstacles.push(Obstacle::propose(RuleId::S8, "the workload is scaled to zero, so no version of it serves".to_owned()));
    }
    if *progress == Progress::ByHand {
        let says = "the update strategy is `OnDelete`, so pods would stay on the bad version until they are deleted by hand";
        obstacles.push(Obstacle::page(RuleId::S9, says.to_owned()));
    }
    if partition(workload) > 0 {
        let says = format!("`partition` is {}, so pods below that number would stay as they are", partition(workload));
        obstacles.push(Obstacle::propose(RuleId::S9, says));
    }
    let ordered = target.kind == WorkloadKind::StatefulSet && spec.pod_management_policy.as_deref() != Some("Parallel");
    if ordered && matches!(progress, Progress::Working { .. }) {
        let says =
            "a pod that never gets ready blocks the rollout of a StatefulSet, back too: delete it by hand after the rollback";
        obstacles.push(Obstacle::propose(RuleId::S9, says.to_owned()));
    }
}

fn serving_since(workload: &Reading, current: &Revision) -> Option<Timestamp> {
    let made = current.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if let Some(numbered) = numbered(current) {
        return Some(numbered);
    }
    if made.is_some() && !current.used_again {
        return made;
    }
    let progressed = match workload {
        Reading::Deployment(deployment) => {
            let condition = deployment.status.as_ref().and_then(progressing);
            condition.and_then(|condition| condition.last_update_time.as_ref().map(|time| time.0))
        }
        Reading::StatefulSet(_) | Reading::DaemonSet(_) => None,
    };
    template_changed(workload).into_iter().chain(progressed).min()
}

/// When a ControllerRevision got its number: its controller changes nothing else in it.
fn numbered(revision: &Revision) -> Option<Timestamp> {
    let gave = |entry: &&ManagedFieldsEntry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:revision").is_some());
    let entries = revision.metadata.managed_fields.iter().flatten().filter(gave);
    entries.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max()
}

/// When somebody last changed the template: not before it, and later only if the same manager changed more since.
fn template_changed(workload: &Reading) -> Option<Timestamp> {
    let owners = workload.metadata().managed_fields.iter().flatten().filter(|entry| owns_template(entry));
    owners.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max()
}

/// Whether a manager of fields owns the pod template, or part of it.
pub fn owns_template(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    entry.subresource.as_deref().unwrap_or_default().is_empty()
        && fields.and_then(|fields: &Value| fields.get("f:spec")?.get("f:template")).is_some()
}

/// `web:build-42 (revision 5)`.
pub fn label(revision: &Revision) -> String {
    let mut names: Vec<&str> =
        images(&revision.template).into_iter().map(|image| image.rsplit('/').next().unwrap_or(image)).collect();
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    let mut said = if names.is_empty() { "no image".to_owned() } else { names.join(", ") };
    if more > 0 {
        said = format!("{said} and {more} more");
    }
    // `kubectl --record` left whole command lines there, which may hold secrets.
    match revision.change_cause().filter(|cause| !cause.trim_start().starts_with("kubectl")) {
        Some(cause) => clean(&format!("{said} (revision {}: {cause})", revision.number)),
        None => clean(&format!("{said} (revision {})", revision.number)),
    }
}

#[cfg(test)]
mod tests {
    use super::is_moving;

    #[test]
    fn only_a_tag_a_build_or_a_digest_stays() {
        for image in ["nginx", "nginx:latest", "r.io:5000/shop/web", "r.io/shop/web:latest"] {
            assert!(is_moving(image), "{image}");
        }
        for image in ["nginx:1.27", "r.io:5000/shop/web:build-41", "r.io/web@sha256:00ff", "r.io/web:latest@sha256:00ff"] {
            assert!(!is_moving(image), "{image}");
        }
    }
}
