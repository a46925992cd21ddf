//! What is told of messages that are kept.
//!
//! Not here: how they come to be there.

use std::collections::HashMap;

use rrd_proto::{
    NodeId, SessionKey, Timestamp,
    message::{MessageId, MessageState},
};
use rusqlite::{Row, params};

use super::{Keep, KeepError, key, parts, person_or_key};

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptMessage {
    pub(crate) id: MessageId,
    pub(crate) from: Option<SessionKey>,
    pub(crate) to_node: Option<NodeId>,
    pub(crate) to: SessionKey,
    pub(crate) text: String,
    pub(crate) bytes: u64,
    pub(crate) sent_at: Timestamp,
    pub(crate) received_at: Option<Timestamp>,
    pub(crate) shown_at: Option<Timestamp>,
    pub(crate) state: MessageState,
    pub(crate) state_since: Timestamp,
    pub(crate) trouble: Option<String>,
}

/// What a session sent another one, in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) from: SessionKey,
    pub(crate) to_node: NodeId,
    pub(crate) to: SessionKey,
    pub(crate) state: MessageState,
    /// When the oldest of these was sent.
    pub(crate) since: Timestamp,
    /// When the last of these came to be so.
    pub(crate) state_at: Timestamp,
    pub(crate) count: u64,
}

/// By their numbers in the table.
const STATES: [MessageState; 4] =
    [MessageState::Queued, MessageState::Unread, MessageState::Read, MessageState::Failed];

impl Keep {
    /// Hosts that something is on its way to.
    pub(crate) fn hosts_with_messages(&self) -> Result<Vec<NodeId>, KeepError> {
        let sql = "SELECT DISTINCT to_node FROM sent WHERE state = 0
            UNION SELECT DISTINCT node FROM received WHERE read_at IS NOT NULL AND is_told = 0
            UNION SELECT DISTINCT node FROM forgotten_messages";
        let nodes = self.rows(sql, [], |row| row.get::<_, String>(0))?;
        Ok(nodes.into_iter().filter_map(|node| node.parse().ok()).collect())
    }

    /// Other hosts that have messages of this one of which nobody has said yet that they were read.
    pub(crate) fn hosts_with_unread(&self) -> Result<Vec<NodeId>, KeepError> {
        let sql = "SELECT DISTINCT to_node FROM sent WHERE state = 1 AND to_node <> node";
        let nodes = self.rows(sql, [], |row| row.get::<_, String>(0))?;
        Ok(nodes.into_iter().filter_map(|node| node.parse().ok()).collect())
    }

    /// Sessions with messages that they were not told of and did not acknowledge.
    pub(crate) fn sessions_with_messages(&self) -> Result<Vec<SessionKey>, KeepError> {
        let sql = "SELECT DISTINCT to_harness, to_session FROM received
            WHERE read_at IS NULL AND shown_at IS NULL";
        self.rows(sql, [], |row| key(row, 0))
    }

    /// What came for a session, or for all, in the order it came; and how many more there are.
    pub(crate) fn inbox(
        &self,
        of: Option<&SessionKey>,
        all: bool,
        limit: u32,
    ) -> Result<(Vec<KeptMessage>, u64), KeepError> {
        let only = if all { "1 = 1" } else { "read_at IS NULL" };
        self.received(of, only, limit)
    }

    /// What it was not told of yet.
    pub(crate) fn unshown(
        &self,
        of: &SessionKey,
        limit: u32,
    ) -> Result<Vec<KeptMessage>, KeepError> {
        Ok(self.received(Some(of), "read_at IS NULL AND shown_at IS NULL", limit)?.0)
    }

    fn received(
        &self,
        of: Option<&SessionKey>,
        only: &str,
        limit: u32,
    ) -> Result<(Vec<KeptMessage>, u64), KeepError> {
        let (harness, id) = parts(of);
        let of_whom = match of {
            Some(_) => "to_harness = ?1 AND to_session = ?2",
            None => "?1 IS NULL AND ?2 IS NULL",
        };
        let sql = format!(
            "SELECT {RECEIVED} FROM received WHERE {of_whom} AND {only} ORDER BY number LIMIT ?3"
        );
        let messages = self.rows(&sql, params![harness, id, limit], received)?;
        let sql = format!("SELECT count(*), 0 FROM received WHERE {of_whom} AND {only}");
        let (count, _) = self.sums(&sql, params![harness, id])?;
        let more = count.saturating_sub(messages.len() as u64);
        Ok((messages, more))
    }

    /// One that came, if it is for this session; `None`: whosever.
    pub(crate) fn received_one(
        &self,
        of: Option<&SessionKey>,
        id: MessageId,
    ) -> Result<Option<KeptMessage>, KeepError> {
        let sql =
            format!("SELECT {RECEIVED} FROM received WHERE node = ?1 AND epoch = ?2 AND seq = ?3");
        let named = params![id.node.to_string(), id.epoch, id.seq.cast_signed()];
        let found = self.rows(&sql, named, received)?.pop();
        Ok(found.filter(|message| of.is_none_or(|of| message.to == *of)))
    }

    /// What a session sent, or all, the oldest first: the newest of what is on its way or failed, or of all.
    pub(crate) fn sent(
        &self,
        of: Option<&SessionKey>,
        all: bool,
        limit: u32,
    ) -> Result<(Vec<KeptMessage>, u64), KeepError> {
        let (harness, id) = parts(of);
        let only = format!(
            "{} AND {}",
            if of.is_some() {
                "from_harness = ?1 AND from_session = ?2"
            } else {
                "?1 IS NULL AND ?2 IS NULL"
            },
            if all { "1 = 1" } else { "state IN (0, 3)" }
        );
        let sql = format!("SELECT {SENT} FROM sent WHERE {only} ORDER BY seq DESC LIMIT ?3");
        let mut messages = self.rows(&sql, params![harness, id, limit], sent)?;
        messages.reverse();
        let (count, _) =
            self.sums(&format!("SELECT count(*), 0 FROM sent WHERE {only}"), params![harness, id])?;
        let more = count.saturating_sub(messages.len() as u64);
        Ok((messages, more))
    }

    /// One that was sent.
    pub(crate) fn sent_one(&self, seq: u64) -> Result<Option<KeptMessage>, KeepError> {
        let sql = format!("SELECT {SENT} FROM sent WHERE seq = ?1");
        Ok(self.rows(&sql, [seq.cast_signed()], sent)?.pop())
    }

    /// The one that a call with this key has sent already.
    pub(crate) fn sent_once(
        &self,
        idempotency_key: &[u8; 16],
    ) -> Result<Option<KeptMessage>, KeepError> {
        let sql = format!("SELECT {SENT} FROM sent WHERE idempotency_key = ?1");
        Ok(self.rows(&sql, [idempotency_key.as_slice()], sent)?.pop())
    }

    /// What sessions sent each other that is still on its way or unread, or came to an end after `after`.
    pub(crate) fn traffic(&self, after: Timestamp) -> Result<Vec<Traffic>, KeepError> {
        let sql = "SELECT from_harness, from_session, to_node, to_harness, to_session, state,
                min(sent_at), max(state_at), count(*)
            FROM sent WHERE from_harness IS NOT NULL AND (state < 2 OR state_at > ?1)
            GROUP BY 1, 2, 3, 4, 5, 6";
        let rows = self.rows(sql, [after.as_millis()], |row| {
            let state = STATES.get(usize::from(row.get::<_, u16>(5)?)).copied();
            let to_node: String = row.get(2)?;
            Ok(to_node.parse().ok().zip(state).zip(Some((
                key(row, 0)?,
                key(row, 3)?,
                Timestamp::from_millis(row.get(6)?),
                Timestamp::from_millis(row.get(7)?),
                row.get::<_, i64>(8)?.unsigned_abs(),
            ))))
        })?;
        let traffic = |((to_node, state), (from, to, since, state_at, count))| Traffic {
            from,
            to_node,
            to,
            state,
            since,
            state_at,
            count,
        };
        Ok(rows.into_iter().flatten().map(traffic).collect())
    }

    /// Sessions that were sent a message by this one, and have sent none since: their host, and when it was.
    pub(crate) fn unanswered(
        &self,
        own: NodeId,
        of: &SessionKey,
    ) -> Result<Vec<(NodeId, SessionKey, Timestamp)>, KeepError> {
        let sql = "SELECT to_node, to_harness, to_session, max(sent_at) FROM sent
            WHERE from_harness = ?1 AND from_session = ?2 AND state < 3 GROUP BY 1, 2, 3";
        let asked = self.rows(sql, params![of.harness.as_str(), of.session_id], |row| {
            let node: String = row.get(0)?;
            Ok((node, key(row, 1)?, row.get::<_, i64>(3)?))
        })?;
        let sql = "SELECT node, from_harness, from_session, max(received_at) FROM received
            WHERE to_harness = ?1 AND to_session = ?2 AND from_harness IS NOT NULL GROUP BY 1, 2, 3";
        let answered = self.rows(sql, params![of.harness.as_str(), of.session_id], |row| {
            let node: String = row.get(0)?;
            Ok(((node, key(row, 1)?), row.get::<_, i64>(3)?))
        })?;
        let answered: HashMap<_, _> = answered.into_iter().collect();
        let mut open = Vec::new();
        for (node, to, sent_at) in asked {
            let Ok(id) = node.parse::<NodeId>() else { continue };
            if id == own && to == *of {
                continue;
            }
            if answered.get(&(node, to.clone())).is_none_or(|came| *came < sent_at) {
                open.push((id, to, Timestamp::from_millis(sent_at)));
            }
        }
        Ok(open)
    }
}

fn at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// A name that cannot be read is nobody's.
fn message_id(row: &Row<'_>, first: usize) -> rusqlite::Result<MessageId> {
    let node: String = row.get(first)?;
    Ok(MessageId {
        node: node.parse().unwrap_or(NodeId::LEAST),
        epoch: row.get(first + 1)?,
        seq: row.get::<_, i64>(first + 2)?.cast_unsigned(),
    })
}

const RECEIVED: &str =
    "node, epoch, seq, from_harness, from_session, to_harness, to_session, text, bytes,
    sent_at + offset_ms, received_at, shown_at, read_at";

fn received(row: &Row<'_>) -> rusqlite::Result<KeptMessage> {
    let (received_at, read_at) = (at(row, 10)?, at(row, 12)?);
    let never = Timestamp::from_millis(0);
    Ok(KeptMessage {
        id: message_id(row, 0)?,
        from: person_or_key(row, 3)?,
        to_node: None,
        to: key(row, 5)?,
        text: row.get(7)?,
        bytes: row.get::<_, i64>(8)?.unsigned_abs(),
        sent_at: at(row, 9)?.unwrap_or(never),
        received_at,
        shown_at: at(row, 11)?,
        state: if read_at.is_some() { MessageState::Read } else { MessageState::Unread },
        state_since: read_at.or(received_at).unwrap_or(never),
        trouble: None,
    })
}

const SENT: &str =
    "node, epoch, seq, from_harness, from_session, to_node, to_harness, to_session, text, bytes,
    sent_at, state, state_at, trouble";

fn sent(row: &Row<'_>) -> rusqlite::Result<KeptMessage> {
    let to_node: String = row.get(5)?;
    let never = Timestamp::from_millis(0);
    Ok(KeptMessage {
        id: message_id(row, 0)?,
        from: person_or_key(row, 3)?,
        to_node: to_node.parse().ok(),
        to: key(row, 6)?,
        text: row.get(8)?,
        bytes: row.get::<_, i64>(9)?.unsigned_abs(),
        sent_at: at(row, 10)?.unwrap_or(never),
        received_at: None,
        shown_at: None,
        state: STATES
            .get(usize::from(row.get::<_, u16>(11)?))
            .copied()
            .unwrap_or(MessageState::Failed),
        state_since: at(row, 12)?.unwrap_or(never),
        trouble: row.get(13)?,
    })
}
