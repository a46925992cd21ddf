//! Which parts of a stream count, and the transcript that they make.
//!
//! A part's name tells its epoch's owner to whoever has its content, so neither an owner that did not
//! notice that it was one no more, nor an object that was cut, is taken for what it is not. Parts that others
//! stand for are left out before ([`super::merge`]).

use std::collections::{BTreeSet, HashSet};

use super::{
    meta::Meta,
    name::{Digest, PartName},
    order::{self, Step},
    owner::Owner,
};

/// Why a part's records do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Its writer was the owner no more.
    Deposed,
    /// Its content is not what its name says.
    Damaged,
}

/// Reads a stream's parts one after the other.
#[derive(Debug)]
pub struct Reading {
    /// By epoch.
    owners: Vec<Owner>,
    /// Records per epoch, of which 0 is what was there before anybody owned it.
    records: Vec<(u32, u64)>,
    /// Numbers of the parts that count.
    counted: BTreeSet<u32>,
}

impl Reading {
    /// Of a stream with these owners, in any order.
    #[must_use]
    pub fn new(mut owners: Vec<Owner>) -> Self {
        owners.sort_by_key(|owner| owner.epoch);
        Self { owners, records: Vec::new(), counted: BTreeSet::new() }
    }

    /// Of a stream of which parts were read that count: each one's number, epoch, and how many records it has.
    #[must_use]
    pub fn knowing(owners: Vec<Owner>, parts: impl Iterator<Item = (u32, u32, u64)>) -> Self {
        let mut reading = Self::new(owners);
        for (seq, epoch, records) in parts {
            reading.counted.insert(seq);
            reading.count(epoch, records);
        }
        reading
    }

    fn count(&mut self, epoch: u32, count: u64) {
        match self.records.last_mut() {
            Some((of, records)) if *of == epoch => *records += count,
            _ => self.records.push((epoch, count)),
        }
    }

    /// The order to read parts in. Those that are `replaced` need not be read.
    #[must_use]
    pub fn sorted(
        parts: impl IntoIterator<Item = PartName>,
        replaced: &HashSet<PartName>,
    ) -> Vec<PartName> {
        let mut parts: Vec<_> = parts.into_iter().filter(|part| !replaced.contains(part)).collect();
        parts.sort();
        parts.dedup();
        parts
    }

    /// The epoch whose part has this number; `None` where nobody owned it.
    #[must_use]
    pub fn epoch_of(&self, seq: u32) -> Option<&Owner> {
        self.owners.iter().rev().find(|owner| owner.claim.first_seq <= seq)
    }

    /// Whether a part's records would count.
    #[must_use]
    pub fn counts(&self, name: PartName, body: &[u8]) -> bool {
        self.epoch_of(name.seq).is_none_or(|Owner { epoch, claim }| {
            name == PartName::of(*epoch, &claim.node, name.seq, &Digest::of(body))
        })
    }

    /// Takes the next part; gives its epoch when its records count.
    ///
    /// A record is a line and counts where its newline is: a part that nobody owned may end within one. What is left
    /// without a newline when a part follows that somebody owned is none, for that begins with a line.
    ///
    /// # Errors
    /// Why they do not.
    pub fn take(&mut self, name: PartName, body: &[u8]) -> Result<u32, Dropped> {
        let epoch = match self.epoch_of(name.seq) {
            None => 0,
            Some(Owner { epoch, claim }) => {
                let (epoch, content) = (*epoch, Digest::of(body));
                if name != PartName::of(epoch, &claim.node, name.seq, &content) {
                    let of_earlier = |owner: &Owner| {
                        let (epoch, node) = (owner.epoch, &owner.claim.node);
                        name == PartName::of(epoch, node, name.seq, &content)
                    };
                    let deposed = self.owners.iter().any(of_earlier);
                    return Err(if deposed { Dropped::Deposed } else { Dropped::Damaged });
                }
                epoch
            }
        };
        self.counted.insert(name.seq);
        self.count(epoch, memchr::memchr_iter(b'\n', body).count() as u64);
        Ok(epoch)
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.iter().map(|(_, count)| count).sum()
    }

    /// From which part on whoever read this may claim the stream next; `replaced`: what merges stand for.
    ///
    /// Owner N+1 looks, claims and writes while owner N, who does not know of it yet, goes on writing. Each record
    /// counts once all the same, for N+1 claims from the part after the last one that *counted* when it looked, and
    /// every part of N beyond that is N's no more, whenever it arrives. What N wrote from there on is in no
    /// transcript until somebody who has it brings it again; what was before it N+1 has read. A number of a part
    /// that does not count must not be passed over: what N+1's own owner-to-be, or N, puts there would count beside
    /// what N+1 brings. Parts are written one after the other, so nothing arrives before one that counts, unless a
    /// list passed it over ([`Self::has_gap`]). Who finds that another one has made its claim looks anew.
    #[must_use]
    pub fn next_seq(&self, replaced: &HashSet<PartName>) -> u32 {
        let replaced = replaced.iter().map(|part| part.seq);
        let last = replaced.chain(self.counted.last().copied()).max();
        last.map_or(0, |last| last.saturating_add(1))
    }

    /// Whether a part before the last one that counts was not found: it went, or it came while the list was made,
    /// which need not be of one moment. The next list has what came.
    #[must_use]
    pub fn has_gap(&self, replaced: &HashSet<PartName>) -> bool {
        let first = self.owners.iter().map(|owner| owner.claim.first_seq).min();
        let Some(first) = first else { return false };
        let found = self.counted.iter().copied().chain(replaced.iter().map(|part| part.seq));
        let found: BTreeSet<u32> = found.filter(|seq| *seq >= first).collect();
        let is_next = |(seq, at): (u32, &u32)| seq == *at;
        !(first..).zip(&found).all(is_next)
    }

    /// The transcript as it was last: which of all records that count it is made of, as stretches of them;
    /// and whether every owner's word that it goes by could be followed. Where not, it is all of them: none is
    /// left out by a word that means something else.
    #[must_use]
    pub fn transcript(&self) -> (Vec<(u64, u64)>, bool) {
        transcript(self.owners.iter().map(|o| (o.epoch, o.claim.order.as_ref())), &self.records)
    }
}

/// Parts that `meta.json` tells of and that are not there, with how many records each had; `counted`: what is there and
/// counts, with its epoch and its records, `dropped`: what is there and does not.
///
/// Whoever wrote it may not know yet that others were made of them: what is told so are records that nothing has.
#[must_use]
pub fn missing(
    meta: &Meta,
    counted: &[(PartName, u32, u64)],
    dropped: &[PartName],
) -> Vec<(PartName, u64)> {
    let told =
        meta.parts.iter().filter_map(|part| Some((part.name()?, part.epoch?, part.records?)));
    let told: Vec<(PartName, u32, u64)> =
        told.filter(|(name, ..)| !dropped.contains(name)).collect();
    let has = |all: &[(PartName, u32, u64)], name| all.iter().any(|(other, ..)| *other == name);
    let records = |all: &[(PartName, u32, u64)], epoch| {
        all.iter().filter(|(_, of, _)| *of == epoch).map(|(.., records)| records).sum::<u64>()
    };
    let is_missing = |(name, epoch, _): &(PartName, u32, u64)| {
        let may_have = |(other, of, _): &(PartName, u32, u64)| {
            of == epoch && other.seq <= name.seq && !has(&told, *other)
        };
        !has(counted, *name)
            && (!counted.iter().any(may_have) || records(counted, *epoch) < records(&told, *epoch))
    };
    // All that one was made of may be there still.
    let is_there = |of: &String| PartName::parse(of).is_some_and(|of| has(counted, of));
    let is_in_others = |name: PartName| {
        let made = meta.replaces.iter().filter(|made| made.part == name.to_string());
        made.into_iter().any(|made| made.of.iter().all(is_there))
    };
    let gone = told.iter().filter(|part| is_missing(part) && !is_in_others(part.0));
    gone.map(|(name, _, records)| (*name, *records)).collect()
}

/// What a transcript is made of: by the orders of its epochs, in turn, and by how many records each of them
/// has, of which 0 is what nobody owned. All of them, where an order that it goes by cannot be followed.
#[must_use]
pub fn transcript<'a>(
    epochs: impl Iterator<Item = (u32, Option<&'a Vec<Step>>)>,
    records: &[(u32, u64)],
) -> (Vec<(u64, u64)>, bool) {
    let (mut lines, mut there, mut is_sound): (Vec<u64>, u64, bool) = (Vec::new(), 0, true);
    for (epoch, order) in [(0, None)].into_iter().chain(epochs) {
        let count: u64 =
            records.iter().filter(|(of, _)| *of == epoch).map(|(_, count)| count).sum();
        let after: Vec<u64> = (there..there + count).collect();
        match order {
            None => lines.extend(after),
            Some(steps) => {
                let before: Vec<u64> = (0..there).collect();
                let (made, sound) = order::apply(steps, &before, &after);
                // Made of the records themselves, whatever an earlier epoch made of them.
                (lines, is_sound) = (made, sound);
            }
        }
        there += count;
    }
    if !is_sound {
        lines = (0..there).collect();
    }
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for line in lines {
        match stretches.last_mut() {
            Some((_, to)) if *to == line => *to += 1,
            _ => stretches.push((line, line + 1)),
        }
    }
    (stretches, is_sound)
}

#[cfg(test)]
mod tests {
    use rrd_proto::Timestamp;

    use super::{
        super::{
            meta,
            owner::{Claim, Why},
        },
        *,
    };

    fn owner(epoch: u32, node: &str, first_seq: u32, order: Option<Vec<Step>>) -> Owner {
        let (node, host) = (node.to_owned(), "mac".to_owned());
        let at = Timestamp::from_millis(0);
        Owner { epoch, claim: Claim { node, host, first_seq, why: Why::Begun, at, order } }
    }

    fn part(epoch: u32, node: &str, seq: u32, body: &str) -> (PartName, Vec<u8>) {
        (PartName::of(epoch, node, seq, &Digest::of(body.as_bytes())), body.as_bytes().to_vec())
    }

    /// What counts, as text, and why the rest does not.
    fn read(owners: &[Owner], parts: &[(PartName, Vec<u8>)]) -> (String, Vec<Dropped>) {
        let mut reading = Reading::new(owners.to_vec());
        let (mut all, mut dropped) = (Vec::new(), Vec::new());
        for name in Reading::sorted(parts.iter().map(|(name, _)| *name), &HashSet::new()) {
            let body = &parts.iter().find(|(other, _)| *other == name).unwrap().1;
            match reading.take(name, body) {
                Ok(_) => all.extend_from_slice(body),
                Err(why) => dropped.push(why),
            }
        }
        let lines: Vec<&[u8]> = all.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(reading.records(), lines.len() as u64);
        let (stretches, is_sound) = reading.transcript();
        assert!(is_sound);
        let made = stretches.iter().flat_map(|(from, to)| &lines[*from as usize..*to as usize]);
        (String::from_utf8(made.copied().flatten().copied().collect()).unwrap(), dropped)
    }

    #[test]
    fn what_nobody_owns_counts_as_it_is() {
        let odd = |seq, body: &str| (PartName { seq, tag: [9; 4] }, body.as_bytes().to_vec());
        let (read, dropped) = read(&[], &[odd(1, "b\n"), odd(0, "a\n")]);
        assert_eq!((read.as_str(), dropped), ("a\nb\n", vec![]));
    }

    #[test]
    fn who_is_the_owner_no_more_writes_in_vain() {
        let owners = [owner(1, "a", 0, None), owner(2, "b", 2, None)];
        let parts = [
            part(1, "a", 0, "1\n"),
            part(1, "a", 1, "2\n"),
            part(1, "a", 2, "late\n"),
            part(2, "b", 2, "3\n"),
            part(1, "a", 3, "later\n"),
        ];
        let (made, dropped) = read(&owners, &parts);
        assert_eq!((made.as_str(), dropped), ("1\n2\n3\n", vec![Dropped::Deposed; 2]));
    }

    #[test]
    fn the_next_owner_begins_after_what_counts() {
        type Parts = &'static [(u32, &'static str, u32)];
        // Of three hosts at once: the part of the first one does not count, and that of the second one is on its
        // way. Then the part before the last one has not been seen; and then one part was made of three.
        let owners = [owner(1, "a", 0, None), owner(2, "b", 0, None)];
        let cases: [(Parts, &[u32], u32, bool); 6] = [
            (&[], &[], 0, false),
            (&[(1, "a", 0)], &[], 0, false),
            (&[(1, "a", 0), (2, "b", 0)], &[], 1, false),
            (&[(2, "b", 0), (2, "b", 2)], &[], 3, true),
            (&[(2, "b", 0)], &[0, 1, 2], 3, false),
            (&[(2, "b", 0), (2, "b", 4)], &[0, 1, 2], 5, true),
        ];
        for (parts, replaced, next, has_gap) in cases {
            let mut reading = Reading::new(owners.to_vec());
            for (epoch, node, seq) in parts {
                let (name, body) = part(*epoch, node, *seq, "1\n");
                let _ = reading.take(name, &body);
            }
            let replaced = replaced.iter().map(|seq| PartName { seq: *seq, tag: [7; 4] }).collect();
            let told = (reading.next_seq(&replaced), reading.has_gap(&replaced));
            assert_eq!(told, (next, has_gap), "{parts:?}");
        }
    }

    #[test]
    fn what_is_told_and_nowhere_is_missing() {
        let name = |seq, tag| PartName { seq, tag: [tag; 4] };
        let told = |seq: u32, epoch: Option<u32>| meta::Part {
            seq,
            uuid: name(seq, 1).tag(),
            epoch,
            records: epoch.map(|_| 2),
            ..meta::Part::default()
        };
        let mut all_told =
            Meta { parts: (0..4).map(|seq| told(seq, Some(1))).collect(), ..Meta::default() };
        let part = |seq| (name(seq, 1), 1, 2);
        let all: Vec<_> = (0..4).map(part).collect();
        let seqs = |counted: &[_], dropped: &[_]| -> Vec<u32> {
            missing(&all_told, counted, dropped).iter().map(|(name, _)| name.seq).collect()
        };
        assert_eq!(seqs(&all, &[]), [0; 0]);
        assert_eq!(seqs(&all[1..], &[]), [0]);
        assert_eq!(seqs(&[part(0), part(3)], &[]), [1, 2]);
        assert_eq!(seqs(&[part(0), part(3)], &[name(2, 1)]), [1], "why that one is not is told");
        // More came since it was told, which has nothing of that.
        assert_eq!(seqs(&[part(0), part(1), part(2), part(4)], &[]), [3]);
        // One was made of them, by a host that is not the one that told.
        assert_eq!(seqs(&[(name(0, 9), 1, 8)], &[]), [0; 0]);
        assert_eq!(seqs(&[(name(0, 9), 1, 4), part(3)], &[]), [0, 1, 2], "of some of them");
        // Who else wrote there says nothing of that.
        let theirs = Meta { parts: vec![told(7, None)], ..Meta::default() };
        assert_eq!(missing(&theirs, &all, &[]), []);
        // What one was made of is there, whoever's it is.
        let of = vec![name(0, 7).to_string(), name(1, 7).to_string()];
        let at = Timestamp::from_millis(0);
        all_told.replaces = vec![meta::Replaced { part: name(0, 1).to_string(), of, at }];
        let others = [(name(0, 7), 0, 1), (name(1, 7), 0, 1)];
        assert_eq!(missing(&all_told, &[&others, &all[1..]].concat(), &[]), []);
        assert_eq!(missing(&all_told, &[&others[1..], &all[1..]].concat(), &[])[0].0, name(0, 1));
    }

    #[test]
    fn a_part_that_was_cut_does_not_count() {
        let (name, _) = part(1, "a", 0, "1\n2\n");
        let (made, dropped) = read(&[owner(1, "a", 0, None)], &[(name, b"1\n".to_vec())]);
        assert_eq!((made.as_str(), dropped), ("", vec![Dropped::Damaged]));
    }

    #[test]
    fn of_a_rewritten_transcript_both_are_there_and_the_last_one_is_made() {
        let order = Some(vec![Step::Keep(0, 1), Step::New(1), Step::Keep(1, 2)]);
        let owners =
            [owner(1, "a", 0, None), owner(2, "a", 1, order), owner(3, "a", 2, Some(vec![]))];
        let parts = [part(1, "a", 0, "1\n2\n3\n"), part(2, "a", 1, "new\n4\n")];
        assert_eq!(read(&owners[..2], &parts).0, "1\nnew\n2\n4\n");
        assert_eq!(read(&owners, &parts).0, "", "emptied");
    }

    #[test]
    fn only_the_word_that_made_the_transcript_must_be_followed() {
        // An owner that broke off before its parts were there, and one that knew it.
        let none = Some(vec![Step::Keep(0, 1), Step::New(1)]);
        let records = [(1, 3)];
        let orders = |last: Option<Vec<Step>>| {
            let owners =
                [owner(1, "a", 0, None), owner(2, "a", 1, none.clone()), owner(3, "a", 1, last)];
            transcript(owners.iter().map(|o| (o.epoch, o.claim.order.as_ref())), &records)
        };
        assert_eq!(orders(None), (vec![(0, 3)], false), "none is left out");
        assert_eq!(orders(Some(vec![Step::Keep(1, 3)])), (vec![(1, 3)], true));
    }
}
