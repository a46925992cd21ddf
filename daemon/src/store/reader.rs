//! Reading the index: never writes, never blocks the writer.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rrd_core::{
    body,
    calls::{self, Calls},
    cursor::Cursor,
    fold::Fold,
    search::needs_body,
};
use rrd_proto::{
    Direction, Event, EventKind, Gap, Harness, Limit, Mark, SessionKey, Stretch, Timestamp,
    ToolKind,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{
    DatabaseState, Earlier, FileState, READER_VERSION, Stored, TrailState, bodies, database,
    retain, schema,
};

/// A read-only connection.
#[derive(Debug)]
pub struct Reader {
    db: Connection,
}

/// An event that was stored when bodies were not kept yet, or later.
#[derive(Debug, Clone, Copy)]
pub struct ToFill {
    /// The event.
    pub seq: u64,
    /// What it is.
    pub kind: EventKind,
    /// Its body has not been kept.
    pub lacks: bool,
}

/// Where the record of an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it begins …
    pub offset: u64,
    /// … which one it is …
    pub key: u64,
    /// … and which of its events is meant.
    pub nth: u64,
    /// Transcripts of its session, one of which has it.
    pub paths: Vec<String>,
}

/// One session in the index, as far as somebody must know it who keeps something made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The session.
    pub key: SessionKey,
    /// Another number whenever its events began anew.
    pub life: i64,
    /// Its events have their bodies, or will never have more of them.
    pub bodied: bool,
    /// The seq that its next event will have.
    pub next: u64,
}

/// How much is kept of all that events say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Of so many sessions.
    pub sessions: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes of the index that are in use, with events' lines and keys: what the limit of all of it counts.
    pub used: u64,
    /// Of how many sessions which limit took something.
    pub limited: Vec<(Limit, u64)>,
}

/// Event kinds by number: part of the disk format, so it only grows at its end.
pub(super) const KINDS: [EventKind; 13] = [
    EventKind::Prompt,
    EventKind::Message,
    EventKind::ToolCall,
    EventKind::ToolResult,
    EventKind::Error,
    EventKind::TurnEnd,
    EventKind::Compaction,
    EventKind::SubagentStart,
    EventKind::SubagentStop,
    EventKind::PermissionRequest,
    EventKind::PeerMessage,
    EventKind::Title,
    EventKind::Ended,
];

pub(super) const FLAG_ERROR: i64 = 1;
pub(super) const FLAG_TRUNCATED: i64 = 2;
pub(super) const FLAG_SENT: i64 = 4;
pub(super) const FLAG_WITHDRAWN: i64 = 8;

impl Reader {
    /// Opens the index if there is one this release understands.
    #[must_use]
    pub fn open(state_dir: &Path) -> Option<Self> {
        let path = database(state_dir);
        if !path.exists() {
            return None;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).ok()?;
        db.busy_timeout(Duration::from_millis(250)).ok()?;
        db.pragma_update(None, "trusted_schema", false).ok()?;
        schema::is_current(&db).then_some(Self { db })
    }

    /// Every session and transcript this release's reader stored, and what hooks said.
    ///
    /// # Errors
    /// SQLite's.
    pub fn load(&self) -> rusqlite::Result<Stored> {
        let mut stored = Stored::default();
        let mut sessions =
            self.db.prepare("SELECT harness, session_id, fold, seal, reader FROM sessions")?;
        let mut rows = sessions.query([])?;
        let mut earlier = HashMap::new();
        while let Some(row) = rows.next()? {
            let (key, text) = (key(row, 0)?, row.get_ref(2)?.as_str()?);
            if schema::seal(&[&key.to_string(), text]) == row.get::<_, i64>(3)?
                && let Ok(fold) = serde_json::from_str::<Fold>(text)
            {
                match row.get::<_, i64>(4)? == READER_VERSION {
                    true => stored.sessions.push((key, Arc::new(fold))),
                    false => drop(earlier.insert(key, Arc::new(fold))),
                }
            }
        }
        let mut files = self.db.prepare(
            "SELECT s.harness, s.session_id, f.path, f.cursor, f.parser, f.size, f.mtime, f.seal
             FROM files f JOIN sessions s ON s.id = f.session",
        )?;
        let mut rows = files.query([])?;
        while let Some(row) = rows.next()? {
            let (cursor, parser) = (row.get_ref(3)?.as_str()?, row.get_ref(4)?.as_str()?);
            let (session, path): (_, String) = (key(row, 0)?, row.get(2)?);
            if schema::seal(&[&path, &session.to_string(), cursor, parser])
                != row.get::<_, i64>(7)?
            {
                continue;
            }
            if let Some(fold) = earlier.get(&session) {
                if let Ok(cursor) = serde_json::from_str::<Cursor>(cursor)
                    && cursor.rows.is_none()
                {
                    let (key, fold) = (session, Arc::clone(fold));
                    stored.earlier.push(Earlier { key, fold, path, id: cursor.id });
                }
                continue;
            }
            if let (Ok(cursor), Ok(parser)) =
                (serde_json::from_str(cursor), serde_json::from_str(parser))
            {
                let size = row.get::<_, i64>(5)?.cast_unsigned();
                let mtime = row.get(6)?;
                stored.files.push(FileState { path, session, cursor, parser, size, mtime });
            }
        }
        let mut databases =
            self.db.prepare("SELECT path, state, seal FROM databases WHERE reader = ?1")?;
        let mut rows = databases.query([READER_VERSION])?;
        while let Some(row) = rows.next()? {
            let (path, text) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            if schema::seal(&[path, text]) == row.get::<_, i64>(2)?
                && let Ok(state) = serde_json::from_str::<DatabaseState>(text)
            {
                stored.databases.push(state);
            }
        }
        let mut trails = self.db.prepare("SELECT harness, session_id, trail, seal FROM trails")?;
        let mut rows = trails.query([])?;
        while let Some(row) = rows.next()? {
            // Nothing else has what the other rows say: one that is damaged must not take them along.
            if let (Ok(key), Ok(text), Ok(seal)) =
                (key(row, 0), row.get_ref(2)?.as_str(), row.get::<_, i64>(3))
                && schema::seal(&[&key.to_string(), text]) == seal
                && let Ok(state) = serde_json::from_str::<TrailState>(text)
            {
                stored.trails.push((key, state));
            }
        }
        Ok(stored)
    }

    /// Events of one session with `seq > after`, or its newest ones; oldest first, at most `limit`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn events(
        &self,
        key: &SessionKey,
        after: Option<u64>,
        limit: u32,
    ) -> rusqlite::Result<Vec<Event>> {
        match after {
            Some(after) => self.some(
                "seq > ?2 ORDER BY seq",
                key,
                i64::try_from(after).unwrap_or(i64::MAX),
                limit,
            ),
            None => self.events_before(key, u64::MAX, limit),
        }
    }

    /// The newest events with `seq < before`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn events_before(
        &self,
        key: &SessionKey,
        before: u64,
        limit: u32,
    ) -> rusqlite::Result<Vec<Event>> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let mut events = self.some("seq < ?2 ORDER BY seq DESC", key, before, limit)?;
        events.reverse();
        Ok(events)
    }

    fn some(
        &self,
        which: &str,
        key: &SessionKey,
        seq: i64,
        limit: u32,
    ) -> rusqlite::Result<Vec<Event>> {
        let Some(session) = self.session(key)? else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT seq, at, kind, flags, text, tool, call, message FROM events
                WHERE session = ?1 AND {which} LIMIT ?3"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(params![session, seq, limit])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.extend(event(row)?);
        }
        Ok(events)
    }

    /// Adds to events of one session, in order of seq, all that they say; from the end backwards where the
    /// newest are wanted. Stops after `most` bytes of it: the answer is how many events that are, at least
    /// one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn add_bodies(
        &self,
        key: &SessionKey,
        events: &mut [Event],
        most: usize,
        newest: bool,
    ) -> rusqlite::Result<usize> {
        /// Bodies of so many events are read at once: several blocks.
        const AT_ONCE: usize = 64;
        let Some(session) = self.session(key)? else { return Ok(events.len()) };
        let gaps = self.gaps(key)?;
        let (mut done, mut bytes, mut left) = (0, 0, events);
        while !left.is_empty() && bytes < most {
            let some = left.len().min(AT_ONCE);
            let at = if newest { left.len() - some } else { some };
            let (head, tail) = left.split_at_mut(at);
            let (some, rest) = if newest { (tail, head) } else { (head, tail) };
            left = rest;
            let (Some(first), Some(last)) = (some.first(), some.last()) else { break };
            let mut found = bodies::read(&self.db, session, first.seq, last.seq)?;
            let mut add = |event: &mut Event| {
                if let Some(body) = found.remove(&event.seq).or_else(|| body::of_line(event)) {
                    body::give(event, body);
                }
                // What a limit took was more than the line that is left.
                event.truncated |=
                    event.body.is_none() && gaps.iter().any(|gap| gap.has(event.seq));
                bytes += event.body.as_ref().map_or(0, |body| body.text.len());
                done += 1;
                bytes < most
            };
            let _ = match newest {
                true => some.iter_mut().rev().all(&mut add),
                false => some.iter_mut().all(&mut add),
            };
        }
        Ok(done)
    }

    /// Where an event's record is written; `None` where that is no line of a file.
    ///
    /// # Errors
    /// SQLite's.
    pub fn written(&self, key: &SessionKey, seq: u64) -> rusqlite::Result<Option<Written>> {
        let Some(session) = self.session(key)? else { return Ok(None) };
        let sql = "SELECT offset, key, (SELECT count(*) FROM events before
                WHERE before.session = e.session AND before.key = e.key AND before.seq < e.seq
                    AND before.seq > e.seq - 1000)
            FROM events e WHERE session = ?1 AND seq = ?2";
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let number = |row: &Row<'_>, at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let place = self
            .db
            .prepare_cached(sql)?
            .query_row(params![session, seq], |row| {
                Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?))
            })
            .optional()?;
        let Some((offset, key, nth)) = place else { return Ok(None) };
        // A name with a '#' in it may be that of a database's session; nothing is lost but a long text.
        let sql = "SELECT path FROM files WHERE session = ?1 AND path NOT LIKE '%#%'";
        let mut paths = self.db.prepare_cached(sql)?;
        let paths = paths.query_map([session], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(Some(Written { offset, key, nth, paths }))
    }

    /// How far a transcript was read, and its size then; nothing of one that is not known.
    ///
    /// # Errors
    /// SQLite's.
    pub fn read_to(&self, path: &str) -> rusqlite::Result<Option<(Cursor, u64)>> {
        let sql = "SELECT cursor, size FROM files WHERE path = ?1";
        let found = self.db.prepare_cached(sql)?.query_row([path], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        });
        let found = found.optional()?;
        Ok(found.and_then(|(cursor, size)| Some((serde_json::from_str(&cursor).ok()?, size))))
    }

    /// Every session, or this one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn lives(&self, of: Option<&SessionKey>) -> rusqlite::Result<Vec<Life>> {
        let next = "(SELECT max(seq) + 1 FROM events WHERE session = sessions.id)";
        let which = of.map_or("", |_| "WHERE harness = ?1 AND session_id = ?2");
        let sql = format!("SELECT harness, session_id, life, bodied, {next} FROM sessions {which}");
        let mut sessions = self.db.prepare_cached(&sql)?;
        let mut rows = match of {
            Some(key) => sessions.query([key.harness.as_str(), &key.session_id])?,
            None => sessions.query([])?,
        };
        let mut lives = Vec::new();
        while let Some(row) = rows.next()? {
            lives.push(Life {
                key: key(row, 0)?,
                life: row.get(2)?,
                bodied: row.get(3)?,
                next: row.get::<_, Option<i64>>(4)?.unwrap_or(0).cast_unsigned(),
            });
        }
        Ok(lives)
    }

    /// Events of a session from `from` on in which something can be looked for, whole as far as that
    /// matters, and the seq that is
    /// to be looked at next. At most `limit` events, and no more of them after `most` bytes.
    ///
    /// # Errors
    /// SQLite's.
    pub fn to_search(
        &self,
        key: &SessionKey,
        from: u64,
        limit: u32,
        most: usize,
    ) -> rusqlite::Result<(Vec<Event>, Option<u64>)> {
        let Some(session) = self.session(key)? else { return Ok((Vec::new(), None)) };
        let number = |kind: &EventKind| KINDS.iter().position(|known| known == kind);
        let said = [
            EventKind::Prompt,
            EventKind::Message,
            EventKind::ToolCall,
            EventKind::Error,
            EventKind::PeerMessage,
            EventKind::Title,
        ];
        let said = said.iter().filter_map(number).map(|n| n.to_string()).collect::<Vec<_>>();
        let sql = format!(
            "SELECT seq, at, kind, flags, text, tool, call, message FROM events
                WHERE session = ?1 AND seq >= ?2 AND (kind IN ({}) OR flags & {FLAG_ERROR})
                ORDER BY seq LIMIT ?3",
            said.join(", ")
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(params![session, from.cast_signed(), limit])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            events.extend(event(row)?);
        }
        let mut next = match events.last() {
            Some(last) if events.len() >= limit as usize => Some(last.seq + 1),
            _ => None,
        };
        let seqs: Vec<u64> =
            events.iter().filter(|event| needs_body(event)).map(|event| event.seq).collect();
        let (mut found, stopped) = bodies::read_until(&self.db, session, &seqs, most)?;
        if let Some(stopped) = stopped {
            events.retain(|event| event.seq < stopped);
            next = Some(stopped);
        }
        for event in &mut events {
            event.body = found.remove(&event.seq);
        }
        Ok((events, next))
    }

    /// These events of a session, in order of seq, those that are there; with their bodies where something
    /// can be looked for in these that is not in their lines.
    ///
    /// # Errors
    /// SQLite's.
    pub fn events_to_show(&self, key: &SessionKey, seqs: &[u64]) -> rusqlite::Result<Vec<Event>> {
        let Some(session) = self.session(key)? else { return Ok(Vec::new()) };
        let sql = "SELECT seq, at, kind, flags, text, tool, call, message FROM events
                WHERE session = ?1 AND seq = ?2";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut events = Vec::new();
        for seq in seqs {
            let mut rows = statement.query(params![session, seq.cast_signed()])?;
            if let Some(row) = rows.next()?
                && let Some(event) = event(row)?
            {
                events.push(event);
            }
        }
        let whole: Vec<u64> =
            events.iter().filter(|event| needs_body(event)).map(|event| event.seq).collect();
        let mut found = bodies::read_of(&self.db, session, &whole)?;
        for event in &mut events {
            event.body = found.remove(&event.seq);
        }
        Ok(events)
    }

    /// The last calls up to a seq.
    fn calls_until(&self, session: i64, seq: i64) -> rusqlite::Result<Calls> {
        let sql = "SELECT seq, call FROM events WHERE session = ?1 AND seq <= ?2 AND kind = ?3
                ORDER BY seq DESC LIMIT ?4";
        let mut statement = self.db.prepare_cached(sql)?;
        let kind = KINDS.iter().position(|kind| *kind == EventKind::ToolCall);
        let mut rows = statement.query(params![
            session,
            seq,
            kind.map(|kind| kind as i64),
            calls::MOST as i64
        ])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, Option<String>>(1)?));
        }
        let mut calls = Calls::default();
        for (seq, id) in found.into_iter().rev() {
            calls.meet(EventKind::ToolCall, seq, id.as_deref());
        }
        Ok(calls)
    }

    /// Marks of a session's events with `seq > after`, at most `limit`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn marks(
        &self,
        key: &SessionKey,
        after: Option<u64>,
        limit: u32,
    ) -> rusqlite::Result<Vec<Mark>> {
        let Some(session) = self.session(key)? else { return Ok(Vec::new()) };
        let from = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
        let sql = "SELECT seq, at, kind, flags, tool, call FROM events
                WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params![session, from, limit])?;
        let mut marks = Vec::new();
        let (mut calls, mut before) = (Calls::default(), after.is_some());
        while let Some(row) = rows.next()? {
            let Some(kind) = kind(row, 2)? else { continue };
            let flags: i64 = row.get(3)?;
            let tool = row.get_ref(4)?.as_str_or_null()?;
            let seq = row.get::<_, i64>(0)?.cast_unsigned();
            let id = row.get_ref(5)?.as_str_or_null()?;
            let mut call = calls.meet(kind, seq, id);
            // Its call may have been told with marks before these.
            if kind == EventKind::ToolResult && call.is_none() && std::mem::take(&mut before) {
                let later = std::mem::replace(&mut calls, self.calls_until(session, from)?);
                call = calls.meet(kind, seq, id);
                calls.go_on(later);
            }
            marks.push(Mark {
                call,
                seq,
                at: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis),
                kind,
                tool: tool.map(ToolKind::of),
                is_error: flags & FLAG_ERROR != 0,
                withdrawn: flags & FLAG_WITHDRAWN != 0,
            });
        }
        Ok(marks)
    }

    /// Which status a session had when, oldest first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn stretches(&self, key: &SessionKey) -> rusqlite::Result<Vec<Stretch>> {
        let Some(session) = self.session(key)? else { return Ok(Vec::new()) };
        let sql =
            "SELECT at, status, waiting, detail FROM stretches WHERE session = ?1 ORDER BY at";
        let mut rows = self.db.prepare_cached(sql)?;
        let mut rows = rows.query([session])?;
        let mut stretches: Vec<Stretch> = Vec::new();
        while let Some(row) = rows.next()? {
            let from = Timestamp::from_millis(row.get(0)?);
            // One that a newer release wrote ends what was before it all the same.
            stretches.iter_mut().rev().take(1).for_each(|last| last.to = last.to.or(Some(from)));
            let Ok(status) = row.get_ref(1)?.as_str()?.parse() else { continue };
            let waiting_for = row.get_ref(2)?.as_str_or_null()?.and_then(|word| word.parse().ok());
            stretches.push(Stretch { from, to: None, status, waiting_for, detail: row.get(3)? });
        }
        Ok(stretches)
    }

    /// Which events of a session lost their bodies, or went, to a limit.
    ///
    /// # Errors
    /// SQLite's.
    pub fn gaps(&self, key: &SessionKey) -> rusqlite::Result<Vec<Gap>> {
        let Some(session) = self.session(key)? else { return Ok(Vec::new()) };
        let sql = "SELECT first, last, why FROM gaps WHERE session = ?1 ORDER BY first";
        let mut gaps = self.db.prepare_cached(sql)?;
        let gaps = gaps.query_map([session], |row| {
            let seq = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let why = retain::limit_of(row.get_ref(2)?.as_str()?);
            Ok(Gap { first: seq(0)?, last: seq(1)?, why })
        })?;
        gaps.collect()
    }

    /// What is kept of all that events say.
    ///
    /// # Errors
    /// SQLite's.
    pub fn held(&self) -> rusqlite::Result<Held> {
        let sql = "SELECT count(DISTINCT session), coalesce(sum(length(data)), 0) FROM bodies";
        let (sessions, bytes) = self.db.query_row(sql, [], |row| {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok((number(0)?, number(1)?))
        })?;
        let sql = "SELECT why, count(DISTINCT session) FROM gaps GROUP BY why ORDER BY why";
        let mut limited = self.db.prepare(sql)?;
        let limited = limited.query_map([], |row| {
            Ok((retain::limit_of(row.get_ref(0)?.as_str()?), row.get::<_, i64>(1)?.cast_unsigned()))
        })?;
        let (limited, used) = (limited.collect::<Result<_, _>>()?, retain::used_bytes(&self.db)?);
        Ok(Held { sessions, bytes, used, limited })
    }

    /// Sessions whose events were stored before bodies were kept, and where their transcripts are.
    ///
    /// # Errors
    /// SQLite's.
    pub fn without_bodies(&self) -> rusqlite::Result<Vec<(SessionKey, Option<String>)>> {
        let sql = "SELECT s.harness, s.session_id, max(f.path) FROM sessions s
                LEFT JOIN files f ON f.session = s.id WHERE s.bodied = 0 GROUP BY s.id";
        let mut sessions = self.db.prepare(sql)?;
        let rows = sessions.query_map([], |row| Ok((key(row, 0)?, row.get(2)?)))?;
        rows.collect()
    }

    /// A session's events by the keys of their records, and whether each may lack a body.
    ///
    /// # Errors
    /// SQLite's.
    pub fn to_fill(&self, key: &SessionKey) -> rusqlite::Result<HashMap<u64, VecDeque<ToFill>>> {
        let mut found: HashMap<u64, VecDeque<ToFill>> = HashMap::new();
        let Some(session) = self.session(key)? else { return Ok(found) };
        let mut covered = self.db.prepare("SELECT first, last FROM bodies WHERE session = ?1")?;
        let range = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let covered: Vec<_> = covered.query_map([session], range)?.collect::<Result<_, _>>()?;
        let sql = "SELECT seq, kind, key FROM events WHERE session = ?1 ORDER BY seq";
        let mut events = self.db.prepare(sql)?;
        let mut rows = events.query([session])?;
        while let Some(row) = rows.next()? {
            let (seq, key): (i64, i64) = (row.get(0)?, row.get(2)?);
            let Some(kind) = kind(row, 1)? else { continue };
            // Within a block whatever has a body has it there.
            let lacks = !covered.iter().any(|(first, last)| (*first..=*last).contains(&seq));
            let event = ToFill { seq: seq.cast_unsigned(), kind, lacks };
            found.entry(key.cast_unsigned()).or_default().push_back(event);
        }
        Ok(found)
    }

    /// Keys of every record of a session that must not be counted again.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keys(&self, key: &SessionKey) -> rusqlite::Result<HashSet<u64>> {
        let Some(session) = self.session(key)? else { return Ok(HashSet::new()) };
        let sql = "SELECT key FROM events WHERE session = ?1 UNION ALL SELECT key FROM marks WHERE session = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map([session], |row| row.get::<_, i64>(0))?;
        rows.map(|key| key.map(i64::cast_unsigned)).collect()
    }

    fn session(&self, key: &SessionKey) -> rusqlite::Result<Option<i64>> {
        self.db
            .prepare_cached("SELECT id FROM sessions WHERE harness = ?1 AND session_id = ?2")?
            .query_row([key.harness.as_str(), &key.session_id], |row| row.get(0))
            .optional()
    }
}

fn key(row: &Row<'_>, at: usize) -> rusqlite::Result<SessionKey> {
    let harness = Harness::from(row.get_ref(at)?.as_str()?);
    Ok(SessionKey { harness, session_id: row.get(at + 1)? })
}

/// `None` for a kind a newer release wrote.
fn kind(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<EventKind>> {
    let number = usize::try_from(row.get::<_, i64>(at)?).ok();
    Ok(number.and_then(|number| KINDS.get(number)).copied())
}

/// `None` for a kind a newer release wrote.
fn event(row: &Row<'_>) -> rusqlite::Result<Option<Event>> {
    let Some(kind) = kind(row, 2)? else { return Ok(None) };
    let flags: i64 = row.get(3)?;
    // One column names whatever an event is about beside its session.
    let names_subagent = matches!(kind, EventKind::SubagentStart | EventKind::SubagentStop);
    Ok(Some(Event {
        seq: row.get::<_, i64>(0)?.cast_unsigned(),
        at: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis),
        kind,
        text: row.get(4)?,
        tool: row.get(5)?,
        tool_call_id: row.get(6)?,
        is_error: flags & FLAG_ERROR != 0,
        truncated: flags & FLAG_TRUNCATED != 0,
        withdrawn: flags & FLAG_WITHDRAWN != 0,
        direction: match kind {
            EventKind::PeerMessage if flags & FLAG_SENT != 0 => Some(Direction::Sent),
            EventKind::PeerMessage => Some(Direction::Received),
            _ => None,
        },
        message_id: if names_subagent { None } else { row.get(7)? },
        body: None,
        subagent: if names_subagent { row.get(7)? } else { None },
    }))
}
