//! Another key: made by one member, handed to the others under the key they had.
//!
//! A connection under a former key serves for this alone, and only between members: one that was off
//! while the key was replaced catches up with whomever it meets, one that was dropped is refused. When two
//! members made a key at once, all come to the same one. Not here: which key of two is the one to use
//! ([`Keys::is_older_than`]).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt;
use rrd_core::fleet::{
    identity::HandshakePublic,
    key::{FleetKey, KeyId},
    members::List,
};
use rrd_proto::{
    FleetRotation, NodeId,
    peer::{Answer, Purpose},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{
    Broken, Fleet, Stranger, aside,
    keep::KeepError,
    keyfile::{self, Keys},
    link::{LinkError, reach},
    noise::Secured,
    now,
};

/// What one member may take to get the new key while somebody waits.
const PATIENCE: Duration = Duration::from_secs(8);

/// What all may take to hear that this node leaves.
const FAREWELL: Duration = Duration::from_secs(4);

/// Members that are spoken with at once.
const AT_ONCE: usize = 16;

/// What each side says: its list, and its key when the other may need it.
#[derive(Default, Serialize, Deserialize)]
struct Rekey {
    #[serde(default)]
    refused: Option<String>,
    #[serde(default)]
    number: u64,
    #[serde(default)]
    key: Option<Zeroizing<String>>,
    #[serde(default)]
    list: List,
}

impl Rekey {
    fn new(keys: &Keys, list: List) -> Self {
        Self { refused: None, number: keys.now.0, key: Some(keys.now.1.reveal()), list }
    }
}

impl Fleet {
    /// Takes a key in the place of its own, when that is the older one. Blocks.
    fn take_key(&self, said: &Rekey) -> Result<(), Broken> {
        let Some(key) = said.key.as_ref().and_then(|text| FleetKey::parse(text)) else {
            return Ok(());
        };
        let _keep = self.keep();
        match self.keys() {
            Some(keys) if keys.is_older_than(said.number, &key) => {
                tracing::info!(key = %key.id(), "has the fleet's new key");
                self.set_keys(Some(keys.followed_by(said.number, key)))
            }
            _ => Ok(()),
        }
    }
}

/// Comes to the same key as a member that answered with another one.
pub(super) async fn level(
    fleet: &Arc<Fleet>,
    addresses: &[SocketAddr],
    is_wanted: impl Fn(&HandshakePublic) -> bool,
    answer: Answer,
    theirs: KeyId,
) -> Result<(), LinkError> {
    let keys = fleet.keys().ok_or(LinkError::NoFleet)?;
    let common = match answer {
        // It had ours before.
        Answer::FormerKey => Some(&keys.now.1),
        // We had its before; or both had another one.
        _ => keys.former(theirs).or_else(|| keys.former.first().map(|(_, key)| key)),
    };
    let Some(common) = common.cloned() else {
        let other = super::noise::HandshakeError::Answered(Answer::OtherKey, theirs.0);
        return Err(LinkError::Handshake(other));
    };
    under(fleet, addresses, is_wanted, &common).await
}

/// The same, under a key that both have or had.
async fn under(
    fleet: &Arc<Fleet>,
    addresses: &[SocketAddr],
    is_wanted: impl Fn(&HandshakePublic) -> bool,
    common: &FleetKey,
) -> Result<(), LinkError> {
    let what_for = (Purpose::Rekey, common.id().0);
    let psk = common.for_connections();
    // Nothing is said to anybody but a member.
    let is_wanted = |remote: &HandshakePublic| is_wanted(remote) && fleet.member_by(remote).is_ok();
    let mut secured = reach(&fleet.identity(), addresses, what_for, &psk, is_wanted).await?;
    let keys = fleet.keys().ok_or(LinkError::NoFleet)?;
    let said = Rekey::new(&keys, fleet.members().list());
    secured.send(&said).await.map_err(|_| LinkError::Closed)?;
    let told: Rekey = secured.receive().await.map_err(|_| LinkError::Closed)?;
    if told.refused.is_some() {
        return Err(LinkError::Dropped);
    }
    take(fleet, told).await.ok_or(LinkError::Closed)
}

async fn take(fleet: &Arc<Fleet>, told: Rekey) -> Option<()> {
    let taken = aside(fleet, move |fleet| {
        let mut told = told;
        fleet.merge(std::mem::take(&mut told.list))?;
        fleet.take_key(&told)
    });
    match taken.await? {
        Ok(()) => Some(()),
        Err(error) => {
            tracing::warn!(error = error.what, "cannot keep the fleet's new key");
            None
        }
    }
}

/// The other side of it; the error is what a refusal is counted as.
pub(super) async fn answer(fleet: &Arc<Fleet>, mut secured: Secured) -> Result<(), &'static str> {
    let said: Rekey = secured.receive().await.map_err(|_| "broke_off")?;
    let refused = match fleet.member_by(&secured.remote) {
        Ok(_) => None,
        Err(Stranger::Dropped(_)) => Some("dropped"),
        Err(Stranger::Unknown) => Some("not_a_member"),
    };
    if let Some(why) = refused {
        // Nothing of what it said is taken, and it is told nothing else.
        let no = Rekey { refused: Some(why.to_owned()), ..Rekey::default() };
        let _ = secured.send(&no).await;
        return Err(why);
    }
    take(fleet, said).await.ok_or("failed")?;
    // Its list may have told that it is dropped itself.
    let keys = fleet.keys().ok_or("failed")?;
    if fleet.member_by(&secured.remote).is_err() {
        let no = Rekey { refused: Some("dropped".to_owned()), ..Rekey::default() };
        let _ = secured.send(&no).await;
        return Err("dropped");
    }
    let told = Rekey::new(&keys, fleet.members().list());
    secured.send(&told).await.map_err(|_| "broke_off")
}

/// Makes a new key, after dropping a member if that is asked for, and hands it to the others.
pub(super) async fn rotate(
    fleet: &Arc<Fleet>,
    drop: Option<NodeId>,
) -> Result<FleetRotation, Broken> {
    let made = aside(fleet, move |fleet| {
        let keep = fleet.keep();
        let Some(keys) = fleet.keys() else { return Ok(None) };
        if let Some(node) = drop {
            let drop = fleet.members().dropping(&fleet.identity(), node, now());
            fleet.merge_with(&keep, List { drops: vec![drop], ..List::default() })?;
        }
        let cancelled = keep.cancel_invites(now())?;
        let key = FleetKey::new(*keyfile::random::<32>()?);
        let id = key.id();
        fleet.set_keys(Some(keys.followed_by(keys.now.0 + 1, key)))?;
        Ok::<_, Broken>(Some((keys.now.1.clone(), id, cancelled)))
    });
    let made = made.await.transpose()?.flatten();
    let (former, id, cancelled) = made.ok_or_else(|| Broken {
        what: "this host is in no fleet".to_owned(),
        remedy: "rrd fleet init founds one".to_owned(),
    })?;
    let members = fleet.members();
    let others: Vec<NodeId> =
        members.now().map(|member| member.node()).filter(|node| *node != fleet.node()).collect();
    let given: Vec<(NodeId, bool)> = futures::stream::iter(others)
        .map(|node| {
            let former = &former;
            async move {
                let addresses = fleet.addresses(node);
                let is_it = |remote: &HandshakePublic| fleet.member_by(remote) == Ok(node);
                let rekeyed = under(fleet, &addresses, is_it, former);
                let result = timeout(PATIENCE, rekeyed).await;
                let result = result.unwrap_or(Err(LinkError::Late));
                // Whoever got it from another member meanwhile does not know the former key as its own.
                fleet.spoke(node, result.as_ref().map(|_| ()).map_err(ToString::to_string));
                (node, result.is_ok())
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let label = |node: NodeId| members.label(node).unwrap_or_else(|| node.to_string());
    let of = |got: bool| {
        let mut labels: Vec<String> = given
            .iter()
            .filter(|(_, reached)| *reached == got)
            .map(|(node, _)| label(*node))
            .collect();
        labels.sort();
        labels
    };
    Ok(FleetRotation {
        key_id: id.to_string(),
        reached: of(true),
        missed: of(false),
        dropped: drop.map(label),
        cancelled,
    })
}

/// Leaves: says so to the others, forgets key and members, and is somebody else from here on, since a
/// name that was dropped stays dropped. Where another host runs under the name of this one, that one keeps
/// it.
pub(super) async fn leave(fleet: &Arc<Fleet>) -> Result<(), Broken> {
    if !fleet.has_twin() {
        say_good_bye(fleet).await?;
    }
    let left = aside(fleet, |fleet| {
        let mut keep = fleet.keep();
        let former = fleet.node();
        fleet.set_keys(None)?;
        keep.leave()?;
        keep.set_replaces(Some(former).filter(|_| !fleet.has_twin()))?;
        let identity = keyfile::new_identity(fleet.state_dir())?;
        fleet.edges.hide(keyfile::own_secrets(fleet.state_dir()));
        {
            let mut own = fleet.own_mut();
            own.members = Arc::default();
            own.identity = Arc::new(identity);
        }
        fleet.tasks().links.forget();
        fleet.bindings().words.forget();
        super::lock(&fleet.links).clear();
        super::lock(&fleet.contacts).clear();
        fleet.forget_twins();
        fleet.tell();
        Ok::<_, Broken>(())
    });
    let lost = || KeepError::Io {
        path: "keep.db".into(),
        source: std::io::Error::other("a thread ended"),
    };
    left.await.unwrap_or_else(|| Err(lost().into()))
}

/// Drops this node, and tells those who can be reached.
async fn say_good_bye(fleet: &Arc<Fleet>) -> Result<(), Broken> {
    let gone = aside(fleet, |fleet| {
        let drop = fleet.members().dropping(&fleet.identity(), fleet.node(), now());
        fleet.merge(List { drops: vec![drop], ..List::default() })
    });
    gone.await.transpose()?;
    let list = fleet.members().list();
    let others: Vec<NodeId> = fleet.members().now().map(|member| member.node()).collect();
    let told = futures::stream::iter(others).for_each_concurrent(AT_ONCE, |node| {
        let list = &list;
        async move {
            let link = fleet.link(node);
            let _ = link.call::<_, List>(fleet, "members", list, FAREWELL).await;
        }
    });
    let _ = timeout(FAREWELL, told).await;
    Ok(())
}
