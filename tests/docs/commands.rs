//! Each `backout ...` that a page shows is a command line that the program takes.

use backout::cli::Cli;
use clap::{CommandFactory, error::ErrorKind};

use super::{
    pages,
    pages::{Code, code},
};
use crate::tidy::sources::nothing_found;

/// The words after `backout`, without what the shell takes for itself. `None`: not a command of ours.
fn words(text: &str) -> Option<Vec<String>> {
    let mut text = text.strip_prefix("$ ").unwrap_or(text);
    // Settings for this one command.
    while let Some((first, rest)) = text.split_once(' ')
        && first.split_once('=').is_some_and(|(name, _)| is_placeholder(name))
    {
        text = rest;
    }
    let after = text.strip_prefix("cargo run -- ").or_else(|| text.strip_prefix("cargo run --locked -- "));
    let after = after.or_else(|| text.strip_prefix("backout "))?;
    let mut words = Vec::new();
    let mut quoted = None;
    let mut word = String::new();
    for character in after.chars().chain([' ']) {
        match (quoted, character) {
            (None, '"' | '\'') => quoted = Some(character),
            (Some(mark), _) if mark == character => quoted = None,
            (None, '#') if word.is_empty() => break,
            (None, '>' | '|' | '&' | ';') => break,
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (_, c) => word.push(c),
        }
    }
    Some(words)
}

/// `FILE...`, `ID`, `NAME`: for the reader to fill in.
fn is_placeholder(word: &str) -> bool {
    let word = word.trim_end_matches('.');
    !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// What is wrong with the line, if anything.
fn problem(words: &[String], in_a_sentence: bool) -> Option<String> {
    let error = Cli::command().try_get_matches_from([&["backout".to_owned()], words].concat()).err()?;
    let unfinished = matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => words.iter().any(|word| is_placeholder(word)),
        _ => unfinished && in_a_sentence,
    };
    (!fine).then(|| error.to_string().lines().next().unwrap_or_default().to_owned())
}

#[test]
fn every_command_of_the_pages_is_one_of_the_program() {
    let mut found = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for part in code(&page.text) {
            let (number, text, in_a_sentence) = match &part {
                Code::Line { number, text } => (number, text, false),
                Code::Span { number, text } => (number, text, true),
            };
            let Some(words) = words(text) else { continue };
            // A message that begins with the program's name, a role's name, or a placeholder for the command itself.
            let is_command = words.first().is_some_and(|first| !is_placeholder(first) && first != "..." && first != "is");
            if is_command {
                seen += 1;
                found.extend(problem(&words, in_a_sentence).map(|says| format!("{}:{number}: `{text}`: {says}", page.path)));
            }
        }
    }
    assert!(seen > 40, "the scan found only {seen} commands");
    nothing_found("a page shows a command that the program does not take", &found);
}

#[test]
fn a_wrong_command_would_be_found() {
    let says = |text: &str, in_a_sentence| problem(&words(text).unwrap(), in_a_sentence);
    assert_eq!(says("backout check --offline --policy backout.yaml # why", false), None);
    assert_eq!(says("cargo run -- demo --platform NAME", true), None);
    assert_eq!(says("backout decide", true), None);
    assert!(says("BACKOUT_BUS=local: backout chek", false).is_some());
    assert!(says("backout decide", false).is_some());
    assert!(says("backout chek", true).is_some());
    assert!(says("backout check --offlin", false).is_some());
    assert!(says("backout demo --platform heroku", false).is_some());
    assert_eq!(words("az login"), None);
}
