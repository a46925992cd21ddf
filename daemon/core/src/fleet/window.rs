//! Which datagrams of a sender were taken already.
//!
//! A sender counts its datagrams up within a generation, and its generations rise. What is older than the
//! window, or of an earlier generation, is not taken; so a copy of a datagram is never taken twice, however
//! late it comes. A window never expires; its floor outlives the process. Not here: what is in them.

/// Datagrams that may still come, though later ones have.
const SPAN: u64 = 1024;

const WORDS: usize = (SPAN / 64) as usize;

/// Nothing at or below this is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Floor {
    /// The sender's generation.
    pub generation: u64,
    /// Datagrams of it.
    pub counter: u64,
}

/// Why a datagram is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Of an earlier generation: a copy, or of a clone that began earlier.
    Stale,
    /// Taken already, or too late to tell.
    Replayed,
    /// Two senders of one name began at once, or one began twice in one generation.
    Twin,
}

/// One sender's window.
#[derive(Debug, Clone)]
pub struct Window {
    generation: u64,
    /// Which of the senders of this name, once one has been heard.
    boot: Option<u64>,
    /// The highest taken; counters begin with 1.
    newest: u64,
    floor: u64,
    taken: [u64; WORDS],
}

impl Window {
    /// Of a sender of whom nothing at or below `floor` is to be taken.
    #[must_use]
    pub const fn above(floor: Floor) -> Self {
        let Floor { generation, counter } = floor;
        Self { generation, boot: None, newest: counter, floor: counter, taken: [0; WORDS] }
    }

    /// Whether a datagram could be taken; nothing is, yet.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, generation: u64, boot: u64, counter: u64) -> Result<(), Refused> {
        if generation < self.generation {
            return Err(Refused::Stale);
        }
        if generation > self.generation {
            return if counter == 0 { Err(Refused::Replayed) } else { Ok(()) };
        }
        if self.boot.is_some_and(|known| known != boot) {
            return Err(Refused::Twin);
        }
        let is_new = counter > self.newest
            || (counter > self.floor && self.newest - counter < SPAN && !self.has(counter));
        if is_new { Ok(()) } else { Err(Refused::Replayed) }
    }

    /// Takes it, when it can be. Only of what has been authenticated.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn take(&mut self, generation: u64, boot: u64, counter: u64) -> Result<(), Refused> {
        self.check(generation, boot, counter)?;
        if generation > self.generation {
            *self = Self::above(Floor { generation, counter: 0 });
        }
        self.boot = Some(boot);
        if counter > self.newest {
            let steps = counter - self.newest;
            if steps >= SPAN {
                self.taken = [0; WORDS];
            } else {
                (1..=steps).for_each(|step| self.mark(self.newest + step, false));
            }
            self.newest = counter;
        }
        self.mark(counter, true);
        Ok(())
    }

    /// What a later process must not take again.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        Floor { generation: self.generation, counter: self.newest }
    }

    fn has(&self, counter: u64) -> bool {
        let bit = counter % SPAN;
        self.taken[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    fn mark(&mut self, counter: u64, taken: bool) {
        let bit = counter % SPAN;
        let word = &mut self.taken[(bit / 64) as usize];
        *word = *word & !(1 << (bit % 64)) | u64::from(taken) << (bit % 64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_later_generation_begins_anew_and_an_earlier_one_is_over() {
        let mut window = Window::above(Floor::default());
        assert_eq!(window.take(5, 1, 7), Ok(()));
        assert_eq!(window.take(5, 1, 7), Err(Refused::Replayed));
        assert_eq!(window.take(5, 2, 8), Err(Refused::Twin));
        assert_eq!(window.take(6, 2, 1), Ok(()));
        assert_eq!(window.take(5, 1, 8), Err(Refused::Stale));
        assert_eq!(window.floor(), Floor { generation: 6, counter: 1 });
    }

    #[test]
    fn a_floor_outlives_its_process() {
        let mut window = Window::above(Floor { generation: 5, counter: 100 });
        assert_eq!(window.take(5, 1, 100), Err(Refused::Replayed));
        assert_eq!(window.take(5, 1, 99), Err(Refused::Replayed));
        assert_eq!(window.take(5, 1, 101), Ok(()));
    }

    proptest! {
        /// Against a set of everything that was taken.
        #[test]
        fn nothing_is_taken_twice(counters in prop::collection::vec((0u64..2, 1u64..3000), 1..400)) {
            let mut window = Window::above(Floor::default());
            let (mut taken, mut generation, mut newest) = (HashSet::new(), 1, 0);
            for (later, counter) in counters {
                let of = 1 + later;
                let fits = if of == generation {
                    counter > newest || (newest - counter < SPAN && !taken.contains(&counter))
                } else {
                    of > generation
                };
                prop_assert_eq!(window.take(of, 9, counter).is_ok(), fits);
                if fits {
                    if of > generation {
                        (generation, newest) = (of, 0);
                        taken.clear();
                    }
                    taken.insert(counter);
                    newest = newest.max(counter);
                }
            }
        }
    }
}
