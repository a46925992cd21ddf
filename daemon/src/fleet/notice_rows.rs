//! What people were told, and what they are still to be told, kept: a part of `keep.db`.
//!
//! Not here: what that is for ([`rrd_core::notices`]).

use rrd_core::notices::{mark::Mark, queue::Held};
use rrd_proto::Timestamp;
use rusqlite::params;

use super::keep::{Keep, KeepError};

impl Keep {
    /// Marks of what was told: of a local sink or not, and from when on they are remembered.
    pub(crate) fn notice_marks(&self) -> Result<Vec<(Mark, bool, Timestamp)>, KeepError> {
        self.rows("SELECT what, since, local, at FROM notice_marks", [], |row| {
            let mark = Mark { what: row.get::<_, i64>(0)?.cast_unsigned(), since: row.get(1)? };
            Ok((mark, row.get(2)?, Timestamp::from_millis(row.get(3)?)))
        })
    }

    /// What was held back, by the name of its sink; what cannot be read is passed by.
    pub(crate) fn held_notices(&self) -> Result<Vec<(String, Held)>, KeepError> {
        let rows = self.rows("SELECT sink, held FROM held_notices ORDER BY rowid", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        let read = |(sink, text): (String, String)| Some((sink, serde_json::from_str(&text).ok()?));
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Adds marks and takes others out; `held`, where it is given, takes the place of what was held before.
    pub(crate) fn set_notices(
        &mut self,
        marks: &[(Mark, bool)],
        forgotten: &[Mark],
        held: Option<&[(String, Held)]>,
        at: Timestamp,
    ) -> Result<(), KeepError> {
        self.at_once(|db| {
            let sql = "INSERT INTO notice_marks VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT DO UPDATE SET at = ?4";
            let mut insert = db.prepare_cached(sql)?;
            for (mark, local) in marks {
                let what = mark.what.cast_signed();
                insert.execute(params![what, mark.since, local, at.as_millis()])?;
            }
            let sql = "DELETE FROM notice_marks WHERE what = ?1 AND since = ?2";
            let mut delete = db.prepare_cached(sql)?;
            for mark in forgotten {
                delete.execute(params![mark.what.cast_signed(), mark.since])?;
            }
            let Some(held) = held else { return Ok(()) };
            db.execute("DELETE FROM held_notices", [])?;
            let mut insert = db.prepare_cached("INSERT INTO held_notices VALUES (?1, ?2)")?;
            for (sink, held) in held {
                let text = serde_json::to_string(held).unwrap_or_default();
                insert.execute(params![sink, text])?;
            }
            Ok(())
        })
    }
}
