//! Looks into a bucket for a person: what it has of a session, and whether that is what was uploaded.
//!
//! Not here: what this host knows without asking the bucket ([`super::aim`]).

use std::{collections::HashMap, fs, io};

use rrd_core::mirror::{Meta, PartName, StreamName, read::Dropped};
use rrd_proto::{MirrorShown, MirrorTrouble, MirrorVerified};

use super::{
    aim::{Aim, address},
    fetch,
    outbox::Stream,
    stream::{Carrier, Failure},
};

/// How much of a transcript's end is told at most, in bytes.
const TAIL: usize = 8 << 20;

/// The streams of sessions whose id begins like this, as this host knows them; else as the bucket does.
pub(super) async fn streams(
    aim: &Aim,
    carrier: &Carrier,
    id: &str,
) -> Result<Vec<StreamName>, Failure> {
    let known = aim.streams();
    let begins = |name: &StreamName| match &name.agent {
        None => name.session_id.starts_with(id),
        Some(agent) => agent.starts_with(id),
    };
    let mut found: Vec<StreamName> =
        known.into_iter().map(|stream| stream.name).filter(begins).collect();
    if found.is_empty() {
        for harness in carrier.target.folders("sessions").await? {
            for session in carrier.target.folders(&format!("sessions/{harness}")).await? {
                let name = StreamName::of_directory(&format!("sessions/{harness}/{session}"));
                found.extend(name.filter(begins));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What the bucket has of the session, with its last lines.
pub(super) async fn show(aim: &Aim, id: &str, tail: u32) -> Result<Option<MirrorShown>, Failure> {
    let carrier = aim.carrier().map_err(Failure::Odd)?;
    let streams = streams(aim, &carrier, id).await?;
    let stream = match &streams[..] {
        [] => return Ok(None),
        [stream] => stream,
        several => {
            let names: Vec<&str> =
                several.iter().take(5).map(|stream| stream.session_id.as_str()).collect();
            return Err(Failure::Odd(format!(
                "{} sessions begin with that: {}",
                several.len(),
                names.join(", ")
            )));
        }
    };
    let spool = spool(&carrier)?;
    let Some(mut fetched) = fetch::fetch(&carrier, stream, spool).await? else {
        return Ok(None);
    };
    let (records, all) = fetched.records();
    let mut lines = Vec::new();
    if tail > 0 {
        fetched.write(Some(tail.into()), &mut lines)?;
        lines.drain(..lines.len().saturating_sub(TAIL));
    }
    let lines = String::from_utf8_lossy(&lines);
    let mut dropped: Vec<MirrorTrouble> =
        fetched.dropped.iter().map(|(name, why)| dropped(name, *why)).collect();
    if !fetched.is_sound {
        let error = "an owner's word about the order of records cannot be followed".to_owned();
        dropped.push(MirrorTrouble { stream: "owners".to_owned(), error });
    }
    Ok(Some(MirrorShown {
        url: address(&aim.settings),
        directory: stream.directory(),
        meta: fetched.meta.as_ref().and_then(|meta| meta_of(&carrier, meta)),
        meta_is_odd: fetched.is_odd,
        redacted: fetched.is_redacted,
        records,
        earlier_records: all - records,
        dropped,
        tail: lines.lines().map(str::to_owned).collect(),
    }))
}

/// What a `meta.json` says, as it may be told: of one that somebody else wrote nobody knows what is in it.
fn meta_of(carrier: &Carrier, meta: &Meta) -> Option<String> {
    let line = serde_json::to_string(meta).ok()?;
    let line = if carrier.redacts { carrier.edges.copied_text(&line) } else { line };
    let told: Meta = serde_json::from_str(&line).ok()?;
    serde_json::to_string_pretty(&told).ok()
}

pub(super) fn dropped(name: &PartName, why: Dropped) -> MirrorTrouble {
    let error = match why {
        Dropped::Deposed => "written by a host that was the owner no more",
        Dropped::Damaged => "its content is not what its name says",
    };
    MirrorTrouble { stream: name.to_string(), error: error.to_owned() }
}

/// Compares what was uploaded with what is there.
pub(super) async fn verify(aim: &Aim, id: Option<&str>) -> Result<Vec<MirrorVerified>, Failure> {
    let carrier = aim.carrier().map_err(Failure::Odd)?;
    let mut verified = Vec::new();
    for stream in aim.streams() {
        let is_asked = |id: &str| {
            stream.key.session_id.starts_with(id) || stream.name.session_id.starts_with(id)
        };
        if stream.state.theirs.is_none() && id.is_none_or(is_asked) {
            verified.push(compare(aim, &carrier, &stream).await?);
        }
    }
    verified.sort_by(|a, b| a.directory.cmp(&b.directory));
    Ok(verified)
}

async fn compare(aim: &Aim, carrier: &Carrier, stream: &Stream) -> Result<MirrorVerified, Failure> {
    let known = carrier.outbox().parts(stream.id)?;
    let mut missing: HashMap<PartName, u64> = known
        .iter()
        .filter(|(_, is_sent)| *is_sent)
        .map(|(part, _)| (part.name, part.about.records.unwrap_or_default()))
        .collect();
    let (mut parts, mut records, mut wrong) = (0, 0, Vec::new());
    let directory = fetch::directory(&carrier.target, &stream.name).await?;
    let mut take = |name: PartName, _: u32, body: &[u8]| {
        parts += 1;
        records += memchr::memchr_iter(b'\n', body).count() as u64;
        if missing.remove(&name).is_none() && !known.iter().any(|(part, _)| part.name == name) {
            wrong.push(format!("{name} is there, and this host did not write it"));
        }
        Ok(())
    };
    let (_, dropped) = fetch::parts(&carrier.target, &stream.name, &directory, &mut take).await?;
    for (name, why) in dropped {
        missing.remove(&name);
        wrong.push(format!("{name}: {}", self::dropped(&name, why).error));
    }
    let mut missing: Vec<(PartName, u64)> = missing.into_iter().collect();
    missing.sort();
    for (name, records) in missing {
        wrong.push(format!("{name} is missing, with {records} records"));
    }
    Ok(MirrorVerified {
        url: address(&aim.settings),
        directory: stream.name.directory(),
        parts,
        records,
        wrong,
    })
}

/// A file for a transcript's records, gone when it is closed.
pub(super) fn spool(carrier: &Carrier) -> io::Result<fs::File> {
    let path = carrier.outbox().beside("mirror.spool");
    // One at a time would do; a name of its own lets several look.
    let path = path.with_extension(format!("spool-{:016x}", rand()));
    let file = crate::store::owner_only(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn rand() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
