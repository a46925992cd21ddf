//! A played session: writes the records that its harness would write, where that would write them.
//!
//! The shapes are those of Claude Code 2.1.329, Codex 0.169 and pi 0.73, as the recordings in
//! `daemon/core/tests/fixtures` have them, cut down to what tells something. Not here: anything that
//! reads them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rrd_proto::Timestamp;
use serde_json::{Value, json};

use crate::clock;

/// Whose transcript it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Played {
    ClaudeCode,
    Codex,
    Pi,
}

/// One session of a harness that is only played.
#[derive(Debug)]
pub(crate) struct Transcript {
    harness: Played,
    file: File,
    id: String,
    cwd: String,
    /// Records so far.
    count: u64,
    /// The call that has no result yet, and what it is called.
    open: Option<(String, String)>,
    /// Records are dated so long ago.
    ago_ms: i64,
    /// The time in the last record.
    last: Timestamp,
}

impl Transcript {
    /// Begins a session in `repo`, a directory of `home`, so many seconds ago.
    pub(crate) fn begin(
        home: &Path,
        harness: Played,
        id: &str,
        repo: &str,
        ago: i64,
    ) -> io::Result<Self> {
        let cwd = checkout(home, repo)?;
        let at = clock::now().plus(-ago * 1_000);
        let path = path(home, harness, id, &cwd, at);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::options().create(true).append(true).open(path)?;
        let cwd = cwd.to_string_lossy().into_owned();
        let (id, open) = (id.to_owned(), None);
        let mut session =
            Self { harness, file, id, cwd, count: 0, open, ago_ms: ago * 1_000, last: at };
        match harness {
            Played::ClaudeCode => {}
            Played::Codex => session.write(json!({"type": "session_meta", "payload": {
                "id": session.id, "session_id": session.id, "timestamp": at, "cwd": session.cwd,
                "originator": "codex-tui", "cli_version": "0.169.0", "source": "cli",
                "model_provider": "demo", "history_mode": "paginated",
            }}))?,
            Played::Pi => session.write(
                json!({"type": "session", "version": 3, "id": session.id, "cwd": session.cwd}),
            )?,
        }
        Ok(session)
    }

    /// From here on records are of now.
    pub(crate) fn now(&mut self) -> &mut Self {
        self.ago_ms = 0;
        self
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The time in the last record.
    pub(crate) const fn last(&self) -> Timestamp {
        self.last
    }

    /// A person asks for something: a turn begins.
    pub(crate) fn prompt(&mut self, text: &str) -> io::Result<()> {
        match self.harness {
            Played::ClaudeCode => self.write(json!({"type": "user", "permissionMode": "default",
                "message": {"role": "user", "content": text}})),
            Played::Codex => {
                self.event(json!({"type": "task_started", "turn_id": self.id}))?;
                self.item("UserMessage", &json!({"type": "text", "text": text}))
            }
            Played::Pi => self.message(json!({"role": "user", "content": [text_of(text)]})),
        }
    }

    /// The agent runs a command.
    pub(crate) fn runs(&mut self, command: &str) -> io::Result<()> {
        match self.harness {
            Played::ClaudeCode => {
                let input = json!({"command": command, "description": command});
                self.call("Bash", &input)
            }
            Played::Codex => self.call("exec_command", &json!({"cmd": command})),
            Played::Pi => self.call("bash", &json!({"command": command})),
        }
    }

    /// The agent asks its person something, as Claude Code does.
    pub(crate) fn asks(&mut self, question: &str, answers: [&str; 2]) -> io::Result<()> {
        let options = answers.map(|label| json!({"label": label, "description": ""}));
        let question = json!({"question": question, "header": "", "multiSelect": false,
            "options": options});
        self.call("AskUserQuestion", &json!({"questions": [question]}))
    }

    fn call(&mut self, tool: &str, input: &Value) -> io::Result<()> {
        let call = format!("call_{}_{}", &self.id[..8], self.count);
        self.open = Some((call.clone(), tool.to_owned()));
        match self.harness {
            Played::ClaudeCode => self.assistant(
                &json!({"type": "tool_use", "id": call, "name": tool, "input": input}),
                "tool_use",
            ),
            Played::Codex => self.write(json!({"type": "response_item", "payload": {
                "type": "function_call", "id": format!("fc_{}", self.count), "name": tool,
                "arguments": input.to_string(), "call_id": call,
            }})),
            Played::Pi => {
                let call =
                    json!({"type": "toolCall", "id": call, "name": tool, "arguments": input});
                self.message(json!({"role": "assistant", "content": [call], "model": "demo-1",
                    "stopReason": "toolUse"}))
            }
        }
    }

    /// What was called has answered; nothing happens when nothing was.
    pub(crate) fn result(&mut self, text: &str) -> io::Result<()> {
        let Some((call, tool)) = self.open.take() else { return Ok(()) };
        match self.harness {
            Played::ClaudeCode => {
                let result = json!({"type": "tool_result", "tool_use_id": call, "content": text});
                self.write(json!({"type": "user", "toolUseResult": {"stdout": text},
                    "message": {"role": "user", "content": [result]}}))
            }
            Played::Codex => self.write(json!({"type": "response_item", "payload": {
                "type": "function_call_output", "call_id": call, "output": text,
            }})),
            Played::Pi => self.message(json!({"role": "toolResult", "toolCallId": call,
                "toolName": tool, "content": [text_of(text)], "isError": false})),
        }
    }

    /// The agent has said its last word: the turn is over.
    pub(crate) fn answers(&mut self, text: &str) -> io::Result<()> {
        self.result("")?;
        match self.harness {
            Played::ClaudeCode => self.assistant(&text_of(text), "end_turn"),
            Played::Codex => {
                self.item("AgentMessage", &json!({"type": "Text", "text": text}))?;
                self.event(json!({"type": "task_complete", "turn_id": self.id,
                    "last_agent_message": text}))
            }
            Played::Pi => self.message(json!({"role": "assistant", "content": [text_of(text)],
                "model": "demo-1", "stopReason": "stop"})),
        }
    }

    fn assistant(&mut self, content: &Value, stop: &str) -> io::Result<()> {
        let message = json!({"id": format!("msg_{}", self.count), "type": "message",
            "role": "assistant", "model": "demo-1", "content": [content], "stop_reason": stop,
            "usage": {"input_tokens": 11, "output_tokens": 23}});
        self.write(json!({"type": "assistant", "message": message}))
    }

    fn event(&mut self, payload: Value) -> io::Result<()> {
        self.write(json!({"type": "event_msg", "payload": payload}))
    }

    fn item(&mut self, kind: &str, content: &Value) -> io::Result<()> {
        let item =
            json!({"type": kind, "id": format!("item_{}", self.count), "content": [content]});
        self.event(json!({"type": "item_completed", "thread_id": self.id, "item": item}))
    }

    fn message(&mut self, message: Value) -> io::Result<()> {
        self.write(json!({"type": "message", "message": message}))
    }

    /// Adds what every record of the harness has, and writes it as one line.
    fn write(&mut self, mut record: Value) -> io::Result<()> {
        let at = clock::now().plus(-self.ago_ms);
        record["timestamp"] = json!(at);
        self.last = at;
        let before = self.count.checked_sub(1);
        let named = |number: u64| format!("{}-{number:04}", &self.id[..8]);
        match self.harness {
            Played::ClaudeCode => {
                record["uuid"] = json!(named(self.count));
                record["parentUuid"] = json!(before.map(named));
                record["sessionId"] = json!(self.id);
                record["cwd"] = json!(self.cwd);
                record["version"] = json!("2.1.329");
                record["entrypoint"] = json!("cli");
                record["userType"] = json!("external");
                record["isSidechain"] = json!(false);
            }
            Played::Codex => record["ordinal"] = json!(self.count),
            Played::Pi if record["type"] == "session" => {}
            Played::Pi => {
                record["id"] = json!(named(self.count));
                record["parentId"] = json!(before.map(named));
            }
        }
        self.count += 1;
        let mut line = record.to_string();
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}

fn text_of(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Where the harness would keep this session's transcript.
fn path(home: &Path, harness: Played, id: &str, cwd: &Path, at: Timestamp) -> PathBuf {
    let time = at.to_string();
    let folder: String = cwd
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    match harness {
        Played::ClaudeCode => {
            home.join(".claude/projects").join(folder).join(format!("{id}.jsonl"))
        }
        Played::Codex => {
            let (date, time) = (&time[..10], time[..19].replace(':', "-"));
            let day = home.join(".codex/sessions").join(date.replace('-', "/"));
            day.join(format!("rollout-{time}-{id}.jsonl"))
        }
        Played::Pi => {
            let time = time.replace([':', '.'], "-");
            let sessions = home.join(".pi/agent/sessions").join(format!("-{folder}--"));
            sessions.join(format!("{time}_{id}.jsonl"))
        }
    }
}

/// A directory that looks like a checkout of `repo`; its name is all that is ever asked of it.
fn checkout(home: &Path, repo: &str) -> io::Result<PathBuf> {
    let cwd = home.join("src").join(repo);
    let git = cwd.join(".git");
    fs::create_dir_all(&git)?;
    fs::write(git.join("HEAD"), "ref: refs/heads/main\n")?;
    fs::write(git.join("config"), "")?;
    Ok(cwd)
}
