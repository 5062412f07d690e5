//! The file as a tree whose every node knows its line, so that each later problem can say where it is.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::problems::Problem;

/// Line and column, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub line: u64,
    pub column: u64,
}

/// How our own visitor says so; the parser itself does not see that `1` and `"1"` are one name.
const DUPLICATE_KEY: &str = "duplicate key";

/// The same of a key that no message may repeat.
const UNFIT_KEY: &str = "unfit key";

/// Longest key: Azure allows tags no longer name. Keys stand in the path of every problem below them.
const KEY_CHARACTERS_MAX: usize = 512;

/// One step into the tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

pub(super) type Path = Vec<Step>;

/// The content without places, and the places beside it.
pub(super) struct Tree {
    pub value: Value,
    places: Places,
}

/// Where a node is, and what is below it. A tree as the content is one: a list of whole paths would repeat a long key as often as
/// there are nodes below it.
struct Places {
    own: Place,
    items: Vec<Places>,
    entries: HashMap<String, Places>,
}

impl Tree {
    /// Parses one YAML document. A syntax error ends it: nothing after it can be trusted.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let at_start = |says: &str, hint: &str| Problem {
            line: 1,
            column: 1,
            path: String::new(),
            says: says.to_owned(),
            hint: hint.to_owned(),
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(at_start("the file is not UTF-8 text", "save it as UTF-8"));
        };
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_depth: 32,
                max_nodes: 50_000,
                max_events: 200_000,
                max_aliases: 200,
                max_anchors: 200,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: 20_000,
                max_replay_stack_depth: 8,
            },
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
            with_snippet: false,
        };
        let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, options).map_err(|e| syntax_problem(&e))?;
        let (value, places) = split(root, None);
        if value.is_null() {
            return Err(at_start("the file is empty", "begin with `version: 1` and `services:`"));
        }
        Ok(Self { value, places })
    }

    /// Where the node at `path` is, or its nearest ancestor that is written.
    pub fn place(&self, path: &[Step]) -> Place {
        let mut places = &self.places;
        for step in path {
            let inner = match step {
                Step::Key(key) => places.entries.get(key),
                Step::Index(index) => places.items.get(*index),
            };
            let Some(inner) = inner else { break };
            places = inner;
        }
        places.own
    }

    pub fn get(&self, path: &[Step]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
    }
}

/// Of a key that is shown: longer than any name that makes sense.
const KEY_CHARACTERS_SHOWN: usize = 80;

/// The path as people write it: `services.checkout.alerts[1].rule`; a key without end is cut.
pub(super) fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(key.chars().take(KEY_CHARACTERS_SHOWN));
                if key.chars().nth(KEY_CHARACTERS_SHOWN).is_some() {
                    text.push('…');
                }
            }
            Step::Index(index) => {
                text.push('[');
                text.push_str(&index.to_string());
                text.push(']');
            }
        }
    }
    text
}

enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with values, a list, text, a number, true or false")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(Spanned<String>, Spanned<Node>)> = Vec::new();
        let mut known = HashSet::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            if key.value.contains(char::is_control) || key.value.chars().count() > KEY_CHARACTERS_MAX {
                return Err(A::Error::custom(UNFIT_KEY));
            }
            // `1` and `"1"` are two keys in YAML and one key here.
            if !known.insert(key.value.clone()) {
                return Err(A::Error::custom(DUPLICATE_KEY));
            }
            entries.push((key, access.next_value()?));
        }
        Ok(Node::Map(entries))
    }
}

/// A value stands where its key stands; an item of a list where it begins itself.
fn split(node: Spanned<Node>, key: Option<Place>) -> (Value, Places) {
    let own = Place { line: node.referenced.line().max(1), column: node.referenced.column().max(1) };
    let mut places = Places { own: key.unwrap_or(own), items: Vec::new(), entries: HashMap::new() };
    let value = match node.value {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(value),
        Node::Number(number) => Value::Number(number),
        Node::Text(text) => Value::String(text),
        Node::List(nodes) => {
            let (values, items) = nodes.into_iter().map(|item| split(item, None)).unzip();
            places.items = items;
            Value::Array(values)
        }
        Node::Map(entries) => {
            let mut values = Map::new();
            for (key, item) in entries {
                let place = Place { line: key.referenced.line().max(1), column: key.referenced.column().max(1) };
                let (value, below) = split(item, Some(place));
                places.entries.insert(key.value.clone(), below);
                values.insert(key.value, value);
            }
            Value::Object(values)
        }
    };
    (value, places)
}

fn syntax_problem(error: &serde_saphyr::Error) -> Problem {
    let place = error.location();
    let (says, hint) = syntax_words(error);
    Problem {
        line: place.map_or(1, |p| p.line().max(1)),
        column: place.map_or(1, |p| p.column().max(1)),
        path: String::new(),
        says: says.to_owned(),
        hint: hint.to_owned(),
    }
}

/// Our own words: those of the parser may repeat what stands in the file.
fn syntax_words(error: &serde_saphyr::Error) -> (&'static str, &'static str) {
    use serde_saphyr::Error;
    const TWICE: (&str, &str) = ("a key stands here for the second time", "keep one of the two; only one of them could count");
    match error.without_snippet() {
        Error::DuplicateMappingKey { .. } => TWICE,
        Error::Message { msg, .. } if msg.starts_with(DUPLICATE_KEY) => TWICE,
        Error::Message { msg, .. } if msg.starts_with(UNFIT_KEY) => (
            "a key here has more than 512 characters, or a control character",
            "keys are short words; check the quotes and the indentation of this line",
        ),
        Error::AliasError { error, .. } => syntax_words(error),
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => (
            "the file nests or repeats too much to be a policy",
            "write the values out instead of using aliases (`*name`), and nest no deeper than 32 levels",
        ),
        Error::MultipleDocuments { .. } => ("a second document begins here", "keep one document; remove the `---`"),
        // Whatever else a parser may say comes down to this for the person who wrote the file.
        _ => ("the file is not valid YAML here", "check indentation, colons and quotes on this line and the one before"),
    }
}
