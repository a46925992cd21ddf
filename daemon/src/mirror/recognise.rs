//! Whether a transcript has all that a bucket has of a stream: then its host may go on with it.
//!
//! Records are known by their lines: as the source has them, as they would go out, or as a resume writes them, which
//! takes out what is secret where the bucket has it (nobody gets that but from a host that says so), and leaves signed
//! thinking out where something was taken out of it ([`Unsigned`]). Not here: what becomes of that.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use rrd_core::{
    frame::{Frame, Framer},
    mirror::{Digest, Meta, PartName, StreamName, meta},
    redact::{Redactor, Report},
    resume::Unsigned,
};
use rrd_proto::Harness;

use super::{
    gather::{self, At},
    outbox::Part,
    stream::{Carrier, Failure},
};

/// What is known of a stream.
pub(super) struct Found {
    /// With each record's hash as it was uploaded, or as this host's source had it.
    pub(super) parts: Vec<Part>,
    /// What a resume changes in records, by their number among all.
    copied: BTreeMap<usize, Copied>,
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
    /// This, which follows another record: it is one of its own, and who has it need not have the one it was made
    /// of.
    Relinked(u64),
}

/// What a source has of that.
pub(super) struct Recognised {
    /// Each record as the source has it; one that it has not as it was known.
    pub(super) parts: Vec<Part>,
    /// It has all of them.
    pub(super) has_all: bool,
    /// So many it has not.
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

    /// What is known without the bucket.
    pub(super) fn kept(parts: Vec<Part>) -> Self {
        Self {
            parts,
            copied: BTreeMap::new(),
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
    }
}

impl Carrier {
    /// What the source has of a stream.
    pub(super) fn recognise(&self, at: &At, found: Found) -> Result<Recognised, Failure> {
        let Found { mut parts, copied, is_read, .. } = found;
        let redactor = self.redacts.then(|| self.edges.redactor());
        let mut hashes: Vec<&mut u64> =
            parts.iter_mut().flat_map(|part| &mut part.hashes).collect();
        // A resumed copy has what was made of a record; who has that has the record.
        let mut places: HashMap<u64, VecDeque<usize>> = HashMap::new();
        for (at, hash) in hashes.iter().enumerate() {
            places.entry(**hash).or_default().push_back(at);
        }
        let (mut copies, mut relinked) = (HashMap::<u64, VecDeque<usize>>::new(), HashSet::new());
        for (at, copied) in &copied {
            match copied {
                Copied::Less(hash) => copies.entry(*hash).or_default().push_back(*at),
                Copied::Relinked(hash) => drop(relinked.insert(*hash)),
                Copied::Gone => {}
            }
        }
        let mut met = HashSet::new();
        let mut is_there = vec![false; hashes.len()];
        let mut has_more = false;
        gather::each(at, redactor.as_deref(), &mut |as_it_is, redacted| {
            let mut next = |from: &mut HashMap<u64, VecDeque<usize>>, hash| {
                let at = from.get_mut(&hash)?;
                let place = std::iter::from_fn(|| at.pop_front()).find(|at| !is_there[*at])?;
                is_there[place] = true;
                Some(place)
            };
            let is_relinked = relinked.contains(&as_it_is);
            if is_relinked {
                met.insert(as_it_is);
            }
            if let Some(place) =
                next(&mut places, as_it_is).or_else(|| next(&mut places, redacted()))
            {
                *hashes[place] = as_it_is;
            } else if let Some(place) = next(&mut copies, as_it_is) {
                *hashes[place] = as_it_is;
            } else {
                has_more |= !is_relinked;
            }
        })
        .map_err(|source| Failure::Source { path: at.path().to_owned(), source })?;
        let is_needless = |at: &usize| match copied.get(at) {
            Some(Copied::Gone) => true,
            Some(Copied::Relinked(hash)) => met.contains(hash),
            Some(Copied::Less(_)) | None => false,
        };
        let is_missing = |(at, there): &(usize, &bool)| !**there && !is_needless(at);
        let missing = is_there.iter().enumerate().filter(is_missing).count();
        let has_all = missing == 0;
        // What is there as its source had it nobody has looked through for secrets.
        let was_touched =
            |part: &Part| !part.about.is_redacted() || !part.about.redactions.is_empty();
        let may_be_copy = !is_read && !has_all && parts.iter().any(was_touched);
        Ok(Recognised { parts, has_all, missing, has_more, may_be_copy })
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
