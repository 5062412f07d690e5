//! The time line, in colours on a terminal and plain elsewhere.

use std::io::{self, IsTerminal};

use jiff::Timestamp;

use crate::{cli::out, domain::printable::printable};

#[derive(Debug, Clone, Copy)]
pub struct Narrator {
    colours: bool,
}

impl Narrator {
    pub fn new() -> Self {
        Self { colours: io::stdout().is_terminal() }
    }

    pub fn headline(self, text: &str) {
        out(&if self.colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() });
    }

    /// One line: virtual time, who, what.
    pub fn tell(self, at: Timestamp, who: &str, what: &str) {
        let time = at.strftime("%H:%M:%S");
        let what = printable(what);
        out(&if self.colours {
            let colour = match who {
                "alert" => "31",
                "team" | "host" => "33",
                "azure" => "36",
                _ => "32",
            };
            format!("\x1b[2m{time}\x1b[0m  \x1b[{colour}m{who:<8}\x1b[0m  {what}")
        } else {
            format!("{time}  {who:<8}  {what}")
        });
    }
}
