//! Few parts of many: of which streams, and when.
//!
//! Not here: how that is done ([`super::super::compact`]).

use std::collections::HashSet;

use rrd_proto::SessionKey;
use tokio::task::JoinSet;

use super::{Aim, Carrier, Done, Instant};
use crate::{hub::now, mirror::inspect::is_of};

/// More parts than this make reading slow, once nothing is written any more.
const MANY_PARTS: u64 = 64;

impl Aim {
    /// Starts one, if none is under way: each has a large part in memory.
    pub(super) fn start_compacting(
        &self,
        carrier: &Carrier,
        carried: &mut JoinSet<Done>,
        in_hand: &mut HashSet<SessionKey>,
        most: usize,
    ) {
        while carried.len() < most && self.known().compacting.is_none() {
            let next = self.known().to_compact.iter().find(|key| !in_hand.contains(*key)).cloned();
            let Some(key) = next else { return };
            self.known().to_compact.remove(&key);
            // What is told of it there is told anew.
            if self.stays_out(&key).is_some() {
                continue;
            }
            let Some((mut stream, source, about, ask)) = self.stream_of(&key) else { continue };
            self.is_still_to_be_looked_at(&stream, ask);
            self.known().compacting = Some(key.clone());
            in_hand.insert(key.clone());
            let (carrier, begun) = (carrier.clone(), Instant::now());
            carried.spawn(async move {
                let result = carrier.compact(&mut stream, &source, &about, now()).await;
                Done { key, stream, begun, asked: None, dirty: None, noted: None, result }
            });
        }
    }

    /// Streams to which nothing was written for a while, and that are made of many parts.
    pub(super) fn find_many_parts(&self) {
        let many = self.outbox().to_compact(self.id, MANY_PARTS).unwrap_or_default();
        let mut quiet: Vec<SessionKey> = {
            let known = self.known();
            let streams = known.streams.values().filter(|stream| {
                many.contains(&stream.id) && !known.dirty.contains_key(&stream.key)
            });
            let ours = streams.filter(|stream| stream.state.theirs.is_none());
            ours.map(|stream| stream.key.clone()).collect()
        };
        quiet.retain(|key| self.stays_out(key).is_none());
        self.known().to_compact.extend(quiet);
    }

    /// What is this host's of this session, or of all, and why it stays as it is, where it does.
    fn ours(&self, id: Option<&str>) -> impl Iterator<Item = (SessionKey, Option<&'static str>)> {
        let streams = self.streams().into_iter();
        let ours = streams.filter(move |stream| {
            stream.state.theirs.is_none() && id.is_none_or(|id| is_of(stream, id))
        });
        ours.map(|stream| {
            let why = self.stays_out(&stream.key);
            (stream.key, why)
        })
    }

    pub(in crate::mirror) fn can_compact(&self, id: Option<&str>) -> bool {
        self.ours(id).any(|(_, stays_out)| stays_out.is_none())
    }

    /// Why none of this session that is this host's is touched there; nothing where there is none.
    pub(in crate::mirror) fn compacts_not(&self, id: &str) -> Option<&'static str> {
        self.ours(Some(id)).find_map(|(_, stays_out)| stays_out)
    }

    /// Has what is to be made again of what it was made of made so.
    pub(in crate::mirror) fn make_again(&self, key: &SessionKey) {
        self.known().to_compact.insert(key.clone());
        self.wake.notify_one();
    }

    /// Makes few parts of many now, of this session or of all.
    pub(in crate::mirror) async fn compact(&self, id: Option<&str>) {
        let ours = self.ours(id).filter(|(_, stays_out)| stays_out.is_none());
        let keys: Vec<SessionKey> = ours.map(|(key, _)| key).collect();
        self.known().to_compact.extend(keys);
        self.catch_up().await;
    }
}
