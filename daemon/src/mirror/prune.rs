//! Deletes what a bucket keeps no longer, and brings it back if it goes on.
//!
//! Only its owner deletes a stream. It claims one more epoch first, in which the transcript is empty: as two
//! hosts cannot claim the same one, nobody else has taken the stream over meanwhile, and whoever reads it
//! from then on finds nothing, never a part of it. Then `meta.json` goes, so that nobody lists it, then the
//! parts, then the claims, the last one at last: until then it is known what happens here. Not here: which
//! streams ([`super::aim`]).

use rrd_core::mirror::{Claim, Merge, Owner, Why};
use rrd_proto::Timestamp;

use super::{
    fetch::{self, Directory},
    outbox::{Epoch, State, Stream},
    stream::{Carrier, Failure},
    target::Created,
};
use crate::hub::now;

impl Carrier {
    /// Deletes all of a stream that this host owns, whose session's last record is that old; false where
    /// another host does, or this one has lost what it knew of the stream: then nothing was deleted.
    pub(crate) async fn prune(
        &self,
        stream: &mut Stream,
        last: Timestamp,
    ) -> Result<bool, Failure> {
        self.ability.get_or_try_init(|| self.target.probe()).await?;
        let mut directory = self.directory(stream).await?;
        if directory.owners.is_empty() && directory.parts.is_empty() {
            // Whoever deleted it, it is gone.
            self.forget_parts(stream, last).await?;
            return Ok(true);
        }
        let is_begun = |owner: &Owner| owner.claim.why == Why::Pruned;
        let owner = directory.owners.iter().max_by_key(|owner| owner.epoch).cloned();
        let ours = owner.filter(|owner| *owner.claim.node == *self.node);
        let Some(owner) = ours.filter(|o| o.epoch == stream.state.epoch || is_begun(o)) else {
            return Ok(false);
        };
        if !is_begun(&owner) {
            let next = directory.parts.iter().map(|part| part.seq + 1).max().unwrap_or(0);
            let claim = Claim {
                node: self.node.to_string(),
                host: self.host.to_string(),
                first_seq: next.max(stream.state.next_seq),
                why: Why::Pruned,
                at: now(),
                order: Some(Vec::new()),
            };
            let epoch = owner.epoch + 1;
            let name = Self::name(stream, &Owner::name(epoch));
            let body = serde_json::to_vec_pretty(&claim).unwrap_or_default();
            self.twins.makes(epoch, &claim);
            if self.target.create(&name, &body.into()).await? == Created::Other {
                return Ok(false);
            }
            directory.owners.push(Owner { epoch, claim });
        }
        // Found in the bucket, should this be lost.
        let last_owner = directory.owners.iter().max_by_key(|owner| owner.epoch).cloned();
        if let Some(Owner { epoch, claim }) = last_owner {
            let state = State { epoch, pruned: Some(last), settled: None, ..stream.state.clone() };
            let epoch = Epoch { epoch, claim, is_sent: true };
            let before = &stream.state;
            if !self.outbox().commit(stream.id, before, Some(&epoch), &mut [], &state)? {
                // Somebody went on with it just now: that the claim is there is found out by the next look.
                return Ok(false);
            }
            stream.state = state;
        }
        self.delete(stream, directory).await?;
        self.forget_parts(stream, last).await?;
        Ok(true)
    }

    async fn delete(&self, stream: &Stream, mut directory: Directory) -> Result<(), Failure> {
        self.target.delete(&fetch::meta_name(&stream.name)).await?;
        directory.parts.sort();
        for part in directory.parts.iter().rev() {
            self.target.delete(&Self::name(stream, &part.to_string())).await?;
        }
        for merged in &directory.merges {
            let name = Self::name(stream, &Merge::name(merged.part));
            self.target.delete(&name).await?;
        }
        directory.owners.sort_by_key(|owner| owner.epoch);
        for owner in &directory.owners {
            self.target.delete(&Self::name(stream, &Owner::name(owner.epoch))).await?;
        }
        Ok(())
    }

    /// The bucket has nothing of it; that it had is known.
    async fn forget_parts(&self, stream: &mut Stream, last: Timestamp) -> Result<(), Failure> {
        let path = stream.state.path.clone();
        let state = State { path, pruned: Some(last), ..State::default() };
        let (id, pruned) = (stream.id, state.clone());
        self.on_disk(move |carrier| Ok(carrier.outbox().adopt(id, &[], &[], &[], &pruned)?))
            .await?;
        stream.state = state;
        Ok(())
    }

    /// Makes a stream that was deleted, or is being, one that nothing was brought of yet.
    pub(crate) async fn revive(&self, stream: &mut Stream) -> Result<(), Failure> {
        let Some(last) = stream.state.pruned else { return Ok(()) };
        if stream.state.epoch > 0 {
            // Where it has become another's, that is found out next.
            self.prune(stream, last).await?;
        }
        let state = State { path: stream.state.path.clone(), ..State::default() };
        self.outbox().set_state(stream.id, &state)?;
        stream.state = state;
        Ok(())
    }
}
