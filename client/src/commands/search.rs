//! `rrd sessions search`: hits, beneath the sessions in which they are.
//!
//! The session with the best hit comes first; within one, hits are in the order in which they happened,
//! for that is how one reads what went on.

use rrd_proto::{HostState, SearchHit, SearchKind, SearchQuery, SearchReply, Timestamp, Unheard};

use crate::{
    ask::{self, Answerer},
    cli::SearchArgs,
    clock, connect,
    error::{CliError, Kind},
    local, look, output,
    text::{clean, counted, fit_end, pad, shell_word, width},
};

/// Columns of a kind's name.
const WORD: usize = 7;

pub(crate) fn run(args: &SearchArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let now = clock::now();
    let query = query(args, now);
    let (answerer, reply) = match connect::dial(&config.dirs.socket) {
        Ok(connection) => {
            let reply = connection.search(&query)?;
            (Answerer::Daemon(connection), reply)
        }
        Err(why) => {
            let alone = ask::alone(&why);
            let answerer = Answerer::Scan(Box::new(ask::look(&config)));
            let Some(reply) = answerer.search(&query)? else {
                let hint = format!("what is searched is made by the daemon: {}", why.remedy());
                return Err(CliError::new(Kind::NoDaemon, why.to_string()).hint(hint));
            };
            output::remark(&format!("{alone}; what happened since it ran is not found"));
            (answerer, reply)
        }
    };
    if reply.no_words {
        let error = CliError::new(Kind::Usage, "there is no word in what is looked for");
        return Err(error.hint("letters and digits make a word: rrd sessions search cargo publish"));
    }
    for remark in remarks(&reply, now) {
        output::remark(&remark);
    }
    let unknown = match reply.hits.is_empty() {
        true => answerer.unknown_host(&config, query.host.as_deref()),
        false => None,
    };
    if args.json {
        unknown.iter().for_each(|unknown| output::remark(unknown));
        return output::json(&reply.hits);
    }
    if reply.hits.is_empty() {
        return Err(nothing(&query, unknown));
    }
    output::print_lines(&lines(&reply, now, output::columns()))
}

fn query(args: &SearchArgs, now: Timestamp) -> SearchQuery {
    SearchQuery {
        text: args.text.join(" "),
        host: args.host.clone(),
        harness: args.harness.clone(),
        repo: args.repo.clone(),
        since: args.since.map(|since| since.at(now)),
        kind: args.kind,
        limit: args.limit,
    }
}

fn nothing(query: &SearchQuery, unknown: Option<String>) -> CliError {
    let mut error = CliError::new(Kind::NotFound, format!("nothing says {:?}", clean(&query.text)));
    if let Some(unknown) = unknown {
        error = error.fact(unknown);
    }
    if let Some(kind) = query.kind {
        let kinds = SearchKind::ALL.map(SearchKind::as_str).join(", ");
        let kind = kind.as_str();
        error = error.fact(format!("--kind {kind} looks at nothing else; there are {kinds}"));
    }
    let narrowed = query.host.is_some()
        || query.harness.is_some()
        || query.repo.is_some()
        || query.since.is_some()
        || query.kind.is_some();
    error.hint(match narrowed {
        true => "fewer filters, or fewer words, find more",
        false => "fewer words find more, and wor* finds every word that begins so",
    })
}

/// What may be missing from the answer.
pub(crate) fn remarks(reply: &SearchReply, now: Timestamp) -> Vec<String> {
    let unheard = |unheard: &Unheard| {
        let Unheard { host, state, seen_at, why, told_at: _ } = unheard;
        let how = match (why, state, seen_at) {
            (Some(why), ..) => format!("did not answer ({})", clean(why)),
            (None, HostState::Away, Some(seen)) => {
                format!("is away since {}", clock::short_time(*seen, now))
            }
            (None, ..) => "was not asked".to_owned(),
        };
        format!("{} {how}: its sessions were not searched", clean(host))
    };
    let mut remarks: Vec<String> = reply.unheard.iter().map(unheard).collect();
    if let Some(to) = reply.looked_to {
        let to = clock::short_time(to, now);
        remarks.push(format!("looked back to {to}: another word, --since or --kind goes further"));
    }
    if reply.behind > 0 {
        let events = counted(reply.behind, "event");
        remarks.push(format!("{events} cannot be found yet: they are still being read"));
    }
    remarks
}

fn lines(reply: &SearchReply, now: Timestamp, columns: Option<usize>) -> Vec<String> {
    let mut sessions: Vec<Vec<&SearchHit>> = Vec::new();
    let is_same = |a: &SearchHit, b: &SearchHit| a.key() == b.key() && a.node_id == b.node_id;
    for hit in &reply.hits {
        match sessions.iter_mut().find(|hits| is_same(hits[0], hit)) {
            Some(hits) => hits.push(hit),
            None => sessions.push(vec![hit]),
        }
    }
    let mut lines = Vec::new();
    for hits in &mut sessions {
        lines.push(heading(hits[0], columns));
        hits.sort_by_key(|hit| hit.seq);
        lines.extend(hits.iter().map(|hit| line(hit, now, columns)));
        lines.push(String::new());
    }
    let found = counted(reply.hits.len() as u64, "hit");
    let within = counted(sessions.len() as u64, "session");
    let more = if reply.more { "; there are more, -n 100 shows more of them" } else { "" };
    lines.push(look::paint(look::DIM, &format!("{found} in {within}{more}")));
    lines.extend(reply.hits.first().and_then(to_the_moment).map(|next| format!("next: {next}")));
    lines
}

/// What its hits have in common.
fn heading(hit: &SearchHit, columns: Option<usize>) -> String {
    let title = hit.title.as_deref().map(clean).unwrap_or_default();
    let place = [Some(hit.host.as_str()), hit.repo.as_deref(), Some(hit.harness.as_str())];
    let place = place.into_iter().flatten().map(clean).collect::<Vec<_>>().join(" · ");
    let head = clean(&hit.reference).into_owned();
    let room = columns
        .map_or(usize::MAX, |columns| columns.saturating_sub(width(&head) + width(&place) + 4));
    let place = look::paint(look::DIM, &place);
    format!("{}  {place}  {}", look::paint(look::CYAN, &head), fit_end(&title, room))
}

/// One hit: when, what, and the line in which it is.
fn line(hit: &SearchHit, now: Timestamp, columns: Option<usize>) -> String {
    let time = hit.at.map_or_else(String::new, |at| clock::short_time(at, now));
    let time = pad(&time, 16);
    let (sign, style) = match hit.kind {
        SearchKind::Error => ("✕", look::RED),
        SearchKind::Prompt | SearchKind::Title => (" ", look::BOLD),
        _ => (" ", look::PLAIN),
    };
    let style = if hit.withdrawn { look::DIM } else { style };
    let word = pad(hit.kind.as_str(), WORD);
    let head = width(&time) + WORD + 8;
    let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(head));
    format!(
        "  {}  {} {}  {}",
        look::paint(look::DIM, &time),
        look::paint(style, sign),
        look::paint(style, &word),
        snippet(hit, room)
    )
}

/// The snippet in so many columns, with what was found in bold.
fn snippet(hit: &SearchHit, columns: usize) -> String {
    let withdrawn = if hit.withdrawn { "(taken back) " } else { "" };
    let mut line = String::new();
    let mut pieces: Vec<(String, bool)> = vec![(withdrawn.to_owned(), false)];
    if hit.cut.0 {
        pieces.push(("…".to_owned(), false));
    }
    pieces.extend(hit.pieces().into_iter().map(|(text, found)| (cleaned(text), found)));
    if hit.cut.1 {
        pieces.push(("…".to_owned(), false));
    }
    // What was found is to be seen: what is before it gives way.
    let before: usize = pieces.iter().take_while(|(_, found)| !found).map(|(t, _)| width(t)).sum();
    let found = pieces.iter().find(|(_, found)| *found).map_or(0, |(text, _)| width(text));
    let mut skip = (before + found + 1).saturating_sub(columns).min(before);
    if skip > 0 {
        line.push('…');
    }
    let mut left = columns.saturating_sub(usize::from(skip > 0));
    for (text, found) in pieces {
        let from = text.char_indices().find(|(_, c)| {
            let goes = skip > 0;
            skip = skip.saturating_sub(width(c.encode_utf8(&mut [0; 4])));
            !goes
        });
        let text = &text[from.map_or(text.len(), |(at, _)| at)..];
        let shown = fit_end(text, left);
        left -= width(&shown);
        line.push_str(&if found { look::paint(look::BOLD, &shown) } else { shown.into_owned() });
        if left == 0 {
            break;
        }
    }
    line
}

/// A piece of a line, with the blanks at its ends.
fn cleaned(piece: &str) -> String {
    let inner = clean(piece);
    let blank = |at: bool| if at { " " } else { "" };
    if inner.is_empty() {
        return blank(piece.contains(char::is_whitespace)).to_owned();
    }
    let (before, after) =
        (piece.starts_with(char::is_whitespace), piece.ends_with(char::is_whitespace));
    format!("{}{inner}{}", blank(before), blank(after))
}

/// What shows a hit among what was before and after it.
fn to_the_moment(hit: &SearchHit) -> Option<String> {
    let id = shell_word(&hit.reference).filter(|id| !id.starts_with('-') && !id.is_empty())?;
    Some(format!("rrd sessions replay {id} --at e{}", hit.seq.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use rrd_proto::Harness;

    use super::*;
    use crate::table::tests::NOW;

    fn hit(snippet: &str, marks: &[(u32, u32)]) -> SearchHit {
        SearchHit {
            reference: "xtgsh".into(),
            host: "mac".into(),
            node_id: None,
            harness: Harness::Codex,
            session_id: "1".into(),
            repo: Some("rrd".into()),
            title: Some("Publish the crate".into()),
            seq: 4,
            at: Some(NOW),
            kind: SearchKind::Prompt,
            tool: None,
            withdrawn: false,
            snippet: snippet.into(),
            marks: marks.to_vec(),
            cut: (false, false),
            score: 1.0,
        }
    }

    fn plain(line: &str) -> String {
        anstream::adapter::strip_str(line).to_string()
    }

    #[test]
    fn hits_stand_beneath_their_sessions_in_the_order_of_events() {
        let (mut other, mut earlier) = (hit("third", &[]), hit("first", &[]));
        other.session_id = "2".into();
        earlier.seq = 1;
        let hits = vec![hit("second", &[(0, 6)]), other, earlier];
        let reply = SearchReply { hits, more: true, ..SearchReply::default() };
        let lines: Vec<_> = lines(&reply, NOW, Some(80)).iter().map(|line| plain(line)).collect();
        assert_eq!(lines[0], "xtgsh  mac · rrd · codex  Publish the crate");
        assert!(lines[1].ends_with("prompt   first") && lines[2].ends_with("prompt   second"));
        assert!(lines[5].ends_with("third"));
        assert!(lines[7].starts_with("3 hits in 2 sessions; there are more"), "{lines:?}");
        assert!(lines[8].starts_with("next: rrd sessions replay xtgsh --at e"), "{lines:?}");
    }

    #[test]
    fn what_was_found_is_bold_and_in_sight() {
        let line = snippet(&hit("run cargo test now", &[(4, 14)]), 80);
        assert_eq!(line, format!("run {} now", look::paint(look::BOLD, "cargo test")));
        let far = format!("{} here and after", "before ".repeat(9));
        let at = far.find("here").unwrap() as u32;
        let line = plain(&snippet(&hit(&far, &[(at, at + 4)]), 20));
        assert!(line.starts_with('…') && line.contains("here"), "{line}");
        assert!(width(&line) <= 20, "{line}");
    }

    #[test]
    fn nothing_of_a_snippet_reaches_the_terminal_as_it_is() {
        let hostile = "a \u{1b}[2J\u{202e}b\nc \u{1b}]52;c;x\u{7} d";
        for marks in [vec![], vec![(2, 9)], vec![(0, 1), (3, 8)]] {
            let line = plain(&snippet(&hit(hostile, &marks), 80));
            assert!(!line.chars().any(crate::text::is_unsafe), "{line:?}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut reply = SearchReply { behind: 3, looked_to: Some(NOW), ..SearchReply::default() };
        reply.unheard = vec![Unheard {
            host: "desk".into(),
            state: HostState::Live,
            seen_at: None,
            why: Some("not in 1500 ms".into()),
            told_at: None,
        }];
        let remarks = remarks(&reply, NOW);
        assert_eq!(
            remarks[0],
            "desk did not answer (not in 1500 ms): its sessions were not searched"
        );
        assert!(remarks[1].starts_with("looked back to") && remarks[2].starts_with("3 events"));
    }
}
