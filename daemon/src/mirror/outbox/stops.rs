//! Sessions that the user wants mirrored no more. By a place's address, so that it stands when the place is
//! given up and taken again.

use rrd_proto::{Harness, SessionKey, Timestamp};
use rusqlite::params;

use super::{Outbox, Result};

pub(super) const TABLE: &str = "
    CREATE TABLE stops (
        url        TEXT NOT NULL,     -- the place's address; empty: every place
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        at         INTEGER NOT NULL,  -- milliseconds since the epoch
        PRIMARY KEY (url, harness, session_id)
    ) STRICT, WITHOUT ROWID;
";

/// Every place, also those that come later.
pub(crate) const EVERYWHERE: &str = "";

/// A session that is not mirrored to a place, or to [`EVERYWHERE`], and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) url: String,
    pub(crate) key: SessionKey,
    pub(crate) at: Timestamp,
}

impl Outbox {
    /// All of them.
    pub(crate) fn stops(&self) -> Result<Vec<Stop>> {
        let sql = "SELECT url, harness, session_id, at FROM stops";
        self.rows(sql, [], |row| {
            let harness = Harness::from(row.get::<_, String>(1)?.as_str());
            let key = SessionKey { harness, session_id: row.get(2)? };
            Ok(Stop { url: row.get(0)?, key, at: Timestamp::from_millis(row.get(3)?) })
        })
    }

    /// From now on not there.
    pub(crate) fn stop(&self, url: &str, key: &SessionKey, now: Timestamp) -> Result<()> {
        self.durable(true)?;
        let sql =
            "INSERT OR IGNORE INTO stops (url, harness, session_id, at) VALUES (?1, ?2, ?3, ?4)";
        let values = params![url, key.harness.as_str(), key.session_id, now.as_millis()];
        self.db.execute(sql, values).map(drop).map_err(|error| self.sqlite(error))
    }

    /// There again; `None`: everywhere.
    pub(crate) fn start(&self, url: Option<&str>, key: &SessionKey) -> Result<()> {
        self.durable(true)?;
        let sql =
            "DELETE FROM stops WHERE harness = ?1 AND session_id = ?2 AND (?3 IS NULL OR url = ?3)";
        let values = params![key.harness.as_str(), key.session_id, url];
        self.db.execute(sql, values).map(drop).map_err(|error| self.sqlite(error))
    }
}
