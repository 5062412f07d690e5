//! The command lines that run in a cluster, and what they print. Pure.
//!
//! A line is read by a shell, so it holds nothing but our own words and names of a checked alphabet. What goes into the cluster (a
//! pod template, which may hold anything) travels as a file in the archive beside the line, and never through the shell.

use std::io::{Cursor, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Deserializer, Value};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    direct::REVIEWS,
    undo::FIELD_MANAGER,
    wire::{plural, revisions_plural},
};
use crate::{
    azure::answer::clean,
    domain::target::KubernetesTarget,
    ports::{PortError, PortErrorKind},
};

/// What a line prints last, when all before it went well: an output without it was cut. AKS keeps 512 kB of an output.
pub const END: &str = "backout:end";

/// Files of the archive, relative to where the line runs.
pub const PATCH_FILE: &str = "patch.json";
pub const REVIEW_FILE: &str = "review.json";

/// Prints the workload.
pub fn get_workload(target: &KubernetesTarget) -> Result<String, String> {
    let (namespace, name) = names(target)?;
    Ok(format!("kubectl get {}.apps/{name} -n {namespace} -o json --show-managed-fields && echo {END}", plural(target.kind)))
}

/// Prints the workload and its revisions in one go: whose owner has its name, since its selector is not known before.
pub fn get_workload_and_revisions(target: &KubernetesTarget) -> Result<String, String> {
    let (namespace, name) = names(target)?;
    Ok(format!(
        "kubectl get {}.apps/{name} -n {namespace} -o json --show-managed-fields && kubectl get {}.apps -n {namespace} -o \
         jsonpath='{{.items[?(@.metadata.ownerReferences[0].name==\"{name}\")]}}' && echo {END}",
        plural(target.kind),
        revisions_plural(target.kind)
    ))
}

/// Patches the workload with the archive's file, and prints uid and generation of what came of it.
pub fn patch(target: &KubernetesTarget) -> Result<String, String> {
    let (namespace, name) = names(target)?;
    Ok(format!(
        "kubectl patch {}.apps/{name} -n {namespace} --type=json --patch-file={PATCH_FILE} --field-manager={FIELD_MANAGER} -o \
         jsonpath='{{.metadata.uid}} {{.metadata.generation}} ' && echo {END}",
        plural(target.kind)
    ))
}

/// Sends the archive's question about our rights as it is, and prints the answer. `kubectl auth can-i` would print less.
pub fn review() -> String {
    format!("kubectl create --raw {REVIEWS} -f {REVIEW_FILE} && echo {END}")
}

/// Namespace and name, if no shell can take them for anything else.
fn names(target: &KubernetesTarget) -> Result<(&str, &str), String> {
    for name in [&target.namespace, &target.name] {
        if !is_plain(name) {
            return Err(format!("`{}` is no name of Kubernetes; check namespace and name in the policy", clean(name)));
        }
    }
    Ok((&target.namespace, &target.name))
}

/// `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
fn is_plain(name: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || *byte == b'-' || *byte == b'.')
}

/// An archive of one file, as `context` wants it.
pub fn archive(name: &str, content: &Value) -> Result<String, String> {
    let written = || -> zip::result::ZipResult<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(name, SimpleFileOptions::default().unix_permissions(0o644))?;
        zip.write_all(content.to_string().as_bytes())?;
        Ok(zip.finish()?.into_inner())
    };
    written().map(|bytes| STANDARD.encode(bytes)).map_err(|_| format!("`{name}` cannot be packed"))
}

/// What became of a line that ended with an exit code other than 0, as far as what it printed proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    NotFound,
    Denied,
    /// 409: not taken now, and the same may be taken later.
    Conflict,
    /// Any other no of the API server, or a line that the shell could not begin.
    Refused,
    /// It may have been sent, and nothing tells.
    Unclear,
}

/// `kubectl` tells the server's own reason, in a form that has been stable for years. Source: kubectl, `cmd/util/helpers.go`.
pub fn failure(exit_code: i64, output: &str) -> Failure {
    // 126 and 127 are the shell's: the program is not there, or cannot run.
    if exit_code == 126 || exit_code == 127 {
        return Failure::Refused;
    }
    let said = |starts: &[&str]| output.lines().any(|line| starts.iter().any(|start| line.starts_with(start)));
    if said(&["Error from server (NotFound)"]) {
        Failure::NotFound
    } else if said(&["Error from server (Forbidden)", "error: You must be logged in to the server"]) {
        Failure::Denied
    } else if said(&["Error from server (Conflict)"]) {
        Failure::Conflict
    } else if said(&["The request is invalid", "Error from server (Invalid)", "Error from server (BadRequest)"])
        || output.lines().any(is_invalid_object)
    {
        Failure::Refused
    } else {
        Failure::Unclear
    }
}

/// `The Deployment "web" is invalid: ...`
fn is_invalid_object(line: &str) -> bool {
    line.strip_prefix("The ").and_then(|rest| rest.split_once("\" is invalid")).is_some_and(|(object, _)| object.contains(" \""))
}

/// The line of an output that says what went wrong, for a person.
pub fn reason(output: &str) -> String {
    // A line may consist of what is not shown.
    let lines = || output.lines().map(str::trim).filter(|line| !is_warning(line)).map(clean).filter(|line| !line.is_empty());
    let telling = |line: &String| line.starts_with("Error") || line.starts_with("error") || line.starts_with("The ");
    lines().find(telling).or_else(|| lines().next_back()).unwrap_or_else(|| "it printed nothing".to_owned())
}

/// Warnings go to the error stream, which AKS keeps in one text with the output.
fn is_warning(line: &str) -> bool {
    line.starts_with("Warning: ") || line.starts_with("Warning:\t")
}

/// The JSON values of an output, one after another.
pub fn values(operation: &'static str, output: &str) -> Result<Vec<Value>, PortError> {
    let printed = whole(operation, output)?;
    let all: Result<Vec<Value>, _> = Deserializer::from_str(&printed).into_iter().collect();
    all.map_err(|_| PortError::new(operation, PortErrorKind::Invalid, "what the command printed is no JSON"))
}

/// Uid and generation as [`patch`] prints them; `None` where they cannot be read.
pub fn patched(output: &str) -> Option<(String, i64)> {
    let printed = whole("patch the workload", output).ok()?;
    let mut words = printed.split_whitespace().rev();
    let generation = words.next()?.parse().ok()?;
    Some((words.next()?.to_owned(), generation))
}

/// The output up to its mark of the end, without warnings.
fn whole(operation: &'static str, output: &str) -> Result<String, PortError> {
    let Some(printed) = output.trim_end().strip_suffix(END) else {
        let says = format!(
            "what the command printed was cut after {} kB (AKS keeps 512 kB), so it tells nothing; lower `revisionHistoryLimit`, or \
             reach the API server over the network (`access: direct`)",
            output.len() / 1000
        );
        return Err(PortError::new(operation, PortErrorKind::Invalid, says));
    };
    Ok(printed.lines().filter(|line| !is_warning(line)).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::json;

    use super::*;
    use crate::domain::{
        resource_id::ResourceId,
        target::{ClusterAccess, KubernetesCluster, WorkloadKind},
    };

    fn target(namespace: &str, name: &str, kind: WorkloadKind) -> KubernetesTarget {
        let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g/providers/\
                  Microsoft.ContainerService/managedClusters/a";
        let cluster = KubernetesCluster::Aks { id: ResourceId::parse(id).unwrap(), access: ClusterAccess::RunCommand };
        KubernetesTarget { cluster, namespace: namespace.to_owned(), kind, name: name.to_owned() }
    }

    #[test]
    fn lines_hold_checked_names_only() {
        let web = target("shop", "web.v1", WorkloadKind::Deployment);
        assert_eq!(
            get_workload_and_revisions(&web).unwrap(),
            "kubectl get deployments.apps/web.v1 -n shop -o json --show-managed-fields && kubectl get replicasets.apps -n shop -o \
             jsonpath='{.items[?(@.metadata.ownerReferences[0].name==\"web.v1\")]}' && echo backout:end"
        );
        let lines = [get_workload, get_workload_and_revisions, patch];
        for bad in
            ["", "-web", "web-", "Web", "a b", "a;b", "a'b", "a\"b", "$(id)", "a\nb", "`id`", "a/b", "é", "a&b", "a|b", "--all"]
        {
            for line in lines {
                let says = line(&target("shop", bad, WorkloadKind::DaemonSet)).unwrap_err();
                assert!(says.contains("no name of Kubernetes"), "{bad}: {says}");
                assert!(line(&target(bad, "web", WorkloadKind::StatefulSet)).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn a_patch_travels_as_a_file() {
        let patch = json!([{"op": "test", "path": "/spec", "value": "it's; $(id) \"x\"\n"}]);
        let bytes = STANDARD.decode(archive(PATCH_FILE, &patch).unwrap()).unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(zip.len(), 1);
        let mut text = String::new();
        zip.by_name("patch.json").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), patch);
    }

    #[test]
    fn what_kubectl_prints_says_what_happened() {
        let rows = [
            (1, "Error from server (NotFound): deployments.apps \"web\" not found\n", Failure::NotFound),
            (1, "Warning: old\nError from server (Forbidden): deployments.apps \"web\" is forbidden\n", Failure::Denied),
            (1, "error: You must be logged in to the server (Unauthorized)", Failure::Denied),
            (1, "Error from server (Conflict): the object has been modified", Failure::Conflict),
            (1, "The request is invalid: the server rejected our request due to an error in our request", Failure::Refused),
            (1, "The Deployment \"web\" is invalid: spec.template: Required value", Failure::Refused),
            (1, "Error from server (BadRequest): it is no patch", Failure::Refused),
            (127, "sh: kubectl: not found", Failure::Refused),
            (1, "Unable to connect to the server: net/http: TLS handshake timeout", Failure::Unclear),
            (1, "Error from server (Timeout): the server was unable to return a response in time", Failure::Unclear),
            (1, "Error from server (InternalError): an error on the server", Failure::Unclear),
            (1, "error: Error from server (Conflict) as part of something else", Failure::Unclear),
            (137, "", Failure::Unclear),
        ];
        for (code, output, expected) in rows {
            assert_eq!(failure(code, output), expected, "{output}");
        }
        assert_eq!(reason("Warning: x\nsome text\nError from server (Conflict): y\n"), "Error from server (Conflict): y");
        assert_eq!((reason("a\nb\n").as_str(), reason(" \n").as_str()), ("b", "it printed nothing"));
        assert_eq!((reason("a\n\u{0}\u{1}\n").as_str(), reason("\u{0}").as_str()), ("a", "it printed nothing"));
    }

    #[test]
    fn an_output_is_read_whole_or_not_at_all() {
        let read = |output: &str| values("read", output).map_err(|error| (error.kind, error.says));
        assert_eq!(
            read("{\n  \"a\": 1\n}\n{\"b\":2} {\"c\":3}backout:end\n").unwrap(),
            [json!({"a":1}), json!({"b":2}), json!({"c":3})]
        );
        assert_eq!(read("Warning: apps/v0 is old\n{\"a\":1}\nbackout:end").unwrap(), [json!({"a":1})]);
        assert_eq!(read("backout:end").unwrap(), Vec::<Value>::new());
        let (kind, says) = read(&format!("{{\"a\":1}}{}", " ".repeat(524_288))).unwrap_err();
        assert_eq!(kind, PortErrorKind::Invalid);
        assert!(says.contains("cut after 524 kB"), "{says}");
        for broken in ["{\"a\":backout:end", "hello backout:end", ""] {
            assert_eq!(read(broken).unwrap_err().0, PortErrorKind::Invalid, "{broken}");
        }
        assert_eq!(patched("Warning: w\nuid-1 8 backout:end\n"), Some(("uid-1".to_owned(), 8)));
        for odd in ["uid-1 8", "uid-1 x backout:end", "backout:end", "8 backout:end"] {
            assert_eq!(patched(odd), None, "{odd}");
        }
    }
}
