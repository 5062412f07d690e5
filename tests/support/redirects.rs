//! A server on loopback that sends everybody on to another one, and whether anybody went there.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    http::{StatusCode, header::LOCATION},
};
use tokio::net::TcpListener;
use url::Url;

/// Every status with which HTTP sends a request elsewhere.
pub const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

pub struct Redirects {
    url: Url,
    asked: Arc<AtomicUsize>,
    led_away: Arc<AtomicUsize>,
}

impl Redirects {
    pub async fn start(status: u16) -> Self {
        let (elsewhere, led_away) = connections().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let status = StatusCode::from_u16(status).unwrap();
        let answer = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let location = format!("{elsewhere}/there");
            async move { (status, [(LOCATION, location)]) }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { url, asked, led_away }
    }

    /// Ends with a slash.
    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Connections to where the answers pointed.
    pub fn led_away(&self) -> usize {
        self.led_away.load(Ordering::SeqCst)
    }
}

/// The URL, without a slash at its end, of somebody who answers nothing and counts who comes.
pub async fn connections() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, came)
}
