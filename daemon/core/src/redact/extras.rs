//! What a person adds: texts that are always replaced, and texts that never are.
//!
//! Read from `redact.toml` by whoever reads files; here it is already structured. A rule that is no
//! regular expression, or that would take away ordinary text, is refused with the reason, and the others
//! still hold.
//!
//! ```toml
//! [[deny]]
//! id = "acme-ticket"
//! pattern = 'ACME-[0-9]{6}'
//!
//! [allow]
//! patterns = ['^sk-test-']
//! literals = ["not-really-a-secret-1"]
//! ```

use regex_automata::meta::Regex;
use serde::Deserialize;

use super::{
    rules::RULES,
    text::{GENERAL, compile},
};

/// `redact.toml`, as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What is replaced beside what rrd knows by itself.
    pub deny: Vec<Deny>,
    /// What is left though a rule matches it.
    pub allow: Allow,
}

/// One pattern to be replaced.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// What stands in `[REDACTED:id]`: lower-case letters, digits and dashes.
    pub id: String,
    /// A regular expression over one decoded string.
    pub pattern: String,
}

/// What is left.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Regular expressions; one that matches within a secret allows it.
    pub patterns: Vec<String>,
    /// Whole secrets.
    pub literals: Vec<String>,
}

/// A rule of a person's that does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its id, or the pattern of one to be allowed.
    pub rule: String,
    /// The reason, as the end of a sentence.
    pub reason: String,
}

#[derive(Debug)]
pub(super) struct Denied {
    pub(super) id: String,
    pub(super) pattern: Regex,
}

/// The rules of a person that hold.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) denied: Vec<Denied>,
    allowed: Vec<Regex>,
    literals: Vec<Vec<u8>>,
}

/// Texts that no rule of secrets may match: one that does would take away everything.
const ORDINARY: [&str; 8] = [
    "",
    "The quick brown fox jumps over the lazy dog.",
    "fn main() { println!(\"hello\"); }",
    "cargo test --workspace",
    "[REDACTED:password]",
    "/home/user/project/src/lib.rs",
    "a",
    "0",
];

impl Extras {
    pub(super) fn new(settings: &Settings) -> (Self, Vec<Refused>) {
        let mut extras = Self::default();
        let mut refused = Vec::new();
        for deny in &settings.deny {
            match denied(deny, &extras.denied) {
                Ok(denied) => extras.denied.push(denied),
                Err(reason) => refused.push(Refused { rule: deny.id.clone(), reason }),
            }
        }
        for pattern in &settings.allow.patterns {
            match checked(pattern) {
                Ok(regex) => extras.allowed.push(regex),
                Err(reason) => refused.push(Refused { rule: format!("allow {pattern}"), reason }),
            }
        }
        extras.literals = settings.allow.literals.iter().map(|l| l.as_bytes().to_vec()).collect();
        (extras, refused)
    }

    /// Whether a person said that this secret is none.
    pub(super) fn allows(&self, secret: &[u8]) -> bool {
        self.literals.iter().any(|literal| literal == secret)
            || self.allowed.iter().any(|regex| regex.is_match(secret))
    }
}

fn denied(deny: &Deny, before: &[Denied]) -> Result<Denied, String> {
    let id = &deny.id;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if id.is_empty() || id.len() > 40 || !id.bytes().all(plain) {
        return Err("its id must be 1 to 40 lower-case letters, digits and dashes".to_owned());
    }
    let taken = RULES.iter().any(|rule| rule.id == id)
        || GENERAL.contains(&id.as_str())
        || before.iter().any(|d| d.id == *id);
    if taken {
        return Err("another rule has this id".to_owned());
    }
    Ok(Denied { id: id.clone(), pattern: checked(&deny.pattern)? })
}

fn checked(pattern: &str) -> Result<Regex, String> {
    let regex = compile(pattern).map_err(|error| {
        let mut reason = format!("it is not a regular expression: {error}");
        if let Some(syntax) = error.syntax_error() {
            reason = format!(
                "it is not a regular expression: {}",
                syntax.to_string().replace('\n', " ")
            );
        }
        reason
    })?;
    match ORDINARY.iter().find(|text| regex.is_match(text.as_bytes())) {
        None => Ok(regex),
        Some(&"") => Err("it matches the empty string, and so everywhere".to_owned()),
        Some(text) => Err(format!("it matches ordinary text (`{text}`)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(deny: &[(&str, &str)]) -> (usize, Vec<Refused>) {
        let deny =
            deny.iter().map(|(id, p)| Deny { id: (*id).to_owned(), pattern: (*p).to_owned() });
        let (extras, refused) =
            Extras::new(&Settings { deny: deny.collect(), allow: Allow::default() });
        (extras.denied.len(), refused)
    }

    #[test]
    fn rules_that_take_everything_or_are_none_are_refused_by_name() {
        let (held, refused) = refusals(&[
            ("good", "ACME-[0-9]{6}"),
            ("all", ".*"),
            ("broken", "("),
            ("word", r"\w+"),
            ("Bad id", "x{9}"),
            ("good", "other-[0-9]+"),
            ("own-secret", "abc-[0-9]{3}"),
            ("fine", "B-[0-9]{4}"),
        ]);
        assert_eq!(held, 2);
        let named: Vec<&str> = refused.iter().map(|r| r.rule.as_str()).collect();
        assert_eq!(named, ["all", "broken", "word", "Bad id", "good", "own-secret"]);
        assert!(refused[0].reason.contains("empty string"));
        assert!(refused[1].reason.contains("not a regular expression"), "{}", refused[1].reason);
        assert!(refused[2].reason.contains("ordinary text"));
    }
}
