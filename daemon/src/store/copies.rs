//! Long bodies that are kept already: a fork's copy of what was said before it, a file that was read again.
//!
//! The first one is kept, by whichever session had it; of the others it is remembered where that is. When
//! the session that keeps it no longer does, the next one keeps it. Not here: what bodies lie in
//! ([`super::bodies`]).

use std::collections::{BTreeMap, BTreeSet};

use rrd_core::body;
use rrd_proto::Body;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::bodies::{self, FULL};

/// Bytes from which on a body is worth remembering: shorter ones cost little where they are.
const LONG: usize = 1 << 10;

/// Of a body, by its text and what is missing of it: nobody can make another one that has the same.
type Hash = [u8; 16];

/// Where a body is kept: session and seq.
type Place = (i64, i64);

fn hash(body: &Body) -> Hash {
    let mut hash = Sha256::new();
    hash.update(body.size.to_le_bytes());
    hash.update(body.cut.map_or(u64::MAX, |cut| cut).to_le_bytes());
    hash.update(body.text.as_bytes());
    let mut short = Hash::default();
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// True where this body is kept already, which is remembered; where it is not, it will be found from now on.
///
/// # Errors
/// SQLite's.
pub(super) fn is_kept(
    db: &Transaction<'_>,
    session: i64,
    seq: u64,
    body: &Body,
) -> rusqlite::Result<bool> {
    if body.text.len() < LONG {
        return Ok(false);
    }
    let (hash, here) = (hash(body), (session, seq.cast_signed()));
    let known: Option<Place> = db
        .prepare_cached("SELECT session, seq FROM texts WHERE hash = ?1")?
        .query_row([hash], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let sql = match known {
        Some(place) if place != here => {
            db.prepare_cached("INSERT OR REPLACE INTO copies VALUES (?1, ?2, ?3, ?4)")?
                .execute([here.0, here.1, place.0, place.1])?;
            return Ok(true);
        }
        Some(_) => return Ok(false),
        None => "INSERT INTO texts (hash, session, seq) VALUES (?1, ?2, ?3)",
    };
    db.prepare_cached(sql)?.execute(params![hash, here.0, here.1])?;
    Ok(false)
}

/// Of these events of a session the bodies that are kept elsewhere, in order, until they are `most` bytes;
/// and the seq of the first one that was not looked for any more.
///
/// # Errors
/// SQLite's.
pub(super) fn read(
    db: &Connection,
    session: i64,
    from: u64,
    to: u64,
    mut wanted: impl FnMut(u64) -> bool,
    most: usize,
) -> rusqlite::Result<(BTreeMap<u64, Body>, Option<u64>)> {
    let sql = "SELECT seq, of_session, of_seq FROM copies
            WHERE session = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq";
    let mut copies = db.prepare_cached(sql)?;
    let number = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let copies = copies.query_map(params![session, number(from), number(to)], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?, row.get::<_, i64>(2)?))
    })?;
    let copies: Vec<(u64, i64, i64)> = copies.collect::<Result<_, _>>()?;
    let mut left: Vec<_> = copies.into_iter().filter(|(seq, ..)| wanted(*seq)).collect();
    let (mut found, mut bytes) = (BTreeMap::new(), 0);
    while let Some((next, ..)) = left.first() {
        if bytes >= most {
            return Ok((found, Some(*next)));
        }
        // Those that follow one another are kept by the same session, as a rule, in the same blocks.
        let some = left.len().min(32);
        let mut of: BTreeMap<i64, BTreeMap<u64, Vec<u64>>> = BTreeMap::new();
        for (seq, session, kept) in left.drain(..some) {
            of.entry(session).or_default().entry(kept.cast_unsigned()).or_default().push(seq);
        }
        for (session, places) in of {
            let seqs: Vec<u64> = places.keys().copied().collect();
            for (kept, body) in bodies::read_own(db, session, &seqs)? {
                for seq in places.get(&kept).into_iter().flatten() {
                    bytes += body.text.len();
                    found.insert(*seq, body.clone());
                }
            }
        }
    }
    Ok((found, None))
}

/// The bodies of these events of a session are about to be taken out: what others have of them they keep
/// themselves from now on. Gives whose blocks became more.
///
/// # Errors
/// SQLite's.
pub(super) fn release(
    db: &Transaction<'_>,
    session: i64,
    first: i64,
    last: i64,
) -> rusqlite::Result<BTreeSet<i64>> {
    let range = [session, first, last];
    // Those that go, too, need nothing.
    db.prepare_cached("DELETE FROM copies WHERE session = ?1 AND seq BETWEEN ?2 AND ?3")?
        .execute(range)?;
    let sql = "SELECT of_seq, session, seq FROM copies
            WHERE of_session = ?1 AND of_seq BETWEEN ?2 AND ?3 ORDER BY of_seq, session, seq";
    let mut heirs: BTreeMap<i64, Place> = BTreeMap::new();
    {
        let mut copies = db.prepare_cached(sql)?;
        let mut rows = copies.query(range)?;
        while let Some(row) = rows.next()? {
            heirs.entry(row.get(0)?).or_insert((row.get(1)?, row.get(2)?));
        }
    }
    let mut of_session: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for (seq, heir) in &heirs {
        of_session.entry(heir.0).or_default().push((heir.1, *seq));
    }
    for (heir, mut taken) in of_session.clone() {
        taken.sort_unstable();
        keep(db, session, heir, &taken)?;
    }
    for (seq, (heir, heir_seq)) in heirs {
        let sql = "DELETE FROM copies WHERE session = ?1 AND seq = ?2";
        db.prepare_cached(sql)?.execute([heir, heir_seq])?;
        for sql in [
            "UPDATE copies SET of_session = ?3, of_seq = ?4 WHERE of_session = ?1 AND of_seq = ?2",
            "UPDATE texts SET session = ?3, seq = ?4 WHERE session = ?1 AND seq = ?2",
        ] {
            db.prepare_cached(sql)?.execute([session, seq, heir, heir_seq])?;
        }
    }
    db.prepare_cached("DELETE FROM texts WHERE session = ?1 AND seq BETWEEN ?2 AND ?3")?
        .execute(range)?;
    Ok(of_session.into_keys().collect())
}

/// Puts bodies of `session` into blocks of `heir`; `taken` are the seqs that they have there and had here.
fn keep(
    db: &Transaction<'_>,
    session: i64,
    heir: i64,
    taken: &[(i64, i64)],
) -> rusqlite::Result<()> {
    let (mut raw, mut first) = (Vec::new(), None);
    for (at, some) in taken.chunks(32).enumerate() {
        let mut seqs: Vec<u64> = some.iter().map(|(_, seq)| seq.cast_unsigned()).collect();
        seqs.sort_unstable();
        let found = bodies::read_own(db, session, &seqs)?;
        for (heir_seq, seq) in some {
            if let Some(body) = found.get(&seq.cast_unsigned()) {
                body::put(&mut raw, heir_seq.cast_unsigned(), body);
                first.get_or_insert(*heir_seq);
            }
        }
        let is_last = (at + 1) * 32 >= taken.len();
        if let (Some(from), Some((to, _))) = (first, some.last())
            && (raw.len() >= FULL || is_last)
        {
            bodies::insert(db, heir, from, *to, &raw)?;
            (first, raw) = (None, Vec::new());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
