//! Where state lives: small documents under keys, with compare-and-set.

use std::fmt;

use super::PortError;

/// A key such as `targets/abc`: segments of `a-z`, `0-9`, `-`, `_`, `.`, joined by `/`; at most 200 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// # Panics
    /// On a key outside the alphabet: keys are made by our own code from hashes and fixed words only.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let key = Self::parse(&text);
        key.unwrap_or_else(|| panic!("`{text}` is not a store key"))
    }

    /// `None` for a text outside the alphabet, such as the name of something that is not ours.
    pub fn parse(text: &str) -> Option<Self> {
        let good = |segment: &str| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        };
        (text.len() <= 200 && text.split('/').all(good)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one state of one document; changes with every write. Opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub body: Vec<u8>,
    pub version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    Now(Version),
    /// The key was taken; nothing was written.
    AlreadyThere,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    Now(Version),
    /// The document is not at that version any more, or not there; nothing was written.
    ChangedMeanwhile,
}

/// A store of documents of up to 1 MiB.
///
/// A write that returned is there for every later read by anyone, also after a crash. There is no atomicity across
/// documents. An implementation may retry a write whose answer got lost, so a writer can meet its own write: bodies
/// carry a nonce, and whoever gets `AlreadyThere` or `ChangedMeanwhile` reads back and compares. An error tells
/// nothing about whether the write happened.
#[async_trait::async_trait]
pub trait StateStore: Send + Sync {
    /// Not there: `None`.
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError>;

    /// Writes only if the key is free. Called twice or by two at once: exactly one gets `Now`.
    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError>;

    /// Writes only if the document is still at `version`. By two at once: exactly one gets `Now`.
    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError>;

    /// Removes the document if it is still at `version`. Not there or changed meanwhile: no effect, `false`.
    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError>;

    /// Keys that begin with `prefix`, in ascending order, after `after`, at most `limit`.
    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError>;
}
