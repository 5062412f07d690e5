//! No test starts a process of ours, a handler or the program without having its output searched for secrets.

use super::sources::{nothing_found, text_files};

/// What starts one, and where it may stand.
const STARTS: [(&str, &str); 3] = [
    ("Process::new(", "tests/support/leaks.rs"),
    ("CARGO_BIN_EXE_", "tests/support/program.rs"),
    ("HostEmulator::start(", "tests/support/program.rs"),
];

#[test]
fn whatever_logs_in_a_test_is_searched() {
    let mut found = Vec::new();
    let mut seen = 0;
    // The emulator's own tests start shells, and handlers that are part of the test. The simulations make thousands of processes, and
    // search what these store and tell by a rule of their own. What a fuzzer writes may look like a secret.
    let exempt = |path: &str| {
        ["tests/host/process.rs", "tests/fuzz/src/support.rs"].contains(&path) || path.starts_with("tests/simulation/")
    };
    let files = text_files("tests").into_iter().filter(|file| file.is_rust() && !exempt(&file.path));
    for file in files.filter(|file| file.path != "tests/tidy/leaks.rs") {
        for (number, line) in file.code() {
            for (start, place) in STARTS.into_iter().filter(|(start, _)| line.contains(start)) {
                if file.path == place {
                    seen += 1;
                } else {
                    found.push(format!("{}:{number}: `{start}` belongs into {place}, which has its log searched", file.path));
                }
            }
        }
    }
    assert!(seen >= STARTS.len(), "the scan found nothing where something is");
    nothing_found("logs of tests are searched for secrets", &found);
}
