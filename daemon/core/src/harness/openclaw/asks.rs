//! What OpenClaw's sessions ask a person: the approvals that its Gateway keeps for all agents.
//!
//! Observed of 2026.9.6 (schema 18), its Gateway on loopback with `tools.exec.ask: "always"`. A row is
//! `pending` from the moment somebody is asked. It becomes `allowed` or `denied` at the answer,
//! `expired` by the Gateway's own clock (after 30 minutes), `cancelled` when the run is aborted, and
//! `denied` within 0.1 s where nobody could be asked. When the Gateway is killed it stays `pending`, until
//! the next Gateway cancels it at its start. Asking for a command names the session by its key alone;
//! which session that means is in the agent's database. The transcript ends in the tool call meanwhile,
//! as it does while a tool runs.
//!
//! The same database holds credentials of many kinds: only what is named is read. Not here: what follows
//! for the status ([`crate::status`]).

use crate::{
    harness::{
        json::{Field, Str, first, object},
        tables::{AskRow, Asks, Column, Whose, time},
    },
    live::Ask,
    status::described,
};

pub(super) const ASKS: Asks = Asks {
    database: "state/openclaw.sqlite",
    schema: "SELECT coalesce(max(schema_version), 0) FROM schema_meta WHERE meta_key = 'primary'",
    newest: 18,
    from: "operator_approvals WHERE status = 'pending' AND expires_at_ms > ?1 \
           ORDER BY created_at_ms, approval_id",
    columns: &[
        Column::plain("id", "approval_id"),
        Column::plain("session", "source_session_id"),
        Column::plain("key", "source_session_key"),
        Column::plain("since", "created_at_ms"),
        Column::plain("until", "expires_at_ms"),
        // `exec`, `plugin` or `system-agent`.
        Column::plain("kind", "kind"),
        // Whatever is larger than any approval should be is not even looked into.
        Column::plain(
            "tool",
            "coalesce(source_tool_name, CASE WHEN octet_length(presentation_json) <= 65536 \
             AND json_valid(presentation_json) \
             THEN json_extract(presentation_json, '$.toolName') END)",
        ),
        Column::plain(
            "wants",
            "CASE WHEN octet_length(presentation_json) <= 65536 AND json_valid(presentation_json) \
             THEN substr(coalesce(json_extract(presentation_json, '$.commandText'), \
             json_extract(presentation_json, '$.title')), 1, 500) END",
        ),
    ],
    read,
    session_of: "SELECT current_session_id FROM session_nodes WHERE session_key = ?1",
};

object! {
    struct Approval<'a> {
        id: Str<'a> = "id",
        session: Str<'a> = "session",
        key: Str<'a> = "key",
        since: Field<u64> = "since",
        until: Field<u64> = "until",
        kind: Str<'a> = "kind",
        tool: Str<'a> = "tool",
        wants: Str<'a> = "wants",
    }
}

/// What a row of `operator_approvals` says; nothing without a session or an end.
fn read(row: &[u8]) -> Option<AskRow> {
    let mut row: Approval<'_> = first(row)?;
    let whose = match (row.session.some(), row.key.some()) {
        (Some(id), _) => Whose::Session(id.into_owned()),
        (None, Some(key)) => Whose::Key(key.into_owned()),
        (None, None) => return None,
    };
    let tool = row.tool.some().or_else(|| row.kind.some()).unwrap_or_default();
    let wants = described(&tool, &row.wants.some().unwrap_or_default());
    let ask = Ask { since: time(*row.since.get()?), until: time(*row.until.get()?), wants };
    Some(AskRow { id: row.id.some()?.into_owned(), whose, ask })
}

#[cfg(test)]
mod tests {
    use rrd_proto::Timestamp;

    use super::*;

    fn asked(more: &str) -> Option<AskRow> {
        read(format!(r#"{{"id":"a","since":5,"until":9,"kind":"exec"{more}}}"#).as_bytes())
    }

    #[test]
    fn an_approval_names_its_session_or_the_key_of_it() {
        let key = asked(r#","key":"agent:main:tui","wants":"rm -rf build""#).unwrap();
        assert_eq!((key.id.as_str(), key.whose), ("a", Whose::Key("agent:main:tui".into())));
        let at = Timestamp::from_millis;
        assert_eq!(key.ask, Ask { since: at(5), until: at(9), wants: "exec: rm -rf build".into() });
        let id = asked(r#","key":"agent:main:tui","session":"s""#).unwrap();
        assert_eq!(id.whose, Whose::Session("s".into()));
        for nobodys in ["", r#","key":"""#, r#","key":7"#] {
            assert_eq!(asked(nobodys), None, "{nobodys}");
        }
        for odd in
            ["{", "[]", r#"{"id":"a","key":"k","since":5}"#, r#"{"key":"k","since":5,"until":9}"#]
        {
            assert_eq!(read(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn what_is_asked_for_is_one_short_line() {
        let wants = |more: &str| asked(&format!(r#","key":"k"{more}"#)).unwrap().ask.wants;
        assert_eq!(wants(""), "exec");
        assert_eq!(wants(r#","tool":"deploy","wants":"Deploy it?""#), "deploy: Deploy it?");
        assert_eq!(wants(r#","wants":"a\u001b[31m\u0007\nb\u0000""#), "exec: a b");
        let long = wants(&format!(r#","wants":"{}""#, "x".repeat(500)));
        assert!(long.ends_with('…') && long.chars().count() <= 161, "{long}");
    }
}
