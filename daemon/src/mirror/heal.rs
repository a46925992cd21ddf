//! Writes again what a stream's directory has not any more, or has torn: claims, and what parts are made of.
//!
//! Parts say nothing without the claim that they belong to, and who made one of several knows of what. Nothing is made
//! up: what is written is what this host knows that was said there, or what `meta.json` proves ([`Owner::told`]). Not
//! here: parts ([`super::compact`], [`super::gather`]).

use rrd_core::mirror::{self, Owner, PartName};
use serde::Serialize;

use super::{
    directory::{self, Directory, Of, Told},
    outbox::{Epoch, Merge, Stream},
    stream::{Carrier, Failure},
    target::{Created, Replaced},
};
use crate::hub::now;

impl Carrier {
    /// What a stream's directory has, for whoever writes there or compares it with what is known.
    pub(super) async fn directory(&self, stream: &Stream) -> Result<Directory, Failure> {
        Ok(self.healed(stream).await?.0)
    }

    /// The same, and what was written again for that, in words.
    pub(super) async fn healed(
        &self,
        stream: &Stream,
    ) -> Result<(Directory, Vec<String>), Failure> {
        let mut directory = directory::look(&self.target, &stream.name, &[]).await?;
        let said = self.say_again(stream, &directory).await?;
        if !said.is_empty() {
            directory = directory::look(&self.target, &stream.name, &[]).await?;
        }
        Ok((directory.understood(Told::All)?, said))
    }

    async fn say_again(
        &self,
        stream: &Stream,
        directory: &Directory,
    ) -> Result<Vec<String>, Failure> {
        let (epochs, merges, parts) = {
            let outbox = self.outbox();
            (outbox.epochs(stream.id)?, outbox.merges(stream.id)?, outbox.parts(stream.id)?)
        };
        let epochs: Vec<Epoch> = epochs.into_iter().filter(|epoch| epoch.is_sent).collect();
        let mut said = Vec::new();
        for torn in &directory.torn {
            let body = match torn.of {
                Of::Epoch(epoch) => {
                    let told = directory.owners.iter().find(|owner| owner.epoch == epoch);
                    let told = told.filter(|_| torn.told == Told::All).map(|owner| &owner.claim);
                    let known = epochs.iter().find(|known| known.epoch == epoch);
                    known.map(|known| &known.claim).or(told).map(body)
                }
                Of::Merge(part) => {
                    let known = merges.iter().find(|merge| merge.name == part).map(merge_of);
                    let told = directory.merges.iter().find(|merged| merged.part == part);
                    known.or_else(|| told.map(|merged| merged.merge.clone())).as_ref().map(body)
                }
            };
            let Some(body) = body else { continue };
            let done = self.target.replace(&torn.name, &body.into(), Some(&torn.version)).await?;
            if let Replaced::Done(_) = done {
                said.push(again(&torn.name, "could not be read"));
            }
        }
        // Whoever deletes the stream deletes claims, too, and is not to find them again.
        let is_there = |part: &PartName| directory.parts.contains(part);
        let is_as_known = stream.state.theirs.is_none()
            && stream.state.pruned.is_none()
            && directory.owners.iter().all(|owner| {
                let mut known = epochs.iter().filter(|known| known.epoch == owner.epoch);
                known.any(|known| known.claim == owner.claim)
            })
            && parts.iter().any(|(part, is_sent)| *is_sent && is_there(&part.name));
        if !is_as_known || !directory.torn.is_empty() {
            return Ok(said);
        }
        for Epoch { epoch, claim, .. } in &epochs {
            if directory.owners.iter().all(|owner| owner.epoch != *epoch) {
                let name = Self::name(stream, &Owner::name(*epoch));
                self.create_again(name, body(claim), &mut said).await?;
            }
        }
        for merge in merges.iter().filter(|merge| merge.at.is_some() && is_there(&merge.name)) {
            let name = Self::name(stream, &mirror::Merge::name(merge.name));
            let is_needed = merge.of.iter().any(is_there);
            if is_needed && self.target.head(&name).await?.is_none() {
                self.create_again(name, body(&merge_of(merge)), &mut said).await?;
            }
        }
        Ok(said)
    }

    async fn create_again(
        &self,
        name: String,
        body: Vec<u8>,
        said: &mut Vec<String>,
    ) -> Result<(), Failure> {
        if let Created::Now(_) = self.target.create(&name, &body.into()).await? {
            said.push(again(&name, "was gone"));
        }
        Ok(())
    }
}

fn body(said: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(said).unwrap_or_default()
}

fn merge_of(merge: &Merge) -> mirror::Merge {
    let of = merge.of.iter().map(ToString::to_string).collect();
    mirror::Merge { of, at: merge.at.unwrap_or_else(now) }
}

fn again(object: &str, why: &str) -> String {
    tracing::warn!(object, why, "it is written again");
    let name = object.rsplit('/').next().unwrap_or_default();
    format!("{name} {why} there, and was written again")
}
