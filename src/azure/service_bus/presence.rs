//! Whether a queue is there and may be received from, asked without touching any message.
//!
//! REST knows no question about a queue itself without the right to manage it. What can be asked is to give back a lock that nobody
//! ever held: the broker checks the right, then the queue, and then does not find the lock. Nothing is sent, received or changed.
//! Source: "Unlock Message", 404 for an unknown lock, 410 for a missing queue; the broker's own texts tell them apart as well.
//! Not tried against Azure: an answer that is none of these tells nothing, and is taken for that.

use std::sync::{Arc, Mutex, PoisonError};

use azure_core_legacy::{HttpClient, Method, Request, Response, headers::AUTHORIZATION};
use azure_messaging_servicebus::prelude::QueueClient;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{
    ServiceBusQueues,
    problem::{Asked, CallProblem},
    transport::Transport,
};
use crate::ports::PortError;

/// What the broker says of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueAnswer {
    There,
    NotThere,
    /// An answer with this status, which does not tell.
    Unclear(u16),
}

impl ServiceBusQueues {
    /// Asks whether `queue` is there. No right to receive from it: [`crate::ports::PortErrorKind::Denied`].
    pub async fn ask(&self, queue: &str) -> Result<QueueAnswer, PortError> {
        let asked = Asked::Presence;
        // Checks the name, which becomes part of a URL.
        self.client(asked, queue)?;
        let question =
            Arc::new(Question { transport: Arc::clone(&self.transport), lock: Uuid::new_v4(), answer: Mutex::default() });
        let http: Arc<dyn HttpClient> = question.clone();
        let key = self.key.key.expose_secret().to_owned();
        let told = |problem: CallProblem| problem.told(asked, queue, self.clock.now());
        // The crate signs for `QUEUE/messages`, which covers what lies below; the request itself never leaves.
        let signing = QueueClient::new(http, self.namespace.as_str(), queue, self.key.name.as_str(), key)
            .map_err(|problem| told(CallProblem::from_crate(problem)))?;
        let signed = signing.send_message("", None).await;
        let answer = question.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((status, text)) = answer else {
            let problem =
                signed.err().map_or(CallProblem::MakesNoSense("the Service Bus client asked nothing"), CallProblem::from_crate);
            return Err(told(problem));
        };
        match status {
            401 | 403 | 408 | 429 | 300..=399 | 500..=599 => Err(told(CallProblem::Refused { status, retry_after: None })),
            _ => Ok(understood(status, &text)),
        }
    }
}

fn understood(status: u16, text: &str) -> QueueAnswer {
    let text = text.to_ascii_lowercase();
    let says_lock = text.contains("lock supplied is invalid") || text.contains("messagelocklost");
    let says_queue = text.contains("messaging entity") || text.contains("no such entity") || text.contains("entitynotfound");
    match status {
        404 | 410 if says_lock => QueueAnswer::There,
        404 | 410 if says_queue => QueueAnswer::NotThere,
        410 => QueueAnswer::NotThere,
        other => QueueAnswer::Unclear(other),
    }
}

/// Stands in for the crate's HTTP client: keeps the signature of what it wants to send, and asks the question instead.
#[derive(Debug)]
struct Question {
    transport: Arc<Transport>,
    lock: Uuid,
    answer: Mutex<Option<(u16, String)>>,
}

#[async_trait::async_trait]
impl HttpClient for Question {
    async fn execute_request(&self, request: &Request) -> azure_core_legacy::Result<Response> {
        let mut url = request.url().clone();
        let path = format!("{}/1/{}", url.path(), self.lock);
        url.set_path(&path);
        let mut question = Request::new(url, Method::Put);
        if let Some(signature) = request.headers().get_optional_string(&AUTHORIZATION) {
            question.insert_header(AUTHORIZATION, signature);
        }
        let answer = self.transport.status_and_text(&question).await.map_err(CallProblem::into_crate)?;
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        Err(CallProblem::MakesNoSense("asked, not sent").into_crate())
    }
}

#[cfg(test)]
mod tests {
    use super::{QueueAnswer, understood};

    /// Texts as the broker writes them, after public reports; the last two are composed.
    #[test]
    fn an_unknown_lock_proves_the_queue_and_nothing_else_does() {
        let lock = "<Error><Code>404</Code><Detail>The lock supplied is invalid. Either the lock expired, or the message has already \
                    been removed from the queue.</Detail></Error>";
        let queue = "<Error><Code>404</Code><Detail>The messaging entity 'sb://locks.servicebus.windows.net/alerts' could not be \
                     found.</Detail></Error>";
        for (status, text, answer) in [
            (404, lock, QueueAnswer::There),
            (410, lock, QueueAnswer::There),
            (404, queue, QueueAnswer::NotThere),
            (410, "", QueueAnswer::NotThere),
            (404, "<html>nginx</html>", QueueAnswer::Unclear(404)),
            (200, lock, QueueAnswer::Unclear(200)),
        ] {
            assert_eq!(understood(status, text), answer, "{status} {text}");
        }
    }
}
