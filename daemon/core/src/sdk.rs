//! Sessions that programs made with the Claude Agent SDK store here (its `SessionStore`): what names one, where
//! its transcript lies, and which entries are taken.
//!
//! They lie as Claude Code's own do, `projects/<project>/<session>.jsonl` and beneath `<session>/` what else
//! belongs to it, so that whatever follows that harness follows them. A key comes from a program and may hold
//! anything: each part of it becomes one plain path segment, on every system the same, and no two keys become
//! one. Not here: files.

use std::{borrow::Cow, error::Error, fmt, str::from_utf8};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::mirror::{StreamName, name::unsegment};

/// A file's name has at most so many bytes, on every file system that matters.
const LONGEST_NAME: usize = 255;

/// What a transcript's name ends in.
const END: &str = ".jsonl";

/// Folders that a subpath may lead through.
const MAX_DEPTH: usize = 8;

/// So many hexadecimal digits at an id's end are there by chance: no two have the same.
const RANDOM_DIGITS: usize = 7;

/// Names that are devices on Windows, whatever they end in. (`COM¹` and the like are escaped anyway.)
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// What names one transcript.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    session_id: String,
    /// The project's folder and the session's, as they are called.
    folders: [String; 2],
    /// The subpath's segments, as they are called; none: the session's own transcript.
    below: Vec<String>,
}

/// Why something is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoKey {
    /// This part of it is empty.
    Empty(&'static str),
    /// This part of it is too long for a file's name.
    Long(&'static str),
    /// A subpath with `.` or `..` in it.
    Dots,
    /// A subpath of too many segments.
    Deep,
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(part) => write!(f, "{part} is empty, or a part of it is"),
            Self::Long(part) => write!(f, "{part} is too long for the name of a file"),
            Self::Dots => f.write_str("subpath leads through . or .."),
            Self::Deep => write!(f, "subpath has more than {MAX_DEPTH} segments"),
        }
    }
}

impl Key {
    /// Of what a program names; `subpath` is joined with `/`.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn new(project: &str, session: &str, subpath: Option<&str>) -> Result<Self, NoKey> {
        let folders = [folder("project", project)?, plain("session", session, false)?];
        let below = subpath.map_or(Ok(Vec::new()), below)?;
        Ok(Self { session_id: session.to_owned(), folders, below })
    }

    /// The session's own transcript.
    #[must_use]
    pub fn main(&self) -> Self {
        Self { below: Vec::new(), ..self.clone() }
    }

    /// The session whose own transcript lies there, wherever its home is.
    #[must_use]
    pub fn of_transcript(path: &str) -> Option<Self> {
        let path = path.replace('\\', "/");
        let mut parts = path.strip_suffix(END)?.rsplit('/').map(real);
        let (session, project) = (parts.next()?, parts.next()?);
        (parts.next()? == "projects").then_some(())?;
        Self::new(&project, &session, None).ok()
    }

    /// Another transcript of the session; `None` where that is no subpath.
    #[must_use]
    pub fn beside(&self, subpath: &str) -> Option<Self> {
        let below = below(subpath).ok()?;
        Some(Self { below, ..self.clone() })
    }

    /// True of the session's own transcript.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.below.is_empty()
    }

    /// What is beneath it belongs to the session: relative, joined with `/`.
    #[must_use]
    pub fn session_folder(&self) -> String {
        format!("projects/{}/{}", self.folders[0], self.folders[1])
    }

    /// The transcript: relative, joined with `/`.
    #[must_use]
    pub fn transcript(&self) -> String {
        let folder = self.session_folder();
        let below = self.below.iter().map(|part| format!("/{part}"));
        folder + &below.collect::<String>() + END
    }

    /// What it is called in a bucket; `None` of what is no transcript of Claude Code's, so that no bucket has it.
    #[must_use]
    pub fn stream(&self) -> Option<StreamName> {
        let agent = match self.below.as_slice() {
            [] => None,
            [folder, .., last] if folder == "subagents" => {
                Some(real(last.strip_prefix("agent-").filter(|id| !id.is_empty())?))
            }
            _ => return None,
        };
        let harness = rrd_proto::Harness::ClaudeCode;
        Some(StreamName { harness, session_id: self.session_id.clone(), agent })
    }

    /// Whether a transcript that lies there, on whichever host, is this one. The harness itself writes an id as
    /// it is.
    #[must_use]
    pub fn is_at(&self, path: &str) -> bool {
        let below: Vec<String> = self.below.iter().map(|part| real(part)).collect();
        self.below_at(path).is_some_and(|there| there == below)
    }

    /// The subpath of a transcript of this session that lies there, on whichever host.
    #[must_use]
    pub fn subpath_at(&self, path: &str) -> Option<String> {
        self.below_at(path).filter(|below| !below.is_empty()).map(|below| below.join("/"))
    }

    /// Where in the session's folder a transcript is that lies there; nothing: it is the session's own.
    fn below_at(&self, path: &str) -> Option<Vec<String>> {
        let path = path.replace('\\', "/");
        let parts: Vec<String> = path.strip_suffix(END)?.split('/').map(real).collect();
        let [project, _] = &self.folders;
        let session = ["projects", &real(project), &self.session_id].map(str::to_owned);
        // Not at the very beginning: that is its home.
        let at = (1..parts.len()).rev().find(|at| parts[*at..].starts_with(&session))?;
        let below = parts[at + session.len()..].to_vec();
        below.iter().all(|part| !part.is_empty()).then_some(below)
    }
}

/// What a file of the store at `path`, relative to it, is called where its harness wrote it: below the project's
/// folder each segment is what it stands for.
#[must_use]
pub fn called(path: &str) -> String {
    let (stem, end) = path.strip_suffix(END).map_or((path, ""), |stem| (stem, END));
    let segment = |(at, part)| if at < 2 { str::to_owned(part) } else { real(part) };
    stem.split('/').enumerate().map(segment).collect::<Vec<_>>().join("/") + end
}

/// What a segment stands for.
fn real(name: &str) -> String {
    unsegment(name).unwrap_or_else(|| name.to_owned())
}

/// The segments of a subpath, as they are called.
fn below(subpath: &str) -> Result<Vec<String>, NoKey> {
    let parts: Vec<&str> = subpath.split('/').collect();
    if parts.len() > MAX_DEPTH {
        return Err(NoKey::Deep);
    }
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(NoKey::Dots);
    }
    let mut names: Vec<String> =
        parts.iter().map(|part| plain("subpath", part, false)).collect::<Result<_, _>>()?;
    // What lies there called as a delegate's is taken for one.
    if let Some(last) = names.last_mut().filter(|last| last.starts_with("agent-"))
        && !is_delegates(subpath)
    {
        last.replace_range(..1, "=61");
    }
    Ok(names)
}

/// The project's folder, as it is called: relative, joined with `/`.
///
/// # Errors
/// [`NoKey`].
pub fn project_folder(project: &str) -> Result<String, NoKey> {
    Ok(format!("projects/{}", folder("project", project)?))
}

/// The session whose transcript is called that; `None` of other files.
#[must_use]
pub fn session_of(name: &str) -> Option<String> {
    unsegment(name.strip_suffix(END)?).filter(|id| !id.is_empty())
}

/// The subpath of a transcript that lies there beneath its session's folder, joined with `/`; `None` of other
/// files.
#[must_use]
pub fn subpath_of(below: &str) -> Option<String> {
    let parts: Option<Vec<String>> = below.strip_suffix(END)?.split('/').map(unsegment).collect();
    let parts = parts?;
    parts.iter().all(|part| !part.is_empty()).then(|| parts.join("/"))
}

/// Whether what a program keeps beneath this subpath is a delegate's transcript, as its harness would name it.
///
/// A delegate is known by its id alone, on every host. Ids that Claude Code gives end in random hexadecimal digits
/// (`a937ff163c830dc11`); a name that a program made up, `reviewer`, is another delegate's in another session.
#[must_use]
pub fn is_delegates(subpath: &str) -> bool {
    let rest = subpath.strip_prefix("subagents/");
    let last = rest.map(|rest| rest.rsplit('/').next().unwrap_or(rest));
    let id = last.and_then(|last| last.strip_prefix("agent-"));
    let digits = |id: &str| id.bytes().rev().take_while(u8::is_ascii_hexdigit).count();
    id.is_some_and(|id| digits(id) >= RANDOM_DIGITS)
}

/// The session beneath which a delegate's transcript lies, on whichever host; `None` of any other's.
#[must_use]
pub fn beneath(path: &str) -> Option<String> {
    let path = path.replace('\\', "/");
    let parts: Vec<&str> = path.strip_suffix(END)?.split('/').collect();
    parts.last()?.strip_prefix("agent-")?;
    let is_it = |at: &usize| parts[*at] == "subagents" && parts[*at - 3] == "projects";
    let at = (3..parts.len() - 1).rev().find(is_it)?;
    Some(real(parts[at - 1])).filter(|session| !session.is_empty())
}

/// One path segment for `part` alone. Dots go, so that no folder is called like a file; so do capitals, for
/// many file systems do not tell them from small letters.
fn plain(what: &'static str, part: &str, capitals: bool) -> Result<String, NoKey> {
    if part.is_empty() {
        return Err(NoKey::Empty(what));
    }
    let is_plain = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => true,
        b'A'..=b'Z' => capitals,
        _ => false,
    };
    let is_device = is_device(&part.to_ascii_lowercase());
    let mut name = String::with_capacity(part.len());
    for (i, byte) in part.bytes().enumerate() {
        if is_plain(byte) && !(is_device && i == 0) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("={byte:02X}"));
        }
        if name.len() > LONGEST_NAME - END.len() {
            return Err(NoKey::Long(what));
        }
    }
    Ok(name)
}

/// A project's key is, unless somebody chose another, what Claude Code calls the folder of a working directory:
/// with capitals. Where a file system does not tell them from small letters, that folder is one for both, too.
fn folder(what: &'static str, part: &str) -> Result<String, NoKey> {
    plain(what, part, true)
}

fn is_device(name: &str) -> bool {
    let numbered = ["com", "lpt"].iter().find_map(|device| name.strip_prefix(device));
    DEVICES.contains(&name)
        || numbered.is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit())
}

/// What tells an entry from all others of its transcript.
pub type Id = [u8; 16];

/// One entry, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// A JSON object, without a newline.
    pub line: &'a [u8],
    /// Of its `uuid`; entries without one may be there any number of times.
    pub id: Option<Id>,
}

/// Why a line is no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEntry {
    /// Which line, counted from 1.
    pub number: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for NoEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is no JSON object: {}", self.number, self.why)
    }
}

impl Error for NoEntry {}

/// The entries of a body, one a line; empty lines are none.
///
/// # Errors
/// [`NoEntry`]: nothing of such a body is to be taken.
pub fn entries(body: &[u8]) -> Result<Vec<Entry<'_>>, NoEntry> {
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.map(|(i, line)| (i + 1, line.trim_ascii()));
    let lines = lines.filter(|(_, line)| !line.is_empty());
    lines.map(|(number, line)| entry(line).map_err(|why| NoEntry { number, why })).collect()
}

/// One line, without its newline.
///
/// # Errors
/// What is wrong with it.
pub fn entry(line: &[u8]) -> Result<Entry<'_>, String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow, default)]
        uuid: Option<&'a RawValue>,
    }
    let text = from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    // A list would pass for an object without names.
    if !text.starts_with('{') {
        return Err("it begins with no {".to_owned());
    }
    let named: Named<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let uuid = named.uuid.and_then(|uuid| serde_json::from_str::<Cow<'_, str>>(uuid.get()).ok());
    let id = uuid.filter(|uuid| !uuid.is_empty()).map(|uuid| half(uuid.as_bytes()));
    Ok(Entry { line, id })
}

/// What stands for a line itself, where it has no `uuid`.
#[must_use]
pub fn half(bytes: &[u8]) -> Id {
    let mut half = Id::default();
    half.copy_from_slice(&Sha256::digest(bytes)[..16]);
    half
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(project: &str, session: &str, subpath: Option<&str>) -> Key {
        Key::new(project, session, subpath).unwrap()
    }

    #[test]
    fn a_delegates_path_tells_beneath_which_session_it_lies() {
        for (path, of) in [
            ("/h/.claude/projects/-w/s1/subagents/agent-a1.jsonl", Some("s1")),
            ("/h/.claude/projects/-w/s1/subagents/workflows/w1/agent-a1.jsonl", Some("s1")),
            (r"C:\h\.claude\projects\-w\s1\subagents\agent-a1.jsonl", Some("s1")),
            ("/h/session-store/projects/-w/=41b/subagents/agent-a1.jsonl", Some("Ab")),
            ("/projects/a/b/subagents/c/projects/-w/s1/subagents/agent-a1.jsonl", Some("s1")),
            ("/h/.claude/projects/-w/agent-a1.jsonl", None),
            ("/h/.claude/projects/-w/s1/subagents/agent-a1.meta.json", None),
            ("/h/.claude/projects/-w/s1/subagents/a1.jsonl", None),
            ("/h/.claude/projects/subagents/agent-a1.jsonl", None),
            ("agent-a1.jsonl", None),
            ("", None),
        ] {
            assert_eq!(beneath(path).as_deref(), of, "{path}");
        }
    }

    #[test]
    fn a_usual_key_lies_where_the_harness_would_put_it() {
        let main = key("-home-Me-x", "0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f", None);
        let folder = "projects/-home-Me-x/0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f";
        assert_eq!(main.session_folder(), folder);
        assert_eq!(main.transcript(), format!("{folder}.jsonl"));
        let sub = key(
            "-home-Me-x",
            "0dd95a2a-43a5-4d86-b88b-6ee3a9a2ba8f",
            Some("subagents/agent-a1b2c3d4"),
        );
        assert_eq!(sub.transcript(), format!("{folder}/subagents/agent-a1b2c3d4.jsonl"));
        assert_eq!((sub.main(), sub.is_main(), main.is_main()), (main.clone(), false, true));
        assert_eq!(sub.stream().unwrap().agent.as_deref(), Some("a1b2c3d4"));
        for none in [
            "notes",
            "notes/agent-a1b2c3d4",
            "agent-a1b2c3d4",
            "subagents/a1b2c3d4",
            "subagents/agent-",
            "subagents/agent-reviewer",
            "subagents/agent-a1b2c3",
        ] {
            let key = key("p", "s", Some(none));
            assert_eq!(key.stream(), None, "{none}");
            // Nothing that follows the harness takes it for a delegate's.
            assert!(!key.transcript().contains("/subagents/agent-"), "{none}");
            let below = key.transcript();
            let below = below.strip_prefix("projects/p/s/").unwrap();
            assert_eq!(subpath_of(below).as_deref(), Some(none));
            assert!(!is_delegates(none), "{none}");
        }
        assert!(
            is_delegates("subagents/agent-a1b2c3d4") && is_delegates("subagents/x/agent-a1b2c3d4")
        );
        // On whichever host it lay.
        for home in ["/home/me/.claude", "/srv/rrd/state/session-store", "C:\\Users\\me\\.claude"] {
            let native =
                |path: String| if home.contains('\\') { path.replace('/', "\\") } else { path };
            let own = native(format!("{home}/{}", main.transcript()));
            assert!(main.is_at(&own));
            assert_eq!(Key::of_transcript(&own).as_ref(), Some(&main));
            let at = native(format!("{home}/{}", sub.transcript()));
            assert_eq!(main.subpath_at(&at).as_deref(), Some("subagents/agent-a1b2c3d4"));
            assert!(!main.is_at(&at));
        }
        assert!(!main.is_at(&format!("/home/me/x{}", main.transcript())));
        assert!(
            !key("-home-Me-y", &main.session_id, None).is_at(&format!("/h/{}", main.transcript()))
        );
    }

    #[test]
    fn an_id_with_capitals_is_the_same_here_in_a_bucket_and_where_its_harness_wrote_it() {
        let main = key("-home-Me-x", "ABc1", None);
        let sub = key("-home-Me-x", "ABc1", Some("subagents/agent-A1b2c3d4"));
        assert_eq!(main.session_folder(), "projects/-home-Me-x/=41=42c1");
        assert_eq!(main.stream().unwrap().directory(), "sessions/claude-code/ABc1/");
        let agent = "sessions/claude-code/ABc1/subagents/agent-A1b2c3d4/";
        assert_eq!(sub.stream().unwrap().directory(), agent);
        for folder in ["=41=42c1", "ABc1"] {
            let folder = format!("/h/projects/-home-Me-x/{folder}");
            assert!(main.is_at(&format!("{folder}.jsonl")));
            for agent in ["agent-A1b2c3d4", "agent-=411b2c3d4"] {
                let at = format!("{folder}/subagents/{agent}.jsonl");
                assert!(sub.is_at(&at) && !main.is_at(&at), "{at}");
                assert_eq!(main.subpath_at(&at).as_deref(), Some("subagents/agent-A1b2c3d4"));
            }
        }
        // Another one, which a disk may not tell from it.
        let small = key("-home-Me-x", "abc1", None);
        assert!(!small.is_at("/h/projects/-home-Me-x/ABc1.jsonl"));
        assert_ne!(small.transcript().to_lowercase(), main.transcript().to_lowercase());
    }

    #[test]
    fn no_key_leads_anywhere_else() {
        for (project, session, subpath, no) in [
            ("", "s", None, NoKey::Empty("project")),
            ("p", "", None, NoKey::Empty("session")),
            ("p", "s", Some(""), NoKey::Empty("subpath")),
            ("p", "s", Some("/etc/passwd"), NoKey::Empty("subpath")),
            ("p", "s", Some("a//b"), NoKey::Empty("subpath")),
            ("p", "s", Some("a/"), NoKey::Empty("subpath")),
            ("p", "s", Some("../x"), NoKey::Dots),
            ("p", "s", Some("a/../../b"), NoKey::Dots),
            ("p", "s", Some("./a"), NoKey::Dots),
            ("p", "s", Some("1/2/3/4/5/6/7/8/9"), NoKey::Deep),
        ] {
            assert_eq!(Key::new(project, session, subpath), Err(no), "{project} {session}");
        }
        let (fits, long) = ("x".repeat(249), "x".repeat(250));
        assert!(Key::new(&fits, &fits, Some(&fits)).is_ok());
        assert_eq!(Key::new(&long, "s", None), Err(NoKey::Long("project")));
        assert_eq!(Key::new("p", &long, None), Err(NoKey::Long("session")));
        assert_eq!(Key::new("p", "s", Some(&"é".repeat(42))), Err(NoKey::Long("subpath")));
        for (given, is) in [
            ("..", "=2E=2E"),
            ("/etc", "=2Fetc"),
            ("C:\\x", "C=3A=5Cx"),
            ("con", "=63on"),
            ("NUL", "=4EUL"),
            ("lpt1", "=6Cpt1"),
            ("com10", "com10"),
            ("a.jsonl", "a=2Ejsonl"),
            ("a. ", "a=2E=20"),
            ("\u{0}", "=00"),
        ] {
            assert_eq!(
                key(given, "s", None).session_folder(),
                format!("projects/{is}/s"),
                "{given}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_key_is_plain_and_its_own(
            keys in prop::collection::vec(("\\PC{1,8}", "[a-cA-C./=]{1,4}", prop::option::of("[a-cA-C.=]{1,3}(/[a-cA-C.=]{1,3}){0,2}")), 1..40)
        ) {
            let mut seen: HashMap<String, (String, String, Option<String>)> = HashMap::new();
            for (project, session, subpath) in keys {
                let Ok(key) = Key::new(&project, &session, subpath.as_deref()) else { continue };
                let path = key.transcript();
                prop_assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-=/".contains(&b)));
                prop_assert!(path.split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
                // But for the project, in capitals and small letters alike.
                let folded = path.replacen(&project, "", 1).to_lowercase() + &project;
                let named = (project, session.clone(), subpath.clone());
                prop_assert_eq!(seen.entry(folded).or_insert_with(|| named.clone()), &named);
                let below = path.strip_prefix(&(key.session_folder() + "/"));
                prop_assert_eq!(below.and_then(subpath_of), subpath);
                let (_, file) = path.rsplit_once('/').unwrap();
                if key.is_main() {
                    prop_assert_eq!(session_of(file), Some(session));
                }
            }
        }

        #[test]
        fn no_body_makes_it_fail(body in any::<Vec<u8>>(), text in "[\\[{\"uid:,\\\\0\n\r}\\]]{0,60}") {
            let _ = entries(&body);
            for entry in entries(text.as_bytes()).into_iter().flatten() {
                prop_assert!(serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(entry.line).is_ok());
            }
        }
    }

    #[test]
    fn entries_are_objects_and_known_by_their_uuid() {
        let body = b"{\"type\":\"x\",\"uuid\":\"a\"}\r\n\n  {\"type\":\"y\"}  \n{\"uuid\":\"\\u0061\",\"n\":1}";
        let found = entries(body).unwrap();
        let lines: Vec<&[u8]> = found.iter().map(|entry| entry.line).collect();
        assert_eq!(lines[..2], [&b"{\"type\":\"x\",\"uuid\":\"a\"}"[..], b"{\"type\":\"y\"}"]);
        assert_eq!((found[0].id, found[1].id), (Some(half(b"a")), None));
        assert_eq!(found[2].id, found[0].id);
        assert_eq!(entries(b"\n\n").unwrap(), []);
        for none in
            [&b"{\"uuid\":7}"[..], b"{\"uuid\":null}", b"{\"uuid\":\"\"}", b"{\"uuid\":[\"a\"]}"]
        {
            assert_eq!(entry(none).unwrap().id, None);
        }
        for (body, number) in [
            (&b"{}\n[\"a\"]"[..], 2),
            (b"7", 1),
            (b"{\"a\":1", 1),
            (b"{\"a\":1} {\"b\":2}", 1),
            (b"\n{\"a\":\"\xff\"}", 2),
            (b"{\"a\":1}\n{\"uuid\":\"x\",\"uuid\":\"y\"}", 2),
        ] {
            assert_eq!(entries(body).unwrap_err().number, number);
        }
        // However deep.
        let deep =
            [b"{\"a\":".to_vec(), b"[".repeat(9_000), b"]".repeat(9_000), b"}".to_vec()].concat();
        assert_eq!(entries(&deep).unwrap().len(), 1);
    }
}
