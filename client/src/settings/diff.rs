//! What changes in a file, as `diff -u` shows it.

use std::path::Path;

use similar::{ChangeTag, TextDiff};

use crate::{look, text};

/// Lines of context around a change.
const AROUND: usize = 3;

/// The change of a file, line by line; `None` for a file that is not there.
pub(crate) fn lines(path: &Path, before: Option<&str>, after: Option<&str>) -> Vec<String> {
    let name = text::clean(&path.display().to_string()).into_owned();
    let title = |sign, there: Option<&str>| {
        format!("{sign} {}", if there.is_some() { name.as_str() } else { "/dev/null" })
    };
    let mut lines = vec![
        look::paint(look::BOLD, &title("---", before)),
        look::paint(look::BOLD, &title("+++", after)),
    ];
    let diff = TextDiff::from_lines(before.unwrap_or_default(), after.unwrap_or_default());
    for hunk in diff.unified_diff().context_radius(AROUND).iter_hunks() {
        lines.push(look::paint(look::CYAN, hunk.header().to_string().trim_end()));
        for change in hunk.iter_changes() {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ('-', look::RED),
                ChangeTag::Insert => ('+', look::GREEN),
                ChangeTag::Equal => (' ', look::PLAIN),
            };
            let line = shown(change.value());
            lines.push(look::paint(style, &format!("{sign}{line}")));
            if change.missing_newline() {
                lines.push("\\ No newline at end of file".to_owned());
            }
        }
    }
    lines
}

/// A line of the file as a terminal may have it: laid out as it is, but without what steers it.
fn shown(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let plain = |c: char| if c != '\t' && text::is_unsafe(c) { '\u{fffd}' } else { c };
    line.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_what_is_around_it() {
        let before = "1\n2\n3\n4\n5\n6\n7";
        let after = before.replace('5', "5\n\u{1b}[2J\t+");
        let lines = lines(Path::new("/h/s.json"), Some(before), Some(&after));
        let plain = anstream::adapter::strip_str(&lines.join("\n")).to_string();
        assert_eq!(
            plain,
            "--- /h/s.json\n+++ /h/s.json\n@@ -3,5 +3,6 @@\n 3\n 4\n 5\n+\u{fffd}[2J\t+\n 6\n 7\n\\ No newline at end of file"
        );
        let made = super::lines(Path::new("/h/s.json"), None, Some("a\r\n"));
        let plain = anstream::adapter::strip_str(&made.join("\n")).to_string();
        assert_eq!(plain, "--- /dev/null\n+++ /h/s.json\n@@ -0,0 +1 @@\n+a");
    }
}
