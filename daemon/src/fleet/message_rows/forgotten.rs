//! What is left of messages when a session is forgotten: that those who wrote to it are to be told.
//!
//! Not here: which sessions were forgotten ([`super::super::forgotten_rows`]), and how their senders are told
//! ([`super`]).

use rrd_proto::{SessionKey, Timestamp};
use rusqlite::{Transaction, params};

/// Why a message will not be read any more.
pub(super) const WAS_FORGOTTEN: &str = "that session was forgotten on its host";

/// Deletes what a session was sent, and what it sent, as far as it is on this host: nobody wants to know of it.
/// That a message of another one will not be read is kept, without what it said, for its sender is to know.
pub(in super::super) fn forget(
    db: &Transaction<'_>,
    key: &SessionKey,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let whose = [key.harness.as_str(), &key.session_id];
    for sql in [
        "DELETE FROM received WHERE (node, epoch, seq) IN (SELECT node, epoch, seq FROM sent
            WHERE from_harness = ?1 AND from_session = ?2 AND to_node = node)",
        "INSERT OR IGNORE INTO forgotten_messages
            SELECT node, epoch, seq, read_at IS NOT NULL FROM received
            WHERE to_harness = ?1 AND to_session = ?2 AND is_told = 0",
        "DELETE FROM received WHERE to_harness = ?1 AND to_session = ?2",
        "DELETE FROM sent WHERE from_harness = ?1 AND from_session = ?2",
        "DELETE FROM sent WHERE to_harness = ?1 AND to_session = ?2 AND to_node = node
            AND state > 1",
    ] {
        db.execute(sql, whose)?;
    }
    let sql = "UPDATE sent SET state = 3, state_at = ?3, trouble = ?4, text = ''
        WHERE to_harness = ?1 AND to_session = ?2 AND to_node = node";
    db.execute(sql, params![whose[0], whose[1], now.as_millis(), WAS_FORGOTTEN])?;
    Ok(())
}

/// Whether it was, as of this transaction: what comes for it in that moment is not to be kept either.
pub(super) fn is_forgotten(db: &Transaction<'_>, key: &SessionKey) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS
        (SELECT 1 FROM forgotten_sessions WHERE harness = ?1 AND session_id = ?2)";
    let whose = [key.harness.as_str(), &key.session_id];
    db.prepare_cached(sql)?.query_row(whose, |row| row.get(0))
}
