//! What somebody may send, name, store or answer who means harm: `SECURITY.md` has the table of threats, these are its tests as far
//! as they are about no single part.

mod late_calls;
mod messages;
mod policy_file;
mod reach;
mod redirects;
mod stored;
mod texts;
mod this_machine;
mod urls;

/// Steers a terminal in two ways, sets its title, breaks the line, turns the direction of reading, hides, and is HTML and Markdown.
const NASTY: &str = "x\u{1b}[2J\u{9b}2J\u{1b}]0;owned\u{7}\r\nfake\u{202e}gpj\u{2066}\u{200b}\u{feff}<script>alert(1)</script> [a](https://evil.test)";
