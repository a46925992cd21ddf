//! Whether a transcript has all that a bucket has of a stream: then its host may go on with it.
//!
//! Records are known by their lines: as the source has them, as they would go out, or as a resume writes them, which
//! takes out what is secret where the bucket has it (nobody gets that but from a host that says so), and leaves signed
//! thinking out where something was taken out of it ([`Unsigned`]). Not here: what becomes of that.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    iter,
    ops::Deref,
    sync::Arc,
};

use rrd_core::{
    frame::{Frame, Framer},
    mirror::{Digest, Meta, PartName, StreamName, meta},
    redact::{Redactor, Report},
    resume::{Unsigned, wherever},
};
use rrd_proto::Harness;

use super::{
    gather::{self, At},
    outbox::{Part, Stream},
    stream::{Carrier, Failure},
};

/// What is known of a stream.
pub(super) struct Found {
    /// With each record's hash as it was uploaded, or as this host's source had it.
    pub(super) parts: Vec<Part>,
    /// Which of all records readers show, as stretches of them. The others are there, and nobody needs them to go on.
    pub(super) shown: Vec<(u64, u64)>,
    /// What a resume changes in records, by their number among all.
    copied: BTreeMap<usize, Copied>,
    /// Hashes of records as the bucket has them, by their number among all, where they are known by others.
    uploaded: BTreeMap<usize, u64>,
    /// What the first line of a fork is wherever it is, by its number among all: as it is, and redacted.
    begun: Vec<(usize, u64)>,
    /// Reads on in the order of the parts; `None` where a resume leaves no thinking out.
    unsigned: Option<Unsigned>,
    /// As a resume takes secrets out.
    redactor: Option<Arc<Redactor>>,
    /// So many records were taken.
    records: usize,
    /// Holds a line that a part ended within: it is the next one's ([`rrd_core::mirror::read::Reading::take`]).
    framer: Framer,
    /// What was read are the bucket's own bytes.
    is_read: bool,
}

/// What a resume makes of a record.
#[derive(Debug, Clone, Copy)]
enum Copied {
    /// Nothing: it said nothing else.
    Gone,
    /// This, which says less.
    Less(u64),
    /// This, which follows another record: it is one of its own. Who has either need not have the other one: whoever
    /// resumed has what was made, and its first host what that was made of.
    Relinked(u64),
}

/// What a source has of that.
pub(super) struct Recognised {
    /// Each record as the source has it; one that it has not as it was known.
    pub(super) parts: Vec<Part>,
    /// It has all that readers show, and is no copy of what the transcript was before that was rewritten.
    pub(super) may_go_on: bool,
    /// So many that readers show it has not.
    pub(super) missing: usize,
    /// It has others.
    pub(super) has_more: bool,
    /// It has not all by these hashes, and would have by the bucket's own bytes if a resume wrote it.
    pub(super) may_be_copy: bool,
}

impl Found {
    /// Of a stream, to be filled with what is in the bucket.
    pub(super) fn of(name: &StreamName, redactor: Arc<Redactor>) -> Self {
        let unsigned = (name.harness == Harness::ClaudeCode).then(Unsigned::default);
        let redactor = Some(redactor);
        Self { unsigned, redactor, is_read: true, ..Self::kept(Vec::new()) }
    }

    /// What is known without the bucket; readers show all of it.
    pub(super) fn kept(parts: Vec<Part>) -> Self {
        Self {
            parts,
            shown: vec![(0, u64::MAX)],
            copied: BTreeMap::new(),
            uploaded: BTreeMap::new(),
            begun: Vec::new(),
            unsigned: None,
            redactor: None,
            records: 0,
            framer: Framer::new(0),
            is_read: false,
        }
    }

    /// A part in the bucket, and whether it is known to have been redacted before it came there.
    pub(super) fn take(&mut self, name: PartName, epoch: u32, body: &[u8], is_redacted: bool) {
        let mut hashes = Vec::new();
        let mut framer = match epoch {
            0 => std::mem::replace(&mut self.framer, Framer::new(0)),
            // It begins with a line, whatever another one left without its end.
            _ => Framer::new(0),
        };
        framer.feed(body, &mut |frame| {
            hashes.push(gather::hash(&frame));
            if let Some(copied) = self.copied(&frame, is_redacted) {
                self.copied.insert(self.records, copied);
            }
            self.begun.extend(self.begun(&frame).into_iter().map(|hash| (self.records, hash)));
            self.records += 1;
        });
        self.framer = framer;
        let about = meta::Part {
            seq: name.seq,
            uuid: name.tag(),
            uploaded_bytes: body.len() as u64,
            epoch: (epoch > 0).then_some(epoch),
            records: Some(hashes.len() as u64),
            sha256: Some(Digest::of(body).to_string()),
            ..meta::Part::default()
        };
        self.parts.push(Part { name, about, hashes });
    }

    /// What of these parts was read is known by its records as this host's source had them, too.
    fn know(&mut self, known: Vec<Part>) {
        let mut known: HashMap<PartName, Vec<u64>> =
            known.into_iter().map(|part| (part.name, part.hashes)).collect();
        let mut first = 0;
        for part in &mut self.parts {
            let read = part.hashes.len();
            if let Some(hashes) = known.remove(&part.name).filter(|known| known.len() == read) {
                let uploaded = std::mem::replace(&mut part.hashes, hashes);
                let both = (first..).zip(uploaded.into_iter().zip(&part.hashes));
                let others = both.filter(|(_, (uploaded, known))| uploaded != *known);
                self.uploaded.extend(others.map(|(at, (uploaded, _))| (at, uploaded)));
            }
            first += read;
        }
    }

    /// A resume has a fork begin where that is on its host.
    fn begun(&self, frame: &Frame<'_>) -> Vec<u64> {
        let Frame::Line { bytes, .. } = frame else { return Vec::new() };
        let Some(line) = wherever(bytes) else { return Vec::new() };
        let redacted = self.redactor.as_ref().map(|of| of.line(&line, &mut Report::default()));
        let redacted = redacted.map(|line| rrd_core::hash(line.as_ref()));
        iter::once(rrd_core::hash(&line)).chain(redacted).collect()
    }

    /// What a resume makes of the next record; nothing where it stays what it is.
    fn copied(&mut self, frame: &Frame<'_>, is_redacted: bool) -> Option<Copied> {
        let redactor = self.redactor.as_deref().filter(|_| !is_redacted);
        let line = match frame {
            Frame::Line { bytes, .. } => *bytes,
            Frame::Oversized { len, .. } => {
                let stand_in = redactor?.oversized(*len, &mut Report::default());
                return Some(Copied::Less(rrd_core::hash(stand_in.as_ref())));
            }
        };
        let redacted = redactor.map(|redactor| redactor.line(line, &mut Report::default()));
        let redacted: &[u8] = redacted.as_ref().map_or(line, |redacted| redacted.as_ref());
        let less = |line: &[u8]| Some(Copied::Less(rrd_core::hash(line)));
        let Some(unsigned) = &mut self.unsigned else {
            return if redacted == line { None } else { less(redacted) };
        };
        let relinked = unsigned.relinked;
        match unsigned.line(redacted) {
            None => Some(Copied::Gone),
            Some(copy) if unsigned.relinked > relinked => {
                Some(Copied::Relinked(rrd_core::hash(&copy)))
            }
            Some(copy) if *copy != *line => less(&copy),
            Some(_) => None,
        }
    }
}

/// What cannot be seen in it, whether it was redacted among that: whoever wrote it says so, of this content.
pub(super) fn as_told(part: &mut Part, meta: &Meta) {
    let is_it = |told: &&meta::Part| {
        (told.seq, &told.uuid, &told.sha256)
            == (part.about.seq, &part.about.uuid, &part.about.sha256)
    };
    if let Some(told) = meta.parts.iter().find(is_it) {
        let about = &mut part.about;
        about.redactor = told.redactor.clone();
        about.redactions = told.redactions.clone();
        (about.uploaded_at, about.source_bytes) = (told.uploaded_at, told.source_bytes);
        about.cursor_range = told.cursor_range;
        return;
    }
    // What one was made of passed what that did.
    let name = part.name.to_string();
    let made = meta.replaces.iter().find(|made| made.of.contains(&name));
    let of = made.and_then(|made| PartName::parse(&made.part));
    let of = of.and_then(|of| meta.parts.iter().find(|told| told.name() == Some(of)));
    if let Some(told) = of {
        part.about.redactor = told.redactor.clone();
    }
}

/// Where records are, by the hash of a line that tells them.
#[derive(Default)]
struct Places {
    there: HashMap<u64, VecDeque<usize>>,
    /// A resumed copy has what was made of a record; who has that has the record.
    copies: HashMap<u64, VecDeque<usize>>,
}

impl Places {
    /// The first one, of those that were not taken, that this line is.
    fn take(
        &mut self,
        as_it_is: u64,
        redacted: &impl Deref<Target = u64>,
        is_there: &[bool],
    ) -> Option<usize> {
        let next = |from: &mut HashMap<u64, VecDeque<usize>>, hash: u64| {
            let at = from.get_mut(&hash)?;
            iter::from_fn(|| at.pop_front()).find(|at| !is_there[*at])
        };
        if self.there.is_empty() {
            return None;
        }
        next(&mut self.there, as_it_is)
            .or_else(|| next(&mut self.there, **redacted))
            .or_else(|| next(&mut self.copies, as_it_is))
    }
}

/// A copy of it may be something else: what is there as its source had it nobody has looked through for secrets.
fn was_touched(part: &Part) -> bool {
    !part.about.is_redacted() || !part.about.redactions.is_empty()
}

impl Carrier {
    /// Finds out which records of this host's own transcript, which was rewritten, are copies of those in the bucket;
    /// from then on these are known as the copies have them. False where there are none.
    pub(super) async fn learn(&self, stream: &Stream, source: &At) -> Result<bool, Failure> {
        let known = self.outbox().parts(stream.id)?.into_iter();
        let known: Vec<Part> =
            known.filter(|(_, is_sent)| *is_sent).map(|(part, _)| part).collect();
        if !known.iter().any(was_touched) {
            return Ok(false);
        }
        let directory = self.directory(stream).await?;
        let (mut found, reading, _) = self.read(&stream.name, &directory).await?;
        found.shown = reading.transcript().0;
        let (id, at) = (stream.id, source.clone());
        let learn = move |carrier: &Self| {
            found.know(known.clone());
            let parts = carrier.recognise(&at, found)?.parts;
            let before = |part: &Part| known.iter().find(|known| known.name == part.name);
            let is_other =
                |part: &&Part| before(part).is_some_and(|before| before.hashes != part.hashes);
            let others: Vec<&Part> = parts.iter().filter(is_other).collect();
            carrier.outbox().set_hashes(id, &others)?;
            Ok(!others.is_empty())
        };
        self.on_disk(learn).await
    }

    /// What the source has of a stream.
    pub(super) fn recognise(&self, at: &At, found: Found) -> Result<Recognised, Failure> {
        let Found { mut parts, shown, copied, uploaded, begun, is_read, .. } = found;
        let redactor = self.redacts.then(|| self.edges.redactor());
        let mut hashes: Vec<&mut u64> =
            parts.iter_mut().flat_map(|part| &mut part.hashes).collect();
        let mut is_shown = vec![false; hashes.len()];
        for (from, to) in shown {
            let place = |at| usize::try_from(at).unwrap_or(usize::MAX).min(hashes.len());
            is_shown.get_mut(place(from)..place(to)).into_iter().for_each(|of| of.fill(true));
        }
        // Of equal records those that are shown are the ones that it has.
        let (mut of_shown, mut of_hidden) = (Places::default(), Places::default());
        let mut relinked: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, hash) in hashes.iter().enumerate() {
            let places = if is_shown[at] { &mut of_shown } else { &mut of_hidden };
            places.there.entry(**hash).or_default().push_back(at);
            if let Some(hash) = uploaded.get(&at) {
                places.copies.entry(*hash).or_default().push_back(at);
            }
            match copied.get(&at) {
                Some(Copied::Less(hash)) => {
                    places.copies.entry(*hash).or_default().push_back(at);
                }
                Some(Copied::Relinked(hash)) => relinked.entry(*hash).or_default().push(at),
                Some(Copied::Gone) | None => {}
            }
        }
        for (at, hash) in begun {
            let places = if is_shown[at] { &mut of_shown } else { &mut of_hidden };
            places.copies.entry(hash).or_default().push_back(at);
        }
        let mut met = HashSet::new();
        let mut is_there = vec![false; hashes.len()];
        let (mut has_more, mut has_hidden) = (false, false);
        gather::each(at, redactor.as_deref(), &mut |as_it_is, redacted, anywhere| {
            let is_relinked = relinked.contains_key(&as_it_is);
            if is_relinked {
                met.insert(as_it_is);
            }
            let redacted = LazyCell::new(redacted);
            let place = of_shown.take(as_it_is, &redacted, &is_there);
            let place = place.or_else(|| of_hidden.take(as_it_is, &redacted, &is_there));
            let place = place.or_else(|| {
                let hash = anywhere()?;
                let of =
                    |places: &mut Places| places.take(hash, &LazyCell::new(|| hash), &is_there);
                of(&mut of_shown).or_else(|| of(&mut of_hidden))
            });
            match place {
                Some(place) => {
                    is_there[place] = true;
                    *hashes[place] = as_it_is;
                    has_hidden |= !is_shown[place];
                }
                None => has_more |= !is_relinked,
            }
        })
        .map_err(|source| Failure::Source { path: at.path().to_owned(), source })?;
        let was_made_of_own = |at: &usize| {
            let hash = uploaded.get(at).unwrap_or(&*hashes[*at]);
            relinked.get(hash).is_some_and(|of| of.iter().any(|of| is_there[*of]))
        };
        let is_needless = |at: &usize| match copied.get(at) {
            _ if was_made_of_own(at) => true,
            Some(Copied::Gone) => true,
            Some(Copied::Relinked(hash)) if met.contains(hash) => true,
            _ => !is_shown[*at],
        };
        let is_missing = |(at, there): &(usize, &bool)| !**there && !is_needless(at);
        let missing = is_there.iter().enumerate().filter(is_missing).count();
        let has_all = missing == 0;
        // What was taken out of the transcript, and nothing else: who took it out goes on with it.
        let may_go_on = has_all && (has_more || !has_hidden);
        let may_be_copy = !is_read && !has_all && parts.iter().any(was_touched);
        Ok(Recognised { parts, may_go_on, missing, has_more, may_be_copy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(harness: Harness) -> Found {
        let name = StreamName { harness, session_id: "s".into(), agent: None };
        Found::of(&name, Arc::new(Redactor::new()))
    }

    #[test]
    fn what_a_resume_takes_out_is_known() {
        let secret = format!("{}_{}", "ghp", "16C7e42F292c6912E7710c838347Ae178B4a");
        let said = |secret: &str| {
            format!(r#"{{"type":"user","uuid":"u","message":{{"content":"use {secret}"}}}}"#)
        };
        let (raw, redacted) = (said(&secret), said("[REDACTED:github-token]"));
        for harness in [Harness::ClaudeCode, Harness::from("codex")] {
            let mut found = of(harness);
            let name = PartName::of(1, "n", 0, &Digest::of(b""));
            let body = format!("{raw}\n{redacted}\n{{}}\n");
            found.take(name, 1, body.as_bytes(), false);
            let copied: Vec<_> = found.copied.iter().collect();
            let expected = rrd_core::hash(redacted.as_bytes());
            assert!(
                matches!(copied[..], [(0, Copied::Less(hash))] if *hash == expected),
                "{copied:?}"
            );
        }
    }

    #[test]
    fn what_a_resume_changes_is_known() {
        let mut found = of(Harness::ClaudeCode);
        let answer = |uuid: &str, parent: &str, thinking: &str, text: &str| {
            let text = match text {
                "" => String::new(),
                text => format!(r#",{{"type":"text","text":"{text}"}}"#),
            };
            format!(
                r#"{{"parentUuid":"{parent}","type":"assistant","uuid":"{uuid}","message":{{"content":[{{"type":"thinking","thinking":"{thinking}","signature":"s"}}{text}]}}}}"#
            )
        };
        let lines = [
            answer("a", "p", "[REDACTED:x]", "y"),
            answer("b", "a", "[REDACTED:x]", ""),
            answer("c", "b", "fine", "y"),
            answer("d", "c", "fine", "y"),
        ];
        let name = PartName::of(1, "n", 0, &Digest::of(b""));
        found.take(name, 1, (lines.join("\n") + "\n").as_bytes(), true);
        assert!(matches!(found.copied[&0], Copied::Less(_)));
        assert!(matches!(found.copied[&1], Copied::Gone));
        assert!(matches!(found.copied[&2], Copied::Relinked(_)));
        assert_eq!((found.copied.len(), found.parts[0].hashes.len()), (3, 4));
    }
}
