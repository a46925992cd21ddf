//! Looks through a member's gossip before chitchat takes it.
//!
//! chitchat 0.11.2 believes what it is told: it takes news of itself from others, adds every node that is
//! named, unpacks whatever is packed, and panics at a key that is not ASCII or a version at its end. Whoever
//! is a member could so empty another's rows, or fill everybody's memory for hours. What a message may hold
//! here is what an honest one holds. The layout is that of chitchat's `serialize.rs`, `message.rs` and
//! `delta.rs`. Not here: whether a record is its owner's (the core's).

use std::{
    collections::{BTreeSet, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use rrd_core::fleet::{members::Members, record::MAX_TIED};
use rrd_proto::NodeId;

use super::cluster;

/// Bytes of what a message packs, at most. A message has 64 KiB, and records pack to a third or so.
const MAX_UNPACKED: usize = 1 << 20;

/// A block of chitchat's unpacks to so much, at most.
const MAX_BLOCK: usize = u16::MAX as usize;

/// A key is the name of a slot.
const MAX_KEY: usize = 8;

/// Versions and heartbeats begin at nothing and rise by one: none gets here.
const MAX_NUMBER: u64 = 1 << 48;

/// Nodes that are no members as far as this node has heard, at most: lists may be late.
const MAX_STRANGERS: usize = 64;

/// What one node has let pass.
pub(super) struct Vet {
    own: NodeId,
    generation: u64,
    strangers: Mutex<HashSet<NodeId>>,
}

impl Vet {
    pub(super) fn new(own: NodeId, generation: u64) -> Self {
        Self { own, generation, strangers: Mutex::default() }
    }

    /// Whether there are records in a message; `None` where it may not be taken.
    pub(super) fn passes(&self, message: &[u8], members: &Members) -> Option<bool> {
        let mut named = BTreeSet::new();
        let has_records = self.reads(&mut Bytes(message), &mut named)?;
        self.knows(&named, members).then_some(has_records)
    }

    /// The nodes that a message names, and whether it has records; `None` where it is none, or none that
    /// may be taken.
    fn reads(&self, message: &mut Bytes<'_>, named: &mut BTreeSet<NodeId>) -> Option<bool> {
        // Magic number and version.
        message.take(3)?;
        let has_records = match message.byte()? {
            0 => {
                digest(message, named)?;
                message.text()?;
                false
            }
            1 => {
                digest(message, named)?;
                self.delta(message, named)?
            }
            2 => self.delta(message, named)?,
            3 => false,
            _ => return None,
        };
        message.0.is_empty().then_some(has_records)
    }

    fn delta(&self, message: &mut Bytes<'_>, named: &mut BTreeSet<NodeId>) -> Option<bool> {
        let unpacked = unpack(message)?;
        let mut operations = Bytes(&unpacked);
        let has_records = !operations.0.is_empty();
        while !operations.0.is_empty() {
            match operations.byte()? {
                0 => {
                    let (node, generation) = node(&mut operations)?;
                    // Others may still tell of an earlier life of this node; of this one it knows itself.
                    if node == self.own && generation >= self.generation {
                        return None;
                    }
                    named.insert(node);
                    let (_last_gc_version, _from_version) =
                        (operations.number()?, operations.number()?);
                }
                1 => {
                    let (key, value) = (operations.text()?, operations.text()?);
                    let is_slot = key.is_ascii() && key.len() <= MAX_KEY;
                    (is_slot && value.len() <= MAX_TIED).then_some(())?;
                    operations.number()?;
                    // Nothing is ever deleted: slots are used again.
                    (operations.byte()? == 0).then_some(())?;
                }
                2 => drop(operations.number()?),
                _ => return None,
            }
        }
        Some(has_records)
    }

    fn knows(&self, named: &BTreeSet<NodeId>, members: &Members) -> bool {
        let strangers = named.iter().filter(|node| members.get(**node).is_none());
        let mut known = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        for node in strangers {
            if known.len() >= MAX_STRANGERS && !known.contains(node) {
                return false;
            }
            known.insert(*node);
        }
        true
    }
}

/// How far each node is known.
fn digest(message: &mut Bytes<'_>, named: &mut BTreeSet<NodeId>) -> Option<()> {
    for _ in 0..message.length()? {
        named.insert(node(message)?.0);
        let (_heartbeat, _last_gc_version, _max_version) =
            (message.number()?, message.number()?, message.number()?);
    }
    Some(())
}

/// A node, by the address that stands for it and no name besides, and its generation.
fn node(bytes: &mut Bytes<'_>) -> Option<(NodeId, u64)> {
    bytes.text()?.is_empty().then_some(())?;
    let generation = u64::from_le_bytes(bytes.array()?);
    let ip: IpAddr = match bytes.byte()? {
        4 => Ipv4Addr::from(bytes.array::<4>()?).into(),
        6 => Ipv6Addr::from(bytes.array::<16>()?).into(),
        _ => return None,
    };
    let address = SocketAddr::new(ip, u16::from_le_bytes(bytes.array()?));
    let node = cluster::node_at(address)?;
    (address == cluster::address(node)).then_some((node, generation))
}

fn unpack(message: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    let mut block = vec![0; MAX_BLOCK];
    loop {
        match message.byte()? {
            0 => return Some(unpacked),
            1 => {
                let packed = message.length().and_then(|length| message.take(length))?;
                let length = zstd::bulk::decompress_to_buffer(packed, &mut block).ok()?;
                unpacked.extend_from_slice(&block[..length]);
            }
            2 => {
                let length = message.length()?;
                unpacked.extend_from_slice(message.take(length)?);
            }
            _ => return None,
        }
        if unpacked.len() > MAX_UNPACKED {
            return None;
        }
    }
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length(&mut self) -> Option<usize> {
        self.array().map(|bytes| u16::from_le_bytes(bytes).into())
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes).filter(|number| *number < MAX_NUMBER)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

#[cfg(test)]
pub(super) mod attacks {
    //! The five that `chitchat` falls for: each a message in its own layout.

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn id(node: NodeId, generation: u64) -> Vec<u8> {
        let SocketAddr::V6(address) = cluster::address(node) else { unreachable!() };
        let port = address.port().to_le_bytes();
        let ip = address.ip().octets();
        [text(""), generation.to_le_bytes().into(), vec![6], ip.into(), port.into()].concat()
    }

    fn message(kind: u8, body: &[Vec<u8>]) -> Vec<u8> {
        [&45_139u16.to_le_bytes()[..], &[0, kind], &body.concat()].concat()
    }

    /// One value of one node.
    pub(in crate::gossip) fn value(
        (node, generation): (NodeId, u64),
        key: &str,
        value: &str,
        version: u64,
    ) -> Vec<u8> {
        let zero = vec![0; 8];
        let operations = [
            [vec![0], id(node, generation), zero.clone(), zero].concat(),
            [vec![1], text(key), text(value), version.to_le_bytes().into(), vec![0]].concat(),
        ]
        .concat();
        let length = (operations.len() as u16).to_le_bytes().to_vec();
        message(2, &[vec![2], length, operations, vec![0]])
    }

    /// How far these are known.
    pub(in crate::gossip) fn heartbeats(
        nodes: impl ExactSizeIterator<Item = (NodeId, u64)>,
        heartbeat: u64,
    ) -> Vec<u8> {
        let count = (nodes.len() as u16).to_le_bytes().to_vec();
        let of = |(node, generation)| {
            [id(node, generation), heartbeat.to_le_bytes().into(), vec![0; 16]].concat()
        };
        message(0, &[count, nodes.map(of).collect::<Vec<_>>().concat(), text("rrd")])
    }

    /// As many blocks of nothing as fit, packed.
    pub(in crate::gossip) fn bomb() -> Vec<u8> {
        let packed = zstd::bulk::compress(&vec![0; MAX_BLOCK], 19).unwrap();
        let block = [vec![1], (packed.len() as u16).to_le_bytes().into(), packed].concat();
        message(2, &[block.repeat(60_000 / block.len()), vec![0]])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::from_hash([n; 8])
    }

    fn passes(message: &[u8]) -> bool {
        Vet::new(node(1), 7).passes(message, &Members::default()).is_some()
    }

    #[test]
    fn what_an_honest_message_holds_passes_and_nothing_else() {
        let other = (node(2), 5);
        assert!(passes(&attacks::value(other, "s/000", "{}", 1)));
        assert!(passes(&attacks::value((node(1), 6), "h", "{}", 1)), "of an earlier life");
        assert!(!passes(&attacks::value((node(1), 7), "h", "{}", 1)), "of its own");
        assert!(!passes(&attacks::value(other, "s/000", "{}", u64::MAX)));
        assert!(!passes(&attacks::value(other, "s/é", "{}", 1)));
        assert!(!passes(&attacks::value(other, "s/000", &"x".repeat(MAX_TIED + 1), 1)));
        assert!(passes(&attacks::heartbeats([other].into_iter(), 9)));
        assert!(!passes(&attacks::heartbeats([other].into_iter(), u64::MAX)));
        assert!(!passes(&attacks::bomb()));
        assert!(!passes(b"") && !passes(b"\0\0nonsense"));
        let longer = [attacks::value(other, "h", "{}", 1), vec![0]].concat();
        assert!(!passes(&longer));
    }

    #[test]
    fn nodes_that_nobody_knows_are_soon_too_many() {
        let vet = Vet::new(node(1), 7);
        let names = |from: u16, to: u16| {
            let nodes: Vec<_> = (from..to)
                .map(|n| (NodeId::from_hash((u64::from(n) << 48).to_be_bytes()), 1))
                .collect();
            let message = attacks::heartbeats(nodes.into_iter(), 1);
            vet.passes(&message, &Members::default()).is_some()
        };
        assert!(names(0, 60));
        assert!(names(0, 60), "the same once more");
        assert!(!names(60, 1_400));
        assert!(names(0, 60));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..4) {
            passes(&bytes);
            passes(&[&[83, 176, 0, kind], &bytes[..]].concat());
        }
    }
}
