//! Datagrams between members: sealed, bound to sender and recipient, taken once.
//!
//! A message is cut into datagrams of at most [`MAX_DATAGRAM`] bytes, so that none is cut on its way
//! (Tailscale's links carry 1,280, and macOS sends no more than 9,216 by default). Each is sealed by
//! itself with XChaCha20-Poly1305 under a key derived from the fleet's; its header is authenticated:
//!
//! ```text
//! version 1 | key id 4 | sender 8 | recipient 8 | generation 8 | boot 8 | counter 8 | sealed …
//! sealed:     clock 8 | kind 1 | message 4 | part 2 | parts 2 | bytes …
//! ```
//!
//! Numbers are big-endian. The nonce is generation, boot and counter: no two datagrams of a sender share
//! one, since generations rise and boots are random, also where a disk was cloned. Whatever fails is
//! counted and dropped: nothing is ever answered. Not here: the socket, and what the messages say.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rrd_proto::{NodeId, Timestamp};

use super::{
    key::{FleetKey, KeyId},
    window::{Floor, Refused, Window},
};

/// Bytes of a datagram, at most.
pub const MAX_DATAGRAM: usize = 1_200;

const VERSION: u8 = 1;
const HEADER: usize = 45;
const INNER: usize = 17;
const TAG: usize = 16;

/// Bytes of a message in each datagram.
const PART: usize = MAX_DATAGRAM - HEADER - INNER - TAG;

/// Datagrams of a message, at most: 562 KiB.
const MAX_PARTS: usize = 512;

/// Messages of one sender that have come in part, at most; the oldest gives way.
const MAX_PARTIAL: usize = 4;

/// After so long the rest of a message is not waited for.
const PARTIAL_FOR: Duration = Duration::from_secs(10);

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A round of gossip.
    Gossip,
    /// Signed records, straight from their owner.
    Push,
    /// The same, to be handed on once.
    Relay,
}

impl Kind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Gossip => 0,
            Self::Push => 1,
            Self::Relay => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Gossip),
            1 => Some(Self::Push),
            2 => Some(Self::Relay),
            _ => None,
        }
    }
}

/// A message has more bytes than the most datagrams hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong(pub usize);

/// Seals what this node sends.
pub struct Sealer {
    node: NodeId,
    generation: u64,
    boot: u64,
    counter: u64,
    message: u32,
    key: (KeyId, XChaCha20Poly1305),
}

impl Sealer {
    /// `generation` must be higher than any this node has had; `boot` is random.
    #[must_use]
    pub fn new(node: NodeId, generation: u64, boot: u64, key: &FleetKey) -> Self {
        Self { node, generation, boot, counter: 0, message: 0, key: cipher(key) }
    }

    /// From here on under another key.
    pub fn use_key(&mut self, key: &FleetKey) {
        self.key = cipher(key);
    }

    /// The datagrams that carry `message` to `recipient`.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn seal(
        &mut self,
        recipient: NodeId,
        kind: Kind,
        clock: Timestamp,
        message: &[u8],
    ) -> Result<Vec<Vec<u8>>, TooLong> {
        let parts = message.len().div_ceil(PART).max(1);
        if parts > MAX_PARTS {
            return Err(TooLong(message.len()));
        }
        self.message = self.message.wrapping_add(1);
        let mut datagrams = Vec::with_capacity(parts);
        for part in 0..parts {
            let bytes = &message[part * PART..message.len().min((part + 1) * PART)];
            let mut inner = Vec::with_capacity(INNER + bytes.len());
            inner.extend(clock.as_millis().to_be_bytes());
            inner.push(kind.to_byte());
            inner.extend(self.message.to_be_bytes());
            inner.extend((part as u16).to_be_bytes());
            inner.extend((parts as u16).to_be_bytes());
            inner.extend(bytes);
            self.counter += 1;
            let header = Header {
                key: self.key.0,
                sender: self.node,
                recipient,
                generation: self.generation,
                boot: self.boot,
                counter: self.counter,
            };
            let mut datagram = header.to_bytes();
            let payload = Payload { msg: &inner, aad: &datagram };
            // Only a message of over 256 GB could fail.
            let Ok(sealed) = self.key.1.encrypt(&header.nonce(), payload) else { continue };
            datagram.extend(sealed);
            datagrams.push(datagram);
        }
        Ok(datagrams)
    }
}

/// A whole message, from the member that sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who sent it.
    pub sender: NodeId,
    /// In which generation of its own.
    pub generation: u64,
    /// What it is.
    pub kind: Kind,
    /// Its sender's clock as it was sent.
    pub clock: Timestamp,
    /// The message.
    pub message: Vec<u8>,
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// Too short or too long for one of ours, or of another version.
    NotOurs,
    /// Under a key this node does not have.
    UnknownKey,
    /// For another node.
    NotForUs,
    /// In this node's own name: a copy sent back, or a clone of its disk.
    OwnName,
    /// Its sender is no member, or not any more.
    NotAMember,
    /// Changed, or not made with the key.
    Forged,
    /// Of an earlier generation of its sender.
    Stale,
    /// Taken already.
    Replayed,
    /// Another sender of the same name is about.
    Twin,
    /// Sealed by a member, but nothing this release knows.
    Unknown,
}

impl Dropped {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::NotOurs,
        Self::UnknownKey,
        Self::NotForUs,
        Self::OwnName,
        Self::NotAMember,
        Self::Forged,
        Self::Stale,
        Self::Replayed,
        Self::Twin,
        Self::Unknown,
    ];

    /// Its name in counts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotOurs => "not_ours",
            Self::UnknownKey => "unknown_key",
            Self::NotForUs => "not_for_us",
            Self::OwnName => "own_name",
            Self::NotAMember => "not_a_member",
            Self::Forged => "forged",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Twin => "twin",
            Self::Unknown => "unknown",
        }
    }
}

/// Opens what is sent to this node.
pub struct Opener {
    node: NodeId,
    keys: Vec<(KeyId, XChaCha20Poly1305)>,
    windows: HashMap<NodeId, Window>,
    partial: HashMap<NodeId, BTreeMap<u32, Partial>>,
}

struct Partial {
    kind: Kind,
    clock: Timestamp,
    begun: Duration,
    parts: Vec<Option<Vec<u8>>>,
    missing: usize,
}

impl Opener {
    /// With what was taken of each sender before.
    #[must_use]
    pub fn new(
        node: NodeId,
        key: &FleetKey,
        floors: impl IntoIterator<Item = (NodeId, Floor)>,
    ) -> Self {
        let windows = floors.into_iter().map(|(node, floor)| (node, Window::above(floor)));
        Self { node, keys: vec![cipher(key)], windows: windows.collect(), partial: HashMap::new() }
    }

    /// From here on under this key alone.
    pub fn use_key(&mut self, key: &FleetKey) {
        self.keys = vec![cipher(key)];
        self.partial.clear();
    }

    /// What must not be taken again by a later process.
    pub fn floors(&self) -> impl Iterator<Item = (NodeId, Floor)> {
        self.windows.iter().map(|(node, window)| (*node, window.floor()))
    }

    /// Takes a datagram; gives the message when it is whole. `now` is any clock that only runs on.
    ///
    /// # Errors
    /// Why it was dropped. Nothing has changed then, and nothing is to be answered.
    pub fn open(
        &mut self,
        datagram: &[u8],
        is_member: impl Fn(NodeId) -> bool,
        now: Duration,
    ) -> Result<Option<Opened>, Dropped> {
        let (header, sealed) = Header::parse(datagram).ok_or(Dropped::NotOurs)?;
        let known = self.keys.iter().find(|(id, _)| *id == header.key);
        let (_, cipher) = known.ok_or(Dropped::UnknownKey)?;
        if header.recipient != self.node {
            return Err(Dropped::NotForUs);
        }
        let is_own = header.sender == self.node;
        if !is_own && !is_member(header.sender) {
            return Err(Dropped::NotAMember);
        }
        // Before the dear part; what it says is believed after that.
        if let Some(window) = self.windows.get(&header.sender) {
            window.check(header.generation, header.boot, header.counter).map_err(refused)?;
        }
        let payload = Payload { msg: sealed, aad: &datagram[..HEADER] };
        let inner = cipher.decrypt(&header.nonce(), payload).map_err(|_| Dropped::Forged)?;
        if is_own {
            return Err(Dropped::OwnName);
        }
        let window =
            self.windows.entry(header.sender).or_insert_with(|| Window::above(Floor::default()));
        window.take(header.generation, header.boot, header.counter).map_err(refused)?;
        self.take(&header, &inner, now).ok_or(Dropped::Unknown)
    }

    /// `None` for what no release so far has sent.
    fn take(&mut self, header: &Header, inner: &[u8], now: Duration) -> Option<Option<Opened>> {
        let (clock, rest) = inner.split_first_chunk::<8>()?;
        let (kind, rest) = rest.split_first()?;
        let (message, rest) = rest.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_first_chunk::<2>()?;
        let (parts, bytes) = rest.split_first_chunk::<2>()?;
        let clock = Timestamp::from_millis(i64::from_be_bytes(*clock));
        let kind = Kind::from_byte(*kind)?;
        let message = u32::from_be_bytes(*message);
        let part = usize::from(u16::from_be_bytes(*part));
        let count = usize::from(u16::from_be_bytes(*parts));
        if count == 0 || count > MAX_PARTS || part >= count {
            return None;
        }
        let opened = |message| {
            let Header { sender, generation, .. } = *header;
            Opened { sender, generation, kind, clock, message }
        };
        if count == 1 {
            return Some(Some(opened(bytes.to_vec())));
        }
        let partial = self.partial.entry(header.sender).or_default();
        partial.retain(|_, partial| now.saturating_sub(partial.begun) < PARTIAL_FOR);
        if !partial.contains_key(&message) && partial.len() >= MAX_PARTIAL {
            let oldest = partial.iter().min_by_key(|(_, partial)| partial.begun);
            if let Some(oldest) = oldest.map(|(message, _)| *message) {
                partial.remove(&oldest);
            }
        }
        let one = partial.entry(message).or_insert_with(|| Partial {
            kind,
            clock,
            begun: now,
            parts: vec![None; count],
            missing: count,
        });
        if one.parts.len() != count || one.kind != kind || one.parts[part].is_some() {
            return None;
        }
        one.parts[part] = Some(bytes.to_vec());
        one.clock = one.clock.max(clock);
        one.missing -= 1;
        if one.missing > 0 {
            return Some(None);
        }
        let whole = partial.remove(&message)?;
        let clock = whole.clock;
        let message = whole.parts.into_iter().flatten().collect::<Vec<_>>().concat();
        Some(Some(Opened { clock, ..opened(message) }))
    }
}

fn refused(why: Refused) -> Dropped {
    match why {
        Refused::Stale => Dropped::Stale,
        Refused::Replayed => Dropped::Replayed,
        Refused::Twin => Dropped::Twin,
    }
}

fn cipher(key: &FleetKey) -> (KeyId, XChaCha20Poly1305) {
    (key.id(), XChaCha20Poly1305::new((&*key.for_datagrams()).into()))
}

struct Header {
    key: KeyId,
    sender: NodeId,
    recipient: NodeId,
    generation: u64,
    boot: u64,
    counter: u64,
}

impl Header {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_DATAGRAM);
        bytes.push(VERSION);
        bytes.extend(self.key.0);
        bytes.extend(self.sender.to_bytes());
        bytes.extend(self.recipient.to_bytes());
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend(self.boot.to_be_bytes());
        bytes.extend(self.counter.to_be_bytes());
        bytes
    }

    fn parse(datagram: &[u8]) -> Option<(Self, &[u8])> {
        if datagram.len() > MAX_DATAGRAM || datagram.len() < HEADER + INNER + TAG {
            return None;
        }
        let (version, rest) = datagram.split_first()?;
        let (key, rest) = rest.split_first_chunk::<4>()?;
        let mut rest = rest;
        let mut next = || {
            let (eight, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Some(*eight)
        };
        let header = Self {
            key: KeyId(*key),
            sender: NodeId::from_bytes(next()?)?,
            recipient: NodeId::from_bytes(next()?)?,
            generation: u64::from_be_bytes(next()?),
            boot: u64::from_be_bytes(next()?),
            counter: u64::from_be_bytes(next()?),
        };
        (*version == VERSION).then_some((header, rest))
    }

    fn nonce(&self) -> XNonce {
        let mut nonce = XNonce::default();
        nonce[..8].copy_from_slice(&self.generation.to_be_bytes());
        nonce[8..16].copy_from_slice(&self.boot.to_be_bytes());
        nonce[16..].copy_from_slice(&self.counter.to_be_bytes());
        nonce
    }
}

#[cfg(test)]
mod tests;
