//! Waits that somebody means ill with, or that come at a bad moment, between real daemons.
//!
//! Not here: what waiting is good for (`wait`), and calls of `rrd mcp` (`mcp`).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use host::{
    Host, NEVER,
    agents::{answered, with},
    session,
};
use interprocess::local_socket::{
    GenericFilePath, ToFsName, tokio::Stream, traits::tokio::Stream as _,
};
use rrd_proto::{
    Cause, EventQuery, Session, Status, Timestamp, WaitingFor,
    codec::{Bincode, MAX_FRAME},
    message::MessageCall,
    preamble::{self, Preamble},
    rpc::LocalClient,
    wait::{Awaited, Came, Until, WaitCall, WaitNews},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

impl Host {
    fn sees_it_wait(&self, id: &str) {
        self.until(&format!("{id} to wait"), || match self.row(id) {
            Some(row) if row.waiting_for == Some(WaitingFor::Session) => Ok(()),
            row => Err(format!("{row:?}")),
        });
    }

    fn ends_its_turn(&self, id: &str, text: &str) {
        self.writes(
            id,
            &json!({
                "type": "assistant", "uuid": format!("a{text}"), "parentUuid": null, "sessionId": id,
                "cwd": "/w", "isSidechain": false, "timestamp": Timestamp::from_millis(1_900_000_000_000),
                "message": {"id": "m1", "role": "assistant", "model": "m", "stop_reason": "end_turn",
                    "content": [{"type": "text", "text": text}]},
            }),
        );
    }

    fn socket(&self) -> PathBuf {
        self.path("rrd/run/rrd.sock")
    }
}

async fn dial(socket: PathBuf) -> LocalClient {
    let name = socket.to_fs_name::<GenericFilePath>().unwrap();
    let mut stream = Stream::connect(name).await.unwrap();
    stream.write_all(&Preamble::ours().encode()).await.unwrap();
    let mut answer = [0; preamble::LEN];
    stream.read_exact(&mut answer).await.unwrap();
    Preamble::check(&answer).unwrap();
    let frames = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME).new_codec();
    let transport = tarpc::serde_transport::new(Framed::new(stream, frames), Bincode::default());
    LocalClient::new(tarpc::client::Config::default(), transport).spawn()
}

async fn asked(client: &LocalClient, call: WaitCall) -> WaitNews {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + NEVER;
    client.wait(context, call).await.unwrap().unwrap()
}

#[test]
fn a_thousand_wait_for_one_and_keep_nobody_else_waiting() {
    const MANY: usize = 1_000;
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    a.knows(&[&one, &two]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    let (socket, target) = (a.socket(), two.clone());
    let waiters = std::thread::spawn(move || {
        runtime.block_on(async {
            let mut waiting = tokio::task::JoinSet::new();
            for _ in 0..MANY {
                let (socket, target, told) = (socket.clone(), target.clone(), told.clone());
                waiting.spawn(async move {
                    let client = dial(socket).await;
                    let (targets, until) = (vec![Awaited::new(target)], Until::Idle);
                    let begin = WaitCall::Begin { waiter: None, targets, until, any: false };
                    let mut news = asked(&client, begin).await;
                    told.send(()).unwrap();
                    while news.came.is_none() {
                        let next = WaitCall::Next { handle: news.handle, wait_ms: 20_000 };
                        news = asked(&client, next).await;
                    }
                    news.targets[0].outcome.as_ref().map(|outcome| outcome.came)
                });
            }
            waiting.join_all().await
        })
    });
    for _ in 0..MANY {
        heard.recv_timeout(NEVER).unwrap();
    }
    // All of them wait. Whoever asks something else is answered.
    let begun = Instant::now();
    assert_eq!(a.sessions().len(), 2);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    b.ends_its_turn(&two, "done");
    let came = waiters.join().unwrap();
    assert_eq!(came, vec![Some(Came::True); MANY]);
}

#[test]
fn however_many_wait_for_messages_events_or_changes_others_are_answered() {
    /// More than all connections of those that are answered at once.
    const EACH: usize = 90;
    const LONG_MS: u32 = 20_000;
    let (one, two) = (session(1), session(2));
    let a = with("a", &one);
    a.says(&two, "other");
    a.knows(&[&one, &two]);
    let key = a.row(&one).unwrap().key();
    let follows = |wait_ms| EventQuery {
        key: key.clone(),
        node: None,
        after: Some(1_000),
        before: None,
        limit: 1,
        wait_ms,
        bodies: false,
        raw: false,
    };
    let reads = |wait_ms| {
        let (of, limit) = (Some(key.clone()), 1);
        MessageCall::Inbox { of, all: false, limit, wait_ms, is_last: false }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    for at in 0..3 * EACH {
        let (socket, told) = (a.socket(), told.clone());
        // Whoever has been answered once is known to wait.
        let (events, messages) = ([1, LONG_MS].map(follows), [1, LONG_MS].map(reads));
        runtime.spawn(async move {
            let client = dial(socket).await;
            let mut context = tarpc::context::current();
            context.deadline = Instant::now() + NEVER;
            let mut cursor = u64::MAX;
            for (event, message) in events.into_iter().zip(messages) {
                match at % 3 {
                    0 => drop(client.message(context, message).await.unwrap().unwrap()),
                    1 => drop(client.events(context, event).await.unwrap().unwrap()),
                    _ => {
                        cursor =
                            client.watch(context, cursor, event.wait_ms).await.unwrap().unwrap()
                    }
                }
                let _ = told.send(());
            }
            // Nobody hangs up before all have been told.
            std::future::pending::<()>().await;
        });
    }
    for _ in 0..3 * EACH {
        heard.recv_timeout(NEVER / 10).unwrap();
    }
    assert_eq!(a.sessions().len(), 2);
    a.run(&["send", &two, "hello", "--as", &one]);
    a.hook(&two, "Stop", json!({}));
    let (code, _, said) = answered(a.waits(&one, &[&two, "--timeout", "100s"]));
    assert_eq!(code, 0, "{said}");
    drop(runtime);
}

#[test]
fn whoever_waits_where_events_are_numbered_anew_waits_on_and_is_told() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let mut b = a.takes_in(with("b", &two));
    let count = |b: &Host| {
        let shown: Value = b.json(&["sessions", "show", &two, "--events", "--limit", "1000"]);
        shown["events"].as_array().unwrap().len()
    };
    let seen = |b: &Host, text: &str| {
        b.until(text, || {
            let shown: Value = b.json(&["sessions", "show", &two, "--events", "--limit", "1000"]);
            if shown.to_string().contains(text) { Ok(()) } else { Err(shown.to_string()) }
        });
    };
    // More than anybody says while this test runs.
    (0..3_500).for_each(|at| b.says(&two, &format!("line {at}")));
    [&a, &b].iter().for_each(|host| host.knows(&[&one, &two]));
    seen(&b, "line 3499");
    // Written anew with less in it: what was there keeps its numbers, as long as there is an index.
    let transcript = b.transcript(&two);
    let text = fs::read_to_string(&transcript).unwrap();
    let left: String = text.split_inclusive('\n').take(3).collect();
    fs::write(b.path("shorter"), left).unwrap();
    fs::rename(b.path("shorter"), &transcript).unwrap();
    b.says(&two, "rewritten");
    seen(&b, "rewritten");
    let mut wait = a.waits(&one, &[&two, "--patient", "--json", "--until", "match=^FINISHED"]);
    b.sees_it_wait(&one);
    b.kill();
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(b.state(&format!("index.db{suffix}")));
    }
    b.start();
    b.until("what comes then to be seen", || {
        b.says(&two, "FINISHED");
        match wait.try_wait().unwrap() {
            Some(_) => Ok(()),
            None => Err(count(&b).to_string()),
        }
    });
    let (code, answer, said) = answered(wait);
    assert_eq!(code, 0, "{said}");
    assert_eq!(answer["targets"][0]["renumbered"], true, "{answer}");
    assert!(said.contains("what it did meanwhile may have been missed"), "{said}");
}

#[test]
fn the_edge_of_one_that_is_killed_goes_everywhere() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    a.knows(&[&one, &two]);
    let mut waits = a.waits(&one, &[&two]);
    [&a, &b].iter().for_each(|host| host.sees_it_wait(&one));
    let killed = Instant::now();
    waits.kill().unwrap();
    waits.wait().unwrap();
    for host in [&a, &b] {
        host.until("the edge to go", || match host.graph().edges.len() {
            0 => Ok(()),
            count => Err(count.to_string()),
        });
        assert_eq!(host.row(&one).map(|row| row.status), Some(Status::Executing));
    }
    // A figure of the is 2 s, measured elsewhere; this machine may be busy.
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}

#[test]
fn a_secret_is_not_found_letter_by_letter() {
    let secret = format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c");
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    [&a, &b].iter().for_each(|host| host.knows(&[&one, &two]));
    let seq = |(code, answer, said): (i32, Value, String)| {
        assert_eq!(code, 0, "{answer} {said}");
        answer["targets"][0]["outcome"]["seq"].as_u64().unwrap()
    };
    // By its own host and by another; each would end with the secret, were it found.
    let patterns = ["match=ghp_A|FINISHED", "match=b3dEf6|FINISHED", "match=Xy4zAb7c|FINISHED"];
    let waits: Vec<Child> = [&a, &b]
        .into_iter()
        .flat_map(|host| {
            let wait =
                |until: &&str| host.waits("", &[&two, "--as", "none", "--until", until, "--json"]);
            patterns.iter().map(wait).collect::<Vec<_>>()
        })
        .collect();
    let known = a.waits(&one, &[&two, "--until", "match=REDACTED", "--json"]);
    b.sees_it_wait(&one);
    // Of people's waits nothing tells when they begin: both are said until all have ended.
    let mut all: Vec<Child> = waits.into_iter().chain([known]).collect();
    b.until("all to have ended", || {
        b.says(&two, &format!("Rotate {secret} at once"));
        b.says(&two, "FINISHED");
        let states = all.iter_mut().map(|child| child.try_wait().unwrap());
        let left = states.filter(Option::is_none).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} wait")) }
    });
    let known = all.pop().unwrap();
    let shown: Value = b.json(&["sessions", "show", &two, "--events", "--limit", "1000"]);
    let is_finished = |at: u64| {
        let events = shown["events"].as_array().unwrap();
        events.iter().find(|event| event["seq"] == at).unwrap()["text"] == "FINISHED"
    };
    assert!(!is_finished(seq(answered(known))), "{shown}");
    assert!(all.into_iter().all(|child| is_finished(seq(answered(child)))), "{shown}");
}

#[test]
fn of_two_waits_that_close_a_circle_at_once_one_is_refused_or_all_hosts_say_so() {
    let (one, two) = (session(1), session(2));
    let a = with("a", &one).founds();
    let b = a.takes_in(with("b", &two));
    [&a, &b].iter().for_each(|host| host.knows(&[&one, &two]));
    for _ in 0..3 {
        let mut waits = [a.waits(&one, &[&two]), b.waits(&two, &[&one])];
        let is_told = |host: &Host| host.graph().cycles.len() == 1;
        let begun = Instant::now();
        let refused = loop {
            let gone = waits.iter_mut().position(|child| child.try_wait().unwrap().is_some());
            if gone.is_some() || is_told(&a) && is_told(&b) {
                break gone;
            }
            assert!(begun.elapsed() < NEVER, "{:?}", a.graph());
        };
        match refused {
            Some(at) => {
                let [first, second] = waits;
                let (gone, mut left) = if at == 0 { (first, second) } else { (second, first) };
                let (code, _, said) = answered(gone);
                assert_eq!((code, said.contains("nobody could go on")), (1, true), "{said}");
                // Both may be.
                let _ = left.kill();
                left.wait().unwrap();
            }
            None => {
                for host in [&a, &b] {
                    let graph = host.graph();
                    assert!(graph.chains.iter().all(|chain| chain.cause == Cause::Deadlock));
                    let rows = host.sessions();
                    assert!(rows.iter().all(Session::is_in_circle), "{rows:?}");
                }
                for mut child in waits {
                    child.kill().unwrap();
                    child.wait().unwrap();
                }
            }
        }
        for host in [&a, &b] {
            host.until("nobody to wait", || match host.graph().edges.len() {
                0 => Ok(()),
                count => Err(count.to_string()),
            });
        }
    }
}
