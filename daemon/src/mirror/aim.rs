//! One bucket: what it is to have, when something is brought there, and how that goes.
//!
//! A session that gained records is due when its turn ends, or later while it goes on
//! ([`rrd_core::mirror::due`]). A few are carried at a time; when the bucket fails, all of them wait.
//! When nothing changes nothing is done. Not here: how one session is carried ([`super::stream`]).

mod came;
mod check;
mod chosen;
mod copies;
mod covered;
mod fewer;
mod over;
mod short;
mod told;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rrd_core::{mirror::due, roster::Entry};
use rrd_proto::{Coverage, MirrorTarget, SessionKey, Timestamp};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::copies::Copies;
use super::{
    Mirror,
    gather::At,
    is_alarming,
    outbox::{Outbox, OutboxError, Stream, StreamId, TargetId},
    parts_of,
    stream::{Ask, Carrier, Failure},
    target::{Access, Fault, Kind, Target, TargetError, plain},
    twins::Twins,
};
use crate::{
    dirs::Dirs,
    fleet::Fleet,
    hub::{Hub, now},
    repo::Memory,
    store::Committed,
};

/// So many transcripts are carried at a time: more than are read, since the rest wait for a disk or a bucket.
const AT_ONCE: usize = 6;

/// So many parts are in memory at a time.
const IN_MEMORY: usize = 2;

/// After a start this is how often it is looked whether every session has a row.
const LOOK: Duration = Duration::from_millis(100);

/// What cannot be mirrored is tried again after so long.
const LATER: Duration = Duration::from_secs(60);

/// When it is asked to stop, this is how long what is left may take.
const GRACE: Duration = Duration::from_millis(4_500);

/// It is looked so often for streams of many parts, and for what nobody tells of.
const COMPACT: Duration = Duration::from_secs(600);

/// How many transcripts that cannot be mirrored are told of.
const TOLD: usize = 10;

/// One bucket, followed.
pub(crate) struct Aim {
    pub(super) id: TargetId,
    pub(super) settings: MirrorTarget,
    pub(super) stop: CancellationToken,
    pub(super) since: Timestamp,
    /// When this began to be followed.
    begun: Timestamp,
    /// Why it is not followed any more.
    stuck: OnceLock<String>,
    hub: Arc<Hub>,
    memory: Arc<Memory>,
    state_dir: PathBuf,
    fleet: Option<Arc<Fleet>>,
    outbox: Arc<Mutex<Outbox>>,
    /// Nothing where it cannot even be opened, and why.
    carrier: Result<Carrier, String>,
    known: Mutex<Known>,
    /// Somebody waits for everything to be there.
    hurry: AtomicBool,
    /// Every session has been looked at since the start, and since somebody asked for everything last.
    has_looked: AtomicBool,
    wake: Notify,
    idle: watch::Sender<bool>,
    /// What was noted down before the start is known, or nobody will read it.
    has_begun: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    streams: HashMap<SessionKey, Stream>,
    copies: Copies,
    /// Those that the bucket was asked about since the start.
    looked_at: HashSet<StreamId>,
    /// Sessions with something new.
    dirty: HashMap<SessionKey, Dirty>,
    /// Sessions that an earlier release brought, to be compared with what is there.
    to_check: HashSet<SessionKey>,
    /// Sessions that were resumed here and are not this host's to bring yet: no other daemon brings these copies.
    resumed: HashSet<SessionKey>,
    /// Sessions of which the bucket is known not to have what was uploaded.
    to_mend: HashSet<SessionKey>,
    /// Sessions whose parts are to become fewer.
    to_compact: HashSet<SessionKey>,
    /// The one of which they are becoming fewer.
    compacting: Option<SessionKey>,
    troubles: HashMap<SessionKey, (String, Instant)>,
    failing: Option<Failing>,
    /// Since when it fails, as far as it has not worked since, also before the start.
    failing_since: Option<Timestamp>,
    /// Sessions that could not be brought, and since when, also before the start.
    behind: HashMap<SessionKey, Timestamp>,
    /// Sessions with which the bucket failed last, and when.
    failed: HashMap<SessionKey, Instant>,
    /// As databases looked when their rows were noted down last.
    noted: HashMap<SessionKey, Option<(u64, i64)>>,
    /// When it last did what was asked of it.
    worked_at: Option<Instant>,
    /// When somebody asked last for everything to be brought: what was begun before does not say how it is now.
    asked_at: Option<Instant>,
    /// Parts that are still to be sent, while the bucket fails.
    pending: u64,
    /// Sessions that are being carried, and what is new in them.
    carried: HashMap<SessionKey, Option<Dirty>>,
    /// Sessions that the user has stopped, and when.
    stopped: HashMap<SessionKey, Timestamp>,
    /// Sessions that were over for longer than the bucket keeps them, and their last record then.
    over: HashMap<SessionKey, Timestamp>,
    /// Those of them that are to be deleted there.
    to_prune: HashSet<SessionKey>,
    /// What was told of each session.
    told: HashMap<SessionKey, Coverage>,
    /// When the bucket took something of it last.
    taken_at: HashMap<StreamId, Timestamp>,
}

impl Known {
    /// Whether its source, which is gone, may have had something that the bucket has not.
    fn lacks(&self, key: &SessionKey) -> bool {
        let carried = || self.carried.get(key).copied().flatten();
        let dirty = self.dirty.get(key).copied().or_else(carried);
        self.to_mend.contains(key) || dirty.is_some_and(|it| it.may_lack(self.streams.get(key)))
    }

    /// Whether that is this session's own trouble: the bucket can never take it, or does what is asked of it
    /// for others since it did not take this one.
    fn is_of_one(&self, key: &SessionKey, fault: &Fault) -> bool {
        let works_for_others = || self.failed.get(key).copied() < self.worked_at;
        match fault.kind {
            Kind::Object | Kind::TooLarge => true,
            kind if kind.is_of_place() => false,
            _ => self.failed.contains_key(key) && works_for_others(),
        }
    }
}

#[derive(Clone, Copy)]
struct Dirty {
    since: Instant,
    last: Instant,
    bytes: u64,
    /// As its source looked then; nothing where that is not known.
    looks: Option<(u64, i64)>,
}

impl Dirty {
    /// Nothing is known to be new in it, but it is to be looked at.
    fn to_look_at(stream: Option<&Stream>) -> Self {
        let now = Instant::now();
        let looks = stream.and_then(|stream| stream.state.settled);
        Self { since: now, last: now, bytes: 0, looks }
    }

    /// Whether its source, which is gone, may have had something that was not brought.
    fn may_lack(&self, stream: Option<&Stream>) -> bool {
        self.looks.is_none() || stream.is_none_or(|stream| stream.state.settled != self.looks)
    }
}

struct Failing {
    since: Timestamp,
    failures: u32,
    error: String,
    /// When that began which failed last.
    begun: Instant,
    again: Instant,
    /// That it has for long was logged.
    is_told: bool,
}

/// A transcript on its way.
struct Done {
    key: SessionKey,
    stream: Stream,
    begun: Instant,
    /// It was not only compacted or deleted.
    asked: Option<Ask>,
    /// What was new in it when it was looked at last, where it was to be brought.
    dirty: Option<Dirty>,
    /// Its rows were only looked at: whether all of them are brought.
    noted: Option<bool>,
    result: Result<(), Failure>,
}

/// The address with the project's directory.
pub(super) fn address(settings: &MirrorTarget) -> String {
    format!("{}/{}", settings.url.trim_end_matches('/'), settings.project)
}

/// Whether a person means this place by that address, with the project's directory or without.
pub(super) fn is_meant(settings: &MirrorTarget, url: &str) -> bool {
    let meant = [url.trim_end_matches('/').to_owned(), plain(url)];
    let own = [settings.url.clone(), address(settings)];
    meant.iter().any(|url| own.contains(url)) || own.iter().any(|own| plain(own) == meant[1])
}

/// The place, with the project's directory; nothing is asked of it yet.
pub(super) fn open(settings: &MirrorTarget, dirs: &Dirs) -> Result<Target, TargetError> {
    let access = Access {
        endpoint: settings.endpoint.clone(),
        region: settings.region.clone(),
        profile: settings.profile.clone(),
    };
    Target::open(&address(settings), &access, &|name| std::env::var_os(name), dirs)
}

impl Aim {
    pub(super) fn new(
        mirror: &Mirror,
        outbox: &Arc<Mutex<Outbox>>,
        id: TargetId,
        settings: MirrorTarget,
        since: Timestamp,
    ) -> Self {
        let target = open(&settings, &mirror.dirs);
        let carrier = target.map_err(|error| error.to_string()).map(|target| Carrier {
            target: Arc::new(target),
            outbox: Arc::clone(outbox),
            edges: Arc::clone(&mirror.edges),
            node: Arc::clone(&mirror.node),
            host: Arc::clone(&mirror.host),
            ability: Arc::default(),
            room: Arc::new(Semaphore::new(IN_MEMORY)),
            hands: Arc::clone(&mirror.hands),
            redacts: !settings.raw,
            yields: false,
            excluded: settings.exclude_repo.clone().into(),
            twins: Arc::new(Twins::since(now())),
        });
        Self {
            id,
            settings,
            stop: mirror.stop.child_token(),
            since,
            begun: now(),
            stuck: OnceLock::new(),
            hub: Arc::clone(&mirror.hub),
            memory: Arc::clone(&mirror.memory),
            state_dir: mirror.dirs.state.clone(),
            fleet: mirror.fleet.clone(),
            outbox: Arc::clone(outbox),
            carrier,
            known: Mutex::default(),
            hurry: AtomicBool::new(false),
            has_looked: AtomicBool::new(false),
            wake: Notify::new(),
            idle: watch::Sender::new(false),
            has_begun: watch::Sender::new(false),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What carries, or why nothing does.
    pub(super) fn carrier(&self) -> Result<Carrier, String> {
        self.carrier.clone()
    }

    /// Every transcript that it has, or is to have.
    pub(super) fn streams(&self) -> Vec<Stream> {
        self.known().streams.values().cloned().collect()
    }

    /// What is forgotten is nobody's business any more; what the bucket has of it stays there.
    pub(super) fn forget(&self) -> Result<(), OutboxError> {
        let gone: Vec<Stream> =
            self.streams().into_iter().filter(|stream| self.is_forgotten(&stream.key)).collect();
        let behind: Vec<SessionKey> = {
            let known = self.known();
            known.behind.keys().cloned().collect()
        };
        let behind: Vec<SessionKey> =
            behind.into_iter().filter(|key| self.is_forgotten(key)).collect();
        if gone.is_empty() && behind.is_empty() {
            return Ok(());
        }
        {
            let mut known = self.known();
            known.behind.retain(|key, _| !behind.contains(key));
            for stream in &gone {
                known.streams.remove(&stream.key);
                known.told.remove(&stream.key);
                known.dirty.remove(&stream.key);
                known.troubles.remove(&stream.key);
                known.failed.remove(&stream.key);
                known.resumed.remove(&stream.key);
            }
        }
        let streams: Vec<StreamId> = gone.iter().map(|stream| stream.id).collect();
        self.outbox().drop_streams(&streams, self.id, &behind)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows until it is stopped.
    pub(super) async fn follow(
        self: Arc<Self>,
        committed: watch::Receiver<Committed>,
        stop: CancellationToken,
    ) {
        self.keep_up(committed, stop).await;
        // Whoever waits for it waits in vain.
        self.idle.send_replace(true);
        self.has_begun.send_replace(true);
    }

    /// Returns when what was noted down before the start is known.
    pub(super) async fn begun(&self) {
        // It is told as long as this is there.
        let _ = self.has_begun.subscribe().wait_for(|begun| *begun).await;
    }

    async fn keep_up(
        self: &Arc<Self>,
        mut committed: watch::Receiver<Committed>,
        stop: CancellationToken,
    ) {
        let carrier = match &self.carrier {
            Ok(carrier) => carrier.clone(),
            Err(error) => {
                tracing::error!(url = self.settings.url, error, "this place cannot be mirrored to");
                return;
            }
        };
        match self.outbox().streams(self.id) {
            Ok(streams) => {
                self.know(streams);
                self.judge_diverged_anew();
                self.find_unchecked();
            }
            Err(error) => {
                self.is_stuck(&error);
                return;
            }
        }
        let found = self.take_stops().and_then(|()| self.find_taken());
        if let Err(error) = found.and_then(|()| self.find_since()) {
            self.is_stuck(&error);
            return;
        }
        self.has_begun.send_replace(true);
        let ours = self.stop.clone();
        while !self.hub.is_surveyed() {
            tokio::select! {
                () = ours.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        let mut number = committed.borrow_and_update().number;
        self.look_at_all();
        let mut carried = JoinSet::new();
        let mut in_hand = HashSet::new();
        let mut compact_at = Instant::now() + COMPACT;
        loop {
            let next = self.start(&carrier, &mut carried, &mut in_hand);
            let has_looked = self.has_looked.load(Ordering::Relaxed);
            let is_idle = has_looked && carried.is_empty() && self.is_done();
            self.idle.send_if_modified(|was| std::mem::replace(was, is_idle) != is_idle);
            let next = next.map(tokio::time::Instant::from_std);
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ours.cancelled() => break,
                changed = committed.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let last = committed.borrow_and_update().clone();
                    if last.number == number + 1 {
                        last.sessions.iter().for_each(|key| self.mark(key));
                        self.tell(last.sessions.iter().cloned());
                    } else {
                        self.look_at_all();
                    }
                    number = last.number;
                }
                Some(done) = carried.join_next() => {
                    if let Ok(done) = done {
                        in_hand.remove(&done.key);
                        self.take(done);
                    }
                }
                () = self.wake.notified() => self.look_at_all(),
                () = timer => {}
                () = tokio::time::sleep_until(compact_at.into()) => {
                    compact_at = Instant::now() + COMPACT;
                    self.find_many_parts();
                    self.prune();
                    self.look_at_diverged();
                    self.look_at_brought();
                    // What was written other than by appending nobody tells of.
                    self.look_at_all();
                }
            }
        }
        if stop.is_cancelled() {
            // What is new still goes out, if that is quick.
            self.hurry.store(true, Ordering::Relaxed);
            self.look_at_all();
            let rest = async {
                loop {
                    self.start(&carrier, &mut carried, &mut in_hand);
                    let Some(done) = carried.join_next().await else { break };
                    if let Ok(done) = done {
                        in_hand.remove(&done.key);
                        self.take(done);
                    }
                }
            };
            let _ = tokio::time::timeout(GRACE, rest).await;
        }
    }

    fn is_stuck(&self, error: &OutboxError) {
        tracing::error!(%error, "the mirror cannot read what it has done");
        let _ = self.stuck.set(error.to_string());
    }

    /// Starts what is due; gives when there will be more to start.
    fn start(
        self: &Arc<Self>,
        carrier: &Carrier,
        carried: &mut JoinSet<Done>,
        in_hand: &mut HashSet<SessionKey>,
    ) -> Option<Instant> {
        let now = Instant::now();
        let hurry = self.hurry.load(Ordering::Relaxed);
        let again = self.known().failing.as_ref().map(|failing| failing.again);
        if let Some(again) = again.filter(|again| *again > now) {
            self.start_noting(carrier, carried, in_hand);
            self.start_checking(carrier, carried, in_hand, AT_ONCE);
            return (!self.known().dirty.is_empty()).then_some(again);
        }
        // Of a bucket that failed last time one transcript finds out how it is.
        let most = if again.is_some() { 1 } else { AT_ONCE };
        let mut waiting: Vec<(Instant, SessionKey)> = {
            let known = self.known();
            let free = known.dirty.iter().filter(|(key, _)| !in_hand.contains(*key));
            free.map(|(key, dirty)| {
                let later = known.troubles.get(key).map(|(_, since)| *since + LATER);
                let is_left = known.streams.get(key).is_some_and(|stream| stream.state.left)
                    && !known.resumed.contains(key);
                let (since, quiet) = (now - dirty.since, now - dirty.last);
                let wait = match (hurry, is_left) {
                    (true, _) => Duration::ZERO,
                    (_, false) => due::wait(since, quiet, dirty.bytes, self.turn_is_open(key)),
                    (_, true) => due::left(since, quiet, self.turn_is_open(key)),
                };
                ((now + wait).max(later.unwrap_or(now)), key.clone())
            })
            .collect()
        };
        waiting.sort();
        if again.is_some() {
            // Another one each time: it may be the one transcript that the bucket does not take.
            let known = self.known();
            waiting.sort_by_key(|(at, key)| (*at > now, known.failed.get(key).copied()));
        }
        let mut next = None;
        if waiting.is_empty() || waiting[0].0 > now {
            self.start_checking(carrier, carried, in_hand, AT_ONCE);
            self.start_pruning(carrier, carried, in_hand, most);
            self.start_compacting(carrier, carried, in_hand, most);
        }
        for (at, key) in waiting {
            if at > now {
                next = Some(at);
                break;
            }
            if carried.len() >= most {
                break;
            }
            let dirty = self.known().dirty.remove(&key);
            // Meanwhile it may have been stopped.
            if !self.entry(&key).is_some_and(|entry| self.wants(&key, &entry)) {
                self.tell([key]);
                continue;
            }
            if let Some(why) = self.unnamable(&key) {
                self.trouble(&key, why);
                self.tell([key]);
                continue;
            }
            if let Some((stream, source, about, ask)) = self.stream_of(&key) {
                in_hand.insert(key.clone());
                let mut known = self.known();
                known.carried.insert(key.clone(), dirty);
                let is_resumed = known.resumed.contains(&key);
                drop(known);
                // What programs keep in the session store here no other daemon has.
                let is_own = is_resumed || source.path().starts_with(&self.state_dir);
                let yields = !hurry && !is_own;
                let carrier = Carrier { yields, ..carrier.clone() };
                let beside = self.beside(&key);
                // What is in a bucket is looked at with what was known then.
                let memory = (!carrier.excluded.is_empty()).then(|| Arc::clone(&self.memory));
                carried.spawn(async move {
                    let mut stream = stream;
                    // What was deleted and goes on is brought as if it were new.
                    let was_deleted = stream.state.pruned.is_some() && ask == Ask::Claims;
                    let ask = if was_deleted { Ask::Names } else { ask };
                    let known = match memory {
                        Some(memory) => memory.written_down().await.map_err(Failure::Memory),
                        None => Ok(()),
                    };
                    let revived = match known {
                        Ok(()) => carrier.revive(&mut stream).await,
                        Err(failure) => Err(failure),
                    };
                    let result = match revived {
                        Ok(()) => carrier.bring(&mut stream, &source, &about, ask).await,
                        Err(failure) => Err(failure),
                    };
                    let result = match result {
                        Ok(()) => carrier.settle_up(&mut stream, &source, beside).await,
                        Err(failure) => Err(failure),
                    };
                    let asked = Some(ask);
                    Done { key, stream, begun: now, asked, dirty, noted: None, result }
                });
            }
        }
        next
    }

    /// Nothing is left but what is tried again later.
    fn is_done(&self) -> bool {
        let known = self.known();
        known.dirty.keys().all(|key| known.troubles.contains_key(key))
            && known.to_check.is_empty()
            && known.to_compact.is_empty()
            && known.to_prune.is_empty()
    }

    /// Where the records of a session are.
    pub(super) fn source(&self, key: &SessionKey) -> Option<At> {
        let entry = self.entry(key).filter(|entry| !entry.path.is_empty())?;
        Some(at(key, &entry))
    }

    /// Has brought again what the bucket has not any more.
    pub(super) fn mend(&self, key: &SessionKey) {
        let mut known = self.known();
        known.to_mend.insert(key.clone());
        let dirty = Dirty::to_look_at(known.streams.get(key));
        known.dirty.entry(key.clone()).or_insert(dirty);
        drop(known);
        self.tell([key.clone()]);
        self.wake.notify_one();
    }

    /// A copy of this session is about to be put in its place here.
    pub(super) fn comes(&self, key: &SessionKey) {
        self.known().resumed.insert(key.clone());
    }

    /// Returns when everything is there, or the bucket fails at what is asked of it from now on.
    pub(super) async fn catch_up(&self) {
        self.hurry.store(true, Ordering::Relaxed);
        let asked = Instant::now();
        {
            let mut known = self.known();
            known.asked_at = Some(asked);
            known.failing.iter_mut().for_each(|failing| failing.again = asked);
        }
        if let Ok(carrier) = &self.carrier {
            carrier.target.ask_anew();
        }
        self.has_looked.store(false, Ordering::Relaxed);
        self.idle.send_replace(false);
        self.wake.notify_one();
        let mut idle = self.idle.subscribe();
        // Of what failed last, where anything did: whether it was begun since.
        let fails = || self.known().failing.as_ref().map(|failing| failing.begun >= asked);
        loop {
            let waited = tokio::time::timeout(LOOK, idle.wait_for(|idle| *idle)).await;
            if waited.is_ok() || fails() == Some(true) {
                break;
            }
        }
        self.hurry.store(false, Ordering::Relaxed);
        if fails() == Some(false) {
            self.ask_again().await;
        }
    }
}

/// Where a session's records are.
fn at(key: &SessionKey, entry: &Entry) -> At {
    At::new(key, Path::new(&*entry.path))
}
