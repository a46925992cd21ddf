//! What must not go out: records of what was done in a repository that the user excluded, or in a directory of which
//! nobody knows in which one it is.
//!
//! Whoever reads transcripts for the index may not have come so far. Not here: which sessions are left out
//! ([`super::aim`]).

use std::{cell::RefCell, collections::BTreeSet, io, path::Path};

use rrd_core::{
    repo::{is_called, numbers, place},
    resume::works_in,
};

use crate::repo::Repos;

/// Why a record does not go out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Barred {
    /// It was written in this repository.
    #[error("it was in {0}, which is excluded")]
    Excluded(String),
    /// It was written in this directory.
    #[error("it was in {0}, and nobody knows in which repository that is")]
    Unknown(String),
}

/// Looks at records before they go out.
pub(crate) struct Bars<'a> {
    excluded: &'a [String],
    /// Directories of which it is known ([`place`]).
    places: BTreeSet<u64>,
    repos: RefCell<Repos>,
}

impl<'a> Bars<'a> {
    pub(crate) fn new(excluded: &'a [String], places: &[String]) -> Self {
        Self { excluded, places: numbers(places).collect(), repos: RefCell::default() }
    }

    /// # Errors
    /// [`Barred`], where this record names a directory that is in such a one, or that nobody knows.
    pub(crate) fn pass(&self, line: &[u8]) -> io::Result<()> {
        if self.excluded.is_empty() {
            return Ok(());
        }
        let Some(cwd) = works_in(line) else { return Ok(()) };
        let Some(names) = self.repos.borrow_mut().names_at(Path::new(&cwd)) else {
            let is_known = self.places.contains(&place(&cwd));
            return if is_known { Ok(()) } else { Err(io::Error::other(Barred::Unknown(cwd))) };
        };
        let is_excluded = |name: &String| self.excluded.iter().any(|of| is_called(of, name));
        match names.into_iter().find(is_excluded) {
            Some(name) => Err(io::Error::other(Barred::Excluded(name))),
            None => Ok(()),
        }
    }
}
