//! One look at this host without a daemon: the same survey, the same answers, nothing written.
//!
//! Reads the index where a daemon has left one, so that transcripts it has read are not read again.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashSet, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rrd_core::{body, calls::Calls, long::Long, roster::Place};
use rrd_proto::{
    Body, Event, EventPage, EventQuery, Harness, IndexProgress, ListQuery, ListReply, Lookup,
    LookupQuery, MAX_MARKS, Mark, NodeId, Outline, OutlineQuery, PartStatus, SearchQuery,
    SearchReply, SessionKey,
};

use crate::{
    config::{Config, HarnessRoot},
    deletion,
    edge::Edges,
    fleet::keyfile,
    forget, hooks,
    hub::{Hub, Input},
    process::ProcessTable,
    repo,
    search::Finder,
    store::{Commit, Reader, Stored},
    tail::{Databases, Ledger, Scene, read_events},
};

/// Small transcripts read whole; of more than that nobody waits for the end of a look.
const AT_ONCE: u64 = 256 << 20;

/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// A page ends after so many bytes of bodies: several fit into an answer, however they are written there.
const PAGE_BYTES: usize = 2 << 20;

/// Most events one page holds.
pub(crate) const MAX_PAGE: u32 = 1_000;

/// What one look at this host's transcripts found; answers like a daemon would.
#[derive(Debug)]
pub struct Scan {
    hub: Arc<Hub>,
    roots: Vec<HarnessRoot>,
    edges: Edges,
    index: Option<Mutex<Reader>>,
    state_dir: PathBuf,
}

impl Scan {
    /// Looks: whole small transcripts, head and tail of large ones. Writes nothing. `progress` is
    /// called now and then while it lasts.
    #[must_use]
    pub fn new(config: &Config, progress: &mut dyn FnMut(IndexProgress)) -> Self {
        let node = keyfile::known_node(&config.dirs.state);
        let roots = config.followed();
        let hub = Arc::new(Hub::new(place(config, node), &roots));
        hub.forget(&forget::known(&config.dirs.state));
        let index = Reader::open(&config.dirs.state);
        let mut stored = index.as_ref().and_then(|r| r.load().ok()).unwrap_or_default();
        let trails = std::mem::take(&mut stored.trails);
        hub.restore_repos(repo::known(&config.dirs.state));
        let stored = split(stored, &roots);
        let index = index.map(Mutex::new);
        let ledger = Readonly(&index);
        let finished = AtomicBool::new(false);
        let processes = ProcessTable::system();
        std::thread::scope(|scope| {
            // One harness's roots one after the other: which of two copies is shown is no matter of chance.
            let mut of_harness: BTreeMap<&Harness, Vec<_>> = BTreeMap::new();
            for ((i, root), stored) in roots.iter().enumerate().zip(stored) {
                hub.claim_all(&stored, i);
                if let Some(scene) = Scene::new(i, root, &hub, &processes) {
                    of_harness.entry(&root.harness).or_default().push((scene, stored));
                }
            }
            let surveys: Vec<_> = of_harness
                .into_values()
                .map(|scenes| {
                    let ledger = &ledger;
                    scope.spawn(move || {
                        for (mut scene, stored) in scenes {
                            let mut live = scene.live();
                            let mut databases = Databases::for_one_look();
                            scene.survey(stored, ledger, AT_ONCE, &mut live, &mut databases);
                        }
                    })
                })
                .collect();
            let (main, finished) = (std::thread::current(), &finished);
            scope.spawn(move || {
                let panics: Vec<_> = surveys.into_iter().filter_map(|s| s.join().err()).collect();
                finished.store(true, Ordering::Release);
                main.unpark();
                // A root that is missing without a word would be a wrong answer.
                if let Some(panic) = panics.into_iter().next() {
                    std::panic::resume_unwind(panic);
                }
            });
            while !finished.load(Ordering::Acquire) {
                std::thread::park_timeout(TELL);
                if let (_, Some(now)) = hub.parts() {
                    progress(now);
                }
            }
        });
        deletion::look(&hub, &config.roots);
        hooks::restore(&hub, &processes, trails);
        // A daemon would have taken these; here they stay for it.
        for event in hooks::waiting(&config.dirs.state) {
            hub.apply(Input::Hook(event));
        }
        hooks::Unwritten::default().show(&hub, &config.roots);
        Self {
            hub,
            roots,
            edges: Edges::open(&config.dirs),
            index,
            state_dir: config.dirs.state.clone(),
        }
    }

    /// The sessions that match.
    #[must_use]
    pub fn list(&self, query: &ListQuery) -> ListReply {
        self.edges.list(self.hub.list(query), query.raw)
    }

    /// What could not be looked at, by harness.
    #[must_use]
    pub fn parts(&self) -> Vec<PartStatus> {
        self.edges.parts(self.hub.parts().0)
    }

    /// One session by what a person typed.
    #[must_use]
    pub fn show(&self, query: &LookupQuery) -> Lookup {
        self.edges.lookup(self.hub.lookup(&query.id), query.raw)
    }

    /// Events of one session, read from its transcript, or from the index where that is gone.
    #[must_use]
    pub fn events(&self, query: &EventQuery) -> EventPage {
        let query = EventQuery { limit: query.limit.min(MAX_PAGE), ..query.clone() };
        let raw = query.raw;
        self.edges.events(self.page(&query), raw)
    }

    /// Every event of a session with all that it says, in one reading of its transcript; ends early where
    /// `take` says so, or where that cannot be read on. Nothing where there is none: then the index has what
    /// is left ([`Self::events`]).
    pub fn every(&self, key: &SessionKey, raw: bool, take: &mut dyn FnMut(Event) -> bool) {
        let Some(entry) = self.hub.entry(key) else { return };
        let mut told = |page| self.edges.events(page, raw).events.into_iter().all(&mut *take);
        let every = Every { take: RefCell::new(&mut told), is_over: Cell::new(false) };
        let path = Path::new(&*entry.path);
        if let Err(error) = read_events(&self.roots[entry.root], key, path, &every) {
            tracing::debug!(%error, "a transcript cannot be read on");
        }
    }

    /// A session from above.
    #[must_use]
    pub fn outline(&self, query: &OutlineQuery) -> Outline {
        let all = EventQuery::newest(query.key.clone(), u32::MAX);
        let after = |mark: &Mark| query.after.is_none_or(|after| mark.seq > after);
        let EventPage { events, .. } = self.page(&all);
        let mut calls = Calls::default();
        let marks = events.iter().map(|event| calls.mark(event)).filter(after);
        let limit = query.limit.min(MAX_MARKS) as usize;
        let mut marks: Vec<Mark> = marks.take(limit + 1).collect();
        let more = marks.len() > limit;
        marks.truncate(limit);
        let copied_to = self.hub.fold(&query.key).and_then(|fold| fold.copied_to());
        let (subagents, more_subagents) = match query.after {
            None => self.hub.subagents(&query.key),
            Some(_) => Default::default(),
        };
        let told =
            Outline { marks, more, copied_to, subagents, more_subagents, ..Outline::default() };
        self.edges.outline(told)
    }

    /// What was said, as far as a daemon has left an index of it; `None` where none has.
    #[must_use]
    pub fn search(&self, query: &SearchQuery) -> Option<SearchReply> {
        let finder = Finder::open(&self.state_dir)?;
        let wanted = (query.harness.is_some() || query.repo.is_some())
            .then(|| self.hub.keys(query.harness.as_ref(), query.repo.as_deref()));
        let redact = &mut |text: &str| self.edges.kept(text);
        let found = finder.find(query, wanted.as_ref(), crate::hub::now(), redact).ok()?;
        Some(self.edges.found(found.told(&self.hub)))
    }

    fn page(&self, query: &EventQuery) -> EventPage {
        let (after, before) = (query.after, query.before);
        let limit = query.limit as usize;
        let page = Page { after, before, limit, bodies: query.bodies, kept: Mutex::default() };
        let read = self.hub.entry(&query.key).is_some_and(|entry| {
            let root = &self.roots[entry.root];
            read_events(root, &query.key, Path::new(&*entry.path), &page).is_ok()
        });
        let (mut events, mut more) = page.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !read && let Some(index) = &self.index {
            let index = index.lock().unwrap_or_else(PoisonError::into_inner);
            let page = read_index(&index, query, query.limit).unwrap_or_default();
            (events, more) = (page.events.into(), page.more);
        }
        if query.bodies {
            events.iter_mut().for_each(with_body);
        }
        EventPage { events: events.into(), more, last_words: None }
    }
}

/// Where its line is all that an event says, that is its body.
fn with_body(event: &mut Event) {
    event.body = event.body.take().or_else(|| body::of_line(event));
}

/// What rows say of this host.
pub(crate) fn place(config: &Config, node: Option<NodeId>) -> Place {
    let node_id = node.map(|node| node.to_string());
    Place { host: config.host.clone(), node_id, idle_timeout: config.idle_timeout }
}

/// Gives each root what is stored of it.
pub(crate) fn split(stored: Stored, roots: &[HarnessRoot]) -> Vec<Stored> {
    let mut parts: Vec<Stored> = roots.iter().map(|_| Stored::default()).collect();
    let mut of_session = std::collections::HashMap::new();
    for file in stored.files {
        let beneath = |root: &HarnessRoot| {
            root.harness == file.session.harness && Path::new(&file.path).starts_with(&root.path)
        };
        if let Some(i) = roots.iter().position(beneath) {
            of_session.insert(file.session.clone(), i);
            parts[i].files.push(file);
        }
    }
    for earlier in stored.earlier {
        let beneath = |root: &HarnessRoot| {
            root.harness == earlier.key.harness && Path::new(&earlier.path).starts_with(&root.path)
        };
        if let Some(i) = roots.iter().position(beneath) {
            parts[i].earlier.push(earlier);
        }
    }
    for database in stored.databases {
        let beneath = |root: &HarnessRoot| {
            root.harness == database.harness && Path::new(&database.path).starts_with(&root.path)
        };
        if let Some(i) = roots.iter().position(beneath) {
            parts[i].databases.push(database);
        }
    }
    for (key, fold) in stored.sessions {
        if let Some(i) = of_session.get(&key) {
            parts[*i].sessions.push((key, fold));
        }
    }
    parts
}

/// Commits nothing; knows what the index knows.
struct Readonly<'a>(&'a Option<Mutex<Reader>>);

impl Ledger for Readonly<'_> {
    fn commit(&self, _: Commit) {}

    fn keys(&self, session: &SessionKey) -> io::Result<HashSet<u64>> {
        let Some(index) = self.0 else { return Ok(HashSet::new()) };
        let index = index.lock().unwrap_or_else(PoisonError::into_inner);
        index.keys(session).map_err(io::Error::other)
    }
}

/// What the index has of what is asked for.
pub(crate) fn read_index(
    index: &Reader,
    query: &EventQuery,
    limit: u32,
) -> rusqlite::Result<EventPage> {
    let mut events = match (query.after, query.before) {
        (None, Some(before)) => index.events_before(&query.key, before, limit)?,
        (after, _) => index.events(&query.key, after, limit)?,
    };
    let newest = query.after.is_none();
    let mut more = !newest && events.len() == limit as usize;
    if query.bodies {
        let done = index.add_bodies(&query.key, &mut events, PAGE_BYTES, newest)?;
        more |= !newest && done < events.len();
        match newest {
            true => drop(events.drain(..events.len() - done)),
            false => events.truncate(done),
        }
    }
    Ok(EventPage { events, more, last_words: None })
}

/// Hands on everything that passes, stretch by stretch.
struct Every<'a> {
    take: RefCell<&'a mut dyn FnMut(EventPage) -> bool>,
    is_over: Cell<bool>,
}

impl Ledger for Every<'_> {
    fn keep(&self, event: &Event, whole: &Long<'_>) -> Option<Body> {
        body::keep(event, whole, usize::MAX, &mut str::to_owned)
    }

    fn commit(&self, commit: Commit) {
        let mut events: Vec<Event> = commit.events.into_iter().map(|of| of.event).collect();
        events.iter_mut().for_each(with_body);
        let page = EventPage { events, ..EventPage::default() };
        let goes_on = !self.is_over.get() && (self.take.borrow_mut())(page);
        self.is_over.set(!goes_on);
    }

    fn keys(&self, _: &SessionKey) -> io::Result<HashSet<u64>> {
        Ok(HashSet::new())
    }

    fn is_over(&self) -> bool {
        self.is_over.get()
    }
}

/// Keeps the asked-for events of everything that passes.
struct Page {
    after: Option<u64>,
    before: Option<u64>,
    limit: usize,
    bodies: bool,
    kept: Mutex<(VecDeque<Event>, bool)>,
}

impl Ledger for Page {
    fn keep(&self, event: &Event, whole: &Long<'_>) -> Option<Body> {
        // The transcript is at hand, so nothing has to be cut.
        let is_asked = self.bodies && self.after.is_none_or(|after| event.seq > after);
        is_asked.then(|| body::keep(event, whole, usize::MAX, &mut str::to_owned)).flatten()
    }

    fn commit(&self, commit: Commit) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (events, more) = &mut *kept;
        for event in commit.events.into_iter().map(|stored| stored.event) {
            match self.after {
                Some(after) if event.seq <= after => {}
                Some(_) if events.len() >= self.limit => *more = true,
                Some(_) => events.push_back(event),
                None if self.before.is_some_and(|before| event.seq >= before) => {}
                None => {
                    events.push_back(event);
                    if events.len() > self.limit {
                        events.pop_front();
                    }
                }
            }
        }
    }

    fn keys(&self, _: &SessionKey) -> io::Result<HashSet<u64>> {
        Ok(HashSet::new())
    }
}
