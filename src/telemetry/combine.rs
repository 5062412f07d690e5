//! What the bins of one or two metrics mean together. Zero, null and nothing are different answers; the denominator decides.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::series::{EvidenceMetric, NoData, Point};

/// Bins of one metric by the *start* of their window; `None` is "expected, not received".
pub type Bins = BTreeMap<Timestamp, Option<f64>>;

/// The points of a metric on its own. Nothing stands behind the value, so a missing one is unknown, whatever the policy says.
pub fn plain(bins: &Bins, interval: SignedDuration) -> Vec<Point> {
    bins.iter().map(|(start, value)| Point { end: *start + interval, value: known(*value), weight: None }).collect()
}

/// The share of `part` in `whole`, bin by bin.
///
/// | part | whole | value |
/// |---|---|---|
/// | any | null or absent | unknown |
/// | any | 0 | unknown: no traffic shows nothing (weight 0) |
/// | a number | above 0 | part / whole, at most 1 |
/// | null or absent | above 0 | 0 if the policy says zero, or `part` counts errors; else unknown |
pub fn share(metric: &EvidenceMetric, part: &Bins, whole: &Bins, interval: SignedDuration) -> Vec<Point> {
    let absent_is_zero = metric.no_data == NoData::Zero || counts_errors(&metric.metric);
    let starts: std::collections::BTreeSet<Timestamp> = part.keys().chain(whole.keys()).copied().collect();
    starts
        .into_iter()
        .map(|start| {
            let weight = known(whole.get(&start).copied().flatten());
            let part = known(part.get(&start).copied().flatten()).or(absent_is_zero.then_some(0.0));
            let value = match (part, weight) {
                (Some(part), Some(whole)) if whole > 0.0 => Some((part / whole).min(1.0)),
                _ => None,
            };
            Point { end: start + interval, value, weight }
        })
        .collect()
}

/// A count is a finite number of zero or more; anything else was not measured.
fn known(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite() && *value >= 0.0)
}

/// Whether a metric counts what went wrong, so that silence beside traffic means none.
///
/// Names from the supported-metrics pages: `Http5xx`, `Http404`, `requests/failed`, `exceptions/server`, `RunsFailed`, `ServerErrors`.
pub fn counts_errors(metric: &str) -> bool {
    let name = metric.to_ascii_lowercase();
    let http_status = name.strip_prefix("http").is_some_and(|rest| rest.starts_with(['4', '5']));
    http_status || ["5xx", "4xx", "fail", "error", "exception"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::series::WorseWhen;

    fn metric(name: &str, no_data: NoData) -> EvidenceMetric {
        EvidenceMetric {
            metric: name.to_owned(),
            of: Some("Requests".to_owned()),
            worse_when: WorseWhen::Higher,
            no_data,
            resource: None,
        }
    }

    /// One bin, or none.
    fn one(values: &[Option<f64>]) -> Bins {
        values.iter().map(|value| (Timestamp::UNIX_EPOCH, *value)).collect()
    }

    #[test]
    fn the_denominator_decides_what_a_missing_count_means() {
        let (absent, null) = (Vec::new(), vec![None]);
        let number = |n: f64| vec![Some(n)];
        let errors = metric("Http5xx", NoData::Unknown);
        let runs = metric("WorkflowRunsCompleted", NoData::Unknown);
        let runs_zero = metric("WorkflowRunsCompleted", NoData::Zero);
        let rows = [
            (&errors, number(5.0), number(50.0), Some(0.1), Some(50.0)),
            (&errors, number(0.0), number(50.0), Some(0.0), Some(50.0)),
            (&errors, null.clone(), number(50.0), Some(0.0), Some(50.0)),
            (&errors, absent.clone(), number(50.0), Some(0.0), Some(50.0)),
            (&errors, number(5.0), null.clone(), None, None),
            (&errors, number(5.0), absent.clone(), None, None),
            (&errors, null.clone(), null.clone(), None, None),
            (&errors, number(0.0), number(0.0), None, Some(0.0)),
            (&errors, null.clone(), number(0.0), None, Some(0.0)),
            (&errors, number(9.0), number(3.0), Some(1.0), Some(3.0)),
            (&errors, number(f64::NAN), number(4.0), Some(0.0), Some(4.0)),
            (&errors, number(1.0), number(-4.0), None, None),
            (&runs, number(5.0), number(10.0), Some(0.5), Some(10.0)),
            (&runs, null.clone(), number(10.0), None, Some(10.0)),
            (&runs, absent.clone(), number(10.0), None, Some(10.0)),
            (&runs_zero, null.clone(), number(10.0), Some(0.0), Some(10.0)),
            (&runs_zero, absent.clone(), number(10.0), Some(0.0), Some(10.0)),
            (&runs_zero, null.clone(), null.clone(), None, None),
        ];
        for (metric, part, whole, value, weight) in rows {
            let points = share(metric, &one(&part), &one(&whole), SignedDuration::from_mins(1));
            let end = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1);
            assert_eq!(points, [Point { end, value, weight }], "{} {part:?} of {whole:?}", metric.metric);
        }
        assert_eq!(share(&errors, &one(&absent), &one(&absent), SignedDuration::from_mins(1)), []);
    }

    #[test]
    fn a_metric_on_its_own_has_no_zero() {
        for (value, expected) in [(Some(0.4), Some(0.4)), (Some(0.0), Some(0.0)), (None, None)] {
            let points = plain(&one(&[value]), SignedDuration::from_mins(5));
            let end = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(5);
            assert_eq!(points, [Point { end, value: expected, weight: None }]);
        }
    }

    #[test]
    fn counters_of_errors_are_known_by_name() {
        for name in ["Http5xx", "http404", "requests/failed", "exceptions/server", "RunsFailed", "TriggersFailed", "ServerErrors"]
        {
            assert!(counts_errors(name), "{name}");
        }
        for name in ["Requests", "HttpResponseTime", "Http2xx", "WorkflowRunsCompleted", "requests/count", "Http101"] {
            assert!(!counts_errors(name), "{name}");
        }
    }
}
