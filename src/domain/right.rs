//! What our identities must be allowed to do.

use std::fmt;

/// One right that a rollback of a target needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededRight {
    pub identity: Identity,
    /// As the platform writes it, such as `Microsoft.Web/sites/slots/slotsswap/action`.
    pub action: String,
    /// Where it must hold: a resource id, or what the platform has instead.
    pub scope: String,
    /// A built-in role that has it, for the sentence that tells how to grant it.
    pub role: &'static str,
}

/// Which of the two identities; they may be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    Reading,
    Acting,
}

impl NeededRight {
    /// Several rights of one identity at one place.
    pub fn all(identity: Identity, actions: &[&str], scope: &impl fmt::Display, role: &'static str) -> Vec<Self> {
        let right = |action: &&str| Self { identity, action: (*action).to_owned(), scope: scope.to_string(), role };
        actions.iter().map(right).collect()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reading => "reading",
            Self::Acting => "acting",
        })
    }
}
