//! Makes few large parts of many small ones, once nothing is written to a stream for a while.
//!
//! What the large one is made of is said before it is written, so whoever finds both leaves the small ones out;
//! these are deleted an hour later, and then what was said: whoever is reading them now can end. rrd's own
//! readers see each record once throughout (`rrd_core::mirror::merge`); who only lists objects sees both for
//! that hour. A merge that broke off is ended before any other is begun, so no record is ever in two.

use std::{
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
};

use bytes::Bytes;
use rrd_core::mirror::{self, Digest, PartName, meta};
use rrd_proto::Timestamp;

use super::{
    body::{Body, Draft},
    gather::At,
    outbox::{Epoch, Merge, Part, Stream},
    stream::{About, Carrier, Failure, SMALL, TRIES},
    target::{Created, Kind, Replaced},
};

/// A part made of several is no larger than this: whoever sends or reads it has it in memory. What it is made of
/// comes one after the other, each with the bytes that were told of it and no more.
const LARGE: u64 = 32 << 20;

/// What was replaced is deleted so long after that was said, in milliseconds.
const KEPT: i64 = 3_600_000;

impl Carrier {
    /// Makes as few parts as there can be of those that the bucket has.
    pub(crate) async fn compact(
        &self,
        stream: &mut Stream,
        source: &At,
        about: &About,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if !self.make_again(stream, source, about, now).await?
            || !self.delete_replaced(stream, source, about, now).await?
        {
            return Ok(());
        }
        let (parts, epochs, merges) = {
            let outbox = self.outbox();
            (outbox.parts(stream.id)?, outbox.epochs(stream.id)?, outbox.merges(stream.id)?)
        };
        // What stands for others is not put into another one while they are there.
        if merges.iter().any(|merge| merge.at.is_some()) {
            return Ok(());
        }
        let sent: Vec<Part> =
            parts.into_iter().filter(|(_, is_sent)| *is_sent).map(|(part, _)| part).collect();
        let nodes: HashMap<u32, String> =
            epochs.into_iter().map(|Epoch { epoch, claim, .. }| (epoch, claim.node)).collect();
        let begun: Vec<Vec<Part>> =
            merges.iter().filter_map(|merge| all_of(merge, &sent)).collect();
        let mut is_any = false;
        for group in if begun.is_empty() { groups(sent) } else { begun } {
            // What nobody owned has no name that tells what is in it.
            let epoch = group[0].about.epoch.unwrap_or(0);
            let Some(node) = nodes.get(&epoch) else { continue };
            self.merge(stream, epoch, node, &group, now).await?;
            is_any = true;
        }
        if is_any {
            self.tell(stream, source, about).await?;
        }
        Ok(())
    }

    async fn merge(
        &self,
        stream: &mut Stream,
        epoch: u32,
        node: &str,
        group: &[Part],
        now: Timestamp,
    ) -> Result<(), Failure> {
        if size(group) > LARGE {
            let (name, size) = (Self::name(stream, &group[0].name.to_string()), size(group));
            return Err(Failure::Odd(format!(
                "a merge from {name} on was begun that would have {size} bytes, more than a part may"
            )));
        }
        let mut draft = self.outbox().bodies().draft()?;
        for part in group {
            let object = Self::name(stream, &part.name.to_string());
            let (bytes, _) = self
                .target
                .get(&object, part.about.uploaded_bytes)
                .await?
                .ok_or_else(|| Failure::Odd(format!("{object} is not there any more")))?;
            let whole = part.about.sha256.as_deref() == Some(&*Digest::of(&bytes).to_string());
            if !whole {
                return Err(Failure::Odd(format!("{object} is not what was uploaded")));
            }
            draft = self.write_on(draft, bytes).await?;
        }
        let body = self.finish(draft).await?;
        let (seq, content) = (group[0].name.seq, body.content());
        let name = PartName::of(epoch, node, seq, &content);
        let object = Self::name(stream, &name.to_string());
        let mut redactions = BTreeMap::new();
        for (rule, count) in group.iter().flat_map(|part| &part.about.redactions) {
            *redactions.entry(rule.clone()).or_default() += count;
        }
        let ends = |at: Option<&Part>| at.and_then(|part| part.about.cursor_range);
        let about = meta::Part {
            seq,
            uuid: name.tag(),
            cursor_range: ends(group.first())
                .zip(ends(group.last()))
                .map(|([from, _], [_, to])| [from, to]),
            source_bytes: group.iter().map(|part| part.about.source_bytes).sum(),
            uploaded_bytes: body.size(),
            redactions,
            uploaded_at: group.iter().filter_map(|part| part.about.uploaded_at).max(),
            epoch: Some(epoch),
            records: Some(group.iter().map(|part| part.hashes.len() as u64).sum()),
            sha256: Some(content.to_string()),
            redactor: meta::Part::redactor_of(group.iter().map(|part| &part.about)),
            ..meta::Part::default()
        };
        let hashes = group.iter().flat_map(|part| part.hashes.iter().copied()).collect();
        let merged = Part { name, about, hashes };
        let of: Vec<PartName> = group.iter().map(|part| part.name).collect();
        // Known before it is there: what is found in the bucket is then no stranger's.
        let (id, planned, parts) = (stream.id, merged.clone(), of.clone());
        self.on_disk(move |carrier| Ok(carrier.outbox().plan_merge(id, &planned, &parts)?)).await?;
        self.say(&Self::merge_name(stream, name), &of, now).await?;
        self.put_made(&object, &body).await?;
        stream.state.meta_is_due = true;
        self.on_disk(move |carrier| Ok(carrier.outbox().merged(id, &merged, &of, now)?)).await
    }

    /// Says what a part is made of. Another host may have said so before, who made the same one of others: then
    /// it is made of all of them.
    async fn say(&self, object: &str, of: &[PartName], now: Timestamp) -> Result<(), Failure> {
        let mut said = mirror::Merge { of: of.iter().map(ToString::to_string).collect(), at: now };
        let body = serde_json::to_vec_pretty(&said).unwrap_or_default();
        if self.target.create(object, &body.into()).await? != Created::Other {
            return Ok(());
        }
        for _ in 0..TRIES {
            let Some((body, version)) = self.target.get(object, SMALL).await? else { break };
            // One that cannot be read says nothing.
            let there: mirror::Merge = serde_json::from_slice(&body)
                .unwrap_or_else(|_| mirror::Merge { of: Vec::new(), at: now });
            let more: Vec<String> =
                there.of.iter().filter(|of| !said.of.contains(of)).cloned().collect();
            said.of.extend(more);
            if said.of.iter().all(|of| there.of.contains(of)) {
                return Ok(());
            }
            let body = serde_json::to_vec_pretty(&said).unwrap_or_default().into();
            if let Replaced::Done(_) = self.target.replace(object, &body, Some(&version)).await? {
                return Ok(());
            }
        }
        Err(Failure::Odd(format!("{object} is written by others all the time")))
    }

    async fn write_on(&self, mut draft: Draft, bytes: Bytes) -> Result<Draft, Failure> {
        let write = move |_: &Self| {
            draft.write(&bytes)?;
            Ok(draft)
        };
        self.on_disk(write).await
    }

    async fn finish(&self, draft: Draft) -> Result<Body, Failure> {
        let finish = move |carrier: &Self| {
            let mut body = draft.finish()?;
            // A folder gives that very file another name.
            let bodies = carrier.outbox().bodies();
            bodies.sync(std::iter::once(&mut body))?;
            Ok(body)
        };
        self.on_disk(finish).await
    }

    /// Puts what was made of several there, also over what has its name and is something else: the name says what is
    /// in it.
    async fn put_made(&self, object: &str, body: &Body) -> Result<(), Failure> {
        if self.create_of(object, body.path()).await? == Created::Other {
            let _room = self.room.acquire().await;
            let path = body.path().to_owned();
            let bytes = self.on_disk(move |_| Ok(std::fs::read(path)?)).await?;
            self.target.replace(object, &bytes.into(), None).await?;
        }
        match self.target.sum(object).await? == Some(body.content()) {
            true => Ok(()),
            false => Err(Failure::Odd(format!("{object} does not come back as it was written"))),
        }
    }

    /// Makes what was found not to be whole again, of what it was made of. False where the stream is not what it
    /// was said to be.
    async fn make_again(
        &self,
        stream: &mut Stream,
        source: &At,
        about: &About,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let mut is_any = false;
        let merges = self.outbox().merges(stream.id)?;
        for merge in merges.into_iter().filter(|merge| merge.at.is_none()) {
            // One that was never made is made below.
            let Some(part) = self.made(stream, &merge)? else { continue };
            if !self.is_made_again(stream, source, &merge, &part).await? {
                return Ok(false);
            }
            self.outbox().set_merged_at(stream.id, merge.name, Some(now))?;
            is_any = true;
        }
        if is_any {
            self.tell(stream, source, about).await?;
        }
        Ok(true)
    }

    /// The part that a merge made, as it is known to be in the bucket.
    fn made(&self, stream: &Stream, merge: &Merge) -> Result<Option<Part>, Failure> {
        let parts = self.outbox().parts(stream.id)?.into_iter();
        let mut made = parts.filter(|(part, is_sent)| *is_sent && part.name == merge.name);
        Ok(made.next().map(|(part, _)| part))
    }

    /// Deletes what was replaced long enough ago, while what stands for it is whole. False where the stream is not
    /// what it was said to be.
    async fn delete_replaced(
        &self,
        stream: &mut Stream,
        source: &At,
        about: &About,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let merges = self.outbox().merges(stream.id)?;
        let is_over = |at: Timestamp| now.as_millis() - at.as_millis() >= KEPT;
        let over: Vec<&Merge> =
            merges.iter().filter(|merge| merge.at.is_some_and(is_over)).collect();
        // First everybody is to know.
        if over.is_empty() || stream.state.meta_is_due {
            return Ok(true);
        }
        for merge in over {
            let Some(part) = self.made(stream, merge)? else {
                return self.look_anew(stream, source, merge.name).await;
            };
            let there = self.target.sum(&Self::name(stream, &merge.name.to_string())).await?;
            if there.map(|there| there.to_string()) != part.about.sha256 {
                if !self.is_made_again(stream, source, merge, &part).await? {
                    return Ok(false);
                }
                // Whoever reads it now may have found the others.
                self.outbox().set_merged_at(stream.id, merge.name, Some(now))?;
                continue;
            }
            for name in &merge.of {
                self.target.delete(&Self::name(stream, &name.to_string())).await?;
            }
            self.target.delete(&Self::merge_name(stream, merge.name)).await?;
            self.outbox().merge_done(stream.id, merge.name)?;
        }
        self.tell(stream, source, about).await?;
        Ok(true)
    }

    /// Makes a part again of what it was made of, byte for byte. False where that is not what it was, either, and
    /// what else there is was found out.
    async fn is_made_again(
        &self,
        stream: &mut Stream,
        source: &At,
        merge: &Merge,
        part: &Part,
    ) -> Result<bool, Failure> {
        let object = Self::name(stream, &merge.name.to_string());
        let Some(body) = self.joined(stream, merge, part).await? else {
            return self.look_anew(stream, source, merge.name).await;
        };
        tracing::warn!(object, "it was not what was uploaded, and is made again");
        self.put_made(&object, &body).await?;
        Ok(true)
    }

    /// What a part is made of, one after the other; nothing where that is not what the part was.
    async fn joined(
        &self,
        stream: &Stream,
        merge: &Merge,
        part: &Part,
    ) -> Result<Option<Body>, Failure> {
        let mut draft = self.outbox().bodies().draft()?;
        let mut left = part.about.uploaded_bytes;
        for name in &merge.of {
            let got = self.target.get(&Self::name(stream, &name.to_string()), left).await;
            let bytes = match got {
                Err(fault) if fault.kind == Kind::TooLarge => return Ok(None),
                got => match got? {
                    Some((bytes, _)) => bytes,
                    None => return Ok(None),
                },
            };
            left = left.saturating_sub(bytes.len() as u64);
            draft = self.write_on(draft, bytes).await?;
        }
        let body = self.finish(draft).await?;
        Ok((Some(body.content().to_string()) == part.about.sha256).then_some(body))
    }

    /// Finds out what there is, where neither a part nor what it was made of is what it was: what the transcript still
    /// has is brought again then, and nothing is deleted.
    async fn look_anew(
        &self,
        stream: &mut Stream,
        source: &At,
        part: PartName,
    ) -> Result<bool, Failure> {
        let directory = self.directory(stream).await?;
        match self.adopt(stream, source, directory).await {
            Err(Failure::Source { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(Failure::Odd(format!(
                    "{} is not what was uploaded, nor is all that it was made of, and its transcript is gone here: \
                     none of these is deleted; rrd mirror verify says what is left",
                    Self::name(stream, &part.to_string())
                )))
            }
            done => done.map(|()| false),
        }
    }

    fn merge_name(stream: &Stream, part: PartName) -> String {
        Self::name(stream, &mirror::Merge::name(part))
    }
}

/// What a merge is made of, where all of it is known.
fn all_of(merge: &Merge, parts: &[Part]) -> Option<Vec<Part>> {
    let part = |name: &PartName| parts.iter().find(|part| part.name == *name).cloned();
    merge.of.iter().map(part).collect::<Option<Vec<_>>>().filter(|of| !of.is_empty())
}

/// Bytes of all of them.
fn size(parts: &[Part]) -> u64 {
    parts.iter().fold(0, |size, part| size.saturating_add(part.about.uploaded_bytes))
}

/// Neighbours of one epoch that together are no larger than a part may be, where there are several.
fn groups(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut groups: Vec<Vec<Part>> = Vec::new();
    for part in parts {
        let fits = |group: &Vec<Part>| {
            group[0].about.epoch == part.about.epoch
                && size(group).saturating_add(part.about.uploaded_bytes) <= LARGE
        };
        match groups.last_mut() {
            Some(group) if fits(group) => group.push(part),
            _ => groups.push(vec![part]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(seq: u32, epoch: u32, bytes: u64) -> Part {
        let name = PartName::of(epoch, "n", seq, &Digest::of(b""));
        let about =
            meta::Part { seq, epoch: Some(epoch), uploaded_bytes: bytes, ..meta::Part::default() };
        Part { name, about, hashes: Vec::new() }
    }

    proptest! {
        /// What is sent at once never has more than [`LARGE`] bytes, whatever a bucket says of its parts.
        #[test]
        fn no_part_becomes_too_large_to_be_in_memory(
            parts in prop::collection::vec(
                (0_u32..3, prop_oneof![1..LARGE / 3, LARGE - 2..LARGE + 2, Just(u64::MAX)]),
                0..40,
            ),
        ) {
            let mut epochs: Vec<(u32, u64)> = parts;
            epochs.sort_by_key(|(epoch, _)| *epoch);
            let all: Vec<Part> =
                (0..).zip(epochs).map(|(seq, (epoch, bytes))| part(seq, epoch, bytes)).collect();
            for group in groups(all) {
                prop_assert!(group.len() > 1 && size(&group) <= LARGE);
                for two in group.windows(2) {
                    prop_assert_eq!(two[0].about.seq + 1, two[1].about.seq);
                    prop_assert_eq!(two[0].about.epoch, two[1].about.epoch);
                }
            }
        }
    }
}
