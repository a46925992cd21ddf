//! What hosts have said of themselves, in any order, and how each is known then.

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
    assert!(peers.set_live(own(2).node(), 0, true, at(5)));
    let row = peers.rows(&members(), own(1).node(), at(10)).remove(0);
    assert_eq!((row.host.as_str(), row.host_state), ("host-2", HostState::Live));
    assert_eq!(row.last_activity_at, Some(at(3_600_005)), "by the reader's clock");
    assert!(row.active);
    peers.set_live(own(2).node(), 0, false, at(20_000));
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
    assert!(peers.take(said(1, 2, sinks("new")), "") && !peers.take(said(1, 1, sinks("old")), ""));
    assert_eq!(heard(&peers), [(false, "new".to_owned())]);
    peers.set_live(node, 0, true, at(0));
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
    peers.take(Read { node: own(9).node(), ..said(1, 1, Word::Session(session("a", "x"))) }, "");
    peers.take(Read { node: own(1).node(), ..said(1, 1, Word::Session(session("a", "x"))) }, "");
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
    peers.set_live(node, 0, true, at(5));
    assert_eq!((shown(&peers).len(), hosts(&peers)), (0, 1));
    assert!(peers.take(said(10, 1, Word::Session(session("a", "y"))), ""));
    peers.set_live(node, 0, false, at(9));
    assert_eq!((shown(&peers).len(), hosts(&peers)), (1, 1));
}

#[test]
fn a_host_that_comes_and_goes_is_shown_to_do_so_now_and_then() {
    let (mut peers, node) = (Peers::default(), own(2).node());
    peers.set_live(node, 0, true, at(0));
    let mut shown = 0;
    // Up and down every eight seconds for ten minutes, looked at twice a second.
    for half in 0..1200 {
        shown += u32::from(peers.set_live(node, 0, (half / 16) % 2 == 1, at(half * 500)));
    }
    assert!((20..=24).contains(&shown), "{shown}");
    // Then it stays.
    for s in 0..60 {
        peers.set_live(node, 0, true, at(600_000 + s * 1000));
    }
    assert!(peers.is_live(node));
    // A clock that was set back gives no time to wait.
    assert!(!peers.set_live(node, 0, false, at(0)));
    // One that is started again now and then is shown as it is.
    for n in 1..20 {
        peers.set_live(node, 0, n % 2 == 1, at(n * 60_000));
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
