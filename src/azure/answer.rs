//! Reading what Azure answers: error bodies in all their shapes, how long to wait, and times.

use std::time::Duration;

use jiff::{Timestamp, civil, fmt::rfc2822, tz::TimeZone};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::domain::printable::deceives;

/// Code and message of an error body, as far as there are any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    pub code: Option<String>,
    pub message: Option<String>,
    /// `target` of the first particular, which names what the problem is about.
    about: Option<String>,
}

/// How resource manager says that a subscription does not know a resource provider: 409 and 404. Source: azcore's registration
/// policy (Azure SDK for Go), and the list of common deployment errors.
const UNREGISTERED: [&str; 2] = ["MissingSubscriptionRegistration", "SubscriptionNotRegistered"];

impl Problem {
    /// Reads `{"error": {...}}`, the capitalised form of App Service, and the body of a failed operation; anything else is empty.
    pub fn parse(body: &[u8]) -> Self {
        let Ok(root) = serde_json::from_slice::<Value>(body) else { return Self::default() };
        let inner = either(&root, "error", "Error").filter(|v| v.is_object()).unwrap_or(&root);
        let text = |lower, upper| either(inner, lower, upper).and_then(Value::as_str).map(clean).filter(|text| !text.is_empty());
        let about = either(inner, "details", "Details").and_then(|details| either(details.get(0)?, "target", "Target")?.as_str());
        Self { code: text("code", "Code"), message: text("message", "Message"), about: about.map(clean) }
    }

    /// Codes are compared without case.
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref().is_some_and(|c| c.eq_ignore_ascii_case(code))
    }

    /// Whether the subscription does not know the resource provider, which no waiting ends.
    pub fn is_unregistered(&self) -> bool {
        UNREGISTERED.iter().any(|code| self.is(code))
    }

    /// `409 Conflict: message`, for a person.
    pub fn says(&self, status: StatusCode) -> String {
        if self.is_unregistered() {
            let namespace = self.namespace();
            let (named, written) = match &namespace {
                Some(namespace) => (format!(" `{namespace}`"), namespace.as_str()),
                None => (String::new(), "<its namespace>"),
            };
            return format!(
                "{} {}: the subscription is not registered for the resource provider{named}; check that the id in the policy names \
                 the right subscription, else register it with `az provider register --namespace {written}`",
                status.as_u16(),
                self.code.as_deref().unwrap_or_default()
            );
        }
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{} {code}: {message}", status.as_u16()),
            (Some(code), None) => format!("{} {code}", status.as_u16()),
            (None, Some(message)) => format!("{}: {message}", status.as_u16()),
            (None, None) => status.to_string(),
        }
    }
}

impl Problem {
    /// The resource provider that is spoken of: named by itself, else the one word in quotes that looks like it.
    fn namespace(&self) -> Option<String> {
        let is_one = |text: &&str| text.contains('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
        let quoted = self.message.as_deref().into_iter().flat_map(|message| message.split(['\'', '"']).skip(1).step_by(2));
        self.about.as_deref().into_iter().chain(quoted).find(is_one).map(str::to_owned)
    }
}

fn either<'a>(value: &'a Value, lower: &str, upper: &str) -> Option<&'a Value> {
    value.get(lower).or_else(|| value.get(upper))
}

/// Somebody else's text, fit for a log or a page: one line of at most 300 characters, without tokens and mail addresses.
///
/// Azure's refusals name the caller, which is a mail address when a person is signed in.
pub fn clean(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || deceives(c))
        .filter(|word| !word.is_empty())
        .map(|word| if is_token(word) || is_address(word) { "(left out)" } else { word })
        .collect();
    let line = words.join(" ");
    if line.chars().count() <= TEXT_MAX {
        return line;
    }
    let mut cut: String = line.chars().take(TEXT_MAX - 1).collect();
    cut.push('…');
    cut
}

const TEXT_MAX: usize = 300;

/// A JSON Web Token begins with the base64 of `{"`.
fn is_token(word: &str) -> bool {
    word.find("eyJ").is_some_and(|at| word[at..].len() > 40 && word[at..].contains('.'))
}

fn is_address(word: &str) -> bool {
    word.split_once('@').is_some_and(|(name, host)| {
        name.ends_with(|c: char| c.is_alphanumeric()) && !name.contains('/') && host.contains('.') && !host.contains([':', '/'])
    })
}

/// How long the other side asked us to wait: `retry-after-ms`, `x-ms-retry-after-ms`, `Retry-After` in seconds or as a date.
///
/// A date is taken relative to the answer's own `Date`, so that no clock of ours enters.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        if let Some(milliseconds) = text(name).and_then(|t| t.parse().ok()) {
            return Some(Duration::from_millis(milliseconds));
        }
    }
    let asked = text("retry-after")?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(asked)?.duration_since(http_date(text("date")?)?);
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// A time in an answer's body: RFC 3339, or without `Z` and offset, which means UTC all the same.
///
/// App Service, the metrics of Azure Monitor and `systemData` of container apps are written so, now and then or always.
pub fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let unmarked = || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(unmarked)
}

/// A date as HTTP headers hold it.
pub fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_are_read_in_every_shape() {
        let read = |body: &str| Problem::parse(body.as_bytes());
        let arm = read(r#"{"error":{"code":"Conflict","message":"another operation\r\nis in progress"}}"#);
        assert_eq!(arm.says(StatusCode::CONFLICT), "409 Conflict: another operation is in progress");
        let app_service = read(r#"{"Code":"BadRequest","Message":"no such slot","Details":[]}"#);
        assert_eq!(app_service.says(StatusCode::BAD_REQUEST), "400 BadRequest: no such slot");
        let failed = read(r#"{"status":"Failed","error":{"code":"WarmUp"}}"#);
        assert_eq!(failed.says(StatusCode::OK), "200 WarmUp");
        for body in ["", "<html><h1>504</h1></html>", "[]", "null", r#"{"error":"text"}"#, r#"{"error":{"code":7}}"#] {
            assert_eq!(read(body), Problem::default(), "{body}");
        }
        assert_eq!(Problem::default().says(StatusCode::GATEWAY_TIMEOUT), "504 Gateway Timeout");
        assert!(arm.is("conflict"));
    }

    #[test]
    fn a_provider_that_the_subscription_does_not_know_has_its_own_sentence() {
        let says = |body: &str, status| Problem::parse(body.as_bytes()).says(status);
        // In the shape of azcore's test of its registration policy.
        let missing = says(
            r#"{"error":{"code":"MissingSubscriptionRegistration","message":"The subscription must be registered to use namespace 'Microsoft.App'. See https://aka.ms/rps-not-found","details":[{"code":"MissingSubscriptionRegistration","target":"Microsoft.App","message":"m"}]}}"#,
            StatusCode::CONFLICT,
        );
        assert_eq!(
            missing,
            "409 MissingSubscriptionRegistration: the subscription is not registered for the resource provider `Microsoft.App`; check \
             that the id in the policy names the right subscription, else register it with `az provider register --namespace \
             Microsoft.App`"
        );
        let quoted = says(
            r#"{"error":{"code":"subscriptionnotregistered","message":"The subscription 'x' is not registered for 'Microsoft.Logic'"}}"#,
            StatusCode::NOT_FOUND,
        );
        assert!(quoted.contains("--namespace Microsoft.Logic`"), "{quoted}");
        let bare = says(r#"{"error":{"code":"SubscriptionNotRegistered"}}"#, StatusCode::NOT_FOUND);
        assert!(bare.contains("the resource provider; check") && bare.contains("--namespace <its namespace>`"), "{bare}");
    }

    #[test]
    fn foreign_text_is_cut_and_cleaned() {
        assert_eq!(clean("a\u{0}b\tc\n"), "a b c");
        assert_eq!(clean(&"x".repeat(400)).chars().count(), 300);
        assert_eq!(clean("The client 'ann@contoso.com' has no right"), "The client (left out) has no right");
        assert_eq!(clean(&format!("Bearer eyJ{}.x.y", "a".repeat(60))), "Bearer (left out)");
        assert_eq!(clean("image registry.io/app@sha256:12ab.cd"), "image registry.io/app@sha256:12ab.cd");
    }

    #[test]
    fn a_time_without_a_zone_is_utc() {
        let expected = Some("2022-04-08T10:38:17.4255847Z".parse().unwrap());
        for text in ["2022-04-08T10:38:17.4255847Z", "2022-04-08T10:38:17.4255847+00:00", " 2022-04-08T10:38:17.4255847 "] {
            assert_eq!(time(text), expected, "{text}");
        }
        assert_eq!(time("2022-04-08T12:38:17.4255847+02:00"), expected);
        assert_eq!((time("soon"), time("")), (None, None));
    }

    #[test]
    fn waits_are_read_in_every_form() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            retry_after(&headers)
        };
        assert_eq!(of(&[("retry-after", "17")]), Some(Duration::from_secs(17)));
        assert_eq!(of(&[("retry-after-ms", "250"), ("retry-after", "1")]), Some(Duration::from_millis(250)));
        assert_eq!(of(&[("x-ms-retry-after-ms", "90")]), Some(Duration::from_millis(90)));
        let date = ("date", "Wed, 25 Nov 2026 10:00:00 GMT");
        assert_eq!(of(&[date, ("retry-after", "Wed, 25 Nov 2026 10:01:30 GMT")]), Some(Duration::from_secs(90)));
        assert_eq!(of(&[date, ("retry-after", "Wed, 25 Nov 2026 09:00:00 GMT")]), Some(Duration::ZERO));
        assert_eq!(of(&[("retry-after", "Wed, 25 Nov 2026 10:01:30 GMT")]), None);
        assert_eq!(of(&[("retry-after", "soon")]), None);
        assert_eq!(of(&[]), None);
    }
}
