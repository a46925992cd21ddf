//! The binary against a daemon: one that serves made-up sessions over the real socket and codec.
//!
//! What a real daemon does with transcripts is tested where it lives; here is what the client makes
//! of its answers, and of one that is of another release, silent or gone.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt;
use rrd_proto::{
    Event, EventKind, EventPage, EventQuery, FleetCall, FleetReply, Forgotten, Health, HookCall,
    ListQuery, ListReply, Looker, LookerCall, LookerCode, LookerReply, Lookup, LookupQuery,
    MirrorCall, MirrorReply, NotifyCall, NotifyReply, Outline, OutlineQuery, PartStatus, Refusal,
    SearchQuery, SearchReply, Session, SinkTest, Task, TaskCall, Timestamp, Totals,
    codec::{Bincode, MAX_FRAME},
    copy::{CopyCall, CopyReply},
    preamble::{self, Preamble},
    rpc::Local,
};
use tarpc::{
    context::Context,
    server::{BaseChannel, Channel},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

const EVIL: &str = "a\u{1b}]52;c;x\u{7}\u{9b}2J\nb\u{202e}c\u{200b}\u{2066}d";

fn session(id: &str, changes: serde_json::Value) -> Session {
    let mut row = serde_json::json!({
        "ref": "xtgsh", "host": "mac", "node_id": null, "harness": "claude-code",
        "session_id": id, "repo": "rrd", "repo_root": null, "repo_remote": null, "branch": "main",
        "cwd": "/home/dev/src/rrd", "started_at": "2026-11-20T10:00:00Z",
        "last_activity_at": "2026-11-20T10:05:00Z", "transcript_path": "/home/dev/t.jsonl",
        "title": "Publish the crate", "model": null, "status": "idle",
        "status_since": "2026-11-20T10:05:00Z", "status_source": "stop_reason",
        "waiting_for": null, "waiting_detail": null, "waiting_on": null, "activity": null,
        "turn_result": null, "end_reason": null, "active": true, "live": null,
        "interactive": null, "pid": null, "parent_session_id": null, "parent_kind": null,
        "counts": null, "tokens": null, "complete": true, "host_state": "here",
        "host_seen_at": null, "attach": null, "issues": []
    });
    for (key, value) in changes.as_object().unwrap() {
        assert!(row.get(key).is_some(), "{key}");
        row[key] = value.clone();
    }
    serde_json::from_value(row).unwrap()
}

fn event(seq: u64, text: &str) -> Event {
    Event {
        seq,
        at: Timestamp::parse("2026-11-20T10:05:00Z"),
        kind: EventKind::Message,
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

/// What the daemon knows; shared with the test, which changes it.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<(Vec<Session>, Vec<Event>)>>);

impl Local for Known {
    async fn list(self, _: Context, _: ListQuery) -> ListReply {
        let sessions = self.0.lock().unwrap().0.clone();
        ListReply {
            totals: Totals {
                sessions: sessions.len() as u64,
                active: sessions.len() as u64,
                ..Totals::default()
            },
            sessions,
            as_of: Timestamp::parse("2026-11-20T10:19:00Z").unwrap(),
            cursor: 1,
            last_ended: None,
            progress: None,
            roots: Vec::new(),
            unheard: Vec::new(),
            alone: false,
            duplicated: Vec::new(),
        }
    }

    async fn show(self, _: Context, query: LookupQuery) -> Lookup {
        let sessions = self.0.lock().unwrap().0.clone();
        let mut found: Vec<_> =
            sessions.into_iter().filter(|s| s.session_id.starts_with(&query.id)).collect();
        match found.len() {
            0 => Lookup::NotFound,
            1 => Lookup::Found(Box::new(found.remove(0))),
            _ => Lookup::Ambiguous(found),
        }
    }

    async fn forget(self, _: Context, _: LookupQuery) -> Result<Forgotten, Refusal> {
        Ok(Forgotten { sessions: 1 })
    }
    async fn copy(self, _: Context, _: CopyCall) -> Result<CopyReply, Refusal> {
        Err(Refusal { message: "none".to_owned(), facts: Vec::new(), hint: None })
    }
    async fn search(self, _: Context, _: SearchQuery) -> SearchReply {
        SearchReply::default()
    }
    async fn outline(self, _: Context, _: OutlineQuery) -> Result<Outline, Refusal> {
        Ok(Outline::default())
    }
    async fn events(self, _: Context, query: EventQuery) -> Result<EventPage, Refusal> {
        let until = Instant::now() + Duration::from_millis(query.wait_ms.into());
        loop {
            let events = self.0.lock().unwrap().1.clone();
            let new: Vec<_> = events
                .into_iter()
                .filter(|event| query.after.is_none_or(|after| event.seq > after))
                .collect();
            if !new.is_empty() || Instant::now() >= until {
                let skip = new.len().saturating_sub(query.limit as usize);
                let events = new[skip..].to_vec();
                return Ok(EventPage { events, ..EventPage::default() });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn watch(self, _: Context, cursor: u64, wait_ms: u32) -> Result<u64, Refusal> {
        tokio::time::sleep(Duration::from_millis(wait_ms.into())).await;
        Ok(cursor)
    }

    async fn hook(self, _: Context, _: HookCall) {}

    async fn fleet(self, _: Context, _: FleetCall) -> Result<FleetReply, Refusal> {
        Err(Refusal {
            message: "no\u{1b}[2J".to_owned(),
            facts: vec!["because".to_owned()],
            hint: Some("rrd fleet init".to_owned()),
        })
    }

    async fn bind(
        self,
        _: Context,
        _: rrd_proto::binding::BindCall,
    ) -> Result<Vec<rrd_proto::binding::Binding>, Refusal> {
        Ok(Vec::new())
    }

    async fn message(
        self,
        _: Context,
        _: rrd_proto::message::MessageCall,
    ) -> Result<rrd_proto::message::MessageReply, Refusal> {
        Ok(rrd_proto::message::MessageReply::Page(rrd_proto::message::MessagePage::default()))
    }

    async fn task(self, _: Context, _: TaskCall) -> Result<Vec<Task>, Refusal> {
        Ok(Vec::new())
    }

    async fn mirror(self, _: Context, _: MirrorCall) -> Result<MirrorReply, Refusal> {
        Err(Refusal {
            message: "nothing is mirrored\u{1b}[2J".to_owned(),
            facts: Vec::new(),
            hint: None,
        })
    }

    async fn notify(self, _: Context, _: NotifyCall) -> Result<NotifyReply, Refusal> {
        let test = SinkTest { name: EVIL.to_owned(), took_ms: 1, error: Some(EVIL.to_owned()) };
        Ok(NotifyReply::Tested(vec![test]))
    }

    async fn lookers(self, _: Context, call: LookerCall) -> Result<LookerReply, Refusal> {
        let (address, until) = ("http://100.64.0.1:7730/", Timestamp::from_millis(0));
        let urls = vec![format!("{address}pair?code=rrd_code_x\u{1b}]0;\"<>&")];
        let note = Some("no\u{1b}[2J".to_owned());
        match call {
            LookerCall::List(kind) => Ok(LookerReply::Lookers(vec![Looker {
                id: "0a0b".to_owned(),
                kind,
                label: "Phone\u{1b}[2J".to_owned(),
                bound_to: Some("tailnet:n1\u{1b}[2J".to_owned()),
                made_at: until,
                seen_at: None,
                until: None,
            }])),
            _ => Ok(LookerReply::Code(LookerCode { urls, until, only_here: false, note })),
        }
    }

    async fn wait(
        self,
        _: Context,
        _: rrd_proto::wait::WaitCall,
    ) -> Result<rrd_proto::wait::WaitNews, rrd_proto::wait::NoWait> {
        unreachable!("nobody waits here")
    }
    async fn running(self, _: Context, _: Vec<u32>) -> Vec<Session> {
        Vec::new()
    }
    async fn graph(self, _: Context) -> rrd_proto::Graph {
        rrd_proto::Graph::default()
    }

    async fn hosts(self, _: Context) -> Vec<rrd_proto::Host> {
        Vec::new()
    }
    async fn status(self, _: Context) -> Vec<PartStatus> {
        vec![PartStatus {
            part: "tail".to_owned(),
            state: Health::Ok,
            detail: "follows 3 transcripts".to_owned(),
            hint: None,
        }]
    }
}

/// A daemon on a thread; gone when dropped, with all its connections.
struct Daemon(tokio::runtime::Runtime);

impl Daemon {
    fn serve(socket: &Path, known: Known, greeting: [u8; preamble::LEN]) -> Self {
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let _ = fs::remove_file(socket);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        drop(guard);
        runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let known = known.clone();
                tokio::spawn(async move {
                    let mut client = [0; preamble::LEN];
                    stream.read_exact(&mut client).await.unwrap();
                    stream.write_all(&greeting).await.unwrap();
                    if Preamble::check(&client).is_err() || Preamble::check(&greeting).is_err() {
                        return;
                    }
                    let frames =
                        LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec();
                    let transport = tarpc::serde_transport::new(
                        Framed::new(stream, frames),
                        Bincode::default(),
                    );
                    BaseChannel::with_defaults(transport)
                        .execute(known.serve())
                        .for_each(|request| async {
                            tokio::spawn(request);
                        })
                        .await;
                });
            }
        });
        Self(runtime)
    }

    fn stop(self) {
        self.0.shutdown_timeout(Duration::from_secs(1));
    }
}

struct Host {
    home: TempDir,
    known: Known,
}

impl Host {
    fn with(sessions: Vec<Session>) -> Self {
        let known = Known::default();
        known.0.lock().unwrap().0 = sessions;
        Self { home: tempfile::tempdir().unwrap(), known }
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("rrd/run/rrd.sock")
    }

    fn daemon(&self) -> Daemon {
        Daemon::serve(&self.socket(), self.known.clone(), Preamble::ours().encode())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        command.args(args).env_clear().stdin(Stdio::null());
        command
            .env("HOME", self.home.path())
            .env("RRD_HOME", self.home.path().join("rrd"))
            .env("RRD_HTTP", "off");
        command.env("TZ", "UTC");
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }
}

fn two() -> Vec<Session> {
    let waits = serde_json::json!({
        "status": "waiting", "waiting_for": "permission", "waiting_detail": "Bash: npm publish",
        "status_source": "registry", "pid": 4242, "attach": "tmux attach -t t7"
    });
    vec![session("b41f0c2e-1", waits), session("b4e07777-2", serde_json::json!({"ref": "qwert"}))]
}

#[test]
fn list_is_a_table_for_people_and_an_array_for_programs() {
    let host = Host::with(two());
    let _daemon = host.daemon();
    let (code, out, err) = host.run(&["sessions", "list"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "  STATUS                AGE  REPO  TITLE              AGENT        ID\n\
         ● waiting · permission  14m  rrd   Publish the crate  claude-code  b41f\n\
         │   Bash: npm publish\n\
         ○ idle                  14m  rrd   Publish the crate  claude-code  b4e0\n\
         \n\
         2 active on 1 host · 1 needs you\n"
    );
    let (_, out, _) = host.run(&["sessions", "list", "--json"]);
    assert_eq!(serde_json::from_str::<Vec<Session>>(&out).unwrap(), two());

    host.known.0.lock().unwrap().0.clear();
    assert_eq!(host.run(&["sessions", "list", "--json"]), (0, "[]\n".to_owned(), String::new()));
}

#[test]
fn a_narrow_terminal_is_never_too_narrow() {
    let host = Host::with(two());
    let _daemon = host.daemon();
    for columns in [40, 60, 80] {
        let mut command = host.command(&["sessions", "list"]);
        let output = command.env("COLUMNS", columns.to_string()).output().unwrap();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
    }
}

#[test]
fn show_tells_why_and_what_next() {
    let host = Host::with(two());
    host.known.0.lock().unwrap().1 = vec![event(0, "first"), event(1, "second")];
    let _daemon = host.daemon();
    let (code, out, _) = host.run(&["sessions", "show", "b41f"]);
    assert_eq!(code, 0);
    for part in [
        "Publish the crate\n● waiting · permission for ",
        "│   Bash: npm publish\n",
        "why: claude-code's live registry says that process 4242 waits for a permission",
        "the last 2 events\n",
        "first\n",
        "  rrd sessions tail b41f -f\n",
        "  tmux attach -t t7\n",
        "  less /home/dev/t.jsonl\n",
    ] {
        assert!(out.contains(part), "{part} in\n{out}");
    }
    let (_, out, _) = host.run(&["sessions", "show", "b41f", "--json"]);
    assert_eq!(serde_json::from_str::<Session>(&out).unwrap(), two()[0]);
    let (_, out, _) = host.run(&["sessions", "show", "b41f", "--json", "--events", "--limit", "1"]);
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["session_id"], "b41f0c2e-1");
    assert_eq!(object["events"].as_array().unwrap().len(), 1);
    assert_eq!(object["events"][0]["text"], "second");
}

#[test]
fn an_id_that_is_not_one_is_explained() {
    let host = Host::with(two());
    let _daemon = host.daemon();
    let (code, out, err) = host.run(&["sessions", "show", "b4"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        "error: no session matches \"b4\"\n  2 start with it: b41f (mac), b4e0 (mac)\n\
         hint: type one more letter, or host/harness/id\n"
    );
    let (code, _, err) = host.run(&["sessions", "tail", "zz"]);
    assert_eq!(code, 1);
    assert!(err.contains("no session matches \"zz\"\nhint: rrd sessions list --all"), "{err}");
}

#[test]
fn nothing_in_a_transcript_steers_the_terminal() {
    let evil = serde_json::json!({
        "title": EVIL, "repo": EVIL, "branch": EVIL, "cwd": EVIL, "host": EVIL, "harness": EVIL,
        "transcript_path": EVIL, "status": "waiting", "waiting_for": "permission",
        "waiting_detail": EVIL, "attach": EVIL, "model": EVIL, "ref": EVIL, "waiting_on": EVIL,
        "parent_session_id": EVIL, "issues": [{"kind": EVIL, "count": 1, "offset": null}],
    });
    let sessions = vec![session("b41f", evil)];
    let host = Host::with(sessions.clone());
    host.known.0.lock().unwrap().1 = vec![event(0, EVIL)];
    let _daemon = host.daemon();
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    for args in [
        &["sessions", "list"][..],
        &["sessions", "list", "--json"],
        &["sessions", "show", "b41f"],
        &["sessions", "show", "b41f", "--json", "--events"],
        &["sessions", "tail", "b41f"],
        &["sessions", "tail", "b41f", "--json"],
    ] {
        let (code, out, err) = host.run(args);
        assert_eq!(code, 0, "{args:?}: {err}");
        assert!(!out.chars().any(acts) && !err.chars().any(acts), "{args:?}: {out:?}");
    }
    // One that fails says so.
    let (code, out, err) = host.run(&["notify", "test"]);
    assert!(code == 1 && out.contains("]52;c;x"), "{out:?} {err}");
    assert!(!out.chars().any(acts) && !err.chars().any(acts), "{out:?}");
    let (_, out, _) = host.run(&["sessions", "list", "--json"]);
    assert_eq!(serde_json::from_str::<Vec<Session>>(&out).unwrap(), sessions);
}

fn lines(child: &mut Child) -> impl FnMut() -> String + use<> {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    move || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

#[test]
fn following_outlives_a_restart_of_the_daemon() {
    let host = Host::with(two());
    let add = |seq, text: &str| host.known.0.lock().unwrap().1.push(event(seq, text));
    add(0, "zero");
    let daemon = host.daemon();
    let mut child = host
        .command(&["sessions", "tail", "b41f", "-f", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = lines(&mut child);
    assert!(line().contains("\"zero\""));
    add(1, "one");
    assert!(line().contains("\"one\""));
    let mut remarks = BufReader::new(child.stderr.take().unwrap());
    let mut remark = || {
        let mut line = String::new();
        remarks.read_line(&mut line).unwrap();
        line
    };
    daemon.stop();
    add(2, "two");
    assert_eq!(remark(), "the daemon closed the connection: waiting for the daemon\n");
    let _daemon = host.daemon();
    assert!(line().contains("\"two\""));
    add(3, "three");
    assert!(line().contains("\"three\""));
    assert_eq!(remark(), "the daemon is back\n");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(remark(), "", "nothing else was worth a remark");
}

#[test]
fn status_and_doctor_show_the_parts() {
    let host = Host::with(Vec::new());
    let _daemon = host.daemon();
    let (code, out, _) = host.run(&["status"]);
    assert_eq!((code, out.as_str()), (0, "✓ tail  follows 3 transcripts\n"));
    let (_, out, _) = host.run(&["status", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()[0]["state"], "ok");
    let (_, out, _) = host.run(&["doctor"]);
    assert!(out.contains("the daemon answers, release"), "{out}");
    assert!(out.contains("follows 3 transcripts"), "{out}");
}

#[test]
fn another_release_is_a_sentence_with_the_remedy() {
    let host = Host::with(Vec::new());
    let mut greeting = Preamble::ours().encode();
    greeting[15] ^= 1;
    let _daemon = Daemon::serve(&host.socket(), host.known.clone(), greeting);
    let (code, _, err) = host.run(&["status"]);
    assert_eq!(code, 69);
    assert!(err.starts_with("error: the daemon is another release than this rrd ("), "{err}");
    assert!(err.ends_with("hint: rrd service restart starts it anew\n"), "{err}");
    let (code, out, _) = host.run(&["doctor"]);
    assert_eq!(code, 1);
    assert!(out.contains("✕ reach"), "{out}");
}

/// A program of this name that keeps what it was called with, and the file it was to open.
fn keeps_what_it_opens(host: &Host, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = host.home.path().join("bin").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let script = "#!/bin/sh\necho \"$@\" > \"$HOME/args\"\nexec cat \"$1\" > \"$HOME/opened\"\n";
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_code_is_shown_to_people_and_browsers_and_not_on_command_lines() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::with(Vec::new());
    let daemon = host.daemon();
    let (status, out, err) = host.run(&["pair"]);
    assert_eq!(status, 0, "{err}");
    // No picture where there is no terminal, and nothing that a terminal would take for more than text.
    assert!(
        out.starts_with("http://100.64.0.1:7730/pair?code=rrd_code_x") && out.lines().count() == 1
    );
    assert!(
        err.contains("once, until") && err.contains("90 days") && err.contains("rrd pair --list")
    );
    assert!(!(out + &err).contains('\u{1b}'));
    let (_, out, _) = host.run(&["pair", "--json"]);
    let code: serde_json::Value = serde_json::from_str(&out).unwrap();
    let keys: Vec<&String> = code.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["note", "only_here", "until", "urls"]);
    let (status, out, _) = host.run(&["pair", "--list"]);
    assert!(status == 0 && out.contains("Phone") && !out.contains('\u{1b}'), "{out}");
    let (_, out, _) = host.run(&["token", "--list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
    let keys: Vec<&String> = listed[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["bound_to", "id", "kind", "label", "made_at", "seen_at", "until"]);
    assert_eq!(listed[0]["kind"], "script");

    // Without a display, or asked to, it prints.
    for args in [&["open"][..], &["open", "--print"]] {
        let (status, out, _) = host.run(args);
        assert!(status == 0 && out.starts_with("http://100.64.0.1:7730/pair?code="), "{out}");
    }
    ["xdg-open", "open"].iter().for_each(|name| keeps_what_it_opens(&host, name));
    fs::create_dir_all(host.home.path().join("rrd/state")).unwrap();
    let path = format!("{}:/usr/bin:/bin", host.home.path().join("bin").display());
    let mut command = host.command(&["open"]);
    let said = command.env("DISPLAY", ":7").env("PATH", path).output().unwrap();
    assert!(said.status.success() && said.stdout.is_empty(), "{said:?}");
    let read = |file: &str| fs::read_to_string(host.home.path().join(file)).unwrap();
    let args = read("args");
    assert!(args.ends_with("/state/open.html\n") && !args.contains("rrd_code_"), "{args}");
    let opened = read("opened");
    let link = "http://100.64.0.1:7730/pair?code=rrd_code_x\u{1b}]0;&quot;&lt;>&amp;";
    assert_eq!(opened.matches(&format!("{link}\"")).count(), 2, "{opened}");
    let mode = fs::metadata(args.trim()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A browser that cannot be started leaves the address.
    let mut command = host.command(&["open"]);
    let said = command.env("DISPLAY", ":7").env("PATH", "/nowhere").output().unwrap();
    assert!(String::from_utf8(said.stdout).unwrap().starts_with("http://100.64.0.1:7730/pair"));
    daemon.stop();
}
