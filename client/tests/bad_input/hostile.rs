//! Text that a transcript's author means for a terminal, and secrets that must not be shown.

use super::*;

/// Clipboard, cursor, title, 8-bit control sequences, lines, reordering and invisible characters.
const EVIL: &str = "x\u{1b}]52;c;eA==\u{7}\u{1b}[2J\u{1b}]0;t\u{1b}\\\u{9b}31m\u{9d}\u{85}\r\n\u{b}y\
    \u{202e}\u{2066}\u{200b}\u{feff}\u{2028}z";

/// A wrong character, where it may not be.
fn wrong(text: &str) -> Option<char> {
    let acts = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().find(acts)
}

#[test]
fn no_field_of_a_transcript_reaches_a_terminal_as_it_is() {
    let host = Host::new();
    let mut talk = Talk::new(ID);
    talk.cwd = format!("/home/{EVIL}");
    talk.version = EVIL.to_owned();
    let mut records = vec![
        talk.prompt(EVIL),
        talk.record("custom-title", json!({"customTitle": EVIL})),
        talk.says(EVIL),
        talk.calls("toolu_1", EVIL, json!({"command": EVIL})),
        talk.result("toolu_1", true),
        talk.calls(EVIL, EVIL, json!({"command": EVIL})),
    ];
    for record in &mut records {
        record["gitBranch"] = json!(EVIL);
        if record["type"] == "assistant" {
            record["message"]["model"] = json!(EVIL);
        }
    }
    host.write(ID, &records);
    let mut thread = rollouts::Thread::new(1);
    for field in ["cwd", "originator", "cli_version"] {
        thread.header[field] = json!(EVIL);
    }
    thread.header["git"] = json!({"branch": EVIL, "repository_url": format!("https://h/{EVIL}")});
    append(&thread.path(&host), thread.header() + &thread.begin(EVIL));
    append(&host.transcript(EVIL.trim_end_matches('/')), jsonl(&Talk::new("odd").turn("Odd")));
    let plain: [&[&str]; 7] = [
        &["sessions", "list"],
        &["sessions", "list", "--all"],
        &["sessions", "show", ID],
        &["sessions", "tail", ID],
        &["sessions", "show", &thread.id],
        &["sessions", "show", "nothing\u{1b}[2J"],
        &["status"],
    ];
    let check = || {
        for args in plain {
            let output = host.output(args);
            for stream in [&output.stdout, &output.stderr] {
                let text = String::from_utf8(stream.clone()).unwrap();
                assert_eq!(wrong(&text), None, "{args:?}: {text:?}");
            }
        }
        for args in [
            &["sessions", "list", "--all", "--json"][..],
            &["sessions", "show", ID, "--json", "--events"],
            &["sessions", "tail", ID, "--json"],
        ] {
            let text = host.run(args);
            assert_eq!(wrong(&text), None, "{args:?}: {text:?}");
            assert!(
                text.contains("\\u001b]52;c;") && text.contains("\\u202e"),
                "{args:?} keeps it"
            );
        }
    };
    check();
    let _daemon = host.daemon();
    host.follows("read", ID, |row| row.complete);
    check();
    let log = fs::read_to_string(host.path("log")).unwrap();
    assert_eq!(wrong(&log), None, "{log:?}");
}

#[test]
fn a_remotes_credentials_are_nowhere() {
    const SECRET: &str = "ghp_planted0secret";
    let host = Host::new();
    let work = host.path("work/site");
    fs::create_dir_all(work.join(".git")).unwrap();
    fs::write(work.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    let remote = format!("https://me:{SECRET}@example.com/acme/site.git");
    fs::write(work.join(".git/config"), format!("[remote \"origin\"]\n\turl = {remote}\n"))
        .unwrap();
    let mut talk = Talk::new(ID);
    talk.cwd = work.display().to_string();
    host.write(ID, &talk.turn("First"));
    let mut ids = vec![ID.to_owned()];
    for (number, url) in [
        remote.clone(),
        format!("https://{SECRET}@example.com/acme/site"),
        format!("{SECRET}@example.com:acme/site.git"),
        format!("https://example.com/acme/site.git?access_token={SECRET}"),
        format!("https://proxy.example/https://{SECRET}@example.com/acme/site.git"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut thread = rollouts::Thread::new(u32::try_from(number).unwrap());
        thread.header["git"] = json!({"branch": "main", "repository_url": url});
        append(&thread.path(&host), thread.header() + &thread.begin("Build"));
        ids.push(thread.id);
    }
    let daemon = host.both(|way, rows| {
        assert_eq!(rows.len(), ids.len(), "{way}");
        for row in rows {
            assert_eq!(row.repo.as_deref(), Some("site"), "{way}: {row:#?}");
        }
    });
    let mut said = String::new();
    for id in &ids {
        for args in [&["sessions", "show", id][..], &["sessions", "show", id, "--json", "--events"]]
        {
            said += &host.run(args);
        }
    }
    for args in [
        &["sessions", "list", "--all"][..],
        &["sessions", "list", "--all", "--json"],
        &["status"],
        &["doctor"],
    ] {
        said += &String::from_utf8(host.output(args).stdout).unwrap();
    }
    assert!(said.contains("example.com/acme/site") && !said.contains(SECRET), "{said}");
    daemon.stop();
    let mut folders = vec![host.path("rrd")];
    let mut files = vec![host.path("log")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert!(files.iter().any(|file| file.ends_with("index.db")));
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "{} holds it", file.display());
    }
}

/// One field of one transcript must not make every answer too long to be given.
#[test]
fn long_fields_are_cut() {
    let host = Host::new();
    let long = "n".repeat(3 << 20);
    let mut talk = Talk::new(ID);
    talk.cwd = format!("/{long}");
    let mut records = vec![talk.prompt("Go"), talk.calls(&long, &long, json!({"command": long}))];
    records[1]["message"]["model"] = json!(long);
    records[0]["gitBranch"] = json!(long);
    host.write(ID, &records);
    let mut thread = rollouts::Thread::new(1);
    thread.header["cwd"] = json!(long);
    thread.header["forked_from_id"] = json!(long);
    append(&thread.path(&host), thread.header() + &thread.begin("Build"));
    let _daemon = host.daemon();
    let row = host.follows("read", ID, |row| row.complete);
    assert_eq!(counts(&row), (1, 1, 1, 0));
    host.follows("read, too", &thread.id, |row| row.complete);
    let length = host.run(&["sessions", "list", "--all", "--json"]).len();
    assert!(length < 64 << 10, "{length} bytes");
    let length = host.run(&["sessions", "tail", ID, "--json"]).len();
    assert!(length < 16 << 10, "{length} bytes");
}
