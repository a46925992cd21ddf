//! What went wrong, in the words a person reads: what, the facts that matter, what to do.
//!
//! The kind decides the exit code (BSD's sysexits where one fits). Not here: printing, which is
//! [`crate::output`]'s, and the errors of other crates, which are put into words where they occur.

use std::process::ExitCode;

use rrd_proto::{Refusal, wait::NoWait};

use crate::local::resume::No;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing matches, or a check failed.
    NotFound,
    /// The command line asks for something that cannot be.
    Usage,
    /// No daemon answers.
    NoDaemon,
    /// What was waited for cannot come true any more.
    Over,
    /// It did not come in time.
    Late,
    /// The host that would tell is away.
    Away,
    /// rrd itself, or the machine beneath it.
    Internal,
    /// A setting is wrong.
    Config,
    /// Nothing is left to say: help was printed, or whoever read our output has seen enough.
    Done,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotFound => 1,
            Self::Over => 2,
            Self::Late => 3,
            Self::Away => 4,
            Self::Usage => 64,
            Self::NoDaemon => 69,
            Self::Internal => 70,
            Self::Config => 78,
        }
    }
}

/// An error as it is printed.
#[derive(Debug, Clone)]
pub(crate) struct CliError {
    kind: Kind,
    message: String,
    facts: Vec<String>,
    hint: Option<String>,
}

impl CliError {
    /// `message` is lower case, one sentence, without a full stop.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), facts: Vec::new(), hint: None }
    }

    /// Adds a line beneath the message.
    #[must_use]
    pub(crate) fn fact(mut self, fact: impl Into<String>) -> Self {
        self.facts.push(fact.into());
        self
    }

    /// Says what to do; names only commands that exist.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Another hint in place of the one that there is.
    #[must_use]
    pub(crate) fn map_hint(self, to: impl FnOnce(String) -> String) -> Self {
        Self { hint: self.hint.map(to), ..self }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.code())
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Message, facts and hint as lines; empty when there is nothing to say.
    pub(crate) fn lines(&self) -> Vec<(Part, &str)> {
        if self.kind == Kind::Done || self.message.is_empty() {
            return Vec::new();
        }
        // A message may carry another crate's several lines: a TOML error shows the place.
        let mut message = self.message.lines();
        let mut lines = vec![(Part::Message, message.next().unwrap_or_default())];
        lines.extend(message.map(|line| (Part::Fact, line)));
        lines.extend(self.facts.iter().map(|fact| (Part::Fact, fact.as_str())));
        lines.extend(self.hint.iter().map(|hint| (Part::Hint, hint.as_str())));
        lines
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        let error = Self::new(Kind::NotFound, refusal.message);
        let error = refusal.facts.into_iter().fold(error, Self::fact);
        match refusal.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<NoWait> for CliError {
    fn from(no: NoWait) -> Self {
        no.why.into()
    }
}

impl From<No> for CliError {
    fn from(no: No) -> Self {
        Self::new(Kind::NotFound, no.why).hint(no.next)
    }
}

/// The part of an error that a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Message,
    Fact,
    Hint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_of_a_cause_become_facts() {
        let error =
            CliError::new(Kind::Config, "config.toml: wrong\n1 | x\n").fact("why").hint("do");
        let lines = error.lines();
        assert_eq!(lines[0], (Part::Message, "config.toml: wrong"));
        assert_eq!(lines[1], (Part::Fact, "1 | x"));
        assert_eq!(lines[2..], [(Part::Fact, "why"), (Part::Hint, "do")]);
    }

    #[test]
    fn when_all_is_said_nothing_is_added() {
        assert!(CliError::new(Kind::Done, "broken pipe").lines().is_empty());
    }
}
