//! Faults on request: which request meets one, and what it does.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::call::{Call, Reply, Role};

/// One fault, used up after `times` requests. When several match, the one injected first is met.
#[derive(Debug, Clone)]
pub struct Fault {
    pub role: Option<Role>,
    /// Upper case; `None` for any.
    pub method: Option<String>,
    /// Part of path and query, without case; empty for any.
    pub path_contains: String,
    /// Matching requests that pass unharmed before the first fault.
    pub skip: u32,
    /// Requests that meet it.
    pub times: u32,
    pub effect: FaultEffect,
}

/// What a fault does.
#[derive(Debug, Clone)]
pub enum FaultEffect {
    /// 429 before anything is done.
    Throttle { retry_after_seconds: u32 },
    /// Any status, before or after the world changed.
    Status { moment: Moment, status: u16, body: FaultBody },
    /// The connection is reset without a status line.
    Reset { moment: Moment },
    /// The answer comes late. What was asked for happens even if the caller has gone by then.
    Delay { moment: Moment, wait: Wait },
    /// A redirect to the stranger's host before anything is done.
    RedirectElsewhere { status: u16 },
    /// The swap is accepted, and fails at its end. Nothing happens to a request that begins no operation.
    OperationFails { says: String },
    /// The swap is accepted, and its `Location` is on the stranger's host. Nothing happens to other requests.
    OperationUrlElsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    BeforeEffect,
    AfterEffect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// By the simulation's clock.
    Virtual(Duration),
    Real(Duration),
}

#[derive(Debug, Clone)]
pub enum FaultBody {
    Empty,
    /// What a gateway in between answers.
    Html,
    /// The resource manager's error body.
    Error {
        code: String,
        message: String,
    },
}

impl Fault {
    /// Meets the next request of `method` whose path holds `path_contains`; once.
    pub fn on(method: &str, path_contains: &str, effect: FaultEffect) -> Self {
        Self {
            role: None,
            method: Some(method.to_ascii_uppercase()),
            path_contains: path_contains.to_owned(),
            skip: 0,
            times: 1,
            effect,
        }
    }

    /// Meets the next request of any method to one part of Azure; once.
    pub fn on_role(role: Role, effect: FaultEffect) -> Self {
        Self { role: Some(role), method: None, path_contains: String::new(), skip: 0, times: 1, effect }
    }

    /// Polling is denied: the operation can be begun and not read.
    pub fn polling_denied() -> Self {
        Self::on(
            "GET",
            "/operationresults/",
            FaultEffect::Status {
                moment: Moment::BeforeEffect,
                status: 403,
                body: FaultBody::Error {
                    code: "AuthorizationFailed".to_owned(),
                    message: "The client does not have authorization to perform action \
                              'Microsoft.Web/sites/slots/operationresults/read' over scope or the scope is invalid."
                        .to_owned(),
                },
            },
        )
    }

    /// The operation's URL has expired.
    pub fn polling_expired() -> Self {
        Self::on(
            "GET",
            "/operationresults/",
            FaultEffect::Status {
                moment: Moment::BeforeEffect,
                status: 404,
                body: FaultBody::Error { code: "NotFound".to_owned(), message: "Operation was not found.".to_owned() },
            },
        )
    }

    /// Lets the first `count` matching requests pass.
    pub fn after(mut self, count: u32) -> Self {
        self.skip = count;
        self
    }

    /// Meets `count` requests instead of one.
    pub fn times(mut self, count: u32) -> Self {
        self.times = count;
        self
    }

    fn matches(&self, call: &Call) -> bool {
        self.role.is_none_or(|role| role == call.role)
            && self.method.as_deref().is_none_or(|method| method == call.method.as_str())
            && call.path_and_query.to_ascii_lowercase().contains(&self.path_contains.to_ascii_lowercase())
    }
}

impl FaultEffect {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Throttle { .. } => "throttle",
            Self::Status { moment: Moment::BeforeEffect, .. } => "status before the effect",
            Self::Status { moment: Moment::AfterEffect, .. } => "status after the effect",
            Self::Reset { moment: Moment::BeforeEffect } => "reset before the effect",
            Self::Reset { moment: Moment::AfterEffect } => "reset after the effect",
            Self::Delay { moment: Moment::BeforeEffect, .. } => "delay before the effect",
            Self::Delay { moment: Moment::AfterEffect, .. } => "delay after the effect",
            Self::RedirectElsewhere { .. } => "redirect to another host",
            Self::OperationFails { .. } => "operation fails",
            Self::OperationUrlElsewhere => "operation URL on another host",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub fn inject(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that this request meets. Every matching fault counts it, so that `skip` does not depend on the others.
    pub fn take(&mut self, call: &Call) -> Option<FaultEffect> {
        let mut met = None;
        for fault in &mut self.0 {
            if fault.times == 0 || !fault.matches(call) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if met.is_none() {
                fault.times -= 1;
                met = Some(fault.effect.clone());
            }
        }
        self.0.retain(|fault| fault.times > 0);
        met
    }
}

pub(super) fn faulty_reply(status: u16, body: &FaultBody) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        FaultBody::Empty => Reply::empty(status),
        FaultBody::Html => Reply::text(
            status,
            "text/html",
            format!("<html><head><title>{status}</title></head><body><h1>Gateway error</h1></body></html>"),
        ),
        FaultBody::Error { code, message } => Reply::error(status, code, message),
    }
}

pub(super) fn throttled(retry_after_seconds: u32) -> Reply {
    Reply::json(
        StatusCode::TOO_MANY_REQUESTS,
        &json!({ "error": { "code": "TooManyRequests", "message": "The request is being throttled." } }),
    )
    .with_header("retry-after", retry_after_seconds.to_string())
}
