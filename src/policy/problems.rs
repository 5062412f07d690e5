//! What is wrong with a policy file, each problem with its line and what to do about it.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: u64,
    /// Counted from 1, in characters.
    pub column: u64,
    /// Such as `services.checkout.target.site`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, to be read after the path. Never a text that may be a secret.
    pub says: String,
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "`{}` ", self.path)?;
        }
        write!(f, "{}; hint: {}", self.says, self.hint)
    }
}

/// The problems of one file, in the order of its lines: every one, unless there are more than a hundred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyProblems {
    /// The file as people know it; `backout.yaml` unless [`PolicyProblems::named`] says otherwise.
    pub file: String,
    pub problems: Vec<Problem>,
}

/// So many are told; the rest in one. They stand in every message that is parked because of them.
const TOLD_MAX: usize = 100;

impl PolicyProblems {
    /// The first [`TOLD_MAX`] of them; who has more corrects these first.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let beyond = problems.len().saturating_sub(TOLD_MAX);
        if beyond > 0 {
            problems.truncate(TOLD_MAX);
            let (line, column) = problems.last().map_or((1, 1), |last| (last.line, last.column));
            problems.push(Problem {
                line,
                column,
                path: String::new(),
                says: format!("after this place the file has {beyond} more problems"),
                hint: "correct these first".to_owned(),
            });
        }
        Self { file: "backout.yaml".to_owned(), problems }
    }

    /// The same problems, told about `file`.
    pub fn named(mut self, file: impl Into<String>) -> Self {
        self.file = file.into();
        self
    }
}

impl fmt::Display for PolicyProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{problem}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyProblems {}
