//! The replay in a real terminal: tmux runs it, reads its screen, sends it keys and changes its size.
//!
//! tmux understands what a terminal understands and says what it made of it, so that what is looked at here
//! is what a person would see. Where there is none (it is no part of the toolchain) these say so and pass.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Nobody waits for longer than that.
const PATIENCE: Duration = Duration::from_secs(20);
const ID: &str = "00000000-0000-4000-8000-000000000001";
const EVIL: &str = "a\u{1b}]52;c;RVZJTA==\u{7}\u{1b}]0;EVIL\u{7}\u{9b}2J\u{1b}[2J\u{1b}[5;5H\u{202e}b\u{200b}\u{2066}c";

struct Host {
    home: TempDir,
    daemon: Child,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Host {
    fn with(records: &[Value]) -> Self {
        let home = tempfile::tempdir().unwrap();
        write(&home, records);
        let mut daemon = rrd(&home, &["daemon"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        let host = Self { home, daemon };
        eventually(|| {
            let out = rrd(&host.home, &["sessions", "show", ID, "--json"]).output().unwrap();
            let row: Value = serde_json::from_slice(&out.stdout).ok()?;
            (row["complete"] == true).then_some(())
        });
        host
    }

    fn says(&self, record: Value) {
        write(&self.home, &[record]);
    }
}

fn rrd(home: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
    command.args(args).env_clear().envs(variables(home));
    command
}

fn variables(home: &TempDir) -> [(&'static str, String); 8] {
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    [
        ("HOME", path(home.path().to_owned())),
        ("RRD_HOME", path(home.path().join("rrd"))),
        ("RRD_NAME", "mac".to_owned()),
        ("RRD_HTTP", "off".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("PATH", std::env::var("PATH").unwrap_or_default()),
    ]
}

fn write(home: &TempDir, records: &[Value]) {
    let folder = home.path().join(".claude/projects/-srv-work");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{ID}.jsonl"));
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    for record in records {
        writeln!(file, "{record}").unwrap();
    }
}

fn record(kind: &str, second: u32, content: Value) -> Value {
    let mut message = json!({"role": kind, "content": content});
    if kind == "assistant" {
        message["id"] = json!(format!("msg_{second}"));
        message["type"] = json!("message");
        message["model"] = json!("m");
        message["stop_reason"] = json!("tool_use");
    }
    json!({
        "type": kind, "message": message, "uuid": format!("00000000-0000-4000-9000-{second:012}"),
        "timestamp": format!("2026-11-20T10:{:02}:{:02}.000Z", second / 60, second % 60),
        "sessionId": ID, "cwd": "/srv/site", "version": "2.1.329", "gitBranch": "main",
        "userType": "external", "isSidechain": false, "promptSource": "typed",
    })
}

fn call(second: u32, id: &str, tool: &str, input: &Value) -> Value {
    record(
        "assistant",
        second,
        json!([{"type": "tool_use", "id": id, "name": tool, "input": input}]),
    )
}

fn result(second: u32, id: &str, text: &str, is_error: bool) -> Value {
    let block =
        json!({"type": "tool_result", "tool_use_id": id, "content": text, "is_error": is_error});
    record("user", second, json!([block]))
}

fn story() -> Vec<Value> {
    let edit = json!({"file_path": "/srv/site/Cargo.toml", "old_string": "version = \"1\"", "new_string": "version = \"2\""});
    vec![
        record("user", 0, json!("Publish it")),
        call(1, "t1", "Bash", &json!({"command": "cargo test"})),
        result(9, "t1", "running 3 tests\nneedle in the output\nok", false),
        call(10, "t2", "Edit", &edit),
        result(11, "t2", "done", false),
        call(12, "t3", "Bash", &json!({"command": "cargo publish"})),
        result(14, "t3", "error: no token", true),
        record("assistant", 15, json!([{"type": "text", "text": "It needs a token."}])),
    ]
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "it did not come about");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A server of tmux for this test alone, with one window that runs a shell.
struct Terminal {
    socket: PathBuf,
    written: PathBuf,
    _folder: TempDir,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

impl Terminal {
    /// `None`, and a word about it, where there is no tmux.
    fn open(host: &Host) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("SKIPPED: no tmux here");
            }
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (socket, written) = (folder.path().join("tmux"), folder.path().join("written"));
        let terminal = Self { socket, written, _folder: folder };
        let variables = variables(&host.home);
        let mut start = Command::new("tmux");
        start.arg("-S").arg(&terminal.socket).args(["-f", "/dev/null", "new-session", "-d"]);
        start.args(["-x", "100", "-y", "30", "env", "-i", "TERM=screen-256color", "PS1=$ "]);
        start.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
        start.arg("sh").env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        assert!(start.status().unwrap().success());
        terminal.tmux(&["set", "-g", "status", "off"]);
        terminal.tmux(&["resize-window", "-x", "100", "-y", "30"]);
        let pipe = format!("cat > {}", terminal.written.display());
        terminal.tmux(&["pipe-pane", "-O", &pipe]);
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let out = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn replay(&self, args: &str) {
        let line = format!("{} sessions replay {ID} {args}", env!("CARGO_BIN_EXE_rrd"));
        self.tmux(&["send-keys", "-l", &line]);
        self.press(&["Enter"]);
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen once it shows all of `parts`.
    fn shows(&self, parts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if parts.iter().all(|part| screen.contains(part)) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "{parts:?} not in\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the terminal is set to: its other screen, a visible cursor, the mouse.
    fn state(&self) -> String {
        self.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"])
    }

    /// It is the shell's again, as it was.
    fn is_given_back(&self) {
        eventually(|| (self.state().trim() == "0 1 0").then_some(()));
        self.tmux(&[
            "send-keys",
            "-l",
            "stty -a | grep -oE ' (icanon|echo) ' | tr -d '\\n'; echo END",
        ]);
        self.press(&["Enter"]);
        self.shows(&[" icanon  echo END"]);
    }
}

#[test]
fn one_goes_through_a_session_in_a_terminal() {
    let host = Host::with(&story());
    let Some(terminal) = Terminal::open(&host) else { return };
    terminal.replay("");
    let screen = terminal.shows(&["Publish it", "event 8 of 8", "✕ 1 error", "It needs a token."]);
    assert!(screen.contains("claude-code · mac:/srv/site · main"), "{screen}");
    assert_eq!(terminal.state().trim(), "1 0 1");

    terminal.press(&["E"]);
    terminal.shows(&["event 7 of 8", "▸Bash         cargo publish", "✕ 2.0s", "╰ error: no token"]);
    terminal.press(&["D", "Enter"]);
    terminal.shows(&["▸Edit", "│ -version = \"1\"", "│ +version = \"2\""]);
    terminal.press(&["/"]);
    terminal.tmux(&["send-keys", "-l", "NEEDLE"]);
    terminal.press(&["Enter"]);
    terminal.shows(&["\"NEEDLE\" 1 of 1", "event 3 of 8"]);
    terminal.press(&["Enter"]);
    terminal.shows(&["│ cargo test", "│ needle in the output"]);
    terminal.press(&["g"]);
    terminal.tmux(&["send-keys", "-l", "10:00:12"]);
    terminal.press(&["Enter"]);
    terminal.shows(&["event 6 of 8", "2026-11-20 10:00:12"]);

    // What happens while one looks is there at once, where one follows.
    terminal.press(&["f"]);
    host.says(record("assistant", 20, json!([{"type": "text", "text": "Here is more."}])));
    terminal.shows(&["event 9 of 9", "▸message      Here is more."]);
    terminal.press(&["q"]);
    terminal.is_given_back();
    assert!(!terminal.screen().contains('▲'));
}

/// Everything only once, and the footer on the last line, to its end.
fn is_whole(screen: &str, rows: usize) -> bool {
    let lines: Vec<&str> = screen.trim_end_matches('\n').lines().collect();
    let is_once = |part: &str| screen.matches(part).count() == 1;
    lines.len() == rows
        && ["▲", "▸Edit", "q leave"].into_iter().all(is_once)
        && lines.last().is_some_and(|last| last.contains("q leave"))
}

#[test]
fn a_resize_never_garbles() {
    let host = Host::with(&story());
    let Some(terminal) = Terminal::open(&host) else { return };
    terminal.replay("--at 10:00:10");
    terminal.shows(&["▸Edit", "event 4 of 8"]);
    for (columns, rows) in [(60, 12), (30, 6), (160, 50), (100, 30)] {
        terminal.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
        // Until the picture is whole: tmux also shows one of which it has read a part.
        let (begun, mut screen) = (Instant::now(), String::new());
        while !is_whole(&screen, rows) {
            assert!(begun.elapsed() < PATIENCE, "{columns} × {rows}\n{screen}");
            thread::sleep(Duration::from_millis(20));
            screen = terminal.screen();
        }
        assert!(screen.lines().all(|line| line.chars().count() <= columns), "{screen}");
    }
    terminal.press(&["C-c"]);
    terminal.is_given_back();
}

#[test]
fn signals_give_the_terminal_back() {
    let host = Host::with(&story());
    let Some(terminal) = Terminal::open(&host) else { return };
    for signal in ["TERM", "INT", "HUP"] {
        terminal.replay("--speed 2");
        terminal.shows(&["×2", "▲"]);
        let shell = terminal.tmux(&["display", "-p", "#{pane_pid}"]);
        let script = format!("kill -{signal} $(pgrep -P {})", shell.trim());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        terminal.is_given_back();
        terminal.tmux(&["send-keys", "-l", "clear"]);
        terminal.press(&["Enter"]);
    }
}

#[test]
fn nothing_in_a_transcript_steers_the_terminal() {
    let mut title = record("user", 0, json!(EVIL));
    title["cwd"] = json!(format!("/srv/{EVIL}"));
    title["gitBranch"] = json!(EVIL);
    let story = [
        title,
        call(1, EVIL, EVIL, &json!({EVIL: EVIL, "command": EVIL})),
        result(2, EVIL, EVIL, true),
        call(
            3,
            "t",
            "Edit",
            &json!({"file_path": EVIL, "old_string": EVIL, "new_string": format!("{EVIL}\n{EVIL}")}),
        ),
        result(4, "t", &format!("{EVIL}\n\t{EVIL}"), false),
    ];
    let host = Host::with(&story);
    let Some(terminal) = Terminal::open(&host) else { return };
    let before = terminal.tmux(&["display", "-p", "#{pane_title}"]);
    terminal.replay("");
    terminal.shows(&["event 5 of 5", "▸Edit"]);
    terminal.press(&["Enter"]);
    terminal.shows(&["│ +a]52;c;"]);
    terminal.press(&["Left", "Enter"]);
    terminal.shows(&["event 2 of 5", "▾"]);
    terminal.press(&["Home", "Enter"]);
    terminal.shows(&["event 1 of 5"]);
    assert_eq!(terminal.tmux(&["display", "-p", "#{pane_title}"]), before);
    assert_eq!(terminal.tmux(&["show-buffer"]), "", "nothing was put on the clipboard");
    terminal.press(&["q"]);
    terminal.is_given_back();
    // The bytes themselves: no operating system command, no bell, no C1, no mark of direction.
    let written = String::from_utf8(fs::read(&terminal.written).unwrap()).unwrap();
    let marks = |c: char| matches!(c, '\u{7}' | '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    assert!(!written.contains("\u{1b}]") && !written.contains(marks));
}

#[test]
fn without_a_terminal_it_says_what_else_there_is() {
    let host = Host::with(&story());
    let out = rrd(&host.home, &["sessions", "replay", ID]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(out.status.code(), Some(64));
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains("needs a terminal")
            && said.contains(&format!("rrd sessions show {ID} --events")),
        "{said}"
    );
}
