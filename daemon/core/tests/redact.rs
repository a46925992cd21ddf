//! The redactor as its callers see it: every rule by its own examples, shapes that are hard, texts that
//! must stay, and properties that hold for any line in any pieces.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "redact/mutate.rs"]
mod mutate;
#[path = "redact/steers.rs"]
mod steers;

use mutate::{Random, check, fill};
use proptest::prelude::*;
use rrd_core::redact::{Allow, Deny, RULES, Redactor, Report, Settings, Stream};
use rrd_proto::json::is_unsafe;
use serde_json::json;

static REDACTOR: std::sync::LazyLock<Redactor> = std::sync::LazyLock::new(Redactor::new);

fn redacted(line: &str) -> (String, Vec<(String, u64)>) {
    let redactor = Redactor::new();
    let mut report = Report::default();
    let line = redactor.line(line.as_bytes(), &mut report).into_inner().into_owned();
    let counts = redactor.counts(&report).into_iter().map(|(id, n)| (id.to_owned(), n)).collect();
    (String::from_utf8(line).unwrap(), counts)
}

/// Nothing but letters, digits and signs that no rule asks for: what stands in for a secret.
fn secret(len: usize) -> String {
    fill(&format!("{{a{len}}}"), &mut Random(len as u64 + 5))
}

#[test]
fn every_rule_finds_its_example_and_leaves_what_is_none() {
    let redactor = Redactor::new();
    for (number, rule) in RULES.iter().enumerate() {
        assert!(!rule.source.is_empty() && !rule.keywords.is_empty(), "{}", rule.id);
        for seed in 0..5 {
            let mut random = Random(number as u64 * 100 + seed);
            let yes = fill(rule.yes, &mut random);
            for text in [
                yes.clone(),
                format!("use {yes} here"),
                format!("a\n{yes}\nb"),
                format!("\"{yes}\""),
            ] {
                let out = redactor.text(&text, &mut Report::default()).into_inner();
                // Of a body of a key or a signed address what follows the telling part is enough.
                let gone = !out.contains(&yes) && out.contains("[REDACTED:");
                assert!(gone, "{}: {text}\n-> {out}", rule.id);
            }
            let no = fill(rule.no, &mut random);
            let out =
                redactor.text(&format!("see {no} there"), &mut Report::default()).into_inner();
            assert!(
                !out.contains(&format!("[REDACTED:{}]", rule.id)),
                "{}: {no}\n-> {out}",
                rule.id
            );
        }
    }
}

#[test]
fn ids_of_rules_are_plain_and_apart() {
    let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert!(
        ids.iter().all(|id| id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
    );
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), RULES.len());
}

#[test]
fn hard_shapes_are_found() {
    let (k, b) = (secret(40), secret(64));
    let esc = "\u{1b}";
    let texts = [
        format!("machine h\n login me\n password {k}"),
        format!("postgres://me:{k}@db/x"),
        format!("mysql -u root -p{k} app"),
        format!("x --api-key {k}"),
        format!("Cookie: theme=dark; sid={k}"),
        format!("Set-Cookie: sid={k}; Path=/"),
        format!("{esc}[32mAPI_KEY{esc}[0m={esc}[33m{k}{esc}[0m"),
        format!("?access_token={k}&b=1"),
        format!("curl -u me:{k} x"),
        format!("_authToken={k}"),
        format!("h:5432:d:me:{k}"),
        format!("Password={k};Encrypt=1"),
        format!("X-Api-Key: {k}"),
        format!("Authorization: Bearer {k}"),
        format!("define('DB_PASSWORD', '{k}');"),
        format!("<password>{k}</password>"),
        format!(
            "     1\u{2192}-----BEGIN RSA PRIVATE KEY-----\n     2\u{2192}{b}{k}\n     3\u{2192}{k}"
        ),
        format!("+-----BEGIN PRIVATE KEY-----\n+{b}\n+{k}\n+-----END PRIVATE KEY-----"),
        format!("{b}\n{k}{k}\n-----END EC PRIVATE KEY-----"),
        json!({"a": json!({"api_key": k}).to_string()}).to_string(),
        json!(["mysql", "--password", k]).to_string(),
        json!([{"name": "DB_PASSWORD", "value": k}]).to_string(),
        json!([{"value": k, "name": "DB_PASSWORD"}]).to_string(),
        format!("curl -u me:'{k}' x"),
        format!("curl --user \"me\":\"{k}\" x"),
        format!("curl -u \"{k}:\" x"),
        format!("curl -b 'sid={k}' x"),
        format!("gh secret set DEPLOY --body {k}"),
        format!("set -gx API_KEY {k}"),
        format!("api:\n  token: >-\n    {k}\n"),
        format!("Authorization: Api-Token {k}"),
        format!("apiVersion: v1\nkind: Secret\ndata:\n  # of mail\n  smtp: {k}=\n"),
        format!("data:\n  smtp: '{k}='\n  user: YQ==\nkind: \"Secret\"\n"),
        format!("{{\n  \"data\": {{\n    \"smtp\": \"{k}=\"\n  }},\n  \"kind\": \"Secret\"\n}}"),
        format!("MIICXQIBAAKBgQ{b}\n{k}"),
        format!("MHcCAQEEI{b}\n{k}"),
    ];
    for text in &texts {
        // A list of names and values says which belong together only while it is whole.
        let whole = text.starts_with('[');
        let lines = [
            json!({"message": {"content": text}}).to_string(),
            json!({"output": json!({"output": text, "exit": 0}).to_string()}).to_string(),
            // Cut off in the middle of the record.
            json!({"message": {"content": text}})
                .to_string()
                .trim_end_matches(['"', '}'])
                .to_owned(),
        ];
        for line in lines.into_iter().take(if whole { 2 } else { 3 }) {
            let (out, counts) = redacted(&line);
            assert!(!out.contains(&k), "{line}\n-> {out}");
            assert!(!counts.is_empty());
        }
    }
}

#[test]
fn what_looks_like_a_hash_is_a_secret_where_it_opens_something() {
    let (hex, uuid) =
        (fill("{h64}", &mut Random(5)), fill("{h8}-{h4}-{h4}-{h4}-{h12}", &mut Random(6)));
    for (text, secret) in [
        (format!("curl -H 'Authorization: {uuid}' x"), &uuid),
        (format!("Authorization: Token {hex}"), &hex),
        (format!("https://b.s3.amazonaws.com/k?X-Amz-Expires=60&X-Amz-Signature={hex}"), &hex),
        (format!("https://storage.googleapis.com/k?X-Goog-Signature={hex}"), &hex),
    ] {
        let (out, _) = redacted(&json!({"text": text}).to_string());
        assert!(!out.contains(secret.as_str()), "{out}");
    }
}

#[test]
fn what_is_no_secret_stays() {
    let (hex, b) = (fill("{h64}", &mut Random(3)), fill("{b88}", &mut Random(4)));
    let texts = [
        format!("checksum = \"{hex}\""),
        format!("sha256:{hex}"),
        format!("commit {}", &hex[..40]),
        format!("\"integrity\": \"sha512-{b}==\""),
        "session 64525003-4afb-440b-b9cf-62f992c9a293 ok".to_owned(),
        format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{b} me@host"),
        "api_key: ${API_KEY} token=$TOKEN key = process.env.KEY".to_owned(),
        "def test_password_reset_token_expires(): pass".to_owned(),
        "API_KEY=your-api-key-here PASSWORD=<password> TOKEN=xxxxxxxxxxxx".to_owned(),
        "max_tokens: 4096, token_count=12".to_owned(),
        format!("src=\"data:image/png;base64,{b}{b}\""),
        "https://user:password@host https://github.com/a/b@v1".to_owned(),
        "-----BEGIN PRIVATE KEY----- is how it begins".to_owned(),
        "password = getpass.getpass('Password: ')".to_owned(),
        "authorization: req.headers.authorization, authorization: required".to_owned(),
        "\"authorization\": {\"type\": \"oauth2\"}".to_owned(),
        "client_secret: [\"from\", \"elsewhere\"]".to_owned(),
        "curl -u \"me\" x; curl -u \"${U}\":\"${P}\" x; curl -u me: x; curl -b jar.txt x"
            .to_owned(),
        "kind: Secret\nmetadata:\n  name: db-credentials-of-prod\ndata:\n  a: YQ==\n".to_owned(),
        "data:\n  level: aW5mb3JtYXRpb24=\n---\nkind: Secret\n".to_owned(),
        "kind: ExternalSecret\ndata:\n  level: aW5mb3JtYXRpb24=\n".to_owned(),
        "kind: Secret\ndata:\n  level: {{ .Values.level }}\n".to_owned(),
        "- (id)hf_requiredCharacteristicTypesForDisplayMetadata;".to_owned(),
    ];
    for text in texts {
        let line = json!({"text": text, "nested": json!({"text": text}).to_string()}).to_string();
        assert_eq!(redacted(&line), (line.clone(), Vec::new()));
    }
}

#[test]
fn ids_signatures_and_images_stay_whatever_they_hold() {
    let token = format!("ghp_{}", secret(36));
    let line = json!({
        "uuid": token, "message": {"id": token, "content": [
            {"type": "thinking", "signature": token}, {"type": "image", "source": {"data": format!("iVBORw0K {token}")}},
            {"tool_use_id": token}]}, "payload": {"call_id": token, "encrypted_content": token}})
    .to_string();
    assert_eq!(redacted(&line).0, line);
    // What a tool was given has keys of its own.
    let line = json!({"input": {"id": token}}).to_string();
    assert!(!redacted(&line).0.contains(&token));
}

#[test]
fn a_key_that_says_nothing_of_its_value_hides_nothing_else() {
    let keys = [
        "sessionId",
        "file_path",
        "session",
        "api_key",
        "apiKeyName",
        "token_count",
        "sort_partition_key",
        "-token",
        "access_id",
    ];
    let mut found = 0;
    for key in
        keys.iter().map(|key| (*key).to_owned()).chain([format!("{}_token_id", "x".repeat(60))])
    {
        let value = secret(24);
        for shape in [
            format!(r#""{key}":"{value}""#),
            format!(r#""{key}" : "{value}""#),
            format!(r#""{key}":["{value}"]"#),
            format!(r#""input":{{"{key}":"{value}"}}"#),
            format!(r#""name":"{key}","value":"{value}""#),
            format!(r#""content":"{{\"{key}\":\"{value}\"}}""#),
            format!(r#""content":"{key}=\"{value}\"""#),
            format!(r#""my password for the \"{key}":"{value}""#),
            format!(r#""{key}":"{{\"password\":\"{value}\"}}""#),
            format!(r#""{key}":1}} password="{value}""#),
        ] {
            // An escape that no text needs has every string looked at.
            let (few, all) =
                (format!(r#"{{{shape},"z":"a"}}"#), format!(r#"{{{shape},"z":"\u0061"}}"#));
            let (few, counts) = redacted(&few);
            assert_eq!(few.replace(r#""z":"a""#, r#""z":"\u0061""#), redacted(&all).0);
            found += counts.len();
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn every_other_byte_stays() {
    let k = secret(32);
    let line = format!(
        "{{ \"n\" : 1e999,\t\"n\":123456789012345678901234567890, \"u\":\"\\ud800 \\/ \\u00e9 é\",\"password\" :\"{k}\" ,\"z\":-0.0 }}\r"
    );
    assert_eq!(redacted(&line).0, line.replace(&k, "[REDACTED:password]"));
}

#[test]
fn depth_is_no_obstacle() {
    let k = secret(32);
    for n in [100_000, 1_000_000] {
        let line = format!("{}{{\"api_key\":\"{k}\"}}{}", "[".repeat(n), "]".repeat(n));
        let (out, _) = redacted(&line);
        assert_eq!(
            out.contains(&k),
            n > 200_000,
            "deeper than its keys are remembered, a key says nothing"
        );
    }
    let line = format!("{}\"API_KEY={k}\"{}", "{\"a\":".repeat(300_000), "}".repeat(300_000));
    assert!(!redacted(&line).0.contains(&k));
}

#[test]
fn own_secrets_are_found_in_every_form() {
    let own = b"0123-own-fleet-key-#+?";
    let (redactor, _) = Redactor::with(&Settings::default(), &[own]);
    let hex: String = own.iter().map(|b| format!("{b:02x}")).collect();
    for form in
        [String::from_utf8(own.to_vec()).unwrap(), hex, "MDEyMy1vd24tZmxlZXQta2V5LSMrPw".to_owned()]
    {
        let line = json!({"text": format!("x{form}y")}).to_string();
        let out = redactor.line(line.as_bytes(), &mut Report::default()).into_inner().into_owned();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"text\":\"x[REDACTED:own-secret]y\"}");
    }
}

#[test]
fn a_persons_rules_are_heeded() {
    let settings = Settings {
        deny: vec![Deny { id: "ticket".to_owned(), pattern: "ACME-[0-9]{6}".to_owned() }],
        allow: Allow {
            patterns: vec!["^zz".to_owned()],
            literals: vec!["kept9kept9kept9".to_owned()],
        },
    };
    let (redactor, refused) = Redactor::with(&settings, &[]);
    assert!(refused.is_empty());
    let text = redactor
        .text("ACME-123456 API_KEY=kept9kept9kept9 TOKEN=zz81hfk29xm4", &mut Report::default());
    assert_eq!(text.as_ref(), "[REDACTED:ticket] API_KEY=kept9kept9kept9 TOKEN=zz81hfk29xm4");
}

#[test]
fn findings_say_where_and_never_what() {
    let k = secret(32);
    let redactor = Redactor::new();
    let mut report = Report::explaining();
    let inner = json!({"cmd": format!("export API_KEY={k}")}).to_string();
    let line = json!({"message": {"content": [{"input": inner}]}}).to_string();
    let _ = redactor.line(line.as_bytes(), &mut report);
    let findings = report.take_findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].path.as_str(), findings[0].len),
        (".message.content[0].input\u{2192}.cmd", 32)
    );
    assert!(!format!("{findings:?}").contains(&k));
}

#[test]
fn a_line_too_long_does_not_pass() {
    let redactor = Redactor::new();
    let mut report = Report::default();
    let mut stream = Stream::new(&redactor);
    let mut out = Vec::new();
    let mut emit = |_: u64, line: rrd_core::redact::Redacted<&[u8]>, _: &mut Report| {
        out.extend_from_slice(line.as_ref());
        out.push(b'\n');
    };
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..17 {
        stream.feed(&chunk, &mut report, &mut emit);
    }
    stream.feed(b"\n{}\n", &mut report, &mut emit);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"redacted\":\"oversized line\",\"bytes\":17825792}\n{}\n"
    );
    assert_eq!(redactor.counts(&report), [("oversized-line", 1)]);
}

#[test]
fn a_line_that_takes_too_long_does_not_pass() {
    let redactor = Redactor::new();
    // Escapes beneath escapes, so that all of it would be read over and over.
    let deep = " \\u001b[0m \\\\u001b[0m \\\\\\\\u001b[0m";
    let mut report = Report::default();
    let line = format!("{}{deep}", "no KEY0 is of any use to me now ".repeat((6 << 20) / 32));
    let once = redactor.line(line.as_bytes(), &mut report).into_inner().into_owned();
    let expected = format!("{{\"redacted\":\"oversized line\",\"bytes\":{}}}", line.len());
    assert_eq!(String::from_utf8(once).unwrap(), expected);
    assert_eq!(redactor.counts(&report), [("oversized-line", 1)]);
    // Ordinary text as long and as deep passes.
    let text = "What comes after the one and before the other is of no use. ";
    let line = format!("{}{deep}", text.repeat((6 << 20) / 60));
    let once = redactor.line(line.as_bytes(), &mut report).into_inner();
    assert!(once == line.as_bytes());
}

#[test]
fn lines_made_to_break_it_do_not() {
    let redactor = Redactor::new();
    let mut random = Random(20_261_121);
    for run in 0..4_000 {
        let line = mutate::line(&mut random);
        check(&redactor, &line).unwrap_or_else(|wrong| panic!("run {run}: {wrong}"));
    }
}

/// What was found in it before that was known is not kept.
#[test]
fn a_line_that_is_no_json_only_at_its_end_is_read_as_a_text() {
    let redactor = Redactor::new();
    let redact = |line: &[u8]| {
        let mut report = Report::explaining();
        let out = redactor.line(line, &mut report).into_inner().into_owned();
        (out, report.take_findings())
    };
    let mut random = Random(20_261_122);
    let mut found = 0;
    for run in 0..2_000 {
        let line = mutate::line(&mut random);
        // The redactor minds what stands between strings only.
        let plain: String =
            line.iter().map(|b| if b.is_ascii_control() { ' ' } else { char::from(*b) }).collect();
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&plain).is_ok();
        if is_json || !line.starts_with(b"{") {
            continue;
        }
        let (out, findings) = redact(&line);
        // No JSON from its first byte on.
        let (plain, in_plain) = redact(&[b"~ ", line.as_slice()].concat());
        let shown = || format!("run {run}: {}", String::from_utf8_lossy(&line));
        assert_eq!(
            String::from_utf8_lossy(&plain[2..]),
            String::from_utf8_lossy(&out),
            "{}",
            shown()
        );
        assert_eq!(findings, in_plain, "{}", shown());
        found += findings.len();
    }
    assert!(found > 500, "{found}");
}

#[test]
fn the_worst_lines_cost_no_more_than_their_length() {
    let redactor = Redactor::new();
    let texts = [
        "key=",
        "token ",
        "sk-",
        "password='",
        "eyJaaaaaaaa.",
        "a://b:c@",
        "\\n",
        "\\\\\\\"",
        "-----BEGIN PRIVATE KEY-----",
        "cookie: a=b;",
        "curl -u ",
        "mysql -p ",
        "curl -b a=",
        "curl -u \"a\":",
        "kind: Secret\ndata:\n  a: ",
        "\"kind\":\"Secret\",\"data\":{",
        "-us1",
        ":AA1",
        ".atlasv1.",
        "PRIVATE KEY ",
        "MTIz",
        "Q~1",
        "[REDACTED:",
        "API_KEY=q7Zk29vXw4Lm81Rt ",
        "mysql -p",
        "+ASt",
        "-.ey",
        "-eyJ",
        "KEY0 ",
        ".dockerconfigjson: eyJhdXRocyI6SJVcoJwcBh9bAoPEn41MLkN0",
        "a\u{200b}",
        "\r",
        "k\u{1b}[0mey=\u{e0041}x",
    ];
    for text in texts {
        // Were any of these quadratic, this would take minutes.
        let line = text.repeat((128 << 10) / text.len());
        let line = format!("{{\"a\":{}}}", serde_json::to_string(&line).unwrap());
        for line in [line.as_bytes(), &line.as_bytes()[..line.len() - 1]] {
            let once = redactor.line(line, &mut Report::explaining()).into_inner();
            let twice = redactor.line(&once, &mut Report::default()).into_inner();
            assert!(once == twice, "a second run changes what {text:?} became");
        }
    }
}

#[test]
fn colours_one_after_the_other_cost_no_more_than_their_length() {
    let colours = r"\u001b[0m".repeat(200_000);
    // Behind the last stands what could not be told at a glance; were that looked for from each, this would take minutes.
    for (end, is) in
        [(r"\u001b]", false), (r"\u001b]ghp_q7Zk29vXw4Lm81RtYh3Bn6Jd0Ps5Fg8Ce2Wa", true)]
    {
        let line = format!("{{\"a\":\"{colours}{end}\"}}");
        let out = REDACTOR.line(line.as_bytes(), &mut Report::default()).into_inner();
        assert_eq!(out.as_ref() != line.as_bytes(), is);
    }
    for begun in [
        "\u{1b}[",
        "\u{1b}]",
        "\u{1b}[0",
        "\u{1b}]8;\u{1b}",
        "\u{1b}P",
        "\u{1b}_x\u{1b}",
        "\u{1b} ",
        "\u{90}",
        "\u{98}é",
        "\u{9b}",
        "\u{9b}1;",
        "\u{9d}",
        "\u{9d}8;;é\u{1b}",
        "\u{9e}\u{85}",
        "\u{9f}\u{1b}]",
    ] {
        let text = begun.repeat((2 << 20) / begun.len());
        let out = REDACTOR.text(&text, &mut Report::default()).into_inner();
        assert!(out == text, "{begun:?}");
    }
}

#[test]
fn a_name_that_is_split_tells_of_what_stands_apart_from_it() {
    for line in [
        r#"["--pass^word","hunter2xyZ9"]"#,
        r#"["^--password","hunter2xyZ9"]"#,
        r#"{"name":"DB_PASS^WORD","value":"hunter2xyZ9"}"#,
        r#"{"na^me":"DB_PASSWORD","value":"hunter2xyZ9"}"#,
        r#"{"name^":"DB_PASSWORD","value":"hunter2xyZ9"}"#,
        r#"{"name":"DB_PASSWORD","val^ue":"hunter2xyZ9"}"#,
        r#"{"value":"hunter2xyZ9","name":"DB_PASS^WORD"}"#,
        r#"{"value^":"hunter2xyZ9","name":"DB_PASSWORD"}"#,
        r#"{"au^th":"bWU6aHVudGVyMnh5WjkK"}"#,
        r#"{"kind":"Sec^ret","data":{"a":"YWRtaW46cGFzcw=="}}"#,
        r#"{"data":{"a":"YWRtaW46cGFzcw=="},"kin^d":"^Secret"}"#,
        r#"{"kind":"Secret","da^ta":{"a":"YWRtaW46cGFzcw=="}}"#,
        r#"{"kind":"Secret","data":{"a":"YWRtaW4^6cGFzcw=="}}"#,
    ] {
        for unseen in ["\u{200b}", r"\u200b", r"\u2060\u00ad", r"\udb40\udc41"] {
            let line = line.replace('^', unseen);
            for line in [line.clone(), json!({ "content": line }).to_string()] {
                let out = REDACTOR.line(line.as_bytes(), &mut Report::default()).into_inner();
                let out = String::from_utf8_lossy(&out);
                assert_eq!(out.matches("[REDACTED:").count(), 1, "{line} -> {out}");
                assert!(!["hunter2", "VudGVy", "YWRtaW"].iter().any(|s| out.contains(s)), "{out}");
            }
        }
    }
}

#[test]
fn a_value_is_judged_as_it_is_seen() {
    for text in [
        "password: required^",
        "DB_PASSWORD=^changeme",
        "password = requi^red",
        "\"password\": \"requi^red\"",
        "connect(\"password\", \"requi^red\")",
        "postgres://me:pass^word@db/x",
        "curl -u me:pass^word https://x",
        "{\"password\":\"requi^red\"}",
        "token: ^",
    ] {
        for unseen in ["\u{200b}", "\u{2060}\u{ad}", "\u{7f}"] {
            let text = text.replace('^', unseen);
            let out = REDACTOR.text(&text, &mut Report::default()).into_inner();
            assert_eq!(out, text);
        }
    }
}

#[test]
fn colours_stay_whole_around_what_is_no_secret_and_what_is() {
    for (text, left) in [
        ("alias_token = ^[34mself^[39m.scan_anchor(AliasToken)", None),
        ("password: ^[31mrequired^[0m", None),
        ("Token: ^[33m''^[39m", None),
        ("^[01;31m^[Kpassword^[m^[K: ^[36mString^[0m", None),
        (
            "DB_PASSWORD=^[31mhunter2xyZ9^[0m ok",
            Some("DB_PASSWORD=^[31m[REDACTED:password]^[0m ok"),
        ),
    ] {
        // Also where something else is to be left out.
        for before in ["", "\u{200b}", "a\rb "] {
            let text = format!("{before}{}", text.replace('^', "\u{1b}"));
            let left = left.map_or_else(
                || text.clone(),
                |it| format!("{before}{}", it.replace('^', "\u{1b}")),
            );
            let out = Redactor::new().text(&text, &mut Report::default()).into_inner();
            assert_eq!(out, left, "{text:?}");
        }
    }
}

/// What no vendor's rule finds, with what tells that it is one.
const NAMED: &[&str] = &[
    "DB_PASSWORD={a24}",
    "\"apiKey\": \"{a24}\"",
    "postgres://me:{a20}@db/x",
    "Authorization: Bearer {a32}",
    "cookie: session={a32}",
    "curl -u me:{a20} https://x",
];

/// What each reader leaves out, in a way of its own.
const UNSEEN: &[&str] = &[
    "\u{200b}",
    "\u{1b}",
    "\u{202e}",
    "\u{2060}",
    "\u{e0041}",
    "\u{fe0f}",
    "\u{ad}",
    "\r",
    "\u{8}",
    "\u{c}",
    "\u{7f}",
    "\u{9b}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{180f}",
    "\u{3164}",
    "\u{1d173}",
    "\u{200d}",
    "\u{34f}",
    "\0",
    "\u{1b}[1;31m",
    "\u{200b}\u{1b}[0m",
];

fn is_blank(c: char) -> bool {
    is_unsafe(c) && c.is_whitespace()
}

/// As hooks, answers to agents, tables and pages show a text.
fn without(text: &str, instead: fn(char) -> Option<char>) -> String {
    let seen = |c: char| match c {
        '\n' | '\t' => Some(c),
        c if is_unsafe(c) => instead(c),
        c => Some(c),
    };
    text.chars().filter_map(seen).collect()
}

/// As a terminal is shown a long text.
fn lines(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\u{1b}'
            && let Some(inner) = rest.strip_prefix('[')
        {
            let parameters = inner.bytes().take_while(|b| matches!(b, b' '..=b'?')).count();
            if matches!(inner.as_bytes().get(parameters), Some(b'@'..=b'~')) {
                rest = &inner[parameters + 1..];
            }
        } else if c == '\r' || !is_unsafe(c) || matches!(c, '\n' | '\t') {
            out.push(if c == '\r' { '\n' } else { c });
        }
    }
    out
}

/// A piece of a secret that can be read in what is shown, though not in what is left of it when it is whole.
fn readable<'s>(secret: &'s str, whole: &str, shown: &str) -> Option<&'s str> {
    const PIECE: usize = 8;
    let pieces =
        (0..secret.len().saturating_sub(PIECE - 1)).filter_map(|at| secret.get(at..at + PIECE));
    pieces.into_iter().find(|piece| !whole.contains(piece) && shown.contains(piece))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_secret_is_caught_however_it_is_cut(
        rule in 0..RULES.len(), seed in any::<u64>(), cuts in proptest::collection::vec(0usize..400, 0..6),
    ) {
        let token = fill(RULES[rule].yes, &mut Random(seed));
        let text = format!("{}\n{}\n", json!({"content": format!("use {token} ok")}), json!({"n": 1}));
        let redactor = &*REDACTOR;
        let mut report = Report::default();
        let mut stream = Stream::new(redactor);
        let mut out = Vec::new();
        let mut emit = |_: u64, line: rrd_core::redact::Redacted<&[u8]>, _: &mut Report| {
            out.extend_from_slice(line.as_ref());
            out.push(b'\n');
        };
        let mut rest = text.as_bytes();
        for cut in cuts {
            let (head, tail) = rest.split_at(cut % (rest.len() + 1));
            stream.feed(head, &mut report, &mut emit);
            rest = tail;
        }
        stream.feed(rest, &mut report, &mut emit);
        stream.finish(&mut report, &mut emit);
        let out = String::from_utf8(out).unwrap();
        prop_assert!(!out.contains(&token), "{}", out);
        prop_assert_eq!(out.lines().count(), 2);
        let whole = redactor.line(text.lines().next().unwrap().as_bytes(), &mut Report::default());
        prop_assert_eq!(out.lines().next().unwrap().as_bytes(), whole.as_ref().as_ref());
    }

    #[test]
    fn a_secret_is_caught_whatever_unseen_splits_it(
        rule in 0..RULES.len() + NAMED.len(), seed in any::<u64>(),
        splits in proptest::collection::vec((0..1000usize, proptest::sample::select(UNSEEN)), 1..4),
    ) {
        let (rule, yes) = match RULES.get(rule) {
            Some(rule) => (rule.id, rule.yes),
            None => ("by its name", NAMED[rule - RULES.len()]),
        };
        let yes = fill(yes, &mut Random(seed));
        let mut split: Vec<char> = yes.chars().collect();
        // From the last to the first, so none falls into another one.
        let mut splits: Vec<_> = splits.into_iter().map(|(at, what)| (1 + at % (split.len() - 1), what)).collect();
        splits.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        for (at, unseen) in splits {
            split.splice(at..at, unseen.chars());
        }
        let split: String = split.into_iter().collect();
        // A name may be told; its value is the longest run.
        let runs = yes.split(|c: char| !c.is_ascii_alphanumeric());
        let secret = if rule == "by its name" { runs.max_by_key(|run| run.len()).unwrap() } else { &yes };
        let whole = REDACTOR.text(&format!("use {yes} ok"), &mut Report::default()).into_inner();
        for text in [format!("use {split} ok"), format!("a\r{split}\nb")] {
            let mut texts = vec![REDACTOR.text(&text, &mut Report::default()).into_inner()];
            let escaped = |c: char| match c {
                '\r' => "\\r".to_owned(),
                '\n' => "\\n".to_owned(),
                '\u{8}' => "\\b".to_owned(),
                c if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' => c.to_string(),
                c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            };
            let within = json!({ "inner": text }).to_string();
            for line in [
                json!({ "content": text }).to_string(),
                json!({ "content": within }).to_string(),
                format!("{{\"content\":\"{}\"}}", text.chars().map(escaped).collect::<String>()),
            ] {
                let out = REDACTOR.line(line.as_bytes(), &mut Report::default()).into_inner();
                let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
                let content = value["content"].as_str().unwrap();
                let inner = serde_json::from_str::<serde_json::Value>(content).ok();
                texts.push(inner.and_then(|v| Some(v["inner"].as_str()?.to_owned())).unwrap_or(content.to_owned()));
            }
            for text in texts {
                // What parts it where it is shown parts it for its readers, too.
                let parts = |what: &str| split.contains(what);
                for (is_parted, shown) in [
                    (parts("["), without(&text, |_| None)),
                    (parts("[") || split.contains(is_blank), without(&text, |c| is_blank(c).then_some(' '))),
                    (parts("\r"), lines(&text)),
                ] {
                    let left = readable(secret, &whole, &shown).filter(|_| !is_parted);
                    prop_assert!(left.is_none(), "{}: {:?} of {:?} in {:?}", rule, left, split, shown);
                }
            }
        }
    }

    #[test]
    fn any_bytes_pass_and_pass_again(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let line: Vec<u8> = bytes.into_iter().filter(|b| *b != b'\n').collect();
        prop_assert!(check(&REDACTOR, &line).is_ok());
    }
}
