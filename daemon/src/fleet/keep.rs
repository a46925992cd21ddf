//! `keep.db`: what this node knows and could not find out again.
//!
//! Members, generation, replay floors, invites, peers' last known rows, who may look. Small, and every
//! write is on the disk before it returns. A damaged one is left as it is: the fleet is off until somebody
//! has looked, and the list of this host goes on. Not here: secrets ([`super::keyfile`]), and what can be
//! read again from transcripts ([`crate::store`]).

use std::path::{Path, PathBuf};

use rrd_core::fleet::{members::List, window::Floor};
use rrd_proto::{NodeId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use zeroize::Zeroizing;

pub(crate) use crate::store::durable::DurableError as KeepError;
use crate::store::{durable, is_damage};

/// `RRDk`.
const APPLICATION_ID: i64 = 0x5252_446b;

/// Each entry takes the schema from its index to the next number. The list only ever grows.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE facts (
        name  TEXT PRIMARY KEY,       -- members (JSON), generation, version, replaces
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE floors (
        node       TEXT PRIMARY KEY,
        generation INTEGER NOT NULL,
        counter    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE invites (
        id      TEXT PRIMARY KEY,
        proof   BLOB NOT NULL,        -- derived from the token; the token itself is kept nowhere
        made_at INTEGER NOT NULL,     -- milliseconds since the epoch
        until   INTEGER NOT NULL,
        state   TEXT NOT NULL         -- open, spent, cancelled
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE peer_rows (
        node    TEXT NOT NULL,
        key     TEXT NOT NULL,
        record  TEXT NOT NULL,        -- as it was signed
        seen_at INTEGER NOT NULL,
        PRIMARY KEY (node, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE forgotten (          -- not used: it is said in the list of members
        node TEXT PRIMARY KEY,
        at   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE past (
        node       TEXT PRIMARY KEY,
        generation INTEGER NOT NULL,
        told_at    INTEGER NOT NULL,
        rows       TEXT NOT NULL      -- a session in JSON a line
    ) STRICT;
    CREATE TABLE heard (
        node      TEXT PRIMARY KEY,
        at        INTEGER NOT NULL,
        offset_ms INTEGER             -- of its clock; null where it never told
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE lookers (
        id       TEXT PRIMARY KEY,
        proof    BLOB NOT NULL,       -- SHA-256 of a cookie or token, which is kept nowhere
        bound_to TEXT,                -- the device that has the cookie; null: a token
        label    TEXT NOT NULL,
        made_at  INTEGER NOT NULL,    -- milliseconds since the epoch
        until    INTEGER,             -- null: until it is taken back
        seen_at  INTEGER
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE forgotten_sessions (
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        at         INTEGER NOT NULL,  -- milliseconds since the epoch
        PRIMARY KEY (harness, session_id)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE words (
        node       TEXT NOT NULL,
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        kept       TEXT NOT NULL,     -- JSON: texts that the node signed
        at         INTEGER NOT NULL,  -- when the session was active last, by this host's clock
        PRIMARY KEY (node, harness, session_id)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE task_links (
        task    TEXT NOT NULL,
        counter INTEGER NOT NULL,
        node    TEXT NOT NULL,        -- who linked
        link    TEXT NOT NULL,        -- as it was signed
        PRIMARY KEY (task, counter, node)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE binding_words (
        binding TEXT NOT NULL,
        counter INTEGER NOT NULL,
        node    TEXT NOT NULL,        -- who said it
        link    TEXT NOT NULL,        -- as it was signed
        PRIMARY KEY (binding, counter, node)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE notice_marks (
        what  INTEGER NOT NULL,       -- stands for what was told to which sink
        since INTEGER NOT NULL,       -- seconds since the epoch, by its owner's clock
        local INTEGER NOT NULL,       -- 1: of a sink that each host has for itself
        at    INTEGER NOT NULL,       -- milliseconds since the epoch
        PRIMARY KEY (what, since)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE held_notices (
        sink TEXT NOT NULL,
        held TEXT NOT NULL            -- JSON, redacted
    ) STRICT;
",
    super::message_rows::SCHEMA,
    super::message_rows::ONCE_AND_FORGOTTEN,
    "
    CREATE TABLE repos (
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        learnt     TEXT NOT NULL,     -- JSON: where the session was
        PRIMARY KEY (harness, session_id)
    ) STRICT, WITHOUT ROWID;
",
];

/// How long an invite that is over can still be told from one that never was, in milliseconds.
const REMEMBERED: i64 = 30 * 24 * 3_600_000;

impl KeepError {
    /// What helps.
    pub(crate) fn remedy(&self) -> String {
        if let Some(path) = self.full() {
            let place = path.parent().unwrap_or(path);
            return format!("the disk is full: make room in {}, then try again", place.display());
        }
        let is_damaged = match self {
            Self::Sqlite { source, .. } => is_damage(source),
            Self::Damaged { .. } => true,
            Self::Newer { .. } | Self::Io { .. } => false,
        };
        match self {
            Self::Sqlite { path, .. } | Self::Damaged { path, .. } if is_damaged => format!(
                "put {} back from a backup, or move it and fleet.key away and join the fleet anew",
                path.display()
            ),
            Self::Newer { .. } => "start that release".to_owned(),
            _ => "rrd doctor looks into it".to_owned(),
        }
    }

    /// What another host is told of messages that it hands over: nothing that names a place of this one.
    pub(crate) fn to_sender(&self) -> &'static str {
        match self.full() {
            Some(_) => "its disk is full",
            None => "it cannot write them down now, and its log tells why",
        }
    }

    /// What could not be written because there was no room for it; then nothing of it was changed.
    fn full(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path, source } => (source.sqlite_error_code()
                == Some(rusqlite::ErrorCode::DiskFull))
            .then_some(path.as_path()),
            Self::Io { path, source } => {
                let is_full = source.kind() == std::io::ErrorKind::StorageFull;
                is_full.then_some(path.as_path())
            }
            Self::Damaged { .. } | Self::Newer { .. } => None,
        }
    }
}

/// What became of an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InviteState {
    /// It can be taken.
    Open,
    /// It was.
    Spent,
    /// It was taken back.
    Cancelled,
    /// Its time is over.
    Stale,
}

/// What became of an invite, and what proves that somebody has its token.
pub(crate) type Invite = (InviteState, Zeroizing<[u8; 32]>);

/// The database. Its calls block on the disk.
#[derive(Debug)]
pub(crate) struct Keep {
    db: Connection,
    path: PathBuf,
}

impl Keep {
    /// Opens it; makes it when it is not there.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, KeepError> {
        let path = state_dir.join("keep.db");
        let db = durable::open(&path, APPLICATION_ID, MIGRATIONS)?;
        let keep = Self { db, path };
        // What is forgotten is overwritten.
        keep.db.pragma_update(None, "secure_delete", true).map_err(|error| keep.sqlite(error))?;
        Ok(keep)
    }

    pub(super) fn db(&self) -> &Connection {
        &self.db
    }

    pub(super) fn sqlite(&self, source: rusqlite::Error) -> KeepError {
        KeepError::Sqlite { path: self.path.clone(), source }
    }

    fn damaged(&self, what: impl Into<String>) -> KeepError {
        KeepError::Damaged { path: self.path.clone(), what: what.into() }
    }

    pub(super) fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, KeepError> {
        self.db.execute(sql, values).map_err(|error| self.sqlite(error))
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, KeepError> {
        let all = || -> rusqlite::Result<Vec<T>> {
            self.db.prepare_cached(sql)?.query_map(values, read)?.collect()
        };
        all().map_err(|error| self.sqlite(error))
    }

    fn fact(&self, name: &str) -> Result<Option<String>, KeepError> {
        let sql = "SELECT value FROM facts WHERE name = ?1";
        let found = self.db.query_row(sql, [name], |row| row.get(0)).optional();
        found.map_err(|error| self.sqlite(error))
    }

    fn set_fact(&self, name: &str, value: Option<&str>) -> Result<(), KeepError> {
        match value {
            Some(value) => self.run(
                "INSERT INTO facts VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
                [name, value],
            )?,
            None => self.run("DELETE FROM facts WHERE name = ?1", [name])?,
        };
        Ok(())
    }

    /// The members' list; empty where there is no fleet.
    pub(crate) fn members(&self) -> Result<List, KeepError> {
        let Some(text) = self.fact("members")? else { return Ok(List::default()) };
        serde_json::from_str(&text).map_err(|error| self.damaged(format!("members: {error}")))
    }

    pub(crate) fn set_members(&self, list: &List) -> Result<(), KeepError> {
        let text = serde_json::to_string(list).map_err(|error| self.damaged(error.to_string()))?;
        self.set_fact("members", Some(&text))
    }

    /// Whose place this node takes, if it had another name before.
    pub(crate) fn replaces(&self) -> Result<Option<NodeId>, KeepError> {
        Ok(self.fact("replaces")?.and_then(|text| text.parse().ok()))
    }

    pub(crate) fn set_replaces(&self, node: Option<NodeId>) -> Result<(), KeepError> {
        self.set_fact("replaces", node.map(|node| node.to_string()).as_deref())
    }

    /// A number that was never given before by this node under this name, and is not below `now`.
    fn next(&self, name: &str, now: Timestamp) -> Result<u64, KeepError> {
        let last = match self.fact(name)? {
            Some(text) => text.parse().map_err(|_| self.damaged(name))?,
            None => 0u64,
        };
        let now = u64::try_from(now.as_millis()).unwrap_or(0);
        let next = last.saturating_add(1).max(now);
        self.set_fact(name, Some(&next.to_string()))?;
        Ok(next)
    }

    /// This node's next generation. On the disk before it is used.
    pub(crate) fn next_generation(&self, now: Timestamp) -> Result<u64, KeepError> {
        self.next("generation", now)
    }

    /// The version of this node's next statement.
    pub(crate) fn next_version(&self, now: Timestamp) -> Result<u64, KeepError> {
        self.next("version", now)
    }

    /// Takes a generation of this node's own that somebody has seen: the next one is above it.
    pub(crate) fn adopt_generation(&self, seen: u64) -> Result<(), KeepError> {
        let last = self.fact("generation")?.and_then(|text| text.parse().ok()).unwrap_or(0u64);
        if seen > last {
            self.set_fact("generation", Some(&seen.to_string()))?;
        }
        Ok(())
    }

    /// What was taken of each sender.
    pub(crate) fn floors(&self) -> Result<Vec<(NodeId, Floor)>, KeepError> {
        let read = |row: &Row<'_>| {
            let (generation, counter) = (row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
            let floor =
                Floor { generation: generation.cast_unsigned(), counter: counter.cast_unsigned() };
            Ok((row.get::<_, String>(0)?, floor))
        };
        let rows = self.rows("SELECT node, generation, counter FROM floors", [], read)?;
        Ok(rows.into_iter().filter_map(|(node, floor)| Some((node.parse().ok()?, floor))).collect())
    }

    #[cfg(test)]
    pub(crate) fn set_floors(&mut self, floors: &[(NodeId, Floor)]) -> Result<(), KeepError> {
        self.at_once(|transaction| set_floors(transaction, floors))
    }

    /// Does all of this, or nothing.
    pub(super) fn at_once(
        &mut self,
        change: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), KeepError> {
        let path = self.path.clone();
        let all = || {
            let transaction = self.db.transaction()?;
            change(&transaction)?;
            transaction.commit()
        };
        all().map_err(|source| KeepError::Sqlite { path, source })
    }

    /// Keeps a new invite, and forgets those that have been over for long.
    pub(crate) fn add_invite(
        &self,
        id: [u8; 4],
        proof: &[u8; 32],
        made_at: Timestamp,
        until: Timestamp,
    ) -> Result<(), KeepError> {
        self.run("DELETE FROM invites WHERE until < ?1", [made_at.as_millis() - REMEMBERED])?;
        let (made_at, until) = (made_at.as_millis(), until.as_millis());
        let sql = "INSERT INTO invites VALUES (?1, ?2, ?3, ?4, 'open')";
        self.run(sql, params![invite_id(id), proof.as_slice(), made_at, until])?;
        Ok(())
    }

    /// What became of an invite, and what its taker must prove.
    pub(crate) fn invite(&self, id: [u8; 4], now: Timestamp) -> Result<Option<Invite>, KeepError> {
        let sql = "SELECT proof, made_at, until, state FROM invites WHERE id = ?1";
        let read = |row: &Row<'_>| {
            let proof = Zeroizing::new(row.get::<_, [u8; 32]>(0)?);
            let (made_at, until): (i64, i64) = (row.get(1)?, row.get(2)?);
            let state = match row.get::<_, String>(3)?.as_str() {
                // A clock that was set back makes no invite young again.
                "open" if (made_at..until).contains(&now.as_millis()) => InviteState::Open,
                "open" => InviteState::Stale,
                "spent" => InviteState::Spent,
                _ => InviteState::Cancelled,
            };
            Ok((state, proof))
        };
        let found = self.db.query_row(sql, [invite_id(id)], read).optional();
        found.map_err(|error| self.sqlite(error))
    }

    /// Takes an open invite; whether it still was open. What follows may only follow on a yes.
    pub(crate) fn spend_invite(&self, id: [u8; 4], now: Timestamp) -> Result<bool, KeepError> {
        let sql = "UPDATE invites SET state = 'spent'
            WHERE id = ?1 AND state = 'open' AND made_at <= ?2 AND until > ?2";
        Ok(self.run(sql, params![invite_id(id), now.as_millis()])? == 1)
    }

    /// Takes all open invites back; says how many.
    pub(crate) fn cancel_invites(&self, now: Timestamp) -> Result<u32, KeepError> {
        let open = self.open_invites(now)?;
        self.run(
            "UPDATE invites SET state = 'cancelled' WHERE state = 'open' AND until > ?1",
            [now.as_millis()],
        )?;
        Ok(open)
    }

    /// How many can be taken.
    pub(crate) fn open_invites(&self, now: Timestamp) -> Result<u32, KeepError> {
        let sql =
            "SELECT count(*) FROM invites WHERE state = 'open' AND made_at <= ?1 AND until > ?1";
        let count = self.db.query_row(sql, [now.as_millis()], |row| row.get(0));
        count.map_err(|error| self.sqlite(error))
    }

    /// Forgets what belongs to a fleet that this node is in no more. Numbers go on rising.
    pub(crate) fn leave(&mut self) -> Result<(), KeepError> {
        let sql = "BEGIN; DELETE FROM facts WHERE name = 'members'; DELETE FROM floors;
            UPDATE invites SET state = 'cancelled' WHERE state = 'open';
            DELETE FROM peer_rows; DELETE FROM past; DELETE FROM heard; DELETE FROM words;
            DELETE FROM task_links; DELETE FROM binding_words;
            UPDATE sent SET state = 3, state_at = CAST(unixepoch('subsec') * 1000 AS INTEGER),
                trouble = 'this host left the fleet'
                    || iif(state = 0, '', ': whether it was read is not known')
                WHERE state < 2 AND to_node <> node;
            DELETE FROM forgotten_messages;
            COMMIT;";
        self.db.execute_batch(sql).map_err(|error| self.sqlite(error))
    }
}

/// Sets what was taken of each sender.
pub(super) fn set_floors(
    transaction: &rusqlite::Transaction<'_>,
    floors: &[(NodeId, Floor)],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO floors VALUES (?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET generation = ?2, counter = ?3";
    let mut set = transaction.prepare_cached(sql)?;
    for (node, floor) in floors {
        let (generation, counter) = (floor.generation.cast_signed(), floor.counter.cast_signed());
        set.execute(params![node.to_string(), generation, counter])?;
    }
    Ok(())
}

fn invite_id(id: [u8; 4]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn open() -> (tempfile::TempDir, Keep) {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep::open(dir.path()).unwrap();
        (dir, keep)
    }

    #[test]
    fn who_sends_messages_hears_of_a_full_disk_and_of_no_path() {
        let told = |kind: std::io::ErrorKind| {
            KeepError::Io { path: "/home/x/keep.db".into(), source: kind.into() }.to_sender()
        };
        assert_eq!(told(std::io::ErrorKind::StorageFull), "its disk is full");
        assert!(told(std::io::ErrorKind::PermissionDenied).ends_with("its log tells why"));
    }

    #[test]
    fn generations_rise_whatever_the_clock_does() {
        let (dir, keep) = open();
        assert_eq!(keep.next_generation(at(1_000)).unwrap(), 1_000);
        assert_eq!(keep.next_generation(at(5)).unwrap(), 1_001);
        keep.adopt_generation(7_000).unwrap();
        drop(keep);
        let keep = Keep::open(dir.path()).unwrap();
        assert_eq!(keep.next_generation(at(-5)).unwrap(), 7_001);
        assert_eq!(keep.next_version(at(3)).unwrap(), 3);
    }

    #[test]
    fn an_invite_is_taken_once_and_in_time() {
        let (dir, keep) = open();
        let state = |keep: &Keep, id, now| keep.invite([id; 4], at(now)).unwrap().map(|(s, _)| s);
        for id in 1..=3 {
            keep.add_invite([id; 4], &[id; 32], at(100), at(700)).unwrap();
        }
        assert_eq!(keep.open_invites(at(200)).unwrap(), 3);
        assert!(keep.spend_invite([1; 4], at(200)).unwrap());
        assert!(!keep.spend_invite([1; 4], at(200)).unwrap());
        // Too late, and with a clock that was set back.
        assert!(!keep.spend_invite([2; 4], at(700)).unwrap());
        assert!(!keep.spend_invite([2; 4], at(99)).unwrap());
        drop(keep);
        let keep = Keep::open(dir.path()).unwrap();
        assert_eq!(keep.cancel_invites(at(200)).unwrap(), 2);
        keep.add_invite([4; 4], &[4; 32], at(200), at(800)).unwrap();
        assert_eq!(*keep.invite([4; 4], at(300)).unwrap().unwrap().1, [4; 32]);
        let states = [1, 2, 4, 9].map(|id| state(&keep, id, 300));
        let of = [InviteState::Spent, InviteState::Cancelled, InviteState::Open];
        assert_eq!(states, [Some(of[0]), Some(of[1]), Some(of[2]), None]);
        assert_eq!(state(&keep, 4, 900), Some(InviteState::Stale));
    }

    #[test]
    fn floors_come_back() {
        let (dir, mut keep) = open();
        let node = NodeId::from_hash([7; 8]);
        let floor = Floor { generation: u64::MAX, counter: 3 };
        keep.set_floors(&[(node, floor)]).unwrap();
        drop(keep);
        let mut keep = Keep::open(dir.path()).unwrap();
        assert_eq!(keep.floors().unwrap(), [(node, floor)]);
        keep.leave().unwrap();
        assert!(keep.floors().unwrap().is_empty());
    }

    #[test]
    fn what_an_earlier_release_sent_is_still_there() {
        let dir = tempfile::tempdir().unwrap();
        let once = super::super::message_rows::ONCE_AND_FORGOTTEN;
        let earlier = MIGRATIONS.split(|change| *change == once).next().unwrap();
        let db = durable::open(&dir.path().join("keep.db"), APPLICATION_ID, earlier).unwrap();
        let sent = "INSERT INTO sent VALUES
            (NULL, 'aaaaaaaaaaa', 1, 'aaaaaaaaaaa', NULL, NULL, 'codex', 's', 2, 0, 1, 0, NULL, 'hi')";
        db.execute(sent, []).unwrap();
        db.execute(sent, []).unwrap();
        drop(db);
        let keep = Keep::open(dir.path()).unwrap();
        assert_eq!(keep.sent(None, true, 9).unwrap().0.len(), 2);
        assert!(keep.hosts_with_messages().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_one_is_told_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keep.db");
        std::fs::write(&path, "garbage, and more of it than a header has: ".repeat(9)).unwrap();
        let error = Keep::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("keep.db"), "{error}");
        assert!(error.remedy().contains("from a backup"), "{}", error.remedy());
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("garbage"));
    }

    #[test]
    fn nobody_is_told_to_move_one_away_that_is_only_out_of_room() {
        let (dir, keep) = open();
        let pages: i64 = keep.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        keep.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        let much = "INSERT INTO facts (name, value) VALUES ('x', hex(zeroblob(100000)))";
        let source = keep.db.execute(much, []).unwrap_err();
        let full = KeepError::Sqlite { path: dir.path().join("keep.db"), source };
        assert!(full.remedy().starts_with("the disk is full: make room in "), "{}", full.remedy());
        let source = keep.db.execute("INSERT INTO nowhere VALUES (1)", []).unwrap_err();
        let other = KeepError::Sqlite { path: dir.path().join("keep.db"), source };
        assert_eq!(other.remedy(), "rrd doctor looks into it");
    }
}
