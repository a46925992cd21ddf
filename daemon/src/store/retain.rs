//! How much is kept of what sessions did, and what goes when it is too much.
//!
//! Of one session too much: what lies between its head and its tail goes. Too much in all: of those that
//! are over, the oldest goes first; of those that are not, again what lies in the middle. Too old: all of
//! it goes, but that the session was there. What went is remembered, so that it can be said; and records
//! that were taken stay known, so that none is taken again. Of what has no time at all nobody can say that
//! it is too old. Not here: what is kept of one event
//! ([`rrd_core::body`]).

use std::time::Duration;

use rrd_proto::{Limit, Status, Timestamp};
use rusqlite::{Connection, Transaction, params};

use super::{bodies, copies};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one event's body.
    pub event: usize,
    /// Bytes of one session's bodies on disk.
    pub session: u64,
    /// Bytes of the index on disk.
    pub total: u64,
    /// For so long after a session's last event.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event: rrd_core::body::MOST,
            session: 64 << 20,
            total: 5 << 30,
            age: Duration::from_secs(180 * 86_400),
        }
    }
}

/// The word for a limit in the index.
const fn word(limit: Limit) -> &'static str {
    match limit {
        Limit::Session => "session",
        Limit::Total => "total",
        Limit::Age => "age",
        Limit::Other => "other",
    }
}

/// The limit of a word in the index.
pub(super) fn limit_of(text: &str) -> Limit {
    let known = [Limit::Session, Limit::Total, Limit::Age];
    known.into_iter().find(|limit| word(*limit) == text).unwrap_or(Limit::Other)
}

/// Of what is left of a session, so much is its head.
const HEAD: u64 = 4;

/// A session whose last event is younger may go on.
const FRESH: Duration = Duration::from_secs(86_400);

/// After a trim so much of the limit is free, so that not every commit trims again.
const ROOM: u64 = 16;

/// Bytes of a session's bodies on disk.
///
/// # Errors
/// SQLite's.
pub(super) fn bytes_of(db: &Connection, session: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(sum(length(data)), 0) FROM bodies WHERE session = ?1";
    let bytes: i64 = db.prepare_cached(sql)?.query_row([session], |row| row.get(0))?;
    Ok(bytes.cast_unsigned())
}

/// Leaves head and tail of a session's bodies, when they are more than `most` bytes; gives how many they
/// are then.
///
/// # Errors
/// SQLite's.
pub(super) fn trim_session(db: &Transaction<'_>, session: i64, most: u64) -> rusqlite::Result<u64> {
    let bytes = bytes_of(db, session)?;
    if bytes <= most {
        return Ok(bytes);
    }
    let excess = bytes - (most - most / ROOM);
    take_middle(db, session, (bytes, most / HEAD), excess, Limit::Session)
}

/// Takes `excess` of a session's bytes away, beyond a head of so many; gives how many are left.
fn take_middle(
    db: &Transaction<'_>,
    session: i64,
    (bytes, mut head): (u64, u64),
    mut excess: u64,
    why: Limit,
) -> rusqlite::Result<u64> {
    let mut left = bytes;
    let sql = "SELECT id, first, last, length(data) FROM bodies WHERE session = ?1 ORDER BY last";
    let mut blocks = db.prepare_cached(sql)?;
    let mut rows = blocks.query([session])?;
    let mut middle = Vec::new();
    let mut last_block = None;
    while let Some(row) = rows.next()? {
        let (id, first, last, bytes): (i64, i64, i64, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let bytes = bytes.cast_unsigned();
        if head >= bytes {
            head -= bytes;
            continue;
        }
        head = 0;
        if excess == 0 {
            break;
        }
        // The last one stays, whatever its size.
        if let Some((id, first, last, bytes)) = last_block.replace((id, first, last, bytes)) {
            excess = excess.saturating_sub(bytes);
            left -= bytes;
            middle.push((id, first, last));
        }
    }
    drop(rows);
    // Blocks may overlap: some hold what another session kept for this one before.
    let first = middle.iter().map(|(_, first, _)| *first).min();
    let last = middle.iter().map(|(.., last)| *last).max();
    if let Some((first, last)) = first.zip(last) {
        copies::release(db, session, first, last)?;
        gap(db, session, first, last, why)?;
    }
    let mut delete = db.prepare_cached("DELETE FROM bodies WHERE id = ?1")?;
    for (id, ..) in &middle {
        delete.execute([id])?;
    }
    Ok(left)
}

/// Remembers that bodies of these events went; one gap grows where it is trimmed again and again.
fn gap(
    db: &Transaction<'_>,
    session: i64,
    first: i64,
    last: i64,
    why: Limit,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM gaps WHERE session = ?1 AND first <= ?3 + 1 AND last >= ?2 - 1
            RETURNING first, last";
    let mut touching = db.prepare_cached(sql)?;
    let found = touching.query_map(params![session, first, last], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    let (mut from, mut to) = (first, last);
    for range in found {
        let range = range?;
        (from, to) = (from.min(range.0), to.max(range.1));
    }
    let sql = "INSERT INTO gaps (session, first, last, why) VALUES (?1, ?2, ?3, ?4)";
    db.prepare_cached(sql)?.execute(params![session, from, to, word(why)])?;
    Ok(())
}

/// One step of a sweep takes about so many bytes: what is taken is overwritten, and meanwhile nothing else
/// is written.
const STEP: u64 = 16 << 20;

/// What a sweep took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) sessions: u64,
    pub(super) bytes: u64,
}

/// Takes away what is too old, and what is too much in all; a step at a time, so that nobody waits for it:
/// true when there is more to do.
///
/// # Errors
/// SQLite's.
pub(super) fn sweep(
    db: &Transaction<'_>,
    limits: &Limits,
    now: Timestamp,
    swept: &mut Swept,
) -> rusqlite::Result<bool> {
    /// At a time.
    const SOME: usize = 16;
    let before = |age: Duration| {
        now.as_millis().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    };
    let (too_old, fresh) = (before(limits.age), before(FRESH));
    let mut sessions = with_activity(db)?;
    sessions.sort_unstable_by_key(|session| (session.last, session.id));
    let old: Vec<i64> = sessions
        .iter()
        .filter(|session| session.is_over && session.last.is_some_and(|last| last < too_old))
        .map(|session| session.id)
        .collect();
    let mut step = 0;
    for session in old.iter().take(SOME) {
        let bytes = bytes_of(db, *session)?;
        if step > 0 && step + bytes > STEP {
            break;
        }
        step += bytes;
        if let Some(taken) = part(db, *session, bytes, Limit::Age)? {
            swept.bytes += taken;
            break;
        }
        swept.bytes += bytes;
        swept.sessions += 1;
        empty(db, *session, Limit::Age)?;
    }
    if !old.is_empty() {
        return Ok(true);
    }
    let used = used_bytes(db)?;
    if used <= limits.total {
        return Ok(false);
    }
    let enough = limits.total - limits.total / ROOM;
    let mut excess = used - enough;
    // What they said first, and when that was not enough their lines, too.
    let over = || sessions.iter().filter(|s| s.is_over && s.last.is_none_or(|last| last < fresh));
    let mut taken = 0;
    for session in over() {
        if excess == 0 || taken == SOME || step >= STEP {
            return Ok(true);
        }
        let bytes = bytes_of(db, session.id)?;
        if bytes == 0 {
            continue;
        }
        step += bytes;
        if let Some(taken) = part(db, session.id, bytes, Limit::Total)? {
            swept.bytes += taken;
            return Ok(true);
        }
        all_bodies(db, session.id, Limit::Total)?;
        excess = excess.saturating_sub(bytes);
        (swept.sessions, swept.bytes, taken) = (swept.sessions + 1, swept.bytes + bytes, taken + 1);
    }
    if taken > 0 {
        return Ok(true);
    }
    for session in over().take(SOME) {
        empty(db, session.id, Limit::Total)?;
        swept.sessions += 1;
        if used_bytes(db)? <= enough {
            return Ok(false);
        }
    }
    if over().next().is_some() {
        return Ok(true);
    }
    // Only what goes on is left: the largest gives most.
    let mut sizes = Vec::new();
    for session in &sessions {
        sizes.push((bytes_of(db, session.id)?, session.id));
    }
    let Some((largest, session)) = sizes.into_iter().max().filter(|(bytes, _)| *bytes > 1 << 20)
    else {
        return Ok(false);
    };
    let excess = excess.min(largest / 2).min(STEP);
    let head = (largest - excess) / HEAD;
    let left = take_middle(db, session, (largest, head), excess, Limit::Total)?;
    swept.bytes += largest - left;
    Ok(left < largest)
}

/// Takes a step out of the middle of a session that is much more than one; how many bytes that were.
fn part(
    db: &Transaction<'_>,
    session: i64,
    bytes: u64,
    why: Limit,
) -> rusqlite::Result<Option<u64>> {
    if bytes <= 2 * STEP {
        return Ok(None);
    }
    let left = take_middle(db, session, (bytes, (bytes - STEP) / HEAD), STEP, why)?;
    Ok(Some(bytes - left).filter(|taken| *taken > 0))
}

struct Activity {
    id: i64,
    /// When its last event was, or else when its transcript was written last.
    last: Option<i64>,
    is_over: bool,
}

fn with_activity(db: &Connection) -> rusqlite::Result<Vec<Activity>> {
    let sql = "SELECT s.id,
            (SELECT max(at) FROM (SELECT at FROM events e WHERE e.session = s.id
                ORDER BY e.seq DESC LIMIT 16)),
            (SELECT status FROM stretches t WHERE t.session = s.id ORDER BY t.at DESC LIMIT 1),
            EXISTS (SELECT 1 FROM events e WHERE e.session = s.id),
            (SELECT max(mtime) / 1000000 FROM files f WHERE f.session = s.id AND f.mtime > 0)
        FROM sessions s";
    let mut sessions = db.prepare_cached(sql)?;
    let open = [Status::Executing.as_str(), Status::Waiting.as_str()];
    let mut rows = sessions.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let status = row.get_ref(2)?.as_str_or_null()?;
        if row.get(3)? {
            let is_over = !status.is_some_and(|status| open.contains(&status));
            let last = row.get::<_, Option<i64>>(1)?.or(row.get(4)?);
            found.push(Activity { id: row.get(0)?, last, is_over });
        }
    }
    Ok(found)
}

/// Bytes of the index that are in use.
pub(super) fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages * pragma("page_size")?).cast_unsigned())
}

/// Bytes of the index, with those that are free.
pub(super) fn file_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? * pragma("page_size")?).cast_unsigned())
}

fn all_bodies(db: &Transaction<'_>, session: i64, why: Limit) -> rusqlite::Result<()> {
    let sql = "SELECT min(first), max(last) FROM (
            SELECT first, last FROM bodies WHERE session = ?1
            UNION ALL SELECT seq, seq FROM copies WHERE session = ?1)";
    let range = db.prepare_cached(sql)?.query_row([session], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
    })?;
    bodies::delete(db, session)?;
    match range {
        Some((first, last)) => gap(db, session, first, last, why),
        None => Ok(()),
    }
}

/// Nothing of what the session did is left; its records stay known.
fn empty(db: &Transaction<'_>, session: i64, why: Limit) -> rusqlite::Result<()> {
    let sql = "SELECT max(seq) FROM events WHERE session = ?1";
    let last: Option<i64> = db.prepare_cached(sql)?.query_row([session], |row| row.get(0))?;
    for sql in [
        "INSERT OR IGNORE INTO marks (session, key) SELECT session, key FROM events WHERE session = ?1",
        "DELETE FROM events WHERE session = ?1",
        "DELETE FROM stretches WHERE session = ?1",
    ] {
        db.prepare_cached(sql)?.execute([session])?;
    }
    bodies::delete(db, session)?;
    match last {
        Some(last) => gap(db, session, 0, last, why),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
