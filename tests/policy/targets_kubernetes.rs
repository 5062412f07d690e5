//! `platform: kubernetes` in a policy file, and what is wrong with one. The files are composed here.

use backout::{
    domain::{
        resource_id::ResourceId,
        service::ServiceName,
        target::{ClusterAccess, KubernetesCluster, KubernetesTarget, Target, WorkloadKind},
    },
    policy,
};

const CLUSTER: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.ContainerService/managedClusters/aks1";

fn file(target: &str) -> String {
    format!(
        "version: 1\nservices:\n  web:\n    target: {{ platform: kubernetes, {target} }}\n    evidence: [{{ metric: requests/failed, \
         of: requests/count, resource: /subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.Insights/components/web }}]\n"
    )
}

fn target(text: &str) -> Target {
    let policy =
        policy::read(file(text).as_bytes(), None).unwrap_or_else(|problems| panic!("{}", problems.named("backout.yaml")));
    policy.services[&ServiceName("web".to_owned())].target.clone()
}

fn problem(text: &str) -> String {
    policy::read(file(text).as_bytes(), None).map(|_| ()).unwrap_err().named("backout.yaml").to_string()
}

#[test]
fn a_workload_of_an_aks_cluster() {
    let read = target(&format!("cluster: {CLUSTER}, namespace: shop, kind: Deployment, name: web.v1"));
    let expected = Target::Kubernetes(KubernetesTarget {
        cluster: KubernetesCluster::Aks { id: ResourceId::parse(CLUSTER).unwrap(), access: ClusterAccess::Direct },
        namespace: "shop".to_owned(),
        kind: WorkloadKind::Deployment,
        name: "web.v1".to_owned(),
    });
    assert_eq!(read, expected);
    assert_eq!(read.key().0, format!("{}/shop/Deployment/web.v1", CLUSTER.to_ascii_lowercase()));
    let explicit = target(&format!("cluster: {CLUSTER}, access: direct, namespace: shop, kind: DaemonSet, name: web"));
    assert_eq!(explicit.key().0, format!("{}/shop/DaemonSet/web", CLUSTER.to_ascii_lowercase()));
}

#[test]
fn a_private_cluster_by_commands_is_the_same_target() {
    let read = target(&format!("cluster: {CLUSTER}, access: run-command, namespace: shop, kind: Deployment, name: web"));
    assert_eq!(read.key().0, format!("{}/shop/Deployment/web", CLUSTER.to_ascii_lowercase()));
    let Target::Kubernetes(read) = read else { panic!("{read:?}") };
    let id = ResourceId::parse(CLUSTER).unwrap();
    assert_eq!(read.cluster, KubernetesCluster::Aks { id, access: ClusterAccess::RunCommand });
}

#[test]
fn a_workload_of_any_cluster_by_a_kubeconfig() {
    let read = target("kubeconfig: /etc/backout/kubeconfig, context: prod, namespace: shop, kind: StatefulSet, name: db");
    let Target::Kubernetes(read) = read else { panic!("{read:?}") };
    let expected = KubernetesCluster::Kubeconfig { path: "/etc/backout/kubeconfig".to_owned(), context: Some("prod".to_owned()) };
    assert_eq!((read.cluster, read.kind), (expected, WorkloadKind::StatefulSet));
}

#[test]
fn every_mistake_has_its_sentence() {
    let cluster = format!("cluster: {CLUSTER}");
    let web = "namespace: shop, kind: Deployment, name: web";
    let site = CLUSTER.replace("Microsoft.ContainerService/managedClusters", "Microsoft.Web/sites");
    let rows = [
        (format!("kubeconfig: /k, access: run-command, {web}"), "has no meaning for a kubeconfig"),
        (format!("{cluster}, access: tunnel, {web}"), "run-command"),
        (format!("{cluster}, kubeconfig: /k, {web}"), "names both `cluster` and `kubeconfig`"),
        (web.to_owned(), "names no cluster"),
        (format!("cluster: {site}, {web}"), "is not the id of an AKS cluster"),
        (format!("{cluster}, context: a, {web}"), "has no meaning for an AKS cluster"),
        (format!("kubeconfig: /k, access: direct, {web}"), "has no meaning for a kubeconfig"),
        (format!("kubeconfig: ' ', {web}"), "is empty"),
        (format!("{cluster}, namespace: a.b, kind: Deployment, name: web"), "is not the name of a namespace"),
        (format!("{cluster}, namespace: Shop, kind: Deployment, name: web"), "is not the name of a namespace"),
        (format!("{cluster}, namespace: shop, kind: Deployment, name: '../x'"), "is not a name of Kubernetes"),
        (format!("{cluster}, namespace: shop, kind: Job, name: web"), "Deployment"),
        (format!("{cluster}, namespace: shop, kind: Deployment"), "name"),
    ];
    for (text, says) in rows {
        let problem = problem(&text);
        assert!(problem.contains(says), "{text}: {problem}");
    }
}
