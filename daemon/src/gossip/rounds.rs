//! The rounds of gossip, begun anew should they end by themselves, and when what they brought is looked at.
//!
//! Not here: what is done with that ([`super::Shared::look`]), and chitchat ([`super::cluster`]).

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::time::MissedTickBehavior;

use super::{
    APART, LOOK, Shared,
    cluster::{self, Cluster, Seen},
    lock,
    pace::Pace,
};

/// For as long as the node is there.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut generation: u64,
    next: Arc<dyn Fn() -> io::Result<u64> + Send + Sync>,
) {
    loop {
        let members = shared.members();
        let others = members.now().map(|member| member.node()).filter(|node| *node != shared.node);
        match Cluster::begin((shared.node, generation), others, &shared.wire).await {
            Ok(cluster) => {
                let cluster = Arc::new(cluster);
                *lock(&shared.cluster) = Some(Arc::clone(&cluster));
                shared.put().await;
                let why = rounds(&shared, &cluster).await;
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                tracing::error!(why, "gossip ended by itself; beginning anew");
            }
            Err(error) => tracing::error!(%error, "gossip cannot begin; trying again"),
        }
        *lock(&shared.begun_anew) += 1;
        tokio::time::sleep(cluster::ROUND).await;
        match next() {
            Ok(number) => generation = number,
            Err(error) => {
                tracing::error!(%error, "no generation for gossip");
                generation += 1;
            }
        }
    }
}

/// Returns when gossip has ended, and why it did.
async fn rounds(shared: &Shared, cluster: &Cluster) -> String {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut pace) = (Seen::new(), Pace::begin());
    let mut put = None;
    let ended = cluster.ended();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            why = &mut ended => return why,
            () = cluster.stirred() => {}
            _ = looks.tick() => {}
        }
        let told = lock(&shared.published).count();
        if put.replace(told) != Some(told) {
            shared.put().await;
        }
        shared.look(cluster, &mut seen, &mut pace).await;
        looks.reset();
        tokio::select! {
            why = &mut ended => return why,
            () = tokio::time::sleep(APART) => {}
        }
    }
}
