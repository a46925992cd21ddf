//! Forks that Codex makes: nothing of what they begin with is copied, it lies in another thread's rollout.

use std::{fs, path::Path, path::PathBuf};

use serde_json::{Value, json};

use super::{Host, THREAD, append, read, secret};

const FORK: &str = "01a1f88d-5e35-7ca1-835f-bf472c0191ac";
const NEXT: &str = "01a1f88e-5e35-7ca1-835f-bf472c0191ac";

/// Records of a rollout from this number on, of which each says one of these.
fn records(first: usize, says: &[&str]) -> String {
    let record = |(number, says): (usize, &&str)| {
        let item = json!({"type": "UserMessage", "content": [{"type": "text", "text": says}]});
        let payload = json!({"type": "item_completed", "item": item});
        let at = "2026-11-20T10:28:08.000Z";
        let record =
            json!({"timestamp": at, "ordinal": number, "type": "event_msg", "payload": payload});
        format!("{record}\n")
    };
    (first..).zip(says).map(record).collect()
}

/// The first line of a thread's rollout; of a fork that begins with this many records of another one, so long there.
fn meta(id: &str, base: Option<(&str, usize, usize)>) -> String {
    let at = "2026-11-20T10:28:08.000Z";
    let mut payload = json!({"id": id, "session_id": id, "timestamp": at, "cwd": "/w",
        "originator": "codex_exec", "cli_version": "0.169.0", "source": "cli", "history_mode": "paginated"});
    let first = base.map_or(0, |(_, records, _)| records);
    if let Some((thread, records, bytes)) = base {
        payload["forked_from_id"] = json!(thread);
        payload["history_base"] = json!({"thread_id": thread, "end_ordinal_exclusive": records, "end_byte_offset": bytes});
    }
    format!(
        "{}\n",
        json!({"timestamp": at, "ordinal": first, "type": "session_meta", "payload": payload})
    )
}

fn rollout(host: &Host, id: &str) -> PathBuf {
    host.path(&format!(".codex/sessions/2026/11/20/rollout-2026-11-20T10-28-08-{id}.jsonl"))
}

/// The byte up to which a fork says its beginning goes.
fn begins_to(path: &Path) -> usize {
    let first: Value = serde_json::from_str(read(path).lines().next().unwrap()).unwrap();
    first["payload"]["history_base"]["end_byte_offset"].as_u64().unwrap().try_into().unwrap()
}

fn takes(id: &str) -> [&str; 5] {
    ["resume", id, "--from", "bucket", "--take-over"]
}

#[test]
fn a_fork_wants_all_of_its_beginning() {
    let (mut a, _) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let url = format!("file://{}", a.path("bucket").display());
    let own = meta(THREAD, None) + &records(1, &["one"]);
    append(&rollout(&a, THREAD), &own);
    a.mirrors_to(&url);
    b.mirrors_to(&url);
    let cwd = of_b.to_str().unwrap();
    let takes = |id| [&takes(id)[..], &["--cwd", cwd]].concat();
    b.run(&takes(THREAD));
    // It goes on where it was, and is forked twice there.
    append(&rollout(&a, THREAD), &records(2, &["two", "three"]));
    let whole = read(&rollout(&a, THREAD));
    let fork = meta(FORK, Some((THREAD, 4, whole.len()))) + &records(5, &["fork"]);
    append(&rollout(&a, FORK), &fork);
    let next = meta(NEXT, Some((FORK, 6, fork.len()))) + &records(7, &["next"]);
    append(&rollout(&a, NEXT), &next);
    for id in [THREAD, FORK, NEXT] {
        a.looks_up(id);
        a.brings(id, &rollout(&a, id));
    }
    let said = b.refuses(&takes(NEXT));
    assert!(said.contains(&format!("rrd resume {FORK} --from bucket --take-over first")), "{said}");
    for flags in [&[][..], &["--fork"]] {
        let said = b.refuses(&[&takes(FORK)[..], flags].concat());
        assert!(said.contains("only an older copy"), "{said}");
        assert!(said.contains(&format!("rrd resume {THREAD} --from bucket")), "{said}");
    }
    assert!(!rollout(&b, FORK).exists());
    // One that came so all the same is not gone on with, nor what begins in it.
    append(&rollout(&b, FORK), &fork);
    let said = b.refuses(&takes(NEXT));
    assert!(said.contains("only an older copy"), "{said}");
    b.looks_up(FORK);
    let said = b.refuses(&["resume", FORK, "--cwd", cwd]);
    assert!(said.contains("only an older copy"), "{said}");
    b.run(&takes(THREAD));
    b.run(&["resume", FORK, "--cwd", cwd]);
    b.run(&takes(NEXT));
    assert_eq!((read(&rollout(&b, FORK)), read(&rollout(&b, NEXT))), (fork, next));
}

#[test]
fn a_fork_begins_where_that_ends_in_what_is_here() {
    let (mut a, of_a) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let url = format!("file://{}", a.path("bucket").display());
    let past = meta(THREAD, None) + &records(1, &[&format!("Use {}", secret()), "two"]);
    append(&rollout(&a, THREAD), &(past.clone() + &records(3, &["three"])));
    let fork = meta(FORK, Some((THREAD, 3, past.len()))) + &records(4, &["fork"]);
    append(&rollout(&a, FORK), &fork);
    a.mirrors_to(&url);
    for id in [THREAD, FORK] {
        a.looks_up(id);
        a.brings(id, &rollout(&a, id));
    }
    b.mirrors_to(&url);
    let at = |cwd: &Path, id| -> Vec<String> {
        let words = [&takes(id)[..], &["--cwd", cwd.to_str().unwrap()]].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let run = |host: &Host, cwd: &Path, id| {
        let words = at(cwd, id);
        host.told(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(&b, &of_b, THREAD);
    let (_, said) = run(&b, &of_b, FORK);
    assert!(said.contains("which is here in another form"), "{said}");
    let there: Vec<String> = read(&rollout(&b, THREAD)).lines().map(str::to_owned).collect();
    let cut = there[..3].iter().map(|line| line.len() + 1).sum::<usize>();
    let with = |byte: usize| fork.replace(&past.len().to_string(), &byte.to_string());
    assert_ne!(cut, past.len());
    assert_eq!(read(&rollout(&b, FORK)), with(cut));
    // It is that session all the same: once more, mirrored from there, at home, and there again.
    run(&b, &of_b, FORK);
    assert_eq!(read(&rollout(&b, FORK)), with(cut));
    let goes_on = |host: &Host, number: usize, says: &str| {
        append(&rollout(host, FORK), &records(number, &[says]));
        host.looks_up(FORK);
        host.brings(FORK, &rollout(host, FORK));
    };
    goes_on(&b, 5, "at beta");
    let cwd = of_a.to_str().unwrap();
    let said = a.refuses(&["resume", FORK, "--cwd", cwd]);
    assert!(said.contains("1 record that is not here") && !said.contains("went apart"), "{said}");
    run(&a, &of_a, FORK);
    assert_eq!(read(&rollout(&a, FORK)), fork.clone() + &records(5, &["at beta"]));
    goes_on(&a, 6, "at alpha");
    run(&b, &of_b, FORK);
    let all = records(5, &["at beta", "at alpha"]);
    assert_eq!(read(&rollout(&b, FORK)), with(cut) + &all);
    // One that was made there begins with what is redacted there; and another one of it, under a new id.
    let next = meta(NEXT, Some((THREAD, 3, cut))) + &records(4, &["next"]);
    append(&rollout(&b, NEXT), &next);
    b.looks_up(NEXT);
    b.brings(NEXT, &rollout(&b, NEXT));
    let forked: Value = a.json(&["resume", NEXT, "--from", "bucket", "--fork", "--cwd", cwd]);
    assert_eq!(begins_to(Path::new(forked["files"][0]["path"].as_str().unwrap())), past.len());
    run(&a, &of_a, NEXT);
    assert_eq!(begins_to(&rollout(&a, NEXT)), past.len());
    // What is here of its past is something else.
    fs::write(rollout(&a, THREAD), past.replace("two", "something else")).unwrap();
    fs::remove_file(rollout(&a, NEXT)).unwrap();
    let said = a.refuses(&at(&of_a, NEXT).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("something else is here"), "{said}");
}

#[test]
fn a_fork_that_lies_here_and_begins_elsewhere_is_not_gone_on_with() {
    let (mut a, of_a) = Host::alone("alpha");
    let past = meta(THREAD, None) + &records(1, &["Use [REDACTED:github-token]"]);
    append(&rollout(&a, THREAD), &past);
    append(&rollout(&a, FORK), &(meta(FORK, Some((THREAD, 2, 9))) + &records(3, &["fork"])));
    a.start();
    a.looks_up(FORK);
    let cwd = of_a.to_str().unwrap();
    let said = a.refuses(&["resume", FORK, "--cwd", cwd]);
    assert!(said.contains("in another form") && said.contains("--fork"), "{said}");
    // Nor is one that begins in it, and would find nothing wrong by itself.
    let fork = read(&rollout(&a, FORK));
    append(&rollout(&a, NEXT), &(meta(NEXT, Some((FORK, 4, fork.len()))) + &records(5, &["next"])));
    a.looks_up(NEXT);
    let said = a.refuses(&["resume", NEXT, "--cwd", cwd]);
    assert!(said.contains(&format!("rrd resume {FORK} first")), "{said}");
    let forked: Value = a.json(&["resume", FORK, "--fork", "--cwd", cwd]);
    let path = Path::new(forked["files"][0]["path"].as_str().unwrap());
    assert_eq!(begins_to(path), past.len());
}

#[test]
fn a_fork_of_what_went_on_apart_is_not_given_another_past() {
    let (mut a, _) = Host::alone("alpha");
    let (mut b, of_b) = Host::alone("beta");
    let url = format!("file://{}", a.path("bucket").display());
    let own = meta(THREAD, None) + &records(1, &[&format!("Use {}", secret()), "two"]);
    append(&rollout(&a, THREAD), &own);
    a.mirrors_to(&url);
    a.looks_up(THREAD);
    a.brings(THREAD, &rollout(&a, THREAD));
    b.mirrors_to(&url);
    let cwd = of_b.to_str().unwrap();
    let takes = |id| [&takes(id)[..], &["--cwd", cwd]].concat();
    b.run(&takes(THREAD));
    append(&rollout(&a, THREAD), &records(3, &["what alpha did"]));
    let whole = read(&rollout(&a, THREAD));
    append(
        &rollout(&a, FORK),
        &(meta(FORK, Some((THREAD, 4, whole.len()))) + &records(5, &["fork"])),
    );
    for id in [THREAD, FORK] {
        a.looks_up(id);
        a.brings(id, &rollout(&a, id));
    }
    append(&rollout(&b, THREAD), &records(3, &["what beta did"]));
    let said = b.refuses(&takes(FORK));
    assert!(said.contains("with which alpha went on"), "{said}");
    assert!(!rollout(&b, FORK).exists());
}
