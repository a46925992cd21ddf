//! What a session saw of its repository, compared with the clone in which it is to go on: in words.
//!
//! Nothing of this forbids anything; whoever resumes is told. What is not known is not compared. Not here:
//! running git, and who knows what.

use super::Base;
use crate::repo::strip_credentials;

/// What is known of what the session worked in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saw {
    /// Where it was started, on its host.
    pub cwd: Option<String>,
    /// The branch that it logged.
    pub branch: Option<String>,
    /// The commit at its start, where its harness writes that down (Codex does, Claude Code does not).
    pub head: Option<String>,
    /// The remote, without credentials.
    pub remote: Option<String>,
}

/// What is here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkout {
    /// The directory in which it goes on.
    pub cwd: String,
    /// The branch that is checked out; `None` where there is none or git could not be asked.
    pub branch: Option<String>,
    /// The commit that is checked out.
    pub head: Option<String>,
    /// The remote, without credentials.
    pub remote: Option<String>,
    /// Files that are changed and not committed; `None` where git could not be asked.
    pub changed: Option<u64>,
}

/// The directory that a record says it was made in.
#[must_use]
pub fn cwd_of(line: &[u8]) -> Option<String> {
    /// Claude Code's records have it in themselves, Codex's in their payload.
    #[derive(serde::Deserialize)]
    struct Made {
        cwd: Option<String>,
        payload: Option<Box<Self>>,
    }
    memchr::memmem::find(line, b"\"cwd\"")?;
    let made: Made = serde_json::from_slice(line).ok()?;
    made.cwd.or_else(|| made.payload?.cwd).filter(|cwd| !cwd.is_empty())
}

/// The directory of a thread of Codex from this record on: its turns say that, and its first line. What a command was
/// run in is another thing.
#[must_use]
pub fn thread_cwd_of(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    memchr::memmem::find(line, b"\"cwd\"")?;
    let Kind { kind } = serde_json::from_slice(line).ok()?;
    matches!(&*kind, "turn_context" | "session_meta").then(|| cwd_of(line))?
}

/// The directory in which its session works from this record on, whichever harness wrote it.
#[must_use]
pub fn works_in(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Record {
        cwd: Option<String>,
    }
    memchr::memmem::find(line, b"\"cwd\"")?;
    let own = serde_json::from_slice::<Record>(line).ok()?.cwd.filter(|cwd| !cwd.is_empty());
    own.or_else(|| thread_cwd_of(line))
}

/// Letters of a commit that are shown.
const SHORT: usize = 10;

/// Each difference, and what is the same where that matters, in a sentence each.
#[must_use]
pub fn facts(saw: &Saw, has: &Checkout) -> Vec<String> {
    let mut said = Vec::new();
    let mut says = |text: String| said.push(text);
    if let Some(cwd) = saw.cwd.as_ref().filter(|cwd| **cwd != has.cwd) {
        says(format!("it was started in {cwd} and goes on in {}", has.cwd));
    }
    match (&saw.remote, &has.remote) {
        (Some(saw), Some(has)) if !same_remote(saw, has) => {
            says(format!("its repository came from {saw}, the one here from {has}"));
        }
        (Some(saw), None) => {
            says(format!("its repository came from {saw}; here is none with a remote"))
        }
        _ => {}
    }
    // Claude Code says HEAD where there is no branch, or no repository.
    let saw_branch = saw.branch.as_ref().filter(|branch| *branch != "HEAD");
    match (saw_branch, &has.branch) {
        (Some(saw), Some(has)) if saw != has => {
            says(format!("it was on branch {saw}, here is {has}"))
        }
        (Some(saw), Some(_)) => says(format!("branch {saw}, as it saw it")),
        (Some(saw), None) => says(format!("it was on branch {saw}, here is none checked out")),
        (None, _) => {}
    }
    match (&saw.head, &has.head) {
        (Some(saw), Some(has)) if saw != has => {
            says(format!("it began at commit {}, here is {}", short(saw), short(has)));
        }
        (Some(saw), None) => says(format!("it began at commit {}", short(saw))),
        (None, Some(has)) => {
            says(format!("which commit it saw is not written down; here is {}", short(has)));
        }
        _ => {}
    }
    match has.changed {
        Some(0) | None => {}
        Some(1) => says("one file here is changed and not committed".to_owned()),
        Some(count) => says(format!("{count} files here are changed and not committed")),
    }
    said
}

/// What the first line of a rollout tells that matters where it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The commit at its start.
    pub head: Option<String>,
    /// Where its beginning lies: a fork of 0.169 copies nothing of it.
    pub base: Option<Base>,
}

impl Header {
    /// Reads Codex's `session_meta`; of any other line nothing.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        let Ok(record) = serde_json::from_slice::<serde_json::Value>(line) else {
            return Self::default();
        };
        if record["type"] != "session_meta" {
            return Self::default();
        }
        let text = |place: &str| record.pointer(place).and_then(|v| v.as_str()).map(str::to_owned);
        Self { head: text("/payload/git/commit_hash"), base: Base::of(&record) }
    }
}

fn short(commit: &str) -> &str {
    commit.get(..SHORT).unwrap_or(commit)
}

/// Whether two remotes are the same repository, however each is reached: `git@host:a/b.git`,
/// `https://host/a/b` and `ssh://git@host:22/a/b` are. Hosts' names are compared without case, paths with.
#[must_use]
pub fn same_remote(a: &str, b: &str) -> bool {
    let (a, b) = (place(a), place(b));
    a.is_some() && a == b
}

/// The host, if there is one, and the path: the same however it is reached.
pub(crate) fn place(remote: &str) -> Option<(String, String)> {
    let clean = strip_credentials(remote.trim());
    let (host, path) = match clean.split_once("://") {
        Some(("file", path)) => (String::new(), path),
        Some((_, rest)) => {
            let (host, path) = rest.split_once('/')?;
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            // The port says how, not what.
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            (host.to_lowercase(), path)
        }
        None if clean.starts_with(['/', '.', '~']) => (String::new(), &*clean),
        None => match clean.split_once(':') {
            // A drive of Windows is no host.
            Some((host, path)) if host.len() > 1 => {
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                (host.to_lowercase(), path)
            }
            _ => (String::new(), &*clean),
        },
    };
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let path = if host.is_empty() { path } else { path.trim_start_matches('/') };
    (!path.is_empty()).then(|| (host, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{super::End, *};

    #[test]
    fn only_its_turns_and_its_first_line_say_where_a_thread_is() {
        let of = |kind: &str| {
            let line = format!("{{\"type\":\"{kind}\",\"payload\":{{\"cwd\":\"/w/a\"}}}}");
            thread_cwd_of(line.as_bytes())
        };
        for kind in ["session_meta", "turn_context"] {
            assert_eq!(of(kind).as_deref(), Some("/w/a"));
        }
        assert_eq!(of("event_msg"), None);
        assert_eq!(thread_cwd_of(b"{\"type\":\"turn_context\",\"payload\":{}} \"cwd\""), None);
    }

    #[test]
    fn a_record_says_where_it_was_made() {
        for (line, cwd) in [
            (r#"{"type":"user","cwd":"/w/a b"}"#, Some("/w/a b")),
            (r#"{"type":"turn_context","payload":{"cwd":"/w"}}"#, Some("/w")),
            (r#"{"type":"user","message":{"content":"\"cwd\""}}"#, None),
            (r#"{"type":"x","payload":"cwd","cwd":3}"#, None),
            (r#"{"cwd":""}"#, None),
            (r#"{"cwd":"/torn"#, None),
        ] {
            assert_eq!(cwd_of(line.as_bytes()).as_deref(), cwd, "{line}");
        }
    }

    #[test]
    fn a_repository_is_the_same_however_it_is_reached() {
        for (a, b, same) in [
            ("git@github.com:a/b.git", "https://github.com/a/b", true),
            ("ssh://git@GitHub.com:22/a/b.git/", "https://github.com/a/b", true),
            ("https://x:token@github.com/a/b", "git@github.com:a/b", true),
            ("https://github.com/a/b", "https://github.com/a/B", false),
            ("https://github.com/a/b", "https://gitlab.com/a/b", false),
            ("/srv/git/b.git", "/srv/git/b", true),
            ("file:///srv/git/b.git", "/srv/git/b", true),
            ("/srv/git/b", "host:/srv/git/b", false),
            (r"C:\git\b", r"C:\git\b", true),
            ("", "", false),
            ("https://github.com", "https://github.com", false),
        ] {
            assert_eq!(same_remote(a, b), same, "{a} {b}");
            assert_eq!(same_remote(b, a), same, "{b} {a}");
        }
    }

    #[test]
    fn a_rollout_tells_its_commit_and_what_it_is_a_fork_of() {
        const ID: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";
        let line = format!(
            r#"{{"type":"session_meta","payload":{{"git":{{"commit_hash":"abc"}},"history_base":{{"thread_id":"{ID}"}}}}}}"#
        );
        let base = |end| Some(Base { thread: ID.to_owned(), end });
        let header = Header { head: Some("abc".to_owned()), base: base(None) };
        assert_eq!(Header::of(line.as_bytes()), header);
        let end = format!(r#"{ID}","end_ordinal_exclusive":4,"end_byte_offset":99"#);
        let line = line.replace(&format!("{ID}\""), &end);
        assert_eq!(Header::of(line.as_bytes()).base, base(Some(End { ordinal: 4, byte: 99 })));
        for line in [r#"{"type":"user"}"#, r#"{"type":"session_meta","payload":{}}"#, "{", ""] {
            assert_eq!(Header::of(line.as_bytes()), Header::default());
        }
    }

    #[test]
    fn what_differs_is_said_and_what_is_unknown_is_not_compared() {
        let some = |text: &str| Some(text.to_owned());
        let saw = Saw {
            cwd: some("/home/a/rrd"),
            branch: some("feat"),
            head: some("0123456789abcdef"),
            remote: some("git@h:a/rrd.git"),
        };
        let same = Checkout {
            cwd: "/home/a/rrd".to_owned(),
            branch: some("feat"),
            head: some("0123456789abcdef"),
            remote: some("https://h/a/rrd"),
            changed: Some(0),
        };
        assert_eq!(facts(&saw, &same), ["branch feat, as it saw it"]);
        let other = Checkout {
            cwd: "/Users/b/rrd".to_owned(),
            branch: some("main"),
            head: some("fedcba9876543210"),
            remote: some("https://h/b/rrd"),
            changed: Some(3),
        };
        assert_eq!(
            facts(&saw, &other),
            [
                "it was started in /home/a/rrd and goes on in /Users/b/rrd",
                "its repository came from git@h:a/rrd.git, the one here from https://h/b/rrd",
                "it was on branch feat, here is main",
                "it began at commit 0123456789, here is fedcba9876",
                "3 files here are changed and not committed",
            ]
        );
        let unknown = Saw { branch: some("HEAD"), ..Saw::default() };
        let said = facts(&unknown, &other);
        let commit = "which commit it saw is not written down; here is fedcba9876";
        assert_eq!(said, [commit, "3 files here are changed and not committed"]);
        assert_eq!(facts(&Saw::default(), &Checkout::default()), Vec::<String>::new());
    }
}
