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
    Lookup, LookupQuery, Outline, OutlineQuery, SearchQuery, SearchReply, Session, SessionKey,
    Timestamp,
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

    /// Live sessions, those at least that run in one of these processes of this host.
    pub(crate) fn running(&self, pids: &[u32]) -> Result<Vec<Session>, CliError> {
        match self {
            Self::Daemon(connection) => connection.running(pids),
            Self::Scan(scan) => {
                Ok(scan.list(&ListQuery { open: true, ..ListQuery::default() }).sessions)
            }
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

    /// That no host is called what one was asked for.
    pub(crate) fn unknown_host(&self, config: &Config, wanted: Option<&str>) -> Option<String> {
        /// Names that are read at a glance.
        const FEW: usize = 8;
        let wanted = wanted?;
        let none = format!("no host is called {:?}", text::clean(wanted));
        let Self::Daemon(connection) = self else {
            let alone =
                format!("{none}: without a daemon there is only {}", text::clean(&config.host));
            return (config.host != wanted).then_some(alone);
        };
        let hosts = connection.hosts().ok()?;
        let names: Vec<&str> = hosts.iter().map(|host| host.host.as_str()).collect();
        let said = match names.len() {
            1..=FEW => format!("{none}: there is {}", text::clean(&names.join(", "))),
            _ => format!("{none}: rrd hosts tells who there is"),
        };
        (!names.contains(&wanted)).then_some(said)
    }

    /// What this host is called by who answers: with other variables and flags its daemon may call it otherwise than
    /// this process.
    pub(crate) fn own_host(&self, config: &Config) -> Result<String, CliError> {
        let Self::Daemon(connection) = self else { return Ok(config.host.clone()) };
        let own = connection.hosts()?.into_iter().find(|host| host.state == HostState::Here);
        Ok(own.map_or_else(|| config.host.clone(), |host| host.host))
    }

    /// The session of this host that is called so, as far as it is known.
    pub(crate) fn own(
        &self,
        config: &Config,
        key: &SessionKey,
    ) -> Result<Option<Session>, CliError> {
        let id = format!("{}/{key}", self.own_host(config)?);
        let found = match self.lookup(&LookupQuery { id, raw: false })? {
            Lookup::Found(row) => vec![*row],
            // Another host may be called the same.
            Lookup::Ambiguous(rows) => rows,
            Lookup::NotFound => Vec::new(),
        };
        let is_own = |row: &Session| row.host_state == HostState::Here && row.key() == *key;
        Ok(found.into_iter().find(is_own))
    }

    /// What a person typed may mean.
    pub(crate) fn lookup(&self, query: &LookupQuery) -> Result<Lookup, CliError> {
        match self {
            Self::Daemon(connection) => connection.show(query),
            Self::Scan(scan) => Ok(scan.show(query)),
        }
    }

    /// The one session that `id` means.
    pub(crate) fn find(&self, id: &str, raw: bool) -> Result<Session, CliError> {
        let id = id.trim();
        match self.lookup(&LookupQuery { id: id.to_owned(), raw })? {
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

/// That events are not told by their own host, which is away, or is not counted so yet and cannot be reached.
pub(crate) fn told_by(session: &Session, last_words: &LastWords, now: Timestamp) -> String {
    let ago = rrd_proto::age(now, last_words.at);
    let how = if session.host_state == HostState::Away { "is away" } else { "does not answer" };
    format!(
        "{} {how}: these are its last words, said {ago} ago and kept by {}",
        text::clean(&session.host),
        text::clean(&last_words.by)
    )
}

/// That a limit took what events said, or the events themselves, where one did. The outline begins with its
/// first marks.
pub(crate) fn dropped(outline: &Outline) -> Option<String> {
    let what = text::counted(outline.dropped, "event");
    let limits = match outline.limits() {
        limits if limits.is_empty() => "a limit".to_owned(),
        limits => format!("the limit {limits}"),
    };
    let (are, they, them) =
        if outline.dropped == 1 { ("is", "it", "it") } else { ("are", "they", "them") };
    let first = outline.marks.first().map_or(u64::MAX, |mark| mark.seq);
    let said = if outline.gaps.iter().all(|gap| gap.last < first) {
        format!("{what} {are} no longer kept: {limits} took {them}")
    } else {
        format!("{what} {are} no longer kept whole: {limits} took what {they} said")
    };
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
    let mut hint = "type one more letter, or host/harness/id";
    if rrd_proto::is_one_id(candidates) {
        hint = "type the five letters before it, or host/harness/session_id";
        let whole =
            |s: &Session| format!("{} ({}/{}/{})", s.reference, s.host, s.harness, s.session_id);
        ids = candidates.iter().map(whole).collect();
    } else {
        for (id, session) in ids.iter_mut().zip(candidates) {
            *id = format!("{id} ({})", session.host);
        }
    }
    // A reply never names more than twenty.
    let many = if ids.len() >= 20 { "at least " } else { "" };
    CliError::new(Kind::NotFound, format!("no session matches {id:?}"))
        .fact(format!("{many}{} start with it: {}", ids.len(), text::clean(&ids.join(", "))))
        .hint(hint)
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
    fn what_a_limit_took_whole_is_not_said_to_be_there_in_part() {
        let gaps = vec![rrd_proto::Gap { first: 0, last: 9, why: rrd_proto::Limit::Age }];
        let all = Outline { dropped: 10, gaps, ..Outline::default() };
        let gone = "10 events are no longer kept: the limit activity.age took them";
        assert_eq!(dropped(&all).unwrap(), gone);
        let mark = |seq| rrd_proto::Mark {
            seq,
            at: None,
            kind: rrd_proto::EventKind::Message,
            tool: None,
            is_error: false,
            withdrawn: false,
            call: None,
        };
        // It went on since, or its lines are still there.
        let on = Outline { marks: vec![mark(10)], ..all.clone() };
        assert_eq!(dropped(&on).unwrap(), gone);
        let some = Outline { marks: vec![mark(0)], ..all };
        assert!(dropped(&some).unwrap().starts_with("10 events are no longer kept whole: "));
        assert_eq!(dropped(&Outline::default()), None);
    }

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
    fn the_same_id_on_two_hosts_needs_the_five_letters_or_the_whole_name() {
        let mut candidates = vec![session("b41f"), session("b41f")];
        candidates[1].host = "server".to_owned();
        (candidates[0].reference, candidates[1].reference) =
            ("k3xqe".to_owned(), "c9qwe".to_owned());
        let error = ambiguous("b41f", &candidates);
        let lines: Vec<_> = error.lines().into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            lines,
            [
                "no session matches \"b41f\"",
                "2 start with it: k3xqe (mac/claude-code/b41f), c9qwe (server/claude-code/b41f)",
                "type the five letters before it, or host/harness/session_id",
            ]
        );
    }
}
