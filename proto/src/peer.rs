//! What two hosts of a fleet say to each other over a connection: first bytes, calls, their codec.
//!
//! Sixteen raw bytes from each side settle version, purpose and key before the handshake, so that every
//! mismatch has a name; they are part of what the handshake proves. Then calls by name, with bodies in
//! MessagePack: maps with names, so that releases may differ. An unknown method or a body that is not
//! understood is an answer, never the end of the connection. Not here: sockets, the handshake, keys.

use std::{io, marker::PhantomData, pin::Pin};

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio_serde::{Deserializer, Serializer};

use crate::NodeId;

/// Length of the first bytes of each side.
pub const LEN: usize = 16;

/// The largest message either end accepts, in bytes, before it is decoded.
pub const MAX_FRAME: usize = 8 << 20;

/// The largest body of a call or an answer: a frame has room for what is around it.
pub const MAX_BODY: usize = MAX_FRAME - 4096;

/// Raised when what follows the first bytes changes in a way that others do not understand.
pub const PROTOCOL: u16 = 1;

/// The oldest that this release still speaks.
pub const OLDEST: u16 = 1;

const MAGIC: &[u8; 4] = b"RRDP";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Calls between members; proven with the fleet's key.
    Peer,
    /// Taking an invite; proven with its token.
    Enrol,
    /// Getting the fleet's new key; proven with a former one.
    Rekey,
}

/// What the side that was called says to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on. The calling side always says this.
    GoOn,
    /// No common version.
    OtherVersion,
    /// That key is none of mine, and none that I had.
    OtherKey,
    /// That key was mine; there is a newer one.
    FormerKey,
    /// No such invite was made here.
    NoInvite,
    /// That invite was used.
    Spent,
    /// That invite is too old.
    Stale,
    /// That invite was taken back.
    Cancelled,
}

const PURPOSES: [Purpose; 3] = [Purpose::Peer, Purpose::Enrol, Purpose::Rekey];
const ANSWERS: [Answer; 8] = [
    Answer::GoOn,
    Answer::OtherVersion,
    Answer::OtherKey,
    Answer::FormerKey,
    Answer::NoInvite,
    Answer::Spent,
    Answer::Stale,
    Answer::Cancelled,
];

/// The first bytes of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// The newest protocol it speaks.
    pub protocol: u16,
    /// The oldest.
    pub oldest: u16,
    /// What for.
    pub purpose: Purpose,
    /// What it says to the other's.
    pub answer: Answer,
    /// Which key is meant, or which invite.
    pub id: [u8; 4],
}

/// Why the other side cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// It is not rrd.
    NotRrd,
    /// An rrd that says what this release does not know.
    Newer,
}

impl Preamble {
    /// This release's.
    #[must_use]
    pub const fn ours(purpose: Purpose, answer: Answer, id: [u8; 4]) -> Self {
        Self { protocol: PROTOCOL, oldest: OLDEST, purpose, answer, id }
    }

    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..6].copy_from_slice(&self.protocol.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.oldest.to_be_bytes());
        bytes[8] = self.purpose as u8;
        bytes[9] = self.answer as u8;
        bytes[12..].copy_from_slice(&self.id);
        bytes
    }

    /// As it was received.
    ///
    /// # Errors
    /// [`Foreign`].
    pub fn decode(bytes: &[u8; LEN]) -> Result<Self, Foreign> {
        if &bytes[..4] != MAGIC {
            return Err(Foreign::NotRrd);
        }
        let mut id = [0; 4];
        id.copy_from_slice(&bytes[12..]);
        Ok(Self {
            protocol: u16::from_be_bytes([bytes[4], bytes[5]]),
            oldest: u16::from_be_bytes([bytes[6], bytes[7]]),
            purpose: *PURPOSES.get(usize::from(bytes[8])).ok_or(Foreign::Newer)?,
            answer: *ANSWERS.get(usize::from(bytes[9])).ok_or(Foreign::Newer)?,
            id,
        })
    }

    /// Whether both sides speak a protocol in common.
    #[must_use]
    pub const fn understands(&self) -> bool {
        self.oldest <= PROTOCOL && self.protocol >= OLDEST
    }
}

/// Calls by name.
#[allow(missing_docs)] // the macro's generated items
pub mod rpc {
    use bytes::Bytes;

    use super::Refused;

    /// Asks a member of the fleet, of any release.
    #[tarpc::service]
    pub trait Peer {
        /// Calls `method` with a body in MessagePack; the answer is one, too.
        async fn call(method: String, body: Bytes) -> Result<Bytes, Refused>;
    }
}

/// Why a call was not answered; the connection lives on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// `unknown_method`, `bad_body`, `too_large`, `failed`, or what a later release says.
    #[serde(default)]
    pub code: String,
    /// For a person.
    #[serde(default)]
    pub detail: String,
}

impl Refused {
    /// With a code and words.
    #[must_use]
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into() }
    }
}

/// Who answers, and what it can be asked: the body and the answer of `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its name.
    pub node: NodeId,
    /// Its release.
    #[serde(default)]
    pub release: String,
    /// The methods it knows.
    #[serde(default)]
    pub methods: Vec<String>,
}

/// A body.
///
/// # Errors
/// [`Refused`] when it is too large.
pub fn pack<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Refused> {
    let bytes = rmp_serde::to_vec_named(value)
        .map_err(|error| Refused::new("failed", error.to_string()))?;
    if bytes.len() > MAX_BODY {
        return Err(Refused::new("too_large", format!("{} bytes", bytes.len())));
    }
    Ok(bytes.into())
}

/// What is in a body.
///
/// # Errors
/// [`Refused`] when it is not that.
pub fn unpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    rmp_serde::from_slice(body).map_err(|error| Refused::new("bad_body", error.to_string()))
}

/// A [`tokio_serde`] codec that reads `In` and writes `Out`.
#[derive(Debug)]
pub struct MessagePack<In, Out>(PhantomData<fn(Out) -> In>);

impl<In, Out> Default for MessagePack<In, Out> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<In: DeserializeOwned, Out> Deserializer<In> for MessagePack<In, Out> {
    type Error = io::Error;

    fn deserialize(self: Pin<&mut Self>, frame: &BytesMut) -> io::Result<In> {
        rmp_serde::from_slice(frame).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

impl<In, Out: Serialize> Serializer<Out> for MessagePack<In, Out> {
    type Error = io::Error;

    fn serialize(self: Pin<&mut Self>, value: &Out) -> io::Result<Bytes> {
        rmp_serde::to_vec_named(value)
            .map(Bytes::from)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_say_the_same_on_both_sides() {
        let ours = Preamble::ours(Purpose::Rekey, Answer::FormerKey, [1, 2, 3, 4]);
        // Frozen: every later release reads them.
        assert_eq!(ours.encode(), *b"RRDP\x00\x01\x00\x01\x02\x03\x00\x00\x01\x02\x03\x04");
        assert_eq!(Preamble::decode(&ours.encode()), Ok(ours));
        assert!(ours.understands());
        assert!(!Preamble { oldest: 2, protocol: 9, ..ours }.understands());
        assert_eq!(Preamble::decode(b"GET / HTTP/1.1\r\n"), Err(Foreign::NotRrd));
        let mut later = ours.encode();
        later[8] = 77;
        assert_eq!(Preamble::decode(&later), Err(Foreign::Newer));
    }

    #[test]
    fn what_a_later_release_adds_is_passed_by() {
        #[derive(Serialize)]
        struct Later {
            mood: &'static str,
            node: &'static str,
        }
        let body = pack(&Later { mood: "fine", node: "74akwaicamc" }).unwrap();
        let hello: Hello = unpack(&body).unwrap();
        assert!(hello.methods.is_empty() && hello.node.to_string() == "74akwaicamc");
        assert_eq!(unpack::<Hello>(b"\xc1garbage").unwrap_err().code, "bad_body");
        assert_eq!(pack(&vec![7u8; MAX_BODY]).unwrap_err().code, "too_large");
    }
}
