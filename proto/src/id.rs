//! What names a session: its key on one host, and the short `ref` people type.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::Harness;

/// One session of one harness on one host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionKey {
    /// Who writes it.
    pub harness: Harness,
    /// The harness's own id; a Claude Code subagent's is its agent id.
    pub session_id: String,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.harness, self.session_id)
    }
}

/// Five letters that name a session on every node: a hash of node, harness and session id.
///
/// 26^5 = 11.9 million values: two of 1,000 sessions share one with probability 4 %, so whoever
/// looks a ref up must be ready for more than one answer.
#[must_use]
pub fn session_ref(node_id: &str, key: &SessionKey) -> String {
    let mut hash = Xxh3::new();
    for part in [node_id, key.harness.as_str(), &key.session_id] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    let mut rest = hash.digest();
    (0..5)
        .map(|_| {
            let letter = b'a' + (rest % 26) as u8;
            rest /= 26;
            char::from(letter)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_never_changes_for_the_same_session() {
        let key = SessionKey { harness: Harness::ClaudeCode, session_id: "0dd9c336".into() };
        // Frozen: refs are typed from memory and stand in notes.
        assert_eq!(session_ref("node", &key), "xtgsh");
        assert_ne!(session_ref("other", &key), session_ref("node", &key));
    }
}
