//! Whether another host has gone on with a session of this one, or with what a member gives of one, by what the places
//! of this host have of it.
//!
//! One list, and the small objects beside it, say who writes a stream; parts are read only where that is another
//! host. Nothing is claimed. Not here: what becomes of that ([`super::adopt`], and who resumes it).

use std::{cmp::Reverse, sync::Arc, time::Duration};

use futures::future::join_all;
use rrd_core::mirror::{Owner, StreamName};
use rrd_proto::{
    Refusal, SessionKey,
    copy::{Ahead, Given, Looked},
};
use tokio::time::timeout;

use super::{
    Mirror,
    aim::{Aim, address},
    fetch::{self, Directory},
    gather::At,
    inspect::not_asked,
    stream::{Carrier, Failure},
};

/// Who writes a stream is waited for so long: what is here can be gone on with all the same.
const OWNER: Duration = Duration::from_secs(3);

/// How much more another host has is counted so long.
const COUNT: Duration = Duration::from_secs(10);

impl Mirror {
    /// Which places are ahead of this session of this host, or of what another one gives of it.
    ///
    /// # Errors
    /// Why nothing that is mirrored can be read.
    pub(crate) async fn ahead(
        &self,
        key: &SessionKey,
        given: Option<&Given>,
    ) -> Result<Looked, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let aims = self.aims();
        let looks = aims.iter().map(|aim| async {
            look(aim, key, given).await.map_err(|why| match known(aim, key) {
                Some(host) => format!("{why}; when it was asked last {host} went on with it"),
                None => why,
            })
        });
        let mut looked = Looked { places: aims.len() as u64, ..Looked::default() };
        let mut all = Vec::new();
        for look in join_all(looks).await {
            match look {
                Ok(ahead) => all.extend(ahead),
                Err(why) => looked.unasked.push(why),
            }
        }
        // What could not be counted is more than nothing.
        all.sort_by_key(|it| Reverse((it.records != Some(0), it.records, it.at)));
        let mut all = all.into_iter();
        looked.ahead = all.next();
        let node = looked.ahead.as_ref().map(|ahead| ahead.node.clone());
        looked.others = all.filter(|it| Some(&it.node) != node.as_ref()).collect();
        Ok(looked)
    }
}

async fn look(
    aim: &Arc<Aim>,
    key: &SessionKey,
    given: Option<&Given>,
) -> Result<Option<Ahead>, String> {
    let carrier = aim.carrier().map_err(|why| not_asked(aim, Failure::Odd(why)))?;
    let name = aim.name(key);
    let directory = match timeout(OWNER, fetch::directory(&carrier.target, &name)).await {
        Ok(directory) => directory.map_err(|failure| not_asked(aim, failure))?,
        Err(_) => {
            let (place, seconds) = (address(&aim.settings), OWNER.as_secs());
            return Err(format!("{place} did not answer within {seconds} s"));
        }
    };
    let last = directory.owners.iter().max_by_key(|owner| owner.epoch);
    let giver = given.and_then(|given| given.node.as_deref());
    let is_theirs = |node: &str| node != &*carrier.node && Some(node) != giver;
    let theirs = last.filter(|owner| is_theirs(&owner.claim.node));
    let Some(Owner { claim, .. }) = theirs.filter(|_| !directory.parts.is_empty()) else {
        return Ok(None);
    };
    // What cannot be counted may be anything.
    let source = match given {
        Some(given) => given.transcript.clone().map(At::File),
        None => aim.source(key),
    };
    let counted = match source.filter(|source| source.looks().is_some()) {
        Some(source) => timeout(COUNT, count(&carrier, &name, &directory, source)).await.ok(),
        None => None,
    };
    let counted = counted.and_then(Result::ok);
    let (records, is_apart) = match counted {
        Some((missing, has_more)) => (Some(missing), has_more),
        None => (None, false),
    };
    let of_others = directory.owners.iter().filter(|owner| owner.claim.node != claim.node);
    let took_over = of_others.map(|owner| owner.epoch).max().and_then(|theirs| {
        let since = directory.owners.iter().filter(|owner| owner.epoch > theirs);
        since.min_by_key(|owner| owner.epoch)
    });
    let told = directory.meta.as_ref().filter(|meta| meta.node.as_ref() == Some(&claim.node));
    Ok(Some(Ahead {
        url: address(&aim.settings),
        // Whoever wrote it, nobody knows what is in it.
        host: carrier.edges.copied_text(&claim.host),
        node: carrier.edges.copied_text(&claim.node),
        at: told.and_then(|meta| meta.last_uploaded_at).max(Some(claim.at)).unwrap_or(claim.at),
        took_over_at: took_over.map(|owner| owner.claim.at),
        records,
        is_apart,
    }))
}

/// Who wrote it there when the place was asked last, where that was another host.
fn known(aim: &Arc<Aim>, key: &SessionKey) -> Option<String> {
    aim.streams().into_iter().find(|stream| stream.key == *key)?.state.theirs
}

/// How many records of what the place shows are not here, and whether others are.
async fn count(
    carrier: &Carrier,
    name: &StreamName,
    directory: &Directory,
    source: At,
) -> Result<(u64, bool), Failure> {
    let (mut found, reading, _) = carrier.read(name, directory).await?;
    found.shown = reading.transcript().0;
    let own = carrier.on_disk(move |carrier| carrier.recognise(&source, found)).await?;
    Ok((own.missing as u64, own.has_more))
}
