//! The last words of sessions: what a session did last, kept on other hosts for when its own is away.
//!
//! Its host signs what it tells, a few events at a time; who keeps them, and whoever asks for them later,
//! can tell that they are its own. What is told has passed the redactor. Not here: when they are fetched,
//! and where they are kept.

use std::collections::VecDeque;

use rrd_proto::{Body, Event, NodeId, SessionKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Purpose, Signed, SigningPublic};
use crate::{body, redact::Redacted};

/// So many hosts keep the last words of one session.
pub const KEEPERS: usize = 3;

/// Events that are kept of one session, at most …
pub const EVENTS: usize = 50;

/// … and bytes of them, as they are told.
pub const BYTES: usize = 32 << 10;

/// Bytes of one event's body.
const BODY: usize = 4 << 10;

/// Some of a session's last events, as its host signed them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The session.
    pub key: SessionKey,
    /// By that host's clock.
    pub at: Timestamp,
    /// In order of seq.
    pub events: Vec<Event>,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    node: NodeId,
    /// A [`Told`] in JSON.
    told: String,
    sig: Signed,
}

/// Signs the newest of these events, as many as are kept.
#[must_use]
pub fn sign(
    own: &Identity,
    key: &SessionKey,
    at: Timestamp,
    events: &Redacted<Vec<Event>>,
) -> Option<String> {
    let events = newest(events.as_ref());
    let told = serde_json::to_string(&Told { key: key.clone(), at, events }).ok()?;
    let sig = own.sign(Purpose::LastWords, told.as_bytes());
    serde_json::to_string(&Envelope { node: own.node(), told, sig }).ok()
}

/// Reads what a host signed; `member` gives the key of a node that is, or was, a member.
#[must_use]
pub fn read(
    text: &str,
    member: impl FnOnce(NodeId) -> Option<SigningPublic>,
) -> Option<(NodeId, Told)> {
    // Escaped within the envelope, what is signed may be twice as long.
    if text.len() > 4 * BYTES {
        return None;
    }
    let envelope: Envelope = serde_json::from_str(text).ok()?;
    let key = member(envelope.node)?;
    if !key.verifies(Purpose::LastWords, envelope.told.as_bytes(), &envelope.sig) {
        return None;
    }
    let told: Told = serde_json::from_str(&envelope.told).ok()?;
    let in_order = told.events.is_sorted_by(|a, b| a.seq < b.seq);
    (in_order && told.events.len() <= EVENTS).then_some((envelope.node, told))
}

/// The newest events that are kept, long ones cut.
fn newest(events: &[Event]) -> Vec<Event> {
    let mut left = BYTES;
    let mut kept = VecDeque::new();
    for event in events.iter().rev().take(EVENTS) {
        let mut event = event.clone();
        if let Some(mut body) = event.body.take() {
            shorten(&mut body);
            body::give(&mut event, body);
        }
        let len = serde_json::to_string(&event).map_or(BYTES, |text| text.len());
        if len > left {
            break;
        }
        left -= len;
        kept.push_front(event);
    }
    kept.into()
}

/// Leaves a body's head and tail. Whatever is secret in it has been replaced before.
fn shorten(body: &mut Body) {
    if body.text.len() <= BODY {
        return;
    }
    let text = &body.text;
    let end = (0..=BODY / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = (text.len() - BODY / 2..=text.len()).find(|at| text.is_char_boundary(*at));
    let tail = &text[start.unwrap_or(text.len())..];
    (body.text, body.cut) = ([&text[..end], tail].concat(), Some(end as u64));
}

/// Who keeps the last words of this session: of those who are there, always the same, and for other
/// sessions others. Its own host is not among them.
#[must_use]
pub fn keepers(owner: NodeId, key: &SessionKey, live: &[NodeId]) -> Vec<NodeId> {
    let weight = |node: &NodeId| {
        let bytes = [&node.to_bytes()[..], &owner.to_bytes(), key.to_string().as_bytes()].concat();
        crate::hash(&bytes)
    };
    let mut others: Vec<NodeId> = live.iter().copied().filter(|node| *node != owner).collect();
    others.sort_by_cached_key(|node| (std::cmp::Reverse(weight(node)), *node));
    others.truncate(KEEPERS);
    others
}

/// What is kept of one session: signed texts, oldest first, each with the seqs of its events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    texts: VecDeque<(u64, u64, String)>,
}

impl Kept {
    /// Adds what was told now. What comes again takes the place of what was there; of what is more than is
    /// kept the oldest goes.
    pub fn add(&mut self, told: &Told, text: String) {
        let (Some(first), Some(last)) = (told.events.first(), told.events.last()) else { return };
        self.texts.retain(|(_, known, _)| *known < first.seq);
        self.texts.push_back((first.seq, last.seq, text));
        let events = |texts: &VecDeque<(u64, u64, String)>| match (texts.get(1), texts.back()) {
            // What would be left without the first.
            (Some((first, ..)), Some((_, last, _))) => (last - first + 1) as usize,
            _ => 0,
        };
        let bytes = |texts: &VecDeque<(u64, u64, String)>| {
            texts.iter().map(|(.., text)| text.len()).sum::<usize>()
        };
        while self.texts.len() > 1
            && (events(&self.texts) >= EVENTS || bytes(&self.texts) > 2 * BYTES)
        {
            self.texts.pop_front();
        }
    }

    /// The last event that is kept.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.texts.back().map(|(_, last, _)| *last)
    }

    /// The signed texts, oldest first.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|(.., text)| text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use rrd_proto::{EventKind, EventPage, Harness};

    use super::*;
    use crate::redact::{Redactor, Report};

    fn own(n: u8) -> Identity {
        Identity::from_secret(&[n; 64])
    }

    fn key(id: &str) -> SessionKey {
        SessionKey { harness: Harness::Codex, session_id: id.to_owned() }
    }

    fn event(seq: u64, text: &str) -> Event {
        Event {
            seq,
            at: None,
            kind: EventKind::Message,
            text: "x".to_owned(),
            tool: None,
            tool_call_id: None,
            is_error: false,
            truncated: false,
            direction: None,
            message_id: None,
            withdrawn: false,
            body: Some(Body { text: text.to_owned(), size: text.len() as u64, cut: None }),
            subagent: None,
        }
    }

    fn redacted(events: Vec<Event>) -> Redacted<Vec<Event>> {
        let page = EventPage { events, ..EventPage::default() };
        Redactor::default().events(page, &mut Report::default()).map(|page| page.events)
    }

    fn text(own: &Identity, events: Vec<Event>) -> String {
        sign(own, &key("s"), Timestamp::from_millis(5), &redacted(events)).unwrap()
    }

    #[test]
    fn only_the_owners_words_are_read() {
        let (a, b) = (own(1), own(2));
        let told = text(&a, vec![event(3, "hello"), event(4, "there")]);
        let member = |node: NodeId| {
            [&a, &b].into_iter().find(|own| own.node() == node).map(Identity::public)
        };
        let (node, words) = read(&told, member).unwrap();
        assert_eq!((node, words.events.len(), words.events[1].seq), (a.node(), 2, 4));
        assert_eq!(read(&told.replace("hello", "HELLO"), member), None);
        let in_bs_name = told.replace(&a.node().to_string(), &b.node().to_string());
        assert_eq!(read(&in_bs_name, member), None);
        assert_eq!(read(&told, |_| None), None);
        assert_eq!(read("", member), None);
        assert_eq!(read(&text(&a, vec![event(4, "x"), event(3, "y")]), member), None);
    }

    #[test]
    fn no_more_is_told_than_is_kept() {
        let own = own(1);
        let many: Vec<Event> = (0..200).map(|seq| event(seq, "short")).collect();
        let read = |text: &str| read(text, |_| Some(own.public())).unwrap().1;
        let told = read(&text(&own, many));
        assert_eq!((told.events.len(), told.events[0].seq), (EVENTS, 150));
        let long = (0..50).map(|seq| event(seq, &"é".repeat(100_000))).collect();
        let signed = text(&own, long);
        assert!(signed.len() < 2 * BYTES, "{}", signed.len());
        let told = read(&signed);
        let body = told.events.last().unwrap().body.as_ref().unwrap();
        assert!(told.events.len() > 4 && body.cut.is_some() && body.size == 200_000);
        assert!(told.events.iter().all(|event| event.truncated));
    }

    #[test]
    fn what_is_kept_goes_on_and_stays_small() {
        let own = own(1);
        let mut kept = Kept::default();
        let add = |kept: &mut Kept, seqs: std::ops::Range<u64>, text_of: &str| {
            let events: Vec<Event> = seqs.map(|seq| event(seq, text_of)).collect();
            let signed = text(&own, events);
            let told = read(&signed, |_| Some(own.public())).unwrap().1;
            kept.add(&told, signed);
        };
        for seq in 0..500 {
            add(&mut kept, seq..seq + 1, "a line");
            assert_eq!(kept.last(), Some(seq));
            assert!(kept.texts().count() <= EVENTS);
        }
        assert_eq!(kept.texts().count(), EVENTS);
        // The index of that host was begun anew.
        add(&mut kept, 0..3, "again");
        assert_eq!((kept.last(), kept.texts().count()), (Some(2), 1));
        for seq in 3..100 {
            add(&mut kept, seq..seq + 1, &"long ".repeat(1_000));
        }
        assert!(kept.texts().map(str::len).sum::<usize>() <= 2 * BYTES);
        let again: Kept = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        assert_eq!(again, kept);
    }

    #[test]
    fn three_keep_them_and_everybody_knows_who() {
        let nodes: Vec<NodeId> = (1..=8).map(|n| own(n).node()).collect();
        let owner = nodes[0];
        let chosen = keepers(owner, &key("s"), &nodes);
        assert_eq!(chosen.len(), KEEPERS);
        assert!(!chosen.contains(&owner));
        let mut shuffled = nodes.clone();
        shuffled.reverse();
        assert_eq!(keepers(owner, &key("s"), &shuffled), chosen);
        // One who goes changes nothing but its own place.
        let without: Vec<NodeId> =
            nodes.iter().copied().filter(|node| *node != chosen[0]).collect();
        assert_eq!(keepers(owner, &key("s"), &without)[..2], chosen[1..]);
        assert_eq!(keepers(owner, &key("s"), &nodes[..2]), [nodes[1]]);
        let others: Vec<_> =
            (0..40).map(|n| keepers(owner, &key(&n.to_string()), &nodes)).collect();
        let shares =
            nodes.iter().map(|node| others.iter().filter(|keep| keep.contains(node)).count());
        assert!(shares.skip(1).all(|count| count > 5));
    }
}
