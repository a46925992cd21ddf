//! `rrd sessions export`: all of a session in a file, as far as it is kept.
//!
//! JSON Lines for programs: the session, what limits took of it, then each event with all that it says, and
//! among them its changes of status.
//! Markdown and HTML for people. Events are written as they come, so a session may be as long as it likes. What
//! leaves here has passed the redactor, as everywhere. Not here: what the HTML is like (the daemon's library
//! writes it as it does its page).

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use rrd_proto::{
    Event, EventKind, EventQuery, Gap, LastWords, MAX_MARKS, Outline, OutlineQuery, Session,
    Stretch, Timestamp, json,
};
use serde::Serialize;

use crate::{
    ask::{self, Answerer},
    cli::{ExportArgs, ExportFormat},
    clock,
    error::{CliError, Kind},
    local, output, statuses,
    statuses::Statuses,
    table,
    text::{clean, clean_lines, counted},
};

/// Events of one page; a page also ends after some megabytes.
const PAGE: u32 = 500;

/// A line of the JSON Lines: what it is, beside what is in it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Session(Head<'a>),
    Gap(&'a Gap),
    Event(&'a Event),
    Status(&'a Stretch),
}

/// The session, and what is so of all that follows.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(flatten)]
    session: &'a Session,
    /// Events up to then were copied from the session that this one is a fork of.
    copied_to: Option<Timestamp>,
    /// Its host is not heard: this is what another one kept of it, and when its host said that.
    last_words: Option<&'a LastWords>,
}

pub(crate) fn run(args: &ExportArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let answerer = Answerer::open(&config);
    let session = answerer.find(&args.id, args.raw.granted()?)?;
    let out: Box<dyn Write> = match &args.output {
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
    // Of HTML all of it stands above, on a timeline.
    let is_html = args.format == ExportFormat::Html;
    let outline = outline(&answerer, &session, if is_html { u64::MAX } else { 1 })?;
    let remarks = remarks(&session, &outline);
    remarks.iter().for_each(|remark| output::remark(remark));
    let host = answerer.own_host(&config)?;
    let mut file = Format::begin(args.format, out, &session, &outline, &host, &remarks)
        .map_err(output::stopped)?;
    let first = outline.marks.first().map_or(0, |mark| mark.seq);
    let asked =
        Asked { answerer: &answerer, session: &session, is_whole: outline.last_words.is_none() };
    let mut statuses = Statuses::of(outline.stretches);
    let count = every(&asked, args.raw.raw, first, &mut |event| {
        let before = statuses.before(event.at);
        before.iter().try_for_each(|stretch| file.status(stretch)).map_err(output::stopped)?;
        file.event(event).map_err(output::stopped)
    })?;
    statuses.rest().iter().try_for_each(|stretch| file.status(stretch)).map_err(output::stopped)?;
    file.end().map_err(output::stopped)?;
    if let Some(path) = &args.output {
        let (path, count) = (path.display().to_string(), counted(count, "event"));
        output::remark(&format!("{count} in {}", clean(&path)));
    }
    Ok(())
}

/// A file as it is written, by what it is.
enum Format {
    Jsonl(Box<dyn Write>),
    Md { out: Box<dyn Write>, copied_to: Option<Timestamp> },
    Html(Box<local::Html<Box<dyn Write>>>),
}

impl Format {
    fn begin(
        format: ExportFormat,
        mut out: Box<dyn Write>,
        session: &Session,
        outline: &Outline,
        host: &str,
        remarks: &[String],
    ) -> io::Result<Self> {
        match format {
            ExportFormat::Jsonl => {
                // What others kept of it is not all of it.
                let last_words = outline.last_words.as_ref();
                let complete = session.complete && last_words.is_none();
                let session = &Session { complete, ..session.clone() };
                let head = Head { session, copied_to: outline.copied_to, last_words };
                line(&Line::Session(head), &mut out)?;
                for gap in &outline.gaps {
                    line(&Line::Gap(gap), &mut out)?;
                }
                Ok(Self::Jsonl(out))
            }
            ExportFormat::Md => {
                let copied_to = outline.copied_to;
                head(session, copied_to, remarks, &mut out)?;
                Ok(Self::Md { out, copied_to })
            }
            ExportFormat::Html => {
                let at = clock::now();
                let about = local::About { session, outline, host, at, remarks };
                Ok(Self::Html(Box::new(local::Html::begin(out, &about)?)))
            }
        }
    }

    fn event(&mut self, event: Event) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => line(&Line::Event(&event), out),
            Self::Md { out, copied_to } => told(&event, *copied_to, out),
            Self::Html(file) => file.event(event),
        }
    }

    /// Which status it had from then on; on a timeline that stands already.
    fn status(&mut self, stretch: &Stretch) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => line(&Line::Status(stretch), out),
            Self::Md { out, .. } => {
                let (at, status) = (clock::date_time(stretch.from), stretch.status);
                let words = statuses::words(stretch);
                let words = if words.is_empty() { words } else { format!(" · {words}") };
                writeln!(out, "_{at}: {status}{words}_\n")
            }
            Self::Html(_) => Ok(()),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Jsonl(mut out) | Self::Md { mut out, .. } => out.flush(),
            Self::Html(file) => file.end().map(drop),
        }
    }
}

/// The session from above, with so many marks at least, where there are so many.
fn outline(answerer: &Answerer, session: &Session, marks: u64) -> Result<Outline, CliError> {
    let node = ask::query(session, PAGE, false).node;
    let limit = MAX_MARKS.min(u32::try_from(marks).unwrap_or(MAX_MARKS));
    let after = |after| OutlineQuery { key: session.key(), node, after, limit };
    let mut whole = answerer.outline(&after(None))?;
    let mut more = whole.more;
    while more && (whole.marks.len() as u64) < marks {
        let next = answerer.outline(&after(whole.marks.last().map(|mark| mark.seq)))?;
        // An answer that says that more follows and has nothing would be asked for for ever.
        more = next.more && !next.marks.is_empty();
        whole.marks.extend(next.marks);
    }
    Ok(whole)
}

/// What whoever reads it should know.
fn remarks(session: &Session, outline: &Outline) -> Vec<String> {
    let told_by = outline.last_words.as_ref();
    let told_by = told_by.map(|last_words| ask::told_by(session, last_words, clock::now()));
    told_by.into_iter().chain(ask::dropped(outline)).collect()
}

/// Whose events, and whether its own host told of them when this began.
struct Asked<'a> {
    answerer: &'a Answerer,
    session: &'a Session,
    is_whole: bool,
}

impl Asked<'_> {
    /// What was begun with a host's own word does not go on with its last words: what lies between would be
    /// missing, and nothing would say so.
    fn still_whole(&self, last_words: Option<&LastWords>) -> Result<(), CliError> {
        if !self.is_whole || last_words.is_none() {
            return Ok(());
        }
        let host = clean(&self.session.host);
        let message =
            format!("{host} went away while its session was exported: the file is not whole");
        Err(CliError::new(Kind::NotFound, message)
            .hint("the next export has what others kept of it"))
    }

    fn events(&self, query: &EventQuery) -> Result<Vec<Event>, CliError> {
        let page = self.answerer.events(query)?;
        self.still_whole(page.last_words.as_ref())?;
        Ok(page.events)
    }

    fn outline(&self, query: &OutlineQuery) -> Result<Outline, CliError> {
        let outline = self.answerer.outline(query)?;
        self.still_whole(outline.last_words.as_ref())?;
        Ok(outline)
    }
}

/// Each event with its body from seq `from` on, oldest first; gives how many there are.
fn every(
    asked: &Asked<'_>,
    raw: bool,
    mut from: u64,
    take: &mut dyn FnMut(Event) -> Result<(), CliError>,
) -> Result<u64, CliError> {
    let session = asked.session;
    let query = ask::query(session, PAGE, raw);
    let (mut count, mut taken) = (0, Ok(()));
    asked.answerer.every(session, raw, &mut |event| {
        from = event.seq.saturating_add(1);
        count += 1;
        taken = take(event);
        taken.is_ok()
    });
    taken?;
    loop {
        // The newest before a seq are what lies between, unless they are more than fit.
        let mut until = from.saturating_add(PAGE.into());
        let mut pages = Vec::new();
        loop {
            let page = EventQuery { before: Some(until), bodies: true, ..query.clone() };
            let mut events = asked.events(&page)?;
            events.retain(|event| event.seq >= from);
            let first = events.first().map(|event| event.seq);
            pages.push(events);
            match first {
                Some(first) if first > from => until = first,
                _ => break,
            }
        }
        let is_empty = pages.iter().all(Vec::is_empty);
        for event in pages.into_iter().rev().flatten() {
            take(event)?;
            count += 1;
        }
        if is_empty {
            // A gap, or the end.
            let after = OutlineQuery {
                key: session.key(),
                node: query.node,
                after: Some(from.saturating_add(PAGE.into()).saturating_sub(1)),
                limit: 1,
            };
            match asked.outline(&after)?.marks.first() {
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

fn head(
    session: &Session,
    copied_to: Option<Timestamp>,
    remarks: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
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
    for remark in remarks {
        writeln!(out, "\n_{}._", clean(remark))?;
    }
    if let Some(copied_to) = copied_to.map(clock::date_time) {
        let of = "was copied from the session that this one is a fork of";
        writeln!(out, "\n_What happened up to {copied_to} {of}._")?;
    }
    writeln!(out)
}

/// One event: what was said as text, what tools were given and gave in fences.
fn told(event: &Event, copied_to: Option<Timestamp>, out: &mut dyn Write) -> io::Result<()> {
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
    let copied = matches!((event.at, copied_to), (Some(at), Some(to)) if at <= to);
    let copied = if copied { " (copied)" } else { "" };
    writeln!(out, "## {}{taken_back}{copied}\n\n_{at}_\n", heading.trim())?;
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
