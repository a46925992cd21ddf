//! Records made and read: what fits, what is left out, and whose word counts.

use proptest::prelude::*;
use rrd_proto::{CoverageState, Timestamp};
use serde_json::{Map, Value};

use super::{
    row::{MIRRORS, session, whole},
    *,
};
use crate::{
    redact::{Redactor, Report},
    workplace,
};

fn own(n: u8) -> Identity {
    Identity::from_secret(&[n; 64])
}

fn some_session(title: &str, detail: &str) -> Session {
    let row = serde_json::json!({
        "ref": "abcde", "host": "mac", "node_id": null, "harness": "claude-code",
        "session_id": "7f2c1111-0000-4000-8000-000000000001", "repo": "web", "repo_root": "/home/u/src/web",
        "repo_remote": "github.com/acme/web", "branch": "main", "cwd": "/home/u/src/web",
        "started_at": "2026-11-20T10:29:13.794Z", "last_activity_at": "2026-11-20T10:30:13.794Z",
        "transcript_path": "/home/u/.claude/projects/-home-u-src-web/7f2c1111-0000-4000-8000-000000000001.jsonl",
        "title": title, "model": "claude-opus-5", "status": "waiting",
        "status_since": "2026-11-20T10:30:13.794Z", "status_source": "registry",
        "waiting_for": "permission", "waiting_detail": detail,
        "activity": {"tool": "Bash", "summary": detail, "since": "2026-11-20T10:30:13.794Z"},
        "active": true, "live": true, "interactive": true, "pid": 4711,
        "counts": {"prompts": 1, "messages": 2, "tool_calls": 3, "errors": 0},
        "complete": true, "host_state": "here",
        "issues": [{"kind": "damaged_line", "count": 1, "offset": 7, "detail": null}],
        "coverage": [{"url": "s3://b/rrd", "state": "behind", "bytes_behind": 9,
            "since": "2026-11-20T10:30:13.794Z"}],
        "deletion": {"at": "2026-12-20T10:00:00.000Z"},
    });
    serde_json::from_value(row).unwrap()
}

fn some_link() -> rrd_proto::Link {
    rrd_proto::Link {
        kind: rrd_proto::EdgeKind::Wait,
        state: rrd_proto::EdgeState::Declared,
        to: "abcde".to_owned(),
        incoming: false,
        any: true,
        group: 2,
        since: Some(Timestamp::from_millis(1_795_000_000_000)),
        evidence: "rrd wait --until idle".to_owned(),
    }
}

fn redacted(session: Session) -> Redacted<Session> {
    Redactor::default().row(session, &mut Report::default())
}

fn read_of(text: &str, n: u8) -> Result<Read, Invalid> {
    read(text, |node| (node == own(n).node()).then(|| own(n).public()))
}

#[test]
fn ties_arrive_by_the_readers_clock() {
    let key = some_session("", "").key();
    let sent = Session { links: vec![some_link()], ..Session::unknown(key) };
    let text = of_session(&own(1), Place::default(), &redacted(sent.clone())).unwrap();
    let Word::Session(mut got) = read_of(&text, 1).unwrap().word else { panic!("{text}") };
    assert_eq!(got.links, sent.links);
    shift(&mut got, 5_000);
    assert_eq!(got.links[0].since, Some(Timestamp::from_millis(1_795_000_005_000)));
}

#[test]
fn however_long_a_row_is_all_whom_it_waits_for_are_told_and_cost_it_nothing() {
    let target =
        |at: u8| format!("ab{}{}e", char::from(b'a' + at / 26), char::from(b'a' + at % 26));
    let links: Vec<rrd_proto::Link> =
        (0..128).map(|at| rrd_proto::Link { to: target(at), ..some_link() }).collect();
    for title in ["Ship it".to_owned(), "long ".repeat(100), "\u{1}".repeat(500)] {
        let alone = some_session(&title, &title);
        let waits = Session { links: links.clone(), ..alone.clone() };
        let got = |session: Session| {
            let text = of_session(&own(1), Place::default(), &redacted(session)).unwrap();
            assert!(text.len() <= MAX_TIED, "{}", text.len());
            let Word::Session(got) = read_of(&text, 1).unwrap().word else { panic!("{text}") };
            *got
        };
        let (alone, mut waits) = (got(alone), got(waits));
        assert_eq!(std::mem::take(&mut waits.links), links);
        assert_eq!(waits, alone);
    }
}

#[test]
fn a_warning_is_the_same_however_much_of_the_rows_arrives() {
    let node = |n: u8| Some(own(n).node().to_string());
    let long = |end: &str| format!("/home/u/{}/{end}", "worktrees-of-the-project/".repeat(9));
    let works = |n: u8, reference: &str, text: &str| Session {
        node_id: node(n),
        reference: reference.to_owned(),
        session_id: format!("{}-{reference}", "0".repeat(150)),
        ..some_session(text, text)
    };
    let text = "permission to do what is long to tell ".repeat(20);
    let rows = [
        // Two worktrees whose paths begin alike, and one that two are in.
        Session { cwd: Some(long("one")), branch: Some("x".into()), ..works(1, "a", &text) },
        Session { cwd: Some(long("two")), branch: Some("y".into()), ..works(1, "b", &text) },
        Session { cwd: Some(long("two")), branch: Some("HEAD".into()), ..works(1, "c", &text) },
        // One branch on two hosts, and another one that begins like it.
        Session { branch: Some("x".into()), cwd: Some(long("four")), ..works(2, "d", &text) },
        Session { branch: Some(format!("x{}", "y".repeat(200))), ..works(2, "e", &text) },
        Session { branch: Some(format!("x{}z", "y".repeat(199))), ..works(1, "f", "") },
    ];
    let heard = |row: &Session| {
        let text = of_session(&own(1), Place::default(), &redacted(row.clone())).unwrap();
        let Word::Session(got) = read_of(&text, 1).unwrap().word else { panic!("{text}") };
        Session {
            node_id: row.node_id.clone(),
            reference: row.reference.clone(),
            host_state: rrd_proto::HostState::Live,
            ..*got
        }
    };
    let warned = |rows: &[Session]| -> Vec<(String, String)> {
        let edges = crate::graph::graph(rows, &[]).edges.into_iter();
        edges.map(|edge| (edge.from, edge.to)).collect()
    };
    let near = warned(&rows);
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(near, [pair("a", "d"), pair("b", "c")]);
    let heard: Vec<Session> = rows.iter().map(heard).collect();
    assert!(heard.iter().any(|row| row.repo_remote.is_none()), "nothing was left out");
    assert_eq!(warned(&heard), near);
    assert_eq!(warned(&[&heard[..2], &rows[2..]].concat()), near);
}

#[test]
fn a_row_arrives_as_its_owner_sees_it() {
    let sent = some_session("Ship it", "Bash: npm publish");
    let place = Place { generation: 1_800_000_000_000, seq: 4 };
    let text = of_session(&own(1), place, &redacted(sent.clone())).unwrap();
    assert!(text.len() <= MAX_RECORD + 64, "{}", text.len());
    let read = read_of(&text, 1).unwrap();
    assert_eq!((read.node, read.place), (own(1).node(), place));
    let Word::Session(mut got) = read.word else { panic!("{text}") };
    assert_eq!(got.status_since, sent.status_since);
    let mut asked = sent;
    // These are each reader's own to say, and two are long.
    for row in [&mut asked, &mut *got] {
        (row.reference, row.host) = (String::new(), String::new());
        (row.host_state, row.transcript_path) = (rrd_proto::HostState::Live, None);
        row.issues.clear();
        row.workplaces = Some(workplace::marks(row));
    }
    assert_eq!(*got, asked);
}

#[test]
fn what_a_release_before_this_one_says_is_no_mirror_and_what_a_later_one_says_is_unknown() {
    let mut row = whole(&some_session("a", "b"));
    row.insert(MIRRORS.into(), serde_json::json!([["u", "thawing", null, 1, "more"], 7, ["u"]]));
    let state = |row| session(row).unwrap().coverage.first().map(|place| place.state);
    assert_eq!(state(row.clone()), Some(CoverageState::Unknown));
    row.remove(MIRRORS);
    assert_eq!(state(row), None);
    let older = r#"{"host":{"version":"0"}}"#;
    let Ok(Body::Host(word)) = serde_json::from_str(older) else { panic!("{older}") };
    assert_eq!(word.mirror, None);
    // Who tells of nothing says what it always said: nobody hears a change.
    let text = of_host(&own(1), Place::default(), &HostWord::default());
    assert!(!text.contains("mirror"), "{text}");
}

#[test]
fn what_is_said_of_notices_fits_and_a_later_release_may_say_more() {
    let place = Place { generation: 1, seq: 1 };
    let words = |text: &str| match read_of(text, 1).unwrap().word {
        Word::Notices(word) => word,
        other => panic!("{other:?}"),
    };
    for sinks in [0, 1, 16, 500] {
        let sinks: Vec<String> = (0..sinks).map(|n| format!("sink{n:04}")).collect();
        let word = NoticesWord { failing: sinks.clone(), sinks, ..NoticesWord::default() };
        let text = of_notices(&own(1), place, &word, |most| "A".repeat(most));
        assert!(text.len() <= MAX_RECORD, "{}", text.len());
        let heard = words(&text);
        assert_eq!(heard.sinks, if word.sinks.len() > 16 { vec![] } else { word.sinks });
        assert!(heard.told.len() > 300, "{}", heard.told.len());
        assert!(read_of(&text.replace("sink", "mine"), 1).is_err() || heard.sinks.is_empty());
    }
    let later = r#"{"notices":{"sinks":["a"],"mood":"good"}}"#;
    let Ok(Body::Notices(word)) = serde_json::from_str(later) else { panic!("{later}") };
    assert_eq!((word.sinks, word.told), (vec!["a".to_owned()], String::new()));
    // What an earlier release makes of it: signed, of a kind that it does not know, and nothing else.
    let unknown = sign(&own(1), place, &Body::Notices(NoticesWord::default()));
    let unknown = unknown.replace("notices", "noticez");
    assert_eq!(read_of(&unknown, 1), Err(Invalid::NotItsOwners));
    assert!(serde_json::from_str::<Body>(r#"{"noticez":{}}"#).is_err());
}

#[test]
fn times_of_a_mirror_are_told_by_the_readers_clock() {
    let mut session = some_session("a", "b");
    let before = session.clone();
    shift(&mut session, 1_000);
    let later = |at: Option<Timestamp>| at.map(|at| at.plus(1_000));
    assert_eq!(session.coverage[0].since, later(before.coverage[0].since));
    let deleted = |session: &Session| session.deletion.and_then(|deletion| deletion.at);
    assert_eq!(deleted(&session), later(deleted(&before)));
}

#[test]
fn only_the_owners_word_counts() {
    let place = Place { generation: 1, seq: 1 };
    let text = of_session(&own(1), place, &redacted(some_session("a", "b"))).unwrap();
    assert_eq!(read_of(&text, 2), Err(Invalid::NotAMember));
    let forged = text.replace(r#""seq":1"#, r#""seq":2"#);
    assert_eq!(read_of(&forged, 1), Err(Invalid::NotItsOwners));
    let forged = text.replace("npm", "rpm").replace(r#""title":"a""#, r#""title":"z""#);
    assert_eq!(read_of(&forged, 1), Err(Invalid::NotItsOwners));
    let others = text.replace(&own(1).node().to_string(), &own(2).node().to_string());
    assert_eq!(read_of(&others, 2), Err(Invalid::NotItsOwners));
    for nothing in ["", "{}", "null", &"[".repeat(1000), &" ".repeat(2000)] {
        assert_eq!(read_of(nothing, 1), Err(Invalid::Malformed));
    }
}

#[test]
fn what_a_later_release_says_is_passed_by() {
    let place = Place { generation: 1, seq: 1 };
    let with = |change: &dyn Fn(&mut Map<String, Value>)| {
        let mut fields = whole(&some_session("a", "b"));
        fields.remove("transcript_path");
        change(&mut fields);
        read_of(&sign(&own(1), place, &Body::Session(fields)), 1)
    };
    assert!(with(&|row| drop(row.insert("mood".into(), "good".into()))).is_ok());
    let unknown = with(&|row| drop(row.insert("status".into(), "dreaming".into())));
    assert_eq!(unknown, Err(Invalid::Newer));
}

#[test]
fn times_are_shown_by_the_readers_clock() {
    let mut session = some_session("a", "b");
    let before = session.clone();
    shift(&mut session, -5_000);
    assert_eq!(session.last_activity_at, before.last_activity_at.map(|at| at.plus(-5_000)));
    assert_eq!(
        session.activity.unwrap().since,
        before.activity.unwrap().since.map(|at| at.plus(-5_000))
    );
}

proptest! {
    #[test]
    fn no_text_makes_a_record_too_long(title in ".{0,3000}", detail in "\\PC{0,3000}", id in "[a-z0-9-]{1,2000}", links in 0_usize..192) {
        let mut session = some_session(&title, &detail);
        session.links = vec![some_link(); links];
        session.session_id = id;
        session.cwd = Some(detail.clone());
        let fits = session.session_id.len() < 300;
        let text = of_session(&own(1), Place::default(), &redacted(session));
        prop_assert!(text.is_some() || !fits);
        let tied = text.as_ref().and_then(|text| match read_of(text, 1) {
            Ok(Read { word: Word::Session(row), .. }) => Some(row.links.len()),
            _ => None,
        });
        prop_assert!(tied.is_none_or(|tied| tied == links), "{tied:?}");
        prop_assert!(text.is_none_or(|text| text.len() <= MAX_TIED && read_of(&text, 1).is_ok()));
    }

    #[test]
    fn no_place_makes_a_record_too_long(url in ".{0,3000}", error in "[\\PC\u{0}\"]{0,3000}", places in 0_usize..40) {
        let mut session = some_session("Ship it", "Bash: npm publish");
        session.coverage[0].url = url.clone();
        session.coverage = vec![session.coverage[0].clone(); places];
        let text = of_session(&own(1), Place::default(), &redacted(session)).unwrap();
        prop_assert!(text.len() <= MAX_RECORD + 64);
        let Ok(Read { word: Word::Session(row), .. }) = read_of(&text, 1) else { panic!("{text}") };
        prop_assert!(row.coverage.len() == places || row.coverage.is_empty());
        let mirror = MirrorAlarm {
            url,
            since: None,
            pending_parts: 7,
            transcripts_behind: Some(u64::MAX),
            bytes_behind: Some(u64::MAX),
            error: Some(error),
        };
        let word = HostWord { mirror: Some(mirror), ..HostWord::default() };
        let text = of_host(&own(1), Place::default(), &word);
        let Ok(Read { word: Word::Host(word), .. }) = read_of(&text, 1) else { panic!("{text}") };
        prop_assert_eq!(word.mirror.map(|alarm| alarm.pending_parts), Some(7));
    }
}
