//! What `rrd mirror` asks of the daemon on this host, and what it is told.
//!
//! The answers in JSON are a contract like a session's. Not here: what lies in a bucket, and how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CoverageState, Harness, Timestamp};

/// One question or order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MirrorCall {
    /// Mirrors to this place from now on, everything there is first; or in another way, where it does already.
    Enable(MirrorWish),
    /// Not to this place any more; to none, where it is not said.
    Disable {
        /// Its address.
        url: Option<String>,
    },
    /// How it is with each place.
    Status,
    /// What is mirrored.
    List,
    /// What lies in the buckets, whoever put it there: each is asked.
    Found,
    /// What a bucket itself says of a session, by its id or the start of it: any host's.
    Show {
        /// The id.
        id: String,
        /// So many of its last lines, too.
        tail: u32,
    },
    /// Reads what a bucket has of this session, or of all of this host's, and compares it with what was
    /// uploaded.
    Verify {
        /// Its id, or the start of it.
        id: Option<String>,
    },
    /// Makes few parts of many, of this session or of all of this host's.
    Compact {
        /// Its id, or the start of it.
        id: Option<String>,
    },
    /// Mirrors a session and its delegates no more, by its id or the start of it.
    Stop {
        /// The id.
        id: String,
        /// Only to this place; to none, not even to one that comes later, where it is not said.
        url: Option<String>,
    },
    /// Mirrors it again.
    Start {
        /// The id, or the start of it.
        id: String,
        /// Only to this place.
        url: Option<String>,
    },
    /// Deletes from each bucket what has been over for longer than it keeps sessions.
    Prune {
        /// Only says what that would be.
        dry_run: bool,
    },
    /// Brings everything into the buckets that is not there, and says when that is done.
    Run,
}

/// Where to mirror to, and what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorTarget {
    /// `file://`, `s3://`, `gs://` or `az://`, with the bucket and what all names begin with.
    pub url: String,
    /// The directory in there.
    pub project: String,
    /// `https://…` of a store that is not its inventor's.
    pub endpoint: Option<String>,
    /// Where the bucket is.
    pub region: Option<String>,
    /// A profile of `~/.aws`.
    pub profile: Option<String>,
    /// Only sessions of these harnesses; of all, where there are none.
    pub harness: Vec<String>,
    /// Only sessions in these repositories.
    pub repo: Vec<String>,
    /// No sessions of these harnesses.
    pub exclude_harness: Vec<String>,
    /// No sessions in these repositories.
    pub exclude_repo: Vec<String>,
    /// The bytes as they are, secrets among them.
    pub raw: bool,
    /// Sessions that have been over for more days than this are deleted there; never, where it is not said.
    pub keep_days: Option<u32>,
}

/// What a person says of a place. What is not said stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorWish {
    /// What there is to be said of it. What is empty in there is not said, but for `raw`.
    pub said: MirrorTarget,
    /// Whatever was chosen before is taken back first.
    pub all: bool,
    /// Nothing is deleted there any more because it is old.
    pub keep_forever: bool,
}

impl MirrorWish {
    /// What is in force from now on at a place where this was. A name that is said now comes to those that were
    /// said before, and leaves the opposite list: nobody drops a choice by speaking of something else. Secrets
    /// stay in only where that is said each time.
    #[must_use]
    pub fn over(self, before: Option<&MirrorTarget>) -> MirrorTarget {
        let Self { said, all, keep_forever } = self;
        let before = before.cloned().unwrap_or_default();
        let chosen = |was: &[String], said: &[String], opposite: &[String]| -> Vec<String> {
            let was = was.iter().filter(|name| !all && !opposite.contains(name));
            let mut names: Vec<String> = was.cloned().collect();
            for name in said {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            names
        };
        MirrorTarget {
            endpoint: said.endpoint.or(before.endpoint),
            region: said.region.or(before.region),
            profile: said.profile.or(before.profile),
            harness: chosen(&before.harness, &said.harness, &said.exclude_harness),
            repo: chosen(&before.repo, &said.repo, &said.exclude_repo),
            exclude_harness: chosen(&before.exclude_harness, &said.exclude_harness, &said.harness),
            exclude_repo: chosen(&before.exclude_repo, &said.exclude_repo, &said.repo),
            keep_days: said.keep_days.or(before.keep_days.filter(|_| !keep_forever)),
            url: said.url,
            project: said.project,
            raw: said.raw,
        }
    }
}

/// The answer to a call that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MirrorReply {
    /// Mirrored to from now on: the place, with what is in force there.
    Enabled(Box<MirrorStatus>),
    /// From so many places mirrored to no more; what is there stays.
    Disabled(u32),
    /// Each place.
    Status(Vec<MirrorStatus>),
    /// Each session.
    List(Vec<Mirrored>),
    /// Each session in the buckets, how many older ones are left out, and which places did not answer, and why.
    Found(Vec<MirrorFound>, u64, Vec<String>),
    /// What a bucket has of a session.
    Shown(MirrorShown),
    /// What was compared, and which places did not answer, and why.
    Verified(Vec<MirrorVerified>, Vec<String>),
    /// This session, by its id, is mirrored no more, or again, to these places.
    Stopped(String, Vec<String>),
    /// What was deleted, or would be.
    Pruned(Vec<MirrorPruned>),
}

/// A session in a bucket, whoever put it there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorFound {
    /// The place's address.
    pub url: String,
    /// Its directory there.
    pub directory: String,
    /// Whose log it is.
    pub harness: Harness,
    /// The session.
    pub session_id: String,
    /// The host that put it there, as its user calls it; this and the next three as its `meta.json` says.
    pub host: Option<String>,
    /// What it is called.
    pub title: Option<String>,
    /// The remote of its repository, or what that is called.
    pub repo: Option<String>,
    /// Where it was started.
    pub cwd: Option<String>,
    /// Its parts.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Delegates of which there is something, too.
    pub delegates: u64,
    /// When the bucket took something of it last.
    pub last_uploaded_at: Option<Timestamp>,
    /// It has a `meta.json` that can be understood.
    pub is_told: bool,
}

/// What a bucket has of one transcript.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorShown {
    /// The place's address.
    pub url: String,
    /// Its directory there.
    pub directory: String,
    /// Its `meta.json` as it lies there, if it does.
    pub meta: Option<String>,
    /// That is there, and cannot be understood.
    pub meta_is_odd: bool,
    /// Records of the transcript as it was last.
    pub records: u64,
    /// Records that it had before it was rewritten, besides.
    pub earlier_records: u64,
    /// Parts that do not count, and why.
    pub dropped: Vec<MirrorTrouble>,
    /// Places that may have more of it and did not answer, and why.
    pub unasked: Vec<String>,
    /// Nothing is in the lines that has not passed the redactor, before it came there or on the way out: false
    /// only of a place that was enabled without.
    pub redacted: bool,
    /// The last lines.
    pub tail: Vec<String>,
}

/// One transcript that was compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorVerified {
    /// The place's address.
    pub url: String,
    /// Its directory there.
    pub directory: String,
    /// Parts that are whole.
    pub parts: u64,
    /// Records in them.
    pub records: u64,
    /// What is not as it should be.
    pub wrong: Vec<String>,
    /// What is not as it was uploaded, and loses nothing.
    #[serde(default)]
    pub harmless: Vec<String>,
    /// Addresses of what counts for nobody and is named in `wrong` until it is deleted there.
    #[serde(default)]
    pub foreign: Vec<String>,
    /// Nothing of what is wrong is brought again, for nothing more of it goes out to this place.
    #[serde(default)]
    pub stays_out: bool,
}

/// One transcript that a bucket keeps no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorPruned {
    /// The place's address.
    pub url: String,
    /// Its directory there.
    pub directory: String,
    /// Its last record, or that of the session that it is a delegate of.
    pub last_activity_at: Timestamp,
    /// Parts that were there.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How it is with one place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// Its address.
    pub url: String,
    /// The directory in there.
    pub project: String,
    /// Since when.
    pub since: Timestamp,
    /// Secrets are taken out before anything leaves this host.
    pub redacted: bool,
    /// Transcripts with parts there that are as the source had them, from when the user wanted that, as far as
    /// this host knows.
    #[serde(default)]
    pub raw_transcripts: u64,
    /// It is still being found out what there is to be mirrored: figures may be too small.
    pub checking: bool,
    /// Transcripts that it has, delegates' among them.
    pub transcripts: u64,
    /// Transcripts with something that it has not.
    pub behind: u64,
    /// Bytes of transcripts that it has not, as far as that is known.
    pub bytes_behind: u64,
    /// Transcripts among those behind of which nobody knows how many bytes it has not.
    #[serde(default)]
    pub behind_unknown: u64,
    /// Parts that are made and still to be sent.
    pub pending_parts: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// Transcripts that another host mirrors.
    pub elsewhere: u64,
    /// Transcripts that another host mirrors, and that went on here, too: what only this host has of them is
    /// not there.
    #[serde(default)]
    pub diverged: u64,
    /// Transcripts that the user has stopped.
    #[serde(default)]
    pub stopped: u64,
    /// Transcripts that are held back: this place is chosen for by repository, and nobody knows in which theirs are.
    #[serde(default)]
    pub held: u64,
    /// Some of these, and what is not known of each.
    #[serde(default)]
    pub held_for: Vec<MirrorTrouble>,
    /// So many days after its end a session is deleted there; null: never.
    #[serde(default)]
    pub keep_days: Option<u32>,
    /// Only sessions of these harnesses go there; of all, where there are none.
    #[serde(default)]
    pub harness: Vec<String>,
    /// Only sessions in these repositories.
    #[serde(default)]
    pub repo: Vec<String>,
    /// No sessions of these harnesses.
    #[serde(default)]
    pub exclude_harness: Vec<String>,
    /// No sessions in these repositories.
    #[serde(default)]
    pub exclude_repo: Vec<String>,
    /// Those of these repositories in which no session that is known was.
    #[serde(default)]
    pub unknown_repos: Vec<String>,
    /// When it took something last.
    pub last_uploaded_at: Option<Timestamp>,
    /// What is wrong with it.
    pub failing: Option<MirrorFailing>,
    /// Nothing goes there before somebody mends what is wrong: no attempt would change that.
    #[serde(default)]
    pub stands_still: bool,
    /// Transcripts that cannot be mirrored, and why: at most ten.
    pub troubles: Vec<MirrorTrouble>,
}

impl MirrorStatus {
    /// Bytes that it has not; nothing where nobody knows how many.
    #[must_use]
    pub fn known_behind(&self) -> Option<u64> {
        (self.bytes_behind > 0 || self.behind_unknown == 0).then_some(self.bytes_behind)
    }
}

/// A place that fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorFailing {
    /// Since when.
    pub since: Timestamp,
    /// How often in a row.
    pub failures: u32,
    /// What it says, and what helps.
    pub error: String,
    /// When it is tried again.
    pub again_at: Timestamp,
}

/// A place that has failed for a quarter of an hour, or that a thousand parts have not reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MirrorAlarm {
    /// Its address, without credentials; one that is too long is cut.
    pub url: String,
    /// Since when it fails; null where it only is far behind.
    pub since: Option<Timestamp>,
    /// Parts that are made and still to be sent.
    pub pending_parts: u64,
    /// Transcripts with something that it has not; null where that is not known.
    #[serde(default)]
    pub transcripts_behind: Option<u64>,
    /// Bytes of transcripts that it has not, as far as that is known.
    #[serde(default)]
    pub bytes_behind: Option<u64>,
    /// What it says, in a line.
    pub error: Option<String>,
}

/// A transcript that cannot be mirrored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorTrouble {
    /// Its directory in the bucket.
    pub stream: String,
    /// Why.
    pub error: String,
}

/// One mirrored transcript, as this host knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mirrored {
    /// The place's address.
    pub url: String,
    /// Its directory there.
    pub directory: String,
    /// Whose log it is.
    pub harness: Harness,
    /// The session.
    pub session_id: String,
    /// What it is called.
    pub title: Option<String>,
    /// The delegate, where it is one's.
    pub agent: Option<String>,
    /// Who sent it, where it is a delegate's: the session, or another delegate of that.
    #[serde(default)]
    pub parent_session_id: Option<String>,
    /// Parts in the bucket.
    pub parts: u64,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of the transcript that are not there; null where that is not known, since another host mirrors it,
    /// and where it is not to be there.
    pub bytes_behind: Option<u64>,
    /// When it took something last.
    pub last_uploaded_at: Option<Timestamp>,
    /// Secrets that were taken out, by rule.
    pub redactions: BTreeMap<String, u64>,
    /// Some of its parts are as the source had them, as far as this host knows.
    #[serde(default)]
    pub raw: bool,
    /// The host that mirrors it, where that is another one.
    pub by: Option<String>,
    /// How it is.
    pub state: CoverageState,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_not_said_stays() {
        let before = MirrorTarget {
            url: "s3://b".to_owned(),
            region: Some("auto".to_owned()),
            exclude_harness: names(&["hermes"]),
            repo: names(&["alpha"]),
            raw: true,
            keep_days: Some(30),
            ..MirrorTarget::default()
        };
        let wish = |said: MirrorTarget| MirrorWish { said, ..MirrorWish::default() };
        let kept = wish(MirrorTarget { url: "s3://b".to_owned(), ..MirrorTarget::default() });
        let silent = kept.clone().over(Some(&before));
        // Secrets are not left in by silence.
        assert_eq!(silent, MirrorTarget { raw: false, ..before.clone() });
        let more = wish(MirrorTarget {
            harness: names(&["hermes"]),
            exclude_repo: names(&["beta", "beta"]),
            keep_days: Some(400),
            ..kept.said.clone()
        });
        let more = more.over(Some(&before));
        assert_eq!((more.harness, more.exclude_harness), (names(&["hermes"]), names(&[])));
        assert_eq!(more.repo, names(&["alpha"]));
        assert_eq!((more.keep_days, more.exclude_repo.len()), (Some(400), 1));
        let all = MirrorWish { all: true, keep_forever: true, ..kept.clone() }.over(Some(&before));
        assert_eq!((all.repo, all.exclude_harness, all.keep_days), (names(&[]), names(&[]), None));
        assert_eq!(all.region.as_deref(), Some("auto"));
        assert_eq!(kept.clone().over(None), kept.said);
    }
}
