//! Looks at what a bucket has of a stream, and decides whether this host goes on with it.
//!
//! Not here: what of it a transcript has ([`super::recognise`]), and what is brought then ([`super::stream`]).

use std::collections::HashSet;

use rrd_core::mirror::{
    Claim, Merged, Owner, PartName, StreamName, Why, merge,
    read::{Dropped, Reading},
};

use super::{
    fetch::{self, Directory},
    gather::At,
    outbox::{Epoch, Merge, Part, State, Stream, StreamId},
    recognise::{Found, Recognised, as_told},
    stream::{Carrier, Failure},
};
use crate::hub::now;

/// What came of a look at a stream.
pub(super) struct Looked {
    /// What the source has of it.
    pub(super) own: Recognised,
    /// From which part on whoever is the next owner may write.
    pub(super) next_seq: u32,
    /// The source as it looked before it was compared.
    pub(super) looks: Option<(u64, i64)>,
    /// As in [`State`].
    pub(super) aside: Vec<String>,
    /// As in [`State`].
    pub(super) lost: u64,
    /// Its owner brings the same transcript, and is at work ([`super::left`]).
    pub(super) is_brought: bool,
}

impl Carrier {
    /// Looks at what the bucket has of a stream; begins it, or takes it over, where that is right.
    pub(super) async fn look(&self, stream: &mut Stream, source: &At) -> Result<(), Failure> {
        if stream.state.left {
            return self.look_on(stream, source).await;
        }
        let directory = self.directory(stream).await?;
        let parts: HashSet<PartName> = directory.parts.iter().copied().collect();
        let last_epoch = directory.owners.iter().map(|owner| owner.epoch).max().unwrap_or(0);
        let state = stream.state.clone();
        let (known, epochs, merges) = {
            let outbox = self.outbox();
            (outbox.parts(stream.id)?, outbox.epochs(stream.id)?, outbox.merges(stream.id)?)
        };
        if state.epoch == 0 && last_epoch == 0 && parts.is_empty() {
            return self.begin(stream, 0, Why::Begun);
        }
        // What was only planned when this was written may have been done since then.
        let is_sure =
            |merge: &&Merge| merge.at.is_some() || merge.of.iter().all(|of| parts.contains(of));
        let merged = merges.iter().filter(is_sure);
        let merged = merged.flat_map(|merge| merge.of.iter().chain([&merge.name]).copied());
        let aside = state.aside.iter().filter_map(|name| PartName::parse(name));
        let ours: HashSet<PartName> =
            known.iter().map(|(part, _)| part.name).chain(merged).chain(aside).collect();
        let sent_epoch = epochs.iter().filter(|e| e.is_sent).map(|e| e.epoch).max().unwrap_or(0);
        // A claim that was only planned may be there already, with another content.
        let is_said = |epoch: &Epoch| {
            let said = directory.owners.iter().find(|owner| owner.epoch == epoch.epoch);
            said.is_none_or(|owner| owner.claim == epoch.claim)
        };
        let is_as_known = state.epoch > 0
            && epochs.iter().all(is_said)
            && (sent_epoch..=state.epoch).contains(&last_epoch)
            && parts.is_subset(&ours)
            && known.iter().all(|(part, is_sent)| !is_sent || parts.contains(&part.name));
        // What is another host's may have become this one's, if it has more of it now.
        if is_as_known && (state.theirs.is_none() || source.looks() == state.settled) {
            return Ok(());
        }
        self.adopt(stream, source, directory).await
    }

    /// An epoch of this host's.
    fn begin(&self, stream: &mut Stream, epoch: u32, why: Why) -> Result<(), Failure> {
        let (before, state) = (stream.state.clone(), &mut stream.state);
        let epoch = epoch + 1;
        (state.epoch, state.theirs) = (epoch, None);
        let claim = Claim {
            node: self.node.to_string(),
            host: self.host.to_string(),
            first_seq: state.next_seq,
            why,
            at: now(),
            order: None,
        };
        let begun = Epoch { epoch, claim, is_sent: false };
        if self.outbox().commit(stream.id, &before, Some(&begun), &mut [], state)? {
            return Ok(());
        }
        Err(Failure::Odd("another one began it at the same moment".to_owned()))
    }

    /// Finds out what is in the bucket, and whether this host is to go on with it.
    pub(super) async fn adopt(
        &self,
        stream: &mut Stream,
        source: &At,
        mut directory: Directory,
    ) -> Result<(), Failure> {
        let known = self.outbox().epochs(stream.id)?;
        self.twins.look(&stream.name.directory(), &self.node, &directory.owners, &known);
        let (mut found, mut reading, mut dropped) = self.read(&stream.name, &directory).await?;
        let replaced = |directory: &Directory| merge::replaced(&directory.parts, &directory.merges);
        if reading.has_gap(&replaced(&directory)) {
            directory = self.directory(stream).await?;
            (found, reading, dropped) = self.read(&stream.name, &directory).await?;
        }
        let next_seq = reading.next_seq(&replaced(&directory));
        found.shown = reading.transcript().0;
        let owners = &directory.owners;
        let last = owners.iter().max_by_key(|owner| owner.epoch);
        // Before it is read: what comes meanwhile is seen by the next look.
        let looks = source.looks();
        let at = source.clone();
        let own = self.on_disk(move |carrier| carrier.recognise(&at, found)).await?;
        let aside = self.aside(stream, &dropped)?;
        let lost = match self.is_ours(last) && stream.state.theirs.is_none() {
            true => self.lost(stream.id, source, &own.parts).await?,
            // What became of it meanwhile the other host knows.
            false => 0,
        };
        let lost = stream.state.lost + lost;
        let is_brought = self.is_brought(stream, source, &directory)?;
        self.judge(stream, directory, Looked { own, next_seq, looks, aside, lost, is_brought })
            .await
    }

    fn is_ours(&self, last: Option<&Owner>) -> bool {
        last.is_none_or(|owner| *owner.claim.node == *self.node)
    }

    /// Decides whether this host goes on with a stream, and notes down what is there.
    pub(super) async fn judge(
        &self,
        stream: &mut Stream,
        directory: Directory,
        looked: Looked,
    ) -> Result<(), Failure> {
        let Looked { own, next_seq, looks, aside, lost, is_brought } = looked;
        let owners = &directory.owners;
        let last = owners.iter().max_by_key(|owner| owner.epoch);
        let last_epoch = last.map_or(0, |owner| owner.epoch);
        let is_ours = self.is_ours(last);
        let left = !is_ours && own.may_go_on && self.leaves(&stream.state, &own, is_brought);
        let is_theirs = !is_ours && (left || !own.may_go_on);
        let theirs = last.filter(|_| is_theirs).map(|owner| owner.claim.host.clone());
        let there = own.parts;
        // One that is not whole stands for nothing.
        let stands = |name: &PartName| there.iter().any(|part| part.name == *name);
        let epochs: Vec<Epoch> = owners
            .iter()
            .map(|Owner { epoch, claim }| Epoch {
                epoch: *epoch,
                claim: claim.clone(),
                is_sent: true,
            })
            .collect();
        // What is to be brought by that host is looked for once more.
        let settled = looks.filter(|_| theirs.is_some() && !(left && own.has_more));
        let diverged = theirs.is_some() && own.has_more && !left;
        let diverged = diverged.then(|| stream.state.diverged.unwrap_or_else(now));
        let state = State { epoch: last_epoch, next_seq, ..stream.state.kept() };
        let state = State { theirs, left, diverged, settled, aside, lost, ..state };
        let merges: Vec<Merge> = directory
            .merges
            .iter()
            .map(|Merged { part, merge }| Merge {
                name: *part,
                of: merge.parts().collect(),
                at: stands(part).then_some(merge.at),
            })
            .collect();
        let (id, adopted) = (stream.id, state.clone());
        self.on_disk(move |carrier| {
            Ok(carrier.outbox().adopt(id, &epochs, &there, &merges, &adopted)?)
        })
        .await?;
        stream.state = state;
        if stream.state.theirs.is_none() {
            self.begin(stream, last_epoch, Why::TakenOver)?;
        }
        Ok(())
    }

    /// What is there of it, and what of that counts.
    pub(super) async fn read(
        &self,
        stream: &StreamName,
        directory: &Directory,
    ) -> Result<(Found, Reading, Vec<(PartName, Dropped)>), Failure> {
        let mut found = Found::of(stream, self.edges.redactor());
        let redacted = fetch::redacted(directory.meta.as_ref());
        let take = &mut |name: PartName, epoch: u32, body: &[u8]| {
            let is_redacted = epoch > 0 && redacted.contains(&(name.seq, name.tag()));
            found.take(name, epoch, body, is_redacted);
            Ok(())
        };
        let (reading, dropped) = fetch::parts(&self.target, stream, directory, take).await?;
        if let Some(meta) = &directory.meta {
            found.parts.iter_mut().for_each(|part| as_told(part, meta));
        }
        Ok((found, reading, dropped))
    }

    /// Which of the parts that do not count lose nothing: what came too late is its writer's to bring again, and what
    /// was in one that this host knew is there or brought again, unless it is told as lost.
    fn aside(
        &self,
        stream: &Stream,
        dropped: &[(PartName, Dropped)],
    ) -> Result<Vec<String>, Failure> {
        let known = self.outbox().parts(stream.id)?;
        let is_known = |name: &PartName| {
            stream.state.aside.contains(&name.to_string())
                || known.iter().any(|(part, _)| part.name == *name)
        };
        let aside = dropped.iter().filter(|(name, why)| *why == Dropped::Deposed || is_known(name));
        Ok(aside.map(|(name, _)| name.to_string()).collect())
    }

    /// How many records the bucket is known to have had that are neither there nor in the source.
    async fn lost(&self, id: StreamId, source: &At, there: &[Part]) -> Result<u64, Failure> {
        let names: HashSet<PartName> = there.iter().map(|part| part.name).collect();
        let known = self.outbox().parts(id)?.into_iter().filter(|(_, is_sent)| *is_sent);
        let (left, mut gone): (Vec<Part>, Vec<Part>) =
            known.map(|(part, _)| part).partition(|part| names.contains(&part.name));
        let count = |parts: &[Part]| parts.iter().map(|part| part.hashes.len()).sum::<usize>();
        // Whoever knows the parts as they were before these were made fewer misses none of their records.
        let fewer = (count(&left) + count(&gone)).saturating_sub(count(there));
        if gone.is_empty() || fewer == 0 {
            return Ok(0);
        }
        let left: HashSet<u64> = left.iter().flat_map(|part| &part.hashes).copied().collect();
        gone.iter_mut().for_each(|part| part.hashes.retain(|record| !left.contains(record)));
        let source = source.clone();
        let own = move |carrier: &Self| carrier.recognise(&source, Found::kept(gone));
        Ok(self.on_disk(own).await?.missing.min(fewer) as u64)
    }
}
