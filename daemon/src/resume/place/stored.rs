//! What is different in transcripts that the Agent SDK stores: what Claude Code keeps of a delegate beside its
//! transcript is an entry of it there, and some lines that Claude Code writes are in no store.
//!
//! Not here: the store itself ([`crate::sdk`]).

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use memchr::memmem;
use rrd_core::frame::{Frame, Framer};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::{CHUNK, redacted::Behind};

/// What such an entry is called.
const KIND: &str = "agent_metadata";

/// A delegate's transcript without these entries, and the last of them as it belongs beside; nothing where there is
/// none.
pub(super) fn taken_apart(
    came: &Path,
    staging: &Path,
) -> io::Result<Option<(NamedTempFile, Vec<u8>)>> {
    let (mut about, mut parts) = (None, Vec::<Range<u64>>::new());
    let mut begin = 0;
    each_line(came, |at, line| {
        if let Some(found) = about_of(line) {
            parts.push(begin..at);
            begin = at + line.len() as u64 + 1;
            about = Some(found);
        }
    })?;
    let Some(about) = about else { return Ok(None) };
    let length = std::fs::metadata(came)?.len();
    parts.push(begin.min(length)..length);
    let mut file = tempfile::Builder::new().tempfile_in(staging)?;
    let mut from = File::open(came)?;
    for part in parts {
        from.seek(SeekFrom::Start(part.start))?;
        io::copy(&mut (&mut from).take(part.end - part.start), &mut file)?;
    }
    file.as_file().sync_all()?;
    Ok(Some((file, serde_json::to_vec(&about)?)))
}

fn about_of(line: &[u8]) -> Option<Map<String, Value>> {
    memmem::find(line, KIND.as_bytes())?;
    let mut entry: Map<String, Value> = serde_json::from_slice(line).ok()?;
    (entry.remove("type")? == KIND).then_some(entry)
}

/// How what has come out of the store is to what the harness has, by the names of their records; nothing where each
/// has some that the other lacks.
pub(super) fn compare(came: &Path, here: &Path) -> io::Result<Option<Behind>> {
    let (mut known, mut last) = (HashSet::new(), None);
    each_line(here, |_, line| {
        if let Some(name) = name_of(line) {
            known.insert(name.clone());
            last = Some(name);
        }
    })?;
    let (mut new, mut is_mixed, mut has_last) = (None, false, false);
    each_line(came, |at, line| {
        let Some(name) = name_of(line) else { return };
        has_last |= last.as_ref() == Some(&name);
        match known.contains(&name) {
            true => is_mixed |= new.is_some(),
            false => {
                new.get_or_insert(at);
            }
        }
    })?;
    Ok(match new {
        None => Some(Behind::All),
        Some(at) => (has_last && !is_mixed && ends_whole(here)?).then_some(Behind::From(at)),
    })
}

fn name_of(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        uuid: String,
    }
    serde_json::from_slice::<Named>(line).ok().map(|named| named.uuid)
}

/// Whether nothing can be written into its last line.
fn ends_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Each whole line that can be looked at, and where it begins.
fn each_line(path: &Path, mut line: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut framer, mut chunk) = (Framer::new(0), vec![0; CHUNK]);
    loop {
        let got = file.read(&mut chunk)?;
        if got == 0 {
            return Ok(());
        }
        framer.feed(&chunk[..got], &mut |frame| {
            if let Frame::Line { offset, bytes } = frame {
                line(offset, bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_belongs_beside_a_delegate_is_taken_out_of_its_transcript() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent-a1.jsonl");
        let of = |text: &str| {
            fs::write(&path, text).unwrap();
            let apart = taken_apart(&path, dir.path()).unwrap();
            apart.map(|(file, about)| {
                (fs::read_to_string(file.path()).unwrap(), String::from_utf8(about).unwrap())
            })
        };
        let (one, two) = ("{\"uuid\":\"u1\"}\n", "{\"uuid\":\"u2\",\"text\":\"agent_metadata\"}\n");
        let about =
            |kind: &str| format!("{{\"type\":\"agent_metadata\",\"agentType\":\"{kind}\"}}\n");
        assert_eq!(of(&format!("{one}{two}")), None);
        let torn = "{\"torn";
        for text in [
            format!("{}{one}{two}", about("b")),
            format!("{one}{two}{}", about("b")),
            format!("{}{one}{}{}{two}", about("x"), about("y"), about("b")),
        ] {
            let beside = "{\"agentType\":\"b\"}".to_owned();
            assert_eq!(of(&text), Some((format!("{one}{two}"), beside.clone())), "{text}");
            assert_eq!(of(&(text + torn)), Some((format!("{one}{two}{torn}"), beside)));
        }
    }

    #[test]
    fn by_its_records_names_it_is_told_what_one_has_more() {
        let dir = tempfile::tempdir().unwrap();
        let [came, here] = ["came", "here"].map(|name| dir.path().join(name));
        let lines = |names: &str| -> String {
            let line = |name: char| match name {
                '-' => "{\"type\":\"mode\"}\n".to_owned(),
                '~' => "{\"torn".to_owned(),
                name => format!("{{\"uuid\":\"{name}\"}}\n"),
            };
            names.chars().map(line).collect()
        };
        let at = |names: &str| Some(Behind::From(lines(names).len() as u64));
        for (theirs, ours, expected) in [
            ("ab", "ab", Some(Behind::All)),
            ("ab", "-a-b-", Some(Behind::All)),
            ("ab", "a-bc", Some(Behind::All)),
            ("abcd", "a-b-", at("ab")),
            ("ab-cd", "ab", at("ab-")),
            ("ab", "-", None),
            ("ab", "", None),
            ("abc", "abx", None),
            ("acb", "ab", None),
            ("abc", "ab~", None),
            ("b", "a", None),
        ] {
            fs::write(&came, lines(theirs)).unwrap();
            fs::write(&here, lines(ours)).unwrap();
            assert_eq!(compare(&came, &here).unwrap(), expected, "{theirs} {ours}");
        }
    }
}
