//! What must not go out: records of what was done in a repository that the user excluded.
//!
//! Whoever reads transcripts for the index may not have come so far. Not here: which sessions are left out
//! ([`super::aim`]).

use std::{cell::RefCell, io, path::Path};

use rrd_core::{repo::is_called, resume::cwd_of};

use crate::repo::Repos;

/// A record was written in this repository.
#[derive(Debug, thiserror::Error)]
#[error("it was in {0}, which is excluded")]
pub(crate) struct Barred(pub(crate) String);

/// Looks at records before they go out.
pub(crate) struct Bars<'a> {
    excluded: &'a [String],
    repos: RefCell<Repos>,
}

impl<'a> Bars<'a> {
    pub(crate) fn new(excluded: &'a [String]) -> Self {
        Self { excluded, repos: RefCell::default() }
    }

    /// # Errors
    /// [`Barred`], where the directory is in such a one that this record names.
    pub(crate) fn pass(&self, line: &[u8]) -> io::Result<()> {
        if self.excluded.is_empty() {
            return Ok(());
        }
        let Some(cwd) = cwd_of(line) else { return Ok(()) };
        let names = self.repos.borrow_mut().names_at(Path::new(&cwd));
        let is_excluded = |name: &String| self.excluded.iter().any(|of| is_called(of, name));
        match names.into_iter().find(is_excluded) {
            Some(name) => Err(io::Error::other(Barred(name))),
            None => Ok(()),
        }
    }
}
