//! What was looked at and what came of it, as a line for people or an object for programs.

use serde_json::{Value, json};

use crate::domain::{printable::printable, right::NeededRight};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Such as `store` or `rights for checkout`.
    pub what: String,
    pub status: Status,
    /// For a person: what was found, and what to do.
    pub says: String,
    /// The right that was asked for.
    pub right: Option<NeededRight>,
    /// A command that mends it, where there is one.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    /// Nothing fails, and somebody may want to know.
    Note,
    /// A right that is not there.
    Missing,
    Problem,
    /// Nobody could be asked without harm, or who was asked did not tell: neither good nor bad.
    NotChecked,
}

impl Finding {
    pub fn ok(what: impl Into<String>, says: impl Into<String>) -> Self {
        Self::of(what, Status::Ok, says)
    }

    pub fn problem(what: impl Into<String>, says: impl Into<String>) -> Self {
        Self::of(what, Status::Problem, says)
    }

    pub fn not_checked(what: impl Into<String>, says: impl Into<String>) -> Self {
        Self::of(what, Status::NotChecked, says)
    }

    pub fn of(what: impl Into<String>, status: Status, says: impl Into<String>) -> Self {
        Self { what: what.into(), status, says: says.into(), right: None, fix: None }
    }

    pub fn about(self, right: &NeededRight) -> Self {
        Self { right: Some(right.clone()), ..self }
    }

    pub fn mended_by(self, command: impl Into<String>) -> Self {
        Self { fix: Some(command.into()), ..self }
    }

    /// Whether nothing would fail for this.
    pub fn is_good(&self) -> bool {
        match self.status {
            Status::Ok | Status::Note | Status::NotChecked => true,
            Status::Missing | Status::Problem => false,
        }
    }

    /// Every key is there; null where it has no value.
    pub fn to_json(&self) -> Value {
        let right = self.right.as_ref();
        json!({
            "what": self.what,
            "status": self.status.key(),
            "good": self.is_good(),
            "says": self.says,
            "identity": right.map(|right| right.identity.to_string()),
            "action": right.map(|right| &right.action),
            "scope": right.map(|right| &right.scope),
            "fix": self.fix,
        })
    }

    pub fn to_text(&self) -> String {
        let lines = self.says.lines().chain(self.fix.as_deref());
        let lines: Vec<String> = lines.map(printable).collect();
        format!("{:11}  {}: {}", self.status.words(), self.what, lines.join("\n             "))
    }
}

impl Status {
    fn key(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Missing => "missing",
            Self::Problem => "problem",
            Self::NotChecked => "notChecked",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Missing => "MISSING",
            Self::Problem => "PROBLEM",
            Self::NotChecked => "not checked",
        }
    }
}
