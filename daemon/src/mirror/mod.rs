//! The mirror: copies of transcripts in a place that the user owns, redacted.
//!
//! Follows what the index takes, reads the same records once more from their source, and brings them into each
//! bucket: [`gather`] makes parts, [`outbox`] keeps them until they have arrived, [`stream`] carries one
//! transcript's, [`aim`] decides which ones and when, [`target`] is the bucket or folder. Not here: what a
//! bucket holds and which of it counts (`rrd_core::mirror`).

mod adopt;
mod ahead;
mod aim;
mod bars;
mod body;
mod calls;
mod check;
mod compact;
mod delegate;
mod directory;
mod fetch;
mod found;
mod gather;
mod give;
mod heal;
mod inspect;
mod left;
mod outbox;
mod prune;
mod recognise;
mod short;
mod stop;
mod stream;
pub(crate) mod target;
#[cfg(test)]
mod tests;
mod theirs;
mod twins;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rrd_core::repo::Repo;
use rrd_proto::{
    Health, Host, MirrorAlarm, MirrorStatus, MirrorTarget, PartStatus, Refusal, SessionKey,
    Timestamp,
    copy::{MAX_FILES, Past},
};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    dirs::Dirs,
    edge::Edges,
    fleet::Fleet,
    hub::{Hub, Input, now},
    repo::Memory,
    store::Committed,
};
use aim::Aim;
pub(crate) use calls::answer;
pub(crate) use fetch::Fetched;
use outbox::{Outbox, OutboxError};

/// Whether this host has ever mirrored anything: other hosts may have taken sessions from there.
#[must_use]
pub fn was_enabled(state_dir: &Path) -> bool {
    Outbox::path(state_dir).exists()
}

/// So many transcripts are read and redacted at a time, for all places: each takes a core, and a few times the
/// memory of its longest record.
const HANDS: usize = 2;

/// Everything that is mirrored.
pub(crate) struct Mirror {
    dirs: Dirs,
    hub: Arc<Hub>,
    edges: Arc<Edges>,
    node: Arc<str>,
    fleet: Option<Arc<Fleet>>,
    host: Arc<str>,
    committed: watch::Receiver<Committed>,
    memory: Arc<Memory>,
    stop: CancellationToken,
    tasks: TaskTracker,
    hands: Arc<Semaphore>,
    open: Mutex<Option<Open>>,
    /// What is mirrored cannot be read: why, and since when.
    broken: Mutex<Option<(OutboxError, Timestamp)>>,
}

/// While anything is mirrored.
struct Open {
    outbox: Arc<Mutex<Outbox>>,
    aims: Vec<Arc<Aim>>,
}

impl Mirror {
    pub(crate) fn new(
        dirs: &Dirs,
        hub: &Arc<Hub>,
        edges: &Arc<Edges>,
        (node, fleet): (&str, Option<&Arc<Fleet>>),
        (committed, memory): (watch::Receiver<Committed>, &Arc<Memory>),
        stop: CancellationToken,
    ) -> Self {
        Self {
            dirs: dirs.clone(),
            hub: Arc::clone(hub),
            edges: Arc::clone(edges),
            node: node.into(),
            fleet: fleet.cloned(),
            host: hub.host().into(),
            committed,
            memory: Arc::clone(memory),
            stop,
            tasks: TaskTracker::new(),
            hands: Arc::new(Semaphore::new(HANDS)),
            open: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// Goes on with what was mirrored before. Needs a runtime. Where that cannot be read all who ask are told.
    pub(crate) fn start(&self) {
        if let Err(error) = self.go_on() {
            tracing::error!(%error, "nothing is mirrored");
            *self.broken() = Some((error, now()));
        }
    }

    fn go_on(&self) -> Result<(), OutboxError> {
        if !Outbox::path(&self.dirs.state).exists() {
            return Ok(());
        }
        let outbox = Outbox::open(&self.dirs.state)?;
        let targets = outbox.targets()?;
        let mut open = self.open();
        let outbox = Arc::new(Mutex::new(outbox));
        self.tell_places(targets.iter().map(|(_, _, settings, _)| settings));
        let aims = targets
            .into_iter()
            .map(|(id, _, settings, since)| self.aim(&outbox, id, settings, since))
            .collect();
        *open = Some(Open { outbox, aims });
        Ok(())
    }

    /// The rows of all sessions tell of these places from now on: said before any of them has something to
    /// say, for of another one nothing is taken.
    fn tell_places<'s>(&self, places: impl Iterator<Item = &'s MirrorTarget>) {
        self.hub.apply(Input::Mirrors(places.map(aim::address).collect()));
    }

    /// Returns when what could be brought into buckets has been, or when it has taken too long.
    pub(crate) async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A copy of this session is about to be put in its place here, and was in this repository, and there, and its
    /// delegates there. Returns when that is written down.
    pub(crate) async fn comes(
        &self,
        key: &SessionKey,
        repo: Option<&Repo>,
        past: Past,
        delegates: Vec<(String, Past)>,
    ) -> Result<(), Refusal> {
        self.aims().iter().for_each(|aim| aim.comes(key));
        self.hub.comes_of_repo(key, repo, &past.cut());
        for (session_id, past) in delegates.into_iter().take(MAX_FILES) {
            let delegate = SessionKey { harness: key.harness.clone(), session_id };
            self.hub.comes_of_repo(&delegate, None, &past.cut());
        }
        self.memory.written_down().await.map_err(|error| Refusal {
            message: error.to_string(),
            facts: Vec::new(),
            hint: Some(error.remedy),
        })
    }

    /// Lets go of sessions that were forgotten.
    pub(crate) fn forget(&self) {
        for aim in self.aims() {
            if let Err(error) = aim.forget() {
                tracing::error!(%error, "what was forgotten is still in the outbox");
            }
        }
    }

    /// How it is; nothing while nothing is mirrored.
    pub(crate) fn part(&self) -> Option<PartStatus> {
        let failed = |refusal: Refusal| PartStatus {
            part: "mirror".to_owned(),
            state: Health::Failed,
            detail: format!("nothing is mirrored: {}", refusal.message),
            hint: refusal.hint,
        };
        if let Some(refusal) = self.refusal() {
            return Some(failed(refusal));
        }
        let now = now();
        let all: Result<Vec<(MirrorStatus, bool)>, _> =
            self.aims().iter().map(|aim| Ok((aim.status()?, aim.alarm(now).is_some()))).collect();
        let all = match all {
            Ok(all) => all,
            Err(error) => return Some(failed(calls::broken(error))),
        };
        let health = |(one, is_late): &(MirrorStatus, bool)| match one {
            _ if one.stands_still => Health::Failed,
            _ if *is_late || !one.troubles.is_empty() => Health::Degraded,
            _ => Health::Ok,
        };
        let gravity = |of: &&(MirrorStatus, bool)| match (health(of), &of.0.failing) {
            (Health::Failed, _) => 0,
            (Health::Degraded, _) => 1 + u8::from(!of.1),
            (_, Some(_)) => 3,
            _ if of.0.diverged > 0 => 4,
            _ => 5,
        };
        let worst = all.iter().min_by_key(gravity)?;
        let (state, worst) = (health(worst), &worst.0);
        let hint = (state != Health::Ok).then(|| "rrd mirror status shows all of it".to_owned());
        let place = format!("{}/{}", worst.url, worst.project);
        let detail = match &worst.failing {
            Some(failing) => format!(
                "{place} fails {}, {} behind: {}",
                for_so_long(failing.since),
                behind(Some(worst.behind), worst.known_behind(), worst.pending_parts),
                failing.error
            ),
            None if !worst.troubles.is_empty() => {
                let trouble = &worst.troubles[0];
                let count = counted(worst.troubles.len() as u64, "transcript");
                let error = &trouble.error;
                format!("{place}: {count} cannot be mirrored: {}: {error}", trouble.stream)
            }
            None => {
                let raw = if worst.redacted { "" } else { ", NOT redacted" };
                let more = match all.len() {
                    1 => String::new(),
                    several => {
                        format!(", and {} as well", counted(several as u64 - 1, "other place"))
                    }
                };
                let (there, behind) = (counted(worst.transcripts, "transcript"), worst.behind);
                let diverged = match worst.diverged {
                    0 => String::new(),
                    several => format!(", {several} not, for they went on elsewhere, too"),
                };
                format!("{place}: {there} there, {behind} behind{diverged}{raw}{more}")
            }
        };
        Some(PartStatus { part: "mirror".to_owned(), state, detail, hint })
    }

    /// What every host is to know: the place that has failed for longest, or is far behind.
    pub(crate) fn alarm(&self, now: Timestamp) -> Option<MirrorAlarm> {
        if let Some((error, since)) = &*self.broken() {
            let (url, error) = ("mirror.db".to_owned(), Some(error.to_string()));
            return Some(MirrorAlarm {
                url,
                since: Some(*since),
                pending_parts: 0,
                transcripts_behind: None,
                bytes_behind: None,
                error,
            });
        }
        let alarms = self.aims().into_iter().filter_map(|aim| aim.alarm(now));
        alarms.min_by_key(|alarm| (alarm.since.is_none(), alarm.since))
    }

    /// Bytes of transcripts that each place has not, and parts that are on their way there.
    pub(crate) fn figures(&self) -> Vec<MirrorStatus> {
        self.aims().iter().filter_map(|aim| aim.status().ok()).collect()
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self) -> MutexGuard<'_, Option<(OutboxError, Timestamp)>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing can be said of what is mirrored.
    fn refusal(&self) -> Option<Refusal> {
        self.broken().as_ref().map(|(error, _)| calls::unreadable(error))
    }

    fn aims(&self) -> Vec<Arc<Aim>> {
        self.open().as_ref().map(|open| open.aims.clone()).unwrap_or_default()
    }

    /// Begins to follow one target.
    fn aim(
        &self,
        outbox: &Arc<Mutex<Outbox>>,
        id: outbox::TargetId,
        settings: MirrorTarget,
        since: Timestamp,
    ) -> Arc<Aim> {
        let aim = Arc::new(Aim::new(self, outbox, id, settings, since));
        self.tasks.spawn(Arc::clone(&aim).follow(self.committed.clone(), self.stop.clone()));
        aim
    }

    /// With what is known of all places.
    fn with_outbox(
        &self,
        work: impl FnOnce(&mut Outbox) -> Result<(), OutboxError>,
    ) -> Result<(), Refusal> {
        let outbox = self.open().as_ref().map(|open| Arc::clone(&open.outbox));
        let Some(outbox) = outbox else { return Ok(()) };
        let mut outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut outbox).map_err(calls::broken)
    }

    /// Mirrors to this place, too, or in another way.
    fn enable(&self, settings: MirrorTarget) -> Result<Arc<Aim>, Refusal> {
        let mut open = self.open();
        let outbox = match &*open {
            Some(open) => Arc::clone(&open.outbox),
            None => Arc::new(Mutex::new(Outbox::open(&self.dirs.state).map_err(calls::broken)?)),
        };
        let mut since = now();
        let id = {
            let outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
            outbox.set_target(&aim::address(&settings), &settings, since).map_err(calls::broken)?
        };
        let mut aims = open.take().map(|open| open.aims).unwrap_or_default();
        aims.retain(|aim| {
            let stays = aim.id != id;
            if !stays {
                aim.stop.cancel();
                since = aim.since;
            }
            stays
        });
        self.tell_places(aims.iter().map(|aim| &aim.settings).chain([&settings]));
        let aim = self.aim(&outbox, id, settings, since);
        aims.push(Arc::clone(&aim));
        *open = Some(Open { outbox, aims });
        *self.broken() = None;
        Ok(aim)
    }

    /// Not any more; how many places that were.
    fn disable(&self, url: Option<&str>) -> Result<u32, Refusal> {
        let mut open = self.open();
        let Some(Open { outbox, aims }) = &mut *open else { return Ok(0) };
        let url = url.map(|url| url.trim_end_matches('/'));
        let mut gone = 0;
        let outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |aim: &Aim| url.is_none_or(|url| aim::is_meant(&aim.settings, url));
        for aim in aims.extract_if(.., |aim| is_meant(aim)) {
            aim.stop.cancel();
            let address = aim::address(&aim.settings);
            gone += u32::from(outbox.drop_target(&address).map_err(calls::broken)?);
        }
        drop(outbox);
        self.tell_places(aims.iter().map(|aim| &aim.settings));
        Ok(gone)
    }
}

/// What other hosts say that their mirrors fail at.
pub(crate) fn alarms(hosts: &[Host]) -> Vec<PartStatus> {
    let of = |host: &Host| {
        let alarm = host.mirror.as_ref()?;
        let fails = alarm.since.map(|since| format!(" fails {}", for_so_long(since)));
        let error = alarm.error.as_ref().map(|error| format!(": {error}"));
        Some(PartStatus {
            part: "mirror".to_owned(),
            state: Health::Degraded,
            detail: format!(
                "on {}: {}{}, {} behind{}",
                host.host,
                alarm.url,
                fails.unwrap_or_default(),
                behind(alarm.transcripts_behind, alarm.bytes_behind, alarm.pending_parts),
                error.unwrap_or_default()
            ),
            hint: Some(format!("rrd mirror status on {} shows all of it", host.host)),
        })
    };
    hosts.iter().filter_map(of).collect()
}

/// How much a place has not, in words, as far as that is known: not all of it is made into parts yet.
fn behind(transcripts: Option<u64>, bytes: Option<u64>, parts: u64) -> String {
    let transcripts = transcripts.map(|count| counted(count, "transcript"));
    let bytes = bytes.map(rrd_proto::shown::size);
    let parts = Some(counted(parts, "part"));
    [transcripts, bytes, parts].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Since when, in words.
fn for_so_long(since: Timestamp) -> String {
    match now().as_millis() - since.as_millis() {
        ..1_000 => "since just now".to_owned(),
        _ => format!("for {}", rrd_proto::age(now(), since)),
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A bucket that fails for so long is said everywhere, …
const ALARM: i64 = 15 * 60_000;

/// … and one that is so many parts behind.
const MANY: u64 = 1_000;

/// What is to become parts counts where a bucket fails for so long: few are made for that one. It has been tried again
/// by then.
const AGAIN: i64 = 60_000;

/// `parts`: those that are made; `to_make`: what all that is behind would be.
fn is_alarming(failing_since: Option<Timestamp>, parts: u64, to_make: u64, now: Timestamp) -> bool {
    let fails_for = |long: i64| {
        failing_since.is_some_and(|it| now.as_millis().saturating_sub(it.as_millis()) >= long)
    };
    fails_for(ALARM) || parts >= MANY || (to_make >= MANY && fails_for(AGAIN))
}

/// How many parts this makes, of sessions that lack so many bytes each: of each one at least, also where nobody knows.
fn parts_of(behind: impl Iterator<Item = Option<u64>>) -> u64 {
    behind.map(|bytes| bytes.unwrap_or_default().div_ceil(gather::PART).max(1)).sum()
}
