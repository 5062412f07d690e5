//! Is the alert evidence, and what do the measurements say?

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    alert::{Alert, AlertSchema, AlertSignal, Condition},
    decision::{Effect, Reason},
    instant::whole_seconds,
    known::Known,
    policy::SKEW_ALLOWANCE,
    rule::RuleId,
    series::{Point, Series, WorseWhen},
    service::Service,
};

/// A firing older than this at its first receipt is history (portal tests carry dates of years ago).
pub const ALERT_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Windows outside the usual range that make a fault, and windows inside it that make a recovery.
pub const WINDOWS_NEEDED: usize = 2;

/// A share of fewer than these in a window, requests say, is no evidence of anything (E5): such a window counts as unknown.
pub const SAMPLE_MIN: f64 = 20.0;

/// Unknown windows that stand for a gap in a series, however long; one more than these changes no verdict.
const GAP_WINDOWS_MAX: i32 = 3;

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
        say(
            RuleId::E1,
            Effect::Ignore,
            format!("the alert fired at {}, more than a day before it arrived", whole_seconds(fired_at)),
        );
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
    /// Measured, and out of its usual range in too few windows yet to call it a fault.
    Brief { says: String },
    /// Measured, fresh, and never out of its usual range for long.
    Quiet,
    /// It left its usual range and has not come back.
    Fault(Fault),
    /// It left its usual range after the rollout and came back by itself (A13). The newest window in range began at `measured_from`:
    /// of what came later nothing is known yet.
    Recovered { last_out_at: Timestamp, measured_from: Timestamp, says: String },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The onset lies in the window between these two.
    pub onset_earliest: Timestamp,
    pub onset_latest: Timestamp,
    pub usual: f64,
    pub worst: f64,
    /// Times before the rollout in which it had left its range too, or may have, and come back.
    pub earlier: Vec<EarlierRun>,
    /// For a person.
    pub says: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EarlierRun {
    pub first_end: Timestamp,
    pub last_end: Timestamp,
    /// For a person: that it was out of its range, or why that is not known.
    pub says: Known<String>,
}

/// Reads a signal around a rollout: "usual" is what was measured before it.
///
/// Windows younger than the source's lag are not looked at; the one which holds the rollout and its neighbours do not
/// count as usual. Robust statistics keep a fault that began before the rollout from hiding in the baseline (C1).
///
/// A window without a value may have been anything (E3): a fault is told only if it is one whatever those windows held,
/// and its onset only as exactly as they allow.
pub fn read_signal(signal: &Known<Series>, rollout_at: Timestamp, now: Timestamp) -> SignalReading {
    let series = match signal {
        Known::Value(series) => series,
        Known::Unknown(why) => return SignalReading::Unknown { rule: RuleId::E3, says: why.clone() },
    };
    let name = &series.name;
    if let Some(says) = staleness(series, now) {
        return SignalReading::Unknown { rule: RuleId::E8, says };
    }
    let windows = windows(series, now - series.source_lag);
    let baseline_end = rollout_at - series.interval;
    let usual = match UsualRange::before(&windows, baseline_end, series) {
        Ok(usual) => usual,
        Err(why) => {
            return unknown(&windows, |window| window.end <= baseline_end, format!("`{name}` {why} before the rollout"));
        }
    };
    let certain = runs(&windows, |window| window.value.is_some_and(|value| usual.surely_left_by(value)));
    let possible = runs(&windows, |window| window.value.is_none_or(|value| !usual.holds(value)));
    match (certain.last(), possible.last()) {
        (Some(run), Some(possible)) if run.is_fault() => {
            let earliest_end = possible.first_end.min(run.first_end);
            let bar = rollout_at - SKEW_ALLOWANCE;
            if earliest_end < bar && run.first_end >= bar {
                return unknown(
                    &windows,
                    |window| window.end >= earliest_end && window.end < run.first_end,
                    format!(
                        "`{name}` is out of its usual range, but windows before the one that ended {} have no value, so it may have begun before the rollout",
                        whole_seconds(run.first_end)
                    ),
                );
            }
            let worst = windows
                .iter()
                .filter(|window| window.end >= run.first_end)
                .filter_map(|window| window.value)
                .reduce(|a, b| usual.worse_of(a, b))
                .unwrap_or(usual.middle);
            let first_end = whole_seconds(run.first_end);
            let when = if certain.len() > 1 {
                format!("from the window that ended {first_end} on")
            } else {
                format!("first in the window that ended {first_end}")
            };
            SignalReading::Fault(Fault {
                onset_earliest: earliest_end - series.interval,
                onset_latest: run.first_end,
                usual: usual.middle,
                worst,
                earlier: earlier_runs(&windows, &usual, &certain, bar, name),
                says: format!(
                    "`{name}` went from {} to {}, {when}",
                    describe_value(series, usual.middle),
                    describe_value(series, worst)
                ),
            })
        }
        (_, Some(possible)) if possible.is_fault() => unknown(
            &windows,
            |window| window.end >= possible.first_end,
            format!(
                "`{name}` lacks values since the window that ended {}, so how it stands is not known",
                whole_seconds(possible.first_end)
            ),
        ),
        (Some(run), _) if run.windows_after <= WINDOWS_NEEDED => SignalReading::Brief {
            says: format!(
                "`{name}` is out of its usual range in one window only, the one that ended {}",
                whole_seconds(run.first_end)
            ),
        },
        // What happened in the windows that make up "usual" is neither a fault of this rollout nor a recovery from one.
        (Some(run), _) if run.last_end > baseline_end => {
            let is_back = |window: &&Window| window.end > run.last_end && window.value.is_some_and(|value| usual.holds(value));
            let mut back = windows.iter().filter(is_back).map(|window| window.end);
            let first_back = back.next().unwrap_or(run.last_end);
            SignalReading::Recovered {
                last_out_at: run.last_end,
                measured_from: back.next_back().unwrap_or(first_back) - series.interval,
                says: format!(
                    "`{name}` left its usual range and has been back in it since the window that ended {}",
                    whole_seconds(first_back)
                ),
            }
        }
        (Some(_) | None, _) => SignalReading::Quiet,
    }
}

/// When the signal had been out of its range, or may have been, and back in it before the fault; only what began before `bar` counts.
///
/// Few requests are no evidence of an earlier fault (E5). Other windows without a value may have been one.
fn earlier_runs(windows: &[Window], usual: &UsualRange, certain: &[Run], bar: Timestamp, name: &str) -> Vec<EarlierRun> {
    let Some((fault, before)) = certain.split_last() else { return Vec::new() };
    let counts = |run: &&Run| run.windows >= WINDOWS_NEEDED && run.first_end < bar && run.last_end < fault.first_end;
    let earlier = |run: &Run, says| EarlierRun { first_end: run.first_end, last_end: run.last_end, says };
    let was_out = |run: &Run| {
        let first_end = whole_seconds(run.first_end);
        earlier(
            run,
            Known::Value(format!("`{name}` was out of its usual range before too, from the window that ended {first_end} on")),
        )
    };
    let may_have_been_out = |run: &Run| {
        let (first_end, last_end) = (whole_seconds(run.first_end), whole_seconds(run.last_end));
        earlier(
            run,
            Known::Unknown(format!(
                "`{name}` lacks values between the windows that ended {first_end} and {last_end}, so whether it was out of its usual range before is not known"
            )),
        )
    };
    let possible = runs(windows, |window| window.value.map_or(!window.is_small, |value| !usual.holds(value)));
    let is_certain = |run: &&Run| before.iter().any(|sure| (sure.first_end, sure.last_end) == (run.first_end, run.last_end));
    let perhaps = possible.iter().filter(counts).filter(|run| !is_certain(run)).map(may_have_been_out);
    before.iter().filter(counts).map(was_out).chain(perhaps).collect()
}

/// No verdict: for want of values (E3), or because there were too few behind some of those that count (E5).
fn unknown(windows: &[Window], counts: impl Fn(&Window) -> bool, says: String) -> SignalReading {
    if windows.iter().any(|window| window.is_small && counts(window)) {
        let says = format!("{says}; a window with fewer than {SAMPLE_MIN} counts as one without a value");
        return SignalReading::Unknown { rule: RuleId::E5, says };
    }
    SignalReading::Unknown { rule: RuleId::E3, says }
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
        Some(end) => Some(format!(
            "the newest measurement of `{}` ended at {}, more than {} min ago",
            series.name,
            whole_seconds(end),
            allowed.as_mins()
        )),
    }
}

/// One complete window of a series. `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub end: Timestamp,
    pub value: Option<f64>,
    /// Measured, but with too little behind it to be judged (E5).
    pub is_small: bool,
}

/// The complete windows in order of time, the unknown ones among them; a window that the series does not even list is
/// unknown too. Windows in which nothing was asked of the service are left out: they are known, and tell nothing.
pub fn windows(series: &Series, complete_until: Timestamp) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut last_end: Option<Timestamp> = None;
    let fill = |windows: &mut Vec<Window>, last_end: Option<Timestamp>, until: Timestamp| {
        let Some(last_end) = last_end.filter(|_| series.interval.is_positive()) else { return };
        for missing in 1..=GAP_WINDOWS_MAX {
            let end = last_end + series.interval * missing;
            if end > until {
                break;
            }
            windows.push(Window { end, value: None, is_small: false });
        }
    };
    for point in series.points.iter().filter(|point| point.end <= complete_until) {
        fill(&mut windows, last_end, point.end - series.interval / 2);
        last_end = Some(point.end);
        if !is_idle(point) {
            windows.push(Window { end: point.end, value: usable(series, point), is_small: is_small(point) });
        }
    }
    fill(&mut windows, last_end, complete_until);
    windows
}

/// What a signal ranged in before a rollout, as exactly as the unknown windows allow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsualRange {
    /// Of the measured windows.
    pub middle: f64,
    /// The nearest and the farthest that the bound can be, whatever the unknown windows held; equal if there are none.
    bound_narrow: f64,
    bound_wide: f64,
    worse_when: WorseWhen,
}

impl UsualRange {
    /// From the windows that end before `until`; too few: what is lacking, in words.
    pub fn before(windows: &[Window], until: Timestamp, series: &Series) -> Result<Self, String> {
        let baseline: Vec<&Window> = windows.iter().filter(|window| window.end <= until).collect();
        let values: Vec<f64> = baseline.iter().filter_map(|window| window.value).collect();
        let unknown = baseline.len() - values.len();
        if values.len() < BASELINE_WINDOWS_MIN {
            return Err(format!(
                "has {} measured windows ({BASELINE_WINDOWS_MIN} are needed to know what is usual)",
                values.len()
            ));
        }
        if unknown >= values.len() {
            return Err(format!("has no value in {unknown} of {} windows", baseline.len()));
        }
        let middle_low = median_with(&values, unknown, f64::NEG_INFINITY);
        let middle_high = median_with(&values, unknown, f64::INFINITY);
        let blur = middle_high - middle_low;
        // The median distance from any middle between these two lies within half the blur of the two means below.
        let distance = |middle: f64, unknown_distance: f64| {
            let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
            median_with(&distances, unknown, unknown_distance)
        };
        let mean =
            |unknown_distance| f64::midpoint(distance(middle_low, unknown_distance), distance(middle_high, unknown_distance));
        // 1.4826 makes the median distance comparable with a standard deviation; six of them, and never less than a
        // floor that people would notice: one percentage point of a share, a fifth of anything else.
        let reach = |distance: f64, size: f64| (6.0 * 1.4826 * distance).max(noticeable(series, size));
        let size_least = if middle_low * middle_high <= 0.0 { 0.0 } else { middle_low.abs().min(middle_high.abs()) };
        let narrow = reach((mean(0.0) - blur / 2.0).max(0.0), size_least);
        let wide = reach(mean(f64::INFINITY) + blur / 2.0, middle_low.abs().max(middle_high.abs()));
        let (bound_narrow, bound_wide) = match series.worse_when {
            WorseWhen::Higher => (middle_low + narrow, middle_high + wide),
            WorseWhen::Lower => (middle_high - narrow, middle_low - wide),
        };
        Ok(Self { middle: median_with(&values, 0, 0.0), bound_narrow, bound_wide, worse_when: series.worse_when })
    }

    /// True if the value is in range whatever the unknown windows held.
    pub fn holds(&self, value: f64) -> bool {
        match self.worse_when {
            WorseWhen::Higher => value <= self.bound_narrow,
            WorseWhen::Lower => value >= self.bound_narrow,
        }
    }

    /// True if the value is out of range whatever the unknown windows held.
    pub fn surely_left_by(&self, value: f64) -> bool {
        match self.worse_when {
            WorseWhen::Higher => value > self.bound_wide,
            WorseWhen::Lower => value < self.bound_wide,
        }
    }

    pub fn is_worse(&self, value: f64, than: f64) -> bool {
        match self.worse_when {
            WorseWhen::Higher => value > than,
            WorseWhen::Lower => value < than,
        }
    }

    /// The worse of two values.
    pub fn worse_of(&self, a: f64, b: f64) -> f64 {
        match self.worse_when {
            WorseWhen::Higher => a.max(b),
            WorseWhen::Lower => a.min(b),
        }
    }
}

/// The least difference from `size` that people would notice: one percentage point of a share, a fifth of anything else.
pub fn noticeable(series: &Series, size: f64) -> f64 {
    if is_share(series) { 0.01 } else { size.abs() * 0.2 }
}

/// The value of a point if there is one to judge: no NaN, and no share without a denominator of some size (E5).
pub fn usable(series: &Series, point: &Point) -> Option<f64> {
    let has_denominator = match point.weight {
        Some(weight) => weight >= SAMPLE_MIN,
        None => !is_share(series),
    };
    point.value.filter(|value| value.is_finite() && has_denominator)
}

/// Something was asked of the service in this window, but too little to judge a share of it (E5).
pub fn is_small(point: &Point) -> bool {
    point.weight.is_some_and(|weight| weight > 0.0 && weight < SAMPLE_MIN)
}

/// Nothing was asked of the service in this window, as far as it was measured.
fn is_idle(point: &Point) -> bool {
    point.weight.is_some_and(|weight| weight <= 0.0)
}

struct Run {
    first_end: Timestamp,
    last_end: Timestamp,
    windows: usize,
    /// Windows in range since, at the end of the series.
    windows_after: usize,
}

impl Run {
    /// Long enough, and not over.
    fn is_fault(&self) -> bool {
        self.windows >= WINDOWS_NEEDED && self.windows_after <= WINDOWS_NEEDED
    }
}

/// The runs of windows out of range, the newest last; two windows in range end a run.
fn runs(windows: &[Window], is_out: impl Fn(&Window) -> bool) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for window in windows {
        match runs.last_mut() {
            Some(run) if !is_out(window) => run.windows_after += 1,
            Some(run) if run.windows_after < WINDOWS_NEEDED => {
                run.last_end = window.end;
                run.windows += 1;
                run.windows_after = 0;
            }
            _ if is_out(window) => {
                runs.push(Run { first_end: window.end, last_end: window.end, windows: 1, windows_after: 0 });
            }
            _ => {}
        }
    }
    runs
}

/// The median of `values` and `count` times `other`.
fn median_with(values: &[f64], count: usize, other: f64) -> f64 {
    let mut values: Vec<f64> = values.iter().copied().chain(std::iter::repeat_n(other, count)).collect();
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
