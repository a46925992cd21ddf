//! Whether another daemon writes under this one's name: its state directory was copied to another machine, with what
//! tells whose a claim is.
//!
//! A claim that this host does not know may be its own all the same, from before what it knew was lost. One that was
//! made since this daemon began, and not by it, is another one's. Not here: what becomes of a stream that was claimed
//! ([`super::adopt`]).

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rrd_core::mirror::{Claim, Owner};
use rrd_proto::Timestamp;

use super::outbox::Epoch;

/// It is told for so long after the last such claim, in milliseconds: who has mended it need not start anew.
const TOLD: i64 = 24 * 3_600_000;

/// What is known of them.
#[derive(Debug)]
pub(crate) struct Twins {
    since: Timestamp,
    claims: Mutex<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    /// This daemon's.
    made: HashSet<(u32, Timestamp)>,
    /// The last one of another daemon's, by the stream's directory.
    others: HashMap<String, Timestamp>,
}

impl Twins {
    /// What is claimed before that may be this host's own.
    pub(super) fn since(since: Timestamp) -> Self {
        Self { since, claims: Mutex::default() }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This daemon is about to make a claim.
    pub(super) fn makes(&self, epoch: u32, claim: &Claim) {
        self.claims().made.insert((epoch, claim.at));
    }

    /// Looks at the claims of a stream. `node`: whose name this daemon writes under; `known`: those of which it is
    /// written down already.
    pub(super) fn look(&self, directory: &str, node: &str, owners: &[Owner], known: &[Epoch]) {
        let mut claims = self.claims();
        let is_known = |owner: &Owner| {
            known.iter().any(|it| it.epoch == owner.epoch && it.claim == owner.claim)
                || claims.made.contains(&(owner.epoch, owner.claim.at))
        };
        let is_new = |owner: &&Owner| owner.claim.node == node && owner.claim.at > self.since;
        let others = owners.iter().filter(is_new).filter(|owner| !is_known(owner));
        if let Some(last) = others.map(|owner| owner.claim.at).max() {
            claims.others.insert(directory.to_owned(), last);
        }
    }

    /// The directories of streams that another daemon has claimed lately.
    pub(super) fn claimed(&self, now: Timestamp) -> Vec<String> {
        let mut claims = self.claims();
        claims.others.retain(|_, last| now.as_millis().saturating_sub(last.as_millis()) < TOLD);
        claims.others.keys().cloned().collect()
    }
}

/// What a person is told of one.
pub(super) const TROUBLE: &str = "another daemon writes it, too, under this host's identity: the state directory was \
     copied to another machine, and what one of both has may be in no bucket. On one of them rrd fleet leave (in no \
     fleet, after rrd fleet init) and rrd service restart give it an identity of its own";

#[cfg(test)]
mod tests {
    use rrd_core::mirror::Why;

    use super::*;

    fn owner(epoch: u32, node: &str, at: i64) -> Owner {
        let (node, host) = (node.to_owned(), "mac".to_owned());
        let at = Timestamp::from_millis(at);
        Owner { epoch, claim: Claim { node, host, first_seq: 0, why: Why::Begun, at, order: None } }
    }

    #[test]
    fn only_a_claim_of_another_daemon_that_runs_now_is_told() {
        let twins = Twins::since(Timestamp::from_millis(1_000));
        let told = |twins: &Twins| twins.claimed(Timestamp::from_millis(5_000));
        let look = |owner: &Owner, known: &[Epoch]| {
            twins.look("s", "a", std::slice::from_ref(owner), known);
            !told(&twins).is_empty()
        };
        // Its own, from before it lost what it knew.
        assert!(!look(&owner(1, "a", 900), &[]));
        assert!(!look(&owner(2, "b", 2_000), &[]), "another host's");
        let own = owner(3, "a", 2_000);
        twins.makes(own.epoch, &own.claim);
        assert!(!look(&own, &[]), "whatever became of what it wrote down");
        let known = owner(4, "a", 3_000);
        let (epoch, claim) = (known.epoch, known.claim.clone());
        assert!(!look(&known, &[Epoch { epoch, claim, is_sent: true }]), "the clock went back");
        assert!(look(&owner(4, "a", 2_000), &[]));
        assert_eq!(told(&twins), ["s"]);
        assert_eq!(twins.claimed(Timestamp::from_millis(2_000 + TOLD)), [""; 0]);
    }
}
