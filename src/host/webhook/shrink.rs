//! An alert that is too big for its queue: result rows go first, and nothing goes that a decision could use.
//!
//! `essentials`, dimensions, labels and custom properties stay whole. Of result rows the resource ids stay, since they say what is
//! affected. What was dropped is said in the message itself, and so in the record.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::{Map, Value, json};

use crate::{domain::resource_id::ResourceId, inbound::DROPPED_MEMBER};

/// A body that may have been made smaller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    pub body: Vec<u8>,
    /// What was dropped, as it stands in the message; `None` where the body is as it came.
    pub dropped: Option<String>,
}

/// Makes an alert fit into `bytes_max`. What cannot be made to fit comes back as small as it got.
pub fn to_fit(body: Vec<u8>, bytes_max: usize) -> Shrunk {
    if body.len() <= bytes_max {
        return Shrunk { body, dropped: None };
    }
    let Ok(mut message) = serde_json::from_slice::<Value>(&body) else { return Shrunk { body, dropped: None } };
    let mut dropped = Dropped::default();
    for_each_alert(&mut message, &mut |index, alert| {
        let before = dropped.rows;
        for place in [&["data", "alertContext"][..], &["data"], &[]] {
            if let Some(holder) = object_at(alert, place) {
                drop_rows(holder, &mut dropped);
            }
        }
        if dropped.rows > before {
            dropped.from.insert(index);
        }
    });
    let mut droppable = Vec::new();
    for_each_alert(&mut message, &mut |index, alert| find_droppable(index, alert, &mut droppable));
    droppable.sort_by_key(|member| Reverse(member.bytes));
    let mut bytes = size(&message);
    let mut members: BTreeMap<usize, Vec<Vec<Step>>> = BTreeMap::new();
    for member in droppable {
        // The marks are written last; their room is set aside.
        if bytes <= bytes_max.saturating_sub(dropped.from.len() * MARK_BYTES_MAX) {
            break;
        }
        bytes = bytes.saturating_sub(member.bytes);
        dropped.from.insert(member.alert);
        dropped.members.insert(member.path.iter().filter_map(Step::name).collect::<Vec<_>>().join("."));
        members.entry(member.alert).or_default().push(member.path);
    }
    if dropped.from.is_empty() {
        return Shrunk { body, dropped: None };
    }
    let says = dropped.says();
    for_each_alert(&mut message, &mut |index, alert| {
        members.remove(&index).into_iter().flatten().for_each(|path| drop_member(alert, &path));
        if dropped.from.contains(&index) {
            alert.insert(DROPPED_MEMBER.to_owned(), Value::String(says.clone()));
        }
    });
    let smaller = message.to_string().into_bytes();
    // A few short rows may be less than what is said about them.
    if smaller.len() < body.len() { Shrunk { body: smaller, dropped: Some(says) } } else { Shrunk { body, dropped: None } }
}

/// Of the mark, its name and quotes included.
const MARK_BYTES_MAX: usize = 512;
/// Texts and lists of the alert's context below this are not worth dropping.
const MEMBER_BYTES_MIN: usize = 1024;
/// Members of the context that are read, by lower-case name; and of each criterion under `condition.allOf`.
const CONTEXT_KEPT: &[&str] = &[
    "affectedconfigurationitems",
    "authorization",
    "condition",
    "dimensions",
    "labels",
    "properties",
    "searchintervalendtimeutc",
    "searchintervalstarttimeutc",
    "searchresult",
    "searchresults",
];
const CRITERION_KEPT: &[&str] = &["dimensions", "webtestname"];

#[derive(Default)]
struct Dropped {
    rows: usize,
    members: BTreeSet<String>,
    /// The alerts that lost something, by their place in the message.
    from: BTreeSet<usize>,
}

impl Dropped {
    fn says(&self) -> String {
        let rows = (self.rows > 0).then(|| format!("{} result rows (their resource ids are kept)", self.rows));
        let mut says = rows.into_iter().chain(self.members.iter().cloned()).collect::<Vec<_>>().join(", ");
        let end = says.char_indices().nth(MARK_CHARACTERS_MAX).map_or(says.len(), |(at, _)| at);
        says.truncate(end);
        says
    }
}

/// Names of members are chosen by the sender; each character may take 6 bytes in JSON.
const MARK_CHARACTERS_MAX: usize = 80;

/// The message itself, or each object of a list of them, with its number.
fn for_each_alert(message: &mut Value, work: &mut impl FnMut(usize, &mut Map<String, Value>)) {
    fn visit(message: &mut Value, index: &mut usize, work: &mut impl FnMut(usize, &mut Map<String, Value>)) {
        match message {
            Value::Object(alert) => {
                work(*index, alert);
                *index += 1;
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| visit(element, index, work)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    visit(message, &mut 0, work);
}

/// Names are compared as inbound does: the exact spelling first, then without case.
fn key_of(object: &Map<String, Value>, name: &str) -> Option<String> {
    if object.contains_key(name) {
        return Some(name.to_owned());
    }
    object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()
}

fn object_at<'a>(object: &'a mut Map<String, Value>, names: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let Some((first, rest)) = names.split_first() else { return Some(object) };
    let key = key_of(object, first)?;
    object_at(object.get_mut(&key)?.as_object_mut()?, rest)
}

fn drop_rows(holder: &mut Map<String, Value>, dropped: &mut Dropped) {
    for name in ["SearchResults", "SearchResult"] {
        let Some(results) = object_at(holder, &[name]) else { continue };
        let Some(key) = key_of(results, "tables") else { continue };
        for table in results.get_mut(&key).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(table) = table.as_object_mut() {
                dropped.rows += reduce_to_ids(table);
            }
        }
    }
}

/// Leaves of a table its column of resource ids, each id once; the number of rows that were in it. A table in a form that nobody
/// knows stays as it is, to be judged as it is.
fn reduce_to_ids(table: &mut Map<String, Value>) -> usize {
    let (Some(columns_key), Some(rows_key)) = (key_of(table, "columns"), key_of(table, "rows")) else { return 0 };
    let (Some(Value::Array(columns)), Some(Value::Array(rows))) = (table.get(&columns_key), table.get(&rows_key)) else {
        return 0;
    };
    let columns: Vec<&Value> = columns.iter().filter(|column| !column.is_null()).collect();
    let rows: Vec<&Value> = rows.iter().filter(|row| !row.is_null()).collect();
    if !columns.iter().all(|column| column.is_object()) || !rows.iter().all(|row| row.is_array()) {
        return 0;
    }
    let is_id = |column: &&Value| {
        let object = column.as_object();
        let name = object.and_then(|object| object.get(&key_of(object, "name")?)).and_then(Value::as_str);
        name.is_some_and(|name| name.eq_ignore_ascii_case("_ResourceId"))
    };
    let count = rows.len();
    let (columns, ids): (Vec<Value>, Vec<Value>) = match columns.iter().position(is_id) {
        None => (columns.into_iter().cloned().collect(), Vec::new()),
        Some(place) => {
            let mut seen = BTreeSet::new();
            let ids = rows.iter().take(ROWS_READ).filter_map(|row| row.get(place)?.as_str());
            let ids = ids.filter(|id| ResourceId::parse(id).is_ok() && seen.insert(id.to_ascii_lowercase()));
            (vec![columns[place].clone()], ids.map(|id| json!([id])).collect())
        }
    };
    table.insert(columns_key, Value::Array(columns));
    table.insert(rows_key, Value::Array(ids));
    count
}

/// Rows of a table that inbound looks at.
const ROWS_READ: usize = 100;

#[derive(Debug, Clone)]
enum Step {
    Member(String),
    Element(usize),
}

impl Step {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Member(name) => Some(name),
            Self::Element(_) => None,
        }
    }
}

/// A member of an alert's context which nobody reads.
struct Droppable {
    alert: usize,
    path: Vec<Step>,
    /// Of all that goes with it: name, value, colon and comma.
    bytes: usize,
}

fn find_droppable(index: usize, alert: &Map<String, Value>, found: &mut Vec<Droppable>) {
    let Some((context, names)) = context_of(alert) else { return };
    let mut path: Vec<Step> = names.into_iter().map(Step::Member).collect();
    offer(index, context, CONTEXT_KEPT, &path, found);
    if let Some(condition) = key_of(context, "condition")
        && let Some(inner) = context.get(&condition).and_then(Value::as_object)
        && let Some(all_of) = key_of(inner, "allOf")
        && let Some(criteria) = inner.get(&all_of).and_then(Value::as_array)
    {
        path.extend([Step::Member(condition), Step::Member(all_of)]);
        for (place, criterion) in criteria.iter().enumerate() {
            path.push(Step::Element(place));
            if let Some(criterion) = criterion.as_object() {
                offer(index, criterion, CRITERION_KEPT, &path, found);
            }
            path.pop();
        }
    }
}

fn context_of(alert: &Map<String, Value>) -> Option<(&Map<String, Value>, Vec<String>)> {
    let data = key_of(alert, "data")?;
    let inner = alert.get(&data)?.as_object()?;
    let context = key_of(inner, "alertContext")?;
    Some((inner.get(&context)?.as_object()?, vec![data, context]))
}

fn offer(index: usize, object: &Map<String, Value>, kept: &[&str], path: &[Step], found: &mut Vec<Droppable>) {
    for (name, value) in object {
        let bytes = size(value);
        let is_kept = kept.contains(&name.to_ascii_lowercase().as_str());
        if !is_kept && bytes >= MEMBER_BYTES_MIN {
            let path = path.iter().cloned().chain([Step::Member(name.clone())]).collect();
            found.push(Droppable { alert: index, path, bytes: bytes + size(&Value::String(name.clone())) + 2 });
        }
    }
}

fn drop_member(alert: &mut Map<String, Value>, path: &[Step]) {
    let Some((Step::Member(last), parents)) = path.split_last() else { return };
    let Some((Step::Member(first), between)) = parents.split_first() else { return };
    let parent = between.iter().try_fold(alert.get_mut(first), |value, step| {
        Some(match step {
            Step::Member(name) => value?.get_mut(name),
            Step::Element(index) => value?.get_mut(index),
        })
    });
    if let Some(object) = parent.flatten().and_then(Value::as_object_mut) {
        object.remove(last);
    }
}

fn size(value: &Value) -> usize {
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
