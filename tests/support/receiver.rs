//! A receiver of posts on this machine, for the channels that have a URL.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use backout::notify::Channels;
use secrecy::SecretString;
use serde_json::Value;

/// The app setting that holds the receiver's URL.
pub const SETTING: &str = "HOOK_URL";

#[derive(Default)]
pub struct Receiver {
    pub status: u16,
    pub retry_after: Option<&'static str>,
    pub got: Vec<(String, HeaderMap, Value)>,
}

pub type Shared = Arc<Mutex<Receiver>>;

async fn receive(State(receiver): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut receiver = receiver.lock().unwrap();
    receiver.got.push((uri.to_string(), headers, serde_json::from_slice(&body).unwrap()));
    let mut response = Response::builder().status(receiver.status).header("location", "/elsewhere");
    if let Some(seconds) = receiver.retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(Body::from("s3cr3t")).unwrap()
}

/// A receiver that answers `status`, and the channels that reach it.
pub async fn start(status: u16) -> (Shared, Channels) {
    let receiver = Shared::default();
    receiver.lock().unwrap().status = status;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(receive).with_state(receiver.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (receiver, channels(format!("http://{address}/hook?sig=s3cr3t")))
}

pub fn channels(url: String) -> Channels {
    Channels::new(Box::new(move |name| (name == SETTING).then(|| SecretString::from(url.clone()))))
}
