//! A log that a test reads.

use std::{
    io,
    sync::{Arc, Mutex},
};

use backout::observability::host_layer;
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt};

use super::leaks::search;

/// What was logged, as the host gets it.
#[derive(Clone, Default)]
pub struct KeptLog(Arc<Mutex<Vec<u8>>>);

impl KeptLog {
    /// What writes here, for one thread or one scope.
    pub fn subscriber(&self, filter: Targets) -> impl tracing::Subscriber + Send + Sync + use<> {
        tracing_subscriber::registry().with(host_layer(self.clone(), filter))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for KeptLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        search("a log that a test keeps", &String::from_utf8_lossy(bytes));
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for KeptLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
