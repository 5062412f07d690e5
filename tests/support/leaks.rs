//! Nothing secret and nobody's name gets into a log, or into exported telemetry: every line of every flow is searched as it is written.
//!
//! `tests/tidy/leaks.rs` sees to it that a process, a handler and the program are started by what is here and in
//! [`super::program`] only, so that no test escapes.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, Once, PoisonError},
};

use backout::{
    observability::host_layer,
    process::{Policies, Ports, Process},
    sim::host::FUNCTION_KEY,
};
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

/// Part of every secret that a scene is set up with: webhook secrets, keys, headers, signatures of URLs.
pub const SEEDED: &str = "seeded-secret";

/// Whom messages name: as the claims of whoever deployed, and as the owner of what an alert is about.
pub const PERSON: &str = "Seeded Person";
pub const PERSON_MAIL: &str = "seeded.person@contoso.example";

/// What no text may hold.
const FORBIDDEN: [&str; 9] = [
    SEEDED,
    PERSON,
    PERSON_MAIL,
    FUNCTION_KEY,
    // A signed token, of Entra or of a service account.
    "eyJ",
    "sig=",
    "SharedAccessKey=",
    "SharedAccessSignature",
    "InstrumentationKey=",
];

/// Tokens of the simulated identity endpoint: this, and 32 hexadecimal digits.
const SIMULATED_TOKEN: &str = "simulated.";

/// Secrets that are made while the tests run.
static MADE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on nothing may hold `secret`.
pub fn seed(secret: &str) {
    assert!(secret.len() >= 12, "a short secret may stand anywhere by chance");
    MADE.lock().unwrap_or_else(PoisonError::into_inner).push(secret.to_owned());
}

/// What of it is in `text`, if anything.
pub fn found_in(text: &str) -> Option<String> {
    let made = MADE.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|made| text.contains(made.as_str())).cloned();
    made.or_else(|| always_forbidden(text).map(str::to_owned))
}

fn always_forbidden(text: &str) -> Option<&'static str> {
    let token = text.match_indices(SIMULATED_TOKEN).any(|(at, found)| {
        let rest = &text.as_bytes()[at + found.len()..];
        rest.len() >= 32 && rest[..32].iter().all(u8::is_ascii_hexdigit)
    });
    if token { Some(SIMULATED_TOKEN) } else { FORBIDDEN.into_iter().find(|forbidden| text.contains(forbidden)) }
}

/// Ends the whole test run where `text` holds something of it: an assertion in a task or a reader would go unheard.
pub fn search(whose: &str, text: &str) {
    if let Some(forbidden) = found_in(text) {
        let says = format!("\n{whose} holds `{forbidden}`, which must never get there:\n{text}\n");
        // Not `eprintln!`, which the test harness would keep to itself.
        let _ = io::stderr().write_all(says.as_bytes());
        std::process::abort();
    }
}

/// A process whose log, in every detail, is searched.
pub fn watched_process(ports: Ports, policies: Arc<dyn Policies>) -> Process {
    watch_log();
    Process::new(ports, policies, None, None)
}

/// Has every line that this test binary logs searched, but where a test keeps its log itself ([`super::kept_log`]).
pub fn watch_log() {
    static WATCHES: Once = Once::new();
    WATCHES.call_once(|| {
        let everything = Targets::new().with_default(tracing::Level::TRACE);
        tracing_subscriber::registry().with(host_layer(SearchedLog, everything)).init();
    });
}

struct SearchedLog;

impl Write for SearchedLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        search("the log of a process in the tests", &String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for SearchedLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
