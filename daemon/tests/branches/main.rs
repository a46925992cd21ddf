//! Transcripts whose user goes back to an earlier entry, and to what was left: in pi's and OpenClaw's files and
//! in OpenClaw's database, while a daemon follows, while it is away, with lines that are torn and with an
//! index of an earlier release.
//!
//! The model is the walk from the last entry to its root. Whatever is written, every event is there once
//! and says whether it stands, with a daemon and without. Not here: shapes of trees (the core's tests), and
//! kills (the client's).
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod writers;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rrd_daemon::{
    Daemon, Scan,
    config::{Config, Flags},
    store::Reader,
};
use rrd_proto::{Event, EventKind, EventQuery, Harness, SessionKey};
use rusqlite::Connection;
use tempfile::TempDir;
use writers::{Claw, File, ID, Writer};

/// Long enough that only what never comes fails.
const NEVER: Duration = Duration::from_secs(60);

/// An entry's number, what it hangs on, and whether it is a prompt.
#[derive(Debug, Clone, Copy)]
struct Entry {
    id: usize,
    on: Option<usize>,
    is_prompt: bool,
}

struct Scene {
    home: TempDir,
    writer: Box<dyn Writer>,
    entries: Vec<Entry>,
    daemon: Option<Daemon>,
}

fn config(home: &Path, own: &str) -> Config {
    let env = |name: &str| match name {
        "HOME" => Some(home.as_os_str().to_owned()),
        "RRD_HOME" => Some(home.join(own).into_os_string()),
        "RRD_HTTP" => Some("off".into()),
        _ => None,
    };
    Config::load(&env, &Flags::default()).unwrap()
}

fn scenes() -> Vec<Scene> {
    let home = || tempfile::tempdir().unwrap();
    let scene =
        |home, writer: Box<dyn Writer>| Scene { home, writer, entries: Vec::new(), daemon: None };
    let (pi, claw, database) = (home(), home(), home());
    let pi_writer = File::new(Harness::Pi, &pi.path().join(".pi/agent/sessions/--w--"), "x_");
    let claw_writer =
        File::new(Harness::OpenClaw, &claw.path().join(".openclaw/agents/main/sessions"), "");
    let database_writer = Claw::new(&database.path().join(".openclaw/agents/main/agent"));
    vec![
        scene(pi, Box::new(pi_writer)),
        scene(claw, Box::new(claw_writer)),
        scene(database, Box::new(database_writer)),
    ]
}

impl Scene {
    fn key(&self) -> SessionKey {
        SessionKey { harness: self.writer.harness(), session_id: ID.to_owned() }
    }

    fn start(&mut self) {
        self.daemon = Some(Daemon::start(config(self.home.path(), "rrd")).unwrap());
    }

    fn stop(&mut self) {
        self.daemon.take().into_iter().for_each(Daemon::stop);
    }

    /// Writes the next entry, on another one.
    fn write(&mut self, on: Option<usize>) {
        self.write_with(on, "");
    }

    fn write_with(&mut self, on: Option<usize>, more: &str) {
        let id = self.entries.len();
        let entry = Entry { id, on, is_prompt: id.is_multiple_of(2) };
        self.writer.write(&line(entry, more));
        self.entries.push(entry);
    }

    /// So many more, each on the one before.
    fn go_on(&mut self, many: usize) {
        for _ in 0..many {
            self.write(self.entries.len().checked_sub(1));
        }
    }

    /// Text and whether it was taken back, of each event there should be.
    fn want(&self) -> Vec<(String, bool)> {
        let mut stands = vec![false; self.entries.len()];
        let mut at = self.entries.last().map(|entry| entry.id);
        while let Some(here) = at {
            stands[here] = true;
            at = self.entries[here].on;
        }
        let told = |entry: &Entry| {
            let text = format!("entry {}", entry.id);
            let ended = (!entry.is_prompt).then(|| "completed".to_owned());
            let left = !stands[entry.id];
            [Some(text), ended].into_iter().flatten().map(move |text| (text, left))
        };
        self.entries.iter().flat_map(told).collect()
    }

    /// Waits until the index has it, each event once and in its order.
    fn settle(&self, what: &str) {
        let want = self.want();
        let begun = Instant::now();
        loop {
            self.daemon.as_ref().unwrap().flush();
            let reader = Reader::open(&self.home.path().join("rrd/state")).unwrap();
            let told = said(&reader.events(&self.key(), None, 10_000).unwrap());
            if told == want {
                return;
            }
            assert!(told.len() <= want.len(), "{what}: {told:?}");
            assert!(begun.elapsed() < NEVER, "{what}: {told:?} is not {want:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The same without a daemon and its index, in a page and one after the other.
    fn look(&self, what: &str) {
        let scan = Scan::new(&config(self.home.path(), "none"), &mut |_| {});
        let query = EventQuery { limit: 1_000, ..EventQuery::newest(self.key(), 1_000) };
        assert_eq!(said(&scan.events(&query).events), self.want(), "{what}: a page");
        let mut every = Vec::new();
        scan.every(&self.key(), false, &mut |event| {
            every.push(event);
            true
        });
        assert_eq!(said(&every), self.want(), "{what}: all of it");
    }

    fn index(&self) -> Connection {
        Connection::open(self.home.path().join("rrd/state/index.db")).unwrap()
    }
}

fn said(events: &[Event]) -> Vec<(String, bool)> {
    let numbered = events.iter().enumerate().all(|(at, event)| event.seq == at as u64);
    assert!(numbered, "without gaps: {events:?}");
    let said = events.iter().filter(|event| event.kind != EventKind::Title);
    // Of a long one only its beginning.
    let beginning = |text: &str| text.split(" x").next().unwrap().to_owned();
    said.map(|event| (beginning(&event.text), event.withdrawn)).collect()
}

fn line(entry: Entry, more: &str) -> String {
    let id = |at: usize| format!("{at:08x}");
    let parent = entry.on.map_or("null".to_owned(), |on| format!("\"{}\"", id(on)));
    let (role, stop) = match entry.is_prompt {
        true => ("user", ""),
        false => ("assistant", r#","stopReason":"stop""#),
    };
    let at = format!("2026-11-20T10:{:02}:{:02}.000Z", entry.id / 60 % 60, entry.id % 60);
    let text = format!("entry {}{more}", entry.id);
    format!(
        r#"{{"type":"message","id":"{}","parentId":{parent},"timestamp":"{at}","message":{{"role":"{role}","content":[{{"type":"text","text":"{text}"}}]{stop}}}}}"#,
        id(entry.id)
    )
}

#[test]
fn what_is_left_and_gone_back_to_is_marked_while_it_is_followed() {
    for mut scene in scenes() {
        let name = format!("{:?}", scene.key());
        scene.go_on(6);
        scene.start();
        scene.settle(&name);
        // Back to the first answer, twice, then on with what was left first, and to the very beginning.
        for (what, on) in [
            ("rewound", Some(1)),
            ("rewound again", Some(1)),
            ("gone back", Some(5)),
            ("anew", None),
        ] {
            scene.write(on);
            scene.settle(&format!("{name}, {what}"));
            scene.go_on(3);
            scene.settle(&format!("{name}, {what}, and on"));
            scene.look(&format!("{name}, {what}"));
        }
        scene.stop();
        scene.start();
        scene.settle(&format!("{name}, once more"));
    }
}

#[test]
fn what_is_left_and_gone_back_to_while_nobody_looks_is_marked() {
    for mut scene in scenes() {
        let name = format!("{:?}", scene.key());
        scene.go_on(4);
        scene.start();
        scene.settle(&name);
        for (what, on) in [("rewound", 1), ("gone back", 3), ("rewound once more", 0)] {
            scene.stop();
            scene.write(Some(on));
            scene.go_on(2);
            scene.start();
            scene.settle(&format!("{name}, {what}"));
        }
        // Left and gone back to in one go: nothing changed but what came between.
        scene.stop();
        let last = scene.entries.len() - 1;
        scene.write(Some(1));
        scene.go_on(2);
        scene.write(Some(last));
        scene.start();
        scene.settle(&format!("{name}, there and back"));
        scene.look(&name);
        scene.stop();
    }
}

#[test]
fn a_first_reading_finds_what_was_left_long_before() {
    for mut scene in scenes() {
        let name = format!("{:?}", scene.key());
        scene.go_on(4);
        scene.write(Some(1));
        // Some megabytes, so that it is read in several stretches, and behind.
        for _ in 0..60 {
            scene.write_with(scene.entries.len().checked_sub(1), &"\\nx".repeat(16 << 10));
        }
        scene.look(&name);
        scene.start();
        scene.settle(&name);
        scene.write(Some(3));
        scene.settle(&format!("{name}, gone back"));
        scene.stop();
    }
}

#[test]
fn a_torn_line_moves_nothing_before_it_is_whole() {
    for mut scene in scenes().into_iter().take(2) {
        let name = format!("{:?}", scene.key());
        scene.go_on(4);
        scene.start();
        scene.settle(&name);
        let next = Entry { id: 4, on: Some(1), is_prompt: true };
        let line = line(next, "");
        let (head, rest) = line.split_at(line.len() / 2);
        scene.writer.write_bytes(head.as_bytes());
        scene.settle(&format!("{name}, torn"));
        scene.look(&format!("{name}, torn"));
        scene.stop();
        scene.start();
        scene.settle(&format!("{name}, torn, at a start"));
        scene.writer.write_bytes(format!("{rest}\n").as_bytes());
        scene.entries.push(next);
        scene.settle(&format!("{name}, whole"));
        scene.stop();
    }
}

/// What hangs on a line that is damaged may have come from anywhere before it.
#[test]
fn what_is_missing_marks_nothing() {
    for mut scene in scenes().into_iter().take(2) {
        scene.go_on(4);
        scene.start();
        scene.settle("whole");
        scene.writer.write(r#"{"type":"message","id":"00000004","parentId":"0000"#);
        let on_it = Entry { id: 5, on: Some(4), is_prompt: false };
        scene.writer.write(&line(on_it, ""));
        // As if it had gone on.
        scene.entries.push(Entry { id: 4, on: Some(3), is_prompt: true });
        scene.entries.push(on_it);
        let is_told = |(text, _): &(String, bool)| text != "entry 4";
        let want: Vec<_> = scene.want().into_iter().filter(is_told).collect();
        assert!(want.iter().all(|(_, left)| !left));
        let begun = Instant::now();
        loop {
            scene.daemon.as_ref().unwrap().flush();
            let reader = Reader::open(&scene.home.path().join("rrd/state")).unwrap();
            let told = said(&reader.events(&scene.key(), None, 100).unwrap());
            if told == want {
                break;
            }
            assert!(begun.elapsed() < NEVER, "{told:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        scene.stop();
    }
}

#[test]
fn an_index_of_an_earlier_release_gets_its_marks() {
    for mut scene in scenes() {
        scene.go_on(4);
        scene.write(Some(1));
        scene.go_on(2);
        scene.start();
        scene.settle("read");
        scene.stop();
        // Withdrawn is the fourth flag.
        scene
            .index()
            .execute_batch(
                "UPDATE events SET flags = flags & ~8;
                 UPDATE sessions SET reader = reader - 1;
                 UPDATE databases SET reader = reader - 1;",
            )
            .unwrap();
        scene.start();
        scene.settle("read again");
        scene.write(Some(3));
        scene.settle("gone back");
        scene.stop();
    }
}

/// As OpenClaw 2026.9.6 rewinds: another session with a copy of all, and a sign where it stands.
#[test]
fn what_a_sign_points_away_from_is_left() {
    for mut scene in scenes().into_iter().skip(1) {
        scene.go_on(4);
        scene.start();
        scene.settle("written");
        let sign = |id: &str, to: &str| {
            format!(
                r#"{{"type":"leaf","id":"{id}","parentId":"00000003","timestamp":"2026-11-20T10:10:00.000Z","targetId":"{to}"}}"#
            )
        };
        scene.writer.write(&sign("a", "00000001"));
        let marks = || {
            let reader = Reader::open(&scene.home.path().join("rrd/state")).unwrap();
            let events = reader.events(&scene.key(), None, 100).unwrap();
            events.iter().map(|event| event.withdrawn).collect::<Vec<_>>()
        };
        let wait = |want: &[bool]| {
            let begun = Instant::now();
            while marks() != want {
                scene.daemon.as_ref().unwrap().flush();
                assert!(begun.elapsed() < NEVER, "{:?}", marks());
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        wait(&[false, false, false, true, true, true]);
        scene.writer.write(&sign("b", "00000003"));
        wait(&[false; 6]);
        scene.stop();
    }
}
