//! Against a real index: what is found, what is not, and what becomes of it when the index changes.

use std::{collections::HashMap, fs, sync::mpsc};

use proptest::prelude::*;
use rrd_core::{
    cursor::{Cursor, FileId},
    fold::Fold,
    harness::ParserState,
};
use rrd_proto::{Body, Event, EventKind, Harness, SearchKind, Timestamp};

use super::*;
use crate::{
    Dirs,
    store::{Commit, FileState, Fill, StoredEvent, Writer, open as open_store},
};

/// In the past of any clock.
const T: i64 = 1_700_000_000_000;

struct Host {
    search: Option<Search>,
    writer: Writer,
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (writer, _) = open_store(dir.path()).unwrap();
        Self { search: None, writer, dir }.started()
    }

    fn started(mut self) -> Self {
        let dirs = Dirs::resolve(&|name| (name == "RRD_HOME").then(|| self.dir.path().into()));
        let edges = Arc::new(Edges::open(&dirs.unwrap()));
        let search = Search::start(self.dir.path(), &edges, self.writer.committed());
        self.search = Some(search.unwrap());
        self
    }

    /// With another index of events, or none, in place of this one.
    fn restarted(mut self, between: impl FnOnce(&Path)) -> Self {
        self.search.take().unwrap().stop();
        between(self.dir.path());
        self.started()
    }

    fn search(&self) -> &Search {
        self.search.as_ref().unwrap()
    }

    fn commit(&self, id: &str, events: Vec<Event>) {
        self.commit_with(id, events, |_| {});
    }

    fn commit_with(&self, id: &str, events: Vec<Event>, change: impl FnOnce(&mut Commit)) {
        self.write(id, events, change);
        self.settle();
    }

    fn write(&self, id: &str, events: Vec<Event>, change: impl FnOnce(&mut Commit)) {
        let mut fold = Fold::default();
        fold.next_seq = events.last().map_or(0, |event| event.seq + 1);
        let mut commit = Commit {
            file: FileState {
                path: format!("/{id}"),
                session: key(id),
                cursor: Cursor::start(FileId { device: 1, inode: 1 }),
                parser: ParserState::default(),
                size: 0,
                mtime: 0,
            },
            fold: Arc::new(fold),
            events: events
                .into_iter()
                .map(|event| StoredEvent { offset: 0, key: event.seq, event })
                .collect(),
            marks: Vec::new(),
            reset: false,
            moved_from: None,
            standing: HashMap::new(),
        };
        change(&mut commit);
        self.writer.commit(commit);
    }

    /// Returns when all that was written has been taken.
    fn settle(&self) {
        self.writer.barrier();
        loop {
            self.search().catch_up();
            if self.search().shared.lock().is_idle {
                return;
            }
        }
    }

    fn find(&self, query: &SearchQuery) -> Found {
        self.search().find(query, None)
    }

    /// Seqs of what is found, oldest first.
    fn seqs(&self, text: &str) -> Vec<u64> {
        let found = self.find(&query(text));
        let mut seqs: Vec<u64> = found.hits.iter().map(|hit| hit.event.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    fn bytes(&self) -> Vec<u8> {
        let path = rows::path(self.dir.path()).display().to_string();
        ["", "-wal"].iter().filter_map(|end| fs::read(path.clone() + end).ok()).flatten().collect()
    }
}

fn key(id: &str) -> SessionKey {
    SessionKey { harness: Harness::Codex, session_id: id.to_owned() }
}

fn query(text: &str) -> SearchQuery {
    SearchQuery { text: text.to_owned(), limit: 50, ..SearchQuery::default() }
}

fn event(seq: u64, kind: EventKind, text: &str) -> Event {
    Event {
        seq,
        at: Some(Timestamp::from_millis(T + seq as i64 * 1_000)),
        kind,
        text: text.to_owned(),
        tool: None,
        tool_call_id: None,
        is_error: false,
        truncated: false,
        direction: None,
        message_id: None,
        withdrawn: false,
        body: None,
        subagent: None,
    }
}

fn call(seq: u64, tool: &str, input: &str) -> Event {
    let body = Body { text: input.to_owned(), size: input.len() as u64, cut: None };
    let tool = Some(tool.to_owned());
    Event { tool, body: Some(body), ..event(seq, EventKind::ToolCall, "…") }
}

fn prompts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<Event> {
    (0..).zip(texts).map(|(seq, text)| event(seq, EventKind::Prompt, text)).collect()
}

#[test]
fn what_was_said_is_found_by_its_words() {
    let host = Host::new();
    host.commit(
        "a",
        vec![
            event(0, EventKind::Prompt, "Publish the Crate, then tag it: über-naïve"),
            event(1, EventKind::Message, "published; the tag is v0.1.0 日本語のテスト"),
            call(2, "Bash", r#"{"command":"cargo publish --dry-run # snake_case"}"#),
            call(3, "Edit", r#"{"file_path":"/w/src/main.rs","new_string":"crate secret_plan"}"#),
            event(4, EventKind::ToolResult, "crate printed"),
            Event { is_error: true, ..event(5, EventKind::ToolResult, "crate not found") },
            event(6, EventKind::Title, "Release day"),
            event(7, EventKind::TurnEnd, "crate"),
        ],
    );
    for (text, seqs) in [
        ("crate", vec![0, 5]),
        ("CRATE then", vec![0]),
        ("publish*", vec![0, 1, 2]),
        ("publish", vec![0, 2]),
        ("\"tag it\"", vec![0]),
        ("\"it tag\"", vec![]),
        ("tag", vec![0, 1]),
        ("uber naive", vec![0]),
        ("v0.1.0", vec![1]),
        ("日本", vec![1]),
        ("テスト", vec![1]),
        ("本日", vec![]),
        ("snake_case", vec![2]),
        ("case", vec![2]),
        ("src/main.rs", vec![3]),
        ("main.rs", vec![3]),
        ("secret_plan", vec![]),
        ("release", vec![6]),
        ("crate nothing", vec![]),
        ("OR crate", vec![]),
    ] {
        assert_eq!(host.seqs(text), seqs, "{text}");
    }
    let found = host.find(&query("dry run"));
    let [hit] = found.hits.as_slice() else { panic!("{found:?}") };
    assert_eq!(hit.kind, SearchKind::Command);
    assert_eq!(hit.snippet.text, "cargo publish --dry-run # snake_case");
    assert_eq!(hit.snippet.marks, [(16, 19), (20, 23)]);
    assert!(host.find(&query(" -- ")).no_words);
    assert_eq!(host.search().shared.lock().progress.rows, 6);
}

#[test]
fn filters_narrow_it() {
    let host = Host::new();
    host.commit("a", prompts(["apple one", "apple two", "pear"]));
    host.commit("b", vec![event(9, EventKind::Message, "apple three")]);
    let of = |query: SearchQuery| host.find(&query).hits.len();
    assert_eq!(of(query("apple")), 3);
    assert_eq!(of(SearchQuery { kind: Some(SearchKind::Message), ..query("apple") }), 1);
    assert_eq!(of(SearchQuery { since: Some(Timestamp::from_millis(T + 1)), ..query("apple") }), 2);
    assert_eq!(of(SearchQuery { harness: Some(Harness::Pi), ..query("apple") }), 3, "the hub's");
    let wanted = |ids: &[&str]| ids.iter().map(|id| key(id)).collect::<HashSet<_>>();
    let among = |ids: &[&str]| host.search().find(&query("apple"), Some(&wanted(ids))).hits.len();
    assert_eq!((among(&["b"]), among(&["a", "c"]), among(&["c"]), among(&[])), (1, 2, 0, 0));
    // More than are sought by name.
    let others: Vec<String> = (0..100).map(|n| format!("o{n}")).collect();
    others.iter().for_each(|id| host.commit(id, prompts(["apple again"])));
    let many: HashSet<SessionKey> = others.iter().map(|id| key(id)).collect();
    let found = host.search().find(&SearchQuery { limit: 200, ..query("apple") }, Some(&many));
    assert!(found.hits.len() == 100 && found.hits.iter().all(|hit| many.contains(&hit.key)));
    let few = host.find(&SearchQuery { limit: 5, ..query("apple") });
    assert!(few.hits.len() == 5 && few.more);
}

#[test]
fn a_secret_is_found_by_nobody_and_shown_to_nobody() {
    // In no file as it is.
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    let host = Host::new();
    let far = format!("use {secret} for pushing {}", "and so on ".repeat(60));
    host.commit(
        "a",
        vec![
            event(0, EventKind::Prompt, "x"),
            Event {
                truncated: true,
                body: Some(Body { text: far, size: 1, cut: None }),
                ..event(1, EventKind::Prompt, "use")
            },
            call(2, "Bash", &format!(r#"{{"command":"TOKEN={secret} pushing"}}"#)),
        ],
    );
    let found = host.find(&query("pushing"));
    assert_eq!(found.hits.len(), 2);
    for hit in &found.hits {
        assert!(hit.snippet.text.contains("[REDACTED:"), "{hit:?}");
        assert!(!hit.snippet.text.contains(&secret[..12]));
    }
    for begins in ["ghp*", "ghp_Ab3d*", "Ab3d*", &secret, "\"ghp Ab3dEf6h\"*"] {
        assert_eq!(host.seqs(begins), [0; 0], "{begins}");
    }
    let bytes = host.bytes();
    let part = &secret.as_bytes()[4..14].to_ascii_lowercase();
    assert!(!bytes.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part)));
}

#[test]
fn what_is_only_found_in_what_is_secret_by_now_is_no_hit() {
    let host = Host::new();
    host.commit("a", prompts(["the word is q7Rk2vXw9LmZ4tYb here"]));
    assert_eq!(host.seqs("q7Rk2vXw9LmZ4tYb"), [0]);
    host.search().edges.hide(vec![zeroize::Zeroizing::new(b"q7Rk2vXw9LmZ4tYb".to_vec())]);
    assert_eq!(host.seqs("q7Rk2*"), [0; 0]);
    assert_eq!(host.seqs("word"), [0]);
    assert!(!host.find(&query("word")).hits[0].snippet.text.contains("q7Rk"));
}

#[test]
fn what_was_taken_back_is_found_and_marked() {
    let host = Host::new();
    host.commit("a", prompts(["apple one", "apple two"]));
    host.commit_with("a", Vec::new(), |commit| {
        commit.standing = [(0, false), (1, true)].into();
    });
    let mut hits = host.find(&query("apple")).hits;
    hits.sort_by_key(|hit| hit.event.seq);
    assert!(hits[0].event.withdrawn && !hits[1].event.withdrawn);
    assert!(hits[0].score < hits[1].score);
}

#[test]
fn what_is_written_while_it_takes_is_taken_once() {
    let host = Host::new();
    let mut kept = HashMap::new();
    for round in 0..60u64 {
        let id = format!("s{}", round % 7);
        let from = kept.get(&id).copied().unwrap_or(0);
        // Now and then one begins anew.
        let reset = round % 11 == 10;
        let from = if reset { 0 } else { from };
        let said = |seq| event(seq, EventKind::Prompt, &format!("apple {round}"));
        host.write(&id, (from..from + 300).map(said).collect(), |commit| commit.reset = reset);
        host.writer.barrier();
        host.search().hear();
        kept.insert(id, from + 300);
    }
    host.settle();
    let rows: u64 = kept.values().sum();
    assert_eq!(host.search().shared.lock().progress.rows, rows);
    let db = rows::open_to_read(host.dir.path()).unwrap();
    let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    assert_eq!(one("SELECT count(*) FROM said"), rows);
    assert_eq!(one("SELECT count(*) FROM (SELECT DISTINCT session, seq FROM said)"), rows);
    assert_eq!(one("SELECT sum(rows) FROM sessions"), rows);
    assert_eq!(one("SELECT count(*) FROM said WHERE said MATCH 'apple'"), rows);
}

#[test]
fn what_is_written_after_it_was_looked_at_is_taken_once() {
    let host = Host::new();
    host.search().stop();
    let write = |seqs: std::ops::Range<u64>| {
        let said = |seq| event(seq, EventKind::Prompt, "apple");
        host.write("a", seqs.map(said).collect(), |_| {});
    };
    write(0..100);
    host.writer.barrier();
    let mut open = gather::Open::new(host.dir.path()).unwrap().unwrap();
    open.look(&Changed::All).unwrap();
    // More than is looked at together.
    (1..70).for_each(|n| write(n * 100..n * 100 + 100));
    host.writer.barrier();
    let edges = &host.search().edges;
    for _ in 0..2 {
        while open.take(edges, &mut || false).unwrap() {}
        open.look(&Changed::All).unwrap();
    }
    let db = rows::open_to_read(host.dir.path()).unwrap();
    let sql = "SELECT count(*), count(DISTINCT seq), min(seq), max(seq) FROM said";
    let counts = db.query_row(sql, [], |row| {
        Ok::<(i64, i64, i64, i64), _>((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    });
    assert_eq!(counts.unwrap(), (7_000, 7_000, 0, 6_999));
}

#[test]
fn what_begins_anew_is_taken_anew() {
    let host = Host::new();
    host.commit("a", prompts(["apple one", "apple two"]));
    host.commit("b", prompts(["apple other"]));
    host.commit_with("a", prompts(["pear one", "pear two", "apple three"]), |commit| {
        commit.reset = true;
    });
    assert_eq!(host.find(&query("apple")).hits.len(), 2);
    assert_eq!(host.seqs("pear"), [0, 1]);
    assert_eq!(host.search().shared.lock().progress.rows, 4);
    // With their bodies, when these come later.
    let body = Body { text: "pear one\nand a melon".into(), size: 20, cut: None };
    host.writer.fill(Fill { session: key("a"), bodies: vec![(0, body)], done: true });
    host.settle();
    assert_eq!(host.seqs("melon"), [0; 0], "it was not waited for");
}

#[test]
fn a_file_that_is_odd_is_made_anew() {
    let host = Host::new();
    host.commit("a", prompts(["apple one", "apple two"]));
    let oddities: [fn(&Path); 5] = [
        |_| {},
        |dir| {
            fs::write(rows::path(dir), "no database at all, and long enough to be read as one")
                .unwrap()
        },
        |dir| rows::delete(dir),
        |dir| {
            rows::delete(dir);
            fs::create_dir(rows::path(dir)).unwrap();
        },
        |dir| {
            let db = rusqlite::Connection::open(rows::path(dir)).unwrap();
            db.execute_batch("PRAGMA user_version = 99; DROP TABLE retired").unwrap();
        },
    ];
    oddities.into_iter().fold(host, |host, oddity| {
        let host = host.restarted(oddity);
        host.settle();
        assert_eq!(host.seqs("apple"), [0, 1]);
        host
    });
}

#[test]
fn of_another_index_nothing_is_found_any_more() {
    let host = Host::new();
    host.commit("a", prompts(["apple one", "apple two"]));
    host.commit("b", prompts(["melon"]));
    let Host { search, writer, dir } = host;
    search.unwrap().stop();
    drop(writer);
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = fs::remove_file(dir.path().join(file));
    }
    let (writer, _) = open_store(dir.path()).unwrap();
    let host = Host { search: None, writer, dir }.started();
    host.commit("a", prompts(["pear", "plum"]));
    assert_eq!(host.seqs("apple"), [0; 0]);
    assert_eq!(host.seqs("melon"), [0; 0]);
    assert_eq!(host.seqs("plum"), [1]);
    assert_eq!(host.search().shared.lock().progress.rows, 2);
}

#[test]
fn of_what_is_forgotten_nothing_is_left_in_the_file() {
    let host = Host::new();
    host.commit("a", prompts(["zanzibar one", "zanzibar two"]));
    host.commit("b", prompts(["apple"]));
    let is_there = || host.bytes().windows(8).any(|window| window == b"zanzibar");
    assert!(is_there());
    let (sender, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let host = &host;
        scope
            .spawn(move || sender.send(host.search().forget(&[key("a")], Duration::from_secs(60))));
        assert!(told.recv().unwrap());
    });
    assert!(!is_there());
    assert_eq!(host.seqs("apple"), [0]);
    assert_eq!(host.search().shared.lock().progress.rows, 1);
}

#[test]
fn many_at_one_moment_and_without_a_time_are_all_found() {
    let host = Host::new();
    let at = Some(Timestamp::from_millis(T));
    for (session, at) in [("a", at), ("b", None), ("c", at)] {
        let events = prompts(["apple"; 3_000]).into_iter().map(|event| Event { at, ..event });
        host.commit(session, events.collect());
    }
    assert_eq!(host.search().shared.lock().progress.rows, 9_000);
    let found = host.find(&SearchQuery { limit: 10, ..query("apple") });
    assert!(found.hits.len() == 10 && found.more);
    let of = |id| {
        host.search()
            .find(&SearchQuery { limit: 200, ..query("apple") }, Some(&HashSet::from([key(id)])))
    };
    assert_eq!(of("b").hits.len(), 200);
    assert!(of("b").hits.iter().all(|hit| hit.event.at.is_none()));
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_costs_nothing_else() {
    let host = Host::new();
    host.commit("a", prompts(["apple"]));
    let part = host.search().part();
    assert!(part.state == Health::Ok && part.detail.starts_with("1 texts"), "{part:?}");
    assert!(part.detail.ends_with("nothing behind"));
}

#[test]
fn no_text_is_a_mistake() {
    let host = Host::new();
    host.commit("a", prompts(["apple \"pie\" NEAR(a b) col:x 日本 é", "*"]));
    let finder = Finder::open(host.dir.path()).unwrap();
    let now = Timestamp::from_millis(T);
    proptest!(|(text in "[ \"*'()^:+{}-]{0,4}(apple|NEAR|AND|OR|NOT|words|said|日|\\PC{0,8}|[\0-\u{3}]|\u{e000}1)[ \"*'()^:+{}\\-]{0,4}\\PC{0,40}")| {
        let found = finder.find(&query(&text), None, now, &mut str::to_owned);
        prop_assert!(found.is_ok(), "{text:?}: {found:?}");
    });
    for text in ["\u{e000}1", "\u{e000}1 apple", "words:apple", "-apple"] {
        let found = finder.find(&query(text), None, now, &mut str::to_owned).unwrap();
        let expected = usize::from(
            text.ends_with("apple") && !text.contains(':') && !text.starts_with('\u{e000}'),
        );
        assert_eq!(found.hits.len(), expected, "{text:?}");
    }
}
