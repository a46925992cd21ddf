//! `rrd hook HARNESS`: hands one call of a harness's hook to the daemon, or leaves it in the spool.
//!
//! The harness waits, may show what is printed to its model, and takes a failure for an answer. So
//! whatever happens, this is gone within its budget and exits 0, and it prints nothing on either side but
//! what the daemon gives it to tell, where a person has asked for that ([`tell`]). It
//! does not go through the command line's parser either, which would complain. Not here: what a call
//! means; only the daemon knows.

mod reduce;
mod spool;
mod tell;

use std::{
    ffi::OsString,
    io::{IsTerminal, Read},
    panic,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rrd_proto::{
    Harness, HookCall, HookProcess, HookTmux, TASK_VARIABLE, Timestamp, is_task,
    message::MessageCall,
};

use crate::{clock, connect, local};

/// A call's JSON is a few kilobytes, or as long as what a tool printed. What comes after is read, for
/// somebody writes it, and not looked at: what matters comes first.
const MAX_INPUT: usize = 2 << 20;

/// How long a harness is listened to that does not end, from its first word.
const HEARD: Duration = Duration::from_millis(16);
/// By when the daemon has it …
const SENT: Duration = Duration::from_millis(25);
/// … and nobody waits any longer for a pipe or a daemon that hangs: all of it counted from the start.
const LIMIT: Duration = Duration::from_millis(34);

/// By when a call has been heard and kept and what was told is noted, where the machine is too busy for it sooner: what
/// is said once must not be lost because nobody was run, here or at the other end of the pipe.
const LATE: Duration = Duration::from_millis(500);

/// A harness's name is a word.
const MAX_NAME: usize = 64;

/// The harness, if this process is called as its hook. `rrd hook` alone is, too, unless a person
/// types it and wants to be told how.
pub(crate) fn called(mut args: impl Iterator<Item = OsString>) -> Option<String> {
    if args.nth(1)? != "hook" {
        return None;
    }
    match args.next() {
        Some(harness) => {
            let harness = harness.to_string_lossy().into_owned();
            // Whoever asks for help gets it; a mistake in a harness's settings must not fail its hook.
            let asks = matches!(&*harness, "-h" | "--help")
                || (harness.starts_with('-') && std::io::stdin().is_terminal());
            let known = if harness.starts_with('-') { String::new() } else { harness };
            (!asks).then_some(known)
        }
        None => (!std::io::stdin().is_terminal()).then(String::new),
    }
}

/// Does it, as far as that is possible in time.
pub(crate) fn run(harness: &str) {
    let begun = Instant::now();
    if std::io::stdin().is_terminal() {
        return;
    }
    // A bug of ours is not the harness's business.
    panic::set_hook(Box::new(|_| {}));
    let known = !harness.is_empty() && harness.len() <= MAX_NAME;
    let harness = known.then(|| Harness::from(harness));
    let (done, passed_on) = channel();
    let (ended, listened) = channel();
    let (chunks, heard) = channel();
    // Each may hang, and is left behind then: a pipe nobody closes, a disk that is gone.
    let _ = thread::Builder::new().spawn(move || {
        listen(&chunks);
        drop(chunks);
        let _ = ended.send(());
    });
    let _ = thread::Builder::new().spawn(move || {
        if let Some(harness) = harness {
            pass_on(harness, &heard, begun);
        }
        let _ = done.send(());
    });
    if passed_on.recv_timeout(LATE.saturating_sub(begun.elapsed())).is_ok() {
        let _ = listened.recv_timeout(LIMIT.saturating_sub(begun.elapsed()));
    }
}

/// Reads to the end, for whoever writes would else find nobody listening; keeps the beginning.
fn listen(chunks: &Sender<Vec<u8>>) {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; 64 << 10];
    let mut kept = 0;
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                let keep = n.min(MAX_INPUT - kept);
                kept += keep;
                if keep > 0 && chunks.send(buffer[..keep].to_vec()).is_err() {
                    // Whoever keeps it has enough.
                    kept = MAX_INPUT;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn pass_on(harness: Harness, heard: &Receiver<Vec<u8>>, begun: Instant) {
    let at = clock::now();
    let until = |latest: Duration| latest.saturating_sub(begun.elapsed());
    let Ok(mut input) = heard.recv_timeout(until(LATE)) else { return };
    let latest = begun.elapsed() + HEARD;
    // Some never close the pipe: what they have said by then is looked at all the same.
    while input.len() < MAX_INPUT
        && let Ok(chunk) = heard.recv_timeout(until(latest))
    {
        input.extend(chunk);
    }
    let Some(payload) = reduce::reduce(&input) else { return };
    let Some(dirs) = local::dirs() else { return };
    let call = call(harness, at, payload);
    let left = || until(SENT);
    let connection = connect::dial_within(&dirs.socket, left()).ok();
    let connection = connection.filter(|connection| connection.hook(&call, left()).is_ok());
    let Some(connection) = connection else {
        let _ = spool::leave(&dirs.state, &local::edges(&dirs).spooled(call));
        return;
    };
    let ask = |asked: &MessageCall| connection.message_within(asked, left());
    tell::tell(&call, &dirs.state, begun + SENT, ask);
}

fn call(harness: Harness, at: Timestamp, payload: String) -> HookCall {
    let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // Its variables are in the environment of everything that it runs, other harnesses too.
    let of_claude = |name| (harness == Harness::ClaudeCode).then(|| text(name)).flatten();
    let pid = of_claude("CLAUDE_PID").and_then(|pid| pid.parse().ok());
    let process = pid.map(|pid| HookProcess { pid, domain: local::pid_domain() });
    let unattended = of_claude("CLAUDE_CODE_ENTRYPOINT").is_some_and(|how| how == "sdk-cli");
    let socket = |tmux: String| tmux.split(',').next().map(str::to_owned);
    let tmux = match (text("TMUX").and_then(socket), text("TMUX_PANE")) {
        (Some(socket), Some(pane)) => Some(HookTmux { socket, pane }),
        _ => None,
    };
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = nanos.map_or(0, |since| since.as_nanos() as u64);
    // Two calls at once are two processes.
    let id = (nanos ^ (u64::from(std::process::id()) << 40)).max(1);
    let task = text(TASK_VARIABLE).filter(|task| is_task(task));
    HookCall { id, harness, at, payload, unattended, process, tmux, task }
}
