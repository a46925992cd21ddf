//! The line beneath the table: how many, where, what needs someone, and what is not shown.
//!
//! Not here: the rows themselves ([`crate::table`]), and what stands there instead of them when there
//! are none ([`crate::empty`]).

use std::collections::BTreeMap;

use anstyle::Style;
use rrd_proto::{HostState, ListReply, Session, Timestamp, Unheard, needing};

use crate::{
    clock, look,
    text::{clean, counted, fit_end, width},
};

/// How the rows were chosen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chosen {
    /// Only some by host, harness, repository, status or time.
    pub(crate) filtered: bool,
    /// Also those that are open but not active.
    pub(crate) open: bool,
    /// Ended ones too.
    pub(crate) all: bool,
}

/// What there is to say about `reply`, in lines of at most `columns`.
pub(crate) fn lines(
    reply: &ListReply,
    chosen: Chosen,
    now: Timestamp,
    columns: Option<usize>,
) -> Vec<String> {
    let columns = columns.unwrap_or(usize::MAX);
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (part, style) in parts(reply, chosen, now) {
        let part = fit_end(&part, columns);
        let part_width = width(&part);
        let part = look::paint(style, &part);
        match lines.last_mut() {
            Some((used, line)) if *used + 3 + part_width <= columns => {
                *used += 3 + part_width;
                line.push_str(" · ");
                line.push_str(&part);
            }
            _ => lines.push((part_width, part)),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

fn parts(reply: &ListReply, chosen: Chosen, now: Timestamp) -> Vec<(String, Style)> {
    let totals = reply.totals;
    let mut parts = Vec::new();
    if chosen.filtered {
        let shown = reply.sessions.iter().filter(|s| !s.is_subagent()).count();
        parts.push((format!("{shown} shown"), look::PLAIN));
    } else if chosen.all {
        parts.push((counted(totals.sessions, "session"), look::PLAIN));
    }
    let hosts = hosts(&reply.sessions);
    let active = format!("{} active", totals.active);
    let active = match hosts.len() {
        0 => active,
        count => format!("{active} on {}", counted(count as u64, "host")),
    };
    parts.push((active, look::PLAIN));
    let needs = needing(&reply.sessions);
    if needs > 0 {
        let of_these = if chosen.filtered { " of these" } else { "" };
        let verb = if needs == 1 { "needs" } else { "need" };
        parts.push((format!("{needs}{of_these} {verb} you"), look::AMBER));
    }
    if totals.open > 0 && !chosen.open && !chosen.all {
        let open = format!("{} open but idle for long (--open)", totals.open);
        parts.push((open, look::PLAIN));
    }
    for host in &reply.duplicated {
        let twice = format!("{} runs twice, under one identity (rrd status)", clean(host));
        parts.push((twice, look::AMBER));
    }
    for (host, session) in hosts {
        if session.host_state == HostState::Away {
            let since = session.host_seen_at.map(|at| clock::short_time(at, now));
            let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
            let away = format!("{} away{since}, its last word shown", clean(host));
            parts.push((away, look::PLAIN));
        }
    }
    if reply.alone {
        parts.push(("no other host answers: this one may be cut off".to_owned(), look::AMBER));
    }
    parts
}

fn hosts(sessions: &[Session]) -> BTreeMap<&str, &Session> {
    sessions.iter().map(|s| (s.host.as_str(), s)).collect()
}

/// That transcripts are still being read, while they are.
pub(crate) fn progress(reply: &ListReply) -> Option<String> {
    let progress = reply.progress?;
    let percent =
        (progress.done.min(progress.total) * 100).checked_div(progress.total).unwrap_or(0);
    Some(format!(
        "still reading {} for the first time ({percent}%): some counts are missing",
        counted(progress.files_left, "transcript")
    ))
}

/// Who was asked for all its sessions and has not told them; what is shown of each instead.
pub(crate) fn unheard(reply: &ListReply) -> Vec<String> {
    let said = |unheard: &Unheard| {
        let Unheard { host, state, seen_at, why, told_at } = unheard;
        let at = |at: &Timestamp| clock::short_time(*at, reply.as_of);
        let how = match (why, state, seen_at) {
            (Some(why), ..) => format!("did not answer ({})", clean(why)),
            (None, _, Some(seen)) => format!("is away since {}", at(seen)),
            (None, ..) => "was never heard of".to_owned(),
        };
        let shown = match told_at {
            Some(told) => format!("its newest sessions as of {}, and its last word", at(told)),
            None => "only its last word is shown".to_owned(),
        };
        format!("{} {how}: {shown}", clean(host))
    };
    reply.unheard.iter().map(said).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use rrd_proto::{IndexProgress, ParentKind, Totals};

    use super::*;
    use crate::table::tests::{NOW, executing, session, waiting};

    /// A reply that holds `sessions`, all of them active.
    pub(crate) fn reply(sessions: Vec<Session>) -> ListReply {
        let active = sessions.len() as u64;
        ListReply {
            sessions,
            as_of: NOW,
            cursor: 1,
            totals: Totals { sessions: 312, active, waiting: 0, open: 0 },
            last_ended: None,
            progress: None,
            roots: Vec::new(),
            unheard: Vec::new(),
            alone: false,
            duplicated: Vec::new(),
        }
    }

    fn plain(reply: &ListReply, chosen: Chosen) -> String {
        anstream::adapter::strip_str(&lines(reply, chosen, NOW, None).join("\n")).to_string()
    }

    #[test]
    fn counts_hosts_and_what_needs_someone() {
        let mut one = reply(vec![waiting("b41f", "x"), executing("7f2c", "Edit"), session("2026")]);
        assert_eq!(plain(&one, Chosen::default()), "3 active on 1 host · 1 needs you");
        one.sessions[1].host = "win".to_owned();
        one.totals.open = 2;
        assert_eq!(
            plain(&one, Chosen::default()),
            "3 active on 2 hosts · 1 needs you · 2 open but idle for long (--open)"
        );
        let all = Chosen { all: true, ..Chosen::default() };
        assert!(plain(&one, all).starts_with("312 sessions · 3 active"));
        let filtered = Chosen { filtered: true, ..Chosen::default() };
        assert_eq!(
            plain(&one, filtered).split(" · ").take(3).collect::<Vec<_>>(),
            ["3 shown", "3 active on 2 hosts", "1 of these needs you"]
        );
        // Asked once, though two rows show it.
        let mut child = waiting("c0de", "x");
        (child.parent_session_id, child.parent_kind) =
            (Some(one.sessions[0].session_id.clone()), Some(ParentKind::Subagent));
        one.sessions.push(child);
        assert!(plain(&one, Chosen::default()).contains("1 needs you"));
    }

    #[test]
    fn a_narrow_terminal_gets_more_lines() {
        let mut one = reply(vec![waiting("b41f", "x")]);
        one.totals.open = 2;
        let lines = lines(&one, Chosen::default(), NOW, Some(34));
        assert_eq!(lines[0].split(" · ").next(), Some("1 active on 1 host"));
        assert_eq!(lines[1], "2 open but idle for long (--open)");
    }

    #[test]
    fn an_away_host_is_named() {
        let mut away = reply(vec![session("e76f")]);
        away.sessions[0].host_state = HostState::Away;
        away.sessions[0].host_seen_at = Some(NOW);
        let line = plain(&away, Chosen::default());
        assert!(
            line.contains("mac away since ") && line.ends_with("its last word shown"),
            "{line}"
        );
        away.alone = true;
        assert!(plain(&away, Chosen::default()).ends_with("this one may be cut off"));
    }

    #[test]
    fn who_did_not_answer_is_named_with_what_is_shown_of_it() {
        let mut one = reply(Vec::new());
        let silent = |host: &str, why: Option<&str>, seen_at, told_at| Unheard {
            host: host.to_owned(),
            state: HostState::Away,
            seen_at,
            why: why.map(str::to_owned),
            told_at,
        };
        one.unheard = vec![
            silent("win\u{1b}[2J", Some("not in 2 s"), Some(NOW), Some(NOW)),
            silent("mac", None, Some(NOW), None),
            silent("new", None, None, None),
        ];
        let said = unheard(&one);
        assert!(said[0].starts_with("win[2J did not answer (not in 2 s): its newest"), "{said:?}");
        assert!(said[1].starts_with("mac is away since ") && said[1].ends_with("is shown"));
        assert!(said[2].starts_with("new was never heard of"));
    }

    #[test]
    fn a_host_that_runs_twice_is_named() {
        let mut one = reply(vec![session("e76f")]);
        one.duplicated = vec!["mac".to_owned()];
        assert!(plain(&one, Chosen::default()).contains("mac runs twice, under one identity"));
    }

    #[test]
    fn the_first_index_says_how_far_it_is() {
        let mut one = reply(Vec::new());
        one.progress = Some(IndexProgress { done: 50, total: 200, files_left: 1 });
        let says = progress(&one).unwrap();
        assert!(says.contains("1 transcript for") && says.contains("25%"), "{says}");
        one.progress = Some(IndexProgress::default());
        assert!(progress(&one).is_some());
    }
}
