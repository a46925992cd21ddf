//! All of one event that was cut when it was kept, read once more from its transcript.
//!
//! It counts only if it is the same record, and what is kept of it is what was kept: a transcript may have
//! been rewritten since. Sessions in databases and compressed transcripts stay cut. Not here: what is kept
//! ([`rrd_core::body`]).

use std::path::Path;

use memchr::memchr;
use rrd_core::{
    body,
    fold::Fold,
    frame::MAX_LINE,
    harness::{Format, ParserState},
    long::Long,
};
use rrd_proto::{Body, Event};

use super::source::Source;
use crate::store::Written;

/// Bytes of it, at most: it must fit into an answer however it is written there.
const MOST: usize = 3 << 20;

/// Read at once.
const CHUNK: usize = 256 << 10;

/// All that the event says, and whether anything is cut even so; `None` where its transcript does not have it
/// any more.
pub(crate) fn whole(
    format: &Format,
    written: &Written,
    kept: &Body,
    keep: &dyn Fn(&Event, &Long<'_>) -> Option<Body>,
) -> Option<(Body, bool)> {
    written.paths.iter().find_map(|path| {
        let line = line(Path::new(path), written.offset)?;
        let parsed = (format.parser)(ParserState::default()).line(&line);
        if parsed.key.unwrap_or_else(|| rrd_core::hash(&line)) != written.key {
            return None;
        }
        let (mut nth, mut found) = (0, None);
        let mut tell = |mut event: Event, whole: Option<&Long<'_>>| {
            if nth == written.nth
                && let Some(whole) = whole
                && keep(&event, whole).as_ref() == Some(kept)
                && let Some(body) = body::keep(&event, whole, MOST, &mut str::to_owned)
            {
                body::give(&mut event, body);
                found = event.body.take().map(|body| (body, event.truncated));
            }
            nth += 1;
        };
        Fold::default().apply_to(parsed, 0, &mut tell);
        found
    })
}

/// The line that begins at `offset`, without its newline.
fn line(path: &Path, offset: u64) -> Option<Vec<u8>> {
    let source = Source::open(path).ok()?;
    let mut line = Vec::new();
    loop {
        let from = line.len();
        if from > MAX_LINE {
            return None;
        }
        line.resize(from + CHUNK, 0);
        let got = source.read_at(&mut line[from..], offset + from as u64).ok()?;
        line.truncate(from + got);
        if let Some(end) = memchr(b'\n', &line[from..]) {
            line.truncate(from + end);
            return Some(line);
        }
        if got < CHUNK {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use rrd_core::harness::format_of;
    use rrd_proto::Harness;
    use serde_json::json;

    use super::*;

    fn keep(event: &Event, whole: &Long<'_>) -> Option<Body> {
        body::keep(event, whole, 1_000, &mut |text| text.replace("secret", "******"))
    }

    /// Three results in one record, the second of which is long.
    fn record(long: &str) -> String {
        let result = |id: &str, text: &str| {
            json!({
                "type": "tool_result", "tool_use_id": id, "content": text
            })
        };
        json!({
            "type": "user", "uuid": "u1", "sessionId": "s", "timestamp": "2026-11-20T10:00:00Z",
            "message": {"role": "user", "content": [
                result("a", "one\ntwo"), result("b", long), result("c", "x\ny")
            ]},
        })
        .to_string()
    }

    fn bodies(format: &Format, line: &str) -> Vec<Body> {
        let parsed = (format.parser)(ParserState::default()).line(line.as_bytes());
        let mut bodies = Vec::new();
        let mut tell = |event: Event, whole: Option<&Long<'_>>| {
            bodies.extend(whole.and_then(|whole| keep(&event, whole)));
        };
        Fold::default().apply_to(parsed, 0, &mut tell);
        bodies
    }

    #[test]
    fn what_was_cut_is_whole_as_long_as_its_transcript_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let format = format_of(&Harness::ClaudeCode).unwrap();
        let long = format!("{}secret{}", "line\n".repeat(50_000), "more\n".repeat(50_000));
        let (before, line) = ("{}\n", record(&long));
        std::fs::write(&path, format!("{before}{line}\n")).unwrap();
        let kept = bodies(format, &line).remove(1);
        assert!(kept.cut.is_some() && kept.size == long.len() as u64);
        let written = Written {
            offset: before.len() as u64,
            key: rrd_core::hash(b"u1"),
            nth: 1,
            paths: vec![dir.path().join("none").display().to_string(), path.display().to_string()],
        };
        let (found, is_cut) = whole(format, &written, &kept, &keep).unwrap();
        assert!(!is_cut, "what is given is all of it");
        assert_eq!((found.text, found.size, found.cut), (long.clone(), long.len() as u64, None));
        // Another event of the record, another record, another text, and none.
        assert_eq!(whole(format, &Written { nth: 0, ..written.clone() }, &kept, &keep), None);
        assert_eq!(whole(format, &Written { key: 7, ..written.clone() }, &kept, &keep), None);
        assert_eq!(whole(format, &Written { offset: 0, ..written.clone() }, &kept, &keep), None);
        std::fs::write(&path, format!("{before}{}\n", record(&long.replace("line", "lime"))))
            .unwrap();
        assert_eq!(whole(format, &written, &kept, &keep), None);
        std::fs::write(&path, format!("{before}{}", &line[..line.len() / 2])).unwrap();
        assert_eq!(whole(format, &written, &kept, &keep), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(whole(format, &written, &kept, &keep), None);
    }
}
