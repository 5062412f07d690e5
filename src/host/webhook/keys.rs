//! The tenant's signing keys, kept: fetched when first needed, once a day, and when a token names one that is not known.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::DecodingKey;
use tokio::sync::Mutex;
use tracing::warn;

use crate::ports::{Clock, PortError, SigningKeySource};

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyProblem {
    /// The tenant has none of that id.
    Unknown,
    /// The tenant could not be asked.
    Unavailable(PortError),
}

pub struct SigningKeys {
    source: Arc<dyn SigningKeySource>,
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    /// Held while the keys are fetched, so that many callers make one request. Whoever brings a known key never waits for it.
    last_try: Mutex<LastTry>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, DecodingKey>,
    fetched_at: Option<Timestamp>,
}

#[derive(Default)]
struct LastTry {
    at: Option<Timestamp>,
    failed: Option<PortError>,
}

/// Entra's own advice is to look once a day.
const FRESH_FOR: SignedDuration = SignedDuration::from_hours(24);
/// A key that is not known is asked for this often at most, so that a forger cannot make us ask at will. The tenant publishes a
/// key well before it signs with it.
const PAUSE_AFTER_SUCCESS: SignedDuration = SignedDuration::from_mins(5);
const PAUSE_AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(10);

impl SigningKeys {
    /// Nothing is fetched before the first token.
    pub fn new(source: Arc<dyn SigningKeySource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, known: RwLock::default(), last_try: Mutex::default() }
    }

    pub async fn find(&self, id: &str) -> Result<DecodingKey, KeyProblem> {
        let (found, fresh) = self.look(id);
        if let (Some(key), true) = (&found, fresh) {
            return Ok(key.clone());
        }
        let mut last_try = self.last_try.lock().await;
        let now = self.clock.now();
        let pause = if last_try.failed.is_some() { PAUSE_AFTER_FAILURE } else { PAUSE_AFTER_SUCCESS };
        if last_try.at.is_none_or(|at| now.duration_since(at) >= pause) {
            last_try.at = Some(now);
            last_try.failed = self.fetch(now).await.err();
        }
        match (self.look(id).0, &last_try.failed) {
            // Keys of yesterday, where the tenant cannot be asked today, are better than no alert.
            (Some(key), _) => Ok(key),
            (None, Some(failed)) => Err(KeyProblem::Unavailable(failed.clone())),
            (None, None) => Err(KeyProblem::Unknown),
        }
    }

    fn look(&self, id: &str) -> (Option<DecodingKey>, bool) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.fetched_at.is_some_and(|at| self.clock.now().duration_since(at) < FRESH_FOR);
        (known.keys.get(id).cloned(), fresh)
    }

    async fn fetch(&self, now: Timestamp) -> Result<(), PortError> {
        let told = self.source.signing_keys().await.inspect_err(|error| warn!(%error, "the keys of webhook tokens"))?;
        // One key that cannot be read must not take the others with it.
        let readable = told.into_iter().filter_map(|key| {
            DecodingKey::from_rsa_components(&key.modulus, &key.exponent).ok().map(|decoding| (key.id, decoding))
        });
        let keys = readable.collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { keys, fetched_at: Some(now) };
        Ok(())
    }
}
