//! What lies in a stream's directory: one list, and what the small objects in it say.
//!
//! Not here: what is in the parts ([`super::fetch`]), and what is written again ([`super::heal`]).

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, future::try_join3, stream};
use rrd_core::mirror::{Merge, Merged, Meta, Owner, PartName, StreamName, read::Reading};
use serde::de::DeserializeOwned;

use super::{
    stream::{Failure, SMALL},
    target::{Fault, Kind, Object, Target},
};

/// Objects that are asked for at once.
pub(super) const AT_ONCE: usize = 16;

/// What a stream's directory has.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) owners: Vec<Owner>,
    pub(crate) parts: Vec<PartName>,
    /// So many bytes has each of them.
    pub(super) sizes: HashMap<PartName, u64>,
    /// Parts that others are still there of.
    pub(crate) merges: Vec<Merged>,
    pub(crate) meta: Option<Meta>,
    /// It is there, and cannot be understood.
    pub(crate) is_odd: bool,
    /// Why it cannot be there: something lies in its way.
    pub(crate) in_the_way: Option<Fault>,
}

/// A delegate is no session of its own to whoever lists sessions by `meta.json`.
pub(crate) fn meta_name(stream: &StreamName) -> String {
    let name = if stream.agent.is_some() { "stream.json" } else { "meta.json" };
    stream.directory() + name
}

/// What a stream's directory has, without its parts' content.
pub(crate) async fn directory(target: &Target, stream: &StreamName) -> Result<Directory, Failure> {
    directory_knowing(target, stream, &[]).await
}

/// The same, for whoever has read some of its claims, which nobody changes.
pub(crate) async fn directory_knowing(
    target: &Target,
    stream: &StreamName,
    known: &[Owner],
) -> Result<Directory, Failure> {
    let directory = stream.directory();
    let found = target.list(directory.trim_end_matches('/')).await?;
    let names: Vec<&str> =
        found.iter().filter_map(|object| object.name.strip_prefix(&directory)).collect();
    let epochs: Vec<u32> = names.iter().filter_map(|name| Owner::epoch_of(name)).collect();
    let known: Vec<Owner> =
        known.iter().filter(|owner| epochs.contains(&owner.epoch)).cloned().collect();
    let is_new = |epoch: &u32| !known.iter().any(|owner| owner.epoch == *epoch);
    let epochs = epochs.into_iter().filter(is_new).collect();
    let claims = said(target, &directory, epochs, Owner::name);
    let parts: Vec<PartName> = names.iter().filter_map(|name| PartName::parse(name)).collect();
    let size = |object: &Object| {
        Some((PartName::parse(object.name.strip_prefix(&directory)?)?, object.size))
    };
    let sizes = found.iter().filter_map(size).collect();
    let merges = said(target, &directory, may_be_merged(&names, &parts), Merge::name);
    let name = meta_name(stream);
    // A request to a bucket takes longer than what it brings.
    let meta = async {
        match target.get(&name, SMALL).await {
            // It is derived: what it lies beside is what counts.
            Err(fault) if fault.kind == Kind::Object => Ok((None, Some(fault))),
            got => Ok((got?, None)),
        }
    };
    let (claims, merges, (meta, in_the_way)) = try_join3(claims, merges, meta).await?;
    let claims = claims.into_iter().map(|(epoch, claim)| Owner { epoch, claim });
    let owners = claims.chain(known).collect();
    let merges = merges.into_iter().map(|(part, merge)| Merged { part, merge }).collect();
    // One that cannot be read says nothing.
    let is_there = meta.is_some();
    let meta: Option<Meta> = meta.and_then(|(body, _)| serde_json::from_slice(&body).ok());
    let is_odd = is_there && meta.is_none() || in_the_way.is_some();
    Ok(Directory { owners, parts, sizes, merges, meta, is_odd, in_the_way })
}

/// Parts that may have been made of several.
fn may_be_merged(names: &[&str], parts: &[PartName]) -> Vec<PartName> {
    // A list need not be of one moment. Where a part that was made of several has been seen, what it was made
    // of has not all gone before that: so two have one number, and what came before the part is there.
    let mut of_seq: HashMap<u32, usize> = HashMap::new();
    parts.iter().for_each(|part| *of_seq.entry(part.seq).or_default() += 1);
    let twins = parts.iter().filter(|part| of_seq[&part.seq] > 1).copied();
    let mut of: Vec<PartName> = names.iter().filter_map(|name| Merge::part_of(name)).collect();
    of.extend(twins);
    of.sort();
    of.dedup();
    of
}

/// What small objects of a directory say, as far as they are there: each by what it is called after.
async fn said<K: Copy, T: DeserializeOwned>(
    target: &Target,
    directory: &str,
    of: Vec<K>,
    name: impl Fn(K) -> String,
) -> Result<Vec<(K, T)>, Failure> {
    let get = |key: K| {
        let name = directory.to_owned() + &name(key);
        async move {
            let Some((body, _)) = target.get(&name, SMALL).await? else { return Ok(None) };
            let said = serde_json::from_slice(&body)
                .map_err(|error| Failure::Odd(format!("{name} cannot be read: {error}")))?;
            Ok::<_, Failure>(Some((key, said)))
        }
    };
    let all: Vec<Option<(K, T)>> =
        stream::iter(of).map(get).buffered(AT_ONCE).try_collect().await?;
    Ok(all.into_iter().flatten().collect())
}

impl Directory {
    /// What lies there of what a part was made of, in order; nothing of one that was made of no others.
    pub(super) fn made_of(&self, part: PartName) -> Vec<PartName> {
        let of = self.merges.iter().filter(|merged| merged.part == part);
        let of = of.flat_map(|merged| merged.merge.parts()).filter(|of| self.parts.contains(of));
        Reading::sorted(of.filter(|of| *of != part), &HashSet::new())
    }
}
