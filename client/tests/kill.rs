//! The real daemon as a process: killed at random moments, started twice, and on a full disk.
//!
//! While transcripts grow, the daemon is killed (SIGKILL) again and again; in the end its list and its
//! index must hold every record once. Not here: what it makes of damaged transcripts (`torture` in the
//! daemon).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rrd_daemon::store::Reader;
use rrd_proto::{Event, EventKind, Harness, Session, SessionKey};
use tempfile::TempDir;

/// Long enough that only what never comes fails.
const NEVER: Duration = Duration::from_secs(30);

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("rrd/state")
    }

    fn rrd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
        self.own(command.args(args));
        command
    }

    fn own(&self, command: &mut Command) {
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("RRD_HOME", self.0.path().join("rrd"))
            .env("RRD_HTTP", "off")
            .env("RRD_LOG", "warn")
            .stdin(Stdio::null());
    }

    /// A daemon that answers.
    fn daemon(&self) -> Running {
        Running::wait_for(self.starting())
    }

    /// A daemon that may not have got anywhere yet.
    fn starting(&self) -> Running {
        Running(self.rrd(&["daemon"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn list(&self) -> Vec<Session> {
        let out = self.rrd(&["sessions", "list", "--all", "--json"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    fn status(&self) -> String {
        let out = self.rrd(&["status"]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    /// Waits until the list has all of these prompts, and nothing else.
    fn wait_for(&self, transcripts: &[Transcript]) {
        let want: Vec<_> = transcripts.iter().map(|t| (t.key(), Some(t.prompts))).collect();
        eventually("the list to be what was written", || {
            let rows = self.list();
            let got: Vec<_> =
                rows.iter().map(|s| (s.key(), s.counts.map(|counts| counts.prompts))).collect();
            let same = got.len() == want.len() && want.iter().all(|row| got.contains(row));
            if same { Ok(()) } else { Err(format!("{got:?}\nwritten {want:?}")) }
        });
    }

    /// Every record is in the index once, in order, numbered without a gap, with all that it says.
    fn check_events(&self, transcripts: &[Transcript]) {
        let reader = Reader::open(&self.state()).unwrap();
        for transcript in transcripts {
            let key = transcript.key();
            let mut events = reader.events(&key, None, u32::MAX).unwrap();
            reader.add_bodies(&key, &mut events, usize::MAX, false).unwrap();
            let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
            assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
            let prompts = events.iter().filter(|event| event.kind == EventKind::Prompt);
            let said = |event: &Event| event.body.as_ref().map(|body| body.text.clone());
            let got: Vec<_> = prompts.map(said).collect();
            let want: Vec<_> =
                (0..transcript.prompts).map(|n| Some(format!("prompt {n}\nline {n}"))).collect();
            assert_eq!(got, want, "{}", transcript.key());
        }
    }
}

fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        match check() {
            Ok(found) => return found,
            Err(why) if since.elapsed() > NEVER => panic!("waited for {what}: {why}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A daemon that does not outlive its test.
struct Running(Child);

impl Running {
    fn wait_for(mut starting: Self) -> Self {
        let mut said = String::new();
        BufReader::new(starting.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("its socket is"), "{said}");
        starting
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn stop(mut self) -> ExitStatus {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        eventually("the daemon to stop", || self.0.try_wait().unwrap().ok_or("it runs".to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Transcript {
    harness: &'static str,
    id: String,
    path: PathBuf,
    prompts: u64,
}

impl Transcript {
    fn new(home: &Home, harness: &'static str, n: u8) -> Self {
        let id = format!("01a1f88d-5e35-7ca1-835f-bf472c0191{n:02x}");
        let path = match harness {
            "codex" => format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-00-00-{id}.jsonl"),
            _ => format!(".claude/projects/-w/{id}.jsonl"),
        };
        let path = home.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        Self { harness, id, path, prompts: 0 }
    }

    fn key(&self) -> SessionKey {
        SessionKey { harness: Harness::from(self.harness), session_id: self.id.clone() }
    }

    /// One more prompt's record, with its newline.
    fn next(&mut self, padding: usize) -> String {
        let (id, n) = (&self.id, self.prompts);
        self.prompts += 1;
        let at = format!("2026-11-20T{:02}:{:02}:{:02}.000Z", n / 3600 % 24, n / 60 % 60, n % 60);
        let padding = "x".repeat(padding);
        if self.harness == "codex" {
            return format!(
                "{{\"timestamp\":\"{at}\",\"type\":\"event_msg\",\"payload\":{{\"type\":\"user_message\",\
                 \"message\":\"prompt {n}\\nline {n}\",\"kind\":\"plain\"}},\"padding\":\"{padding}\"}}\n"
            );
        }
        format!(
            "{{\"parentUuid\":null,\"isSidechain\":false,\"type\":\"user\",\"uuid\":\"u-{id}-{n}\",\
             \"timestamp\":\"{at}\",\"promptSource\":\"typed\",\"cwd\":\"/w\",\"sessionId\":\"{id}\",\
             \"version\":\"2.1.329\",\"message\":{{\"role\":\"user\",\"content\":\"prompt {n}\\nline {n}\"}},\
             \"padding\":\"{padding}\"}}\n"
        )
    }

    fn append(&self, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// Appends so many records at once.
    fn write(&mut self, count: usize, padding: usize) {
        let lines: String = (0..count).map(|_| self.next(padding)).collect();
        self.append(lines.as_bytes());
    }
}

/// Numbers that are the same in every run of one seed (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Writes briskly, now and then a line in two halves, until told to end.
fn write_on(transcripts: &mut [Transcript], seed: u64, end: &AtomicBool) {
    let mut random = Random(seed);
    while !end.load(Ordering::Relaxed) {
        for transcript in &mut *transcripts {
            let line = transcript.next(usize::try_from(random.below(600)).unwrap());
            let half = usize::try_from(random.below(line.len() as u64)).unwrap();
            let (first, second) = line.as_bytes().split_at(half);
            if random.below(3) == 0 {
                transcript.append(first);
                thread::sleep(Duration::from_micros(random.below(3_000)));
                transcript.append(second);
            } else {
                transcript.append(line.as_bytes());
            }
        }
        // A brisk rate, not all that the disk can take.
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn killed_at_any_moment_it_loses_nothing_and_takes_nothing_twice() {
    let seed = std::env::var("RRD_KILL_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(0x5eed_1234);
    eprintln!("RRD_KILL_SEED={seed}");
    let kills = std::env::var("RRD_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    let home = Home::new();
    let mut transcripts: Vec<Transcript> = ["claude-code", "codex", "claude-code", "codex"]
        .into_iter()
        .zip(0..)
        .map(|(harness, n)| Transcript::new(&home, harness, n))
        .collect();
    // What the first kills meet is the first reading of these.
    let mut large = [Transcript::new(&home, "claude-code", 8), Transcript::new(&home, "codex", 9)];
    large[0].write(10_000, 1_000);
    large[1].write(6_000, 1_000);
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write_on(&mut transcripts, seed ^ 0xffff, &end));
        let mut random = Random(seed);
        for kill in 0..kills {
            // Some while it starts, some once it answers.
            let daemon = if kill % 3 == 0 { home.starting() } else { home.daemon() };
            thread::sleep(Duration::from_millis(random.below(250)));
            daemon.kill();
        }
        end.store(true, Ordering::Relaxed);
    });
    transcripts.extend(large);
    let daemon = home.daemon();
    home.wait_for(&transcripts);
    assert!(daemon.stop().success());
    home.check_events(&transcripts);
}

#[test]
fn the_second_daemon_says_who_was_first() {
    let home = Home::new();
    let first = home.daemon();
    let second = home.rrd(&["daemon"]).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success(), "{said}");
    assert!(said.contains(&format!("(pid {})", first.0.id())), "{said}");
    assert!(home.status().contains(&format!("pid {}", first.0.id())), "the first one answers on");
}

#[test]
fn a_restart_reads_nothing_that_has_not_changed() {
    let home = Home::new();
    let mut transcripts =
        [Transcript::new(&home, "claude-code", 1), Transcript::new(&home, "codex", 2)];
    for transcript in &mut transcripts {
        transcript.write(50, 100);
    }
    let daemon = home.daemon();
    home.wait_for(&transcripts);
    assert!(daemon.stop().success());
    // Other bytes, but nothing that a look from outside could tell: who reads them sees nothing there.
    for transcript in &transcripts {
        let before = fs::metadata(&transcript.path).unwrap();
        let mut file = File::options().write(true).open(&transcript.path).unwrap();
        file.write_all(&vec![b'\n'; usize::try_from(before.len()).unwrap()]).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
    }
    let daemon = home.daemon();
    home.wait_for(&transcripts);
    assert_eq!(home.list().iter().map(|session| session.issues.len()).sum::<usize>(), 0);
    assert!(daemon.stop().success());
    home.check_events(&transcripts);
}

/// A daemon whose index is on a disk of its own, seen by nobody else.
fn on_small_disk(home: &Home, kilobytes: u32) -> Option<Running> {
    let state = home.state();
    fs::create_dir_all(&state).unwrap();
    let script = format!(
        "mount -t tmpfs -o size={kilobytes}k,mode=700 none '{0}' || exit 77\n\
         head -c 3600000 /dev/zero > '{0}/filler'\nexec '{1}' daemon",
        state.display(),
        env!("CARGO_BIN_EXE_rrd"),
    );
    let mut command = Command::new("unshare");
    home.own(command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]));
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let mut starting = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?);
    let mut said = String::new();
    BufReader::new(starting.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    said.contains("its socket is").then_some(starting)
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost_by_it() {
    let home = Home::new();
    let mut transcripts =
        [Transcript::new(&home, "claude-code", 1), Transcript::new(&home, "codex", 2)];
    let Some(daemon) = on_small_disk(&home, 4_500) else {
        eprintln!("SKIPPED: no disk of a given size can be mounted here");
        return;
    };
    let mut random = Random(7);
    let full = || home.status().contains("cannot be written");
    eventually("the disk to be full", || {
        for transcript in &mut transcripts {
            transcript.write(100, usize::try_from(random.below(100)).unwrap());
        }
        if full() { Ok(()) } else { Err(home.status()) }
    });
    // It lives, and answers.
    assert_eq!(home.list().len(), 2);
    let reason = home.status();
    assert!(reason.contains("full") && reason.contains("df -h"), "{reason}");
    let inside = inside(&daemon, &home.state());
    fs::remove_file(inside.join("filler")).unwrap();
    home.wait_for(&transcripts);
    eventually(
        "the index to be written again",
        || if full() { Err(home.status()) } else { Ok(()) },
    );
    // Whoever asks for events is told of what is written only.
    for transcript in &transcripts {
        let n = transcript.prompts - 1;
        let last = format!("\"prompt {n} line {n}\"");
        eventually("the last record to be written", || {
            let id = transcript.key().session_id;
            let out =
                home.rrd(&["sessions", "tail", &id, "--limit", "1", "--json"]).output().unwrap();
            let said = String::from_utf8(out.stdout).unwrap();
            if said.contains(&last) { Ok(()) } else { Err(format!("{said} instead of {last}")) }
        });
    }
    // The disk goes with the daemon.
    let mut copied = false;
    for name in ["index.db", "index.db-wal"] {
        copied |= fs::copy(inside.join(name), home.state().join(name)).is_ok();
    }
    assert!(copied);
    home.check_events(&transcripts);
}

#[test]
fn a_full_disk_does_not_keep_it_from_ending() {
    let home = Home::new();
    let mut transcripts = [Transcript::new(&home, "claude-code", 1)];
    let Some(daemon) = on_small_disk(&home, 4_500) else {
        eprintln!("SKIPPED: no disk of a given size can be mounted here");
        return;
    };
    eventually("the disk to be full", || {
        transcripts[0].write(200, 0);
        let status = home.status();
        if status.contains("cannot be written") { Ok(()) } else { Err(status) }
    });
    assert!(daemon.stop().success());
    // What did not fit was not taken: the next one, with more room, reads it.
    let _daemon = home.daemon();
    home.wait_for(&transcripts);
}

/// A path as the daemon sees it.
fn inside(daemon: &Running, path: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", daemon.0.id(), path.display()))
}
