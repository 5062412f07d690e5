//! What belongs into the package, and whether the parts fit together.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{
    Refusal,
    app_files::AppFiles,
    archive::{Entry, EntryKind},
};
use crate::{
    azure::answer::clean,
    domain::policy::Policy,
    host::{delivery::Function, envelope, http::HttpFunction},
    policy,
    sim::host::FunctionApp,
};

/// Names in the package.
pub const PROGRAM: &str = "backout";
pub const POLICY: &str = "backout.yaml";
pub const SBOM: &str = "backout.cdx.json";

/// Bytes. The whole zip is fetched before an instance can start.
pub const SIZE_MAX: usize = 12_000_000;

/// A claim is taken over by somebody else once its quiet time (10 min) has passed: no invocation may live that long.
const FUNCTION_TIMEOUT_MAX: Duration = Duration::from_mins(5);

/// The files of the package: everything at the root, no folder around it.
pub fn entries(app: &AppFiles, program: Vec<u8>, policy: Vec<u8>, sbom: String) -> Vec<Entry> {
    let text = |name: String, bytes: Vec<u8>| Entry { name, kind: EntryKind::Text, bytes };
    let mut entries = vec![
        text("host.json".to_owned(), app.host_json.clone().into_bytes()),
        Entry { name: PROGRAM.to_owned(), kind: EntryKind::Program, bytes: program },
        text(POLICY.to_owned(), policy),
        text(SBOM.to_owned(), sbom.into_bytes()),
    ];
    entries.extend(app.functions.iter().map(|(name, file)| text(format!("{name}/function.json"), file.clone().into_bytes())));
    entries
}

/// Whether the host would start the program and call what the program answers; every reason why not.
pub fn check_app(app: &AppFiles) -> Vec<Refusal> {
    let (read, host) = match (FunctionApp::of(app), serde_json::from_str::<Value>(&app.host_json)) {
        (Ok(read), Ok(host)) => (read, host),
        (Err(problem), _) => return vec![Refusal::new(format!("the host would refuse {}", clean(&problem.to_string())))],
        (_, Err(error)) => return vec![Refusal::new(format!("the host would refuse host.json: {error}"))],
    };
    let mut refusals = Vec::new();
    let mut refuse = |says: String| refusals.push(Refusal::new(says));
    let starts = clean(&read.executable.to_string_lossy());
    if read.executable.as_os_str() != PROGRAM {
        refuse(format!(
            "host.json starts `{starts}`, but the program is packed as `{PROGRAM}`: set `customHandler.description.defaultExecutablePath` to it"
        ));
    }
    if read.arguments != ["serve"] {
        refuse("host.json does not start `backout serve`: set `customHandler.description.arguments` to [\"serve\"]".to_owned());
    }
    if read.function_timeout.is_none_or(|limit| limit > FUNCTION_TIMEOUT_MAX) {
        refuse(
            "host.json: `functionTimeout` is above 00:05:00: an invocation could outlive the quiet time of its claim, and act after another one took over"
                .to_owned(),
        );
    }
    if !host["extensionBundle"].is_object() {
        refuse("host.json has no `extensionBundle`: the host would know no Service Bus trigger".to_owned());
    }
    if !host["customHandler"]["http"].is_null() {
        refuse(
            "host.json: `customHandler.http` does not go with function folders, and the host would stop: remove it".to_owned(),
        );
    }
    // Those over HTTP may be left out, as where alerts are only pulled.
    let over_http = HttpFunction::ALL.iter().map(|function| function.name());
    let answered: BTreeSet<&str> = Function::ALL.iter().map(|function| function.name()).chain(over_http).collect();
    for unknown in read.functions.iter().filter(|function| !answered.contains(function.name.as_str())) {
        refuse(format!("the folder `{}` is no function that backout answers (404): remove it", unknown.name));
    }
    for function in Function::ALL.iter().copied() {
        let (name, binding) = (function.name(), envelope::binding_name(function));
        match read.function(name) {
            None => refuse(format!("the folder `{name}` is missing: nobody would take what is meant for it")),
            Some(found) if found.binding != binding => {
                refuse(format!(
                    "`{name}/function.json`: the binding is named `{}`, but backout reads `{binding}`",
                    clean(&found.binding)
                ));
            }
            Some(_) => {}
        }
    }
    refusals
}

/// The policy as `serve` would read it. `file`: as people know it.
pub fn check_policy(bytes: &[u8], file: &str) -> Result<Policy, Refusal> {
    policy::read(bytes, None).map_err(|problems| {
        Refusal::new(format!("the policy has problems, and every message would be parked:\n{}", problems.named(file)))
    })
}

/// Whether the zip is small enough.
pub fn check_size(size: usize, size_max: usize) -> Result<(), Refusal> {
    if size <= size_max {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "the zip has {size} bytes, more than {size_max}: each new instance fetches it before it can start; pack a release build (`strip`, `lto`), or allow more by `--bytes-max`"
    )))
}
