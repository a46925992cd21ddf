//! Where a session works, in a form that stays the same however a row is cut on its way.
//!
//! Two sessions are in one place where they have a mark in common; what was cut is never compared. Not here: which
//! sessions are at work, and the warning ([`crate::graph`]).

use rrd_proto::Session;
use xxhash_rust::xxh3::Xxh3;

use crate::resume::place;

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workplace {
    /// A worktree of its host.
    Worktree,
    /// A branch of a repository, on whatever host.
    Branch,
}

impl Workplace {
    /// What a mark stands for.
    #[must_use]
    pub fn of(mark: &str) -> Self {
        match mark.starts_with(BRANCH) {
            true => Self::Branch,
            false => Self::Worktree,
        }
    }
}

const DIRECTORY: char = 'd';
const CHECKOUT: char = 'c';
const BRANCH: char = 'b';

/// Letters of a mark, at most.
pub(crate) const MARK: usize = 13;

/// Marks of one session, at most.
pub(crate) const MARKS: usize = 3;

/// Its branch, where it is on one.
pub(crate) fn named_branch(row: &Session) -> Option<&str> {
    row.branch.as_deref().filter(|branch| *branch != "HEAD")
}

/// The marks of a whole row, or those that its host told with it.
#[must_use]
pub fn marks(row: &Session) -> Vec<String> {
    if let Some(marks) = &row.workplaces {
        return marks.clone();
    }
    let branch = named_branch(row);
    // Without a repository nobody can tell what is one's work.
    let directory = row.cwd.as_deref().filter(|_| row.repo.is_some());
    // Git has a branch in one worktree of a checkout alone, in whichever of its directories one works.
    let checkout = row.repo_root.as_deref().zip(branch);
    // One host reaches it by ssh, the other one by https.
    let remote = row.repo_remote.as_deref().and_then(place).zip(branch);
    let marks = [
        directory.map(|cwd| mark(DIRECTORY, &[cwd])),
        checkout.map(|(root, branch)| mark(CHECKOUT, &[root, branch])),
        remote.map(|((host, path), branch)| mark(BRANCH, &[&host, &path, branch])),
    ];
    marks.into_iter().flatten().collect()
}

fn mark(kind: char, parts: &[&str]) -> String {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    // Of a million pairs of places, two have these 48 bits in common by chance once in 10^8 times.
    format!("{kind}{:012x}", hash.digest() >> 16)
}
