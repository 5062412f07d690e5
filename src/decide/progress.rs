//! What became of our call: judged from the live state alone, never from what we hoped for.

use crate::domain::{
    observation::Observation,
    rollback::Busy,
    target::{Fingerprint, VersionToken},
};

/// What the live state says about the call of a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// Something is still going on, ours or not; look again.
    UnderWay(String),
    /// The accused version still runs and nothing is under way.
    Nothing,
    /// Another rollout runs, and it has the good version's content.
    Applied { token: VersionToken, fingerprint: Fingerprint },
    /// Another rollout runs, and it is not what we went back to. A person must look.
    Surprise(String),
}

/// Compares the accused token, the good content and the live state.
pub fn what_happened(busy: &Busy, observation: &Observation) -> Happened {
    if let Some(under_way) = &observation.under_way {
        return Happened::UnderWay(under_way.clone());
    }
    let running = &observation.running;
    if running.token == busy.accused {
        return Happened::Nothing;
    }
    match (&running.fingerprint, &busy.good.fingerprint) {
        (Some(runs), Some(good)) if runs == good => Happened::Applied { token: running.token.clone(), fingerprint: runs.clone() },
        (Some(runs), _) if Some(runs) == busy.accused_fingerprint.as_ref() => Happened::Surprise(format!(
            "{} runs again after a change: it looks as if somebody changed it at the same time",
            running.label
        )),
        (Some(_), Some(_)) => {
            Happened::Surprise(format!("{} runs, which is neither the accused version nor the one to go back to", running.label))
        }
        (None, _) | (_, None) => {
            Happened::Surprise(format!("something else runs now ({}), and its content cannot be told apart", running.label))
        }
    }
}

/// The re-read just before the call: why nothing may be sent, or `None` when all is as it was decided (A5, A4).
pub fn changed_meanwhile(busy: &Busy, observation: &Observation) -> Option<String> {
    if let Some(under_way) = &observation.under_way {
        return Some(format!("an operation began meanwhile: {under_way}"));
    }
    if observation.running.token != busy.accused {
        return Some(format!("the accused version does not run any more; {} does", observation.running.label));
    }
    if observation.running.fingerprint != busy.accused_fingerprint {
        return Some("the content that runs changed meanwhile".to_owned());
    }
    let way = observation.ways_back.iter().find(|way| way.name == busy.good.name);
    match way {
        None => Some(format!("{} is gone", busy.good.name)),
        Some(way) if way.fingerprint != busy.good.fingerprint => {
            Some(format!("{} holds another build now: {}", way.name, way.label))
        }
        Some(way) => way
            .obstacles
            .iter()
            .chain(&observation.obstacles)
            .find(|obstacle| obstacle.weight == crate::domain::observation::ObstacleWeight::Page)
            .map(|obstacle| obstacle.says.clone()),
    }
}
