//! A harness, and the `rrd mcp` that it started: lines of JSON-RPC in, lines out.
//!
//! Not here: what is asked.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Host, NEVER};

/// Bytes of an answer's JSON.
pub(crate) const MOST: usize = 32 << 10;

/// A harness and the server that it started.
pub(crate) struct Client {
    pub(crate) server: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) lines: Receiver<Value>,
    /// What came that was not asked for yet.
    pub(crate) answers: BTreeMap<String, Value>,
    pub(crate) next: u64,
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Client {
    pub(crate) fn start(command: Command) -> Self {
        let mut client = Self::deaf(command);
        client.listen();
        client
    }

    /// Reads nothing of what is answered, until it listens.
    pub(crate) fn deaf(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let input = server.stdin.take();
        Self { server, input, lines: channel().1, answers: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn listen(&mut self) {
        let (out, lines) = channel();
        self.lines = lines;
        let stdout = BufReader::new(self.server.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines() {
                // Nothing but the protocol goes there.
                let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
                assert_eq!(message["jsonrpc"], "2.0");
                if out.send(message).is_err() {
                    return;
                }
            }
        });
    }

    /// Has said what a client says first.
    pub(crate) fn of(host: &Host) -> Self {
        Self::start(host.rrd(&["mcp"])).initialized("2025-11-25")
    }

    pub(crate) fn initialized(mut self, revision: &str) -> Self {
        let info = json!({"name": "test", "version": "1"});
        let hello = self.ask(
            "initialize",
            json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": info}),
        );
        assert_eq!(hello["result"]["protocolVersion"], revision, "{hello}");
        assert_eq!(hello["result"]["serverInfo"]["name"], "rrd");
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        self
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.say(message.to_string().as_bytes());
    }

    pub(crate) fn say(&mut self, line: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line).and_then(|()| input.write_all(b"\n")).unwrap();
    }

    /// The next message of the server.
    pub(crate) fn heard(&self) -> Value {
        self.lines.recv_timeout(NEVER).unwrap()
    }

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&request(id, method, &params));
        self.answer(&json!(id))
    }

    pub(crate) fn answer(&mut self, id: &Value) -> Value {
        loop {
            if let Some(answer) = self.answers.remove(&id.to_string()) {
                return answer;
            }
            let heard = self.heard();
            self.answers.insert(heard["id"].to_string(), heard);
        }
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// What a tool answers; the same in both of its forms, and never too much.
    pub(crate) fn does(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.call(tool, arguments);
        let result = &answer["result"];
        assert_eq!(result["isError"], false, "{answer}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result["structuredContent"]);
        assert!(text.len() <= MOST, "{}", text.len());
        result["structuredContent"].clone()
    }

    /// Why a tool does not.
    pub(crate) fn fails(&mut self, tool: &str, arguments: Value) -> String {
        let answer = self.call(tool, arguments);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        answer["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// Goes: what it said on stderr, once it is gone.
    pub(crate) fn ends(mut self) -> String {
        drop(self.input.take());
        assert!(self.server.wait().unwrap().success());
        let mut said = String::new();
        self.server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

pub(crate) fn request(id: impl Serialize, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}
