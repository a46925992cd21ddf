//! Looks at the processes behind a root's sessions: registry entries, writer locks, pids.
//!
//! Claude Code keeps `sessions/<pid>.json` while it lives and rewrites it in place, so a read may be
//! torn: the last good value stands then. Codex holds `thread-writer-locks/<thread>.lock`. OpenClaw
//! writes who it is into `<session>.jsonl.lock`. Not here: how a lock of the system is looked at
//! ([`super::locks`]), and what follows for the status.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rrd_core::{
    harness::{FileRole, Format},
    live::{Evidence, Liveness, LivenessBy, RegistryEntry, RegistryState},
    roster::RootLive,
};
use rrd_proto::{Harness, SessionKey, Timestamp};

use super::locks::{Holder, Locks};
use crate::process::{Process, ProcessTable};

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
    processes: ProcessTable,
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
    pub(crate) fn new(
        root: &Path,
        harness: Harness,
        format: &'static Format,
        processes: ProcessTable,
    ) -> Self {
        let (root, last_good) = (root.to_owned(), HashMap::new());
        let (present, left) = (HashSet::new(), HashMap::new());
        Self { root, harness, format, processes, last_good, present, left, busy: false }
    }

    /// Whether a change of this file calls for a new look.
    pub(crate) fn concerns(role: &FileRole) -> bool {
        matches!(role, FileRole::LiveEntry | FileRole::WriterLock { .. } | FileRole::Asks)
    }

    /// Looks.
    pub(crate) fn look(&mut self, now: Timestamp) -> RootLive {
        let mut look = RootLive { checked_at: now, ..RootLive::default() };
        self.busy = false;
        if let Some((pattern, by)) = self.format.traces {
            look.by = by;
            let mut locks = Vec::new();
            for (folder, relative) in folders(&self.root, pattern) {
                let Ok(entries) = fs::read_dir(folder) else { continue };
                look.traces = true;
                for path in entries.flatten().map(|entry| entry.path()) {
                    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
                    match (self.format.classify)(&format!("{relative}/{name}")) {
                        FileRole::LiveEntry => self.registry_entry(&path, None, &mut look),
                        FileRole::WriterLock { session_id } if by == LivenessBy::RunLock => {
                            self.registry_entry(&path, Some(session_id), &mut look);
                        }
                        FileRole::WriterLock { session_id } => locks.push((path, session_id)),
                        _ => {}
                    }
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

    /// What names a process; `named` is the session, where the file's name tells.
    fn registry_entry(&mut self, path: &Path, named: Option<String>, look: &mut RootLive) {
        let read = || read_small(path).ok().and_then(|bytes| (self.format.live_entry)(&bytes));
        let known = self.last_good.contains_key(path);
        let read = read().or_else(|| {
            // Only a first look has nothing to fall back on: whoever rewrites it takes no longer.
            (!known && is_being_written(path)).then(|| std::thread::sleep(REWRITE))?;
            read()
        });
        let mut entry = match (read, self.last_good.get(path)) {
            (Some(entry), _) => entry,
            (None, Some(good)) => good.clone(),
            (None, None) => {
                // It is somebody's; until it can be read, the absence of a trace means nothing.
                look.traces &= !is_being_written(path);
                return;
            }
        };
        if let Some(session_id) = named {
            entry.session_id = session_id;
        }
        let evidence = self.judge(&entry, look.by, look.checked_at);
        self.busy |= evidence.liveness == Liveness::Alive;
        let key =
            SessionKey { harness: self.harness.clone(), session_id: entry.session_id.clone() };
        let other = look.found.remove(&key);
        look.found.insert(key, of_both(evidence, other));
        self.last_good.insert(path.to_owned(), entry);
    }

    fn judge(&self, entry: &RegistryEntry, by: LivenessBy, checked_at: Timestamp) -> Evidence {
        let domains = (entry.pid_domain.as_deref(), self.processes.domain());
        let elsewhere = matches!(domains, (Some(a), Some(b)) if a != b)
            || entry.proc_start.as_deref().is_some_and(is_spelt_elsewhere);
        let liveness = match (elsewhere, self.processes.process(entry.pid)) {
            // A container's pid, or another machine's home: our process table says nothing of it.
            (true, _) | (_, Process::Unknown) => Liveness::Unknown,
            (false, Process::Gone) => Liveness::Dead,
            (false, Process::Started(start)) => match &entry.proc_start {
                Some(recorded) if *recorded == start => Liveness::Alive,
                Some(_) => Liveness::Dead,
                None => Liveness::Unknown,
            },
        };
        let attach = entry.tmux.as_ref().map(|place| format!("tmux attach -t {}", quote(place)));
        Evidence {
            liveness,
            by,
            registry: entry.state.clone(),
            wants: entry.wants.clone(),
            registry_since: entry.state_since,
            // One from the future was stamped by another clock, and proves no life.
            registry_written: entry
                .written_at
                .filter(|at| liveness == Liveness::Unknown && *at <= checked_at),
            pid: Some(entry.pid),
            also: Vec::new(),
            interactive: entry.interactive,
            attach,
            cwd: entry.cwd.clone(),
            started_at: entry.started_at,
            hook: None,
            ask: None,
            archived: false,
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
            // Made when its holder opens the session, and never written to.
            let made = fs::metadata(&path).ok().map(|lock| super::source::mtime(&lock) / 1_000_000);
            let started_at = made.map(Timestamp::from_millis);
            let evidence =
                Evidence { liveness, by: LivenessBy::Lock, pid, started_at, ..Evidence::default() };
            look.found.insert(key, evidence);
        }
    }
}

/// A session resumed after a crash has two entries: the live one speaks for it. If both live, whoever
/// needs somebody does.
fn of_both(one: Evidence, other: Option<Evidence>) -> Evidence {
    let Some(other) = other else { return one };
    let urgency = |state: &Option<RegistryState>| match state {
        Some(RegistryState::WaitingPermission | RegistryState::WaitingInput) => 2,
        Some(RegistryState::Busy) => 1,
        _ => 0,
    };
    let rank = |e: &Evidence| {
        let alive = e.liveness == Liveness::Alive;
        (alive, if alive { urgency(&e.registry) } else { 0 }, e.registry_since)
    };
    let (mut speaks, other) = if rank(&one) > rank(&other) { (one, other) } else { (other, one) };
    if other.liveness == Liveness::Alive {
        speaks.also.extend(other.pid);
        speaks.also.extend(other.also);
    }
    speaks
}

/// Ticks since the machine's start are Linux's way to spell when a process began, and Linux has no
/// other: a home may be shared with a virtual machine.
fn is_spelt_elsewhere(start: &str) -> bool {
    start.bytes().all(|byte| byte.is_ascii_digit()) != cfg!(target_os = "linux")
}

/// The folders beneath `root` that `pattern` means, and their paths relative to it; `*` is any folder.
fn folders(root: &Path, pattern: &str) -> Vec<(PathBuf, String)> {
    let mut found = vec![(root.to_owned(), String::new())];
    for part in pattern.split('/') {
        let beneath = |(path, relative): (PathBuf, String)| {
            let names = if part == "*" { subfolders(&path) } else { vec![part.to_owned()] };
            let one = move |name: String| {
                let slash = if relative.is_empty() { "" } else { "/" };
                (path.join(&name), format!("{relative}{slash}{name}"))
            };
            names.into_iter().map(one)
        };
        found = found.into_iter().flat_map(beneath).collect();
    }
    found
}

/// Links are not followed, as nowhere beneath a root.
fn subfolders(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.filter_map(|entry| entry.file_name().into_string().ok()).collect()
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

/// A place in tmux as a shell takes it.
fn quote(name: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '%');
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
        let mut live = Live::new(root.path(), harness, format, ProcessTable::system());
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
    fn traces_may_lie_in_a_folder_of_any_name() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["agents/a/sessions", "agents/b", "elsewhere/sessions"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("agents/file"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("../elsewhere", root.path().join("agents/link")).unwrap();
        let named = |pattern| {
            let mut names: Vec<_> = folders(root.path(), pattern)
                .into_iter()
                .inspect(|(path, name)| assert_eq!(*path, root.path().join(name)))
                .map(|(_, name)| name)
                .collect();
            names.sort();
            names
        };
        assert_eq!(named("agents/*/sessions"), ["agents/a/sessions", "agents/b/sessions"]);
        assert_eq!(named("sessions"), ["sessions"]);
        assert_eq!(named("none/*"), [""; 0]);
    }

    #[test]
    fn a_start_spelt_by_another_system_is_not_compared() {
        assert_eq!(is_spelt_elsewhere("154463"), cfg!(not(target_os = "linux")));
        assert_eq!(is_spelt_elsewhere("Fri Nov 20 10:43:14 2026"), cfg!(target_os = "linux"));
    }

    #[test]
    fn names_are_quoted_for_a_shell() {
        assert_eq!(quote("t7:@0.%0"), "t7:@0.%0");
        assert_eq!(quote("my $(x) 'y'"), "'my $(x) '\\''y'\\'''");
    }
}
