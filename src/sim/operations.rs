//! Swaps: begun, under way for a while, and then done or failed.
//!
//! Nothing runs in the background. Whoever touches the world first settles what has ended by the clock, at the moment when it ended.

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::{
    arm_deployment,
    call::Reply,
    container_app, kubernetes, logic_app, pipeline,
    world::{Site, SwapStatus, World},
};

#[derive(Debug)]
pub(super) struct Operation {
    pub id: String,
    /// Canonical id of the site.
    pub site: String,
    source: String,
    target: String,
    began: Timestamp,
    ends: Timestamp,
    /// How it will end; decided when it begins.
    fails: Option<String>,
    settled: bool,
}

/// Why a swap is not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SwapRefusal {
    NoSuchSlot(String),
    SameSlot,
    Busy { operation: String, began: Timestamp },
    Prepared,
}

impl World {
    /// Lets every operation whose end has passed take effect, in the order of their ends.
    pub fn settle(&mut self, now: Timestamp) {
        let mut due: Vec<(Timestamp, String)> = self
            .operations
            .values()
            .filter(|operation| !operation.settled && operation.ends <= now)
            .map(|operation| (operation.ends, operation.id.clone()))
            .collect();
        due.sort();
        for (_, id) in due {
            let Some(operation) = self.operations.get_mut(&id) else { continue };
            operation.settled = true;
            if let Some(site) = self.sites.get_mut(&operation.site) {
                end_swap(site, operation);
            }
        }
        kubernetes::settle(self, now);
        arm_deployment::settle(self, now);
        logic_app::settle(self, now);
        container_app::settle(self, now);
        pipeline::settle(self, now);
        self.bus.settle(now);
    }

    /// Begins a swap which ends after `taking`, or after the site's own duration. The id of the operation, or why not.
    ///
    /// # Panics
    /// When there is no such site; the callers have looked.
    pub fn begin_swap(
        &mut self,
        site_id: &str,
        source: &str,
        target: &str,
        now: Timestamp,
        taking: Option<SignedDuration>,
    ) -> Result<String, SwapRefusal> {
        let site = self.sites.get_mut(site_id).expect("the caller looked the site up");
        let (source_key, target_key) = (source.to_ascii_lowercase(), target.to_ascii_lowercase());
        for name in [&source_key, &target_key] {
            let Some(slot) = site.slots.get(name) else {
                return Err(SwapRefusal::NoSuchSlot(name.clone()));
            };
            if let Some(operation) = slot.in_progress.as_ref().and_then(|id| self.operations.get(id)) {
                return Err(SwapRefusal::Busy { operation: operation.id.clone(), began: operation.began });
            }
        }
        if source_key == target_key {
            return Err(SwapRefusal::SameSlot);
        }
        // A prepared swap is completed by the same swap; any other one on its slots is refused.
        let prepared_elsewhere = site.slots.iter().any(|(name, slot)| {
            slot.prepared_for.as_ref().is_some_and(|prepared| {
                let prepared = prepared.to_ascii_lowercase();
                let touches = [name, &prepared].iter().any(|slot| **slot == source_key || **slot == target_key);
                touches && !(*name == source_key && prepared == target_key)
            })
        });
        if prepared_elsewhere {
            return Err(SwapRefusal::Prepared);
        }
        let taking = taking.or_else(|| SignedDuration::try_from(site.swap_takes).ok()).unwrap_or(SignedDuration::MAX);
        let stopped = !site.slots[&source_key].running;
        let fails = site
            .swaps_fail
            .clone()
            .or_else(|| stopped.then(|| format!("the worker process for '{source_key}' slot could not be started.")));
        let id = Uuid::new_v4().to_string();
        for name in [&source_key, &target_key] {
            if let Some(slot) = site.slots.get_mut(name) {
                slot.in_progress = Some(id.clone());
            }
        }
        let operation = Operation {
            id: id.clone(),
            site: site_id.to_owned(),
            source: source_key,
            target: target_key,
            began: now,
            ends: now.checked_add(taking).unwrap_or(Timestamp::MAX),
            fails,
            settled: false,
        };
        self.operations.insert(id.clone(), operation);
        self.settle(now);
        Ok(id)
    }

    /// Makes a running operation fail at its end.
    pub fn let_operation_fail(&mut self, id: &str, says: &str) {
        if let Some(operation) = self.operations.get_mut(id).filter(|operation| !operation.settled) {
            operation.fails = Some(says.to_owned());
        }
    }

    /// Answers a poll of an operation of `site`: 202 while it runs, 200 without a body when done, 4xx when it failed.
    pub fn poll(&self, site: &str, id: &str, location: &str) -> Reply {
        let Some(operation) = self.operations.get(&id.to_ascii_lowercase()).filter(|found| found.site == site) else {
            return Reply::error(StatusCode::NOT_FOUND, "NotFound", &format!("Operation with id '{id}' was not found."));
        };
        if !operation.settled {
            return accepted(location);
        }
        match &operation.fails {
            None => Reply::empty(StatusCode::OK),
            Some(says) => {
                let site = site.rsplit('/').next().unwrap_or_default();
                app_service_error(
                    StatusCode::BAD_REQUEST,
                    "BadRequest",
                    "51021",
                    &format!("Cannot swap slots for site '{site}' because {says}"),
                )
            }
        }
    }
}

impl Operation {
    pub fn is_done(&self) -> bool {
        self.settled
    }
}

/// 202 with where to look and when.
pub(super) fn accepted(location: &str) -> Reply {
    Reply::empty(StatusCode::ACCEPTED)
        .with_header("location", location)
        .with_header("retry-after", RETRY_AFTER_SECONDS.to_string())
}

const RETRY_AFTER_SECONDS: u32 = 15;

impl SwapRefusal {
    pub fn reply(&self, site: &str) -> Reply {
        match self {
            Self::NoSuchSlot(slot) => {
                Reply::error(StatusCode::NOT_FOUND, "ResourceNotFound", &format!("Slot '{slot}' of site '{site}' was not found."))
            }
            Self::SameSlot => app_service_error(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                "51004",
                &format!("Source and target slot of site '{site}' are the same."),
            ),
            Self::Busy { operation, began } => app_service_error(
                StatusCode::CONFLICT,
                "Conflict",
                "59203",
                &format!(
                    "Cannot modify this site because another operation is in progress. Details: Id: {operation}, OperationName: \
                     SwapSiteSlots, CreatedTime: {began}, RequestId: {}, EntityType: 3",
                    Uuid::new_v4()
                ),
            ),
            Self::Prepared => prepared(site),
        }
    }
}

/// The answer to a change of a site whose swap with preview is pending.
pub(super) fn prepared(site: &str) -> Reply {
    app_service_error(
        StatusCode::CONFLICT,
        "Conflict",
        "51012",
        &format!("Operation is not allowed: site '{site}' is prepared for swap. Complete the swap or reset it first."),
    )
}

/// App Service's own error body, whose names begin with capitals. Composed by us after published samples.
pub(super) fn app_service_error(status: StatusCode, code: &str, extended_code: &str, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({
            "Code": code,
            "Message": message,
            "Target": null,
            "Details": [
                { "Message": message },
                { "Code": code },
                { "ErrorEntity": {
                    "ExtendedCode": extended_code,
                    "MessageTemplate": message,
                    "Parameters": [],
                    "Code": code,
                    "Message": message,
                } },
            ],
            "Innererror": null,
        }),
    )
}

fn end_swap(site: &mut Site, operation: &Operation) {
    let at = operation.ends;
    let (Some(mut source), Some(mut target)) = (site.slots.remove(&operation.source), site.slots.remove(&operation.target))
    else {
        return;
    };
    source.in_progress = None;
    target.in_progress = None;
    if operation.fails.is_none() {
        std::mem::swap(&mut source.content, &mut target.content);
        let status = SwapStatus { at, source: source.name.clone(), destination: target.name.clone() };
        for slot in [&mut source, &mut target] {
            slot.served.set(at, slot.content.build.clone());
            slot.last_swap = Some(status.clone());
            slot.last_modified = at;
        }
        source.prepared_for = None;
        site.swaps += 1;
    }
    site.slots.insert(operation.source.clone(), source);
    site.slots.insert(operation.target.clone(), target);
}
