//! What else there is of sessions than their transcripts: what is mirrored where, and until when harnesses
//! keep their own copies.
//!
//! A place of which nothing has been said yet is told as unknown. Not here: looking into either.

use std::collections::{BTreeMap, HashMap};

use rrd_proto::{Coverage, CoverageState, Deletion, SessionKey};

use super::{Entry, Roster};
use crate::harness::cleanup::deleted_at;

#[derive(Debug, Clone, Default)]
pub(super) struct Covered {
    /// The places that this host mirrors to.
    places: Vec<String>,
    /// By place.
    of: HashMap<SessionKey, BTreeMap<String, Coverage>>,
    /// How long harnesses keep transcripts, in milliseconds, by root: nothing where that cannot be told. Where
    /// none is named nothing is deleted.
    periods: HashMap<usize, Option<i64>>,
}

impl Covered {
    pub(super) fn of(&self, key: &SessionKey, entry: &Entry) -> Vec<Coverage> {
        // Of what was never written there is nothing to be mirrored.
        if entry.path.is_empty() {
            return Vec::new();
        }
        let known = self.of.get(key);
        let place = |url: &String| {
            known.and_then(|known| known.get(url)).cloned().unwrap_or_else(|| Coverage {
                url: url.clone(),
                state: CoverageState::Unknown,
                bytes_behind: None,
                since: None,
                only_here: 0,
            })
        };
        self.places.iter().map(place).collect()
    }

    /// When the harness deletes its own copy, if it does.
    pub(super) fn deletion(&self, entry: &Entry) -> Option<Deletion> {
        let (period, changed) = (self.periods.get(&entry.root)?, entry.changed?);
        Some(Deletion { at: period.map(|period| deleted_at(changed, period)) })
    }

    pub(super) fn forget(&mut self, key: &SessionKey) {
        self.of.remove(key);
    }
}

impl Roster {
    /// Takes the addresses of all places that this host mirrors to.
    pub fn set_mirrors(&mut self, places: Vec<String>) {
        if self.covered.places != places {
            for known in self.covered.of.values_mut() {
                known.retain(|url, _| places.contains(url));
            }
            self.covered.places = places;
            self.version += 1;
        }
    }

    /// Takes how each of these sessions is in one of the places.
    pub fn set_coverage(&mut self, news: Vec<(SessionKey, Coverage)>) {
        for (key, coverage) in news {
            // Given up since it looked.
            if !self.covered.places.contains(&coverage.url) {
                continue;
            }
            let known = self.covered.of.entry(key).or_default();
            let before = known.insert(coverage.url.clone(), coverage.clone());
            self.version += u64::from(before.is_none_or(|before| before != coverage));
        }
    }

    /// Takes how long harnesses keep transcripts in each root, in milliseconds.
    pub fn set_periods(&mut self, periods: HashMap<usize, Option<i64>>) {
        self.version += u64::from(self.covered.periods != periods);
        self.covered.periods = periods;
    }
}
