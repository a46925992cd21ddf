//! What there is to say of each session: whether the bucket has it, and if not, why.
//!
//! Told to the hub, and from there to whoever looks at the session, on any host. What is said is true of the
//! moment in which it is: mirrored is what the bucket has acknowledged, and nothing new is known of.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use rrd_core::roster::Entry;
use rrd_proto::{Coverage, CoverageState, Harness, MirrorAlarm, SessionKey, Timestamp};

use super::{Aim, LOOK, OutboxError, address, at, chosen::Choice, is_alarming, parts_of};
use crate::{
    hub::{Input, now},
    mirror::outbox::{EVERYWHERE, Outbox, State, Stop, StreamId},
    sdk::not_mirrored,
};

/// How long a session that is stopped while it is carried may take to come to an end.
const PATIENCE: Duration = Duration::from_secs(30);

impl Aim {
    /// Tells what has changed of these sessions.
    pub(super) fn tell(&self, keys: impl IntoIterator<Item = SessionKey>) {
        let mut news = Vec::new();
        let unsent = match self.outbox().unsent(self.id) {
            Ok(unsent) => unsent,
            // What was said stays, rather than that all is there.
            Err(error) => return tracing::error!(%error, "the mirror cannot tell what is there"),
        };
        for key in keys {
            let row = self.row(&key);
            let before = self.known().told_of(&row);
            for key in self.all_of(&row) {
                let Some(entry) = self.entry(&key).filter(|entry| !entry.path.is_empty()) else {
                    continue;
                };
                if self.wants(&key, &entry) {
                    let source = at(&key, &entry);
                    self.note_back(&key, &source);
                    self.note_gone(&key, &source, &unsent);
                }
                let coverage = self.coverage(&key, &entry, &unsent);
                self.note_since(&key, &coverage);
                self.known().told.insert(key, coverage);
            }
            let coverage = self.known().told_of(&row);
            if let Some(coverage) = coverage.filter(|it| before.as_ref() != Some(it)) {
                news.push((row, coverage));
            }
        }
        // Whoever was disabled meanwhile has nothing to say any more.
        if !news.is_empty() && !self.stop.is_cancelled() {
            self.hub.apply(Input::Coverage(news));
        }
    }

    /// Has it outlive a start since when a session cannot be brought.
    fn note_since(&self, key: &SessionKey, coverage: &Coverage) {
        let is_failing = coverage.state == CoverageState::Failing;
        let mut known = self.known();
        let is_noted = known.behind.contains_key(key);
        match (coverage.state, coverage.since) {
            (CoverageState::Behind, _) => {}
            (_, Some(since)) if is_failing && !is_noted => {
                known.behind.insert(key.clone(), since);
                self.note(|outbox| outbox.set_behind(self.id, key, Some(since)));
            }
            _ if !is_failing && is_noted => {
                known.behind.remove(key);
                self.note(|outbox| outbox.set_behind(self.id, key, None));
            }
            _ => {}
        }
    }

    /// Notes down something that is told, and known without it until the next start.
    pub(super) fn note(&self, what: impl FnOnce(&Outbox) -> Result<(), OutboxError>) {
        if let Err(error) = what(&self.outbox()) {
            tracing::error!(%error, "the mirror cannot note down since when something fails");
        }
    }

    /// Since when the place fails, and since when sessions are behind.
    pub(super) fn find_since(&self) -> Result<(), OutboxError> {
        let (failing, behind) = {
            let outbox = self.outbox();
            (outbox.failing_since(self.id)?, outbox.behind(self.id)?)
        };
        let mut known = self.known();
        (known.failing_since, known.behind) = (failing, behind);
        Ok(())
    }

    /// How it is with one session; `unsent`: what was read of each stream and lies here.
    pub(super) fn coverage(
        &self,
        key: &SessionKey,
        entry: &Entry,
        unsent: &HashMap<StreamId, u64>,
    ) -> Coverage {
        let url = address(&self.settings);
        let only_here = match key.harness {
            Harness::ClaudeCode => not_mirrored(&self.state_dir, &entry.path),
            _ => 0,
        };
        let only_here = only_here + self.only_here(key);
        let only = |state, since| Coverage {
            url: url.clone(),
            state,
            bytes_behind: None,
            since,
            only_here,
        };
        if let Some(since) = self.stopped_at(key) {
            return only(CoverageState::Stopped, Some(since));
        }
        match self.choice(key, entry) {
            Choice::In => {}
            Choice::Out => return only(CoverageState::Excluded, None),
            Choice::Held(_) => return only(CoverageState::Held, None),
        }
        if let Some(since) = self.kept_until(key, entry) {
            return only(CoverageState::Expired, Some(since));
        }
        let source = at(key, entry);
        let looks = source.looks();
        let known = self.known();
        let stream = known.streams.get(key);
        let state = stream.map(|stream| &stream.state);
        // Marked, and as it was when there was nothing more in it.
        let is_as_settled = looks.is_some()
            && !known.to_mend.contains(key)
            && state.is_some_and(|state| state.settled == looks && !state.meta_is_due);
        // Or gone, and nothing was new in it when it was there.
        let is_marked = match looks {
            Some(_) => known.dirty.contains_key(key) || known.carried.contains_key(key),
            None => known.lacks(key),
        };
        let is_new = is_marked && !is_as_settled;
        if let Some(state) = state.filter(|state| state.theirs.is_some()) {
            return match state.diverged {
                Some(since) => only(CoverageState::Diverged, Some(since)),
                None => only(CoverageState::Elsewhere, None),
            };
        }
        let settled = state.and_then(|state| state.settled);
        let lacking = state.map_or(0, State::lacking);
        let bytes_behind = match (looks, state.and_then(|state| state.cursor)) {
            (None, _) => match state.filter(|state| state.is_short()) {
                Some(state) => Some(state.missing()),
                None => (settled.is_some() && !is_new).then_some(0),
            },
            // What others have in the database is none of it.
            (Some(_), _) if source.is_in_database() => match state {
                Some(state) if state.settled == looks || state.seen == looks => {
                    Some(state.missing())
                }
                _ => None,
            },
            (Some((size, _)), _) if state.is_none_or(|state| state.next_seq == 0) => {
                Some(size + lacking)
            }
            (Some(looks), _) if source.is_whole() => (settled == Some(looks)).then_some(lacking),
            (Some((size, _)), cursor) => {
                Some(size.saturating_sub(cursor.map_or(0, |cursor| cursor.offset)) + lacking)
            }
        };
        let bytes_behind = bytes_behind.filter(|_| !state.is_some_and(State::is_unseen));
        // What was read and is still here is not there, either.
        let unsent = stream.and_then(|stream| unsent.get(&stream.id)).copied().unwrap_or_default();
        let bytes_behind = bytes_behind.map(|bytes| bytes + unsent);
        let is_there = bytes_behind == Some(0) && !is_new;
        if looks.is_none() && state.is_none() {
            // It went before anything of it was seen.
            return only(CoverageState::Unknown, None);
        }
        let before = known.told.get(key);
        if is_there {
            let since = stream.and_then(|stream| known.taken_at.get(&stream.id).copied());
            let state = CoverageState::Mirrored;
            return Coverage { url, state, bytes_behind, since, only_here };
        }
        let is_failing = known.failing.is_some() || known.troubles.contains_key(key);
        let is_failing = is_failing || self.standstill().is_some();
        let state = if is_failing { CoverageState::Failing } else { CoverageState::Behind };
        let since = before.filter(|before| {
            matches!(before.state, CoverageState::Behind | CoverageState::Failing)
        });
        let since = since.and_then(|before| before.since);
        let since = Some(since.or(known.behind.get(key).copied()).unwrap_or_else(now));
        Coverage { url, state, bytes_behind, since, only_here }
    }

    /// Why nothing of a session goes out to this place; nothing where what is new does.
    pub(in crate::mirror) fn stays_out(&self, key: &SessionKey) -> Option<&'static str> {
        if self.stopped_at(key).is_some() {
            return Some("it is stopped: rrd mirror start ID mirrors it again");
        }
        let entry = self.entry(key)?;
        match self.choice(key, &entry) {
            Choice::Out => Some("it is left out by your choice of sessions"),
            Choice::Held(_) => Some("it is held back: rrd mirror status says why"),
            Choice::In => self
                .kept_until(key, &entry)
                .map(|_| "it was over for longer than this place keeps it"),
        }
    }

    /// Since when it is stopped, by itself or with whoever sent it.
    pub(super) fn stopped_at(&self, key: &SessionKey) -> Option<Timestamp> {
        if self.known().stopped.is_empty() {
            return None;
        }
        let mut lineage = self.lineage(key);
        lineage.push(self.row(key));
        let known = self.known();
        lineage.iter().filter_map(|key| known.stopped.get(key)).min().copied()
    }

    /// Reads what the user has stopped.
    pub(in crate::mirror) fn take_stops(&self) -> Result<(), OutboxError> {
        let address = address(&self.settings);
        let stops = self.outbox().stops()?;
        let here = stops.into_iter().filter(|stop| stop.url == EVERYWHERE || stop.url == address);
        let mut known = self.known();
        known.stopped.clear();
        for Stop { key, at, url: _ } in here {
            let since = known.stopped.entry(key).or_insert(at);
            *since = at.min(*since);
        }
        Ok(())
    }

    /// Looks again at what is to be here, and returns when nothing of what is not is on its way any more.
    pub(in crate::mirror) async fn look_again(&self) {
        self.wake.notify_one();
        let over = tokio::time::Instant::now() + PATIENCE;
        let is_on_its_way = || {
            let carried: Vec<SessionKey> = self.known().carried.keys().cloned().collect();
            carried.iter().any(|key| self.stopped_at(key).is_some())
        };
        while is_on_its_way() && tokio::time::Instant::now() < over {
            tokio::time::sleep(LOOK).await;
        }
        // Whoever asks now is told how it is.
        self.tell(self.hub.keys(None, None));
    }

    /// When the bucket took something last, of each stream.
    pub(super) fn find_taken(&self) -> Result<(), OutboxError> {
        let totals = self.outbox().totals(self.id)?;
        let last = totals.into_iter().filter_map(|(stream, total)| Some((stream, total.last?)));
        self.known().taken_at = last.collect();
        Ok(())
    }

    /// Parts that are still to be sent, and their bytes, of each stream: none of what the user wants here no more.
    pub(super) fn on_its_way(&self) -> Result<Vec<(StreamId, u64, u64)>, OutboxError> {
        let mut backlog = self.outbox().backlog(self.id)?;
        let of: HashSet<StreamId> = backlog.iter().map(|(stream, ..)| *stream).collect();
        let streams: Vec<(StreamId, SessionKey)> = {
            let known = self.known();
            let streams = known.streams.values().filter(|stream| of.contains(&stream.id));
            streams.map(|stream| (stream.id, stream.key.clone())).collect()
        };
        let stay = streams.iter().filter(|(_, key)| !self.is_wanted(key)).map(|(id, _)| *id);
        let stay: HashSet<StreamId> = stay.collect();
        backlog.retain(|(stream, ..)| !stay.contains(stream));
        Ok(backlog)
    }

    /// How many parts these are.
    pub(super) fn pending(&self) -> u64 {
        self.on_its_way().unwrap_or_default().iter().map(|(_, parts, _)| parts).sum()
    }

    /// What all hosts are to know, if it fails for long or is far behind.
    pub(in crate::mirror) fn alarm(&self, now: Timestamp) -> Option<MirrorAlarm> {
        let standstill = self.standstill();
        let stands_still = standstill.is_some();
        let known = self.known();
        let (since, error) = match (standstill, &known.failing) {
            (Some((since, error)), _) => (Some(since), Some(error)),
            (None, Some(failing)) => (Some(failing.since), Some(failing.error.clone())),
            (None, None) => (None, None),
        };
        let is_missing =
            |told: &&Coverage| matches!(told.state, CoverageState::Behind | CoverageState::Failing);
        let missing = || known.told.values().filter(is_missing);
        let bytes: u64 = missing().filter_map(|told| told.bytes_behind).sum();
        let is_unknown = missing().any(|told| told.bytes_behind.is_none());
        let alarm = MirrorAlarm {
            url: address(&self.settings),
            since,
            pending_parts: known.pending,
            transcripts_behind: Some(missing().count() as u64),
            bytes_behind: (bytes > 0 || !is_unknown).then_some(bytes),
            error,
        };
        let to_make = parts_of(missing().map(|told| told.bytes_behind));
        let is_alarming = is_alarming(alarm.since, alarm.pending_parts, to_make, now);
        (stands_still || is_alarming).then_some(alarm)
    }

    /// Logs it, once.
    pub(super) fn tell_of_alarm(&self) {
        let Some(alarm) = self.alarm(now()) else { return };
        if let Some(failing) = &mut self.known().failing
            && !std::mem::replace(&mut failing.is_told, true)
        {
            let MirrorAlarm { url, pending_parts, error, since, .. } = alarm;
            let since = since.map(|since| since.to_string());
            let failures = failing.failures;
            tracing::error!(
                url,
                pending_parts,
                failures,
                error,
                since,
                "the mirror has failed for long: what is written is in no bucket"
            );
        }
    }
}
