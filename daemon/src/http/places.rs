//! How many may be connected, and who makes room when they are too many.
//!
//! Whoever asks something does so at once. So of too many it is the one that has been silent longest since
//! it came that goes, and whoever wants to look is let in, however many only hold on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// Connections at once.
const MOST: usize = 2_048;

/// Those that are connected.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    open: usize,
    shed: u64,
    /// Those that have not asked anything, in the order they came.
    silent: BTreeMap<u64, CancellationToken>,
}

/// How many there are, and how many had to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) open: usize,
    pub(crate) shed: u64,
}

/// One connection's place, as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    gone: CancellationToken,
}

impl Places {
    /// A place; `None` where every other one is taken by somebody who asked.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.open >= MOST {
            taken.shed += 1;
            taken.silent.pop_first()?.1.cancel();
        }
        taken.open += 1;
        taken.next += 1;
        let (number, gone) = (taken.next, CancellationToken::new());
        taken.silent.insert(number, gone.clone());
        Some(Place { places: Arc::clone(self), number, gone })
    }

    pub(crate) fn counts(&self) -> Counts {
        let taken = self.lock();
        Counts { open: taken.open, shed: taken.shed }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It has asked something.
    pub(crate) fn asks(&self) {
        self.places.lock().silent.remove(&self.number);
    }

    /// Returns when it is to make room.
    pub(crate) async fn is_wanted(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.open -= 1;
        taken.silent.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_only_holds_on_makes_room() {
        let places = Arc::new(Places::default());
        let held: Vec<Place> = (0..MOST).map(|_| places.take().unwrap()).collect();
        held[0].asks();
        let late = places.take().unwrap();
        assert!(!held[0].gone.is_cancelled(), "it asked");
        assert!(held[1].gone.is_cancelled() && !held[2].gone.is_cancelled());
        assert_eq!(places.counts(), Counts { open: MOST + 1, shed: 1 });
        held.iter().chain([&late]).for_each(Place::asks);
        assert!(places.take().is_none(), "all of them ask");
        drop((held, late));
        assert_eq!(places.counts().open, 0);
        assert!(places.lock().silent.is_empty());
    }
}
