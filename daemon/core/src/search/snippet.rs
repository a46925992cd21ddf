//! The line of a text that shows why it was found.

use super::GAP;

/// What the index puts before and after what was found; no text that is given to it holds them.
pub const FOUND: [char; 2] = ['\u{1}', '\u{2}'];

/// Bytes of a snippet, about.
const LONG: usize = 240;

/// Bytes before what was found first, about.
const BEFORE: usize = 48;

/// A word longer than that is cut within.
const WORD: usize = 32;

/// A line of a text, around what was found in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snippet {
    /// One line: runs of white space are a blank.
    pub text: String,
    /// First bytes of what was found in it, and the bytes after.
    pub marks: Vec<(u32, u32)>,
    /// Whether there is more before, and after.
    pub cut: (bool, bool),
    /// Places in the whole text.
    pub found: usize,
    /// Bytes of the whole text.
    pub len: usize,
}

/// The snippet of a text in which [`FOUND`] stands around what was found; `None` where nothing was.
#[must_use]
pub fn snippet(marked: &str) -> Option<Snippet> {
    let mut line = String::with_capacity(marked.len());
    let mut marks: Vec<(usize, usize)> = Vec::new();
    let mut open = None;
    for c in marked.chars() {
        match c {
            c if c == FOUND[0] => open = Some(line.len()),
            c if c == FOUND[1] => marks.extend(open.take().map(|from| (from, line.len()))),
            GAP => {}
            c if c.is_whitespace() => {
                if !line.is_empty() && !line.ends_with(' ') {
                    line.push(' ');
                }
            }
            c => line.push(c),
        }
    }
    line.truncate(line.trim_end().len());
    marks.retain_mut(|(from, to)| {
        *to = (*to).min(line.len());
        from < to
    });
    // Where most of it is near together.
    let near = |at: &usize| {
        let last = marks[*at].0 + LONG - BEFORE;
        marks[*at..].iter().take_while(|(_, to)| *to <= last).count()
    };
    let best = (0..marks.len()).rev().max_by_key(near)?;
    let first = marks[best].0;
    let from = if first <= BEFORE { 0 } else { start(&line, first - BEFORE, first) };
    let to = end(&line, (from + LONG).max(marks[best].1.min(from + 2 * LONG)));
    let text = line[from..to].trim_end().to_owned();
    let within = |(a, b): &(usize, usize)| {
        let (a, b) = ((*a).max(from) - from, (*b).max(from).min(from + text.len()) - from);
        (a < b).then_some((a as u32, b as u32))
    };
    Some(Snippet {
        marks: marks.iter().filter_map(within).collect(),
        cut: (from > 0, from + text.len() < line.len()),
        found: marks.len(),
        len: line.len(),
        text,
    })
}

/// Where a word begins at or after `at`, if one does soon.
fn start(line: &str, at: usize, most: usize) -> usize {
    let blank = line.as_bytes()[at..most].iter().take(WORD).position(|byte| *byte == b' ');
    let at = blank.map_or(at, |blank| at + blank + 1);
    (at..=most).find(|at| line.is_char_boundary(*at)).unwrap_or(most)
}

/// Where a word ends at or before `at`, if one does soon.
fn end(line: &str, at: usize) -> usize {
    if at >= line.len() {
        return line.len();
    }
    let near = at.saturating_sub(WORD);
    let blank = line.as_bytes()[near..=at].iter().rposition(|byte| *byte == b' ');
    let at = blank.map_or(at, |blank| near + blank);
    (0..=at).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(marked: &str) -> String {
        let Some(Snippet { mut text, marks, cut, .. }) =
            snippet(&marked.replace('<', "\u{1}").replace('>', "\u{2}"))
        else {
            return String::new();
        };
        for (from, to) in marks.into_iter().rev() {
            text.insert(to as usize, '>');
            text.insert(from as usize, '<');
        }
        let dots = |cut| if cut { "…" } else { "" };
        format!("{}{text}{}", dots(cut.0), dots(cut.1))
    }

    #[test]
    fn it_is_a_line_around_what_was_found() {
        for (marked, line) in [
            ("run <cargo test>\n  twice ", "run <cargo test> twice"),
            ("\u{200b}<日\u{200b}本>\u{200b}語\u{200b}", "<日本>語"),
            ("nothing", ""),
            ("<>", ""),
            ("a\n<b> ", "a <b>"),
        ] {
            assert_eq!(shown(marked), line);
        }
        let far = format!("{} <here> {}", "before ".repeat(50), "after ".repeat(50));
        let line = shown(&far);
        assert!(line.starts_with("…before before") && line.ends_with("after after…"), "{line}");
        assert!(line.contains(" <here> ") && line.len() < 280, "{line}");
        // Where most of it is.
        let twice = format!("<one> {} <one> and <two>", "x ".repeat(300));
        assert!(shown(&twice).contains("<one> and <two>"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(marked in "[\u{1}\u{2}\u{200b} \na-cž日]{0,900}") {
            if let Some(of) = snippet(&marked) {
                prop_assert!(of.text.len() <= 3 * LONG);
                prop_assert!(!of.text.contains([FOUND[0], FOUND[1], GAP, '\n']));
                prop_assert!(!of.marks.is_empty());
                for (from, to) in &of.marks {
                    prop_assert!(of.text.get(*from as usize..*to as usize).is_some_and(|t| !t.is_empty()));
                }
                prop_assert!(of.marks.is_sorted());
            }
        }
    }
}
