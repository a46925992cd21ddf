//! The newest rows of each other host, kept for when it is away: a part of `keep.db`.
//!
//! As that host told them when it was asked, so unsigned; its signed words come before them. Not here:
//! asking ([`crate::others`]).

use rrd_proto::{NodeId, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::keep::{Keep, KeepError};

/// What one host told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    /// Its generation then: as long as that lasts, gossip brings what is newer.
    pub(crate) generation: u64,
    /// By this host's clock.
    pub(crate) told_at: Timestamp,
    /// A session in JSON each, by that host's clock.
    pub(crate) rows: Vec<String>,
}

impl Keep {
    /// What that host told last.
    pub(crate) fn past(&self, node: NodeId) -> Result<Option<Past>, KeepError> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
        };
        let sql = "SELECT generation, told_at, rows FROM past WHERE node = ?1";
        let found = self.db().query_row(sql, [node.to_string()], read).optional();
        let found = found.map_err(|error| self.sqlite(error))?;
        Ok(found.map(|(generation, told_at, rows)| Past {
            generation: generation.cast_unsigned(),
            told_at: Timestamp::from_millis(told_at),
            rows: rows.lines().map(str::to_owned).collect(),
        }))
    }

    /// Keeps what it told in the place of what it told before.
    pub(crate) fn set_past(&self, node: NodeId, past: &Past) -> Result<(), KeepError> {
        let Past { generation, told_at, rows } = past;
        let sql = "INSERT INTO past VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE
            SET generation = excluded.generation, told_at = excluded.told_at, rows = excluded.rows";
        let generation = generation.cast_signed();
        let values = params![node.to_string(), generation, told_at.as_millis(), rows.join("\n")];
        self.run(sql, values)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_told_last_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::open(dir.path()).unwrap();
        let (a, b) = (NodeId::from_hash([1; 8]), NodeId::from_hash([2; 8]));
        let told = |generation, rows: &[&str]| Past {
            generation,
            told_at: Timestamp::from_millis(7),
            rows: rows.iter().map(|&row| row.to_owned()).collect(),
        };
        keep.set_past(a, &told(1, &["{}", "{\"x\":\"\\n\"}"])).unwrap();
        keep.set_past(b, &told(1, &["{}"])).unwrap();
        keep.set_past(b, &told(u64::MAX, &[])).unwrap();
        drop(keep);
        let mut keep = Keep::open(dir.path()).unwrap();
        assert_eq!(keep.past(a).unwrap().unwrap().rows, ["{}", "{\"x\":\"\\n\"}"]);
        assert_eq!(keep.past(b).unwrap(), Some(told(u64::MAX, &[])));
        keep.leave().unwrap();
        assert_eq!(keep.past(a).unwrap(), None);
    }
}
