//! What the sessions of a host do by themselves (call hooks, run rrd in their shells), and what the host knows of
//! them.
//!
//! Not here: what is expected, and what only one test program asks.

use std::{
    io::{Read, Write as _},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rrd_proto::{Graph, HostState, Session, Timestamp, message::Message};
use serde_json::{Value, json};

use super::{Host, NEVER};

impl Host {
    /// A hook of this session is called; what it prints.
    pub(crate) fn hook(&self, id: &str, event: &str, more: Value) -> String {
        hooked(self.rrd(&["hook", "claude-code"]), id, event, more)
    }

    /// What a session runs in its shell.
    pub(crate) fn of_session(&self, id: &str, args: &[&str]) -> Command {
        let mut command = self.rrd(args);
        command.env("CLAUDE_CODE_SESSION_ID", id).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// How that ends.
    pub(crate) fn does(&self, id: &str, args: &[&str]) -> (i32, String, String) {
        ended(self.of_session(id, args).spawn().unwrap())
    }

    /// A session sends a message.
    pub(crate) fn sends(&self, id: &str, to: &str, text: &str) -> Message {
        let (code, out, err) = self.does(id, &["send", to, "--json", "--", text]);
        assert_eq!(code, 0, "{out}{err}{}", self.log());
        serde_json::from_str(&out).unwrap()
    }

    /// A session waits in its shell.
    pub(crate) fn waits(&self, id: &str, args: &[&str]) -> Child {
        self.of_session(id, &[&["wait"], args].concat()).spawn().unwrap()
    }

    /// A session has finished its turn, by its transcript.
    pub(crate) fn ends_turn(&self, id: &str) {
        let answer = json!({
            "type": "assistant", "uuid": "x1", "parentUuid": null, "sessionId": id, "cwd": "/w",
            "isSidechain": false, "timestamp": Timestamp::from_millis(1_900_000_000_000),
            "message": {"id": "m1", "role": "assistant", "model": "m", "stop_reason": "end_turn",
                "content": [{"type": "text", "text": "done"}]},
        });
        self.writes(id, &answer);
    }

    pub(crate) fn graph(&self) -> Graph {
        self.json(&["graph"])
    }

    pub(crate) fn row(&self, id: &str) -> Option<Session> {
        self.sessions().into_iter().find(|row| row.session_id == id)
    }

    pub(crate) fn reference(&self, id: &str) -> String {
        let row = || self.row(id).ok_or_else(|| "not yet".to_owned());
        self.until(id, row).reference
    }

    pub(crate) fn knows(&self, ids: &[&str]) {
        self.until(&format!("{ids:?}"), || {
            let rows = self.sessions();
            let missing = ids.iter().find(|id| !rows.iter().any(|row| row.session_id == **id));
            missing.map_or(Ok(()), |id| Err((*id).to_owned()))
        });
    }

    /// Until it finds the session, on whatever host and in whatever state.
    pub(crate) fn looks_up(&self, id: &str) {
        self.until("the session", || {
            let out = self.rrd(&["sessions", "show", id, "--json"]).output().unwrap();
            let error = String::from_utf8(out.stderr).unwrap();
            if out.status.success() { Ok(()) } else { Err(error) }
        });
    }

    /// Another host is so, to this one.
    pub(crate) fn comes_to_see_host(&self, host: &str, state: HostState) {
        self.until(&format!("{host} {state:?}"), || {
            let hosts = self.hosts();
            let is = hosts.iter().any(|row| row.host == host && row.state == state);
            if is { Ok(()) } else { Err(format!("{hosts:?}")) }
        });
    }
}

/// The hook program of Claude Code is run for a session; what it prints.
pub(crate) fn hooked(mut command: Command, id: &str, event: &str, more: Value) -> String {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut hook = piped.spawn().unwrap();
    let mut payload = json!({"hook_event_name": event, "session_id": id, "cwd": "/w"});
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook.stdin.take().unwrap().write_all(payload.to_string().as_bytes()).unwrap();
    let Output { status, stdout, stderr } = hook.wait_with_output().unwrap();
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// A host with this session, at work.
pub(crate) fn with(name: &str, id: &str) -> Host {
    let mut host = Host::new(name);
    host.works_on(id, name);
    host.start();
    host
}

/// How a program ended: its code, what it printed, what it remarked. One that runs longer than [`NEVER`] is
/// killed, and has the code -1.
pub(crate) fn ended(mut child: Child) -> (i32, String, String) {
    // Read meanwhile: a pipe holds little.
    let out = child.stdout.take().map(|pipe| thread::spawn(|| text_of(pipe)));
    let err = child.stderr.take().map(|pipe| thread::spawn(|| text_of(pipe)));
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > NEVER {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    }
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.map_or_else(String::new, |reader| reader.join().unwrap())
    };
    (child.wait().unwrap().code().unwrap_or(-1), text(out), text(err))
}

fn text_of(mut pipe: impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    text
}

/// The same of one that prints JSON; null where it printed none.
pub(crate) fn answered(child: Child) -> (i32, Value, String) {
    let (code, out, err) = ended(child);
    (code, serde_json::from_str(&out).unwrap_or(Value::Null), err)
}

/// What a wait tells that came true.
pub(crate) fn came_true(waits: Child) -> Value {
    let (code, answer, said) = answered(waits);
    assert_eq!((code, answer["outcome"].as_str()), (0, Some("true")), "{answer} {said}");
    answer
}
