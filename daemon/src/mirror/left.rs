//! A stream that this host could go on with, and leaves to another one, which brings the same transcript.
//!
//! A home may have several daemons: of a container and its host, of hosts that share a disk. Each finds every record
//! there. If each took the stream over to bring it, they would do so by turns, and read all of it each time. So a
//! host that finds another one at work looks later than that brings what is new ([`rrd_core::mirror::due::left`]),
//! reads only what came since, and takes over once it has something of which, since the look before, nothing came.
//! A copy is no such transcript, and gone on with at once: it lies elsewhere, or had to be brought up to date first.
//!
//! Not here: streams that are not left to anybody ([`super::adopt`]).

use std::collections::{BTreeSet, HashSet};

use rrd_core::mirror::{Owner, PartName, due, merge, read::Reading};
use rrd_proto::Timestamp;

use super::{
    adopt::Looked,
    fetch::{self, Directory},
    gather::At,
    outbox::{Epoch, Merge, Part, State, Stream},
    recognise::{Found, Recognised, as_told},
    stream::{Carrier, Failure},
};
use crate::hub::now;

impl Carrier {
    /// Whether to leave a stream of which this host has all to its owner. `is_brought`: as in [`Looked`].
    pub(super) fn leaves(&self, state: &State, own: &Recognised, is_brought: bool) -> bool {
        match state.left && !own.has_more {
            // There is nothing to take it over for.
            true => true,
            false => self.yields && is_brought && (state.left || state.theirs.is_none()),
        }
    }

    /// Looks at a stream that is left to another host, and reads what is new in it; all of it, where it is not
    /// what it was and something more.
    pub(super) async fn look_on(&self, stream: &mut Stream, source: &At) -> Result<(), Failure> {
        let (known, epochs, merges) = {
            let outbox = self.outbox();
            (outbox.parts(stream.id)?, outbox.epochs(stream.id)?, outbox.merges(stream.id)?)
        };
        let owner = |Epoch { epoch, claim, .. }| Owner { epoch, claim };
        let owners: Vec<Owner> = epochs.into_iter().map(owner).collect();
        let known: Vec<Part> = known.into_iter().map(|(part, _)| part).collect();
        let directory = fetch::directory_knowing(&self.target, &stream.name, &owners).await?;
        let Some(news) = news(&stream.state, &known, &owners, &merges, &directory) else {
            return self.adopt(stream, source, directory).await;
        };
        if news.is_empty() && source.looks() == stream.state.settled {
            return Ok(());
        }
        let of =
            |part: &Part| (part.name.seq, part.about.epoch.unwrap_or(0), part.hashes.len() as u64);
        let reading = Reading::knowing(owners, known.iter().map(of));
        let is_brought = !news.is_empty() && self.is_the_same(stream, source, &directory);
        let mut found = Found::kept(known);
        let redacted = fetch::redacted(directory.meta.as_ref());
        let take = &mut |name: PartName, epoch: u32, body: &[u8]| {
            let is_redacted = redacted.contains(&(name.seq, name.tag()));
            found.take(name, epoch, body, is_redacted);
            Ok(())
        };
        let asked = fetch::parts_on(&self.target, &stream.name, &directory, news, reading, take);
        let (reading, dropped) = asked.await?;
        if let Some(meta) = &directory.meta {
            found.parts.iter_mut().for_each(|part| as_told(part, meta));
        }
        found.shown = reading.transcript().0;
        // Before it is read: what comes meanwhile is seen by the next look.
        let (looks, at) = (source.looks(), source.clone());
        let own = self.on_disk(move |carrier| carrier.recognise(&at, found)).await?;
        if !dropped.is_empty() || !own.may_go_on {
            return self.adopt(stream, source, directory).await;
        }
        let next_seq = reading.next_seq(&merge::replaced(&directory.parts, &directory.merges));
        let (aside, lost) = (stream.state.aside.clone(), stream.state.lost);
        self.judge(stream, directory, Looked { own, next_seq, looks, aside, lost, is_brought })
            .await
    }

    /// Whether the owner of a stream brings the same transcript, and something came since the look before; or
    /// lately, where there was none.
    pub(super) fn is_brought(
        &self,
        stream: &Stream,
        source: &At,
        directory: &Directory,
    ) -> Result<bool, Failure> {
        let last = directory.owners.iter().max_by_key(|owner| owner.epoch);
        let Some(last) = last.filter(|_| self.is_the_same(stream, source, directory)) else {
            return Ok(false);
        };
        if stream.state.epoch == 0 {
            let told = directory.meta.as_ref().and_then(|meta| meta.last_uploaded_at);
            return Ok([Some(last.claim.at), told].into_iter().flatten().any(is_lately));
        }
        let (known, epochs) = {
            let outbox = self.outbox();
            (outbox.parts(stream.id)?, outbox.epochs(stream.id)?)
        };
        let is_it = |epoch: &Epoch| (epoch.epoch, &epoch.claim) == (last.epoch, &last.claim);
        if !epochs.iter().any(is_it) {
            return Ok(true);
        }
        let known: HashSet<PartName> = known.iter().map(|(part, _)| part.name).collect();
        let parts = of_itself(&stream.state, directory);
        Ok(parts.into_iter().any(|part| !known.contains(&part)))
    }

    /// Whether it may be the same file that was brought last: a home may be another one's `/root`.
    fn is_the_same(&self, stream: &Stream, source: &At, directory: &Directory) -> bool {
        // Of a delegate's the folder of its session is among that.
        let names = if stream.name.agent.is_some() { 4 } else { 2 };
        let end = |path: &str| -> Vec<String> {
            path.rsplit(['/', '\\']).take(names).map(str::to_owned).collect()
        };
        let told = directory.meta.as_ref().and_then(|meta| meta.source_path.as_deref());
        // Whoever has said nothing yet is about to.
        told.is_none_or(|told| end(told) == end(&self.source_told(source)))
    }
}

fn is_lately(at: Timestamp) -> bool {
    u128::from(now().since(at).unsigned_abs()) < due::LEFT.as_millis()
}

/// The parts that may count: no other stands for them, and they are not known not to.
fn of_itself(state: &State, directory: &Directory) -> BTreeSet<PartName> {
    let replaced = merge::replaced(&directory.parts, &directory.merges);
    let aside = state.aside.iter().filter_map(|name| PartName::parse(name));
    let aside: HashSet<PartName> = aside.chain(replaced).collect();
    directory.parts.iter().copied().filter(|part| !aside.contains(part)).collect()
}

/// What came beyond what is known; nothing where that is not all that became of it.
fn news(
    state: &State,
    known: &[Part],
    owners: &[Owner],
    merges: &[Merge],
    directory: &Directory,
) -> Option<Vec<PartName>> {
    let epochs = |owners: &[Owner]| owners.iter().map(|o| o.epoch).collect::<BTreeSet<u32>>();
    let merged: BTreeSet<PartName> = merges.iter().map(|merge| merge.name).collect();
    let is_as_known = epochs(owners) == epochs(&directory.owners)
        && merged == directory.merges.iter().map(|merged| merged.part).collect();
    let mut parts = of_itself(state, directory);
    let is_all_there = known.iter().all(|part| parts.remove(&part.name));
    let follows = (state.next_seq..).zip(&parts).all(|(seq, part)| part.seq == seq);
    (is_as_known && is_all_there && follows).then(|| parts.into_iter().collect())
}
