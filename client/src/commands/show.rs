//! `rrd sessions show ID`: one session, why it has its status, its last events, what to do next.

use rrd_proto::{
    Coverage, CoverageState, Deletion, Event, EventPage, EventQuery, Gap, HostState, Issue,
    LastWords, Outline, OutlineQuery, ParentKind, Session, Status, Stretch, Timestamp, shown::size,
};
use serde::Serialize;

use crate::{
    ask::{self, Answerer},
    cli::ShowArgs,
    clock,
    error::CliError,
    local::{self, resume},
    look, output,
    statuses::Statuses,
    table, text,
    text::{clean, counted, fit_end, fit_middle, pad, wrap},
    timeline, why,
};

/// What `show` prints without `--events` or `--limit`, and with `--events`.
const LAST: u32 = 10;
const MOST: u32 = 1_000;
/// Columns of a fact's name.
const NAME: usize = 10;

#[derive(Serialize)]
struct WithEvents<'a> {
    #[serde(flatten)]
    session: &'a Session,
    events: &'a [Event],
    /// Who told them, where its host is away or cannot be reached.
    last_words: Option<&'a LastWords>,
    /// Events up to then were copied from the session that this one is a fork of.
    copied_to: Option<Timestamp>,
    /// What these said a limit took.
    gaps: &'a [Gap],
    /// Which status it had when, as far as a daemon saw it change; oldest first.
    stretches: &'a [Stretch],
}

pub(crate) fn run(args: &ShowArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let answerer = Answerer::open(&config);
    let session = answerer.find(&args.id, args.raw.granted()?)?;
    if args.json && !args.events {
        return output::json(&session);
    }
    let limit = args.limit.unwrap_or(if args.events { MOST } else { LAST });
    let query = EventQuery { bodies: args.bodies, ..ask::query(&session, limit, args.raw.raw) };
    let asked = answerer.events(&query);
    // The row stands by itself, unless it is the events that were asked for.
    let (page, why_none) = match asked {
        Ok(page) => (page, None),
        Err(error) if args.events || args.limit.is_some() => return Err(error),
        Err(error) => (EventPage::default(), Some(error)),
    };
    let EventPage { events, more: _, last_words } = page;
    let now = clock::now();
    if let Some(last_words) = &last_words {
        output::remark(&ask::told_by(&session, last_words, now));
    }
    let outline = outline(&answerer, &session, &query);
    let copied_to = outline.copied_to;
    if args.json {
        let last_words = last_words.as_ref();
        let Outline { gaps, stretches, .. } = &outline;
        let (session, events) = (&session, events.as_slice());
        return output::json(&WithEvents {
            session,
            events,
            last_words,
            copied_to,
            gaps,
            stretches,
        });
    }
    let columns = output::columns();
    let mut lines = header(&session, now, columns);
    lines.push(String::new());
    let why = wrap(&format!("why: {}", why::sentence(&session, now)), columns);
    lines.extend(why.into_iter().map(|line| line.replacen("why:", &bold("why:"), 1)));
    lines.push(String::new());
    lines.push(match (why_none, events.len()) {
        (Some(why), _) => bold(&clean(why.message())),
        (None, 0) => bold("no events"),
        (None, 1) => bold("the last event"),
        (None, count) => bold(&format!("the last {count} events")),
    });
    if let Some(dropped) = ask::dropped(&outline) {
        lines.extend(wrap(&dropped, columns));
    }
    // Of the last few events the header says what came of them.
    let stretches = if args.events { outline.stretches } else { Vec::new() };
    let mut statuses = Statuses::of(stretches).since(events.first().and_then(|first| first.at));
    let status = |stretch: &Stretch| timeline::status(stretch, now, columns);
    for event in &events {
        lines.extend(statuses.before(event.at).iter().map(status));
        lines.push(timeline::line(event, copied_to, now, columns));
    }
    lines.extend(statuses.rest().iter().map(status));
    lines.push(String::new());
    lines.push(bold("next"));
    lines.extend(next(&session, &args.id).into_iter().map(|command| format!("  {command}")));
    output::print_lines(&lines)
}

/// What is known of all its events together. Whoever cannot say leaves it open: the events are there all the
/// same.
fn outline(answerer: &Answerer, session: &Session, query: &EventQuery) -> Outline {
    // Without a daemon only this is known, and for it the transcript is read once more.
    if matches!(answerer, Answerer::Scan(_)) && session.parent_kind != Some(ParentKind::Fork) {
        return Outline::default();
    }
    let (key, node) = (query.key.clone(), query.node);
    answerer.outline(&OutlineQuery { key, node, after: None, limit: 1 }).unwrap_or_default()
}

fn bold(text: &str) -> String {
    look::paint(look::BOLD, text)
}

fn header(session: &Session, now: Timestamp, columns: Option<usize>) -> Vec<String> {
    let (sign, style) = look::status_sign(session);
    let words = look::status_words(session, session.waiting_on.as_deref(), now);
    let lasts =
        look::status_since(session).map(|at| format!(" for {}", rrd_proto::span(now.since(at))));
    let status = look::paint(style, &format!("{sign} {words}"));
    let mut lines =
        vec![bold(&table::title(session)), format!("{status}{}", lasts.unwrap_or_default())];
    if let Some(detail) = table::detail(session, now) {
        let told = detail.told(usize::MAX);
        lines.push(format!("{}{told}", look::paint(detail.style, "│   ")));
    } else if let Some(detail) = &session.waiting_detail {
        lines.push(format!("{}{}", look::paint(look::AMBER, "│   "), clean(detail)));
    }
    lines.push(String::new());
    let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(NAME + 2));
    for (name, value) in facts(session, now) {
        let value = clean(&value);
        // Of a path both ends tell something; `next` has it whole.
        let value =
            if value.contains('/') { fit_middle(&value, room) } else { fit_end(&value, room) };
        lines.push(format!("{}  {value}", look::paint(look::DIM, &pad(name, NAME))));
    }
    lines
}

fn facts(session: &Session, now: Timestamp) -> Vec<(&'static str, String)> {
    let s = session;
    let joined =
        |parts: &[Option<&str>]| parts.iter().flatten().copied().collect::<Vec<_>>().join(" · ");
    let at = |at: Timestamp| format!("{} ({} ago)", clock::date_time(at), rrd_proto::age(now, at));
    let place = format!("{}:{}", s.host, s.cwd.as_deref().unwrap_or("?"));
    let mut facts = vec![
        ("session", joined(&[Some(&s.session_id), Some(s.harness.as_str()), Some(&s.reference)])),
        ("where", joined(&[Some(&place), s.repo.as_deref(), s.branch.as_deref()])),
    ];
    facts.extend(s.started_at.map(|t| ("started", at(t))));
    facts.extend(s.last_activity_at.map(|t| ("last wrote", at(t))));
    let unwritten = || "nothing written yet".to_owned();
    facts.push(("transcript", s.transcript_path.clone().unwrap_or_else(unwritten)));
    facts.extend(s.model.clone().map(|model| ("model", model)));
    facts.push(match (s.counts, s.complete) {
        (Some(counts), _) => (
            "counts",
            [
                counted(counts.prompts, "prompt"),
                counted(counts.messages, "message"),
                counted(counts.tool_calls, "tool call"),
                counted(counts.errors, "error"),
            ]
            .join(" · "),
        ),
        (None, true) => ("counts", "not known".to_owned()),
        (None, false) => ("counts", "not known yet: the transcript is still being read".to_owned()),
    });
    facts.extend(s.tokens.map(|t| {
        let [input, output, read, written] =
            [t.input, t.output, t.cache_read, t.cache_write].map(amount);
        (
            "tokens",
            format!("{input} in · {output} out · {read} read from cache · {written} written to it"),
        )
    }));
    if let Some(pid) = s.pid {
        let how = match s.interactive {
            Some(true) => ", a person sits at it",
            Some(false) => ", nobody sits at it",
            None => "",
        };
        facts.push(("process", format!("{pid}{how}")));
    }
    if let Some(parent) = &s.parent_session_id {
        let kind = match s.parent_kind {
            Some(ParentKind::Subagent) => "subagent of",
            Some(ParentKind::Fork) => "fork of",
            Some(ParentKind::Compression | ParentKind::Resume) => "continues",
            None => "child of",
        };
        facts.push(("origin", format!("{kind} {parent}")));
    } else if s.parent_kind == Some(ParentKind::Fork) {
        facts.push(("origin", "fork of a session that it does not name".to_owned()));
    }
    facts.extend(s.coverage.iter().map(|place| ("mirrored", covered(place, now))));
    facts.extend(s.deletion.map(|deletion| ("kept", kept(s, deletion, now))));
    facts.extend(s.issues.iter().map(|issue| ("issue", why::issue(issue))));
    facts
}

/// What one place has of it.
fn covered(place: &Coverage, now: Timestamp) -> String {
    let ago = place.since.map(|since| rrd_proto::age(now, since).to_string());
    let behind = match place.bytes_behind {
        Some(bytes) => format!("{} not there", size(bytes)),
        None => "not all there".to_owned(),
    };
    let since = ago.as_ref().map(|ago| format!(" for {ago}")).unwrap_or_default();
    let how = match place.state {
        CoverageState::Mirrored => match ago {
            Some(ago) => format!("all of it, {ago} ago"),
            None => "all of it".to_owned(),
        },
        CoverageState::Behind => format!("{behind}{since}"),
        CoverageState::Failing => format!("fails, {behind}{since}"),
        CoverageState::Elsewhere => "by another host".to_owned(),
        CoverageState::Diverged => {
            format!("no{since}: another host mirrors it, and its copy and this one both went on")
        }
        CoverageState::Excluded => "no, left out by your choice of sessions".to_owned(),
        CoverageState::Held => {
            "no, nobody knows in which repository it was (rrd mirror status)".to_owned()
        }
        CoverageState::Stopped => {
            format!("no, stopped{}", ago.map_or(String::new(), |ago| format!(" {ago} ago")))
        }
        CoverageState::Expired => "no more, it has been over for too long".to_owned(),
        CoverageState::Unknown => "not known".to_owned(),
    };
    let but = match place.only_here {
        0 => String::new(),
        1 => ", but for 1 transcript that is only here".to_owned(),
        count => format!(", but for {count} transcripts that are only here"),
    };
    format!("{how}{but} · {}", place.url)
}

/// How long its harness keeps its own copy.
fn kept(session: &Session, deletion: Deletion, now: Timestamp) -> String {
    let by = session.harness.as_str();
    match deletion.at.map(|at| (at, at.since(now))) {
        None => format!("{by} deletes it some day: its settings do not tell when"),
        Some((_, left)) if left <= 0 => format!("{by} may delete it at any time"),
        Some((at, left)) => {
            let days = counted((left / 86_400_000).unsigned_abs(), "day");
            format!("{by} deletes it in {days}, after {}", clock::date_time(at))
        }
    }
}

/// Commands to paste. What cannot be shown as it is cannot be pasted either, so it is left out.
fn next(session: &Session, id: &str) -> Vec<String> {
    let mut commands = Vec::new();
    if let Some(id) = text::shell_word(id.trim()) {
        commands.push(format!("rrd sessions replay {id}"));
        commands.push(format!("rrd sessions tail {id} -f"));
        commands.push(format!("rrd sessions show {id} --events"));
        let is_over = session.live != Some(true)
            && matches!(session.status, Status::Idle | Status::Ended)
            && !session.is_subagent();
        if is_over && resume::layout(&session.harness).is_ok() {
            commands.push(format!("rrd resume {id}"));
        }
    }
    // Built by the daemon for a shell, so it is shown whole or not at all.
    commands.extend(session.attach.iter().filter(|attach| clean(attach) == **attach).cloned());
    // A label is a host's name as a rule.
    let host = (session.host_state != HostState::Here).then(|| {
        // One that begins with a dash would be an option.
        text::shell_word(&session.host).filter(|host| !host.starts_with('-'))
    });
    let there = |command: String| match &host {
        None => Some(command),
        Some(host) => {
            let host = host.as_deref().unwrap_or("HOST");
            text::shell_word(&command).map(|command| format!("ssh {host} -t {command}"))
        }
    };
    let absent = |issue: &Issue| [Issue::SOURCE_GONE, Issue::OUT_OF_SIGHT].contains(&&*issue.kind);
    let is_there = !session.issues.iter().any(absent);
    let path = session.transcript_path.as_deref().filter(|_| is_there);
    let reader = match path.and_then(|path| path.rsplit_once('.')).map(|(_, end)| end) {
        // A database is nothing to read.
        Some("db" | "sqlite") => None,
        Some("zst") => Some("zstdless"),
        _ => Some("less"),
    };
    let command = reader.zip(path.and_then(text::shell_word));
    commands.extend(command.and_then(|(reader, path)| there(format!("{reader} {path}"))));
    commands
}

/// `812`, `34.1k`, `5.6M`.
fn amount(count: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", count / unit, count % unit / (unit / 10));
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", tenths(1_000)),
        _ => format!("{}M", tenths(1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        table::tests::{NOW, session, waiting},
        text::is_unsafe,
    };

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn the_header_tells_what_and_where() {
        let mut one = waiting("b41f0c2e", "Bash: npm publish");
        one.pid = Some(4242);
        one.interactive = Some(true);
        one.tokens = Some(rrd_proto::Tokens { input: 812, output: 34_100, ..Default::default() });
        let text = plain(&header(&one, NOW, None));
        for part in [
            "Publish the crate\n● waiting · permission for 2m\n│   Bash: npm publish\n",
            "where       mac:/home/dev/src/rrd · rrd · main",
            "tokens      812 in · 34.1k out",
            "process     4242, a person sits at it",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn only_what_can_be_pasted_is_offered() {
        let mut one = session("b41f");
        assert_eq!(next(&one, "b41f")[3], "rrd resume b41f");
        one.live = Some(true);
        one.attach = Some("tmux attach -t t7".to_owned());
        one.transcript_path = Some("/home/dev/a b.jsonl".to_owned());
        let commands = next(&one, "b41f");
        assert_eq!(commands[..2], ["rrd sessions replay b41f", "rrd sessions tail b41f -f"]);
        assert_eq!(commands[3..], ["tmux attach -t t7", "less '/home/dev/a b.jsonl'"]);
        one.host_state = HostState::Live;
        let there = next(&one, "b41f");
        assert!(there[4].starts_with("ssh mac -t ") && there[4].contains("a b.jsonl"), "{there:?}");
        one.host_state = HostState::Here;
        one.transcript_path = Some("/home/dev/.hermes/state.db".to_owned());
        assert_eq!(next(&one, "b41f").len(), 4);
        one.attach = Some("tmux attach\nrm -rf ~".to_owned());
        one.transcript_path = Some("/home/\u{1b}[2J".to_owned());
        assert_eq!(next(&one, "b41f").len(), 3);
    }

    #[test]
    fn nothing_raw_gets_out() {
        let evil = "x\u{1b}[31m\u{202e}\u{9b}y".to_owned();
        let mut one = waiting(&evil, &evil);
        one.model = Some(evil.clone());
        one.cwd = Some(evil.clone());
        one.transcript_path = Some(evil.clone());
        one.parent_session_id = Some(evil);
        let text = plain(&header(&one, NOW, None));
        assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!([999, 1_050, 34_199, 5_600_000].map(amount), ["999", "1.0k", "34.1k", "5.6M"]);
    }
}
