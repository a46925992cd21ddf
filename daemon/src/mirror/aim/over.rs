//! Sessions that have been over for longer than the bucket keeps them.
//!
//! A session and its delegates go together: when all of them have ended, and the last record of any of them
//! is old enough. What has gone is not brought back from the transcript that is still here, unless it goes
//! on. Not here: how something is deleted ([`super::super::prune`]).

use std::collections::{HashMap, HashSet};

use rrd_core::roster::Entry;
use rrd_proto::{Issue, MirrorPruned, Session, SessionKey, Status, Timestamp};
use tokio::task::JoinSet;

use super::{Aim, Ask, Carrier, Done, Instant, OutboxError, Stream, address};
use crate::hub::now;

const DAY: i64 = 86_400_000;

impl Aim {
    /// The last record of a session that the bucket keeps no longer, while it is still its last one.
    pub(super) fn kept_until(&self, key: &SessionKey, entry: &Entry) -> Option<Timestamp> {
        let until = {
            let known = self.known();
            let pruned = known.streams.get(key).and_then(|stream| stream.state.pruned);
            pruned.max(known.over.get(key).copied())?
        };
        let goes_on = |last: Option<Timestamp>| last.is_some_and(|last| last > until);
        let root = || self.lineage(key).pop().and_then(|root| self.hub.entry(&root));
        // With a session its delegates are there again.
        let is_over = !goes_on(entry.fold.last_activity)
            && !root().is_some_and(|root| goes_on(root.fold.last_activity));
        is_over.then_some(until)
    }

    /// Finds what is over for too long; gives what of it is in the bucket.
    pub(super) fn find_over(&self) -> HashSet<SessionKey> {
        let mut over = self.over_for_too_long();
        for key in self.keys().into_iter().filter(|key| self.row(key) != *key) {
            // Its row is of another session's.
            if let Some(last) = self.lineage(&key).pop().and_then(|root| over.get(&root).copied()) {
                over.insert(key, last);
            }
        }
        let mut known = self.known();
        let is_there = |stream: &&Stream| {
            let state = &stream.state;
            // What was begun is brought to its end, whatever the user wants now.
            let is_begun = state.pruned.is_some() && state.epoch > 0;
            is_begun || (over.contains_key(&stream.key) && state.epoch > 0)
        };
        let to_prune: HashSet<SessionKey> = known
            .streams
            .values()
            .filter(is_there)
            .filter(|stream| stream.state.theirs.is_none())
            .map(|stream| stream.key.clone())
            .collect();
        known.over = over;
        to_prune
    }

    /// Has that deleted.
    pub(in crate::mirror) fn prune(&self) {
        let to_prune = self.find_over();
        self.known().to_prune = to_prune;
    }

    /// Every session that was over for too long, and the last record of it and its delegates.
    fn over_for_too_long(&self) -> HashMap<SessionKey, Timestamp> {
        let Some(days) = self.settings.keep_days else { return HashMap::new() };
        let before = now().as_millis() - i64::from(days) * DAY;
        let keys = self.hub.keys(None, None);
        let rows = self.hub.rows(keys.iter());
        let mut families: HashMap<SessionKey, Vec<&Session>> = HashMap::new();
        for row in rows.values() {
            let root = self.lineage(&row.key()).pop();
            families.entry(root.unwrap_or_else(|| row.key())).or_default().push(row);
        }
        let mut over = HashMap::new();
        for family in families.values() {
            let last = family.iter().filter_map(|row| row.last_activity_at).max();
            let is_over = |row: &&Session| {
                // What cannot be looked at now may have gone on.
                let in_sight = row.issues.iter().all(|issue| issue.kind != Issue::OUT_OF_SIGHT);
                row.status == Status::Ended && row.complete && in_sight
            };
            if let Some(last) = last.filter(|last| last.as_millis() < before)
                && family.iter().all(is_over)
                && family.iter().all(|row| self.stopped_at(&row.key()).is_none())
            {
                over.extend(family.iter().map(|row| (row.key(), last)));
            }
        }
        over
    }

    pub(super) fn start_pruning(
        &self,
        carrier: &Carrier,
        carried: &mut JoinSet<Done>,
        in_hand: &mut HashSet<SessionKey>,
        most: usize,
    ) {
        while carried.len() < most {
            let next = {
                let known = self.known();
                known.to_prune.iter().find(|key| !in_hand.contains(*key)).cloned()
            };
            let Some(key) = next else { return };
            self.known().to_prune.remove(&key);
            // It may have gone on since.
            let until = self.entry(&key).and_then(|entry| self.kept_until(&key, &entry));
            let (Some(until), Some((mut stream, .., ask))) = (until, self.stream_of(&key)) else {
                continue;
            };
            self.is_still_to_be_looked_at(&stream, ask);
            in_hand.insert(key.clone());
            let (carrier, begun) = (carrier.clone(), Instant::now());
            carried.spawn(async move {
                let pruned = carrier.prune(&mut stream, until).await;
                if let Ok(done) = &pruned {
                    let directory = stream.name.directory();
                    match done {
                        true => tracing::info!(directory, "over for too long, deleted"),
                        false => tracing::warn!(directory, "not deleted: another host has it"),
                    }
                }
                let result = pruned.map(drop);
                let asked = Some(Ask::Names);
                Done { key, stream, begun, asked, dirty: None, noted: None, result }
            });
        }
    }

    /// What the bucket keeps no longer, and still has.
    pub(in crate::mirror) fn to_prune(&self) -> Result<Vec<MirrorPruned>, OutboxError> {
        let to_prune = self.find_over();
        let totals = self.outbox().totals(self.id)?;
        let known = self.known();
        let streams = known.streams.values().filter(|stream| to_prune.contains(&stream.key));
        let mut pruned: Vec<MirrorPruned> = streams
            .filter_map(|stream| {
                let total = totals.get(&stream.id).cloned().unwrap_or_default();
                let last = known.over.get(&stream.key).copied().or(stream.state.pruned)?;
                Some(MirrorPruned {
                    url: address(&self.settings),
                    directory: stream.name.directory(),
                    last_activity_at: last,
                    parts: total.parts,
                    bytes: total.bytes,
                })
            })
            .collect();
        pruned.sort_by(|a, b| a.directory.cmp(&b.directory));
        Ok(pruned)
    }

    /// Whether that stream has been deleted.
    pub(in crate::mirror) fn is_pruned(&self, directory: &str) -> bool {
        let known = self.known();
        let stream = known.streams.values().find(|stream| stream.name.directory() == directory);
        stream.is_some_and(|stream| stream.state.pruned.is_some() && stream.state.epoch == 0)
    }
}
