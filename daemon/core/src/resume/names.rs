//! Where a harness looks for a session's files, and what they may be called.
//!
//! A host tells the files of a session by names relative to where its transcript lies. Whoever takes them
//! puts the place together from checked parts; a name that no harness would give is refused. Not here: what
//! is in the files.

use unicode_normalization::UnicodeNormalization;

use super::fork::agent_of;
use crate::harness::is_uuid;

/// Letters of an encoded directory before a hash stands for the rest.
const MAX_ENCODED: usize = 200;

/// Parts of a path below a session's own folder.
const MAX_DEPTH: usize = 6;

/// Letters of one part.
const MAX_PART: usize = 128;

/// How a harness keeps its transcripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `projects/<directory>/<id>.jsonl`, and beside it `<id>/subagents/`.
    ClaudeCode,
    /// `sessions/YYYY/MM/DD/rollout-<local time>-<id>.jsonl`.
    Codex,
}

/// Claude Code's name for the directory of sessions that were started in `cwd`, which is a real path.
///
/// NFC, then each UTF-16 unit outside `[A-Za-z0-9]` becomes a `-`; of more than 200 letters the first 200 and
/// `-` and a hash of the path in base 36 (all seen). The hash was compared with one ASCII path only: that it is
/// of the path before the encoding is certain, that it is of its NFC form is not. An older release had
/// another hash; such a directory is not looked for.
#[must_use]
pub fn directory(cwd: &str) -> String {
    let units: Vec<u16> = cwd.nfc().collect::<String>().encode_utf16().collect();
    let letter = |unit: &u16| match u8::try_from(*unit) {
        Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte),
        _ => '-',
    };
    let mut name: String = units.iter().map(letter).collect();
    if name.len() > MAX_ENCODED {
        let hash = units
            .iter()
            .fold(0i32, |hash, unit| (hash << 5).wrapping_sub(hash).wrapping_add(i32::from(*unit)));
        name.truncate(MAX_ENCODED);
        name.push('-');
        name.push_str(&base36(hash.unsigned_abs()));
    }
    name
}

/// Whether a directory that is called `name` may lie beneath one that is called `above`.
#[must_use]
pub fn may_be_above(above: &str, name: &str) -> bool {
    match above.get(..MAX_ENCODED).filter(|_| above.len() > MAX_ENCODED) {
        // What follows is a hash.
        Some(begin) => name.len() > MAX_ENCODED && name.starts_with(begin),
        None => name.strip_prefix(above).is_some_and(|rest| rest.starts_with('-')),
    }
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

/// What the name of a rollout tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout<'a> {
    /// `2026-11-20T10-28-08`, by the clock on the wall where it was begun.
    pub time: &'a str,
    /// The thread.
    pub id: &'a str,
}

impl<'a> Rollout<'a> {
    /// Reads `rollout-<time>-<id>.jsonl`, and nothing else: a window's file (`…_2.jsonl`, reported and never
    /// seen) is none.
    #[must_use]
    pub fn of(name: &'a str) -> Option<Self> {
        let stem = name.strip_prefix("rollout-")?.strip_suffix(".jsonl")?;
        let (time, id) = (stem.get(..19)?, stem.get(20..)?);
        let looks = |byte: (usize, u8)| match byte.0 {
            4 | 7 | 13 | 16 => byte.1 == b'-',
            10 => byte.1 == b'T',
            _ => byte.1.is_ascii_digit(),
        };
        let is_time = time.bytes().enumerate().all(looks);
        (is_time && stem.as_bytes()[19] == b'-' && is_uuid(id)).then_some(Self { time, id })
    }
}

impl Layout {
    /// Whether a session may be called so: its id becomes a file's name and a word of a command line.
    #[must_use]
    pub fn is_id(self, id: &str) -> bool {
        match self {
            Self::ClaudeCode => {
                (1..=64).contains(&id.len())
                    && !id.starts_with('-')
                    && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && is_part(id)
            }
            Self::Codex => is_uuid(id),
        }
    }

    /// What the file of the session `id` at `path`, relative to the harness's home, is called to others;
    /// `None` where it is no file that goes with the session.
    #[must_use]
    pub fn told(self, id: &str, path: &str) -> Option<String> {
        let name = match self {
            Self::ClaudeCode => path.strip_prefix("projects/")?.split_once('/')?.1,
            Self::Codex => {
                let (folder, name) = path.rsplit_once('/')?;
                let is_there = folder.starts_with("sessions/") || folder == "archived_sessions";
                is_there.then_some(name.strip_suffix(".zst").unwrap_or(name))?
            }
        };
        self.placed(id, name, id, "x").map(|_| name.to_owned())
    }

    /// Where the file that another host calls `name` belongs, relative to the harness's home, when its session
    /// `id` is to be called `new`; `directory` is [`directory`] of where it goes on. `None` for a name that no
    /// file of the session can have.
    #[must_use]
    pub fn placed(self, id: &str, name: &str, new: &str, directory: &str) -> Option<String> {
        if !self.is_id(id) || !self.is_id(new) {
            return None;
        }
        match self {
            Self::ClaudeCode => {
                if self.is_main(id, name) {
                    return Some(format!("projects/{directory}/{new}.jsonl"));
                }
                let beneath = name.strip_prefix(id)?.strip_prefix("/subagents/")?;
                let parts: Vec<&str> = beneath.split('/').collect();
                let file = parts.last()?.strip_prefix("agent-")?;
                let known = [".jsonl", ".meta.json"];
                let known = known.iter().find_map(|end| Some((file.strip_suffix(end)?, end)));
                let is_sane = parts.len() <= MAX_DEPTH && parts.iter().all(|part| is_part(part));
                let (agent, end) = known.filter(|_| is_sane)?;
                // No two sessions have a delegate of one id.
                let file = match id == new {
                    true => file.to_owned(),
                    false => agent_of(new, agent) + end,
                };
                let folders = parts[..parts.len() - 1].iter().map(|part| format!("{part}/"));
                let folders: String = folders.collect();
                Some(format!("projects/{directory}/{new}/subagents/{folders}agent-{file}"))
            }
            Self::Codex => {
                let Rollout { time, id: of_name } = Rollout::of(name)?;
                let (year, month, day) = (&time[..4], &time[5..7], &time[8..10]);
                (of_name == id)
                    .then(|| format!("sessions/{year}/{month}/{day}/rollout-{time}-{new}.jsonl"))
            }
        }
    }

    /// The session whose transcript the file is where [`Self::placed`] puts it; `None` of anything else.
    #[must_use]
    pub fn session_of(self, id: &str, name: &str, new: &str) -> Option<String> {
        let placed = self.placed(id, name, new, "x")?;
        if self.is_main(id, name) {
            return Some(new.to_owned());
        }
        let agent = placed.rsplit('/').next()?.strip_prefix("agent-")?.strip_suffix(".jsonl")?;
        Some(agent.to_owned())
    }

    /// Whether `name` is the session's own transcript, not a subagent's.
    #[must_use]
    pub fn is_main(self, id: &str, name: &str) -> bool {
        match self {
            Self::ClaudeCode => name.strip_suffix(".jsonl") == Some(id),
            Self::Codex => true,
        }
    }
}

/// Whether a part of a path is harmless wherever it is written: letters, digits, `-`, `_`, and `.` within.
fn is_part(part: &str) -> bool {
    // Windows takes these for devices, whatever comes after a dot.
    const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
    let stem = part.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let is_device = DEVICES.contains(&stem.as_str())
        || numbered.is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()));
    (1..=MAX_PART).contains(&part.len())
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !part.starts_with('.')
        && !part.ends_with('.')
        && !is_device
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";
    const NEW: &str = "11111111-2222-4333-8444-555555555555";

    #[test]
    fn directories_are_named_as_claude_code_names_them() {
        for (cwd, name) in [
            ("/home/u/src/my app_v2.0", "-home-u-src-my-app-v2-0"),
            ("/home/u/src/プロジェクト é", "-home-u-src---------"),
            // The same in the form in which some file systems give it back.
            ("/home/u/src/プロジェクト e\u{301}", "-home-u-src---------"),
            ("/w/alpha/.claude/worktrees/feat-x", "-w-alpha--claude-worktrees-feat-x"),
            ("/home/u/src/a.b", "-home-u-src-a-b"),
            // Two UTF-16 units.
            ("/x/😀", "-x---"),
            (r"C:\src\site", "C--src-site"),
            ("", ""),
        ] {
            assert_eq!(directory(cwd), name, "{cwd}");
        }
    }

    #[test]
    fn long_directories_end_in_a_hash_of_the_path() {
        let fits = format!("/{}", "a".repeat(199));
        assert_eq!(directory(&fits), fits.replace('/', "-"));
        let long = format!("{fits}b");
        let name = directory(&long);
        assert_eq!(&name[..201], format!("-{}-", "a".repeat(199)));
        // What JavaScript makes of h = (h << 5) - h + c in 32 bits.
        let hash = long
            .encode_utf16()
            .fold(0i64, |hash, unit| i64::from((hash.wrapping_mul(31) + i64::from(unit)) as i32));
        assert_eq!(i64::from_str_radix(&name[201..], 36).unwrap(), hash.abs());
        assert_ne!(directory(&format!("{fits}.")), directory(&format!("{fits}_")));
        assert_eq!((base36(0), base36(35), base36(36)), ("0".into(), "z".into(), "10".into()));
        assert_eq!(base36(i32::MIN.unsigned_abs()), "zik0zk");
    }

    #[test]
    fn files_are_told_and_placed() {
        let claude = Layout::ClaudeCode;
        for (path, name, place) in [
            (
                format!("projects/-w/{ID}.jsonl"),
                format!("{ID}.jsonl"),
                format!("projects/-v/{NEW}.jsonl"),
            ),
            (
                format!("projects/-w/{ID}/subagents/agent-a9.jsonl"),
                format!("{ID}/subagents/agent-a9.jsonl"),
                format!("projects/-v/{NEW}/subagents/agent-{}.jsonl", agent_of(NEW, "a9")),
            ),
            (
                format!("projects/-w/{ID}/subagents/workflows/r1/agent-a9.meta.json"),
                format!("{ID}/subagents/workflows/r1/agent-a9.meta.json"),
                format!(
                    "projects/-v/{NEW}/subagents/workflows/r1/agent-{}.meta.json",
                    agent_of(NEW, "a9")
                ),
            ),
        ] {
            assert_eq!(claude.told(ID, &path).as_deref(), Some(&*name));
            assert_eq!(claude.placed(ID, &name, NEW, "-v"), Some(place));
            assert_eq!(claude.is_main(ID, &name), !name.contains('/'));
            let of = [ID, NEW].map(|id| claude.session_of(ID, &name, id));
            let expected = match (name.contains('/'), name.ends_with(".jsonl")) {
                (false, _) => [ID, NEW].map(|id| Some(id.to_owned())),
                (true, true) => ["a9", &agent_of(NEW, "a9")].map(|id| Some(id.to_owned())),
                (true, false) => [None, None],
            };
            assert_eq!(of, expected, "{name}");
        }
        let name = format!("rollout-2026-11-20T10-42-56-{ID}.jsonl");
        let place = format!("sessions/2026/11/20/rollout-2026-11-20T10-42-56-{NEW}.jsonl");
        for path in [
            format!("sessions/2026/11/20/{name}"),
            format!("sessions/2026/11/20/{name}.zst"),
            format!("archived_sessions/{name}"),
        ] {
            assert_eq!(Layout::Codex.told(ID, &path).as_ref(), Some(&name));
        }
        assert_eq!(Layout::Codex.placed(ID, &name, NEW, "-v"), Some(place));
        assert_eq!(Layout::Codex.session_of(ID, &name, NEW).as_deref(), Some(NEW));
        assert_eq!(claude.session_of(ID, "../x.jsonl", NEW), None);
    }

    #[test]
    fn no_name_leads_elsewhere() {
        let deep = format!("{ID}/subagents/{}agent-a.jsonl", "d/".repeat(MAX_DEPTH));
        let long = format!("{ID}/subagents/agent-{}.jsonl", "a".repeat(MAX_PART));
        let beneath = |rest: &str| format!("{ID}/subagents/{rest}");
        for name in [
            "../x.jsonl".to_owned(),
            "/etc/passwd".to_owned(),
            "other.jsonl".to_owned(),
            format!("../{ID}.jsonl"),
            format!("{ID}.jsonl/x"),
            format!("{ID}.jsonl\0"),
            format!("{ID}/tool-results/agent-a.jsonl"),
            beneath("../../agent-a.jsonl"),
            beneath("..%2fagent-a.jsonl"),
            beneath("x/../agent-a.jsonl"),
            beneath("/agent-a.jsonl"),
            beneath("./agent-a.jsonl"),
            beneath("x//agent-a.jsonl"),
            beneath(r"x\agent-a.jsonl"),
            beneath("agent-a\u{202e}.jsonl"),
            beneath("agent-a.jsonl:stream"),
            beneath("con/agent-a.jsonl"),
            beneath("NUL.x/agent-a.jsonl"),
            beneath("com1/agent-a.jsonl"),
            beneath("agent-a.key"),
            beneath("settings.json"),
            deep,
            long,
            String::new(),
        ] {
            assert_eq!(Layout::ClaudeCode.placed(ID, &name, ID, "-v"), None, "{name:?}");
            assert_eq!(Layout::Codex.placed(ID, &name, ID, "-v"), None, "{name:?}");
        }
        for name in [
            format!("rollout-2026-11-20T10-42-56-{NEW}.jsonl"),
            format!("rollout-2026-11-20T10-42-56-{ID}_2.jsonl"),
            format!("rollout-../../-20T10-42-56-{ID}.jsonl"),
            format!("rollout-2026-11-20T10-42-56x{ID}.jsonl"),
            format!("../rollout-2026-11-20T10-42-56-{ID}.jsonl"),
            format!("rollout-2026-11-20T10-42-é6-{ID}.jsonl"),
        ] {
            assert_eq!(Layout::Codex.placed(ID, &name, ID, ""), None, "{name}");
        }
        let ids = ["..", "../x", "a/b", r"a\b", "-x", "", "a.b", "con", "a b", "ü", "a\nb", "C:"];
        for id in ids {
            assert!(!Layout::ClaudeCode.is_id(id) && !Layout::Codex.is_id(id), "{id:?}");
            assert_eq!(Layout::ClaudeCode.placed(id, &format!("{id}.jsonl"), id, "-v"), None);
        }
        assert!(Layout::ClaudeCode.is_id("an-old-one") && !Layout::Codex.is_id("an-old-one"));
    }
}
