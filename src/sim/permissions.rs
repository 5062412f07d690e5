//! Who may do what: role entries at scopes, matched as Azure matches them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::Reply;

/// One role assignment, as far as the permissions API shows it.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Client id, or `system`; `None` for every identity.
    pub identity: Option<String>,
    /// A resource id or `/`; holds for everything below it.
    pub scope: String,
    pub actions: Vec<String>,
    pub not_actions: Vec<String>,
}

/// At first every identity may do everything.
#[derive(Debug)]
pub(super) struct Permissions {
    grants: Vec<Grant>,
    withheld: Vec<(Option<String>, String)>,
}

impl Permissions {
    pub fn new() -> Self {
        let everything = Grant { identity: None, scope: "/".to_owned(), actions: vec!["*".to_owned()], not_actions: Vec::new() };
        Self { grants: vec![everything], withheld: Vec::new() }
    }

    pub fn grant(&mut self, grant: Grant) {
        self.grants.push(grant);
    }

    /// Takes everything from everybody; grants begin from nothing.
    pub fn clear(&mut self) {
        self.grants.clear();
        self.withheld.clear();
    }

    /// Subtracts `action` (a pattern) from all that the identity has.
    pub fn withhold(&mut self, identity: Option<&str>, action: &str) {
        self.withheld.push((identity.map(str::to_owned), action.to_owned()));
    }

    pub fn give_back(&mut self, identity: Option<&str>, action: &str) {
        self.withheld.retain(|(who, what)| who.as_deref() != identity || !what.eq_ignore_ascii_case(action));
    }

    pub fn allows(&self, identity: &str, scope: &str, action: &str) -> bool {
        self.entries(identity, scope).any(|(actions, not_actions)| {
            actions.iter().any(|pattern| matches(pattern, action)) && !not_actions.iter().any(|pattern| matches(pattern, action))
        })
    }

    /// Reply of `.../providers/Microsoft.Authorization/permissions`.
    pub fn listing(&self, identity: &str, scope: &str) -> Value {
        let entries: Vec<Value> = self
            .entries(identity, scope)
            .map(|(actions, not_actions)| {
                json!({ "actions": actions, "notActions": not_actions, "dataActions": [], "notDataActions": [] })
            })
            .collect();
        json!({ "value": entries })
    }

    /// Refuses as the resource manager does, or lets pass.
    pub fn require(&self, identity: &str, scope: &str, action: &str) -> Result<(), Reply> {
        if self.allows(identity, scope, action) {
            return Ok(());
        }
        Err(Reply::error(
            StatusCode::FORBIDDEN,
            "AuthorizationFailed",
            &format!(
                "The client '{identity}' does not have authorization to perform action '{action}' over scope '{scope}' or the \
                 scope is invalid. If access was recently granted, please refresh your credentials."
            ),
        ))
    }

    fn entries<'a>(&'a self, identity: &'a str, scope: &'a str) -> impl Iterator<Item = (&'a [String], Vec<&'a str>)> + 'a {
        let is_meant = move |who: &Option<String>| who.as_deref().is_none_or(|who| who.eq_ignore_ascii_case(identity));
        self.grants.iter().filter(move |grant| is_meant(&grant.identity) && covers(&grant.scope, scope)).map(move |grant| {
            let withheld = self.withheld.iter().filter(|(who, _)| is_meant(who)).map(|(_, action)| action.as_str());
            (grant.actions.as_slice(), grant.not_actions.iter().map(String::as_str).chain(withheld).collect())
        })
    }
}

fn covers(granted: &str, scope: &str) -> bool {
    let granted = granted.trim_end_matches('/').to_ascii_lowercase();
    let scope = scope.to_ascii_lowercase();
    scope.strip_prefix(&granted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Without case; `*` stands for any run of characters, `/` included.
fn matches(pattern: &str, action: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let action = action.to_ascii_lowercase();
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| action.strip_prefix(first)) else {
        return false;
    };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn star_stands_for_any_run() {
        assert!(matches("*/read", "Microsoft.Web/sites/read"));
        assert!(matches("Microsoft.Web/*/Action", "microsoft.web/sites/slots/slotsswap/action"));
        assert!(matches("microsoft.web/sites/read", "Microsoft.Web/sites/Read"));
        assert!(!matches("*/read", "Microsoft.Web/sites/slots/slotsswap/action"));
        assert!(!matches("Microsoft.Web/sites/read", "Microsoft.Web/sites/read/more"));
    }
}
