//! What a daemon makes of transcripts that are torn, cut, rewritten, replaced, moved and damaged while
//! it follows them, stops and starts: nothing lost, nothing twice.
//!
//! Random file actions run against real files and a model. At each sync point the daemon must come to
//! agree with the model; at the end the store must hold each record's event once, in the order in which
//! the records first appeared. A record that is gone before anybody can have looked may be missed, so
//! there is a sync point before whatever destroys. Not here: kills (the client's tests; they need a
//! process).
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod found;
#[path = "../random/mod.rs"]
mod random;
mod record;
mod transcript;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use random::sequences;
use record::Author;
use rrd_daemon::{
    Daemon,
    config::{Config, Flags},
    store::Reader,
};
use rrd_proto::{Counts, Event, EventKind, Harness, ListQuery, SessionKey, Timestamp};
use tempfile::TempDir;
use transcript::Transcript;

/// What may happen; the first number says to which transcript.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Write(usize, usize),
    WriteBytes(usize),
    Tear(usize, u16),
    Complete(usize),
    Damage(usize, u8),
    Truncate(usize, u16),
    Rewrite(usize, u8),
    Replace(usize, u8),
    Move(usize),
    MoveDirectory,
    Delete(usize),
    Recreate(usize),
    /// The daemon ends; what follows happens while nobody looks.
    Stop,
    Sync,
}

/// Long enough that only what never comes fails.
const NEVER: Duration = Duration::from_secs(8);

const CODEX_ID: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";

/// A home with transcripts, and the daemon that follows them.
pub(crate) struct Torture {
    home: TempDir,
    watch: &'static str,
    daemon: Option<Daemon>,
    pub(crate) transcripts: Vec<Transcript>,
    moves: usize,
    /// A daemon may have seen what no sync point has.
    unsettled: bool,
}

impl Torture {
    pub(crate) fn new(watch: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let author = |harness: &str, session: &str, agent: Option<&str>| Author {
            harness: Harness::from(harness),
            session: session.to_owned(),
            agent: agent.map(str::to_owned),
        };
        let projects = home.path().join(".claude/projects");
        // A root that appears later is found at the next tick: once is enough, elsewhere.
        for root in [".claude", ".codex"] {
            std::fs::create_dir(home.path().join(root)).unwrap();
        }
        let transcripts = vec![
            Transcript::new(
                author("claude-code", "aaaa-1", None),
                projects.join("-p0/aaaa-1.jsonl"),
            ),
            Transcript::new(
                author("claude-code", "bbbb-2", None),
                projects.join("-p0/bbbb-2.jsonl"),
            ),
            Transcript::new(author("codex", CODEX_ID, None), rollout(home.path(), 0)),
            // Its directory comes with its first record.
            Transcript::new(
                author("claude-code", "aaaa-1", Some("a77")),
                projects.join("-p0/aaaa-1/subagents/agent-a77.jsonl"),
            ),
        ];
        Self { home, watch, daemon: None, transcripts, moves: 0, unsettled: false }
    }

    pub(crate) fn root(&self) -> &Path {
        self.home.path()
    }

    fn config(&self) -> Config {
        let env = |name: &str| match name {
            "HOME" => Some(self.home.path().as_os_str().to_owned()),
            "RRD_HOME" => Some(self.home.path().join("rrd").into_os_string()),
            "RRD_HTTP" => Some("off".into()),
            "RRD_WATCH" => Some(self.watch.into()),
            _ => None,
        };
        Config::load(&env, &Flags::default()).unwrap()
    }

    pub(crate) fn daemon(&mut self) -> &Daemon {
        if self.daemon.is_none() {
            self.daemon = Some(Daemon::start(self.config()).unwrap());
        }
        self.daemon.as_ref().unwrap()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
    }

    pub(crate) fn run(&mut self, actions: &[Action]) -> Result<(), String> {
        self.daemon();
        for (n, action) in actions.iter().enumerate() {
            self.apply(*action).map_err(|e| format!("action {n} ({action:?}): {e}"))?;
        }
        self.sync().map_err(|e| format!("at the end: {e}"))?;
        self.compare_events()?;
        self.stop();
        self.sync().map_err(|e| format!("after a last restart: {e}"))?;
        self.compare_events()
    }

    fn apply(&mut self, action: Action) -> Result<(), String> {
        use Action::{
            Complete, Damage, Delete, Move, MoveDirectory, Recreate, Replace, Rewrite, Stop, Sync,
            Tear, Truncate, Write, WriteBytes,
        };
        let destroys =
            matches!(action, Truncate(..) | Rewrite(..) | Replace(..) | Delete(_) | Recreate(_));
        if destroys && (self.daemon.is_some() || self.unsettled) {
            let stopped = self.daemon.is_none();
            self.sync()?;
            if stopped {
                self.stop();
            }
        }
        self.unsettled |= self.daemon.is_some();
        match action {
            Write(t, count) => self.transcripts[t].write(count),
            WriteBytes(t) => self.transcripts[t].write_bytes(),
            Tear(t, at) => self.transcripts[t].tear(at),
            Complete(t) => self.transcripts[t].complete(),
            Damage(t, kind) => self.transcripts[t].damage(kind),
            Truncate(t, at) => self.transcripts[t].truncate(at),
            Rewrite(t, how) => self.transcripts[t].rewrite(how),
            Replace(t, how) => self.transcripts[t].replace(how),
            Delete(t) => self.transcripts[t].delete(),
            Recreate(t) => self.transcripts[t].recreate(),
            Move(t) => {
                let to = self.elsewhere(t);
                self.transcripts[t].rename(to);
            }
            MoveDirectory => self.move_directory(),
            Stop => self.stop(),
            Sync => self.sync()?,
        }
        Ok(())
    }

    /// Another place for a transcript: another project, or the archive and back.
    fn elsewhere(&mut self, t: usize) -> PathBuf {
        self.moves += 1;
        let transcript = &self.transcripts[t];
        if transcript.author.is_codex() {
            return rollout(self.home.path(), self.moves);
        }
        if transcript.author.agent.is_some() {
            return transcript.path.with_file_name("workflows").join("agent-a77.jsonl");
        }
        let name = transcript.path.file_name().unwrap();
        self.home.path().join(format!(".claude/projects/-p{}", self.moves)).join(name)
    }

    /// Renames the project's directory with everything in it.
    fn move_directory(&mut self) {
        let from = self.transcripts[1].path.parent().unwrap().to_owned();
        if from.exists() {
            self.moves += 1;
            let to = from.with_file_name(format!("-p{}", self.moves));
            std::fs::rename(&from, &to).unwrap();
            self.transcripts.iter_mut().for_each(|t| t.moved_along(&from, &to));
        }
    }

    /// Waits until the daemon knows what the model knows.
    pub(crate) fn sync(&mut self) -> Result<(), String> {
        self.transcripts.iter_mut().for_each(Transcript::look);
        let mut want: Vec<_> = self
            .transcripts
            .iter()
            .filter_map(|t| {
                let known = t.known.as_ref()?;
                Some((t.key(), Some(known.counts), known.last_activity, true))
            })
            .collect();
        want.sort_by(|a, b| a.0.cmp(&b.0));
        let since = Instant::now();
        loop {
            let got = listed(self.daemon());
            if got == want {
                self.unsettled = false;
                return Ok(());
            }
            if since.elapsed() > NEVER {
                let only = |these: &[Row], those: &[Row]| {
                    these.iter().filter(|row| !those.contains(row)).map(told).collect::<String>()
                };
                let (got, want) = (only(&got, &want), only(&want, &got));
                return Err(format!("the daemon says\n{got}the model\n{want}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The session's events in the store.
    pub(crate) fn events(&mut self, key: &SessionKey) -> Vec<Event> {
        self.daemon().flush();
        let reader = Reader::open(&self.home.path().join("rrd/state")).unwrap();
        let mut events = Vec::new();
        loop {
            let after = events.last().map(|event: &Event| event.seq);
            // Before the first one there is nothing to be after.
            let page = match after {
                None => reader.events(key, None, u32::MAX).unwrap(),
                Some(_) => reader.events(key, after, 1_000).unwrap(),
            };
            if page.is_empty() {
                return events;
            }
            events.extend(page);
        }
    }

    fn compare_events(&mut self) -> Result<(), String> {
        let known: Vec<_> =
            self.transcripts.iter().filter_map(|t| Some((t.key(), t.known.clone()?))).collect();
        for (key, known) in known {
            let events = self.events(&key);
            let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
            if numbers != (0..events.len() as u64).collect::<Vec<_>>() {
                return Err(format!("{key}: numbers with gaps: {numbers:?}"));
            }
            let got: Vec<(EventKind, String)> = events
                .into_iter()
                .filter(|event| event.kind != EventKind::TurnEnd)
                .map(|event| (event.kind, event.tool_call_id.unwrap_or(event.text)))
                .collect();
            if got != known.events {
                return Err(format!("{key}: stored {got:?}\nthe model has {:?}", known.events));
            }
        }
        Ok(())
    }
}

impl Drop for Torture {
    fn drop(&mut self) {
        self.stop();
    }
}

type Row = (SessionKey, Option<Counts>, Option<Timestamp>, bool);

fn listed(daemon: &Daemon) -> Vec<Row> {
    let all = ListQuery { all: true, ..ListQuery::default() };
    let rows = daemon.list(&all).sessions;
    let mut rows: Vec<Row> =
        rows.iter().map(|s| (s.key(), s.counts, s.last_activity_at, s.complete)).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

fn told((key, counts, at, complete): &Row) -> String {
    let Counts { prompts, messages, tool_calls, errors } = counts.unwrap_or_default();
    let at = at.map(|at| at.to_string());
    format!(
        "  {key}: {prompts} prompts, {messages} messages, {tool_calls} calls, {errors} errors, \
         last at {at:?}, complete {complete}\n"
    )
}

/// Where a rollout is, live or archived.
fn rollout(home: &Path, moves: usize) -> PathBuf {
    let folder = if moves.is_multiple_of(2) { "sessions/2026/11/20" } else { "archived_sessions" };
    home.join(".codex")
        .join(folder)
        .join(format!("rollout-2026-11-20T10-00-0{}-{CODEX_ID}.jsonl", moves % 10))
}

fn actions(most: usize) -> impl Strategy<Value = Vec<Action>> {
    use Action::{
        Complete, Damage, Delete, Move, MoveDirectory, Recreate, Replace, Rewrite, Stop, Sync,
        Tear, Truncate, Write, WriteBytes,
    };
    let which = || 0..4usize;
    let action = prop_oneof![
        8 => (which(), 1..5usize).prop_map(|(t, n)| Write(t, n)),
        1 => which().prop_map(WriteBytes),
        4 => (which(), any::<u16>()).prop_map(|(t, at)| Tear(t, at)),
        3 => which().prop_map(Complete),
        3 => (which(), any::<u8>()).prop_map(|(t, kind)| Damage(t, kind)),
        2 => (which(), any::<u16>()).prop_map(|(t, at)| Truncate(t, at)),
        4 => (which(), any::<u8>()).prop_map(|(t, how)| Rewrite(t, how)),
        4 => (which(), any::<u8>()).prop_map(|(t, how)| Replace(t, how)),
        2 => which().prop_map(Move),
        1 => Just(MoveDirectory),
        2 => which().prop_map(Delete),
        2 => which().prop_map(Recreate),
        3 => Just(Stop),
        3 => Just(Sync),
    ];
    proptest::collection::vec(action, 1..most)
}

#[test]
fn nothing_is_lost_and_nothing_taken_twice() {
    sequences(1, 120, actions(24), |actions| Torture::new("auto").run(&actions));
}

#[test]
fn long_sequences_fare_the_same() {
    sequences(2, 60, actions(60), |actions| Torture::new("auto").run(&actions));
}

#[test]
fn notifications_are_hints() {
    sequences(3, 4, actions(8), |actions| Torture::new("poll").run(&actions));
}
