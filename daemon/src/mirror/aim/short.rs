//! What a place never gets of a session, as soon as that is seen: it outlives a start.
//!
//! Not here: what is found while something is brought ([`super::came`]).

use std::collections::{HashMap, HashSet};

use rrd_core::cursor::Cursor;
use rrd_proto::SessionKey;
use tokio::task::JoinSet;

use super::{AT_ONCE, Aim, At, Carrier, Done, Instant, Stream, StreamId};
use crate::{
    hub::shown,
    mirror::outbox::{End, State},
    store::Reader,
};

impl Aim {
    /// Has noted down what is new in databases, while the place fails.
    pub(super) fn start_noting(
        &self,
        carrier: &Carrier,
        carried: &mut JoinSet<Done>,
        in_hand: &mut HashSet<SessionKey>,
    ) {
        let waiting: Vec<SessionKey> = {
            let known = self.known();
            known.dirty.keys().filter(|key| !in_hand.contains(*key)).cloned().collect()
        };
        for key in waiting {
            if carried.len() >= AT_ONCE {
                return;
            }
            let Some(source) = self.source(&key).filter(|source| source.is_in_database()) else {
                continue;
            };
            let looks = source.looks();
            let stream = self.known().streams.get(&key).cloned();
            let stream = stream.or_else(|| {
                let (stream, .., ask) = self.stream_of(&key)?;
                self.is_still_to_be_looked_at(&stream, ask);
                Some(stream)
            });
            let Some(mut stream) = stream else { continue };
            let is_seen = stream.state.seen == looks || stream.state.theirs.is_some();
            let is_noted = self.known().noted.insert(key.clone(), looks) == Some(looks);
            if looks.is_none() || is_seen || is_noted {
                continue;
            }
            in_hand.insert(key.clone());
            let (carrier, begun) = (carrier.clone(), Instant::now());
            carried.spawn(async move {
                let noted = carrier.note_rows(&mut stream, &source).await;
                let (noted, result) = match noted {
                    Ok(is_all) => (Some(is_all), Ok(())),
                    Err(failure) => (Some(false), Err(failure)),
                };
                Done { key, stream, begun, asked: None, dirty: None, noted, result }
            });
        }
    }

    /// Takes what came of that.
    pub(super) fn take_noted(&self, done: Done, is_all: bool) {
        let Done { key, stream, result, .. } = done;
        if let Err(error) = result {
            let (harness, id) = (&key.harness, &key.session_id);
            return tracing::debug!(%harness, id, %error, "what is new in it is not known");
        }
        let looks = self.source(&key).and_then(|source| source.looks());
        let mut known = self.known();
        if is_all && stream.state.seen == looks {
            known.dirty.remove(&key);
        }
        known.streams.insert(key.clone(), stream);
        drop(known);
        self.tell([key]);
    }

    /// What went with a source that is not there: bytes of it, where anybody saw how many, and where it ended, as the
    /// index read it. Nothing where it is there.
    pub(super) fn went(
        &self,
        key: &SessionKey,
        stream: &Stream,
        bytes: u64,
    ) -> Option<(Option<u64>, Option<End>)> {
        let source = self.source(key).filter(|source| source.looks().is_none())?;
        let state = &stream.state;
        let is_in_database = source.is_in_database();
        let name = match &source {
            At::Rows { path, session, .. } => format!("{}#{session}", shown(path)),
            At::File(path) => shown(path),
        };
        // Of what is packed the index knows another end.
        let is_told = is_in_database || !source.is_whole();
        let read = || Reader::open(&self.state_dir)?.read_to(&name).ok()?;
        let end = is_told.then(read).flatten();
        let is_another = |end: &Cursor| !is_in_database && end.offset > 0 && !state.knows(end);
        let bytes = match (is_in_database, bytes) {
            // What is known not to be brought stands.
            (true, _) if !state.unbrought.is_empty() => Some(0),
            (false, 1..) => Some(bytes),
            // Nobody knows whether that was more than is missing already, unless it ended otherwise.
            _ if state.is_short() && !end.as_ref().is_some_and(|(end, _)| is_another(end)) => {
                Some(0)
            }
            _ => None,
        };
        let from = state.cursor.map_or(0, |cursor| cursor.offset);
        let end = end.filter(|(end, _)| is_in_database || bytes.is_none() || end.offset > from);
        let size = |size: u64| bytes.map_or(size, |bytes| size.max(from + bytes));
        Some((bytes, end.map(|(end, read)| End { at: end, size: size(read) })))
    }

    /// Notes down that what went with its source is there again, if that is so.
    pub(super) fn note_back(&self, key: &SessionKey, source: &At) {
        let stream = {
            let known = self.known();
            let stream = known.streams.get(key);
            let is_away = |state: &State| state.is_away || !state.went.is_empty();
            let stream = stream.filter(|stream| is_away(&stream.state));
            stream.filter(|_| !known.carried.contains_key(key)).cloned()
        };
        let Some(mut stream) = stream else { return };
        let looks = source.looks();
        if looks.is_none() || stream.state.settled == looks {
            return;
        }
        let before = stream.state.clone();
        stream.state.is_back(source);
        if stream.state != before {
            self.note(|outbox| outbox.set_state(stream.id, &stream.state));
            self.known().streams.insert(key.clone(), stream);
        }
    }

    /// Notes down that its source went before all of it was brought, if that is so.
    pub(super) fn note_gone(&self, key: &SessionKey, source: &At, unsent: &HashMap<StreamId, u64>) {
        let lacks = {
            let known = self.known();
            let state = known.streams.get(key).map(|stream| &stream.state);
            let is_known = state.is_some_and(|state| state.is_away || state.theirs.is_some());
            let may_lack = known.dirty.contains_key(key) || known.behind.contains_key(key);
            if !may_lack || known.carried.contains_key(key) || is_known || source.looks().is_some()
            {
                return;
            }
            let is_begun = state.is_some_and(|state| state.next_seq > 0);
            let stream = known.streams.get(key);
            let is_on_its_way = stream.is_some_and(|stream| unsent.contains_key(&stream.id));
            match known.dirty.get(key) {
                // Of a database these are the bytes of all that is in it.
                Some(dirty) if source.is_in_database() => dirty.may_lack(stream).then_some(0),
                Some(dirty) => {
                    // Another file in its place may be shorter than what was brought.
                    let is_short = state.is_some_and(State::is_short) && dirty.may_lack(stream);
                    (dirty.bytes > 0 || !is_begun || is_short).then_some(dirty.bytes)
                }
                // It was behind when this host was stopped.
                None => (!is_on_its_way && !state.is_some_and(State::is_all_noted)).then_some(0),
            }
        };
        let Some(bytes) = lacks else { return };
        let known = self.known().streams.get(key).cloned();
        let stream = known.or_else(|| {
            let (stream, .., ask) = self.stream_of(key)?;
            self.is_still_to_be_looked_at(&stream, ask);
            Some(stream)
        });
        let Some(mut stream) = stream else { return };
        let Some((bytes, end)) = self.went(key, &stream, bytes) else { return };
        stream.state.source_went(bytes, end);
        stream.state.settled = None;
        self.note(|outbox| outbox.set_state(stream.id, &stream.state));
        self.known().streams.insert(key.clone(), stream);
    }
}
