//! Whether a session may be resumed, by what is known of it on every host.
//!
//! Two agents that write one session under one name are the harm to avoid: their transcripts part, and no
//! merge mends that. Not here: whether a copy can be had.

use rrd_proto::{
    Coverage, CoverageState, Harness, HostState, Issue, Session, Status, StatusSource, Timestamp,
    age,
};

use super::No;

/// A turn that is open where nothing tells whether its process lives may still run if something of it is no
/// older than this, in milliseconds.
const FRESH_MS: i64 = 5 * 60_000;

/// What whoever asks allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Another session with the same past is to begin.
    pub fork: bool,
    /// It may still be open somewhere: its host is away, or its turn was left open and nothing tells of its
    /// process. That is taken into account.
    pub take_over: bool,
    /// It comes out of a bucket, whoever tells of that.
    pub from_bucket: bool,
}

/// Whether `session` may be resumed; `copies` are all rows with its harness and id, its own among them.
///
/// # Errors
/// [`No`], with what would allow it.
pub fn may(session: &Session, copies: &[Session], wish: Wish, now: Timestamp) -> Result<(), No> {
    let id = &session.session_id;
    if session.is_subagent() {
        let parent = session.parent_session_id.as_deref().unwrap_or("the one it belongs to");
        return Err(No::new(
            "it is a subagent: it goes on only with the session that delegated to it",
            format!("rrd resume {parent}"),
        ));
    }
    if wish.fork {
        return Ok(());
    }
    let with = |sign| copies.iter().find(|copy| sign_of_life(copy, now) == Some(sign));
    if let Some(alive) = with(Sign::Known) {
        let process = match (alive.live, alive.pid) {
            (Some(true), Some(pid)) => format!(" (process {pid})"),
            _ => String::new(),
        };
        let (mut why, mut next) = (
            format!(
                "it is {} on {}{process}: two would write one session",
                alive.status, alive.host
            ),
            format!("end it there, or rrd resume {id} --fork begins another one with its past"),
        );
        // Whoever has left it has nothing there to end.
        if alive.harness == Harness::Codex && alive.status_source == StatusSource::Lock {
            next = format!(
                "end it there: once its terminal was left, Codex's own server keeps it for up to a minute; rrd resume \
                 {id} --fork does not wait, it begins another one with its past"
            );
        }
        // Of its process nothing is known: it may have died a moment ago.
        if alive.live.is_none() {
            let ago = last_sign(alive).map_or_else(String::new, |at| age(now, at));
            why.push_str(&format!("; the last sign of it came {ago} ago"));
            next.push_str("; where nothing comes of it for five minutes, --take-over may do");
        }
        return Err(No::new(why, next));
    }
    if let Some(left) = with(Sign::Left).filter(|_| !wish.take_over) {
        return Err(No::new(
            format!(
                "its turn on {} is open, and nothing tells whether it still runs; {}",
                left.host,
                last_written(left, now)
            ),
            format!("if it does not, rrd resume {id} --take-over, else --fork"),
        ));
    }
    let away = copies.iter().find(|copy| copy.host_state == HostState::Away);
    if let Some(away) = away.filter(|_| !wish.take_over) {
        if !wish.from_bucket && !copies.iter().any(may_be_had) {
            return Err(No::new(
                format!("{} is away, and as far as is known it is mirrored nowhere", away.host),
                format!(
                    "start {} and run it again; --take-over --from bucket looks into the buckets \
                     of this host all the same",
                    away.host
                ),
            ));
        }
        return Err(No::new(
            format!("{} is away, and nobody knows whether it goes on there", away.host),
            format!("rrd resume {id} --take-over resumes it all the same"),
        ));
    }
    Ok(())
}

/// Whether there is something of it to go on with: its host gives it, or a bucket.
fn may_be_had(copy: &Session) -> bool {
    use CoverageState::{Excluded, Expired, Held, Unknown};
    let is_there = |place: &Coverage| !matches!(place.state, Excluded | Expired | Held | Unknown);
    copy.host_state != HostState::Away || copy.coverage.iter().any(is_there)
}

/// Of a copy that may be open somewhere although nothing says so: a person is to know, and may go on.
#[must_use]
pub fn doubt(copies: &[Session], now: Timestamp) -> Option<String> {
    // What is over by its age alone was given up without a word.
    let nobody_tells = |row: &&Session| {
        let is_gone = row.issues.iter().any(|issue| issue.kind == Issue::SOURCE_GONE);
        let is_given_up = row.status_source == StatusSource::Age && !is_gone;
        row.live.is_none()
            && row.host_state != HostState::Away
            && (row.status != Status::Ended || is_given_up)
    };
    let row = copies.iter().find(nobody_tells)?;
    Some(format!(
        "nothing tells whether it is still open on {}, {}: if so, end it there",
        row.host,
        last_written(row, now)
    ))
}

/// Why a copy may be at work or open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// Its process lives, or nothing tells of that and its turn is open and fresh.
    Known,
    /// Its turn is open, and nothing has come of it for a while: so looks what works in silence or waits for an
    /// answer, and so does a copy, or what died unseen.
    Left,
}

/// Of a host that is away its last word is no knowledge.
fn sign_of_life(session: &Session, now: Timestamp) -> Option<Sign> {
    let is_open = matches!(session.status, Status::Executing | Status::Waiting);
    match session.live {
        _ if session.host_state == HostState::Away => None,
        Some(live) => live.then_some(Sign::Known),
        None if !is_open => None,
        None => {
            // One of a clock that is ahead is no older than one of now.
            let is_fresh = last_sign(session).is_some_and(|at| now.since(at) <= FRESH_MS);
            Some(if is_fresh { Sign::Known } else { Sign::Left })
        }
    }
}

/// The latest of what its transcript and what its hooks say.
fn last_sign(session: &Session) -> Option<Timestamp> {
    session.last_activity_at.max(session.status_since)
}

fn last_written(session: &Session, now: Timestamp) -> String {
    session.last_activity_at.map_or_else(
        || "it is not known when it was last written".to_owned(),
        |at| format!("last written {} ago", age(now, at)),
    )
}

#[cfg(test)]
mod tests {
    use rrd_proto::ParentKind;
    use serde_json::json;

    use super::*;

    fn row(host: &str, status: &str, live: Option<bool>, state: &str) -> Session {
        let nulls = [
            "node_id",
            "repo",
            "repo_root",
            "repo_remote",
            "branch",
            "cwd",
            "started_at",
            "last_activity_at",
            "transcript_path",
            "title",
            "model",
            "status_since",
            "waiting_for",
            "waiting_detail",
            "waiting_on",
            "activity",
            "turn_result",
            "end_reason",
            "interactive",
            "pid",
            "parent_session_id",
            "parent_kind",
            "counts",
            "tokens",
            "host_seen_at",
            "attach",
        ];
        let mut row = json!({
            "ref": "abcde", "host": host, "harness": "claude-code", "session_id": "7f2c",
            "status": status, "status_source": "stop_reason", "active": true, "live": live, "complete": true,
            "host_state": state, "issues": [],
        });
        for key in nulls {
            row[key] = json!(null);
        }
        serde_json::from_value(row).unwrap()
    }

    /// Its last record is so many milliseconds old.
    fn written(row: Session, ago: i64) -> Session {
        Session { last_activity_at: Some(NOW.plus(-ago)), ..row }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn nobody_resumes_what_is_alive_somewhere() {
        let (fork, over) =
            (Wish { fork: true, ..Wish::default() }, Wish { take_over: true, ..Wish::default() });
        for (row, plain, taken) in [
            (row("a", "ended", Some(false), "live"), true, true),
            (row("a", "idle", None, "live"), true, true),
            (row("a", "idle", Some(true), "live"), false, false),
            (written(row("a", "executing", None, "here"), 60_000), false, false),
            (written(row("a", "waiting", None, "live"), FRESH_MS), false, false),
            (written(row("a", "executing", None, "here"), -3_600_000), false, false),
            // Nothing was written for a while, or nobody knows when: in doubt a person says so.
            (written(row("a", "executing", None, "here"), FRESH_MS + 1), false, true),
            (written(row("a", "waiting", None, "live"), 3 * 3_600_000), false, true),
            (row("a", "waiting", None, "live"), false, true),
            // Its process is known to live, however silent it is.
            (written(row("a", "executing", Some(true), "live"), 3 * 3_600_000), false, false),
            (row("a", "executing", Some(true), "away"), false, true),
            (row("a", "ended", Some(false), "away"), false, true),
        ] {
            let rows = [row.clone()];
            assert_eq!(may(&row, &rows, Wish::default(), NOW).is_ok(), plain, "{row:?}");
            assert_eq!(may(&row, &rows, over, NOW).is_ok(), taken, "{row:?}");
            assert_eq!(may(&row, &rows, fork, NOW), Ok(()));
        }
        // How long ago is told, and that waiting helps, where that is what it is judged by.
        let fresh = written(row("a", "executing", None, "here"), 60_000);
        let no = may(&fresh, std::slice::from_ref(&fresh), over, NOW).unwrap_err();
        assert!(no.why.ends_with("the last sign of it came 1m ago"), "{no:?}");
        assert!(no.next.ends_with("for five minutes, --take-over may do"), "{no:?}");
        let lives = Session { live: Some(true), ..fresh };
        let no = may(&lives, std::slice::from_ref(&lives), over, NOW).unwrap_err();
        assert!(!no.why.contains("ago") && !no.next.contains("--take-over"), "{no:?}");
        // Codex's own server holds its lock for a while after its terminal was left.
        let mut held = lives.clone();
        held.status_source = StatusSource::Lock;
        for (harness, is_told) in [(Harness::Codex, true), (Harness::ClaudeCode, false)] {
            held.harness = harness;
            let no = may(&held, std::slice::from_ref(&held), over, NOW).unwrap_err();
            assert_eq!(
                no.next.contains("own server keeps it for up to a minute"),
                is_told,
                "{no:?}"
            );
            assert!(no.next.starts_with("end it there") && no.next.contains("--fork"), "{no:?}");
        }
        // Where it is to be had from is told, too.
        let mut away = row("a", "idle", None, "away");
        let next = |row: &Session, copies: &[Session], from_bucket| {
            let wish = Wish { from_bucket, ..Wish::default() };
            may(row, copies, wish, NOW).unwrap_err().next
        };
        let takes_over = "rrd resume 7f2c --take-over resumes it all the same";
        let here = row("b", "idle", Some(false), "here");
        assert!(next(&away, std::slice::from_ref(&away), false).starts_with("start a and run"));
        assert_eq!(next(&away, std::slice::from_ref(&away), true), takes_over);
        assert_eq!(next(&away, &[away.clone(), here], false), takes_over);
        for (state, is_there) in [(CoverageState::Mirrored, true), (CoverageState::Held, false)] {
            let (url, bytes_behind, since, only_here) = ("b".to_owned(), None, None, 0);
            away.coverage = vec![Coverage { url, state, bytes_behind, since, only_here }];
            assert_eq!(next(&away, std::slice::from_ref(&away), false) == takes_over, is_there);
        }
        // A copy of it that was resumed on a third host counts as well.
        let rows = [row("a", "ended", Some(false), "here"), row("b", "idle", Some(true), "live")];
        let no = may(&rows[0], &rows, over, NOW).unwrap_err();
        assert!(no.why.contains("idle on b") && no.next.contains("--fork"), "{no:?}");
    }

    #[test]
    fn of_a_copy_whose_turn_was_left_open_it_says_what_is_known() {
        let three_days = 3 * 86_400_000;
        let copy = written(row("b", "waiting", None, "here"), three_days);
        let rows = [row("a", "ended", Some(false), "live"), copy];
        let no = may(&rows[0], &rows, Wish::default(), NOW).unwrap_err();
        let known =
            "its turn on b is open, and nothing tells whether it still runs; last written 3d ago";
        assert_eq!(no.why, known);
        assert!(no.next.contains("rrd resume 7f2c --take-over") && no.next.contains("--fork"));
        // What a hook said since then is as good as a record, and what lives comes before what may.
        let mut asked = rows.clone();
        asked[1].status_since = Some(NOW.plus(-1_000));
        assert!(
            may(&asked[0], &asked, Wish::default(), NOW).unwrap_err().why.contains("waiting on b")
        );
        let alive = [&rows[..], &[row("c", "idle", Some(true), "live")]].concat();
        assert!(
            may(&alive[0], &alive, Wish::default(), NOW).unwrap_err().why.contains("idle on c")
        );
    }

    #[test]
    fn who_goes_on_in_doubt_is_told_of_it() {
        let said = |status, live, state| {
            let row = written(row("a", status, live, state), 3 * 86_400_000);
            doubt(&[row], NOW)
        };
        let told = said("idle", None, "live").unwrap();
        assert!(told.contains("still open on a, last written 3d ago"), "{told}");
        assert!(said("executing", None, "here").is_some(), "taken over");
        for (status, live, state) in
            [("idle", Some(false), "live"), ("ended", None, "live"), ("idle", None, "away")]
        {
            assert_eq!(said(status, live, state), None, "{status} {live:?} {state}");
        }
        let mut aged = written(row("a", "ended", None, "live"), 3 * 86_400_000);
        aged.status_source = StatusSource::Age;
        assert!(doubt(&[aged], NOW).is_some());
    }

    #[test]
    fn a_subagent_goes_on_with_its_parent() {
        let mut row = row("a", "ended", Some(false), "live");
        row.parent_kind = Some(ParentKind::Subagent);
        row.parent_session_id = Some("0dd9".to_owned());
        let no = may(&row, &[], Wish { fork: true, take_over: true, ..Wish::default() }, NOW)
            .unwrap_err();
        assert_eq!(no.next, "rrd resume 0dd9");
    }
}
