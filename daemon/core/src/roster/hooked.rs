//! The hooks' part of the roster: whose calls are remembered, and what they say of which row.
//!
//! Not here: what follows for the status ([`crate::status`]).

use rrd_proto::{ParentKind, SessionKey, Timestamp};

use super::{Entry, Roster};
use crate::{
    fold::Turn,
    hook::{HookEvent, HookState, Hooked, HookedProcess, Trail},
    live::Liveness,
    status::from_hook,
};

/// Sessions and delegates whose hooks are remembered; the one silent for longest is forgotten.
const MAX_HOOKED: usize = 2_048;

/// What a hook said this long ago is no longer believed.
const HOOKS_KEPT_MS: i64 = 7 * 24 * 3_600_000;

/// A trail that no longer decides anything is kept for so long.
const SILENT_KEPT_MS: i64 = 24 * 3_600_000;

impl Roster {
    /// Takes a call of a hook at `now`.
    pub fn hook(&mut self, mut event: HookEvent, now: Timestamp) {
        // Both clocks are this host's; one that was set back must not silence what comes after.
        event.at = event.at.min(now);
        if let Some(own) = event.of_delegate() {
            self.follow(own, true);
        }
        self.follow(event, false);
    }

    fn follow(&mut self, event: HookEvent, delegate: bool) {
        let key = event.session.clone();
        if self.hooks.len() >= MAX_HOOKED && !self.hooks.contains_key(&key) {
            let oldest = self.hooks.iter().min_by_key(|(_, trail)| trail.hooked.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.forget_trail(oldest);
            }
        }
        let trail = self.hooks.entry(key.clone()).or_default();
        trail.delegate |= delegate;
        if trail.take(event) {
            self.version += 1;
            self.unsaved.insert(key);
        }
    }

    fn forget_trail(&mut self, key: SessionKey) {
        self.hooks.remove(&key);
        self.unsaved.insert(key);
        self.version += 1;
    }

    /// Takes what was stored of what hooks said, before anything else is taken of them.
    pub fn restore_trails(&mut self, trails: impl IntoIterator<Item = (SessionKey, Trail)>) {
        for (key, mut trail) in trails {
            trail.restore();
            self.hooks.insert(key, trail);
        }
        self.version += 1;
    }

    /// What hooks said of every session.
    #[must_use]
    pub fn trails(&self) -> Vec<(SessionKey, Trail)> {
        self.hooks.iter().map(|(key, trail)| (key.clone(), trail.clone())).collect()
    }

    /// What changed of that since this was last asked; `None` where it was forgotten.
    pub fn unsaved_trails(&mut self) -> Vec<(SessionKey, Option<Trail>)> {
        let changed = std::mem::take(&mut self.unsaved);
        let with_trail = |key| {
            let trail = self.hooks.get(&key).cloned();
            (key, trail)
        };
        changed.into_iter().map(with_trail).collect()
    }

    /// Forgets what is no longer believed, or has been overruled by the transcript for long.
    pub fn forget_old_trails(&mut self, now: Timestamp) {
        let is_old = |(key, trail): &(&SessionKey, &Trail)| {
            let silent = now.since(trail.hooked.last);
            let says =
                || from_hook(&self.entries.get(*key)?.fold, Some(&self.hooked(trail, key)), now);
            let lives = trail.seen().liveness == Liveness::Alive;
            let overruled = || self.entries.contains_key(*key) && !lives && says().is_none();
            silent > HOOKS_KEPT_MS || silent > SILENT_KEPT_MS && overruled()
        };
        let old: Vec<_> = self.hooks.iter().filter(is_old).map(|(key, _)| key.clone()).collect();
        old.into_iter().for_each(|key| self.forget_trail(key));
    }

    /// The processes that hooks named and that are not known to be gone, of sessions of which nothing else
    /// tells whether they live.
    #[must_use]
    pub fn hooked_processes(&self) -> Vec<(SessionKey, HookedProcess)> {
        let known = self.hooks.iter().filter_map(|(key, trail)| {
            let process = trail.process.clone()?;
            let root = self.entries.get(key).and_then(|entry| self.live.get(entry.root));
            let traced = root.is_some_and(|root| root.found.contains_key(key));
            (!traced && process.liveness != Liveness::Dead).then(|| (key.clone(), process))
        });
        known.collect()
    }

    /// What a look at such a process found.
    pub fn set_hooked_process(&mut self, key: &SessionKey, found: HookedProcess) {
        let process = self.hooks.get_mut(key).and_then(|trail| trail.process.as_mut());
        // It may have been named anew meanwhile.
        if let Some(process) =
            process.filter(|known| known.pid == found.pid && known.named_at == found.named_at)
            && *process != found
        {
            *process = found;
            self.version += 1;
            self.unsaved.insert(key.clone());
        }
    }

    /// Open sessions of which nobody but hooks knows anything written: not all write a transcript.
    #[must_use]
    pub fn only_hooked(&self, now: Timestamp) -> Vec<(SessionKey, Trail)> {
        let open = |trail: &Trail| {
            !trail.delegate
                && trail.hooked.turn.is_some_and(|turn| turn.state != HookState::Ended)
                && trail.process.as_ref().is_none_or(|of| of.liveness != Liveness::Dead)
                && now.since(trail.hooked.last) <= HOOKS_KEPT_MS
        };
        let unwritten = |key| self.entries.get(key).is_none_or(|entry| entry.path.is_empty());
        let of_trail = |(key, trail): (&SessionKey, &Trail)| (key.clone(), trail.clone());
        self.hooks.iter().filter(|(key, t)| open(t) && unwritten(key)).map(of_trail).collect()
    }

    /// What its hooks said, while it can be believed.
    pub(super) fn trail(&self, key: &SessionKey, now: Timestamp) -> Option<&Trail> {
        self.hooks.get(key).filter(|trail| now.since(trail.hooked.last) <= HOOKS_KEPT_MS)
    }

    /// What they say, without the dialogs of delegates that the delegates' transcripts know answered.
    pub(super) fn hooked(&self, trail: &Trail, key: &SessionKey) -> Hooked {
        let mut hooked = trail.hooked.clone();
        hooked.waits.retain(|wait| {
            let Some(agent) = &wait.agent else { return true };
            let agent = SessionKey { session_id: agent.clone(), ..key.clone() };
            self.entries.get(&agent).is_none_or(|agent| wait.stands(&agent.fold))
        });
        hooked
    }

    /// Whoever is left takes its delegates along.
    pub(super) fn left_with_its_parent(
        &self,
        entry: &Entry,
        key: &SessionKey,
        now: Timestamp,
    ) -> Option<Hooked> {
        let (Some((parent, ParentKind::Subagent)), Turn::Open { .. }) =
            (&entry.fold.parent, entry.fold.turn())
        else {
            return None;
        };
        let parent = SessionKey { session_id: parent.clone(), ..key.clone() };
        let hooked = &self.trail(&parent, now)?.hooked;
        let left = hooked.turn.is_some_and(|turn| turn.state == HookState::Ended);
        left.then(|| hooked.clone())
    }
}

#[cfg(test)]
mod tests;
