//! The channels over real HTTP, against a receiver of our own; nothing in a notice can mention anybody or leak the URL.

use std::time::Duration;

use backout::{
    domain::policy::{Channel, NoticeKind, NotifyRule},
    ports::{Notice, Notifier, PortErrorKind},
};
use serde_json::{Value, json};

use crate::support::{
    kept_log::KeptLog,
    receiver::{SETTING, channels, start},
};

fn notice(kind: NoticeKind) -> Notice {
    Notice {
        kind,
        title: "checkout: build-42 is taken back".to_owned(),
        text: "Errors rose from 0.1 % to 12 % two minutes after the swap.\nRules: C1, S5".to_owned(),
        record: Some("abcdefghijklmnopqrstuvwxyz".to_owned()),
    }
}

fn hostile() -> Notice {
    Notice {
        kind: NoticeKind::Page,
        title: "<!channel> *rule* <@U123>\nsecond\u{202e}line\u{9b}[31m".to_owned(),
        text: "<https://evil.example|click> & <at>everyone</at>\r\n[x](https://evil.example) **bold**".to_owned(),
        record: None,
    }
}

fn rule(channel: Channel) -> NotifyRule {
    NotifyRule { channel, url_from: Some(SETTING.to_owned()), kinds: vec![NoticeKind::Act] }
}

async fn body_of(channel: Channel, notice: &Notice) -> Value {
    let (receiver, channels) = start(200).await;
    channels.tell(notice, &rule(channel)).await.unwrap();
    let mut receiver = receiver.lock().unwrap();
    assert_eq!(receiver.got.len(), 1);
    let (path, headers, body) = receiver.got.remove(0);
    assert_eq!(path, "/hook?sig=s3cr3t");
    assert_eq!(headers["content-type"], "application/json");
    body
}

#[tokio::test]
async fn teams() {
    insta::assert_json_snapshot!("teams_card", body_of(Channel::Teams, &notice(NoticeKind::Act)).await);
}

#[tokio::test]
async fn slack() {
    assert_eq!(
        body_of(Channel::Slack, &notice(NoticeKind::Propose)).await,
        json!({
            "text": "propose: checkout: build-42 is taken back\nErrors rose from 0.1 % to 12 % two minutes after the swap.\nRules: C1, S5\nbackout show abcdefghijklmnopqrstuvwxyz",
            "mrkdwn": false, "unfurl_links": false, "unfurl_media": false
        })
    );
}

#[tokio::test]
async fn webhook() {
    assert_eq!(
        body_of(Channel::Webhook, &notice(NoticeKind::Hold)).await,
        json!({
            "product": "backout",
            "kind": "hold",
            "title": "checkout: build-42 is taken back",
            "text": "Errors rose from 0.1 % to 12 % two minutes after the swap.\nRules: C1, S5",
            "record": "abcdefghijklmnopqrstuvwxyz"
        })
    );
    // The receiver of JSON gets the texts whole, but for what deceives the eye, and null for what is not there.
    let body = body_of(Channel::Webhook, &hostile()).await;
    let title = Value::from("<!channel> *rule* <@U123> second line [31m");
    assert_eq!((&body["title"], &body["record"]), (&title, &Value::Null));
}

#[tokio::test]
async fn a_hostile_text_mentions_nobody() {
    let body = body_of(Channel::Slack, &hostile()).await;
    assert_eq!(
        body["text"],
        "page: &lt;!channel&gt; *rule* &lt;@U123&gt; second line [31m\n\
         &lt;https://evil.example|click&gt; &amp; &lt;at&gt;everyone&lt;/at&gt;\n[x](https://evil.example) **bold**"
    );
    assert_eq!(body["mrkdwn"], false);

    // In Teams every text is a run of a rich text block, which knows no Markdown, and no mention is declared.
    let card = body_of(Channel::Teams, &hostile()).await["attachments"][0]["content"].clone();
    assert_eq!(card["msteams"], json!({ "width": "Full" }));
    let runs: Vec<&str> = card["body"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            assert_eq!(row["type"], "RichTextBlock");
            assert_eq!(row["inlines"][0]["type"], "TextRun");
            row["inlines"][0]["text"].as_str().unwrap()
        })
        .collect();
    assert_eq!(
        runs,
        [
            "page: <!channel> *rule* <@U123> second line [31m",
            "<https://evil.example|click> & <at>everyone</at>",
            "[x](https://evil.example) **bold**"
        ]
    );
}

#[tokio::test]
async fn a_long_text_is_cut() {
    let long = Notice { text: "ß\n".repeat(50_000), title: "t".repeat(5_000), ..notice(NoticeKind::Page) };
    let teams = body_of(Channel::Teams, &long).await;
    assert!(teams.to_string().len() < 28_000, "{}", teams.to_string().len());
    let rows = teams["attachments"][0]["content"]["body"].as_array().unwrap();
    assert_eq!(rows[rows.len() - 2]["inlines"][0]["text"], "…");
    let slack = body_of(Channel::Slack, &long).await["text"].as_str().unwrap().to_owned();
    assert!(slack.chars().count() < 4_000 && slack.contains('…'), "{}", slack.chars().count());
}

#[tokio::test]
async fn what_a_channel_may_answer() {
    for (status, kind, says) in [
        (302, PortErrorKind::Invalid, "redirects"),
        (400, PortErrorKind::Invalid, "does not take this message"),
        (401, PortErrorKind::Denied, "renew its URL"),
        (403, PortErrorKind::Denied, "renew its URL"),
        (404, PortErrorKind::NotFound, "is gone"),
        (410, PortErrorKind::NotFound, "is gone"),
        (413, PortErrorKind::Invalid, "does not take this message"),
        (429, PortErrorKind::Throttled, "asks for a pause"),
        (500, PortErrorKind::Transient, "fault of its own"),
        (503, PortErrorKind::Transient, "fault of its own"),
    ] {
        let (receiver, channels) = start(status).await;
        receiver.lock().unwrap().retry_after = (status == 429).then_some("7");
        let error = channels.tell(&notice(NoticeKind::Act), &rule(Channel::Slack)).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}");
        assert!(error.says.contains(says) && error.says.contains(&format!("(status {status})")), "{error}");
        assert_eq!(error.retry_after, (status == 429).then_some(Duration::from_secs(7)));
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
        // Neither a repetition nor a redirect.
        assert_eq!(receiver.lock().unwrap().got.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_channel_that_cannot_be_used() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for (url, kind, says) in [
        (format!("http://{address}/s3cr3t"), PortErrorKind::Transient, "cannot be reached"),
        ("http://hooks.example/s3cr3t".to_owned(), PortErrorKind::Invalid, "`HOOK_URL` is a plain http URL"),
        ("s3cr3t".to_owned(), PortErrorKind::Invalid, "`HOOK_URL` is not an absolute URL"),
        ("file:///s3cr3t".to_owned(), PortErrorKind::Invalid, "neither https nor http"),
    ] {
        let error = channels(url).tell(&notice(NoticeKind::Act), &rule(Channel::Teams)).await.unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.says.contains(says), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
    }
    let channels = channels(String::new());
    let unset = NotifyRule { url_from: Some("OTHER_URL".to_owned()), ..rule(Channel::Webhook) };
    let error = channels.tell(&notice(NoticeKind::Act), &unset).await.unwrap_err();
    assert!(error.says.contains("the app setting `OTHER_URL` is not set"), "{error}");
    let unnamed = NotifyRule { url_from: None, ..rule(Channel::Webhook) };
    let error = channels.tell(&notice(NoticeKind::Act), &unnamed).await.unwrap_err();
    assert!(error.says.contains("has no `urlFrom`"), "{error}");
}

#[tokio::test]
async fn the_log_has_one_line_at_the_level_of_the_outcome() {
    let channels = channels(String::new());
    let log = NotifyRule { channel: Channel::Log, url_from: None, kinds: vec![] };
    for (kind, level, word) in [
        (NoticeKind::Act, "INFO", "act"),
        (NoticeKind::Propose, "INFO", "propose"),
        (NoticeKind::Hold, "INFO", "hold"),
        (NoticeKind::Page, "ERROR", "page"),
        (NoticeKind::Ignore, "INFO", "ignore"),
    ] {
        let written = KeptLog::default();
        let guard = tracing::subscriber::set_default(written.subscriber("info".parse().unwrap()));
        channels.tell(&notice(kind), &log).await.unwrap();
        drop(guard);
        let text = written.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["level"], level);
        assert_eq!(event["message"], format!("{word}: checkout: build-42 is taken back"));
        assert_eq!(event["notice.kind"], word);
        assert_eq!(event["record.id"], "abcdefghijklmnopqrstuvwxyz");
        assert_eq!(event["notice.text"], "Errors rose from 0.1 % to 12 % two minutes after the swap. | Rules: C1, S5");
    }
}

#[tokio::test]
async fn a_hostile_text_writes_no_second_line_into_the_log() {
    let written = KeptLog::default();
    // The plain form, which a person's terminal gets.
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(written.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    channels(String::new()).tell(&hostile(), &NotifyRule { channel: Channel::Log, url_from: None, kinds: vec![] }).await.unwrap();
    drop(guard);
    let text = written.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}
