//! Signed thinking in a redacted copy.
//!
//! A model's thinking comes with a signature, and the model's maker refuses a conversation in which the two
//! do not belong together. So a block whose text was touched goes; with it its record, if that said nothing
//! else, and whoever came after it follows what was before it. All other records stay as they are. Not here:
//! redacting.

use std::{borrow::Cow, collections::HashMap};

use memchr::memmem;
use serde_json::value::RawValue;

use super::fork::{Members, members, value};

/// What every replacement begins with.
const MARK: &str = "[REDACTED:";

/// Links from one record to another.
const LINKS: [&str; 3] = ["parentUuid", "logicalParentUuid", "leafUuid"];

/// Reads a transcript of Claude Code line by line, and leaves out what is no longer signed.
#[derive(Debug, Default)]
pub struct Unsigned {
    /// Records that went, in quotes, and what each followed, as it was written.
    gone: HashMap<String, String>,
    /// Blocks that went.
    pub dropped: u64,
    /// Records that follow another one than they did.
    pub relinked: u64,
}

impl Unsigned {
    /// What stays of a redacted line (without its newline); `None` where all of it goes.
    pub fn line<'a>(&mut self, line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let may_be_touched = memmem::find(line, MARK.as_bytes()).is_some();
        if !may_be_touched && self.gone.is_empty() {
            return Some(Cow::Borrowed(line));
        }
        let Some(text) = std::str::from_utf8(line).ok() else { return Some(Cow::Borrowed(line)) };
        let Some(record) = members(text) else { return Some(Cow::Borrowed(line)) };
        let mut changes = Vec::new();
        if may_be_touched && let Some((content, kept)) = self.without_touched(&record) {
            if kept.is_empty() {
                if let Some(uuid) = value(&record, "uuid") {
                    let parent = value(&record, "parentUuid").unwrap_or("null");
                    let parent = self.gone.get(parent).map_or(parent, String::as_str).to_owned();
                    self.gone.insert(uuid.to_owned(), parent);
                }
                return None;
            }
            changes.push((content, format!("[{}]", kept.join(","))));
        }
        let touched = changes.len();
        for (key, link) in &record {
            if LINKS.contains(&&**key)
                && let Some(before) = self.gone.get(link.get())
            {
                changes.push((link.get(), before.clone()));
            }
        }
        self.relinked += u64::from(changes.len() > touched);
        if changes.is_empty() {
            return Some(Cow::Borrowed(line));
        }
        let at = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
        changes.sort_by_key(|(part, _)| at(part));
        let (mut changed, mut from) = (Vec::with_capacity(line.len()), 0);
        for (part, instead) in changes {
            changed.extend_from_slice(&line[from..at(part)]);
            changed.extend_from_slice(instead.as_bytes());
            from = at(part) + part.len();
        }
        changed.extend_from_slice(&line[from..]);
        Some(Cow::Owned(changed))
    }

    /// The blocks of an answer as they are written, and those that stay; `None` where all do.
    fn without_touched<'a>(&mut self, record: &Members<'a>) -> Option<(&'a str, Vec<&'a str>)> {
        if value(record, "type") != Some("\"assistant\"") {
            return None;
        }
        let content = value(&members(value(record, "message")?)?, "content")?;
        let blocks: Vec<&RawValue> = serde_json::from_str(content).ok()?;
        let kept: Vec<&str> =
            blocks.iter().map(|block| block.get()).filter(|block| !is_touched(block)).collect();
        let dropped = blocks.len() - kept.len();
        self.dropped += dropped as u64;
        (dropped > 0).then_some((content, kept))
    }
}

fn is_touched(block: &str) -> bool {
    let Some(block) = members(block) else { return false };
    let touched = |key| value(&block, key).is_some_and(|text| text.contains(MARK));
    match value(&block, "type") {
        Some("\"thinking\"") => value(&block, "signature").is_some() && touched("thinking"),
        // All of it is sealed.
        Some("\"redacted_thinking\"") => touched("data"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> (Vec<String>, u64) {
        let mut unsigned = Unsigned::default();
        let kept = lines.iter().filter_map(|line| {
            unsigned.line(line.as_bytes()).map(|line| String::from_utf8(line.into_owned()).unwrap())
        });
        (kept.collect(), unsigned.dropped)
    }

    fn answer(uuid: &str, parent: &str, blocks: &str) -> String {
        format!(
            r#"{{"parentUuid":{parent},"type":"assistant","uuid":"{uuid}","message":{{"id":"m","content":[{blocks}]}}}}"#
        )
    }

    const SIGNED: &str = r#"{"type":"thinking","thinking":"use it","signature":"s"}"#;
    const TOUCHED: &str =
        r#"{"type":"thinking","thinking":"use [REDACTED:github-token]","signature":"s"}"#;
    const TEXT: &str = r#"{"type":"text","text":"is [REDACTED:github-token]"}"#;

    #[test]
    fn what_was_touched_goes_and_the_chain_holds() {
        let first =
            r#"{"parentUuid":null,"type":"user","uuid":"u1","message":{"content":"[REDACTED:x]"}}"#;
        let (a, b) = (answer("a1", r#""u1""#, TOUCHED), answer("a2", r#""a1""#, TOUCHED));
        let c = answer("a3", r#""a2""#, TEXT);
        let last = r#"{"type":"last-prompt","lastPrompt":"x","leafUuid":"a2"}"#;
        let (kept, dropped) = read(&[first, &a, &b, &c, last]);
        let leaf = r#"{"type":"last-prompt","lastPrompt":"x","leafUuid":"u1"}"#;
        assert_eq!(kept, [first, &answer("a3", r#""u1""#, TEXT), leaf]);
        assert_eq!(dropped, 2);
        // The first record of all.
        let (kept, _) = read(&[&answer("a1", "null", TOUCHED), &answer("a2", r#""a1""#, TEXT)]);
        assert_eq!(kept, [answer("a2", "null", TEXT)]);
    }

    #[test]
    fn a_record_that_says_more_stays_with_the_rest() {
        let both = answer("a1", "null", &format!("{TOUCHED},{TEXT}"));
        assert_eq!(read(&[&both]), (vec![answer("a1", "null", TEXT)], 1));
    }

    #[test]
    fn what_was_not_touched_stays_to_the_last_byte() {
        let unsigned = r#"{"type":"thinking","thinking":"[REDACTED:x]"}"#;
        for blocks in [SIGNED, TEXT, unsigned] {
            let line = answer("a1", "null", blocks);
            assert_eq!(read(&[&line]), (vec![line.clone()], 0));
        }
        for line in ["[REDACTED:x]", r#"{"type":"assistant","message":"[REDACTED:x]"}"#, "{", ""] {
            assert_eq!(read(&[line]), (vec![line.to_owned()], 0));
        }
    }
}
