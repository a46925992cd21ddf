//! What lies in a bucket, whoever put it there: for a host that knows nothing of it yet.
//!
//! One list of all objects says which sessions there are; what a person knows them by is in each one's
//! `meta.json`, where there is one. Not here: what this host brought there ([`super::aim`]).

use std::{collections::BTreeMap, time::SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use rrd_core::mirror::{Meta, PartName, StreamName};
use rrd_proto::{MirrorFound, Timestamp, copy::Past};

use super::{
    aim::{Aim, address},
    fetch,
    stream::{Carrier, Failure},
    target::{Kind, Object},
};

/// Of so many sessions `meta.json` is read, the newest first; the others are counted.
const MOST: usize = 5_000;

/// So many are asked for at once.
const AT_ONCE: usize = 16;

/// A `meta.json` that is longer is not read for a list.
const LONGEST: u64 = 4 << 20;

/// What a list says of a session.
#[derive(Debug, Default)]
struct Seen {
    parts: u64,
    bytes: u64,
    delegates: u64,
    has_meta: bool,
    modified: Option<SystemTime>,
}

/// Every session in the bucket, the newest first; and how many more there are.
pub(super) async fn found(aim: &Aim) -> Result<(Vec<MirrorFound>, u64), Failure> {
    let carrier = aim.carrier().map_err(Failure::Odd)?;
    let seen = sessions(carrier.target.list("sessions").await?);
    let mut seen: Vec<(StreamName, Seen)> = seen.into_iter().collect();
    seen.sort_by(|(a, x), (b, y)| y.modified.cmp(&x.modified).then(a.cmp(b)));
    let left_out = seen.len().saturating_sub(MOST) as u64;
    seen.truncate(MOST);
    let url = address(&aim.settings);
    let one = |(name, seen): (StreamName, Seen)| {
        let (carrier, url) = (&carrier, url.clone());
        async move {
            let meta = if seen.has_meta { meta(carrier, &name).await? } else { None };
            let is_told = meta.is_some();
            let meta = meta.unwrap_or_default();
            let modified = seen.modified.and_then(at);
            Ok::<_, Failure>(MirrorFound {
                url,
                directory: name.directory(),
                harness: name.harness,
                session_id: name.session_id,
                host: meta.host.or(meta.agent_id),
                title: meta.title,
                repo: meta.repo,
                cwd: meta.cwd,
                parts: seen.parts,
                bytes: seen.bytes,
                delegates: seen.delegates,
                last_uploaded_at: meta.last_uploaded_at.or(modified),
                is_told,
            })
        }
    };
    let all: Vec<MirrorFound> = stream::iter(seen).map(one).buffered(AT_ONCE).try_collect().await?;
    Ok((all, left_out))
}

/// What a `meta.json` says, as it may be told; nothing where it is not there or cannot be understood.
pub(super) async fn meta(carrier: &Carrier, name: &StreamName) -> Result<Option<Meta>, Failure> {
    let body = match carrier.target.get(&fetch::meta_name(name), LONGEST).await {
        Ok(Some((body, _))) => body,
        Ok(None) => return Ok(None),
        Err(fault) if matches!(fault.kind, Kind::TooLarge | Kind::Object) => return Ok(None),
        Err(fault) => return Err(fault.into()),
    };
    let Ok(mut meta) = serde_json::from_slice::<Meta>(&body) else { return Ok(None) };
    // Of one that somebody else wrote nobody knows what is in it; and a place that its user enabled as raw gives
    // transcripts so, not the list of them.
    let texts = [
        &mut meta.host,
        &mut meta.agent_id,
        &mut meta.title,
        &mut meta.repo,
        &mut meta.cwd,
        &mut meta.source_path,
    ];
    for text in texts.into_iter().flatten() {
        *text = carrier.edges.copied_text(text);
    }
    meta.past = meta.past.map(Past::cut);
    Ok(Some(meta))
}

/// Sessions by what lies beneath their directories; what has neither a part nor a `meta.json` is none.
fn sessions(objects: Vec<Object>) -> BTreeMap<StreamName, Seen> {
    let mut delegates: BTreeMap<StreamName, u64> = BTreeMap::new();
    let mut sessions: BTreeMap<StreamName, Seen> = BTreeMap::new();
    let mut last = None;
    for Object { name, size, modified } in objects {
        let Some((directory, file)) = name.rsplit_once('/') else { continue };
        let Some(stream) = StreamName::of_directory(directory) else { continue };
        if stream.agent.is_some() {
            // Names come in order: each directory once.
            if last.as_deref() != Some(directory) {
                *delegates.entry(StreamName { agent: None, ..stream }).or_default() += 1;
                last = Some(directory.to_owned());
            }
            continue;
        }
        let is_part = PartName::parse(file).is_some();
        if !is_part && file != "meta.json" {
            continue;
        }
        let seen = sessions.entry(stream).or_default();
        seen.modified = seen.modified.max(Some(modified));
        match is_part {
            true => (seen.parts, seen.bytes) = (seen.parts + 1, seen.bytes + size),
            false => seen.has_meta = true,
        }
    }
    for (session, count) in delegates {
        if let Some(seen) = sessions.get_mut(&session) {
            seen.delegates = count;
        }
    }
    sessions
}

fn at(time: SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_what_has_parts_or_says_so() {
        let object = |name: &str| Object {
            name: name.to_owned(),
            size: 3,
            modified: SystemTime::UNIX_EPOCH,
        };
        let found = sessions(
            [
                "sessions/claude-code/a/meta.json",
                "sessions/claude-code/a/owner-0001.json",
                "sessions/claude-code/a/part-00000-0123abcd.jsonl",
                "sessions/claude-code/a/part-00001-0123abcd.jsonl",
                "sessions/claude-code/a/subagents/agent-x/part-00000-0123abcd.jsonl",
                "sessions/claude-code/a/subagents/agent-x/stream.json",
                "sessions/claude-code/a/subagents/agent-y/part-00000-0123abcd.jsonl",
                "sessions/claude-code/pruned/owner-0001.json",
                "sessions/codex/b/part-00000-0123abcd.jsonl",
                "sessions/odd",
                "sessions/x/y/z/w",
            ]
            .map(object)
            .into(),
        );
        let told: Vec<_> = found
            .iter()
            .map(|(name, seen)| {
                (&*name.session_id, seen.parts, seen.bytes, seen.delegates, seen.has_meta)
            })
            .collect();
        assert_eq!(told, [("a", 2, 6, 2, true), ("b", 1, 3, 0, false)]);
    }
}
