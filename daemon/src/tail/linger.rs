//! Lets changes collect while they come quickly and nobody looks.
//!
//! Waking a thread costs more than reading a line does. So the thread that is told of changes stays
//! away for a moment when it has taken one; what comes meanwhile is taken together. Nothing is lost by
//! it (the system keeps the notifications) and nobody sees it: whoever asks ends it first, and gets
//! what there is. Not here: what a change is ([`super::watch`]).

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::audience::Audience;

/// Changes are collected for so long …
const LINGER: Duration = Duration::from_secs(1);

/// … when the last one came so shortly before: else waiting would save nothing.
const QUICK: Duration = Duration::from_millis(350);

/// What was collected is taken within this; only then are more collected.
const TAKEN: Duration = Duration::from_millis(25);

/// Where one root's notifications wait.
#[derive(Debug)]
pub(crate) struct Linger {
    audience: Arc<Audience>,
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lingering: bool,
    suspended: bool,
    changed: Option<Instant>,
    ended: Option<Instant>,
}

impl Linger {
    pub(crate) fn new(audience: Arc<Audience>) -> Self {
        Self { audience, state: Mutex::default(), over: Condvar::new() }
    }

    /// After a change has been taken: stays until others have come, if that is worth it.
    pub(crate) fn stay(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        let within = |at: Option<Instant>, time| at.is_some_and(|at| now.duration_since(at) < time);
        let quick = within(state.changed.replace(now), QUICK);
        if !quick || within(state.ended, TAKEN) || state.suspended || self.audience.is_there() {
            return;
        }
        state.lingering = true;
        let stays = |state: &mut State| !state.suspended;
        let waited = self.over.wait_timeout_while(state, LINGER, stays);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.lingering = false;
        state.ended = Some(Instant::now());
    }

    /// Whether changes are being collected now.
    pub(crate) fn is_on(&self) -> bool {
        self.lock().lingering
    }

    /// Until [`Self::resume`] nothing is collected: somebody waits for the notifications' thread.
    pub(crate) fn suspend(&self) {
        self.lock().suspended = true;
        self.over.notify_all();
    }

    /// See [`Self::suspend`].
    pub(crate) fn resume(&self) {
        self.lock().suspended = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_kept_waiting() {
        let audience = Arc::<Audience>::default();
        let linger = Linger::new(Arc::clone(&audience));
        linger.stay();
        assert!(linger.lock().ended.is_none(), "one change alone");
        let looking = audience.look();
        linger.stay();
        assert!(linger.lock().ended.is_none(), "somebody looks");
        drop(looking);
        linger.stay();
        assert!(linger.lock().ended.is_none(), "and may look again");
    }

    #[test]
    fn who_asks_ends_it() {
        let linger = Linger::new(Arc::default());
        linger.lock().changed = Some(Instant::now() + Duration::from_secs(60));
        std::thread::scope(|scope| {
            let stays = scope.spawn(|| linger.stay());
            while !linger.is_on() && !stays.is_finished() {
                std::thread::yield_now();
            }
            linger.suspend();
            stays.join().unwrap();
            linger.resume();
        });
        assert!(linger.lock().ended.is_some() && !linger.is_on());
        linger.stay();
        assert!(!linger.is_on(), "what was collected is taken first");
    }
}
