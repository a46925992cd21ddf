//! How long the redactor takes over the lines that cost it most: the limit is 2 s for 16 MiB.
//!
//!     cargo run --release -p rrd-core --example worst-lines -- [SEARCHED] [SEED] [TEXT]...
//!
//! Each line is one text over and over: every keyword of every rule, alone, before a long run and before
//! almost a token, what people write around secrets, and SEARCHED (2,000) more that are put together at
//! random; or only the given texts. All are tried short; the slowest of them in full. A line comes as
//! text, as a string of JSON, as strings of a list, as JSON within JSON, with every letter escaped, and as
//! text in which escapes and colours lie beneath each other, so that it is read once for each. Times are of
//! one core, the better of two; copying and parsing the same bytes stand beside them as a yardstick.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "../tests/redact/mutate.rs"]
mod mutate;

use std::{collections::HashMap, fmt::Write, hint::black_box, time::Instant};

use mutate::{PIECES, Random, fill};
use rrd_core::redact::{RULES, Redactor, Report};

const FULL: usize = 16 << 20;
const SHORT: usize = 64 << 10;
/// How many lines are tried in full.
const WORST: usize = 25;

/// Lines that would take longer than this many seconds are not tried in full.
const PATIENCE: f64 = 15.0;

/// What stands around secrets and what once was slow.
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "key=", "key=key", "password=", "password='", "password: ", "PASSWORD=${", "token ", "--token ", "--token --token=",
    "Authorization: Bearer ", "bearer ", "Basic YTpi", "export A=", "export API_KEY=", "API_KEY=q7Zk29vXw4Lm81Rt ",
    "-----BEGIN X PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n", "-----END PRIVATE KEY-----\n", "PRIVATE KEY ",
    "  12\u{2192}MIIEpAIBAAKCAQEA7Zk29vXw4Lm81Rtq7Zk29vXw4Lm81Rtq7Zk29vXw4Lm81Rt\n", "MIIEpAIBAAKCAQEA\n",
    "://", "a://", "a://b:c@", "https://me:q7Zk29vXw4Lm@", "a://a:a", "@", ":", "@:", ":@", "::", "a:b@", ":5432:", ":5432:a:b:",
    "deadbeef", "0123456789abcdef", "q7Zk29vXw4Lm81Rt+/", "=", "\"", "'", "\\", "\\\\", "\\\"", "\\\\\\\"", "\\n", "\\u0000",
    "\\u0073", "\\u001b[31m", "\u{1b}[31m", "\u{1b}[", "\u{1b}]", ";", "&", "a=b;", "a=b&", "cookie: a=b;", "Cookie: ", "cookie: sid=q7Zk29vXw4Lm81Rt; ",
    "?token=", "&token=q7Zk29vXw4Lm81Rt", "\n", "a\n", "\n\n", "{", "[", "{\"a\":", "{\"key\":\"", "[\"", "{}", "[],", "curl -u ", "curl -u a:b ", "curl -b a=", "curl -u 'a':", "kind: Secret", "kind: Secret\ndata:\n a: ", "\"kind\":\"Secret\",", "\"data\":{\"a\":\"", "key: |\n", "set -gx ",
    "curl \\\n", "mysql -p ", "-us1", ":AA1", "1:AA", ".atlasv1.", "MTIz", "Q~1", "[REDACTED:", "[REDACTED:password]", ".ey", "eyJ.ey",
    "eyJaaaaaaaa.", "name: API_KEY\n", "name: API_KEY\nvalue: ", "\"name\":\"API_KEY\",\"value\":", "<password>", "password>", "&quot;",
    "identified by '", "identified by ", "%3D", "key%3D", "| token | ", "a.b.c.", "key.", "key-", "_key", "my-secret-key-", "x", " ", "é", "\u{2192}",
    "password is ", "password: \"${", "secret = secrets.", "token token=", "key: string = ", "\"key\", \"", "key(\"", "key,\"", "auth\":\"", "sk-", "key\\\":\\\"",
];

/// The keywords of a rule as they stand in a text.
fn keywords(rule: usize) -> impl Iterator<Item = String> {
    let whole = |word: &&str| {
        word.replace("<64>", "MTIz").replace("<d>", "1").replace("<w>", "a").replace("##", "0a")
    };
    RULES[rule].keywords.iter().map(whole)
}

/// Each text that is repeated.
fn units(searched: usize, random: &mut Random) -> Vec<String> {
    let mut units: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    for (number, rule) in RULES.iter().enumerate() {
        let token = fill(rule.yes, random);
        units.push(token[..token.len() - 1].to_owned());
        units.push(format!("{} ", &token[..token.len() / 2]));
        units.push(format!("{token} "));
        for word in keywords(number) {
            units.push(format!("{word} "));
            units.push(format!("{word}{}", fill("{a64}", random)));
            units.push(format!("-{word}"));
            units.push(word);
        }
    }
    for _ in 0..searched {
        let mut unit = String::new();
        for _ in 0..1 + random.below(4) {
            match random.below(8) {
                0 => unit.push_str(&fill("{h40}", random)),
                1 => unit.push_str(&fill("{a20}", random)),
                2 => {
                    let rule = random.below(RULES.len());
                    unit.extend(keywords(rule));
                }
                3 => {
                    let token = fill(RULES[random.below(RULES.len())].yes, random);
                    unit.push_str(&token[..random.below(token.len()) + 1]);
                }
                4 => unit.push_str(PIECES[random.below(PIECES.len())]),
                _ => unit.push_str(TEXTS[random.below(TEXTS.len())]),
            }
        }
        units.push(unit);
    }
    units
}

const FORMS: [&str; 6] = ["text", "string", "list", "nested", "escaped", "deep"];

/// Something else at each level of escapes, with colours and without.
const DEEP: &str = "\u{1b}[0m \\u001b[0m \\\\u001b[0m \\\\\\\\u001b[0m \\\\\\\\\\\\\\\\u001b[0m x";

/// A text over and over until the line is `len` bytes, roughly.
fn line(unit: &str, form: &str, len: usize) -> Vec<u8> {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let inside = |text: &str| {
        let quoted = quoted(text);
        quoted[1..quoted.len() - 1].to_owned()
    };
    let (open, piece, close) = match form {
        "text" => ("", unit.replace('\n', " "), ""),
        "deep" => ("", unit.replace('\n', " "), DEEP),
        "string" => ("{\"text\":\"", inside(unit), "\"}"),
        "list" => ("[", format!("{},", quoted(unit)), "0]"),
        "nested" => ("{\"text\":\"{\\\"text\\\":\\\"", inside(&inside(unit)), "\\\"}\"}"),
        _ => {
            let mut escaped = String::new();
            for unit in unit.encode_utf16() {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
            ("{\"text\":\"", escaped, "\"}")
        }
    };
    let times = (len - open.len() - close.len()) / piece.len().max(1);
    format!("{open}{}{close}", piece.repeat(times)).into_bytes()
}

/// Seconds that `work` takes, the best of `runs`: of the processor where that can be told.
fn time(runs: usize, mut work: impl FnMut()) -> f64 {
    let used = || {
        let said = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        said.split(' ').next()?.parse::<f64>().ok()
    };
    let once = |_| {
        let (start, before) = (Instant::now(), used());
        work();
        let wall = start.elapsed().as_secs_f64();
        // Counted in ticks: of no use for what is short.
        match (before, used()) {
            (Some(before), Some(after)) if wall > 0.02 => (after - before) / 1e9,
            _ => wall,
        }
    };
    (0..runs).map(once).fold(f64::MAX, f64::min)
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let (searched, seed) = (numbers.next().unwrap_or(2_000), numbers.next().unwrap_or(1));
    let searched = usize::try_from(searched).unwrap_or(usize::MAX);
    let redactor = Redactor::new();
    let redact = |line: &[u8]| drop(black_box(redactor.line(line, &mut Report::default())));
    let given: Vec<String> =
        std::env::args().skip(1).filter(|arg| arg.parse::<u64>().is_err()).collect();
    let units = match given.is_empty() {
        true => units(searched, &mut Random(seed)),
        false => given,
    };

    let mut tried: Vec<(f64, usize, &str)> = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        for form in FORMS {
            let line = line(unit, form, SHORT);
            // The first of a rule's lines compiles its pattern.
            let seconds = time(2, || redact(&line));
            tried.push((seconds / line.len() as f64, number, form));
            let once = redactor.line(&line, &mut Report::default()).into_inner();
            let twice = redactor.line(&once, &mut Report::default()).into_inner();
            if once != twice {
                println!("not stable: {form:8} {unit:?}");
            }
        }
    }
    tried.sort_by(|a, b| b.0.total_cmp(&a.0));
    // One form of each text is enough, and one of each keyword's many texts.
    let mut seen: HashMap<&str, usize> = HashMap::new();
    tried.retain(|(_, number, _)| {
        let unit = &units[*number];
        let start = unit.char_indices().nth(3).map_or(unit.as_str(), |(at, _)| &unit[..at]);
        let times = seen.entry(start).or_default();
        *times += 1;
        *times <= 2
    });

    let parsed = line("The quick brown fox.\n", "string", FULL);
    let mut copy = vec![0; parsed.len()];
    let copying = time(5, || copy.copy_from_slice(black_box(&parsed)));
    let parsing = time(5, || {
        black_box(serde_json::from_slice::<HashMap<String, String>>(&parsed).is_ok());
    });
    println!("{:>8} {:>9}  16 MiB line", "seconds", "MB/s");
    let show = |seconds: f64, len: usize, name: &str| {
        println!("{seconds:>8.3} {:>9.1}  {name}", len as f64 / 1e6 / seconds);
    };
    show(copying, copy.len(), "(yardstick: copied)");
    show(parsing, parsed.len(), "(yardstick: parsed by serde_json)");
    let mut worst = Vec::new();
    for (rate, number, form) in tried.iter().take(WORST) {
        if *rate * FULL as f64 > PATIENCE {
            println!("{:>8.0} (reckoned) {form:8} {:?}", rate * FULL as f64, units[*number]);
            continue;
        }
        let line = line(&units[*number], form, FULL);
        let seconds = time(2, || redact(&line));
        worst.push((seconds, line.len(), *number, *form));
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (seconds, len, number, form) in worst {
        let unit: String = units[number].chars().take(60).collect();
        show(seconds, len, &format!("{form:8} {unit:?}"));
    }
    println!("{} texts in {} forms tried", units.len(), FORMS.len());
}
