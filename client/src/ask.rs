//! Who answers: the daemon on this host or, without one, this process after one look of its own.
//!
//! Commands ask here and need not know which it is; the person is told, on stderr. Not here: how a
//! daemon is reached ([`crate::connect`]) and how transcripts are read ([`crate::local`]).

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use rrd_proto::{
    Event, EventPage, EventQuery, HostState, IndexProgress, LastWords, ListQuery, ListReply,
    Lookup, LookupQuery, Outline, OutlineQuery, SearchQuery, SearchReply, Session, Timestamp,
};

use crate::{
    connect::{self, Connection, Unreachable},
    error::{CliError, Kind},
    local::{self, Config, Scan},
    output, table, text,
};

/// Whoever answers this command's questions.
pub(crate) enum Answerer {
    Daemon(Connection),
    Scan(Box<Scan>),
}

impl Answerer {
    /// The daemon if it can be reached; else looks, and says on stderr why.
    pub(crate) fn open(config: &Config) -> Self {
        match connect::dial(&config.dirs.socket) {
            Ok(connection) => Self::Daemon(connection),
            Err(why) => {
                let scan = Self::Scan(Box::new(look(config)));
                output::remark(&alone(&why));
                scan
            }
        }
    }

    /// The same without a word, for who has been told already.
    pub(crate) fn open_quietly(config: &Config) -> Self {
        match connect::dial(&config.dirs.socket) {
            Ok(connection) => Self::Daemon(connection),
            Err(_) => Self::Scan(Box::new(local::scan(config, &mut |_| {}))),
        }
    }

    pub(crate) fn list(&self, query: &ListQuery) -> Result<ListReply, CliError> {
        match self {
            Self::Daemon(connection) => connection.list(query),
            Self::Scan(scan) => Ok(scan.list(query)),
        }
    }

    pub(crate) fn events(&self, query: &EventQuery) -> Result<EventPage, CliError> {
        match self {
            Self::Daemon(connection) => connection.events(query)?.map_err(CliError::from),
            Self::Scan(scan) => Ok(scan.events(query)),
        }
    }

    /// Events of a session of this host in one go, where no daemon is asked and its transcript is there.
    pub(crate) fn every(&self, session: &Session, raw: bool, take: &mut dyn FnMut(Event) -> bool) {
        if let Self::Scan(scan) = self {
            scan.every(&session.key(), raw, take);
        }
    }

    pub(crate) fn outline(&self, query: &OutlineQuery) -> Result<Outline, CliError> {
        match self {
            Self::Daemon(connection) => connection.outline(query)?.map_err(CliError::from),
            Self::Scan(scan) => Ok(scan.outline(query)),
        }
    }

    /// What sessions said; `None` where nobody has made an index of it.
    pub(crate) fn search(&self, query: &SearchQuery) -> Result<Option<SearchReply>, CliError> {
        match self {
            Self::Daemon(connection) => connection.search(query).map(Some),
            Self::Scan(scan) => Ok(scan.search(query)),
        }
    }

    /// The one session that `id` means.
    pub(crate) fn find(&self, id: &str, raw: bool) -> Result<Session, CliError> {
        let id = id.trim();
        let query = LookupQuery { id: id.to_owned(), raw };
        let lookup = match self {
            Self::Daemon(connection) => connection.show(&query)?,
            Self::Scan(scan) => scan.show(&query),
        };
        match lookup {
            Lookup::Found(session) => Ok(*session),
            Lookup::Ambiguous(candidates) => Err(ambiguous(id, &candidates)),
            Lookup::NotFound => Err(CliError::new(
                Kind::NotFound,
                format!("no session matches {:?}", text::clean(id)),
            )
            .hint("rrd sessions list --all shows every id")),
        }
    }
}

/// Asks for events of a session, the newest `limit` first of all.
pub(crate) fn query(session: &Session, limit: u32, raw: bool) -> EventQuery {
    let elsewhere = session.host_state != HostState::Here;
    let node = session.node_id.as_ref().filter(|_| elsewhere).and_then(|node| node.parse().ok());
    if raw && elsewhere {
        output::remark("--raw: another host tells its texts only redacted");
    }
    EventQuery {
        key: session.key(),
        node,
        after: None,
        before: None,
        limit,
        wait_ms: 0,
        bodies: false,
        raw,
    }
}

/// That events are not told by their own host, which is away.
pub(crate) fn told_by(session: &Session, last_words: &LastWords, now: Timestamp) -> String {
    let ago = rrd_proto::age(now, last_words.at);
    format!(
        "{} is away: these are its last words, said {ago} ago and kept by {}",
        text::clean(&session.host),
        text::clean(&last_words.by)
    )
}

/// That a limit took what events said, where one did.
pub(crate) fn dropped(outline: &Outline) -> Option<String> {
    let what = text::counted(outline.dropped, "event");
    let limits = match outline.limits() {
        limits if limits.is_empty() => "a limit".to_owned(),
        limits => format!("the limit {limits}"),
    };
    let (are, they) = if outline.dropped == 1 { ("is", "it") } else { ("are", "they") };
    let said = format!("{what} {are} no longer kept whole: {limits} took what {they} said");
    (outline.dropped > 0).then_some(said)
}

/// Looks at this host's transcripts, with a bar for whoever waits longer than a second.
pub(crate) fn look(config: &Config) -> Scan {
    let mut bar = Bar { begun: Instant::now(), shown: None };
    let scan = local::scan(config, &mut |progress| bar.update(progress));
    if let Some(bar) = bar.shown {
        bar.finish_and_clear();
    }
    scan
}

/// That nobody but this process answers, and what would change it.
pub(crate) fn alone(why: &Unreachable) -> String {
    format!("{why}: looked once by itself ({})", why.remedy())
}

fn ambiguous(id: &str, candidates: &[Session]) -> CliError {
    let id = text::clean(id);
    let typed = id.chars().count();
    let mut ids: Vec<String> = table::short_ids(candidates, 4.max(typed + 1)..=usize::MAX);
    // The same id on two hosts or in two harnesses: only the whole name tells them apart.
    if (1..ids.len()).any(|at| ids[..at].contains(&ids[at])) {
        ids = candidates
            .iter()
            .map(|s| format!("{}/{}/{}", s.host, s.harness, s.session_id))
            .collect();
    } else {
        for (id, session) in ids.iter_mut().zip(candidates) {
            *id = format!("{id} ({})", session.host);
        }
    }
    // A reply never names more than twenty.
    let many = if ids.len() >= 20 { "at least " } else { "" };
    CliError::new(Kind::NotFound, format!("no session matches {id:?}"))
        .fact(format!("{many}{} start with it: {}", ids.len(), text::clean(&ids.join(", "))))
        .hint("type one more letter, or host/harness/id")
}

struct Bar {
    begun: Instant,
    shown: Option<ProgressBar>,
}

impl Bar {
    fn update(&mut self, progress: IndexProgress) {
        if self.shown.is_none() {
            if self.begun.elapsed() < Duration::from_secs(1) || !std::io::stderr().is_terminal() {
                return;
            }
            let style = ProgressStyle::with_template(
                "reading transcripts {wide_bar} {bytes} of {total_bytes}, {eta} left",
            );
            let bar = ProgressBar::new(progress.total);
            self.shown = Some(match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            });
        }
        if let Some(bar) = &self.shown {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::session;

    #[test]
    fn several_candidates_are_named_by_what_to_type_next() {
        let mut candidates = vec![session("b41f-1"), session("b4e0-2"), session("b4ff-3")];
        candidates[1].host = "server".to_owned();
        let error = ambiguous("b4", &candidates);
        let lines: Vec<_> = error.lines().into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            lines,
            [
                "no session matches \"b4\"",
                "3 start with it: b41f (mac), b4e0 (server), b4ff (mac)",
                "type one more letter, or host/harness/id",
            ]
        );
    }

    #[test]
    fn the_same_id_on_two_hosts_needs_the_whole_name() {
        let mut candidates = vec![session("b41f"), session("b41f")];
        candidates[1].host = "server".to_owned();
        let error = ambiguous("b41f", &candidates);
        assert!(error.lines()[1].1.contains("mac/claude-code/b41f, server/claude-code/b41f"));
    }
}
