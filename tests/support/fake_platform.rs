//! A platform whose rollback is a toggle, with the answers that real ones give.

use std::sync::{Arc, Mutex};

use backout::{
    domain::{
        observation::{Observation, Preflight, RunningVersion, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        target::{Fingerprint, Target, VersionToken},
    },
    ports::{Clock, Platform, Platforms, PortError, PortErrorKind, SendBy},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// How the next submission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    /// It takes effect, and the answer is lost.
    LostAfterEffect,
    /// It never arrives, and nobody can tell.
    LostBeforeEffect,
    /// As that, but it begins after all, when the target is read for that many times from then on.
    LostUntilLook(u32),
    /// A provable no.
    Refused,
    /// Turned away unprocessed.
    NotSent,
    /// The same, with the wish to wait for so many seconds.
    NotSentFor(u32),
    /// Accepted, and the operation fails at its end.
    FailsLater,
}

#[derive(Debug)]
struct Site {
    production: String,
    staging: String,
    swapped_at: Option<Timestamp>,
    /// When the swap under way takes effect, and whether it will.
    under_way: Option<(Timestamp, bool)>,
    failed: bool,
    answers: Vec<Answer>,
    /// Swaps of ours that took effect, and calls that were sent.
    effects: u32,
    calls: u32,
    unreadable: u32,
    /// Readings since the last call.
    looks: u32,
    looks_before_calls: Vec<u32>,
    begins_at_look: Option<u32>,
    staging_untold: bool,
    /// After so many looks so many tell no content.
    untold: (u32, u32),
    leads_nowhere: bool,
    prepares: bool,
    deleted: bool,
}

/// One site with two slots.
#[derive(Clone)]
pub struct FakePlatform {
    site: Arc<Mutex<Site>>,
    clock: Arc<dyn Clock>,
    pub operation_takes: SignedDuration,
}

impl FakePlatform {
    /// `good` has served since `since`.
    pub fn new(clock: Arc<dyn Clock>, good: &str, since: Timestamp) -> Self {
        let site = Site {
            production: good.to_owned(),
            staging: "older".to_owned(),
            swapped_at: Some(since),
            under_way: None,
            failed: false,
            answers: Vec::new(),
            effects: 0,
            calls: 0,
            unreadable: 0,
            looks: 0,
            looks_before_calls: Vec::new(),
            begins_at_look: None,
            staging_untold: false,
            untold: (0, 0),
            leads_nowhere: false,
            prepares: false,
            deleted: false,
        };
        Self { site: Arc::new(Mutex::new(site)), clock, operation_takes: SignedDuration::from_secs(90) }
    }

    /// The team deploys `build` to staging and swaps it in, now.
    pub fn team_swaps_in(&self, build: &str) {
        let mut site = self.site.lock().unwrap();
        site.staging = std::mem::replace(&mut site.production, build.to_owned());
        site.swapped_at = Some(self.clock.now());
    }

    /// The team deploys `build` to staging, now.
    pub fn team_deploys_to_staging(&self, build: &str) {
        let mut site = self.site.lock().unwrap();
        settle(&mut site, self.clock.now());
        build.clone_into(&mut site.staging);
    }

    pub fn answer_next(&self, answers: &[Answer]) {
        self.site.lock().unwrap().answers = answers.to_vec();
    }

    /// The next `times` readings fail.
    pub fn be_unreadable(&self, times: u32) {
        self.site.lock().unwrap().unreadable = times;
    }

    /// From now on nothing tells which build the slot holds.
    pub fn hide_what_staging_holds(&self) {
        self.site.lock().unwrap().staging_untold = true;
    }

    /// After the next `told` looks, the next `untold` ones cannot read which builds the slots hold.
    pub fn tell_no_content(&self, told: u32, untold: u32) {
        self.site.lock().unwrap().untold = (told, untold);
    }

    /// From now on a step comes before the swap, which changes something else and always works.
    pub fn prepare_first(&self) {
        self.site.lock().unwrap().prepares = true;
    }

    /// From now on no call leads to any way back, against the port's promise.
    pub fn lead_nowhere(&self) {
        self.site.lock().unwrap().leads_nowhere = true;
    }

    /// Somebody deletes the site.
    pub fn be_deleted(&self) {
        self.site.lock().unwrap().deleted = true;
    }

    pub fn running(&self) -> String {
        let mut site = self.site.lock().unwrap();
        settle(&mut site, self.clock.now());
        site.production.clone()
    }

    pub fn effects(&self) -> u32 {
        let mut site = self.site.lock().unwrap();
        settle(&mut site, self.clock.now());
        site.effects
    }

    /// Readings before each call, since the call before it.
    pub fn looks_before_calls(&self) -> Vec<u32> {
        self.site.lock().unwrap().looks_before_calls.clone()
    }

    pub fn calls(&self) -> u32 {
        self.site.lock().unwrap().calls
    }
}

fn settle(site: &mut Site, now: Timestamp) {
    if let Some((at, works)) = site.under_way.filter(|(at, _)| *at <= now) {
        site.under_way = None;
        site.failed = !works;
        if works {
            let production = std::mem::take(&mut site.production);
            site.production = std::mem::replace(&mut site.staging, production);
            site.swapped_at = Some(at);
            site.effects += 1;
        }
    }
}

#[async_trait::async_trait]
impl Platform for FakePlatform {
    async fn observe(&self) -> Result<Observation, PortError> {
        let now = self.clock.now();
        let mut site = self.site.lock().unwrap();
        settle(&mut site, now);
        if site.deleted {
            return Err(PortError::new("read the site", PortErrorKind::NotFound, "404 ResourceNotFound"));
        }
        if site.unreadable > 0 {
            site.unreadable -= 1;
            return Err(PortError::new("read the site", PortErrorKind::Throttled, "asked to wait"));
        }
        site.looks += 1;
        let tells = match &mut site.untold {
            (0, 0) => true,
            (0, untold) => {
                *untold -= 1;
                false
            }
            (told, _) => {
                *told -= 1;
                true
            }
        };
        if site.begins_at_look == Some(site.looks) {
            site.under_way = Some((now + self.operation_takes, true));
        }
        Ok(Observation {
            observed_at: now,
            running: RunningVersion {
                token: VersionToken(format!("swap|{}", site.swapped_at.map_or_else(|| "none".to_owned(), |at| at.to_string()))),
                fingerprint: tells.then(|| Fingerprint(site.production.clone())),
                serving_since: site.swapped_at,
                label: site.production.clone(),
            },
            under_way: site.under_way.map(|_| "a swap".to_owned()),
            ways_back: vec![WayBack {
                name: "slot staging".to_owned(),
                fingerprint: (tells && !site.staging_untold).then(|| Fingerprint(site.staging.clone())),
                label: site.staging.clone(),
                obstacles: Vec::new(),
                detail: json!({ "slot": "staging" }),
            }],
            obstacles: Vec::new(),
        })
    }

    fn rights(&self) -> Vec<NeededRight> {
        Vec::new()
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        Ok(Preflight { obstacles: Vec::new(), ways_back: Vec::new() })
    }

    fn steps(&self, way_back: &WayBack, _fence: &Fence) -> Vec<Step> {
        if self.site.lock().unwrap().leads_nowhere {
            return Vec::new();
        }
        let prepare =
            Step { says: "clear the traffic rules".to_owned(), kind: StepKind::Convergent, detail: json!({ "prepares": true }) };
        let swap = Step {
            says: format!("swap {} with production", way_back.name),
            kind: StepKind::Toggle,
            detail: way_back.detail.clone(),
        };
        self.site.lock().unwrap().prepares.then_some(prepare).into_iter().chain([swap]).collect()
    }

    async fn submit(&self, step: &Step) -> Submission {
        if SendBy::has_passed() {
            return Submission::NotSent { says: "too late to send a call".to_owned(), retry_after_seconds: None };
        }
        if step.detail["prepares"] == true {
            return Submission::Done;
        }
        let now = self.clock.now();
        let mut site = self.site.lock().unwrap();
        settle(&mut site, now);
        if site.deleted {
            return Submission::Refused { says: "404 ResourceNotFound".to_owned() };
        }
        if site.under_way.is_some() {
            return Submission::Busy { says: "another operation is in progress".to_owned() };
        }
        let answer = if site.answers.is_empty() { Answer::Accepted } else { site.answers.remove(0) };
        site.calls += 1;
        let looks = std::mem::take(&mut site.looks);
        site.looks_before_calls.push(looks);
        let end = now + self.operation_takes;
        match answer {
            Answer::Accepted => {
                site.under_way = Some((end, true));
                Submission::Accepted { operation: json!({ "until": end.to_string() }), poll_after_seconds: 15 }
            }
            Answer::FailsLater => {
                site.under_way = Some((end, false));
                Submission::Accepted { operation: json!({ "until": end.to_string() }), poll_after_seconds: 15 }
            }
            Answer::LostAfterEffect => {
                site.under_way = Some((end, true));
                Submission::Unknown { says: "the connection was reset".to_owned() }
            }
            Answer::LostUntilLook(looks) => {
                site.begins_at_look = Some(looks);
                Submission::Unknown { says: "no answer in 30 s".to_owned() }
            }
            Answer::LostBeforeEffect => Submission::Unknown { says: "no answer in 30 s".to_owned() },
            Answer::Refused => Submission::Refused { says: "403 AuthorizationFailed".to_owned() },
            Answer::NotSent => Submission::NotSent { says: "429".to_owned(), retry_after_seconds: Some(20) },
            Answer::NotSentFor(seconds) => Submission::NotSent { says: "429".to_owned(), retry_after_seconds: Some(seconds) },
        }
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        if operation["until"].as_str().is_none_or(|until| until.parse::<Timestamp>().is_err()) {
            return Ok(OperationState::Unknown { says: "no operation of this site".to_owned() });
        }
        let now = self.clock.now();
        let mut site = self.site.lock().unwrap();
        settle(&mut site, now);
        Ok(match (site.under_way, site.failed) {
            (Some(_), _) => OperationState::Running { poll_after_seconds: 15 },
            (None, true) => OperationState::Failed { says: "the slot did not start".to_owned() },
            (None, false) => OperationState::Succeeded,
        })
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        self.observe().await
    }
}

/// The same platform for every target.
pub struct OnePlatform(pub Arc<dyn Platform>);

impl Platforms for OnePlatform {
    fn of(&self, _target: &Target) -> Arc<dyn Platform> {
        Arc::clone(&self.0)
    }
}
