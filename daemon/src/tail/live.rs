//! Looks at the processes behind a root's sessions: registry entries, writer locks, pids.
//!
//! Claude Code keeps `sessions/<pid>.json` while it lives and rewrites it in place, so a read may be
//! torn: the last good value stands then. Codex holds `thread-writer-locks/<thread>.lock`. Not here: how
//! a lock is looked at ([`super::locks`]), and what follows for the status.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rrd_core::{
    harness::{FileRole, Format},
    live::{Evidence, Liveness, LivenessBy, RegistryEntry},
    roster::RootLive,
};
use rrd_proto::{Harness, SessionKey, Timestamp};

use super::locks::{Holder, Locks};
use crate::process::{Process, pid_domain, process};

/// Registry entries are under a kilobyte; anything much larger is not one.
const MAX_ENTRY: u64 = 64 << 10;

/// Rewriting an entry takes microseconds.
const REWRITE: Duration = Duration::from_millis(2);

/// An entry that cannot be read and has not changed for so long is no entry.
const ABANDONED: Duration = Duration::from_secs(30);

/// After so long, a session that writes nothing is settled without a departure to speak for it.
const DEPARTURE_MATTERS_MS: i64 = 60_000;

/// Looks at one root again and again.
#[derive(Debug)]
pub(crate) struct Live {
    root: PathBuf,
    harness: Harness,
    format: &'static Format,
    domain: Option<String>,
    last_good: HashMap<PathBuf, RegistryEntry>,
    /// Whose traces the last look found …
    present: HashSet<SessionKey>,
    /// … and whose have gone since, and when.
    left: HashMap<SessionKey, Timestamp>,
    /// Processes or locks were there at the last look, so the next one must not wait for a hint.
    pub(crate) busy: bool,
}

impl Live {
    /// Nothing has been looked at yet.
    pub(crate) fn new(root: &Path, harness: Harness, format: &'static Format) -> Self {
        let (root, domain) = (root.to_owned(), pid_domain());
        let last_good = HashMap::new();
        let (present, left) = (HashSet::new(), HashMap::new());
        Self { root, harness, format, domain, last_good, present, left, busy: false }
    }

    /// Whether a change of this file calls for a new look.
    pub(crate) fn concerns(role: &FileRole) -> bool {
        matches!(role, FileRole::LiveEntry | FileRole::WriterLock { .. })
    }

    /// Looks.
    pub(crate) fn look(&mut self, now: Timestamp) -> RootLive {
        let mut look = RootLive { checked_at: now, ..RootLive::default() };
        self.busy = false;
        if let Some((folder, by)) = self.format.traces
            && let Ok(entries) = fs::read_dir(self.root.join(folder))
        {
            (look.traces, look.by) = (true, by);
            let mut locks = Vec::new();
            for path in entries.flatten().map(|entry| entry.path()) {
                let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
                match (self.format.classify)(&format!("{folder}/{name}")) {
                    FileRole::LiveEntry => self.registry_entry(&path, &mut look),
                    FileRole::WriterLock { session_id } => locks.push((path, session_id)),
                    _ => {}
                }
            }
            self.locks(locks, &mut look);
        }
        self.last_good.retain(|path, _| path.exists());
        self.note_departures(&mut look);
        look
    }

    /// A trace that was there at the last look and is gone says more than one that never was.
    fn note_departures(&mut self, look: &mut RootLive) {
        if look.traces {
            let here: HashSet<SessionKey> = look.found.keys().cloned().collect();
            let gone = self.present.difference(&here).map(|key| (key.clone(), look.checked_at));
            self.left.extend(gone);
            self.present = here;
        }
        let found = &look.found;
        self.left.retain(|key, at| {
            look.checked_at.since(*at) < DEPARTURE_MATTERS_MS && !found.contains_key(key)
        });
        look.left.clone_from(&self.left);
    }

    fn registry_entry(&mut self, path: &Path, look: &mut RootLive) {
        let read = || read_small(path).ok().and_then(|bytes| (self.format.live_entry)(&bytes));
        let known = self.last_good.contains_key(path);
        let read = read().or_else(|| {
            // Only a first look has nothing to fall back on: whoever rewrites it takes no longer.
            (!known && is_being_written(path)).then(|| std::thread::sleep(REWRITE))?;
            read()
        });
        let entry = match (read, self.last_good.get(path)) {
            (Some(entry), _) => entry,
            (None, Some(good)) => good.clone(),
            (None, None) => {
                // It is somebody's; until it can be read, the absence of a trace means nothing.
                look.traces &= !is_being_written(path);
                return;
            }
        };
        let evidence = self.judge(&entry);
        self.busy |= evidence.liveness == Liveness::Alive;
        let key =
            SessionKey { harness: self.harness.clone(), session_id: entry.session_id.clone() };
        // A session resumed after a crash has two entries: the live one speaks for it.
        let better = look.found.get(&key).is_none_or(|other| {
            let rank = |e: &Evidence| (e.liveness == Liveness::Alive, e.registry_since);
            rank(&evidence) > rank(other)
        });
        if better {
            look.found.insert(key, evidence);
        }
        self.last_good.insert(path.to_owned(), entry);
    }

    fn judge(&self, entry: &RegistryEntry) -> Evidence {
        let elsewhere = matches!((&entry.pid_domain, &self.domain), (Some(a), Some(b)) if a != b);
        let liveness = match (elsewhere, process(entry.pid)) {
            // A container's pid, or another machine's home: our process table says nothing of it.
            (true, _) | (_, Process::Unknown) => Liveness::Unknown,
            (false, Process::Gone) => Liveness::Dead,
            (false, Process::Started(start)) => match &entry.proc_start {
                Some(recorded) if *recorded == start => Liveness::Alive,
                Some(_) => Liveness::Dead,
                None => Liveness::Unknown,
            },
        };
        let attach =
            entry.tmux_session.as_ref().map(|name| format!("tmux attach -t {}", quote(name)));
        Evidence {
            liveness,
            by: LivenessBy::Registry,
            registry: entry.state.clone(),
            registry_since: entry.state_since,
            pid: Some(entry.pid),
            interactive: entry.interactive,
            attach,
            cwd: entry.cwd.clone(),
            started_at: entry.started_at,
            hook: None,
        }
    }

    fn locks(&mut self, locks: Vec<(PathBuf, String)>, look: &mut RootLive) {
        if locks.is_empty() {
            return;
        }
        let held = Locks::read();
        for (path, session_id) in locks {
            let (liveness, pid) = match held.holder(&path) {
                Holder::Nobody => continue,
                Holder::Somebody(pid) => (Liveness::Alive, pid),
                Holder::Unknown => (Liveness::Unknown, None),
            };
            self.busy = true;
            let key = SessionKey { harness: self.harness.clone(), session_id };
            look.found.insert(
                key,
                Evidence { liveness, by: LivenessBy::Lock, pid, ..Evidence::default() },
            );
        }
    }
}

fn is_being_written(path: &Path) -> bool {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    changed.is_ok_and(|at| at.elapsed().is_ok_and(|ago| ago < ABANDONED))
}

/// Reads a small regular file whole.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let source = super::source::Source::open(path)?;
    let mut bytes = vec![0; usize::try_from(source.size.min(MAX_ENTRY)).unwrap_or(0)];
    let got = source.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// A tmux session's name as a shell takes it.
fn quote(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_goes_is_noted_until_it_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let sessions = root.path().join("sessions");
        fs::create_dir(&sessions).unwrap();
        let entry = sessions.join("1.json");
        let write = || fs::write(&entry, r#"{"pid":1,"sessionId":"s"}"#).unwrap();
        let harness = Harness::ClaudeCode;
        let format = rrd_core::harness::format_of(&harness).unwrap();
        let mut live = Live::new(root.path(), harness, format);
        let mut left = |at| {
            let look = live.look(Timestamp::from_millis(at));
            look.left.into_values().collect::<Vec<_>>()
        };
        assert_eq!(left(1_000), [], "never there");
        write();
        assert_eq!(left(2_000), []);
        fs::remove_file(&entry).unwrap();
        let then = Timestamp::from_millis(3_000);
        assert_eq!((left(3_000), left(4_000)), (vec![then], vec![then]));
        write();
        assert_eq!(left(5_000), []);
        fs::remove_dir_all(&sessions).unwrap();
        assert_eq!(left(6_000), [], "no traces at all tell nothing");
    }

    #[test]
    fn names_are_quoted_for_a_shell() {
        assert_eq!(quote("t7"), "t7");
        assert_eq!(quote("my $(x) 'y'"), "'my $(x) '\\''y'\\'''");
    }
}
