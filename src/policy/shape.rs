//! Tree -> [`PolicyFile`]. Each misfit is recorded and cut out of the tree, then the rest is read again: so all are told at once.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{
    file::PolicyFile,
    read::Findings,
    suggest::nearest,
    tree::{Path, Step},
};

/// More misfits than this tell nothing new.
const MISFITS_MAX: usize = 200;

/// Keys of an evidence entry that the format knows and this version does not have.
const LATER_EVIDENCE: [&str; 3] = ["kql", "promql", "dimension"];

/// The file as far as it fits its shape; `None` if nothing can be said beyond what was found.
pub(super) fn fit(findings: &mut Findings<'_>) -> Option<PolicyFile> {
    let mut value = findings.tree.value.clone();
    let mut cut: HashSet<Path> = HashSet::new();
    let mut empty = Vec::new();
    collect_empty(&value, &mut Vec::new(), &mut empty);
    for path in empty.into_iter().take(MISFITS_MAX) {
        findings.misfit(&path, "is empty", "write a value, or remove it");
        cut.extend(cut_out(&mut value, &path));
    }
    fit_value(findings, value, &[], cut)
}

/// A part of the file which is read apart, since what stands in it says what shape it has.
pub(super) fn fit_part<T: DeserializeOwned>(findings: &mut Findings<'_>, value: Value, part: &[Step]) -> Option<T> {
    fit_value(findings, value, part, HashSet::new())
}

/// `cut` and the paths of serde begin at `part`, those that are told at the root.
fn fit_value<T: DeserializeOwned>(
    findings: &mut Findings<'_>,
    mut value: Value,
    part: &[Step],
    mut cut: HashSet<Path>,
) -> Option<T> {
    let whole = |path: &[Step]| [part, path].concat();
    for _ in 0..MISFITS_MAX {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(file) => return Some(file),
            Err(error) => error,
        };
        let path = path_of(&error);
        let misfit = Misfit::of(&error.inner().to_string());
        let at = match &misfit {
            // The path of an unknown key may or may not include the key itself.
            Misfit::UnknownKey { key, .. } if path.last() != Some(&Step::Key(key.clone())) => {
                let mut path = path;
                path.push(Step::Key(key.clone()));
                path
            }
            Misfit::MissingKey(key) => {
                let mut missing = path.clone();
                missing.push(Step::Key(key.clone()));
                // What was cut out for its own fault is not missing.
                if !cut.contains(&missing) && !findings.is_misfit(&whole(&missing)) {
                    findings.misfit(&whole(&path), format!("lacks `{key}`"), missing_hint(key));
                }
                path
            }
            Misfit::UnknownKey { .. } | Misfit::UnknownWord { .. } | Misfit::WrongKind { .. } | Misfit::Other => path,
        };
        misfit.tell(findings, &whole(&at));
        let gone = cut_out(&mut value, &at)?;
        cut.insert(gone);
    }
    findings.misfit(part, "the file has more problems than are listed here", "correct these first");
    None
}

/// What serde said, sorted by what a person can do about it.
enum Misfit {
    UnknownKey { key: String, known: Vec<String> },
    UnknownWord { word: String, known: Vec<String> },
    MissingKey(String),
    WrongKind { is: &'static str, expected: &'static str },
    Other,
}

impl Misfit {
    fn of(message: &str) -> Self {
        let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let names = quoted(message);
        let first = names.first().cloned().unwrap_or_default();
        // Names may hold a backtick themselves; then the list of known ones is wrong but harmless.
        let known = names.into_iter().skip(1).collect();
        if message.starts_with("unknown field") {
            Self::UnknownKey { key: first, known }
        } else if message.starts_with("unknown variant") {
            Self::UnknownWord { word: first, known }
        } else if message.starts_with("missing field") {
            Self::MissingKey(first)
        } else if let Some(kinds) = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")) {
            let (is, expected) = kinds.rsplit_once(", expected ").unwrap_or((kinds, ""));
            Self::WrongKind { is: kind_of(is), expected: kind_expected(expected) }
        } else {
            Self::Other
        }
    }

    fn tell(&self, findings: &mut Findings<'_>, at: &[Step]) {
        match self {
            // Told where it was found, since it may be a mere consequence.
            Self::MissingKey(_) => {}
            Self::UnknownKey { key, .. } if in_evidence(at) && LATER_EVIDENCE.contains(&key.as_str()) => findings.misfit(
                at,
                "is a kind of evidence that is not available in this version",
                "write `metric:`, and `of:` for a share; available are Azure metrics of a resource",
            ),
            Self::UnknownKey { key, .. } if key == "url" && is_below(at, "notify") => findings.misfit(
                at,
                "would put a secret into the file",
                "store the URL in an app setting and write the setting's name as `urlFrom`",
            ),
            Self::UnknownKey { key, known } => {
                let hint = match nearest(key, known.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known here: {}", listed(known)),
                };
                findings.misfit(at, "is not a key of this place", hint);
            }
            Self::UnknownWord { word, known } => {
                let hint = match nearest(word, known.iter().map(String::as_str)) {
                    Some(meant) => format!("did you mean `{meant}`? Known: {}", listed(known)),
                    None => format!("known: {}", listed(known)),
                };
                findings.misfit(at, format!("says {}, which is not known", shown(word)), hint);
            }
            Self::WrongKind { is, expected } => {
                findings.misfit(at, format!("is {is}; {expected} is expected"), kind_hint(at, expected));
            }
            Self::Other => findings.misfit(at, "does not fit the shape of a policy", "compare it with `backout schema`"),
        }
    }
}

/// Keys and items without a value: more likely an unfinished edit than a wish for the default.
fn collect_empty(value: &Value, path: &mut Path, empty: &mut Vec<Path>) {
    let children: Vec<(Step, &Value)> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (Step::Index(index), item)).collect(),
        Value::Object(entries) => entries.iter().map(|(key, entry)| (Step::Key(key.clone()), entry)).collect(),
        Value::Null => {
            empty.push(path.clone());
            Vec::new()
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (step, child) in children {
        path.push(step);
        collect_empty(child, path, empty);
        path.pop();
    }
}

fn path_of(error: &serde_path_to_error::Error<serde_json::Error>) -> Path {
    error
        .path()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Removes the node; an item takes its list with it, so that the places of the other items stay true.
fn cut_out(value: &mut Value, path: &[Step]) -> Option<Path> {
    let length = path.iter().rposition(|step| matches!(step, Step::Key(_)))? + 1;
    let (Step::Key(last), parents) = path[..length].split_last()? else { return None };
    let parent = parents.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })?;
    parent.as_object_mut()?.remove(last)?;
    Some(path[..length].to_vec())
}

fn in_evidence(path: &[Step]) -> bool {
    path.iter().any(|step| *step == Step::Key("evidence".to_owned()))
}

fn is_below(path: &[Step], root: &str) -> bool {
    path.first() == Some(&Step::Key(root.to_owned()))
}

fn listed(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A wrong word as it may be echoed: short and plain, so that a misplaced secret is not.
pub(super) fn shown(word: &str) -> String {
    let plain = word.chars().count() <= 32 && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_. ".contains(c));
    if plain { format!("`{word}`") } else { "a word".to_owned() }
}

fn kind_of(is: &str) -> &'static str {
    const KINDS: [(&str, &str); 7] = [
        ("string", "text"),
        ("integer", "a number"),
        ("floating point", "a number with a fraction"),
        ("number", "a number"),
        ("boolean", "true or false"),
        ("sequence", "a list"),
        ("map", "keys with values"),
    ];
    KINDS.iter().find(|(prefix, _)| is.starts_with(prefix)).map_or("something else", |(_, words)| words)
}

fn kind_expected(expected: &str) -> &'static str {
    match expected {
        "u32" | "u64" => "a whole number that is not negative",
        "a sequence" => "a list",
        "a string" | "string or map" | "map with a single key" => "text",
        _ => "a set of keys with values",
    }
}

fn kind_hint(at: &[Step], expected: &str) -> String {
    let key = at.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    match key {
        Some("severityAtLeast") => "write `Sev0`, `Sev1`, `Sev2`, `Sev3` or `Sev4`".to_owned(),
        Some(
            "correlationWindow" | "evidenceWait" | "healthyFor" | "coolDown" | "quietTime" | "verifyWithin" | "per" | "within",
        ) => "write a duration with its unit, such as `30m`".to_owned(),
        Some(_) | None => match expected {
            "text" => "write text; put it in quotes if it looks like a number, `true` or `false`".to_owned(),
            "a list" => "write the items with `- ` before each, or as `[one, two]`".to_owned(),
            "a set of keys with values" => "write `key: value` lines, indented below it".to_owned(),
            _ => "write digits only".to_owned(),
        },
    }
}

fn missing_hint(key: &str) -> String {
    match key {
        "target" => "write `target: { platform: app-service, site: RESOURCE_ID }`".to_owned(),
        "site" | "workflow" | "app" | "scope" | "vault" => format!("write `{key}:` and its resource id"),
        "channel" => "write `channel: log`, `teams`, `slack` or `webhook`".to_owned(),
        _ => format!("write `{key}:` and its value"),
    }
}
