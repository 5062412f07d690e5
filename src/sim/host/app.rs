//! `host.json` and the `function.json` files, read as the host reads them.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::packaging::app_files::AppFiles;

/// A function app: what to run, and which functions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionApp {
    /// The script root, if it is a folder.
    pub root: Option<PathBuf>,
    pub executable: PathBuf,
    pub arguments: Vec<String>,
    /// `None`: unbounded (`-1`).
    pub function_timeout: Option<Duration>,
    pub initialization_timeout: Duration,
    pub functions: Vec<FunctionDefinition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDefinition {
    /// Name of the folder, with its case.
    pub name: String,
    /// Name of the trigger binding.
    pub binding: String,
    pub trigger: Trigger,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    ServiceBus {
        queue: String,
        connection: String,
        data_type: DataType,
    },
    Timer {
        use_monitor: bool,
    },
    Http {
        /// Lower case.
        methods: Vec<String>,
        /// Without the prefix `api/`.
        route: String,
        /// Whether the host asks for a function key.
        key_needed: bool,
        /// Name of the output binding that becomes the answer.
        output: String,
    },
    /// Loaded, but not invoked here.
    Other {
        kind: String,
    },
}

/// How the host hands the message's body over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// `dataType` absent or `string`.
    Text,
    Binary,
}

/// A file that the host would refuse, or that holds something which is not emulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {says}")]
pub struct AppProblem {
    pub file: String,
    pub says: String,
}

impl FunctionApp {
    /// Reads the folder's files ([`AppFiles::read`] says which).
    pub fn read(root: &Path) -> Result<Self, AppProblem> {
        // The process gets it as its directory, so its own paths must not be relative to another one.
        let root = &fs::canonicalize(root).map_err(|error| problem(root.display(), error))?;
        let files = AppFiles::read(root).map_err(|unreadable| problem(unreadable.file, unreadable.says))?;
        let mut app = Self::of(&files)?;
        // Relative, and there: that file. Otherwise it is looked up on PATH, as it is written.
        let beside = root.join(&app.executable);
        if app.executable.is_relative() && beside.is_file() {
            app.executable = beside;
        }
        app.root = Some(root.to_owned());
        Ok(app)
    }

    /// The files of this repository, as they were when it was compiled.
    pub fn built_in() -> Result<Self, AppProblem> {
        Self::of(&AppFiles::built_in())
    }

    pub fn function(&self, name: &str) -> Option<&FunctionDefinition> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// What the host makes of these files; nothing is looked up on disk.
    pub fn of(files: &AppFiles) -> Result<Self, AppProblem> {
        let file = "host.json";
        let host: Value = serde_json::from_str(&files.host_json).map_err(|error| problem(file, error))?;
        let description = &host["customHandler"]["description"];
        if !description.is_object() {
            return Err(problem(file, "Missing worker Description (`customHandler.description`)"));
        }
        let executable = description["defaultExecutablePath"].as_str().unwrap_or_default();
        if executable.is_empty() {
            return Err(problem(file, "WorkerDescription DefaultExecutablePath cannot be empty"));
        }
        // The host joins the arguments with blanks and quotes none of them.
        let words: Vec<&str> = description["arguments"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let function_timeout = match host["functionTimeout"].as_str() {
            None => Some(Duration::from_mins(30)),
            Some("-1") => None,
            Some(text) => Some(time_span(text).ok_or_else(|| problem(file, "`functionTimeout` is not `hh:mm:ss`"))?),
        };
        let initialization_timeout = match host["customHandler"]["initializationTimeout"].as_str() {
            None => Duration::from_secs(30),
            Some(text) => time_span(text).ok_or_else(|| problem(file, "`initializationTimeout` is not `hh:mm:ss`"))?,
        };
        let mut functions =
            files.functions.iter().map(|(name, text)| parse_function(name, text)).collect::<Result<Vec<_>, _>>()?;
        functions.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Self {
            root: None,
            executable: PathBuf::from(executable),
            arguments: words.join(" ").split_whitespace().map(str::to_owned).collect(),
            function_timeout,
            initialization_timeout,
            functions,
        })
    }
}

fn parse_function(name: &str, text: &str) -> Result<FunctionDefinition, AppProblem> {
    let file = format!("{name}/function.json");
    let refuse = |says: &str| Err(problem(&file, says));
    let well_named = name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && !name.eq_ignore_ascii_case("host");
    if !well_named {
        return refuse("the folder's name is not a function name: a letter, then letters, digits, `_`, `-`, and not `host`");
    }
    let function: Value = serde_json::from_str(text).map_err(|error| problem(&file, error))?;
    let Some([binding, others @ ..]) = function["bindings"].as_array().map(Vec::as_slice) else {
        return refuse("`bindings` has no entry");
    };
    let word = |key: &str| binding[key].as_str().unwrap_or_default();
    let output = match others {
        [] => None,
        // The host compares the type of an HTTP output with this very spelling.
        [output] if output["type"] == "http" && output["direction"] == "out" => output["name"].as_str(),
        [_, ..] => return refuse("more than one binding: only the trigger, and the output of an HTTP trigger, are emulated"),
    };
    if !word("direction").eq_ignore_ascii_case("in") {
        return refuse("the binding is not the trigger: `direction` is not `in`");
    }
    if word("name").is_empty() {
        return refuse("the binding has no `name`");
    }
    let kind = word("type").to_ascii_lowercase();
    let trigger = match kind.as_str() {
        "servicebustrigger" => {
            if word("queueName").is_empty() {
                return refuse("`queueName` is missing: only queues are emulated");
            }
            if word("cardinality").eq_ignore_ascii_case("many") {
                return refuse("cardinality `many` is not emulated");
            }
            let data_type = match word("dataType").to_ascii_lowercase().as_str() {
                "binary" => DataType::Binary,
                "" | "string" => DataType::Text,
                _ => return refuse("`dataType` is neither `binary` nor `string`"),
            };
            Trigger::ServiceBus { queue: word("queueName").to_owned(), connection: word("connection").to_owned(), data_type }
        }
        "timertrigger" => {
            if !matches!(word("schedule").split_whitespace().count(), 1 | 6) {
                return refuse("`schedule` is neither six fields (seconds first) nor a time span");
            }
            Trigger::Timer { use_monitor: binding["useMonitor"].as_bool().unwrap_or(true) }
        }
        "httptrigger" => {
            let Some(output) = output else { return refuse("an HTTP trigger without an `http` output has no answer") };
            let key_needed = match word("authLevel").to_ascii_lowercase().as_str() {
                "" | "function" | "admin" => true,
                "anonymous" => false,
                _ => return refuse("`authLevel` is none of `anonymous`, `function` and `admin`"),
            };
            let methods = binding["methods"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let route = if word("route").is_empty() { name } else { word("route") };
            Trigger::Http {
                methods: methods.map(str::to_ascii_lowercase).collect(),
                route: route.to_owned(),
                key_needed,
                output: output.to_owned(),
            }
        }
        _ => Trigger::Other { kind: word("type").to_owned() },
    };
    Ok(FunctionDefinition { name: name.to_owned(), binding: word("name").to_owned(), trigger })
}

/// `hh:mm:ss`.
fn time_span(text: &str) -> Option<Duration> {
    let parts: Vec<u64> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match parts.as_slice() {
        [hours, minutes, seconds] => Some(Duration::from_secs(hours * 3600 + minutes * 60 + seconds)),
        _ => None,
    }
}

fn problem(file: impl fmt::Display, says: impl fmt::Display) -> AppProblem {
    AppProblem { file: format!("{file}"), says: format!("{says}") }
}
