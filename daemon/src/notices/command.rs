//! Runs a program that tells a person something: by its words, never through a shell, and for some seconds.
//!
//! On Unix it has a process group of its own, and when its time is over or the daemon stops, the group is killed.
//! On Windows the program is. Not here: which program, and with what.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

/// How often it is looked whether it is done.
const LOOK: Duration = Duration::from_millis(20);

/// Of what it says on stderr no more is read.
const MOST: u64 = 2 << 10;

/// Whoever keeps its stderr open after it is waited for no longer.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What is run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// The program and its words.
    pub(super) argv: Vec<String>,
    /// Beside this process's environment.
    pub(super) environment: Vec<(&'static str, String)>,
    /// What it finds on its stdin.
    pub(super) input: Vec<u8>,
    /// What it may take.
    pub(super) within: Duration,
}

/// Runs it to its end. Blocks.
///
/// # Errors
/// Why it did not do what it was to do; what it said is not redacted.
pub(super) fn run(run: Run, stop: &CancellationToken) -> Result<(), String> {
    let Run { argv, environment, input, within } = run;
    let (program, words) = argv.split_first().ok_or("no program is named")?;
    let mut command = Command::new(program);
    command.args(words).envs(environment);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    #[cfg(windows)]
    {
        // CREATE_NO_WINDOW: nothing flickers where the daemon has no console.
        std::os::windows::process::CommandExt::creation_flags(&mut command, 0x0800_0000);
    }
    let mut child = command.spawn().map_err(|error| format!("{program} cannot be run: {error}"))?;
    let stdin = child.stdin.take();
    // It need not read: then this ends when it does.
    let feeding = thread::Builder::new().name("rrd-notify".into()).spawn(move || {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(&input);
        }
    });
    feeding.map_err(|error| format!("no thread: {error}")).inspect_err(|_| kill(&mut child))?;
    let said = last_words(&mut child);
    let deadline = Instant::now() + within;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let said = said.recv_timeout(LAST_WORDS).unwrap_or_default();
                let said = said.trim();
                let how = match status.code() {
                    Some(code) => format!("exited with {code}"),
                    None => "was killed".to_owned(),
                };
                let says = if said.is_empty() { String::new() } else { format!(": {said}") };
                return Err(format!("{program} {how}{says}"));
            }
            Ok(None) if Instant::now() >= deadline => {
                kill(&mut child);
                let seconds = within.as_secs();
                return Err(format!("{program} was not done after {seconds} s, and was ended"));
            }
            Ok(None) if stop.is_cancelled() => {
                kill(&mut child);
                return Err("the daemon stops".to_owned());
            }
            Ok(None) => thread::sleep(LOOK),
            Err(error) => {
                kill(&mut child);
                return Err(format!("{program} is lost: {error}"));
            }
        }
    }
}

/// The beginning of what it says on stderr; the rest is read, so that it is not held up.
fn last_words(child: &mut Child) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    if let Some(mut stderr) = child.stderr.take() {
        let reading = thread::Builder::new().name("rrd-notify".into());
        let _ = reading.spawn(move || {
            let mut said = Vec::new();
            let _ = (&mut stderr).take(MOST).read_to_end(&mut said);
            let _ = tell.send(String::from_utf8_lossy(&said).into_owned());
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        });
    }
    told
}

fn kill(child: &mut Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process_group};
        // It has not been waited for, so its number is still its own.
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn of(script: &str, within: Duration) -> Run {
        Run {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            environment: vec![("RRD_NOTICE_TITLE", "a; rm -rf $(b)".to_owned())],
            input: b"{}".repeat(100_000),
            within,
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_fails_says_so_and_who_does_not_read_holds_up_nobody() {
        let stop = CancellationToken::new();
        assert_eq!(run(of("exit 0", LONG), &stop), Ok(()));
        assert_eq!(run(of("cat >/dev/null", LONG), &stop), Ok(()));
        let failed = run(of("echo no such thing >&2; exit 3", LONG), &stop).unwrap_err();
        assert_eq!(failed, "/bin/sh exited with 3: no such thing");
        let much = run(of("yes | head -c 9000000 >&2; exit 1", LONG), &stop);
        assert!(much.unwrap_err().len() < 3_000);
        let nothing = Run { argv: vec!["/nowhere/x".to_owned()], ..of("", LONG) };
        assert!(run(nothing, &stop).unwrap_err().contains("/nowhere/x cannot be run"));
        let said = run(of("printf %s \"$RRD_NOTICE_TITLE\" >&2; exit 1", LONG), &stop).unwrap_err();
        assert!(said.ends_with("a; rm -rf $(b)"), "{said}");
    }

    #[test]
    fn when_its_time_is_over_its_whole_group_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!("sleep 300 & echo $! >{p}.x; mv {p}.x {p}; wait", p = pids.display());
        let begun = Instant::now();
        let late = run(of(&script, Duration::from_secs(2)), &CancellationToken::new());
        assert!(late.unwrap_err().contains("not done after 2 s"));
        assert!(begun.elapsed() < Duration::from_secs(30));
        let child: i32 = std::fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(child).unwrap();
        let is_there = || {
            // A zombie that nobody has waited for yet is no process that runs.
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            rustix::process::test_kill_process(pid).is_ok() && !stat.contains(") Z ")
        };
        while is_there() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it still runs");
            thread::sleep(LOOK);
        }
        // The daemon stops.
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(run(of("sleep 300", LONG), &stop), Err("the daemon stops".to_owned()));
    }
}
