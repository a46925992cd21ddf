//! Sessions that were forgotten, kept: a part of `keep.db`, for they could be read again.
//!
//! Not here: what goes with them ([`crate::forget`]).

use rrd_proto::{Harness, SessionKey, Timestamp};
use rusqlite::params;

use super::keep::{Keep, KeepError};

impl Keep {
    /// Every session that was forgotten on this host.
    pub(crate) fn forgotten_sessions(&self) -> Result<Vec<SessionKey>, KeepError> {
        let sql = "SELECT harness, session_id FROM forgotten_sessions";
        self.rows(sql, [], |row| {
            let harness = Harness::from(row.get_ref(0)?.as_str()?);
            Ok(SessionKey { harness, session_id: row.get(1)? })
        })
    }

    /// Adds these, all or none.
    pub(crate) fn forget_sessions(
        &mut self,
        keys: &[SessionKey],
        now: Timestamp,
    ) -> Result<(), KeepError> {
        self.at_once(|db| {
            let sql = "INSERT OR IGNORE INTO forgotten_sessions VALUES (?1, ?2, ?3)";
            keys.iter().try_for_each(|key| {
                let values = params![key.harness.as_str(), key.session_id, now.as_millis()];
                db.execute(sql, values)?;
                let values = params![key.harness.as_str(), key.session_id];
                db.execute("DELETE FROM repos WHERE harness = ?1 AND session_id = ?2", values)?;
                super::message_rows::forget(db, key, now)
            })
        })?;
        // Its messages are in the log yet; whoever reads at this moment keeps it until it is full.
        let emptied = self.db().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied.map_err(|error| self.sqlite(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_stays_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let key = |id: &str| SessionKey { harness: Harness::Codex, session_id: id.to_owned() };
        for _ in 0..2 {
            let mut keep = Keep::open(dir.path()).unwrap();
            keep.forget_sessions(&[key("a"), key("b")], Timestamp::from_millis(1)).unwrap();
        }
        let mut found = Keep::open(dir.path()).unwrap().forgotten_sessions().unwrap();
        found.sort();
        assert_eq!(found, [key("a"), key("b")]);
    }
}
