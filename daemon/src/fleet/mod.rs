//! The fleet as this node has it: who it is, the key, the members; how hosts are let in and speak.
//!
//! What is kept lies in `keep.db` and two key files; what is in memory is what is on the disk. Whoever
//! needs to act on a change watches [`Fleet::changed`]. Without a key there is no socket. The rules of keys
//! and lists are the core's ([`rrd_core::fleet`]). Not here: sessions of other hosts.

mod address;
pub(crate) mod calls;
mod enrol;
mod forgotten_rows;
mod heard;
mod keep;
pub(crate) mod keyfile;
pub(crate) mod link;
mod listen;
mod looker_rows;
mod message_rows;
mod noise;
mod notice_rows;
mod register_rows;
mod rekey;
mod repo_rows;
mod seeds;
mod sync;
mod twin;
mod word_rows;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::SystemTime,
};

use rrd_core::{
    binding::Said,
    fleet::{
        identity::{HandshakePublic, Identity},
        key::FleetKey,
        members::{Forget, List, MAX_ADDRESSES, MAX_GENERATION, Member, Members, Statement, vouch},
        window::Floor,
    },
    task,
};
use rrd_proto::{Health, NodeId, PartStatus, Timestamp};
use tokio::sync::watch;

pub use address::Listen;
pub(crate) use address::{
    Bound, ask_tailscale, bind_from, by_route, is_tailscale, reachable, tailscale,
};
pub(crate) use heard::{Heard, Past};
pub(crate) use keep::{Keep, KeepError};
use keyfile::{KeyError, Keys};
use link::Link;
pub(crate) use link::LinkError;
pub(crate) use listen::run as listen;
pub(crate) use looker_rows::LookerRow;
pub(crate) use message_rows::{KeptMessage, NewMessage, NotSent, Traffic};
pub(crate) use seeds::{MAX_SEEDS, Seed, run as look_for_members};
pub(crate) use sync::run as sync;
pub(crate) use twin::Run;

use crate::{
    bindings::Bindings, config::Config, edge::Edges, messages::Messages, tasks::Tasks, words::Words,
};

/// Letters of a label, at most.
const MAX_LABEL: usize = 64;

/// Why there is no fleet to speak of; the list of this host goes on.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Broken {
    /// As a part of the daemon.
    pub(crate) fn part(&self) -> PartStatus {
        PartStatus {
            part: "fleet".to_owned(),
            state: Health::Failed,
            detail: self.what.clone(),
            hint: Some(self.remedy.clone()),
        }
    }
}

impl From<KeyError> for Broken {
    fn from(error: KeyError) -> Self {
        Self { what: error.to_string(), remedy: error.remedy() }
    }
}

impl From<KeepError> for Broken {
    fn from(error: KeepError) -> Self {
        Self { what: error.to_string(), remedy: error.remedy() }
    }
}

/// The fleet, shared by everything that has to do with it. Functions that change something block on the
/// disk: from async code they are called where that is allowed.
pub(crate) struct Fleet {
    state_dir: PathBuf,
    label: String,
    wanted: Listen,
    /// Where members may be, beside where they say they are.
    wanted_seeds: Vec<Seed>,
    extra: RwLock<HashMap<NodeId, Vec<SocketAddr>>>,
    twins: Mutex<twin::Twins>,
    edges: Arc<Edges>,
    /// Held throughout each change, so that changes come one after the other.
    keep: Mutex<Keep>,
    own: RwLock<Own>,
    changed: watch::Sender<u64>,
    place: RwLock<Place>,
    datagrams: Mutex<Option<UdpSocket>>,
    links: Mutex<HashMap<NodeId, Arc<Link>>>,
    contacts: Mutex<HashMap<NodeId, Contact>>,
    turned_away: Mutex<BTreeMap<&'static str, u64>>,
    words: Words,
    tasks: Tasks,
    bindings: Bindings,
    messages: Messages,
}

struct Own {
    identity: Arc<Identity>,
    keys: Option<Arc<Keys>>,
    members: Arc<Members>,
}

/// Where others reach this node.
#[derive(Debug, Clone, Default)]
struct Place {
    address: Option<SocketAddr>,
    note: Option<String>,
    tailscale: Option<String>,
}

/// How speaking with a member went.
#[derive(Debug, Clone, Default)]
struct Contact {
    spoken_at: Option<Timestamp>,
    trouble: Option<String>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fleet({})", self.node())
    }
}

impl Fleet {
    /// As it was left; makes this node's identity when it has none.
    pub(crate) fn open(config: &Config, edges: &Arc<Edges>) -> Result<Arc<Self>, Broken> {
        let state_dir = config.dirs.state.clone();
        let identity = keyfile::identity(&state_dir)?;
        let keys = keyfile::keys(&state_dir)?;
        let keep = Keep::open(&state_dir)?;
        let members = match &keys {
            Some(_) => Members::trusted(keep.members()?),
            None => Members::default(),
        };
        let own = Own {
            identity: Arc::new(identity),
            keys: keys.map(Arc::new),
            members: Arc::new(members),
        };
        edges.hide(keyfile::own_secrets(&state_dir));
        let words = Words::restored(keep.words()?);
        let tasks = Tasks::restored(keep.words_of::<task::Link>()?);
        let bindings = Bindings::restored(keep.words_of::<Said>()?);
        let messages = Messages::restored(&keep)?;
        Ok(Arc::new(Self {
            state_dir,
            label: config.host.chars().take(MAX_LABEL).collect(),
            wanted: config.listen,
            wanted_seeds: config.seeds.clone(),
            extra: RwLock::default(),
            twins: Mutex::default(),
            edges: Arc::clone(edges),
            keep: Mutex::new(keep),
            own: RwLock::new(own),
            changed: watch::channel(0).0,
            place: RwLock::default(),
            datagrams: Mutex::default(),
            links: Mutex::default(),
            contacts: Mutex::default(),
            turned_away: Mutex::default(),
            words,
            tasks,
            bindings,
            messages,
        }))
    }

    /// What is kept of other hosts' sessions.
    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    /// Which sessions work on which tasks.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Which sessions are bound to which.
    pub(crate) fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// What sessions send each other.
    pub(crate) fn messages(&self) -> &Messages {
        &self.messages
    }

    /// What this host is called.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// What is secret in texts on this host.
    pub(crate) fn edges(&self) -> &Edges {
        &self.edges
    }

    /// This node's keys.
    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.own().identity)
    }

    /// This node's name.
    pub(crate) fn node(&self) -> NodeId {
        self.own().identity.node()
    }

    /// The fleet's key; without one this host is alone and has no socket.
    pub(crate) fn key(&self) -> Option<FleetKey> {
        self.own().keys.as_ref().map(|keys| keys.now.1.clone())
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        self.own().keys.clone()
    }

    /// Everybody.
    pub(crate) fn members(&self) -> Arc<Members> {
        Arc::clone(&self.own().members)
    }

    /// Another number whenever key or members have changed.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Where others reach this node, while it listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.place().address
    }

    /// Whether there is a socket that nobody has taken.
    pub(crate) fn has_datagrams(&self) -> bool {
        lock(&self.datagrams).is_some()
    }

    /// The socket for datagrams, bound to the same port as the one for connections. Whoever takes it has
    /// it until it listens anew, which `changed` tells.
    pub(crate) fn take_datagrams(&self) -> Option<UdpSocket> {
        lock(&self.datagrams).take()
    }

    /// Where a member may be: where it says it is, the best first, then where it was found otherwise.
    fn addresses(&self, node: NodeId) -> Vec<SocketAddr> {
        let members = self.members();
        let mut addresses = members.get(node).map(|m| m.addresses.clone()).unwrap_or_default();
        for address in self.extra().remove(&node).unwrap_or_default() {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Where members may be, beside where they say they are.
    pub(crate) fn extra(&self) -> HashMap<NodeId, Vec<SocketAddr>> {
        self.extra.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What lets calls through to a member.
    pub(crate) fn link(&self, node: NodeId) -> Arc<Link> {
        Arc::clone(lock(&self.links).entry(node).or_insert_with(|| Arc::new(Link::new(node))))
    }

    /// A generation that this node never had. Blocks.
    pub(crate) fn next_generation(&self) -> Result<u64, KeepError> {
        lock(&self.keep).next_generation(now())
    }

    /// The database with what must not be lost. Blocks.
    pub(crate) fn keep(&self) -> MutexGuard<'_, Keep> {
        lock(&self.keep)
    }

    /// What was taken of each sender. Blocks.
    pub(crate) fn floors(&self) -> Result<Vec<(NodeId, Floor)>, KeepError> {
        lock(&self.keep).floors()
    }

    /// Takes what another list has; says whose entries are news. Blocks.
    pub(crate) fn merge(&self, list: List) -> Result<BTreeSet<NodeId>, KeepError> {
        let keep = lock(&self.keep);
        self.merge_with(&keep, list)
    }

    fn merge_with(&self, keep: &Keep, list: List) -> Result<BTreeSet<NodeId>, KeepError> {
        if self.keys().is_none() {
            return Ok(BTreeSet::new());
        }
        let mut members = Members::clone(&self.members());
        let news = members.merge(list);
        if !news.is_empty() {
            keep.set_members(&members.list())?;
            for node in news.iter().copied() {
                let dropped = members.dropped(node).map(|_| u64::MAX);
                if let Some(generation) = dropped.or(members.forgotten(node)) {
                    keep.forget_past(node, generation)?;
                }
            }
            self.own_mut().members = Arc::new(members);
            self.tell();
        }
        Ok(news)
    }

    /// The member behind a handshake.
    fn member_by(&self, handshake: &HandshakePublic) -> Result<NodeId, Stranger> {
        let members = self.members();
        if let Some(member) = members.now().find(|member| member.handshake == *handshake) {
            return Ok(member.node());
        }
        let list = members.list();
        let was = list.statements.iter().filter_map(|statement| statement.read());
        let dropped = was.into_iter().find(|member| member.handshake == *handshake);
        Err(dropped.map_or(Stranger::Unknown, |member| Stranger::Dropped(member.node())))
    }

    /// What this node says of itself.
    fn member(&self, identity: &Identity, version: u64, joined_at: Timestamp) -> Member {
        let place = self.place();
        let mut addresses: Vec<SocketAddr> = place.address.into_iter().collect();
        addresses.truncate(MAX_ADDRESSES);
        Member {
            signing: identity.public(),
            handshake: identity.handshake_public(),
            label: self.label.clone(),
            addresses,
            tailscale: place.tailscale,
            replaces: None,
            joined_at,
            version,
        }
    }

    /// Founds a fleet. Blocks.
    fn found(&self) -> Result<(), Broken> {
        let key = FleetKey::new(*keyfile::random::<32>()?);
        let keep = lock(&self.keep);
        let identity = self.identity();
        let version = keep.next_version(now())?;
        let replaces = keep.replaces()?;
        let member = Member { replaces, ..self.member(&identity, version, now()) };
        let vouched = vouch(&identity, member.signing, member.handshake);
        let founder = Statement::new(&identity, &member, vouched);
        let members = Members::founded(founder).ok_or_else(|| Broken {
            what: "this node's own statement does not hold".to_owned(),
            remedy: "rrd doctor looks into it".to_owned(),
        })?;
        self.enter(&keep, Keys::first(1, key), members)
    }

    /// Is in a fleet from here on.
    fn enter(&self, keep: &Keep, keys: Keys, members: Members) -> Result<(), Broken> {
        // The key comes last: with it the fleet begins.
        keep.set_members(&members.list())?;
        self.own_mut().members = Arc::new(members);
        self.set_keys(Some(keys))
    }

    fn set_keys(&self, keys: Option<Keys>) -> Result<(), Broken> {
        keyfile::keep(&self.state_dir, keys.as_ref())?;
        self.edges.hide(keyfile::own_secrets(&self.state_dir));
        self.own_mut().keys = keys.map(Arc::new);
        self.tell();
        Ok(())
    }

    /// Whether the list says of this node what it would state itself, as far as it can tell.
    fn is_as_stated(&self) -> bool {
        let (identity, members) = (self.identity(), self.members());
        let said = members.get(identity.node()).filter(|_| self.address().is_some());
        said.is_none_or(|last| self.statement(&identity, last) == *last)
    }

    /// What this node states, after what it stated last.
    fn statement(&self, identity: &Identity, last: &Member) -> Member {
        let mut fresh = self.member(identity, last.version, last.joined_at);
        fresh.replaces = last.replaces;
        if fresh.tailscale.is_none() {
            fresh.tailscale.clone_from(&last.tailscale);
        }
        fresh
    }

    /// States anew where this node is and what it is called, when that has changed. Blocks.
    fn restate(&self) -> Result<(), KeepError> {
        let keep = lock(&self.keep);
        let (identity, members) = (self.identity(), self.members());
        let node = identity.node();
        let (Some(last), Some(statement)) = (members.get(node), members.statement(node)) else {
            return Ok(());
        };
        let mut fresh = self.statement(&identity, last);
        if fresh == *last {
            return Ok(());
        }
        fresh.version = keep.next_version(now())?.max(last.version + 1);
        let stated = Statement::new(&identity, &fresh, (statement.voucher, statement.vouch));
        self.merge_with(&keep, List { statements: vec![stated], ..List::default() })?;
        Ok(())
    }

    /// Has what a host said so far forgotten everywhere. Blocks.
    fn forget(&self, node: NodeId, known: u64) -> Result<(), KeepError> {
        let keep = lock(&self.keep);
        // Whatever it began until now, as generations are times; what it begins later is news.
        let generation = known.max(u64::try_from(now().as_millis()).unwrap_or(0));
        let forget = Forget::new(&self.identity(), node, generation.min(MAX_GENERATION));
        self.merge_with(&keep, List { forgets: vec![forget], ..List::default() })?;
        Ok(())
    }

    /// How it is, for `rrd status`.
    pub(crate) fn part(&self) -> PartStatus {
        let part = |state, detail: String, hint: Option<&str>| PartStatus {
            part: "fleet".to_owned(),
            state,
            detail,
            hint: hint.map(str::to_owned),
        };
        let Some(key) = self.key() else {
            return part(Health::Off, "this host is in no fleet".to_owned(), None);
        };
        let (members, place) = (self.members(), self.place());
        let note = place.note.map(|note| format!(" ({note})")).unwrap_or_default();
        let (state, at) = match place.address {
            Some(address) => (Health::Ok, format!("listens at {address}{note}")),
            None => (Health::Degraded, format!("does not listen{note}")),
        };
        if !members.has(self.node()) {
            let detail = "this node is no member of its fleet any more: the others refuse it";
            return part(Health::Failed, detail.to_owned(), Some("rrd fleet leave"));
        }
        let count = members.now().count();
        if let Some(part) = self.twins_part() {
            return part;
        }
        let away: u64 = lock(&self.turned_away).values().sum();
        let away = if away > 0 { format!("; {away} turned away") } else { String::new() };
        part(state, format!("{count} members, key {}, {at}{away}", key.id()), None)
    }

    fn turn_away(&self, why: &'static str) {
        *lock(&self.turned_away).entry(why).or_default() += 1;
    }

    fn spoke(&self, node: NodeId, result: Result<(), String>) {
        let mut contacts = lock(&self.contacts);
        let contact = contacts.entry(node).or_default();
        match result {
            Ok(()) => *contact = Contact { spoken_at: Some(now()), trouble: None },
            Err(trouble) => contact.trouble = Some(trouble),
        }
    }

    fn own(&self) -> std::sync::RwLockReadGuard<'_, Own> {
        self.own.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn own_mut(&self) -> std::sync::RwLockWriteGuard<'_, Own> {
        self.own.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> Place {
        self.place.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_place(&self, place: Place) {
        *self.place.write().unwrap_or_else(PoisonError::into_inner) = place;
    }

    fn tell(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

/// Who is no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    /// It never was one.
    Unknown,
    /// It was one.
    Dropped(NodeId),
}

/// Does what blocks where that holds nothing up; `None` when it failed inside.
pub(crate) async fn aside<P: Send + Sync + 'static, T: Send + 'static>(
    part: &Arc<P>,
    work: impl FnOnce(&P) -> T + Send + 'static,
) -> Option<T> {
    let part = Arc::clone(part);
    tokio::task::spawn_blocking(move || work(&part)).await.ok()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
