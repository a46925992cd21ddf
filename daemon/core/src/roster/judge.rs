//! What a session's status is, on the evidence of its transcript, its process, its hooks, and whom it waits for.
//!
//! Not here: the rules of status ([`crate::status`]), and how hooks are joined to sessions ([`super::hooked`]).

use rrd_proto::{SessionKey, Status, StatusSource, Timestamp, WaitingFor};

use super::{Absence, Entry, MAX_DEPTH, RootLive, Roster, lineage::delegates};
use crate::{
    fold::{OpenTool, Turn},
    hook::Trail,
    live::{Evidence, Liveness, LivenessBy, RegistryState},
    status::{Verdict, decide, describe, is_active},
};

/// Claude Code's `/clear` writes into the new session's transcript a moment before it names it in its
/// registry entry: that long, a process may be about to own up to a session without a trace.
const TRACE_SETTLES_MS: i64 = 2_000;

/// A record this far ahead of the clock was stamped by another one: its age tells nothing.
const FROM_THE_FUTURE_MS: i64 = 60_000;

/// An entry with its status.
pub(super) struct Judged<'a> {
    pub(super) entry: &'a Entry,
    pub(super) evidence: Evidence,
    pub(super) verdict: Verdict,
    pub(super) active: bool,
}

impl Judged<'_> {
    pub(super) fn is_subagent(&self) -> bool {
        self.entry.fold.is_subagent()
    }

    /// A process that has left the session, and may be in another one by now, is not its own; nor is
    /// a delegate's that has handed back.
    pub(super) fn is_alive(&self) -> bool {
        self.evidence.liveness == Liveness::Alive && self.verdict.status != Status::Ended
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_alive() && !self.active && !self.is_subagent()
    }
}

impl Roster {
    /// Its status and on what evidence, and whether what it was read from is gone.
    pub(super) fn verdict(
        &self,
        entry: &Entry,
        key: &SessionKey,
        now: Timestamp,
    ) -> (Evidence, Verdict, bool) {
        let evidence = self.evidence(entry, key, now);
        let verdict = decide(&entry.fold, &evidence, now, self.place.idle_timeout);
        let gone =
            self.absence(key, entry) == Some(Absence::Gone) && evidence.liveness != Liveness::Alive;
        let verdict = if gone { verdict.of_gone() } else { verdict };
        (evidence, verdict, gone)
    }

    pub(super) fn judge<'a>(
        &self,
        entry: &'a Entry,
        key: &SessionKey,
        now: Timestamp,
    ) -> Judged<'a> {
        let (evidence, mut verdict, gone) = self.verdict(entry, key, now);
        if verdict.waiting_for == Some(WaitingFor::Permission)
            && evidence.wants.is_none()
            && evidence.ask.is_none()
        {
            verdict.waiting_detail = self.asking(entry, key).or(verdict.waiting_detail);
        }
        if let Some(waits) = self.declared.get(key)
            && let Some(first) = waits.first()
            // Whoever asks a person waits for that before all.
            && matches!(verdict.status, Status::Executing | Status::Idle)
        {
            verdict = Verdict {
                waiting_for: Some(WaitingFor::Session),
                waiting_detail: Some(first.evidence.clone()),
                ..Verdict::new(Status::Waiting, first.since, StatusSource::Declared)
            };
        }
        // Whoever put it away has seen how it went.
        let put_away = evidence.archived && verdict.status == Status::Ended;
        let active = !put_away
            && !gone
            && is_active(
                &verdict,
                entry.fold.is_subagent(),
                entry.fold.last_activity,
                now,
                self.place.idle_timeout,
            );
        Judged { entry, evidence, verdict, active }
    }

    /// A person has put it away, and nobody is at work in it.
    fn is_put_away(&self, entry: &Entry, now: Timestamp) -> bool {
        let at_work = || {
            let silent = entry.fold.last_activity.map_or(i64::MAX, |at| now.since(at));
            let timeout = self.place.idle_timeout.as_millis();
            matches!(entry.fold.turn(), Turn::Open { .. }) && i128::from(silent) <= timeout as i128
        };
        entry.fold.put_away && !at_work()
    }

    /// Why its transcript is not there, if it is not. While its root cannot be looked at nothing is known
    /// to be deleted.
    pub(super) fn absence(&self, key: &SessionKey, entry: &Entry) -> Option<Absence> {
        if entry.path.is_empty() {
            return None;
        }
        let unseen = self.unseen.contains(&entry.root).then_some(Absence::OutOfSight);
        unseen.or_else(|| self.absent.get(key).copied())
    }

    /// What is known of a session from outside its transcript.
    fn evidence(&self, entry: &Entry, key: &SessionKey, now: Timestamp) -> Evidence {
        let ask = self.live.get(entry.root).and_then(|root| root.asks.get(key)).cloned();
        let archived = entry.archived || self.is_put_away(entry, now);
        if self.hooks.is_empty() {
            return Evidence { ask, archived, ..self.process(entry, key, None, now) };
        }
        let trail = self.trail(key, now);
        let mut evidence = self.process(entry, key, trail, now);
        match trail {
            Some(trail) => {
                evidence.attach = evidence.attach.or_else(|| trail.attach.clone());
                evidence.hook = Some(self.hooked(trail, key));
            }
            None => evidence.hook = self.left_with_its_parent(entry, key, now),
        }
        Evidence { ask, archived, ..evidence }
    }

    /// What is known of a session's process.
    fn process(
        &self,
        entry: &Entry,
        key: &SessionKey,
        trail: Option<&Trail>,
        now: Timestamp,
    ) -> Evidence {
        let seen = trail.map(Trail::seen).unwrap_or_default();
        let Some(root) = self.live.get(entry.root) else { return seen };
        // One home may be a copy of another: the process that lives speaks for both.
        let own = root.found.get(key).filter(|own| own.liveness == Liveness::Alive);
        let found = own.or_else(|| self.alive(key).next()).or_else(|| root.found.get(key));
        if let Some(found) = found {
            // A run that was over when its holder died has no more to say.
            let over = found.by == LivenessBy::RunLock
                && found.liveness == Liveness::Dead
                && !matches!(entry.fold.turn(), Turn::Open { .. });
            return if over { seen } else { found.clone() };
        }
        if root.by == LivenessBy::Registry && entry.fold.is_subagent() {
            return self.inherited(root, entry, key, now);
        }
        // Whoever writes a transcript has left its trace before. So what was written before the look
        // that found none had a writer that is gone by now …
        let hooked = trail.map(|trail| trail.hooked.last);
        let last = entry.fold.last_activity.max(hooked);
        let left = |at| root.left.get(key).is_some_and(|left| left.since(at) >= 0);
        let settled = last.is_none_or(|at| {
            let silent = root.checked_at.since(at);
            // … or one whose trace still names another session; not so if this one's has been seen to go.
            let claimed = |other: &Evidence| {
                let fits = |a: Option<bool>, b: Option<bool>| a.is_none() || b.is_none() || a == b;
                other.liveness == Liveness::Alive
                    && (other.cwd.is_none() || other.cwd == entry.fold.cwd)
                    && fits(other.interactive, entry.fold.interactive)
            };
            // A hook is called in the first second of a process, before it has a registry entry.
            let before_hook = |at| root.checked_at.since(at) < TRACE_SETTLES_MS;
            let for_certain = (root.by == LivenessBy::Lock || !root.found.values().any(claimed))
                && !hooked.is_some_and(before_hook);
            silent >= if for_certain { 0 } else { TRACE_SETTLES_MS }
                || at.since(now) > FROM_THE_FUTURE_MS
                || left(at)
        });
        // Whoever wrote had it open: none has who wrote before that was looked at.
        let written_before = |at: Timestamp| root.checked_at.since(at) >= 0;
        if root.unopened.contains(&entry.path) && (settled || last.is_none_or(written_before)) {
            let by = LivenessBy::Lock;
            return Evidence { liveness: Liveness::Dead, by, ..Evidence::default() };
        }
        // One release keeps no registry of `-p`: the process itself says more than a missing trace.
        let present = seen.liveness == Liveness::Alive && !last.is_some_and(left);
        if root.traces && entry.fold.leaves_trace && settled && !present {
            return Evidence { liveness: Liveness::Dead, by: root.by, ..Evidence::default() };
        }
        seen
    }

    /// Live processes that name the session, in every root.
    pub(super) fn alive(&self, key: &SessionKey) -> impl Iterator<Item = &Evidence> {
        let found = self.live.iter().filter_map(|root| root.found.get(key));
        found.filter(|evidence| evidence.liveness == Liveness::Alive)
    }

    /// What a delegate wants to do, where its session waits for a permission and nothing of its own is
    /// open but delegating. Of several that may want something nobody can tell.
    fn asking(&self, entry: &Entry, key: &SessionKey) -> Option<String> {
        let delegates = |tool: &OpenTool| delegates(&tool.name);
        if !entry.fold.open_tools.iter().all(delegates) {
            return None;
        }
        let mut found = None;
        for (of, delegate) in &self.entries {
            let fold = &delegate.fold;
            let wants = fold.open_tools.first().filter(|tool| !delegates(tool));
            let Some(tool) = wants.filter(|_| of.harness == key.harness && fold.is_subagent())
            else {
                continue;
            };
            if self.session_of(delegate, of).as_ref() == Some(key) && found.replace(tool).is_some()
            {
                return None;
            }
        }
        found.map(describe)
    }

    /// The session that a delegate, or a delegate's delegate, works for.
    pub(super) fn session_of(&self, entry: &Entry, key: &SessionKey) -> Option<SessionKey> {
        let mut fold = &entry.fold;
        for _ in 0..MAX_DEPTH {
            let (id, _) = fold.parent.as_ref()?;
            let parent = SessionKey { harness: key.harness.clone(), session_id: id.clone() };
            match self.entries.get(&parent) {
                Some(between) if between.fold.is_subagent() => fold = &between.fold,
                _ => return Some(parent),
            }
        }
        None
    }

    /// A subagent runs inside its parent's process and has no trace of its own.
    fn inherited(
        &self,
        root: &RootLive,
        entry: &Entry,
        key: &SessionKey,
        now: Timestamp,
    ) -> Evidence {
        let Some(top) = self.session_of(entry, key) else { return Evidence::default() };
        let of_parent = match self.entries.get(&top) {
            Some(parent) => self.evidence(parent, &top, now),
            None => root.found.get(&top).cloned().unwrap_or_default(),
        };
        // A parent at its prompt has no delegate at work: it would say busy.
        let registry = of_parent.registry.filter(|state| *state == RegistryState::Idle);
        Evidence {
            liveness: of_parent.liveness,
            by: of_parent.by,
            registry,
            registry_since: of_parent.registry_since,
            ..Evidence::default()
        }
    }
}
