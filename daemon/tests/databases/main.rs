//! What a daemon makes of sessions in databases that are written, undone, summed up, vacuumed, swapped
//! and deleted while it follows them, stops and starts.
//!
//! The model is the tables themselves, read in one go: a message counts while it stands or was summed
//! up; its copies behind summaries do not. Of events, each message seen at a sync point must have given
//! its own, once, and is marked when it no longer counts. Not here: the parsers' tables (core), other storage.
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod asks;
mod copies;
mod hermes;
mod openclaw;
#[path = "../random/mod.rs"]
mod random;
mod recorded;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use hermes::Hermes;
use proptest::prelude::*;
use random::sequences;
use rrd_daemon::{
    Daemon, Scan,
    config::{Config, Flags},
    store::Reader,
};
use rrd_proto::{
    Counts, EndReason, EventKind, EventQuery, Harness, Health, ListQuery, ParentKind, PartStatus,
    Session, SessionKey, Status, StatusSource, Timestamp,
};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy)]
enum Action {
    Turn(usize, bool),
    Say(usize),
    Undo(usize),
    Retry(usize),
    Compact(usize),
    Delete(usize),
    Vacuum,
    Checkpoint,
    Swap(usize),
    Stop,
    Sync,
}

/// Long enough that only what never comes fails.
const NEVER: Duration = Duration::from_secs(240);
const IDS: [&str; 2] = ["20261120_100000_aaaaaa", "20261120_100001_bbbbbb"];

/// Role, text, tool calls and time.
type Counted = (String, String, Option<String>, f64);

struct Scene {
    home: TempDir,
    watch: &'static str,
    hermes: Hermes,
    daemon: Option<Daemon>,
    /// What each session said at sync points, ever.
    said: BTreeMap<String, BTreeSet<String>>,
}

fn config(home: &Path, watch: &str) -> Config {
    let env = |name: &str| match name {
        "HOME" => Some(home.as_os_str().to_owned()),
        "RRD_HOME" => Some(home.join("rrd").into_os_string()),
        "RRD_HTTP" => Some("off".into()),
        "RRD_WATCH" => Some(watch.into()),
        _ => None,
    };
    Config::load(&env, &Flags::default()).unwrap()
}

fn all() -> ListQuery {
    ListQuery { all: true, ..ListQuery::default() }
}

fn key(id: &str) -> SessionKey {
    SessionKey { harness: Harness::Hermes, session_id: id.to_owned() }
}

/// Waits until the daemon says of a session what is expected of it.
fn until(daemon: &Daemon, id: &str, expected: impl Fn(&Session) -> bool) -> Session {
    let since = Instant::now();
    loop {
        let session = daemon.list(&all()).sessions.into_iter().find(|s| s.session_id == id);
        if let Some(session) = session.clone().filter(&expected) {
            return session;
        }
        assert!(since.elapsed() < NEVER, "{id} stays {session:#?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Scene {
    fn new(watch: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut hermes = Hermes::new(&home.path().join(".hermes"));
        IDS.iter().for_each(|id| hermes.session(id));
        Self { home, watch, hermes, daemon: None, said: BTreeMap::new() }
    }

    fn daemon(&mut self) -> &Daemon {
        let config = || config(self.home.path(), self.watch);
        self.daemon.get_or_insert_with(|| Daemon::start(config()).unwrap())
    }

    fn run(&mut self, actions: &[Action]) -> Result<(), String> {
        self.daemon();
        for (n, action) in actions.iter().enumerate() {
            self.apply(*action).map_err(|why| format!("action {n} ({action:?}): {why}"))?;
        }
        self.sync().map_err(|why| format!("at the end: {why}"))?;
        self.compare_events()?;
        self.stop();
        self.sync().map_err(|why| format!("after a restart: {why}"))?;
        self.compare_events()
    }

    fn apply(&mut self, action: Action) -> Result<(), String> {
        let destroys = !matches!(action, Action::Turn(..) | Action::Say(_) | Action::Checkpoint);
        if destroys && self.daemon.is_some() {
            self.sync()?;
        }
        match action {
            Action::Turn(s, fails) => {
                self.hermes.session(IDS[s]);
                self.hermes.turn(IDS[s], fails);
            }
            Action::Say(s) => {
                self.hermes.session(IDS[s]);
                self.hermes.say(IDS[s], "user", "the same words");
            }
            Action::Undo(s) => self.hermes.undo(IDS[s]),
            Action::Retry(s) => self.hermes.retry(IDS[s]),
            Action::Compact(s) => {
                self.hermes.session(IDS[s]);
                self.hermes.compact(IDS[s]);
            }
            Action::Delete(s) => self.hermes.delete(IDS[s]),
            Action::Vacuum => self.hermes.vacuum(),
            Action::Checkpoint => self.hermes.checkpoint(),
            Action::Swap(s) => self.hermes.swap(IDS[s]),
            Action::Stop => self.stop(),
            Action::Sync => self.sync()?,
        }
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
    }

    /// What counts of a session; `None` when it is deleted.
    fn counted(&self, id: &str) -> Option<Vec<Counted>> {
        let there = "SELECT count(*) FROM sessions WHERE id = ?1";
        let there: i64 = self.hermes.db.query_row(there, [id], |row| row.get(0)).unwrap();
        let sql = "SELECT role, coalesce(content, ''), tool_calls, timestamp FROM messages \
                   WHERE session_id = ?1 AND (compacted = 1 OR active = 1) \
                   GROUP BY role, content, timestamp, tool_call_id ORDER BY min(id)";
        let mut statement = self.hermes.db.prepare(sql).unwrap();
        let row =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let rows = statement.query_map([id], row).unwrap();
        (there > 0).then(|| rows.map(Result::unwrap).collect())
    }

    fn sync(&mut self) -> Result<(), String> {
        let mut want = BTreeMap::new();
        for id in IDS {
            let Some(rows) = self.counted(id) else { continue };
            let mut counts = Counts::default();
            let began = "SELECT started_at FROM sessions WHERE id = ?1";
            let began =
                || self.hermes.db.query_row(began, [id], |row| row.get::<_, f64>(0)).unwrap();
            let last = rows.iter().map(|row| row.3).reduce(f64::max).unwrap_or_else(began);
            for (role, content, calls, _) in &rows {
                let summary = content.starts_with("[CONTEXT");
                counts.prompts += u64::from(role == "user" && !summary);
                counts.messages += u64::from(role == "assistant" && !content.is_empty());
                counts.tool_calls += u64::from(calls.is_some());
                counts.errors += u64::from(role == "tool" && content.contains("\"exit_code\": 1"));
                if matches!(role.as_str(), "user" | "assistant") && !content.is_empty() && !summary
                {
                    self.said.entry(id.to_owned()).or_default().insert(content.clone());
                }
            }
            let last = Timestamp::from_millis((last * 1000.0) as i64);
            want.insert(id.to_owned(), (counts, Some(last)));
        }
        let since = Instant::now();
        loop {
            let sessions = self.daemon().list(&all()).sessions;
            let got: BTreeMap<_, _> = sessions
                .iter()
                .filter(|s| want.contains_key(&s.session_id) && s.complete)
                .map(|s| (s.session_id.clone(), (s.counts.unwrap_or_default(), s.last_activity_at)))
                .collect();
            if got == want {
                return Ok(());
            }
            if since.elapsed() > NEVER {
                return Err(format!("the daemon says {got:?}\nthe tables {want:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn compare_events(&mut self) -> Result<(), String> {
        self.daemon().flush();
        let reader = Reader::open(&self.home.path().join("rrd/state")).unwrap();
        for (id, said) in &self.said {
            let events = reader.events(&key(id), None, u32::MAX).unwrap();
            let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
            if numbers != (0..events.len() as u64).collect::<Vec<_>>() {
                return Err(format!("{id}: numbers with gaps: {numbers:?}"));
            }
            let told = |kind| matches!(kind, EventKind::Prompt | EventKind::Message);
            if let Some(rows) = self.counted(id) {
                let speaks = |row: &&Counted| {
                    matches!(row.0.as_str(), "user" | "assistant")
                        && !row.1.is_empty()
                        && !row.1.starts_with("[CONTEXT")
                };
                let stand: BTreeSet<&String> =
                    rows.iter().filter(speaks).map(|row| &row.1).collect();
                let standing = |event: &&rrd_proto::Event| told(event.kind) && !event.withdrawn;
                let shown: BTreeSet<&String> =
                    events.iter().filter(standing).map(|event| &event.text).collect();
                if stand != shown {
                    return Err(format!("{id}: {stand:?} stand, and not withdrawn are {shown:?}"));
                }
            }
            let texts: Vec<String> =
                events.into_iter().filter(|e| told(e.kind)).map(|e| e.text).collect();
            let mut numbered: Vec<&String> = texts.iter().filter(|t| t.contains(' ')).collect();
            numbered.retain(|text| *text != "the same words");
            let once: BTreeSet<&String> = numbered.iter().copied().collect();
            if once.len() != numbered.len() {
                return Err(format!("{id}: told twice: {texts:?}"));
            }
            if let Some(missing) = said.iter().find(|text| !texts.contains(text)) {
                return Err(format!("{id}: {missing:?} is not among {texts:?}"));
            }
        }
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop();
    }
}

fn actions(most: usize) -> impl Strategy<Value = Vec<Action>> {
    let which = || 0..IDS.len();
    let action = prop_oneof![
        8 => (which(), any::<bool>()).prop_map(|(s, fails)| Action::Turn(s, fails)),
        2 => which().prop_map(Action::Say),
        3 => which().prop_map(Action::Undo),
        3 => which().prop_map(Action::Retry),
        3 => which().prop_map(Action::Compact),
        1 => which().prop_map(Action::Delete),
        1 => Just(Action::Vacuum),
        2 => Just(Action::Checkpoint),
        2 => which().prop_map(Action::Swap),
        3 => Just(Action::Stop),
        2 => Just(Action::Sync),
    ];
    proptest::collection::vec(action, 1..most)
}

#[test]
fn nothing_is_lost_and_nothing_counted_twice() {
    sequences(1, 60, actions(24), |actions| Scene::new("auto").run(&actions));
}

#[test]
fn notifications_are_hints_to_databases_too() {
    sequences(2, 3, actions(6), |actions| Scene::new("poll").run(&actions));
}

#[test]
fn a_chain_of_compressions_is_one_conversation() {
    let mut scene = Scene::new("auto");
    let [root, tip] = IDS;
    scene.hermes.turn(root, false);
    scene.hermes.turn(tip, false);
    let sql = "UPDATE sessions SET parent_session_id = ?1, title = 'the tip' WHERE id = ?2";
    scene.hermes.db.execute(sql, [root, tip]).unwrap();
    let child = until(scene.daemon(), tip, |s| s.parent_kind == Some(ParentKind::Subagent));
    assert_eq!(child.parent_session_id.as_deref(), Some(root));
    let sql = "UPDATE sessions SET end_reason = 'compression', ended_at = 1795169000 WHERE id = ?1";
    scene.hermes.db.execute(sql, [root]).unwrap();
    until(scene.daemon(), tip, |s| s.parent_kind == Some(ParentKind::Compression));
    let listed = scene.daemon().list(&all()).sessions;
    assert_eq!(listed.iter().map(|s| s.session_id.as_str()).collect::<Vec<_>>(), [tip]);
    assert_eq!(listed[0].title.as_deref(), Some("the tip"));
}

#[test]
fn an_end_that_is_written_down_can_be_taken_back() {
    let mut scene = Scene::new("auto");
    let id = IDS[0];
    scene.hermes.turn(id, false);
    // Nobody but this process has it open, and that is not held for a harness.
    until(scene.daemon(), id, |s| s.status_source == StatusSource::Lock);
    let sql = "UPDATE sessions SET ended_at = 1795169000.5, end_reason = 'cli_close' WHERE id = ?1";
    scene.hermes.db.execute(sql, [id]).unwrap();
    let ended = until(scene.daemon(), id, |s| s.status_source == StatusSource::StopReason);
    assert_eq!(ended.end_reason, Some(EndReason::Exit));
    assert_eq!(ended.status_since.map(|at| at.as_millis()), Some(1_795_169_000_500));
    let sql = "UPDATE sessions SET ended_at = NULL, end_reason = NULL WHERE id = ?1";
    scene.hermes.db.execute(sql, [id]).unwrap();
    until(scene.daemon(), id, |s| s.status_source == StatusSource::Lock);
}

fn tail(daemon: &Daemon, part: &str) -> PartStatus {
    daemon.parts().into_iter().find(|of| of.part == part).unwrap()
}

#[test]
fn a_newer_schema_is_said_and_read_as_far_as_it_is_alike() {
    let mut scene = Scene::new("auto");
    scene.hermes.turn(IDS[0], false);
    scene.hermes.db.execute_batch("UPDATE schema_version SET version = 99").unwrap();
    until(scene.daemon(), IDS[0], |s| s.complete);
    let part = tail(scene.daemon(), "tail hermes");
    assert_eq!(part.state, Health::Degraded);
    assert!(part.detail.contains("schema 99 is newer"), "{}", part.detail);
    let looked = Scan::new(&config(scene.home.path(), "auto"), &mut |_| {});
    assert!(looked.parts().iter().any(|part| part.detail.contains("schema 99 is newer")));
    scene.stop();
    // Without what tells one message from another nothing is read.
    let rename = "ALTER TABLE messages RENAME COLUMN content TO body";
    scene.hermes.db.execute_batch(rename).unwrap();
    let part = tail(scene.daemon(), "tail hermes");
    assert!(part.detail.contains("unknown layout: messages has no column content"), "{part:?}");
    let row = until(scene.daemon(), IDS[0], |s| s.complete);
    assert_eq!(row.counts.unwrap().prompts, 1, "what was read before stands");
}

#[test]
fn older_releases_lack_columns() {
    let mut scene = Scene::new("auto");
    scene.hermes.turn(IDS[0], true);
    for column in ["observed", "active", "compacted"] {
        let drop = "DROP INDEX IF EXISTS idx_messages_session_active";
        scene.hermes.db.execute_batch(drop).unwrap();
        scene
            .hermes
            .db
            .execute_batch(&format!("ALTER TABLE messages DROP COLUMN {column}"))
            .unwrap();
    }
    for column in ["git_branch", "title", "rewind_count", "cache_read_tokens"] {
        scene
            .hermes
            .db
            .execute_batch(&format!("ALTER TABLE sessions DROP COLUMN {column}"))
            .unwrap();
    }
    let session = until(scene.daemon(), IDS[0], |s| s.complete);
    let counts = Counts { prompts: 1, messages: 1, tool_calls: 1, errors: 1 };
    assert_eq!((session.counts, session.title.as_deref()), (Some(counts), Some("prompt 2")));
    scene.hermes.say(IDS[0], "user", "more");
    until(scene.daemon(), IDS[0], |s| s.counts.is_some_and(|c| c.prompts == 2));
}

#[test]
fn text_may_hold_anything() {
    let mut scene = Scene::new("auto");
    let id = IDS[0];
    scene.hermes.say(id, "user", "\0json:[{\"type\":\"text\",\"text\":\"two\\nlines\"}]");
    scene.hermes.say(id, "user", "nul \0 and \u{1b}[31m escape");
    scene.hermes.say(id, "user", "\0json:{broken");
    let invalid = "INSERT INTO messages (session_id, role, content, timestamp) \
                   VALUES (?1, 'user', CAST(x'ff00fe' AS TEXT), 1795169999)";
    scene.hermes.db.execute(invalid, [id]).unwrap();
    let session = until(scene.daemon(), id, |s| s.counts.is_some_and(|c| c.prompts == 4));
    assert_eq!(session.title.as_deref(), Some("two lines"));
    assert!(session.issues.is_empty(), "{:?}", session.issues);
}

#[test]
fn a_look_without_a_daemon_says_the_same() {
    let mut scene = Scene::new("auto");
    scene.hermes.turn(IDS[0], true);
    scene.hermes.compact(IDS[0]);
    scene.hermes.turn(IDS[1], false);
    scene.sync().unwrap();
    let followed = scene.daemon().list(&all()).sessions;
    let scanned = Scan::new(&config(scene.home.path(), "auto"), &mut |_| {}).list(&all()).sessions;
    assert_eq!(followed, scanned);
    assert!(followed.iter().all(|session| session.parent_kind.is_none()), "{followed:?}");
    scene.stop();
    let fresh = tempfile::tempdir().unwrap();
    let env = |name: &str| match name {
        "HOME" => Some(scene.home.path().as_os_str().to_owned()),
        "RRD_HOME" => Some(fresh.path().as_os_str().to_owned()),
        "RRD_HTTP" => Some("off".into()),
        _ => None,
    };
    let config = Config::load(&env, &Flags::default()).unwrap();
    let counts = |sessions: Vec<Session>| {
        sessions.into_iter().map(|s| (s.session_id, s.counts, s.title)).collect::<Vec<_>>()
    };
    let anew = Scan::new(&config, &mut |_| {});
    assert_eq!(counts(anew.list(&all()).sessions), counts(followed));
    let query = EventQuery {
        key: key(IDS[0]),
        node: None,
        after: None,
        before: None,
        limit: 100,
        wait_ms: 0,
        bodies: false,
        raw: false,
    };
    let kinds: Vec<_> = anew.events(&query).events.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            EventKind::Prompt,
            EventKind::ToolCall,
            EventKind::ToolResult,
            EventKind::Message,
            EventKind::TurnEnd,
            EventKind::Compaction,
        ]
    );
}

#[test]
fn what_a_person_put_away_has_ended() {
    let mut scene = Scene::new("auto");
    scene.hermes.turn(IDS[0], false);
    scene.sync().unwrap();
    let put = |hermes: &Hermes, away: bool| {
        let sql = "UPDATE sessions SET archived = ?1 WHERE id = ?2";
        hermes.db.execute(sql, rusqlite::params![away, IDS[0]]).unwrap();
    };
    let by_hand = |s: &Session| s.status_source == StatusSource::StopReason;
    until(scene.daemon(), IDS[0], |s| !by_hand(s));
    put(&scene.hermes, true);
    let row = until(scene.daemon(), IDS[0], by_hand);
    assert_eq!((row.status, row.active), (Status::Ended, false));
    assert_eq!(row.end_reason, Some(EndReason::Exit));
    put(&scene.hermes, false);
    until(scene.daemon(), IDS[0], |s| !by_hand(s));
}

#[test]
fn what_was_undone_is_marked_among_the_events_and_no_longer_when_it_is_back() {
    let mut scene = Scene::new("auto");
    scene.hermes.turn(IDS[0], false);
    scene.hermes.turn(IDS[0], true);
    scene.sync().unwrap();
    let events = |scene: &mut Scene| {
        scene.daemon().flush();
        let reader = Reader::open(&scene.home.path().join("rrd/state")).unwrap();
        reader.events(&key(IDS[0]), None, u32::MAX).unwrap()
    };
    let marked = |scene: &mut Scene| {
        let events = events(scene);
        // From above the same is seen.
        let reader = Reader::open(&scene.home.path().join("rrd/state")).unwrap();
        let marks = reader.marks(&key(IDS[0]), None, u32::MAX).unwrap();
        let calls: Vec<_> = marks.iter().filter_map(|mark| Some((mark.seq, mark.call?))).collect();
        assert_eq!(calls, [(2, 1), (7, 6)]);
        assert!(
            marks.iter().map(|m| (m.seq, m.kind, m.withdrawn)).eq(events.iter().map(|event| (
                event.seq,
                event.kind,
                event.withdrawn
            )))
        );
        events.iter().map(|event| (event.kind, event.withdrawn)).collect::<Vec<_>>()
    };
    let kinds = [
        EventKind::Prompt,
        EventKind::ToolCall,
        EventKind::ToolResult,
        EventKind::Message,
        EventKind::TurnEnd,
    ];
    let turn = |withdrawn| kinds.map(|kind| (kind, withdrawn));
    assert_eq!(marked(&mut scene), [turn(false), turn(false)].concat());
    scene.hermes.undo(IDS[0]);
    scene.sync().unwrap();
    assert_eq!(marked(&mut scene), [turn(false), turn(true)].concat());
    // A restart takes nothing back, and what stands again is marked no more.
    scene.stop();
    scene.hermes.db.execute("UPDATE messages SET active = 1", []).unwrap();
    scene.sync().unwrap();
    assert_eq!(marked(&mut scene), [turn(false), turn(false)].concat());
    assert_eq!(events(&mut scene).last().map(|event| event.seq), Some(9));
}

#[test]
fn what_was_undone_before_the_first_look_is_among_the_events_too() {
    let mut scene = Scene::new("auto");
    scene.hermes.session(IDS[0]);
    scene.hermes.turn(IDS[0], false);
    scene.hermes.turn(IDS[0], true);
    scene.hermes.undo(IDS[0]);
    scene.hermes.turn(IDS[0], false);
    scene.sync().unwrap();
    let events = |scene: &mut Scene| {
        scene.daemon().flush();
        let reader = Reader::open(&scene.home.path().join("rrd/state")).unwrap();
        let events = reader.events(&key(IDS[0]), None, u32::MAX).unwrap();
        events.into_iter().map(|event| (event.seq, event.text, event.withdrawn)).collect::<Vec<_>>()
    };
    let marked = |scene: &mut Scene| -> Vec<bool> {
        events(scene).into_iter().map(|(.., withdrawn)| withdrawn).collect()
    };
    let turns = |turns: [bool; 3]| turns.map(|withdrawn| [withdrawn; 5]).concat();
    assert_eq!(marked(&mut scene), turns([false, true, false]));
    // As if it had been seen before: it goes on, it stands again, and nothing is there twice.
    scene.hermes.turn(IDS[0], false);
    scene.sync().unwrap();
    assert_eq!(marked(&mut scene).len(), 20);
    scene.stop();
    scene.hermes.db.execute("UPDATE messages SET active = 1", []).unwrap();
    scene.sync().unwrap();
    let all = events(&mut scene);
    assert_eq!(all.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert!(all.iter().all(|(.., withdrawn)| !withdrawn), "{all:?}");
}

#[test]
fn what_was_undone_and_put_back_before_the_first_look_is_there_once() {
    let mut scene = Scene::new("auto");
    scene.hermes.session(IDS[0]);
    scene.hermes.turn(IDS[0], false);
    scene.hermes.undo(IDS[0]);
    let again = "INSERT INTO messages (session_id, role, content, tool_call_id, tool_calls, tool_name,
            timestamp, finish_reason)
        SELECT session_id, role, content, tool_call_id, tool_calls, tool_name, timestamp, finish_reason
        FROM messages ORDER BY id";
    scene.hermes.db.execute(again, []).unwrap();
    scene.sync().unwrap();
    scene.daemon().flush();
    let reader = Reader::open(&scene.home.path().join("rrd/state")).unwrap();
    let events = reader.events(&key(IDS[0]), None, u32::MAX).unwrap();
    assert_eq!(events.iter().map(|event| event.withdrawn).collect::<Vec<_>>(), [false; 5]);
}

/// A file's bytes are others, but not its size and times: whoever does not open it cannot tell.
fn scramble(path: &Path) {
    use std::io::{Seek, Write};
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.rewind().unwrap();
    file.write_all(b"No database at all").unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn a_database_that_looks_as_it_did_is_not_opened() {
    let mut scene = Scene::new("auto");
    IDS.iter().for_each(|id| scene.hermes.turn(id, false));
    scene.sync().unwrap();
    let path = scene.hermes.path.clone();
    // All of it is in one file, at rest.
    scene.hermes.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let index = scene.home.path().join("rrd/state");
    let since = Instant::now();
    loop {
        scene.daemon().flush();
        let stored = Reader::open(&index).unwrap().load().unwrap().databases;
        let now = std::fs::metadata(&path).unwrap();
        if stored.iter().any(|state| state.look.1[0].0 == now.len() && state.look.1[1].0 == 0) {
            break;
        }
        assert!(since.elapsed() < NEVER, "{stored:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    let before = scene.daemon().list(&all()).sessions;
    assert_eq!(before.len(), 2);
    scene.stop();
    scramble(&path);

    assert_eq!(
        Scan::new(&config(scene.home.path(), "auto"), &mut |_| ()).list(&all()).sessions,
        before
    );
    assert_eq!(scene.daemon().list(&all()).sessions, before);
    assert!(scene.daemon().parts().iter().all(|part| part.state == Health::Ok));
    // It is looked at again as soon as it looks otherwise.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    let since = Instant::now();
    while !scene.daemon().parts().iter().any(|part| part.detail.contains("not a database")) {
        assert!(since.elapsed() < NEVER, "{:?}", scene.daemon().parts());
        std::thread::sleep(Duration::from_millis(2));
    }
}
