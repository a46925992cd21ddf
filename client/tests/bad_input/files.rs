//! Files that are not plain files in plain places, and files that change under the reader.

use std::{
    ffi::OsStr,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, chown, symlink},
        net::UnixListener,
    },
};

use super::*;

fn id(number: u32) -> String {
    format!("7f2c1111-0000-4000-8000-{number:012}")
}

#[test]
fn what_only_looks_like_a_transcript_is_passed_by() {
    let host = Host::new();
    host.write(ID, &Talk::new(ID).turn("First"));
    let folder = host.transcript(ID).parent().unwrap().to_owned();
    assert!(Command::new("mkfifo").arg(folder.join("fifo.jsonl")).status().unwrap().success());
    let _socket = UnixListener::bind(folder.join("socket.jsonl")).unwrap();
    symlink("/dev/zero", folder.join("device.jsonl")).unwrap();
    fs::create_dir(folder.join("directory.jsonl")).unwrap();
    // Beneath a root nothing leads outside of it, and no loop has an end.
    let outside = host.path("outside");
    fs::create_dir_all(&outside).unwrap();
    append(&outside.join("stolen.jsonl"), jsonl(&Talk::new("stolen").turn("Not ours")));
    symlink(outside.join("stolen.jsonl"), folder.join("stolen.jsonl")).unwrap();
    symlink(&outside, host.path(".claude/projects/-outside")).unwrap();
    symlink("loop.jsonl", folder.join("loop.jsonl")).unwrap();
    symlink(host.path(".claude/projects"), folder.join("deeper")).unwrap();
    // Two names of one file.
    fs::hard_link(host.transcript(ID), folder.join("another-name.jsonl")).unwrap();
    // Names no terminal should see; what is in them is a session all the same.
    for name in [&b"line\nbreak.jsonl"[..], b"esc\x1b[2J.jsonl", b"latin\xe9.jsonl"] {
        append(&folder.join(OsStr::from_bytes(name)), jsonl(&Talk::new("odd").turn("Odd")));
    }
    let long = folder.join(format!("{}.jsonl", "n".repeat(249)));
    append(&long, jsonl(&Talk::new("long").turn("Long")));
    let expected = |way: &str, rows: &[Session]| {
        // Of two names of one file the first in order counts.
        let one = ["another-name", ID].iter().filter(|id| ids(rows).contains(id)).count();
        assert_eq!(one, 1, "{way}: {:?}", ids(rows));
        assert!(!ids(rows).contains(&"stolen") && !ids(rows).contains(&"device"), "{way}");
        assert_eq!(rows.len(), 4, "{way}: {:?}", ids(rows));
    };
    let _daemon = host.both(expected);
    // The same while it is followed.
    append(&outside.join("stolen.jsonl"), jsonl(&Talk::new("stolen").turn("Again")));
    append(&outside.join("fresh.jsonl"), jsonl(&Talk::new("fresh").turn("Not ours either")));
    fs::create_dir(host.path("moved")).unwrap();
    append(&host.path("moved/moved.jsonl"), jsonl(&Talk::new("moved").turn("Not ours")));
    symlink(host.path("moved"), host.path("moving")).unwrap();
    fs::rename(host.path("moving"), host.path(".claude/projects/-moved")).unwrap();
    append(&host.path("moved/moved.jsonl"), jsonl(&Talk::new("moved").turn("Not ours")));
    host.write(&id(7), &Talk::new(&id(7)).turn("The last"));
    host.follows("the daemon has seen the others, too", &id(7), |_| true);
    let rows = host.followed();
    expected("later", &rows.into_iter().filter(|r| r.session_id != id(7)).collect::<Vec<_>>());
    for args in [&["sessions", "list", "--all"][..], &["doctor"], &["status"]] {
        let out = host.output(args).stdout;
        assert!(!out.contains(&0x1b), "{args:?}");
    }
}

#[test]
fn what_is_not_read_is_told() {
    let host = Host::new();
    host.write(ID, &Talk::new(ID).turn("First"));
    let said = |host: &Host| {
        let part = |args: &[&str]| String::from_utf8(host.output(args).stdout).unwrap();
        (part(&["status"]), part(&["doctor"]))
    };
    // Links into the root hide nothing, nor do those to what is no transcript.
    let folder = host.transcript(ID).parent().unwrap().to_owned();
    fs::create_dir_all(host.path("elsewhere/notes")).unwrap();
    symlink(host.path("elsewhere/notes"), host.path(".claude/projects/-notes")).unwrap();
    symlink(host.path(".claude/projects"), folder.join("deeper")).unwrap();
    let daemon = host.daemon();
    let (_, doctor) = said(&host);
    assert!(!doctor.contains("is a link"), "{doctor}");
    daemon.stop();
    append(&host.path("elsewhere/linked/s.jsonl"), jsonl(&Talk::new("linked").turn("Linked")));
    symlink(host.path("elsewhere/linked"), host.path(".claude/projects/-linked")).unwrap();
    let daemon = host.daemon();
    let (status, doctor) = said(&host);
    for text in [status, doctor] {
        assert!(text.contains("-linked: is a link, and beneath a root"), "{text}");
    }
    daemon.stop();
    fs::remove_file(host.path(".claude/projects/-linked")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("fifo.jsonl")).status().unwrap().success());
    let looked = String::from_utf8(host.output(&["doctor"]).stdout).unwrap();
    assert!(looked.contains("fifo.jsonl: is not a file"), "{looked}");
    // A profile, and a database.
    fs::create_dir_all(host.path("elsewhere/profile")).unwrap();
    fs::create_dir_all(host.path(".hermes/profiles")).unwrap();
    fs::write(host.path("elsewhere/profile/state.db"), "").unwrap();
    symlink(host.path("elsewhere/profile"), host.path(".hermes/profiles/x")).unwrap();
    let looked = String::from_utf8(host.output(&["doctor"]).stdout).unwrap();
    assert!(looked.contains("profiles/x: is a link"), "{looked}");
    fs::remove_file(host.path(".hermes/profiles/x")).unwrap();
    symlink(host.path("elsewhere/profile/state.db"), host.path(".hermes/state.db")).unwrap();
    let looked = String::from_utf8(host.output(&["doctor"]).stdout).unwrap();
    assert!(looked.contains("state.db: is a link"), "{looked}");
}

#[test]
fn doctor_tells_what_could_not_be_taken() {
    let host = Host::new();
    host.write(ID, &Talk::new(ID).turn("First"));
    append(&host.transcript(ID), "{\"type\":\"user\",\"half\n");
    let garbage = host.path(
        ".codex/sessions/2026/11/20/rollout-2026-11-20T10-42-56-01a1f88d-5e35-7ca1-835f-000000000099.jsonl.zst",
    );
    append(&garbage, "garbage");
    let check = || {
        let doctor = String::from_utf8(host.output(&["doctor"]).stdout).unwrap();
        assert!(doctor.contains("damaged line × 2 in 2 sessions, first /"), "{doctor}");
    };
    check();
    let daemon = host.daemon();
    check();
    assert_eq!(fs::metadata(host.path("rrd")).unwrap().permissions().mode() & 0o777, 0o700);
    daemon.stop();
    fs::write(host.path("rrd/state/index.db.damaged"), "x").unwrap();
    let doctor = String::from_utf8(host.output(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("an index was damaged and begun anew"), "{doctor}");
}

#[test]
fn what_rrd_makes_of_its_home_is_its_owners_alone() {
    fn folders(path: &Path, found: &mut Vec<(PathBuf, u32)>) {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        found.push((path.to_owned(), mode));
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders(&entry.path(), found);
            }
        }
    }
    let host = Host::new();
    host.write(ID, &Talk::new(ID).turn("First"));
    // Whoever comes first makes it: here a hook.
    let mut hook = host.command(&["hook", "claude-code"]);
    let mut hook = hook.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let call = json!({"hook_event_name": "Stop", "session_id": ID, "cwd": "/w"}).to_string();
    hook.stdin.take().unwrap().write_all(call.as_bytes()).unwrap();
    assert!(hook.wait().unwrap().success());
    let mut made = Vec::new();
    folders(&host.path("rrd"), &mut made);
    assert!(made.len() > 2, "{made:?}");
    let daemon = host.daemon();
    let bucket = format!("file://{}", host.path("bucket").display());
    host.run(&["mirror", "enable", &bucket, "--yes"]);
    host.run(&["mirror", "run"]);
    folders(&host.path("rrd"), &mut made);
    for name in ["rrd/state/mirror-parts", "rrd/run", "rrd/state/session-store/projects"] {
        assert!(made.iter().any(|(path, _)| *path == host.path(name)), "{name} of {made:?}");
    }
    let open: Vec<_> = made.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert!(open.is_empty(), "{open:?}");
    daemon.stop();

    // One that was there is left as its owner made it, and told; what lies in it is closed all the same.
    let set = |path: &str, mode| {
        fs::set_permissions(host.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    let made = ["rrd", "rrd/state", "rrd/run"];
    made.iter().for_each(|path| set(path, 0o777));
    let doctor = String::from_utf8(host.output(&["doctor"]).stdout).unwrap();
    let said = format!("{} is open to other users (mode 777)", host.path("rrd").display());
    assert!(doctor.contains(&said), "{doctor}");
    let _daemon = host.daemon();
    let mode = |path| fs::metadata(host.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(made.map(mode), [0o777, 0o700, 0o700]);
}

#[test]
fn roots_may_be_links_and_several_and_late() {
    let mut host = Host::new();
    fs::create_dir_all(host.path("disk/projects")).unwrap();
    symlink(host.path("disk"), host.path("linked")).unwrap();
    let roots = ["linked", "second", "late"].map(|r| host.path(r).display().to_string());
    // An empty entry is no root: least of all the directory rrd was started in.
    host.env.push(("CLAUDE_CONFIG_DIR".into(), format!("{},", roots.join(", ,"))));
    append(&host.path("projects/-here/here.jsonl"), jsonl(&Talk::new("here").turn("No root")));
    let place = |root: &str, id: &str| host.path(&format!("{root}/projects/-w/{id}.jsonl"));
    append(&place("linked", &id(1)), jsonl(&Talk::new(&id(1)).turn("In a link")));
    append(&place("second", &id(2)), jsonl(&Talk::new(&id(2)).turn("In another")));
    // One session in both.
    let mut talk = Talk::new(ID);
    let copied = jsonl(&talk.turn("Copied"));
    append(&place("linked", ID), &copied);
    append(&place("second", ID), &copied);
    let _daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [&id(1), &id(2), ID], "{way}");
        assert!(rows.iter().all(|row| counts(row) == (1, 1, 0, 0)), "{way}");
    });
    append(&place("linked", &id(1)), jsonl(&[Talk::new(&id(1)).prompt("More")]));
    host.follows("behind the link", &id(1), |row| counts(row).0 == 2);
    append(&place("late", &id(3)), jsonl(&Talk::new(&id(3)).turn("Late")));
    host.follows("a root that was not there", &id(3), |row| counts(row).0 == 1);
    append(&place("late", &id(3)), jsonl(&Talk::new(&id(3)).turn("Later")[..1]));
}

#[test]
fn one_codex_home_may_have_a_comma() {
    let mut host = Host::new();
    host.env.push(("CODEX_HOME".into(), host.path("a,b").display().to_string()));
    let out = host.run(&["config"]);
    assert!(out.contains("a,b") && !out.contains("a, b"), "{out}");
}

#[test]
fn a_replaced_root_is_followed_like_the_first() {
    let host = Host::new();
    host.write(ID, &Talk::new(ID).turn("First"));
    let _daemon = host.daemon();
    host.follows("before", ID, |_| true);
    for round in 1..4 {
        fs::remove_dir_all(host.path(".claude")).unwrap();
        host.write(&id(round), &Talk::new(&id(round)).turn("Anew"));
        host.follows("the new root", &id(round), |row| counts(row) == (1, 1, 0, 0));
        host.write(&id(round), &[Talk::new(&id(round)).prompt("More")]);
        host.follows("the new root's file", &id(round), |row| counts(row).0 == 2);
    }
    // What was there before stays known.
    host.follows("the first", ID, |row| counts(row) == (1, 1, 0, 0));
}

#[test]
fn a_file_may_become_another_or_shorter() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let first = jsonl(&talk.turn("First"));
    let second = jsonl(&talk.turn("Second"));
    let path = host.transcript(ID);
    append(&path, first.clone() + &second);
    let _daemon = host.daemon();
    host.follows("all", ID, |row| counts(row) == (2, 2, 0, 0));
    // Shorter, then the same and more: nothing twice.
    fs::write(&path, &first).unwrap();
    host.follows("cut", ID, |row| issue(row, "rewritten") == 1);
    let third = jsonl(&talk.turn("Third"));
    append(&path, second + &third);
    let row = host.follows("longer", ID, |row| counts(row) == (3, 3, 0, 0));
    assert_eq!(row.status, rrd_proto::Status::Idle);
    // Rewritten beyond the old length, in one go.
    let fourth = jsonl(&talk.turn("Fourth"));
    let fifth = jsonl(&talk.turn("Fifth"));
    fs::write(&path, [&fourth, &third, &first, &fifth].map(String::as_str).concat()).unwrap();
    host.follows("rewritten", ID, |row| counts(row) == (5, 5, 0, 0));
    // Through a temporary file, as editors do; and under a new name, as a project's rename does.
    let beside = path.with_extension("tmp");
    fs::copy(&path, &beside).unwrap();
    fs::rename(&beside, &path).unwrap();
    append(&path, jsonl(&talk.turn("Sixth")));
    host.follows("swapped", ID, |row| counts(row) == (6, 6, 0, 0));
    let moved = host.path(".claude/projects/-elsewhere");
    fs::rename(path.parent().unwrap(), &moved).unwrap();
    append(&moved.join(format!("{ID}.jsonl")), jsonl(&talk.turn("Seventh")));
    let row = host.follows("moved", ID, |row| counts(row) == (7, 7, 0, 0));
    assert!(shown_path(&row).contains("-elsewhere"), "{}", shown_path(&row));
    // Gone: what was read stands.
    fs::remove_dir_all(&moved).unwrap();
    host.write(&id(1), &Talk::new(&id(1)).turn("Another"));
    host.follows("another", &id(1), |row| counts(row) == (1, 1, 0, 0));
    assert_eq!(counts(&host.follows("gone", ID, |_| true)), (7, 7, 0, 0));
}

#[test]
fn an_inode_may_be_used_again() {
    let host = Host::new();
    let _daemon = host.daemon();
    // Deleted and made anew at once, until the file system gives the same inode: often the first time.
    let mut before = None;
    for round in 0..20 {
        let id = id(round);
        host.write(&id, &Talk::new(&id).turn("One of many"));
        host.follows("a new file", &id, |row| counts(row) == (1, 1, 0, 0));
        let path = host.transcript(&id);
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap());
        if before == Some(inode) {
            return;
        }
        before = Some(inode);
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_session_in_two_folders_counts_once() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    let first = talk.turn("First");
    host.write(ID, &first);
    let copy = host.path(&format!(".claude/projects/-copy/{ID}.jsonl"));
    append(&copy, jsonl(&first) + &jsonl(&talk.turn("Second")));
    let _daemon = host.both(|way, rows| {
        assert_eq!(ids(rows), [ID], "{way}");
        assert_eq!(counts(&rows[0]), (2, 2, 0, 0), "{way}");
    });
}

/// A host whose daemon is not root, so that a file's mode means something to it.
fn unprivileged() -> Host {
    let mut host = Host::new();
    // Whoever runs the tests without being root needs nobody else.
    if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        let binary = host.path("rrd-binary");
        fs::copy(env!("CARGO_BIN_EXE_rrd"), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        chown(host.home.path(), Some(65_534), Some(65_534)).unwrap();
        host.unprivileged = Some(binary);
    }
    host
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_unreadable_is_shown_and_read_when_it_can_be() {
    let host = unprivileged();
    let (open, shut) = (host.transcript(ID), host.path(".claude/projects/-shut/shut.jsonl"));
    let mut talk = Talk::new(ID);
    append(&open, jsonl(&talk.turn("First")));
    append(&shut, jsonl(&Talk::new("shut").turn("Shut")));
    for path in [&open, &shut] {
        mode(path, 0o644);
    }
    let readable = host.both(|way, rows| assert_eq!(ids(rows), [ID, "shut"], "{way}"));
    // It closes while it grows, and opens again: nothing is lost, and nobody complains any more.
    mode(&open, 0);
    append(&open, jsonl(&talk.turn("Second")));
    let row = host.follows("closed", ID, |row| issue(row, "unreadable") > 0);
    assert_eq!(counts(&row), (1, 1, 0, 0), "what was read stands");
    until("said so", || host.status().contains("unreadable").then_some(()));
    mode(&open, 0o644);
    append(&open, jsonl(&talk.turn("Third")));
    host.follows("open", ID, |row| counts(row) == (3, 3, 0, 0) && issue(row, "unreadable") == 0);
    until("no longer said", || (!host.status().contains("unreadable")).then_some(()));
    readable.stop();
    // Closed from the start, having grown: the daemon knows it from before.
    append(&open, jsonl(&talk.turn("Fourth")));
    mode(&open, 0);
    mode(shut.parent().unwrap(), 0);
    append(&shut, jsonl(&Talk::new("shut").turn("Shut")[1..]));
    assert_eq!(
        issue(&host.looked().into_iter().find(|r| r.session_id == ID).unwrap(), "unreadable"),
        1
    );
    let _daemon = host.daemon();
    host.follows("closed", ID, |row| issue(row, "unreadable") > 0);
    host.follows("its folder is closed", "shut", |_| true);
    until("said so", || host.status().contains("-shut").then_some(()));
    mode(&open, 0o644);
    mode(shut.parent().unwrap(), 0o755);
    append(&open, jsonl(&talk.turn("Fifth")));
    host.follows("open", ID, |row| row.complete && counts(row) == (5, 5, 0, 0));
}

#[test]
fn few_descriptors_are_enough_for_many_transcripts() {
    let mut host = Host::new();
    host.open_files = Some(64);
    let all: Vec<String> = (0..600).map(id).collect();
    for (number, id) in all.iter().enumerate() {
        let path = host.path(&format!(".claude/projects/-project-{}/{id}.jsonl", number % 90));
        append(&path, jsonl(&Talk::new(id).turn("One of many")));
    }
    let _daemon = host.both(|way, rows| {
        assert_eq!(rows.len(), all.len(), "{way}");
        assert!(rows.iter().all(|row| counts(row) == (1, 1, 0, 0)), "{way}");
    });
    for (number, id) in all.iter().enumerate() {
        let path = host.path(&format!(".claude/projects/-project-{}/{id}.jsonl", number % 90));
        append(
            &path,
            jsonl(&[Talk::new(id)
                .record("user", json!({"uuid": "more", "message": {"content": "More"}}))]),
        );
    }
    until("all have grown", || {
        let rows = host.followed();
        (rows.len() == all.len() && rows.iter().all(|row| counts(row).0 == 2)).then_some(())
    });
}

#[test]
fn without_watches_everything_is_polled() {
    // The limit is a user namespace's own; where one cannot be made there is nothing to try.
    let limited = |limit: u32| {
        let mut shell = Command::new("unshare");
        let set =
            format!("echo {limit} > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"");
        shell.args(["--user", "--map-root-user", "/bin/sh", "-c", &set]);
        shell
    };
    if !limited(1).arg("true").output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let host = Host::new();
    for number in 0..9 {
        let path = host.path(&format!(".claude/projects/-p{number}/{}.jsonl", id(number)));
        append(&path, jsonl(&Talk::new(&id(number)).turn("First")));
    }
    let inner = host.command(&["daemon"]);
    let mut child = limited(4)
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", "/usr/bin:/bin")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _daemon = Daemon(child);
    assert!(line.starts_with("rrd follows"), "{line}");
    until("said so", || host.status().contains("limit of file watches").then_some(()));
    for number in 0..9 {
        let path = host.path(&format!(".claude/projects/-p{number}/{}.jsonl", id(number)));
        append(
            &path,
            jsonl(&[Talk::new(&id(number))
                .record("user", json!({"uuid": "more", "message": {"content": "More"}}))]),
        );
    }
    append(
        &host.path(&format!(".claude/projects/-new/{}.jsonl", id(99))),
        jsonl(&Talk::new(&id(99)).turn("New")),
    );
    for number in 0..9 {
        host.follows("polled", &id(number), |row| counts(row).0 == 2);
    }
    host.follows("a new folder", &id(99), |_| true);
}
