//! The process table: is this pid there, and is it still the process that took it?
//!
//! Pids are reused, so a pid counts only together with its start time, in the operating system's own
//! spelling as harnesses record it. Where that cannot be had the answer is *unknown*, not *dead*.

use std::{fmt, fs, sync::Arc};

/// What the process table says of a pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    /// There, started then.
    Started(String),
    /// Not there.
    Gone,
    /// Cannot be told here.
    Unknown,
}

/// Looking a pid up takes a system call here, and not a program: whoever asks can wait for it.
pub(crate) const IS_CHEAP: bool = !cfg!(target_os = "macos");

/// The process table that sessions are judged by: this machine's, or one that a test makes up to play
/// a recording back in which processes of another day live and die.
#[derive(Clone)]
pub struct ProcessTable {
    process: Arc<dyn Fn(u32) -> Process + Send + Sync>,
    domain: Option<String>,
}

impl ProcessTable {
    /// This machine's.
    #[must_use]
    pub fn system() -> Self {
        Self { process: Arc::new(process), domain: pid_domain() }
    }

    /// One that answers by itself; `domain` is where its pids mean something, spelt as in a registry.
    #[must_use]
    pub fn scripted(
        domain: Option<String>,
        process: impl Fn(u32) -> Process + Send + Sync + 'static,
    ) -> Self {
        Self { process: Arc::new(process), domain }
    }

    /// Looks a pid up.
    pub(crate) fn process(&self, pid: u32) -> Process {
        (self.process)(pid)
    }

    /// Where its pids mean something; `None` where that is not known, then it is not compared.
    pub(crate) fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}

impl fmt::Debug for ProcessTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessTable").field("domain", &self.domain).finish_non_exhaustive()
    }
}

#[cfg(target_os = "linux")]
fn process(pid: u32) -> Process {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parse_stat(&stat),
        Err(e)
            if e.kind() == std::io::ErrorKind::NotFound
                && fs::metadata("/proc/self/stat").is_ok() =>
        {
            Process::Gone
        }
        Err(_) => Process::Unknown,
    }
}

/// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot. The name in field 2 may hold anything,
/// so fields are counted from its closing parenthesis.
#[cfg(target_os = "linux")]
fn parse_stat(stat: &str) -> Process {
    let mut fields =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
    let state = fields.next();
    match (state, fields.nth(18)) {
        // A zombie does nothing any more; only its parent has not noticed.
        (Some("Z" | "X"), _) => Process::Gone,
        (_, Some(start)) => Process::Started(start.to_owned()),
        (_, None) => Process::Unknown,
    }
}

/// As Claude Code records it on macOS: `ps`'s `lstart` in the C locale and UTC.
#[cfg(target_os = "macos")]
fn process(pid: u32) -> Process {
    let output = std::process::Command::new("/bin/ps")
        .args(["-o", "lstart=", "-p", &pid.to_string()])
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output();
    match output {
        Ok(output) => match String::from_utf8_lossy(&output.stdout).trim() {
            "" => Process::Gone,
            start => Process::Started(start.to_owned()),
        },
        Err(_) => Process::Unknown,
    }
}

/// How harnesses spell start times elsewhere has not been seen.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn process(_pid: u32) -> Process {
    Process::Unknown
}

/// The process that started `pid`, where the process table tells.
#[cfg(target_os = "linux")]
fn parent(pid: u32) -> Option<u32> {
    parse_parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 4 of `/proc/<pid>/stat`, counted as in [`parse_stat`].
#[cfg(target_os = "linux")]
fn parse_parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(all(unix, not(target_os = "linux")))]
fn parent(pid: u32) -> Option<u32> {
    let output = std::process::Command::new("/bin/ps")
        .args(["-o", "ppid=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// Nothing in the standard library tells it there.
#[cfg(not(unix))]
fn parent(_pid: u32) -> Option<u32> {
    None
}

/// The processes that this one runs in, the nearest first; empty where the process table does not tell.
#[must_use]
pub fn ancestors() -> Vec<u32> {
    /// Deeper than shells and harnesses start each other; a table that changes meanwhile may have a ring.
    const MOST: usize = 32;
    std::iter::successors(parent(std::process::id()), |pid| parent(*pid))
        .take_while(|pid| *pid > 0)
        .take(MOST)
        .collect()
}

/// Where our pids mean something, spelt as Claude Code does: machine and pid namespace. `None` where
/// that spelling is not known; then a registry entry's own is not compared.
#[must_use]
pub fn pid_domain() -> Option<String> {
    let machine = fs::read_to_string("/etc/machine-id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("linux:{}:{}", machine.trim(), namespace.display()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_field_22_whatever_the_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 72155 20";
        assert_eq!(parse_stat(&format!("7 (a) b (c)) {rest}")), Process::Started("72155".into()));
        assert_eq!(parse_stat(&format!("7 (x) {}", rest.replace('S', "Z"))), Process::Gone);
        assert_eq!(parse_stat("garbage"), Process::Unknown);
        assert_eq!(parse_parent(&format!("7 (a) b (c)) {rest}")), Some(1));
        assert_eq!(parse_parent("garbage"), None);
    }

    #[test]
    fn we_are_there_and_pid_zero_is_not() {
        assert!(matches!(process(std::process::id()), Process::Started(_)));
        assert_eq!(process(0), Process::Gone);
    }

    #[test]
    fn we_run_in_who_started_us() {
        assert_eq!(ancestors().first(), Some(&std::os::unix::process::parent_id()));
    }
}
