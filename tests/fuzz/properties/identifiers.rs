//! Short texts that name something: resource ids, store keys, patterns, durations, times, trace contexts, ids of records.

use axum::http::{HeaderMap, HeaderValue};
use backout::{
    azure::{
        answer::{self, Problem},
        resource_path::{encoded, resource_path},
    },
    domain::{
        event::Event,
        glob,
        record::RecordId,
        resource_id::ResourceId,
        target::{Fingerprint, TargetKey},
    },
    inbound, observability,
    policy::duration::{DurationText, LONGEST},
    ports::Key,
};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::json;

use super::{choose, is_sentence};

pub fn holds(input: &[u8]) {
    let words = ["resource-id", "key", "glob", "duration", "time", "trace", "record-id", "fingerprint", "answer", "retry"];
    let (kind, rest) = choose(&words, input);
    if kind == "answer" {
        return problem(rest);
    }
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind {
        "resource-id" => resource_id(text),
        "key" => key(text),
        "glob" => pattern(text),
        "duration" => duration(text),
        "time" => time(text),
        "trace" => trace(text),
        "record-id" => record_id(text),
        "fingerprint" => fingerprint(text),
        "retry" => retry(text),
        other => unreachable!("{other}"),
    }
}

/// Parsed, written and parsed again it is the same; its parts are parts of the text; its path in a URL is that URL's path.
pub fn resource_id(text: &str) {
    let id = match ResourceId::parse(text) {
        Ok(id) => id,
        Err(problem) => {
            is_sentence(&problem.to_string(), 300);
            return;
        }
    };
    assert_eq!(ResourceId::parse(id.as_written()).unwrap().as_written(), id.as_written());
    let canonical = ResourceId::parse(id.canonical()).unwrap();
    assert_eq!((canonical.canonical(), &canonical), (id.canonical(), &id));
    assert_eq!(ResourceId::parse(&id.as_written().to_ascii_uppercase()).unwrap(), id);
    let stored = serde_json::to_string(&id).unwrap();
    assert_eq!(serde_json::from_str::<ResourceId>(&stored).unwrap().as_written(), id.as_written());
    assert!(text.starts_with(id.as_written()) && text.len() <= id.as_written().len() + 1);

    let segments: Vec<&str> = id.as_written().split('/').skip(1).collect();
    assert_eq!(id.subscription(), segments[1]);
    let group = segments.get(2).is_some_and(|word| word.eq_ignore_ascii_case("resourceGroups")).then(|| segments[3]);
    assert_eq!(id.resource_group(), group, "{id}");
    assert_eq!(id.name(), segments[segments.len() - 1]);
    let provider_words = if group.is_some() { &segments[4..] } else { &segments[2..] };
    assert_eq!(id.resource_type().is_some(), !provider_words.is_empty(), "{id}");
    assert!(id.is_within(&id));
    if let Some(site) = id.site() {
        assert!(id.is_within(&site), "{id} in {site}");
        assert_eq!(site.resource_type().as_deref(), Some("microsoft.web/sites"), "{id}");
        assert_eq!(ResourceId::parse(site.as_written()).unwrap(), site);
    }
    // No parser of URLs reads another path into it.
    let path = resource_path(&id);
    let url = url::Url::parse(&format!("https://management.azure.com{path}?api-version=1")).unwrap();
    assert_eq!((url.path(), url.query(), url.fragment()), (path.as_str(), Some("api-version=1"), None));
    for segment in &segments {
        assert!(path.contains(&encoded(segment)));
    }
}

fn key(text: &str) {
    if let Some(key) = Key::parse(text) {
        assert_eq!((key.as_str(), key.to_string()), (text, text.to_owned()));
        assert!(text.len() <= 200 && text.is_ascii() && !text.contains("..") | !text.split('/').any(|segment| segment == ".."));
        assert_eq!(url::Url::parse(&format!("https://a.test/{text}")).unwrap().path(), format!("/{text}"));
    }
}

/// Agrees with the plain definition: a star stands for any run.
fn pattern(text: &str) {
    let (pattern, text) = text.split_once('\n').unwrap_or((text, text));
    if pattern.len() > 64 || text.len() > 256 {
        return;
    }
    let (p, t): (Vec<char>, Vec<char>) = (pattern.to_lowercase().chars().collect(), text.to_lowercase().chars().collect());
    let mut fits = vec![false; t.len() + 1];
    fits[0] = true;
    for sign in &p {
        if *sign == '*' {
            let first = fits.iter().position(|fit| *fit).unwrap_or(fits.len());
            fits[first..].fill(true);
        } else {
            for at in (1..=t.len()).rev() {
                fits[at] = fits[at - 1] && t[at - 1] == *sign;
            }
            fits[0] = false;
        }
    }
    assert_eq!(glob::fits(pattern, text), fits[t.len()], "{pattern:?} {text:?}");
}

fn duration(text: &str) {
    match DurationText(text.to_owned()).parse() {
        Ok(duration) => {
            assert!(duration.is_positive() && duration <= LONGEST);
            let seconds = DurationText(format!("{}s", duration.as_secs()));
            assert_eq!(seconds.parse(), Ok(duration), "{text:?}");
        }
        Err(problem) => is_sentence(&problem.to_string(), 100),
    }
}

/// As a sender's time in an alert: what was read, written as we write it, is read as the same.
pub fn time(text: &str) {
    let read = |text: &str| -> Result<Option<Timestamp>, String> {
        let alert = json!({"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {
            "alertId": "a", "monitorCondition": "Fired", "firedDateTime": text }}});
        match inbound::recognise(alert.to_string().as_bytes()).pop().unwrap() {
            Ok(understood) => match understood.event {
                Event::Alert(alert) => Ok(alert.fired_at),
                Event::Deployment(_) | Event::Other(_) => unreachable!("an alert is an alert"),
            },
            Err(malformed) => {
                assert_eq!(malformed.field, "data.essentials.firedDateTime");
                Err(malformed.to_string())
            }
        }
    };
    match read(text) {
        Ok(Some(at)) => {
            assert_eq!(read(&at.to_string()), Ok(Some(at)), "{text:?}");
            // Blanks around it and small letters change nothing.
            assert_eq!(read(&format!(" {} ", text.to_ascii_lowercase())), Ok(Some(at)), "{text:?}");
        }
        Ok(None) => {}
        Err(says) => is_sentence(&says, 300),
    }
}

fn trace(text: &str) {
    let mut headers = HeaderMap::new();
    let Ok(value) = HeaderValue::from_str(text) else { return };
    headers.append("traceparent", value.clone());
    if let Some(read) = observability::trace_parent(&headers) {
        assert_eq!(read, text);
        let id = observability::trace_id(&read);
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|byte| byte != b'0'));
        headers.append("traceparent", value);
        assert_eq!(observability::trace_parent(&headers), None);
    }
}

/// What a message or a document says is a record's id can be looked for, whatever it is.
fn record_id(text: &str) {
    match serde_json::from_value::<RecordId>(json!(text)) {
        Ok(id) => {
            assert_eq!(serde_json::to_value(&id).unwrap(), json!(text));
            assert!(Key::parse(&format!("records/{id}")).is_some(), "{text:?}");
        }
        Err(error) => is_sentence(&error.to_string(), 300),
    }
    assert!(Key::parse(&format!("targets/{}", TargetKey(text.to_owned()).hash())).is_some());
}

fn fingerprint(text: &str) {
    let parts: Vec<Fingerprint> = text.split('\n').map(|part| Fingerprint(part.to_owned())).collect();
    let weighted: Vec<_> = parts.iter().cloned().zip(1..).collect();
    for mix in [Fingerprint::shared(&parts), Fingerprint::weighted(&weighted)] {
        assert_eq!(mix.contents(), parts);
        assert_eq!(Fingerprint::shared(std::slice::from_ref(&mix)).contents(), [mix]);
    }
}

/// Azure's refusals, in words that a person may see.
fn problem(body: &[u8]) {
    let problem = Problem::parse(body);
    for status in [StatusCode::OK, StatusCode::CONFLICT, StatusCode::from_u16(599).unwrap()] {
        is_sentence(&problem.says(status), 1200);
    }
    let text = String::from_utf8_lossy(body);
    let cleaned = answer::clean(&text);
    assert!(cleaned.chars().count() <= 300 && !cleaned.contains(char::is_control));
    assert!(!cleaned.split(' ').any(|word| word == "pat.doe@example.com"));
}

fn retry(text: &str) {
    let mut headers = HeaderMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let name = ["retry-after", "retry-after-ms", "x-ms-retry-after-ms", "date"].into_iter().find(|known| *known == name);
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    let _ = answer::retry_after(&headers);
}
