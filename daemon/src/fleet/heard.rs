//! What other hosts told, kept for when they are away: a part of `keep.db`.
//!
//! Their signed words, as gossip brought them; and each one's newest rows, as it told them when it was asked,
//! unsigned: its words come before them. Not here: asking ([`crate::others`]).

use std::collections::HashMap;

use rrd_core::fleet::window::Floor;
use rrd_proto::{NodeId, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

use super::keep::{Keep, KeepError, set_floors};

/// A host as it was heard of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Which.
    pub(crate) node: NodeId,
    /// When, by this host's clock.
    pub(crate) at: Timestamp,
    /// What to add to its clock to have this host's, in milliseconds.
    pub(crate) offset_ms: Option<i64>,
    /// Its words that count, each under a name of its own.
    pub(crate) records: Vec<(String, String)>,
}

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
    /// Keeps what was taken of each sender, and when each of these was heard; the words of those that
    /// `changed` names take the place of all that these had.
    pub(crate) fn set_heard(
        &mut self,
        floors: &[(NodeId, Floor)],
        hosts: &[Heard],
        changed: impl Fn(NodeId) -> bool,
    ) -> Result<(), KeepError> {
        self.at_once(|transaction| {
            set_floors(transaction, floors)?;
            for Heard { node, at, offset_ms, records } in hosts {
                let name = node.to_string();
                let sql = "INSERT INTO heard VALUES (?1, ?2, ?3)
                    ON CONFLICT DO UPDATE SET at = ?2, offset_ms = ?3";
                let values = params![name, at.as_millis(), offset_ms];
                transaction.prepare_cached(sql)?.execute(values)?;
                if !changed(*node) {
                    continue;
                }
                transaction.execute("DELETE FROM peer_rows WHERE node = ?1", [&name])?;
                let sql = "INSERT INTO peer_rows VALUES (?1, ?2, ?3, ?4)";
                let mut keep = transaction.prepare_cached(sql)?;
                for (key, record) in records {
                    keep.execute(params![name, key, record, at.as_millis()])?;
                }
            }
            Ok(())
        })
    }

    /// Every host that was heard.
    pub(crate) fn heard(&self) -> Result<Vec<Heard>, KeepError> {
        let read = |row: &Row<'_>| {
            let (node, key): (String, String) = (row.get(0)?, row.get(1)?);
            let (record, seen_at): (String, i64) = (row.get(2)?, row.get(3)?);
            Ok((node, key, record, seen_at))
        };
        let sql = "SELECT node, key, record, seen_at FROM peer_rows ORDER BY node, key";
        let mut hosts: HashMap<NodeId, Heard> = HashMap::new();
        let heard = |node, at: i64| Heard {
            node,
            at: Timestamp::from_millis(at),
            offset_ms: None,
            records: Vec::new(),
        };
        for (node, key, record, seen_at) in self.rows(sql, [], read)? {
            let Ok(node) = node.parse() else { continue };
            let host = hosts.entry(node).or_insert_with(|| heard(node, seen_at));
            host.records.push((key, record));
        }
        let read = |row: &Row<'_>| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?))
        };
        for (node, at, offset_ms) in self.rows("SELECT node, at, offset_ms FROM heard", [], read)? {
            let Ok(node) = node.parse() else { continue };
            let host = hosts.entry(node).or_insert_with(|| heard(node, at));
            (host.at, host.offset_ms) = (Timestamp::from_millis(at), offset_ms);
        }
        Ok(hosts.into_values().collect())
    }

    /// What that host told last.
    pub(crate) fn past(&self, node: NodeId) -> Result<Option<Past>, KeepError> {
        let read = |row: &Row<'_>| {
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

    /// Forgets what a host told in this generation and before.
    pub(crate) fn forget_past(&self, node: NodeId, generation: u64) -> Result<(), KeepError> {
        let generation = i64::try_from(generation).unwrap_or(i64::MAX);
        let sql = "DELETE FROM past WHERE node = ?1 AND generation <= ?2";
        self.run(sql, params![node.to_string(), generation])?;
        Ok(())
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
    fn only_the_words_of_those_who_said_something_are_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut keep = Keep::open(dir.path()).unwrap();
        let (a, b) = (NodeId::from_hash([1; 8]), NodeId::from_hash([2; 8]));
        let heard = |node, at, offset_ms, records: &[(&str, &str)]| Heard {
            node,
            at: Timestamp::from_millis(at),
            offset_ms,
            records: records.iter().map(|(k, r)| ((*k).to_owned(), (*r).to_owned())).collect(),
        };
        let floor = Floor { generation: u64::MAX, counter: 3 };
        let first = [heard(a, 5, None, &[("", "1"), ("x", "1")]), heard(b, 6, None, &[("x", "1")])];
        keep.set_heard(&[(a, floor)], &first, |_| true).unwrap();
        let second = [heard(a, 7, Some(-3_600_000), &[("x", "2")]), heard(b, 8, None, &[])];
        keep.set_heard(&[], &second, |node| node == a).unwrap();
        drop(keep);
        let keep = Keep::open(dir.path()).unwrap();
        let mut hosts = keep.heard().unwrap();
        hosts.sort_by_key(|host| host.at);
        let [a_now, _] = second;
        assert_eq!(hosts, [a_now, heard(b, 8, None, &[("x", "1")])]);
        assert_eq!(keep.floors().unwrap(), [(a, floor)]);
    }

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
        keep.set_past(b, &told(7, &[])).unwrap();
        keep.forget_past(b, 6).unwrap();
        assert_eq!(keep.past(b).unwrap(), Some(told(7, &[])));
        keep.forget_past(b, 7).unwrap();
        assert_eq!(keep.past(b).unwrap(), None);
        assert!(keep.past(a).unwrap().is_some());
        keep.leave().unwrap();
        assert_eq!(keep.past(a).unwrap(), None);
    }
}
