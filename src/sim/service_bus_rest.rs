//! The REST face of the queues: send, peek-lock, complete, give back, renew, receive-and-delete.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    call::{Call, Reply, Role},
    service_bus::{Entity, NewMessage, SendRefusal, SimulatedMessage},
    world::World,
};

/// Headers of HTTP itself; every other one is a custom property of the message.
const NOT_PROPERTIES: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "brokerproperties",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-ms-client-request-id",
    "x-ms-date",
    "x-ms-version",
];

/// Answers a call at once. A receive that finds nothing answers 204; whoever has time left asks again.
pub(super) fn answer(world: &mut World, call: &Call, now: Timestamp, here: &Url) -> Reply {
    if let Err((code, message)) = world.identities.accept(call.bearer_token(), Role::ServiceBus) {
        return error(StatusCode::UNAUTHORIZED, &format!("{code}: {message}"));
    }
    let Some((entity, rest)) = entity(call) else {
        return error(StatusCode::NOT_FOUND, "No such path.");
    };
    if !world.bus.has(&entity) {
        return error(StatusCode::NOT_FOUND, &format!("The messaging entity '{}' could not be found.", entity.queue));
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (call.method.as_str(), rest.as_slice()) {
        ("POST", []) if !entity.dead_letters => send(world, call, &entity, now),
        ("POST", ["head"]) => match world.bus.take(&entity, now) {
            Some(message) => {
                let location = format!(
                    "{}{}/messages/{}/{}",
                    here,
                    if entity.dead_letters { format!("{}/$DeadLetterQueue", entity.queue) } else { entity.queue.clone() },
                    message.sequence_number,
                    message.lock
                );
                received(world, &message, StatusCode::CREATED).with_header("location", location)
            }
            None => Reply::empty(StatusCode::NO_CONTENT),
        },
        ("DELETE", ["head"]) => match world.bus.take(&entity, now) {
            Some(message) => {
                let reply = received(world, &message, StatusCode::OK);
                world.bus.complete(&message.lock);
                reply
            }
            None => Reply::empty(StatusCode::NO_CONTENT),
        },
        ("DELETE" | "PUT" | "POST", [_, lock]) => {
            let held = match call.method {
                Method::DELETE => world.bus.complete(lock),
                Method::PUT => world.bus.abandon(lock),
                _ => world.bus.renew(lock, now),
            };
            if held {
                Reply::empty(StatusCode::OK).with_effects(1)
            } else {
                error(
                    StatusCode::NOT_FOUND,
                    "The lock supplied is invalid. Either the lock expired, or the message has been removed.",
                )
            }
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED, "The simulated queue does not offer this."),
    }
}

/// Whether the call waits for a message, and so may be asked again.
pub(super) fn is_receive(call: &Call) -> bool {
    matches!(call.method, Method::POST | Method::DELETE)
        && call.segments.last().is_some_and(|last| last.eq_ignore_ascii_case("head"))
}

/// `{queue}/messages/...` or `{queue}/$DeadLetterQueue/messages/...`; what follows `messages`, in lower case.
fn entity(call: &Call) -> Option<(Entity, Vec<String>)> {
    let lower: Vec<String> = call.segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let (entity, rest) = match lower.as_slice() {
        [queue, dead, messages, rest @ ..] if dead == "$deadletterqueue" && messages == "messages" => {
            (Entity::dead_letters_of(queue), rest)
        }
        [queue, messages, rest @ ..] if messages == "messages" => (Entity::queue(queue), rest),
        _ => return None,
    };
    Some((entity, rest.to_vec()))
}

fn send(world: &mut World, call: &Call, entity: &Entity, now: Timestamp) -> Reply {
    let content_type = call.header("content-type").map(str::to_owned);
    if content_type.as_deref().is_some_and(|kind| kind.starts_with("application/vnd.microsoft.servicebus.json")) {
        return error(StatusCode::BAD_REQUEST, "The simulated queue takes no batches; send one message per request.");
    }
    let message = match new_message(call, content_type) {
        Ok(message) => message,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why),
    };
    match world.bus.send(&entity.queue, message, now) {
        Ok(stored) => Reply::empty(StatusCode::CREATED).with_effects(u32::from(stored)),
        Err(SendRefusal::NoSuchQueue) => error(StatusCode::NOT_FOUND, "The messaging entity could not be found."),
        Err(SendRefusal::TooLarge { bytes_max }) => {
            error(StatusCode::PAYLOAD_TOO_LARGE, &format!("The message is larger than is currently allowed ({bytes_max} bytes)."))
        }
    }
}

fn new_message(call: &Call, content_type: Option<String>) -> Result<NewMessage, String> {
    let mut broker = match call.header("brokerproperties") {
        None => Map::new(),
        Some(text) => match serde_json::from_str(text) {
            Ok(Value::Object(broker)) => broker,
            _ => return Err("The BrokerProperties header is no JSON object.".to_owned()),
        },
    };
    let text = |value: Option<Value>, name: &str| match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` in BrokerProperties is no text.")),
    };
    let message_id = text(broker.remove("MessageId"), "MessageId")?;
    let scheduled_for = match text(broker.remove("ScheduledEnqueueTimeUtc"), "ScheduledEnqueueTimeUtc")? {
        None => None,
        Some(written) => Some(
            rfc2822::DateTimeParser::new()
                .parse_timestamp(&written)
                .map_err(|_| format!("`ScheduledEnqueueTimeUtc` in BrokerProperties is no RFC 2822 time: `{written}`."))?,
        ),
    };
    let mut properties = BTreeMap::new();
    for (name, value) in &call.headers {
        if NOT_PROPERTIES.contains(&name.as_str()) {
            continue;
        }
        let written = String::from_utf8_lossy(value.as_bytes()).into_owned();
        // Service Bus writes values as JSON; what is none is taken as text.
        let value = serde_json::from_str(&written).unwrap_or(Value::String(written));
        properties.insert(name.as_str().to_owned(), value);
    }
    Ok(NewMessage { body: call.body.clone(), message_id, content_type, properties, scheduled_for, broker })
}

/// What a receiver sees. Only a locked message names its lock.
fn received(world: &World, message: &SimulatedMessage, status: StatusCode) -> Reply {
    let mut broker = world.bus.handed_on(message.sequence_number);
    let fields = json!({
        "DeliveryCount": message.delivery_count,
        "EnqueuedSequenceNumber": message.sequence_number,
        "EnqueuedTimeUtc": http_date(message.enqueued_at),
        "MessageId": message.message_id,
        "SequenceNumber": message.sequence_number,
        "State": "Active",
    });
    if let Value::Object(fields) = fields {
        broker.extend(fields);
    }
    broker.entry("TimeToLive").or_insert(json!(TIME_TO_LIVE_SECONDS));
    if status == StatusCode::CREATED {
        broker.insert("LockToken".to_owned(), json!(message.lock));
        broker.insert("LockedUntilUtc".to_owned(), json!(http_date(message.locked_until)));
    }
    let kind = message.content_type.clone().unwrap_or_else(|| "application/octet-stream".to_owned());
    let mut reply =
        Reply { status, headers: Vec::new(), body: message.body.clone(), effects: 1 }.with_header("content-type", kind);
    reply = reply.with_header("brokerproperties", Value::Object(broker).to_string());
    for (name, value) in &message.properties {
        reply = reply.with_header(name.clone(), value.to_string());
    }
    reply
}

/// Fourteen days, the default of a queue. It is told and not enforced: no simulation runs that long.
const TIME_TO_LIVE_SECONDS: f64 = 1_209_600.0;

/// RFC 2822 with `GMT`, as the broker writes times.
fn http_date(at: Timestamp) -> String {
    jiff::fmt::strtime::format("%a, %d %b %Y %H:%M:%S GMT", &at.to_zoned(TimeZone::UTC)).unwrap_or_default()
}

/// The broker's error body is XML.
fn error(status: StatusCode, detail: &str) -> Reply {
    let detail = detail.replace('&', "&amp;").replace('<', "&lt;");
    Reply::text(
        status,
        "application/xml; charset=utf-8",
        format!("<Error><Code>{}</Code><Detail>{detail}</Detail></Error>", status.as_u16()),
    )
}
