use backout::domain::resource_id::ResourceId;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Drill, answer, site};

const METRICS: &str = "/providers/Microsoft.Insights/metrics?api-version=2024-02-01";

/// Values of one metric by minute; `None` for a bin without a value.
fn points(answer: &Value, metric: usize, aggregation: &str) -> Vec<(String, Option<f64>)> {
    answer["value"][metric]["timeseries"][0]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point["timeStamp"].as_str().unwrap()[11..16].to_owned(), point[aggregation].as_f64()))
        .collect()
}

async fn query(drill: &Drill, place: &str, rest: &str) -> Value {
    let answer = drill.get(&format!("{place}{METRICS}&{rest}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn the_errors_follow_the_build() {
    let drill = Drill::new().await;
    drill.azure.set_error_share("build-2", 0.5);
    drill.azure.deploy(&site(), "staging", "build-2");
    drill.azure.swap_now(&site(), "staging", "production").unwrap();
    drill.advance_seconds(120);
    drill.azure.swap_now(&site(), "staging", "production").unwrap();
    drill.advance_seconds(600);

    let span = "timespan=2026-11-25T09:58:30Z/2026-11-25T10:04:00Z&interval=PT1M&metricnames=Requests,Http5xx&aggregation=total";
    let seen = query(&drill, "", span).await;
    assert_eq!(seen["interval"], "PT1M");
    assert_eq!(seen["namespace"], "Microsoft.Web/sites");
    assert_eq!(seen["value"][0]["name"]["value"], "Requests");
    assert_eq!(seen["value"][0]["unit"], "Count");
    assert_eq!(seen["value"][0]["errorCode"], "Success");
    assert_eq!(seen["value"][1]["errorCode"], "Success");
    let requests = points(&seen, 0, "total");
    let errors = points(&seen, 1, "total");
    let minutes: Vec<&str> = requests.iter().map(|(minute, _)| minute.as_str()).collect();
    assert_eq!(minutes, ["09:58", "09:59", "10:00", "10:01", "10:02", "10:03"]);
    for (minute, value) in &requests {
        let value = value.unwrap();
        assert!((291.0..=309.0).contains(&value), "{minute}: {value}");
    }
    for (index, (minute, value)) in errors.iter().enumerate() {
        let bad = ["10:00", "10:01"].contains(&minute.as_str());
        let expected = if bad { (requests[index].1.unwrap() * 0.5).round() } else { 0.0 };
        assert_eq!(*value, Some(expected), "{minute}");
    }
    // The slot has no users, so it measures zero; and no latency at all.
    let slot = query(&drill, "/slots/staging", &span.replace("Http5xx", "HttpResponseTime")).await;
    assert_eq!(slot["namespace"], "Microsoft.Web/sites/slots");
    assert!(points(&slot, 0, "total").iter().all(|(_, value)| *value == Some(0.0)));
    assert!(points(&slot, 1, "total").iter().all(|(_, value)| value.is_none()));
}

#[tokio::test]
async fn a_swap_within_a_minute_mixes_the_builds() {
    let drill = Drill::new().await;
    drill.azure.set_error_share("build-2", 1.0);
    drill.azure.set_traffic(&site(), 300.0);
    drill.advance_seconds(15);
    drill.azure.deploy(&site(), "production", "build-2");
    drill.advance_seconds(600);
    let seen =
        query(&drill, "", "timespan=2026-11-25T10:00:00Z/2026-11-25T10:01:00Z&metricnames=Requests,Http5xx&aggregation=total")
            .await;
    let requests = points(&seen, 0, "total")[0].1.unwrap();
    assert_eq!(points(&seen, 1, "total")[0].1, Some((requests * 0.75).round()));
}

#[tokio::test]
async fn young_bins_and_silence_are_null_and_not_zero() {
    let drill = Drill::new().await;
    drill.azure.silence_metrics(&site(), true);
    drill.advance_seconds(120);
    drill.azure.silence_metrics(&site(), false);
    drill.advance_seconds(270);
    // 10:06:30 now.
    let span = "timespan=2026-11-25T09:59:00Z/2026-11-25T10:10:00Z&metricnames=Requests&aggregation=total,average";
    let seen = query(&drill, "", span).await;
    let known: Vec<(String, bool)> =
        points(&seen, 0, "total").into_iter().map(|(minute, value)| (minute, value.is_some())).collect();
    let expected = [
        ("09:59", true),
        ("10:00", false),
        ("10:01", false),
        ("10:02", true),
        ("10:03", true),
        ("10:04", false),
        ("10:05", false),
        ("10:06", false),
    ];
    assert_eq!(known, expected.map(|(minute, known)| (minute.to_owned(), known)));
    assert_eq!(seen["value"][0]["timeseries"][0]["data"][1], json!({ "timeStamp": "2026-11-25T10:00:00Z" }));
    drill.azure.set_metrics_lag(SignedDuration::ZERO);
    let seen = query(&drill, "", span).await;
    assert!(points(&seen, 0, "total")[6].1.is_some(), "10:05 has ended");
    assert!(points(&seen, 0, "total")[7].1.is_none(), "10:06 has not");
}

#[tokio::test]
async fn larger_bins_add_up() {
    let drill = Drill::new().await;
    drill.azure.set_response_time("build-1", 0.25);
    drill.advance_seconds(900);
    let span = "timespan=2026-11-25T10:00:00Z/2026-11-25T10:05:00Z&metricnames=Requests,HttpResponseTime&aggregation=total,average,count,minimum,maximum";
    let minutes = query(&drill, "", &format!("{span}&interval=PT1M")).await;
    let five = query(&drill, "", &format!("{span}&interval=PT5M")).await;
    let sum: f64 = points(&minutes, 0, "total").iter().map(|(_, value)| value.unwrap()).sum();
    assert_eq!(points(&five, 0, "total"), [("10:00".to_owned(), Some(sum))]);
    let average = points(&five, 1, "average")[0].1.unwrap();
    assert!((average - 0.25).abs() < 1e-9, "{average}");
    assert_eq!(points(&five, 1, "count")[0].1, Some(sum));
}

#[tokio::test]
async fn ramp_up_sends_users_to_the_slot() {
    let drill = Drill::new().await;
    drill.azure.set_ramp_up(&site(), "staging", 20.0);
    drill.advance_seconds(600);
    let span = "timespan=2026-11-25T10:00:00Z/2026-11-25T10:01:00Z&metricnames=Requests&aggregation=total";
    let production = points(&query(&drill, "", span).await, 0, "total")[0].1.unwrap();
    let slot = points(&query(&drill, "/slots/staging", span).await, 0, "total")[0].1.unwrap();
    assert!((slot / (slot + production) - 0.2).abs() < 0.01, "{slot} of {production}");
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_400() {
    let drill = Drill::new().await;
    let span = "timespan=2026-11-25T09:00:00Z/2026-11-25T10:00:00Z";
    let wrong = [
        format!("{span}&metricnames=Http6xx"),
        format!("{span}&metricnames=Requests&interval=PT2M"),
        format!("{span}&metricnames=Requests&aggregation=sum"),
        format!("{span}&metricnames=Requests&$filter=Version eq 'x'"),
        format!("{span}&metricnames=Requests&metricnamespace=microsoft.app/containerapps"),
        span.to_owned(),
        "metricnames=Requests".to_owned(),
        "timespan=2026-11-25T10:00:00Z/2026-11-25T09:00:00Z&metricnames=Requests".to_owned(),
        "timespan=1990-11-25T10:00:00Z/2026-11-25T09:00:00Z&metricnames=Requests".to_owned(),
    ];
    for question in wrong {
        let answer = drill.get(&format!("{METRICS}&{question}")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "BadRequest"), "{question}");
    }
    drill.azure.revoke(None, "Microsoft.Insights/*");
    assert_eq!(drill.get(&format!("{METRICS}&{span}&metricnames=Requests")).await.status, 403);
}

#[tokio::test]
async fn definitions_name_what_can_be_asked() {
    let drill = Drill::new().await;
    let list = drill.get("/providers/Microsoft.Insights/metricDefinitions?api-version=2024-02-01").await.json();
    let names: Vec<&str> = list["value"].as_array().unwrap().iter().map(|d| d["name"]["value"].as_str().unwrap()).collect();
    assert_eq!(names, ["Requests", "Http2xx", "Http5xx", "HttpResponseTime"]);
    assert_eq!(list["value"][3]["unit"], "Seconds");
    assert_eq!(list["value"][3]["primaryAggregationType"], "Average");
}

#[tokio::test]
async fn a_component_of_a_site_sees_all_users_of_a_ramp() {
    let drill = Drill::new().await;
    let group = "subscriptions/8d1f7a0e-0000-4000-8000-000000000001/resourceGroups/shop";
    let component = format!("/{group}/providers/Microsoft.Insights/components/checkout");
    drill.azure.add_site_component(&ResourceId::parse(&component).unwrap(), &site());
    drill.azure.set_error_share("build-2", 0.5);
    drill.azure.deploy(&site(), "staging", "build-2");
    drill.azure.set_ramp_up(&site(), "staging", 20.0);
    drill.advance_seconds(120);
    let clear = json!({ "properties": { "experiments": { "rampUpRules": [] } } });
    assert_eq!(drill.arm(Method::PATCH, "/config/web", Some(clear)).await.status, 200);
    drill.advance_seconds(480);
    let span = "timespan=2026-11-25T09:59:00Z/2026-11-25T10:04:00Z&interval=PT1M&metricnames=requests/count,requests/failed&aggregation=count";
    let url = format!("{}{}{METRICS}&{span}", drill.azure.resource_manager_url(), &component[1..]);
    let seen = answer(drill.http.get(url).bearer_auth(&drill.arm_token)).await.unwrap();
    assert_eq!(seen.status, 200, "{}", seen.text);
    let seen = seen.json();
    let (requests, errors) = (points(&seen, 0, "count"), points(&seen, 1, "count"));
    assert_eq!(requests.len(), 5);
    for (index, (minute, value)) in errors.iter().enumerate() {
        let all = requests[index].1.unwrap();
        assert!((291.0..=309.0).contains(&all), "{minute}: {all}");
        let ramped = ["10:00", "10:01"].contains(&minute.as_str());
        assert_eq!(*value, Some(if ramped { (all * 0.1).round() } else { 0.0 }), "{minute}");
    }
}
