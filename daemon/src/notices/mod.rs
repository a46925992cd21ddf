//! Tells people what needs them, where they want it told: a program, an address, this desktop.
//!
//! One task looks at what the hub and gossip know when that has changed, at most a few times a second, and asks
//! the core what is to be told now, and whether by this host ([`rrd_core::notices`]). Each telling is a task of
//! its own. What was told is on the disk before the others hear of it, so that a daemon that is killed tells it at
//! most twice, and at least once. Without sinks none of this runs.

mod calls;
mod command;
mod desktop;
mod sight;
mod sink;
mod webhook;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use rrd_core::{
    fleet::record::NoticesWord,
    notices::{
        self,
        mark::Mark,
        queue::{Batch, Held, Rules},
        teller::{self, Teller, View},
        words::{self, Wish},
    },
};
use rrd_proto::{NodeId, SessionKey, Timestamp};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, NotifySettings},
    edge::Edges,
    fleet::{Fleet, aside},
    gossip::Gossip,
    graphs::Graphs,
    hub::{Hub, now},
    mirror::Mirror,
};
use sink::{Figures, Sink};

/// Looks are so far apart, at least.
const APART: Duration = Duration::from_millis(250);

/// What only time changes and nothing tells of (a mirror that fails for long) is seen so late.
const LOOK: Duration = Duration::from_secs(30);

/// After a start, and after the machine slept, for so long others may tell what they have told.
const SETTLES: Duration = Duration::from_secs(10);

/// A clock that went on for so long without this process, in milliseconds: the machine slept.
const SLEPT: i64 = 30_000;

/// Why something was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    why: String,
    /// Whoever was asked wants to be left alone for so many milliseconds.
    after: Option<i64>,
}

impl Failure {
    const fn new(why: String) -> Self {
        Self { why, after: None }
    }
}

/// All that tells people something.
pub(crate) struct Notices {
    settings: NotifySettings,
    label: String,
    sinks: Vec<Sink>,
    hub: Arc<Hub>,
    fleet: Option<Arc<Fleet>>,
    graphs: Arc<Graphs>,
    edges: Arc<Edges>,
    mirror: Arc<Mirror>,
    held: Mutex<State>,
    /// Something was told, or could not be.
    stirred: tokio::sync::Notify,
    stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    teller: Teller,
    figures: Vec<Figures>,
    /// Own sessions that were open, and when they were last.
    followed: HashMap<SessionKey, Timestamp>,
    /// The run of gossip that was told: another one has heard nothing yet.
    told_to: Weak<Gossip>,
    /// What is on the disk of what was held back.
    kept: Vec<(String, Held)>,
    settling: Instant,
    looked: Option<(Timestamp, Instant)>,
}

impl Notices {
    pub(crate) fn new(
        config: &Config,
        hub: &Arc<Hub>,
        fleet: Option<&Arc<Fleet>>,
        graphs: &Arc<Graphs>,
        edges: &Arc<Edges>,
        mirror: &Arc<Mirror>,
        stop: CancellationToken,
    ) -> Self {
        let settings = config.notify.clone();
        let sinks: Vec<Sink> =
            settings.sinks.iter().map(|sink| Sink::open(sink.clone(), edges)).collect();
        let of = |sink: &Sink| teller::Sink {
            id: sink.id.clone(),
            is_local: sink.is_local,
            rules: Rules {
                events: sink.settings.events.clone(),
                through: settings.through.clone(),
                per_hour: settings.per_hour,
                lasts: rrd_proto::NoticeKind::ALL.map(|kind| in_millis(settings.lasts(kind))),
            },
        };
        let state = State {
            teller: Teller::new(sinks.iter().map(of).collect()),
            figures: vec![Figures::default(); sinks.len()],
            followed: HashMap::new(),
            told_to: Weak::new(),
            kept: Vec::new(),
            settling: Instant::now(),
            looked: None,
        };
        Self {
            settings,
            label: config.host.clone(),
            sinks,
            hub: Arc::clone(hub),
            fleet: fleet.cloned(),
            graphs: Arc::clone(graphs),
            edges: Arc::clone(edges),
            mirror: Arc::clone(mirror),
            held: Mutex::new(state),
            stirred: tokio::sync::Notify::new(),
            stop,
        }
    }

    fn held(&self) -> MutexGuard<'_, State> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells until it is stopped.
    pub(crate) async fn run(self: Arc<Self>) {
        if self.sinks.is_empty() {
            return;
        }
        self.restore().await;
        let mut version = self.hub.version();
        loop {
            version.mark_unchanged();
            let alarm = self.mirror.alarm(now());
            let wake = self.look().await;
            loop {
                let left = wake.map_or(LOOK, |wake| millis(wake.since(now())).min(LOOK));
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    changed = version.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = self.stirred.notified() => break,
                    () = sleep(left) => {}
                }
                let is_due = wake.is_some_and(|wake| now() >= wake);
                if is_due || self.slept() || self.mirror.alarm(now()) != alarm {
                    break;
                }
            }
            tokio::select! { () = self.stop.cancelled() => return, () = sleep(APART) => {} }
        }
    }

    /// Whether the clock has gone on without this process since the last look.
    fn slept(&self) -> bool {
        let looked = self.held().looked;
        looked.is_some_and(|(wall, at)| {
            let gone = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
            now().since(wall).saturating_sub(gone) > SLEPT
        })
    }

    async fn restore(&self) {
        let Some(fleet) = &self.fleet else { return };
        let read = |fleet: &Fleet| {
            let keep = fleet.keep();
            Ok::<_, crate::fleet::KeepError>((keep.notice_marks()?, keep.held_notices()?))
        };
        match aside(fleet, read).await {
            Some(Ok((marks, held))) => {
                let mut state = self.held();
                state.kept.clone_from(&held);
                state.teller.restore(marks, held);
            }
            Some(Err(error)) => tracing::warn!(%error, "what was told before cannot be read"),
            None => {}
        }
    }

    /// Looks what is to be told, and has it told; when to look again, if nothing changes.
    async fn look(self: &Arc<Self>) -> Option<Timestamp> {
        let at = now();
        let slept = self.slept();
        let gossip = self.hub.others();
        let rows = self.rows(gossip.as_deref());
        let graph = sight::is_any_waiting(&rows).then(|| self.graphs.now());
        let cycles = graph.as_ref().map(|graph| graph.cycles.as_slice()).unwrap_or_default();
        let hosts = self.hosts(gossip.as_deref());
        let heard = gossip.as_ref().map(|gossip| gossip.notices()).unwrap_or_default();
        let (is_quiet, quiet_until) = sight::quiet(&self.settings, at);
        let (looked, held, holds) = {
            let mut state = self.held();
            if slept {
                state.settling = Instant::now();
            }
            state.looked = Some((at, Instant::now()));
            let run = gossip.as_ref().map(Arc::downgrade).unwrap_or_default();
            if !state.told_to.ptr_eq(&run) {
                state.told_to = run;
                state.teller.begin_anew();
            }
            state.teller.take(notices::so(at, &rows, &hosts, cycles));
            let is_ready = self.is_ready(&state, gossip.as_deref(), &heard);
            let view = View { now: at, own: self.own(), heard: &heard, is_quiet, is_ready };
            let lasts = |kind| in_millis(self.settings.lasts(kind));
            let mut looked = state.teller.look(&view, lasts, |notice| self.edges.notice(notice));
            for number in 0..self.sinks.len() {
                if !state.teller.standing(number, &view).fails {
                    state.figures[number].failing = None;
                }
            }
            if !is_ready {
                let settled = at.plus(i64::try_from(SETTLES.as_millis()).unwrap_or(0));
                looked.wake = looked.wake.into_iter().chain([settled]).min();
            }
            let held = state.teller.held();
            let holds = !held.is_empty();
            let held = (held != state.kept).then(|| {
                state.kept.clone_from(&held);
                held
            });
            (looked, held, holds)
        };
        let wake = looked.wake.into_iter().chain(quiet_until.filter(|_| holds)).min();
        self.act(looked, held, gossip.as_deref(), at).await;
        wake
    }

    /// Does what a look came to.
    async fn act(
        self: &Arc<Self>,
        looked: teller::Looked,
        held: Option<Vec<(String, Held)>>,
        gossip: Option<&Gossip>,
        at: Timestamp,
    ) {
        if !looked.marks.is_empty() || !looked.forgotten.is_empty() || held.is_some() {
            self.keep(looked.marks, looked.forgotten, held, at).await;
        }
        if let (Some(word), Some(gossip)) = (looked.word, gossip) {
            self.speak(gossip, &word, at);
        }
        for (number, batch) in looked.batches {
            let own = Arc::clone(self);
            tokio::spawn(async move { own.tell(number, batch).await });
        }
    }

    fn speak(&self, gossip: &Gossip, word: &NoticesWord, at: Timestamp) {
        let mut marks = self.held().teller.marks(at);
        gossip.tell_notices(word, |most| marks.text(most));
    }

    /// Has one sink tell this.
    async fn tell(self: Arc<Self>, number: usize, batch: Batch) {
        let Some(sink) = self.sinks.get(number) else { return };
        let attempt = batch.number;
        let told = words::notification(batch, &self.wish(sink));
        let told = self.edges.notification(told);
        let (_, result) = sink.tell(told, &self.edges, &self.stop).await;
        let at = now();
        match &result {
            Ok(()) => {
                let marks = self.held().teller.marks_of(number, attempt);
                self.keep(marks, Vec::new(), None, at).await;
                self.held().teller.told(number, attempt, at);
            }
            Err(failure) => {
                let heard = self.hub.others().map(|gossip| gossip.notices()).unwrap_or_default();
                let (own, is_quiet, is_ready) = (self.own(), false, true);
                let view = View { now: at, own, heard: &heard, is_quiet, is_ready };
                self.held().teller.failed(number, attempt, &view, failure.after);
            }
        }
        self.note(number, at, result);
        self.stirred.notify_one();
    }

    fn note(&self, number: usize, at: Timestamp, result: Result<(), Failure>) {
        let mut state = self.held();
        let Some(figures) = state.figures.get_mut(number) else { return };
        match result {
            Ok(()) => {
                figures.sent += 1;
                (figures.last_sent_at, figures.failing) = (Some(at), None);
            }
            Err(Failure { why, .. }) => {
                figures.failed += 1;
                let since = figures.failing.as_ref().map_or(at, |(since, _)| *since);
                if figures.failing.is_none() {
                    let sink = &self.sinks[number].settings.name;
                    tracing::warn!(sink, why, "a notification was not told");
                }
                figures.failing = Some((since, why));
            }
        }
    }

    fn wish(&self, sink: &Sink) -> Wish {
        Wish {
            details: sink.settings.details,
            told_by: self.label.clone(),
            page: self.settings.page.clone(),
        }
    }

    /// Puts on the disk what was told, and what was held back.
    async fn keep(
        &self,
        marks: Vec<(Mark, bool)>,
        forgotten: Vec<Mark>,
        held: Option<Vec<(String, Held)>>,
        at: Timestamp,
    ) {
        let Some(fleet) = &self.fleet else { return };
        let kept = aside(fleet, move |fleet| {
            fleet.keep().set_notices(&marks, &forgotten, held.as_deref(), at)
        });
        if let Some(Err(error)) = kept.await {
            tracing::warn!(%error, "what was told cannot be kept");
        }
    }

    fn own(&self) -> NodeId {
        self.fleet.as_ref().map_or(NodeId::LEAST, |fleet| fleet.node())
    }

    /// Whether those who are there have said what they told.
    fn is_ready(
        &self,
        state: &State,
        gossip: Option<&Gossip>,
        heard: &[(NodeId, bool, NoticesWord)],
    ) -> bool {
        if state.settling.elapsed() >= SETTLES {
            return true;
        }
        let Some(fleet) = self.fleet.as_ref().filter(|fleet| fleet.key().is_some()) else {
            return true;
        };
        let own = fleet.node();
        let members = fleet.members();
        let mut others = members.now().map(|member| member.node()).filter(|node| *node != own);
        let has_said = |node: NodeId| heard.iter().any(|(other, live, _)| *other == node && *live);
        gossip.is_some() && others.all(has_said)
    }
}

fn in_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
