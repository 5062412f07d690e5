//! What the host posts: `{"Data": {...}, "Metadata": {...}}`.
//!
//! Source: `ScriptInvocationContextExtensions.cs` (encoding of each value), the Service Bus extension's
//! `ServiceBusTriggerBindingStrategy.cs` (names of the metadata), `Utility.cs` `ApplyBindingData` (body promotion).

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{app::DataType, client::new_id};

/// A message as it lies in a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceBusMessage {
    pub body: Vec<u8>,
    pub message_id: String,
    /// 1 at the first delivery.
    pub delivery_count: u32,
    /// Application properties, with their types.
    pub properties: Map<String, Value>,
    pub enqueued: Timestamp,
}

impl ServiceBusMessage {
    /// A message without properties, for its first delivery.
    pub fn new(body: impl Into<Vec<u8>>, message_id: impl Into<String>, enqueued: Timestamp) -> Self {
        Self { body: body.into(), message_id: message_id.into(), delivery_count: 1, properties: Map::new(), enqueued }
    }
}

/// The envelope of one message for a trigger with cardinality one.
pub fn service_bus_envelope(function: &str, binding: &str, data_type: DataType, message: &ServiceBusMessage) -> Value {
    let text = String::from_utf8_lossy(&message.body);
    let data = match data_type {
        DataType::Binary => Value::String(STANDARD.encode(&message.body)),
        DataType::Text => quoted(&text),
    };
    // Whole seconds, and no zone: the host formats and parses before it serialises.
    let enqueued = message.enqueued.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let mut metadata = Map::new();
    let mut put = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
    for serialised_object in ["MessageReceiver", "MessageSession", "MessageActions", "SessionActions", "ReceiveActions"] {
        put(serialised_object, json!({}));
    }
    put(
        "Client",
        json!({"FullyQualifiedNamespace": "localhost", "IsClosed": false, "TransportType": 0, "Identifier": "localhost-1"}),
    );
    put("DeliveryCount", Value::String(message.delivery_count.to_string()));
    put("LockToken", quoted(&new_id()));
    put("ExpiresAtUtc", json!("9999-12-31T23:59:59"));
    put("ExpiresAt", json!("9999-12-31T23:59:59+00:00"));
    put("EnqueuedTimeUtc", Value::String(enqueued.clone()));
    put("EnqueuedTime", Value::String(format!("{enqueued}+00:00")));
    put("MessageId", quoted(&message.message_id));
    // Not kept here: every message says 1.
    put("SequenceNumber", json!("1"));
    put("ApplicationProperties", Value::Object(message.properties.clone()));
    put("UserProperties", Value::Object(message.properties.clone()));
    put("sys", sys(function, message.enqueued));
    if data_type == DataType::Text {
        promote(&text, &mut metadata);
    }
    json!({"Data": {binding: data}, "Metadata": metadata})
}

/// The envelope of a tick.
pub fn timer_envelope(function: &str, binding: &str, use_monitor: bool) -> Value {
    #[expect(clippy::disallowed_methods, reason = "this is the host's clock, outside the handler")]
    let now = Timestamp::now();
    let time = now.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    let status = if use_monitor { json!({"Last": time, "Next": time, "LastUpdated": time}) } else { Value::Null };
    json!({
        "Data": {binding: {"Schedule": {"AdjustForDST": true}, "ScheduleStatus": status, "IsPastDue": false}},
        "Metadata": {"sys": sys(function, now)},
    })
}

/// The host's form of strings and numbers: a JSON string that holds JSON.
fn quoted(text: &str) -> Value {
    Value::String(Value::String(text.to_owned()).to_string())
}

fn sys(function: &str, now: Timestamp) -> Value {
    json!({"MethodName": function, "UtcNow": now.to_string(), "RandGuid": new_id()})
}

/// Copies the top-level members of a JSON body over the metadata, names compared without case: so a producer can forge
/// every name. The host does this for text only.
fn promote(text: &str, metadata: &mut Map<String, Value>) {
    let Ok(Value::Object(body)) = serde_json::from_str(text) else {
        return;
    };
    for (name, value) in body {
        let promoted = match value {
            Value::Null | Value::Array(_) => continue,
            Value::Object(members) => Value::Object(members),
            Value::String(text) => quoted(&text),
            Value::Bool(truth) => quoted(if truth { "True" } else { "False" }),
            Value::Number(number) => quoted(&number.to_string()),
        };
        let taken = metadata.keys().find(|known| known.eq_ignore_ascii_case(&name)).cloned();
        metadata.insert(taken.unwrap_or(name), promoted);
    }
}
