//! What is collected while nobody looks is there for whoever asks. Elsewhere every change is looked at
//! as it comes.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::Write,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rrd_core::roster::Place;
use rrd_proto::{Harness, ListQuery};

use super::*;
use crate::{Dirs, config::HarnessRoot, edge::Edges, hub::Hub, process::ProcessTable, store};

const SESSION: &str = "3f0c9a52-6f5d-4a7e-9d43-0c8a5a1b2c3d";

fn append(transcript: &mut File, number: usize) {
    writeln!(
        transcript,
        r#"{{"type":"user","uuid":"u{number}","sessionId":"{SESSION}","timestamp":"2026-11-20T10:29:13.794Z","message":{{"role":"user","content":"prompt {number}"}}}}"#
    )
    .unwrap();
}

#[test]
fn who_asks_gets_what_was_collected() {
    let dir = tempfile::tempdir().unwrap();
    let top = fs::canonicalize(dir.path()).unwrap();
    let root =
        HarnessRoot { harness: Harness::ClaudeCode, path: top.join(".claude"), is_store: false };
    let folder = root.path.join("projects/-srv-site");
    let state_dir = top.join("state");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir(&state_dir).unwrap();
    let mut transcript = File::create(folder.join(format!("{SESSION}.jsonl"))).unwrap();
    append(&mut transcript, 0);

    let idle_timeout = Duration::from_secs(300);
    let place = Place { host: "here".into(), node_id: None, idle_timeout };
    let hub = Arc::new(Hub::new(place, std::slice::from_ref(&root)));
    let (writer, stored) = store::open(&state_dir).unwrap();
    let over = AtomicBool::new(false);
    let edges = Arc::new(Edges::open(
        &Dirs::resolve(&|name| (name == "RRD_HOME").then(|| top.clone().into())).unwrap(),
    ));
    let ledger =
        Arc::new(StoreLedger { writer: Arc::new(writer), state_dir, over, edges, event: 1 << 10 });
    let scene = Scene::new(0, &root, &hub, &ProcessTable::system()).unwrap();
    let (surveyed, survey) = mpsc::channel::<()>();
    let tail = Tail::spawn(scene, ledger, WatchMode::Auto, stored, move || drop(surveyed)).unwrap();
    let _ = survey.recv();
    let door = tail.door();

    let key = SessionKey { harness: Harness::ClaudeCode, session_id: SESSION.into() };
    let prompts = || hub.fold(&key).map(|fold| fold.counts.prompts);
    let (mut written, limit) = (1, Instant::now() + Duration::from_secs(60));
    let (mut proven, mut asked) = (0, 0);
    while proven < 3 {
        assert!(Instant::now() < limit, "{asked} answers, {proven} of them by what was collected");
        append(&mut transcript, written);
        written += 1;
        if !door.linger.is_on() {
            // Not to write more than is read at once.
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        // Notifications wait now: what is written here is known to nobody before somebody asks.
        append(&mut transcript, written);
        written += 1;
        if let Some(caught_up) = door.catch_up() {
            caught_up.blocking_recv().unwrap();
            assert_eq!(prompts(), Some(written as u64));
            proven += 1;
        }
        asked += 1;
    }
    let _ = hub.list(&ListQuery::default());
    assert!(hub.audience.is_there(), "who has asked will ask again");
    tail.stop();
}
