//! The last words of other hosts' sessions, kept: a part of `keep.db`.
//!
//! Not here: what of them counts, and when they are fetched ([`crate::words`]).

use rrd_core::fleet::words::Kept;
use rrd_proto::{Harness, NodeId, SessionKey, Timestamp};
use rusqlite::{Row, params};

use super::keep::{Keep, KeepError};

type Words = ((NodeId, SessionKey), Kept, Timestamp);

impl Keep {
    /// All that are kept; what cannot be read is passed by.
    pub(crate) fn words(&self) -> Result<Vec<Words>, KeepError> {
        let read = |row: &Row<'_>| {
            let texts: [String; 4] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            Ok((texts, row.get::<_, i64>(4)?))
        };
        let sql = "SELECT node, harness, session_id, kept, at FROM words";
        let rows = self.rows(sql, [], read)?.into_iter();
        let read = |([node, harness, session_id, kept], at): ([String; 4], i64)| {
            let key = SessionKey { harness: Harness::from(harness.as_str()), session_id };
            let kept = serde_json::from_str(&kept).ok()?;
            Some(((node.parse().ok()?, key), kept, Timestamp::from_millis(at)))
        };
        Ok(rows.filter_map(read).collect())
    }

    /// Keeps these in the place of what there was of their sessions, and no longer what is `gone`.
    pub(crate) fn set_words(
        &mut self,
        words: &[Words],
        gone: &[(NodeId, SessionKey)],
    ) -> Result<(), KeepError> {
        self.at_once(|db| {
            let sql = "DELETE FROM words WHERE node = ?1 AND harness = ?2 AND session_id = ?3";
            let mut delete = db.prepare_cached(sql)?;
            for (node, key) in gone {
                delete.execute([&node.to_string(), key.harness.as_str(), &key.session_id])?;
            }
            let sql = "INSERT OR REPLACE INTO words VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut insert = db.prepare_cached(sql)?;
            for ((node, key), kept, at) in words {
                let kept = serde_json::to_string(kept).unwrap_or_default();
                let (harness, id) = (key.harness.as_str(), &key.session_id);
                insert.execute(params![node.to_string(), harness, id, kept, at.as_millis()])?;
            }
            Ok(())
        })
    }
}
