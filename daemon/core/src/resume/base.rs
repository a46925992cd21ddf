//! Where the beginning of a fork of Codex lies: in another thread's rollout, of which nothing is copied, up to a byte.
//!
//! Records are numbered, and a fork says both: the number of the first record that is not its own past any more, and
//! the byte at which that begins in the file that Codex forked. Where that file is here in another form (redacted, or as
//! it was before that) the number still holds, and the byte does not. Not here: reading that file.

use memchr::memmem;
use serde_json::Value;

use super::fork::{members, value};
use crate::harness::is_uuid;

/// What a fork says of its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The thread in whose rollout it lies.
    pub thread: String,
    /// Where it ends there, as far as that is said.
    pub end: Option<End>,
}

/// The end of what a fork has of another thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The number of the first record after it.
    pub ordinal: u64,
    /// Where that begins, in the file that was forked.
    pub byte: u64,
}

impl Base {
    pub(super) fn of(meta: &Value) -> Option<Self> {
        let base = meta.pointer("/payload/history_base")?;
        let thread = base["thread_id"].as_str().filter(|id| is_uuid(id))?.to_owned();
        let end = base["end_ordinal_exclusive"].as_u64().zip(base["end_byte_offset"].as_u64());
        Some(Self { thread, end: end.map(|(ordinal, byte)| End { ordinal, byte }) })
    }
}

/// The number of a record of a paginated rollout.
#[must_use]
pub fn ordinal(line: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        ordinal: u64,
    }
    serde_json::from_slice::<Numbered>(line).ok().map(|record| record.ordinal)
}

/// The first line of a fork, its beginning ending at `byte`; nothing of any other line.
#[must_use]
pub fn beginning_to(line: &[u8], byte: u64) -> Option<Vec<u8>> {
    memmem::find(line, b"\"history_base\"")?;
    let text = std::str::from_utf8(line).ok()?;
    let record = members(text)?;
    if value(&record, "type")? != "\"session_meta\"" {
        return None;
    }
    let base = members(value(&members(value(&record, "payload")?)?, "history_base")?)?;
    let was = value(&base, "end_byte_offset")?;
    let at = was.as_ptr() as usize - text.as_ptr() as usize;
    Some([&line[..at], byte.to_string().as_bytes(), &line[at + was.len()..]].concat())
}

/// What that line is on every host, whatever form of the other thread's rollout is there; nothing of any other line.
#[must_use]
pub fn wherever(line: &[u8]) -> Option<Vec<u8>> {
    beginning_to(line, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_byte_is_another_one() {
        let line = |byte: &str| {
            format!(
                r#"{{ "n":1.50,"type":"session_meta","payload":{{"id":"end_byte_offset","history_base":{{"thread_id":"t","end_byte_offset" : {byte}, "end_ordinal_exclusive":4}},"x":"\u00e9"}},"ordinal":4}}"#
            )
        };
        let (was, is) = (line("38646"), line("7"));
        let got = beginning_to(was.as_bytes(), 7).unwrap();
        assert_eq!(std::str::from_utf8(&got).unwrap(), is);
        assert_eq!(wherever(was.as_bytes()), wherever(is.as_bytes()));
        assert_eq!(ordinal(was.as_bytes()), Some(4));
        for line in [
            r#"{"type":"event_msg","payload":{"history_base":{"end_byte_offset":1}}}"#,
            r#"{"type":"session_meta","payload":{"history_base":{"thread_id":"t"}}}"#,
            r#"{"type":"session_meta","payload":{},"history_base":{"end_byte_offset":1}}"#,
            r#"{"type":"session_meta","payload":{"history_base":{"end_byte_offset":1"#,
        ] {
            assert_eq!(beginning_to(line.as_bytes(), 7), None, "{line}");
            assert_eq!(ordinal(line.as_bytes()), None, "{line}");
        }
    }
}
