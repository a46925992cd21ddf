//! What other hosts have said of themselves, and how each is known now.
//!
//! A merge: of a host's words on one session the latest counts, whatever order they come in and however
//! often. What nobody has heard again stays: a silent host is away, and its rows are its last word. Once a
//! host that began anew says that its rows are complete, those from before are over. A host that comes and
//! goes over and over is shown to do so now and then. Not here: whether a record is its owner's
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

/// So often a host is shown to come or go, in the long run.
const TURN_MS: i64 = 30_000;

/// So many times beyond that: one that was started again twice is shown at once.
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
                    if word.leaving
                        && peer.live
                        && peer.turns.take(peer.seen_at.unwrap_or_default())
                    {
                        (peer.live, peer.since) = (false, peer.seen_at);
                    }
                    peer.word = Some((place, word, text.to_owned()));
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

    /// Whether a host is there, as the failure detector has it; true when that is news. One that has said
    /// that it leaves is not, until it says something else.
    pub fn set_live(&mut self, node: NodeId, live: bool, now: Timestamp) -> bool {
        let peer = self.known.entry(node).or_default();
        let live = live && !peer.word.as_ref().is_some_and(|(_, word, _)| word.leaving);
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
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fleet::{
        identity::Identity,
        members::{Statement, vouch},
    };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    fn own(n: u8) -> Identity {
        Identity::from_secret(&[n; 64])
    }

    fn members() -> Members {
        let statement = |n: u8| {
            let member = Member {
                signing: own(n).public(),
                handshake: own(n).handshake_public(),
                label: format!("host-{n}"),
                addresses: Vec::new(),
                tailscale: None,
                replaces: None,
                joined_at: at(0),
                version: 1,
            };
            let vouched = vouch(&own(1), own(n).public(), own(n).handshake_public());
            Statement::new(&own(n), &member, vouched)
        };
        let mut members = Members::founded(statement(1)).unwrap();
        members.merge(crate::fleet::members::List {
            statements: vec![statement(2)],
            ..Default::default()
        });
        members
    }

    fn session(id: &str, title: &str) -> Box<Session> {
        let row = json!({
            "ref": "", "host": "", "harness": "codex", "session_id": id, "title": title,
            "status": "executing", "status_source": "open_record", "active": true, "complete": true,
            "host_state": "away", "issues": [], "last_activity_at": at(0), "live": true,
        });
        Box::new(serde_json::from_value(row).unwrap())
    }

    fn said(generation: u64, seq: u64, word: Word) -> Read {
        Read { node: own(2).node(), place: Place { generation, seq }, word }
    }

    fn shown(peers: &Peers) -> Vec<(String, String)> {
        let rows = peers.rows(&members(), own(1).node(), at(0));
        let mut rows: Vec<_> =
            rows.into_iter().map(|row| (row.session_id, row.title.unwrap_or_default())).collect();
        rows.sort();
        rows
    }

    #[test]
    fn the_latest_word_counts_and_a_silent_host_keeps_it() {
        let mut peers = Peers::default();
        assert!(peers.take(said(1, 2, Word::Session(session("a", "new"))), ""));
        assert!(!peers.take(said(1, 1, Word::Session(session("a", "old"))), ""));
        peers.heard(own(2).node(), at(-3_600_000), at(5));
        assert!(peers.set_live(own(2).node(), true, at(5)));
        let row = peers.rows(&members(), own(1).node(), at(10)).remove(0);
        assert_eq!((row.host.as_str(), row.host_state), ("host-2", HostState::Live));
        assert_eq!(row.last_activity_at, Some(at(3_600_005)), "by the reader's clock");
        assert!(row.active);
        peers.set_live(own(2).node(), false, at(20_000));
        let away = |now| peers.rows(&members(), own(1).node(), now).remove(0);
        assert_eq!(away(at(20_000)).host_seen_at, Some(at(5)));
        assert_eq!((away(at(20_000)).active, away(at(20_000)).live), (true, None));
        assert!(!away(at(AWAY_FOR_MS + 5)).active);
        let host = &peers.hosts(&members(), own(1).node())[0];
        assert_eq!((host.state, host.since), (HostState::Away, Some(at(5))));
    }

    #[test]
    fn what_a_host_says_of_notices_counts_while_it_is_there_and_in_that_run() {
        let (mut peers, node) = (Peers::default(), own(2).node());
        let sinks = |name: &str| {
            Word::Notices(NoticesWord { sinks: vec![name.to_owned()], ..NoticesWord::default() })
        };
        let heard = |peers: &Peers| {
            let of = peers.notices(&members());
            of.into_iter().map(|(_, live, word)| (live, word.sinks.concat())).collect::<Vec<_>>()
        };
        assert!(
            peers.take(said(1, 2, sinks("new")), "") && !peers.take(said(1, 1, sinks("old")), "")
        );
        assert_eq!(heard(&peers), [(false, "new".to_owned())]);
        peers.set_live(node, true, at(0));
        assert_eq!(heard(&peers), [(true, "new".to_owned())]);
        // It began anew, and has said nothing of them yet: an earlier release, perhaps.
        peers.take(said(2, 1, Word::Host(HostWord::default())), "");
        assert_eq!(heard(&peers), [(false, "new".to_owned())]);
        assert!(peers.records(node).iter().all(|(name, _)| name.is_empty()), "not kept");
        peers.forget(node, 2);
        assert!(heard(&peers).is_empty());
    }

    #[test]
    fn rows_have_their_owners_times_where_that_is_asked_for() {
        let mut peers = Peers::default();
        peers.take(said(1, 1, Word::Session(session("a", "x"))), "");
        peers.heard(own(2).node(), at(-3_600_000), at(5));
        let (row, shift) = peers.told(&members(), own(1).node(), at(10)).remove(0);
        assert_eq!((row.last_activity_at, shift), (Some(at(0)), 3_600_005));
    }

    #[test]
    fn another_hosts_command_is_words_behind_ssh_or_none() {
        let attach = "tmux -S /tmp/tmux-1000/main attach -t %12";
        assert_eq!(
            from_here("mac", attach).unwrap(),
            "ssh mac -t tmux -S /tmp/tmux-1000/main attach -t %12"
        );
        for (host, command) in [
            ("mac", "tmux attach; rm -rf /"),
            ("mac", "tmux attach -t $(id)"),
            ("mac", "tmux attach\n"),
            ("mac", ""),
            ("-oProxyCommand=x", "tmux attach"),
            ("ma c", "tmux attach"),
            ("", "tmux attach"),
        ] {
            assert_eq!(from_here(host, command), None, "{host} {command}");
        }
    }

    #[test]
    fn a_clock_that_was_known_is_still_known_after_a_restart() {
        let mut peers = Peers::default();
        peers.restore(own(2).node(), at(0), Some(43_200_000));
        peers.take(said(1, 1, Word::Session(session("a", "x"))), "");
        let row = peers.rows(&members(), own(1).node(), at(10)).remove(0);
        assert_eq!(row.last_activity_at, Some(at(43_200_000)));
        // It was set right meanwhile.
        peers.heard(own(2).node(), at(99_990), at(100_000));
        let row = peers.rows(&members(), own(1).node(), at(100_000)).remove(0);
        assert_eq!(row.last_activity_at, Some(at(0)));
    }

    #[test]
    fn who_is_no_member_is_not_shown() {
        let mut peers = Peers::default();
        peers
            .take(Read { node: own(9).node(), ..said(1, 1, Word::Session(session("a", "x"))) }, "");
        peers
            .take(Read { node: own(1).node(), ..said(1, 1, Word::Session(session("a", "x"))) }, "");
        assert!(shown(&peers).is_empty());
        assert_eq!(peers.hosts(&members(), own(1).node()).len(), 1);
    }

    #[test]
    fn what_a_host_said_before_it_began_anew_is_over_once_it_has_said_all() {
        let word = |complete| {
            Word::Host(HostWord {
                version: "1".into(),
                active: 0,
                sessions: 0,
                complete,
                leaving: false,
                mirror: None,
                tasks: 0,
                bindings: 0,
            })
        };
        let mut peers = Peers::default();
        peers.take(said(1, 1, Word::Session(session("a", "x"))), "");
        peers.take(said(1, 2, Word::Session(session("b", "x"))), "");
        peers.take(said(2, 1, word(false)), "");
        peers.take(said(2, 2, Word::Session(session("b", "y"))), "");
        assert_eq!(shown(&peers).len(), 2);
        peers.take(said(2, 3, word(true)), "");
        assert_eq!(shown(&peers), [("b".to_owned(), "y".to_owned())]);
    }

    #[test]
    fn a_host_has_no_more_rows_than_it_may() {
        let mut peers = Peers::default();
        for n in 0..MAX_ROWS as u64 + 50 {
            let mut row = session(&format!("s-{n}"), "");
            row.active = n < 10;
            peers.take(said(1, n, Word::Session(row)), "");
        }
        let rows = shown(&peers);
        assert_eq!(rows.len(), MAX_ROWS);
        assert!(rows.iter().any(|(id, _)| id == "s-0"), "those that are active stay");
    }

    #[test]
    fn a_forgotten_host_is_shown_again_once_it_says_something_new() {
        let (mut peers, node) = (Peers::default(), own(2).node());
        let word = HostWord {
            version: "1".into(),
            active: 0,
            sessions: 0,
            complete: true,
            leaving: false,
            mirror: None,
            tasks: 0,
            bindings: 0,
        };
        peers.take(said(7, 1, Word::Session(session("a", "x"))), "");
        peers.take(said(7, 2, Word::Host(word)), "");
        peers.restore(node, at(0), None);
        let hosts = |peers: &Peers| peers.hosts(&members(), own(1).node()).len();
        assert_eq!((shown(&peers).len(), hosts(&peers), peers.generation(node)), (1, 1, Some(7)));
        assert!(peers.forget(node, 9) && !peers.forget(node, 8));
        assert_eq!((shown(&peers).len(), hosts(&peers), peers.records(node).len()), (0, 0, 0));
        assert!(peers.is_forgotten(node) && peers.generation(node).is_none());
        // Whoever had not heard of it tells what it said.
        assert!(!peers.take(said(9, 3, Word::Session(session("a", "x"))), ""));
        // It is there, then has something to say.
        peers.set_live(node, true, at(5));
        assert_eq!((shown(&peers).len(), hosts(&peers)), (0, 1));
        assert!(peers.take(said(10, 1, Word::Session(session("a", "y"))), ""));
        peers.set_live(node, false, at(9));
        assert_eq!((shown(&peers).len(), hosts(&peers)), (1, 1));
    }

    #[test]
    fn a_host_that_comes_and_goes_is_shown_to_do_so_now_and_then() {
        let (mut peers, node) = (Peers::default(), own(2).node());
        peers.set_live(node, true, at(0));
        let mut shown = 0;
        // Up and down every eight seconds for ten minutes, looked at twice a second.
        for half in 0..1200 {
            shown += u32::from(peers.set_live(node, (half / 16) % 2 == 1, at(half * 500)));
        }
        assert!((20..=24).contains(&shown), "{shown}");
        // Then it stays.
        for s in 0..60 {
            peers.set_live(node, true, at(600_000 + s * 1000));
        }
        assert!(peers.is_live(node));
        // A clock that was set back gives no time to wait.
        assert!(!peers.set_live(node, false, at(0)));
        // One that is started again now and then is shown as it is.
        for n in 1..20 {
            peers.set_live(node, n % 2 == 1, at(n * 60_000));
            assert_eq!(peers.is_live(node), n % 2 == 1, "{n}");
        }
    }

    proptest! {
        /// In any order, however often: the same rows.
        #[test]
        fn words_are_merged_in_any_order(order in prop::collection::vec(0usize..14, 0..40)) {
            let word = |i: usize| {
                let (generation, seq) = (1 + i as u64 / 6, i as u64 % 6);
                let id = if seq % 2 == 0 { "a" } else { "b" };
                match i {
                    4 | 10 => said(generation, seq, Word::Host(HostWord {
                        version: i.to_string(), active: 0, sessions: 0, complete: i == 10, ..HostWord::default()
                    })),
                    3 => said(generation, seq, Word::Gone(session(id, "").key())),
                    _ => said(generation, seq, Word::Session(session(id, &i.to_string()))),
                }
            };
            let take = |peers: &mut Peers, i: usize| match i {
                12 => { peers.forget(own(2).node(), 0); }
                // Two of three runs also forget what was said first.
                13 => { peers.forget(own(2).node(), order.len() as u64 % 3); }
                _ => { peers.take(word(i), &i.to_string()); }
            };
            let mut straight = Peers::default();
            (0..14).for_each(|i| take(&mut straight, i));
            let mut mixed = Peers::default();
            order.iter().chain(&(0..14).rev().collect::<Vec<_>>()).for_each(|i| take(&mut mixed, *i));
            prop_assert_eq!(shown(&straight), shown(&mixed));
            let kept = |peers: &Peers| {
                let mut records: Vec<_> = peers.records(own(2).node()).into_iter().map(|(k, t)| (k, t.to_owned())).collect();
                records.sort();
                records
            };
            prop_assert_eq!(kept(&straight), kept(&mixed));
        }
    }
}
