//! Messages when something ends or is gone: the session they are for, the daemon that is asked to send one, and
//! whoever would acknowledge them.
//!
//! Not here: order, and hosts that are away (`messages`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    process::{Child, Stdio},
};

use host::{
    Host,
    agents::{ended, with},
    session,
};
use rrd_proto::{
    EdgeKind, EdgeState, HostState,
    message::{Message, MessagePage, MessageState},
    preamble::{self, Preamble},
};

impl Host {
    /// What became of all that was sent from here.
    fn sent(&self) -> Vec<Message> {
        self.json::<MessagePage>(&["inbox", "--sent", "--all"]).messages
    }

    /// Edges of messages, as this host sees them.
    fn edges(&self) -> Vec<EdgeState> {
        let edges = self.graph().edges;
        let edges = edges.iter().filter(|edge| edge.kind == EdgeKind::Message);
        edges.map(|edge| edge.state).collect()
    }

    fn comes_to_see(&self, expected: &[EdgeState]) {
        self.until(&format!("{expected:?}"), || {
            let edges = self.edges();
            if edges == expected { Ok(()) } else { Err(format!("{edges:?}")) }
        });
    }

    /// A session sends, and its message is kept here while the other host does not answer.
    fn sends_to_the_deaf(&self, id: &str, to: &str, text: &str) -> Child {
        let before = self.sent().len();
        let child = self.of_session(id, &["send", to, "--json", "--", text]).spawn().unwrap();
        self.until("it to be kept", || match self.sent().len() - before {
            0 => Err("nothing is".to_owned()),
            _ => Ok(()),
        });
        child
    }
}

#[test]
fn what_a_forgotten_session_did_not_read_fails_to_its_sender_near_and_far() {
    let (one, two, three) = (session(1), session(2), session(3));
    let a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    b.says(&three, "third");
    [&a, &b].iter().for_each(|host| host.knows(&[&one, &two, &three]));
    let [read, far] = ["was read", "was not"].map(|text| a.sends(&one, &two, text));
    let near = b.sends(&three, &two, "from near by");
    assert_eq!((far.state, near.state), (MessageState::Unread, MessageState::Unread));
    b.does(&two, &["inbox", "--ack", &read.id.to_string()]);
    let both = [EdgeState::Unread, EdgeState::Unread];
    [&a, &b].iter().for_each(|host| host.comes_to_see(&both));
    b.run(&["sessions", "forget", &two, "--yes"]);
    for (host, id) in [(&a, far.id), (&b, near.id)] {
        let message = host.until("its end", || {
            let sent = host.sent();
            let found = sent.iter().find(|message| message.id == id).cloned();
            found.filter(|one| one.state == MessageState::Failed).ok_or(format!("{sent:?}"))
        });
        assert_eq!(message.trouble.as_deref(), Some("that session was forgotten on its host"));
        host.until("no edge that is open", || {
            let edges = host.edges();
            let is_over = edges.iter().all(|state| *state == EdgeState::Inactive);
            if is_over { Ok(()) } else { Err(format!("{edges:?}")) }
        });
        assert!(host.run(&["inbox", "--sent"]).contains("was forgotten"));
    }
    let first = a.sent().into_iter().find(|message| message.id == read.id).unwrap();
    assert_eq!(first.state, MessageState::Read);
}

#[test]
fn whoever_is_no_session_acknowledges_all_of_a_host_only_when_they_say_so() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one);
    a.says(&two, "second");
    a.knows(&[&one, &two]);
    let sent = a.sends(&one, &two, "not yours");
    a.sends(&one, &two, "nor this");
    let refused = a.rrd(&["inbox", "--ack-all"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(64), 0), "{said}");
    assert!(said.contains("--as REF names the session; --as none means all of this host"));
    let unread = || a.json::<MessagePage>(&["inbox"]).messages.len();
    assert_eq!(unread(), 2);
    // One by its name a person may.
    a.run(&["inbox", "--ack", &sent.id.to_string()]);
    assert_eq!(unread(), 1);
    a.run(&["inbox", "--ack-all", "--as", "none"]);
    assert_eq!(unread(), 0);
}

#[test]
fn one_send_keeps_one_message_also_where_the_daemon_ends_before_it_answers() {
    let (one, two) = (session(1), session(2));
    let mut a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    a.knows(&[&one, &two]);
    b.knows(&[&one, &two]);
    // In order once, so that it knows the other's sessions when it begins anew.
    a.stop();
    a.start();
    a.knows(&[&one, &two]);
    a.comes_to_see_host("b", HostState::Live);
    b.signal("-STOP");
    let child = a.sends_to_the_deaf(&one, &two, "once");
    a.kill();
    a.start();
    let (code, out, err) = ended(child);
    assert_eq!(code, 0, "{out}{err}{}", a.log());
    let told: Message = serde_json::from_str(&out).unwrap();
    let texts: Vec<_> = a.sent().into_iter().map(|message| (message.id, message.text)).collect();
    assert_eq!(texts, [(told.id, "once".to_owned())]);
    b.signal("-CONT");
    b.until("it to come", || {
        let came = b.json::<MessagePage>(&["inbox"]).messages;
        let ids: Vec<_> = came.iter().map(|message| message.id).collect();
        if ids == [told.id] { Ok(()) } else { Err(format!("{ids:?}")) }
    });
    // One that does not come back is not waited for long, and what is not known is not denied.
    a.comes_to_see_host("b", HostState::Live);
    b.signal("-STOP");
    let child = a.sends_to_the_deaf(&one, &two, "twice");
    a.kill();
    let (code, _, said) = ended(child);
    b.signal("-CONT");
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("may have been kept") && said.contains("--sent --all"), "{said}");
}

#[test]
fn a_send_is_asked_again_also_where_the_daemon_ends_before_it_knows_who_sends() {
    let (one, two) = (session(1), session(2));
    let mut a = with("a", &one);
    a.says(&two, "second");
    a.knows(&[&one, &two]);
    a.kill();
    // One that greets and ends as it is asked, and one that ends as it is greeted.
    for (greets, text) in [(true, "first"), (false, "second")] {
        let socket = a.path("rrd/run/rrd.sock");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let child = a.of_session(&one, &["send", &two, text, "--as", &one]).spawn().unwrap();
        let (mut client, _) = listener.accept().unwrap();
        let mut heard = [0; preamble::LEN];
        client.read_exact(&mut heard).unwrap();
        if greets {
            client.write_all(&Preamble::ours().encode()).unwrap();
            client.read_exact(&mut heard[..1]).unwrap();
        }
        drop((client, listener));
        a.start();
        let (code, out, err) = ended(child);
        assert_eq!(code, 0, "{out}{err}");
        let came = a.json::<MessagePage>(&["inbox", "--as", &two]).messages;
        assert_eq!(came.last().unwrap().text, text);
        a.kill();
    }
    // Where there is none from the beginning nobody waits for one.
    let (code, _, said) = a.does(&one, &["send", &two, "third", "--as", &one]);
    assert!(code == 69 && said.contains("no daemon is running"), "{code} {said}");
}

#[cfg(target_os = "linux")]
#[test]
fn who_waits_for_messages_has_one_connection() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one);
    a.says(&two, "second");
    a.knows(&[&one, &two]);
    a.sends(&one, &two, "are you there?");
    let mut child = a.of_session(&one, &["inbox", "--wait"]).spawn().unwrap();
    a.until("it to wait", || {
        let is_waiting = |edge: &rrd_proto::Edge| edge.kind == EdgeKind::Wait;
        if a.graph().edges.iter().any(is_waiting) { Ok(()) } else { Err("nobody".to_owned()) }
    });
    let socket = a.path("rrd/run/rrd.sock");
    a.until("one connection", || {
        // Each with the path of the socket, and 03 where it is connected.
        let all = fs::read_to_string("/proc/net/unix").unwrap();
        let ours = all.lines().filter(|line| line.ends_with(socket.to_str().unwrap()));
        match ours.filter(|line| line.split_whitespace().nth(5) == Some("03")).count() {
            1 => Ok(()),
            count => Err(count.to_string()),
        }
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_more_there_is_is_told_as_it_is() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one);
    a.says(&two, "second");
    a.knows(&[&one, &two]);
    for _ in 0..34 {
        let mut child =
            a.of_session(&one, &["send", &two, "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&[b'x'; 65_536]).unwrap();
        assert_eq!(ended(child).0, 0);
    }
    let remark = |args: &[&str]| a.does(&two, &[&["inbox"], args].concat()).2;
    let said = remark(&["--limit", "3"]);
    assert!(said.contains("31 more: a higher --limit shows more of them"), "{said}");
    let said = remark(&["--limit", "5000"]);
    assert!(said.contains("2 more: rrd inbox --ack-all takes these out of the way"), "{said}");
    let said = remark(&["--limit", "5000", "--all"]);
    assert!(said.contains("2 more: no answer holds more than these"), "{said}");
    let said = remark(&["--ack-all", "--limit", "5000"]);
    assert!(said.contains("2 more: the next rrd inbox shows them"), "{said}");
    assert_eq!(a.json::<MessagePage>(&["inbox"]).messages.len(), 2);
}
