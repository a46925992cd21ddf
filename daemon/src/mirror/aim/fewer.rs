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
        let mut known = self.known();
        let quiet: Vec<SessionKey> = known
            .streams
            .values()
            .filter(|stream| many.contains(&stream.id) && !known.dirty.contains_key(&stream.key))
            .filter(|stream| stream.state.theirs.is_none())
            .map(|stream| stream.key.clone())
            .collect();
        known.to_compact.extend(quiet);
    }

    /// What is this host's of this session, or of all.
    fn ours(&self, id: Option<&str>) -> impl Iterator<Item = SessionKey> {
        let streams = self.streams().into_iter();
        let ours = streams.filter(move |stream| {
            stream.state.theirs.is_none() && id.is_none_or(|id| is_of(stream, id))
        });
        ours.map(|stream| stream.key)
    }

    pub(in crate::mirror) fn can_compact(&self, id: Option<&str>) -> bool {
        self.ours(id).next().is_some()
    }

    /// Makes few parts of many now, of this session or of all.
    pub(in crate::mirror) async fn compact(&self, id: Option<&str>) {
        let keys: Vec<SessionKey> = self.ours(id).collect();
        self.known().to_compact.extend(keys);
        self.catch_up().await;
    }
}
