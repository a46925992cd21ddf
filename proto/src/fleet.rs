//! What `rrd fleet` asks of the daemon on this host, and what it is told.
//!
//! [`FleetStatus`] in JSON is a contract like a session's. Not here: what hosts say to each other
//! ([`crate::peer`]), keys, rules.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Timestamp};

/// One question or order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FleetCall {
    /// How the fleet is, seen from here.
    Status,
    /// Makes a fleet with this host as its first member.
    Init,
    /// Makes an invite.
    Invite,
    /// Cancels all open invites.
    CancelInvites,
    /// Takes an invite: what `invite` printed, or only its last word.
    Join(String),
    /// Gives the fleet a new key; drops a member first, where one is named.
    Rotate(Option<String>),
    /// Has what an away or dropped host said shown no more, anywhere.
    Forget(String),
    /// Leaves the fleet.
    Leave,
}

/// The answer to a call that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FleetReply {
    /// How the fleet is now.
    Status(Box<FleetStatus>),
    /// An invite.
    Invite(FleetInvite),
    /// So many were cancelled.
    Cancelled(u32),
    /// Who has the new key, and who has not.
    Rotated(FleetRotation),
    /// This host is not shown any more.
    Forgotten(String),
}

/// An invite: good for one host, for ten minutes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetInvite {
    /// What is typed after `rrd fleet join`. Secret.
    pub word: String,
    /// Until when it is good.
    pub until: Timestamp,
    /// Whether only this machine can reach the address in it.
    pub only_here: bool,
}

impl std::fmt::Debug for FleetInvite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FleetInvite").field("until", &self.until).finish_non_exhaustive()
    }
}

/// How a rotation went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetRotation {
    /// The new key's id.
    pub key_id: String,
    /// Members that have it.
    pub reached: Vec<String>,
    /// Members that could not be reached; they get it when they come back.
    pub missed: Vec<String>,
    /// Who was dropped.
    pub dropped: Option<String>,
    /// Open invites that were cancelled.
    pub cancelled: u32,
}

/// The fleet, seen from one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// This host's label.
    pub host: String,
    /// This node.
    pub node_id: NodeId,
    /// Names the fleet's key; `null` where there is no fleet.
    pub key_id: Option<String>,
    /// Where others reach this host.
    pub listen: Option<SocketAddr>,
    /// Why it is there and not where it was wanted, or not at all.
    pub listen_note: Option<String>,
    /// Open invites.
    pub invites: u32,
    /// Connections that were closed, by reason.
    pub turned_away: Vec<(String, u64)>,
    /// Everybody who is, or was, a member; by label.
    pub members: Vec<FleetMember>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetMember {
    /// Its name.
    pub node_id: NodeId,
    /// What it is called.
    pub host: String,
    /// Where it is reached, the best first.
    pub addresses: Vec<SocketAddr>,
    /// When it became one.
    pub joined_at: Timestamp,
    /// What it is now.
    pub state: MemberState,
    /// Who dropped it.
    pub dropped_by: Option<NodeId>,
    /// When this host last spoke with it.
    pub spoken_at: Option<Timestamp>,
    /// Why the last try failed.
    pub trouble: Option<String>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// This host.
    Here,
    /// Another one.
    Member,
    /// None any more.
    Dropped,
}
