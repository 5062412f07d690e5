//! Azure resource ids: parsed strictly at the edge, compared without case, kept as they were written.
//!
//! Source: `platform-reverts` "Resource ids", `event-formats` 3.2. Ids come from event payloads and go into URLs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::printable::deceives;

/// An ARM resource id of the form `/subscriptions/{guid}[/resourceGroups/{rg}][/providers/{ns}/{type}/{name}...]`.
///
/// Equality and hashing are by the canonical (ASCII lower case, no trailing slash) form.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    written: String,
    canonical: String,
}

/// Why a text is no resource id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an Azure resource id: {reason}")]
pub struct ResourceIdProblem {
    pub text: String,
    pub reason: &'static str,
}

const LENGTH_MAX: usize = 2048;

/// Bytes which no resource id may hold.
const ODD: [bool; 256] = {
    let mut odd = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        odd[byte as usize] = byte.is_ascii_control();
        byte += 1;
    }
    let others = b"?#%\\<>\"{}|^`";
    let mut place = 0;
    while place < others.len() {
        odd[others[place] as usize] = true;
        place += 1;
    }
    odd
};

impl ResourceId {
    /// Parses strictly: no `..`, empty segment, percent sign, query, blank at the ends or control character.
    pub fn parse(text: &str) -> Result<Self, ResourceIdProblem> {
        let refuse = |reason| Err(ResourceIdProblem { text: text.chars().filter(|c| !deceives(*c)).take(120).collect(), reason });
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        if trimmed.len() > LENGTH_MAX {
            return refuse("it is longer than 2,048 bytes");
        }
        let Some(path) = trimmed.strip_prefix('/') else {
            return refuse("it does not begin with `/subscriptions/`");
        };
        // Once over the whole: ids are parsed for every alert, and whenever a document is read.
        if path.bytes().any(|byte| ODD[usize::from(byte)]) || !path.is_ascii() && path.chars().any(deceives) {
            return refuse("it holds a character which no resource id may hold");
        }
        let segments: Vec<&str> = path.split('/').collect();
        for segment in &segments {
            if segment.is_empty() {
                return refuse("it has an empty segment");
            }
            if *segment == "." || *segment == ".." {
                return refuse("it has a `.` or `..` segment");
            }
            if segment.trim() != *segment {
                return refuse("a segment begins or ends with a blank");
            }
        }
        if !segments[0].eq_ignore_ascii_case("subscriptions") {
            return refuse("it does not begin with `/subscriptions/`");
        }
        if segments.len() < 2 {
            return refuse("the subscription is missing");
        }
        let mut rest = &segments[2..];
        if rest.first().is_some_and(|s| s.eq_ignore_ascii_case("resourceGroups")) {
            if rest.len() < 2 {
                return refuse("the resource group's name is missing");
            }
            rest = &rest[2..];
        }
        while !rest.is_empty() {
            if !rest[0].eq_ignore_ascii_case("providers") {
                return refuse("`providers` is expected after the resource group");
            }
            let end = rest[1..].iter().position(|s| s.eq_ignore_ascii_case("providers")).map_or(rest.len(), |i| i + 1);
            let provider = &rest[1..end];
            if provider.len() < 3 || provider.len().is_multiple_of(2) {
                return refuse("a provider needs a namespace and pairs of type and name");
            }
            rest = &rest[end..];
        }
        Ok(Self { written: trimmed.to_owned(), canonical: trimmed.to_ascii_lowercase() })
    }

    /// As it was written; use this one in calls.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// ASCII lower case without a trailing slash; use this one in keys.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Words count by their place: a subscription or a group may be called `resourceGroups` or `providers`.
    fn segment(&self, place: usize) -> Option<&str> {
        self.written.split('/').skip(1).nth(place)
    }

    pub fn subscription(&self) -> &str {
        self.segment(1).unwrap_or_default()
    }

    pub fn resource_group(&self) -> Option<&str> {
        self.segment(2).filter(|word| word.eq_ignore_ascii_case("resourceGroups")).and_then(|_| self.segment(3))
    }

    /// The type of the last provider in lower case, such as `microsoft.web/sites/slots`.
    pub fn resource_type(&self) -> Option<String> {
        let subscription_end = "/subscriptions/".len() + self.subscription().len();
        let at = self.canonical[subscription_end..].rfind("/providers/")? + subscription_end;
        let mut segments = self.canonical[at + "/providers/".len()..].split('/');
        let mut kind = segments.next()?.to_owned();
        while let Some(type_name) = segments.next() {
            kind.push('/');
            kind.push_str(type_name);
            segments.next();
        }
        Some(kind)
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.written.rsplit('/').next().unwrap_or_default()
    }

    /// The site of a slot, or of the site itself; `None` for other types.
    pub fn site(&self) -> Option<Self> {
        match self.resource_type()?.as_str() {
            "microsoft.web/sites" => Some(self.clone()),
            kind if kind.starts_with("microsoft.web/sites/") => {
                let at = self.canonical.rfind("/providers/microsoft.web/sites/")? + "/providers/microsoft.web/sites/".len();
                let end = self.written[at..].find('/').map_or(self.written.len(), |i| at + i);
                Some(Self { written: self.written[..end].to_owned(), canonical: self.canonical[..end].to_owned() })
            }
            _ => None,
        }
    }

    /// True if this is `other` or lies below it, segment by segment.
    pub fn is_within(&self, other: &Self) -> bool {
        self.canonical == other.canonical
            || (self.canonical.starts_with(&other.canonical)
                && self.canonical.as_bytes().get(other.canonical.len()) == Some(&b'/'))
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for ResourceId {}

impl std::hash::Hash for ResourceId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.canonical.cmp(&other.canonical)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({})", self.written)
    }
}

impl TryFrom<String> for ResourceId {
    type Error = ResourceIdProblem;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.written
    }
}
