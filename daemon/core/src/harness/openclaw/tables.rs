//! OpenClaw's databases, one for each agent, since 2026.7.2: which tables are read, and what a session's
//! row says. Observed of 2026.9.6 (schema 23).
//!
//! A conversation is known by a key; what is said under it is in windows, one after the other, each a
//! session of its own here. The same database holds credentials: only what is named is read. Not here:
//! the events themselves ([`super::super::pi`]).

use std::borrow::Cow;

use rrd_proto::{ParentKind, TurnResult};

use crate::{
    fact::{Fact, Run, TitleRank},
    harness::{
        json::{Field, Str, first, object},
        tables::{Column, MovedOut, RecordRows, SessionRows, Tables, owned, time},
    },
};

pub(super) const TABLES: Tables = Tables {
    schema: "SELECT max(schema_version) FROM schema_meta",
    newest: 23,
    reads_newer: false,
    sessions: SessionRows {
        from: "session_windows w \
               LEFT JOIN session_nodes n ON n.session_key = w.session_key \
               LEFT JOIN session_nodes p ON p.session_key = \
                   coalesce(w.spawned_by, n.spawned_by, w.parent_session_key, n.parent_session_key)",
        id: "w.session_id",
        rewritten: Some(
            "(SELECT g.generation FROM transcript_rewrite_watermarks g \
              WHERE g.session_id = w.session_id)",
        ),
        columns: &[
            Column::plain("key", "w.session_key"),
            Column::plain("created_at", "w.created_at"),
            Column::plain("updated_at", "w.updated_at"),
            Column::plain("reason", "w.reason"),
            Column::plain("previous", "w.previous_session_id"),
            Column::plain("model", "w.model"),
            Column::plain("current", "n.current_session_id = w.session_id"),
            Column::plain("label", "n.label"),
            Column::plain("name", "coalesce(w.display_name, n.display_name)"),
            Column::plain("archived_at", "n.archived_at"),
            Column::plain("status", "w.status"),
            // The conversation's is that of the window it is in.
            Column::plain(
                "node_status",
                "CASE WHEN n.current_session_id = w.session_id THEN n.status END",
            ),
            Column::plain("run_began", "w.started_at"),
            Column::plain("run_ended", "w.ended_at"),
            Column::plain("created_via", "n.created_via"),
            Column::plain("spawned_by", "coalesce(w.spawned_by, n.spawned_by)"),
            Column::plain("parent", "p.current_session_id"),
            Column::plain("forked_from", "n.fork_source_session_id"),
        ],
    },
    records: RecordRows {
        table: "transcript_events",
        session: "session_id",
        number: "seq",
        stands: "1",
        summed_up: "0",
        whole: Some(("event_json", "event_zstd")),
        columns: &[],
        identity: &[],
        moved_out: Some(MovedOut {
            record: frozen,
            sql: "SELECT archive_blob, archive_name FROM session_transcript_cold_archives \
                  WHERE session_id = ?1",
            folder: "../sessions/cold",
        }),
    },
};

object! {
    struct Window<'a> {
        created_at: Field<u64> = "created_at",
        updated_at: Field<u64> = "updated_at",
        reason: Str<'a> = "reason",
        previous: Str<'a> = "previous",
        model: Str<'a> = "model",
        current: Field<u64> = "current",
        label: Str<'a> = "label",
        name: Str<'a> = "name",
        archived_at: Field<u64> = "archived_at",
        status: Str<'a> = "status",
        node_status: Str<'a> = "node_status",
        run_began: Field<u64> = "run_began",
        run_ended: Field<u64> = "run_ended",
        created_via: Str<'a> = "created_via",
        spawned_by: Str<'a> = "spawned_by",
        parent: Str<'a> = "parent",
        forked_from: Str<'a> = "forked_from",
    }
}

object! {
    /// A line of a cold archive: a row of one of several tables.
    struct Frozen<'a> {
        kind: Str<'a> = "kind",
        row: Field<FrozenRow<'a>> = "row",
    }
}

object! {
    struct FrozenRow<'a> {
        event: Str<'a> = "event_json",
    }
}

fn frozen(line: &[u8]) -> Option<Vec<u8>> {
    let mut line: Frozen<'_> = first(line)?;
    let mut row = line.row.take().filter(|_| line.kind.text() == "event")?;
    Some(row.event.some()?.into_owned().into_bytes())
}

/// What a row of `session_windows`, with its conversation's, says.
pub(super) fn window(row: &[u8]) -> Option<Vec<Fact<'static>>> {
    let mut row: Window<'_> = first(row)?;
    let mut facts = Vec::new();
    facts.extend(row.parent().map(|(id, kind)| Fact::Parent { id, kind }));
    facts.extend(row.created_at.get().copied().map(time).map(Fact::Started));
    facts.extend(row.model.some().map(|model| Fact::Model(owned(model))));
    let title = row.label.some().or_else(|| row.name.some());
    facts.extend(title.map(|text| Fact::Title { rank: TitleRank::Given, text: owned(text) }));
    // The conversation goes on in another window, or has been put away. `ended_at` is a run's.
    let left = (row.current.get() == Some(&0)).then(|| row.updated_at.get().copied()).flatten();
    let ended = row.archived_at.get().copied().or(left);
    facts.push(Fact::Ended(ended.map(time)));
    facts.push(Fact::Run(row.run()));
    Some(facts)
}

impl Window<'_> {
    /// The Gateway follows runs: at a start it writes `running` and takes the last end back, at an end
    /// how it was. Local runs leave this alone, so only the times tell whether it is still true.
    fn run(&self) -> Option<Run> {
        let word = match self.status.text() {
            "" => self.node_status.text(),
            word => word,
        };
        let (result, at) = match word {
            "running" => (None, &self.run_began),
            "done" => (Some(TurnResult::Completed), &self.run_ended),
            "failed" | "timeout" => (Some(TurnResult::Error), &self.run_ended),
            "killed" => (Some(TurnResult::Interrupted), &self.run_ended),
            _ => return None,
        };
        Some(Run { result, at: at.get().copied().map(time) })
    }

    fn parent(&mut self) -> Option<(Cow<'static, str>, ParentKind)> {
        if let Some(id) = self.forked_from.some() {
            return Some((owned(id), ParentKind::Fork));
        }
        match self.reason.text() {
            "compaction" => return Some((owned(self.previous.some()?), ParentKind::Compression)),
            "fork" => return Some((owned(self.previous.some()?), ParentKind::Fork)),
            _ => {}
        }
        // A thread of a channel has a parent, too, but nobody delegated anything to it.
        let delegated = self.created_via.text() == "spawn" || self.spawned_by.get().is_some();
        let id = self.parent.some().filter(|_| delegated)?;
        Some((owned(id), ParentKind::Subagent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(row: &str) -> Vec<String> {
        window(row.as_bytes()).unwrap().into_iter().map(|fact| format!("{fact:?}")).collect()
    }

    #[test]
    fn a_window_that_was_left_is_over() {
        let open = told(r#"{"created_at":5,"updated_at":9,"current":1}"#);
        assert_eq!(open, ["Started(Timestamp(5))", "Ended(None)", "Run(None)"]);
        let left = told(r#"{"created_at":5,"updated_at":9,"current":0}"#);
        assert_eq!(left[1], "Ended(Some(Timestamp(9)))");
        assert_eq!(
            told(r#"{"current":1,"archived_at":7}"#),
            ["Ended(Some(Timestamp(7)))", "Run(None)"]
        );
    }

    #[test]
    fn the_gateways_word_on_a_run() {
        let run = |more: &str| {
            let row = format!(r#"{{"current":1,"run_began":5,"run_ended":9{more}}}"#);
            match window(row.as_bytes()).unwrap().pop() {
                Some(Fact::Run(run)) => run.map(|run| (run.result, run.at.unwrap().as_millis())),
                other => panic!("{other:?}"),
            }
        };
        for (word, want) in [
            ("running", (None, 5)),
            ("done", (Some(TurnResult::Completed), 9)),
            ("failed", (Some(TurnResult::Error), 9)),
            ("timeout", (Some(TurnResult::Error), 9)),
            ("killed", (Some(TurnResult::Interrupted), 9)),
        ] {
            for column in ["status", "node_status"] {
                assert_eq!(run(&format!(r#","{column}":"{word}""#)), Some(want), "{word}");
            }
        }
        let of_the_window = run(r#","status":"killed","node_status":"done""#);
        assert_eq!(of_the_window, Some((Some(TurnResult::Interrupted), 9)));
        for unknown in ["", r#","status":"pondering""#, r#","status":null"#, r#","status":7"#] {
            assert_eq!(run(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn cold_archives_hold_rows_of_several_tables() {
        let event = br#"{"kind":"event","row":{"seq":4,"event_json":"{\"type\":\"reset\"}","created_at":1}}"#;
        assert_eq!(frozen(event).unwrap(), br#"{"type":"reset"}"#);
        for other in [
            r#"{"kind":"header","version":1,"sessionId":"s","generation":"g"}"#,
            r#"{"kind":"identity","row":{"event_id":"e","seq":4}}"#,
            r#"{"kind":"event","row":{}}"#,
            "{",
        ] {
            assert_eq!(frozen(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn children_are_told_apart() {
        let parent = |row: &str| told(row).into_iter().find(|fact| fact.starts_with("Parent"));
        let spawned = parent(r#"{"spawned_by":"agent:main:main","parent":"p"}"#).unwrap();
        assert!(spawned.contains(r#""p", kind: Subagent"#), "{spawned}");
        assert_eq!(parent(r#"{"parent":"p","created_via":"channel"}"#), None);
        let forked = parent(r#"{"forked_from":"f","spawned_by":"k","parent":"p"}"#).unwrap();
        assert!(forked.contains(r#""f", kind: Fork"#), "{forked}");
        let compacted = parent(r#"{"reason":"compaction","previous":"q"}"#).unwrap();
        assert!(compacted.contains(r#""q", kind: Compression"#), "{compacted}");
        assert_eq!(parent(r#"{"reason":"reset","previous":"q"}"#), None);
    }
}
