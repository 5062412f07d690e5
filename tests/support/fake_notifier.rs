//! Channels to people that note what they were told.

use std::sync::Mutex;

use backout::{
    domain::policy::{Channel, NotifyRule},
    ports::{Notice, Notifier, PortError, PortErrorKind},
};

#[derive(Default)]
pub struct FakeNotifier {
    told: Mutex<Vec<(Channel, Notice)>>,
    away: Mutex<Vec<Channel>>,
}

impl FakeNotifier {
    /// Every notice that was told, by whatever channel, in order.
    pub fn notices(&self) -> Vec<Notice> {
        self.told.lock().unwrap().iter().map(|(_, notice)| notice.clone()).collect()
    }

    /// Channels and titles, in order.
    pub fn titles(&self) -> Vec<(Channel, String)> {
        self.told.lock().unwrap().iter().map(|(channel, notice)| (*channel, notice.title.clone())).collect()
    }

    /// From now on these cannot be reached, and all others can.
    pub fn only_away(&self, channels: &[Channel]) {
        *self.away.lock().unwrap() = channels.to_vec();
    }
}

#[async_trait::async_trait]
impl Notifier for FakeNotifier {
    async fn tell(&self, notice: &Notice, rule: &NotifyRule) -> Result<(), PortError> {
        // A post takes a while: others get their turn.
        tokio::task::yield_now().await;
        if self.away.lock().unwrap().contains(&rule.channel) {
            return Err(PortError::new("post a notice", PortErrorKind::Transient, "no connection"));
        }
        self.told.lock().unwrap().push((rule.channel, notice.clone()));
        Ok(())
    }
}
