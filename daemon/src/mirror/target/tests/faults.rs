//! Of a line on which things go wrong, and of stores that do not do what is asked of them.

use std::sync::Arc;

use super::{
    Ability, Access, Bytes, Created, Duration, Home, KEY, Kind, Replaced, SECRET, bytes,
    moto::{Moto, moto},
    names,
    proxy::{Mishap, Proxy},
    read,
};
use crate::mirror::target::{
    Fault, Target,
    wire::{self, Patience},
};

/// A bucket by the line to it and past it; the line last, so that it goes first.
struct Line {
    moto: Arc<Moto>,
    home: Home,
    proxy: Proxy,
    target: Target,
    /// The same, for what hangs.
    hasty: Target,
    past: Target,
}

impl Line {
    fn for_mishap(&self, mishap: Mishap) -> &Target {
        match mishap {
            Mishap::Hangs { .. } | Mishap::HangsInReply => &self.hasty,
            _ => &self.target,
        }
    }
}

fn line(bucket: &str) -> Option<Line> {
    let moto = moto()?;
    moto.make_bucket(bucket);
    let (home, proxy) = (Home::with_keys(), Proxy::to(moto.address));
    let url = format!("s3://{bucket}");
    let (target, past) = (home.bucket(proxy.address, &url), home.bucket(moto.address, &url));
    let hasty = home.hasty_bucket(proxy.address, &url);
    Some(Line { moto, home, proxy, target, hasty, past })
}

/// A fault names the bucket and has no secret of anybody's.
fn says(fault: &Fault) -> String {
    let text = fault.to_string();
    assert!(text.starts_with("s3://"), "{text}");
    for secret in [KEY, SECRET, "AKIAPROXYSAYSTHIS"] {
        assert!(!text.contains(secret) && !format!("{fault:?}").contains(secret), "{text}");
    }
    text
}

const fn status(status: u16, code: &'static str, after: Option<u32>, delivered: bool) -> Mishap {
    Mishap::Status { status, code, after, delivered }
}

#[tokio::test]
async fn who_asks_anew_does_not_wait_for_what_was_asked_before() {
    let Some(line) = line("asked-anew") else { return };
    let Line { home, proxy, past, .. } = &line;
    let prompt = Duration::from_millis(50);
    let patience = Patience { prompt, ..Patience::default() };
    let target = Arc::new(home.patient_bucket(proxy.address, "s3://asked-anew", patience));
    past.create("there", &bytes("1")).await.unwrap();
    let (hung, mut hangs) = tokio::sync::mpsc::channel(1);
    proxy.decide(move |_| {
        let _ = hung.try_send(());
        Some(Mishap::Hangs { delivered: false })
    });
    let asking = Arc::clone(&target);
    let asking = tokio::spawn(async move { asking.head("there").await });
    hangs.recv().await.unwrap();
    proxy.decide(|_| None);
    target.ask_anew();
    let began = std::time::Instant::now();
    let fault = asking.await.unwrap().unwrap_err();
    assert!(matches!(fault.kind, Kind::Passing { .. }), "{fault}");
    assert!(says(&fault).contains("does not answer"), "{fault}");
    assert!(began.elapsed() < Patience::default().silence / 2, "{:?}", began.elapsed());
    // What is asked from then on has all the time that it had.
    proxy.once("HEAD", Mishap::Late(prompt * 8));
    assert!(target.head("there").await.unwrap().is_some());
}

/// What a create with each of them says: whether the object is there (`WasThere`), was made, or nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Now,
    WasThere,
    Passing(Option<u64>),
}

const MISHAPS: [(Mishap, Says); 14] = [
    (status(500, "InternalError", None, false), Says::Passing(None)),
    (status(500, "InternalError", None, true), Says::WasThere),
    (status(503, "SlowDown", Some(7), false), Says::Passing(Some(7))),
    (status(503, "SlowDown", None, true), Says::WasThere),
    (status(409, "ConditionalRequestConflict", None, false), Says::Passing(None)),
    (status(409, "ConditionalRequestConflict", None, true), Says::WasThere),
    (Mishap::BreaksInBody, Says::Passing(None)),
    (Mishap::BreaksInReply, Says::WasThere),
    (Mishap::ReplyLost, Says::WasThere),
    (Mishap::Hangs { delivered: false }, Says::Passing(None)),
    (Mishap::Hangs { delivered: true }, Says::WasThere),
    (Mishap::Twice { first: true }, Says::Now),
    (Mishap::Twice { first: false }, Says::WasThere),
    (Mishap::Late(Duration::from_millis(200)), Says::Now),
];

fn said(created: &Result<Created, Fault>) -> Says {
    match created {
        Ok(Created::Now(_)) => Says::Now,
        Ok(Created::WasThere(_)) => Says::WasThere,
        Ok(Created::Other) => panic!("nobody else is here"),
        Err(fault) => match fault.kind {
            Kind::Passing { after } => {
                says(fault);
                Says::Passing(after.map(|after| after.as_secs()))
            }
            _ => panic!("{fault}"),
        },
    }
}

/// The same each time, of no pattern that a half of it would have.
fn body(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn whatever_happens_to_a_create_there_is_one_object_and_the_answer_is_true() {
    let Some(line) = line("mishaps-of-a-create") else { return };
    for probed in [false, true] {
        if probed {
            let able = Ability { create_only: true, if_match: true };
            assert_eq!(line.target.probe().await.unwrap(), able);
            assert_eq!(line.hasty.probe().await.unwrap(), able);
            line.proxy.take_asked();
        }
        for (n, (mishap, wanted)) in MISHAPS.into_iter().enumerate() {
            let name = format!("{probed}/part-{n:05}");
            let body = body(n as u64, 200 << 10);
            let target = line.for_mishap(mishap);
            line.proxy.once("PUT", mishap);
            let created = target.create(&name, &body).await;
            assert_eq!(said(&created), wanted, "{mishap:?}: {created:?}");
            // Nothing is sent twice by anybody who does not know what became of the first.
            let puts = line.proxy.take_asked().into_iter().filter(|asked| asked.method == "PUT");
            assert_eq!(puts.count(), 1, "{mishap:?}");
            let there = line.past.get(&name, 1 << 20).await.unwrap().map(|(bytes, _)| bytes);
            let is_there = !matches!(wanted, Says::Passing(_));
            assert_eq!(there.is_some(), is_there, "{mishap:?}");
            // Whoever does not know asks again.
            let again = line.target.create(&name, &body).await;
            let wanted = if is_there { Says::WasThere } else { Says::Now };
            assert_eq!(said(&again), wanted, "{mishap:?}, again: {again:?}");
            let (there, _) = line.past.get(&name, 1 << 20).await.unwrap().unwrap();
            assert!(there == body, "{mishap:?}");
            // And what is somebody else's stays so.
            line.proxy.once("PUT", mishap);
            let other = target.create(&name, &Bytes::from_static(b"other")).await;
            assert_eq!(other.unwrap(), Created::Other, "{mishap:?}");
            assert_eq!(names(&line.past, &probed.to_string()).await.len(), n + 1);
            assert!(line.past.get(&name, 1 << 20).await.unwrap().unwrap().0 == body);
            line.proxy.take_asked();
        }
    }
}

#[tokio::test]
async fn whatever_happens_to_a_replacement_it_is_done_once_or_not_at_all() {
    let Some(line) = line("mishaps-of-a-replacement") else { return };
    line.target.probe().await.unwrap();
    line.hasty.probe().await.unwrap();
    for (n, (mishap, wanted)) in MISHAPS.into_iter().enumerate() {
        let name = format!("{n}/meta.json");
        let first = line.past.replace(&name, &bytes("first"), None).await.unwrap();
        let Replaced::Done(first) = first else { panic!() };
        let second = body(n as u64, 100 << 10);
        line.proxy.once("PUT", mishap);
        let done = line.for_mishap(mishap).replace(&name, &second, Some(&first)).await;
        match (&done, wanted) {
            (Ok(Replaced::Done(_)), Says::Now | Says::WasThere) => {}
            (Err(fault), Says::Passing(_)) if matches!(fault.kind, Kind::Passing { .. }) => {}
            _ => panic!("{mishap:?}: {done:?}"),
        }
        let done = line.target.replace(&name, &second, Some(&first)).await.unwrap();
        assert!(matches!(done, Replaced::Done(_)), "{mishap:?}: {done:?}");
        let (there, version) = line.past.get(&name, 1 << 20).await.unwrap().unwrap();
        assert!(there == second, "{mishap:?}");
        assert_eq!(done, Replaced::Done(version), "{mishap:?}");
        let late = line.target.replace(&name, &bytes("late"), Some(&first)).await.unwrap();
        assert_eq!(late, Replaced::Changed);
    }
}

#[tokio::test]
async fn what_breaks_off_or_hangs_while_it_is_read_is_no_object() {
    let Some(line) = line("mishaps-of-a-read") else { return };
    let body = body(1, 200 << 10);
    line.past.create("dir/one", &body).await.unwrap();
    for (mishap, what) in [
        (Mishap::BreaksInReply, "broke off"),
        (Mishap::ReplyLost, "broke off"),
        (Mishap::HangsInReply, "does not answer"),
        (Mishap::Hangs { delivered: false }, "does not answer"),
        (status(500, "InternalError", None, false), "(500 InternalError)"),
        (status(503, "SlowDown", Some(3), false), "(503 SlowDown)"),
    ] {
        let target = line.for_mishap(mishap);
        line.proxy.once("GET", mishap);
        let fault = target.get("dir/one", 1 << 20).await.unwrap_err();
        assert!(says(&fault).contains(what), "{mishap:?}: {fault}");
        assert!(matches!(fault.kind, Kind::Passing { .. }), "{mishap:?}: {fault}");
        line.proxy.once("GET", mishap);
        let fault = target.list("dir").await.unwrap_err();
        assert!(says(&fault).contains(what), "{mishap:?}: {fault}");
        line.proxy.once("GET", mishap);
        let fault = target.folders("").await.unwrap_err();
        assert!(says(&fault).contains(what), "{mishap:?}: {fault}");
        line.proxy.once("DELETE", mishap);
        let deleted = target.delete("dir/other").await;
        assert!(deleted.is_err(), "{mishap:?}");
        assert_eq!(line.target.get("dir/one", 1 << 20).await.unwrap().unwrap().0, body);
    }
}

#[tokio::test]
async fn each_refusal_says_what_helps() {
    let Some(line) = line("refusals") else { return };
    for (code, name, kind, helps) in [
        (403, "AccessDenied", Kind::Refused, "read, write, list and delete"),
        (403, "InvalidAccessKeyId", Kind::Refused, "check the key"),
        (403, "SignatureDoesNotMatch", Kind::Refused, "check the key"),
        (403, "RequestTimeTooSkewed", Kind::Refused, "clock"),
        (400, "ExpiredToken", Kind::Refused, "get a new one"),
        (401, "", Kind::Refused, "check the key"),
        (400, "AuthorizationHeaderMalformed", Kind::Refused, "region"),
        (301, "PermanentRedirect", Kind::Refused, "region"),
        (404, "NoSuchBucket", Kind::NoBucket, "make the bucket"),
        (507, "XMinioStorageFull", Kind::Full, "make room"),
        (403, "QuotaExceeded", Kind::Full, "make room"),
        (400, "InvalidRequest", Kind::Other, "(400 InvalidRequest)"),
        (400, "<script>", Kind::Other, "(400)"),
    ] {
        line.proxy.once("PUT", status(code, name, Some(9), false));
        let fault = line.target.create("x", &bytes("x")).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{name}: {fault}");
        let text = says(&fault);
        assert!(text.contains(helps) && text.starts_with("s3://refusals"), "{name}: {text}");
    }
    // A real one.
    let nowhere = line.home.bucket(line.moto.address, "s3://no-such-bucket-here");
    for fault in [
        nowhere.create("x", &bytes("x")).await.unwrap_err(),
        nowhere.list("").await.unwrap_err(),
        nowhere.get("x", 9).await.unwrap_err(),
        nowhere.probe().await.unwrap_err(),
    ] {
        assert_eq!(fault.kind, Kind::NoBucket, "{fault}");
    }
}

#[tokio::test]
async fn where_nobody_is_at_home_that_is_said_and_the_machine_has_no_keys() {
    let (home, keyless) = (Home::with_keys(), Home::new(&[]));
    // A port that was just free: whoever may have it now, it is no store.
    let proxy = Proxy::to("127.0.0.1:9".parse().unwrap());
    let address = proxy.address;
    drop(proxy);
    let fault = home.bucket(address, "s3://bucket/in").list("").await.unwrap_err();
    assert!(matches!(fault.kind, Kind::Passing { after: None }), "{fault}");
    let text = says(&fault);
    let begins = format!("s3://bucket/in at http://{address} cannot be reached: ");
    assert!(text.starts_with(&begins) && text.ends_with(": rrd tries again"), "{text}");
    assert!(!fault.unsure, "nothing was sent");
    // A store that does not speak TLS where that was asked for.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let answers = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut client, b"HTTP/1.1 400 No\r\n\r\n").unwrap();
        std::io::Read::read_to_end(&mut client, &mut Vec::new())
    });
    let access = Access { endpoint: Some(endpoint), ..Access::default() };
    let fault = home.open("s3://bucket", &access).unwrap().list("").await.unwrap_err();
    assert!(says(&fault).contains("cannot be reached: "), "{fault}");
    let _ = answers.join().unwrap();
    // Credentials that come from nowhere are asked for at the machine's own address; here that is the store's.
    let access = Access { endpoint: Some(format!("http://{address}")), ..Access::default() };
    assert!(keyless.open("s3://bucket", &access).is_ok());
    let answer = wire::Answer::None { silent: true, connected: false, why: String::new() };
    let seen = wire::Seen { asked: "169.254.169.254".to_owned(), answer };
    let fault = Fault::seen(&Arc::from("s3://bucket"), Some(seen));
    assert!(fault.kind == Kind::Refused && says(&fault).contains("mirror.env"), "{fault}");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_found_out_and_looked_at_first() {
    let Some(line) = line("ignores-conditions") else { return };
    let conditional = |asked: &super::proxy::Asked| {
        asked.header("if-none-match").is_some() || asked.header("if-match").is_some()
    };
    for mishap in [Mishap::Unconditional, status(501, "NotImplemented", None, false)] {
        line.proxy.decide(move |asked| conditional(asked).then_some(mishap));
        let target = line.home.bucket(line.proxy.address, "s3://ignores-conditions/x");
        let blind = Ability { create_only: false, if_match: false };
        // Even before it is found out nothing is written over.
        if mishap == Mishap::Unconditional {
            let past = line.home.bucket(line.moto.address, "s3://ignores-conditions/x");
            past.create("early", &bytes("theirs")).await.unwrap();
            assert_eq!(target.create("early", &bytes("ours")).await.unwrap(), Created::Other);
            past.delete("early").await.unwrap();
        }
        assert_eq!(target.probe().await.unwrap(), blind, "{mishap:?}");
        let target =
            line.home.bucket(line.proxy.address, "s3://ignores-conditions/x").knowing(blind);
        assert!(matches!(target.create("a", &bytes("one")).await.unwrap(), Created::Now(_)));
        assert!(matches!(target.create("a", &bytes("one")).await.unwrap(), Created::WasThere(_)));
        assert_eq!(target.create("a", &bytes("two")).await.unwrap(), Created::Other);
        assert_eq!(read(&target, "a").await.as_deref(), Some("one"));
        let first = target.head("a").await.unwrap().unwrap().version;
        let second = target.replace("a", &bytes("2"), Some(&first)).await.unwrap();
        assert!(matches!(second, Replaced::Done(_)));
        let stale = target.replace("a", &bytes("3"), Some(&first)).await.unwrap();
        assert_eq!(stale, Replaced::Changed);
        assert_eq!(read(&target, "a").await.as_deref(), Some("2"));
        target.delete("a").await.unwrap();
        assert_eq!(names(&target, "").await, [""; 0], "what probed is gone, {mishap:?}");
    }
}

#[tokio::test]
async fn a_probe_that_cannot_tell_says_so_and_leaves_nothing() {
    let Some(line) = line("probed") else { return };
    for nth in 0..4 {
        let mut puts = 0;
        line.proxy.decide(move |asked| {
            puts += usize::from(asked.method == "PUT");
            let now = asked.method == "PUT" && puts == nth + 1;
            now.then_some(status(503, "SlowDown", Some(2), true))
        });
        let fault = line.target.probe().await.unwrap_err();
        let after = Some(Duration::from_secs(2));
        assert_eq!(fault.kind, Kind::Passing { after }, "{nth}: {}", says(&fault));
        assert_eq!(names(&line.past, "").await, [""; 0], "{nth}");
    }
    line.proxy.decide(|_| None);
    line.proxy.take_asked();
    line.target.probe().await.unwrap();
    let asked: Vec<String> =
        line.proxy.take_asked().into_iter().map(|asked| asked.method).collect();
    assert_eq!(asked, ["PUT", "PUT", "HEAD", "PUT", "PUT", "DELETE"]);
}

#[tokio::test]
async fn a_large_part_has_as_long_as_a_slow_line_needs() {
    let Some(line) = line("slow-line") else { return };
    line.hasty.probe().await.unwrap();
    // At 1 MiB a second this may take two seconds longer than the one that silence lasts.
    line.proxy.once("PUT", Mishap::Late(Duration::from_millis(1_500)));
    let created = line.hasty.create("large", &body(3, 2 << 20)).await;
    assert_eq!(said(&created), Says::Now);
    line.proxy.once("PUT", Mishap::Late(Duration::from_millis(1_500)));
    let created = line.hasty.create("small", &body(3, 10)).await;
    assert!(matches!(said(&created), Says::Passing(None)), "{created:?}");
}
