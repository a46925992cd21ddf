//! rrd's own index, damaged: it is made anew from the transcripts, and `rrd status` says so.

use super::*;

/// A home with sessions, and its index as a daemon left it.
fn indexed() -> (Host, Vec<Session>) {
    let host = Host::new();
    for number in 0..40 {
        let id = format!("b41f0c2e-0000-4000-8000-{number:012}");
        let mut talk = Talk::new(&id);
        for _ in 0..20 {
            host.write(&id, &talk.turn(&format!("Prompt of {number}")));
        }
    }
    let daemon = host.daemon();
    until("read", || host.followed().iter().all(|row| row.complete).then_some(()));
    let rows = host.followed();
    daemon.stop();
    assert_eq!(rows.len(), 40);
    (host, rows)
}

fn database(host: &Host) -> PathBuf {
    let path = host.path("rrd");
    let mut folders = vec![path];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() == "index.db" {
                return path;
            }
        }
    }
    panic!("no index");
}

fn the_same(way: &str, rows: &[Session], before: &[Session]) {
    let key =
        |row: &Session| (row.session_id.clone(), counts(row), row.title.clone(), row.cwd.clone());
    let sorted = |rows: &[Session]| {
        let mut keys: Vec<_> = rows.iter().map(key).collect();
        keys.sort();
        keys
    };
    assert_eq!(sorted(rows), sorted(before), "{way}");
}

#[test]
fn a_damaged_index_is_made_anew() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("bytes in every page", |path| {
            let mut bytes = fs::read(path).unwrap();
            for page in bytes.chunks_mut(4096).skip(1) {
                page[0] ^= 0xff;
                page[9] ^= 0x55;
            }
            fs::write(path, bytes).unwrap();
        }),
        ("cut", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2 - 100]).unwrap();
        }),
        ("text", |path| fs::write(path, "This is no database.\n".repeat(500)).unwrap()),
        ("nothing", |path| fs::write(path, "").unwrap()),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir_all(path.join("with something in it")).unwrap();
        }),
    ];
    let (host, before) = indexed();
    for (what, damage) in damages {
        for entry in fs::read_dir(database(&host).parent().unwrap()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().contains("damaged") {
                let path = entry.path();
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                    .unwrap();
            }
        }
        damage(&database(&host));
        the_same(what, &host.looked(), &before);
        let daemon = host.daemon();
        until(what, || host.followed().iter().all(|row| row.complete).then_some(()));
        the_same(what, &host.followed(), &before);
        let status = host.status();
        assert_eq!(status.contains("set aside"), what != "nothing", "{what}: {status}");
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(database(&host)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{what}: only its owner may read it");
        daemon.stop();
        the_same(what, &host.looked(), &before);
    }
}

#[test]
fn damage_while_it_is_used_ends_in_a_fresh_start() {
    let (host, _) = indexed();
    let path = database(&host);
    let mut daemon = host.daemon();
    let mut bytes = fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page.fill(0xa5);
    }
    fs::write(&path, bytes).unwrap();
    let mut ended = false;
    for number in 0..40 {
        let id = format!("b41f0c2e-0000-4000-8000-{number:012}");
        host.write(
            &id,
            &[Talk::new(&id)
                .record("user", json!({"uuid": "more", "message": {"content": "More"}}))],
        );
    }
    // It notices when it next reads what is damaged; until then its answers are those of before.
    until("noticed, or not in the way", || {
        ended = daemon.0.try_wait().unwrap().is_some();
        let all = || host.followed().iter().all(|row| counts(row).0 == 21);
        (ended || all()).then_some(())
    });
    drop(daemon);
    let _daemon = host.daemon();
    until("all", || {
        host.followed()
            .iter()
            .all(|row| row.complete && counts(row) == (21, 20, 0, 0))
            .then_some(())
    });
    if ended {
        assert!(fs::read_to_string(host.path("log")).unwrap().contains("the index is damaged"));
    }
}

/// SQLite keeps no checksums: a flipped letter is no damage to it.
#[test]
fn a_flipped_bit_never_changes_the_answer() {
    let (host, before) = indexed();
    let path = database(&host);
    let good = fs::read(&path).unwrap();
    let mut random = 7_u64;
    for round in 0..12 {
        let mut bytes = good.clone();
        for _ in 0..1 + round % 4 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(random >> 33).unwrap() % bytes.len();
            bytes[at] ^= 1 << (random >> 20 & 7);
        }
        // Digits of counts, letters of titles, in every row at once.
        if round == 0 {
            for at in 0..bytes.len() - 20 {
                for (from, to) in [
                    (&b"\"prompts\":20"[..], &b"\"prompts\":70"[..]),
                    (b"Prompt of 7", b"Prompt of 8"),
                ] {
                    if bytes[at..].starts_with(from) {
                        bytes[at..at + to.len()].copy_from_slice(to);
                    }
                }
            }
        }
        if round == 1 {
            // Structure of what is kept as JSON.
            for at in 0..bytes.len() - 20 {
                if bytes[at..].starts_with(b"{\"cwd\":") {
                    bytes[at] = b'[';
                }
            }
        }
        fs::write(&path, &bytes).unwrap();
        the_same(&format!("looked, round {round}"), &host.looked(), &before);
        let daemon = host.daemon();
        until("read", || host.followed().iter().all(|row| row.complete).then_some(()));
        the_same(&format!("followed, round {round}"), &host.followed(), &before);
        daemon.stop();
    }
}

#[test]
fn an_index_of_a_newer_release_is_left_alone() {
    let (host, before) = indexed();
    let path = database(&host);
    let mut bytes = fs::read(&path).unwrap();
    // `user_version`, where SQLite's format has it.
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    let output = host.output(&["daemon"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(err.contains("was written by a newer rrd (schema 99, this one knows"), "{err}");
    assert!(err.contains("hint: "), "{err}");
    assert!(err.contains("RRD_HOME"), "the hint helps: {err}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "it is not touched");
    the_same("looked", &host.looked(), &before);
}
