//! Lines that try to break the redactor, from a seed: pieces of JSON, of secrets and of their surroundings,
//! put together and then damaged. The same seed gives the same lines.

use rrd_core::redact::{RULES, Redactor, Report};

/// SplitMix64: small, and good enough to choose pieces.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Fills a template of the rules: `{a36}` is 36 letters and digits, and so on.
pub fn fill(template: &str, random: &mut Random) -> String {
    const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
    const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const DIGITS: &str = "0123456789";
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        let close = rest[open..].find('}').expect("a closed template") + open;
        let (kind, count) = rest[open + 1..close].split_at(1);
        let alphabet = match kind {
            "a" => format!("{LOWER}{UPPER}{DIGITS}"),
            "A" => format!("{LOWER}{UPPER}"),
            "b" => format!("{LOWER}{UPPER}{DIGITS}+/"),
            "w" => format!("{LOWER}{UPPER}{DIGITS}_"),
            "d" => DIGITS.to_owned(),
            "h" => "0123456789abcdef".to_owned(),
            "H" => "0123456789ABCDEF".to_owned(),
            "l" => format!("{LOWER}{DIGITS}"),
            "t" => format!("{UPPER}234567"),
            "u" => format!("{UPPER}{DIGITS}"),
            "x" => "x".to_owned(),
            _ => panic!("{template} has an unknown alphabet"),
        };
        for _ in 0..count.parse::<usize>().expect("a count") {
            let at = random.below(alphabet.len());
            let letter = |at: usize| char::from(alphabet.as_bytes()[at % alphabet.len()]);
            // A run of one letter is what stands where a secret would.
            out.push(letter(if out.ends_with(letter(at)) { at + 1 } else { at }));
        }
        rest = &rest[close + 1..];
    }
    out + rest
}

pub const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\\"",
    "\\\\",
    "\\n",
    "\\u001b[31m",
    "\\u0073",
    "\\ud83d",
    "\\ud83d\\ude00",
    "\u{e9}",
    "\u{2192}",
    "null",
    "true",
    "1e400",
    "-0.0",
    "123456789012345678901234567890",
    "\"id\":",
    "\"signature\":",
    "\"data\":",
    "\"name\":\"API_KEY\",\"value\":",
    "password",
    "API_KEY=",
    "token: ",
    "--token ",
    "Authorization: Bearer ",
    "Cookie: a=",
    "curl -u me:",
    "curl -b a=",
    "'",
    "kind: Secret",
    "\"kind\":\"Secret\",",
    "\ndata:\n  a: ",
    "\"data\":{\"a\":\"",
    "key: |\n  ",
    "YWRtaW46cGFzc3dvcmQ=",
    "mysql -p",
    "://me:",
    "@host",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "[REDACTED:",
    "]",
    "REDACTED",
    " ",
    "\\\\n",
    "=",
    "&quot;",
    "%3D",
    "`",
    "<",
    ">",
    "q7Zk29vXw4Lm81Rt",
    "hunter2x",
    "AAAAB3NzaC1yc2EAAAADAQABAAABgQC7",
    "_",
    "-",
    ".",
    "/",
    "\t",
    "\u{0}",
    "x",
];

/// A line: often valid JSON, often nearly so.
pub fn line(random: &mut Random) -> Vec<u8> {
    let mut body = String::new();
    for _ in 0..random.below(24) {
        match random.below(4) {
            0 => {
                let rule = &RULES[random.below(RULES.len())];
                body.push_str(&fill(if random.below(4) == 0 { rule.no } else { rule.yes }, random));
            }
            _ => body.push_str(PIECES[random.below(PIECES.len())]),
        }
    }
    let mut line = match random.below(4) {
        0 => body,
        1 => format!("{{\"text\":{}}}", quoted(&body)),
        2 => format!(
            "{{\"password\":{},\"a\":[1,{}]}}",
            quoted(&body),
            quoted(&format!("{{\"key\":{}}}", quoted(&body)))
        ),
        _ => format!("{{{}:{}}}", quoted(&body), quoted(&body)),
    }
    .into_bytes();
    for _ in 0..random.below(3) {
        let at = random.below(line.len() + 1);
        match random.below(5) {
            0 if at < line.len() => line[at] = random.next() as u8,
            1 => line.truncate(at),
            2 if at < line.len() => drop(line.remove(at)),
            3 => line.insert(at, b"\\\"{}[]=: \n"[random.below(10)]),
            _ => {}
        }
    }
    line.retain(|b| *b != b'\n');
    line
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

/// Redacts one line and says what is wrong with the outcome, if anything.
pub fn check(redactor: &Redactor, line: &[u8]) -> Result<(), String> {
    let mut report = Report::default();
    let once = redactor.line(line, &mut report).into_inner().into_owned();
    let twice = redactor.line(&once, &mut Report::default()).into_inner().into_owned();
    let shown =
        || format!("{}\n-> {}", String::from_utf8_lossy(line), String::from_utf8_lossy(&once));
    if once != twice {
        return Err(format!(
            "a second run changes it: {}\n-> {}",
            shown(),
            String::from_utf8_lossy(&twice)
        ));
    }
    if once.contains(&b'\n') {
        return Err(format!("more than one line: {}", shown()));
    }
    if report.total() == 0 && once != line {
        return Err(format!("changed and not counted: {}", shown()));
    }
    let valid =
        |bytes: &[u8]| serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok();
    if valid(line) {
        if !valid(&once) {
            return Err(format!("no JSON any more: {}", shown()));
        }
        if shape(line) != shape(&once) {
            return Err(format!("of another structure: {}", shown()));
        }
    }
    Ok(())
}

/// A JSON text without what is in its strings: the redactor may change nothing else.
fn shape(json: &[u8]) -> Vec<u8> {
    let (mut out, mut inside, mut at) = (Vec::new(), false, 0);
    while at < json.len() {
        match json[at] {
            b'"' => {
                inside = !inside;
                out.push(b'"');
            }
            b'\\' if inside => at += 1,
            byte if !inside => out.push(byte),
            _ => {}
        }
        at += 1;
    }
    out
}
