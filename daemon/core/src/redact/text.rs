//! What is secret in one plain text: vendors' tokens, named values, keys, addresses with passwords.
//!
//! One pass finds keywords; what each may announce is then looked at where it stands. Everything
//! looks a bounded way ahead and what has been covered is not looked at again, so time is linear in the text. Not
//! here: escapes, JSON, and putting the replacements in.

use std::sync::OnceLock;

use regex_automata::{Anchored, Input, meta::Regex};

use super::{
    assign, commands,
    extras::{Denied, Extras},
    keywords::Keywords,
    kube, names, pem,
    rules::RULES,
    unseen, value,
};

/// How far ahead a vendor's pattern looks.
const WINDOW: usize = 2048;
/// How many bytes of a text without keywords take as long as what one keyword makes be looked at.
const DENSE: usize = 32;

/// A secret: where it is, and the number of the rule that found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rule: usize,
}

/// The rules beyond those of vendors; their numbers follow.
pub(super) const GENERAL: [&str; 9] = [
    "private-key",
    "own-secret",
    "url-password",
    "authorization",
    "cookie",
    "command-password",
    "password",
    "secret",
    "oversized-line",
];
const fn general(at: usize) -> usize {
    RULES.len() + at
}
const PRIVATE_KEY: usize = general(0);
pub(super) const OWN: usize = general(1);
pub(super) const URL: usize = general(2);
const AUTHORIZATION: usize = general(3);
const COOKIE: usize = general(4);
const COMMAND: usize = general(5);
pub(super) const PASSWORD: usize = general(6);
pub(super) const SECRET: usize = general(7);

/// What a keyword announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Vendor(usize),
    Name,
    PrivateKey,
    Own,
    Url,
    Bearer,
    Basic,
    Cookie,
    Command(usize),
    Sql,
    PgPass,
    Kind,
    /// An escape for what needs none: it may hide a keyword.
    Escape,
}

/// Everything that is looked for, ready to be used.
#[derive(Debug)]
pub(super) struct Matcher {
    keywords: Keywords,
    /// What each keyword means, and its length.
    meanings: Vec<(Meaning, usize)>,
    /// Of each keyword every three bytes after another, in lower case, the first two of which are no word; the third
    /// is zero at the end.
    threes: Vec<u32>,
    /// With which two they begin, a bit each.
    twos: Box<[u64; 1 << 10]>,
    patterns: Vec<OnceLock<Option<Regex>>>,
    extras: Extras,
    /// The ids of all rules, in the order of their numbers.
    pub(super) ids: Vec<String>,
}

/// Where a raw line may hold something.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// In order.
    pub(super) at: Vec<usize>,
    /// Every string has to be looked at.
    pub(super) everywhere: bool,
    /// From where to where something stands that readers are not shown.
    pub(super) gaps: Vec<(usize, usize)>,
    /// Any of that is more than colours, which stand in no manifest.
    pub(super) is_split: bool,
}

impl Suspects {
    pub(super) fn any(&self) -> bool {
        self.everywhere || !self.at.is_empty()
    }
}

impl Matcher {
    pub(super) fn new(extras: Extras, own: &[Vec<u8>]) -> Self {
        let mut keywords = Keywords::new();
        let (mut meanings, mut threes) = (Vec::new(), Vec::new());
        let mut add = |word: &[u8], exact: usize, meaning: Meaning| {
            for (i, two) in
                word.windows(2).enumerate().filter(|(_, w)| !is_run(w[0]) || !is_run(w[1]))
            {
                let third = word.get(i + 2).copied().unwrap_or(0);
                threes.push(three(two[0], two[1], third));
            }
            keywords.add(word, exact);
            meanings.push((meaning, word.len()));
        };
        for (number, rule) in RULES.iter().enumerate() {
            for keyword in rule.keywords {
                // The pattern heeds case; of what stands for several, in two cases each, one word is enough.
                let open = keyword.matches("<w>").count() + keyword.matches('#').count();
                expand(keyword, &mut |word| {
                    add(word, word.len() - open, Meaning::Vendor(number));
                });
            }
        }
        for word in names::WORDS {
            add(word.as_bytes(), 0, Meaning::Name);
        }
        for secret in own {
            add(secret, secret.len(), Meaning::Own);
        }
        add(b"PRIVATE KEY", 11, Meaning::PrivateKey);
        for scheme in b"abcdefghijklmnopqrstuvwxyz0123456789" {
            add(&[*scheme, b':', b'/', b'/'], 0, Meaning::Url);
        }
        add(b"bearer ", 0, Meaning::Bearer);
        add(b"basic ", 0, Meaning::Basic);
        add(b"ookie:", 0, Meaning::Cookie);
        add(b"ookie\":", 0, Meaning::Cookie);
        for (number, command) in commands::COMMANDS.iter().enumerate() {
            add(command.name.as_bytes(), command.name.len(), Meaning::Command(number));
        }
        add(b"dentified by", 0, Meaning::Sql);
        add(b":5432:", 6, Meaning::PgPass);
        add(b"kind", 4, Meaning::Kind);
        add(b"\\u00", 0, Meaning::Escape);
        keywords.build();
        threes.sort_unstable();
        threes.dedup();
        let mut twos = Box::new([0; 1 << 10]);
        for three in &threes {
            twos[(three >> 14) as usize] |= 1 << (three >> 8 & 63);
        }
        let mut ids: Vec<String> = RULES.iter().map(|rule| rule.id.to_owned()).collect();
        ids.extend(GENERAL.iter().map(|id| (*id).to_owned()));
        ids.extend(extras.denied.iter().map(|denied| denied.id.clone()));
        let patterns = RULES.iter().map(|_| OnceLock::new()).collect();
        Self { keywords, meanings, threes, twos, patterns, extras, ids }
    }

    /// Looks at a raw line, escapes and all, for places that are worth a closer look: fast, and never too
    /// few. Gives what that took, as [`Self::scan`] does.
    pub(super) fn suspects(&self, line: &[u8], suspects: &mut Suspects) -> usize {
        let mut met = 0usize;
        suspects.at.clear();
        suspects.everywhere = !self.extras.denied.is_empty();
        // What splits a keyword hides it here, and not from those who are shown the text without it.
        let Suspects { at: suspicious, gaps, is_split, .. } = &mut *suspects;
        gaps.clear();
        *is_split = false;
        unseen::in_raw(line, &mut |gap| {
            if gap.around.is_none_or(|(before, after)| self.are_parted(before, after)) {
                suspicious.push(gap.start);
            }
            gaps.push((gap.start, gap.end));
            *is_split |= !gap.colours;
        });
        // What is told from what stands near is told from other places where something of that is left out. Keywords
        // come from left to right, if not quite.
        let mut gap = 0;
        let gaps = &suspects.gaps;
        let mut is_gap = |from: usize, to: usize| {
            while gaps.get(gap).is_some_and(|(_, end)| *end <= from) {
                gap += 1;
            }
            while gap > 0 && gaps[gap - 1].1 > from {
                gap -= 1;
            }
            gaps.get(gap).is_some_and(|(start, _)| *start < to)
        };
        self.keywords.find(line, &mut |word, at| {
            met += 1;
            let (meaning, len) = self.meanings[word];
            let end = at + len;
            let worth = match meaning {
                Meaning::Vendor(rule) => {
                    let rule = &RULES[rule];
                    rule.back > 0
                        || begins_raw(line, at)
                            && (has_run(line, end, rule.run) || is_gap(end, end + rule.run + 16))
                }
                Meaning::Name => {
                    (may_be_assigned(line, at, end) || is_gap(at.saturating_sub(80), end + 168))
                        && !is_in_plain_key(line, at, end)
                }
                Meaning::Url => may_have_userinfo(line, end) || is_gap(end, end + 520),
                Meaning::Kind => kube::is_secret(line, end) || is_gap(end, end + 48),
                Meaning::Escape => {
                    suspects.everywhere |= hides(line, at + len);
                    false
                }
                _ => true,
            };
            if worth {
                suspects.at.push(at);
            }
            true
        });
        // Two runs, each of them sorted.
        suspects.at.sort();
        // Most is settled by a few bytes here.
        line.len().min(met.saturating_mul(DENSE)) / 4
    }

    /// Whether what stands between these bytes, and is not seen, may part a keyword or what follows it.
    fn are_parted(&self, before: u8, after: [u8; 2]) -> bool {
        if is_run(before) && is_run(after[0]) {
            return true;
        }
        // A backslash may stand for anything.
        let any = three(before, after[0], 0);
        let has = |three| self.threes.binary_search(&three).is_ok();
        self.twos[(any >> 14) as usize] >> (any >> 8 & 63) & 1 == 1
            && (after[1] == b'\\' || has(any) || has(three(before, after[0], after[1])))
    }

    /// Adds every secret in `text` to `hits`, in order and without overlaps. Gives what that took: the
    /// bytes, where they are full of keywords, and next to nothing where they are ordinary text.
    /// `joins`: whether something was left out of it there, so that a token may begin.
    pub(super) fn scan(
        &self,
        text: &[u8],
        joins: &dyn Fn(usize) -> bool,
        hits: &mut Vec<Hit>,
    ) -> usize {
        let mut met = 0usize;
        let from = hits.len();
        let (mut vendor_done, mut name_done, mut key_done, mut url_done, mut cookie_done) =
            (0, 0, 0, 0, 0);
        let mut kind_done = 0;
        let mut command_done = [0; commands::COMMANDS.len()];
        let mut header = Header::default();
        self.keywords.find(text, &mut |word, at| {
            met += 1;
            let (meaning, len) = self.meanings[word];
            let mut hit = |start: usize, end: usize, rule: usize| {
                if end > start {
                    hits.push(Hit { start, end, rule });
                }
            };
            match meaning {
                Meaning::Vendor(rule) if at >= vendor_done => {
                    if let Some((start, end, example)) =
                        self.vendor(text, joins, at, len, rule, &mut header)
                    {
                        header.failed = false;
                        vendor_done = end;
                        if !example {
                            hit(start, end, rule);
                        }
                    }
                }
                Meaning::Name if at >= name_done => {
                    let (start, end) = assign::name_around(text, at, len);
                    name_done = end;
                    if let Some(found) = assign::assigned(text, start, end) {
                        name_done = name_done.max(found.end);
                        let password = found.class == names::Class::Password;
                        hit(found.start, found.end, if password { PASSWORD } else { SECRET });
                    }
                }
                Meaning::PrivateKey if at >= key_done => {
                    if let Some((start, end)) = pem::around(text, at) {
                        key_done = end;
                        hit(start, end, PRIVATE_KEY);
                    }
                }
                Meaning::Own => hit(at, at + len, OWN),
                Meaning::Url if at >= url_done => {
                    if let Some((start, end)) = commands::url_password(text, at, at + len) {
                        url_done = end;
                        hit(start, end, URL);
                    }
                }
                Meaning::Bearer | Meaning::Basic => {
                    if let Some((start, end)) =
                        commands::authorization(text, at + len, meaning == Meaning::Basic)
                    {
                        hit(start, end, AUTHORIZATION);
                    }
                }
                Meaning::Cookie if at >= cookie_done => {
                    let mut found = |start, end| hit(start, end, COOKIE);
                    cookie_done = commands::cookies(text, at + len, &mut found);
                }
                Meaning::Command(number) if at >= command_done[number] => {
                    let command = &commands::COMMANDS[number];
                    command_done[number] = command
                        .passwords(text, at + len, &mut |start, end| hit(start, end, COMMAND));
                }
                Meaning::Sql => {
                    if let Some((start, end)) = commands::sql_password(text, at + len) {
                        hit(start, end, PASSWORD);
                    }
                }
                Meaning::Kind if at >= kind_done && kube::is_secret(text, at + len) => {
                    kind_done =
                        kube::data(text, at + len, &mut |start, end| hit(start, end, SECRET));
                }
                Meaning::PgPass => {
                    if let Some((start, end)) = commands::pgpass(text, at + len) {
                        hit(start, end, PASSWORD);
                    }
                }
                _ => {}
            }
            true
        });
        for (number, Denied { pattern, .. }) in self.extras.denied.iter().enumerate() {
            let rule = RULES.len() + GENERAL.len() + number;
            for found in pattern.find_iter(text).filter(|found| !found.is_empty()) {
                if !text[found.range()].starts_with(b"[REDACTED:") {
                    hits.push(Hit { start: found.start(), end: found.end(), rule });
                }
            }
        }
        merge(hits, from);
        let mut kept = from;
        for i in from..hits.len() {
            let hit = hits[i];
            if hit.rule == OWN || !self.extras.allows(&text[hit.start..hit.end]) {
                hits[kept] = hit;
                kept += 1;
            }
        }
        hits.truncate(kept);
        text.len().min(met.saturating_mul(DENSE))
    }

    /// Whether a person said that this is no secret.
    pub(super) fn allows(&self, secret: &[u8]) -> bool {
        self.extras.allows(secret)
    }

    /// The vendor's token that a keyword announces, and whether it is only an example.
    fn vendor(
        &self,
        text: &[u8],
        joins: &dyn Fn(usize) -> bool,
        at: usize,
        len: usize,
        number: usize,
        header: &mut Header,
    ) -> Option<(usize, usize, bool)> {
        let rule = &RULES[number];
        // A keyword that begins with no part of a word is within none.
        let begins = |start: usize| {
            begins(text, start) || (rule.back == 0 && !is_word(text[start])) || joins(start)
        };
        if rule.back == 0 && !(begins(at) && has_run(text, at + len, rule.run)) {
            return None;
        }
        let regex = self.patterns[number].get_or_init(|| compile(rule.pattern).ok()).as_ref()?;
        let limit = match rule.id == "jwt" && text[at] == b'e' {
            true => header.limit(text, at)?,
            false => text.len().min(at + WINDOW),
        };
        // Where it may begin: at its keyword, or at a boundary before it.
        let lead = text[at.saturating_sub(rule.back)..at].iter().rev();
        let lead = lead.take_while(|b| (rule.lead)(**b)).count();
        let from = at - lead;
        let find = |start: usize| {
            let here = Input::new(text).range(start..limit).anchored(Anchored::Yes);
            regex.find(here).map(|found| found.end()).filter(|end| *end > at)
        };
        let (start, mut end) = if rule.least > 0 {
            let whole = lead >= rule.least && begins(from);
            (from, whole.then(|| find(at)).flatten()?)
        } else {
            let mut starts = (from..=at).filter(|start| begins(*start));
            starts.find_map(|start| Some((start, find(start)?)))?
        };
        if number + 1 == RULES.len() {
            // The body of a private key goes on over lines.
            return Some((start, pem::continues(text, end), false));
        }
        // A tail that the pattern does not know of belongs to it all the same.
        end += text[end..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
            .count();
        while end > start && text[end - 1] == b'\\' {
            end -= 1;
        }
        end += text[end..].iter().take(3).take_while(|b| **b == b'=').count();
        Some((start, end, value::is_example(&text[start..end])))
    }
}

/// The run of characters in which a JWT's header may begin. Where one attempt failed every later one in
/// the same run fails, too: what decides is behind the run. So a long run costs no more than its length.
#[derive(Default)]
struct Header {
    end: usize,
    failed: bool,
}

impl Header {
    /// How far to look from `at`, or nothing if that would be in vain.
    fn limit(&mut self, text: &[u8], at: usize) -> Option<usize> {
        const LONGEST: usize = 2048;
        if at >= self.end {
            let in_run = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            let end = at + text[at..].iter().take_while(in_run).count();
            *self = Self { end, failed: false };
        }
        if self.failed || self.end - at > LONGEST {
            return None;
        }
        // Until it turns out to have matched.
        self.failed = true;
        Some(text.len().min(self.end + WINDOW))
    }
}

/// `#` stands for any hexadecimal digit, `<64>` for three digits in base64, `<d>` for a digit, `<w>` for
/// what a word is made of.
fn expand(keyword: &str, add: &mut dyn FnMut(&[u8])) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if keyword == "<64>" {
        for number in 0..1000usize {
            let digits = [
                b'0' + (number / 100) as u8,
                b'0' + (number / 10 % 10) as u8,
                b'0' + (number % 10) as u8,
            ];
            let bits = digits.iter().fold(0usize, |bits, digit| bits << 8 | usize::from(*digit));
            let code = |shift: usize| ALPHABET[(bits >> shift) & 63];
            add(&[code(18), code(12), code(6), code(0)]);
        }
    } else if let Some(stem) = keyword.strip_prefix("<d>") {
        for digit in 0..10 {
            expand(&format!("{digit}{stem}"), add);
        }
    } else if let Some((stem, rest)) = keyword.split_once("<w>") {
        for next in "abcdefghijklmnopqrstuvwxyz0123456789_-".chars() {
            expand(&format!("{stem}{next}{rest}"), add);
        }
    } else if let Some(stem) = keyword.strip_suffix("##") {
        for number in 0..256 {
            add(format!("{stem}{number:02x}").as_bytes());
        }
    } else {
        add(keyword.as_bytes());
    }
}

/// Compiles a pattern over bytes, in which no character is more than ASCII.
pub(super) fn compile(pattern: &str) -> Result<Regex, Box<regex_automata::meta::BuildError>> {
    Regex::builder()
        .configure(
            Regex::config()
                .utf8_empty(false)
                .nfa_size_limit(Some(4 << 20))
                .hybrid_cache_capacity(1 << 20),
        )
        .syntax(regex_automata::util::syntax::Config::new().unicode(false).utf8(false))
        .build(pattern)
        .map_err(Box::new)
}

/// Sorts hits from `from` on and joins those that overlap; the more telling rule names them.
pub(super) fn merge(hits: &mut Vec<Hit>, from: usize) {
    hits[from..].sort_unstable_by_key(|hit| (hit.start, hit.rule));
    let mut kept = from;
    for i in from..hits.len() {
        let hit = hits[i];
        if kept > from && hit.start < hits[kept - 1].end {
            let last = &mut hits[kept - 1];
            last.end = last.end.max(hit.end);
            last.rule = last.rule.min(hit.rule);
        } else {
            hits[kept] = hit;
            kept += 1;
        }
    }
    hits.truncate(kept);
}

/// Whether a token may begin here: not within a longer word.
fn begins(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|i| text[i]) else { return true };
    let percent = || {
        at >= 3
            && text[at - 3] == b'%'
            && text[at - 2].is_ascii_hexdigit()
            && before.is_ascii_hexdigit()
    };
    !is_word(before) || percent()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The same before escapes are undone: the letter before may be an escape's.
fn begins_raw(line: &[u8], at: usize) -> bool {
    begins(line, at) || line[at] == b'.' || at >= 2 && line[at.saturating_sub(8)..at].contains(&b'\\') || line[at.saturating_sub(16)..at].iter().any(|b| matches!(b, 0x1b | b'%'))
        // `\u001b[31m`
        || memchr::memmem::find(&line[at.saturating_sub(24)..at], b"\\u001b").is_some()
}

fn has_run(text: &[u8], at: usize, run: usize) -> bool {
    run == 0 || text.get(at..at + run).is_some_and(|run| run.iter().all(|b| is_run(*b)))
}

fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Whether a value could follow the name that holds the word at `start..end`, in raw JSON.
fn may_be_assigned(line: &[u8], start: usize, end: usize) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let limit = line.len().min(end + 160);
    let mut at = end;
    while at < limit.min(end + 64) && is_name(line[at]) {
        at += 1;
    }
    // What closes the name, escapes and colours among it.
    let mut blank = false;
    while at < limit {
        match line[at] {
            b'"' | b'\'' | b'`' | b'\\' | b']' | b')' | b'*' | b'}' | b'?' | b'!' | 0x1b | b'[' => {
            }
            b' ' | b'\t' => blank = true,
            b'u' if line[at..limit].starts_with(b"u001b[") => {
                at += 6;
                while at < limit && (line[at].is_ascii_digit() || line[at] == b';') {
                    at += 1;
                }
            }
            b'0'..=b'9' | b';' | b'm' if line[at.saturating_sub(6)..at].contains(&0x1b) => {}
            b'x' | b'0' | b'3' | b'1' | b'b' | b'e' | b'm'
                if line[at.saturating_sub(8)..at].contains(&b'\\') => {}
            b'n' | b't' | b'r' if line[at - 1] == b'\\' => {}
            _ => break,
        }
        at += 1;
    }
    let Some(next) = line.get(at) else { return at == line.len() };
    match next {
        b':' => {
            // A number, a bool: nothing to replace.
            let rest = &line[at + 1..line.len().min(at + 12)];
            let value = rest.trim_ascii_start();
            let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
            !(digits > 0 && digits < 9 && matches!(value.get(digits), Some(b',' | b'}' | b']')))
        }
        b'=' | b',' | b'|' | b'>' | b'(' | b'&' | b'-' | b'%' | b'<' | b'+' | b'.' => true,
        _ if blank => {
            let before = &line[start.saturating_sub(48)..start];
            line[at..].starts_with(b"is ")
                || line[at..].starts_with(b"was ")
                || line[at..].starts_with(b"value")
                || line[at..].starts_with(b"content")
                || line[at..].starts_with(b"default")
                || before.iter().rev().take_while(|b| is_name(**b)).any(|b| *b == b'-')
                || matches!(line[at - 1], b'"' | b'\'')
                || line[at..limit].iter().take(20).any(u8::is_ascii_digit)
                || memchr::memmem::find(before, b"login ").is_some()
        }
        // The end of a line, of a JSON string, of an object.
        _ => at > end && matches!(line[at - 1], b'"' | b'n' | b'}' | b']'),
    }
}

/// Three bytes, in lower case.
fn three(first: u8, second: u8, third: u8) -> u32 {
    u32::from_be_bytes([0, first, second, third].map(|b| b.to_ascii_lowercase()))
}

/// Whether the word is in a key that says nothing of its value, as `"sessionId":`, which nearly every record
/// has. Without escapes, so it is the whole key, and the same in every view.
fn is_in_plain_key(line: &[u8], start: usize, end: usize) -> bool {
    const MOST: usize = 32;
    let is_name = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let from = start - line[..start].iter().rev().take(MOST).take_while(is_name).count();
    let to = end + line[end..].iter().take(MOST).take_while(is_name).count();
    line[to..].starts_with(b"\":")
        && line[..from].ends_with(b"\"")
        && !line[..from].ends_with(b"\\\"")
        && names::classify(&line[from..to]) == names::Class::None
}

/// Whether an `@` follows before the address must have ended.
fn may_have_userinfo(line: &[u8], at: usize) -> bool {
    let ahead = &line[at..line.len().min(at + 512)];
    let end =
        ahead.iter().position(|b| matches!(b, b'@' | b'"' | b'\'' | b' ' | b'<' | b'>' | b'\n'));
    end.is_some_and(|end| ahead[end] == b'@')
}

/// Whether `\u00` goes on to something that needs no escape and may be part of a keyword.
fn hides(line: &[u8], at: usize) -> bool {
    let digits = line.get(at..at + 2).and_then(|d| std::str::from_utf8(d).ok());
    let code = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
    code.is_some_and(|c| {
        c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b':' | b'/' | b'.' | b'@')
    })
}
