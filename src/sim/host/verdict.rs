//! What the host makes of an answer.
//!
//! Source: `DefaultHttpWorkerService.cs` `ProcessDefaultInvocationRequest`, `HttpScriptInvocationResult.cs`.

use serde_json::{Map, Value};

use super::{Invocation, InvocationOutcome, failed};

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Succeeded {
        logs: Vec<String>,
        outputs: Map<String, Value>,
    },
    Failed {
        why: String,
    },
    /// The host gets no result: it waits until `functionTimeout`, then kills the handler with all that it does.
    Hangs {
        why: String,
    },
}

impl Verdict {
    pub(super) fn into_invocation(self, invocation_id: String) -> Invocation {
        match self {
            Self::Succeeded { logs, outputs } => {
                Invocation { invocation_id, outcome: InvocationOutcome::Succeeded, logs, outputs }
            }
            Self::Failed { why } => failed(invocation_id, why),
            Self::Hangs { why } => failed(
                invocation_id,
                format!("{why}: the host waits until functionTimeout, then kills the handler with everything that it does"),
            ),
        }
    }
}

/// Judges one answer to an invocation of a function without output bindings.
pub fn judge(status: u16, content_type: Option<&str>, body: &[u8]) -> Verdict {
    if !(200..300).contains(&status) {
        return fail(format!("Response status code does not indicate success: {status}"));
    }
    if body.is_empty() {
        return Verdict::Hangs { why: format!("the answer {status} is empty") };
    }
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(media_type.as_str(), "application/json" | "text/json") {
        return fail(format!("the answer's media type is `{media_type}`, not `application/json`"));
    }
    let members = match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => members,
        Ok(Value::Null) => return Verdict::Hangs { why: format!("the answer {status} is `null`") },
        Ok(_) => return fail("Invalid HttpResponseMessage: the answer is JSON, but not an object".to_owned()),
        Err(error) => return fail(format!("Invalid HttpResponseMessage: the answer is not JSON: {error}")),
    };
    let mut logs = Vec::new();
    let mut outputs = Map::new();
    let mut return_value = Value::Null;
    // Names of members are compared without case; unknown ones are ignored.
    for (name, value) in members {
        match name.to_ascii_lowercase().as_str() {
            "logs" => match log_entries(value) {
                Ok(entries) => logs = entries,
                Err(why) => return fail(why),
            },
            "outputs" => match value {
                Value::Object(members) => outputs = members,
                Value::Null => {}
                _ => return fail("Invalid HttpResponseMessage: `Outputs` is not an object".to_owned()),
            },
            "returnvalue" => return_value = value,
            _ => {}
        }
    }
    // Without a `$return` binding, the members of an object there are merged over the outputs.
    if let Value::Object(members) = return_value {
        outputs.extend(members);
    }
    Verdict::Succeeded { logs, outputs }
}

/// Strings; numbers and truth values are made strings; an object or a list invalidates the whole answer.
fn log_entries(value: Value) -> Result<Vec<String>, String> {
    let entries = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(entries) => entries,
        _ => return Err("Invalid HttpResponseMessage: `Logs` is not a list".to_owned()),
    };
    let text = |entry| match entry {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Bool(truth) => Ok(if truth { "True" } else { "False" }.to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Object(_) | Value::Array(_) => Err("Invalid HttpResponseMessage: an entry of `Logs` is not a string".to_owned()),
    };
    entries.into_iter().map(text).collect()
}

fn fail(why: String) -> Verdict {
    Verdict::Failed { why }
}
