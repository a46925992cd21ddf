//! `rrd sessions tail ID [-f]`: the events of a session, one line each, as they happen.
//!
//! Following outlives the daemon it began with: when that restarts, this waits for it and goes on
//! behind the last event printed. Without a daemon it looks again each second.

use std::{
    thread,
    time::{Duration, Instant},
};

use rrd_proto::{Event, EventPage, EventQuery, OutlineQuery};

use crate::{
    ask::{self, Answerer},
    cli::TailArgs,
    clock, connect,
    connect::Connection,
    error::CliError,
    local::{self, Config},
    output,
    text::clean,
    timeline,
};

const WAIT_MS: u32 = 20_000;
const AGAIN: Duration = Duration::from_secs(1);
const PAGE: u32 = 1_000;

pub(crate) fn run(args: &TailArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let mut answerer = Answerer::open(&config);
    let raw = args.raw.granted()?;
    let session = answerer.find(&args.id, raw)?;
    let mut query = ask::query(&session, args.limit, raw);
    let mut page = answerer.events(&query)?;
    if let Some(last_words) = &page.last_words {
        output::remark(&ask::told_by(&session, last_words, clock::now()));
    }
    if page.events.is_empty() {
        let whole = OutlineQuery { key: session.key(), node: query.node, after: None, limit: 1 };
        let dropped = answerer.outline(&whole).ok().and_then(|outline| ask::dropped(&outline));
        dropped.iter().for_each(|dropped| output::remark(dropped));
    }
    print(&page.events, args.json)?;
    if !args.follow {
        return Ok(());
    }
    query.limit = PAGE;
    loop {
        // An empty session has no last event yet: its newest ones are its first.
        query.after = page.events.last().map(|event| event.seq).or(query.after);
        page = more(&mut answerer, &config, &mut query)?;
        print(&page.events, args.json)?;
    }
}

/// The events after `query.after`; waits for some, though it may return with none.
fn more(
    answerer: &mut Answerer,
    config: &Config,
    query: &mut EventQuery,
) -> Result<EventPage, CliError> {
    match answerer {
        Answerer::Daemon(connection) => {
            query.wait_ms = WAIT_MS;
            match connection.events(query) {
                Ok(Ok(page)) => Ok(page),
                Ok(Err(refusal)) => {
                    output::remark(&format!("{}: waiting for it", clean(&refusal.message)));
                    let page = until_told(connection, query)?;
                    output::remark("it answers again");
                    Ok(page)
                }
                Err(error) => {
                    output::remark(&format!("{}: waiting for the daemon", error.message()));
                    *connection = dial_until_answered(config);
                    output::remark("the daemon is back");
                    Ok(EventPage::default())
                }
            }
        }
        Answerer::Scan(scan) => {
            query.wait_ms = 0;
            let begun = Instant::now();
            **scan = ask::look(config);
            let page = scan.events(query);
            if page.events.is_empty() {
                // A machine with much to look at is not kept busy with looking.
                thread::sleep(AGAIN.max(begun.elapsed() * 2));
            }
            Ok(page)
        }
    }
}

/// Asks again and again, until the other host answers.
fn until_told(connection: &Connection, query: &EventQuery) -> Result<EventPage, CliError> {
    loop {
        thread::sleep(AGAIN);
        if let Ok(page) = connection.events(query)? {
            return Ok(page);
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

fn print(events: &[Event], json: bool) -> Result<(), CliError> {
    if json {
        return events.iter().try_for_each(output::json_line);
    }
    let (now, columns) = (clock::now(), output::columns());
    let lines: Vec<_> = events.iter().map(|event| timeline::line(event, now, columns)).collect();
    output::print_lines(&lines)
}
