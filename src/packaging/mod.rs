//! The function app as one zip: what belongs in, whether it would start, the same bytes from the same input.
//!
//! Everything is judged before anything is written: a package that would not start is refused here, with a sentence, and not
//! found out by a host that restarts its handler three times and stops.

pub mod app_files;
pub mod archive;
pub mod binary;
pub mod contents;
pub mod sbom;

/// Why a package would not do its work, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    fn new(says: impl Into<String>) -> Self {
        Self(says.into())
    }
}

/// What a program that starts everywhere is built with; part of every refusal of a binary.
pub const BUILD_COMMAND: &str = "cargo zigbuild --release --locked --bin backout --target x86_64-unknown-linux-gnu.2.28";
