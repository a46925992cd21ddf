//! What harnesses' hooks tell: taken at once over the local socket, or from the spool a moment later.
//!
//! Hooks are optional: everything works without them. What they say is said once and written nowhere
//! else, so it is stored, a moment after it was taken. Not here: what a call means (`rrd-core`).

mod elsewhere;
mod rounds;
mod spool;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rrd_core::{harness::hook::understand, hook::Trail};
use rrd_proto::{Health, HookCall, PartStatus, SessionKey, Timestamp};

use crate::{
    config::{Config, HarnessRoot},
    edge::Edges,
    fleet::Fleet,
    hub::{Hub, Input, now},
    process::ProcessTable,
    store::{TrailState, Writer},
};
pub(crate) use rounds::{Follower, Unwritten, look_at_processes};
pub(crate) use spool::waiting;

/// Places that are named at once.
const MOST_NAMED: usize = 3;

/// Takes what hooks tell.
pub(crate) struct Hooks {
    hub: Arc<Hub>,
    roots: Vec<HarnessRoot>,
    state_dir: PathBuf,
    processes: ProcessTable,
    edges: Arc<Edges>,
    writer: Arc<Writer>,
    /// Where tasks are linked; nowhere while that cannot be kept.
    fleet: Option<Arc<Fleet>>,
    /// Held while what changed is handed to the store, so that it is handed over in order.
    saving: Mutex<()>,
    counts: Mutex<Counts>,
}

/// What has come in since the start.
#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    spooled: u64,
    unknown: u64,
    damaged: u64,
    dropped: u64,
    last: Option<Timestamp>,
}

impl Hooks {
    pub(crate) fn new(
        hub: &Arc<Hub>,
        config: &Config,
        processes: &ProcessTable,
        edges: &Arc<Edges>,
        writer: &Arc<Writer>,
        fleet: Option<Arc<Fleet>>,
    ) -> Self {
        Self {
            hub: Arc::clone(hub),
            roots: config.roots.clone(),
            state_dir: config.dirs.state.clone(),
            processes: processes.clone(),
            edges: Arc::clone(edges),
            writer: Arc::clone(writer),
            fleet,
            saving: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// Takes one call; in microseconds, for a harness waits.
    pub(crate) fn take(&self, mut call: HookCall) {
        // From a container its pid is another process's here, or nobody's.
        let ours = self.processes.domain();
        call.process = call.process.filter(|process| process.domain.as_deref() == ours);
        let understood = understand(&call);
        {
            let mut counts = self.counts();
            counts.calls += 1;
            counts.last = counts.last.max(Some(call.at));
            match &understood {
                Ok((_, known)) => counts.unknown += u64::from(!known),
                Err(_) => counts.damaged += 1,
            }
        }
        if let Ok((event, _)) = understood {
            // A delegate has its parent's environment, and works for it.
            let is_delegate = self
                .hub
                .entry(&event.session)
                .is_some_and(|entry| entry.fold.delegated_by(&event.session).is_some());
            if let (Some(task), Some(fleet), false) = (&call.task, &self.fleet, is_delegate) {
                fleet.tasks().said(task, &event.session);
            }
            self.hub.apply(Input::Hook(event));
            self.save();
        }
    }

    /// Hands the store what has changed of what hooks said.
    fn save(&self) {
        let _in_order = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, trail) in self.hub.unsaved_trails() {
            self.writer.trail(key, trail.map(|trail| self.state(trail)));
        }
    }

    /// What hooks said of every session.
    pub(crate) fn said(&self) -> Vec<(SessionKey, TrailState)> {
        self.hub.trails().into_iter().map(|(key, trail)| (key, self.state(trail))).collect()
    }

    fn state(&self, trail: Trail) -> TrailState {
        TrailState { domain: self.processes.domain().map(str::to_owned), trail }
    }

    /// How hooks are, for `rrd status`.
    pub(crate) fn part(&self) -> PartStatus {
        let elsewhere = elsewhere::homes(&self.hub, &self.roots);
        let counts = self.counts();
        let mut detail = match counts.last {
            None => "no hook has called; they are optional".to_owned(),
            Some(last) => {
                let minutes = now().since(last).max(0) / 60_000;
                format!("{} calls, the last one {minutes} min ago", counts.calls)
            }
        };
        for (count, what) in [
            (counts.spooled, "were left while no daemon answered"),
            (counts.dropped, "were dropped meanwhile: the spool is bounded"),
            (counts.unknown, "are of events this release does not know"),
            (counts.damaged, "could not be read"),
        ] {
            if count > 0 {
                detail = format!("{detail}; {count} {what}");
            }
        }
        let mut state = if counts.calls > 0 { Health::Ok } else { Health::Off };
        let mut hint = None;
        if let Some((harness, home)) = elsewhere.first() {
            state = Health::Degraded;
            let name = |(harness, home): &(_, PathBuf)| format!("{} ({harness})", home.display());
            let named: Vec<_> = elsewhere.iter().take(MOST_NAMED).map(name).collect();
            let more = if elsewhere.len() > named.len() { ", …" } else { "" };
            let named = named.join(", ");
            detail =
                format!("{detail}; they name transcripts where rrd does not look: {named}{more}");
            let root = home.display();
            hint = Some(format!(
                "if they are to be read, add \"{root}\" to harness.{harness}.roots in config.toml (rrd config shows what is in force)"
            ));
        }
        PartStatus { part: "hooks".to_owned(), state, detail, hint }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what was stored of what hooks said, and finds out which of their processes are still there.
pub(crate) fn restore(
    hub: &Hub,
    processes: &ProcessTable,
    trails: impl IntoIterator<Item = (SessionKey, TrailState)>,
) {
    let ours = processes.domain();
    let trails = trails.into_iter().map(|(key, TrailState { domain, mut trail })| {
        // From another container its pid is another process's here, or nobody's.
        trail.process = trail.process.filter(|_| domain.as_deref() == ours);
        (key, trail)
    });
    hub.apply(Input::Trails(trails.collect()));
    look_at_processes(hub, processes);
}

#[cfg(test)]
mod tests;
