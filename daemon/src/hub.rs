//! The one place where everything known of this host's sessions comes together.
//!
//! Inputs are applied one at a time under one lock, synchronously and in microseconds; whoever waits
//! for changes watches the version. Nothing is queued here: the tails' own work is the queue, and their
//! transcripts the buffer. Not here: reading, storing, answering over a socket.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use rrd_core::{
    cursor::FileId,
    fleet,
    fold::Fold,
    hook::{HookEvent, HookedProcess, Trail},
    roster::{Absence, Entry, Place, RootLive, Roster},
};
use rrd_proto::{
    Coverage, Harness, IndexProgress, Link, ListQuery, ListReply, Lookup, NodeId, PartStatus, Root,
    RootState, Session, SessionKey, Subagent, Timestamp,
};
use tokio::sync::watch;

mod places;
mod repos;

pub(crate) use repos::Unknown;

use crate::{
    audience::Audience, config::HarnessRoot, gossip::Gossip, others::Asked, store::Stored,
};

/// Everything that can happen to what is known.
#[derive(Debug)]
pub(crate) enum Input {
    /// A session is known this far.
    Session(SessionKey, Entry),
    /// The processes behind a root's sessions have been looked at.
    Live(usize, RootLive),
    /// What a root holds.
    Root(usize, RootState),
    /// How far a root's first index is.
    Progress(usize, IndexProgress),
    /// A session is gone that never wrote anything, or what it wrote was another's.
    Unwritten(SessionKey),
    /// A session of which only hooks know, unless somebody else does by now.
    OnlyHooked(SessionKey, Entry),
    /// What this root read a session from is not where it was; `None`: it is there again. Once that is
    /// certain it is no root's any more, and any may have it that has a copy.
    Absent(SessionKey, usize, Option<Absence>),
    /// A hook was called.
    Hook(HookEvent),
    /// The process that a session's hook named has been looked at.
    HookedProcess(SessionKey, HookedProcess),
    /// What hooks said before the start.
    Trails(Vec<(SessionKey, Trail)>),
    /// Whatever hooks said and nobody believes any more may be forgotten.
    OldTrails,
    /// A root's tail speaks of itself.
    Parts(usize, Vec<PartStatus>),
    /// This node has another name.
    Node(NodeId),
    /// What is known of the other hosts has changed.
    Others,
    /// The places that sessions are mirrored to.
    Mirrors(Vec<String>),
    /// How these sessions are in one of them.
    Coverage(Vec<(SessionKey, Coverage)>),
    /// For whom sessions said that they wait.
    Declared(HashMap<SessionKey, Vec<Link>>),
    /// What sessions sent others.
    Messages(HashMap<SessionKey, Vec<Link>>),
    /// How long harnesses keep transcripts in each root, in milliseconds, as far as that can be told.
    Periods(HashMap<usize, Option<i64>>),
}

/// What is known of this host's sessions, and who waits for changes of it.
#[derive(Debug)]
pub(crate) struct Hub {
    known: Mutex<Known>,
    version: watch::Sender<u64>,
    /// The same for what concerns this host alone.
    here: watch::Sender<u64>,
    /// Roots that have not been looked through for the first time.
    unsurveyed: AtomicUsize,
    /// Held while a session is handed from one database to another, and while records of one are taken.
    handover: Mutex<()>,
    /// The other hosts, while there is a fleet.
    others: RwLock<Option<Arc<Gossip>>>,
    /// Those who ask.
    pub(crate) audience: Arc<Audience>,
}

#[derive(Debug)]
struct Known {
    roster: Roster,
    roots: Vec<KnownRoot>,
    /// Which root a session belongs to: one home copied into another must not list it twice.
    claims: HashMap<SessionKey, usize>,
    /// Which files are named after a session, in whatever root: more than one is told.
    places: HashMap<SessionKey, Vec<(PathBuf, FileId)>>,
    /// The same of what programs store here: no copies that anybody is told of.
    stored: HashMap<SessionKey, Vec<PathBuf>>,
    /// Sessions that nobody wants to see again.
    forgotten: HashSet<SessionKey>,
    /// Sessions with a copy in the store and another in a harness's home, of which either may be read.
    shared: HashSet<SessionKey>,
    repos: repos::Learning,
}

#[derive(Debug)]
struct KnownRoot {
    root: Root,
    /// No harness's own, so that nobody who looks for theirs is told of it.
    is_store: bool,
    progress: IndexProgress,
    parts: Vec<PartStatus>,
}

impl Hub {
    pub(crate) fn new(place: Place, roots: &[HarnessRoot]) -> Self {
        let root = |root: &HarnessRoot| KnownRoot {
            root: Root {
                harness: root.harness.clone(),
                path: root.path.display().to_string(),
                state: RootState::Missing,
            },
            is_store: root.is_store,
            progress: IndexProgress::default(),
            parts: Vec::new(),
        };
        let roots = roots.iter().map(root).collect();
        let known = Known {
            roster: Roster::new(place),
            roots,
            claims: HashMap::new(),
            places: HashMap::new(),
            stored: HashMap::new(),
            forgotten: HashSet::new(),
            shared: HashSet::new(),
            repos: repos::Learning::default(),
        };
        Self {
            known: Mutex::new(known),
            version: watch::channel(1).0,
            here: watch::channel(1).0,
            unsurveyed: AtomicUsize::new(0),
            handover: Mutex::default(),
            others: RwLock::default(),
            audience: Arc::default(),
        }
    }

    /// Takes one input.
    pub(crate) fn apply(&self, input: Input) {
        let is_others = matches!(input, Input::Others);
        let (before, version) = {
            let mut known = self.lock();
            let before = known.roster.version();
            match input {
                Input::Session(key, _) | Input::OnlyHooked(key, _)
                    if known.forgotten.contains(&key) => {}
                // What a forgotten session delegates is forgotten, too, whenever it begins.
                Input::Session(key, entry)
                    if !known.forgotten.is_empty()
                        && entry
                            .fold
                            .delegated_by(&key)
                            .is_some_and(|by| known.forgotten.contains(&by)) =>
                {
                    known.roster.forget(&key);
                    known.repos.forget(&key);
                    known.forgotten.insert(key);
                }
                // Handed over meanwhile: what it was, or was not, elsewhere says nothing of it now.
                Input::Session(key, Entry { root, .. }) | Input::Absent(key, root, _)
                    if known.claims.get(&key).is_some_and(|of| *of != root) => {}
                Input::Session(key, entry) => known.roster.set(key, entry),
                Input::OnlyHooked(key, _) if known.roster.get(&key).is_some() => {}
                Input::OnlyHooked(key, entry) => known.roster.set(key, entry),
                Input::Live(root, look) => known.roster.set_live(root, look),
                Input::Root(root, state) => {
                    known.roster.set_seen(root, matches!(state, RootState::Found { .. }));
                    known.roots[root].root.state = state;
                }
                Input::Absent(key, _, absence) => {
                    if absence == Some(Absence::Gone) {
                        known.claims.remove(&key);
                    }
                    known.roster.set_absent(&key, absence);
                }
                Input::Progress(root, progress) => known.roots[root].progress = progress,
                Input::Parts(root, parts) => known.roots[root].parts = parts,
                Input::Unwritten(key) => known.roster.forget_unwritten(&key),
                Input::Hook(event) => known.roster.hook(event, now()),
                Input::HookedProcess(key, found) => known.roster.set_hooked_process(&key, found),
                Input::Trails(trails) => known.roster.restore_trails(trails),
                Input::Others => known.roster.others_changed(),
                Input::Node(node) => known.roster.set_node(Some(node.to_string())),
                Input::Mirrors(places) => known.roster.set_mirrors(places),
                Input::Coverage(mut news) => {
                    news.retain(|(key, _)| !known.forgotten.contains(key));
                    known.roster.set_coverage(news);
                }
                Input::Declared(links) => known.roster.set_declared(links),
                Input::Messages(links) => known.roster.set_messages(links),
                Input::Periods(periods) => known.roster.set_periods(periods),
                Input::OldTrails => known.roster.forget_old_trails(now()),
            }
            (before, known.roster.version())
        };
        if !is_others && before != version {
            self.here.send_replace(version);
        }
        self.version.send_if_modified(|seen| std::mem::replace(seen, version) != version);
    }

    /// What is known besides rows has changed here, and is to be told.
    pub(crate) fn besides_changed(&self) {
        self.apply(Input::Others);
        self.here.send_modify(|_| {});
    }

    /// True when the session belongs to this root, because it came first or nobody did before.
    pub(crate) fn claim(&self, key: &SessionKey, root: usize) -> bool {
        let mut known = self.lock();
        !known.forgotten.contains(key) && *known.claims.entry(key.clone()).or_insert(root) == root
    }

    /// From now on these are not known, whoever tells of them.
    pub(crate) fn forget(&self, keys: &[SessionKey]) {
        let version = {
            let mut known = self.lock();
            keys.iter().for_each(|key| {
                known.roster.forget(key);
                known.repos.forget(key);
            });
            known.forgotten.extend(keys.iter().cloned());
            known.roster.version()
        };
        self.here.send_replace(version);
        self.version.send_if_modified(|seen| std::mem::replace(seen, version) != version);
    }

    /// As long as this is held, no session goes from one database to another: what is taken of one is
    /// its owner's.
    pub(crate) fn handover(&self) -> MutexGuard<'_, ()> {
        self.handover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while the session is this root's.
    pub(crate) fn is_claimed_by(&self, key: &SessionKey, root: usize) -> bool {
        self.lock().claims.get(key) == Some(&root)
    }

    /// True while the session is no root's, and may become one's.
    pub(crate) fn is_free(&self, key: &SessionKey) -> bool {
        let known = self.lock();
        !known.claims.contains_key(key) && !known.forgotten.contains(key)
    }

    /// The sessions that nobody wants to know of, but for these.
    pub(crate) fn forgotten_besides(&self, known: &HashSet<SessionKey>) -> Vec<SessionKey> {
        self.lock().forgotten.difference(known).cloned().collect()
    }

    /// True of a session that nobody wants to know of.
    pub(crate) fn is_forgotten(&self, key: &SessionKey) -> bool {
        self.lock().forgotten.contains(key)
    }

    /// True while the session is another root's than this.
    pub(crate) fn is_anothers(&self, key: &SessionKey, root: usize) -> bool {
        self.lock().claims.get(key).is_some_and(|of| *of != root)
    }

    /// Whether this root is rrd's own store, and no harness's.
    pub(crate) fn is_store(&self, root: usize) -> bool {
        self.lock().roots.get(root).is_some_and(|root| root.is_store)
    }

    /// The session has a copy in the store beside its harness's; true when that is news. Whoever reads such
    /// a one holds [`Self::handover`].
    pub(crate) fn share(&self, key: &SessionKey) -> bool {
        self.lock().shared.insert(key.clone())
    }

    /// Whether it has.
    pub(crate) fn is_shared(&self, key: &SessionKey) -> bool {
        self.lock().shared.contains(key)
    }

    /// Gives the session to this root, whosever it was.
    pub(crate) fn hand_over(&self, key: &SessionKey, root: usize) {
        self.lock().claims.insert(key.clone(), root);
    }

    /// Gives this root the sessions that were stored as its own.
    pub(crate) fn claim_all(&self, stored: &Stored, root: usize) {
        let mut known = self.lock();
        for (key, _) in &stored.sessions {
            known.claims.entry(key.clone()).or_insert(root);
        }
    }

    /// The session's fold, once it has been read to its end.
    pub(crate) fn fold(&self, key: &SessionKey) -> Option<Arc<Fold>> {
        self.lock()
            .roster
            .get(key)
            .filter(|entry| entry.complete)
            .map(|entry| Arc::clone(&entry.fold))
    }

    /// What is known of a session.
    pub(crate) fn entry(&self, key: &SessionKey) -> Option<Entry> {
        self.lock().roster.get(key).cloned()
    }

    /// The processes that hooks named and of which nothing else tells.
    pub(crate) fn hooked_processes(&self) -> Vec<(SessionKey, HookedProcess)> {
        self.lock().roster.hooked_processes()
    }

    /// What hooks said of every session.
    pub(crate) fn trails(&self) -> Vec<(SessionKey, Trail)> {
        self.lock().roster.trails()
    }

    /// What changed of that since this was last asked; `None` where it was forgotten.
    pub(crate) fn unsaved_trails(&self) -> Vec<(SessionKey, Option<Trail>)> {
        self.lock().roster.unsaved_trails()
    }

    /// Open sessions of which only hooks know.
    pub(crate) fn only_hooked(&self) -> Vec<(SessionKey, Trail)> {
        self.lock().roster.only_hooked(now())
    }

    /// A root is to be looked through for the first time.
    pub(crate) fn begins_survey(&self) {
        self.unsurveyed.fetch_add(1, Ordering::SeqCst);
    }

    /// That is done.
    pub(crate) fn ends_survey(&self) {
        self.unsurveyed.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether there is a row for every session of this host.
    pub(crate) fn is_surveyed(&self) -> bool {
        self.unsurveyed.load(Ordering::SeqCst) == 0
    }

    /// Changes with what is known of this host; what other hosts say is none of that.
    pub(crate) fn here(&self) -> watch::Receiver<u64> {
        self.here.subscribe()
    }

    /// Changes with every change of what is known.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Answers `list`, for every host.
    pub(crate) fn list(&self, query: &ListQuery) -> ListReply {
        self.list_with(query, Asked::default())
    }

    /// The same with what other hosts were asked for.
    pub(crate) fn list_with(&self, query: &ListQuery, asked: Asked) -> ListReply {
        let _looking = self.audience.look();
        let reply = self.list_here(query);
        let Some(others) = self.others() else { return reply };
        let Asked { answered, rows, unheard } = asked;
        let mut known: HashMap<_, Session> =
            rows.into_iter().map(|row| ((row.node_id.clone(), row.key()), row)).collect();
        for row in others.rows() {
            // What a host just told of itself is whole; else its record is newer than what is kept.
            if !row.node_id.as_ref().is_some_and(|node| answered.contains(node)) {
                known.insert((row.node_id.clone(), row.key()), row);
            }
        }
        let reply = fleet::list::join(reply, known.into_values().collect(), query);
        ListReply { unheard, alone: others.is_alone(), ..reply }
    }

    /// Answers `list` for this host alone; whoever asks by the clock is no audience.
    pub(crate) fn list_here(&self, query: &ListQuery) -> ListReply {
        let known = self.lock();
        let homes = known.roots.iter().filter(|root| !root.is_store);
        let roots = homes.map(|home| home.root.clone()).collect();
        known.roster.list(query, now(), known.progress(), roots)
    }

    /// This host's sessions that run in one of these processes.
    pub(crate) fn running_here(&self, pids: &[u32]) -> Vec<Session> {
        self.lock().roster.running(pids, now())
    }

    /// Answers `show`, for every host.
    pub(crate) fn lookup(&self, id: &str) -> Lookup {
        let here = self.lock().roster.lookup(id, now());
        match self.others() {
            Some(others) => fleet::list::look_up(here, others.rows(), id),
            None => here,
        }
    }

    /// This host's sessions by their refs.
    pub(crate) fn called_here(&self, refs: &BTreeSet<&str>) -> Vec<Session> {
        match refs.is_empty() {
            true => Vec::new(),
            false => self.lock().roster.called(refs, now()),
        }
    }

    /// The same of every host.
    pub(crate) fn called(&self, refs: &BTreeSet<&str>) -> Vec<Session> {
        if refs.is_empty() {
            return Vec::new();
        }
        let mut found = self.called_here(refs);
        let others = self.rows_elsewhere().into_iter();
        found.extend(others.filter(|row| refs.contains(row.reference.as_str())));
        found
    }

    /// This host's sessions of which a message is on its way or unread, whatever has become of them.
    pub(crate) fn senders_here(&self) -> Vec<Session> {
        self.lock().roster.senders(now())
    }

    /// What gossip tells of all other hosts' sessions, in no order.
    pub(crate) fn rows_elsewhere(&self) -> Vec<Session> {
        self.others().map(|others| others.rows()).unwrap_or_default()
    }

    /// This host's label.
    pub(crate) fn host(&self) -> String {
        self.lock().roster.host().to_owned()
    }

    /// These sessions of this host, as far as they are known.
    pub(crate) fn rows<'k>(
        &self,
        keys: impl Iterator<Item = &'k SessionKey>,
    ) -> HashMap<SessionKey, Session> {
        self.lock().roster.rows_of(keys, now())
    }

    /// One session of this host.
    pub(crate) fn row(&self, key: &SessionKey) -> Option<Session> {
        self.lock().roster.row_of(key, now())
    }

    /// The subagents of a session and theirs, and how many older ones there are besides.
    pub(crate) fn subagents(&self, key: &SessionKey) -> (Vec<Subagent>, u64) {
        self.lock().roster.subagents(key, now())
    }

    /// Sessions of this harness, or any, in the repository of this name, or any.
    pub(crate) fn keys(
        &self,
        harness: Option<&Harness>,
        repo: Option<&str>,
    ) -> HashSet<SessionKey> {
        self.lock().roster.keys(harness, repo).cloned().collect()
    }

    /// Who tells of the other hosts, while there is a fleet.
    pub(crate) fn others(&self) -> Option<Arc<Gossip>> {
        self.others.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on that one tells of the other hosts, or nobody does.
    pub(crate) fn set_others(&self, others: Option<Arc<Gossip>>) {
        *self.others.write().unwrap_or_else(PoisonError::into_inner) = others;
        self.apply(Input::Others);
    }

    /// What the tails say of themselves, and how far the first index is.
    pub(crate) fn parts(&self) -> (Vec<PartStatus>, Option<IndexProgress>) {
        let known = self.lock();
        (known.roots.iter().flat_map(|root| root.parts.clone()).collect(), known.progress())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // What is known stays usable: each input leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn progress(&self) -> Option<IndexProgress> {
        let sum = self.roots.iter().fold(IndexProgress::default(), |sum, root| IndexProgress {
            done: sum.done + root.progress.done,
            total: sum.total + root.progress.total,
            files_left: sum.files_left + root.progress.files_left,
        });
        (sum.files_left > 0).then_some(sum)
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_millis(since.map_or(0, |s| i64::try_from(s.as_millis()).unwrap_or(i64::MAX)))
}

/// A transcript's path as it is shown and stored.
pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Hub {
        let idle_timeout = std::time::Duration::from_secs(300);
        Hub::new(Place { host: "mac".to_owned(), node_id: None, idle_timeout }, &[])
    }

    #[test]
    fn what_other_hosts_say_is_no_change_of_this_one() {
        let hub = hub();
        let (mut all, here) = (hub.version(), hub.here());
        hub.apply(Input::Others);
        assert!(all.has_changed().unwrap() && !here.has_changed().unwrap());
        // Nor is it what does not change anything here, after that.
        hub.apply(Input::OldTrails);
        assert!(!here.has_changed().unwrap());
        all.mark_unchanged();
        hub.apply(Input::Node(NodeId::LEAST));
        assert!(all.has_changed().unwrap() && here.has_changed().unwrap());
    }

    #[test]
    fn all_is_told_when_every_root_was_looked_through() {
        let hub = hub();
        assert!(hub.is_surveyed(), "there is none");
        (0..2).for_each(|_| hub.begins_survey());
        hub.ends_survey();
        assert!(!hub.is_surveyed(), "one is slow");
        hub.ends_survey();
        assert!(hub.is_surveyed());
    }
}
