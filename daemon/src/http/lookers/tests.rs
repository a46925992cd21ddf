//! Codes, cookies and tokens: when each counts, and when no more.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fn open() -> (tempfile::TempDir, Arc<Lookers>) {
    let dir = tempfile::tempdir().unwrap();
    let lookers = Lookers::open(dir.path(), NOW);
    (dir, lookers)
}

fn phone() -> Binding {
    Binding::Tailnet("nPhone1CNTRL".to_owned())
}

fn pair(lookers: &Lookers, device: &Binding) -> Secret {
    let (code, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
    lookers.spend(code.reveal(), device, "Phone", NOW).unwrap()
}

#[test]
fn a_code_is_good_once_and_in_time() {
    let (_dir, lookers) = open();
    let spend =
        |code: &Secret, ms| lookers.spend(code.reveal(), &phone(), "Phone", NOW.plus(ms)).is_ok();
    let (code, until) = lookers.code(CodeFor::Pair, NOW).unwrap();
    assert_eq!(until, NOW.plus(300_000));
    assert!(spend(&code, 299_999) && !spend(&code, 299_999));
    for (ms, good) in [(300_000, false), (-1, false), (0, true)] {
        let (code, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
        assert_eq!(spend(&code, ms), good, "{ms}");
    }
    // A code for this machine that comes from elsewhere has leaked.
    let (code, _) = lookers.code(CodeFor::Open, NOW).unwrap();
    assert!(!spend(&code, 0));
    assert!(lookers.spend(code.reveal(), &Binding::Loopback, "", NOW).is_err());
    let (code, _) = lookers.code(CodeFor::Open, NOW).unwrap();
    assert!(lookers.spend(code.reveal(), &Binding::Loopback, "", NOW).is_ok());
    // Of many, the newest are open.
    let codes: Vec<_> =
        (0..=MAX_CODES).map(|_| lookers.code(CodeFor::Pair, NOW).unwrap().0).collect();
    assert!(!spend(&codes[0], 0) && spend(&codes[1], 0) && spend(&codes[MAX_CODES], 0));
    let (code, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
    lookers.take_back(&code);
    assert!(!spend(&code, 0));
}

#[test]
fn a_cookie_counts_on_its_device_for_ninety_days() {
    let (dir, lookers) = open();
    let cookie = pair(&lookers, &phone());
    let has = |lookers: &Arc<Lookers>, on: &Binding, ms| {
        lookers.has_cookie(cookie.reveal(), on, NOW.plus(ms))
    };
    drop(lookers);
    let lookers = Lookers::open(dir.path(), NOW);
    assert!(has(&lookers, &phone(), 0) && has(&lookers, &phone(), COOKIE_GOOD - 1));
    assert!(!has(&lookers, &phone(), COOKIE_GOOD));
    let others = [
        Binding::Loopback,
        Binding::Elsewhere,
        Binding::Tailnet("nOther1CNTRL".to_owned()),
        Binding::Tailnet(String::new()),
    ];
    others.iter().for_each(|on| assert!(!has(&lookers, on, 0), "{on}"));
    // It is no token, and no code.
    assert!(!lookers.has_token(cookie.reveal(), NOW));
    assert!(lookers.spend(cookie.reveal(), &phone(), "", NOW).is_err());
    assert!(!lookers.has_cookie("", &phone(), NOW) && !lookers.has_token("", NOW));
    // What is over is not kept.
    drop(lookers);
    let lookers = Lookers::open(dir.path(), NOW.plus(COOKIE_GOOD));
    assert!(lookers.list(LookerKind::Browser, NOW).unwrap().is_empty());
}

#[test]
fn a_cookie_is_found_among_others() {
    let cookie = Secret(Zeroizing::new("rrd_cookie_x".to_owned()));
    let header = "rrd_looker_7730=rrd_cookie_x; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax";
    assert_eq!(*set_cookie(&cookie, 7730, false), header);
    assert_eq!(*set_cookie(&cookie, 7730, true), format!("{header}; Secure"));
    for (shown, found) in [
        ("rrd_looker_7730=a", &["a"][..]),
        ("x=1; rrd_looker_7730=a;rrd_looker_7730=b=c; y", &["a", "b=c"]),
        ("xrrd_looker_7730=a; rrd_looker_7730; RRD_LOOKER_7730=a; =a", &[]),
        // Of daemons at other ports.
        ("rrd_looker_7731=x; rrd_looker_77=x; rrd_looker=x; rrd_looker_7730=a", &["a"]),
        ("", &[]),
        (&"rrd_looker_7730=a;".repeat(9_999), &["a"; MAX_SHOWN]),
    ] {
        assert_eq!(shown_cookies(shown, 7730).collect::<Vec<_>>(), found, "{shown:.40}");
    }
}

#[test]
fn who_is_revoked_is_let_in_no_more_not_even_after_a_restart() {
    let (dir, lookers) = open();
    let cookies = [phone(), Binding::Elsewhere].map(|on| (pair(&lookers, &on), on));
    let token = lookers.token(Some("cron\u{1b}[2J \n"), false, NOW).unwrap();
    assert_eq!(token.label, "cron[2J");
    let ids = |lookers: &Lookers, kind| -> Vec<String> {
        lookers.list(kind, NOW).unwrap().into_iter().map(|looker| looker.id).collect()
    };
    let seen = lookers.changed();
    let browsers = ids(&lookers, LookerKind::Browser);
    assert_eq!((browsers.len(), ids(&lookers, LookerKind::Script)), (2, vec![token.id.clone()]));
    assert_eq!(lookers.revoke(LookerKind::Browser, Some(&browsers[0]), NOW).unwrap(), 1);
    assert!(seen.has_changed().unwrap());
    for wrong in ["", "x", &browsers[0], &token.id] {
        let refusal = lookers.revoke(LookerKind::Browser, Some(wrong), NOW).unwrap_err();
        assert!(refusal.hint.unwrap().contains("rrd pair --list"), "{wrong}");
    }
    let (code, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
    drop(lookers);
    let lookers = Lookers::open(dir.path(), NOW);
    let left = cookies.iter().filter(|(cookie, on)| lookers.has_cookie(cookie.reveal(), on, NOW));
    assert_eq!(left.count(), 1);
    // A restart makes codes void, too.
    assert!(lookers.spend(code.reveal(), &phone(), "", NOW).is_err());
    let (code, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
    assert_eq!(lookers.revoke(LookerKind::Browser, None, NOW).unwrap(), 1);
    assert!(lookers.spend(code.reveal(), &phone(), "", NOW).is_err());
    assert!(cookies.iter().all(|(cookie, on)| !lookers.has_cookie(cookie.reveal(), on, NOW)));
    // Tokens are another matter.
    assert!(lookers.has_token(&token.token, NOW.plus(9 * COOKIE_GOOD)));
    assert_eq!(lookers.revoke(LookerKind::Script, Some(&token.id[..6]), NOW).unwrap(), 1);
    assert!(!lookers.has_token(&token.token, NOW));
    assert_eq!(lookers.revoke(LookerKind::Script, None, NOW).unwrap(), 0);
}

#[test]
fn whoever_guesses_waits() {
    let (_dir, lookers) = open();
    let spend = |code: &str, ms| lookers.spend(code, &phone(), "", NOW.plus(ms));
    let (code, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
    for n in 0..i64::from(MAX_WRONG) {
        assert!(matches!(spend("rrd_code_x", n), Err(NotSpent::Unknown)));
    }
    // Trying on makes it no longer, and nobody who has a good one is kept out by it.
    for _ in 0..100 {
        assert!(matches!(spend("rrd_code_y", 10_000), Err(NotSpent::Wait(50))));
    }
    assert!(spend(code.reveal(), 59_999).is_ok());
    assert!(matches!(spend(code.reveal(), 60_000), Err(NotSpent::Unknown)), "it is spent");
    // Cookies and tokens are shown all the while.
    assert!(!lookers.has_token("rrd_token_x", NOW));
}

#[test]
fn there_are_never_too_many() {
    let (_dir, lookers) = open();
    let (code, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
    (0..MAX_LOOKERS).for_each(|_| drop(lookers.token(None, false, NOW).unwrap()));
    assert!(lookers.token(None, false, NOW).is_err() && lookers.code(CodeFor::Pair, NOW).is_err());
    assert!(matches!(lookers.spend(code.reveal(), &phone(), "", NOW), Err(NotSpent::Full)));
}

#[test]
fn the_tailnet_is_wanted_while_somebody_may_come_from_there() {
    let (_dir, lookers) = open();
    assert!(!lookers.wants_tailnet(NOW));
    lookers.code(CodeFor::Open, NOW).unwrap();
    lookers.token(None, false, NOW).unwrap();
    pair(&lookers, &Binding::Loopback);
    assert!(!lookers.wants_tailnet(NOW));
    lookers.code(CodeFor::Pair, NOW).unwrap();
    assert!(lookers.wants_tailnet(NOW) && !lookers.wants_tailnet(NOW.plus(CODE_GOOD)));
    pair(&lookers, &phone());
    assert!(lookers.wants_tailnet(NOW.plus(COOKIE_GOOD - 1)));
    assert!(!lookers.wants_tailnet(NOW.plus(COOKIE_GOOD)));
}

#[tokio::test]
async fn when_somebody_was_seen_is_kept_by_the_hour() {
    let (dir, lookers) = open();
    let token = lookers.token(None, false, NOW).unwrap();
    let seen = |lookers: &Lookers| lookers.list(LookerKind::Script, NOW).unwrap()[0].seen_at;
    assert_eq!(seen(&lookers), None);
    for (ms, at) in [(5, 5), (HOUR, 5), (HOUR + 5, HOUR + 5), (0, 0)] {
        assert!(lookers.has_token(&token.token, NOW.plus(ms)));
        assert_eq!(seen(&lookers), Some(NOW.plus(at)), "{ms}");
    }
    for _ in 0..10_000 {
        if seen(&Lookers::open(dir.path(), NOW)) == Some(NOW) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it was not kept");
}

#[test]
fn where_it_cannot_be_kept_nobody_is_let_in() {
    let (dir, lookers) = open();
    let cookie = pair(&lookers, &phone());
    let token = lookers.token(None, false, NOW).unwrap();
    drop(lookers);
    for file in ["keep.db-wal", "keep.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(file));
    }
    std::fs::write(dir.path().join("keep.db"), "garbage, ".repeat(99)).unwrap();
    let lookers = Lookers::open(dir.path(), NOW);
    assert!(lookers.trouble().is_some());
    assert!(!lookers.has_cookie(cookie.reveal(), &phone(), NOW));
    assert!(!lookers.has_token(&token.token, NOW) && !lookers.wants_tailnet(NOW));
    let spent = lookers.spend("rrd_code_x", &phone(), "", NOW);
    assert!(matches!(spent, Err(NotSpent::Broken(_))));
    let refusals = [
        lookers.code(CodeFor::Pair, NOW).unwrap_err(),
        lookers.token(None, false, NOW).unwrap_err(),
        lookers.list(LookerKind::Browser, NOW).unwrap_err(),
        lookers.revoke(LookerKind::Browser, None, NOW).unwrap_err(),
    ];
    for refusal in refusals {
        assert!(refusal.message.contains("keep.db") && refusal.hint.is_some(), "{refusal:?}");
    }
}

#[test]
fn no_secret_is_printed_or_kept() {
    let (dir, lookers) = open();
    let (code, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
    let (spare, _) = lookers.code(CodeFor::Pair, NOW).unwrap();
    let cookie = lookers.spend(code.reveal(), &phone(), "Phone", NOW).unwrap();
    let token = lookers.token(None, false, NOW).unwrap();
    let secrets = [code.reveal(), spare.reveal(), cookie.reveal(), &token.token];
    let debug = format!("{lookers:?} {code:?} {cookie:?} {token:?}");
    let files = std::fs::read_dir(dir.path()).unwrap();
    let kept: Vec<u8> =
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let kept = String::from_utf8_lossy(&kept);
    assert!(kept.contains("Phone"));
    let redactor = rrd_core::redact::Redactor::new();
    for secret in secrets {
        let body = &secret[secret.len() - 20..];
        assert!(!debug.contains(body) && !kept.contains(body));
        // However it gets into the log.
        let line = format!("GET /pair?code={secret} refused");
        let line = redactor.line(line.as_bytes(), &mut Default::default());
        let line = String::from_utf8_lossy(line.as_ref()).into_owned();
        assert!(!line.contains(&secret[secret.len() - 9..]), "{line}");
    }
}

#[test]
fn a_token_for_the_store_is_good_for_that_alone_and_one_to_look_is_not() {
    let (dir, lookers) = open();
    let to_look = lookers.token(None, false, NOW).unwrap();
    let to_keep = lookers.token(None, true, NOW).unwrap();
    drop(lookers);
    let lookers = Lookers::open(dir.path(), NOW);
    let may = |token: &LookerToken| {
        (lookers.has_token(&token.token, NOW), lookers.has_store(&token.token, NOW))
    };
    assert_eq!((may(&to_look), may(&to_keep)), ((true, false), (false, true)));
    for device in [phone(), Binding::Loopback, Binding::Elsewhere] {
        assert!(!lookers.has_cookie(&to_keep.token, &device, NOW));
        let cookie = pair(&lookers, &device);
        assert!(!lookers.has_store(cookie.reveal(), NOW));
    }
    let listed = lookers.list(LookerKind::Script, NOW).unwrap();
    let bound: Vec<_> = listed.iter().map(|looker| looker.bound_to.as_deref()).collect();
    assert!(bound.contains(&Some("session-store")) && bound.contains(&None), "{bound:?}");
    assert_eq!(lookers.revoke(LookerKind::Script, Some(&to_keep.id), NOW).unwrap(), 1);
    assert_eq!((may(&to_look), may(&to_keep)), ((true, false), (false, false)));
}
