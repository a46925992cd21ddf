//! chitchat: who is there, and everybody's records, repaired in rounds. No other file names it.
//!
//! It knows nodes by addresses, and an address is part of who a node is for it; so each member has one
//! that stands for its name and never changes, and the wire finds out where that is. Only messages that
//! a member sealed reach it, and of those only what [`super::vet`] lets pass. Should it end all the same, it
//! is begun anew, in a new generation. Not here: what the records say.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, Deserializable,
    FailureDetectorConfig, NodeState, Serializable,
    transport::{Socket, Transport},
};
use rrd_core::fleet::{members::Members, seal::Kind};
use rrd_proto::NodeId;
use tokio::sync::{Mutex, Notify, mpsc};

use super::{vet::Vet, wire::Wire};

/// A round is begun so often.
pub(super) const ROUND: Duration = Duration::from_secs(1);

/// Messages that wait to be taken, at most; what comes then is lost, and repaired by a later round.
const WAITING: usize = 256;

/// Silent for so long it is not gossiped of any more; after half of it, not to others.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2 * 60 * 60);

/// The address that stands for a node: of a unique local prefix (RFC 4193) that nobody routes.
pub(super) fn address(node: NodeId) -> SocketAddr {
    let mut octets = [0; 16];
    octets[..6].copy_from_slice(&[0xfd, b'r', b'r', b'd', 0, 1]);
    octets[8..].copy_from_slice(&node.to_bytes());
    (Ipv6Addr::from(octets), 7731).into()
}

pub(super) fn node_at(address: SocketAddr) -> Option<NodeId> {
    let SocketAddr::V6(address) = address else { return None };
    let octets = address.ip().octets();
    octets.last_chunk::<8>().and_then(|bytes| NodeId::from_bytes(*bytes))
}

/// How far each node's records have been read: generation, and version in it.
pub(super) type Seen = HashMap<NodeId, (u64, u64)>;

/// What the rounds have brought of one node.
pub(super) struct State {
    pub(super) node: NodeId,
    pub(super) live: bool,
    pub(super) records: Vec<String>,
}

/// One chitchat, in one generation.
pub(super) struct Cluster {
    handle: ChitchatHandle,
    messages: mpsc::Sender<Message>,
    vet: Vet,
    stirred: Arc<Notify>,
}

/// From whom, what, and whether there are records in it.
type Message = (NodeId, ChitchatMessage, bool);

impl Cluster {
    /// Begins; `others` are asked first.
    pub(super) async fn begin(
        (own, generation): (NodeId, u64),
        others: impl Iterator<Item = NodeId>,
        wire: &Arc<Wire>,
    ) -> anyhow::Result<Self> {
        let config = ChitchatConfig {
            // The address says who it is; a name would stand in every message, once for each node.
            chitchat_id: ChitchatId::new("", generation, address(own)),
            // Says nothing: whoever is not of the fleet is not heard.
            cluster_id: "rrd".to_owned(),
            gossip_interval: ROUND,
            listen_addr: address(own),
            seed_nodes: others.map(|node| address(node).to_string()).collect(),
            // Silence of 3 to 5 s: eight times a mean that bursts cannot distort, since of all intervals only
            // the last counts, and five times the initial one (`figures_of_death`, `figures_of_false_alarms`).
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: 8.0,
                sampling_window_size: 1,
                max_interval: Duration::from_millis(1_500),
                initial_interval: Duration::from_millis(450),
                dead_node_grace_period: FORGOTTEN_AFTER,
            },
            marked_for_deletion_grace_period: FORGOTTEN_AFTER,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let (messages, taken) = mpsc::channel(WAITING);
        let stirred = Arc::new(Notify::new());
        let ends = Ends {
            wire: Arc::clone(wire),
            messages: taken,
            stirred: Arc::clone(&stirred),
            news: false,
        };
        let door = Door(Mutex::new(Some(ends)));
        let handle = chitchat::spawn_chitchat(config, Vec::new(), &door).await?;
        Ok(Self { handle, messages, vet: Vet::new(own, generation), stirred })
    }

    /// Hands over a message of a member; false when it is none that may be taken. Where there are too many
    /// it is lost.
    pub(super) fn take(&self, from: NodeId, message: &[u8], members: &Members) -> bool {
        let Some(has_records) = self.vet.passes(message, members) else { return false };
        let taken = ChitchatMessage::deserialize(&mut &*message);
        taken.map(|message| self.messages.try_send((from, message, has_records))).is_ok()
    }

    /// Puts this node's records where they belong; those that are there already are left alone.
    pub(super) async fn set(&self, records: impl Iterator<Item = (String, &str)>) {
        let chitchat = self.handle.chitchat();
        let mut chitchat = chitchat.lock().await;
        let own = chitchat.self_node_state();
        records.for_each(|(slot, record)| own.set(slot, record));
    }

    /// What is known of all others, of each the latest generation; only records that are newer than what
    /// was `seen`: to check a signature again costs more than all the rest of a look. Of whoever is no
    /// `member` yet nothing is read, so that nothing of it counts as seen.
    pub(super) async fn states(
        &self,
        member: impl Fn(NodeId) -> bool,
        seen: &mut Seen,
    ) -> Vec<State> {
        let chitchat = self.handle.chitchat();
        let chitchat = chitchat.lock().await;
        states(&chitchat, member, seen)
    }

    /// Gossips with a member at once.
    pub(super) fn ask(&self, node: NodeId) {
        let _ = self.handle.gossip(address(node));
    }

    /// Returns when there may be something new in it: after a round, which is when it decides who is there,
    /// and after records came.
    pub(super) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// Returns when it has ended, which it never should.
    pub(super) async fn ended(&self) -> String {
        match self.handle.termination_watcher().await {
            Ok(()) => "it ended".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }

    pub(super) fn stop(&self) {
        self.handle.abort();
    }
}

fn states(chitchat: &Chitchat, member: impl Fn(NodeId) -> bool, seen: &mut Seen) -> Vec<State> {
    let live: HashSet<&ChitchatId> = chitchat.live_nodes().collect();
    let mut latest: HashMap<NodeId, (&ChitchatId, &NodeState)> = HashMap::new();
    for (id, state) in chitchat.node_states() {
        let Some(node) = node_at(id.gossip_advertise_addr).filter(|node| member(*node)) else {
            continue;
        };
        let known = latest.entry(node).or_insert((id, state));
        if known.0.generation_id < id.generation_id {
            *known = (id, state);
        }
    }
    let state = |(node, (id, state)): (NodeId, (&ChitchatId, &NodeState))| {
        let version = (id.generation_id, state.max_version());
        let before = seen.insert(node, version).filter(|(run, _)| *run == id.generation_id);
        let mut records = Vec::new();
        if before != Some(version) {
            let since = before.map_or(0, |(_, version)| version);
            let slots = state.key_values_including_deleted().map(|(_, slot)| slot);
            let newer = slots.filter(|slot| slot.version > since && !slot.is_deleted());
            records.extend(newer.map(|slot| slot.value.clone()));
        }
        State { node, live: live.contains(id), records }
    };
    latest.into_iter().map(state).collect()
}

/// chitchat's way to the wire.
struct Door(Mutex<Option<Ends>>);

struct Ends {
    wire: Arc<Wire>,
    messages: mpsc::Receiver<Message>,
    stirred: Arc<Notify>,
    /// What chitchat is busy with may change what is known.
    news: bool,
}

#[async_trait]
impl Transport for Door {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let ends = self.0.lock().await.take();
        let ends = ends.ok_or_else(|| anyhow::anyhow!("opened already"))?;
        Ok(Box::new(ends))
    }
}

#[async_trait]
impl Socket for Ends {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        // What a round begins with.
        self.news |= matches!(message, ChitchatMessage::Syn { .. });
        if let Some(node) = node_at(to) {
            self.wire.send(node, Kind::Gossip, &message.serialize_to_vec());
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        // It is asked for when chitchat is done with what it did last, a round or a message.
        if std::mem::take(&mut self.news) {
            self.stirred.notify_one();
        }
        let (node, message, has_records) =
            self.messages.recv().await.ok_or_else(|| anyhow::anyhow!("nobody hands over"))?;
        self.news = has_records;
        Ok((address(node), message))
    }
}
