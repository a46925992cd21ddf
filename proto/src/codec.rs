//! bincode behind tarpc, with a hard limit on what a frame may decode to.
//!
//! bincode is positional: both ends must be the same release, which [`crate::preamble`] makes sure
//! of. Not here: framing (tokio-util's length-delimited codec) and versions.

use std::{io, marker::PhantomData, pin::Pin};

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio_serde::{Deserializer, Serializer};

/// The largest frame either end accepts, in bytes: some 100,000 sessions. Both ends are the same user's.
pub const MAX_FRAME: usize = 64 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_FRAME>> =
    bincode::config::standard().with_limit::<MAX_FRAME>();

/// A [`tokio_serde`] codec that reads `In` and writes `Out`.
#[derive(Debug)]
pub struct Bincode<In, Out>(PhantomData<fn(Out) -> In>);

impl<In, Out> Default for Bincode<In, Out> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<In: DeserializeOwned, Out> Deserializer<In> for Bincode<In, Out> {
    type Error = io::Error;

    fn deserialize(self: Pin<&mut Self>, frame: &BytesMut) -> io::Result<In> {
        let (value, used) = bincode::serde::decode_from_slice(frame, CONFIG)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        if used == frame.len() {
            Ok(value)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "bytes left after the message"))
        }
    }
}

impl<In, Out: Serialize> Serializer<Out> for Bincode<In, Out> {
    type Error = io::Error;

    fn serialize(self: Pin<&mut Self>, value: &Out) -> io::Result<Bytes> {
        bincode::serde::encode_to_vec(value, CONFIG)
            .map(Bytes::from)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_lengths_and_trailing_bytes_are_errors() {
        let decode = |bytes: &[u8]| {
            let mut codec = Bincode::<Vec<u64>, ()>::default();
            Pin::new(&mut codec).deserialize(&BytesMut::from(bytes))
        };
        // A length of 2^63 with nothing behind it.
        assert!(decode(&[253, 0, 0, 0, 0, 0, 0, 0, 0x80]).is_err());
        assert!(decode(&[1, 7, 7]).is_err());
        assert_eq!(decode(&[1, 7]).unwrap(), vec![7]);
    }
}
