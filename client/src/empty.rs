//! What stands in place of an empty table: why it is empty, and what to do.
//!
//! Three different things are told apart: nothing matches the filters, nothing is active now, nothing
//! was ever found. Not here: the table.

use rrd_proto::{ListReply, Root, RootState, Timestamp};

use crate::{
    footer::Chosen,
    local, look, table,
    text::{clean, counted, pad, width},
};

/// The lines to print for a reply without sessions.
pub(crate) fn lines(reply: &ListReply, chosen: Chosen, now: Timestamp) -> Vec<String> {
    if reply.totals.sessions == 0 {
        return nothing_found(&reply.roots);
    }
    let all = counted(reply.totals.sessions, "session");
    let mut lines = Vec::new();
    if chosen.filtered {
        lines.push(format!("no session matches ({all} in all, {} active)", reply.totals.active));
        if !chosen.all {
            lines.push("hint: --all also looks among those that ended".to_owned());
        }
        return lines;
    }
    lines.push("no session is active".to_owned());
    if let Some(last) = reply.last_ended.as_deref() {
        let (sign, style) = look::status_sign(last);
        let words = look::status_words(last, None, now);
        let age = look::status_since(last).map(|at| format!(" {} ago", rrd_proto::age(now, at)));
        let place =
            last.repo.as_deref().or(last.cwd.as_deref()).map(|p| format!(" in {}", clean(p)));
        lines.push(format!(
            "{} the last one {words}{}: {}{} ({}, {})",
            look::paint(style, sign),
            age.unwrap_or_default(),
            table::title(last),
            place.unwrap_or_default(),
            clean(last.harness.as_str()),
            table::short_ids(std::slice::from_ref(last), 8..=8).concat(),
        ));
    }
    if reply.totals.open > 0 && !chosen.open {
        let open = reply.totals.open;
        lines.push(format!("hint: rrd sessions list --open shows {open} open but idle for long"));
    }
    lines.push(format!("hint: rrd sessions list --all shows all {}", reply.totals.sessions));
    lines
}

fn nothing_found(roots: &[Root]) -> Vec<String> {
    let mut lines = vec!["no session found; looked in".to_owned()];
    let paths: Vec<_> = roots.iter().map(|root| clean(&root.path)).collect();
    let path_width = paths.iter().map(|path| width(path)).max().unwrap_or(0);
    for (root, path) in roots.iter().zip(paths) {
        let found = match &root.state {
            RootState::Missing => "not there".to_owned(),
            RootState::Found { transcripts: 0 } => "there, without a transcript".to_owned(),
            RootState::Found { transcripts } => counted(*transcripts, "transcript"),
            RootState::Unreadable(why) => {
                look::paint(look::RED, &format!("cannot be read: {}", clean(why)))
            }
        };
        let harness = pad(&clean(root.harness.as_str()), 11);
        lines.push(format!("  {harness}  {}  {found}", pad(&path, path_width)));
    }
    lines
        .push("next: start one of these agents in a directory of yours, and list again".to_owned());
    let variables: Vec<_> = local::formats().iter().map(|format| format.home_var).collect();
    let moved = variables.join(", ");
    lines.push(format!("hint: kept elsewhere? set {moved}; rrd config shows what is in force"));
    lines
}

#[cfg(test)]
mod tests {
    use rrd_proto::Harness;

    use super::*;
    use crate::{
        footer::tests::reply,
        table::tests::{NOW, session},
    };

    #[test]
    fn nothing_active_tells_what_ended_last() {
        let mut one = reply(Vec::new());
        let mut last = session("b41f0c2e-1111");
        last.status = rrd_proto::Status::Ended;
        one.last_ended = Some(Box::new(last));
        let lines = lines(&one, Chosen::default(), NOW);
        assert_eq!(lines[0], "no session is active");
        assert!(lines[1].contains("the last one ended 2m ago: Publish the crate in rrd"));
        assert!(lines[1].contains("b41f0c2e"), "{}", lines[1]);
        assert!(lines.last().unwrap().contains("--all shows all 312"));
    }

    #[test]
    fn nothing_found_names_every_place() {
        let mut one = reply(Vec::new());
        one.totals = rrd_proto::Totals::default();
        let root =
            |path: &str, state| Root { harness: Harness::Codex, path: path.to_owned(), state };
        one.roots = vec![
            root("/home/dev/.codex", RootState::Missing),
            root("/srv/codex", RootState::Found { transcripts: 0 }),
            root("/srv/\u{1b}[2Jx", RootState::Unreadable("permission denied".to_owned())),
        ];
        let lines = lines(&one, Chosen::default(), NOW);
        assert!(lines[1].contains("/home/dev/.codex") && lines[1].ends_with("not there"));
        assert!(lines[2].ends_with("there, without a transcript"));
        assert!(lines[3].contains("/srv/[2Jx") && lines[3].contains("permission denied"));
        assert!(lines[4].starts_with("next: "));
        assert!(local::formats().iter().all(|format| lines[5].contains(format.home_var)));
    }

    #[test]
    fn filters_that_match_nothing_are_not_an_empty_machine() {
        let chosen = Chosen { filtered: true, ..Chosen::default() };
        let lines = lines(&reply(Vec::new()), chosen, NOW);
        assert!(lines[0].starts_with("no session matches (312 sessions in all"));
        assert!(lines[1].contains("--all"));
    }
}
