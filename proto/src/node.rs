//! The name of a node: eleven letters that stand for its signing key.
//!
//! Not here: keys (the core's `fleet` has them), and labels, which are text.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Lower-case base32 of RFC 4648.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Letters in a node's name.
const LENGTH: usize = 11;

/// A node, by the first 55 bits of a hash of its public key. Two of a fleet never share one by chance;
/// that somebody made a key to match is no gain to him, since members are known by their whole keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The first in order; nobody is named so but by chance.
    pub const LEAST: Self = Self(0);

    /// Of a hash's first eight bytes; the last nine bits are not used.
    #[must_use]
    pub const fn from_hash(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes) >> 9)
    }

    /// As it stands in a frame's header.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// From a frame's header; `None` when no node is named so.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let number = u64::from_be_bytes(bytes);
        if number >> 55 == 0 { Some(Self(number)) } else { None }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = [0; LENGTH];
        for (i, letter) in name.iter_mut().enumerate() {
            *letter = LETTERS[(self.0 >> (5 * (LENGTH - 1 - i)) & 31) as usize];
        }
        f.pad(std::str::from_utf8(&name).unwrap_or_default())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoNodeId;

impl fmt::Display for NoNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a node is named by {LENGTH} of the letters a-z and 2-7")
    }
}

impl std::error::Error for NoNodeId {}

impl FromStr for NodeId {
    type Err = NoNodeId;

    fn from_str(text: &str) -> Result<Self, NoNodeId> {
        if text.len() != LENGTH {
            return Err(NoNodeId);
        }
        let mut number = 0;
        for byte in text.bytes() {
            let value = LETTERS.iter().position(|letter| *letter == byte).ok_or(NoNodeId)?;
            number = number << 5 | value as u64;
        }
        Ok(Self(number))
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_same_everywhere() {
        let node = NodeId::from_hash([0xff, 0, 0xab, 1, 2, 3, 4, 5]);
        // Frozen: it stands in records, lists and people's notes.
        assert_eq!(node.to_string(), "74akwaicamc");
        assert_eq!("74akwaicamc".parse(), Ok(node));
        assert_eq!(NodeId::from_bytes(node.to_bytes()), Some(node));
        assert_eq!(serde_json::to_string(&node).unwrap(), r#""74akwaicamc""#);
        assert_eq!(serde_json::from_str::<NodeId>(r#""74akwaicamc""#).unwrap(), node);
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in
            ["", "74akwaicam", "74akwaicamcc", "74AKWAICAMC", "74akwaicam1", "74akwaicam\u{e9}"]
        {
            assert_eq!(text.parse::<NodeId>(), Err(NoNodeId), "{text}");
        }
        assert_eq!(NodeId::from_bytes([0xff; 8]), None);
    }
}
