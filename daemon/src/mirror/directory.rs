//! What lies in a stream's directory: one list, and what the small objects in it say.
//!
//! Not here: what is in the parts ([`super::fetch`]), and what is written again ([`super::heal`]).

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, future::try_join3, stream};
use rrd_core::mirror::{Merge, Merged, Meta, Owner, PartName, StreamName, read::Reading};
use serde::de::DeserializeOwned;

use super::{
    stream::{Failure, SMALL},
    target::{Fault, Kind, Object, Target, Version},
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
    /// Claims and merges that cannot be understood.
    pub(crate) torn: Vec<Torn>,
}

/// A small object that is there and cannot be understood.
#[derive(Debug)]
pub(crate) struct Torn {
    pub(super) of: Of,
    /// The object.
    pub(super) name: String,
    pub(super) version: Version,
    why: String,
    pub(super) told: Told,
}

/// What it is called after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Epoch(u32),
    Merge(PartName),
}

/// How much of what it said `meta.json` says, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// Whose the parts are, and not in what order their records were.
    Parts,
    All,
}

impl Torn {
    /// What is known of it all the same, in words.
    pub(super) fn trouble(&self) -> String {
        let known = match (self.of, self.told) {
            (Of::Epoch(_), Told::Nothing) => "whose the parts are is not known",
            (Of::Epoch(_), _) => "meta.json tells whose the parts are",
            (Of::Merge(_), Told::All) => "meta.json says what it said",
            (Of::Merge(_), _) => "records may be there twice",
        };
        format!("it cannot be read ({}); {known}", self.why)
    }

    /// `is_only`: no other claim is there.
    fn failure(&self, is_only: bool) -> Failure {
        let alone = match is_only {
            true => {
                "; where that is gone, delete it there: what lies beside it is read as nobody's then"
            }
            false => "",
        };
        Failure::Odd(format!(
            "{} cannot be read: {}; rrd mirror verify on the host that wrote it writes it again{alone}",
            self.name, self.why
        ))
    }
}

/// A delegate is no session of its own to whoever lists sessions by `meta.json`.
pub(crate) fn meta_name(stream: &StreamName) -> String {
    let name = if stream.agent.is_some() { "stream.json" } else { "meta.json" };
    stream.directory() + name
}

/// What a stream's directory has, without its parts' content.
pub(crate) async fn directory(target: &Target, stream: &StreamName) -> Result<Directory, Failure> {
    look(target, stream, &[]).await?.understood(Told::Parts)
}

/// The same, for whoever has read some of its claims, which nobody changes.
pub(crate) async fn directory_knowing(
    target: &Target,
    stream: &StreamName,
    known: &[Owner],
) -> Result<Directory, Failure> {
    look(target, stream, known).await?.understood(Told::All)
}

/// The same, also where some of it cannot be understood.
pub(super) async fn look(
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
    // One that cannot be read says nothing.
    let is_there = meta.is_some();
    let meta: Option<Meta> = meta.and_then(|(body, _)| serde_json::from_slice(&body).ok());
    let is_odd = is_there && meta.is_none() || in_the_way.is_some();
    let mut directory = Directory {
        owners: known,
        parts,
        sizes,
        merges: Vec::new(),
        meta,
        is_odd,
        in_the_way,
        torn: Vec::new(),
    };
    let mut torn = Vec::new();
    for (epoch, said) in claims {
        match said {
            Ok(claim) => directory.owners.push(Owner { epoch, claim }),
            Err(unread) => torn.push((Of::Epoch(epoch), unread)),
        }
    }
    for (part, said) in merges {
        match said {
            Ok(merge) => directory.merges.push(Merged { part, merge }),
            Err(unread) => torn.push((Of::Merge(part), unread)),
        }
    }
    directory.take_told();
    for (of, Unread { name, version, why }) in torn {
        let told = directory.told(of);
        directory.torn.push(Torn { of, name, version, why, told });
    }
    Ok(directory)
}

/// A small object that cannot be understood.
struct Unread {
    name: String,
    version: Version,
    why: String,
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
) -> Result<Vec<(K, Result<T, Unread>)>, Failure> {
    let get = |key: K| {
        let name = directory.to_owned() + &name(key);
        async move {
            let Some((body, version)) = target.get(&name, SMALL).await? else { return Ok(None) };
            let said = serde_json::from_slice(&body).map_err(|error| Unread {
                name,
                version,
                why: error.to_string(),
            });
            Ok::<_, Failure>(Some((key, said)))
        }
    };
    let all: Vec<Option<(K, Result<T, Unread>)>> =
        stream::iter(of).map(get).buffered(AT_ONCE).try_collect().await?;
    Ok(all.into_iter().flatten().collect())
}

impl Directory {
    /// What `meta.json` says of merges counts where these do not say it themselves: it is written after them, and may
    /// outlive them.
    fn take_told(&mut self) {
        for told in self.meta.iter().flat_map(|meta| &meta.replaces) {
            let Some(part) = PartName::parse(&told.part) else { continue };
            let merge = Merge { of: told.of.clone(), at: told.at };
            let is_there = self.parts.contains(&part);
            let is_any = merge.parts().any(|of| self.parts.contains(&of));
            if is_there && is_any && self.merges.iter().all(|merged| merged.part != part) {
                self.merges.push(Merged { part, merge });
            }
        }
    }

    /// How much of what cannot be understood `meta.json` says, too; the parts of an epoch have its owner from then on.
    fn told(&mut self, of: Of) -> Told {
        let epoch = match of {
            Of::Merge(part) if self.merges.iter().any(|merged| merged.part == part) => {
                return Told::All;
            }
            Of::Merge(_) => return Told::Nothing,
            Of::Epoch(epoch) => epoch,
        };
        let meta = self.meta.as_ref();
        let Some(owner) = meta.and_then(|meta| Owner::told(epoch, meta, &self.owners)) else {
            return Told::Nothing;
        };
        // Of what nothing came before, the transcript can only be what it says itself.
        let is_first = self.parts.iter().all(|part| part.seq >= owner.claim.first_seq);
        self.owners.push(owner);
        if is_first { Told::All } else { Told::Parts }
    }

    /// An error where less than this is known of a claim.
    pub(super) fn understood(self, least: Told) -> Result<Self, Failure> {
        let is_too_little = |torn: &&Torn| {
            matches!(torn.of, Of::Epoch(_))
                && torn.told != Told::All
                && (torn.told != Told::Parts || least == Told::All)
        };
        match self.torn.iter().find(is_too_little) {
            Some(torn) => Err(torn.failure(self.owners.is_empty())),
            None => Ok(self),
        }
    }

    /// What the records were made of is known, as far as the claims go by which that is.
    pub(super) fn is_in_order(&self) -> bool {
        self.torn.iter().all(|torn| match torn.of {
            Of::Epoch(epoch) if torn.told != Told::All => {
                self.owners.iter().any(|it| it.epoch > epoch && it.claim.order.is_some())
            }
            _ => true,
        })
    }

    /// What lies there of what a part was made of, in order; nothing of one that was made of no others.
    pub(super) fn made_of(&self, part: PartName) -> Vec<PartName> {
        let of = self.merges.iter().filter(|merged| merged.part == part);
        let of = of.flat_map(|merged| merged.merge.parts()).filter(|of| self.parts.contains(of));
        Reading::sorted(of.filter(|of| *of != part), &HashSet::new())
    }
}
