//! Messages that a session and others sent each other by their harness, as far as a graph shows them.
//!
//! Both ends tell the id, which is all that ties them. Not here: the events that they are, too.

use std::collections::VecDeque;

use rrd_proto::{EdgeKind, EdgeState, Link, MESSAGE, Timestamp};
use serde::{Deserialize, Serialize};

/// Messages of one session that are remembered: a row has room for few.
const MOST: usize = 4;

/// An id is shorter, or it is none.
const MAX_ID: usize = 64;

/// The last ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Peers(VecDeque<Peer>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Peer {
    id: String,
    came: bool,
    at: Option<Timestamp>,
}

impl Peers {
    /// One more, which came or was sent.
    pub(super) fn add(&mut self, id: &str, came: bool, at: Option<Timestamp>) {
        let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        let is_known = self.0.iter().any(|peer| peer.id == id && peer.came == came);
        if is_known || id.is_empty() || id.len() > MAX_ID || !id.chars().all(is_id) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Peer { id: id.to_owned(), came, at });
    }

    /// As a row tells them, the last one first.
    pub(super) fn links(&self) -> impl Iterator<Item = Link> {
        self.0.iter().rev().map(|peer| Link {
            kind: EdgeKind::Message,
            state: EdgeState::Read,
            to: format!("{MESSAGE}{}", peer.id),
            incoming: peer.came,
            any: false,
            group: 0,
            since: peer.at,
            evidence: "a message of the harness".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_are_told_once_and_only_what_may_be_an_id() {
        let mut peers = Peers::default();
        for id in ["a", "b", "c", "c", "", "x y", "\u{1b}[2J", &"x".repeat(65), "d", "e"] {
            peers.add(id, id == "d", None);
        }
        // Two sessions of one harness may send each other the same.
        peers.add("e", true, None);
        let told: Vec<(String, bool)> =
            peers.links().map(|link| (link.to, link.incoming)).collect();
        let expected = [("e", true), ("e", false), ("d", true), ("c", false)];
        assert_eq!(told, expected.map(|(id, came)| (format!("message:{id}"), came)));
    }
}
