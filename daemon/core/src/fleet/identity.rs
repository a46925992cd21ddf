//! Who a node is: an ed25519 key that signs, and an X25519 key for handshakes that the first one vouches
//! for.
//!
//! Not here: where they are kept, and where random bytes come from.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rrd_proto::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// What a signature is about, so that one made for this cannot serve for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A member's entry in the list.
    Member,
    /// The keys of one who is to be a member.
    Vouch,
    /// That one is a member no more.
    Drop,
    /// That what one said so far is not to be shown any more.
    Forget,
    /// A record of a session or of a host.
    Record,
    /// What a session did last.
    LastWords,
    /// Which session works on a task.
    Task,
    /// How a binding between two sessions stands.
    Binding,
}

impl Purpose {
    const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Member => b"rrd/member/1\0",
            Self::Vouch => b"rrd/vouch/1\0",
            Self::Drop => b"rrd/drop/1\0",
            Self::Forget => b"rrd/forget/1\0",
            Self::Record => b"rrd/record/1\0",
            Self::LastWords => b"rrd/last-words/1\0",
            Self::Task => b"rrd/task/1\0",
            Self::Binding => b"rrd/binding/1\0",
        }
    }
}

/// Bytes of an identity's secret: the seed of its signing key, then its handshake key.
pub const SECRET_LEN: usize = 64;

/// This node's own keys. Shows itself by its name only.
pub struct Identity {
    signing: SigningKey,
    handshake: StaticSecret,
}

impl Identity {
    /// From random bytes, or from the same ones again.
    #[must_use]
    pub fn from_secret(secret: &[u8; SECRET_LEN]) -> Self {
        let (seed, handshake) = secret.split_at(32);
        let half = |bytes: &[u8]| {
            let mut half = Zeroizing::new([0; 32]);
            half.copy_from_slice(bytes);
            half
        };
        Self {
            signing: SigningKey::from_bytes(&half(seed)),
            handshake: StaticSecret::from(*half(handshake)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.public().node()
    }

    /// By which others know its signatures.
    #[must_use]
    pub fn public(&self) -> SigningPublic {
        SigningPublic(self.signing.verifying_key())
    }

    /// By which others know it in a handshake.
    #[must_use]
    pub fn handshake_public(&self) -> HandshakePublic {
        HandshakePublic(PublicKey::from(&self.handshake).to_bytes())
    }

    /// For the handshake itself.
    #[must_use]
    pub fn handshake_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.handshake.to_bytes())
    }

    /// Signs `bytes`.
    #[must_use]
    pub fn sign(&self, purpose: Purpose, bytes: &[u8]) -> Signed {
        Signed(self.signing.sign(&[purpose.prefix(), bytes].concat()).to_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.node())
    }
}

/// A node's public signing key. In JSON, unpadded URL-safe base64, as all keys here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SigningPublic(VerifyingKey);

impl SigningPublic {
    /// The name it stands for: a prefix of its SHA-256.
    #[must_use]
    pub fn node(&self) -> NodeId {
        let hash = Sha256::digest(self.0.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        NodeId::from_hash(first)
    }

    /// Whether its holder signed `bytes`. Strict: a weak key, or a signature that another could have
    /// been made of, is none.
    #[must_use]
    pub fn verifies(&self, purpose: Purpose, bytes: &[u8], signed: &Signed) -> bool {
        let message = [purpose.prefix(), bytes].concat();
        self.0.verify_strict(&message, &Signature::from_bytes(&signed.0)).is_ok()
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.to_bytes()
    }
}

/// A node's public handshake key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HandshakePublic(pub [u8; 32]);

/// A signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signed(pub [u8; 64]);

macro_rules! as_base64 {
    ($type:ty, $to:expr, $from:expr) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&super::key::base64(&$to(self)))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&super::key::base64(&$to(self)))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                super::key::from_base64(&text)
                    .and_then($from)
                    .ok_or_else(|| D::Error::custom("not a key in base64"))
            }
        }
    };
}

as_base64!(SigningPublic, |key: &Self| key.0.to_bytes(), |bytes| Some(Self(
    VerifyingKey::from_bytes(&bytes).ok()?
)));
as_base64!(HandshakePublic, |key: &Self| key.0, |bytes| Some(Self(bytes)));
as_base64!(Signed, |signed: &Self| signed.0, |bytes| Some(Self(bytes)));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_purpose_and_one_text() {
        let one = Identity::from_secret(&[1; SECRET_LEN]);
        let other = Identity::from_secret(&[2; SECRET_LEN]);
        let signed = one.sign(Purpose::Record, b"row");
        assert!(one.public().verifies(Purpose::Record, b"row", &signed));
        assert!(!one.public().verifies(Purpose::Member, b"row", &signed));
        assert!(!one.public().verifies(Purpose::Record, b"rows", &signed));
        assert!(!other.public().verifies(Purpose::Record, b"row", &signed));
    }

    #[test]
    fn names_and_keys_go_through_json() {
        let one = Identity::from_secret(&[1; SECRET_LEN]);
        // Frozen: members are known by it.
        assert_eq!(one.node().to_string(), one.public().node().to_string());
        let json = serde_json::to_string(&one.public()).unwrap();
        assert_eq!(serde_json::from_str::<SigningPublic>(&json).unwrap(), one.public());
        let signed = one.sign(Purpose::Member, b"");
        let json = serde_json::to_string(&signed).unwrap();
        assert_eq!(json.len(), 88);
        assert_eq!(serde_json::from_str::<Signed>(&json).unwrap(), signed);
        assert!(serde_json::from_str::<Signed>(r#""AAAA""#).is_err());
        assert_eq!(format!("{one:?}"), format!("Identity({})", one.node()));
    }
}
