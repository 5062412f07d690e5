//! The two steps of a rollback: ask what deploying the good content again would change, and only then deploy it.
//!
//! **Why the what-if is a step.** It is a long operation, so it can neither lie on the way to a decision nor be awaited in an
//! invocation. As the first step it is polled like any operation, between the claim and the one call that changes something.
//! When it shows more than may be, it ends as failed: nothing was deployed, the record says why, and a person is asked.
//! Since it changes nothing, an answer that does not tell proves nothing happened, and it may be asked for again.
//!
//! **The fence.** The deployment's name is made from the claim. A second call finds the record of the first one and follows it;
//! while that one is active the platform itself refuses a second (409 `DeploymentActive`).

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    content,
    lineage::own_name,
    template, what_if,
    wire::{API_VERSION, RECORD_TAG, RESTORES_TAG, Record, State, TAKES_BACK_TAG, record_path},
};
use crate::{
    azure::{answer::clean, resource_manager::ResourceManager},
    domain::{
        observation::WayBack,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        target::{ArmDeploymentTarget, Fingerprint},
    },
    platforms::answer::parse,
    ports::{PortError, PortErrorKind},
};

/// What is read just before a call must be there within this time, else nothing is sent: a call leaves soon after its claim, or not.
const READ_WITHIN: Duration = Duration::from_secs(8);

/// Until a step that was not taken is tried again.
const AGAIN_SECONDS: u32 = 30;

const POLL_AGAIN_SECONDS: u32 = 15;

/// What a step remembers. Paths are made from the policy's own scope, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    /// What it does: see [`Act`].
    act: Act,
    /// Name of our deployment.
    name: String,
    /// What a person looks up.
    record: String,
    good: Named,
    accused: Named,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Act {
    WhatIf,
    Deploy,
}

/// One record, and what it was when the rollback was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    name: String,
    correlation_id: String,
    #[serde(default)]
    fingerprint: Option<Fingerprint>,
}

/// The detail of a way back.
#[derive(Deserialize)]
struct Ends {
    good: Named,
    accused: Named,
}

/// No step where the way back is none of ours.
pub fn steps(target: &ArmDeploymentTarget, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
    let Ok(Ends { good, accused }) = serde_json::from_value(way_back.detail.clone()) else { return Vec::new() };
    let name = own_name(&fence.claim);
    let step = |act, says| Step {
        says,
        kind: StepKind::Convergent,
        detail: json!(Detail {
            act,
            name: name.clone(),
            record: fence.record.0.clone(),
            good: good.clone(),
            accused: accused.clone(),
        }),
    };
    vec![
        step(Act::WhatIf, format!("ask what deploying `{}` again in `{}` would change", good.name, target.scope)),
        step(Act::Deploy, format!("deploy `{}` again in `{}` as `{name}`", good.name, target.scope)),
    ]
}

/// Sends one step once, or follows what was sent before under the same name.
pub async fn submit(arm: &ResourceManager, target: &ArmDeploymentTarget, step: &Step) -> Submission {
    let Ok(detail) = serde_json::from_value::<Detail>(step.detail.clone()) else {
        return Submission::Refused { says: "the step is none of this version; nothing was sent".to_owned() };
    };
    let Ok(read) = tokio::time::timeout(READ_WITHIN, Before::read(arm, target, &detail)).await else {
        return Submission::NotSent {
            says: format!("the deployments could not be read within {} s", READ_WITHIN.as_secs()),
            retry_after_seconds: Some(AGAIN_SECONDS),
        };
    };
    let before = match read {
        Ok(before) => before,
        Err(error) => return unread(&error),
    };
    if let Some(own) = &before.own {
        return follow(&detail, own);
    }
    match detail.act {
        Act::WhatIf => what_if(arm, target, &detail, &before).await,
        Act::Deploy => deploy(arm, target, &detail, &before).await,
    }
}

/// What the records say just before a call.
struct Before {
    good: Record,
    accused: Record,
    /// A deployment under our own name: sent before, by whoever held the claim.
    own: Option<Record>,
    /// Of what comes next, what-if or deployment; the template in it letter by letter.
    body: String,
}

impl Before {
    /// Reads side by side, then has the exported template proven; what is not what it was is an error of the kind `Invalid`.
    async fn read(arm: &ResourceManager, target: &ArmDeploymentTarget, detail: &Detail) -> Result<Self, PortError> {
        let (good, accused, own, template) = tokio::join!(
            record(arm, target, &detail.good.name),
            record(arm, target, &detail.accused.name),
            record(arm, target, &detail.name),
            template::export(arm, target, &detail.good.name),
        );
        let own = match own {
            Ok(own) => Some(own),
            Err(error) if error.kind == PortErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (good, accused, template) = (good?, accused?, template?);
        for (record, named) in [(&good, &detail.good), (&accused, &detail.accused)] {
            if !record.correlation_id().eq_ignore_ascii_case(&named.correlation_id) {
                return Err(invalid(format!("deployment `{}` was overwritten by another one of that name", clean(&named.name))));
            }
        }
        let known = detail.good.fingerprint.as_ref();
        if known.is_none() || known != content::fingerprint(&good).as_ref() {
            return Err(invalid(format!("deployment `{}` does not hold what it held", clean(&detail.good.name))));
        }
        // What was sent before is followed, whatever could be exported now.
        if own.is_none() {
            template::prove(arm, &good, &template).await?;
        }
        let mut body = content::body(target, &good, template).map_err(invalid)?;
        match detail.act {
            // The short form does not tell what changes from what stays.
            Act::WhatIf => body.properties.what_if_settings = Some(json!({ "resultFormat": "FullResourcePayloads" })),
            Act::Deploy => body.tags = Some(tags(&good, detail)),
        }
        let body = serde_json::to_string(&body).map_err(|error| invalid(error.to_string()))?;
        Ok(Self { good, accused, own, body })
    }
}

fn invalid(says: String) -> PortError {
    PortError::new("read the deployments", PortErrorKind::Invalid, says)
}

/// The good record's own tags, by which it may belong to its lineage, and ours.
fn tags(good: &Record, detail: &Detail) -> Value {
    let mut tags: serde_json::Map<String, Value> = good.tags.clone().unwrap_or_default().into_iter().collect();
    for (name, value) in [(RESTORES_TAG, &detail.good.name), (TAKES_BACK_TAG, &detail.accused.name), (RECORD_TAG, &detail.record)]
    {
        tags.insert(name.to_owned(), json!(value));
    }
    Value::Object(tags)
}

async fn record(arm: &ResourceManager, target: &ArmDeploymentTarget, name: &str) -> Result<Record, PortError> {
    const OPERATION: &str = "read the deployment";
    let answer = arm.read(OPERATION, &format!("{}?{API_VERSION}", record_path(target, name))).await?;
    parse(OPERATION, answer)
}

/// Nothing was sent. Whether trying again may help, the kind tells.
fn unread(error: &PortError) -> Submission {
    match error.kind {
        PortErrorKind::Transient | PortErrorKind::Throttled => Submission::NotSent {
            says: error.to_string(),
            retry_after_seconds: error.retry_after.map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)),
        },
        PortErrorKind::NotFound | PortErrorKind::Denied | PortErrorKind::Invalid => {
            Submission::Refused { says: format!("{error}; nothing was sent") }
        }
    }
}

/// Our own deployment is there already.
fn follow(detail: &Detail, own: &Record) -> Submission {
    match own.state() {
        State::GoesOn => {
            Submission::Accepted { operation: operation(detail, Act::Deploy, &json!({})), poll_after_seconds: POLL_AGAIN_SECONDS }
        }
        // The step after the what-if finds it too.
        State::Succeeded => Submission::Done,
        State::Broken => Submission::Unknown {
            says: format!(
                "`{}` was sent before and ended as `{}`",
                own.name,
                own.properties.provisioning_state.as_deref().unwrap_or("?")
            ),
        },
    }
}

async fn what_if(arm: &ResourceManager, target: &ArmDeploymentTarget, detail: &Detail, before: &Before) -> Submission {
    let path = format!("{}/whatIf?{API_VERSION}", record_path(target, &detail.name));
    let (submission, told) = arm.submit_for_answer(Method::POST, &path, Some(before.body.clone())).await;
    match submission {
        Submission::Done => match what_if::judge(&told.body, &before.good, &before.accused) {
            Ok(()) => Submission::Done,
            Err(why) => Submission::Refused { says: refused(&why) },
        },
        Submission::Accepted { operation: asked, poll_after_seconds } => {
            Submission::Accepted { operation: operation(detail, Act::WhatIf, &asked), poll_after_seconds }
        }
        Submission::Refused { says } => Submission::Refused { says },
        // It changes nothing, so whatever became of it, it may be asked for again.
        Submission::Busy { says } | Submission::Unknown { says } => Submission::NotSent {
            says: format!("the what-if gave no answer that tells: {says}"),
            retry_after_seconds: Some(AGAIN_SECONDS),
        },
        Submission::NotSent { says, retry_after_seconds } => Submission::NotSent { says, retry_after_seconds },
    }
}

fn refused(why: &str) -> String {
    format!("{why}, so nothing was deployed")
}

async fn deploy(arm: &ResourceManager, target: &ArmDeploymentTarget, detail: &Detail, before: &Before) -> Submission {
    let path = format!("{}?{API_VERSION}", record_path(target, &detail.name));
    let (submission, _) = arm.submit_for_answer(Method::PUT, &path, Some(before.body.clone())).await;
    match submission {
        Submission::Accepted { operation: asked, poll_after_seconds } => {
            Submission::Accepted { operation: operation(detail, Act::Deploy, &asked), poll_after_seconds }
        }
        Submission::Done
        | Submission::Refused { .. }
        | Submission::Busy { .. }
        | Submission::NotSent { .. }
        | Submission::Unknown { .. } => submission,
    }
}

/// What [`poll`] needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asked {
    #[serde(flatten)]
    detail: Detail,
    /// As the resource manager's client keeps it.
    operation: Value,
}

fn operation(detail: &Detail, act: Act, operation: &Value) -> Value {
    json!(Asked { detail: Detail { act, ..detail.clone() }, operation: operation.clone() })
}

/// Asks how the what-if or the deployment stands.
pub async fn poll(arm: &ResourceManager, target: &ArmDeploymentTarget, operation: &Value) -> Result<OperationState, PortError> {
    let Ok(asked) = serde_json::from_value::<Asked>(operation.clone()) else {
        return Ok(OperationState::Unknown { says: "the operation is none of this version".to_owned() });
    };
    match asked.detail.act {
        Act::WhatIf => poll_what_if(arm, target, &asked).await,
        Act::Deploy => poll_deployment(arm, target, &asked).await,
    }
}

async fn poll_what_if(arm: &ResourceManager, target: &ArmDeploymentTarget, asked: &Asked) -> Result<OperationState, PortError> {
    let detail = &asked.detail;
    let (state, answer) = arm.poll_for_answer(&asked.operation).await?;
    match state {
        OperationState::Running { .. } | OperationState::WaitsForAPerson { .. } => Ok(state),
        OperationState::Succeeded => {
            let (good, accused) = tokio::join!(record(arm, target, &detail.good.name), record(arm, target, &detail.accused.name));
            let judged = match (good, accused) {
                (Ok(good), Ok(accused)) => what_if::judge(&answer, &good, &accused),
                (Err(error), _) | (_, Err(error)) if error.kind == PortErrorKind::NotFound => {
                    Err(format!("a deployment record is gone ({error})"))
                }
                (Err(error), _) | (_, Err(error)) => return Err(error),
            };
            Ok(match judged {
                Ok(()) => OperationState::Succeeded,
                Err(why) => OperationState::Failed { says: refused(&why) },
            })
        }
        OperationState::Failed { says } => {
            Ok(OperationState::Failed { says: refused(&format!("the what-if failed ({says}{})", detail_of(&answer))) })
        }
        // Unknown leads to nothing: without a result there is no deployment.
        OperationState::Unknown { says } => {
            Ok(OperationState::Failed { says: refused(&format!("no result could be read ({says})")) })
        }
    }
}

async fn poll_deployment(
    arm: &ResourceManager,
    target: &ArmDeploymentTarget,
    asked: &Asked,
) -> Result<OperationState, PortError> {
    let (state, answer) = arm.poll_for_answer(&asked.operation).await?;
    match state {
        OperationState::Running { .. } | OperationState::WaitsForAPerson { .. } | OperationState::Succeeded => Ok(state),
        OperationState::Failed { says } => Ok(OperationState::Failed { says: format!("{says}{}", detail_of(&answer)) }),
        // The record tells as well.
        OperationState::Unknown { says } => match record(arm, target, &asked.detail.name).await {
            Ok(own) => Ok(match own.state() {
                State::Succeeded => OperationState::Succeeded,
                State::GoesOn => OperationState::Running { poll_after_seconds: POLL_AGAIN_SECONDS },
                State::Broken => OperationState::Failed {
                    says: format!(
                        "the deployment is {}{}",
                        own.properties.provisioning_state.as_deref().unwrap_or_default().to_lowercase(),
                        detail_of(&json!({ "error": own.properties.error })),
                    ),
                },
            }),
            Err(error) if error.kind == PortErrorKind::Transient || error.kind == PortErrorKind::Throttled => Err(error),
            Err(_) => Ok(OperationState::Unknown { says }),
        },
    }
}

/// The first particular of an error: `DeploymentFailed` by itself says nothing. Empty where there is none.
fn detail_of(answer: &Value) -> String {
    let text = |key: &str| answer.pointer(&format!("/error/details/0/{key}")).and_then(Value::as_str);
    match (text("code"), text("message")) {
        (Some(code), Some(message)) => format!("; {}: {}", clean(code), clean(message)),
        (Some(only), None) | (None, Some(only)) => format!("; {}", clean(only)),
        (None, None) => String::new(),
    }
}
