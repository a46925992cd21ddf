//! The key that makes a fleet, and what is derived from it.
//!
//! One key of 32 random bytes is shared by all members. What protects datagrams and connections is
//! derived from it, each for its own purpose (HKDF-SHA256, RFC 5869). After a rotation the former key is
//! kept to let members in that slept through it, and for nothing else. Not here: where it is kept.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// Names a key without telling anything of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A fleet's key. Shows itself by its id only.
#[derive(Clone, PartialEq, Eq)]
pub struct FleetKey([u8; 32]);

impl FleetKey {
    /// From random bytes, or from the same ones again.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        from_base64(text).map(Self)
    }

    /// Its text, for the key file alone.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(base64(&self.0))
    }

    /// By which others know which key is meant.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut id = [0; 4];
        id.copy_from_slice(&self.derive("rrd/key-id/1")[..4]);
        KeyId(id)
    }

    /// What seals datagrams.
    #[must_use]
    pub fn for_datagrams(&self) -> Zeroizing<[u8; 32]> {
        self.derive("rrd/gossip/1")
    }

    /// What both ends of a connection show that they know.
    #[must_use]
    pub fn for_connections(&self) -> Zeroizing<[u8; 32]> {
        self.derive("rrd/rpc/1")
    }

    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        // Only an output of over 8 KiB could fail.
        let _ = Hkdf::<Sha256>::new(None, &self.0).expand(purpose.as_bytes(), key.as_mut());
        key
    }
}

impl Drop for FleetKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FleetKey({})", self.id())
    }
}

/// Unpadded, URL-safe.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Exactly `N` bytes.
#[must_use]
pub fn from_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let key = FleetKey::new([7; 32]);
        assert_ne!(key.for_datagrams(), key.for_connections());
        assert_ne!(*key.for_datagrams(), [7; 32]);
        assert_eq!(FleetKey::parse(&key.reveal()), Some(key.clone()));
        assert_eq!(FleetKey::parse("AAAA"), None);
        let shown = format!("{key:?}");
        assert!(!shown.contains(key.reveal().as_str()) && shown.contains(&key.id().to_string()));
    }
}
