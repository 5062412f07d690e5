//! `backout dead-letters list|replay`: parked messages, and what the queues gave up on.

use std::{collections::BTreeSet, process::ExitCode};

use clap::{Parser, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Format, complain, out, out_json, progress,
    wiring::{self, QueuePlace, Wired},
};
use crate::{
    domain::{instant::whole_seconds, printable::printable, target::sha256_hex},
    host::delivery::Function,
    ports::{DeadLetter, Fate, WalkEnd},
    process::park::{Parked, ParkedReplay},
};

#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Service Bus shows dead letters to a receiver only: each is locked until the command has looked at all of them, and its
/// `DeliveryCount` rises by one. A dead letter has no last delivery, so nothing is lost by that.
#[derive(Debug, Subcommand)]
enum Command {
    /// What was parked, and the dead letters of all four queues
    List {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
        /// At most this many of each queue
        #[arg(long, default_value = "1000")]
        limit: usize,
    },
    /// Put messages back on their queues; only says what it would do, unless `--yes`
    Replay(Replay),
}

#[derive(Debug, Parser)]
struct Replay {
    #[command(flatten)]
    which: Which,
    /// Do it
    #[arg(long)]
    yes: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Look at no more than this many of each queue
    #[arg(long, default_value = "1000")]
    limit: usize,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// These, as `list` names them
    #[arg(long = "id", num_args = 1.., value_name = "ID")]
    ids: Vec<String>,
    /// Those whose reason or description holds this text, in any case
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// All
    #[arg(long)]
    all: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let wired = wiring::wire(wiring::settings_without_bus()?)?;
    match args.command {
        Command::List { format, limit } => list(&wired, format, limit).await,
        Command::Replay(replay) => replay.run(&wired).await,
    }
}

async fn list(wired: &Wired, format: Format, limit: usize) -> anyhow::Result<ExitCode> {
    let parked = parked(wired, limit).await?;
    let (mut shown, mut trouble) = (parked.len(), false);
    for message in &parked {
        Line::of_parked(message).print(format, None);
    }
    for queue in queues() {
        progress_on_bus(wired, queue);
        let walk = wired.queues.dead_letters.walk(queue, limit, &|_| false).await;
        shown += walk.letters.len();
        for (letter, _) in &walk.letters {
            Line::of_letter(letter).print(format, None);
        }
        trouble |= tell_end(queue, &walk.end, limit);
    }
    if shown == 0 && !trouble && format == Format::Text {
        out("nothing is parked, and there are no dead letters");
    }
    Ok(if trouble { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Replay {
    async fn run(self, wired: &Wired) -> anyhow::Result<ExitCode> {
        let mut tally = Tally::default();
        for message in parked(wired, self.limit).await? {
            if !self.which.means(&message.id, &[&message.reason]) {
                continue;
            }
            let result = if self.yes {
                match wired.process.replay_parked(&message).await {
                    Ok(ParkedReplay::QueuedAgain) => Done::QueuedAgain,
                    Ok(ParkedReplay::Gone) => Done::Failed("somebody else has replayed it meanwhile".to_owned()),
                    Ok(ParkedReplay::Refused(why)) => Done::Failed(why),
                    Err(error) => Done::Failed(error.to_string()),
                }
            } else {
                message.whole_body().map_or_else(Done::Failed, |_| Done::WouldBe)
            };
            tally.count(&message.id, &result);
            Line::of_parked(&message).print(self.format, Some(&result));
        }
        for queue in queues().filter(|queue| self.which.may_mean_letters_of(queue)) {
            progress_on_bus(wired, queue);
            let means = |letter: &DeadLetter| {
                self.which.means(&letter.id, &[&letter.reason, letter.description.as_deref().unwrap_or_default()])
            };
            let walk = wired.queues.dead_letters.walk(queue, self.limit, &|letter| self.yes && means(letter)).await;
            for (letter, fate) in walk.letters.iter().filter(|(letter, _)| means(letter)) {
                let result = match fate {
                    Fate::Left => Done::WouldBe,
                    Fate::QueuedAgain => Done::QueuedAgain,
                    Fate::Failed(error) => Done::Failed(error.to_string()),
                };
                tally.count(&letter.id, &result);
                Line::of_letter(letter).print(self.format, Some(&result));
            }
            tally.trouble |= tell_end(queue, &walk.end, self.limit);
        }
        for id in self.which.ids.iter().filter(|id| !tally.ids.contains(*id)) {
            tally.trouble = true;
            complain(&format!("there is no `{id}`; `backout dead-letters list` shows what there is"));
        }
        if self.format == Format::Text {
            out(&match (self.yes, tally.good) {
                (_, 0) => "nothing to queue again".to_owned(),
                (true, count) => format!("{count} queued again"),
                (false, count) => format!("{count} would be queued again; nothing was changed. Say `--yes` to do it"),
            });
        }
        Ok(if tally.trouble { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl Which {
    fn means(&self, id: &str, reasons: &[&str]) -> bool {
        let wanted = self.reason.as_ref().map(|text| text.to_lowercase());
        self.all
            || self.ids.iter().any(|wanted| wanted == id)
            || wanted.is_some_and(|wanted| reasons.iter().any(|reason| reason.to_lowercase().contains(&wanted)))
    }

    /// Where only ids are asked for, the other queues' letters are left in peace.
    fn may_mean_letters_of(&self, queue: &str) -> bool {
        self.ids.is_empty() || self.ids.iter().any(|id| id.split_once(':').is_some_and(|(of, _)| of == queue))
    }
}

/// What became of one that was meant.
enum Done {
    WouldBe,
    QueuedAgain,
    Failed(String),
}

#[derive(Default)]
struct Tally {
    ids: BTreeSet<String>,
    good: usize,
    trouble: bool,
}

impl Tally {
    fn count(&mut self, id: &str, result: &Done) {
        self.ids.insert(id.to_owned());
        match result {
            Done::WouldBe | Done::QueuedAgain => self.good += 1,
            Done::Failed(_) => self.trouble = true,
        }
    }
}

/// One message, as both commands show it.
struct Line {
    id: String,
    queue: String,
    reason: String,
    description: Option<String>,
    /// Parked or given up since.
    at: Option<Timestamp>,
    enqueued_at: Option<Timestamp>,
    delivery_count: Option<u32>,
    bytes: usize,
    sha256: String,
    body_base64: String,
}

impl Line {
    fn of_parked(message: &Parked) -> Self {
        Self {
            id: message.id.clone(),
            queue: message.queue.clone(),
            reason: message.reason.clone(),
            description: None,
            at: Some(message.parked_at),
            enqueued_at: None,
            delivery_count: None,
            bytes: message.body_bytes,
            sha256: message.body_sha256.clone(),
            body_base64: message.body_base64.clone(),
        }
    }

    fn of_letter(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id.clone(),
            queue: letter.queue.clone(),
            reason: letter.reason.clone(),
            description: letter.description.clone(),
            at: letter.dead_since,
            enqueued_at: letter.enqueued_at,
            delivery_count: Some(letter.delivery_count),
            bytes: letter.body.len(),
            sha256: sha256_hex(&letter.body),
            body_base64: data_encoding::BASE64.encode(&letter.body),
        }
    }

    fn print(&self, format: Format, result: Option<&Done>) {
        match format {
            Format::Json => out_json(&self.json(result)),
            Format::Text => out(&printable(&self.text(result))),
        }
    }

    fn json(&self, result: Option<&Done>) -> Value {
        let mut line = json!({
            "id": self.id, "queue": self.queue, "reason": self.reason, "description": self.description, "at": self.at,
            "enqueuedAt": self.enqueued_at, "deliveryCount": self.delivery_count, "bytes": self.bytes, "sha256": self.sha256,
            "bodyBase64": self.body_base64,
        });
        if let Some(result) = result {
            let (outcome, says) = match result {
                Done::WouldBe => ("wouldBeQueued", None),
                Done::QueuedAgain => ("queuedAgain", None),
                Done::Failed(why) => ("failed", Some(why)),
            };
            line["outcome"] = json!(outcome);
            line["says"] = json!(says);
        }
        line
    }

    fn text(&self, result: Option<&Done>) -> String {
        let at = self.at.or(self.enqueued_at).map(whole_seconds).map_or_else(|| "-".to_owned(), |at| at.to_string());
        let deliveries = self.delivery_count.map(|count| format!("  {count} deliveries")).unwrap_or_default();
        let description = self.description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
        let result = match result {
            None => String::new(),
            Some(Done::WouldBe) => "  -> would be queued again".to_owned(),
            Some(Done::QueuedAgain) => "  -> queued again".to_owned(),
            Some(Done::Failed(why)) => format!("  -> NOT queued again: {why}"),
        };
        format!("{}  {at}  {}  {} bytes{deliveries}  {}{description}{result}", self.id, self.queue, self.bytes, self.reason)
    }
}

/// Says so where there is more than was asked for.
async fn parked(wired: &Wired, limit: usize) -> anyhow::Result<Vec<Parked>> {
    let mut parked = wired.process.parked(limit.saturating_add(1)).await?;
    if parked.len() > limit {
        parked.truncate(limit);
        complain(&format!("more messages are parked than were looked at (`--limit {limit}`)"));
    }
    Ok(parked)
}

fn queues() -> impl Iterator<Item = &'static str> {
    Function::ALL.iter().filter(|function| **function != Function::Sweep).map(|function| function.name())
}

fn progress_on_bus(wired: &Wired, queue: &str) {
    if matches!(wired.queues.place, QueuePlace::ServiceBus(_)) {
        progress(&format!("looking at the dead letters of `{queue}`..."));
    }
}

/// `true`: the walk came to no good end.
fn tell_end(queue: &str, end: &WalkEnd, limit: usize) -> bool {
    match end {
        WalkEnd::All => false,
        WalkEnd::Limit => {
            complain(&format!("`{queue}` may have more dead letters than were looked at (`--limit {limit}`)"));
            false
        }
        WalkEnd::Failed(error) => {
            complain(&format!("the dead letters of `{queue}` could not be looked at to their end: {error}"));
            true
        }
    }
}
