//! What Claude Code keeps of a delegate beside its transcript: `agent-ID.meta.json`, which names its type, its task,
//! and who delegated it, and is rewritten when it has ended.
//!
//! None of that is in the transcript, and rrd and its harness read it, so the delegate's `stream.json` has it, and
//! a resume writes it again. Not here: when (`stream`), and where it is put then (`give`).

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use rrd_core::redact::Report;
use rrd_proto::Harness;
use serde_json::{Map, Value};

use super::{
    fetch,
    gather::At,
    outbox::Stream,
    stream::{Carrier, Failure, SMALL},
};

/// One that is longer is none.
const LONGEST: u64 = 64 << 10;

/// What is known of a delegate.
pub(super) type About = Map<String, Value>;

/// Whether such a thing may lie beside its transcript.
fn has_one(stream: &Stream, source: &At) -> bool {
    let is_file =
        matches!(source, At::File(path) if path.extension().is_some_and(|e| e == "jsonl"));
    is_file && stream.name.agent.is_some() && stream.name.harness == Harness::ClaudeCode
}

/// What lies there; nothing where that is nothing a harness would write.
fn beside(transcript: &Path) -> Option<About> {
    let path = transcript.with_extension("meta.json");
    // No link leads out of a home.
    let is_fit = |meta: &fs::Metadata| meta.is_file() && meta.len() <= LONGEST;
    fs::symlink_metadata(&path).ok().filter(is_fit)?;
    let mut bytes = Vec::new();
    File::open(&path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    read(&bytes)
}

/// The object that it begins with: a shorter one may have been written over a longer one.
fn read(bytes: &[u8]) -> Option<About> {
    serde_json::Deserializer::from_slice(bytes).into_iter().next()?.ok()
}

fn written(about: &About) -> Vec<u8> {
    serde_json::to_vec(about).unwrap_or_default()
}

impl Carrier {
    /// What there is to be told of a delegate; nothing where that is none, or nothing is known.
    pub(super) async fn delegate(
        &self,
        stream: &Stream,
        source: &At,
    ) -> Result<Option<About>, Failure> {
        if !has_one(stream, source) {
            return Ok(None);
        }
        let path = source.path().to_owned();
        self.on_disk(move |carrier| {
            let Some(about) = beside(&path) else { return Ok(None) };
            if !carrier.redacts {
                return Ok(Some(about));
            }
            let mut report = Report::default();
            let line = written(&about);
            let about = read(carrier.edges.redactor().line(&line, &mut report).as_ref());
            carrier.edges.count_mirrored(&report);
            Ok(about)
        })
        .await
    }

    /// What was told of it before: its harness may have deleted it since.
    pub(super) async fn delegate_told(&self, stream: &Stream, source: &At) -> Option<About> {
        if !has_one(stream, source) {
            return None;
        }
        let told = self.target.get(&fetch::meta_name(&stream.name), SMALL).await.ok()??;
        serde_json::from_slice::<rrd_core::mirror::Meta>(&told.0).ok()?.delegate
    }

    /// Writes what a bucket says of a delegate as its harness would; anybody may have written it there. Gives how
    /// long it is.
    pub(super) fn write_delegate(&self, about: &About, mut file: File) -> io::Result<u64> {
        let mut line = written(about);
        if self.redacts {
            let mut report = Report::default();
            line = self.edges.redactor().line(&line, &mut report).into_inner().into_owned();
            self.edges.count_copied(&report);
        }
        io::Write::write_all(&mut file, &line)?;
        Ok(line.len() as u64)
    }
}

/// What tells one from others.
pub(super) fn mark(about: &About) -> u64 {
    rrd_core::hash(&written(about))
}

/// What it is called beside a transcript of this name.
pub(super) fn called(transcript: &str) -> Option<String> {
    Some(format!("{}.meta.json", transcript.strip_suffix(".jsonl")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_harness_would_write_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (transcript, path) =
            (dir.path().join("agent-a9.jsonl"), dir.path().join("agent-a9.meta.json"));
        let of = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            beside(&transcript).map(|about| written(&about))
        };
        assert_eq!(beside(&transcript), None);
        for bytes in [&b""[..], b"[]", b"{\"torn", b"\xff", &vec![b' '; 1 + LONGEST as usize]] {
            assert_eq!(of(bytes), None);
        }
        let whole = br#"{"agentType":"Explore"}"#;
        assert_eq!(of(&[&whole[..], b"\n"].concat()).unwrap(), whole);
        assert_eq!(of(&[&whole[..], b"er text\"}"].concat()).unwrap(), whole);
        assert_eq!(called("s/subagents/agent-a9.jsonl").unwrap(), "s/subagents/agent-a9.meta.json");
        #[cfg(unix)]
        {
            fs::rename(&path, dir.path().join("elsewhere")).unwrap();
            std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
            assert_eq!(beside(&transcript), None);
        }
    }
}
