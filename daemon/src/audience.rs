//! Whether anybody looks. What nobody sees can wait until somebody asks, and then costs less.
//!
//! Whoever asked a moment ago will ask again, so an audience stays for a little while after it has
//! left. Not here: what is put off ([`crate::tail`]).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long it is waited for one that has left.
const RETURNS_WITHIN: Duration = Duration::from_secs(2);

/// Those who ask this daemon.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    looking: AtomicUsize,
    left: Mutex<Option<Instant>>,
}

/// Somebody looks, as long as this lives.
#[derive(Debug)]
pub(crate) struct Looking(Arc<Audience>);

impl Audience {
    /// Somebody begins to look.
    pub(crate) fn look(self: &Arc<Self>) -> Looking {
        self.looking.fetch_add(1, Ordering::SeqCst);
        Looking(Arc::clone(self))
    }

    /// Whether anybody does, or did a moment ago.
    pub(crate) fn is_there(&self) -> bool {
        self.looking.load(Ordering::SeqCst) > 0
            || self
                .left
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some_and(|at| at.elapsed() < RETURNS_WITHIN)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.looking.fetch_sub(1, Ordering::SeqCst);
    }
}
