//! Hooks in a YAML settings file (Hermes's `config.yaml`): one block of ours at its end.
//!
//! ```yaml
//! hooks:
//!   pre_tool_call:
//!     - command: /usr/bin/rrd hook hermes
//!       timeout: 5
//! ```
//!
//! YAML has too many shapes to be spliced without a parser that keeps all of them, so only a file that
//! is plainly a list of keys is touched, and only where it has no hooks of its own. The block stands
//! between two remarks, and what it takes the place of is in the first. Not here: files.

use super::{Hook, command, json::Refusal};

const BEGIN: &str =
    "# rrd hooks: `rrd hooks uninstall hermes` removes what is between these two lines";
const END: &str = "# rrd hooks: end";
/// What stood in the block's place follows this in its first line.
const WAS: &str = "; here was: ";

/// Our hooks in `text`, in the block or put there by hand.
pub(super) fn hooks(text: &str, harness: &str) -> Vec<Hook> {
    let mut hooks = Vec::new();
    let mut event = "";
    for line in text.lines() {
        let entry = line.trim_start().trim_start_matches("- ").trim();
        if let Some(command) = entry.strip_prefix("command:") {
            let command = plain(command.trim());
            if let Some(binary) = command::binary(&command, harness) {
                hooks.push(Hook { event: event.to_owned(), command, binary });
            }
        } else if let Some(key) = entry.strip_suffix(':').filter(|key| is_key(key)) {
            event = key;
        }
    }
    hooks
}

/// `text` with a block of ours.
pub(super) fn install(
    text: &str,
    harness: &str,
    events: &[&str],
    command: &str,
) -> Result<String, Refusal> {
    let text = uninstall(text, harness)?;
    let block = block(events, command);
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines = |begin: &str| format!("{begin}\n{block}{END}").replace('\n', newline);
    // An empty one is what Hermes writes itself.
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let was = line.trim_end_matches(['\r', '\n']);
        let place = at..at + was.len();
        at += line.len();
        if is_empty_hooks(was) {
            let mut with = text.clone();
            with.replace_range(place.clone(), "");
            check(&with)?;
            with.insert_str(place.start, &lines(&format!("{BEGIN}{WAS}{was}")));
            return Ok(with);
        }
    }
    check(&text)?;
    let lines = lines(BEGIN);
    // A file whose last line does not end gets a block whose last line does not end either.
    Ok(match text.ends_with('\n') || text.is_empty() {
        true => format!("{text}{lines}{newline}"),
        false => format!("{text}{newline}{lines}"),
    })
}

/// `text` without our block.
pub(super) fn uninstall(text: &str, harness: &str) -> Result<String, Refusal> {
    let Some(start) = text.find(BEGIN) else {
        return match hooks(text, harness).is_empty() {
            true => Ok(text.to_owned()),
            false => Err("it runs rrd, but not in a block that rrd wrote".to_owned()),
        };
    };
    let cut = || "the end of the block that rrd wrote is missing".to_owned();
    let end = start + text[start..].find(END).ok_or_else(cut)? + END.len();
    let first = text[start..].lines().next().unwrap_or_default();
    let rest = &text[end..];
    if let Some((_, was)) = first.split_once(WAS) {
        return Ok(format!("{}{was}{rest}", &text[..start]));
    }
    let next = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'));
    Ok(match next {
        Some(rest) => format!("{}{rest}", &text[..start]),
        // The line break before it came with it.
        None => {
            let newline = if text[start..].contains("\r\n") { "\r\n" } else { "\n" };
            let before = &text[..start];
            format!("{}{rest}", before.strip_suffix(newline).unwrap_or(before))
        }
    })
}

/// What belongs into the file, for who has to put it there by hand.
pub(super) fn block(events: &[&str], command: &str) -> String {
    let mut block = "hooks:\n".to_owned();
    for event in events {
        block.push_str(&format!(
            "  {event}:\n    - command: {}\n      timeout: {}\n",
            scalar(command),
            command::TIMEOUT_SECONDS
        ));
    }
    block
}

/// Refuses what is not plainly a list of keys, or has hooks already.
fn check(text: &str) -> Result<(), Refusal> {
    for (number, line) in text.lines().enumerate() {
        let refuse = |why: &str| Err(format!("its line {} {why}", number + 1));
        // A list may stand beneath its key without being indented.
        let nested = line.starts_with([' ', '\t', '#']) || line.starts_with("- ") || line == "-";
        if nested || line.trim().is_empty() || (number == 0 && line.trim_end() == "---") {
            continue;
        }
        let key = line.split_once(':').filter(|(key, _)| is_key(key));
        let Some((key, value)) =
            key.filter(|(_, value)| value.is_empty() || value.starts_with(' '))
        else {
            return refuse("is none of the simple keys that another one can be added to");
        };
        if key == "hooks" {
            return refuse("has hooks already");
        }
        // What goes on in the next line would swallow the block.
        if !closes(value.trim()) {
            return refuse("begins a value that ends on another line");
        }
    }
    Ok(())
}

/// Whether a value in brackets or quotes ends on its own line, as far as its last character tells.
fn closes(value: &str) -> bool {
    let value = value.split(" #").next().unwrap_or(value).trim_end();
    let last = match value.chars().next() {
        Some('{') => '}',
        Some('[') => ']',
        Some(quote @ ('"' | '\'')) => quote,
        _ => return true,
    };
    value.len() > 1 && value.ends_with(last)
}

fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !key.is_empty() && key.chars().all(plain)
}

fn is_empty_hooks(line: &str) -> bool {
    let value = line.strip_prefix("hooks:").map(|value| value.split(" #").next().unwrap_or(value));
    value.is_some_and(|value| matches!(value.trim(), "{}" | "null" | "~"))
}

/// A text as a YAML scalar.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._- ".contains(c);
    if text.chars().all(plain) && text.starts_with('/') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// A scalar as a text.
fn plain(scalar: &str) -> String {
    let inner = |quote: char| scalar.strip_prefix(quote).and_then(|s| s.strip_suffix(quote));
    match (inner('\''), inner('"')) {
        (Some(inner), _) => inner.replace("''", "'"),
        (None, Some(inner)) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        (None, None) => scalar.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: [&str; 2] = ["pre_tool_call", "on_session_end"];
    const COMMAND: &str = "/usr/bin/rrd hook hermes";

    fn added(text: &str) -> Result<String, Refusal> {
        install(text, "hermes", &EVENTS, COMMAND)
    }

    #[test]
    fn a_block_at_the_end_and_away_again() {
        let with = added("model:\n  default: x\n").unwrap();
        assert_eq!(
            with,
            format!(
                "model:\n  default: x\n{BEGIN}\nhooks:\n  pre_tool_call:\n    - command: {COMMAND}\n      timeout: 5\n  \
                 on_session_end:\n    - command: {COMMAND}\n      timeout: 5\n{END}\n"
            )
        );
        let found = hooks(&with, "hermes");
        assert_eq!(found.iter().map(|hook| &*hook.event).collect::<Vec<_>>(), EVENTS);
        assert_eq!((&*found[0].command, &*found[0].binary), (COMMAND, "/usr/bin/rrd"));
        assert_eq!(added(&with).unwrap(), with);
        let other = install(&with, "hermes", &EVENTS[..1], "'/a b/rrd' hook hermes").unwrap();
        assert_eq!(hooks(&other, "hermes")[0].binary, "/a b/rrd");
        for text in [
            "",
            "a: 1",
            "a: 1\n",
            "a: 1\r\nb:\r\n- 2\r\n",
            "---\n# x\na: {b: 1} # y\n\n\n",
            "a: 1\nhooks: {}\nb: 2\n",
            "webhooks: {}\nhooks: {}",
            "a: |\n  text\n\n  more\nhooks: {}  # none\r\n",
        ] {
            let with = added(text).unwrap();
            assert_eq!(hooks(&with, "hermes").len(), 2, "{text}");
            assert_eq!(uninstall(&with, "hermes").unwrap(), text);
        }
    }

    #[test]
    fn what_is_not_simple_is_left_alone() {
        for (text, why) in [
            ("{\"model\": {}}\n", "simple keys"),
            ("a: 1\n---\nb: 2\n", "simple keys"),
            ("- a\nb\n", "simple keys"),
            ("a: \"x\n  y\"\n", "another line"),
            ("a: {b: 1,\n  c: 2}\n", "another line"),
            ("hooks:\n  pre_tool_call:\n    - command: notify.sh\n", "has hooks already"),
            ("hooks:\n", "has hooks already"),
            ("hooks: {pre_tool_call: []}\n", "has hooks already"),
            ("? a\n: b\n", "simple keys"),
            ("%YAML 1.2\n---\na: 1\n", "simple keys"),
            ("hooks:\n  x:\n    - command: \"/usr/bin/rrd hook hermes\"\n", "not in a block"),
        ] {
            let refusal = added(text).unwrap_err();
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
        assert!(uninstall(&format!("{BEGIN}\nhooks:\n"), "hermes").is_err());
        assert_eq!(uninstall("hooks:\n  x: []\n", "hermes").unwrap(), "hooks:\n  x: []\n");
    }

    proptest! {
        #[test]
        fn removing_undoes_adding(
            lines in proptest::collection::vec("(#.{0,9}|  - [a-z]: [a-z ]{0,9}|[a-g]{1,5}: [a-z \"]{0,9}|hooks: \\{\\}|)", 0..9),
            newline in prop_oneof![Just("\n"), Just("\r\n")],
            ends in any::<bool>(),
        ) {
            let text = format!("{}{}", lines.join(newline), if ends { newline } else { "" });
            if let Ok(with) = added(&text) {
                prop_assert_eq!(hooks(&with, "hermes").len(), 2);
                prop_assert_eq!(uninstall(&with, "hermes").unwrap(), text);
            }
        }
    }
}
