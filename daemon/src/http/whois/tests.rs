//! A tailscaled that is only played: answers over a socket of its own, well and badly.
#![cfg(unix)]

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    sync::atomic::{AtomicUsize, Ordering},
};

use rrd_core::fleet::{
    identity::{Identity, SECRET_LEN},
    members::{List, Member, Statement, vouch},
};
use rrd_proto::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const PHONE: &str = "100.64.0.7:50123";
const THIS: &str = "100.64.0.1";

/// This node, as `Status` has it.
fn status() -> Value {
    json!({
        "Version": "1.90.1", "BackendState": "Running", "TailscaleIPs": [THIS, "fd7a:115c:a1e0::1"],
        "Self": {
            "ID": "nThis1CNTRL", "PublicKey": "nodekey:00", "HostName": "desk",
            "DNSName": "Desk.tail1234.ts.net.", "OS": "linux", "UserID": 42,
            "TailscaleIPs": [THIS, "fd7a:115c:a1e0::1"], "Online": true,
        },
        "Peer": null, "User": {"42": {"ID": 42, "LoginName": "me@example.com"}},
    })
}

/// This node's user's phone, as `WhoIsResponse` has it.
fn phone() -> Value {
    json!({
        "Node": {
            "ID": 7, "StableID": "nPhone1CNTRL", "Name": "phone.tail1234.ts.net.", "User": 42,
            "Key": "nodekey:07", "Addresses": ["100.64.0.7/32", "fd7a:115c:a1e0::7/128"],
            "AllowedIPs": ["100.64.0.7/32"], "Hostinfo": {"OS": "iOS"}, "MachineAuthorized": true,
        },
        "UserProfile": {"ID": 42, "LoginName": "me@example.com", "DisplayName": "Me"},
        "CapMap": {},
    })
}

fn with(mut value: Value, pointer: &str, what: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[key] = what;
    value
}

fn says(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A socket behind which questions are answered so; and how many there were.
struct Played {
    dir: TempDir,
    asked: Arc<AtomicUsize>,
}

impl Played {
    fn new(whois: impl Into<String>, status: impl Into<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (whois, status, count) = (whois.into(), status.into(), Arc::clone(&asked));
        std::thread::spawn(move || {
            // Kept open: who says nothing does not hang up either.
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    request.push(byte[0]);
                }
                count.fetch_add(1, Ordering::SeqCst);
                let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
                assert!(request.contains("\r\nhost: local-tailscaled.sock\r\n"), "{request}");
                let answer = match request.split(' ').nth(1).unwrap() {
                    "/localapi/v0/status?peers=false" => &status,
                    path if path.starts_with("/localapi/v0/whois?addr=") => &whois,
                    path => panic!("{path}"),
                };
                if answer.is_empty() {
                    silent.push(stream);
                } else {
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        Self { dir, asked }
    }

    fn json(whois: &Value, status: &Value) -> Self {
        Self::new(says(&whois.to_string()), says(&status.to_string()))
    }

    fn tailnet(&self) -> Tailnet {
        Tailnet::at(self.dir.path().join("s"))
    }

    async fn whose(&self, peer: &str) -> Whose {
        ask(&self.tailnet(), peer, Standing::None).await
    }
}

async fn ask(tailnet: &Tailnet, peer: &str, standing: Standing) -> Whose {
    let peer: SocketAddr = peer.parse().unwrap();
    let (device, own) = (tailnet.device(peer).await, tailnet.own().await);
    whose(device.as_deref(), own.as_deref(), peer.ip(), |_| standing)
}

#[tokio::test]
async fn the_users_own_phone_may_look_and_nobody_else() {
    let cases = [
        (Whose::Own, phone(), status()),
        (Whose::AnotherUser, with(phone(), "/Node/User", json!(43)), status()),
        (Whose::AnotherUser, phone(), with(status(), "/Self/UserID", json!(43))),
        (Whose::AnotherUser, with(phone(), "/Node/Sharer", json!(42)), status()),
        (Whose::Tagged, with(phone(), "/Node/Tags", json!(["tag:ci"])), status()),
        (Whose::Tagged, phone(), with(status(), "/Self/Tags", json!(["tag:server"]))),
        (Whose::ThisNode, with(phone(), "/Node/StableID", json!("nThis1CNTRL")), status()),
        (Whose::ThisNode, phone(), with(status(), "/Self/TailscaleIPs", json!(["100.64.0.7"]))),
        // What is null or empty is not there.
        (Whose::Own, with(phone(), "/Node/Tags", json!(null)), status()),
        (Whose::Own, with(phone(), "/Node/Tags", json!([])), status()),
        (Whose::Own, with(phone(), "/Node/Sharer", json!(0)), status()),
    ];
    for (is, phone, status) in cases {
        assert_eq!(Played::json(&phone, &status).whose(PHONE).await, is, "{phone} {status}");
    }
    // By its other address, and as a socket for both families has the first.
    let played = Played::json(&phone(), &status());
    assert_eq!(played.whose("[fd7a:115c:a1e0::7]:50123").await, Whose::Own);
    assert_eq!(played.whose("[::ffff:100.64.0.7]:50123").await, Whose::Own);
    let tailnet = played.tailnet();
    assert_eq!(ask(&tailnet, PHONE, Standing::Host).await, Whose::Host);
    assert_eq!(ask(&tailnet, PHONE, Standing::Dropped).await, Whose::Dropped);
    let own = tailnet.own().await.unwrap();
    assert_eq!(own.dns_name.as_deref(), Some("desk.tail1234.ts.net"));
}

#[tokio::test]
async fn what_is_odd_is_a_no() {
    let phones = [
        with(phone(), "/Node", json!(null)),
        with(phone(), "/Node/User", json!(0)),
        with(phone(), "/Node/User", json!(-42)),
        with(phone(), "/Node/User", json!("42")),
        with(phone(), "/Node/StableID", json!("")),
        with(phone(), "/Node/StableID", json!("n\u{1b}[2J")),
        with(phone(), "/Node/StableID", json!("n".repeat(65))),
        with(phone(), "/Node/Addresses", json!([])),
        // Somebody else's, and a whole range.
        with(phone(), "/Node/Addresses", json!(["100.64.0.8/32"])),
        with(phone(), "/Node/Addresses", json!(["100.64.0.7/24", "0.0.0.0/0"])),
    ];
    for phone in phones {
        assert_eq!(Played::json(&phone, &status()).whose(PHONE).await, Whose::Unknown, "{phone}");
    }
    let states = [
        with(status(), "/Self", json!(null)),
        with(status(), "/BackendState", json!("NeedsLogin")),
        with(status(), "/Self/UserID", json!(0)),
        with(status(), "/Self/ID", json!("")),
        with(status(), "/Self/TailscaleIPs", json!(null)),
    ];
    for status in states {
        assert_eq!(Played::json(&phone(), &status).whose(PHONE).await, Whose::Unknown, "{status}");
    }
    let (well, whole) = (says(&status().to_string()), phone().to_string());
    let answers = [
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno".to_owned(),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        says(&whole).replacen("200 OK", "403 Forbidden", 1),
        says(&whole).replacen("200 OK", "302 Found\r\nLocation: http://evil.example/", 1),
        says("garbage"),
        says(&"[".repeat(100_000)),
        "garbage, and no HTTP at all\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 << 20)),
        // Well-formed, and too long.
        says(&format!("{whole}{}", " ".repeat(MAX_SAID))),
    ];
    for answer in answers {
        let played = Played::new(answer.as_str(), well.as_str());
        assert_eq!(played.whose(PHONE).await, Whose::Unknown, "{answer:.80}");
        let played = Played::new(says(&whole), answer.as_str());
        assert_eq!(played.whose(PHONE).await, Whose::Unknown, "{answer:.80}");
    }
    let nobody = Tailnet::at("/nowhere/s".into());
    assert_eq!(ask(&nobody, PHONE, Standing::None).await, Whose::Unknown);
}

// The clock leaps as soon as nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_waited_for_no_longer_than_that() {
    let played = Played::new("", "");
    let begun = tokio::time::Instant::now();
    assert_eq!(played.whose(PHONE).await, Whose::Unknown);
    assert!(begun.elapsed() < PATIENCE * 3, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_does_not_come_through_tailscale_is_not_asked_for() {
    let played = Played::json(&phone(), &status());
    let tailnet = played.tailnet();
    for peer in
        ["127.0.0.1:5", "[::1]:5", "192.168.1.7:5", "100.128.0.1:5", "[fd7a:115c:a1e1::1]:5"]
    {
        assert_eq!(tailnet.device(peer.parse().unwrap()).await, None, "{peer}");
    }
    assert_eq!(played.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_is_known_for_a_while() {
    let played = Played::json(&phone(), &status());
    let tailnet = played.tailnet();
    for port in 1..50 {
        let peer = SocketAddr::new("100.64.0.7".parse().unwrap(), port);
        assert!(tailnet.device(peer).await.is_some());
        assert!(tailnet.own().await.is_some());
    }
    assert_eq!(played.asked.load(Ordering::SeqCst), 2);
}

#[test]
fn what_is_known_is_forgotten_in_time_and_never_too_much() {
    let (now, mut known) = (Instant::now(), Known::default());
    let phone = read_device(phone().to_string().as_bytes()).map(Arc::new);
    let ip = |n: u32| IpAddr::from((0x6440_0000 + n).to_be_bytes());
    for n in 0..2 * MAX_KNOWN as u32 {
        known.keep_device(ip(n), phone.clone(), now + Duration::from_millis(n.into()));
    }
    assert_eq!(known.devices.len(), MAX_KNOWN);
    let last = ip(2 * MAX_KNOWN as u32 - 1);
    assert_eq!(known.device(ip(0), now), None);
    assert_eq!(known.device(last, now), Some(phone.clone()));
    assert_eq!(known.device(last, now + DEVICE_KNOWN * 2), None);
    known.keep_device(ip(9), None, now + DEVICE_KNOWN * 2);
    assert_eq!(known.device(ip(9), now + DEVICE_KNOWN * 2), Some(None));
    assert_eq!(known.device(ip(9), now + DEVICE_KNOWN * 2 + NOT_KNOWN), None);
}

#[test]
fn a_host_of_the_fleet_is_known_by_its_device_and_a_dropped_one_too() {
    let identity = |n: u8| Identity::from_secret(&[n; SECRET_LEN]);
    let at = Timestamp::from_millis(1);
    let states = |n: u8, tailscale: Option<&str>, address: &str| {
        let member = Member {
            signing: identity(n).public(),
            handshake: identity(n).handshake_public(),
            label: format!("h{n}"),
            addresses: vec![address.parse().unwrap()],
            tailscale: tailscale.map(str::to_owned),
            replaces: None,
            joined_at: at,
            version: 1,
        };
        let vouched = vouch(&identity(1), member.signing, member.handshake);
        Statement::new(&identity(n), &member, vouched)
    };
    let mut members = Members::founded(states(1, Some("nThis1CNTRL"), "100.64.0.1:7731")).unwrap();
    let others = [
        states(2, Some("nPhone1CNTRL"), "100.64.0.2:7731"),
        // It never said which device it is.
        states(3, None, "100.64.0.3:7731"),
    ];
    members.merge(List { statements: others.to_vec(), ..List::default() });
    let device = |id: &str, ip: &str| {
        let phone = with(phone(), "/Node/StableID", json!(id));
        let phone = with(phone, "/Node/Addresses", json!([format!("{ip}/32")]));
        read_device(phone.to_string().as_bytes()).unwrap()
    };
    let (phone, desk) = (device("nPhone1CNTRL", "100.64.0.7"), device("nDesk1CNTRL", "100.64.0.3"));
    let other = device("nOther1CNTRL", "100.64.0.2");
    let all = |members: &Members| [&phone, &desk, &other].map(|device| standing(members, device));
    assert_eq!(all(&members), [Standing::Host, Standing::Host, Standing::None]);
    for n in [2, 3] {
        let drop = members.dropping(&identity(1), identity(n).node(), at);
        members.merge(List { drops: vec![drop], ..List::default() });
    }
    assert_eq!(all(&members), [Standing::Dropped, Standing::Dropped, Standing::None]);
    // Where nobody tells which device it is, its address does.
    for (ip, is) in [("100.64.0.2", Standing::Dropped), ("100.64.0.1", Standing::Host)] {
        assert_eq!(standing_at(&members, ip.parse().unwrap()), is, "{ip}");
    }
    assert_eq!(standing_at(&members, "100.64.0.7".parse().unwrap()), Standing::None);
    // The same device as another member, later.
    let again = states(4, Some("nPhone1CNTRL"), "100.64.0.7:7731");
    members.merge(List { statements: vec![again], ..List::default() });
    assert_eq!(standing(&members, &phone), Standing::Host);
    // One that left by its own word is no lost one.
    let left = members.dropping(&identity(5), identity(5).node(), at);
    let came = states(5, Some("nLeft1CNTRL"), "100.64.0.9:7731");
    members.merge(List { statements: vec![came], drops: vec![left], ..List::default() });
    let device = device("nLeft1CNTRL", "100.64.0.9");
    assert_eq!(standing(&members, &device), Standing::Host);
}
