//! AKS clusters, each with an API server that `kubectl` can speak to, and the controllers of its workloads.
//!
//! All clusters listen on one port, each below `/clusters/{name}`. A caller without a token is the cluster's administrator, since
//! `kubectl` sends no token over plain http; one that is sent must be an Entra token for AKS, or the administrator's own.
//! Names, numbers and conditions follow the Kubernetes sources; hashes, uids and message texts are composed here. There are no
//! pods: a rollout takes its time by the clock, and then is complete.

mod api;
mod commands;
mod controller;
mod kubectl;
mod objects;

use std::{collections::BTreeMap, time::Duration};

use axum::http::{Method, StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::{
    AzureSimulation,
    arm::{ArmRequest, admit, nothing_here, parsed},
    call::{Call, Reply, Role},
    world::World,
};
use crate::domain::resource_id::ResourceId;

pub(super) use api::answer as answer_api;
pub use commands::SimulatedCommand;
pub(super) use commands::settle;

pub(super) const API_VERSIONS: &[&str] = &["2025-05-01", "2026-08-01"];

/// Names one workload of a simulated cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadId {
    pub cluster: ResourceId,
    pub namespace: String,
    /// `Deployment`, `StatefulSet` or `DaemonSet`.
    pub kind: String,
    pub name: String,
}

/// A workload to put into a cluster. It has run `build` for `served_for`.
#[derive(Debug, Clone)]
pub struct SimulatedClusterWorkload {
    pub id: WorkloadId,
    /// The tag of its one container's image.
    pub build: String,
    pub replicas: u32,
    pub served_for: SignedDuration,
    /// From a change of the object until its controller has seen it.
    pub observed_after: Duration,
    /// From then until the last replica is ready.
    pub rollout_takes: Duration,
    /// The traffic that it serves: see [`AzureSimulation::add_workload`].
    pub serves: Option<String>,
}

impl SimulatedClusterWorkload {
    /// Three replicas; seen after two seconds, rolled out in a minute.
    pub fn new(id: WorkloadId, build: &str) -> Self {
        Self {
            id,
            build: build.to_owned(),
            replicas: 3,
            served_for: SignedDuration::from_hours(30 * 24),
            observed_after: Duration::from_secs(2),
            rollout_takes: Duration::from_mins(1),
            serves: None,
        }
    }

    pub fn serving(mut self, workload: &str) -> Self {
        self.serves = Some(workload.to_owned());
        self
    }

    pub fn with_rollout_taking(mut self, duration: Duration) -> Self {
        self.rollout_takes = duration;
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// By canonical id.
    clusters: BTreeMap<String, Cluster>,
}

/// Plural, namespace, name.
type Key = (String, String, String);

#[derive(Debug)]
struct Cluster {
    id: ResourceId,
    admin_token: String,
    /// Whether the user of its kubeconfig is an Entra identity; else the administrator.
    entra: bool,
    objects: BTreeMap<Key, Value>,
    /// Of the last write.
    resource_version: u64,
    workloads: Vec<Managed>,
    /// Tags of images whose pods never get ready.
    never_ready: Vec<String>,
    commands: commands::Commands,
    stopped: bool,
    private: bool,
}

/// What the controller of one workload knows.
#[derive(Debug)]
struct Managed {
    key: Key,
    serves: Option<String>,
    observed_after: SignedDuration,
    takes: SignedDuration,
    /// When the object changed in a way that its controller has not seen.
    changed_at: Option<Timestamp>,
    rollout: Option<Rollout>,
    /// Changes of the template since it was set up.
    template_changes: u32,
}

#[derive(Debug)]
struct Rollout {
    /// `None` when its pods never get ready.
    ends: Option<Timestamp>,
    deadline: Option<Timestamp>,
}

impl State {
    /// Every resource that is there.
    pub fn ids(&self) -> impl Iterator<Item = ResourceId> + '_ {
        self.clusters.values().map(|cluster| cluster.id.clone())
    }

    fn known(&mut self, id: &ResourceId) -> &mut Cluster {
        self.clusters
            .get_mut(id.canonical())
            .unwrap_or_else(|| panic!("the simulation has no cluster `{id}`; add it with `add_cluster` first"))
    }
}

impl Cluster {
    fn workload(&self, id: &WorkloadId) -> &Managed {
        let key = key(id);
        self.workloads.iter().find(|managed| managed.key == key).unwrap_or_else(|| panic!("the simulated cluster has no {id:?}"))
    }

    /// Stores `new` in place of what was there, as the API server would: a new resource version, a new generation where the
    /// spec changed, and who changed the template when. Whether anything changed.
    fn write(&mut self, key: &Key, mut new: Value, manager: &str, now: Timestamp) -> bool {
        let old = self.objects.get(key).cloned().unwrap_or(Value::Null);
        // As a typed server reads it: `null` is absent.
        objects::without_nulls(&mut new);
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if new == old {
            return false;
        }
        let respecified = new["spec"] != old["spec"];
        let retemplated = new["spec"]["template"] != old["spec"]["template"];
        if respecified {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or_default() + 1);
        }
        if respecified {
            objects::note_manager(&mut new, manager, retemplated, now);
        }
        self.resource_version += 1;
        new["metadata"]["resourceVersion"] = json!(self.resource_version.to_string());
        self.objects.insert(key.clone(), new);
        if let Some(managed) = self.workloads.iter_mut().find(|managed| managed.key == *key) {
            // The controller also looks when only annotations changed.
            managed.changed_at = managed.changed_at.or(Some(now));
            managed.template_changes += u32::from(retemplated);
        }
        true
    }
}

fn key(id: &WorkloadId) -> Key {
    (objects::plural_of(&id.kind).to_owned(), id.namespace.clone(), id.name.clone())
}

/// `managedClusters/{name}`, `.../listClusterUserCredential`, `.../runCommand` and `.../commandResults/{id}`.
pub(super) fn answer(world: &mut World, request: &ArmRequest<'_>) -> Result<Reply, Reply> {
    let call = request.call;
    if call.segments.len() < 8 || !call.segments[6].eq_ignore_ascii_case("managedClusters") {
        return Err(nothing_here(call));
    }
    let id = parsed(&call.segments[..8])?;
    let below: Vec<String> = call.segments[8..].iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    match (&call.method, below.as_slice()) {
        (&Method::GET, []) => {
            admit(world, request, &id, "Microsoft.ContainerService/managedClusters/read")?;
            let cluster = &world.kubernetes.clusters[id.canonical()];
            Ok(Reply::json(StatusCode::OK, &resource(cluster)))
        }
        (&Method::POST, ["listclusterusercredential"]) => {
            admit(world, request, &id, "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action")?;
            let cluster = &world.kubernetes.clusters[id.canonical()];
            let user = if cluster.entra {
                json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "kubelogin",
                    "args": ["get-token", "--server-id", AKS_SERVER] } })
            } else {
                json!({ "token": cluster.admin_token })
            };
            let text = kubeconfig(cluster, request.clusters, &user);
            let value = STANDARD.encode(text.to_string());
            Ok(Reply::json(StatusCode::OK, &json!({ "kubeconfigs": [{ "name": "clusterUser", "value": value }] })))
        }
        (&Method::POST, ["runcommand"]) => commands::begin(world, request, &id),
        (&Method::GET, ["commandresults", command]) => commands::result(world, request, &id, command),
        _ => Err(nothing_here(call)),
    }
}

/// Whether a request to an API server meets nobody.
pub(super) fn is_out_of_reach(world: &World, call: &Call) -> bool {
    let named = |cluster: &&Cluster| call.segments.get(1).is_some_and(|name| *name == cluster.id.name());
    world.kubernetes.clusters.values().find(named).is_some_and(|cluster| cluster.stopped || cluster.private)
}

/// The Entra application that stands for every AKS API server.
pub(super) const AKS_SERVER: &str = "6dae42f8-4368-4678-94ff-3960e28e3630";

fn resource(cluster: &Cluster) -> Value {
    json!({
        "id": cluster.id.to_string(),
        "name": cluster.id.name(),
        "type": "Microsoft.ContainerService/ManagedClusters",
        "location": "westeurope",
        "properties": {
            "provisioningState": "Succeeded",
            "powerState": { "code": if cluster.stopped { "Stopped" } else { "Running" } },
            "apiServerAccessProfile": {
                "enablePrivateCluster": cluster.private, "disableRunCommand": cluster.commands.disabled,
            },
            "kubernetesVersion": "1.33",
            "disableLocalAccounts": cluster.entra,
            "aadProfile": if cluster.entra { json!({ "managed": true, "enableAzureRBAC": true }) } else { Value::Null },
        },
    })
}

/// A kubeconfig as JSON, which is YAML too.
fn kubeconfig(cluster: &Cluster, base: &Url, user: &Value) -> Value {
    let name = cluster.id.name();
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{ "name": name, "cluster": { "server": address(cluster, base) } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": "user" } }],
        "users": [{ "name": "user", "user": user }],
    })
}

fn address(cluster: &Cluster, base: &Url) -> String {
    format!("{base}clusters/{}", cluster.id.name())
}

/// Clusters, and what happens in them from elsewhere. Each panics when the scenario names what is not there.
impl AzureSimulation {
    /// A cluster that takes Entra tokens. Its name must be the only one of its kind.
    pub fn add_cluster(&self, id: &ResourceId) {
        let cluster = Cluster {
            id: id.clone(),
            admin_token: format!("simulated-admin-{}", Uuid::new_v4().simple()),
            entra: true,
            objects: BTreeMap::new(),
            resource_version: 1000,
            workloads: Vec::new(),
            never_ready: Vec::new(),
            commands: commands::Commands::default(),
            stopped: false,
            private: false,
        };
        self.shared().settled_world().kubernetes.clusters.insert(id.canonical().to_owned(), cluster);
    }

    /// Whether AKS gives a kubeconfig with the administrator's credential instead of one for Entra identities.
    pub fn set_cluster_without_entra(&self, id: &ResourceId) {
        self.shared().settled_world().kubernetes.known(id).entra = false;
    }

    /// A stopped cluster answers nobody and runs no commands; what it served is not measured any more than before.
    pub fn set_cluster_stopped(&self, id: &ResourceId, stopped: bool) {
        self.shared().settled_world().kubernetes.known(id).stopped = stopped;
    }

    /// A private cluster's API server is out of reach from here; commands run in it.
    pub fn set_cluster_private(&self, id: &ResourceId, private: bool) {
        self.shared().settled_world().kubernetes.known(id).private = private;
    }

    /// Puts a workload into its cluster, complete and long since rolled out as revision 1.
    pub fn add_cluster_workload(&self, workload: &SimulatedClusterWorkload) {
        let now = self.now();
        let since = now.checked_sub(workload.served_for).unwrap_or(now);
        let mut world = self.shared().settled_world();
        let cluster = world.kubernetes.known(&workload.id.cluster);
        let key = key(&workload.id);
        let object = objects::new_workload(workload, since);
        cluster.workloads.push(Managed {
            key: key.clone(),
            serves: workload.serves.clone(),
            observed_after: SignedDuration::ZERO,
            takes: SignedDuration::ZERO,
            changed_at: None,
            rollout: None,
            template_changes: 0,
        });
        cluster.write(&key, object, "kubectl-create", since);
        settle(&mut world, now);
        let managed = world.kubernetes.known(&workload.id.cluster).workloads.iter_mut().find(|managed| managed.key == key);
        if let Some(managed) = managed {
            managed.observed_after = SignedDuration::try_from(workload.observed_after).unwrap_or(SignedDuration::ZERO);
            managed.takes = SignedDuration::try_from(workload.rollout_takes).unwrap_or(SignedDuration::ZERO);
            managed.template_changes = 0;
        }
    }

    /// A pipeline sets the image's tag, and says why in the change cause. It takes effect as the clock goes on.
    pub fn roll_out(&self, id: &WorkloadId, build: &str) {
        self.edit_cluster_object(id, |object| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(objects::image(&id.name, build));
            if id.kind == "Deployment" {
                object["metadata"]["annotations"]["kubernetes.io/change-cause"] = json!(format!("release {build}"));
            }
        });
    }

    /// Somebody else's change of the object, whatever it is.
    pub fn edit_cluster_object(&self, id: &WorkloadId, edit: impl FnOnce(&mut Value)) {
        let now = self.now();
        let mut world = self.shared().settled_world();
        let cluster = world.kubernetes.known(&id.cluster);
        let key = key(id);
        let mut object = cluster.objects[&key].clone();
        edit(&mut object);
        cluster.write(&key, object, "pipeline", now);
        settle(&mut world, now);
    }

    /// The workload, as the API server would show it.
    pub fn cluster_object(&self, id: &WorkloadId) -> Value {
        self.shared().settled_world().kubernetes.known(&id.cluster).objects[&key(id)].clone()
    }

    /// The tag that the workload's template names now.
    pub fn cluster_build(&self, id: &WorkloadId) -> String {
        objects::build(&self.cluster_object(id)["spec"]["template"])
    }

    /// Changes of the workload's template, whoever made them, since it was put there.
    pub fn template_changes(&self, id: &WorkloadId) -> u32 {
        self.shared().settled_world().kubernetes.known(&id.cluster).workload(id).template_changes
    }

    /// True while a change is not seen, or its rollout goes on.
    pub fn is_rolling_out(&self, id: &WorkloadId) -> bool {
        let mut world = self.shared().settled_world();
        let managed = world.kubernetes.known(&id.cluster).workload(id);
        managed.changed_at.is_some() || managed.rollout.is_some()
    }

    /// Pods with images of this tag never get ready in the cluster; false ends that for later rollouts.
    pub fn set_never_ready(&self, cluster: &ResourceId, build: &str, never: bool) {
        let mut world = self.shared().settled_world();
        let tags = &mut world.kubernetes.known(cluster).never_ready;
        tags.retain(|tag| tag != build);
        if never {
            tags.push(build.to_owned());
        }
    }

    /// Where the cluster's API server listens.
    pub fn cluster_url(&self, cluster: &ResourceId) -> String {
        let base = self.shared().url(Role::Kubernetes).clone();
        address(self.shared().settled_world().kubernetes.known(cluster), &base)
    }

    /// A kubeconfig with the administrator's token, for `kubectl` and for a policy's `kubeconfig:`.
    pub fn cluster_kubeconfig(&self, cluster: &ResourceId) -> String {
        let base = self.shared().url(Role::Kubernetes).clone();
        let mut world = self.shared().settled_world();
        let cluster = world.kubernetes.known(cluster);
        let token = json!({ "token": cluster.admin_token });
        kubeconfig(cluster, &base, &token).to_string()
    }
}
