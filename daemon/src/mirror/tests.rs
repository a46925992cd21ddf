//! One transcript and a folder that stands for a bucket, and whatever may happen to either.

mod heal;
mod left;
mod mended;
mod merged;
mod owners;
mod races;
mod torn;

use std::{
    cell::Cell,
    collections::HashMap,
    fs,
    future::poll_fn,
    io::Write,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use proptest::prelude::*;
use rrd_core::{
    mirror::{Meta, Owner, PartName, StreamName, Why, order::Step},
    redact::Report,
};
use rrd_proto::{Harness, SessionKey, Timestamp};
use tempfile::TempDir;

use super::{
    AGAIN, ALARM, MANY, fetch,
    gather::{self, At},
    is_alarming,
    outbox::{Outbox, State, Stream},
    parts_of,
    stream::{About, Ask, Carrier, Failure},
    target::{Access, Target},
    twins::Twins,
};
use crate::{dirs::Dirs, edge::Edges, hub::now};

const TOKEN: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";

#[derive(Debug, Clone)]
enum Action {
    /// So many lines more, out of a few different ones: some are equal, some have secrets.
    Append(Vec<u8>),
    /// The beginning of a line.
    Tear,
    /// Only so many of its lines are left.
    Truncate(usize),
    /// Lines change places, and one is new.
    Rewrite(u8),
    /// The same bytes in another file of the name.
    Replace,
    Bring,
    /// Broken off after so many steps.
    BreakOff(u8),
    Restart,
    /// What was known of the bucket is gone.
    LoseOutbox,
    /// What was known of it is as it was when this was last said.
    BackUp,
    PutBack,
    /// Few parts are made of many, so many hours later; broken off after so many steps.
    Compact(i64, u8),
    /// It was over for too long, and is deleted there; broken off after so many steps.
    Prune(u8),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => prop::collection::vec(0_u8..9, 1..6).prop_map(Action::Append),
        2 => Just(Action::Tear),
        2 => (0_usize..8).prop_map(Action::Truncate),
        1 => (0_u8..9).prop_map(Action::Rewrite),
        1 => Just(Action::Replace),
        8 => Just(Action::Bring),
        4 => (0_u8..40).prop_map(Action::BreakOff),
        2 => Just(Action::Restart),
        1 => Just(Action::LoseOutbox),
        1 => Just(Action::BackUp),
        1 => Just(Action::PutBack),
        2 => (0_u8..40).prop_map(Action::Prune),
        4 => (0_i64..3, 0_u8..80).prop_map(|(hours, steps)| Action::Compact(hours, steps)),
    ]
}

struct Scene {
    home: TempDir,
    carrier: Carrier,
    stream: Stream,
    is_known: bool,
    hours: i64,
    lines: Vec<String>,
    torn: bool,
    /// How often each line has been written, and how often it was there at most when all was brought.
    ever: HashMap<String, usize>,
    brought: HashMap<String, usize>,
}

fn key() -> SessionKey {
    SessionKey { harness: Harness::from("claude-code"), session_id: "s-1".into() }
}

fn name() -> StreamName {
    StreamName { harness: Harness::from("claude-code"), session_id: "s-1".into(), agent: None }
}

fn dirs(home: &Path) -> Dirs {
    let home = home.join("rrd");
    fs::create_dir_all(home.join("state")).unwrap();
    Dirs::resolve(&|name| (name == "RRD_HOME").then(|| home.clone().into())).unwrap()
}

fn line(number: u8) -> String {
    match number {
        0 => format!(r#"{{"n":0,"text":"export GITHUB_TOKEN={TOKEN}"}}"#),
        _ => format!(r#"{{"n":{number},"text":"as it is"}}"#),
    }
}

fn carrier(home: &Path, node: &str) -> Carrier {
    let dirs = dirs(home);
    let bucket = home.join("bucket");
    let url = format!("file://{}", bucket.display());
    let target = Target::open(&url, &Access::default(), &|_| None, &dirs).unwrap();
    Carrier {
        target: Arc::new(target),
        outbox: Arc::new(Mutex::new(Outbox::open(&dirs.state).unwrap())),
        edges: Arc::new(Edges::open(&dirs)),
        node: node.into(),
        host: format!("host of {node}").into(),
        ability: Arc::default(),
        room: Arc::new(tokio::sync::Semaphore::new(1)),
        hands: Arc::new(tokio::sync::Semaphore::new(1)),
        redacts: true,
        yields: false,
        excluded: Arc::default(),
        twins: Arc::new(Twins::since(now())),
    }
}

/// The stream as the outbox has it; a new one where it has none.
fn stream(carrier: &Carrier) -> Stream {
    let outbox = carrier.outbox.lock().unwrap();
    let now = Timestamp::from_millis(0);
    let target = outbox.set_target("file:///bucket", &(), now).unwrap();
    let known = outbox.streams(target).unwrap().pop();
    known.unwrap_or_else(|| outbox.add_stream(target, &name(), &key(), State::default()).unwrap())
}

impl Scene {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let carrier = carrier(home.path(), "node-a");
        carrier.target.make().await.unwrap();
        let stream = stream(&carrier);
        let mut scene = Self {
            home,
            carrier,
            stream,
            is_known: false,
            hours: 1,
            lines: Vec::new(),
            torn: false,
            ever: HashMap::new(),
            brought: HashMap::new(),
        };
        scene.write();
        scene
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("s-1.jsonl")
    }

    fn state_dir(&self) -> PathBuf {
        self.home.path().join("rrd/state")
    }

    /// The whole file anew, in place.
    fn write(&mut self) {
        fs::write(self.path(), self.lines.concat()).unwrap();
        self.torn = false;
    }

    fn append(&mut self, lines: &[u8]) {
        let mut file = fs::File::options().append(true).open(self.path()).unwrap();
        for number in lines {
            let mut line = line(*number) + "\n";
            file.write_all(line.as_bytes()).unwrap();
            if std::mem::take(&mut self.torn) {
                line.insert_str(0, r#"{"torn":"#);
            }
            *self.ever.entry(line.clone()).or_default() += 1;
            self.lines.push(line);
        }
    }

    async fn bring(&mut self) -> Result<(), Failure> {
        let at = At::new(&key(), &self.path());
        let is_known = std::mem::replace(&mut self.is_known, true);
        let is_known = is_known && self.stream.state.pruned.is_none();
        let ask = if is_known { Ask::Claims } else { Ask::Names };
        self.carrier.revive(&mut self.stream).await?;
        let brought = self.carrier.bring(&mut self.stream, &at, &About::default(), ask).await;
        if brought.is_ok() {
            for line in &self.lines {
                let count = self.lines.iter().filter(|other| *other == line).count();
                let brought = self.brought.entry(line.clone()).or_default();
                *brought = count.max(*brought);
            }
        }
        brought
    }

    /// As if the process had ended there.
    async fn break_off(&mut self, steps: u8) {
        in_steps(steps, self.bring()).await;
        self.restart();
    }

    async fn compact(&mut self, hours: i64, steps: u8) {
        self.hours += hours;
        // As the daemon does it: only what has been looked at, and is its own.
        if self.is_known && self.stream.state.epoch > 0 && self.stream.state.theirs.is_none() {
            let at = At::new(&key(), &self.path());
            let now = Timestamp::from_millis(self.hours * 3_600_000);
            let about = About::default();
            let compact = self.carrier.compact(&mut self.stream, &at, &about, now);
            if !in_steps(steps, compact).await {
                self.restart();
            }
        }
    }

    async fn prune(&mut self, steps: u8) {
        let last = Timestamp::from_millis(1);
        // From then on nobody may rely on what was there.
        self.brought.clear();
        let prune = async { self.carrier.prune(&mut self.stream, last).await.map(drop) };
        if !in_steps(steps, prune).await {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.carrier = carrier(self.home.path(), "node-a");
        self.stream = stream(&self.carrier);
        self.is_known = false;
    }

    /// Puts the outbox somewhere, or takes it from there.
    fn move_outbox(&mut self, put_back: bool) {
        let (here, there) = (self.state_dir().join("mirror.db"), self.home.path().join("backup"));
        self.carrier.outbox = Arc::new(Mutex::new(Outbox::open(&other(self.home.path())).unwrap()));
        if !put_back {
            fs::copy(&here, &there).unwrap();
        } else if there.exists() {
            fs::copy(&there, &here).unwrap();
        }
        self.restart();
    }

    async fn act(&mut self, action: &Action) {
        match action {
            Action::Append(lines) => self.append(lines),
            Action::Tear if !self.torn => {
                let mut file = fs::File::options().append(true).open(self.path()).unwrap();
                file.write_all(br#"{"torn":"#).unwrap();
                self.torn = true;
            }
            Action::Tear => {}
            Action::Truncate(lines) => {
                self.lines.truncate(*lines);
                self.write();
            }
            Action::Rewrite(number) => {
                self.lines.reverse();
                let line = line(*number) + "\n";
                *self.ever.entry(line.clone()).or_default() += 1;
                self.lines.push(line);
                self.write();
            }
            Action::Replace => {
                let bytes = fs::read(self.path()).unwrap();
                let other = self.home.path().join("other");
                fs::write(&other, bytes).unwrap();
                fs::rename(other, self.path()).unwrap();
            }
            Action::Bring => self.bring().await.unwrap(),
            Action::BreakOff(steps) => self.break_off(*steps).await,
            Action::Restart => self.restart(),
            Action::LoseOutbox => {
                self.carrier.outbox =
                    Arc::new(Mutex::new(Outbox::open(&other(self.home.path())).unwrap()));
                fs::remove_file(self.state_dir().join("mirror.db")).unwrap();
                self.restart();
            }
            Action::Compact(hours, steps) => self.compact(*hours, *steps).await,
            Action::Prune(steps) => self.prune(*steps).await,
            Action::BackUp => self.move_outbox(false),
            Action::PutBack => self.move_outbox(true),
        }
    }

    /// What is in the bucket now.
    async fn there(&self) -> (String, Vec<String>) {
        let spool = tempfile::tempfile().unwrap();
        let fetched = fetch::fetch(&self.carrier, &name(), spool).await.unwrap();
        // Of a transcript that never had a record there is nothing.
        let Some(mut fetched) = fetched else { return (String::new(), Vec::new()) };
        assert!(fetched.is_sound && fetched.troubles.is_empty(), "{:?}", fetched.troubles);
        let (mut transcript, mut all) = (Vec::new(), String::new());
        fetched.write(None, &mut transcript).unwrap();
        let target = &self.carrier.target;
        let directory = fetch::directory(target, &name()).await.unwrap();
        fetch::parts(target, &name(), &directory, &mut |_, _, body| {
            all.push_str(std::str::from_utf8(body).unwrap());
            Ok(())
        })
        .await
        .unwrap();
        let all = all.split_inclusive('\n').map(str::to_owned).collect();
        (String::from_utf8(transcript).unwrap(), all)
    }

    fn redacted(&self, line: &str) -> String {
        let redactor = self.carrier.edges.redactor();
        let line = line.trim_end_matches('\n').as_bytes();
        let line = redactor.line(line, &mut Report::default()).into_inner().into_owned();
        String::from_utf8(line).unwrap() + "\n"
    }

    async fn check(&self) {
        let (transcript, all) = self.there().await;
        let expected: String = self.lines.iter().map(|line| self.redacted(line)).collect();
        assert_eq!(transcript, expected);
        assert!(!transcript.contains(TOKEN));
        let mut counts: HashMap<String, usize> = HashMap::new();
        all.into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
        for (line, brought) in &self.brought {
            let line = self.redacted(line);
            assert!(counts.get(&line) >= Some(brought), "lost: {line}");
        }
        for (line, count) in counts {
            let ever = self.ever.iter().filter(|(other, _)| self.redacted(other) == line);
            let ever: usize = ever.map(|(_, count)| count).sum();
            assert!(count <= ever, "{count} times, and never more than {ever}: {line}");
        }
    }
}

/// False where it was broken off.
async fn in_steps(steps: u8, work: impl Future<Output = Result<(), Failure>>) -> bool {
    let (mut left, mut work) = (steps, pin!(work));
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|done| {
            done.unwrap();
            true
        })
    })
    .await
}

/// After how many steps to break off: all of them, and again until what is counted was met. A job of another thread
/// that has ended when it is first asked for takes no step, so a moment between two may be passed over.
fn until_met(count: &Cell<i32>) -> impl Iterator<Item = u8> {
    (0..100).take_while(|_| count.get() == 0).flat_map(|_| 0..40)
}

fn other(home: &Path) -> PathBuf {
    let other = home.join("nothing");
    fs::create_dir_all(&other).unwrap();
    other
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Whatever a reader finds of what is being deleted: all of it, or nothing.
#[test]
fn what_is_deleted_is_there_whole_or_not_at_all() {
    run(async {
        for steps in 0..=u8::MAX {
            let mut scene = Scene::new().await;
            for number in 1..4 {
                scene.append(&[number]);
                scene.bring().await.unwrap();
            }
            let whole: String = scene.lines.concat();
            // Of every other one several parts are one, and still there.
            if steps % 2 == 1 {
                scene.compact(0, u8::MAX).await;
            }
            scene.prune(steps).await;
            let (there, _) = scene.there().await;
            assert!(there.is_empty() || there == whole, "after {steps} steps: {there}");
            let last = Timestamp::from_millis(1);
            let is_over = scene.stream.state.pruned == Some(last) && scene.stream.state.epoch == 0;
            assert!(scene.carrier.prune(&mut scene.stream, last).await.unwrap());
            let directory = scene.home.path().join("bucket/sessions/claude-code/s-1");
            let left = fs::read_dir(&directory).map_or(0, |files| files.count());
            assert_eq!(left, 0, "after {steps} steps");
            // And if it goes on, all of it is there again.
            scene.append(&[4]);
            scene.bring().await.unwrap();
            scene.check().await;
            if is_over {
                return;
            }
        }
        panic!("it never comes to an end");
    });
}

#[test]
fn what_another_host_has_taken_over_is_not_deleted() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1, 2]);
        scene.bring().await.unwrap();
        // Another host that has all of it, and goes on.
        let home = other(scene.home.path());
        let mut theirs = carrier(&home, "node-b");
        theirs.target = Arc::clone(&scene.carrier.target);
        let mut stream = stream(&theirs);
        scene.append(&[3]);
        let at = At::new(&key(), &scene.path());
        theirs.bring(&mut stream, &at, &About::default(), Ask::Names).await.unwrap();
        assert_eq!(stream.state.theirs, None);
        let before = scene.there().await;
        let last = Timestamp::from_millis(1);
        assert!(!scene.carrier.prune(&mut scene.stream, last).await.unwrap());
        assert_eq!(scene.there().await, before);
        assert!(theirs.prune(&mut stream, last).await.unwrap());
        assert_eq!(scene.there().await, (String::new(), Vec::new()));
    });
}

#[test]
fn a_stop_stands_by_its_place_until_it_is_taken_back() {
    use super::outbox::{EVERYWHERE, Stop};
    let home = tempfile::tempdir().unwrap();
    let at = Timestamp::from_millis(7);
    let stops = |outbox: &Outbox| {
        let mut stops: Vec<String> = outbox.stops().unwrap().into_iter().map(|s| s.url).collect();
        stops.sort();
        stops
    };
    let outbox = Outbox::open(home.path()).unwrap();
    outbox.set_target("file:///a", &(), at).unwrap();
    for place in [EVERYWHERE, "file:///a", "file:///b"] {
        outbox.stop(place, &key(), at).unwrap();
    }
    outbox.stop(EVERYWHERE, &key(), at.plus(1)).unwrap();
    assert!(outbox.drop_target("file:///a").unwrap());
    drop(outbox);
    let outbox = Outbox::open(home.path()).unwrap();
    assert_eq!(stops(&outbox), ["", "file:///a", "file:///b"]);
    let first = Stop { url: EVERYWHERE.into(), key: key(), at };
    assert!(outbox.stops().unwrap().contains(&first), "since it was stopped first");
    outbox.start(Some("file:///a"), &key()).unwrap();
    assert_eq!(stops(&outbox), ["", "file:///b"]);
    outbox.start(None, &SessionKey { session_id: "s-2".into(), ..key() }).unwrap();
    assert_eq!(stops(&outbox).len(), 2);
    outbox.start(None, &key()).unwrap();
    assert_eq!(outbox.stops().unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_record_is_there_once(actions in prop::collection::vec(action(), 1..24)) {
        run(async {
            let mut scene = Scene::new().await;
            for action in &actions {
                scene.act(action).await;
            }
            scene.bring().await.unwrap();
            scene.check().await;
            // And nothing new is nothing new.
            scene.restart();
            let before = scene.there().await;
            scene.bring().await.unwrap();
            assert_eq!(scene.there().await, before);
        });
    }
}

#[test]
fn a_record_that_is_said_again_after_a_compaction_counts() {
    run(async {
        let mut scene = Scene::new().await;
        for line in [1, 2] {
            scene.append(&[line]);
            scene.bring().await.unwrap();
        }
        // Made one, and then only that one is there.
        scene.compact(0, u8::MAX).await;
        scene.compact(2, u8::MAX).await;
        scene.append(&[1]);
        scene.bring().await.unwrap();
        scene.check().await;
    });
}

#[test]
fn nothing_is_there_twice_wherever_a_compaction_breaks_off() {
    for steps in 0..60 {
        run(async {
            let mut scene = Scene::new().await;
            for line in [1, 2, 3] {
                scene.append(&[line]);
                scene.bring().await.unwrap();
            }
            scene.compact(0, steps).await;
            scene.check().await;
            // More is there to be made one than when it was begun.
            scene.append(&[4]);
            scene.bring().await.unwrap();
            if steps % 2 == 0 {
                scene.act(&Action::LoseOutbox).await;
                scene.bring().await.unwrap();
            }
            for _ in 0..3 {
                scene.compact(2, u8::MAX).await;
                scene.check().await;
            }
        });
    }
}

#[test]
fn a_claim_whose_parts_never_came_is_set_right() {
    run(async {
        let mut scene = Scene::new().await;
        scene.append(&[1, 2]);
        scene.bring().await.unwrap();
        scene.act(&Action::Rewrite(3)).await;
        // The claim is there, its part is not, and nobody knows of it any more.
        let order = Some(vec![Step::Keep(1, 2), Step::Keep(0, 1), Step::New(1)]);
        let mut claim = scene.carrier.outbox().epochs(scene.stream.id).unwrap()[0].claim.clone();
        (claim.first_seq, claim.why, claim.order) = (1, Why::Rewritten, order);
        let name = name().directory() + &Owner::name(2);
        let body = serde_json::to_vec(&claim).unwrap();
        scene.carrier.target.create(&name, &body.into()).await.unwrap();
        scene.act(&Action::LoseOutbox).await;
        scene.act(&Action::Truncate(0)).await;
        scene.bring().await.unwrap();
        scene.check().await;
    });
}

#[test]
fn what_was_to_be_sent_and_is_lost_is_read_again() {
    let lost = Cell::new(0);
    for steps in until_met(&lost) {
        run(async {
            let mut scene = Scene::new().await;
            scene.append(&[1]);
            scene.bring().await.unwrap();
            scene.append(&[2, 3]);
            scene.break_off(steps).await;
            for body in fs::read_dir(scene.state_dir().join("mirror-parts")).unwrap() {
                let body = body.unwrap().path();
                // The bucket may have it by now, which is a folder on the same disk.
                fs::remove_file(&body).unwrap();
                if steps % 2 == 0 {
                    fs::write(&body, "cut").unwrap();
                }
                lost.set(lost.get() + 1);
            }
            scene.bring().await.unwrap();
            scene.check().await;
            assert_eq!(fs::read_dir(scene.state_dir().join("mirror-parts")).unwrap().count(), 0);
        });
    }
    assert!(lost.get() > 0, "it never broke off in between");
}

#[test]
fn what_is_to_become_parts_counts_while_a_place_fails() {
    let long = gather::PART;
    assert_eq!(parts_of([None, Some(0), Some(1), Some(long), Some(long + 1)].into_iter()), 6);
    let now = Timestamp::from_millis(ALARM);
    for (since, parts, to_make, alarms) in [
        (None, MANY - 1, 10 * MANY, false),
        (None, MANY, 0, true),
        (Some(0), 0, 0, true),
        (Some(1), 0, 0, false),
        (Some(ALARM - AGAIN), 0, MANY, true),
        (Some(ALARM - AGAIN), MANY - 1, MANY - 1, false),
        // It may be over with the next try.
        (Some(ALARM - AGAIN + 1), 0, 10 * MANY, false),
    ] {
        let since = since.map(Timestamp::from_millis);
        assert_eq!(is_alarming(since, parts, to_make, now), alarms, "{since:?} {parts} {to_make}");
    }
}
