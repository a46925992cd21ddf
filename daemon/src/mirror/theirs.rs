//! What buckets have of a transcript that this host has not, or that another host has gone on with.
//!
//! A stream says nothing of projects; where its source lay, which its `meta.json` tells, does. Not here: what
//! becomes of it.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use rrd_core::{
    mirror::{Meta, StreamName},
    repo::Repo,
    sdk::Key,
};
use rrd_proto::{MirrorTrouble, SessionKey};
use tokio::time::timeout;

use super::{
    Mirror,
    fetch::{self, Fetched},
    inspect::spool,
    stream::{Carrier, Failure, SMALL},
};

/// A bucket is waited for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Subagents that are asked for at once.
const AT_ONCE: usize = 16;

impl Mirror {
    /// The transcript as the first bucket has it, if it lay where this key's does. `is_here`: only if another
    /// host wrote it last.
    ///
    /// # Errors
    /// Why a bucket could not be asked, where no other has it.
    pub(crate) async fn theirs(&self, key: &Key, is_here: bool) -> Result<Option<Fetched>, String> {
        let Some(name) = key.stream() else { return Ok(None) };
        let mut failed = None;
        for aim in self.aims() {
            let found = async {
                let carrier = aim.carrier().map_err(Failure::Odd)?;
                let directory = fetch::directory(&carrier.target, &name).await?;
                let last = directory.owners.iter().max_by_key(|owner| owner.epoch);
                let is_theirs = last.is_some_and(|owner| *owner.claim.node != *self.node);
                let is_it =
                    directory.meta.as_ref().is_some_and(|meta| lay(meta, |at| key.is_at(at)));
                if directory.parts.is_empty() || !is_it || is_here && !is_theirs {
                    return Ok(None);
                }
                let found = fetch::fetch(&carrier, &name, spool(&carrier)?).await?;
                for trouble in found.iter().flat_map(|found| &found.troubles) {
                    let MirrorTrouble { stream, error } = trouble;
                    let directory = name.directory();
                    tracing::warn!(
                        directory,
                        stream,
                        error,
                        "not all of it is as it was put there"
                    );
                }
                // Before what comes is read here.
                if let (Some(meta), Some(_)) = (directory.meta, &found) {
                    self.comes_of_repo(&carrier, &name, meta);
                    self.memory.written_down().await?;
                }
                Ok(found)
            };
            match within(found).await {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(why) => failed = Some(why),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Where it was comes along.
    fn comes_of_repo(&self, carrier: &Carrier, name: &StreamName, meta: Meta) {
        let say = |text: String| carrier.edges.copied_text(&text);
        let past = meta.past.unwrap_or_default().cut();
        let repo = meta.repo.map(say).and_then(|repo| Repo::told(None, Some(&repo)));
        let session_id = name.agent.as_ref().unwrap_or(&name.session_id).clone();
        let key = SessionKey { harness: name.harness.clone(), session_id };
        self.hub.comes_of_repo(&key, repo.as_ref(), &past);
    }

    /// The subpaths of transcripts that buckets have of the session.
    ///
    /// # Errors
    /// Why a bucket could not be asked.
    pub(crate) async fn their_subpaths(&self, key: &Key) -> Result<Vec<String>, String> {
        let Some(name) = key.main().stream() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for aim in self.aims() {
            let carrier = aim.carrier()?;
            found.extend(within(subpaths(&carrier, key, &name)).await?);
        }
        Ok(found)
    }
}

async fn subpaths(carrier: &Carrier, key: &Key, name: &StreamName) -> Result<Vec<String>, Failure> {
    let folder = format!("{}subagents", name.directory());
    let agents = carrier.target.folders(&folder).await?;
    let mut names = Vec::new();
    for agent in &agents {
        names.extend(StreamName::of_directory(&format!("{folder}/{agent}")));
    }
    let of = |name: StreamName| async move {
        let meta = carrier.target.get(&fetch::meta_name(&name), SMALL).await?;
        let meta = meta.and_then(|(body, _)| serde_json::from_slice::<Meta>(&body).ok());
        Ok::<_, Failure>(meta.and_then(|meta| key.subpath_at(meta.source_path.as_deref()?)))
    };
    let found = stream::iter(names).map(of).buffered(AT_ONCE);
    found.try_filter_map(|subpath| async { Ok(subpath) }).try_collect().await
}

fn lay(meta: &Meta, is_it: impl Fn(&str) -> bool) -> bool {
    meta.source_path.as_deref().is_some_and(is_it)
}

async fn within<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, String> {
    let answer = timeout(PATIENCE, asked).await.map_err(|_| {
        let seconds = PATIENCE.as_secs();
        format!("no answer within {seconds} s")
    })?;
    answer.map_err(|failure| failure.to_string())
}
