//! Reads a stream back out of a bucket: the parts that count, and the transcript that they make.
//!
//! Each part is checked against its name. Not here: where the transcript goes then.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::File,
    future::ready,
    io::{self, Read, Seek, SeekFrom, Write},
    pin::pin,
    sync::Arc,
};

use bytes::Bytes;
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, FuturesOrdered},
};
use rrd_core::{
    mirror::{
        Meta, PartName, StreamName, merge,
        read::{self, Dropped, Reading},
    },
    redact::{Report, Stream as Lines},
};
use rrd_proto::MirrorTrouble;
use tokio::sync::mpsc;

pub(crate) use super::directory::{Directory, directory, directory_knowing, meta_name};
use super::{
    directory::AT_ONCE,
    stream::{Carrier, Failure, LONGEST_PART},
    target::Target,
};

/// Bytes of parts that are asked for at once, by what the list says of them: as many as are held in memory. A longer
/// part comes alone.
const BYTES_AT_ONCE: u64 = 64 << 20;

/// A stream that was read.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) meta: Option<Meta>,
    /// Its `meta.json` is there, and cannot be understood.
    pub(crate) is_odd: bool,
    /// Parts that do not count, and whatever else is not as it was put there, and why.
    pub(crate) troubles: Vec<MirrorTrouble>,
    /// Every owner's word about the order of records could be followed; where not, the transcript is all of them.
    pub(crate) is_sound: bool,
    /// Nothing is in it that has not passed rrd's redactor, before it came into the bucket or on the way out.
    pub(crate) is_redacted: bool,
    /// So many parts passed it on the way out, for nobody knows that they had before.
    pub(crate) passed: u64,
    /// All records that count.
    spool: File,
    /// Where each of them ends in there.
    ends: Vec<u64>,
    /// So long is it.
    length: u64,
    /// Which of them the transcript is made of.
    stretches: Vec<(u64, u64)>,
}

/// Takes a part that counts, its epoch, and its content.
pub(crate) type Take<'a> = &'a mut (dyn FnMut(PartName, u32, &[u8]) -> io::Result<()> + Send);

/// Every part that nothing stands for, in order.
fn counting(directory: &Directory) -> Vec<PartName> {
    let replaced = merge::replaced(&directory.parts, &directory.merges);
    Reading::sorted(directory.parts.iter().copied(), &replaced)
}

/// These parts, with their content; after one that was made of several, and is not what it was, what of those is still
/// there.
fn bodies<'a>(
    target: &'a Target,
    stream: &'a StreamName,
    directory: &Directory,
    names: Vec<PartName>,
) -> impl Stream<Item = Result<(PartName, Bytes), Failure>> + Send + use<'a> {
    let sized = |name| (name, directory.sizes.get(&name).copied().unwrap_or(0));
    let made = names.iter().map(|name| (*name, directory.made_of(*name)));
    let made = made.map(|(name, of)| (name, of.into_iter().map(sized).collect::<VecDeque<_>>()));
    let mut made: HashMap<PartName, _> = made.filter(|(_, of)| !of.is_empty()).collect();
    let reading = Arc::new(Reading::new(directory.owners.clone()));
    let first = asked(target, stream, names.into_iter().map(sized).collect());
    let with_those = first.and_then(move |(name, body)| {
        let (of, reading) = (made.remove(&name), Arc::clone(&reading));
        async move {
            let Some(of) = of else { return Ok(((name, body), VecDeque::new())) };
            let compare = move || (reading.counts(name, &body), body);
            let (is_whole, body) =
                tokio::task::spawn_blocking(compare).await.map_err(io::Error::other)?;
            Ok(((name, body), if is_whole { VecDeque::new() } else { of }))
        }
    });
    with_those
        .map_ok(move |(part, of)| stream::once(ready(Ok(part))).chain(asked(target, stream, of)))
        .try_flatten()
}

/// These parts, whose sizes stand beside them, with their content. Several are asked for at once.
fn asked<'a>(
    target: &'a Target,
    stream: &'a StreamName,
    names: VecDeque<(PartName, u64)>,
) -> impl Stream<Item = Result<(PartName, Bytes), Failure>> + Send + use<'a> {
    let get = move |name: PartName, size| async move {
        let object = stream.directory() + &name.to_string();
        // Deleted since the list was made: what stands for it is in the next list.
        let (body, _) = target.get(&object, LONGEST_PART).await?.ok_or_else(|| {
            Failure::Odd(format!("{object} went while the session was being read; try again"))
        })?;
        Ok((size, (name, body)))
    };
    at_once(names, get)
}

/// What `get` brings of each of these, whose sizes stand beside them, in their order.
fn at_once<K, T, F: Future<Output = Result<(u64, T), Failure>>>(
    left: VecDeque<(K, u64)>,
    get: impl Fn(K, u64) -> F,
) -> impl Stream<Item = Result<T, Failure>> {
    let asking = (left, FuturesOrdered::new(), 0_u64, get);
    stream::try_unfold(asking, async |(mut left, mut asked, mut bytes, get)| {
        while let Some((key, size)) = left.pop_front() {
            let more = bytes.saturating_add(size);
            if asked.len() == AT_ONCE || !asked.is_empty() && more > BYTES_AT_ONCE {
                left.push_front((key, size));
                break;
            }
            bytes = more;
            asked.push_back(get(key, size));
        }
        let Some(got) = asked.next().await else { return Ok(None) };
        let (size, got) = got?;
        Ok(Some((got, (left, asked, bytes.saturating_sub(size), get))))
    })
}

/// Hands over every part that counts, in order, with its epoch; and gives what does not count.
pub(crate) async fn parts(
    target: &Target,
    stream: &StreamName,
    directory: &Directory,
    take: Take<'_>,
) -> Result<(Reading, Vec<(PartName, Dropped)>), Failure> {
    let reading = Reading::new(directory.owners.clone());
    parts_on(target, stream, directory, counting(directory), reading, take).await
}

/// The same of these parts, where those before them were read.
pub(super) async fn parts_on(
    target: &Target,
    stream: &StreamName,
    directory: &Directory,
    names: Vec<PartName>,
    mut reading: Reading,
    take: Take<'_>,
) -> Result<(Reading, Vec<(PartName, Dropped)>), Failure> {
    let mut bodies = pin!(bodies(target, stream, directory, names));
    let mut dropped = Vec::new();
    while let Some((name, body)) = bodies.try_next().await? {
        match reading.take(name, &body) {
            Ok(epoch) => take(name, epoch, &body)?,
            Err(why) => dropped.push((name, why)),
        }
    }
    Ok((reading, dropped))
}

/// Reads a whole stream; `spool` is an empty file for its records. What is not known to have been redacted
/// before is on its way into that file, unless the user wants the bytes of this place as they are.
pub(crate) async fn fetch(
    carrier: &Carrier,
    stream: &StreamName,
    spool: File,
) -> Result<Option<Fetched>, Failure> {
    let target = &*carrier.target;
    let directory = directory(target, stream).await?;
    if directory.parts.is_empty() && directory.owners.is_empty() {
        return Ok(None);
    }
    let reading = Reading::new(directory.owners.clone());
    let redacted = redacted(directory.meta.as_ref());
    let redactor = carrier.redacts.then(|| carrier.edges.redactor());
    let (took, mut parts) = mpsc::channel::<(PartName, Bytes)>(1);
    // What comes is checked and written off the runtime's threads while the next is on its way.
    let spooled = tokio::task::spawn_blocking(move || {
        let mut spooling = Spooling {
            lines: redactor.as_deref().map(Lines::new),
            reading,
            redacted,
            report: Report::default(),
            spooled: Spooled { spool, ends: Vec::new(), length: 0 },
            dropped: Vec::new(),
            counted: Vec::new(),
            is_redacted: true,
            passed: 0,
        };
        while let Some((name, body)) = parts.blocking_recv() {
            spooling.take(name, &body)?;
        }
        spooling.finish()?;
        Ok::<_, io::Error>(Spooling { lines: None, ..spooling })
    });
    let mut bodies = pin!(bodies(target, stream, &directory, counting(&directory)));
    let asked = async move {
        while let Some(part) = bodies.try_next().await? {
            // Nobody takes what cannot be written: why is told at once.
            if took.send(part).await.is_err() {
                break;
            }
        }
        Ok::<_, Failure>(())
    };
    let asked = asked.await;
    let spooled = spooled.await.map_err(io::Error::other)??;
    asked?;
    let Spooling { reading, report, spooled, dropped, counted, is_redacted, passed, .. } = spooled;
    let Spooled { spool, ends, length } = spooled;
    carrier.edges.count_copied(&report);
    let (stretches, is_sound) = reading.transcript();
    let is_sound = is_sound && directory.is_in_order();
    let mut troubles: Vec<MirrorTrouble> =
        dropped.iter().map(|(name, why)| trouble(&directory, *name, *why)).collect();
    let torn = directory.torn.iter().map(|torn| {
        let stream = torn.name.rsplit('/').next().unwrap_or_default().to_owned();
        MirrorTrouble { stream, error: torn.trouble() }
    });
    troubles.extend(torn);
    troubles.extend(missing(target, stream, &directory, &counted, &dropped).await?);
    let Directory { meta, is_odd, .. } = directory;
    Ok(Some(Fetched {
        meta,
        is_odd,
        troubles,
        is_sound,
        is_redacted,
        passed,
        spool,
        ends,
        length,
        stretches,
    }))
}

/// What `meta.json` tells of, and is not there.
async fn missing(
    target: &Target,
    stream: &StreamName,
    directory: &Directory,
    counted: &[(PartName, u32, u64)],
    dropped: &[(PartName, Dropped)],
) -> Result<Vec<MirrorTrouble>, Failure> {
    let Some(meta) = &directory.meta else { return Ok(Vec::new()) };
    let dropped: Vec<PartName> = dropped.iter().map(|(name, _)| *name).collect();
    let mut missing = read::missing(meta, counted, &dropped);
    if !missing.is_empty() {
        // It was read after the list was made: what came in between is in the next list.
        let prefix = stream.directory();
        let list = target.list(prefix.trim_end_matches('/')).await?;
        let is_there = |name: &PartName| {
            list.iter().any(|object| object.name.strip_prefix(&prefix) == Some(&name.to_string()))
        };
        missing.retain(|(name, _)| !is_there(name));
    }
    let trouble = |(name, records): (PartName, u64)| {
        let count = if records == 1 { "1 record".to_owned() } else { format!("{records} records") };
        let error = format!("it is not there, though meta.json tells of it, with {count}");
        MirrorTrouble { stream: name.to_string(), error }
    };
    Ok(missing.into_iter().map(trouble).collect())
}

/// Why a part does not count, in words.
pub(super) fn trouble(directory: &Directory, name: PartName, why: Dropped) -> MirrorTrouble {
    let error = match why {
        Dropped::Deposed => "written by a host that was the owner no more",
        Dropped::Damaged if !directory.made_of(name).is_empty() => {
            "its content is not what its name says; what it was made of is read in its place"
        }
        Dropped::Damaged => "its content is not what its name says; no reader counts it",
    };
    MirrorTrouble { stream: name.to_string(), error: error.to_owned() }
}

/// Parts of which `meta.json` says that rrd redacted them, and what those that it says it of were made of.
pub(super) fn redacted(meta: Option<&Meta>) -> HashSet<(u32, String)> {
    let Some(meta) = meta else { return HashSet::new() };
    let parts = meta.parts.iter().filter(|part| part.is_redacted());
    let parts: HashSet<(u32, String)> = parts.map(|part| (part.seq, part.uuid.clone())).collect();
    let key = |name: &str| PartName::parse(name).map(|name| (name.seq, name.tag()));
    let made = meta.replaces.iter();
    let made = made.filter(|made| key(&made.part).is_some_and(|part| parts.contains(&part)));
    let of: Vec<(u32, String)> =
        made.flat_map(|made| made.of.iter().filter_map(|of| key(of))).collect();
    parts.into_iter().chain(of).collect()
}

/// Records that count, one part after the other.
struct Spooling<'r> {
    /// Takes the secrets out, unless none are to be.
    lines: Option<Lines<'r>>,
    reading: Reading,
    redacted: HashSet<(u32, String)>,
    report: Report,
    spooled: Spooled,
    dropped: Vec<(PartName, Dropped)>,
    /// Parts that do, each with its epoch and its records.
    counted: Vec<(PartName, u32, u64)>,
    /// As in [`Fetched`].
    is_redacted: bool,
    passed: u64,
}

struct Spooled {
    spool: File,
    /// As in [`Fetched`].
    ends: Vec<u64>,
    length: u64,
}

impl Spooling<'_> {
    fn take(&mut self, name: PartName, body: &[u8]) -> io::Result<()> {
        let epoch = match self.reading.take(name, body) {
            Ok(epoch) => epoch,
            Err(why) => {
                self.dropped.push((name, why));
                return Ok(());
            }
        };
        self.counted.push((name, epoch, memchr::memchr_iter(b'\n', body).count() as u64));
        if epoch > 0 {
            // Begins with a line, whatever another one left without its end.
            self.lines.iter_mut().for_each(Lines::drop_torn);
            self.spooled.drop_torn()?;
        }
        // What nobody owned may have any name.
        let is_known = epoch > 0 && self.redacted.contains(&(name.seq, name.tag()));
        match &mut self.lines {
            // A line, and what is secret in it, may begin in one part and end in the next.
            Some(lines) if !is_known => {
                self.passed += 1;
                let mut out = Vec::with_capacity(body.len());
                lines.feed(body, &mut self.report, &mut |_, line, _| {
                    out.extend_from_slice(line.as_ref());
                    out.push(b'\n');
                });
                self.spooled.write(&out)
            }
            lines => {
                self.is_redacted &= is_known || lines.is_some();
                self.spooled.write(body)
            }
        }
    }

    /// A last line without an end.
    fn finish(&mut self) -> io::Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        let mut out = Vec::new();
        lines.finish(&mut self.report, &mut |_, line, _| out.extend_from_slice(line.as_ref()));
        self.spooled.write(&out)
    }
}

impl Spooled {
    fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let at = self.length;
        self.ends.extend(memchr::memchr_iter(b'\n', body).map(|end| at + end as u64 + 1));
        self.length += body.len() as u64;
        self.spool.write_all(body)
    }

    fn drop_torn(&mut self) -> io::Result<()> {
        let whole = self.ends.last().copied().unwrap_or(0);
        if whole < self.length {
            self.spool.set_len(whole)?;
            self.spool.seek(SeekFrom::Start(whole))?;
            self.length = whole;
        }
        Ok(())
    }
}

impl Fetched {
    /// How many records the transcript has, and how many there are in all.
    pub(crate) fn records(&self) -> (u64, u64) {
        let made = self.stretches.iter().map(|(from, to)| to - from).sum();
        (made, self.ends.len() as u64)
    }

    /// The transcript is what stands in the file, and nothing else does.
    pub(crate) fn is_in_order(&self) -> bool {
        let all = self.ends.len() as u64;
        self.end_of(all) == self.length && (all == 0 || self.stretches == [(0, all)])
    }

    /// The transcript as it was last, or its last lines.
    pub(crate) fn write(&mut self, last: Option<u64>, out: &mut dyn Write) -> io::Result<()> {
        let (made, _) = self.records();
        let mut skip = last.map_or(0, |last| made.saturating_sub(last));
        for (from, to) in self.stretches.clone() {
            let skipped = skip.min(to - from);
            skip -= skipped;
            let (start, end) = (self.end_of(from + skipped), self.end_of(to));
            self.spool.seek(SeekFrom::Start(start))?;
            io::copy(&mut (&self.spool).take(end - start), out)?;
        }
        Ok(())
    }

    /// Where the record before this one ends.
    fn end_of(&self, record: u64) -> u64 {
        let before = usize::try_from(record).ok().and_then(|record| record.checked_sub(1));
        before.and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_at_once_fits_into_memory() {
        let most = Cell::new((0, 0));
        let now = Cell::new((0, 0));
        let sizes = |nth: u64| match nth {
            7 => BYTES_AT_ONCE * 3,
            nth => [1, BYTES_AT_ONCE / 3, BYTES_AT_ONCE - 1][usize::try_from(nth / 100).unwrap()],
        };
        let get = |nth: u64, size| {
            let (bytes, count) = now.get();
            now.set((bytes + size, count + 1));
            let (most_bytes, most_count) = most.get();
            let of_one = if count == 0 { 0 } else { bytes + size };
            most.set((most_bytes.max(of_one), most_count.max(count + 1)));
            async move {
                // The later ones are there first.
                for _ in 0..(AT_ONCE as u64 - nth % AT_ONCE as u64) {
                    tokio::task::yield_now().await;
                }
                Ok((size, (nth, size)))
            }
        };
        let all = at_once((0..300).map(|nth| (nth, sizes(nth))).collect(), get);
        let mut all = pin!(all);
        for nth in 0..300 {
            let (got, size) = all.try_next().await.unwrap().unwrap();
            assert_eq!(got, nth);
            let (bytes, count) = now.get();
            now.set((bytes - size, count - 1));
        }
        assert!(all.try_next().await.unwrap().is_none());
        let (bytes, count) = most.get();
        assert_eq!(count, AT_ONCE);
        assert!((BYTES_AT_ONCE - 16..=BYTES_AT_ONCE).contains(&bytes), "{bytes}");
    }
}
