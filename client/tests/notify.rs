//! Notices between real daemons: what a program or an address is told, by which host, and how often.
//!
//! Not here: what is a notice, and when it is due (the core's tables), and which host tells it while others come
//! and go (the daemon's tests, in which a test is the clock).
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use host::{Host, past::secret, session};
use rrd_proto::{Health, PartStatus, SinkStatus, SinkTest};
use serde_json::{Value, json};

impl Host {
    /// Its settings are these from its next start on.
    fn is_set(&self, settings: &str) {
        fs::write(self.path("rrd/config.toml"), settings).unwrap();
    }

    /// A session asks whether it may.
    fn asks(&self, id: &str, command: &str) {
        let at = rrd_proto::Timestamp::from_millis(
            i64::try_from(
                std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap()
                    .as_millis(),
            )
            .unwrap(),
        );
        self.writes(
            id,
            &json!({
                "parentUuid": null, "isSidechain": false, "type": "assistant",
                "uuid": format!("a{at}"), "timestamp": at, "sessionId": id, "cwd": "/w",
                "version": "2.1.300", "message": {"id": format!("m{at}"), "role": "assistant",
                    "model": "opus", "stop_reason": "tool_use",
                    "content": [{"type": "tool_use", "id": format!("t{at}"), "name": "AskUserQuestion",
                        "input": {"questions": [{"question": command, "options": []}]}}]},
            }),
        );
    }

    fn sinks(&self) -> Vec<SinkStatus> {
        self.json(&["notify", "status"])
    }

    /// That many live hosts have its sink, this one included.
    fn shares(&self, count: u64) {
        self.until("others to have the sink", || {
            let sinks = self.sinks();
            if sinks[0].hosts == count { Ok(()) } else { Err(format!("{sinks:?}")) }
        });
    }

    fn program(&self, name: &str, script: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path.display().to_string()
    }
}

/// What was sent to an address: the head, and the body.
type Sent = (String, String);

/// An address that takes what is sent to it; with `status` it answers.
struct Address {
    port: u16,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Address {
    fn new(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, sent) = (listener.local_addr().unwrap().port(), Arc::default());
        let taken: Arc<Mutex<Vec<Sent>>> = Arc::clone(&sent);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let taken = Arc::clone(&taken);
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let (mut head, mut length) = (String::new(), 0);
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                            break;
                        }
                        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        head += &line;
                    }
                    let mut body = vec![0; length];
                    if reader.read_exact(&mut body).is_err() {
                        return;
                    }
                    taken.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes());
                });
            }
        });
        Self { port, sent }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/my-topic", self.port)
    }

    fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// What was told, without tests: of each its id and the sessions in it.
    fn told(&self) -> Vec<(String, Vec<String>)> {
        let read = |(_, body): &Sent| -> Value { serde_json::from_str(body).unwrap() };
        let all = self.sent();
        let real = all.iter().map(read).filter(|told| told["test"] == json!(false));
        real.map(|told| {
            let ids = told["notices"].as_array().unwrap().iter();
            let ids = ids.map(|one| one["session_id"].as_str().unwrap_or_default().to_owned());
            (told["id"].as_str().unwrap().to_owned(), ids.collect())
        })
        .collect()
    }
}

const SOON: &str = "[notify.lasts]\nneeds_you = \"1s\"\n";

fn webhook(address: &Address) -> String {
    format!("{SOON}[notify.sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\n", address.url())
}

#[test]
fn a_program_is_told_on_its_stdin_and_what_it_is_told_is_no_shell() {
    let id = session(1);
    let mut host = Host::new("mac");
    let out = host.path("told");
    let program = host.program(
        "tell it",
        &format!(
            "cat >\"{o}.$RRD_NOTICE_ID\"; env | grep ^RRD_NOTICE >\"{o}.env\"",
            o = out.display()
        ),
    );
    host.is_set(&format!(
        "{SOON}[notify.sinks.bell]\nkind = \"command\"\ncommand = [{program:?}, \"$(touch {})\"]\n",
        host.path("owned").display()
    ));
    let question =
        format!("$(touch {}) ; rm? \u{1b}[2J {}", host.path("owned").display(), secret());
    host.works_on(&id, "Ship `it`");
    host.asks(&id, &question);
    host.start();
    let told = host.until("the program to be told", || {
        let entries = fs::read_dir(host.home.path()).unwrap().flatten();
        let names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let file = names.iter().find(|name| name.starts_with("told.") && !name.ends_with("env"));
        let text = file.and_then(|name| fs::read_to_string(host.path(name)).ok());
        let told: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
        told.ok_or_else(|| format!("{names:?}"))
    });
    assert_eq!(told["notices"][0]["kind"], "needs_you", "{told}");
    assert_eq!(told["notices"][0]["title"], "Ship `it`");
    let detail = told["notices"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("[REDACTED:github-token]") && !detail.contains('\u{1b}'), "{detail}");
    assert_eq!(told["title"], "mac: waits for your answer");
    let environment = host.until("its environment", || {
        let text = fs::read_to_string(host.path("told.env")).unwrap_or_default();
        if text.contains("RRD_NOTICE_PRIORITY=4") { Ok(text) } else { Err(text) }
    });
    assert!(environment.contains("RRD_NOTICE_KIND=needs_you"), "{environment}");
    assert!(!environment.contains(&secret()) && !environment.contains('\u{1b}'), "{environment}");
    assert!(!host.path("owned").exists(), "a text was run");
    // It is counted once the program has ended.
    let sink = host.until("it to be counted", || {
        let sink = host.sinks().remove(0);
        if sink.sent + sink.failed > 0 { Ok(sink) } else { Err(format!("{sink:?}")) }
    });
    assert_eq!((sink.sent, sink.failed, sink.error), (1, 0, None));
    let parts: Vec<PartStatus> = host.json(&["status"]);
    let part = parts.iter().find(|part| part.part == "notify").unwrap();
    assert!(part.state == Health::Ok && part.detail.contains("1 notification"), "{part:?}");

    // What was told is not told again, however the daemon ended.
    host.kill();
    host.start();
    host.asks(&session(2), "And this?");
    host.until("the other one", || match host.sinks()[0].sent {
        1 => Ok(()),
        count => Err(count.to_string()),
    });
    let entries = fs::read_dir(host.home.path()).unwrap().flatten();
    let told = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("told."));
    assert_eq!(told.count(), 3, "one each, and the environment");
}

#[test]
fn an_address_is_told_as_ntfy_has_it_and_its_secrets_are_told_nobody() {
    let id = session(1);
    let mut host = Host::new("mac");
    let address = Address::new("200 OK");
    fs::write(host.path("topic"), format!("{}\n", address.url())).unwrap();
    fs::write(host.path("token"), "Bearer tk_hunter2hunter2\n").unwrap();
    host.is_set(&format!(
        "[notify]\npage = \"http://mac:7732\"\n{SOON}[notify.sinks.phone]\nkind = \"webhook\"\n\
         format = \"ntfy\"\nurl = {{ file = {:?} }}\nheaders = {{ Authorization = {{ file = {:?} }} }}\n",
        host.path("topic"),
        host.path("token"),
    ));
    host.works_on(&id, "Příliš žluťoučký");
    host.asks(&id, "May I?");
    host.start();
    let (head, body) = host.until("a notification", || {
        address.sent().first().cloned().ok_or_else(|| format!("{:?}", host.sinks()))
    });
    let has = |line: &str| head.to_lowercase().contains(&line.to_lowercase());
    assert!(head.starts_with("POST /my-topic HTTP/1.1"), "{head}");
    assert!(has("authorization: Bearer tk_hunter2hunter2") && has("priority: 4"), "{head}");
    assert!(has("title: mac: waits for your answer") && has("idempotency-key: "), "{head}");
    assert!(has(&format!("click: http://mac:7732/s/mac/claude-code/{id}")), "{head}");
    assert!(body.contains("Příliš žluťoučký") && body.contains("May I?"), "{body}");
    let tests: Vec<SinkTest> = host.json(&["notify", "test", "phone"]);
    assert_eq!(tests[0].error, None);
    let (_, body) = address.sent().pop().unwrap();
    assert!(body.contains("This is how phone tells"), "{body}");
    assert!(host.refuses(&["notify", "test", "pager"]).contains("config.toml has phone"));
    let shown = [
        host.run(&["config"]),
        host.run(&["notify", "status"]),
        host.run(&["notify", "status", "--json"]),
        host.run(&["status"]),
        host.log(),
    ];
    for text in shown {
        assert!(!text.contains("hunter2") && !text.contains("my-topic"), "{text}");
    }
}

#[test]
fn what_cannot_be_told_is_said_and_tried_again() {
    let id = session(1);
    let mut host = Host::new("mac");
    let address = Address::new("503 Service Unavailable");
    host.is_set(&webhook(&address));
    host.asks(&id, "May I?");
    host.start();
    // It is told again under the same name.
    let told = host.until("two attempts", || match &address.told()[..] {
        told @ [_, _, ..] => Ok(told.to_vec()),
        told => Err(format!("{told:?}")),
    });
    assert_eq!(told[0], told[1]);
    let sink = host.until("the figures", || {
        let sink = host.sinks().remove(0);
        if sink.failed >= 2 { Ok(sink) } else { Err(format!("{sink:?}")) }
    });
    assert_eq!((sink.sent, sink.waiting), (0, 1));
    assert!(sink.error.unwrap().contains("127.0.0.1 answered 503"));
    let parts: Vec<PartStatus> = host.json(&["status"]);
    let part = parts.into_iter().find(|part| part.part == "notify").unwrap();
    assert!(part.state == Health::Degraded && part.detail.contains("hook has failed"), "{part:?}");
    let out = host.rrd(&["notify", "test"]).stdout(Stdio::piped()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8(out.stdout).unwrap().contains("answered 503"));
    // Where an answer leads is not followed.
    let elsewhere = Address::new("302 Found\r\nlocation: http://127.0.0.1:1/");
    host.stop();
    host.is_set(&webhook(&elsewhere));
    host.start();
    let out = host.rrd(&["notify", "test"]).output().unwrap();
    assert!(String::from_utf8(out.stdout).unwrap().contains("is not followed"));
    // Nor is http anywhere else than near.
    host.stop();
    host.is_set("[notify.sinks.far]\nkind = \"webhook\"\nurl = \"http://192.0.2.1/x\"\n");
    host.start();
    let out = host.rrd(&["notify", "test"]).output().unwrap();
    assert!(String::from_utf8(out.stdout).unwrap().contains("use https"));
}

/// Five hosts with one address.
fn five(address: &Address) -> Vec<Host> {
    let mut first = Host::new("a");
    first.is_set(&webhook(address));
    first.says(&session(1), "Ship it");
    first.start();
    let first = first.founds();
    let mut hosts = vec![first];
    for name in ["b", "c", "d", "e"] {
        let mut host = Host::new(name);
        host.is_set(&webhook(address));
        host.start();
        hosts.push(hosts[0].takes_in(host));
    }
    hosts.iter().for_each(|host| host.shares(5));
    hosts
}

#[test]
fn of_five_hosts_one_tells_and_when_it_is_killed_another_does() {
    let address = Address::new("200 OK");
    let mut hosts = five(&address);
    let id = session(1);
    hosts[0].asks(&id, "May I?");
    hosts[0].until("a notification", || {
        if address.told().is_empty() { Err(format!("{:?}", hosts[0].sinks())) } else { Ok(()) }
    });
    // All of them know that, and wait for nothing.
    for host in &hosts {
        host.until("nothing to wait", || {
            let sink = host.sinks().remove(0);
            if sink.waiting == 0 { Ok(()) } else { Err(format!("{sink:?}")) }
        });
    }
    let teller = hosts[0].sinks()[0].teller.clone().unwrap();
    let sent: Vec<u64> = hosts.iter().map(|host| host.sinks()[0].sent).collect();
    assert_eq!(sent.iter().sum::<u64>(), 1, "{sent:?}");
    assert_eq!(address.told().len(), 1);

    // The one that would tell is killed at the moment it should.
    let at = hosts.iter().position(|host| host.name() == teller).unwrap();
    let asks = usize::from(at == 0);
    let other = session(2);
    hosts[asks].asks(&other, "And this?");
    hosts[at].kill();
    let left = if at == 0 { 1 } else { 0 };
    hosts[left].until("another host to tell it", || {
        let told = address.told();
        let is_told = told.iter().any(|(_, ids)| ids.contains(&other));
        if is_told { Ok(()) } else { Err(format!("{told:?}")) }
    });
    let of_other = address.told().iter().filter(|(_, ids)| ids.contains(&other)).count();
    assert!((1..=2).contains(&of_other), "{:?}", address.told());
    // What was told of the first one was told once all the while.
    let of_first = address.told().iter().filter(|(_, ids)| ids.contains(&id)).count();
    assert_eq!(of_first, 1, "{:?}", address.told());
}

#[test]
#[cfg(target_os = "linux")]
fn a_desktop_is_each_hosts_own() {
    let id = session(1);
    let desktop = |name: &str| {
        let mut host = Host::new(name);
        let out = host.path("shown");
        fs::create_dir(host.path("bin")).unwrap();
        host.program(
            "bin/notify-send",
            &format!("for w in \"$@\"; do echo \"$w\"; done >>'{}'", out.display()),
        );
        host.set("PATH", format!("{}:/usr/bin:/bin", host.path("bin").display()));
        host.is_set(&format!("{SOON}[notify.sinks.desk]\nkind = \"desktop\"\n"));
        host
    };
    let mut a = desktop("a");
    a.works_on(&id, "--icon=/etc/passwd <b>");
    a.start();
    let a = a.founds();
    let mut b = desktop("b");
    b.start();
    let b = a.takes_in(b);
    a.asks(&id, "May I?");
    for host in [&a, &b] {
        let shown = host.until("the desktop to show it", || {
            let shown = fs::read_to_string(host.path("shown")).unwrap_or_default();
            if shown.contains("May I?") { Ok(shown) } else { Err(format!("{:?}", host.sinks())) }
        });
        assert!(shown.contains("\n--\na: waits for your answer\n"), "{shown}");
        assert!(shown.contains("\n--icon=/etc/passwd &lt;b&gt; ("), "{shown}");
        assert!(host.sinks()[0].local);
    }
}

#[test]
fn what_is_held_back_in_quiet_hours_outlives_the_daemon_and_is_told_in_one() {
    let mut host = Host::new("mac");
    let address = Address::new("200 OK");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let minute = now.as_secs() / 60 % 1_440;
    let time = |minutes: u64| format!("{:02}:{:02}", minutes % 1_440 / 60, minutes % 60);
    // Long enough for any test, by whatever clock this machine has.
    let quiet = format!("{}-{}", time(minute + 1_440 - 60), time(minute + 120));
    let settings = |quiet: &str| {
        format!("[notify]\nquiet = {quiet:?}\ntime_zone = \"UTC\"\n{}", webhook(&address))
    };
    host.is_set(&settings(&quiet));
    host.asks(&session(1), "May I?");
    host.asks(&session(2), "And I?");
    host.start();
    let holds = |host: &Host, count: u64| {
        host.until("two to be held back", || {
            let sink = host.sinks().remove(0);
            if sink.held == count { Ok(()) } else { Err(format!("{sink:?}")) }
        });
    };
    holds(&host, 2);
    host.until("both on the disk", || {
        let text = fs::read(host.state("keep.db-wal")).unwrap_or_default();
        let text = [text, fs::read(host.state("keep.db")).unwrap_or_default()].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let both = [session(1), session(2)].iter().all(|id| text.contains(id.as_str()));
        if both { Ok(()) } else { Err("not yet".to_owned()) }
    });
    host.kill();
    host.start();
    holds(&host, 2);
    assert!(address.told().is_empty());
    host.stop();
    // One of them was answered while nobody watched.
    fs::remove_file(host.transcript(&session(2))).unwrap();
    host.is_set(&settings("off"));
    host.start();
    let told = host.until("a digest", || match &address.told()[..] {
        [told] => Ok(told.1.clone()),
        told => Err(format!("{told:?} {:?}", host.sinks())),
    });
    assert_eq!(told.len(), 2, "{told:?}");
    let (_, body) = address.sent().pop().unwrap();
    assert!(body.contains("\"digest\":true") && body.contains("over by now"), "{body}");
}

#[test]
fn without_details_no_text_leaves_and_figures_say_how_it_goes() {
    let id = session(1);
    let mut host = Host::new("very-secret-host");
    host.set("RRD_HTTP", "127.0.0.1:0");
    let address = Address::new("200 OK");
    host.is_set(&format!("{}details = false\n", webhook(&address)));
    host.works_on(&id, "Secret plans");
    host.asks(&id, "May I?");
    host.start();
    let (_, body) = host.until("a notification", || {
        address.sent().first().cloned().ok_or_else(|| format!("{:?}", host.sinks()))
    });
    for text in ["Secret plans", "May I?", "very-secret-host", &id] {
        assert!(!body.contains(text), "{text}: {body}");
    }
    assert!(body.contains("Waits for your answer"), "{body}");
    let figures = host.until("figures", || {
        let mut stream = std::net::TcpStream::connect(host.page()).unwrap();
        let head =
            format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", host.page());
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        if text.contains("rrd_notify_sent_total{sink=\"hook\"} 1") { Ok(text) } else { Err(text) }
    });
    assert!(figures.contains("rrd_notify_failing{sink=\"hook\"} 0"), "{figures}");
}

#[test]
fn a_host_that_is_lost_at_work_is_told_once_and_who_joins_tells_nothing_again() {
    let address = Address::new("200 OK");
    let settings = format!("{}\n", webhook(&address))
        .replace(SOON, &format!("{SOON}host_away_with_work = \"1s\"\n"));
    let start = |name: &str| {
        let mut host = Host::new(name);
        host.is_set(&settings);
        host.says(&session(name.len()), "Ship it");
        host.start();
        host
    };
    let a = start("a").founds();
    let mut b = a.takes_in(start("bb"));
    [&a, &b].iter().for_each(|host| host.shares(2));
    a.asks(&session(7), "May I?");
    a.until("the question to be told", || match address.told().len() {
        1 => Ok(()),
        count => Err(format!("{count} {:?}", a.sinks())),
    });
    // A third one sees the question, too, and that it was told.
    let c = a.takes_in(start("ccc"));
    [&a, &b, &c].iter().for_each(|host| host.shares(3));
    c.until("it to know that", || {
        let rows = c.sessions();
        let sees = rows.iter().any(|row| row.session_id == session(7));
        let sink = c.sinks().remove(0);
        if sees && sink.waiting == 0 { Ok(()) } else { Err(format!("{sink:?}")) }
    });
    b.kill();
    let lost = |told: &[Sent]| -> Vec<Value> {
        let all = told.iter().map(|(_, body)| serde_json::from_str::<Value>(body).unwrap());
        all.filter(|one| one["notices"][0]["kind"] == "host_away_with_work").collect()
    };
    let told = a.until("the lost host to be told", || match &lost(&address.sent())[..] {
        [one] => Ok(one.clone()),
        other => Err(format!("{other:?} {:?}", a.sinks())),
    });
    assert_eq!(told["title"], "bb: is away, with work in 1 session");
    // The other one hears that, and what it waited for is done.
    for host in [&a, &c] {
        host.until("nothing to wait", || {
            let sink = host.sinks().remove(0);
            if sink.waiting == 0 && sink.hosts == 2 { Ok(()) } else { Err(format!("{sink:?}")) }
        });
    }
    assert_eq!(lost(&address.sent()).len(), 1);
    let of_question = address.told().iter().filter(|(_, ids)| ids.contains(&session(7))).count();
    assert_eq!(of_question, 1, "{:?}", address.told());
}
