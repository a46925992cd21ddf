//! A session's row as its record has it: what is left out first, and what comes on top.
//!
//! Not here: the record around it ([`super`]), and how ties are told ([`crate::fleet::ties`]).

use rrd_proto::{Coverage, CoverageState, Deletion, Session, Timestamp};
use serde_json::{Map, Value};

use crate::{fleet::ties, workplace};

/// Bytes of a place's address in a record, at most.
pub(super) const MAX_URL: usize = 100;

/// What every node adds for itself.
const NOT_SAID: [&str; 5] = ["ref", "host", "node_id", "host_state", "host_seen_at"];

/// What each place has of a session, and the hour in which its harness deletes it, shorter than in JSON for
/// people: a release that does not know them passes them by.
pub(super) const MIRRORS: &str = "mirrors";
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
pub(super) fn whole(session: &Session) -> Map<String, Value> {
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

/// The row, made as short as it must be; `None` where not even its names fit.
pub(super) fn fitting(
    session: &Session,
    fits: impl Fn(&Map<String, Value>) -> bool,
) -> Option<Map<String, Value>> {
    let whole = whole(session);
    (0..=SHORTER.len()).find_map(|step| {
        let mut row = whole.clone();
        SHORTER[..step].iter().for_each(|shorten| shorten(&mut row));
        fits(&row).then_some(row)
    })
}

/// Adds what ties the session, and the marks of its places, in so many bytes.
pub(super) fn tie(row: &mut Map<String, Value>, session: &Session, room: usize) {
    let marks = Value::from(workplace::marks(session));
    let more = r#","places":,"ties":"#.len() + marks.to_string().len();
    let ties = ties::told(&session.links, room.saturating_sub(more));
    row.insert(PLACES.into(), marks);
    ties.map(|ties| row.insert(TIES.into(), ties));
}

fn cut(row: &mut Map<String, Value>, name: &str, most: usize) {
    if let Some(Value::String(text)) = row.get_mut(name) {
        shorten(text, most);
    }
}

pub(in crate::fleet) fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let most = most.saturating_sub('…'.len_utf8());
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
}

/// The row again; `None` where a later release uses words this one does not know.
pub(super) fn session(mut row: Map<String, Value>) -> Option<Session> {
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
