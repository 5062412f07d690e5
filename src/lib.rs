//! backout takes a bad deployment back when an Azure Monitor alert says so: once, and with a reason.
//!
//! # The map
//!
//! ```text
//! host POST -> inbound -> domain event -> decide (pure) -> process (claim, perform, settle) -> platform / bus / notify -> outcome -> host reply
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`host`] | the custom-handler server: envelope in, [`process::outcome::Outcome`] out; one place turns outcomes into replies |
//! | [`inbound`] | one file a format: bytes -> event, or "malformed, because" |
//! | [`domain`] | the vocabulary; values only, no IO |
//! | [`decide`] | the judgement; pure, one file a question |
//! | [`process`] | the one async story: record, claim, act once, look, verify, tell |
//! | [`ports`] | small traits named for a need; their docs are promises |
//! | [`platforms`] | what can be taken back, each cut alike: observe, preflight, steps, submit, poll, verify |
//! | [`telemetry`], [`notify`], [`azure`], [`local`] | the other adapters |
//! | [`settings`], [`policy`] | what people configure, every problem at once |
//! | [`packaging`] | the function app as one zip: what belongs in, and whether it would start |
//! | [`cli`] | one thin file a command; [`cli::wiring`] alone sees every adapter |
//! | [`observability`] | logs as the Functions host wants them; traces and metrics, where a setting has them exported |
//! | [`sim`] | a simulated Azure and a strict Functions host, over HTTP, with faults |
//!
//! `domain` <- `decide`, `ports` <- `process` <- `host`, `inbound` <- `cli`. Nothing in `decide` or `domain` awaits, reads a clock, logs
//! or knows a setting; a test checks it.
//!
//! # What always holds
//!
//! 1. One bad version token is taken back at most once, ever.
//! 2. A rollback is never taken back by us; the target stays busy until the token that our call produced is marked as ours.
//! 3. The revert names an explicit version, and the live state is read again just before the call.
//! 4. A mutating call is sent once. After an answer that does not tell, the state is read until it tells.
//! 5. Unknown is neither good nor bad: missing data leads to Hold, Propose or Page, never to Act.
//! 6. Each firing has exactly one record, which ends in exactly one terminal decision, explainable from stored data alone.
//! 7. No message is lost: done after its effects are stored, or it comes back, or it is parked with a reason.
//! 8. Only targets of the policy file are touched; nothing in a message widens that.
//! 9. Secrets, tokens, claims and personal data never reach a log, a receipt or a page (who approved is the one exception).
//! 10. `pause` stops every call that has not been sent, and survives restarts.
//!
//! # Walkthrough: an alert takes a slot swap back
//!
//! The host posts to `/alerts`. [`host::envelope`] unwraps the message, [`host::dispatch`] has [`inbound`] recognise it and hands
//! the alert to [`process::alert`]. Its record is inserted while [`process::gather`] reads, side by side, the target's document, the
//! live slots, the rights, the measurements, the kill switch, the budget and other firings. [`decide::decide`] ranks every recent
//! change and weighs every rule. If the answer is Act, [`process::act`] sets the target busy by compare-and-set, inserts the claim
//! while reading the live state and the kill switch once more, and sends the swap: three sequential trips after the alert came.
//! The answer's operation is stored, a follow-up is scheduled, and the invocation ends. Follow-ups drive [`process::saga`]: poll,
//! see the good build serve, mark its token as ours, watch the signal come back ([`process::verification`]), then
//! [`process::ending`] writes the receipt, tells people, and frees the target.
//!
//! # Walkthrough: the process is killed right after the call
//!
//! The target is busy and the claim exists, but no answer was stored. The host delivers the alert again: the record is known, so
//! it only counts a copy and wakes the rollback. The saga's own insert of the claim fails, which means that something may have
//! been sent; so it looks. Another token with the good content: applied, go on. An operation under way: poll. Nothing, and nothing
//! under way: wait until the quiet time has passed since the claim was last written, close the claim by compare-and-set, and tell
//! a person. A sender that was merely stalled finds the claim moved and does not send.

// In the direction of the flow.
pub mod host;
pub mod inbound;
pub mod domain;
pub mod decide;
pub mod process;
pub mod ports;
pub mod platforms;
pub mod telemetry;
pub mod notify;
pub mod azure;
pub mod local;
pub mod settings;
pub mod policy;
pub mod packaging;
pub mod cli;
pub mod observability;
pub mod sim;
