//! Codex's rollouts as it moves, compresses, forks and names them.

use rrd_proto::{EndReason, ParentKind, Status, TurnResult};

use super::*;

/// A thread as Codex 0.169 writes it; every record is one second after the last.
pub(crate) struct Thread {
    pub(crate) id: String,
    at: i64,
    ordinal: u64,
    pub(crate) header: Value,
}

impl Thread {
    pub(crate) fn new(number: u32) -> Self {
        let id = format!("01a1f88d-5e35-7ca1-835f-{number:012}");
        let header = json!({
            "session_id": id, "id": id, "timestamp": ago(99), "cwd": "/home/dev/src/alpha",
            "originator": "codex_exec", "cli_version": "0.169.0", "source": "exec",
            "thread_source": "user", "history_mode": "paginated",
            "base_instructions": {"text": "x".repeat(22_000)},
        });
        Self { id, at: 100, ordinal: 0, header }
    }

    fn name(&self) -> String {
        format!("rollout-2026-11-20T10-42-56-{}.jsonl", self.id)
    }

    pub(crate) fn path(&self, host: &Host) -> PathBuf {
        host.path(&format!(".codex/sessions/2026/11/20/{}", self.name()))
    }

    fn line(&mut self, kind: &str, payload: Value) -> String {
        self.at -= 1;
        self.ordinal += 1;
        let (at, ordinal) = (ago(self.at), self.ordinal - 1);
        format!(
            "{{\"timestamp\":\"{at}\",\"ordinal\":{ordinal},\"type\":\"{kind}\",\"payload\":{payload}}}\n"
        )
    }

    pub(crate) fn header(&mut self) -> String {
        let header = self.header.clone();
        self.line("session_meta", header)
    }

    fn item(&mut self, item: Value) -> String {
        self.line("event_msg", json!({"type": "item_completed", "item": item}))
    }

    pub(crate) fn begin(&mut self, prompt: &str) -> String {
        let turn = format!("turn-{}", self.ordinal);
        self.line("event_msg", json!({"type": "task_started", "turn_id": turn}))
            + &self.item(json!({"type": "UserMessage", "id": turn, "content": [{"type": "text", "text": prompt}]}))
    }

    fn answer(&mut self) -> String {
        let id = format!("msg-{}", self.ordinal);
        self.item(json!({"type": "AgentMessage", "id": id, "content": [{"type": "Text", "text": "Done."}]}))
    }

    fn call(&mut self, call: &str, fails: bool) -> String {
        let arguments = json!({"cmd": "cargo test"}).to_string();
        let status = if fails { "failed" } else { "completed" };
        self.line("response_item", json!({"type": "function_call", "name": "exec_command", "arguments": arguments, "call_id": call}))
            + &self.item(json!({"type": "CommandExecution", "id": call, "status": status, "exit_code": i32::from(fails)}))
            + &self.line("response_item", json!({"type": "function_call_output", "call_id": call, "output": "Output:\nx"}))
    }

    pub(crate) fn end(&mut self) -> String {
        self.answer()
            + &self
                .line("event_msg", json!({"type": "task_complete", "last_agent_message": "Done."}))
    }

    fn turn(&mut self, prompt: &str) -> String {
        self.begin(prompt) + &self.call(&format!("call-{}", self.ordinal), false) + &self.end()
    }
}

fn compress(path: &Path) -> PathBuf {
    let to = path.with_extension("jsonl.zst");
    fs::write(&to, zstd::encode_all(&fs::read(path).unwrap()[..], 3).unwrap()).unwrap();
    to
}

#[test]
fn of_a_rollout_and_its_compressed_twin_the_plain_one_speaks() {
    let host = Host::new();
    let mut thread = Thread::new(5);
    let (id, path) = (thread.id.clone(), thread.path(&host));
    append(&path, thread.header() + &thread.turn("First"));
    let zst = compress(&path);
    append(&path, thread.begin("Second"));
    // The compressed one is the newer file, and holds less.
    let file = fs::OpenOptions::new().write(true).open(&zst).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(50)).unwrap();
    let daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [&id], "{way}");
        assert_eq!(shown_path(&rows[0]), path.to_str().unwrap(), "{way}");
        assert_eq!((rows[0].status, counts(&rows[0]).0), (Status::Executing, 2), "{way}");
    });
    daemon.stop();
}

#[test]
fn a_rollout_may_be_archived_and_compressed() {
    let host = Host::new();
    let mut thread = Thread::new(1);
    let (id, path) = (thread.id.clone(), thread.path(&host));
    append(&path, thread.header() + &thread.turn("First") + &thread.turn("Second"));
    append(&host.path(".codex/thread-writer-locks/.coordination.lock"), "");
    let settled = |row: &Session| {
        row.complete && counts(row) == (2, 2, 2, 0) && row.end_reason == Some(EndReason::Exit)
    };
    let daemon = host.daemon();
    host.follows("read", &id, settled);
    // Both for a moment, then the compressed one alone.
    let zst = compress(&path);
    assert!(settled(&host.looked()[0]), "plain and compressed: {:#?}", host.looked());
    fs::remove_file(&path).unwrap();
    host.follows("compressed", &id, |row| settled(row) && shown_path(row).ends_with(".zst"));
    assert!(settled(&host.looked()[0]), "compressed: {:#?}", host.looked());
    // Plain again, another file with the same beginning, and it grows.
    let mut plain = zstd::decode_all(&fs::read(&zst).unwrap()[..]).unwrap();
    plain.extend(thread.turn("Third").bytes());
    fs::write(&path, plain).unwrap();
    fs::remove_file(&zst).unwrap();
    let grown =
        |row: &Session| counts(row) == (3, 3, 3, 0) && row.end_reason == Some(EndReason::Exit);
    host.follows("plain again", &id, |row| grown(row) && shown_path(row).ends_with(".jsonl"));
    // Archived while it is followed, and while nobody looks.
    let archived = host.path(&format!(".codex/archived_sessions/{}", thread.name()));
    fs::create_dir_all(archived.parent().unwrap()).unwrap();
    fs::rename(&path, &archived).unwrap();
    host.follows("archived", &id, |row| grown(row) && shown_path(row).contains("archived"));
    append(&archived, thread.turn("Fourth"));
    host.follows("it grows there", &id, |row| {
        counts(row) == (4, 4, 4, 0) && row.status == Status::Ended && !row.active
    });
    daemon.stop();
    fs::rename(&archived, &path).unwrap();
    append(&path, thread.turn("Fifth"));
    let _daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [&id], "{way}");
        assert_eq!(counts(&rows[0]), (5, 5, 5, 0), "{way}");
    });
}

#[test]
fn a_damaged_frame_gives_what_it_holds() {
    let host = Host::new();
    let mut thread = Thread::new(1);
    let path = thread.path(&host);
    append(&path, thread.header() + &thread.turn("First"));
    let frame = fs::read(compress(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    let mut two = frame.clone();
    two.extend(&frame[..frame.len() / 2]);
    fs::write(path.with_extension("jsonl.zst"), two).unwrap();
    append(
        &host.path(
            ".codex/sessions/2026/11/20/rollout-x-01a1f88d-5e35-7ca1-835f-000000000099.jsonl.zst",
        ),
        "junk",
    );
    let _daemon = host.both(|way, rows| {
        let row = rows.iter().find(|row| row.session_id == thread.id).unwrap();
        assert_eq!(counts(row), (1, 1, 1, 0), "{way}");
        assert!(issue(row, "damaged_line") > 0, "{way}: {row:#?}");
    });
}

#[test]
fn forks_subagents_and_titles() {
    let host = Host::new();
    let mut root = Thread::new(1);
    append(&root.path(&host), root.header() + &root.turn("The first"));
    let mut fork = Thread::new(2);
    fork.header["forked_from_id"] = json!(root.id);
    fork.ordinal = 14;
    append(&fork.path(&host), fork.header() + &fork.turn("Another way"));
    let mut of_fork = Thread::new(3);
    of_fork.header["forked_from_id"] = json!(fork.id);
    append(&of_fork.path(&host), of_fork.header() + &of_fork.turn("A third way"));
    let mut child = Thread::new(4);
    child.header["session_id"] = json!(root.id);
    child.header["source"] =
        json!({"subagent": {"thread_spawn": {"parent_thread_id": root.id, "depth": 1}}});
    append(&child.path(&host), child.header() + &child.begin("Look"));
    let titles = host.path(".codex/session_index.jsonl");
    let title = |thread: &Thread, name: &str| {
        jsonl(&[json!({"id": thread.id, "thread_name": name, "updated_at": ago(1)})])
    };
    append(&titles, title(&root, "Old name") + &title(&root, "New name") + "{\"id\":\"torn");
    let _daemon = host.both(|way, rows| {
        let row = |thread: &Thread| rows.iter().find(|row| row.session_id == thread.id).unwrap();
        assert_eq!(rows.len(), 4, "{way}");
        assert_eq!(row(&root).title.as_deref(), Some("New name"), "{way}");
        assert_eq!(row(&fork).parent_session_id.as_ref(), Some(&root.id), "{way}");
        assert_eq!(row(&of_fork).parent_session_id.as_ref(), Some(&fork.id), "{way}");
        assert_eq!(row(&of_fork).parent_kind, Some(ParentKind::Fork), "{way}");
        assert_eq!(row(&child).parent_session_id.as_ref(), Some(&root.id), "{way}");
        assert_eq!(row(&child).parent_kind, Some(ParentKind::Subagent), "{way}");
        assert_eq!(row(&child).status, Status::Executing, "{way}");
        assert!(rows.iter().all(|row| counts(row).0 == 1), "{way}");
    });
    append(&titles, format!("\"}}\n{}", title(&fork, &"long ".repeat(500_000))));
    let row =
        host.follows("named later", &fork.id, |row| row.title.as_deref() != Some("Another way"));
    assert!(row.title.unwrap().len() < 1_000, "a title is short");
}

#[test]
fn turns_end_in_many_ways() {
    let host = Host::new();
    append(&host.path(".codex/thread-writer-locks/.coordination.lock"), "");
    let mut made = Vec::new();
    let mut thread = |number: u32,
                      tail: &dyn Fn(&mut Thread) -> String,
                      expect: (Option<TurnResult>, EndReason)| {
        let mut thread = Thread::new(number);
        let text =
            thread.header() + &thread.turn("First") + &thread.begin("Second") + &tail(&mut thread);
        append(&thread.path(&host), text);
        made.push((thread.id, expect));
    };
    let aborted = |t: &mut Thread| {
        t.line("event_msg", json!({"type": "turn_aborted", "reason": "interrupted"}))
    };
    // What was interrupted may still say how it ended.
    thread(
        1,
        &|t| {
            t.call("c", true) + &aborted(t) + &t.item(json!({"type": "CommandExecution", "id": "c2", "status": "failed", "exit_code": -1}))
        },
        (Some(TurnResult::Interrupted), EndReason::Exit),
    );
    thread(
        2,
        &|t| {
            t.line("event_msg", json!({"type": "task_complete", "error": {"message": "stream disconnected", "codex_error_info": "other"}}))
        },
        (Some(TurnResult::Error), EndReason::Exit),
    );
    thread(
        3,
        &|t| {
            t.line("event_msg", json!({"type": "task_complete", "error": {"message": "You've hit your usage limit", "codex_error_info": "usage_limit_exceeded"}}))
        },
        (Some(TurnResult::RateLimited), EndReason::Exit),
    );
    thread(4, &|t| t.call("c", false), (None, EndReason::Crashed));
    // Killed, then resumed: the open turn is never closed in the log.
    thread(
        5,
        &|t| t.call("c", false) + &t.turn("After the kill"),
        (Some(TurnResult::Completed), EndReason::Exit),
    );
    thread(
        6,
        &|t| {
            t.line("compacted", json!({"message": "", "replacement_history": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "First"}]}]})) + &t.line("response_item", json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A summary"}]})) + &t.end()
        },
        (Some(TurnResult::Completed), EndReason::Exit),
    );
    let _daemon = host.both(|way, rows| {
        for (id, (result, end)) in &made {
            let row = rows.iter().find(|row| row.session_id == *id).unwrap();
            assert_eq!((row.turn_result, row.end_reason), (*result, Some(*end)), "{way}: {id}");
            assert_eq!(row.status, Status::Ended, "{way}: {id}");
        }
        let of = |at: usize| counts(rows.iter().find(|row| row.session_id == made[at].0).unwrap());
        assert_eq!(of(4), (3, 2, 3, 0), "{way}");
        assert_eq!(of(5), (2, 2, 1, 0), "{way}: a summary is no answer");
    });
}

#[test]
fn the_older_vocabulary_counts_alike() {
    let host = Host::new();
    let mut thread = Thread::new(1);
    thread.header.as_object_mut().unwrap().remove("history_mode");
    thread.header["cli_version"] = json!("0.98.0");
    let mut text = thread.header();
    for number in 0..3 {
        let say = |role: &str, text: &str| json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]});
        text += &thread
            .line("response_item", say("user", "<environment_context>x</environment_context>"));
        text += &thread.line("response_item", say("user", &format!("Turn {number}")));
        text += &thread.line(
            "event_msg",
            json!({"type": "user_message", "message": format!("Turn {number}"), "images": []}),
        );
        text += &thread.line("response_item", json!({"type": "function_call", "name": "exec_command", "arguments": "{\"cmd\":\"ls\"}", "call_id": format!("c{number}")}));
        text += &thread.line("response_item", json!({"type": "function_call_output", "call_id": format!("c{number}"), "output": format!("Process exited with code {}\nOutput:\nx", number % 2)}));
        text += &thread.line(
            "event_msg",
            json!({"type": "agent_message", "message": format!("Done {number}")}),
        );
        text += &thread.line("response_item", say("assistant", &format!("Done {number}")));
    }
    append(&thread.path(&host), text);
    let _daemon = host.both(|way, rows| {
        assert_eq!(counts(&rows[0]), (3, 3, 3, 1), "{way}");
        assert_eq!(rows[0].status, Status::Idle, "{way}");
        assert_eq!(rows[0].title.as_deref(), Some("Turn 0"), "{way}");
    });
}
