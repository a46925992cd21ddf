//! Takes secrets out of records before they leave the host.
//!
//! One record (a line of JSONL) at a time: strings are read beneath their escapes, keys too, and JSON within a string
//! a few levels further; a line that is no JSON is read as text, never skipped. Only what is
//! secret is replaced, by `[REDACTED:rule]`; every other byte stays, so numbers, duplicate keys and blanks
//! survive. The same bytes always give the same bytes, and what has been redacted stays as it is. Ids,
//! signatures, encrypted content and images of a harness's own record are never touched.
//!
//! What has passed carries the type [`Redacted`], which nothing else makes: a way out of the host takes
//! that type and so cannot be given anything raw.
//!
//! ```
//! use rrd_core::redact::{Redacted, Redactor, Report};
//! fn send(_: &Redacted<String>) {}
//! let redactor = Redactor::new();
//! send(&redactor.text("export DB_PASSWORD=pU9PZlgjv18l", &mut Report::default()));
//! ```
//!
//! ```compile_fail
//! use rrd_core::redact::Redacted;
//! fn send(_: &Redacted<String>) {}
//! send(&"export DB_PASSWORD=pU9PZlgjv18l".to_owned());
//! ```
//!
//! Not here: reading files and settings, and what to do with what was found.

mod assign;
mod commands;
mod extent;
mod extras;
mod json;
mod keywords;
mod kube;
mod names;
mod parts;
mod pem;
mod rows;
mod rules;
mod steers;
mod stream;
mod text;
mod unseen;
mod value;
mod view;

use std::{borrow::Cow, cell::LazyCell};

use json::{Level, Role, Text};
use names::{Class, classify};
use text::{Hit, Matcher, PASSWORD, SECRET, Suspects, merge};
use view::View;

pub use extras::{Allow, Deny, Refused, Settings};
pub use rules::{RULES, Rule};
pub(crate) use steers::sequence;
pub use stream::{Emit, Stream};

/// How many levels of JSON within JSON, or escapes within escapes, are read.
const LEVELS: usize = 4;
/// How often a record is looked at again after something was replaced in it.
const ROUNDS: usize = 8;
/// After so many bytes full of keywords no further text of one record is looked at: any record is read
/// once, one of 9 MiB twice, and so on. Ordinary text is far from it. Without a limit every level of
/// escapes is looked at in every round, with colours and without: 16 MiB of names took ten seconds.
const MOST: usize = crate::frame::MAX_LINE / 4 * 3;
/// More than that would have been needed.
const TOO_MUCH: usize = usize::MAX;
/// A name that is written with more bytes is none.
const LONGEST_NAME: usize = 1024;
/// An own secret shorter than this would be found everywhere.
const SHORTEST_OWN: usize = 8;

/// Something that has passed the redactor, and may leave the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// What is within, made of nothing else: a part of it, or the same in another shape.
    #[must_use]
    pub fn map<U>(self, part: fn(T) -> U) -> Redacted<U> {
        Redacted(part(self.0))
    }

    /// What is within.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> AsRef<T> for Redacted<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

/// One secret that was found: enough to find the place again, and nothing of the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: String,
    /// Where in the record: `.message.content[0].text`, `→` where JSON within a string begins.
    pub path: String,
    /// How many bytes were replaced.
    pub len: usize,
}

/// What was found, over any number of records.
#[derive(Debug, Clone, Default)]
pub struct Report {
    counts: Vec<u64>,
    /// Each secret, if they were asked for.
    findings: Option<Vec<Finding>>,
}

impl Report {
    /// A report that keeps where each secret was.
    #[must_use]
    pub fn explaining() -> Self {
        Self { counts: Vec::new(), findings: Some(Vec::new()) }
    }

    /// How many secrets were replaced.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What was found since the last call; empty if that was not asked for.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        self.findings.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Adds the counts of another one.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(all, more)| *all += more);
    }

    fn count(&mut self, rule: usize) {
        if self.counts.len() <= rule {
            self.counts.resize(rule + 1, 0);
        }
        self.counts[rule] += 1;
    }
}

/// Knows what is secret.
#[derive(Debug)]
pub struct Redactor {
    matcher: Matcher,
    /// Exact texts that are always replaced, for where only their beginning is left.
    own: Vec<Vec<u8>>,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl Redactor {
    /// With the rules that rrd has by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::with(&Settings::default(), &[]).0
    }

    /// With a person's rules, and with exact texts that are always replaced (rrd's own keys; with their
    /// hexadecimal and base64 forms). Says which rules do not hold.
    #[must_use]
    pub fn with(settings: &Settings, own: &[&[u8]]) -> (Self, Vec<Refused>) {
        let (extras, refused) = extras::Extras::new(settings);
        let mut forms: Vec<Vec<u8>> = Vec::new();
        for secret in own.iter().filter(|secret| secret.len() >= SHORTEST_OWN) {
            forms.push(secret.to_vec());
            forms.push(secret.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes());
            forms.push(secret.iter().map(|b| format!("{b:02X}")).collect::<String>().into_bytes());
            for whole in [true, false] {
                forms.push(base64(secret, b"+/", whole));
                forms.push(base64(secret, b"-_", whole));
            }
        }
        forms.sort_unstable();
        forms.dedup();
        (Self { matcher: Matcher::new(extras, &forms), own: forms }, refused)
    }

    /// The counts of a report by the rules' ids; rules that found nothing are left out.
    #[must_use]
    pub fn counts<'a>(&'a self, report: &'a Report) -> Vec<(&'a str, u64)> {
        let ids = self.matcher.ids.iter().map(String::as_str);
        ids.zip(report.counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
    }

    /// Redacts one record, without its newline.
    #[must_use]
    pub fn line<'a>(&self, line: &'a [u8], report: &mut Report) -> Redacted<Cow<'a, [u8]>> {
        let mut line = Cow::Borrowed(line);
        let mut suspects = Suspects::default();
        let (whole, mut spent, mut is_json) = (line.len(), 0, true);
        // What was replaced may leave behind what now looks different: look until nothing is found, so
        // that a second run finds nothing either.
        for _ in 0..ROUNDS {
            spent += self.matcher.suspects(&line, &mut suspects);
            if !suspects.any() {
                return Redacted(line);
            }
            let explain = report.findings.is_some();
            let hits = self.hits(&line, &suspects, explain, &mut spent, &mut is_json);
            if spent == TOO_MUCH {
                // What was not looked at must not pass.
                let stand_in = self.oversized(whole as u64, report).into_inner();
                return Redacted(Cow::Owned(stand_in));
            }
            if hits.is_empty() {
                return Redacted(line);
            }
            line = Cow::Owned(self.replaced(&line, &hits, report));
        }
        Redacted(line)
    }

    /// Redacts a text that is no record: a title, a command, a message of a log.
    #[must_use]
    pub fn text(&self, text: &str, report: &mut Report) -> Redacted<String> {
        let mut text = text.to_owned();
        let mut spent = 0;
        for _ in 0..ROUNDS {
            let mut found = Found::new(false, spent);
            self.deep(text.as_bytes(), 0, &mut String::new(), &mut found);
            spent = found.spent;
            if spent == TOO_MUCH {
                let stand_in = self.oversized(text.len() as u64, report).into_inner();
                return Redacted(String::from_utf8_lossy(&stand_in).into_owned());
            }
            merge(&mut found.hits, 0);
            if found.hits.is_empty() {
                break;
            }
            let hits: Vec<Place> =
                found.hits.iter().map(|hit| Place { hit: *hit, path: String::new() }).collect();
            let replaced = self.replaced(text.as_bytes(), &hits, report);
            text = String::from_utf8_lossy(&replaced).into_owned();
        }
        Redacted(text)
    }

    /// What stands in for a record that is too long, or takes too long, to be read: a record of its own.
    #[must_use]
    pub fn oversized(&self, len: u64, report: &mut Report) -> Redacted<Vec<u8>> {
        let rule = RULES.len() + text::GENERAL.len() - 1;
        report.count(rule);
        if let Some(findings) = &mut report.findings {
            findings.push(Finding {
                rule: self.matcher.ids[rule].clone(),
                path: String::new(),
                len: usize::try_from(len).unwrap_or(usize::MAX),
            });
        }
        Redacted(format!("{{\"redacted\":\"oversized line\",\"bytes\":{len}}}").into_bytes())
    }

    /// Everything to be replaced in a raw line, in order, without overlaps. `is_json`: no round before took
    /// the line for something else.
    fn hits(
        &self,
        line: &[u8],
        suspects: &Suspects,
        explain: bool,
        spent: &mut usize,
        is_json: &mut bool,
    ) -> Vec<Place> {
        let mut found = Found::new(explain, *spent);
        let chosen = if suspects.everywhere { None } else { Some(suspects.at.as_slice()) };
        // Nearly every record is JSON, so it is walked without being asked; what a walk finds before it fails
        // is looked at twice, and that happens to a record once at most.
        if (*is_json || json::is_valid(line))
            && self.walk(line, chosen, 0, &mut String::new(), &mut found).is_ok()
        {
            self.beside_kind(line, suspects.is_split, "", &mut found);
        } else {
            *is_json = false;
            found = Found::new(explain, *spent);
            self.flat(line, 0, "", &mut found);
        }
        *spent = found.spent;
        // Whole characters, whatever a rule matched.
        let middle = |at: usize| line.get(at).is_some_and(|b| b & 0xc0 == 0x80);
        for hit in &mut found.hits {
            while hit.start > 0 && middle(hit.start) {
                hit.start -= 1;
            }
            while middle(hit.end) {
                hit.end += 1;
            }
        }
        found.tidy(0);
        found.paths.resize_with(found.hits.len(), String::new);
        found.hits.iter().zip(found.paths).map(|(hit, path)| Place { hit: *hit, path }).collect()
    }

    fn replaced(&self, line: &[u8], hits: &[Place], report: &mut Report) -> Vec<u8> {
        let mut out = Vec::with_capacity(line.len() + hits.len() * 8);
        let mut from = 0;
        for Place { hit, path } in hits {
            let id = &self.matcher.ids[hit.rule];
            out.extend_from_slice(&line[from..hit.start]);
            out.extend_from_slice(b"[REDACTED:");
            out.extend_from_slice(id.as_bytes());
            out.push(b']');
            from = hit.end;
            report.count(hit.rule);
            if let Some(findings) = &mut report.findings {
                findings.push(Finding {
                    rule: id.clone(),
                    path: path.clone(),
                    len: hit.end - hit.start,
                });
            }
        }
        out.extend_from_slice(&line[from..]);
        out
    }

    /// Looks at the strings of a JSON text; `chosen` are the places worth it, or all.
    fn walk(
        &self,
        json: &[u8],
        chosen: Option<&[usize]>,
        depth: usize,
        path: &mut String,
        found: &mut Found,
    ) -> Result<(), json::Invalid> {
        let mut next = 0;
        json::walk(json, &mut |string, levels, known| {
            let mut worth = chosen.is_none();
            if let Some(chosen) = chosen {
                while next < chosen.len() && chosen[next] < string.start {
                    next += 1;
                }
                worth = next < chosen.len() && chosen[next] < string.end;
            }
            self.string(json, string, levels, known, worth, depth, path, found);
        })
    }

    /// One string, with the keys above it.
    #[expect(clippy::too_many_arguments, reason = "the state of one walk, spread out once")]
    fn string(
        &self,
        json: &[u8],
        string: Text,
        levels: &mut [Level],
        known: bool,
        worth: bool,
        depth: usize,
        path: &mut String,
        found: &mut Found,
    ) {
        let raw = &json[string.start..string.end];
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (above, level) = match (known, levels.split_last_mut()) {
            (true, Some((level, above))) => (above.last(), Some(level)),
            _ => (None, None),
        };
        let mut says = Class::None;
        let mut pair = None;
        if let Some(level) = level {
            let key = &json[level.key.0 as usize..level.key.1 as usize];
            let name = || name_of(&raw[..raw.len().min(LONGEST_NAME)]);
            if string.is_key {
                let name = if worth || raw.contains(&b'\\') { name() } else { Cow::Borrowed(raw) };
                level.role = Role::of(&name);
                level.says = match level.role {
                    _ if !worth => Class::None,
                    Role::Auth => Class::Weak,
                    _ => classify(&name),
                };
            } else if level.object {
                let over = above
                    .filter(|over| over.object)
                    .map(|over| &json[over.key.0 as usize..over.key.1 as usize]);
                if !level.foreign && depth == 0 && json::is_protected(key, over, raw) {
                    return;
                }
                says = level.says;
                if worth && level.role == Role::Name {
                    level.named = classify(&name());
                    if level.named >= Class::Secret && level.value.1 > 0 {
                        pair = Some((level.value.0 as usize, level.value.1 as usize, level.named));
                    }
                } else if level.role == Role::Value {
                    level.value = (place(string.start), place(string.end));
                    if level.named >= Class::Secret {
                        says = level.named;
                    }
                }
            } else {
                says = std::mem::take(&mut level.says);
                if worth {
                    let name = name();
                    if name.starts_with(b"-") && name.len() <= 64 && !name.contains(&b'=') {
                        level.says = classify(&name);
                    }
                }
            }
        }
        if says == Class::None && !worth && pair.is_none() {
            return;
        }
        if found.explain {
            *path = path_of(path, json, levels, string.is_key);
        }
        if let Some((start, end, named)) = pair {
            let shown = View::Escapes.show(&json[start..end]);
            if value::is_secret(named, &View::Unseen.show(&shown), value::Place::Quoted) {
                found.add(
                    Hit {
                        start,
                        end,
                        rule: if named == Class::Password { PASSWORD } else { SECRET },
                    },
                    path,
                );
            }
        }
        let inner = found.hits.len();
        let role = levels.last().map_or(Role::None, |level| level.role);
        let shown = View::Escapes.show(raw);
        if worth {
            self.deep(&shown, depth, path, found);
        }
        if says != Class::None
            && let Some((skip, end)) = named_value(says, &shown, role)
            && !self.matcher.allows(&shown[skip..end])
        {
            let rule = if says == Class::Password { PASSWORD } else { SECRET };
            found.add(Hit { start: skip, end, rule }, path);
            // One value, one finding; the vendor's rule knows better what it is.
        }
        found.tidy(inner);
        let mut ranges: Vec<(usize, usize)> =
            found.hits[inner..].iter().map(|hit| (hit.start, hit.end)).collect();
        View::Escapes.locate(raw, &mut ranges.iter_mut());
        for (hit, (start, end)) in found.hits[inner..].iter_mut().zip(ranges) {
            (hit.start, hit.end) = (string.start + start, string.start + end);
        }
        debug_assert!(
            found.hits[inner..].iter().all(|hit| hit.end <= string.end),
            "within its string"
        );
        if found.explain {
            if let Some(cut) = path.rfind('\0') {
                path.truncate(cut);
            } else {
                path.clear();
            }
        }
    }

    /// A decoded text, which may be JSON itself.
    fn deep(&self, text: &[u8], depth: usize, path: &mut String, found: &mut Found) {
        let json = matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
            && depth < LEVELS
            && json::is_valid(text);
        if !json {
            return self.flat(text, depth, path, found);
        }
        let from = found.hits.len();
        let base = path.len();
        if found.explain {
            path.push('\u{2192}');
        }
        let mut inner = std::mem::take(path);
        if self.walk(text, None, depth + 1, &mut inner, found).is_err() {
            found.truncate(from);
        }
        inner.truncate(base);
        *path = inner;
        self.beside_kind(text, unseen::is_in_raw(text), path, found);
        found.tidy(from);
    }

    /// What only its neighbours in a JSON text give away, also where something that is not seen splits what tells.
    fn beside_kind(&self, json: &[u8], is_split: bool, path: &str, found: &mut Found) {
        self.of_kind(json, path, found);
        if is_split {
            self.through(View::Strings, json, path, found, &mut |shown, found| {
                self.of_kind(shown, path, found);
            });
        }
    }

    fn of_kind(&self, json: &[u8], path: &str, found: &mut Found) {
        let mut done = 0;
        for at in memchr::memmem::find_iter(json, "kind\"").map(|at| at + 4) {
            if at >= done && kube::is_secret(json, at) {
                done = kube::data(json, at, &mut |start, end| {
                    if !self.matcher.allows(&json[start..end]) {
                        found.add(Hit { start, end, rule: SECRET }, path);
                    }
                });
            }
        }
    }

    /// A text that is no JSON, as it stands, without colours, as its readers will see it, and beneath its escapes.
    fn flat(&self, text: &[u8], depth: usize, path: &str, found: &mut Found) {
        let from = found.hits.len();
        self.scan(text, &|_| false, path, found);
        let kinds = unseen::kinds(text);
        if kinds.steers || memchr::memchr(0x1b, text).is_some() {
            self.without(View::Colours, text, path, found);
        }
        // Each of these only where it shows something else than those before.
        if kinds.any {
            self.without(View::Lines, text, path, found);
            if kinds.returns {
                self.without(View::Unseen, text, path, found);
            }
            if kinds.blank {
                self.without(View::Blanks, text, path, found);
            }
        }
        if kinds.steers {
            // What else is not seen may stand beside it.
            self.through(View::Colours, text, path, found, &mut |shown, found| {
                self.without(View::Lines, shown, path, found);
            });
        }
        if depth < LEVELS && memchr::memchr(b'\\', text).is_some() {
            self.through(View::Escapes, text, path, found, &mut |shown, found| {
                self.flat(shown, depth + 1, path, found);
            });
        }
        found.tidy(from);
    }

    /// A look at what a view leaves of a text.
    fn without(&self, view: View, text: &[u8], path: &str, found: &mut Found) {
        let joints = LazyCell::new(|| view.joints(text));
        self.through(view, text, path, found, &mut |shown, found| {
            self.scan(shown, &|at| joints.binary_search(&at).is_ok(), path, found);
        });
    }

    /// One look at one text, unless too much was looked at already: then the record will not pass.
    fn scan(&self, text: &[u8], joins: &dyn Fn(usize) -> bool, path: &str, found: &mut Found) {
        if found.spent >= MOST {
            found.spent = TOO_MUCH;
            return;
        }
        found.spent += self.matcher.scan(text, joins, &mut found.hits);
        found.fill(path);
    }

    /// Looks at what a view shows, and brings back what is found there.
    fn through(
        &self,
        view: View,
        text: &[u8],
        _path: &str,
        found: &mut Found,
        look: &mut dyn FnMut(&[u8], &mut Found),
    ) {
        let Cow::Owned(shown) = view.show(text) else { return };
        if shown == text {
            return;
        }
        let from = found.hits.len();
        look(&shown, found);
        found.tidy(from);
        let mut ranges: Vec<(usize, usize)> =
            found.hits[from..].iter().map(|hit| (hit.start, hit.end)).collect();
        view.locate(text, &mut ranges.iter_mut());
        for (hit, (start, end)) in found.hits[from..].iter_mut().zip(ranges) {
            (hit.start, hit.end) = (start, end);
        }
    }
}

/// What a walk has found so far.
struct Found {
    hits: Vec<Hit>,
    /// The path of each hit, if they are to be explained.
    paths: Vec<String>,
    explain: bool,
    /// Bytes full of keywords that were looked at so far, in all rounds; or [`TOO_MUCH`].
    spent: usize,
}

impl Found {
    fn new(explain: bool, spent: usize) -> Self {
        Self { hits: Vec::new(), paths: Vec::new(), explain, spent }
    }

    fn add(&mut self, hit: Hit, path: &str) {
        self.hits.push(hit);
        self.fill(path);
    }

    /// Gives the newest hits their path.
    fn fill(&mut self, path: &str) {
        if self.explain {
            self.paths.resize_with(self.hits.len(), || path.replace('\0', ""));
        }
    }

    fn truncate(&mut self, len: usize) {
        self.hits.truncate(len);
        self.paths.truncate(len);
    }

    /// Brings the hits from `from` on in order, without overlaps; they share one path unless they came from JSON.
    fn tidy(&mut self, from: usize) {
        if self.hits.len() < from + 2 {
            return;
        }
        if !self.explain {
            return merge(&mut self.hits, from);
        }
        // Of those that are joined the first one's path is kept.
        let mut paths: Vec<(usize, String)> =
            self.hits[from..].iter().map(|hit| hit.start).zip(self.paths.drain(from..)).collect();
        paths.sort_by_key(|(start, _)| *start);
        merge(&mut self.hits, from);
        let mut paths = paths.into_iter().peekable();
        for hit in &self.hits[from..] {
            while paths.next_if(|(start, _)| *start < hit.start).is_some() {}
            self.paths.push(paths.next().map(|(_, path)| path).unwrap_or_default());
        }
    }
}

/// A hit in the line, and its path.
struct Place {
    hit: Hit,
    path: String,
}

/// A text as a terminal shows it, without what steers that: colours, links, titles.
pub(crate) fn shown(text: &str) -> Cow<'_, [u8]> {
    View::Colours.show(text.as_bytes())
}

/// What a key or a name says, as its readers see it.
fn name_of(raw: &[u8]) -> Cow<'_, [u8]> {
    let name = View::Escapes.show(raw);
    match View::Unseen.show(&name) {
        Cow::Owned(seen) => Cow::Owned(seen),
        Cow::Borrowed(_) => name,
    }
}

/// Which part of a value under a telling key is secret.
fn named_value(says: Class, value: &[u8], role: Role) -> Option<(usize, usize)> {
    if let Cow::Owned(seen) = View::Unseen.show(value) {
        // Whether it is one is told by what is seen of it; then all goes that it is written with.
        return named_value(says, &seen, role).map(|_| (0, value.len()));
    }
    if role == Role::Auth && commands::is_user_and_password(value) {
        return Some((0, value.len()));
    }
    let trimmed = value.trim_ascii();
    let lead = value.len() - value.trim_ascii_start().len();
    let skip = extent::scheme(trimmed);
    value::is_secret(says, &trimmed[skip..], value::Place::Quoted)
        .then_some((lead + skip, lead + trimmed.len()))
}

/// `.message.content[0].text`; what is before a nested text's own path is kept before a NUL.
fn path_of(before: &str, json: &[u8], levels: &[Level], is_key: bool) -> String {
    const LONGEST: usize = 24;
    let mut path = String::from(before);
    if !before.is_empty() {
        path.push('\0');
    }
    let skipped = levels.len().saturating_sub(LONGEST);
    if skipped > 0 {
        path.push('…');
    }
    for (i, level) in levels.iter().enumerate().skip(skipped) {
        if level.object {
            path.push('.');
            if !(is_key && i + 1 == levels.len()) {
                let key = &json[level.key.0 as usize..level.key.1 as usize];
                path.extend(
                    String::from_utf8_lossy(&key[..key.len().min(64)])
                        .chars()
                        .filter(|c| !c.is_control()),
                );
            }
        } else {
            path.push_str(&format!("[{}]", level.index));
        }
    }
    path
}

/// Without padding; `whole` leaves out a last digit that depends on what would follow.
fn base64(bytes: &[u8], last: &[u8; 2], whole: bool) -> Vec<u8> {
    let digit = |six: u32| match six {
        0..=25 => b'A' + six as u8,
        26..=51 => b'a' + (six - 26) as u8,
        52..=61 => b'0' + (six - 52) as u8,
        62 => last[0],
        _ => last[1],
    };
    let mut out = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        let digits = if whole { chunk.len() * 8 / 6 } else { (chunk.len() * 8).div_ceil(6) };
        for i in 0..digits {
            out.push(digit((bits >> (18 - 6 * i)) & 63));
        }
    }
    out
}
