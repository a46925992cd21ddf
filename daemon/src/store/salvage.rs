//! Takes out of a damaged index what nothing else has: sessions whose transcripts are gone.
//!
//! Everything else is made anew from the transcripts. A session is taken whole or not at all, and one that
//! cannot be read does not keep the others. Not here: when an index counts as damaged.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    bodies::{self, Bodies},
    copies,
};

/// Copies into `index` what only `damaged` has; gives how many sessions that are, and how many could not
/// be read.
///
/// # Errors
/// SQLite's, where the new index cannot be written, or nothing at all of the old one can be read.
pub(super) fn salvage(index: &Path, damaged: &Path) -> rusqlite::Result<(u64, u64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(index, flags)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.execute("ATTACH ?1 AS old", [damaged.to_string_lossy()])?;
    let old = Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let places = files(&db)?;
    let place =
        |path: &str| path.rsplit_once('#').map_or_else(|| path.to_owned(), |(db, _)| db.to_owned());
    let gone = |path: &String| !Path::new(path).exists() && !Path::new(&place(path)).exists();
    let (mut taken, mut lost) = (0, 0);
    for (id, paths) in places {
        if !paths.iter().all(gone) {
            continue;
        }
        match take(&mut db, id, &old) {
            Ok(()) => taken += 1,
            Err(error) => {
                tracing::debug!(%error, id, "a session cannot be had from the damaged index");
                lost += 1;
            }
        }
    }
    Ok((taken, lost))
}

/// The paths of each session's transcripts, as far as they can be read from either end.
fn files(db: &Connection) -> rusqlite::Result<BTreeMap<i64, BTreeSet<String>>> {
    let mut found: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    for order in ["ASC", "DESC"] {
        let sql = format!("SELECT session, path FROM old.files ORDER BY path {order}");
        let mut files = db.prepare(&sql)?;
        let mut rows = files.query([])?;
        while let Ok(Some(row)) = rows.next() {
            if let (Ok(session), Ok(path)) = (row.get(0), row.get(1)) {
                found.entry(session).or_default().insert(path);
            }
        }
    }
    Ok(found)
}

fn take(db: &mut Connection, id: i64, old: &Connection) -> rusqlite::Result<()> {
    let all = db.transaction()?;
    all.execute(
        "INSERT INTO main.sessions (harness, session_id, reader, fold, seal, bodied, life)
            SELECT harness, session_id, reader, fold, seal, bodied, random() FROM old.sessions WHERE id = ?1",
        [id],
    )?;
    let new = all.last_insert_rowid();
    for sql in [
        "INSERT INTO main.files SELECT path, ?2, cursor, parser, size, mtime, seal
            FROM old.files WHERE session = ?1",
        "INSERT INTO main.events (session, seq, at, kind, flags, offset, key, text, tool, call, message)
            SELECT ?2, seq, at, kind, flags, offset, key, text, tool, call, message
            FROM old.events WHERE session = ?1",
        "INSERT INTO main.marks SELECT ?2, key FROM old.marks WHERE session = ?1",
        "INSERT INTO main.bodies (session, first, last, size, data)
            SELECT ?2, first, last, size, data FROM old.bodies WHERE session = ?1 ORDER BY last",
        "INSERT INTO main.stretches SELECT ?2, at, status, waiting, detail
            FROM old.stretches WHERE session = ?1",
        "INSERT INTO main.gaps SELECT ?2, first, last, why FROM old.gaps WHERE session = ?1",
    ] {
        all.execute(sql, [id, new])?;
    }
    // Whoever kept these for it may not be taken. An older index has none.
    let (copies, _) =
        copies::read(old, id, 0, u64::MAX, |_| true, usize::MAX).unwrap_or_else(|error| {
            tracing::debug!(%error, id, "what others kept of it cannot be read");
            Default::default()
        });
    let mut bodies = Bodies::new().map_err(bodies::refused)?;
    bodies.put(&all, new, copies.iter().map(|(seq, body)| (*seq, body)))?;
    all.execute(
        "INSERT INTO main.trails SELECT t.harness, t.session_id, t.trail, t.seal
            FROM old.trails t JOIN main.sessions s USING (harness, session_id) WHERE s.id = ?1",
        [new],
    )?;
    all.commit()
}
