//! Who writes a stream, from which part on, and what of the earlier records stands.

use rrd_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::order::Step;

/// Why an epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nobody wrote the stream before.
    Begun,
    /// The transcript is not what it was: truncated, rewritten, or another one under its name.
    Rewritten,
    /// Another host, or one that had lost what it knew of the stream, wrote it before.
    TakenOver,
    /// The owner keeps it no longer: nothing of it counts, and all of it is about to be deleted.
    Pruned,
    /// A word of a newer release.
    #[serde(other)]
    Other,
}

/// What an `owner-NNNN.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The node that writes, as other hosts know it.
    pub node: String,
    /// What its user calls it.
    pub host: String,
    /// Parts from this one on are this epoch's or nobody's.
    pub first_seq: u32,
    /// Why.
    pub why: Why,
    /// When, by that host's clock.
    pub at: Timestamp,
    /// How the transcript was made of the records that were there, and of this epoch's, when the epoch
    /// began; what this epoch has beyond these follows. `None`: the transcript goes on as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<Step>>,
}

/// A claim and its epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// From 1.
    pub epoch: u32,
    /// What it says.
    pub claim: Claim,
}

impl Owner {
    /// The object's name.
    #[must_use]
    pub fn name(epoch: u32) -> String {
        format!("owner-{epoch:04}.json")
    }

    /// The epoch in an object's name; `None` of anything else.
    #[must_use]
    pub fn epoch_of(name: &str) -> Option<u32> {
        let digits = name.strip_prefix("owner-")?.strip_suffix(".json")?;
        let plain = digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let epoch = digits.parse().ok().filter(|_| plain)?;
        (epoch > 0 && Self::name(epoch) == name).then_some(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_in_its_name() {
        for epoch in [1, 9999, 10_000] {
            assert_eq!(Owner::epoch_of(&Owner::name(epoch)), Some(epoch));
        }
        for name in
            ["owner-0000.json", "owner-1.json", "owner-00001.json", "owner-+001.json", "meta.json"]
        {
            assert_eq!(Owner::epoch_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_newer_releases_reason_is_read() {
        let said = r#"{"node":"n","host":"mac","first_seq":3,"why":"split","at":"2026-11-22T10:00:00Z","more":1}"#;
        let claim: Claim = serde_json::from_str(said).unwrap();
        assert_eq!((claim.why, claim.first_seq), (Why::Other, 3));
    }
}
