//! Deliveries that do what the message says, and remember what they were given.

use std::sync::Mutex;

use backout::{
    host::delivery::{Deliveries, Delivery},
    process::outcome::Outcome,
};

/// The first word of the body is the command: `settle`, `park`, `put-back`, `again`, `panic`. Anything else settles.
#[derive(Default)]
pub struct Scripted {
    pub seen: Mutex<Vec<Delivery>>,
}

impl Scripted {
    pub fn only(&self) -> Delivery {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "deliveries: {seen:?}");
        seen[0].clone()
    }
}

#[async_trait::async_trait]
impl Deliveries for Scripted {
    async fn deliver(&self, delivery: Delivery) -> Outcome {
        let command = String::from_utf8_lossy(&delivery.body).into_owned();
        self.seen.lock().unwrap().push(delivery);
        // So that a panic happens after an await, as it would in a real delivery.
        tokio::task::yield_now().await;
        let says = format!("did {}", command.chars().take(40).collect::<String>());
        match command.split(' ').next() {
            Some("park") => Outcome::Parked { says },
            Some("put-back") => Outcome::PutBack { says },
            Some("again") => Outcome::DeliverAgain { says },
            Some("panic") => panic!("composed panic about {command}"),
            _ => Outcome::Settled { says },
        }
    }
}
