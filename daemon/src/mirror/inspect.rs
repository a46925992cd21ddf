//! Looks into a bucket for a person: what it has of a session, and whether that is what was uploaded.
//!
//! Not here: what this host knows without asking the bucket ([`super::aim`]).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    sync::Arc,
};

use futures::future::join_all;
use rrd_core::mirror::{Meta, Owner, PartName, StreamName, read::Dropped};
use rrd_proto::{CoverageState, MirrorShown, MirrorTrouble, MirrorVerified, Mirrored, Timestamp};
use serde::Deserialize;

use super::{
    aim::{Aim, address},
    calls::failed,
    fetch, found,
    gather::{self, At},
    outbox::{Merge, Part, Stream},
    stream::{Carrier, Failure},
    target::Kind,
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

/// What helps where a place does not answer.
pub(super) const UNREACHED: &str =
    "rrd mirror status says how it is with each place; rrd mirror disable URL leaves one out";

/// Among so many last records of a session is one that says when it was written.
const LAST: u64 = 50;

/// Of an owner's word.
const UNFOLLOWED: &str =
    "what it says about the order of records cannot be followed; all of them are shown";

/// A place, and the streams there of what was asked for.
pub(super) struct Place<'a> {
    pub(super) aim: &'a Aim,
    pub(super) carrier: Carrier,
    pub(super) streams: Vec<StreamName>,
}

/// Which places have something whose id begins like this; and which did not answer, and why. First is the one
/// with the newest record, for a place may take late what is old; of equal ones the one that took the last of it.
pub(super) async fn newest<'a>(aims: &'a [Arc<Aim>], id: &str) -> (Vec<Place<'a>>, Vec<String>) {
    let ask = |aim: &'a Arc<Aim>| async move {
        let found = async {
            let carrier = aim.carrier().map_err(Failure::Odd)?;
            let streams = streams(aim, &carrier, id).await?;
            let at = match &streams[..] {
                [stream] if aims.len() > 1 => found::meta(&carrier, stream).await?,
                _ => None,
            };
            Ok((at.and_then(|meta| meta.last_uploaded_at), Place { aim, carrier, streams }))
        };
        found.await.map_err(|failure| not_asked(aim, failure))
    };
    let (mut found, mut unasked) = (Vec::new(), Vec::new());
    for answer in join_all(aims.iter().map(ask)).await {
        match answer {
            Ok(one) => found.push(one),
            Err(why) => unasked.push(why),
        }
    }
    found.retain(|(_, place)| !place.streams.is_empty());
    if found.len() > 1 {
        let records = join_all(found.iter().map(|(_, place)| newest_record(place))).await;
        let mut dated = Vec::new();
        for (record, (at, place)) in records.into_iter().zip(found) {
            match record {
                Ok(record) => dated.push(((record, at), place)),
                Err(failure) => unasked.push(not_asked(place.aim, failure)),
            }
        }
        // Of those that took it at one moment, or do not say when, the first.
        dated.sort_by_key(|(at, _)| Reverse(*at));
        return (dated.into_iter().map(|(_, place)| place).collect(), unasked);
    }
    (found.into_iter().map(|(_, place)| place).collect(), unasked)
}

/// When the newest record was written that the place has of the one session; nothing of several, which somebody has
/// to choose from.
async fn newest_record(place: &Place<'_>) -> Result<Option<Timestamp>, Failure> {
    let [stream] = &place.streams[..] else { return Ok(None) };
    let spool = spool(&place.carrier)?;
    let fetched = fetch::fetch(&place.carrier, stream, spool).await?;
    let Some(mut fetched) = fetched else { return Ok(None) };
    let mut lines = Vec::new();
    fetched.write(Some(LAST), &mut lines)?;
    let at = |line: &[u8]| {
        let dated: Dated = serde_json::from_slice(line).ok()?;
        Timestamp::parse(&dated.timestamp?)
    };
    Ok(lines.split(|byte| *byte == b'\n').filter_map(at).max())
}

/// A record of a harness that says when it was written.
#[derive(Deserialize)]
struct Dated {
    timestamp: Option<String>,
}

/// Why a place was not asked.
pub(super) fn not_asked(aim: &Aim, failure: Failure) -> String {
    let (place, why) = (address(&aim.settings), failed(failure).message);
    // Most say which place it is.
    if why.contains(&place) { why } else { format!("{place}: {why}") }
}

/// What the bucket has of the session, with its last lines.
pub(super) async fn show(found: &Place<'_>, tail: u32) -> Result<Option<MirrorShown>, Failure> {
    let Place { aim, carrier, streams } = found;
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
    let spool = spool(carrier)?;
    let Some(mut fetched) = fetch::fetch(carrier, stream, spool).await? else {
        return Ok(None);
    };
    let (records, all) = fetched.records();
    let mut lines = Vec::new();
    if tail > 0 {
        fetched.write(Some(tail.into()), &mut lines)?;
        lines.drain(..lines.len().saturating_sub(TAIL));
    }
    let lines = String::from_utf8_lossy(&lines);
    let mut dropped = std::mem::take(&mut fetched.troubles);
    if !fetched.is_sound {
        let error = UNFOLLOWED.to_owned();
        dropped.push(MirrorTrouble { stream: "an owner's word".to_owned(), error });
    }
    Ok(Some(MirrorShown {
        url: address(&aim.settings),
        directory: stream.directory(),
        meta: fetched.meta.as_ref().and_then(|meta| meta_of(carrier, meta)),
        meta_is_odd: fetched.is_odd,
        redacted: fetched.is_redacted,
        records,
        earlier_records: all - records,
        dropped,
        unasked: Vec::new(),
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

/// Compares what was uploaded with what is there, and has brought again what is not. What another host mirrors is
/// looked at only if it is asked for.
pub(super) async fn verify(aim: &Aim, id: Option<&str>) -> Result<Vec<MirrorVerified>, Failure> {
    let carrier = aim.carrier().map_err(Failure::Odd)?;
    let (mut verified, mut is_any_read, mut refused) = (Vec::new(), false, None);
    for stream in aim.streams() {
        let is_meant = match id {
            None => stream.state.theirs.is_none(),
            Some(id) => is_of(&stream, id),
        };
        if !is_meant {
            continue;
        }
        match compare(aim, &carrier, &stream).await {
            Ok(one) => {
                verified.push(one);
                is_any_read = true;
            }
            // Nor would it answer for another one.
            Err(Failure::Bucket(fault)) if fault.kind.is_of_place() => return Err(fault.into()),
            Err(failure) => {
                let why = format!("cannot be read: {failure}");
                say(aim, stream.name.directory(), why, &mut verified);
                refused.get_or_insert(failure);
            }
        }
    }
    untaken(aim, id, &mut verified);
    diverged(aim, id, &mut verified)?;
    // One that refuses all of them says so once.
    if let Some(Failure::Bucket(fault)) = refused
        && fault.kind != Kind::Object
        && !is_any_read
    {
        return Err(fault.into());
    }
    verified.sort_by(|a, b| a.directory.cmp(&b.directory));
    Ok(verified)
}

/// Adds what the place does not take: what is not there is not as uploaded, either.
fn untaken(aim: &Aim, id: Option<&str>, verified: &mut Vec<MirrorVerified>) {
    let streams = aim.streams();
    for (key, error) in aim.troubled() {
        let stream = streams.iter().find(|stream| stream.key == key);
        let is_meant = |id| match stream {
            Some(stream) => is_of(stream, id),
            None => key.session_id.starts_with(id),
        };
        if !id.is_none_or(is_meant) {
            continue;
        }
        let directory = match stream {
            Some(stream) => stream.name.directory(),
            None => aim.told(&format!("{}/{}/", key.harness, key.session_id)),
        };
        let is_said = |one: &MirrorVerified| {
            one.directory == directory && one.wrong.iter().any(|wrong| wrong.contains(&error))
        };
        if !verified.iter().any(is_said) {
            say(aim, directory, format!("not mirrored: {error}"), verified);
        }
    }
}

/// Adds what went on here and on another host, which mirrors it: what only this host has of it nobody compares.
fn diverged(
    aim: &Aim,
    id: Option<&str>,
    verified: &mut Vec<MirrorVerified>,
) -> Result<(), Failure> {
    let streams = aim.streams();
    let meant = streams.iter().filter(|stream| id.is_none_or(|id| is_of(stream, id)));
    let meant: HashSet<String> = meant.map(|stream| stream.name.directory()).collect();
    let is_it =
        |one: &Mirrored| one.state == CoverageState::Diverged && meant.contains(&one.directory);
    for one in aim.list()?.into_iter().filter(is_it) {
        let by = aim.told(&one.by.unwrap_or_default());
        let why = format!(
            "not mirrored from here: it went on here and on {by}, which mirrors it; what only this host has is not \
             there, and not compared"
        );
        say(aim, one.directory, why, verified);
    }
    Ok(())
}

/// Adds what is wrong with one, read or not.
fn say(aim: &Aim, directory: String, wrong: String, verified: &mut Vec<MirrorVerified>) {
    match verified.iter_mut().find(|one| one.directory == directory) {
        Some(one) => one.wrong.push(wrong),
        None => verified.push(MirrorVerified {
            url: address(&aim.settings),
            directory,
            parts: 0,
            records: 0,
            wrong: vec![wrong],
            harmless: Vec::new(),
            foreign: Vec::new(),
            stays_out: false,
        }),
    }
}

/// Whether it is one of the session, or of the delegate, whose id begins like this.
pub(super) fn is_of(stream: &Stream, id: &str) -> bool {
    stream.key.session_id.starts_with(id) || stream.name.session_id.starts_with(id)
}

async fn compare(aim: &Aim, carrier: &Carrier, stream: &Stream) -> Result<MirrorVerified, Failure> {
    let (known, epochs, merges) = {
        let outbox = carrier.outbox();
        (outbox.parts(stream.id)?, outbox.epochs(stream.id)?, outbox.merges(stream.id)?)
    };
    // What lies in the way of what is still to come is found by asking for that.
    let claims = epochs.iter().filter(|epoch| !epoch.is_sent).map(|epoch| Owner::name(epoch.epoch));
    let parts = known.iter().filter(|(_, is_sent)| !is_sent).map(|(part, _)| part.name.to_string());
    if let Some(first) = claims.chain(parts).next() {
        carrier.target.head(&Carrier::name(stream, &first)).await?;
    }
    let mut found: HashMap<PartName, (u32, u64)> = HashMap::new();
    let (directory, said) = match aim.stays_out(&stream.key) {
        None => carrier.healed(stream).await?,
        Some(_) => (fetch::directory(&carrier.target, &stream.name).await?, Vec::new()),
    };
    let mut take = |name: PartName, epoch: u32, body: &[u8]| {
        found.insert(name, (epoch, memchr::memchr_iter(b'\n', body).count() as u64));
        Ok(())
    };
    let (reading, dropped) =
        fetch::parts(&carrier.target, &stream.name, &directory, &mut take).await?;
    let here = here(carrier, aim.source(&stream.key)).await?;
    let sent: Vec<&Part> = known.iter().filter(|(_, is_sent)| *is_sent).map(|(p, _)| p).collect();
    let is_known = |name: &PartName| known.iter().any(|(part, _)| part.name == *name);
    // Whoever claimed it last there writes it, also where this host was about to.
    let last = directory.owners.iter().max_by_key(|owner| owner.epoch);
    let is_theirs =
        stream.state.theirs.is_some() || last.is_some_and(|last| *last.claim.node != *carrier.node);
    let (mut wrong, mut harmless, mut is_broken) = (Vec::new(), said, false);
    let mut foreign = Vec::new();
    // Of what was made of others these may still be there, and whole.
    let is_to_make = |merge: &&Merge| {
        let is_sent = |name: &PartName| sent.iter().any(|part| part.name == *name);
        let is_there = |of: &PartName| found.contains_key(of);
        // Also by whoever took over what was not whole then.
        let is_known = is_sent(&merge.name) || merge.of.iter().all(is_sent);
        !is_theirs && is_known && !is_there(&merge.name) && merge.of.iter().all(is_there)
    };
    let to_make: Vec<PartName> = merges.iter().filter(is_to_make).map(|merge| merge.name).collect();
    let mut stays_out = aim.stays_out(&stream.key).filter(|_| !to_make.is_empty());
    let again = match stays_out {
        Some(_) => "",
        None => ", and it is made of that again",
    };
    let is_mended = |name: &PartName| !is_known(name) && !is_theirs && stream.state.lost == 0;
    let is_aside =
        |name: &PartName| is_mended(name) && stream.state.aside.contains(&name.to_string());
    for (name, _) in dropped.iter().filter(|(name, why)| *why == Dropped::Damaged && is_aside(name))
    {
        harmless.push(format!(
            "{name}: its content is not what its name says; what was in it is there in other parts, so nothing is \
             lost, and it may be deleted there"
        ));
    }
    for (name, why) in dropped.iter().filter(|(name, _)| !is_aside(name)) {
        // What somebody wrote when another one had claimed it is nobody's loss: that one has all that counts, or
        // it is brought again.
        let is_left = is_known(name) && (!is_theirs || here.is_none());
        let trouble = fetch::trouble(&directory, *name, *why).error;
        if to_make.contains(name) {
            wrong.push(format!("{name}: {trouble}{again}"));
            continue;
        }
        let is_foreign = !is_known(name) && !is_theirs && directory.made_of(*name).is_empty();
        if *why == Dropped::Damaged && is_foreign {
            let object = Carrier::name(stream, &name.to_string());
            let object = format!("{}/{object}", address(&aim.settings));
            wrong.push(format!(
                "{name}: {trouble}; this host did not put it there: deleting {object} ends this"
            ));
            foreign.push(object);
        } else if *why == Dropped::Damaged || is_left {
            wrong.push(format!("{name}: {trouble}"));
        }
        is_broken |= is_known(name);
    }
    let mut lost = Vec::new();
    // While parts are on their way a word may be of what is still to come.
    if !reading.transcript().1 && sent.len() == known.len() {
        let said = directory.owners.iter().filter(|owner| owner.claim.order.is_some());
        let name = Owner::name(said.map(|owner| owner.epoch).max().unwrap_or(0));
        lost.push(format!("{name}: {UNFOLLOWED}"));
    }
    if is_theirs {
        // Whoever has it may have made few parts of many.
        lost.extend(fewer(&sent, &found, &dropped));
    } else {
        // What a part was made of is there for a while, and read where that part is not.
        let replaced: HashSet<PartName> =
            merges.iter().flat_map(|merge| merge.of.iter().copied()).collect();
        let strange = found.keys().filter(|name| !is_known(name) && !replaced.contains(name));
        let before = wrong.len();
        wrong
            .extend(strange.map(|name| format!("{name} is there, and this host did not write it")));
        // What readers show is to be what the transcript is, whoever brought that.
        is_broken |= wrong.len() > before;
        let is_missing = |part: &&&Part| {
            !found.contains_key(&part.name) && dropped.iter().all(|(name, _)| *name != part.name)
        };
        for part in sent.iter().filter(is_missing) {
            if to_make.contains(&part.name) {
                let records = part.hashes.len();
                wrong.push(format!(
                    "{} is missing, with {records} records; what it was made of is there{again}",
                    part.name
                ));
                continue;
            }
            let (records, left) = (part.hashes.len(), still(&part.hashes, here.as_ref()));
            let instead = match directory.made_of(part.name).is_empty() {
                true => "",
                false => "; what is left of what it was made of is read in its place",
            };
            lost.push(format!("{} is missing, with {records} records{left}{instead}", part.name));
        }
        if let Some(changed) = changed(carrier, stream, here.as_ref())? {
            lost.push(format!("{changed} records of the transcript are others than were uploaded"));
        }
    }
    if stays_out.is_none() && !to_make.is_empty() {
        for name in &to_make {
            carrier.outbox().set_merged_at(stream.id, *name, None)?;
        }
        aim.make_again(&stream.key);
    }
    if here.is_some() && (is_broken || !lost.is_empty()) {
        stays_out = aim.stays_out(&stream.key);
        if stays_out.is_none() {
            aim.mend(&stream.key);
        }
    }
    wrong.extend(directory.in_the_way.iter().map(|fault| format!("not mirrored: {fault}")));
    wrong.sort();
    wrong.extend(lost);
    wrong.extend(stays_out.map(|why| format!("nothing of it is brought again: {why}")));
    if stream.state.lost > 0 && !is_theirs {
        let count = stream.state.lost;
        wrong.push(format!(
            "{count} records went from there earlier, and its transcript has them no more"
        ));
    }
    if !is_theirs {
        wrong.extend(stream.state.wrong(here.is_some()));
    }
    Ok(MirrorVerified {
        url: address(&aim.settings),
        directory: stream.name.directory(),
        parts: found.len() as u64,
        records: found.values().map(|(_, records)| records).sum(),
        wrong,
        harmless,
        foreign,
        stays_out: stays_out.is_some(),
    })
}

/// A transcript as it is here.
struct Here {
    /// As it was before it was read.
    looks: (u64, i64),
    /// The hash of each record.
    records: Vec<u64>,
}

/// Reads it; nothing where it is gone.
async fn here(carrier: &Carrier, source: Option<At>) -> Result<Option<Here>, Failure> {
    let Some((source, looks)) = source.and_then(|source| Some((source.clone(), source.looks()?)))
    else {
        return Ok(None);
    };
    let read = move |_: &Carrier| {
        let mut records = Vec::new();
        match gather::each(&source, None, &mut |hash, _, _| records.push(hash)) {
            Ok(()) => Ok(Some(Here { looks, records })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::Read(error)),
        }
    };
    carrier.on_disk(read).await
}

/// How many of these records the transcript still has, in words.
fn still(records: &[u64], here: Option<&Here>) -> String {
    let Some(here) = here else {
        return "; its transcript is gone here, and nothing can bring them again".to_owned();
    };
    let here: HashSet<u64> = here.records.iter().copied().collect();
    match records.iter().filter(|record| here.contains(record)).count() {
        all if all == records.len() => String::new(),
        some => format!(", and its transcript has only {some} of them"),
    }
}

/// How many records of a transcript that is brought are not those that were; nothing where all are.
fn changed(
    carrier: &Carrier,
    stream: &Stream,
    here: Option<&Here>,
) -> Result<Option<usize>, Failure> {
    // What is still to be looked at is not said to be there.
    let Some(here) = here.filter(|here| stream.state.settled == Some(here.looks)) else {
        return Ok(None);
    };
    let there = carrier.there(stream.id)?;
    let Some(stretches) = &there.transcript else { return Ok(None) };
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let there: Vec<u64> = stretches
        .iter()
        .filter_map(|(from, to)| there.hashes.get(place(*from)..place(*to)))
        .flatten()
        .copied()
        .collect();
    let same = there.iter().zip(&here.records).filter(|(there, here)| there == here).count();
    Ok(Some(there.len() - same).filter(|changed| *changed > 0))
}

/// Of which epochs there are fewer records than this host knows of.
fn fewer(
    sent: &[&Part],
    found: &HashMap<PartName, (u32, u64)>,
    dropped: &[(PartName, Dropped)],
) -> Vec<String> {
    let mut epochs: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for part in sent.iter().filter(|part| dropped.iter().all(|(name, _)| *name != part.name)) {
        epochs.entry(part.about.epoch.unwrap_or(0)).or_default().0 += part.hashes.len() as u64;
    }
    for (epoch, records) in found.values() {
        epochs.entry(*epoch).or_default().1 += records;
    }
    let fewer = epochs.into_iter().filter(|(_, (known, found))| found < known);
    fewer
        .map(|(epoch, (known, found))| {
            format!("{} of {known} records of epoch {epoch} are missing", known - found)
        })
        .collect()
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
