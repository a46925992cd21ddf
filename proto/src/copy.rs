//! A copy of one session's files, page by page, for whoever resumes it elsewhere.
//!
//! The host that has them fixes what is copied when it is asked, and tells each page once more when it was not
//! heard; each file ends with the hash of what was sent of it. Between hosts bodies are maps, so fields are
//! only added. Not here: which files there are, what of them may leave their host, where they are put.

use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{NodeId, SessionKey, Timestamp};

/// Bytes of a page, at most.
pub const MAX_PAGE: usize = 256 << 10;

/// Files of one copy, at most.
pub const MAX_FILES: usize = 4096;

/// Asks for a copy of one of the answering host's sessions: the body of `copy_open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOpen {
    /// The session.
    pub key: SessionKey,
}

/// Where a session was before, as far as whoever gives it knows. Goes into `meta.json`, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// Repositories in which it is or was, or what it has something of (what it is a fork of, say): sixteen digits for
    /// each of their names, so that who excludes one knows it again, and no redaction rule takes it out.
    pub names: Vec<String>,
    /// Directories that its records name and that are in one of these, or in none: the same for each, so that who has
    /// the records knows them again.
    pub places: Vec<String>,
    /// That is all: it is known where each of them was.
    pub is_whole: bool,
}

impl Past {
    /// Names that are told, at most, and directories.
    pub const MOST: usize = 4096;

    /// No more than may be told.
    #[must_use]
    pub fn cut(mut self) -> Self {
        let is_one = |it: &String| it.len() == 16 && it.bytes().all(|c| c.is_ascii_hexdigit());
        for told in [&mut self.names, &mut self.places] {
            told.sort_unstable();
            told.dedup();
            let before = told.len();
            told.retain(is_one);
            told.truncate(Self::MOST);
            self.is_whole &= told.len() == before;
        }
        self
    }
}

/// One file of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyFile {
    /// `<id>.jsonl`, `<id>/subagents/agent-….jsonl`, `rollout-….jsonl`: to be checked before it is used.
    pub name: String,
    /// Its bytes on its host when the copy was begun.
    pub bytes: u64,
    /// What is sent is zstd frames.
    #[serde(default)]
    pub zstd: bool,
    /// Where the session was whose transcript it is; of the default one nothing is known.
    #[serde(default)]
    pub past: Past,
}

/// A copy that was begun: the answer to `copy_open`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOpened {
    /// What to ask for its pages with.
    pub handle: u64,
    /// What is secret is taken out, because its host gives nothing else.
    pub redacted: bool,
    /// Its files, in the order in which they come.
    pub files: Vec<CopyFile>,
}

/// Asks for a page: the body of `copy_next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyNext {
    /// Of which copy.
    pub handle: u64,
    /// Its number from 0: the one after the last that was heard, or that one again.
    pub page: u64,
}

/// Some bytes of one file: the answer to `copy_next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyPage {
    /// Which of the files.
    pub file: u32,
    /// What comes next of it.
    pub bytes: Bytes,
    /// With its last page: the SHA-256 of all that was sent of it.
    #[serde(default)]
    pub sha256: Option<Bytes>,
    /// Nothing follows, of any file.
    #[serde(default)]
    pub is_last: bool,
    /// Bytes sent of all files up to here.
    #[serde(default)]
    pub sent: u64,
}

/// What a client asks its daemon for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyCall {
    /// A copy of a session of this host, or of another one.
    Open(Option<NodeId>, CopyOpen),
    /// A page of it.
    Next(Option<NodeId>, CopyNext),
    /// A copy of what a bucket has of the session with this id, or the only one whose id begins so.
    Bucket {
        /// The id.
        id: String,
        /// From the place with this address alone ([`Ahead::url`]); else from the one that has most of it.
        #[serde(default)]
        url: Option<String>,
    },
    /// Whether another host has gone on with this session of this host, by what buckets have of it.
    Ahead(SessionKey),
    /// A copy is about to be put in its place here: the session, and its repository as it is known where that comes
    /// from. Answered by [`CopyReply::Noted`] once that is written down.
    Comes {
        /// What it is to be here.
        key: SessionKey,
        /// What its repository is called.
        repo: Option<String>,
        /// Its remote.
        remote: Option<String>,
        /// Where else it was.
        past: Past,
        /// Where its delegates were, by what they are to be called here.
        delegates: Vec<(String, Past)>,
    },
    /// [`CopyCall::Ahead`] of a session that another host gives, before it is put in its place here.
    AheadOf(SessionKey, Given),
}

/// What another host gives of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// That host's node, as other hosts know it.
    pub node: Option<String>,
    /// Where its transcript lies on this host for now; `None` where it is not there as it was given.
    pub transcript: Option<PathBuf>,
}

/// How far a bucket is ahead of a session of this host, for another host has taken it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// The place's address.
    pub url: String,
    /// The host that writes it there now, as its user calls it.
    pub host: String,
    /// That host's node, as other hosts know it.
    pub node: String,
    /// When the bucket took the last of it, or that host took it over.
    pub at: Timestamp,
    /// When that host took it over from another one; `None` where nobody but it has written it there.
    pub took_over_at: Option<Timestamp>,
    /// So many of its records are not here, of 0 there is nothing newer there; `None` where that could not be found out in time.
    pub records: Option<u64>,
    /// What is here has records that are not there: the two went apart.
    pub is_apart: bool,
}

/// What came of looking whether a bucket is ahead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// So many places this host mirrors to.
    pub places: u64,
    /// The one with most that is not here; of equal ones the one that took the last of it.
    pub ahead: Option<Ahead>,
    /// Places that other hosts than that one write: they went on with it, too.
    #[serde(default)]
    pub others: Vec<Ahead>,
    /// Places that did not answer in time, and why.
    pub unasked: Vec<String>,
}

/// What a bucket has of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketCopy {
    /// The session.
    pub key: SessionKey,
    /// The place's address.
    pub url: String,
    /// Who put it there, as its user calls it.
    pub host: Option<String>,
    /// That is the host that answers: it may have forgotten the session, but it is not away.
    pub is_own: bool,
    /// Where it was started.
    pub cwd: Option<String>,
    /// The remote of its repository, or what that is called.
    pub repo: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// When the bucket took the last of it.
    pub last_uploaded_at: Option<Timestamp>,
    /// Parts that do not count, and why.
    pub dropped: Vec<String>,
    /// Places that may have more of it and did not answer, and why.
    pub unasked: Vec<String>,
    /// Nothing is in it that has not passed the redactor: false only of a place that was enabled without.
    pub redacted: bool,
    /// So many of its parts passed it only now, for nobody knows that they had before the bucket had them.
    pub redacted_here: u64,
    /// Where its files lie on this host: each by its number from 0, for an hour at most.
    pub folder: PathBuf,
    /// Its files.
    pub files: Vec<CopyFile>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyReply {
    /// To [`CopyCall::Open`].
    Opened(CopyOpened),
    /// To [`CopyCall::Next`].
    Page(CopyPage),
    /// To [`CopyCall::Bucket`].
    Bucket(Box<BucketCopy>),
    /// To [`CopyCall::Ahead`].
    Looked(Looked),
    /// To [`CopyCall::Comes`].
    Noted,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{MAX_BODY, pack, unpack};

    #[test]
    fn a_page_is_about_as_long_as_its_bytes() {
        let page = CopyPage {
            file: 7,
            bytes: vec![0xff; MAX_PAGE].into(),
            sha256: Some(vec![1; 32].into()),
            is_last: true,
            sent: 1 << 40,
        };
        let packed = pack(&page).unwrap();
        assert!(packed.len() < MAX_PAGE + 128 && packed.len() < MAX_BODY);
        assert_eq!(unpack::<CopyPage>(&packed).unwrap(), page);
    }
}
