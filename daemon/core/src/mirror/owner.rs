//! Who writes a stream, from which part on, and what of the earlier records stands.

use rrd_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    meta::Meta,
    name::{Digest, PartName},
    order::Step,
};

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

    /// A claim as far as `meta.json` tells it, for whoever cannot read what it says: of the nodes that are known the one
    /// by which its parts have their names, and the first of these. What is not told is how the transcript was made
    /// of what was there before. `None` where that would be a guess.
    #[must_use]
    pub fn told(epoch: u32, meta: &Meta, others: &[Self]) -> Option<Self> {
        let of_it: Vec<(PartName, Digest)> = meta
            .parts
            .iter()
            .filter(|part| part.epoch == Some(epoch))
            .map(|part| Some((part.name()?, Digest::parse(part.sha256.as_deref()?)?)))
            .collect::<Option<_>>()?;
        let first_seq = of_it.iter().map(|(name, _)| name.seq).min()?;
        let is_its = |node: &str| {
            let name_of = |name: &PartName, content| PartName::of(epoch, node, name.seq, content);
            of_it.iter().all(|(name, content)| name_of(name, content) == *name)
        };
        let writer = meta.node.iter().map(|node| (node, meta.host.as_ref().unwrap_or(node)));
        let others = others.iter().map(|owner| (&owner.claim.node, &owner.claim.host));
        let (node, host) = writer.chain(others).find(|(node, _)| is_its(node))?;
        let is_before = |part: &&super::meta::Part| part.epoch < Some(epoch);
        if meta.parts.iter().filter(is_before).any(|part| part.seq >= first_seq) {
            return None;
        }
        let at = meta.parts.iter().filter(|part| part.epoch == Some(epoch));
        let at = at.filter_map(|part| part.uploaded_at).min();
        let claim = Claim {
            node: node.clone(),
            host: host.clone(),
            first_seq,
            why: Why::Other,
            at: at.unwrap_or(Timestamp::from_millis(0)),
            order: None,
        };
        Some(Self { epoch, claim })
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
    fn whose_parts_they_are_is_told_by_their_names() {
        let part = |epoch: u32, node: &str, seq: u32| {
            let content = Digest::of(&[1]);
            let name = PartName::of(epoch, node, seq, &content);
            super::super::meta::Part {
                seq,
                uuid: name.tag(),
                epoch: Some(epoch),
                sha256: Some(content.to_string()),
                ..Default::default()
            }
        };
        let mut meta = Meta {
            node: Some("b".to_owned()),
            host: Some("host of b".to_owned()),
            parts: vec![part(1, "a", 0), part(1, "a", 1), part(2, "b", 2)],
            ..Meta::default()
        };
        let told = |meta: &Meta, epoch, others: &[Owner]| {
            let claim = Owner::told(epoch, meta, others)?.claim;
            Some((claim.node, claim.host, claim.first_seq))
        };
        let b = Some(("b".to_owned(), "host of b".to_owned(), 2));
        assert_eq!(told(&meta, 2, &[]), b);
        // Of the first one nobody has said who that is.
        assert_eq!(told(&meta, 1, &[]), None);
        let mut a = Owner::told(2, &meta, &[]).unwrap();
        (a.epoch, a.claim.node, a.claim.host) = (3, "a".to_owned(), "host of a".to_owned());
        assert_eq!(told(&meta, 1, &[a]), Some(("a".to_owned(), "host of a".to_owned(), 0)));
        assert_eq!(told(&meta, 3, &[]), None);
        meta.parts[2].sha256 = Some(Digest::of(&[2]).to_string());
        assert_eq!(told(&meta, 2, &[]), None);
    }

    #[test]
    fn a_newer_releases_reason_is_read() {
        let said = r#"{"node":"n","host":"mac","first_seq":3,"why":"split","at":"2026-11-22T10:00:00Z","more":1}"#;
        let claim: Claim = serde_json::from_str(said).unwrap();
        assert_eq!((claim.why, claim.first_seq), (Why::Other, 3));
    }
}
