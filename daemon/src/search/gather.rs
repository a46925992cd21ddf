//! The thread that takes what was said out of the index and puts it into `search.db`.
//!
//! Much at once: FTS5 merges what comes in small pieces again and again. While agents work it rests between
//! two looks, unless somebody asks. When nothing changes it does nothing.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rrd_core::search::{Place, said};
use rrd_proto::{SessionKey, Timestamp};

use super::{
    Changed, Shared, rested,
    rows::{self, Row, Rows, Taken},
};
use crate::{
    edge::Edges,
    store::{Life, Reader, is_damage},
};

/// Bytes of text that are taken at once.
const BATCH: usize = 3 << 20;

/// Events of one session that are looked at together.
const EVENTS: u32 = 2_000;

/// Between two looks at what changed.
const REST: Duration = Duration::from_millis(500);

/// How long it waits where something failed.
const RETRY: Duration = Duration::from_secs(5);

/// The thread's own side.
pub(super) struct Work {
    state_dir: PathBuf,
    edges: Arc<Edges>,
    shared: Arc<Shared>,
}

/// What is open while all goes well.
pub(super) struct Open {
    reader: Reader,
    rows: Rows,
    taken: HashMap<SessionKey, Taken>,
    /// Sessions of which there is more to be taken.
    left: Vec<Life>,
    /// Their events.
    behind: u64,
    count: u64,
}

impl Work {
    pub(super) fn new(state_dir: &Path, edges: &Arc<Edges>, shared: &Arc<Shared>) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            edges: Arc::clone(edges),
            shared: Arc::clone(shared),
        }
    }

    pub(super) fn run(self) {
        while !self.shared.is_over() {
            let ended = self.open().and_then(|open| match open {
                Some(mut open) => self.keep_up(&mut open),
                None => Ok(()),
            });
            if let Err(error) = ended {
                tracing::warn!(%error, "the search index cannot be written; trying again");
                if is_damage(&error) {
                    rows::delete(&self.state_dir);
                }
                let mut state = self.shared.lock();
                state.progress.failing = Some(error.to_string());
                state.changed = Changed::All;
                state.hurry = false;
            }
            self.rest(RETRY);
        }
        for (_, tell) in std::mem::take(&mut self.shared.lock().forget) {
            let _ = tell.send(false);
        }
    }

    fn open(&self) -> rusqlite::Result<Option<Open>> {
        let open = Open::new(&self.state_dir)?;
        self.shared.lock().opened += 1;
        Ok(open)
    }

    /// Returns when it is over.
    fn keep_up(&self, open: &mut Open) -> rusqlite::Result<()> {
        self.shared.lock().progress.failing = None;
        let mut busy = true;
        loop {
            let begun = Instant::now();
            let (changed, forget) = {
                let mut state = self.shared.lock();
                if state.over {
                    return Ok(());
                }
                let changed = std::mem::replace(&mut state.changed, Changed::none());
                (changed, std::mem::take(&mut state.forget))
            };
            for (keys, tell) in forget {
                let done = open.forget(&keys);
                self.shared.lock().progress.rows = open.count;
                let _ = tell.send(done.is_ok());
                done?;
            }
            if !changed.is_none() {
                open.look(&changed)?;
            }
            let more = open.take(&self.edges, &mut || self.shared.is_over())?;
            let more = more || open.rows.take_out()?;
            if !more {
                // What was forgotten while this was not there to hear it.
                open.rows.scrub()?;
            }
            busy |= more;
            let mut state = self.shared.lock();
            state.progress.rows = open.count;
            state.progress.behind = open.behind;
            if more || !state.forget.is_empty() {
                continue;
            }
            if !state.changed.is_none() && state.hurry {
                continue;
            }
            state.is_idle = state.changed.is_none();
            if state.is_idle {
                state.hurry = false;
                self.shared.done.notify_all();
                if std::mem::take(&mut busy) {
                    drop(state);
                    open.rows.settle()?;
                    state = self.shared.lock();
                }
                let nothing = |state: &mut super::State| {
                    state.changed.is_none() && state.forget.is_empty() && !state.over
                };
                drop(self.shared.to_do.wait_while(state, nothing));
            } else {
                drop(state);
            }
            self.rest(rested(begun, REST));
        }
    }

    /// Waits for so long, unless somebody is waiting.
    fn rest(&self, rest: Duration) {
        let waits =
            |state: &mut super::State| !state.over && !state.hurry && state.forget.is_empty();
        drop(self.shared.to_do.wait_timeout_while(self.shared.lock(), rest, waits));
    }
}

impl Open {
    /// `None` while there is no index to make it from.
    pub(super) fn new(state_dir: &Path) -> rusqlite::Result<Option<Self>> {
        let Some(reader) = Reader::open(state_dir) else { return Ok(None) };
        let mut rows = Rows::open(state_dir)?;
        let mut taken = rows.taken()?;
        let lives = reader.lives(None)?;
        let is_of_it = |life: &Life| taken.get(&life.key).is_some_and(|of| of.life == life.life);
        if !taken.is_empty() && !lives.iter().any(is_of_it) {
            // Made from an index that is no more.
            drop(rows);
            rows::delete(state_dir);
            rows = Rows::open(state_dir)?;
            taken.clear();
        }
        let count = rows.count()?;
        Ok(Some(Self { reader, rows, taken, left: Vec::new(), behind: 0, count }))
    }

    /// Finds out what is to be taken.
    pub(super) fn look(&mut self, changed: &Changed) -> rusqlite::Result<()> {
        let lives = match changed {
            Changed::All => {
                let lives = self.reader.lives(None)?;
                let there: HashSet<&SessionKey> = lives.iter().map(|life| &life.key).collect();
                let gone: Vec<SessionKey> =
                    self.taken.keys().filter(|key| !there.contains(key)).cloned().collect();
                self.retire(&gone, true)?;
                self.left.clear();
                lives
            }
            Changed::These(sessions) => {
                let mut lives = Vec::new();
                for key in sessions {
                    let life = self.reader.lives(Some(key))?;
                    if life.is_empty() && self.taken.contains_key(key) {
                        self.retire(std::slice::from_ref(key), true)?;
                    }
                    lives.extend(life);
                }
                self.left.retain(|life| !sessions.contains(&life.key));
                lives
            }
        };
        for life in lives {
            let taken = self.taken.get(&life.key);
            let is_known = taken.is_some();
            let is_same = |taken: &&Taken| taken.life == life.life && taken.bodied == life.bodied;
            let taken = taken.filter(is_same).map(|taken| taken.next);
            if taken.is_some_and(|next| life.next < next) {
                // A limit has taken out all that there was.
                self.retire(std::slice::from_ref(&life.key), false)?;
            } else if taken.map_or(life.next > 0 || is_known, |next| next < life.next) {
                self.left.push(life);
            }
        }
        self.behind = self.left.iter().map(|life| self.of(life)).sum();
        Ok(())
    }

    /// Events of it that are to be taken.
    fn of(&self, life: &Life) -> u64 {
        let taken = self.taken.get(&life.key).filter(|taken| taken.life == life.life);
        life.next.saturating_sub(taken.map_or(0, |taken| taken.next))
    }

    /// Takes one batch; true where that was not all.
    pub(super) fn take(
        &mut self,
        edges: &Edges,
        over: &mut dyn FnMut() -> bool,
    ) -> rusqlite::Result<bool> {
        let (mut rows, mut far, mut bytes) = (Vec::new(), HashMap::new(), 0);
        while bytes < BATCH
            && !over()
            && let Some(life) = self.left.pop()
        {
            let known = self.taken.get(&life.key).copied();
            let same = known.filter(|taken| taken.life == life.life && taken.bodied == life.bodied);
            let mut taken = match same {
                Some(taken) => taken,
                None => {
                    if known.is_some() {
                        self.retire(std::slice::from_ref(&life.key), false)?;
                    }
                    self.rows.begin(&life)?
                }
            };
            let most = BATCH - bytes;
            let (events, next) = self.reader.to_search(&life.key, taken.next, EVENTS, most)?;
            let mut at = None;
            for event in &events {
                // One without a time happened after the last one that has one.
                at = event.at.or(at);
                let Some(said) = said(event) else { continue };
                let text = said.redacted(&mut |text| edges.kept(text));
                let at = at.unwrap_or(Timestamp::from_millis(0));
                let place = Place::new(at, said.kind, taken.number, event.seq);
                bytes += text.len();
                rows.push(Row { place, session: taken.number, seq: event.seq, text });
            }
            // More may have been written since it was looked at.
            let last = events.last().map_or(0, |event| event.seq + 1);
            let next_seq = next.unwrap_or(life.next).max(last).max(taken.next);
            self.behind = self.behind.saturating_sub(next_seq - taken.next);
            taken.next = next_seq;
            far.insert(taken.number, taken.next);
            self.taken.insert(life.key.clone(), taken);
            if next.is_some() {
                self.left.push(life);
            }
        }
        self.count += rows.len() as u64;
        if !far.is_empty() {
            self.rows.add(rows, &far)?;
        }
        if self.left.is_empty() {
            self.behind = 0;
        }
        Ok(!self.left.is_empty())
    }

    fn retire(&mut self, keys: &[SessionKey], scrub: bool) -> rusqlite::Result<()> {
        let known = keys.iter().filter(|key| self.taken.remove(key).is_some()).count();
        if known > 0 {
            self.rows.retire(keys, scrub)?;
            self.count = self.rows.count()?;
        }
        Ok(())
    }

    fn forget(&mut self, keys: &[SessionKey]) -> rusqlite::Result<()> {
        self.left.retain(|life| !keys.contains(&life.key));
        self.retire(keys, true)?;
        self.rows.scrub()
    }
}
