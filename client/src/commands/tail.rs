//! `rrd sessions tail ID [-f]`: the events of a session, and changes of its status, one line each, as they
//! happen.
//!
//! Following outlives the daemon it began with: when that restarts, this waits for it and goes on
//! behind the last event printed. Without a daemon it looks again each second.

use std::{
    thread,
    time::{Duration, Instant},
};

use rrd_proto::{
    EventPage, EventQuery, LastWords, Outline, OutlineQuery, Session, Stretch, Timestamp,
};
use serde::Serialize;

use crate::{
    ask::{self, Answerer},
    cli::TailArgs,
    clock, connect,
    connect::Connection,
    error::CliError,
    local::{self, Config},
    output,
    statuses::Statuses,
    text::clean,
    timeline,
};

/// How long one look for events lasts: after it there may be another status.
const WAIT_MS: u32 = 1_500;
/// The same on another host.
const LONG_WAIT_MS: u32 = 10_000;
const AGAIN: Duration = Duration::from_secs(1);
const PAGE: u32 = 1_000;

/// In JSON what is no event: only that has a type.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Beside<'a> {
    /// From then on it had this status.
    Status(&'a Stretch),
    /// The host of these events is not heard: what follows is what another one kept of them.
    LastWords(&'a LastWords),
}

pub(crate) fn run(args: &TailArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let mut answerer = Answerer::open(&config);
    let raw = args.raw.granted()?;
    let session = answerer.find(&args.id, raw)?;
    let mut query = ask::query(&session, args.limit, raw);
    let mut page = answerer.events(&query)?;
    let outline = outline(&answerer, &query);
    if page.events.is_empty() {
        ask::dropped(&outline).iter().for_each(|dropped| output::remark(dropped));
    }
    let first = page.events.first().and_then(|first| first.at);
    let statuses = Statuses::of(outline.stretches).since(first);
    let (copied_to, json) = (outline.copied_to, args.json);
    let mut told = Told { session: &session, copied_to, json, statuses, last_words: None };
    told.print(&page)?;
    if !args.follow {
        return Ok(());
    }
    query.limit = PAGE;
    loop {
        // An empty session has no last event yet: its newest ones are its first.
        query.after = page.events.last().map(|event| event.seq).or(query.after);
        (answerer, page) = more(answerer, &config, &mut query);
        told.statuses.take(self::outline(&answerer, &query).stretches);
        told.print(&page)?;
    }
}

/// What is known of all events together. Whoever cannot say leaves it open: the events are told all the same.
fn outline(answerer: &Answerer, query: &EventQuery) -> Outline {
    let (key, node) = (query.key.clone(), query.node);
    answerer.outline(&OutlineQuery { key, node, after: None, limit: 1 }).unwrap_or_default()
}

/// The events after `query.after`, and who told them; waits for some, though it may return with none.
fn more(answerer: Answerer, config: &Config, query: &mut EventQuery) -> (Answerer, EventPage) {
    match answerer {
        Answerer::Daemon(connection) => {
            query.wait_ms = if query.node.is_some() { LONG_WAIT_MS } else { WAIT_MS };
            let (connection, page) = match connection.events(query) {
                Ok(Ok(page)) => (connection, page),
                Ok(Err(refusal)) => {
                    // Who is refused keeps no place that somebody else may need.
                    drop(connection);
                    output::remark(&format!("{}: waiting for it", clean(&refusal.message)));
                    let told = until_told(config, query);
                    output::remark("it answers again");
                    told
                }
                Err(error) => {
                    output::remark(&format!("{}: waiting for the daemon", error.message()));
                    let connection = dial_until_answered(config);
                    output::remark("the daemon is back");
                    (connection, EventPage::default())
                }
            };
            (Answerer::Daemon(connection), page)
        }
        Answerer::Scan(_) => {
            query.wait_ms = 0;
            let begun = Instant::now();
            let scan = ask::look(config);
            let page = scan.events(query);
            if page.events.is_empty() {
                // A machine with much to look at is not kept busy with looking.
                thread::sleep(AGAIN.max(begun.elapsed() * 2));
            }
            (Answerer::Scan(Box::new(scan)), page)
        }
    }
}

/// Asks again and again, until whoever has the events answers.
fn until_told(config: &Config, query: &EventQuery) -> (Connection, EventPage) {
    loop {
        thread::sleep(AGAIN);
        let connection = dial_until_answered(config);
        if let Ok(Ok(page)) = connection.events(query) {
            return (connection, page);
        }
    }
}

fn dial_until_answered(config: &Config) -> Connection {
    loop {
        thread::sleep(AGAIN / 4);
        if let Ok(connection) = connect::dial(&config.dirs.socket) {
            return connection;
        }
    }
}

/// What is printed, and how.
struct Told<'a> {
    session: &'a Session,
    copied_to: Option<Timestamp>,
    json: bool,
    statuses: Statuses,
    /// Whose words these were at last, where they were not their host's own.
    last_words: Option<LastWords>,
}

impl Told<'_> {
    fn print(&mut self, page: &EventPage) -> Result<(), CliError> {
        let (now, columns) = (clock::now(), output::columns());
        if let Some(last_words) = &page.last_words
            && self.last_words.is_none()
        {
            output::remark(&ask::told_by(self.session, last_words, now));
            if self.json {
                output::json_line(&Beside::LastWords(last_words))?;
            }
        }
        self.last_words.clone_from(&page.last_words);
        let mut lines = Vec::new();
        for event in &page.events {
            let before = self.statuses.before(event.at);
            if self.json {
                before
                    .iter()
                    .try_for_each(|stretch| output::json_line(&Beside::Status(stretch)))?;
                output::json_line(event)?;
            } else {
                lines.extend(before.iter().map(|stretch| timeline::status(stretch, now, columns)));
                lines.push(timeline::line(event, self.copied_to, now, columns));
            }
        }
        let rest = self.statuses.rest();
        if self.json {
            return rest.iter().try_for_each(|rest| output::json_line(&Beside::Status(rest)));
        }
        lines.extend(rest.iter().map(|stretch| timeline::status(stretch, now, columns)));
        output::print_lines(&lines)
    }
}
