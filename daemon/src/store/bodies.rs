//! Bodies of events, many in a block, blocks compressed.
//!
//! A commit's bodies become a block, or several when they are many. While an agent works these are small,
//! and small ones compress badly: when enough of them lie at the end of a session, they become one. What is
//! kept already is not kept again ([`copies`]). Not here: what is kept of a body and how a block is laid out
//! ([`rrd_core::body`]).

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use rrd_core::body;
use rrd_proto::Body;
use rusqlite::{Connection, Transaction, params};

use super::{copies, retain};

/// Bytes of a block before compression: larger ones take longer to open, smaller ones more room.
pub(super) const FULL: usize = 256 << 10;

/// Blocks below this are made one with others like them …
const SMALL: usize = 64 << 10;

/// … when there are so many of them.
const MANY: u32 = 64;

/// What zstd does by default.
const LEVEL: i32 = 3;

/// A block that claims to be longer was not written here: a body is at most [`body::MOST`] beyond [`FULL`].
const LONGEST: usize = 8 << 20;

/// Writes blocks, and remembers which sessions end with small ones.
pub(super) struct Bodies {
    zstd: zstd::bulk::Compressor<'static>,
    /// Small blocks at the end of a session, and their bytes.
    tails: HashMap<i64, (u32, usize)>,
    /// Bytes on disk of sessions that were written to.
    sizes: HashMap<i64, u64>,
    raw: Vec<u8>,
}

impl Bodies {
    /// # Errors
    /// When zstd cannot be set up: out of memory.
    pub(super) fn new() -> io::Result<Self> {
        let zstd = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { zstd, tails: HashMap::new(), sizes: HashMap::new(), raw: Vec::new() })
    }

    /// Forgets what it knows.
    pub(super) fn clear(&mut self) {
        self.tails.clear();
        self.sizes.clear();
    }

    /// Leaves head and tail of a session whose bodies take more than `most` bytes.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn limit(
        &mut self,
        db: &Transaction<'_>,
        session: i64,
        most: u64,
    ) -> rusqlite::Result<()> {
        if self.sizes.get(&session).is_some_and(|bytes| *bytes > most) {
            let left = retain::trim_session(db, session, most)?;
            // Others may keep now what this one kept for them.
            self.clear();
            self.sizes.insert(session, left);
        }
        Ok(())
    }

    /// Adds these bodies, each with the seq of its event.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn put<'b>(
        &mut self,
        db: &Transaction<'_>,
        session: i64,
        bodies: impl Iterator<Item = (u64, &'b Body)>,
    ) -> rusqlite::Result<()> {
        let mut kept = Vec::new();
        for (seq, body) in bodies {
            if !copies::is_kept(db, session, seq, body)? {
                kept.push((seq, body));
            }
        }
        // With the numbers before each.
        let bytes: usize = kept.iter().map(|(_, body)| body.text.len() + 16).sum();
        if bytes == 0 {
            return Ok(());
        }
        // Of equal size: a small one at the end of each stretch would stay small.
        let each = bytes.div_ceil(bytes.div_ceil(FULL));
        let mut small = None;
        let mut first = None;
        self.raw.clear();
        let mut kept = kept.into_iter().peekable();
        while let Some((seq, body)) = kept.next() {
            body::put(&mut self.raw, seq, body);
            let first_seq = *first.get_or_insert(seq);
            if self.raw.len() >= each || kept.peek().is_none() {
                let size = self.raw.len();
                self.insert(db, session, first_seq, seq)?;
                small = (size < SMALL).then_some(size);
                first = None;
                self.raw.clear();
            }
        }
        let Some(size) = small else {
            self.tails.insert(session, (0, 0));
            return Ok(());
        };
        let tail = match self.tails.get(&session) {
            Some((count, bytes)) => (count + 1, bytes + size),
            None => tail(db, session)?,
        };
        self.tails.insert(session, tail);
        if tail.1 >= FULL || tail.0 >= MANY {
            self.merge(db, session)?;
        }
        Ok(())
    }

    /// Makes the small blocks at the end of a session one.
    fn merge(&mut self, db: &Transaction<'_>, session: i64) -> rusqlite::Result<()> {
        let sql = "SELECT id, first, last, size, data FROM bodies
                WHERE session = ?1 ORDER BY last DESC LIMIT ?2";
        let mut blocks = Vec::new();
        {
            let mut small = db.prepare_cached(sql)?;
            let mut rows = small.query(params![session, 2 * MANY])?;
            while let Some(row) = rows.next()? {
                let size: i64 = row.get(3)?;
                let Some(raw) = open(row.get_ref(4)?.as_blob()?).filter(|_| size < SMALL as i64)
                else {
                    break;
                };
                blocks.push((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                    raw,
                ));
            }
        }
        blocks.reverse();
        let (Some((_, first, ..)), Some((.., last, _))) = (blocks.first(), blocks.last()) else {
            return Ok(());
        };
        let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
        self.raw.clear();
        let mut delete = db.prepare_cached("DELETE FROM bodies WHERE id = ?1")?;
        for (id, _, _, raw) in &blocks {
            self.raw.extend_from_slice(raw);
            delete.execute([id])?;
        }
        self.insert(db, session, first, last)?;
        let size = self.raw.len();
        self.tails.insert(session, if size < SMALL { (1, size) } else { (0, 0) });
        Ok(())
    }

    fn insert(
        &mut self,
        db: &Transaction<'_>,
        session: i64,
        first: u64,
        last: u64,
    ) -> rusqlite::Result<()> {
        let data = self.zstd.compress(&self.raw).map_err(refused)?;
        let (first, last) = (first.cast_signed(), last.cast_signed());
        insert_block(db, session, first, last, self.raw.len(), &data)?;
        // What merging takes out is still counted here: it is measured when it seems too much.
        let size = match self.sizes.get(&session) {
            Some(known) => known + data.len() as u64,
            None => retain::bytes_of(db, session)?,
        };
        self.sizes.insert(session, size);
        Ok(())
    }
}

/// Small blocks at the end of a session, and their bytes.
fn tail(db: &Connection, session: i64) -> rusqlite::Result<(u32, usize)> {
    let sql = "SELECT size FROM bodies WHERE session = ?1 ORDER BY last DESC LIMIT ?2";
    let mut sizes = db.prepare_cached(sql)?;
    let sizes = sizes.query_map(params![session, MANY], |row| row.get::<_, i64>(0))?;
    let (mut count, mut bytes) = (0, 0);
    for size in sizes {
        let size = usize::try_from(size?).unwrap_or(FULL);
        if size >= SMALL {
            break;
        }
        (count, bytes) = (count + 1, bytes + size);
    }
    Ok((count, bytes))
}

/// Adds a block that somebody else has laid out.
///
/// # Errors
/// SQLite's.
pub(super) fn insert(
    db: &Transaction<'_>,
    session: i64,
    first: i64,
    last: i64,
    raw: &[u8],
) -> rusqlite::Result<()> {
    let data = zstd::bulk::compress(raw, LEVEL).map_err(refused)?;
    insert_block(db, session, first, last, raw.len(), &data)
}

fn insert_block(
    db: &Transaction<'_>,
    session: i64,
    first: i64,
    last: i64,
    size: usize,
    data: &[u8],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO bodies (session, first, last, size, data) VALUES (?1, ?2, ?3, ?4, ?5)";
    db.prepare_cached(sql)?.execute(params![session, first, last, size as i64, data])?;
    Ok(())
}

pub(super) fn refused(error: io::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// The bodies of a session's events with these seqs; what is damaged is missing.
///
/// # Errors
/// SQLite's.
pub(super) fn read(
    db: &Connection,
    session: i64,
    from: u64,
    to: u64,
) -> rusqlite::Result<BTreeMap<u64, Body>> {
    let sql = "SELECT data FROM bodies WHERE session = ?1 AND last >= ?2 AND first <= ?3";
    let mut blocks = db.prepare_cached(sql)?;
    let number = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let mut rows = blocks.query(params![session, number(from), number(to)])?;
    let (mut found, _) = copies::read(db, session, from, to, |_| true, usize::MAX)?;
    while let Some(row) = rows.next()? {
        if let Some(raw) = open(row.get_ref(0)?.as_blob()?) {
            found.extend(body::read(&raw).filter(|(seq, _)| (from..=to).contains(seq)));
        }
    }
    Ok(found)
}

/// The bodies of these events of a session, whose seqs are in order; what is damaged is missing.
///
/// # Errors
/// SQLite's.
pub(super) fn read_of(
    db: &Connection,
    session: i64,
    seqs: &[u64],
) -> rusqlite::Result<BTreeMap<u64, Body>> {
    let mut found = read_own(db, session, seqs)?;
    if let (Some(from), Some(to)) = (seqs.first(), seqs.last()) {
        let wanted = |seq| seqs.binary_search(&seq).is_ok();
        found.extend(copies::read(db, session, *from, *to, wanted, usize::MAX)?.0);
    }
    Ok(found)
}

/// The same of those that the session itself keeps.
///
/// # Errors
/// SQLite's.
pub(super) fn read_own(
    db: &Connection,
    session: i64,
    seqs: &[u64],
) -> rusqlite::Result<BTreeMap<u64, Body>> {
    let sql = "SELECT data FROM bodies WHERE session = ?1 AND last >= ?2 AND first <= ?2";
    let mut blocks = db.prepare_cached(sql)?;
    let mut found = BTreeMap::new();
    for seq in seqs {
        if found.contains_key(seq) {
            continue;
        }
        let mut rows = blocks.query(params![session, seq.cast_signed()])?;
        while let Some(row) = rows.next()? {
            if let Some(raw) = open(row.get_ref(0)?.as_blob()?) {
                found.extend(body::read_of(&raw, |seq| seqs.binary_search(&seq).is_ok()));
            }
        }
    }
    Ok(found)
}

/// The same from the first one on, block by block, until they are `most` bytes; and the first seq that was
/// not looked for any more, if there is one.
///
/// # Errors
/// SQLite's.
pub(super) fn read_until(
    db: &Connection,
    session: i64,
    seqs: &[u64],
    most: usize,
) -> rusqlite::Result<(BTreeMap<u64, Body>, Option<u64>)> {
    let (Some(from), Some(to)) = (seqs.first(), seqs.last()) else {
        return Ok((BTreeMap::new(), None));
    };
    let wanted = |seq| seqs.binary_search(&seq).is_ok();
    let (mut found, mut stopped) = copies::read(db, session, *from, *to, wanted, most)?;
    let sql = "SELECT first, data FROM bodies
            WHERE session = ?1 AND last >= ?2 AND first <= ?3 ORDER BY first";
    let mut blocks = db.prepare_cached(sql)?;
    let mut rows = blocks.query(params![session, from.cast_signed(), to.cast_signed()])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let first = row.get::<_, i64>(0)?.cast_unsigned();
        if stopped.is_some_and(|stopped| first >= stopped) {
            break;
        }
        if bytes >= most && first > *from {
            stopped = Some(first);
            break;
        }
        if let Some(raw) = open(row.get_ref(1)?.as_blob()?) {
            for (seq, body) in body::read_of(&raw, |seq| seqs.binary_search(&seq).is_ok()) {
                bytes += body.text.len();
                found.insert(seq, body);
            }
        }
    }
    Ok((found, stopped))
}

/// Takes out all bodies of a session.
///
/// # Errors
/// SQLite's.
pub(super) fn delete(db: &Transaction<'_>, session: i64) -> rusqlite::Result<()> {
    copies::release(db, session, 0, i64::MAX)?;
    db.prepare_cached("DELETE FROM bodies WHERE session = ?1")?.execute([session])?;
    Ok(())
}

/// What is in a block; `None` when that is damaged.
fn open(data: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::decompress(data, LONGEST).ok()
}

#[cfg(test)]
mod tests;
