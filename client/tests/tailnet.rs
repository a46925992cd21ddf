//! Who may look from the tailnet, at a real daemon: in a network namespace that has Tailscale's addresses, with a
//! tailscaled that is only played. Where the machine makes no namespaces, it says so and is passed by.
//!
//! What tailscaled may say that is odd is `http::whois::tests`'.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use host::{Host, NEVER};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Within this, whoever may not look is told so.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);

/// Set where a test runs again, in a namespace of its own.
const INSIDE: &str = "RRD_TEST_TAILNET";

const SESSION: &str = "00000000-0000-4000-8000-000000000001";
const PAGES: [&str; 2] = ["/", "/s/desk/claude-code/00000000-0000-4000-8000-000000000001"];
const EVENTS: &str = "/sessions/desk/claude-code/00000000-0000-4000-8000-000000000001/events";
const PAGE: &str = "100.100.1.1:7730";

/// Addresses of the tailnet: the daemon's host, a member of its fleet, and others.
const DESK: &str = "100.100.1.1";
const LAPTOP: &str = "100.100.1.2";
const PHONE: &str = "100.100.2.1";
const TABLET: &str = "100.100.2.2";
const SOMEBODY: &str = "100.100.2.3";
const TAGGED: &str = "100.100.2.4";
const SHARED: &str = "100.100.2.5";
const STRANGER: &str = "100.100.2.6";
/// Of this user's, too: one for each time that it matters that nobody has been asked yet.
const FRESH: [&str; 16] = [
    "100.100.3.1",
    "100.100.3.2",
    "100.100.3.3",
    "100.100.3.4",
    "100.100.3.5",
    "100.100.3.6",
    "100.100.3.7",
    "100.100.3.8",
    "100.100.3.9",
    "100.100.3.10",
    "100.100.3.11",
    "100.100.3.12",
    "100.100.3.13",
    "100.100.3.14",
    "100.100.3.15",
    "100.100.3.16",
];

fn ip(words: &str) {
    let out = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(out.status.success(), "ip {words}: {}", String::from_utf8_lossy(&out.stderr));
}

/// What leads to Tailscale's own service, and so tells which address is this host's.
const ROUTE: &str = "route add 100.100.100.100/32 dev lo src 100.100.1.1";

/// Runs a test again in a network namespace, where every address of the tailnet is this machine's.
fn in_a_namespace(name: &str, does: fn()) {
    if env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        let known = [DESK, LAPTOP, PHONE, TABLET, SOMEBODY, TAGGED, SHARED, STRANGER];
        for address in known.iter().chain(&FRESH) {
            ip(&format!("addr add {address}/32 dev lo"));
        }
        return does();
    }
    let unshare = ["--user", "--map-root-user", "--net"];
    let probe = "ip link set lo up && ip addr add 100.100.1.1/32 dev lo";
    let has = Command::new("unshare").args(unshare).args(["sh", "-c", probe]).output();
    if !has.is_ok_and(|out| out.status.success()) {
        // Past what the harness captures: a test that did nothing says so.
        let said = b"skipped: this machine makes no network namespaces\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    }
    let mut again = Command::new("unshare");
    again.args(unshare).arg(env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
    let out = again.env(INSIDE, "1").output().unwrap();
    let (said, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"), "{said}\n{err}");
}

/// How the tailscaled that is played answers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Silent,
    Odd,
    Failing,
}

/// A LocalAPI on a socket of its own.
struct Tailscaled {
    dir: TempDir,
    mood: Arc<Mutex<Mood>>,
}

impl Tailscaled {
    fn new() -> Self {
        let played =
            Self { dir: tempfile::tempdir().unwrap(), mood: Arc::new(Mutex::new(Mood::Well)) };
        let listener = UnixListener::bind(played.socket()).unwrap();
        let mood = Arc::clone(&played.mood);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, mood) = (stream.unwrap(), *mood.lock().unwrap());
                thread::spawn(move || Self::answers(stream, mood));
            }
        });
        played
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("tailscaled.sock")
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn answers(stream: UnixStream, mood: Mood) {
        let mut stream = BufReader::new(stream);
        let (mut asked, mut line) = (String::new(), String::new());
        stream.read_line(&mut asked).unwrap();
        while line != "\r\n" {
            line.clear();
            // Whoever asked may have lost patience.
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let path = asked.split(' ').nth(1).unwrap();
        let said = match path.strip_prefix("/localapi/v0/whois?addr=") {
            Some(peer) => Self::whois(peer.parse::<SocketAddr>().unwrap().ip()),
            None => Some(Self::status()),
        };
        let (status, body) = match (mood, said) {
            // It keeps the connection until whoever asked ends it.
            (Mood::Silent, _) => return drop(stream.read_line(&mut line)),
            (Mood::Well, Some(said)) => ("200 OK", said.to_string()),
            (Mood::Odd, Some(said)) => {
                ("200 OK", said.to_string().replace("nD", "n\\u0007D").replace("42", "\"42\""))
            }
            (Mood::Failing, _) => ("500 Internal Server Error", "no".to_owned()),
            (_, None) => ("404 Not Found", "no match for IP:port".to_owned()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.get_mut().write_all((head + &body).as_bytes());
    }

    /// This user is 42.
    fn status() -> Value {
        json!({"BackendState": "Running", "Self": {
            "ID": "nDesk1CNTRL", "UserID": 42, "TailscaleIPs": [DESK],
            "DNSName": "Desk.tail1234.ts.net.",
        }})
    }

    fn whois(ip: IpAddr) -> Option<Value> {
        let address = ip.to_string();
        let (id, user, more) = match address.as_str() {
            DESK => ("nDesk1CNTRL".to_owned(), 42, json!({})),
            STRANGER => return None,
            SOMEBODY => ("nSomebody1CNTRL".to_owned(), 43, json!({})),
            TAGGED => ("nTagged1CNTRL".to_owned(), 42, json!({"Tags": ["tag:server"]})),
            SHARED => ("nShared1CNTRL".to_owned(), 42, json!({"Sharer": 43})),
            own => (format!("nD{}CNTRL", own.replace('.', "x")), 42, json!({})),
        };
        let mut node = json!({"StableID": id, "User": user, "Addresses": [format!("{ip}/32")]});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(json!({"Node": node, "UserProfile": {"ID": user}}))
    }
}

/// With one session, and what Tailscale says played.
fn host(name: &str, tailscaled: &Tailscaled, more: &[(&'static str, &str)]) -> Host {
    let mut host = Host::new(name);
    let socket = tailscaled.socket().display().to_string();
    let usual = [("RRD_HTTP", "auto"), ("RRD_LISTEN", "auto"), ("RRD_TAILSCALED", &socket)];
    for (name, value) in usual.iter().chain(more) {
        host.set(name, *value);
    }
    host.says(SESSION, "Do it");
    host.start();
    host
}

impl Host {
    /// What `rrd pair` says.
    fn pair(&self) -> Value {
        self.json(&["pair"])
    }

    /// The path that lets somebody in.
    fn code(&self) -> String {
        let url = self.pair()["urls"][0].as_str().unwrap().to_owned();
        url.strip_prefix(&format!("http://{PAGE}")).unwrap_or_else(|| panic!("{url}")).to_owned()
    }

    /// Lets a device in; the cookie it gets.
    fn lets_in(&self, from: &str) -> String {
        let reply = get(from, &self.code(), &[]);
        assert_eq!(reply.status, 303, "{from}: {}", reply.text);
        let lines = reply.text.lines().filter_map(|line| line.split_once(": "));
        let mut cookies = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        cookies.next().unwrap().1.split(';').next().unwrap().to_owned()
    }
}

/// An answer: its status, and all of it.
struct Reply {
    status: u16,
    text: String,
}

/// Connects from one address of the tailnet.
fn connect(from: &str) -> std::io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0))?;
        socket.connect(PAGE.parse().unwrap()).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(NEVER))?;
    Ok(stream)
}

fn send(stream: &mut TcpStream, path: &str, headers: &[(&str, &str)]) {
    let named = headers.iter().any(|(name, _)| *name == "Host");
    let own = (!named).then_some(("Host", PAGE));
    let headers = own.iter().chain(headers).map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers: String = headers.collect();
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
}

fn get(from: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut stream = connect(from).unwrap();
    send(&mut stream, path, headers);
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let status = text.split(' ').nth(1).unwrap_or_else(|| panic!("{path}: {text}"));
    Reply { status: status.parse().unwrap(), text }
}

fn status(from: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    get(from, path, headers).status
}

/// Listens to changes; returns once the first has come.
fn listens(from: &str, headers: &[(&str, &str)]) -> BufReader<TcpStream> {
    let mut stream = connect(from).unwrap();
    send(&mut stream, "/events", headers);
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("event: snapshot") {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "{from} hears nothing");
    }
    stream
}

/// Sees nothing, and is told how to be let in.
fn is_refused(from: &str, headers: &[(&str, &str)]) {
    for path in PAGES.iter().chain(&["/sessions", "/events", EVENTS]) {
        let begun = Instant::now();
        let reply = get(from, path, headers);
        assert!(begun.elapsed() < REFUSED_WITHIN, "{from} {path}: {:?}", begun.elapsed());
        assert_eq!(reply.status, 401, "{from} {path}: {}", reply.text);
        assert!(reply.text.contains("rrd pair"), "{from} {path}: {}", reply.text);
        assert!(!reply.text.contains("Do it"), "{from} {path}: {}", reply.text);
    }
}

/// Sees the list, and what was said.
fn sees_all(from: &str, headers: &[(&str, &str)]) {
    for path in PAGES.iter().chain(&["/sessions", EVENTS]) {
        let reply = get(from, path, headers);
        assert_eq!(reply.status, 200, "{from} {path}: {}", reply.text);
        assert!(reply.text.contains("Do it"), "{from} {path}: {}", reply.text);
    }
}

/// Hears until its stream ends: by itself it would not for ten minutes.
fn is_cut_off(mut stream: BufReader<TcpStream>) {
    let (begun, mut piece) = (Instant::now(), [0; 4096]);
    while stream.read(&mut piece).is_ok_and(|read| read > 0) {
        assert!(begun.elapsed() < NEVER, "it goes on");
    }
}

fn comes(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < NEVER, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Where anything in this namespace listens, and what takes datagrams (proc(5), `/proc/net/tcp`).
fn listeners() -> Vec<String> {
    let mut found = Vec::new();
    for (table, open) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (ip, port) = words[1].split_once(':').unwrap();
            if words[3] != open {
                continue;
            }
            let port = u16::from_str_radix(port, 16).unwrap();
            let ip = match u32::from_str_radix(ip, 16) {
                Ok(ip) => Ipv4Addr::from(ip.to_ne_bytes()).to_string(),
                Err(_) => ip.to_owned(),
            };
            found.push(format!("{table} {ip}:{port}"));
        }
    }
    found.sort();
    found
}

const HERE: &str = "tcp 127.0.0.1:7730";
const THERE: &str = "tcp 100.100.1.1:7730";

#[test]
fn the_users_own_devices_look_and_all_others_are_let_in_one_by_one() {
    in_a_namespace("the_users_own_devices_look_and_all_others_are_let_in_one_by_one", || {
        let tailscaled = Tailscaled::new();
        let host = host("desk", &tailscaled, &[]);
        // Tailscale has not come up yet.
        let said = host.pair();
        assert!(said["note"].as_str().unwrap().contains("no Tailscale address"), "{said}");
        assert_eq!((listeners(), &said["only_here"]), (vec![HERE.to_owned()], &json!(true)));
        ip(ROUTE);
        host.run(&["pair", "--revoke", "all"]);
        assert_eq!(listeners(), [HERE]);
        assert!(connect(PHONE).is_err());

        // A code is out, and whoever it is for can come.
        let said = host.pair();
        assert_eq!(said["only_here"], false, "{said}");
        let urls: Vec<&str> =
            said["urls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
        assert!(urls[0].starts_with("http://100.100.1.1:7730/pair?code="), "{urls:?}");
        assert!(urls[1].starts_with("http://desk.tail1234.ts.net:7730/pair?code="), "{urls:?}");
        assert_eq!((listeners(), urls.len()), (vec![THERE.to_owned(), HERE.to_owned()], 2));

        sees_all(PHONE, &[]);
        drop(listens(PHONE, &[]));
        for name in ["desk.tail1234.ts.net:7730", "DESK.tail1234.ts.net", "desk:7730"] {
            sees_all(PHONE, &[("Host", name)]);
        }
        for name in [
            "desk.tail1234.ts.net:443",
            "desk",
            "phone.tail1234.ts.net:7730",
            "desk.tail1234.ts.net.evil.example:7730",
            "100.100.1.2:7730",
            "100.100.1.1",
            "127.0.0.1:7730",
            "localhost:7730",
            "evil.example:7730",
        ] {
            for path in PAGES.iter().chain(&["/sessions", "/events", EVENTS, "/healthz"]) {
                assert_eq!(status(PHONE, path, &[("Host", name)]), 421, "{name} {path}");
            }
        }
        // Its own phone through somebody else's proxy is not its own phone.
        is_refused(PHONE, &[("X-Forwarded-For", "100.100.2.1")]);

        let others = [SOMEBODY, TAGGED, SHARED, STRANGER, DESK];
        for from in others {
            is_refused(from, &[]);
            assert_eq!(status(from, "/pair?code=rrd_code_AAAAAAAAAAAAAAAAAAAAAA", &[]), 403);
            assert_eq!(status(from, "/healthz", &[]), 200);
        }
        let cookies = others.map(|from| host.lets_in(from));
        for (given_to, cookie) in others.iter().zip(&cookies) {
            let with = [("Cookie", cookie.as_str())];
            sees_all(given_to, &with);
            for from in others.iter().filter(|from| *from != given_to) {
                is_refused(from, &with);
            }
        }

        // Who is let in no more hears no more; and with the last of them it is only this machine's again.
        let streams = [listens(SOMEBODY, &[("Cookie", &cookies[0])]), listens(PHONE, &[])];
        host.run(&["pair", "--revoke", "all"]);
        streams.into_iter().for_each(is_cut_off);
        comes("closed again", || listeners() == [HERE]);
        let status = host.run(&["status"]);
        assert!(status.contains("127.0.0.1:7730") && !status.contains(DESK), "{status}");
        // And is there again with the next code.
        let cookie = host.lets_in(SOMEBODY);
        sees_all(SOMEBODY, &[("Cookie", &cookie)]);
        assert!(!host.log().contains("panicked"), "{}", host.log());
    });
}

#[test]
fn a_host_of_the_fleet_is_no_phone_and_one_that_was_dropped_gets_nothing() {
    in_a_namespace("a_host_of_the_fleet_is_no_phone_and_one_that_was_dropped_gets_nothing", || {
        ip(ROUTE);
        let tailscaled = Tailscaled::new();
        let mut desk = host("desk", &tailscaled, &[]);
        desk.run(&["fleet", "init"]);
        // In a fleet it is there for the user's own devices without more.
        comes("open to the tailnet", || listeners().iter().any(|at| at == THERE));
        sees_all(PHONE, &[]);
        sees_all(LAPTOP, &[]);
        let line = desk.run(&["fleet", "invite"]);
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let more = [("RRD_HTTP", "off"), ("RRD_LISTEN", LAPTOP)];
        let laptop = host("laptop", &tailscaled, &more);
        laptop.run(&words);

        // Whatever runs there is not its person.
        comes("a member", || status(LAPTOP, "/", &[]) == 401);
        is_refused(LAPTOP, &[]);
        let cookie = desk.lets_in(LAPTOP);
        let token = format!("Bearer {}", desk.run(&["token"]).trim());
        let (paired, with) = ([("Cookie", cookie.as_str())], [("Authorization", token.as_str())]);
        sees_all(LAPTOP, &paired);
        sees_all(LAPTOP, &with);
        let streams = [listens(LAPTOP, &paired), listens(LAPTOP, &with)];
        let mut own = listens(PHONE, &[]);

        desk.run(&["fleet", "rotate", "--drop", "laptop"]);
        let code = desk.code();
        for headers in [&[][..], &paired, &with] {
            for path in PAGES.iter().chain(&["/sessions", "/events", EVENTS, &code]) {
                let reply = get(LAPTOP, path, headers);
                assert_eq!(reply.status, 403, "{path}: {}", reply.text);
                assert!(!reply.text.contains("Do it"), "{path}: {}", reply.text);
            }
        }
        // What it listened to is over, and nobody else's.
        streams.into_iter().for_each(is_cut_off);
        desk.says(SESSION, "Do it");
        let mut line = String::new();
        while !line.starts_with("event: change") {
            line.clear();
            assert!(own.read_line(&mut line).unwrap() > 0, "the phone hears no more");
        }
        // Not even while Tailscale does not tell who it is.
        tailscaled.is(Mood::Failing);
        desk.kill();
        desk.start();
        comes("open to the tailnet", || listeners().iter().any(|at| at == THERE));
        assert_eq!(status(LAPTOP, EVENTS, &with), 403);
        assert_eq!(status(PHONE, EVENTS, &with), 200);
        assert!(!desk.log().contains("panicked"), "{}", desk.log());
    });
}

#[test]
fn while_tailscale_does_not_tell_nobody_looks() {
    in_a_namespace("while_tailscale_does_not_tell_nobody_looks", || {
        ip(ROUTE);
        let tailscaled = Tailscaled::new();
        let mut host = host("desk", &tailscaled, &[]);
        let cookie = host.lets_in(TABLET);
        let with = [("Cookie", cookie.as_str())];
        let mut fresh = FRESH.iter();
        for mood in [Mood::Silent, Mood::Odd, Mood::Failing] {
            // What it said before, of others, does not help.
            sees_all(PHONE, &[]);
            tailscaled.is(mood);
            is_refused(fresh.next().unwrap(), &[]);
            // Nor does a start at which it says nothing.
            host.kill();
            host.start();
            comes("open to the tailnet", || listeners().iter().any(|at| at == THERE));
            is_refused(PHONE, &[]);
            // Bound to a device, it counts where the device is known.
            is_refused(TABLET, &with);
            // Many at once wait no longer than one.
            let crowd: Vec<_> = fresh.by_ref().take(4).collect();
            thread::scope(|scope| {
                crowd.iter().for_each(|from| drop(scope.spawn(|| is_refused(from, &[]))));
            });
            tailscaled.is(Mood::Well);
            comes("it tells again", || status(PHONE, "/", &[]) == 200);
            comes("it tells again", || status(TABLET, "/", &with) == 200);
            sees_all(PHONE, &[]);
            sees_all(TABLET, &with);
        }
        fs::remove_file(tailscaled.socket()).unwrap();
        is_refused(fresh.next().unwrap(), &[]);
        assert!(!host.log().contains("panicked"), "{}", host.log());
    });
}

#[test]
fn who_comes_through_tailscales_own_server_is_known_by_name_after_a_restart_too() {
    in_a_namespace(
        "who_comes_through_tailscales_own_server_is_known_by_name_after_a_restart_too",
        || {
            ip(ROUTE);
            let tailscaled = Tailscaled::new();
            let mut host = host("desk", &tailscaled, &[]);
            // As tailscaled asks that serves https for it: from this machine, by its name.
            let ask = |path: &str, headers: &[(&str, &str)]| {
                let mut stream = TcpStream::connect("127.0.0.1:7730").unwrap();
                let through = [
                    ("Host", "desk.tail1234.ts.net"),
                    ("X-Forwarded-For", PHONE),
                    ("X-Forwarded-Proto", "https"),
                ];
                send(&mut stream, path, &[&through, headers].concat());
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                text
            };
            comes("known by its name", || ask("/", &[]).starts_with("HTTP/1.1 401 "));
            let let_in = ask(&host.code(), &[]);
            let cookie = let_in.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
            assert!(cookie.ends_with("; Secure"), "{cookie}");
            let cookie = cookie.split(';').next().unwrap();
            assert!(ask(EVENTS, &[("Cookie", cookie)]).contains("Do it"));
            host.kill();
            host.start();
            comes("known by its name", || !ask("/", &[]).starts_with("HTTP/1.1 421 "));
            assert!(ask(EVENTS, &[("Cookie", cookie)]).contains("Do it"));
            assert_eq!(listeners(), [HERE]);
        },
    );
}
