//! `rrd redact` as a filter: what goes in and comes out, what it says about it, and a person's own rules.
//! Not here: what is secret (the tests of rrd-core).
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// Looks like a GitHub token and stands in no file as it is.
fn token() -> String {
    let body: String = (0..36u32)
        .map(|i| {
            char::from(
                b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
                    [(i * i * 5 + i * 11 + 3) as usize % 57],
            )
        })
        .collect();
    format!("gh{}_{body}", "p")
}

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rrd"));
    command.arg("redact").args(args).env_clear();
    // What Windows needs to start anything.
    for name in ["SystemRoot", "PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("HOME", home).env("USERPROFILE", home).env("RRD_HOME", home.join("rrd"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it over `input`; whatever comes in, it ends well.
fn redact(home: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = command(home, args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn all_but_the_secret_passes_byte_for_byte() {
    let home = TempDir::new().unwrap();
    let token = token();
    let mut input = Vec::new();
    input.extend_from_slice(
        b"{ \"n\" : 1.50e+3, \"n\":\t12345678901234567890, \"u\":\"\\u00e9\\/\" }\r\n\n",
    );
    input.extend_from_slice(format!("{{\"text\":\"use {token} \u{1f512}\"}}\n").as_bytes());
    input.extend_from_slice(b"not json \xff\xfe\x00 at all\n");
    input.extend_from_slice(format!("torn {{\"k\":\"{token}").as_bytes());
    let output = redact(home.path(), &[], &input);
    let replaced = b"[REDACTED:github-token]";
    let mut want = Vec::new();
    let mut rest = &input[..];
    while let Some(at) = rest.windows(token.len()).position(|w| w == token.as_bytes()) {
        want.extend_from_slice(&rest[..at]);
        want.extend_from_slice(replaced);
        rest = &rest[at + token.len()..];
    }
    want.extend_from_slice(rest);
    assert_eq!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&want));
    assert_eq!(output.stdout, want);
    let said = stderr(&output);
    assert!(said.contains("2  github-token"), "{said}");
    assert!(said.contains("2 secrets replaced in 2 of 5 lines"), "{said}");
    assert!(!said.contains(&token));
    let again = redact(home.path(), &[], &output.stdout);
    assert_eq!(again.stdout, output.stdout);
    assert!(stderr(&again).contains("0 secrets replaced"), "{}", stderr(&again));
}

#[test]
fn nothing_in_nothing_out() {
    let home = TempDir::new().unwrap();
    let output = redact(home.path(), &[], b"");
    assert!(output.stdout.is_empty());
    assert!(!home.path().join("rrd").exists(), "a filter leaves nothing behind");
}

#[test]
fn findings_name_the_rule_the_line_and_the_path_and_never_the_secret() {
    let home = TempDir::new().unwrap();
    let token = token();
    let input = format!("{{}}\n{{\"message\":{{\"content\":[{{\"text\":\"x {token}\"}}]}}}}\n");
    let told = stderr(&redact(home.path(), &["--explain"], input.as_bytes()));
    assert!(told.contains("line 2: github-token, 40 bytes at .message.content[0].text"), "{told}");
    assert!(!told.contains(&token[4..]));

    let told = stderr(&redact(home.path(), &["--explain", "--json"], input.as_bytes()));
    assert!(!told.contains(&token[4..]));
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [found, summary] = lines.as_slice() else { panic!("{told}") };
    assert_eq!(found["line"], 2);
    assert_eq!(found["rule"], "github-token");
    assert_eq!(found["path"], ".message.content[0].text");
    assert_eq!(found["len"], 40);
    assert_eq!(summary["lines"], 2);
    assert_eq!(summary["changed"], 1);
    assert_eq!(summary["total"], 1);
    assert_eq!(summary["rules"]["github-token"], 1);
}

#[test]
fn a_persons_rules_hold_and_those_that_cannot_are_named() {
    let home = TempDir::new().unwrap();
    let token = token();
    fs::create_dir(home.path().join("rrd")).unwrap();
    let rules = format!(
        "[[deny]]\nid = \"acme-ticket\"\npattern = 'ACME-[0-9]{{6}}'\n\
         [[deny]]\nid = \"broken\"\npattern = '(unclosed'\n\
         [[deny]]\nid = \"greedy\"\npattern = '.*'\n\
         [allow]\nliterals = [\"{token}\"]\n"
    );
    fs::write(home.path().join("rrd/redact.toml"), rules).unwrap();
    let input = format!("{{\"text\":\"ACME-123456 {token} words\"}}\n");
    let output = redact(home.path(), &[], input.as_bytes());
    let want = format!("{{\"text\":\"[REDACTED:acme-ticket] {token} words\"}}\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), want);
    let told = stderr(&output);
    assert!(told.contains("redact.toml: broken does not hold: "), "{told}");
    assert!(told.contains("redact.toml: greedy does not hold: "), "{told}");
    assert!(!told.contains("acme-ticket does not hold"), "{told}");

    let told = stderr(&redact(home.path(), &["--json"], input.as_bytes()));
    let summary: Value = serde_json::from_str(&told).unwrap();
    let refused: Vec<&str> = summary["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["rule"].as_str().unwrap())
        .collect();
    assert_eq!(refused, ["broken", "greedy"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure_to_speak_of() {
    let home = TempDir::new().unwrap();
    let mut child = command(home.path(), &[]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // More than any pipe holds; how much of it is taken is not the matter.
    let writer = std::thread::spawn(move || {
        let line = [&[b'x'; 4095][..], b"\n"].concat();
        let _ = (0..4096).try_for_each(|_| stdin.write_all(&line));
    });
    let mut first = [0; 1];
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    child.wait().unwrap();
    writer.join().unwrap();
    assert_eq!(told, "");
}
