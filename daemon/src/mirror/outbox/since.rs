//! Since when a place fails, and since when it has not all of a session: so that who starts the daemon anew every
//! few minutes hears of it all the same.

use std::collections::HashMap;

use rrd_proto::{Harness, SessionKey, Timestamp};
use rusqlite::params;

use super::{Outbox, Result, TargetId};

pub(super) const TABLE: &str = "
    ALTER TABLE targets ADD COLUMN failing_since INTEGER;  -- milliseconds since the epoch
    CREATE TABLE behind (
        target     INTEGER NOT NULL REFERENCES targets (id) ON DELETE CASCADE,
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        since      INTEGER NOT NULL,  -- milliseconds since the epoch
        PRIMARY KEY (target, harness, session_id)
    ) STRICT, WITHOUT ROWID;
";

/// One session of a target.
pub(super) const DELETE: &str =
    "DELETE FROM behind WHERE target = ?1 AND harness = ?2 AND session_id = ?3";

impl Outbox {
    /// When the place failed for the first time since it last worked.
    pub(crate) fn failing_since(&self, target: TargetId) -> Result<Option<Timestamp>> {
        let sql = "SELECT failing_since FROM targets \
                   WHERE id = ?1 AND failing_since IS NOT NULL";
        let since = self.rows(sql, [target], |row| row.get(0))?;
        Ok(since.first().copied().map(Timestamp::from_millis))
    }

    /// It works, or fails since then.
    pub(crate) fn set_failing_since(
        &self,
        target: TargetId,
        since: Option<Timestamp>,
    ) -> Result<()> {
        self.durable(false)?;
        let sql = "UPDATE targets SET failing_since = ?2 WHERE id = ?1";
        let done = self.db.execute(sql, params![target, since.map(Timestamp::as_millis)]);
        done.map(drop).map_err(|error| self.sqlite(error))
    }

    /// Sessions that could not be brought, and since when that is so.
    pub(crate) fn behind(&self, target: TargetId) -> Result<HashMap<SessionKey, Timestamp>> {
        let sql = "SELECT harness, session_id, since FROM behind WHERE target = ?1";
        let rows = self.rows(sql, [target], |row| {
            let harness = Harness::from(row.get::<_, String>(0)?.as_str());
            let key = SessionKey { harness, session_id: row.get(1)? };
            Ok((key, Timestamp::from_millis(row.get(2)?)))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// It cannot be brought since then, or is not behind any more.
    pub(crate) fn set_behind(
        &self,
        target: TargetId,
        key: &SessionKey,
        since: Option<Timestamp>,
    ) -> Result<()> {
        self.durable(false)?;
        let (harness, id) = (key.harness.as_str(), &key.session_id);
        let done = match since {
            Some(since) => {
                let sql = "INSERT OR IGNORE INTO behind (target, harness, session_id, since) \
                           VALUES (?1, ?2, ?3, ?4)";
                self.db.execute(sql, params![target, harness, id, since.as_millis()])
            }
            None => self.db.execute(DELETE, params![target, harness, id]),
        };
        done.map(drop).map_err(|error| self.sqlite(error))
    }
}
