//! Who was let in to look, kept: a part of `keep.db`.
//!
//! Of a secret only its hash is here. Not here: what lets somebody in ([`crate::http`]).

use rrd_proto::Timestamp;
use rusqlite::{Row, params};

use super::keep::{Keep, KeepError};

/// Somebody who was let in, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LookerRow {
    /// What a person calls it by.
    pub(crate) id: String,
    /// The SHA-256 of what it shows.
    pub(crate) proof: [u8; 32],
    /// Which device it belongs to; none: whoever has it.
    pub(crate) bound_to: Option<String>,
    /// What it said it is.
    pub(crate) label: String,
    pub(crate) made_at: Timestamp,
    /// Until when; none: until it is taken back.
    pub(crate) until: Option<Timestamp>,
    pub(crate) seen_at: Option<Timestamp>,
}

impl Keep {
    /// Everybody, oldest first.
    pub(crate) fn lookers(&self) -> Result<Vec<LookerRow>, KeepError> {
        let read = |row: &Row<'_>| {
            let time = |ms: Option<i64>| ms.map(Timestamp::from_millis);
            Ok(LookerRow {
                id: row.get(0)?,
                proof: row.get(1)?,
                bound_to: row.get(2)?,
                label: row.get(3)?,
                made_at: Timestamp::from_millis(row.get(4)?),
                until: time(row.get(5)?),
                seen_at: time(row.get(6)?),
            })
        };
        let sql = "SELECT id, proof, bound_to, label, made_at, until, seen_at FROM lookers
            ORDER BY made_at, id";
        self.rows(sql, [], read)
    }

    pub(crate) fn add_looker(&self, row: &LookerRow) -> Result<(), KeepError> {
        let time = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        self.run(
            "INSERT INTO lookers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                row.id,
                row.proof.as_slice(),
                row.bound_to,
                row.label,
                row.made_at.as_millis(),
                time(row.until),
                time(row.seen_at)
            ],
        )?;
        Ok(())
    }

    pub(crate) fn saw_looker(&self, id: &str, at: Timestamp) -> Result<(), KeepError> {
        self.run("UPDATE lookers SET seen_at = ?2 WHERE id = ?1", params![id, at.as_millis()])?;
        Ok(())
    }

    /// All of these, or none.
    pub(crate) fn remove_lookers(&mut self, ids: &[String]) -> Result<(), KeepError> {
        self.at_once(|transaction| {
            let mut remove = transaction.prepare("DELETE FROM lookers WHERE id = ?1")?;
            ids.iter().try_for_each(|id| remove.execute([id]).map(|_| ()))
        })
    }
}
