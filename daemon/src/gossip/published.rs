//! What this host tells of itself: which of its sessions have a record, and where.
//!
//! Records lie in slots that are used again, so that gossip's keys do not grow with the sessions of a day.
//! A session gets one while it is open, and keeps it for a while after it has ended: its last state is told
//! as a record, never by silence. Where there are more sessions than slots, who needs one least gives it up
//! ([`slots`]), and is told of again when it is not any more as it was told. Not here: how records travel.

use std::collections::{HashMap, HashSet};

use rrd_core::{
    fleet::{
        identity::Identity,
        record::{self, HostWord, NoticesWord, Place},
        slots::{self, Wish},
    },
    redact::Redacted,
};
use rrd_proto::{Session, SessionKey};

/// Sessions told of at once; more are had from their host by whoever asks.
const SLOTS: usize = 200;

#[derive(Debug)]
pub(super) struct Published {
    generation: u64,
    seq: u64,
    word: Option<(HostWord, String)>,
    /// By the number of their part.
    notices: Vec<(NoticesWord, String)>,
    told: HashMap<SessionKey, Told>,
    /// Whose slot somebody else needed more, as they were told of last.
    owed: HashMap<SessionKey, Session>,
    /// Who gives up its slot next, the last one first.
    giving: Vec<SessionKey>,
    /// Sessions there was no slot for.
    pub(super) left_out: usize,
    /// Those of them that were not even asked for.
    not_wanted: usize,
}

#[derive(Debug)]
struct Told {
    slot: usize,
    /// What its record was made of; `None`: it is no more.
    row: Option<Session>,
    text: String,
    seq: u64,
}

impl Told {
    /// Neither active nor open when it was told of last.
    fn is_over(&self) -> bool {
        !self.row.as_ref().is_some_and(Session::is_active_or_open)
    }

    /// A message of it was on its way or unread when it was told of last.
    fn is_sender(&self) -> bool {
        self.row.as_ref().is_some_and(Session::has_sent_unread)
    }
}

impl Published {
    pub(super) fn new(generation: u64) -> Self {
        Self {
            generation,
            seq: 0,
            word: None,
            notices: Vec::new(),
            told: HashMap::new(),
            owed: HashMap::new(),
            giving: Vec::new(),
            left_out: 0,
            not_wanted: 0,
        }
    }

    /// Whose last state is still to be told of: active or open when it was told last, or its messages were not read.
    pub(super) fn keys(&self) -> Vec<SessionKey> {
        let open = self.told.iter().filter(|(_, told)| !told.is_over() || told.is_sender());
        open.map(|(key, _)| key).chain(self.owed.keys()).cloned().collect()
    }

    /// Whether it has a slot.
    pub(super) fn has(&self, key: &SessionKey) -> bool {
        self.told.contains_key(key)
    }

    /// Leaves those rows for which there is a slot: the others need not be redacted. `gone` are no more; `elsewhere`
    /// gives the rows of other hosts' sessions, where it matters for whom they wait and to whom they write, and `bound`
    /// the refs of those that a binding ties.
    pub(super) fn choose(
        &mut self,
        rows: &mut Vec<Session>,
        gone: &[SessionKey],
        elsewhere: impl FnOnce() -> Vec<Session>,
        bound: impl FnOnce() -> Vec<String>,
    ) {
        self.giving.clear();
        self.not_wanted = 0;
        let listed: HashSet<SessionKey> = rows.iter().map(Session::key).collect();
        let keeps = |key: &SessionKey| {
            let is_open = self.told.get(key).is_some_and(|told| !told.is_over());
            is_open || self.owed.contains_key(key)
        };
        // Those that are no more have their last word, too.
        let others = self.told.keys().chain(gone.iter().filter(|key| !self.has(key)));
        let kept = others.filter(|key| !listed.contains(key) && keeps(key)).count();
        let slots = SLOTS.saturating_sub(kept);
        if rows.len() <= slots {
            return;
        }
        let (elsewhere, bound) = (elsewhere(), bound());
        let wish = |row| {
            let key = Session::key(row);
            let told = self.told.get(&key).map_or(self.owed.get(&key), |told| told.row.as_ref());
            Wish { row, has_slot: self.has(&key), told }
        };
        let wishes: Vec<Wish<'_>> = rows.iter().map(wish).collect();
        let mut tied = slots::tied_to(rows.iter().chain(&elsewhere));
        tied.extend(bound.iter().map(String::as_str));
        let chosen = slots::choose(&wishes, slots, &tied);
        let giving = wishes.iter().zip(&chosen).filter(|(wish, chosen)| wish.has_slot && !**chosen);
        self.giving = giving.map(|(wish, _)| wish.row.key()).collect();
        let mut chosen = chosen.into_iter();
        let count = rows.len();
        rows.retain(|_| chosen.next().unwrap_or_default());
        self.not_wanted = count - rows.len();
    }

    /// How many more sessions could be told of.
    fn room(&self) -> usize {
        let over = self.told.values().filter(|told| told.is_over()).count();
        SLOTS - self.told.len() + over + self.giving.len()
    }

    /// Takes the state of sessions: a record for each of which that is news. `gone` are no more.
    pub(super) fn tell(
        &mut self,
        own: &Identity,
        rows: Vec<Redacted<Session>>,
        gone: &[SessionKey],
    ) -> Vec<String> {
        let mut news = Vec::new();
        self.left_out = self.not_wanted;
        for row in rows {
            let key = row.as_ref().key();
            if self.told.get(&key).is_some_and(|told| told.row.as_ref() == Some(row.as_ref())) {
                continue;
            }
            if !self.told.contains_key(&key) && self.room() == 0 {
                self.left_out += 1;
                continue;
            }
            let place = self.next();
            // Made first: a slot that was given up is filled.
            let Some(text) = record::of_session(own, place, &row) else { continue };
            let Some(slot) = self.slot(&key) else {
                self.left_out += 1;
                continue;
            };
            let told =
                Told { slot, row: Some(row.into_inner()), text: text.clone(), seq: place.seq };
            self.owed.remove(&key);
            self.told.insert(key, told);
            news.push(text);
        }
        for key in gone {
            if self.told.get(key).is_some_and(|told| told.row.is_none()) {
                continue;
            }
            let place = self.next();
            let Some(text) = record::of_gone(own, place, key) else { continue };
            let Some(slot) = self.slot(key) else { continue };
            let told = Told { slot, row: None, text: text.clone(), seq: place.seq };
            self.owed.remove(key);
            self.told.insert(key.clone(), told);
            news.push(text);
        }
        news
    }

    /// What the host says of itself; a record when that is news.
    pub(super) fn say(&mut self, own: &Identity, word: HostWord) -> Option<String> {
        if self.word.as_ref().is_some_and(|(known, _)| *known == word) {
            return None;
        }
        let text = record::of_host(own, self.next(), &word);
        self.word = Some((word, text.clone()));
        Some(text)
    }

    /// What the host says of notices, in as many records as its marks need; those that are news. `told` gives the
    /// next marks as text of at most so many bytes, until there are none.
    pub(super) fn say_notices(
        &mut self,
        own: &Identity,
        word: &NoticesWord,
        mut told: impl FnMut(usize) -> String,
    ) -> Vec<String> {
        let mut news = Vec::new();
        for part in 0..record::MAX_PARTS {
            let mut marks = String::new();
            let place = Place { generation: self.generation, seq: self.seq + 1 };
            let word = NoticesWord { part, ..word.clone() };
            let text = record::of_notices(own, place, &word, |most| {
                marks = told(most);
                marks.clone()
            });
            let known = self.notices.get_mut(usize::from(part));
            // A part that was told stays one, be it empty by now.
            if part > 0 && marks.is_empty() && known.is_none() {
                break;
            }
            let word = NoticesWord { told: marks, ..word };
            match known {
                Some((known, _)) if *known == word => continue,
                Some(known) => *known = (word, text.clone()),
                None => self.notices.push((word, text.clone())),
            }
            self.seq += 1;
            news.push(text);
        }
        news
    }

    /// Every record, by the slot it lies in; the host's own last, since it may say that they are all.
    pub(super) fn records(&self) -> impl Iterator<Item = (String, &str)> {
        let word = self.word.iter().map(|(_, text)| ("h".to_owned(), text.as_str()));
        let rows =
            self.told.values().map(|told| (format!("s/{:03}", told.slot), told.text.as_str()));
        let slot = |part: usize| if part == 0 { "n".to_owned() } else { format!("n/{part:02}") };
        let notices = self.notices.iter().enumerate();
        let notices = notices.map(move |(part, (_, text))| (slot(part), text.as_str()));
        rows.chain(notices).chain(word)
    }

    /// How many words have been said.
    pub(super) const fn count(&self) -> u64 {
        self.seq
    }

    fn next(&mut self) -> Place {
        self.seq += 1;
        Place { generation: self.generation, seq: self.seq }
    }

    /// Its own, a free one, that of one which is to give it up, or of a session which has been over for longest.
    fn slot(&mut self, key: &SessionKey) -> Option<usize> {
        if let Some(told) = self.told.get(key) {
            return Some(told.slot);
        }
        if self.told.len() < SLOTS {
            // Slots are given up one for one, so they are always the first so many.
            return Some(self.told.len());
        }
        let over = |is_sender: bool| {
            let over = self.told.iter().filter(|(_, told)| told.is_over());
            let over = over.filter(|(_, told)| told.is_sender() == is_sender);
            over.min_by_key(|(_, told)| told.seq).map(|(key, _)| key.clone())
        };
        // Whoever was told of as over just now stays for a while.
        let leaves = self.giving.pop().or_else(|| over(false)).or_else(|| over(true))?;
        let told = self.told.remove(&leaves)?;
        let slot = told.slot;
        if !told.is_over() || told.is_sender() {
            self.owed.extend(told.row.map(|row| (leaves, row)));
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use rrd_core::redact::{Redactor, Report};
    use rrd_proto::{Status, WaitingFor};
    use serde_json::json;

    use super::*;

    fn row(id: &str, active: bool) -> Redacted<Session> {
        let row = json!({
            "ref": "", "host": "", "harness": "codex", "session_id": id, "status": "executing",
            "status_source": "open_record", "active": active, "complete": true, "host_state": "here",
            "issues": [],
        });
        Redactor::default().row(serde_json::from_value(row).unwrap(), &mut Report::default())
    }

    #[test]
    fn each_session_has_a_slot_of_its_own_and_the_host_speaks_last() {
        let own = Identity::from_secret(&[1; 64]);
        let mut published = Published::new(1);
        let word = HostWord {
            version: String::new(),
            active: 0,
            sessions: 0,
            complete: true,
            leaving: false,
            mirror: None,
            tasks: 0,
            bindings: 0,
        };
        published.say(&own, word);
        let all = (0..SLOTS).map(|n| row(&format!("s-{n}"), n >= 10)).collect();
        published.tell(&own, all, &[]);
        // One that fits no record, one that takes the place of what is over, and too many.
        published.tell(&own, vec![row(&"x".repeat(2000), true), row("new", true)], &[]);
        let more = (0..20).map(|n| row(&format!("more-{n}"), true)).collect();
        published.tell(&own, more, &[]);
        assert_eq!(published.left_out, 11);
        let slots: Vec<String> = published.records().map(|(slot, _)| slot).collect();
        assert_eq!(slots.iter().collect::<HashSet<_>>().len(), SLOTS + 1);
        assert_eq!(slots.last().map(String::as_str), Some("h"));
    }

    /// As the driver does it.
    fn look(
        published: &mut Published,
        own: &Identity,
        rows: &[Redacted<Session>],
        gone: &[SessionKey],
    ) {
        let mut chosen: Vec<Session> = rows.iter().map(|row| row.as_ref().clone()).collect();
        published.choose(&mut chosen, gone, Vec::new, Vec::new);
        let is_chosen = |row: &&Redacted<Session>| chosen.contains(row.as_ref());
        published.tell(own, rows.iter().filter(is_chosen).cloned().collect(), gone);
        assert!(published.records().count() <= SLOTS);
    }

    #[test]
    fn whoever_needs_a_slot_gets_one_and_who_lost_it_is_owed_its_last_word() {
        let own = Identity::from_secret(&[1; 64]);
        let mut published = Published::new(1);
        let id = |n: usize| format!("s-{n:03}");
        let mut rows: Vec<_> = (0..SLOTS + 30).map(|n| row(&id(n), true)).collect();
        look(&mut published, &own, &rows, &[]);
        let key = |n: usize| key_of(&id(n));
        assert!(published.has(&key(0)) && !published.has(&key(SLOTS)));
        assert_eq!(published.left_out, 30);
        let before = published.count();
        look(&mut published, &own, &rows, &[]);
        assert_eq!(published.count(), before, "nobody takes turns");
        // The last ones ask.
        for (n, row) in rows.iter_mut().enumerate().skip(SLOTS) {
            *row = asking(&id(n));
        }
        look(&mut published, &own, &rows, &[]);
        assert!((SLOTS..SLOTS + 30).all(|n| published.has(&key(n))));
        let lost: Vec<usize> = (0..SLOTS).filter(|n| !published.has(&key(*n))).collect();
        assert_eq!((lost.len(), published.keys().len(), published.left_out), (30, SLOTS + 30, 30));
        let before = published.count();
        look(&mut published, &own, &rows, &[]);
        assert_eq!(published.count(), before, "nobody takes turns");
        // Of those that lost theirs one ends, and one is no more.
        rows[lost[0]] = row(&id(lost[0]), false);
        let gone = key(lost[1]);
        rows.remove(lost[1]);
        look(&mut published, &own, &rows, std::slice::from_ref(&gone));
        for key in [key(lost[0]), gone] {
            assert!(published.has(&key) && !published.keys().contains(&key), "{key} was told");
        }
    }

    #[test]
    fn whoever_is_bound_is_told_of_before_whoever_merely_works() {
        let named = |n: usize| Session {
            reference: format!("r{n}"),
            ..row(&format!("s-{n:03}"), true).as_ref().clone()
        };
        let rows: Vec<Session> = (0..=SLOTS).map(named).collect();
        let told = |bound: &[&str]| {
            let mut rows = rows.clone();
            let bound = || bound.iter().map(|name| (*name).to_owned()).collect();
            Published::new(1).choose(&mut rows, &[], Vec::new, bound);
            rows.iter().any(|row| row.reference == format!("r{SLOTS}"))
        };
        assert_eq!((told(&[]), told(&["elsewhere"])), (false, false));
        assert!(told(&["elsewhere", &format!("r{SLOTS}")]));
    }

    fn key_of(id: &str) -> SessionKey {
        row(id, true).as_ref().key()
    }

    fn asking(id: &str) -> Redacted<Session> {
        row(id, true).map(|mut row| {
            (row.status, row.waiting_for) = (Status::Waiting, Some(WaitingFor::Permission));
            row
        })
    }
}
