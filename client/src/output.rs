//! The only place that writes to stdout and stderr, outside `--watch`'s own screen.
//!
//! Answers go to stdout, remarks to stderr. Colours are decided once, from `--color`, `NO_COLOR`,
//! `CLICOLOR_FORCE` and whether anyone looks. A reader that has seen enough (`| head`) is not an
//! error. Not here: what is said.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::{
    cli::Color,
    error::{CliError, Kind, Part},
    text,
};

/// Settles colours for everything printed from here on.
pub(crate) fn set_color(color: Color) {
    match color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Whether stdout keeps colours; for what is not printed through [`print()`].
pub(crate) fn has_color() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// Whether a person looks at stdout.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// How wide lines may be: `COLUMNS`, else the terminal's width, else as wide as they are.
pub(crate) fn columns() -> Option<usize> {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    set.filter(|columns| *columns > 0).or_else(|| {
        let (columns, _) = is_terminal().then(crossterm::terminal::size)?.ok()?;
        (columns > 0).then_some(usize::from(columns))
    })
}

/// Writes an answer, as it is.
pub(crate) fn print(answer: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    out.write_all(answer.as_bytes()).and_then(|()| out.flush()).map_err(stopped)
}

/// Writes an answer of several lines.
pub(crate) fn print_lines<S: AsRef<str>>(lines: &[S]) -> Result<(), CliError> {
    let mut answer = String::new();
    for line in lines {
        answer.push_str(line.as_ref().trim_end());
        answer.push('\n');
    }
    print(&answer)
}

/// Writes one JSON document, indented.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), CliError> {
    let document = serde_json::to_string_pretty(value).map_err(unwritable)?;
    write_json(document)
}

/// Writes one JSON value on one line.
pub(crate) fn json_line<T: Serialize + ?Sized>(value: &T) -> Result<(), CliError> {
    let document = serde_json::to_string(value).map_err(unwritable)?;
    write_json(document)
}

fn write_json(mut document: String) -> Result<(), CliError> {
    document = escape_unsafe(document);
    document.push('\n');
    // Not through anstream: in JSON there is nothing to strip, and nothing may be changed.
    let mut out = io::stdout().lock();
    out.write_all(document.as_bytes()).and_then(|()| out.flush()).map_err(stopped)
}

/// JSON need not escape DEL, C1 controls and bidirectional marks; a terminal acts on them. They can
/// only stand inside strings, so escaping them changes no value.
fn escape_unsafe(document: String) -> String {
    let is_plain = |text: &str| text.is_ascii() && !text.contains('\u{7f}');
    if is_plain(&document) {
        return document;
    }
    let mut escaped = String::with_capacity(document.len() + document.len() / 16);
    // Most lines of a document are plain even when it is not.
    for line in document.split_inclusive('\n') {
        if is_plain(line) {
            escaped.push_str(line);
            continue;
        }
        for c in line.chars() {
            if c != '\n' && text::is_unsafe(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                escaped.push(c);
            }
        }
    }
    escaped
}

/// A remark for the person; lost rather than fatal when stderr is gone.
pub(crate) fn remark(line: &str) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{line}");
}

/// Asks a person yes or no; `None` when there is nobody to ask. No answer is a no.
pub(crate) fn ask(question: &str) -> Option<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// An error, as its own last word.
pub(crate) fn error(error: &CliError) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let bold = Style::new().bold();
    for (part, line) in error.lines() {
        // Ids and paths in it may come from a transcript; spaces stay, they point at a mistake.
        let line: String = line.chars().filter(|c| !text::is_unsafe(*c)).collect();
        match part {
            Part::Message => remark(&format!("{red}error:{red:#} {line}")),
            Part::Fact => remark(&format!("  {line}")),
            Part::Hint => remark(&format!("{bold}hint:{bold:#} {line}")),
        }
    }
}

fn unwritable(error: serde_json::Error) -> CliError {
    CliError::new(Kind::Internal, format!("cannot write JSON: {error}"))
}

/// A write to stdout that failed; quiet when whoever reads has seen enough.
pub(crate) fn stopped(error: io::Error) -> CliError {
    let kind = match error.kind() {
        io::ErrorKind::BrokenPipe => Kind::Done,
        _ => Kind::Internal,
    };
    CliError::new(kind, format!("cannot write to stdout: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_hostile_text_escaped_and_equal() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{200b}\u{e0041}é日\n";
        let document = escape_unsafe(serde_json::to_string_pretty(&[hostile]).unwrap());
        assert!(!document.chars().any(|c| c != '\n' && text::is_unsafe(c)), "{document}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&document).unwrap(), [hostile]);
        assert!(document.contains("é日"));
    }
}
