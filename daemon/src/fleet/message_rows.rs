//! Messages between sessions, kept: a part of `keep.db`, for they are said nowhere else.
//!
//! What was sent is numbered in the order it was sent, and goes to each host in that order; a host takes of what
//! is for one session only what is later than all it took of that sender before ([`Keep::take_messages`]), so
//! whatever comes again is known, also long after it was read and is kept no more. Every change is one
//! transaction: what is answered is on the disk. Not here: when messages go out ([`crate::messages`]).

mod forgotten;
mod views;

use std::collections::{HashMap, HashSet};

use rrd_core::redact::Redacted;
use rrd_proto::{
    Harness, NodeId, SessionKey, Timestamp,
    message::{Handed, HandedMessage, MAX_MESSAGE, MessageId, MessageState, MessagesPush},
};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::keep::{Keep, KeepError};
pub(super) use forgotten::forget;
use forgotten::{WAS_FORGOTTEN, is_forgotten};
pub(crate) use views::{KeptMessage, Traffic};

/// The tables, as they are made.
pub(super) const SCHEMA: &str = "
    CREATE TABLE sent (
        seq          INTEGER PRIMARY KEY AUTOINCREMENT,
        node         TEXT NOT NULL,     -- what this host was called then
        epoch        INTEGER NOT NULL,  -- of the run that sent it: random
        to_node      TEXT NOT NULL,
        from_harness TEXT,              -- null: a person
        from_session TEXT,
        to_harness   TEXT NOT NULL,
        to_session   TEXT NOT NULL,
        bytes        INTEGER NOT NULL,
        sent_at      INTEGER NOT NULL,  -- milliseconds since the epoch, as everywhere
        state        INTEGER NOT NULL,  -- 0 queued, 1 unread, 2 read, 3 failed
        state_at     INTEGER NOT NULL,
        trouble      TEXT,
        text         TEXT NOT NULL      -- redacted; once it is there, its beginning
    ) STRICT;
    CREATE INDEX sent_queued ON sent (to_node, seq, bytes) WHERE state = 0;
    CREATE INDEX sent_over ON sent (state_at) WHERE state > 1;
    CREATE TABLE received (
        number       INTEGER PRIMARY KEY AUTOINCREMENT,
        node         TEXT NOT NULL,
        epoch        INTEGER NOT NULL,
        seq          INTEGER NOT NULL,
        from_harness TEXT,
        from_session TEXT,
        to_harness   TEXT NOT NULL,
        to_session   TEXT NOT NULL,
        bytes        INTEGER NOT NULL,
        sent_at      INTEGER NOT NULL,  -- by its sender's clock
        offset_ms    INTEGER NOT NULL,  -- what to add to that to have it by this one's
        received_at  INTEGER NOT NULL,
        shown_at     INTEGER,           -- its session was told, by a hook or because it asked
        read_at      INTEGER,           -- it was acknowledged
        is_told      INTEGER NOT NULL,  -- its sender knows that
        text         TEXT NOT NULL,     -- last, so that nothing else is read through it
        UNIQUE (node, epoch, seq)
    ) STRICT;
    CREATE INDEX received_unread ON received (to_harness, to_session, number, bytes)
        WHERE read_at IS NULL;
    CREATE INDEX received_untold ON received (node) WHERE read_at IS NOT NULL AND is_told = 0;
    CREATE INDEX received_read ON received (read_at) WHERE read_at IS NOT NULL;
    CREATE TABLE message_floors (       -- of each sender's run: the last one taken for a session
        node       TEXT NOT NULL,
        epoch      INTEGER NOT NULL,
        harness    TEXT NOT NULL,
        session_id TEXT NOT NULL,
        seq        INTEGER NOT NULL,
        at         INTEGER NOT NULL,
        PRIMARY KEY (node, epoch, harness, session_id)
    ) STRICT, WITHOUT ROWID;
";

/// What came to the tables later.
pub(super) const ONCE_AND_FORGOTTEN: &str = "
    ALTER TABLE sent ADD COLUMN idempotency_key BLOB;  -- of the call that sent it
    CREATE UNIQUE INDEX sent_once ON sent (idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE TABLE forgotten_messages (   -- that came for sessions that were forgotten; their senders are to be told
        node    TEXT NOT NULL,
        epoch   INTEGER NOT NULL,
        seq     INTEGER NOT NULL,
        is_read INTEGER NOT NULL,       -- it had been acknowledged
        PRIMARY KEY (node, epoch, seq)
    ) STRICT, WITHOUT ROWID;
";

/// Messages on their way to one host, at most.
pub(crate) const MOST_OUT: u64 = 16_384;

/// Bytes of them, at most.
pub(crate) const MOST_OUT_BYTES: u64 = 64 << 20;

/// Messages for one session that nobody has acknowledged, at most.
pub(crate) const MOST_IN: u64 = 10_000;

/// Bytes of them, at most.
pub(crate) const MOST_IN_BYTES: u64 = 16 << 20;

/// Bytes of the database beyond which nothing more is taken of others.
const MOST_IN_ALL: u64 = 512 << 20;

/// Messages of one call.
const BATCH: usize = 256;

/// Bytes of them, and one more.
const BATCH_BYTES: usize = 1 << 20;

/// What is kept of a text that is there: enough to know it by.
const BEGINNING: usize = 400;

/// How long what is over is kept, in milliseconds.
const OVER: i64 = 7 * 24 * 3_600_000;

/// How long what nobody acknowledged is followed by its sender.
const FOLLOWED: i64 = 90 * 24 * 3_600_000;

/// How much of what is over is kept, and how much that is there is followed.
const MOST_OVER: u64 = 10_000;

/// Floors, at most; the oldest go.
const MOST_FLOORS: u64 = 50_000;

/// No clock is later, nor further from another one: so the two can be added up.
const LATEST: i64 = 1 << 52;

/// Characters of a name that another host tells.
const MAX_NAME: usize = 512;

/// Bytes of a text that another host tells: what is redacted may be longer than it was.
const MAX_TAKEN: usize = 2 * MAX_MESSAGE;

/// A message that is to be sent.
pub(crate) struct NewMessage<'a> {
    /// What this host is called, and the run of its daemon.
    pub(crate) own: (NodeId, u32),
    pub(crate) to_node: NodeId,
    pub(crate) from: Option<&'a SessionKey>,
    pub(crate) to: &'a SessionKey,
    pub(crate) text: &'a Redacted<String>,
    pub(crate) idempotency_key: &'a [u8; 16],
}

/// Why a message is not kept to be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    /// Too many are on their way to that host.
    #[error("{messages} messages with {bytes} bytes are on their way to that host already")]
    Full { messages: u64, bytes: u64 },
    /// That session of this host was forgotten since it was looked up.
    #[error("that session was forgotten")]
    Forgotten,
    /// Nobody acknowledges what that session gets.
    #[error("that session has {messages} messages with {bytes} bytes that nobody has acknowledged")]
    Unread { messages: u64, bytes: u64 },
    /// The disk says no.
    #[error("it cannot be written down: {0}")]
    Keep(#[from] KeepError),
}

/// As it stands in the table.
const fn number_of(state: MessageState) -> i64 {
    match state {
        MessageState::Queued => 0,
        MessageState::Unread => 1,
        MessageState::Read => 2,
        MessageState::Failed => 3,
    }
}

impl Keep {
    /// Keeps a message to be sent; one to a session of this host is there at once. Says its number. That no other
    /// one has its key is the caller's to look up ([`Keep::sent_once`]).
    pub(crate) fn send_message(
        &mut self,
        new: &NewMessage<'_>,
        now: Timestamp,
    ) -> Result<u64, NotSent> {
        let NewMessage { own: (node, epoch), to_node, from, to, text, idempotency_key } = *new;
        let text: &String = text.as_ref();
        let is_here = to_node == node;
        if is_here {
            let (messages, bytes) = self.unread(to)?;
            if !has_room(messages, bytes, text.len()) {
                return Err(NotSent::Unread { messages, bytes });
            }
        } else {
            let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM sent
                WHERE state = 0 AND to_node = ?1";
            let (messages, bytes) = self.sums(sql, [to_node.to_string()])?;
            if messages >= MOST_OUT || bytes + text.len() as u64 > MOST_OUT_BYTES {
                return Err(NotSent::Full { messages, bytes });
            }
        }
        let mut seq = None;
        self.at_once(|db| {
            if is_here && is_forgotten(db, to)? {
                return Ok(());
            }
            let (harness, id) = parts(from);
            let state = if is_here { MessageState::Unread } else { MessageState::Queued };
            let sql = "INSERT INTO sent VALUES
                (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9, ?10, ?11, ?10, NULL, ?8, ?12)";
            db.prepare_cached(sql)?.execute(params![
                node.to_string(),
                epoch,
                to_node.to_string(),
                harness,
                id,
                to.harness.as_str(),
                to.session_id,
                if is_here { beginning(text) } else { text },
                text.len() as i64,
                now.as_millis(),
                number_of(state),
                idempotency_key.as_slice(),
            ])?;
            let number = db.last_insert_rowid();
            seq = Some(number.cast_unsigned());
            if is_here {
                let seq = number;
                let came = Came { node, epoch, seq, from, to, text, sent_at: now, offset_ms: 0 };
                insert(db, &came, true, now)?;
            }
            Ok(())
        })?;
        seq.ok_or(NotSent::Forgotten)
    }

    /// The next messages for a host, in order, but for these sessions; and what it is to be told was read, or
    /// forgotten.
    pub(crate) fn outgoing(
        &self,
        to_node: NodeId,
        besides: &HashSet<SessionKey>,
    ) -> Result<MessagesPush, KeepError> {
        let mut push = MessagesPush::default();
        let node = to_node.to_string();
        let all = |push: &mut MessagesPush| -> rusqlite::Result<()> {
            let sql =
                "SELECT epoch, seq, from_harness, from_session, to_harness, to_session, text, sent_at
                FROM sent WHERE state = 0 AND to_node = ?1 ORDER BY seq";
            let mut statement = self.db().prepare_cached(sql)?;
            let mut rows = statement.query([&node])?;
            let mut bytes = 0;
            while let Some(row) = rows.next()? {
                let to = key(row, 4)?;
                if besides.contains(&to) {
                    continue;
                }
                let text: String = row.get(6)?;
                bytes += text.len();
                push.messages.push(HandedMessage {
                    epoch: row.get(0)?,
                    seq: row.get::<_, i64>(1)?.cast_unsigned(),
                    from: person_or_key(row, 2)?,
                    to,
                    text,
                    sent_at: Timestamp::from_millis(row.get(7)?),
                });
                if push.messages.len() >= BATCH || bytes >= BATCH_BYTES {
                    break;
                }
            }
            let named = |sql: &str| -> rusqlite::Result<Vec<(u32, u64)>> {
                let mut statement = self.db().prepare_cached(sql)?;
                let named = statement.query_map([&node], |row| {
                    Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
                })?;
                named.collect()
            };
            push.read = named(
                "SELECT epoch, seq FROM received
                    WHERE node = ?1 AND read_at IS NOT NULL AND is_told = 0
                UNION ALL SELECT epoch, seq FROM forgotten_messages WHERE node = ?1 AND is_read
                LIMIT 4096",
            )?;
            push.forgotten = named(
                "SELECT epoch, seq FROM forgotten_messages WHERE node = ?1 AND NOT is_read
                LIMIT 4096",
            )?;
            Ok(())
        };
        all(&mut push).map_err(|error| self.sqlite(error))?;
        Ok(push)
    }

    /// Takes note of what a host answered to what it was handed.
    pub(crate) fn settle(
        &mut self,
        push: &MessagesPush,
        to_node: NodeId,
        handed: &[Handed],
        now: Timestamp,
    ) -> Result<(), KeepError> {
        self.at_once(|db| {
            let sql = "UPDATE sent SET state = ?3, state_at = ?4, trouble = ?5,
                text = iif(?3 = 1, ?6, text)
                WHERE seq = ?1 AND epoch = ?2 AND state = 0";
            let mut settle = db.prepare_cached(sql)?;
            for (message, handed) in push.messages.iter().zip(handed) {
                let (state, trouble) = match handed {
                    Handed::Taken => (MessageState::Unread, None),
                    Handed::Unknown => {
                        (MessageState::Failed, Some("its host does not know that session"))
                    }
                    Handed::Refused => (MessageState::Failed, Some("its host refuses it")),
                    Handed::Full | Handed::Later => continue,
                };
                settle.execute(params![
                    message.seq.cast_signed(),
                    message.epoch,
                    number_of(state),
                    now.as_millis(),
                    trouble,
                    beginning(&message.text),
                ])?;
            }
            let sql = "UPDATE received SET is_told = 1 WHERE node = ?1 AND epoch = ?2 AND seq = ?3";
            let mut told = db.prepare_cached(sql)?;
            let sql = "DELETE FROM forgotten_messages WHERE node = ?1 AND epoch = ?2 AND seq = ?3";
            let mut told_of_forgotten = db.prepare_cached(sql)?;
            for (epoch, seq) in push.read.iter().chain(&push.forgotten) {
                let named = params![to_node.to_string(), epoch, seq.cast_signed()];
                told.execute(named)?;
                told_of_forgotten.execute(named)?;
            }
            Ok(())
        })
    }

    /// Takes what another host hands over, each for a session that `knows`; says what became of each. Of
    /// what is for one session nothing is taken that stands behind one that was not.
    pub(crate) fn take_messages(
        &mut self,
        node: NodeId,
        offset_ms: i64,
        push: &MessagesPush,
        knows: &dyn Fn(&SessionKey) -> Option<bool>,
        now: Timestamp,
    ) -> Result<Vec<Handed>, KeepError> {
        let mut room = HashMap::new();
        for message in &push.messages {
            if !room.contains_key(&message.to) {
                room.insert(message.to.clone(), self.unread(&message.to)?);
            }
        }
        let is_full = self.size()? > MOST_IN_ALL;
        let mut handed = Vec::with_capacity(push.messages.len());
        self.at_once(|db| {
            let sql = "SELECT seq FROM message_floors
                WHERE node = ?1 AND epoch = ?2 AND harness = ?3 AND session_id = ?4";
            let mut floor = db.prepare_cached(sql)?;
            let sql = "INSERT INTO message_floors VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                ON CONFLICT DO UPDATE SET seq = ?5, at = ?6";
            let mut set_floor = db.prepare_cached(sql)?;
            let from_node = node.to_string();
            let mut stopped: HashSet<&SessionKey> = HashSet::new();
            for message in &push.messages {
                let HandedMessage { epoch, seq, from, to, text, sent_at } = message;
                if stopped.contains(to) {
                    handed.push(Handed::Later);
                    continue;
                }
                let (harness, id) = (to.harness.as_str(), &to.session_id);
                let of = params![from_node, epoch, harness, id];
                let taken: Option<i64> = floor.query_row(of, |row| row.get(0)).optional()?;
                let Ok(seq) = i64::try_from(*seq) else {
                    stopped.insert(to);
                    handed.push(Handed::Refused);
                    continue;
                };
                if taken.is_some_and(|taken| seq <= taken) {
                    handed.push(Handed::Taken);
                    continue;
                }
                let (messages, bytes) = room.get(to).copied().unwrap_or_default();
                let is_odd = text.is_empty()
                    || text.len() > MAX_TAKEN
                    || from.as_ref().is_some_and(is_odd_name);
                let answer = match knows(to) {
                    _ if is_odd => Handed::Refused,
                    Some(false) => Handed::Unknown,
                    // It may have been known a moment ago.
                    _ if is_forgotten(db, to)? => Handed::Unknown,
                    Some(true) if !is_full && has_room(messages, bytes, text.len()) => {
                        Handed::Taken
                    }
                    _ => Handed::Full,
                };
                handed.push(answer);
                if answer != Handed::Taken {
                    stopped.insert(to);
                    continue;
                }
                let (epoch, sent_at) = (*epoch, *sent_at);
                let from = from.as_ref();
                insert(
                    db,
                    &Came { node, epoch, seq, from, to, text, sent_at, offset_ms },
                    false,
                    now,
                )?;
                let at = now.as_millis();
                set_floor.execute(params![from_node, epoch, harness, id, seq, at])?;
                room.insert(to.clone(), (messages + 1, bytes + text.len() as u64));
            }
            // A host that left is back under another name, and its word that it was read counts then, too: nobody
            // but who was handed a message knows its epoch.
            let sql = "SELECT text FROM sent WHERE epoch = ?2 AND seq = ?3
                AND (to_node = ?1 AND state < 2 OR state = 3 AND ?4)";
            let mut open = db.prepare_cached(sql)?;
            let sql = "UPDATE sent SET state = ?1, state_at = ?4, trouble = ?5, text = ?6
                WHERE epoch = ?2 AND seq = ?3";
            let mut close = db.prepare_cached(sql)?;
            let read = push.read.iter().map(|named| (named, MessageState::Read, None));
            let forgotten = push
                .forgotten
                .iter()
                .map(|named| (named, MessageState::Failed, Some(WAS_FORGOTTEN)));
            for ((epoch, seq), state, trouble) in read.chain(forgotten) {
                let is_read = state == MessageState::Read;
                let (seq, state, at) = (seq.cast_signed(), number_of(state), now.as_millis());
                let named = params![from_node, epoch, seq, is_read];
                let text = open.query_row(named, |row| row.get(0));
                let Some(text): Option<String> = text.optional()? else { continue };
                let text = beginning(&text);
                close.execute(params![state, epoch, seq, at, trouble, text])?;
            }
            Ok(())
        })?;
        Ok(handed)
    }

    /// What is on its way to this host will not arrive, and whether what is there was read nobody says any more.
    /// Says how many that are. What was read here stays untold: the host may be a member again.
    pub(crate) fn fail_messages(
        &mut self,
        to_node: NodeId,
        why: &str,
        now: Timestamp,
    ) -> Result<usize, KeepError> {
        let node = to_node.to_string();
        self.run("DELETE FROM forgotten_messages WHERE node = ?1", [&node])?;
        self.run(
            "UPDATE sent SET state = 3, state_at = ?2,
                trouble = iif(state = 0, ?3, ?3 || ': whether it was read is not known')
                WHERE state < 2 AND to_node = ?1 AND to_node <> node",
            params![node, now.as_millis(), why],
        )
    }

    /// These were read: by this session, or whosever they are. Says how many had not been, and which hosts are to
    /// be told.
    pub(crate) fn acknowledge(
        &mut self,
        of: Option<&SessionKey>,
        ids: &[MessageId],
        now: Timestamp,
    ) -> Result<(u64, Vec<NodeId>), KeepError> {
        let (mut count, mut nodes) = (0, HashSet::new());
        let (harness, session) = parts(of);
        self.at_once(|db| {
            let sql = "UPDATE received SET read_at = ?6 WHERE node = ?1 AND epoch = ?2 AND seq = ?3
                AND read_at IS NULL
                AND (?4 IS NULL OR to_harness = ?4 AND to_session = ?5)";
            let mut read = db.prepare_cached(sql)?;
            // One that was sent here, too.
            let sql = "UPDATE sent SET state = 2, state_at = ?4
                WHERE node = ?1 AND to_node = ?1 AND epoch = ?2 AND seq = ?3 AND state < 2";
            let mut here = db.prepare_cached(sql)?;
            for MessageId { node, epoch, seq } in ids {
                let (name, seq, at) = (node.to_string(), seq.cast_signed(), now.as_millis());
                if read.execute(params![name, epoch, seq, harness, session, at])? == 0 {
                    continue;
                }
                count += 1;
                if here.execute(params![name, epoch, seq, at])? == 0 {
                    nodes.insert(*node);
                }
            }
            Ok(())
        })?;
        Ok((count, nodes.into_iter().collect()))
    }

    /// Their sessions were told these.
    pub(crate) fn set_shown(&mut self, ids: &[MessageId], now: Timestamp) -> Result<(), KeepError> {
        self.at_once(|db| {
            let sql = "UPDATE received SET shown_at = ?4
                WHERE node = ?1 AND epoch = ?2 AND seq = ?3 AND shown_at IS NULL";
            let mut shown = db.prepare_cached(sql)?;
            ids.iter().try_for_each(|MessageId { node, epoch, seq }| {
                let named = params![node.to_string(), epoch, seq.cast_signed(), now.as_millis()];
                shown.execute(named).map(drop)
            })
        })
    }

    /// Forgets what is over for long, and what is too much.
    pub(crate) fn prune_messages(&mut self, now: Timestamp) -> Result<(), KeepError> {
        let (over, followed) = (now.as_millis() - OVER, now.as_millis() - FOLLOWED);
        self.at_once(|db| {
            db.execute("DELETE FROM sent WHERE state > 1 AND state_at < ?1", [over])?;
            db.execute("DELETE FROM sent WHERE state = 1 AND state_at < ?1", [followed])?;
            let sql = "DELETE FROM sent WHERE state > 1 AND seq NOT IN
                (SELECT seq FROM sent WHERE state > 1 ORDER BY state_at DESC LIMIT ?1)";
            db.execute(sql, [MOST_OVER.cast_signed()])?;
            let sql = "DELETE FROM sent WHERE state = 1 AND seq NOT IN
                (SELECT seq FROM sent WHERE state = 1 ORDER BY seq DESC LIMIT ?1)";
            db.execute(sql, [(4 * MOST_OVER).cast_signed()])?;
            // What its sender does not know yet stays, so that it can be told.
            db.execute("DELETE FROM received WHERE read_at < ?1 AND is_told = 1", [over])?;
            db.execute("DELETE FROM received WHERE read_at < ?1", [followed])?;
            let sql = "DELETE FROM received WHERE read_at IS NOT NULL AND is_told = 1 AND number NOT IN
                (SELECT number FROM received WHERE read_at IS NOT NULL ORDER BY read_at DESC LIMIT ?1)";
            db.execute(sql, [MOST_OVER.cast_signed()])?;
            let sql = "DELETE FROM message_floors WHERE (node, epoch, harness, session_id) IN
                (SELECT node, epoch, harness, session_id FROM message_floors ORDER BY at DESC
                    LIMIT -1 OFFSET ?1)";
            db.execute(sql, [MOST_FLOORS.cast_signed()])?;
            Ok(())
        })
    }

    /// Without waiting for the disk: a test ends no machine.
    #[cfg(test)]
    pub(crate) fn hurry(self) -> Self {
        self.db().pragma_update(None, "synchronous", "OFF").unwrap();
        self
    }

    /// How much is for a session that nobody has acknowledged: messages and their bytes.
    fn unread(&self, of: &SessionKey) -> Result<(u64, u64), KeepError> {
        let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM received
            WHERE to_harness = ?1 AND to_session = ?2 AND read_at IS NULL";
        self.sums(sql, params![of.harness.as_str(), of.session_id])
    }

    /// Bytes that it takes, as far as they are in use.
    fn size(&self) -> Result<u64, KeepError> {
        let sql = "SELECT (page_count - freelist_count) * page_size, 0
            FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        Ok(self.sums(sql, [])?.0)
    }

    fn sums(&self, sql: &str, of: impl rusqlite::Params) -> Result<(u64, u64), KeepError> {
        let read = |row: &Row<'_>| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
        };
        Ok(self.rows(sql, of, read)?.pop().unwrap_or_default())
    }
}

/// One that came.
struct Came<'a> {
    node: NodeId,
    epoch: u32,
    seq: i64,
    from: Option<&'a SessionKey>,
    to: &'a SessionKey,
    text: &'a str,
    sent_at: Timestamp,
    offset_ms: i64,
}

fn insert(
    db: &Transaction<'_>,
    came: &Came<'_>,
    told: bool,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (harness, id) = parts(came.from);
    let sql = "INSERT OR IGNORE INTO received VALUES
        (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9, ?10, ?11, ?12, NULL, NULL, ?13, ?8)";
    db.prepare_cached(sql)?.execute(params![
        came.node.to_string(),
        came.epoch,
        came.seq,
        harness,
        id,
        came.to.harness.as_str(),
        came.to.session_id,
        came.text,
        came.text.len() as i64,
        came.sent_at.as_millis().clamp(0, LATEST),
        came.offset_ms.clamp(-LATEST, LATEST),
        now.as_millis(),
        told,
    ])?;
    Ok(())
}

fn has_room(messages: u64, bytes: u64, more: usize) -> bool {
    messages < MOST_IN && bytes + more as u64 <= MOST_IN_BYTES
}

fn is_odd_name(key: &SessionKey) -> bool {
    let is_odd = |name: &str| name.is_empty() || name.len() > MAX_NAME;
    is_odd(key.harness.as_str()) || is_odd(&key.session_id)
}

fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(BEGINNING).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

fn parts(key: Option<&SessionKey>) -> (Option<&str>, Option<&str>) {
    key.map(|key| (key.harness.as_str(), key.session_id.as_str())).unzip()
}

fn key(row: &Row<'_>, first: usize) -> rusqlite::Result<SessionKey> {
    let harness = Harness::from(row.get_ref(first)?.as_str()?);
    Ok(SessionKey { harness, session_id: row.get(first + 1)? })
}

fn person_or_key(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<SessionKey>> {
    match row.get_ref(first)?.as_str_or_null()? {
        Some(_) => key(row, first).map(Some),
        None => Ok(None),
    }
}
