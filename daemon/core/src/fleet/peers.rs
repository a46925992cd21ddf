//! What other hosts have said of themselves, and how each is known now.
//!
//! A merge: of a host's words on one session the latest counts, whatever order they come in and however
//! often. What nobody has heard again stays: a silent host is away, and its rows are its last word. Once a
//! host that began anew says that its rows are complete, those from before are over. A host that comes and
//! goes over and over without beginning anew is shown to do so now and then. Not here: whether a record is its owner's
//! ([`super::record`]), and who belongs to the fleet ([`super::members`]).

use std::collections::{BTreeMap, HashMap};

use rrd_proto::{Host, HostState, NodeId, Session, SessionKey, Timestamp, session_ref};

use super::{
    members::{Member, Members},
    offset::Offset,
    record::{HostWord, MAX_PARTS, NoticesWord, Place, Read, Word, shift},
};

/// Sessions kept of one host, at most; those that are over give way first.
pub const MAX_ROWS: usize = 2_000;

/// Clocks that differ by less agree.
const AGREE_MS: i64 = 1_000;

/// For so long the sessions of a host that is away stay active, if they were.
const AWAY_FOR_MS: i64 = 24 * 60 * 60 * 1_000;

/// So often a host is shown to come or go in one generation, in the long run.
const TURN_MS: i64 = 30_000;

/// So many times beyond that.
const TURNS: i64 = 4;

/// Everything known of the other hosts.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    known: BTreeMap<NodeId, Peer>,
}

#[derive(Debug, Clone, Default)]
struct Peer {
    word: Option<(Place, HostWord, String)>,
    /// By the number of their part, all of one generation.
    notices: BTreeMap<u8, (Place, NoticesWord)>,
    /// A row each, or that there is none any more; and the record itself.
    rows: HashMap<SessionKey, Row>,
    /// The latest generation that said it had told of all its sessions.
    complete: u64,
    /// What it said in this generation and before is forgotten.
    forgotten: u64,
    offset: Offset,
    /// Heard of, and not missed since.
    live: bool,
    /// The latest generation that it was heard in.
    run: u64,
    /// Of that generation.
    turns: Turns,
    seen_at: Option<Timestamp>,
    /// When it came, or went.
    since: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Row {
    place: Place,
    session: Option<Box<Session>>,
    text: String,
}

impl Peers {
    /// Takes a record; true when it was news.
    pub fn take(&mut self, read: Read, text: &str) -> bool {
        let Read { node, place, word } = read;
        let peer = self.known.entry(node).or_default();
        if place.generation <= peer.forgotten {
            return false;
        }
        let (key, session) = match word {
            Word::Host(word) => {
                let later = peer.word.as_ref().is_none_or(|(known, ..)| *known < place);
                if word.complete && place.generation > peer.complete {
                    peer.complete = place.generation;
                    peer.rows.retain(|_, row| row.place.generation >= place.generation);
                }
                if later {
                    peer.begins(place.generation);
                    peer.word = Some((place, word, text.to_owned()));
                    // It says so once in a generation: no flicker.
                    if peer.has_left() && peer.live {
                        (peer.live, peer.since) = (false, peer.seen_at);
                    }
                }
                return later;
            }
            Word::Notices(word) => {
                let latest = peer.notices.values().map(|(known, _)| known.generation).max();
                let known = peer.notices.get(&word.part);
                let later = latest.is_none_or(|latest| latest <= place.generation)
                    && known.is_none_or(|(known, _)| *known < place)
                    && word.part < MAX_PARTS;
                if later {
                    peer.notices.retain(|_, (known, _)| known.generation == place.generation);
                    peer.notices.insert(word.part, (place, word));
                }
                return later;
            }
            Word::Gone(key) => (key, None),
            Word::Session(session) => (session.key(), Some(session)),
        };
        if peer.rows.get(&key).is_some_and(|row| row.place >= place) {
            return false;
        }
        peer.rows.insert(key, Row { place, session, text: text.to_owned() });
        if peer.rows.len() > MAX_ROWS {
            peer.make_room();
        }
        true
    }

    /// Whether a host has said of its session that it is no more.
    #[must_use]
    pub fn is_gone(&self, node: NodeId, key: &SessionKey) -> bool {
        let row = self.known.get(&node).and_then(|peer| peer.rows.get(key));
        row.is_some_and(|row| row.session.is_none())
    }

    /// A datagram came: its sender is there.
    pub fn heard(&mut self, node: NodeId, clock: Timestamp, now: Timestamp) {
        let peer = self.known.entry(node).or_default();
        peer.offset.take(clock, now);
        peer.seen_at = Some(now);
    }

    /// Somebody heard it.
    pub fn seen(&mut self, node: NodeId, now: Timestamp) {
        self.known.entry(node).or_default().seen_at = Some(now);
    }

    /// Whether a host is there, as the failure detector has it, with the latest generation in which it was heard
    /// itself (0: none was); true when that is news. One that has said that it leaves is not, until it says
    /// something else, or is heard in a later generation.
    pub fn set_live(&mut self, node: NodeId, generation: u64, live: bool, now: Timestamp) -> bool {
        let peer = self.known.entry(node).or_default();
        peer.begins(generation);
        let live = live && !peer.has_left();
        if peer.live != live && peer.since.is_some() && !peer.turns.take(now) {
            return false;
        }
        let changed = peer.live != live;
        if changed || peer.since.is_none() {
            // It went when it was heard last, not when it was missed.
            peer.since = if live { Some(now) } else { peer.seen_at.or(Some(now)) };
        }
        peer.live = live;
        changed
    }

    /// What a host said in this generation and before is not to be shown any more; true when that is news.
    pub fn forget(&mut self, node: NodeId, generation: u64) -> bool {
        let peer = self.known.entry(node).or_default();
        if generation <= peer.forgotten {
            return false;
        }
        peer.forgotten = generation;
        peer.rows.retain(|_, row| row.place.generation > generation);
        peer.word.take_if(|(place, ..)| place.generation <= generation);
        peer.notices.retain(|_, (place, _)| place.generation > generation);
        true
    }

    /// The latest generation in which a host has said something that counts.
    #[must_use]
    pub fn generation(&self, node: NodeId) -> Option<u64> {
        let peer = self.known.get(&node)?;
        let of_rows = peer.rows.values().map(|row| row.place.generation);
        of_rows.chain(peer.word.iter().map(|(place, ..)| place.generation)).max()
    }

    /// Whether a host is there, as it is shown.
    #[must_use]
    pub fn is_live(&self, node: NodeId) -> bool {
        self.known.get(&node).is_some_and(|peer| peer.live)
    }

    /// Of whom anything is known, or was.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.known.keys().copied()
    }

    /// A host as it was kept: last heard of then, with a clock so far from this host's.
    pub fn restore(&mut self, node: NodeId, seen_at: Timestamp, offset_ms: Option<i64>) {
        let peer = self.known.entry(node).or_default();
        peer.seen_at = Some(seen_at);
        peer.since = Some(seen_at);
        peer.offset = offset_ms.map(|ms| Offset::known(ms, seen_at)).unwrap_or_default();
    }

    /// What to add to a host's clock to have this host's, in milliseconds, as it was measured.
    #[must_use]
    pub fn clock(&self, node: NodeId) -> Option<i64> {
        self.known.get(&node)?.offset.ms()
    }

    /// The records behind what is known of a host, each under a name of its own: its words that count.
    #[must_use]
    pub fn records(&self, node: NodeId) -> Vec<(String, &str)> {
        let Some(peer) = self.known.get(&node) else { return Vec::new() };
        let rows = peer.rows.iter().filter(|(_, row)| peer.counts(row));
        let rows = rows.map(|(key, row)| (key.to_string(), &*row.text));
        let word = peer.word.iter().map(|(_, _, text)| (String::new(), &**text));
        word.chain(rows).collect()
    }

    /// When a host was heard of last.
    #[must_use]
    pub fn seen_at(&self, node: NodeId) -> Option<Timestamp> {
        self.known.get(&node)?.seen_at
    }

    /// Rows of the other members' sessions, by this host's clock.
    #[must_use]
    pub fn rows(&self, members: &Members, own: NodeId, now: Timestamp) -> Vec<Session> {
        let mut rows = Vec::new();
        for (node, peer) in &self.known {
            if *node == own || !members.has(*node) {
                continue;
            }
            for row in peer.rows.values().filter(|row| peer.counts(row)) {
                let Some(session) = &row.session else { continue };
                rows.push(self.dress(members, *node, Session::clone(session), now));
            }
        }
        rows
    }

    /// A row as its host has it, as it is shown here at `now`: by this host's clock, with the host's label
    /// and state.
    #[must_use]
    pub fn dress(
        &self,
        members: &Members,
        node: NodeId,
        mut session: Session,
        now: Timestamp,
    ) -> Session {
        let peer = self.known.get(&node);
        let live = peer.is_some_and(|peer| peer.live);
        let name = node.to_string();
        shift(&mut session, self.offset_ms(node));
        session.reference = session_ref(&name, &session.key());
        session.host = members.label(node).unwrap_or_default();
        session.attach = session.attach.and_then(|attach| from_here(&session.host, &attach));
        session.node_id = Some(name);
        session.host_state = if live { HostState::Live } else { HostState::Away };
        session.host_seen_at = peer.and_then(|peer| peer.seen_at);
        let seen = session.host_seen_at.unwrap_or_default();
        session.active &= live || now.since(seen) < AWAY_FOR_MS;
        if !live {
            // Whether a process lives there, nobody can tell.
            session.live = None;
        }
        session
    }

    /// What to add to a time of that host's to have it by this host's clock, in milliseconds. Clocks that
    /// agree to a second are left as they are: the rest is the way here, and times are to stay the same.
    #[must_use]
    pub fn offset_ms(&self, node: NodeId) -> i64 {
        let offset = self.known.get(&node).and_then(|peer| peer.offset.ms());
        offset.filter(|ms| ms.abs() >= AGREE_MS).unwrap_or(0)
    }

    /// The members that are there and have said so, each in its generation.
    #[must_use]
    pub fn live(&self, members: &Members) -> Vec<(NodeId, u64)> {
        let live = self.known.iter().filter(|(node, peer)| peer.live && members.has(**node));
        live.filter_map(|(node, peer)| Some((*node, peer.word.as_ref()?.0.generation))).collect()
    }

    /// The members that are there, each with one of the digests that it told.
    #[must_use]
    pub fn digests(&self, members: &Members, of: impl Fn(&HostWord) -> u64) -> Vec<(NodeId, u64)> {
        let live = self.known.iter().filter(|(node, peer)| peer.live && members.has(**node));
        live.filter_map(|(node, peer)| Some((*node, of(&peer.word.as_ref()?.1)))).collect()
    }

    /// What each of the members says of notices, and whether it is there: a host that began anew and has said
    /// nothing of them yet has none.
    #[must_use]
    pub fn notices(&self, members: &Members) -> Vec<(NodeId, bool, NoticesWord)> {
        let of = |(node, peer): (&NodeId, &Peer)| {
            let parts = peer.notices.values();
            let (place, word) = parts.max_by_key(|(place, _)| *place)?;
            let spoken = peer.word.as_ref().map_or(0, |(place, ..)| place.generation);
            let told = peer.notices.values().map(|(_, word)| &*word.told).collect();
            let word = NoticesWord { told, part: 0, ..word.clone() };
            let is_live = peer.live && place.generation >= spoken;
            members.has(*node).then_some((*node, is_live, word))
        };
        self.known.iter().filter_map(of).collect()
    }

    /// Rows of the other members' sessions, each with what to add to its times, which are its owner's.
    #[must_use]
    pub fn told(&self, members: &Members, own: NodeId, now: Timestamp) -> Vec<(Session, i64)> {
        let of = |row: Session| {
            let node = row.node_id.as_deref().and_then(|node| node.parse().ok());
            let ms = node.map_or(0, |node| self.offset_ms(node));
            let mut row = row;
            shift(&mut row, -ms);
            (row, ms)
        };
        self.rows(members, own, now).into_iter().map(of).collect()
    }

    /// Whether any of the members is there.
    #[must_use]
    pub fn any_live(&self, members: &Members) -> bool {
        self.known.iter().any(|(node, peer)| peer.live && members.has(*node))
    }

    /// Somebody else heard it then; true when that is news.
    pub fn was_heard(&mut self, node: NodeId, at: Timestamp) -> bool {
        let peer = self.known.entry(node).or_default();
        let news = !peer.live && peer.seen_at.is_none_or(|known| known < at);
        if news {
            (peer.seen_at, peer.since) = (Some(at), Some(at));
        }
        news
    }

    /// Whether a host was forgotten and has said nothing since.
    #[must_use]
    pub fn is_forgotten(&self, node: NodeId) -> bool {
        let is_gone = |peer: &Peer| {
            peer.forgotten > 0 && !peer.live && peer.word.is_none() && peer.rows.is_empty()
        };
        self.known.get(&node).is_some_and(is_gone)
    }

    /// The other members, by label; but for those who were forgotten and have not been heard since.
    #[must_use]
    pub fn hosts(&self, members: &Members, own: NodeId) -> Vec<Host> {
        let mut hosts: Vec<Host> = members
            .now()
            .map(Member::node)
            .filter(|node| *node != own && !self.is_forgotten(*node))
            .map(|node| {
                let peer = self.known.get(&node);
                let word = peer.and_then(|peer| peer.word.as_ref()).map(|(_, word, _)| word);
                let live = peer.is_some_and(|peer| peer.live);
                let offset = peer.and_then(|peer| peer.offset.ms());
                Host {
                    host: members.label(node).unwrap_or_default(),
                    node_id: node.to_string(),
                    state: if live { HostState::Live } else { HostState::Away },
                    duplicated: false,
                    since: peer.and_then(|peer| peer.since),
                    version: word.map(|word| word.version.clone()),
                    address: members
                        .get(node)
                        .and_then(|member| member.addresses.first())
                        .map(ToString::to_string),
                    clock_offset_ms: offset,
                    sessions: word.map(|word| word.sessions),
                    active: word.map(|word| word.active),
                    bytes_per_second: None,
                    dropped: BTreeMap::new(),
                    mirror: word.and_then(|word| word.mirror.clone()).map(|mut alarm| {
                        alarm.since = alarm.since.map(|at| at.plus(offset.unwrap_or(0)));
                        alarm
                    }),
                }
            })
            .collect();
        hosts.sort_by(|a, b| (&a.host, &a.node_id).cmp(&(&b.host, &b.node_id)));
        hosts
    }
}

/// A command of another host as one of this host's. It is there to be pasted into a shell, and it is another
/// host's word: what a shell could take for more than words makes it none.
fn from_here(host: &str, command: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    let is_word = |word: &str| !word.is_empty() && word.chars().all(plain);
    let is_safe = is_word(host) && !host.starts_with('-') && command.split(' ').all(is_word);
    is_safe.then(|| format!("ssh {host} -t {command}"))
}

/// How often a host may still be shown to come or go.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    /// Spent, in milliseconds of waiting.
    spent: i64,
    at: Timestamp,
}

impl Turns {
    /// Takes one, if there is one. A clock that was set back gives none, nor takes any.
    fn take(&mut self, now: Timestamp) -> bool {
        self.spent = (self.spent - now.since(self.at).max(0)).max(0);
        self.at = now;
        let has = self.spent <= (TURNS - 1) * TURN_MS;
        if has {
            self.spent += TURN_MS;
        }
        has
    }
}

impl Peer {
    /// It is heard in this generation: one that was started again is there at once, however often it came and went.
    fn begins(&mut self, generation: u64) {
        if generation > self.run {
            (self.run, self.turns) = (generation, Turns::default());
        }
    }

    /// It said that it leaves, and has not begun anew since.
    fn has_left(&self) -> bool {
        let left = |(place, word, _): &(Place, HostWord, String)| {
            word.leaving && place.generation >= self.run
        };
        self.word.as_ref().is_some_and(left)
    }

    fn counts(&self, row: &Row) -> bool {
        row.place.generation >= self.complete
    }

    fn make_room(&mut self) {
        let rank = |row: &Row| {
            let session = row.session.as_ref();
            (session.is_some_and(|session| session.active), row.place)
        };
        let least = self.rows.iter().min_by_key(|(_, row)| rank(row)).map(|(key, _)| key.clone());
        least.map(|key| self.rows.remove(&key));
    }
}

#[cfg(test)]
mod tests;
