//! One session of a database: what of its records has been taken, and what to do with the rest.
//!
//! Reading is in two steps, so that no read transaction lasts while anything else is waited for:
//! [`Session::fetch`] compares and copies records out of the database, [`Session::take`] makes events
//! of them. A history that is not what it was is read anew from the last point up to which it still
//! is: a few such points are kept of a session at work, else from its start. Not here: which sessions
//! have changed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    sync::Arc,
};

use rrd_core::{
    cursor::{Cursor, FileId, Rows},
    fact::{Origin, Parsed, issue},
    fold::Fold,
    harness::{Entries, Format, Parser, ParserState},
    long::Long,
    tree::Tree,
};
use rrd_proto::{Event, SessionKey};

use super::database::{Record, SessionRow, Snapshot, Unreadable};
use crate::{
    store::{Commit, FileState, StoredEvent},
    tail::{branches, take::Ledger},
};

/// A commit is made after so many bytes of records.
const STRETCH: usize = 1 << 20;

/// Records are copied out of the database up to about so many bytes at once.
const BATCH: usize = 4 << 20;

/// Records at the beginning and the end of a long session that are read for a first row.
const GLANCE: usize = 12;

/// Points a history can be read on from lie so many records apart, …
const ANCHORS_APART: i64 = 256;

/// … and the last few are kept: people take back what was said last.
const ANCHORS: usize = 4;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) file: FileState,
    /// What has been taken, while that is not all.
    pub(super) partial: Option<Arc<Fold>>,
    /// A row of it is shown.
    pub(super) shown: bool,
    /// There are records of it, in their table or moved out.
    pub(super) filled: bool,
    /// What is being read was begun since the start of this program.
    begun: bool,
    /// Everything has been taken at least once since then.
    settled: bool,
    /// Keys of records taken in an earlier reading, while the history is read anew.
    known: Option<HashSet<u64>>,
    /// Those that have not been met again, in a reading that shows which records still stand.
    unmet: Option<HashSet<u64>>,
    /// Keys of records that were summed up: copies of them may follow, and be summed up in turn.
    summed_up: HashSet<u64>,
    /// Keys of records that were taken back before they were read for the first time, and whether one that
    /// says the same stands after them.
    taken_back: HashMap<u64, bool>,
    /// What is found out of which records stand, after a branch was left.
    outline: Option<Outline>,
    /// Keys of records that do not stand, where that was found out before they are read.
    left: Option<HashSet<u64>>,
    anchors: VecDeque<Anchor>,
    /// Where another database's state of it is stored, from which it was taken over.
    moved_from: Option<String>,
}

/// A point the history can be read on from.
#[derive(Debug)]
struct Anchor {
    rows: Rows,
    last: Option<u64>,
    fold: Arc<Fold>,
    parser: ParserState,
    /// Keys of every record ever taken after it.
    since: HashSet<u64>,
}

/// The entries of a history that is a tree, as far as they have been fetched.
#[derive(Debug, Default)]
struct Outline {
    tree: Tree,
    last: Option<i64>,
}

/// What was fetched of one session.
pub(super) struct Batch {
    pub(super) row: SessionRow,
    id: FileId,
    begin: Begin,
    records: Vec<Record>,
    moved_out: Vec<Vec<u8>>,
    /// Every entry there is, where a branch was left before what is fetched here.
    tree: Option<Tree>,
    /// There are no more.
    ended: bool,
}

/// Where to take it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Nothing has been taken.
    Fresh,
    /// From the cursor.
    On,
    /// From this anchor.
    Anchor(usize),
    /// From the start.
    Anew,
}

impl Session {
    /// Nothing is known of it.
    pub(super) fn new(path: String, session: SessionKey, id: FileId) -> Self {
        let (cursor, parser) = (Cursor::start(id), ParserState::default());
        let file = FileState { path, session, cursor, parser, size: 0, mtime: 0 };
        Self {
            file,
            partial: None,
            shown: false,
            filled: false,
            begun: false,
            settled: false,
            known: None,
            unmet: None,
            summed_up: HashSet::new(),
            taken_back: HashMap::new(),
            outline: None,
            left: None,
            anchors: VecDeque::new(),
            moved_from: None,
        }
    }

    /// It was read from another database until now, up to `known`; this one's copy goes on. Its records
    /// are all read, and those that both have are told from the others by their content.
    pub(super) fn instead(
        path: String,
        other: String,
        session: SessionKey,
        id: FileId,
        known: Option<Arc<Fold>>,
    ) -> Self {
        let mut new = Self::new(path, session, id);
        if known.is_some() {
            (new.file.cursor.rows, new.file.cursor.epoch) = (Some(Rows::default()), 1);
        }
        Self { partial: known, moved_from: Some(other), ..new }
    }

    /// What the index has of it.
    pub(super) fn stored(file: FileState, fold: Arc<Fold>) -> Self {
        let session = Self::new(String::new(), file.session.clone(), file.cursor.id);
        Self { file, filled: fold.has_taken_any(), partial: Some(fold), ..session }
    }

    /// Whether its row tells of no change since it was taken.
    pub(super) fn looks_as_taken(&self, row: &SessionRow, id: FileId) -> bool {
        let cursor = &self.file.cursor;
        let rewritten = cursor.rows.map(|rows| rows.rewritten);
        (cursor.tail, cursor.id, rewritten) == (rrd_core::hash(&row.json), id, Some(row.rewritten))
    }

    /// Whether its records are what was taken.
    pub(super) fn is_as_taken(
        &self,
        row: &SessionRow,
        snapshot: &Snapshot,
    ) -> Result<bool, Unreadable> {
        let now = snapshot.amount_to(&row.id, i64::MAX)?;
        let now = Rows { rewritten: row.rewritten, ..now };
        Ok(self.file.cursor.rows == Some(now))
    }

    /// Copies out what is to be taken next, as far as time allows.
    pub(super) fn fetch(
        &mut self,
        row: SessionRow,
        id: FileId,
        format: &Format,
        snapshot: &Snapshot,
    ) -> Result<Batch, Unreadable> {
        let begin = self.begin(&row, snapshot)?;
        let rows = match begin {
            Begin::Fresh | Begin::Anew => Rows::default(),
            Begin::On => self.file.cursor.rows.unwrap_or_default(),
            Begin::Anchor(i) => self.anchors[i].rows,
        };
        let after = (rows.count > 0).then_some(rows.last);
        let (mut records, mut bytes) = (Vec::new(), 0);
        let ended = snapshot.records(&row.id, after, &mut |record| {
            bytes += record.line.len();
            records.push(record);
            bytes < BATCH
        })?;
        let none = ended && records.is_empty() && rows.count == 0;
        let moved_out = if none { snapshot.moved_out(&row.id)? } else { Vec::new() };
        let mut tree = None;
        match format.entries.filter(|_| ended) {
            // All of it is at hand.
            Some(entries) if none || begin == Begin::Anew => {
                let whole = tree.insert(Tree::default());
                let lines = moved_out.iter().map(|line| (line, rrd_core::hash(line)));
                records
                    .iter()
                    .map(|record| (&record.line, record.key))
                    .chain(lines)
                    .for_each(|(line, key)| branches::add(whole, entries, line, Some(key)));
            }
            Some(entries) if begin == Begin::On && self.owes_outline() => {
                tree = self.outline(&row.id, entries, snapshot)?;
            }
            _ => self.outline = None,
        }
        Ok(Batch { row, id, begin, records, moved_out, tree, ended })
    }

    /// A branch was left, and it is not known yet which records stand.
    fn owes_outline(&self) -> bool {
        self.file.parser.has_left && self.left.is_none()
    }

    /// Goes on reading what every record hangs on; all of it, when time is not over before.
    fn outline(
        &mut self,
        session: &str,
        entries: Entries,
        snapshot: &Snapshot,
    ) -> Result<Option<Tree>, Unreadable> {
        let Outline { mut tree, mut last } = self.outline.take().unwrap_or_default();
        let ended = snapshot.records(session, last, &mut |record| {
            last = Some(record.number);
            branches::add(&mut tree, entries, &record.line, Some(record.key));
            true
        })?;
        if !ended {
            self.outline = Some(Outline { tree, last });
            return Ok(None);
        }
        if last.is_none() {
            for line in snapshot.moved_out(session)? {
                branches::add(&mut tree, entries, &line, Some(rrd_core::hash(&line)));
            }
        }
        Ok(Some(tree))
    }

    /// Finds out which records stand before they are read, for whoever cannot be told afterwards.
    pub(super) fn look_ahead(
        &mut self,
        format: &Format,
        snapshot: &Snapshot,
    ) -> Result<(), Unreadable> {
        let Some(entries) = format.entries else { return Ok(()) };
        let session = self.file.session.session_id.clone();
        let tree = self.outline(&session, entries, snapshot)?.unwrap_or_default();
        let standing = tree.standing().into_iter();
        self.left = Some(standing.filter(|(_, stands)| !stands).map(|(key, _)| key).collect());
        Ok(())
    }

    fn begin(&self, row: &SessionRow, snapshot: &Snapshot) -> Result<Begin, Unreadable> {
        let session = &row.id;
        let amount = |to| {
            snapshot.amount_to(session, to).map(|rows| Rows { rewritten: row.rewritten, ..rows })
        };
        let still = |rows: Rows, last: Option<u64>| {
            Ok::<_, Unreadable>(
                amount(rows.last)? == rows && snapshot.key_of(session, rows.last)? == last,
            )
        };
        let cursor = &self.file.cursor;
        match cursor.rows {
            None => return Ok(Begin::Fresh),
            Some(rows) if rows.count == 0 => return Ok(Begin::Anew),
            Some(rows) if still(rows, cursor.first_line)? => {
                // After a restart in the middle, which records were copies is not known any more, nor
                // which no longer stand.
                let in_the_dark = !self.begun && {
                    let whole = amount(i64::MAX)?;
                    whole != rows
                        && (whole.standing < whole.count || cursor.epoch > 0 && cursor.tail == 0)
                };
                return Ok(if in_the_dark { Begin::Anew } else { Begin::On });
            }
            Some(_) => {}
        }
        for (i, anchor) in self.anchors.iter().enumerate().rev() {
            if still(anchor.rows, anchor.last)? {
                return Ok(Begin::Anchor(i));
            }
        }
        Ok(Begin::Anew)
    }

    /// Takes what was fetched. `fold` is what is known of the session, and what is known then; true
    /// when nothing is left.
    pub(super) fn take(
        &mut self,
        batch: Batch,
        fold: &mut Option<Arc<Fold>>,
        format: &Format,
        ledger: &dyn Ledger,
    ) -> io::Result<bool> {
        let mut reset = false;
        let begin =
            if fold.is_none() && batch.begin == Begin::On { Begin::Anew } else { batch.begin };
        if begin != batch.begin {
            // What goes with the cursor is lost: the next look fetches it all.
            self.file.cursor.rows = Some(Rows::default());
            return Ok(false);
        }
        // Whatever may fail comes first: what is known must not be lost with it.
        let keys = match begin {
            Begin::Anew => Some(ledger.keys(&self.file.session)?),
            _ => None,
        };
        let known = fold.take().unwrap_or_default();
        let mut folded = match begin {
            Begin::Fresh => {
                // Whatever a transcript of it gave before goes.
                (reset, self.begun) = (true, true);
                Arc::default()
            }
            Begin::On => {
                if !self.settled && self.file.cursor.epoch > 0 && self.known.is_none() {
                    self.known = Some(ledger.keys(&self.file.session)?);
                }
                self.anchor(&known);
                known
            }
            Begin::Anchor(i) => {
                self.anchors.truncate(i + 1);
                let anchor = &self.anchors[i];
                self.known = Some(anchor.since.clone());
                self.unmet.clone_from(&self.known);
                self.file.cursor.rows = Some(anchor.rows);
                self.file.parser = anchor.parser.clone();
                rewritten(known.resume(&anchor.fold))
            }
            Begin::Anew => {
                self.known = keys;
                // Another database's records were never in this one.
                self.unmet = self.known.clone().filter(|_| self.moved_from.is_none());
                self.file.cursor.rows = Some(Rows::default());
                self.file.parser = ParserState::default();
                (self.begun, self.summed_up) = (true, HashSet::new());
                self.anchors.clear();
                let was_said = known.has_taken_any() && self.moved_from.is_none();
                let anew = known.begin_again();
                if was_said { rewritten(anew) } else { Arc::new(anew) }
            }
        };
        if matches!(begin, Begin::Anchor(_) | Begin::Anew) {
            // What stood before may be left now, and what was left stand.
            self.file.parser.has_left = format.entries.is_some();
            self.taken_back.clear();
            self.settled = false;
            self.file.cursor.epoch += 1;
        }
        self.file.cursor.id = batch.id;
        let ended = batch.ended;
        self.fold_in(batch, &mut folded, format, ledger, reset);
        if ended {
            (self.settled, self.known, self.summed_up) = (true, None, HashSet::new());
            self.taken_back.clear();
        }
        self.filled |= folded.has_taken_any();
        *fold = Some(folded);
        Ok(ended && !self.owes_outline())
    }

    fn fold_in(
        &mut self,
        batch: Batch,
        fold: &mut Arc<Fold>,
        format: &Format,
        ledger: &dyn Ledger,
        mut reset: bool,
    ) {
        let mut parser = (format.parser)(self.file.parser.clone());
        let row = rrd_core::hash(&batch.row.json);
        let mut rows = self.file.cursor.rows.unwrap_or_default();
        rows.rewritten = batch.row.rewritten;
        let mut facts = Some((format.sidecar)(&batch.row.json).unwrap_or_default());
        let mut tree = batch.tree;
        let mut records = batch.records.into_iter().peekable();
        // What was taken back went on from what stands before it, and leads to nothing after it.
        let mut aside = None;
        loop {
            let before = Arc::clone(fold);
            let folding = Arc::make_mut(fold);
            let (known, unmet) = (self.known.as_ref(), self.unmet.as_mut());
            let taken_back = Some(&mut self.taken_back);
            let left = self.left.as_ref();
            let mut stretch = Stretch { known, unmet, taken_back, left, ..Stretch::default() };
            if let Some(facts) = facts.take() {
                stretch.take(folding, Parsed { facts, ..Parsed::default() }, row, 0, ledger);
                for (number, line) in batch.moved_out.iter().enumerate() {
                    let parsed = Parsed { origin: Origin::Row, ..parser.line(line) };
                    stretch.take(folding, parsed, rrd_core::hash(line), number as u64, ledger);
                }
            }
            while stretch.bytes < STRETCH
                && let Some(record) = records.next()
            {
                rows.add(record.number, record.stands);
                self.file.cursor.first_line = Some(record.key);
                self.anchors.iter_mut().for_each(|anchor| {
                    anchor.since.insert(record.key);
                });
                let is_copy = self.summed_up.contains(&record.key);
                if record.stands || record.summed_up {
                    if record.summed_up && !record.stands {
                        self.summed_up.insert(record.key);
                    }
                    if !is_copy {
                        aside = None;
                        stretch.record(folding, parser.as_mut(), &record, ledger);
                    }
                } else if !is_copy {
                    let aside = aside.get_or_insert_with(|| folding.clone());
                    aside.next_seq = folding.next_seq;
                    stretch.withdrawn(
                        aside,
                        &mut folding.next_seq,
                        parser.as_mut(),
                        &record,
                        ledger,
                    );
                }
            }
            let ended = batch.ended && records.peek().is_none();
            if ended && folding.last_activity.is_none() {
                // While nothing was said, that it began is the last that happened.
                let at = folding.started_at();
                folding.take_again(Parsed { at, origin: Origin::Row, ..Parsed::default() });
            }
            let (events, marks) = (stretch.events, stretch.marks);
            self.file.parser = parser.state();
            let tree = if ended { tree.take() } else { None };
            if let Some(tree) = &tree {
                (self.file.parser.tip, self.file.parser.has_left) = (tree.tip(), false);
            }
            let tail = if ended && !self.owes_outline() { row } else { 0 };
            let cursor = Cursor { rows: Some(rows), tail, ..self.file.cursor };
            let news = cursor != self.file.cursor || *before != **fold;
            self.file.cursor = cursor;
            let mut standing = if ended { self.standing() } else { HashMap::new() };
            standing.extend(tree.iter().flat_map(Tree::standing));
            if news || reset || !standing.is_empty() {
                let (file, fold) = (self.file.clone(), Arc::clone(fold));
                let moved_from = self.moved_from.take();
                ledger.commit(Commit { file, fold, events, marks, reset, moved_from, standing });
                reset = false;
            }
            if records.peek().is_none() {
                return;
            }
        }
    }

    /// After a reading that shows it: whether what was known before still stands.
    fn standing(&mut self) -> HashMap<u64, bool> {
        let again = self.taken_back.iter().filter(|(_, stands)| **stands);
        let again = again.map(|(key, _)| (*key, true));
        let Some(unmet) = self.unmet.take() else { return again.collect() };
        let known = self.known.iter().flatten();
        known.map(|key| (*key, !unmet.contains(key))).chain(again).collect()
    }

    /// Keeps a point to read on from, if the last one is far enough. Not of a history that was summed
    /// up: what was copied is not known there.
    fn anchor(&mut self, fold: &Arc<Fold>) {
        let cursor = &self.file.cursor;
        let Some(rows) = cursor.rows.filter(|rows| self.settled && rows.count > 0) else { return };
        if self.anchors.back().is_some_and(|last| rows.count - last.rows.count < ANCHORS_APART) {
            return;
        }
        if self.anchors.len() == ANCHORS {
            self.anchors.pop_front();
        }
        self.anchors.push_back(Anchor {
            rows,
            last: cursor.first_line,
            fold: Arc::clone(fold),
            parser: self.file.parser.clone(),
            since: HashSet::new(),
        });
    }

    /// Reads enough for a row.
    pub(super) fn glance(
        &self,
        snapshot: &Snapshot,
        row: &SessionRow,
        format: &Format,
    ) -> Result<Fold, Unreadable> {
        let mut fold = self.partial.as_deref().cloned().unwrap_or_default();
        let mut parser = (format.parser)(self.file.parser.clone());
        let facts = (format.sidecar)(&row.json).unwrap_or_default();
        fold.take_again(Parsed { facts, ..Parsed::default() });
        let mut feed = |fold: &mut Fold, record: &Record| {
            if record.stands || record.summed_up {
                let parsed = parser.line(&record.line);
                fold.take_again(Parsed { origin: Origin::Row, ..parsed });
            }
        };
        let mut left = GLANCE;
        snapshot.records(&row.id, None, &mut |record| {
            feed(&mut fold, &record);
            left -= 1;
            left > 0
        })?;
        fold.skip_ahead();
        for record in snapshot.last(&row.id, GLANCE)? {
            feed(&mut fold, &record);
        }
        Ok(fold)
    }
}

fn rewritten(mut fold: Fold) -> Arc<Fold> {
    fold.note(issue::REWRITTEN, None);
    Arc::new(fold)
}

/// What one stretch gave so far.
#[derive(Default)]
struct Stretch<'a> {
    known: Option<&'a HashSet<u64>>,
    unmet: Option<&'a mut HashSet<u64>>,
    taken_back: Option<&'a mut HashMap<u64, bool>>,
    left: Option<&'a HashSet<u64>>,
    events: Vec<StoredEvent>,
    marks: Vec<u64>,
    bytes: usize,
}

impl Stretch<'_> {
    fn record(
        &mut self,
        fold: &mut Fold,
        parser: &mut dyn Parser,
        record: &Record,
        ledger: &dyn Ledger,
    ) {
        let number = record.number.cast_unsigned();
        if record.line.is_empty() {
            fold.note(issue::OVERSIZED, Some(number));
            return;
        }
        self.bytes += record.line.len();
        // When it began is told by its row; records may have been brought from elsewhere.
        let parsed = Parsed { origin: Origin::Row, ..parser.line(&record.line) };
        self.take(fold, parsed, record.key, number, ledger);
    }

    /// Takes one that was taken back before it was read: its events are there, but nothing counts. `aside`
    /// is what would be known if it still stood.
    fn withdrawn(
        &mut self,
        aside: &mut Fold,
        next_seq: &mut u64,
        parser: &mut dyn Parser,
        record: &Record,
        ledger: &dyn Ledger,
    ) {
        let is_known = self.known.is_some_and(|known| known.contains(&record.key));
        let taken_back = self.taken_back.as_mut();
        let is_told = taken_back.is_some_and(|told| told.insert(record.key, false).is_some());
        if is_known || is_told || record.line.is_empty() {
            return;
        }
        self.bytes += record.line.len();
        let parsed = Parsed { origin: Origin::Row, ..parser.line(&record.line) };
        let parsed = Parsed { issues: Vec::new(), ..parsed };
        let number = record.number.cast_unsigned();
        aside.apply_to(parsed, number, &mut |mut event, whole| {
            event.withdrawn = true;
            event.body = whole.and_then(|whole| ledger.keep(&event, whole));
            self.events.push(StoredEvent { event, offset: number, key: record.key });
        });
        *next_seq = aside.next_seq;
    }

    fn take(
        &mut self,
        fold: &mut Fold,
        parsed: Parsed<'_>,
        key: u64,
        number: u64,
        ledger: &dyn Ledger,
    ) {
        if let Some(unmet) = &mut self.unmet {
            unmet.remove(&key);
        }
        let taken_back = self.taken_back.as_mut().and_then(|told| told.get_mut(&key));
        let is_back = taken_back.is_some_and(|stands| {
            *stands = true;
            true
        });
        if is_back || self.known.is_some_and(|known| known.contains(&key)) {
            return fold.take_again(parsed);
        }
        let before = self.events.len();
        let is_left = self.left.is_some_and(|left| left.contains(&key));
        let mut tell = |mut event: Event, whole: Option<&Long<'_>>| {
            event.withdrawn = is_left;
            event.body = whole.and_then(|whole| ledger.keep(&event, whole));
            self.events.push(StoredEvent { event, offset: number, key });
        };
        if fold.apply_to(parsed, number, &mut tell) && self.events.len() == before {
            self.marks.push(key);
        }
    }
}
