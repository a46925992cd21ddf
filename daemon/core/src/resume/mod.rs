//! Resuming a session on another host: where a harness looks for a transcript, which command goes on with
//! it, whether it may be done, and what is different there.
//!
//! Sources are what was observed of Claude Code 2.1.197 and 2.1.329 and of Codex 0.98 and 0.169; what is not
//! certain says so where it stands. Names that come from another host are taken apart and put together anew,
//! never joined to a path as they are. Not here: reading and writing files, hosts, git.

mod bucket;
mod facts;
mod fork;
mod names;
mod thinking;
mod verdict;

use rrd_proto::Harness;

pub use bucket::called;
pub(crate) use facts::place;
pub use facts::{Checkout, Header, Saw, facts, same_remote};
pub use fork::Fork;
pub use names::{Layout, Rollout, directory};
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
        // The same database holds keys to models; rows written past the harness would be a forgery of its
        // own bookkeeping (windows, leases), and no import of a session is documented.
        "openclaw" => Err(No::new(
            "rrd cannot resume sessions of OpenClaw: it keeps them in a database together with its keys",
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
/// Claude Code finds a session by its id from whatever directory it is started in and goes on writing where
/// the file lies (seen in 2.1.197 and 2.1.329); `--fork-session` makes a new file with a new id. `codex resume
/// ID` was seen in 0.98 and 0.169; of a flag to fork nothing is known.
#[must_use]
pub fn command(layout: Layout, id: &str, own_fork: bool) -> Vec<String> {
    let words: &[&str] = match (layout, own_fork) {
        (Layout::ClaudeCode, true) => &["claude", "--resume", id, "--fork-session"],
        (Layout::ClaudeCode, false) => &["claude", "--resume", id],
        (Layout::Codex, _) => &["codex", "resume", id],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
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
    fn commands_are_the_harnesses_own() {
        let line = |layout, fork| command(layout, "7f2c", fork).join(" ");
        assert_eq!(line(Layout::ClaudeCode, false), "claude --resume 7f2c");
        assert_eq!(line(Layout::ClaudeCode, true), "claude --resume 7f2c --fork-session");
        assert_eq!(line(Layout::Codex, false), "codex resume 7f2c");
    }
}
