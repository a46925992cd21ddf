//! One host of a test: a home of its own, what a harness wrote there, and the real daemon in it.
//!
//! Test programs that need one compile this, and add what only they ask of it. Not here: what is expected.
#![allow(dead_code)] // none of them uses all of it

pub(crate) mod agents;
pub(crate) mod mcp;
pub(crate) mod past;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rrd_proto::{FleetStatus, Host as Row, HostState, Session, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Long enough that only what never comes fails.
pub(crate) const NEVER: Duration = Duration::from_secs(150);

pub(crate) struct Host {
    pub(crate) home: TempDir,
    /// What its programs have beside the home; nothing comes from this process.
    pub(crate) environment: BTreeMap<&'static str, String>,
    /// What runs its programs, where this process does not by itself.
    pub(crate) within: Vec<String>,
    pub(crate) daemon: Option<Child>,
    /// What its daemon said when it was ready.
    pub(crate) said: String,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One that was free a moment ago; whoever finds it taken takes the next.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The id of a session.
pub(crate) fn session(number: usize) -> String {
    format!("{number:0>8}-0000-4000-8000-000000000001")
}

impl Host {
    /// With nothing running yet, and at one port for all its starts.
    pub(crate) fn new(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("rrd")).unwrap();
        let environment = BTreeMap::from([
            ("HOME", home.path().display().to_string()),
            ("RRD_HOME", home.path().join("rrd").display().to_string()),
            ("RRD_NAME", name.to_owned()),
            ("RRD_LISTEN", format!("127.0.0.1:{}", free_port())),
            ("RRD_HTTP", "off".to_owned()),
        ]);
        Self { home, environment, within: Vec::new(), daemon: None, said: String::new() }
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.insert(name, value.into());
    }

    pub(crate) fn name(&self) -> &str {
        &self.environment["RRD_NAME"]
    }

    /// Where it was told to listen for members.
    pub(crate) fn listen(&self) -> &str {
        &self.environment["RRD_LISTEN"]
    }

    /// Where its page is, to this machine.
    pub(crate) fn page(&self) -> SocketAddr {
        let at = self.said.trim().split_once("its page is http://").map(|(_, at)| at.parse());
        at.unwrap_or_else(|| panic!("{}{}", self.said, self.log())).unwrap()
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.home.path().join(relative)
    }

    pub(crate) fn state(&self, file: &str) -> PathBuf {
        self.path("rrd/state").join(file)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn rrd(&self, args: &[&str]) -> Command {
        let program = [env!("CARGO_BIN_EXE_rrd")];
        let within = self.within.iter().map(String::as_str);
        let mut words = within.chain(program).chain(args.iter().copied());
        let mut command = Command::new(words.next().unwrap());
        command.args(words).env_clear().envs(&self.environment).stdin(Stdio::null());
        command
    }

    /// What it prints, and what it remarks, when it does it.
    pub(crate) fn told(&self, args: &[&str]) -> (String, String) {
        let Output { status, stdout, stderr } = self.rrd(args).output().unwrap();
        let err = String::from_utf8(stderr).unwrap();
        assert!(status.success(), "{}: {args:?}: {err}\n{}", self.name(), self.log());
        (String::from_utf8(stdout).unwrap(), err)
    }

    /// What it prints when it does it.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        self.told(args).0
    }

    /// The same, read from JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, args: &[&str]) -> T {
        serde_json::from_str(&self.run(&[args, &["--json"]].concat())).unwrap()
    }

    /// What it says when it does not do it.
    pub(crate) fn refuses(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.rrd(args).output().unwrap();
        let err = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(1), 0), "{args:?}: {err}");
        assert!(err.contains("hint: "), "{err}");
        err
    }

    pub(crate) fn start(&mut self) {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        let mut daemon = self.rrd(&["daemon"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        self.said.clear();
        BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut self.said).unwrap();
        self.daemon = Some(daemon);
        assert!(self.said.contains("its socket is"), "{}{}", self.said, self.log());
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Ends in order, and says so to the others.
    pub(crate) fn stop(&mut self) {
        self.signal("-TERM");
        assert!(self.daemon.take().unwrap().wait().unwrap().success());
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.daemon.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// In a fleet of its own.
    pub(crate) fn founds(self) -> Self {
        self.run(&["fleet", "init"]);
        self
    }

    /// The other one, in this one's fleet.
    pub(crate) fn takes_in(&self, other: Self) -> Self {
        other.joins(self);
        other
    }

    /// By the line that is printed for that.
    pub(crate) fn joins(&self, member: &Self) {
        let line = member.run(&["fleet", "invite"]);
        self.run(&line.split_whitespace().skip(1).collect::<Vec<_>>());
    }

    pub(crate) fn transcript(&self, id: &str) -> PathBuf {
        self.path(&format!(".claude/projects/-w/{id}.jsonl"))
    }

    pub(crate) fn writes(&self, id: &str, record: &Value) {
        past::append(&self.transcript(id), &format!("{record}\n"));
    }

    /// A session takes a prompt, of so many milliseconds ago.
    pub(crate) fn says_ago(&self, id: &str, text: &str, ms: u128) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() - ms;
        self.writes(id, &json!({
            "parentUuid": null, "isSidechain": false, "type": "user", "uuid": format!("u{at}{text}"),
            "message": {"role": "user", "content": text}, "userType": "external", "cwd": "/w",
            "timestamp": Timestamp::from_millis(i64::try_from(at).unwrap()), "entrypoint": "cli",
            "promptSource": "typed", "sessionId": id, "version": "2.1.300", "gitBranch": "main",
        }));
    }

    /// A session takes a prompt.
    pub(crate) fn says(&self, id: &str, text: &str) {
        self.says_ago(id, text, 0);
    }

    /// A session takes a prompt, and is called like that.
    pub(crate) fn works_on(&self, id: &str, what: &str) {
        self.says(id, what);
        self.writes(id, &json!({"type": "custom-title", "customTitle": what, "sessionId": id}));
    }

    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.json(&["sessions", "list"])
    }

    pub(crate) fn hosts(&self) -> Vec<Row> {
        self.json(&["hosts"])
    }

    pub(crate) fn fleet(&self) -> FleetStatus {
        self.json(&["fleet", "status"])
    }

    /// Its rows, and those of others: the host, what it does, and whether it is away.
    pub(crate) fn lists(&self) -> Vec<String> {
        let row = |row: Session| {
            let away = if row.host_state == HostState::Away { " (away)" } else { "" };
            format!("{}: {}{away}", row.host, row.title.unwrap_or_default())
        };
        let mut rows: Vec<String> = self.sessions().into_iter().map(row).collect();
        rows.sort();
        rows
    }

    pub(crate) fn comes_to_list(&self, rows: &[&str]) {
        self.until(&format!("{rows:?}"), || {
            let listed = self.lists();
            if listed == rows { Ok(()) } else { Err(format!("{listed:#?}")) }
        });
    }

    pub(crate) fn until<T>(&self, what: &str, mut is: impl FnMut() -> Result<T, String>) -> T {
        let begun = Instant::now();
        loop {
            match is() {
                Ok(value) => return value,
                Err(last) if begun.elapsed() > NEVER => {
                    panic!("{}: {what}: {last}\n{}", self.name(), self.log())
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}
