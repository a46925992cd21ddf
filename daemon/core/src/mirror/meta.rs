//! `meta.json`: what there is of a stream, for whoever looks.
//!
//! Version 1 of tracecraft's, whose reader needs none of what is ours; what neither knows is kept.

use std::collections::BTreeMap;

use rrd_proto::{Timestamp, copy::Past};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::name::PartName;

/// The version that is written.
pub const SCHEMA_VERSION: u32 = 1;

/// What a `meta.json` says. Whatever another one left out is nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whose log it is.
    pub harness: String,
    /// The session; of a delegate its own id.
    pub session_id: String,
    /// Where the transcript is on its host; of a session in a database, `PATH#SESSION`.
    pub source_path: Option<String>,
    /// Where the agent worked.
    pub cwd: Option<String>,
    /// Who mirrors, in tracecraft's words; the host's label.
    pub agent_id: Option<String>,
    /// When it was first uploaded.
    pub started_at: Option<Timestamp>,
    /// When it was last.
    pub last_uploaded_at: Option<Timestamp>,
    /// When the session ended, as far as that is known.
    pub ended_at: Option<Timestamp>,
    /// Bytes of the records before they were redacted.
    pub total_source_bytes: u64,
    /// Bytes of all parts that count.
    pub total_uploaded_bytes: u64,
    /// How many secrets were replaced, by rule.
    pub redaction_counts: BTreeMap<String, u64>,
    /// The parts that count.
    pub parts: Vec<Part>,
    /// The host's label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The node that writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The epoch that it writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Which redactor writes; [`RAW`] where any part is as the source had it, for the user asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redactor: Option<String>,
    /// What a task is called that the session belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What the session is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The repository that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// Where else it was, for whoever goes on with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past: Option<Past>,
    /// Of a delegate: what its harness keeps of it beside its transcript (`agent-….meta.json` of Claude Code: what
    /// it is called and was told to do, who delegated it, whether it has ended), redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate: Option<Map<String, Value>>,
    /// Parts that one part stands for now; they are deleted later. For whoever reads nothing
    /// else: what counts is [`super::Merge`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<Replaced>,
    /// What others wrote.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// In the place of a redactor's name: the bytes are as the source had them.
pub const RAW: &str = "none";

/// rrd's redactor, in the words of this release.
pub const REDACTOR: &str = concat!("rrd ", env!("CARGO_PKG_VERSION"));

impl Part {
    /// What it is called; nothing where rrd cannot have named it.
    #[must_use]
    pub fn name(&self) -> Option<PartName> {
        PartName::parse(&format!("part-{:05}-{}.jsonl", self.seq, self.uuid))
    }

    /// Every secret that rrd knew was taken out of it before it left its host.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.redactor.as_deref().is_some_and(|by| by.starts_with("rrd "))
    }

    /// Whoever wrote it says that it is as the source had it.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.redactor.as_deref() == Some(RAW)
    }

    /// What one made of these has passed; nothing where that is not known of all of them.
    #[must_use]
    pub fn redactor_of<'p>(parts: impl IntoIterator<Item = &'p Self> + Clone) -> Option<String> {
        match parts.clone().into_iter().find(|part| part.is_raw()) {
            Some(raw) => raw.redactor.clone(),
            None if parts.clone().into_iter().all(Self::is_redacted) => {
                parts.into_iter().next().and_then(|part| part.redactor.clone())
            }
            None => None,
        }
    }
}

/// One part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// Its number.
    pub seq: u32,
    /// The tag in its name.
    pub uuid: String,
    /// From where to where in the source: bytes of a file, numbers of rows in a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor_range: Option<[u64; 2]>,
    /// Bytes before redaction.
    pub source_bytes: u64,
    /// Bytes.
    pub uploaded_bytes: u64,
    /// How many secrets were replaced, by rule.
    pub redactions: BTreeMap<String, u64>,
    /// When it was acknowledged.
    pub uploaded_at: Option<Timestamp>,
    /// Its epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// How many records it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// SHA-256 of its bytes, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Which redactor it passed; [`RAW`]: none, for the user asked for that. Where nothing is said nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redactor: Option<String>,
    /// What others wrote.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A part that stands for several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replaced {
    /// The name of the one.
    pub part: String,
    /// The names of those that it was made of.
    pub of: Vec<String>,
    /// When that was said.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tracecraft 0.2.5 writes it.
    const SEEDS: &str = r#"{
      "schema_version": 1, "harness": "claude-code", "session_id": "0dd9",
      "source_path": "/home/u/.claude/projects/-w/0dd9.jsonl", "cwd": "/w", "agent_id": "me",
      "started_at": "2026-11-20T08:00:00.123456+00:00",
      "last_uploaded_at": "2026-11-20T08:01:00.123456+00:00", "ended_at": null,
      "total_source_bytes": 20, "total_uploaded_bytes": 18, "redaction_counts": {"hf_token": 1},
      "parts": [{"seq": 0, "uuid": "12ab34cd", "cursor_range": [0, 20], "source_bytes": 20,
        "uploaded_bytes": 18, "redactions": {"hf_token": 1}, "uploaded_at": "2026-11-20T08:00:00+00:00"},
        {"seq": 0, "uuid": "12ab34ce", "compacted_from": 2, "uploaded_bytes": 18}],
      "last_compacted_at": "2026-11-20T08:02:00+00:00"
    }"#;

    #[test]
    fn of_what_one_part_is_made_is_known_of_all_or_of_none() {
        let part = |by: Option<&str>| Part { redactor: by.map(str::to_owned), ..Part::default() };
        let of = |all: &[Option<&str>]| {
            Part::redactor_of(&all.iter().map(|by| part(*by)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[Some(REDACTOR), Some("rrd 9.9.9")]).as_deref(), Some(REDACTOR));
        assert_eq!(of(&[Some(REDACTOR), None]), None);
        assert_eq!(of(&[Some(REDACTOR), Some("another")]), None);
        assert_eq!(of(&[Some(REDACTOR), None, Some(RAW)]).as_deref(), Some(RAW));
        assert!(part(Some(REDACTOR)).is_redacted() && !part(None).is_redacted());
    }

    #[test]
    fn a_meta_of_tracecrafts_is_read_and_nothing_of_it_lost() {
        let meta: Meta = serde_json::from_str(SEEDS).unwrap();
        assert_eq!(meta.parts[0].cursor_range, Some([0, 20]));
        assert_eq!(meta.started_at.map(|at| at.as_millis() % 60_000), Some(123));
        let written = serde_json::to_value(&meta).unwrap();
        assert!(written.get("last_compacted_at").is_some());
        assert_eq!(written["parts"][1]["compacted_from"], 2);
        assert_eq!(serde_json::from_value::<Meta>(written).unwrap(), meta);
    }
}
