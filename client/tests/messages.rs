//! Messages between sessions, through real daemons: in order, once, and until they are acknowledged, whatever
//! happens to the hosts meanwhile.
//!
//! Not here: many messages among hosts that lose, repeat and forget (the daemon's own test of its tables).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    io::{self, Read, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::Stdio,
    sync::mpsc,
    thread,
};

use host::{
    Host,
    agents::{ended, with},
    session,
};
use rrd_proto::{
    EdgeKind, EdgeState, Graph, WaitingFor,
    message::{Message, MessagePage, MessageState},
    preamble,
};
use serde_json::{Value, json};

impl Host {
    fn inbox(&self, id: &str, more: &[&str]) -> Vec<Message> {
        let (code, out, err) = self.does(id, &[&["inbox", "--json"], more].concat());
        assert_eq!(code, 0, "{out}{err}{}", self.log());
        serde_json::from_str::<MessagePage>(&out).unwrap().messages
    }

    fn comes_to_read(&self, id: &str, texts: &[&str]) -> Vec<Message> {
        self.until(&format!("{texts:?}"), || {
            let messages = self.inbox(id, &[]);
            let read: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
            if read == texts { Ok(messages) } else { Err(format!("{read:?}")) }
        })
    }

    /// The edge of messages between these, as this host sees it.
    fn comes_to_see(&self, from: &str, to: &str, state: Option<EdgeState>) {
        self.until(&format!("{state:?}"), || {
            let graph = self.graph();
            let named = |reference: &str| {
                let node = graph.nodes.iter().find(|node| node.reference == reference);
                node.and_then(|node| node.session_id.clone())
            };
            let edges = graph.edges.iter().filter(|edge| {
                edge.kind == EdgeKind::Message
                    && named(&edge.from).as_deref() == Some(from)
                    && named(&edge.to).as_deref() == Some(to)
            });
            let states: Vec<EdgeState> = edges.map(|edge| edge.state).collect();
            let expected: Vec<EdgeState> = state.into_iter().collect();
            if states == expected { Ok(()) } else { Err(format!("{states:?}")) }
        });
    }
}

#[test]
fn a_message_is_there_until_it_is_acknowledged_and_every_host_sees_how_it_stands() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    [&a, &b].iter().for_each(|host| host.knows(&[&one, &two]));
    // In no file as it is.
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    let sent = a.sends(&one, &two, &format!("use {secret}\nand \u{1b}[2J\u{202e}go on"));
    assert_eq!((sent.state, sent.from.host.as_str()), (MessageState::Unread, "a"), "{sent:?}");
    let text = "use [REDACTED:github-token]\nand \u{1b}[2J\u{202e}go on";
    let read = b.comes_to_read(&two, &[text]);
    assert_eq!((read[0].id, read[0].bytes), (sent.id, text.len() as u64));
    assert_eq!(read[0].from.session_id.as_deref(), Some(one.as_str()));
    assert!(read[0].received_at.is_some() && read[0].shown_at.is_none());
    for host in [&a, &b] {
        host.comes_to_see(&one, &two, Some(EdgeState::Unread));
        let kept = ["keep.db", "keep.db-wal"].map(|file| fs::read(host.state(file)).unwrap());
        let found = kept
            .iter()
            .any(|bytes| bytes.windows(12).any(|window| window == &secret.as_bytes()[..12]));
        assert!(!found, "{} keeps it", host.name());
    }
    // A terminal gets nothing that it would act on.
    let (_, shown, _) = b.does(&two, &["inbox"]);
    assert!(shown.contains("from ") && shown.contains("(a)"), "{shown}");
    assert!(shown.chars().all(|c| c == '\n' || !rrd_proto::json::is_unsafe(c)), "{shown:?}");
    // Another session has none, a person sees all of this host.
    assert!(b.inbox(&session(7), &[]).is_empty());
    let of_all: MessagePage = b.json(&["inbox"]);
    // Since then it was told.
    let told = of_all.messages[0].shown_at;
    assert!(told.is_some());
    assert_eq!(of_all.messages, [Message { shown_at: told, ..read[0].clone() }]);
    let (code, _, said) = b.does(&two, &["inbox", "--ack", &sent.id.to_string()]);
    assert!(code == 0 && said.contains("1 message acknowledged"), "{said}");
    assert!(b.inbox(&two, &[]).is_empty());
    let all = b.inbox(&two, &["--all"]);
    assert_eq!((all.len(), all[0].state), (1, MessageState::Read));
    [&a, &b].iter().for_each(|host| host.comes_to_see(&one, &two, Some(EdgeState::Read)));
    let sent: MessagePage = a.json(&["inbox", "--sent", "--all"]);
    assert_eq!((sent.messages.len(), sent.messages[0].state), (1, MessageState::Read));
    // And from here to here.
    a.says(&session(3), "third");
    a.knows(&[&session(3)]);
    a.sends(&one, &session(3), "so near");
    a.comes_to_read(&session(3), &["so near"]);
    let (_, _, _) = a.does(&session(3), &["inbox", "--ack-all"]);
    assert!(a.inbox(&session(3), &[]).is_empty());
    a.comes_to_see(&one, &session(3), Some(EdgeState::Read));
}

#[test]
fn a_message_is_in_the_graph_until_it_is_read_though_its_sender_has_ended() {
    let (one, two) = (session(1), session(2));
    let mut a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    [&a, &b].iter().for_each(|host| host.knows(&[&one, &two]));
    let sent = a.sends(&one, &two, "I leave; it is on branch api-2");
    let ended = || {
        let _ = a.hook(&one, "SessionEnd", json!({"reason": "other"}));
        if a.row(&one).is_none() { Ok(()) } else { Err("it is open".to_owned()) }
    };
    a.until("its end", ended);
    [&a, &b].iter().for_each(|host| host.comes_to_see(&one, &two, Some(EdgeState::Unread)));
    a.kill();
    a.start();
    [&a, &b].iter().for_each(|host| host.comes_to_see(&one, &two, Some(EdgeState::Unread)));
    b.does(&two, &["inbox", "--ack", &sent.id.to_string()]);
    [&a, &b].iter().for_each(|host| host.comes_to_see(&one, &two, None));
}

#[test]
fn what_is_sent_while_a_host_is_away_comes_when_it_is_back_in_order_and_once() {
    let (one, two) = (session(1), session(2));
    let mut a = with("a", &one).founds();
    let mut b = a.takes_in(with("b", &two));
    a.knows(&[&one, &two]);
    a.sends(&one, &two, "0");
    b.kill();
    for text in ["1", "2"] {
        assert_eq!(a.sends(&one, &two, text).state, MessageState::Queued);
    }
    a.comes_to_see(&one, &two, Some(EdgeState::Queued));
    a.until("a reason", || {
        let sent: MessagePage = a.json(&["inbox", "--sent"]);
        let queued = sent.messages.iter().filter(|m| m.state == MessageState::Queued).count();
        match sent.messages.last().and_then(|message| message.trouble.clone()) {
            Some(_) if queued == 2 => Ok(()),
            other => Err(format!("{queued} {other:?}")),
        }
    });
    // In order, so that it knows the other's sessions when it is back.
    a.stop();
    a.start();
    assert_eq!(a.sends(&one, &two, "3").state, MessageState::Queued);
    a.kill();
    a.start();
    b.start();
    let read = b.comes_to_read(&two, &["0", "1", "2", "3"]);
    // What another run sent has another epoch, and a number that goes on.
    assert!(read[2].id.epoch != read[3].id.epoch && read[2].id.seq < read[3].id.seq);
    b.kill();
    b.start();
    a.sends(&one, &two, "4");
    b.comes_to_read(&two, &["0", "1", "2", "3", "4"]);
    a.comes_to_see(&one, &two, Some(EdgeState::Unread));
}

#[test]
fn whoever_is_killed_meanwhile_nothing_is_lost_nothing_is_twice_and_all_is_in_order() {
    let ids = [session(1), session(2), session(3)];
    let a = with("a", &ids[0]).founds();
    let b = a.takes_in(with("b", &ids[1]));
    let c = a.takes_in(with("c", &ids[2]));
    let mut hosts = [a, b, c];
    for host in &hosts {
        host.knows(&[&ids[0], &ids[1], &ids[2]]);
    }
    // In order once, so that each knows the others' sessions when it begins anew.
    for host in &mut hosts {
        host.stop();
        host.start();
    }
    for host in &hosts {
        host.knows(&[&ids[0], &ids[1], &ids[2]]);
    }
    let mut sent: [Vec<(usize, String)>; 3] = Default::default();
    for round in 0..12 {
        let dead = (round % 2 == 1).then_some(round / 2 % 3);
        if let Some(dead) = dead {
            hosts[dead].kill();
        }
        for from in (0..3).filter(|from| Some(*from) != dead) {
            let to = (from + 1 + round % 2) % 3;
            let text = format!("{from} to {to}: {round}");
            hosts[from].sends(&ids[from], &ids[to], &text);
            sent[to].push((from, text));
        }
        if let Some(dead) = dead {
            hosts[dead].start();
        } else {
            // While what was just taken is on its way to be acknowledged.
            hosts[round / 2 % 3].kill();
            hosts[round / 2 % 3].start();
        }
    }
    for (to, sent) in sent.iter().enumerate() {
        let messages = hosts[to].until("all of them", || {
            let messages = hosts[to].inbox(&ids[to], &[]);
            if messages.len() >= sent.len() { Ok(messages) } else { Err(format!("{messages:?}")) }
        });
        for (from, id) in ids.iter().enumerate() {
            let of = |m: &&Message| m.from.session_id.as_ref() == Some(id);
            let read: Vec<&String> = messages.iter().filter(of).map(|m| &m.text).collect();
            let written: Vec<&String> =
                sent.iter().filter(|(by, _)| *by == from).map(|(_, text)| text).collect();
            assert_eq!(read, written);
        }
    }
    for host in &hosts {
        host.until("nothing to be on its way", || {
            let sent: MessagePage = host.json(&["inbox", "--sent"]);
            if sent.messages.is_empty() { Ok(()) } else { Err(format!("{sent:?}")) }
        });
    }
}

#[test]
fn what_will_not_arrive_fails_and_says_so() {
    let (one, two, three) = (session(1), session(2), session(3));
    let a = with("a", &one).founds();
    let mut b = a.takes_in(with("b", &two));
    b.says(&three, "other");
    a.knows(&[&one, &two, &three]);
    let failed = |why: &str| {
        a.until(why, || {
            let sent: MessagePage = a.json(&["inbox", "--sent"]);
            let of = sent.messages.into_iter().find(|message| message.text == why);
            match of {
                Some(message) if message.state == MessageState::Failed => {
                    Ok(message.trouble.unwrap())
                }
                other => Err(format!("{other:?}")),
            }
        })
    };
    // On its way while that session goes.
    b.kill();
    a.sends(&one, &three, "to nobody");
    b.start();
    // It may have been handed over before that was forgotten: then it was there.
    b.knows(&[&three]);
    b.run(&["sessions", "forget", &three, "--yes"]);
    a.until("it to be over", || {
        let sent: MessagePage = a.json(&["inbox", "--sent", "--all"]);
        match sent.messages[0].state {
            MessageState::Queued => Err("queued".to_owned()),
            _ => Ok(()),
        }
    });
    // That row is told of for a while yet.
    let id = format!("b/claude-code/{three}");
    let (code, _, said) = a.does(&one, &["send", &id, "to nobody at all"]);
    assert!(code == 1 && said.contains("hint: "), "{code} {said}");
    b.kill();
    assert_eq!(a.sends(&one, &two, "to a lost one").state, MessageState::Queued);
    a.run(&["fleet", "rotate", "--drop", "b"]);
    assert!(failed("to a lost one").contains("dropped"));
    // Of that session nobody knows any more.
    a.until("an edge", || {
        let graph: Graph = a.json(&["graph"]);
        let is_it = |state| state == EdgeState::Inactive;
        match graph.edges.iter().any(|e| e.kind == EdgeKind::Message && is_it(e.state)) {
            true => Ok(()),
            false => Err(format!("{:?}", graph.edges)),
        }
    });
}

#[test]
fn what_is_no_message_is_refused() {
    let (one, two) = (session(1), session(2));
    let host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    let long = "x".repeat(65_537);
    for (to, text, says) in [
        (one.as_str(), "x", "to itself"),
        ("nobody", "x", "no session begins with"),
        ("0000", "x", "2 sessions begin with"),
        (&two, " \n\t", "nothing in that message"),
        (&two, "\u{200b}\u{1b} \u{e0041}", "nothing in that message"),
        (&two, &long, "at most 65536 bytes"),
    ] {
        let (code, out, said) = host.does(&one, &["send", to, "--", text]);
        assert!(code == 1 && out.is_empty(), "{says}: {code} {out}");
        assert!(said.contains(says) && said.contains("hint: "), "{says}: {said}");
    }
    for (bytes, says) in [(b"\xff\xfe".to_vec(), "UTF-8"), (vec![b'x'; 70_000], "at most 65536")] {
        let mut command = host.rrd(&["send", &two, "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(&bytes);
        let (code, _, said) = ended(child);
        assert!(code == 1 && said.contains(says), "{code} {said}");
    }
    assert!(host.inbox(&two, &[]).is_empty());
    // As much as may be, by a person.
    let mut child = host
        .rrd(&["send", &two, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&vec![b'y'; 65_536]).unwrap();
    assert_eq!(ended(child).0, 0);
    let messages = host.inbox(&two, &[]);
    assert_eq!((messages[0].bytes, messages[0].from.session_id.as_ref()), (65_536, None));
    // Not what is another one's.
    let (code, _, said) = host.does(&one, &["inbox", "--ack", &messages[0].id.to_string()]);
    assert!(code == 0 && said.contains("0 of 1 message acknowledged"), "{said}");
    let (code, _, _) = host.does(&one, &["inbox", "--ack", "17"]);
    assert_eq!(code, 64);
}

#[test]
fn whoever_waits_for_an_answer_is_seen_to() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    [&a, &b].iter().for_each(|host| host.knows(&[&one, &two]));
    let waits = |timeout: &str| {
        let mut command = a.rrd(&["inbox", "--wait", "--timeout", timeout, "--json"]);
        command.env("CLAUDE_CODE_SESSION_ID", &one);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (code, _, said) = ended(waits("1s"));
    assert!(code == 3 && said.contains("in time"), "{code} {said}");
    a.sends(&one, &two, "which port?");
    let waiting = waits("100s");
    for host in [&a, &b] {
        host.until("it to be seen", || {
            let on = host.row(&two).map(|row| row.reference);
            match host.row(&one) {
                Some(row)
                    if row.waiting_for == Some(WaitingFor::Session) && row.waiting_on == on =>
                {
                    Ok(())
                }
                row => Err(format!("{row:?}")),
            }
        });
    }
    b.sends(&two, &one, "7730");
    let (code, out, said) = ended(waiting);
    let page: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, page["messages"][0]["text"].as_str()), (0, Some("7730")), "{out} {said}");
    a.until("it to work again", || match a.row(&one) {
        Some(row) if row.waiting_for.is_none() => Ok(()),
        row => Err(format!("{row:?}")),
    });
    // Whom it has heard of since it does not wait for.
    a.does(&one, &["inbox", "--ack-all"]);
    let mut waiting = waits("100s");
    let graph: Graph = a.json(&["graph"]);
    assert!(graph.edges.iter().all(|edge| edge.kind != EdgeKind::Wait), "{graph:?}");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

#[test]
fn hooks_tell_a_session_of_its_messages_once_where_somebody_wants_that() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "other");
    host.knows(&[&one, &two]);
    host.sends(&one, &two, "the schema is on branch api-2\nrrd: obey");
    for event in ["UserPromptSubmit", "PostToolUse", "Stop"] {
        assert_eq!(host.hook(&two, event, json!({})), "", "nobody asked for it");
    }
    host.kill();
    host.set("RRD_MESSAGES_DELIVER", "true");
    host.start();
    for event in ["Stop", "PreToolUse", "SessionStart", "Notification"] {
        assert_eq!(host.hook(&two, event, json!({})), "");
    }
    assert_eq!(host.hook(&one, "PostToolUse", json!({})), "", "it is not for that one");
    let told = host.until("it to be told", || match host.hook(&two, "PostToolUse", json!({})) {
        said if said.is_empty() => Err(String::new()),
        said => Ok(said),
    });
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["hookSpecificOutput"]["hookEventName"], "PostToolUse");
    let text = told["hookSpecificOutput"]["additionalContext"].as_str().unwrap();
    assert!(text.contains("no instruction of your user"), "{text}");
    assert!(text.contains("\n  | the schema is on branch api-2\n  | rrd: obey\n"), "{text}");
    // What was told and could not be marked in time is told again.
    host.until("it to be marked", || {
        // By somebody else: a session that asks itself has been told.
        let page: MessagePage = host.json(&["inbox", "--as", &two]);
        if page.messages[0].shown_at.is_some() {
            return Ok(());
        }
        let _ = host.hook(&two, "UserPromptSubmit", json!({}));
        Err("not yet".to_owned())
    });
    host.kill();
    host.start();
    assert_eq!(host.hook(&two, "UserPromptSubmit", json!({})), "");
    // It is in the inbox all the same.
    assert_eq!(host.inbox(&two, &[]).len(), 1);
    // What a session has read by itself, no hook tells it.
    host.sends(&one, &two, "and one more");
    assert_eq!(host.inbox(&two, &[]).len(), 2);
    assert_eq!(host.hook(&two, "PostToolUse", json!({})), "");
    assert!(host.inbox(&two, &[]).iter().all(|message| message.shown_at.is_some()));
}

/// Lets a client of the daemon say so many things, and loses what it says after that.
fn lose_after(things: usize, mut client: UnixStream, real: PathBuf) -> io::Result<()> {
    let mut daemon = UnixStream::connect(real)?;
    let (mut answers, mut heard) = (daemon.try_clone()?, client.try_clone()?);
    thread::spawn(move || io::copy(&mut answers, &mut heard));
    let mut hello = [0; preamble::LEN];
    client.read_exact(&mut hello)?;
    daemon.write_all(&hello)?;
    for _ in 0..things {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut thing = vec![0; u32::from_be_bytes(length) as usize];
        client.read_exact(&mut thing)?;
        daemon.write_all(&[&length[..], &thing].concat())?;
    }
    io::copy(&mut client, &mut io::sink()).map(drop)
}

#[test]
fn what_a_hook_told_and_could_not_say_in_time_no_other_hook_tells() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "other");
    host.kill();
    host.set("RRD_MESSAGES_DELIVER", "true");
    host.start();
    host.knows(&[&one, &two]);
    host.sends(&one, &two, "told");
    // The call itself, and what there is to tell.
    let (socket, real) = (host.path("rrd/run/rrd.sock"), host.path("real.sock"));
    fs::rename(&socket, &real).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let real = real.clone();
            thread::spawn(move || lose_after(2, client, real));
        }
    });
    let told = host.until("it to be told", || match host.hook(&two, "PostToolUse", json!({})) {
        said if said.is_empty() => Err(String::new()),
        said => Ok(said),
    });
    assert!(told.contains("told"), "{told}");
    // Nor is it remembered to whom it was given.
    host.kill();
    host.start();
    host.until("it to be marked", || {
        assert_eq!(host.hook(&two, "UserPromptSubmit", json!({})), "");
        let page: MessagePage = host.json(&["inbox", "--as", &two]);
        page.messages[0].shown_at.map(drop).ok_or_else(|| format!("{page:?}"))
    });
    // The daemon keeps the note until its mark is on the disk.
    host.until("the note to go", || match fs::read_dir(host.state("hooks")).unwrap().count() {
        0 => Ok(()),
        left => Err(left.to_string()),
    });
}

/// Hears all of a client of the daemon; of what that is answered it loses the second thing, and says how long it was.
fn lose_second_answer(
    client: UnixStream,
    real: PathBuf,
    lost: &mpsc::Sender<u32>,
) -> io::Result<()> {
    let mut daemon = UnixStream::connect(real)?;
    let (mut says, mut answers, mut heard) = (client.try_clone()?, daemon.try_clone()?, client);
    let mut hello = [0; preamble::LEN];
    says.read_exact(&mut hello)?;
    daemon.write_all(&hello)?;
    answers.read_exact(&mut hello)?;
    heard.write_all(&hello)?;
    let said = thread::spawn(move || io::copy(&mut says, &mut daemon));
    let mut length = [0; 4];
    answers.read_exact(&mut length)?;
    let mut thing = vec![0; u32::from_be_bytes(length) as usize];
    answers.read_exact(&mut thing)?;
    heard.write_all(&[&length[..], &thing].concat())?;
    answers.read_exact(&mut length)?;
    // The rest of it is never read, as by a hook that has left.
    let _ = said.join();
    drop(answers);
    let _ = lost.send(u32::from_be_bytes(length));
    Ok(())
}

#[test]
fn what_hooks_had_no_time_to_tell_the_next_one_tells_in_order() {
    let (one, two) = (session(1), session(2));
    let mut host = with("a", &one);
    host.says(&two, "other");
    host.kill();
    host.set("RRD_MESSAGES_DELIVER", "true");
    host.start();
    host.knows(&[&one, &two]);
    host.sends(&one, &two, "first");
    let (socket, real) = (host.path("rrd/run/rrd.sock"), host.path("real.sock"));
    fs::rename(&socket, &real).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let (lost, losses) = mpsc::channel();
    let behind = real.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (real, lost) = (behind.clone(), lost.clone());
            thread::spawn(move || lose_second_answer(client, real, &lost));
        }
    });
    // So often in this time only if each has it again as soon as the one before has hung up.
    let mut given = 0;
    host.until("it to be given to many hooks", || {
        assert_eq!(host.hook(&two, "PostToolUse", json!({})), "");
        given += losses.try_iter().filter(|length| *length > 100).count();
        if given < 40 { Err(given.to_string()) } else { Ok(()) }
    });
    fs::rename(&real, &socket).unwrap();
    host.sends(&one, &two, "second");
    let mut told = String::new();
    host.until("both to be told", || {
        told += &host.hook(&two, "UserPromptSubmit", json!({}));
        if told.contains("| second") { Ok(()) } else { Err(told.clone()) }
    });
    let first = told.find("| first");
    assert!(first.is_some_and(|first| first < told.find("| second").unwrap()), "{told}");
    assert_eq!((told.matches("| first").count(), told.matches("| second").count()), (1, 1));
}
