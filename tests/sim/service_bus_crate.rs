//! The queues as the `azure_messaging_servicebus` crate sees them: a client that was not written for this simulation.

use std::{sync::Arc, time::Duration};

use azure_core_legacy::{Body, HttpClient, Request, Response, StatusCode, error::ErrorKind, headers::Headers};
use azure_messaging_servicebus::{
    prelude::QueueClient,
    service_bus::{SendMessageOptions, SettableBrokerProperties},
};
use time::OffsetDateTime;

use super::{Drill, time as at};

/// Sends what the crate asks for to the simulation, with a bearer token in place of the crate's own signature.
#[derive(Debug)]
struct ToTheSimulation {
    http: reqwest::Client,
    base: url::Url,
    token: String,
}

#[async_trait::async_trait]
impl HttpClient for ToTheSimulation {
    async fn execute_request(&self, request: &Request) -> azure_core_legacy::Result<Response> {
        let mut url = request.url().clone();
        url.set_scheme("http").unwrap();
        url.set_host(self.base.host_str()).unwrap();
        url.set_port(self.base.port()).unwrap();
        let method = reqwest::Method::from_bytes(request.method().as_ref().as_bytes()).unwrap();
        let Body::Bytes(body) = request.body() else { panic!("the crate sends no streams") };
        let mut sending = self.http.request(method, url).body(body.clone());
        for (name, value) in
            request.headers().iter().filter(|(name, _)| !["authorization", "content-length"].contains(&name.as_str()))
        {
            sending = sending.header(name.as_str(), value.as_str());
        }
        let response = sending
            .bearer_auth(&self.token)
            .send()
            .await
            .map_err(|problem| azure_core_legacy::Error::new(ErrorKind::Io, problem))?;
        let status = StatusCode::try_from(response.status().as_u16()).unwrap();
        let mut headers = Headers::new();
        for (name, value) in response.headers() {
            headers.insert(name.as_str().to_owned(), value.to_str().unwrap().to_owned());
        }
        let body = response.bytes().await.unwrap();
        Ok(Response::new(status, headers, Box::pin(futures::stream::iter(vec![Ok(body)]))))
    }
}

fn queue(drill: &Drill, name: &str) -> QueueClient {
    let http = ToTheSimulation { http: drill.http.clone(), base: drill.azure.bus_url(), token: drill.bus_token.clone() };
    QueueClient::new(Arc::new(http), "simulated", name, "none", "none".to_owned()).unwrap()
}

#[tokio::test]
async fn it_schedules_receives_and_completes() {
    let drill = Drill::new().await;
    let client = queue(&drill, "followups");
    let due = OffsetDateTime::from_unix_timestamp(at("2026-11-25T10:05:00Z").as_second()).unwrap();
    let broker = SettableBrokerProperties {
        message_id: Some("m-1".to_owned()),
        scheduled_enqueue_time_utc: Some(due),
        ..SettableBrokerProperties::default()
    };
    let options = SendMessageOptions { broker_properties: Some(broker), ..SendMessageOptions::default() };
    client.send_message("wake up", Some(options)).await.unwrap();
    assert_eq!(drill.azure.scheduled("followups"), [at("2026-11-25T10:05:00Z")]);

    let nothing = client.peek_lock_message2(Some(Duration::ZERO)).await.unwrap();
    assert_eq!(*nothing.status(), StatusCode::NoContent);
    drill.advance_seconds(300);
    let locked = client.peek_lock_message2(Some(Duration::ZERO)).await.unwrap();
    assert_eq!((*locked.status(), locked.body().as_str()), (StatusCode::Created, "wake up"));
    let told = locked.broker_properties().unwrap();
    assert_eq!((told.message_id.as_str(), told.delivery_count, told.sequence_number), ("m-1", 1, 1));
    assert_eq!(told.enqueued_time_utc, Some(due));
    locked.renew_message_lock().await.unwrap();
    locked.unlock_message().await.unwrap();
    let again = client.peek_lock_message2(Some(Duration::ZERO)).await.unwrap();
    assert_eq!(again.broker_properties().unwrap().delivery_count, 2);
    again.delete_message().await.unwrap();
    assert_eq!(drill.azure.messages("followups"), []);
}

#[tokio::test]
async fn it_reads_dead_letters_by_their_path() {
    let drill = Drill::new().await;
    queue(&drill, "alerts").send_message("bad", None).await.unwrap();
    for _ in 0..10 {
        let taken = drill.azure.take("alerts").unwrap();
        assert!(drill.azure.abandon(&taken.lock));
    }
    let dead = queue(&drill, "alerts/$DeadLetterQueue").peek_lock_message2(Some(Duration::ZERO)).await.unwrap();
    assert_eq!(dead.body(), "bad");
    dead.delete_message().await.unwrap();
    assert_eq!(drill.azure.dead_letters("alerts"), []);
}

#[tokio::test]
async fn it_cannot_read_the_large_numbers_of_a_partitioned_queue() {
    let drill = Drill::new().await;
    drill.azure.set_next_sequence_number(1 << 33);
    let client = queue(&drill, "alerts");
    client.send_message("x", None).await.unwrap();
    assert!(client.peek_lock_message2(Some(Duration::ZERO)).await.is_err(), "a bridge has to mend the header first");
    assert_eq!(drill.azure.messages("alerts")[0].sequence_number, 1 << 33);
    assert_eq!(drill.azure.messages("alerts")[0].delivery_count, 1, "locked all the same");
}
