//! `rrd sessions export`: all of a session in a file, as far as it is kept.
//!
//! JSON Lines for programs: the session, then each event with all that it says. Markdown for people. What
//! leaves here has passed the redactor, as everywhere. Not here: how events are read page by page.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use rrd_proto::{Event, EventKind, EventQuery, OutlineQuery, Session, json};
use serde::Serialize;

use crate::{
    ask::{self, Answerer},
    cli::{ExportArgs, ExportFormat},
    clock,
    error::{CliError, Kind},
    local, output, table,
    text::{clean, clean_lines, counted},
};

/// Events of one page; a page also ends after some megabytes.
const PAGE: u32 = 500;

/// A line of the JSON Lines: what it is, beside what is in it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Session(&'a Session),
    Event(&'a Event),
}

pub(crate) fn run(args: &ExportArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let answerer = Answerer::open(&config);
    let session = answerer.find(&args.id, args.raw.granted()?)?;
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => {
            // What is there was not made by this.
            let file =
                File::options().write(true).create_new(true).open(path).map_err(|error| {
                    let what = format!("cannot make {}: {error}", path.display());
                    CliError::new(Kind::Usage, what)
                        .hint("choose another name, or remove that file")
                })?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let stopped = |error| output::stopped(error);
    match args.format {
        ExportFormat::Jsonl => line(&Line::Session(&session), &mut out).map_err(stopped)?,
        ExportFormat::Md => head(&session, &mut out).map_err(stopped)?,
    }
    let count = every(&answerer, &session, args.raw.raw, &mut |event| {
        match args.format {
            ExportFormat::Jsonl => line(&Line::Event(event), &mut out),
            ExportFormat::Md => told(event, &mut out),
        }
        .map_err(stopped)
    })?;
    out.flush().map_err(stopped)?;
    if let Some(path) = &args.output {
        let (path, count) = (path.display().to_string(), counted(count, "event"));
        output::remark(&format!("{count} in {}", clean(&path)));
    }
    Ok(())
}

/// Each event with its body, oldest first; gives how many there are.
fn every(
    answerer: &Answerer,
    session: &Session,
    raw: bool,
    take: &mut dyn FnMut(&Event) -> Result<(), CliError>,
) -> Result<u64, CliError> {
    let query = ask::query(session, PAGE, raw);
    let outline = OutlineQuery { key: session.key(), node: query.node, after: None, limit: 1 };
    let outline = answerer.outline(&outline)?;
    if let Some(last_words) = &outline.last_words {
        output::remark(&ask::told_by(session, last_words, clock::now()));
    }
    if outline.dropped > 0 {
        let what = counted(outline.dropped, "event");
        output::remark(&format!("{what} are no longer kept whole: a limit took what they said"));
    }
    let (mut from, mut count) = (outline.marks.first().map_or(0, |mark| mark.seq), 0);
    loop {
        // The newest before a seq are what lies between, unless they are more than fit.
        let mut until = from.saturating_add(PAGE.into());
        let mut pages = Vec::new();
        loop {
            let page = EventQuery { before: Some(until), bodies: true, ..query.clone() };
            let mut events = answerer.events(&page)?.events;
            events.retain(|event| event.seq >= from);
            let first = events.first().map(|event| event.seq);
            pages.push(events);
            match first {
                Some(first) if first > from => until = first,
                _ => break,
            }
        }
        for event in pages.iter().rev().flatten() {
            take(event)?;
            count += 1;
        }
        if pages.iter().all(Vec::is_empty) {
            // A gap, or the end.
            let after = OutlineQuery {
                key: session.key(),
                node: query.node,
                after: Some(from.saturating_add(PAGE.into()).saturating_sub(1)),
                limit: 1,
            };
            match answerer.outline(&after)?.marks.first() {
                Some(mark) => from = mark.seq,
                None => return Ok(count),
            }
        } else {
            from = from.saturating_add(PAGE.into());
        }
    }
}

fn line(line: &Line<'_>, out: &mut dyn Write) -> io::Result<()> {
    let text = json::line(line).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}

fn head(session: &Session, out: &mut dyn Write) -> io::Result<()> {
    let title = table::title(session);
    writeln!(out, "# {}\n", clean(&title))?;
    let place = session.cwd.as_deref().unwrap_or("?");
    let facts = [
        ("session", session.session_id.clone()),
        ("agent", session.harness.to_string()),
        ("where", format!("{}:{place}", session.host)),
        ("branch", session.branch.clone().unwrap_or_default()),
        ("model", session.model.clone().unwrap_or_default()),
        ("started", session.started_at.map(clock::date_time).unwrap_or_default()),
        ("status", session.status.to_string()),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "- {name}: {}", clean(value))?;
    }
    writeln!(out)
}

/// One event: what was said as text, what tools were given and gave in fences.
fn told(event: &Event, out: &mut dyn Write) -> io::Result<()> {
    let at = event.at.map(clock::date_time).unwrap_or_default();
    let whole = event.body.as_ref().map_or(event.text.as_str(), |body| body.text.as_str());
    let tool = event.tool.as_deref().map(clean).unwrap_or_default();
    let heading = match event.kind {
        EventKind::Prompt => "Prompt".to_owned(),
        EventKind::Message => "Message".to_owned(),
        EventKind::ToolCall => format!("{tool}: {}", clean(&event.text)),
        EventKind::ToolResult if event.is_error => format!("{tool} failed"),
        EventKind::ToolResult => format!("{tool} result"),
        kind => kind.as_str().replace('_', " "),
    };
    let taken_back = if event.withdrawn { " (taken back)" } else { "" };
    writeln!(out, "## {}{taken_back}\n\n_{at}_\n", heading.trim())?;
    let text = clean_lines(whole).collect::<Vec<_>>().join("\n");
    match event.kind {
        _ if text.is_empty() => {}
        EventKind::Prompt => {
            let quoted: Vec<String> = text.lines().map(|line| format!("> {line}")).collect();
            writeln!(out, "{}\n", quoted.join("\n"))?;
        }
        EventKind::ToolCall | EventKind::ToolResult | EventKind::Error => {
            let fence = fence(&text);
            let kind = if event.kind == EventKind::ToolCall { "json" } else { "" };
            writeln!(out, "{fence}{kind}\n{text}\n{fence}\n")?;
        }
        _ => writeln!(out, "{text}\n")?,
    }
    let cut = event.body.as_ref().filter(|body| body.cut.is_some());
    if let Some(body) = cut {
        let left = body.size.saturating_sub(body.text.len() as u64);
        writeln!(out, "_{left} bytes in its middle are not kept._\n")?;
    } else if event.body.is_none() && event.truncated {
        writeln!(out, "_The rest is no longer kept._\n")?;
    }
    Ok(())
}

/// A fence that nothing in `text` ends.
fn fence(text: &str) -> String {
    let longest = text.lines().map(|line| line.chars().take_while(|c| *c == '`').count()).max();
    "`".repeat(longest.unwrap_or(0).max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_fence() {
        for (text, fence_of) in [("x", "```"), ("```\nx\n```", "````"), ("``````", "```````")] {
            assert_eq!(fence(text), fence_of);
        }
    }
}
