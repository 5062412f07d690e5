//! Alerts that are too big for their queue. All are composed by us, in the forms of the published schemas.

use backout::{
    domain::{alert::Alert, event::Event},
    host::webhook::{
        acceptance::MESSAGE_BYTES_MAX,
        shrink::{Shrunk, to_fit},
    },
    inbound::{DROPPED_MEMBER, Understood, recognise},
    sim::host::HttpCall,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ALERTS, Door, fixture};

fn value(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn understood(body: &[u8]) -> Vec<Alert> {
    let alert = |understood: Understood| match understood.event {
        Event::Alert(alert) => alert,
        other => panic!("{other:?}"),
    };
    recognise(body).into_iter().map(|found| alert(found.unwrap())).collect()
}

fn site(number: usize) -> String {
    format!("/subscriptions/5b1d7c8e-0f4a-4c39-9d55-3f6a2be81c07/resourceGroups/rg-shop/providers/Microsoft.Web/sites/s{number}")
}

/// A log alert with this many rows of about 400 bytes; every tenth names a site of its own.
fn with_rows(rows: usize) -> Value {
    let mut alert = value("common-log-v1");
    let row = |number: usize| json!(["x".repeat(200), "2026-03-04T03:50:00Z", site(number / 10), number]);
    alert["data"]["alertContext"]["SearchResults"]["tables"][0] = json!({
        "name": "PrimaryResult",
        "columns": [{"name": "Message"}, {"name": "TimeGenerated"}, {"name": "_ResourceId"}, {"name": "n"}],
        "rows": (0..rows).map(row).collect::<Vec<_>>(),
    });
    alert
}

/// The same event but for the mark.
fn is_the_same(before: &[u8], after: &Shrunk) {
    let mut alerts = understood(&after.body);
    for alert in &mut alerts {
        assert_eq!(alert.properties.remove(DROPPED_MEMBER), after.dropped);
    }
    assert_eq!(alerts, understood(before));
}

#[test]
fn what_fits_is_left_alone_to_the_last_byte() {
    let body = bytes(&with_rows(100));
    let as_it_came = Shrunk { body: body.clone(), dropped: None };
    assert_eq!(to_fit(body.clone(), body.len()), as_it_came);
    let shrunk = to_fit(body.clone(), body.len() - 1);
    assert!(shrunk.body.len() < body.len() - 1);
    assert_eq!(shrunk.dropped.as_deref(), Some("100 result rows (their resource ids are kept)"));
    is_the_same(&body, &shrunk);
}

#[test]
fn rows_go_and_their_resources_stay() {
    let body = bytes(&with_rows(2_000));
    assert!(body.len() > MESSAGE_BYTES_MAX);
    let shrunk = to_fit(body.clone(), MESSAGE_BYTES_MAX);
    assert!(shrunk.body.len() < 8 * 1024, "{}", shrunk.body.len());
    is_the_same(&body, &shrunk);
    let resources = understood(&shrunk.body)[0].resources.clone();
    assert!((0..10).all(|number| resources.contains(&site(number))), "{resources:?}");
    let message: Value = serde_json::from_slice(&shrunk.body).unwrap();
    let table = &message["data"]["alertContext"]["SearchResults"]["tables"][0];
    assert_eq!(table["columns"], json!([{"name": "_ResourceId"}]));
    assert_eq!(table["rows"].as_array().unwrap().len(), 10);
    assert_eq!(message["data"]["essentials"], value("common-log-v1")["data"]["essentials"]);
    assert_eq!(message["data"]["alertContext"]["SearchQuery"], "AppRequests", "rows were enough");
}

#[test]
fn legacy_log_alerts_and_lists_of_alerts_lose_their_rows_too() {
    let big = with_rows(1_000);
    let tables = &big["data"]["alertContext"]["SearchResults"]["tables"];
    let mut application_insights = value("legacy-log-application-insights");
    application_insights["data"]["SearchResult"] = json!({ "tables": tables });
    let mut log_analytics = value("legacy-log-log-analytics");
    log_analytics["SearchResult"] = json!({ "tables": tables });
    for message in [application_insights, log_analytics, json!([big.clone()]), json!([big.clone(), big])] {
        let body = bytes(&message);
        let shrunk = to_fit(body.clone(), MESSAGE_BYTES_MAX);
        assert!(shrunk.body.len() <= MESSAGE_BYTES_MAX && shrunk.dropped.is_some());
        is_the_same(&body, &shrunk);
    }
}

#[test]
fn what_nobody_reads_goes_next_the_largest_first() {
    let mut alert = value("common-metric");
    let context = &mut alert["data"]["alertContext"];
    context["claims"] = json!("c".repeat(5_000));
    context["httpRequest"] = json!({ "uri": "u".repeat(3_000) });
    context["condition"]["allOf"][0]["searchQuery"] = json!("q".repeat(4_000));
    context["small"] = json!("s".repeat(900));
    let body = bytes(&alert);
    let drops = |fewer: usize| to_fit(body.clone(), body.len() - fewer).dropped.unwrap();
    assert_eq!(drops(1), "data.alertContext.claims");
    assert_eq!(drops(5_000), "data.alertContext.claims, data.alertContext.condition.allOf.searchQuery");
    assert!(drops(9_000).starts_with("data.alertContext.claims, data.alertContext.condition.allOf.searchQuery, data"));
    let smallest = to_fit(body.clone(), 100);
    assert!(smallest.body.len() > 100, "it does not fit, and comes back as small as it gets");
    is_the_same(&body, &smallest);
    let kept: Value = serde_json::from_slice(&smallest.body).unwrap();
    assert_eq!(kept["data"]["alertContext"]["small"], alert["data"]["alertContext"]["small"]);
}

#[test]
fn what_is_no_alert_or_no_table_stays_as_it_is() {
    let mut odd = with_rows(10);
    odd["data"]["alertContext"]["SearchResults"]["tables"][0]["rows"][3] = json!("no row");
    for body in [bytes(&odd), b"[[]]".to_vec(), b"not json".to_vec(), bytes(&json!({"data": {"alertContext": 7}}))] {
        assert_eq!(to_fit(body.clone(), 3), Shrunk { body, dropped: None });
    }
}

#[tokio::test]
async fn a_shrunk_alert_is_sent_and_says_what_it_lacks() {
    let door = Door::open().await;
    let body = bytes(&with_rows(1_500));
    assert_eq!(door.call(&HttpCall::post(ALERTS, body.clone())).await.status, 202);
    let sent = door.queued().remove(0).body;
    let said = understood(&sent)[0].properties[DROPPED_MEMBER].clone();
    assert_eq!(said, "1500 result rows (their resource ids are kept)");
    is_the_same(&body, &Shrunk { body: sent, dropped: Some(said) });
}

fn cell() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<Option<i64>>().prop_map(|number| json!(number)),
        "\\PC{0,40}".prop_map(|text| json!(text)),
        (0_usize..200).prop_map(|number| json!(site(number))),
        (0_usize..200).prop_map(|number| json!(site(number).to_uppercase() + "/")),
        Just(json!("/subscriptions/99999999-0f4a-4c39-9d55-3f6a2be81c07/resourceGroups/x/providers/Microsoft.Web/sites/foreign")),
    ]
}

fn table() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["_ResourceId", "_resourceid", "Message", "TimeGenerated"]);
    (prop::collection::vec(name, 0..4), prop::collection::vec(prop::collection::vec(cell(), 0..5), 0..150)).prop_map(
        |(columns, rows)| {
            let columns: Vec<_> = columns.into_iter().map(|name| json!({"name": name, "type": "string"})).collect();
            json!({"name": "t", "columns": columns, "rows": rows})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Id, rule, resources, times, dimensions, properties: everything that inbound reads.
    #[test]
    fn a_shrunk_alert_is_the_same_event(
        tables in prop::collection::vec(table(), 0..3),
        dimensions in prop::collection::vec(("\\PC{0,20}", "\\PC{0,60}"), 0..6),
        properties in prop::collection::btree_map("[a-zA-Z]{1,12}", "\\PC{0,80}", 0..80),
        query in "\\PC{0,2000}",
        share in 1_usize..100,
    ) {
        let mut alert = value("common-log-v1");
        let dimensions: Vec<_> = dimensions.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        alert["data"]["customProperties"] = json!(properties);
        let context = &mut alert["data"]["alertContext"];
        context["SearchResults"]["tables"] = json!(tables);
        context["Dimensions"] = json!(dimensions);
        context["SearchQuery"] = json!(query);
        let body = bytes(&alert);
        let limit = body.len() * share / 100;
        let shrunk = to_fit(body.clone(), limit);
        prop_assert!(shrunk.body.len() <= body.len().max(limit) + 512);
        let mut found = understood(&shrunk.body);
        let mark = found[0].properties.remove(DROPPED_MEMBER);
        prop_assert_eq!(mark, shrunk.dropped);
        prop_assert_eq!(found, understood(&body));
    }
}
