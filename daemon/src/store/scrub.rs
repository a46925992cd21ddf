//! Leaving nothing on the disk of what was forgotten.
//!
//! The writer's connection overwrites what it deletes, and the log is emptied before anybody is told that
//! something is forgotten. That is not quite all: SQLite leaves copies of rows where it has moved them
//! between pages, and earlier releases did not overwrite. So the file is made anew, too: at once where that
//! takes a moment, else when nothing is written, and while much is written after a while all the same. That
//! this is to be done is stored with the deletion, so a crash only puts it off. Not here: what is deleted
//! ([`super::writer`]).

use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction};

/// A file of so many bytes is made anew in about a second.
const SMALL: u64 = 128 << 20;

/// A larger one waits so long for a quiet moment; making it anew keeps the writer for about ten seconds a
/// gigabyte, while what is to be written waits.
const BUSY: Duration = Duration::from_secs(30);

/// When it could not be done, it is tried again after so long; …
const AGAIN: Duration = Duration::from_secs(60);

/// … or after so long, where only the log is left, because somebody reads in it.
const LOG_AGAIN: Duration = Duration::from_secs(5);

/// So long they are waited for, the first time and later.
const FOR_READERS: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(200)];

/// What is still to be done.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    owed: Option<Owed>,
}

#[derive(Debug, Clone, Copy)]
struct Owed {
    /// Not before.
    from: Instant,
    /// Then also while something is written.
    until: Instant,
    /// The file was made anew: only the log is left.
    only_log: bool,
}

impl Owed {
    fn after(wait: Duration) -> Self {
        let from = Instant::now() + wait;
        Self { from, until: from + BUSY, only_log: false }
    }
}

/// Stores that it is to be done.
///
/// # Errors
/// SQLite's.
pub(super) fn note(db: &Transaction<'_>) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO to_scrub (one) VALUES (1)")?.execute([])?;
    Ok(())
}

fn is_noted(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM to_scrub")?.exists([])
}

impl Scrub {
    /// What was not done before the last end.
    pub(super) fn stored(db: &Connection) -> Self {
        let is_noted = is_noted(db).unwrap_or(false);
        Self { owed: is_noted.then(|| Owed::after(Duration::ZERO)) }
    }

    /// Something may have been forgotten: whoever waits for that is told after this.
    pub(super) fn forgotten(&mut self, db: &Connection) {
        if !is_noted(db).unwrap_or(true) {
            return;
        }
        let owed = self.owed.get_or_insert_with(|| Owed::after(Duration::ZERO));
        owed.only_log = false;
        if super::retain::file_bytes(db).is_ok_and(|bytes| bytes <= SMALL) {
            self.make_anew(db);
        } else if let Err(error) = empty_log(db, FOR_READERS[0]) {
            tracing::info!(%error, "the log of the index still holds what was forgotten");
        }
    }

    /// Nothing is being written.
    pub(super) fn when_quiet(&mut self, db: &Connection) {
        if self.owed.is_some_and(|owed| owed.from <= Instant::now()) {
            self.make_anew(db);
        }
    }

    /// Something was written just now, and more may come.
    pub(super) fn when_busy(&mut self, db: &Connection) {
        if self.owed.is_some_and(|owed| owed.until <= Instant::now()) {
            self.make_anew(db);
        }
    }

    /// How long until there is something to be done.
    pub(super) fn wait(&self) -> Option<Duration> {
        Some(self.owed?.from.saturating_duration_since(Instant::now()))
    }

    fn make_anew(&mut self, db: &Connection) {
        let was_made = self.owed.is_some_and(|owed| owed.only_log);
        let made = if was_made { Ok(()) } else { db.execute_batch("VACUUM") };
        let only_log = made.is_ok();
        let done = made
            .and_then(|()| empty_log(db, FOR_READERS[usize::from(was_made)]))
            .and_then(|()| db.execute("DELETE FROM to_scrub", []));
        self.owed = done.err().map(|error| {
            if !was_made {
                tracing::warn!(%error, "the index may still hold what was forgotten; it is going");
            }
            let again = Owed::after(if only_log { LOG_AGAIN } else { AGAIN });
            Owed { only_log, ..again }
        });
    }
}

/// Writes what is in the log where it belongs and leaves nothing in it. It cannot be emptied beneath somebody
/// who reads for longer than is waited: that is an error.
fn empty_log(db: &Connection, patience: Duration) -> rusqlite::Result<()> {
    db.busy_timeout(patience)?;
    let is_busy = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    db.busy_timeout(super::writer::BUSY_TIMEOUT)?;
    if is_busy? {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, Some("it is being read".to_owned())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_in_bounded_time_also_while_much_is_written() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE to_scrub (one INTEGER PRIMARY KEY) STRICT").unwrap();
        db.execute_batch("INSERT INTO to_scrub VALUES (1)").unwrap();
        let mut scrub = Scrub::stored(&db);
        let owed = scrub.owed.unwrap();
        assert!(owed.from <= Instant::now() && owed.until <= Instant::now() + BUSY);
        scrub.when_busy(&db);
        assert!(is_noted(&db).unwrap() && scrub.wait() == Some(Duration::ZERO));
        scrub.owed = Some(Owed { until: owed.from, ..owed });
        scrub.when_busy(&db);
        assert!(!is_noted(&db).unwrap() && scrub.wait().is_none());
        // What cannot be done is tried again, but not at once.
        scrub.owed = Some(owed);
        db.execute_batch("BEGIN").unwrap();
        scrub.when_quiet(&db);
        assert!(scrub.wait().is_some_and(|wait| wait > BUSY) && !scrub.owed.unwrap().only_log);
    }
}
