//! Is the alert evidence, and what do the measurements say?

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    alert::{Alert, AlertSchema, AlertSignal, Condition},
    decision::{Effect, Reason},
    known::Known,
    rule::RuleId,
    series::{Point, Series, WorseWhen},
    service::Service,
};

/// A firing older than this at its first receipt is history (portal tests carry dates of years ago).
pub const ALERT_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Windows outside the usual range that make a fault, and windows inside it that make a recovery.
pub const WINDOWS_NEEDED: usize = 2;

/// Known windows before the rollout without which there is no "usual".
pub const BASELINE_WINDOWS_MIN: usize = 5;

/// What can be said without reading anything but the message (E1, E2).
pub fn judge_alert(alert: &Alert, service: &Service, received_at: Timestamp) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut say = |rule, effect, says: String| reasons.push(Reason { rule, effect, says });
    if alert.condition == Condition::Resolved {
        say(RuleId::E1, Effect::Ignore, "the alert is resolved; a resolved alert never starts a rollback".to_owned());
    }
    match alert.signal {
        AlertSignal::Budget => say(RuleId::E1, Effect::Ignore, "a cost alert says nothing about a deployment".to_owned()),
        AlertSignal::ServiceHealth | AlertSignal::ResourceHealth => {
            say(
                RuleId::E1,
                Effect::Page,
                "Azure reports on its own platform, which is no reason to take a deployment back".to_owned(),
            );
        }
        AlertSignal::Metric
        | AlertSignal::Log
        | AlertSignal::ActivityLog
        | AlertSignal::SmartDetector
        | AlertSignal::Prometheus
        | AlertSignal::Unknown => {}
    }
    match alert.severity {
        Some(severity) if severity.at_least(service.severity_at_least) => {}
        Some(severity) => say(
            RuleId::E2,
            Effect::Ignore,
            format!("the alert's severity {severity} is below the gate {} of `{}`", service.severity_at_least, service.name),
        ),
        None => say(
            RuleId::E2,
            Effect::Ignore,
            format!("the alert has no severity, so the gate {} is not reached", service.severity_at_least),
        ),
    }
    if let Some(fired_at) = alert.fired_at
        && received_at.duration_since(fired_at) > ALERT_AGE_MAX
    {
        say(RuleId::E1, Effect::Ignore, format!("the alert fired at {fired_at}, more than a day before it arrived"));
    }
    if alert.schema == AlertSchema::Legacy {
        say(
            RuleId::E1,
            Effect::Propose,
            "the alert came in a legacy schema, which carries no alert id; switch the action group's receiver to the common alert schema".to_owned(),
        );
    }
    reasons
}

/// What one signal says about a rollout at a given time.
#[derive(Debug, Clone, PartialEq)]
pub enum SignalReading {
    /// No verdict, and why (E3, E8).
    Unknown { rule: RuleId, says: String },
    /// Measured, fresh, and never out of its usual range for long.
    Quiet,
    /// It left its usual range and has not come back.
    Fault(Fault),
    /// It left its usual range and came back by itself (A13).
    Recovered { says: String },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The onset lies in the window between these two.
    pub onset_earliest: Timestamp,
    pub onset_latest: Timestamp,
    pub usual: f64,
    pub worst: f64,
    /// For a person.
    pub says: String,
}

/// Reads a signal around a rollout: "usual" is what was measured before it.
///
/// Windows younger than the source's lag are not looked at; the one which holds the rollout and its neighbours do not
/// count as usual. Robust statistics keep a fault that began before the rollout from hiding in the baseline (C1).
pub fn read_signal(signal: &Known<Series>, rollout_at: Timestamp, now: Timestamp) -> SignalReading {
    let series = match signal {
        Known::Value(series) => series,
        Known::Unknown(why) => return SignalReading::Unknown { rule: RuleId::E3, says: why.clone() },
    };
    let name = &series.name;
    if let Some(says) = staleness(series, now) {
        return SignalReading::Unknown { rule: RuleId::E8, says };
    }
    let complete_until = now - series.source_lag;
    let known: Vec<(Point, f64)> =
        series.points.iter().filter(|p| p.end <= complete_until).filter_map(|p| usable(p).map(|value| (*p, value))).collect();
    let usual_range = match UsualRange::before(&known, rollout_at - series.interval, series) {
        Ok(range) => range,
        Err(count) => {
            return SignalReading::Unknown {
                rule: RuleId::E3,
                says: format!(
                    "`{name}` has {count} measured windows before the rollout; {BASELINE_WINDOWS_MIN} are needed to know what is usual"
                ),
            };
        }
    };
    let Some(run) = last_run(&known, &usual_range) else { return SignalReading::Quiet };
    let since: Vec<&(Point, f64)> = known.iter().filter(|(p, _)| p.end > run.last_end).collect();
    let worst = run.worst;
    let describe = |value: f64| describe_value(series, value);
    if since.len() > WINDOWS_NEEDED {
        return SignalReading::Recovered {
            says: format!("`{name}` left its usual range and has been back in it since the window that ended {}", since[0].0.end),
        };
    }
    if run.windows < WINDOWS_NEEDED {
        return SignalReading::Unknown {
            rule: RuleId::E3,
            says: format!("`{name}` is out of its usual range in one window only, the one that ended {}", run.first_end),
        };
    }
    SignalReading::Fault(Fault {
        onset_earliest: run.first_end - series.interval,
        onset_latest: run.first_end,
        usual: usual_range.middle,
        worst,
        says: format!(
            "`{name}` went from {} to {}, first in the window that ended {}",
            describe(usual_range.middle),
            describe(worst),
            run.first_end
        ),
    })
}

/// Why the series is too old to say anything about now (E8); `None` when it is fresh.
///
/// The newest window with a denominator must end within two intervals and the source's lag.
pub fn staleness(series: &Series, now: Timestamp) -> Option<String> {
    let newest = series.points.iter().filter(|p| p.weight.or(p.value).is_some_and(f64::is_finite)).map(|p| p.end).max();
    let allowed = series.interval * 2 + series.source_lag;
    match newest {
        None => None,
        Some(end) if end >= now - allowed => None,
        Some(end) => {
            Some(format!("the newest measurement of `{}` ended at {end}, more than {} min ago", series.name, allowed.as_mins()))
        }
    }
}

/// What a signal ranged in before a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsualRange {
    pub middle: f64,
    bound: f64,
    worse_when: WorseWhen,
}

impl UsualRange {
    /// From the known points that end before `until`; too few: their number.
    pub fn before(known: &[(Point, f64)], until: Timestamp, series: &Series) -> Result<Self, usize> {
        let mut values: Vec<f64> = known.iter().filter(|(p, _)| p.end <= until).map(|(_, value)| *value).collect();
        if values.len() < BASELINE_WINDOWS_MIN {
            return Err(values.len());
        }
        let middle = median(&mut values);
        let mut distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
        // 1.4826 makes the median distance comparable with a standard deviation; six of them, and never less than a
        // floor that people would notice: one percentage point of a share, a fifth of anything else.
        let spread = 1.4826 * median(&mut distances);
        let floor = if is_share(series) { 0.01 } else { middle.abs() * 0.2 };
        let reach = (6.0 * spread).max(floor);
        let bound = match series.worse_when {
            WorseWhen::Higher => middle + reach,
            WorseWhen::Lower => middle - reach,
        };
        Ok(Self { middle, bound, worse_when: series.worse_when })
    }

    pub fn holds(&self, value: f64) -> bool {
        match self.worse_when {
            WorseWhen::Higher => value <= self.bound,
            WorseWhen::Lower => value >= self.bound,
        }
    }

    fn worse_of(&self, a: f64, b: f64) -> f64 {
        match self.worse_when {
            WorseWhen::Higher => a.max(b),
            WorseWhen::Lower => a.min(b),
        }
    }
}

/// The value of a point if there is one to judge: no NaN, and no share without a denominator.
pub fn usable(point: &Point) -> Option<f64> {
    point.value.filter(|value| value.is_finite()).filter(|_| point.weight.is_none_or(|weight| weight > 0.0))
}

struct Run {
    first_end: Timestamp,
    last_end: Timestamp,
    windows: usize,
    worst: f64,
}

/// The newest run of windows out of range; two windows in range end a run.
fn last_run(known: &[(Point, f64)], range: &UsualRange) -> Option<Run> {
    let mut run: Option<Run> = None;
    let mut back_in_range = 0;
    for (point, value) in known {
        if range.holds(*value) {
            back_in_range += 1;
            continue;
        }
        match &mut run {
            Some(run) if back_in_range < WINDOWS_NEEDED => {
                run.last_end = point.end;
                run.windows += 1;
                run.worst = range.worse_of(run.worst, *value);
            }
            _ => run = Some(Run { first_end: point.end, last_end: point.end, windows: 1, worst: *value }),
        }
        back_in_range = 0;
    }
    run
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

fn is_share(series: &Series) -> bool {
    series.points.iter().any(|p| p.weight.is_some())
}

/// `31.0 %` for a share, the plain number otherwise.
pub fn describe_value(series: &Series, value: f64) -> String {
    if is_share(series) { format!("{:.1} %", value * 100.0) } else { format!("{value:.2}") }
}
