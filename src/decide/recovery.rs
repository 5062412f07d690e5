//! Did the rollback help? The platform serves the good version, and the same signal is back in range, with data (V2, V3).

use jiff::Timestamp;

use super::evidence::{self, UsualRange};
use crate::domain::{
    instant::whole_seconds,
    known::Known,
    series::{Point, Series},
};

/// Windows in range, in a row, newest last, that make a recovery.
pub const RECOVERED_WINDOWS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// At least one signal that showed the fault is back in range, and none is out of it.
    Recovered(String),
    /// A signal is farther out of range than it ever was while the accused version served (V4).
    Worse(String),
    /// A signal is still out of range.
    StillBad(String),
    /// Not enough data yet, or none (E3): neither good nor bad.
    Unknown(String),
}

/// What one signal says.
enum Reading {
    InRange { says: String, showed_the_fault: bool },
    Worse(String),
    StillBad(String),
    Unknown(String),
}

/// Judges the time since the rollback took effect; the window in which it did is left out.
///
/// "Usual" is what was measured before the accused version began to serve.
pub fn judge(signals: &[Known<Series>], accused_since: Timestamp, applied_at: Timestamp, now: Timestamp) -> Recovery {
    let mut good: Vec<String> = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    let mut still_bad = None;
    let mut any_showed_the_fault = false;
    for signal in signals {
        match judge_one(signal, accused_since, applied_at, now) {
            Reading::InRange { says, showed_the_fault } => {
                any_showed_the_fault |= showed_the_fault;
                good.push(says);
            }
            Reading::Worse(says) => return Recovery::Worse(says),
            Reading::StillBad(says) => {
                still_bad.get_or_insert(says);
            }
            Reading::Unknown(says) => unknown.push(says),
        }
    }
    if let Some(says) = still_bad {
        return Recovery::StillBad(says);
    }
    match (good.is_empty(), unknown.is_empty()) {
        (false, true) if any_showed_the_fault => Recovery::Recovered(good.join("; ")),
        (false, true) => Recovery::Unknown(
            "no signal showed the fault, so whether going back helped is not known; look at what the alert itself measures"
                .to_owned(),
        ),
        (_, false) => Recovery::Unknown(unknown.join("; ")),
        (true, true) => Recovery::Unknown("no signal is configured".to_owned()),
    }
}

fn judge_one(signal: &Known<Series>, accused_since: Timestamp, applied_at: Timestamp, now: Timestamp) -> Reading {
    let series = match signal {
        Known::Value(series) => series,
        Known::Unknown(why) => return Reading::Unknown(why.clone()),
    };
    if let Some(says) = evidence::staleness(series, now) {
        return Reading::Unknown(says);
    }
    let complete_until = now - series.source_lag;
    let windows = evidence::windows(series, complete_until);
    let range = match UsualRange::before(&windows, accused_since - series.interval, series) {
        Ok(range) => range,
        Err(why) => return Reading::Unknown(format!("`{}` {why} before the fault", series.name)),
    };
    // Every window since then, known or not: a gap breaks the row, since missing data is no recovery.
    let since: Vec<&Point> =
        series.points.iter().filter(|p| p.end - series.interval >= applied_at && p.end <= complete_until).collect();
    let Some(newest) = since.len().checked_sub(RECOVERED_WINDOWS).map(|from| &since[from..]) else {
        return Reading::Unknown(format!(
            "`{}` has {} complete windows since the rollback; {RECOVERED_WINDOWS} are needed",
            series.name,
            since.len()
        ));
    };
    // A window that the series does not even list is a gap too.
    if let Some(gap) = newest.windows(2).find(|pair| pair[1].end.duration_since(pair[0].end) > series.interval) {
        return Reading::Unknown(format!(
            "`{}` lacks windows between {} and {}",
            series.name,
            whole_seconds(gap[0].end),
            whole_seconds(gap[1].end)
        ));
    }
    if let Some(says) = got_worse(series, newest, &range, accused_since, applied_at) {
        return Reading::Worse(says);
    }
    let mut last = 0.0;
    for point in newest {
        match evidence::usable(series, point) {
            None if evidence::is_small(point) => {
                return Reading::Unknown(format!(
                    "`{}` has fewer than {} in the window that ended {}, too few to judge",
                    series.name,
                    evidence::SAMPLE_MIN,
                    whole_seconds(point.end)
                ));
            }
            None => {
                return Reading::Unknown(format!(
                    "`{}` has no value for the window that ended {}",
                    series.name,
                    whole_seconds(point.end)
                ));
            }
            Some(value) if !range.holds(value) && !range.surely_left_by(value) => {
                return Reading::Unknown(format!(
                    "`{}` lacks values from before the fault, so whether {} is usual is not known",
                    series.name,
                    evidence::describe_value(series, value)
                ));
            }
            Some(value) if !range.holds(value) => {
                let says = format!(
                    "`{}` is at {} in the window that ended {}; usual is {}",
                    series.name,
                    evidence::describe_value(series, value),
                    whole_seconds(point.end),
                    evidence::describe_value(series, range.middle)
                );
                return Reading::StillBad(says);
            }
            Some(value) => last = value,
        }
    }
    Reading::InRange {
        says: format!(
            "`{}` is back at {} (usual {}) in {RECOVERED_WINDOWS} windows in a row",
            series.name,
            evidence::describe_value(series, last),
            evidence::describe_value(series, range.middle)
        ),
        showed_the_fault: while_accused(series, accused_since, applied_at).any(|value| range.surely_left_by(value)),
    }
}

/// What was measured while the accused version served.
fn while_accused(series: &Series, accused_since: Timestamp, applied_at: Timestamp) -> impl Iterator<Item = f64> {
    series
        .points
        .iter()
        .filter(move |point| point.end > accused_since && point.end <= applied_at)
        .filter_map(|point| evidence::usable(series, point))
}

/// Every one of the newest windows is worse than the worst one under the accused version, by what people would notice (V4).
fn got_worse(
    series: &Series,
    newest: &[&Point],
    range: &UsualRange,
    accused_since: Timestamp,
    applied_at: Timestamp,
) -> Option<String> {
    let worst_before = while_accused(series, accused_since, applied_at).reduce(|a, b| range.worse_of(a, b))?;
    let values: Vec<f64> = newest.iter().filter_map(|point| evidence::usable(series, point)).collect();
    let all_worse = values.len() == newest.len()
        && values.iter().all(|value| {
            let farther = (value - worst_before).abs() > evidence::noticeable(series, worst_before);
            range.surely_left_by(*value) && range.is_worse(*value, worst_before) && farther
        });
    let last = values.last().filter(|_| all_worse)?;
    Some(format!(
        "`{}` got worse after the rollback: {} in the last {RECOVERED_WINDOWS} windows, against {} at worst before it; whether to go forward again is for a person to decide",
        series.name,
        evidence::describe_value(series, *last),
        evidence::describe_value(series, worst_before)
    ))
}
