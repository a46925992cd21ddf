//! What a node tells of itself: records of one session each, or of the host, small and signed.
//!
//! A record says more than [`MAX_RECORD`] bytes never: a longer text is cut, and what a row can do without
//! is left out. What ties a session to others comes on top, with room of its own ([`MAX_TIED`]): no long title
//! costs a wait, and no wait what is known of a row. Only what has passed the redactor can be put into one. What a later release says of a
//! session besides is passed by. Not here: how records travel, and which of several counts
//! ([`super::peers`]).

use rrd_proto::{
    Coverage, CoverageState, Deletion, MirrorAlarm, NodeId, Session, SessionKey, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    identity::{Identity, Purpose, Signed, SigningPublic},
    ties,
};
use crate::{redact::Redacted, workplace};

/// Bytes of a record, at most. A single value beyond 64 KB would keep all later ones of its node from
/// its peers (chitchat measures lengths with 16 bits and drops what does not fit).
pub const MAX_RECORD: usize = 1_024;

/// Bytes of one with what ties its session to others, and marks of where that works, at most.
pub const MAX_TIED: usize = 4 * MAX_RECORD;

/// Bytes of a place's address in a record, at most.
const MAX_URL: usize = 100;

/// Bytes of what a place says is wrong, at most.
const MAX_ERROR: usize = 200;

/// Which of a node's words came later: by generation, then by number.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Place {
    /// Of the node; rises with every start.
    pub generation: u64,
    /// Within it.
    pub seq: u64,
}

/// What a host says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostWord {
    /// The release it runs.
    pub version: String,
    /// Active sessions.
    #[serde(default)]
    pub active: u64,
    /// All sessions, those of subagents not counted.
    #[serde(default)]
    pub sessions: u64,
    /// It has told of all its sessions since it began; what it said before is over.
    #[serde(default)]
    pub complete: bool,
    /// It is about to stop.
    #[serde(default)]
    pub leaving: bool,
    /// A place that it mirrors to has failed for long: redacted, like all that it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorAlarm>,
    /// A digest of the links of tasks that it knows; 0: none.
    #[serde(default)]
    pub tasks: u64,
    /// The same of what was said of bindings.
    #[serde(default)]
    pub bindings: u64,
}

/// What a host says of notices: an earlier release passes it by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticesWord {
    /// The sinks that it has, each by a name made of what it is.
    #[serde(default)]
    pub sinks: Vec<String>,
    /// Those of them that it cannot tell anything now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// Marks of what was told ([`crate::notices::mark`]).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub told: String,
    /// Of several records with marks the how manieth, from 0 on, below [`MAX_PARTS`].
    #[serde(default, skip_serializing_if = "is_first")]
    pub part: u8,
}

/// Records of marks that a host has, at most: with sixteen sinks that all fail there is room for 25 marks in one.
pub const MAX_PARTS: u8 = 24;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_first(part: &u8) -> bool {
    *part == 0
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Session(Map<String, Value>),
    Gone(SessionKey),
    Host(HostWord),
    Notices(NoticesWord),
}

/// What a record says, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A session, as its owner sees it. Its host's label and state are not in it.
    Session(Box<Session>),
    /// A session is no more, and was none that is worth a row.
    Gone(SessionKey),
    /// The host itself.
    Host(HostWord),
    /// What it tells people, and has told them.
    Notices(NoticesWord),
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    v: u8,
    node: NodeId,
    generation: u64,
    seq: u64,
    #[serde(borrow)]
    body: &'a RawValue,
    sig: Signed,
}

/// Why a record does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invalid {
    /// No record, or longer than one may be.
    Malformed,
    /// In the name of a node that is no member.
    NotAMember,
    /// Not signed by the node in whose name it speaks.
    NotItsOwners,
    /// Signed, and of a kind this release does not know.
    Newer,
    /// No record: a round of gossip with what no honest one holds.
    BadGossip,
}

impl Invalid {
    /// Its name in counts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotAMember => "not_a_member",
            Self::NotItsOwners => "not_its_owners",
            Self::Newer => "newer",
            Self::BadGossip => "bad_gossip",
        }
    }
}

/// A record that was read: whose it is, which of its words, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whose.
    pub node: NodeId,
    /// Which of its words.
    pub place: Place,
    /// What it says.
    pub word: Word,
}

/// A record of a session; `None` where not even its names fit: whoever asks its host gets it there.
#[must_use]
pub fn of_session(own: &Identity, place: Place, session: &Redacted<Session>) -> Option<String> {
    let whole = row(session.as_ref());
    for step in 0..=SHORTER.len() {
        let mut row = whole.clone();
        SHORTER[..step].iter().for_each(|shorten| shorten(&mut row));
        let text = sign(own, place, &Body::Session(row.clone()));
        if text.len() > MAX_RECORD {
            continue;
        }
        let marks = Value::from(workplace::marks(session.as_ref()));
        let more = r#","places":,"ties":"#.len() + marks.to_string().len();
        let ties = ties::told(&session.as_ref().links, MAX_TIED - text.len() - more);
        row.insert(PLACES.into(), marks);
        ties.map(|ties| row.insert(TIES.into(), ties));
        return Some(sign(own, place, &Body::Session(row)));
    }
    None
}

/// A record of a session that is no more; `None` as for one that is.
#[must_use]
pub fn of_gone(own: &Identity, place: Place, key: &SessionKey) -> Option<String> {
    Some(sign(own, place, &Body::Gone(key.clone()))).filter(|text| text.len() <= MAX_RECORD)
}

/// A record of the host. What fails is cut, if it must be; that something does is always told.
#[must_use]
pub fn of_host(own: &Identity, place: Place, word: &HostWord) -> String {
    let mut word = word.clone();
    if let Some(alarm) = &mut word.mirror {
        shorten(&mut alarm.url, MAX_URL);
        alarm.error.iter_mut().for_each(|error| shorten(error, MAX_ERROR));
    }
    let text = sign(own, place, &Body::Host(word.clone()));
    match &mut word.mirror {
        // Every letter of it stands for several.
        Some(alarm) if text.len() > MAX_RECORD => {
            (alarm.url, alarm.error) = (String::new(), None);
            sign(own, place, &Body::Host(word))
        }
        _ => text,
    }
}

/// A record of notices; `told` gives marks as text of at most so many bytes, as many as there is room for.
#[must_use]
pub fn of_notices(
    own: &Identity,
    place: Place,
    word: &NoticesWord,
    told: impl FnOnce(usize) -> String,
) -> String {
    let mut word = NoticesWord { told: String::new(), ..word.clone() };
    let mut text = sign(own, place, &Body::Notices(word.clone()));
    if text.len() > MAX_RECORD {
        // More than settings may name.
        word = NoticesWord { part: word.part, ..NoticesWord::default() };
        text = sign(own, place, &Body::Notices(word.clone()));
    }
    let room = MAX_RECORD.saturating_sub(text.len() + r#","told":"""#.len());
    word.told = told(room);
    match word.told.is_empty() {
        true => text,
        false => sign(own, place, &Body::Notices(word)),
    }
}

/// Reads a record; `member` gives the key of a node that is a member.
///
/// # Errors
/// Why it does not count.
pub fn read(
    text: &str,
    member: impl FnOnce(NodeId) -> Option<SigningPublic>,
) -> Result<Read, Invalid> {
    if text.len() > MAX_TIED {
        return Err(Invalid::Malformed);
    }
    let record: Envelope<'_> = serde_json::from_str(text).map_err(|_| Invalid::Malformed)?;
    let (node, place) = (record.node, Place { generation: record.generation, seq: record.seq });
    let key = member(node).ok_or(Invalid::NotAMember)?;
    let bytes = signed_bytes(record.v, node, place, record.body.get());
    if !key.verifies(Purpose::Record, &bytes, &record.sig) {
        return Err(Invalid::NotItsOwners);
    }
    let body: Body = serde_json::from_str(record.body.get()).map_err(|_| Invalid::Newer)?;
    let word = match body {
        Body::Host(host) => Word::Host(host),
        Body::Notices(notices) => Word::Notices(notices),
        Body::Gone(key) => Word::Gone(key),
        Body::Session(row) => Word::Session(Box::new(session(row).ok_or(Invalid::Newer)?)),
    };
    Ok(Read { node, place, word })
}

/// In whose name a record speaks, be it true or not.
#[must_use]
pub fn claimed(text: &str) -> Option<NodeId> {
    serde_json::from_str::<Envelope<'_>>(text).ok().map(|record| record.node)
}

fn signed_bytes(v: u8, node: NodeId, place: Place, body: &str) -> Vec<u8> {
    let numbers = [place.generation.to_be_bytes(), place.seq.to_be_bytes()].concat();
    [&[v][..], &node.to_bytes(), &numbers, body.as_bytes()].concat()
}

fn sign(own: &Identity, place: Place, body: &Body) -> String {
    let node = own.node();
    // Maps with text for keys cannot fail.
    let body = serde_json::value::to_raw_value(body).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let sig = own.sign(Purpose::Record, &signed_bytes(1, node, place, body.get()));
    let Place { generation, seq } = place;
    let envelope = Envelope { v: 1, node, generation, seq, body: &body, sig };
    serde_json::to_string(&envelope).unwrap_or_default()
}

/// What every node adds for itself.
const NOT_SAID: [&str; 5] = ["ref", "host", "node_id", "host_state", "host_seen_at"];

/// What each place has of a session, and the hour in which its harness deletes it, shorter than in JSON for
/// people: a release that does not know them passes them by.
const MIRRORS: &str = "mirrors";
const DELETED: &str = "deleted";

/// Marks of where it works.
const PLACES: &str = "places";

/// What ties it to other sessions.
const TIES: &str = "ties";

/// Milliseconds.
const HOUR: i64 = 3_600_000;

/// What a place has of a session: where, how, what is missing, and since when.
fn told(place: &Coverage) -> Value {
    let Coverage { url, state, bytes_behind, since, only_here } = place;
    let mut url = url.clone();
    shorten(&mut url, MAX_URL);
    let since = since.map(Timestamp::as_millis);
    match only_here {
        0 => serde_json::json!([url, state.as_str(), bytes_behind, since]),
        some => serde_json::json!([url, state.as_str(), bytes_behind, since, some]),
    }
}

/// The same again; what is no place of one is nothing.
fn heard(place: &Value) -> Option<Coverage> {
    let [url, state, bytes_behind, since] = place.as_array()?.get(..4)? else { return None };
    Some(Coverage {
        url: url.as_str()?.to_owned(),
        state: state.as_str()?.parse().unwrap_or(CoverageState::Unknown),
        bytes_behind: bytes_behind.as_u64(),
        since: since.as_i64().map(Timestamp::from_millis),
        only_here: place.get(4).and_then(Value::as_u64).unwrap_or(0),
    })
}

/// A row's fields, without those that say nothing, its ties, and the marks of its places.
fn row(session: &Session) -> Map<String, Value> {
    let Ok(Value::Object(mut row)) = serde_json::to_value(session) else { return Map::new() };
    let Session { coverage, deletion, .. } = session;
    ["coverage", "deletion", "links"].iter().for_each(|name| drop(row.remove(*name)));
    if !coverage.is_empty() {
        row.insert(MIRRORS.into(), coverage.iter().map(told).collect());
    }
    if let Some(Deletion { at }) = deletion {
        // Where that cannot be told: 0.
        row.insert(DELETED.into(), at.map_or(0, |at| at.as_millis() / HOUR).into());
    }
    row.retain(|name, value| {
        let says_nothing = value.is_null()
            || *value == Value::Bool(false)
            || value.as_array().is_some_and(Vec::is_empty);
        !says_nothing && !NOT_SAID.contains(&name.as_str())
    });
    row
}

/// How a row is made shorter, the least loss first.
const SHORTER: [fn(&mut Map<String, Value>); 10] = [
    |row| cut(row, "title", 120),
    |row| {
        row.remove("transcript_path");
    },
    |row| {
        row.remove("issues");
        row.remove("attach");
    },
    |row| {
        cut(row, "waiting_detail", 120);
        if let Some(Value::Object(activity)) = row.get_mut("activity") {
            cut(activity, "summary", 120);
        }
    },
    |row| {
        row.remove("repo_root");
    },
    // All places or none: of some of them nobody could tell that there are more.
    |row| {
        row.remove(MIRRORS);
        row.remove(DELETED);
    },
    |row| {
        row.remove("repo_remote");
    },
    |row| ["title", "waiting_detail", "cwd", "branch"].iter().for_each(|name| cut(row, name, 60)),
    |row| {
        row.remove("activity");
        row.remove("cwd");
        row.remove("tokens");
        row.remove("model");
    },
    |row| {
        const KEPT: [&str; 11] = [
            "harness",
            "session_id",
            "title",
            "status",
            "status_since",
            "status_source",
            "active",
            "complete",
            "last_activity_at",
            "waiting_for",
            "waiting_on",
        ];
        row.retain(|name, _| KEPT.contains(&name.as_str()));
        cut(row, "title", 40);
    },
];

fn cut(row: &mut Map<String, Value>, name: &str, most: usize) {
    if let Some(Value::String(text)) = row.get_mut(name) {
        shorten(text, most);
    }
}

pub(super) fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let most = most.saturating_sub('…'.len_utf8());
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
}

/// The row again; `None` where a later release uses words this one does not know.
fn session(mut row: Map<String, Value>) -> Option<Session> {
    for name in ["ref", "host"] {
        row.insert(name.into(), Value::String(String::new()));
    }
    for name in ["active", "complete"] {
        row.entry(name).or_insert(Value::Bool(false));
    }
    row.entry("issues").or_insert_with(|| Value::Array(Vec::new()));
    row.insert("host_state".into(), Value::String("away".into()));
    let (mirrors, deleted) = (row.remove(MIRRORS), row.remove(DELETED));
    let (ties, places) = (row.remove(TIES), row.remove(PLACES));
    ["coverage", "deletion", "links"].iter().for_each(|name| drop(row.remove(*name)));
    let mut session: Session = serde_json::from_value(Value::Object(row)).ok()?;
    (session.node_id, session.host_seen_at) = (None, None);
    let mirrors = mirrors.as_ref().and_then(Value::as_array);
    session.coverage = mirrors.into_iter().flatten().filter_map(heard).collect();
    session.links = ties.as_ref().map(ties::heard).unwrap_or_default();
    session.workplaces = Some(places.map(places_heard).unwrap_or_default());
    session.deletion = deleted.and_then(|deleted| deleted.as_i64()).map(|hour| Deletion {
        at: (hour > 0).then(|| Timestamp::from_millis(hour.saturating_mul(HOUR))),
    });
    Some(session)
}

fn places_heard(told: Value) -> Vec<String> {
    let Value::Array(marks) = told else { return Vec::new() };
    let mark = |told: Value| match told {
        Value::String(mark) if mark.len() <= workplace::MARK => Some(mark),
        _ => None,
    };
    marks.into_iter().filter_map(mark).take(workplace::MARKS).collect()
}

/// Moves every time in a row by `ms`: from its owner's clock to the reader's.
pub fn shift(session: &mut Session, ms: i64) {
    let Session {
        started_at,
        last_activity_at,
        status_since,
        activity,
        coverage,
        deletion,
        links,
        ..
    } = session;
    let since = activity.as_mut().map(|activity| &mut activity.since);
    let covered = coverage.iter_mut().map(|place| &mut place.since);
    let deleted = deletion.as_mut().map(|deletion| &mut deletion.at);
    let tied = links.iter_mut().map(|link| &mut link.since);
    let more = since.into_iter().chain(covered).chain(deleted).chain(tied);
    for time in [started_at, last_activity_at, status_since].into_iter().chain(more) {
        *time = time.map(|at: Timestamp| at.plus(ms));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::redact::{Redactor, Report};

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
        let mut row = row(&some_session("a", "b"));
        row.insert(
            MIRRORS.into(),
            serde_json::json!([["u", "thawing", null, 1, "more"], 7, ["u"]]),
        );
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
            let mut fields = row(&some_session("a", "b"));
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
}
