//! The shell and the `kubectl` of a simulated command, as far as the lines need them that are sent to it.
//!
//! Tests run the same lines with the real programs and compare.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, ser::PrettyFormatter};

use super::{World, api};
use crate::sim::call::{Call, Reply, Role};

/// Where a line runs, and as whom.
pub struct Shell<'a> {
    pub world: &'a mut World,
    /// Name of the cluster.
    pub cluster: &'a str,
    /// `None` for the administrator.
    pub token: Option<String>,
    /// By name, in the folder where the line runs.
    pub files: &'a BTreeMap<String, String>,
    pub now: Timestamp,
}

/// What a program printed, if it ended well; else what it printed, with exit code 1.
type Printed = Result<String, String>;

impl Shell<'_> {
    /// Exit code, and everything that was printed.
    pub fn run(&mut self, line: &str) -> (i64, String) {
        let Some(programs) = programs(line) else {
            return (2, "sh: 1: Syntax error: the simulated shell does not know this\n".to_owned());
        };
        let mut output = String::new();
        for words in programs {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let printed = match words.as_slice() {
                ["echo", words @ ..] => Ok(format!("{}\n", words.join(" "))),
                ["kubectl", arguments @ ..] => self.kubectl(arguments),
                _ => return (127, format!("{output}sh: 1: {}: not found\n", words.first().unwrap_or(&""))),
            };
            match printed {
                Ok(text) => output.push_str(&text),
                Err(text) => return (1, output + &text),
            }
        }
        (0, output)
    }

    fn kubectl(&mut self, arguments: &[&str]) -> Printed {
        match arguments {
            ["get", what, "-n", namespace, "-o", form @ ..] => {
                let object = self.call(&Method::GET, &place(what, namespace)?, None)?;
                match form {
                    ["json", "--show-managed-fields"] => pretty(&object),
                    [form] => printed_by(form, &object),
                    _ => Err("error: unknown output format\n".to_owned()),
                }
            }
            ["patch", what, "-n", namespace, "--type=json", file, manager, "-o", form] => {
                let file = file.strip_prefix("--patch-file=").ok_or("error: must specify --patch-file\n")?;
                let manager = manager.strip_prefix("--field-manager=").ok_or("error: unknown flag\n")?;
                let patch = self.files.get(file);
                let patch = patch.ok_or_else(|| format!("error: open {file}: no such file or directory\n"))?.clone();
                let object =
                    self.call(&Method::PATCH, &format!("{}?fieldManager={manager}", place(what, namespace)?), Some(patch))?;
                printed_by(form, &object)
            }
            ["create", "--raw", place, "-f", file] => {
                let body = self.files.get(*file);
                let body = body.ok_or_else(|| format!("error: open {file}: no such file or directory\n"))?.clone();
                self.call(&Method::POST, place, Some(body)).map(|answer| answer.to_string())
            }
            _ => Err("error: the simulated kubectl does not know this command\n".to_owned()),
        }
    }

    /// The object of an answer, or what `kubectl` prints about a refusal.
    fn call(&mut self, method: &Method, place: &str, body: Option<String>) -> Result<Value, String> {
        let path = format!("/clusters/{}{place}", self.cluster);
        let uri: Uri = path.parse().map_err(|_| "error: the simulated kubectl cannot write this URL\n")?;
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token
            && let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}"))
        {
            headers.insert(header::AUTHORIZATION, value);
        }
        if *method == Method::PATCH {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json-patch+json"));
        }
        let call = Call::new(Role::Kubernetes, method.clone(), &uri, headers, Bytes::from(body.unwrap_or_default()));
        let reply = api::answer(self.world, &call, self.now);
        let object: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if reply.status.is_success() { Ok(object) } else { Err(refusal(&reply, &object)) }
    }
}

/// By the rules of `kubectl`'s `CheckErr`.
fn refusal(reply: &Reply, status: &Value) -> String {
    let (reason, message) = (status["reason"].as_str().unwrap_or_default(), status["message"].as_str().unwrap_or_default());
    match reply.status {
        StatusCode::UNAUTHORIZED => format!("error: You must be logged in to the server ({message})\n"),
        StatusCode::UNPROCESSABLE_ENTITY => format!("The request is invalid: {message}\n"),
        _ => format!("Error from server ({reason}): {message}\n"),
    }
}

/// `deployments.apps/web` or `replicasets.apps` as a path.
fn place(what: &str, namespace: &str) -> Result<String, String> {
    let (kind, name) = what.split_once('/').map_or((what, None), |(kind, name)| (kind, Some(name)));
    let plural = kind.strip_suffix(".apps").ok_or("error: the server doesn't have a resource type of that name\n")?;
    let collection = format!("/apis/apps/v1/namespaces/{namespace}/{plural}");
    Ok(name.map_or(collection.clone(), |name| format!("{collection}/{name}")))
}

fn pretty(object: &Value) -> Printed {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    object.serialize(&mut serializer).map_err(|_| "error: no JSON\n")?;
    Ok(format!("{}\n", String::from_utf8_lossy(&bytes)))
}

/// `jsonpath=` with texts and plain fields, or with the one filter that is sent.
fn printed_by(form: &str, object: &Value) -> Printed {
    let unknown = || "error: the simulated kubectl does not know this output format\n".to_owned();
    let mut rest = form.strip_prefix("jsonpath=").ok_or_else(unknown)?;
    let mut printed = String::new();
    while let Some((before, after)) = rest.split_once('{') {
        let (inner, after) = after.split_once('}').ok_or_else(unknown)?;
        printed.push_str(before);
        printed.push_str(&field(inner, object).ok_or_else(unknown)?);
        rest = after;
    }
    Ok(printed + rest)
}

fn field(path: &str, object: &Value) -> Option<String> {
    const FILTER: &str = ".items[?(@.metadata.ownerReferences[0].name==\"";
    if let Some(name) = path.strip_prefix(FILTER) {
        let name = name.strip_suffix("\")]")?;
        let owned = |item: &&Value| item["metadata"]["ownerReferences"][0]["name"] == name;
        let items: Vec<String> = object["items"].as_array()?.iter().filter(owned).map(ToString::to_string).collect();
        return Some(items.join(" "));
    }
    let found = object.pointer(&path.replace('.', "/"))?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// The programs of a line, joined by `&&`, with their words; `None` for anything that is more than words and single quotes.
fn programs(line: &str) -> Option<Vec<Vec<String>>> {
    let mut programs = vec![Vec::new()];
    let mut characters = line.chars().peekable();
    let mut word: Option<String> = None;
    while let Some(c) = characters.next() {
        match c {
            ' ' => programs.last_mut()?.extend(word.take()),
            '\'' => {
                let into = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        quoted => into.push(quoted),
                    }
                }
            }
            '&' if word.is_none() && characters.next_if_eq(&'&').is_some() => programs.push(Vec::new()),
            plain if plain.is_ascii_alphanumeric() || "-_./=:,@%+".contains(plain) => word.get_or_insert_default().push(plain),
            _ => return None,
        }
    }
    programs.last_mut()?.extend(word);
    programs.iter().all(|words| !words.is_empty()).then_some(programs)
}

#[cfg(test)]
mod tests {
    use super::programs;

    #[test]
    fn a_line_is_words_and_quotes_or_nothing() {
        let words = |line: &str| programs(line).map(|all| all.into_iter().map(|words| words.join("|")).collect::<Vec<_>>());
        assert_eq!(
            words("kubectl get a/b -o x='{.c} {.d}' && echo e"),
            Some(vec!["kubectl|get|a/b|-o|x={.c} {.d}".into(), "echo|e".into()])
        );
        for odd in ["", "a ; b", "a $(b)", "a \"b\"", "a 'b", "a && ", "a & b", "a > b", "a\nb"] {
            assert_eq!(words(odd), None, "{odd}");
        }
    }
}
