//! Log lines on a person's terminal.

use std::io::{self, Write};

use crate::domain::printable::deceives;

/// Leaves out what deceives the eye. Escapes of a terminal stay: those in what is logged the subscriber has made readable
/// before, and the rest are its own colours.
pub(super) struct Shown<W>(pub W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_shown = |c: &char| matches!(c, '\n' | '\u{1b}') || !deceives(*c);
        let text: String = String::from_utf8_lossy(bytes).chars().filter(is_shown).collect();
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{fmt, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_logged_repaints_the_terminal_or_turns_its_text_round() {
        let kept = Kept::default();
        let writer = kept.clone();
        let layer = fmt::layer().with_writer(move || Shown(writer.clone())).with_ansi(true);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(rule = "a\u{1b}]0;title\u{7}\u{202e}b", "gone\u{1b}[2J\u{9b}2J\u{200b}");
        });
        let line = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(line.contains("WARN") && line.contains("gone"), "{line:?}");
        let colours_only = line.split('\u{1b}').skip(1).all(|rest| {
            rest.strip_prefix('[')
                .is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
        });
        assert!(colours_only, "{line:?}");
        assert!(!line.chars().any(|c| deceives(c) && !matches!(c, '\n' | '\u{1b}')), "{line:?}");
    }
}
