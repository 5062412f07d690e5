//! A run of a pipeline in words that hold for both servers, and which version it deployed.

use jiff::Timestamp;

use crate::azure::answer::clean;

/// Of the branch that deploys, so many successes are read beside the newest runs.
pub const SUCCESSES_READ_MAX: usize = 20;

/// One run, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: u64,
    /// Tells one attempt of a run from the next: a run that is started again keeps its id.
    pub attempt: String,
    /// For people, such as `20261125.3`.
    pub number: String,
    pub state: RunState,
    /// `None` where it cannot be told.
    pub version: Option<String>,
    /// The record whose rollback asked for it.
    pub decision: Option<String>,
    /// It is of the branch that deploys.
    pub deploys: bool,
    pub branch: String,
    /// Checks a proposal only; never a deployment.
    pub of_pull_request: bool,
    pub finished_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    UnderWay {
        waits_for_approval: bool,
    },
    Succeeded,
    /// It ended otherwise, after it may have changed something. The server's own word.
    Ended(String),
    /// It ended before anything of it ran.
    NeverRan(String),
}

impl Run {
    /// Whether it deploys, or would, if it succeeds.
    pub fn is_deployment(&self) -> bool {
        self.deploys && !self.of_pull_request
    }

    /// `run 20261125.3`
    pub fn name(&self) -> String {
        format!("run {}", clean(&self.number))
    }

    /// Who asked for it, where it was us.
    pub fn asked_for(&self) -> String {
        self.decision.as_ref().map(|record| format!(", asked for by record {}", clean(record))).unwrap_or_default()
    }
}

/// Longer texts are no names of versions.
const VERSION_CHARS_MAX: usize = 128;

/// Whether `text` may be sent as a version.
///
/// Pipelines put their inputs into shell scripts, and what we read may come from a commit's message: nothing that a shell
/// or an expression would read as more than a word passes.
pub fn is_version(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins && text.len() <= VERSION_CHARS_MAX && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+/:@".contains(c))
}

/// A version for people: a whole commit id is cut.
pub fn shown(version: &str) -> &str {
    let is_commit = version.len() == 40 && version.chars().all(|c| c.is_ascii_hexdigit());
    if is_commit { &version[..12] } else { version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_are_versions() {
        for text in ["1.41.2", "v1.41.2-rc.1+build.5", "release/2026-11", "sha256:12ab", "app@1", "0"] {
            assert!(is_version(text), "{text}");
        }
        for text in ["", " 1", "1;rm -rf", "$(x)", "`x`", "${{ x }}", "1\n2", "-1", "--force", "ä", "a|b", "a&b", "'", "\""] {
            assert!(!is_version(text), "{text}");
        }
        assert!(is_version(&"1".repeat(128)));
        assert!(!is_version(&"1".repeat(129)));
    }

    #[test]
    fn a_commit_is_cut_for_people_only() {
        assert_eq!(shown("0123456789abcdef0123456789abcdef01234567"), "0123456789ab");
        assert_eq!(shown("1.41.2"), "1.41.2");
    }
}
