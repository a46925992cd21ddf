//! Names of objects.
//!
//! An id comes from a transcript, so whatever is in it becomes one plain path segment.

use std::fmt;

use rrd_proto::Harness;
use sha2::{Digest as _, Sha256};

/// What stands for a byte that is not plain: `=` and two hexadecimal digits. Unlike `%` and `~` it goes
/// through every store's own encoding unchanged.
const ESCAPE: char = '=';

/// The directory of a stream, beneath the project's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    /// Whose log it is.
    pub harness: Harness,
    /// The session, or of a delegate the one that all of it began with.
    pub session_id: String,
    /// The delegate.
    pub agent: Option<String>,
}

impl StreamName {
    /// Where its objects are, with a slash at the end.
    #[must_use]
    pub fn directory(&self) -> String {
        let harness = segment(self.harness.as_str());
        let mut name = format!("sessions/{harness}/{}/", segment(&self.session_id));
        if let Some(agent) = &self.agent {
            name.push_str(&format!("subagents/agent-{}/", segment(agent)));
        }
        name
    }

    /// The id of what it is the log of.
    #[must_use]
    pub fn own_id(&self) -> &str {
        self.agent.as_ref().unwrap_or(&self.session_id)
    }

    /// What was made a directory by [`Self::directory`], or by tracecraft.
    #[must_use]
    pub fn of_directory(directory: &str) -> Option<Self> {
        let parts: Vec<&str> = directory.trim_end_matches('/').split('/').collect();
        let (harness, session, agent) = match parts[..] {
            ["sessions", harness, session] => (harness, session, None),
            ["sessions", harness, session, "subagents", agent] => {
                (harness, session, Some(agent.strip_prefix("agent-")?))
            }
            _ => return None,
        };
        Some(Self {
            harness: Harness::from(unsegment(harness)?.as_str()),
            session_id: unsegment(session)?,
            agent: match agent {
                Some(agent) => Some(unsegment(agent)?),
                None => None,
            },
        })
    }
}

/// One path segment that stands for `id` alone: letters, digits, `.`, `_` and `-` are themselves, unless a
/// dot comes first.
#[must_use]
pub fn segment(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for (i, byte) in id.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            b'.' if i > 0 => out.push('.'),
            _ => out.push_str(&format!("{ESCAPE}{byte:02X}")),
        }
    }
    if out.is_empty() {
        // No id is made this.
        out.push(ESCAPE);
    }
    out
}

/// The id that a segment stands for; `None` where nothing is written like that.
#[must_use]
pub fn unsegment(segment: &str) -> Option<String> {
    if segment.len() == 1 && segment.starts_with(ESCAPE) {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if char::from(byte) == ESCAPE {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// SHA-256 of a part's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// What is written so, in hexadecimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(Self(bytes))
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// Makes a [`Digest`] of bytes that come one after the other.
#[derive(Debug, Default)]
pub struct Summing(Sha256);

impl Summing {
    /// The next ones.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all of them.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The name of a part: its number in the stream, and what tells it from every other part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartName {
    /// Its place. Numbers may be missing.
    pub seq: u32,
    /// The first bytes of a hash of its epoch and its content; of a part that tracecraft wrote, anything.
    pub tag: [u8; 4],
}

impl PartName {
    /// Of a part with this content. The same part always has the same name, and no other one has it: so
    /// whoever finds the name taken knows by what.
    #[must_use]
    pub fn of(epoch: u32, node: &str, seq: u32, content: &Digest) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"rrd part 1\n");
        hash.update(epoch.to_be_bytes());
        hash.update(seq.to_be_bytes());
        hash.update(content.0);
        hash.update(node.as_bytes());
        let made = hash.finalize();
        Self { seq, tag: [made[0], made[1], made[2], made[3]] }
    }

    /// The part of this name; `None` of anything else.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (seq, tag) = name.strip_prefix("part-")?.strip_suffix(".jsonl")?.split_once('-')?;
        let plain = |s: &str, of: fn(&u8) -> bool| s.bytes().all(|byte| of(&byte));
        if seq.len() < 5
            || !plain(seq, u8::is_ascii_digit)
            || (seq.len() > 5 && seq.starts_with('0'))
        {
            return None;
        }
        if tag.len() != 8 || !plain(tag, |b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let tag = u32::from_str_radix(tag, 16).ok()?.to_be_bytes();
        Some(Self { seq: seq.parse().ok()?, tag })
    }

    /// The tag as it stands in the name.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.tag))
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part-{:05}-{}.jsonl", self.seq, self.tag())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_id_is_one_plain_segment_and_comes_back(id in "\\PC{0,40}") {
            let segment = segment(&id);
            prop_assert!(!segment.is_empty() && !segment.starts_with('.'));
            prop_assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-=".contains(&b)));
            prop_assert_eq!(unsegment(&segment), Some(id));
        }

        #[test]
        fn a_stream_is_found_by_its_directory(id in "\\PC{1,20}", agent in proptest::option::of("\\PC{1,20}")) {
            let name = StreamName { harness: Harness::from("codex"), session_id: id, agent };
            prop_assert_eq!(StreamName::of_directory(&name.directory()), Some(name));
        }

        #[test]
        fn a_part_is_found_by_its_name(seq in any::<u32>(), body in any::<Vec<u8>>()) {
            let content = Digest::of(&body);
            let name = PartName::of(3, "node", seq, &content);
            prop_assert_eq!(PartName::parse(&name.to_string()), Some(name));
            let written = content.to_string();
            prop_assert_eq!(Digest::parse(&written), Some(content));
            prop_assert_eq!(Digest::parse(&written[1..]), None);
            for other in [
                PartName::of(4, "node", seq, &content),
                PartName::of(3, "edon", seq, &content),
                PartName::of(3, "node", seq, &Digest::of(&[&body[..], b"x"].concat())),
            ] {
                prop_assert_ne!(other, name);
            }
        }
    }

    #[test]
    fn an_id_of_a_uuid_is_itself() {
        let name = StreamName {
            harness: Harness::from("claude-code"),
            session_id: "0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f".into(),
            agent: Some("a9".into()),
        };
        let directory =
            "sessions/claude-code/0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f/subagents/agent-a9/";
        assert_eq!(name.directory(), directory);
        assert_eq!(segment("../../etc/passwd"), "=2E.=2F..=2Fetc=2Fpasswd");
    }

    #[test]
    fn other_names_are_no_parts() {
        assert!(PartName::parse("part-00012-0123abcd.jsonl").is_some());
        assert!(PartName::parse("part-123456-0123abcd.jsonl").is_some());
        for name in [
            "part-0001-0123abcd.jsonl",
            "part-012345-0123abcd.jsonl",
            "part-00001-0123ABCD.jsonl",
            "part-00001-0123abc.jsonl",
            "part-+0001-0123abcd.jsonl",
            "part-99999999999-0123abcd.jsonl",
            "meta.json",
            "part-00001-0123abcd.jsonl.tmp",
        ] {
            assert_eq!(PartName::parse(name), None, "{name}");
        }
    }
}
