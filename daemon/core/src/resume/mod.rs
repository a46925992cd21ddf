//! Resuming a session on another host: where a harness looks for a transcript, which command goes on with
//! it, whether it may be done, and what is different there.
//!
//! Sources are what was observed of Claude Code 2.1.197 and 2.1.329 and of Codex 0.98 and 0.169; what is not
//! certain says so where it stands. Names that come from another host are taken apart and put together anew,
//! never joined to a path as they are. Not here: reading and writing files, hosts, git.

mod base;
mod bucket;
mod facts;
mod fork;
mod names;
mod thinking;
mod verdict;

use rrd_proto::Harness;

pub use base::{Base, End, beginning_to, ordinal, wherever};
pub use bucket::called;
pub(crate) use facts::place;
pub use facts::{Checkout, Header, Saw, cwd_of, facts, same_remote, thread_cwd_of, works_in};
pub use fork::Fork;
pub use names::{Layout, Rollout, directory, may_be_above};
pub use thinking::Unsigned;
pub use verdict::{Wish, doubt, may};

/// Why something is not done, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct No {
    /// In one sentence.
    pub why: String,
    /// The next step.
    pub next: String,
}

impl No {
    pub(crate) fn new(why: impl Into<String>, next: impl Into<String>) -> Self {
        Self { why: why.into(), next: next.into() }
    }
}

/// What to do with a session that only its own harness can go on with.
const IN_ITSELF: &str = "on its own host go on with it in the harness itself; elsewhere rrd sessions export ID --format md \
    gives a text to begin a new one with";

/// How the harness keeps its transcripts, where one can be handed to it.
///
/// # Errors
/// [`No`] for harnesses that take none.
pub fn layout(harness: &Harness) -> Result<Layout, No> {
    match harness.as_str() {
        "claude-code" => Ok(Layout::ClaudeCode),
        "codex" => Ok(Layout::Codex),
        // Its database holds keys to models, too, and before that its files had an index; what is written past the
        // harness would be a forgery of its own bookkeeping (windows, leases), and no import of a session is
        // documented.
        "openclaw" => Err(No::new(
            "rrd cannot resume sessions of OpenClaw: it keeps books of them (in a database, or an index of its \
             files) in which nobody else writes",
            IN_ITSELF,
        )),
        "hermes" => Err(No::new(
            "rrd cannot resume sessions of Hermes: it keeps them in a database",
            IN_ITSELF,
        )),
        other => Err(No::new(
            format!("rrd does not know how {other} goes on with a session"),
            "rrd sessions export ID --format md gives a text to begin a new one with",
        )),
    }
}

/// The harness's own command that goes on with a session, word by word; `own_fork` has it begin another one
/// with the same past, where it has a flag for that.
///
/// `named` is what [`named`] says. `--fork-session` makes a new file with a new id. `codex resume ID` was seen in
/// 0.98 and 0.169; of a flag to fork nothing is known.
///
/// `moves_to` is the directory in which it goes on, where it was last in another one. In its terminal Codex 0.169 takes
/// a thread's own directory for the better one, also one that is not there; with `-C` it goes on in that.
#[must_use]
pub fn command(layout: Layout, named: &str, own_fork: bool, moves_to: Option<&str>) -> Vec<String> {
    let words: &[&str] = match (layout, own_fork, moves_to) {
        (Layout::ClaudeCode, true, _) => &["claude", "--resume", named, "--fork-session"],
        (Layout::ClaudeCode, false, _) => &["claude", "--resume", named],
        (Layout::Codex, _, Some(directory)) => &["codex", "resume", "-C", directory, named],
        (Layout::Codex, _, None) => &["codex", "resume", named],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What a session is called in its harness's command: its id where the harness finds that from `cwd`, which is a
/// real path, else `transcript`, its path.
///
/// Claude Code 2.1.197 looks for an id only in the folder of the directory that it is started in, 2.1.329 in all
/// folders. Both take the path of a transcript instead, from wherever, and go on writing there under the same id
/// (all seen, also with `-p` and `--fork-session`). Codex finds a thread everywhere.
#[must_use]
pub fn named<'a>(layout: Layout, id: &'a str, transcript: &'a str, cwd: &str) -> &'a str {
    let folder = transcript.rsplit(['/', '\\']).nth(1);
    match layout {
        Layout::ClaudeCode if folder != Some(&directory(cwd)) => transcript,
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_no_transcript_says_why_and_what_instead() {
        assert_eq!(layout(&Harness::ClaudeCode), Ok(Layout::ClaudeCode));
        assert_eq!(layout(&Harness::from("codex")), Ok(Layout::Codex));
        for name in ["openclaw", "hermes", "pi", "tomorrow's"] {
            let no = layout(&Harness::from(name)).unwrap_err();
            assert!(!no.why.is_empty() && no.next.contains("rrd sessions export"), "{name}");
            // Also of one of this very host.
            assert!(!no.why.contains("elsewhere"), "{no:?}");
        }
    }

    #[test]
    fn where_its_harness_does_not_look_a_session_is_named_by_its_path() {
        let path = "/h/.claude/projects/-w-a/7f2c.jsonl";
        let claude = |path, cwd| named(Layout::ClaudeCode, "7f2c", path, cwd);
        assert_eq!((claude(path, "/w/a"), claude(path, "/w.a")), ("7f2c", "7f2c"));
        for cwd in ["/w", "/w/a/sub", "/w/b"] {
            assert_eq!(claude(path, cwd), path);
        }
        assert_eq!(claude(r"C:\h\.claude\projects\C--w\7f2c.jsonl", r"C:\w"), "7f2c");
        assert_eq!(named(Layout::Codex, "7f2c", path, "/w/b"), "7f2c");
    }

    #[test]
    fn commands_are_the_harnesses_own() {
        let line = |layout, fork| command(layout, "7f2c", fork, None).join(" ");
        assert_eq!(line(Layout::ClaudeCode, false), "claude --resume 7f2c");
        assert_eq!(line(Layout::ClaudeCode, true), "claude --resume 7f2c --fork-session");
        assert_eq!(line(Layout::Codex, false), "codex resume 7f2c");
        let moved = |layout| command(layout, "7f2c", false, Some("/w/b")).join(" ");
        assert_eq!(moved(Layout::Codex), "codex resume -C /w/b 7f2c");
        assert_eq!(moved(Layout::ClaudeCode), "claude --resume 7f2c");
    }
}
