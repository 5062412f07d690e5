//! The promises of the channels to people, one function each: over both fakes, over the log, and over posts to a receiver.

use std::sync::Arc;

use backout::{
    domain::policy::{Channel, NoticeKind, NotifyRule},
    notify::Channels,
    ports::{Notice, Notifier, PortErrorKind},
};
use tracing::subscriber::DefaultGuard;

use super::calm::CalmWorld;
use crate::{
    simulation::timeline::{
        around::FaultyNotifier,
        story::{Part, Story},
    },
    support::{
        fake_notifier::FakeNotifier,
        kept_log::KeptLog,
        receiver::{self, SETTING, Shared},
    },
};

macro_rules! holds_for {
    ($kind:ident => $desk:expr; $($promise:ident)*) => {
        mod $kind {
            use super::*;

            $(
                #[tokio::test]
                async fn $promise() {
                    let desk = $desk;
                    desk.play(super::$promise(&desk)).await;
                }
            )*
        }
    };
}

macro_rules! all_promises {
    ($($kind:ident => $desk:expr, $($more:ident)*;)*) => {
        $(holds_for! { $kind => $desk;
            every_kind_of_notice_is_read_in_order
            what_is_told_twice_is_read_twice
            $($more)*
        })*
    };
}

all_promises! {
    flow_fake => FakeDesk::open(), what_cannot_be_told_is_an_error_and_can_be_told_later;
    timeline => TimelineDesk::open(), what_cannot_be_told_is_an_error_and_can_be_told_later;
    // It is no other side, and never away.
    log => LogDesk::open(),;
    teams => PostDesk::open(Channel::Teams).await, what_cannot_be_told_is_an_error_and_can_be_told_later;
    slack => PostDesk::open(Channel::Slack).await, what_cannot_be_told_is_an_error_and_can_be_told_later;
    webhook => PostDesk::open(Channel::Webhook).await, what_cannot_be_told_is_an_error_and_can_be_told_later;
}

/// Where people read what one channel tells.
trait Desk {
    fn notifier(&self) -> Arc<dyn Notifier>;

    fn channel(&self) -> Channel;

    /// What was told until now, one text for each time.
    fn read(&self) -> Vec<String>;

    /// From now on the channel answers nobody, or does again.
    fn be_away(&self, away: bool);

    async fn play(&self, story: impl Future<Output = ()>) {
        story.await;
    }
}

const KINDS: [NoticeKind; 5] = [NoticeKind::Act, NoticeKind::Propose, NoticeKind::Hold, NoticeKind::Page, NoticeKind::Ignore];

fn notice(kind: NoticeKind, title: &str) -> Notice {
    Notice { kind, title: title.to_owned(), text: "Errors rose.\nRules: C1".to_owned(), record: Some("a".repeat(26)) }
}

fn rule(desk: &impl Desk) -> NotifyRule {
    NotifyRule { channel: desk.channel(), url_from: Some(SETTING.to_owned()), kinds: KINDS.to_vec() }
}

/// Each text that was read holds its title, and there is none beside.
fn assert_read(desk: &impl Desk, titles: &[&str]) {
    let read = desk.read();
    let fits = read.len() == titles.len() && read.iter().zip(titles).all(|(text, title)| text.contains(title));
    assert!(fits, "{titles:?} were told, and read was {read:?}");
}

async fn every_kind_of_notice_is_read_in_order(desk: &impl Desk) {
    let titles = ["checkout: first", "checkout: second", "search: third", "search: fourth", "cart: fifth"];
    for (kind, title) in KINDS.into_iter().zip(titles) {
        desk.notifier().tell(&notice(kind, title), &rule(desk)).await.unwrap();
    }
    assert_read(desk, &titles);
}

async fn what_is_told_twice_is_read_twice(desk: &impl Desk) {
    let said = notice(NoticeKind::Page, "checkout: needs a person");
    for _ in 0..2 {
        desk.notifier().tell(&said, &rule(desk)).await.unwrap();
    }
    assert_read(desk, &[&said.title, &said.title]);
}

async fn what_cannot_be_told_is_an_error_and_can_be_told_later(desk: &impl Desk) {
    let said = notice(NoticeKind::Page, "checkout: needs a person");
    desk.be_away(true);
    let error = desk.notifier().tell(&said, &rule(desk)).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Transient, "{error}");
    // Whose answer got lost may have been read.
    let lost = desk.read().len();
    assert!(lost <= 1, "one call tells once, even if it fails");
    desk.be_away(false);
    desk.notifier().tell(&said, &rule(desk)).await.unwrap();
    assert_read(desk, &vec![said.title.as_str(); lost + 1]);
}

struct FakeDesk(Arc<FakeNotifier>);

impl FakeDesk {
    fn open() -> Self {
        Self(Arc::default())
    }
}

impl Desk for FakeDesk {
    fn notifier(&self) -> Arc<dyn Notifier> {
        self.0.clone()
    }

    fn channel(&self) -> Channel {
        Channel::Teams
    }

    fn read(&self) -> Vec<String> {
        self.0.titles().into_iter().map(|(channel, title)| format!("{channel:?}: {title}")).collect()
    }

    fn be_away(&self, away: bool) {
        self.0.only_away(if away { &[Channel::Teams] } else { &[] });
    }
}

/// The fake of the simulation.
struct TimelineDesk(CalmWorld);

impl TimelineDesk {
    fn open() -> Self {
        let world = CalmWorld::of(Story::of(0), 0);
        world.handle.with(|world| world.trace = Some(Vec::new()));
        Self(world)
    }
}

impl Desk for TimelineDesk {
    fn notifier(&self) -> Arc<dyn Notifier> {
        Arc::new(FaultyNotifier(self.0.handle.clone()))
    }

    fn channel(&self) -> Channel {
        Channel::Slack
    }

    fn read(&self) -> Vec<String> {
        let told = |line: &&String| line.contains(" told by Slack: ");
        self.0.handle.with(|world| world.trace.iter().flatten().filter(told).cloned().collect())
    }

    /// The only weather there is.
    fn be_away(&self, away: bool) {
        self.0.handle.with(|world| {
            for part in Part::ALL {
                world.weather.still(part);
            }
            world.weather.notifier_errors = 10_000;
            world.faults = away;
        });
    }

    async fn play(&self, story: impl Future<Output = ()>) {
        self.0.play(story);
    }
}

/// The log of this process.
struct LogDesk {
    log: KeptLog,
    _writes_there: DefaultGuard,
}

impl LogDesk {
    fn open() -> Self {
        let log = KeptLog::default();
        let guard = tracing::subscriber::set_default(log.subscriber("info".parse().unwrap()));
        Self { log, _writes_there: guard }
    }
}

impl Desk for LogDesk {
    fn notifier(&self) -> Arc<dyn Notifier> {
        Arc::new(receiver::channels(String::new()))
    }

    fn channel(&self) -> Channel {
        Channel::Log
    }

    fn read(&self) -> Vec<String> {
        self.log.text().lines().map(ToOwned::to_owned).collect()
    }

    fn be_away(&self, _: bool) {
        unreachable!("a log is never away");
    }
}

/// A channel that is a URL, with a receiver behind it.
struct PostDesk {
    channel: Channel,
    receiver: Shared,
    channels: Arc<Channels>,
}

impl PostDesk {
    async fn open(channel: Channel) -> Self {
        let (receiver, channels) = receiver::start(200).await;
        Self { channel, receiver, channels: Arc::new(channels) }
    }
}

impl Desk for PostDesk {
    fn notifier(&self) -> Arc<dyn Notifier> {
        self.channels.clone()
    }

    fn channel(&self) -> Channel {
        self.channel
    }

    /// What was received while it was away counts too.
    fn read(&self) -> Vec<String> {
        self.receiver.lock().unwrap().got.iter().map(|(_, _, body)| body.to_string()).collect()
    }

    fn be_away(&self, away: bool) {
        self.receiver.lock().unwrap().status = if away { 503 } else { 200 };
    }
}
