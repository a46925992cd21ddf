//! The first bytes on the local socket: who is there, and which release.
//!
//! tarpc answers a foreign peer with a bare `Shutdown`, so before it the client sends 16 bytes and
//! the daemon answers 16: magic `RRDL`, a protocol number and a hash of the release. On a mismatch
//! both sides know the other's numbers and can say what to do. Not here: sockets.

use xxhash_rust::xxh3::xxh3_64;

/// Length of the preamble in bytes.
pub const LEN: usize = 16;

/// Raised whenever the preamble's own layout changes.
const PROTOCOL: u16 = 1;

const MAGIC: &[u8; 4] = b"RRDL";

/// What one end says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// Layout number.
    pub protocol: u16,
    /// Hash of the release's version and build.
    pub release: u64,
}

/// Why the other end cannot be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// Whatever listens there is not rrd.
    NotRrd,
    /// An rrd of another release.
    OtherRelease,
}

impl Preamble {
    /// This release's preamble.
    #[must_use]
    pub fn ours() -> Self {
        Self { protocol: PROTOCOL, release: xxh3_64(crate::VERSION.as_bytes()) }
    }

    /// The bytes to send.
    #[must_use]
    pub fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..6].copy_from_slice(&self.protocol.to_le_bytes());
        bytes[8..].copy_from_slice(&self.release.to_le_bytes());
        bytes
    }

    /// Checks what the other end sent against this release.
    ///
    /// # Errors
    /// [`Mismatch`] when it is not rrd, or another release of it.
    pub fn check(bytes: &[u8; LEN]) -> Result<(), Mismatch> {
        let (head, release) = bytes.split_at(8);
        if &head[..4] != MAGIC {
            return Err(Mismatch::NotRrd);
        }
        let ours = Self::ours().encode();
        if head[4..6] == ours[4..6] && release == &ours[8..] {
            Ok(())
        } else {
            Err(Mismatch::OtherRelease)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_release_passes() {
        let ours = Preamble::ours().encode();
        assert_eq!(Preamble::check(&ours), Ok(()));
        let mut other = ours;
        other[15] ^= 1;
        assert_eq!(Preamble::check(&other), Err(Mismatch::OtherRelease));
        assert_eq!(Preamble::check(b"GET / HTTP/1.1\r\n"), Err(Mismatch::NotRrd));
    }
}
