//! Which streams an earlier release brought, and when they are compared with their transcripts: once.
//!
//! Not here: how ([`super::super::check`]).

use std::collections::HashSet;

use rrd_proto::SessionKey;
use tokio::task::JoinSet;

use super::{Aim, Carrier, Done, Instant};

impl Aim {
    /// Finds them.
    pub(super) fn find_unchecked(&self) {
        let mut known = self.known();
        let is_unchecked = known.streams.values().filter(|it| !it.state.rules.are_current());
        let keys: HashSet<SessionKey> = is_unchecked.map(|stream| stream.key.clone()).collect();
        known.to_check = keys;
    }

    /// Starts some, which ask the place for nothing.
    pub(super) fn start_checking(
        &self,
        carrier: &Carrier,
        carried: &mut JoinSet<Done>,
        in_hand: &mut HashSet<SessionKey>,
        most: usize,
    ) {
        while carried.len() < most {
            let next = self.known().to_check.iter().find(|key| !in_hand.contains(*key)).cloned();
            let Some(key) = next else { return };
            self.known().to_check.remove(&key);
            let Some((mut stream, source, _, ask)) = self.stream_of(&key) else { continue };
            self.is_still_to_be_looked_at(&stream, ask);
            if stream.state.rules.are_current() {
                continue;
            }
            in_hand.insert(key.clone());
            self.known().carried.insert(key.clone(), None);
            let (carrier, beside) = (carrier.clone(), self.beside(&key));
            let begun = Instant::now();
            carried.spawn(async move {
                let result = carrier.check(&mut stream, &source, beside).await;
                Done { key, stream, begun, asked: None, dirty: None, noted: None, result }
            });
        }
    }
}
