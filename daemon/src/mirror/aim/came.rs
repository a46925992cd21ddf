//! What came of carrying a session into a bucket: what is known of it then, and whether the bucket fails.
//!
//! Not here: what is to be carried ([`super::chosen`]).

use std::time::{Duration, Instant};

use rrd_core::mirror::due;
use rrd_proto::{CoverageState, SessionKey};
use tokio::time::timeout;

use super::{
    super::{
        bars::Barred,
        stream::{Ask, Failure},
        target::Kind,
    },
    Aim, Dirty, Done, Failing, Known,
};
use crate::hub::now;

/// A place that fails is waited for so long by whoever asks how it is.
const PATIENCE: Duration = Duration::from_secs(30);

impl Aim {
    pub(super) fn trouble(&self, key: &SessionKey, error: String) {
        let mut known = self.known();
        known.troubles.insert(key.clone(), (error, Instant::now()));
    }

    /// What cannot be mirrored, and why, but for what the user has stopped.
    pub(in crate::mirror) fn troubled(&self) -> Vec<(SessionKey, String)> {
        let known = self.known();
        let all = known.troubles.iter().map(|(key, (error, _))| (key.clone(), error.clone()));
        let mut all: Vec<_> = all.collect();
        drop(known);
        all.retain(|(key, _)| self.stopped_at(key).is_none());
        all
    }

    /// Finds out how it is with a place that failed last, where nothing is left to bring that would.
    pub(super) async fn ask_again(&self) {
        let Ok(carrier) = &self.carrier else { return };
        let begun = Instant::now();
        let asked = timeout(PATIENCE, carrier.target.probe()).await;
        let mut known = self.known();
        match (asked, &mut known.failing) {
            (Ok(Ok(_)), Some(_)) => self.works(&mut known),
            (Ok(Err(fault)), Some(failing)) => {
                failing.failures += 1;
                (failing.error, failing.begun) = (fault.to_string(), begun);
            }
            _ => return,
        }
        let told: Vec<SessionKey> = known.told.keys().cloned().collect();
        drop(known);
        self.tell(told);
        self.wake.notify_one();
    }

    /// The bucket has done what was asked of it.
    fn works(&self, known: &mut Known) {
        known.worked_at = Some(Instant::now());
        if known.failing_since.take().is_some() {
            self.note(|outbox| outbox.set_failing_since(self.id, None));
        }
        if let Some(failing) = known.failing.take() {
            let url = &self.settings.url;
            tracing::info!(url, failures = failing.failures, "the bucket takes parts again");
        }
    }

    /// What came of it.
    pub(super) fn take(&self, done: Done) {
        if let Some(is_all) = done.noted {
            return self.take_noted(done, is_all);
        }
        let Done { key, mut stream, begun, asked, dirty, noted: _, result } = done;
        let is_forgotten = self.is_forgotten(&key);
        let is_in_database = self.source(&key).is_some_and(|source| source.is_in_database());
        let still = Dirty {
            bytes: dirty.map_or(0, |dirty| dirty.bytes),
            looks: dirty.and_then(|dirty| dirty.looks),
            ..Dirty::to_look_at(None)
        };
        let went = match &result {
            Err(Failure::Source { .. })
                if still.bytes > 0 || is_in_database || stream.state.is_short() =>
            {
                self.went(&key, &stream, still.bytes)
            }
            _ => None,
        };
        if let Err(Failure::Barred(Barred::Excluded(name))) = &result {
            self.hub.was_in_repo(&self.row(&key), name);
        }
        let is_failure = matches!(result, Err(Failure::Bucket(_)));
        let pending = (is_failure || self.known().pending > 0).then(|| self.pending());
        let mut known = self.known();
        known.pending = pending.unwrap_or(known.pending);
        known.compacting.take_if(|compacting| *compacting == key);
        if result.is_ok() && asked == Some(Ask::Parts) {
            known.to_mend.remove(&key);
        }
        known.carried.remove(&key);
        if is_forgotten {
            // Meanwhile: nothing is noted down of it any more.
            return;
        }
        let was_failing = known.failing.is_some();
        let is_old = known.asked_at.is_some_and(|asked| begun < asked);
        let before = known.streams.get(&key).map_or(0, |before| before.state.next_seq);
        let was_behind =
            known.told.get(&key).is_some_and(|told| told.state == CoverageState::Failing);
        if result.is_ok() && (stream.state.next_seq != before || was_behind) {
            known.taken_at.insert(stream.id, now());
        }
        let state = stream.state.clone();
        match &result {
            Err(Failure::Source { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                // Whatever was new in it is not there.
                let is_to_mend = known.to_mend.contains(&key);
                let may_lack = |dirty: Dirty| is_to_mend || dirty.may_lack(Some(&stream));
                if dirty.is_some_and(may_lack) {
                    stream.state.settled = None;
                    if let Some((bytes, end)) = went {
                        stream.state.source_went(bytes, end);
                    }
                }
            }
            _ => {}
        }
        if stream.state != state
            && let Err(error) = self.outbox().set_state(stream.id, &stream.state)
        {
            tracing::error!(%error, "the mirror cannot note down a session");
        }
        if result.is_ok() && asked.is_none() && state.settled.is_none() {
            // It was compared with what is there, and is something else.
            let dirty = Dirty::to_look_at(Some(&stream));
            known.dirty.entry(key.clone()).or_insert(dirty);
        }
        known.streams.insert(key.clone(), stream.clone());
        let mut changed = vec![key.clone()];
        match result {
            Ok(()) => {
                known.troubles.remove(&key);
                if stream.state.epoch > 0 && stream.state.theirs.is_none() {
                    known.resumed.remove(&key);
                }
                // Of a transcript without a record, or with few parts, nobody was asked anything.
                if asked.is_some_and(|ask| ask != Ask::Claims || stream.state.next_seq > 0) {
                    known.failed.remove(&key);
                    self.works(&mut known);
                }
                // Whoever it is left to has not brought all of it yet.
                if stream.state.left && stream.state.settled.is_none() {
                    known.dirty.entry(key.clone()).or_insert(still);
                }
            }
            Err(Failure::Bucket(fault)) if is_old || !known.is_of_one(&key, &fault) => {
                known.failed.insert(key.clone(), Instant::now());
                let failures = known.failing.as_ref().map_or(0, |failing| failing.failures) + 1;
                let asked = match fault.kind {
                    Kind::Passing { after } => after,
                    _ => None,
                };
                let chance = rrd_core::hash(key.session_id.as_bytes());
                let wait = match is_old {
                    // Somebody waits to hear how it is now.
                    true => Duration::ZERO,
                    false => due::back_off(failures, chance, asked),
                };
                let since = known.failing_since.unwrap_or_else(now);
                if known.failing_since.replace(since).is_none() {
                    self.note(|outbox| outbox.set_failing_since(self.id, Some(since)));
                }
                let is_told = known.failing.as_ref().is_some_and(|failing| failing.is_told);
                let (url, error) = (&self.settings.url, fault.to_string());
                tracing::warn!(url, error, failures, wait_s = wait.as_secs(), "the bucket fails");
                known.looked_at.remove(&stream.id);
                let again = Instant::now() + wait;
                known.failing = Some(Failing { since, failures, error, begun, again, is_told });
                known.dirty.entry(key).or_insert(still);
            }
            // From now on it is none of those that the user chose.
            Err(Failure::Barred(Barred::Excluded(_))) => {}
            // Its source went, or moved: a later look finds it where it is.
            Err(Failure::Source { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(failure) => {
                let error = failure.to_string();
                let (harness, id) = (&key.harness, &key.session_id);
                tracing::warn!(%harness, id, error, "a transcript cannot be mirrored");
                known.looked_at.remove(&stream.id);
                let now = Instant::now();
                known.failed.insert(key.clone(), now);
                known.troubles.insert(key.clone(), (error, now));
                known.dirty.entry(key).or_insert(still);
            }
        }
        if was_failing != known.failing.is_some() {
            changed.extend(known.dirty.keys().cloned());
        }
        drop(known);
        self.tell(changed);
        self.tell_of_alarm();
    }
}
