//! What became of our call: judged from the live state alone, never from what we hoped for.

use crate::domain::{
    observation::{Observation, ObstacleWeight},
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
    /// Another rollout runs, and what it holds could not be read now; look again.
    Untold(String),
    /// Another rollout runs, and it is not what we went back to. A person must look.
    Surprise(String),
}

/// What the re-read just before the call says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReRead {
    AsDecided,
    /// A part of it could not be read: nothing is known to have changed, and nothing may be sent now.
    Untold(String),
    /// Why nothing may be sent any more (A5, A4).
    Changed(String),
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
        (None, Some(_)) => {
            Happened::Untold(format!("something else runs now, and what it is could not be read ({})", running.label))
        }
        (_, None) => {
            Happened::Surprise(format!("something else runs now ({}), and its content cannot be told apart", running.label))
        }
    }
}

/// The re-read just before the call: whether all is as it was decided. What could not be read is no change.
pub fn re_read(busy: &Busy, observation: &Observation) -> ReRead {
    if let Some(under_way) = &observation.under_way {
        return ReRead::Changed(format!("an operation began meanwhile: {under_way}"));
    }
    let running = &observation.running;
    if running.token != busy.accused {
        return ReRead::Changed(format!("the accused version does not run any more; {} does", running.label));
    }
    match (&running.fingerprint, &busy.accused_fingerprint) {
        (None, Some(_)) => return ReRead::Untold(format!("what runs could not be read ({})", running.label)),
        (runs, decided) if runs != decided => return ReRead::Changed("the content that runs changed meanwhile".to_owned()),
        (Some(_) | None, _) => {}
    }
    let Some(way) = observation.ways_back.iter().find(|way| way.name == busy.good.name) else {
        return ReRead::Changed(format!("{} is gone", busy.good.name));
    };
    match (&way.fingerprint, &busy.good.fingerprint) {
        (None, Some(_)) => return ReRead::Untold(format!("what {} holds could not be read ({})", way.name, way.label)),
        (holds, decided) if holds != decided => {
            return ReRead::Changed(format!("{} holds another build now: {}", way.name, way.label));
        }
        (Some(_) | None, _) => {}
    }
    way.obstacles
        .iter()
        .chain(&observation.obstacles)
        .find(|obstacle| obstacle.weight == ObstacleWeight::Page)
        .map_or(ReRead::AsDecided, |obstacle| ReRead::Changed(obstacle.says.clone()))
}
