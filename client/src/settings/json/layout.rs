//! Where something is added to a JSON text and how it is laid out there, and how it is taken away so
//! that nothing of it is left.
//!
//! Not here: what is added.

use jsonc_parser::{
    ast::{Array, Object},
    common::{Range, Ranged},
};

use super::{super::command, Splice};

/// An object or a list: what is between its brackets.
pub(super) struct Container {
    open: usize,
    close: usize,
    pub(super) items: Vec<Range>,
}

impl Container {
    pub(super) fn of_object(object: &Object<'_>) -> Self {
        let items = object.properties.iter().map(|prop| prop.range).collect();
        Self { open: object.range.start + 1, close: object.range.end - 1, items }
    }

    pub(super) fn of_array(array: &Array<'_>) -> Self {
        let items = array.elements.iter().map(Ranged::range).collect();
        Self { open: array.range.start + 1, close: array.range.end - 1, items }
    }

    /// Takes an item out, so that what [`Layout::add`] added is gone to the last byte.
    pub(super) fn without(&self, text: &str, index: usize) -> Vec<Splice> {
        let item = self.items[index];
        let cut = |range: std::ops::Range<usize>| (range, String::new());
        if let Some(next) = self.items.get(index + 1) {
            return match comma(text, item.end, next.start) {
                _ if is_blank(&text[item.end..next.start]) => vec![cut(item.start..next.start)],
                Some(at) => vec![cut(item.start..item.end), cut(at..at + 1)],
                None => vec![cut(item.start..item.end)],
            };
        }
        if index > 0 {
            let before = self.items[index - 1].end;
            return match comma(text, before, item.start) {
                Some(at) if is_blank(&text[at + 1..item.start]) => vec![cut(at..item.end)],
                Some(at) => {
                    // A remark about the item before.
                    let gap = &text[at + 1..item.start];
                    let blank = gap.len() - gap.trim_end().len();
                    vec![cut(at..at + 1), cut(item.start - blank..item.end)]
                }
                None => vec![cut(item.start..item.end)],
            };
        }
        // The only one: the line breaks around it were added with it.
        let mut end = item.end;
        if let Some(at) = comma(text, end, self.close) {
            end = at + 1;
        }
        if !is_blank(&text[self.open..item.start]) {
            return vec![cut(item.start..end)];
        }
        let before = text[self.open..item.start].len();
        let own_line = format!("{}{}", line_break(text), indent(text, self.open));
        if before > 0 && text[end..self.close].starts_with(&own_line) {
            end += own_line.len();
        }
        vec![cut(self.open..end)]
    }
}

/// The comma between two places, if what is between them is not all comment.
fn comma(text: &str, from: usize, to: usize) -> Option<usize> {
    let mut rest = &text[from..to];
    loop {
        rest = rest.trim_start();
        if rest.starts_with(',') {
            return Some(to - rest.len());
        } else if rest.starts_with("//") {
            rest = &rest[rest.find('\n')?..];
        } else if rest.starts_with("/*") {
            rest = &rest[rest.find("*/")? + 2..];
        } else {
            return None;
        }
    }
}

/// The end of the remark that follows an item on its own line, if nothing else does.
fn remark_after(text: &str, at: usize) -> Option<usize> {
    let line = text[at..].lines().next()?;
    let remark = line.trim();
    let whole = remark.starts_with("//")
        || remark.starts_with("/*") && remark.find("*/") == Some(remark.len() - 2);
    (whole && text.len() > at + line.len()).then(|| at + line.trim_end().len())
}

/// White space and commas.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c == ',')
}

fn line_break(text: &str) -> &'static str {
    let crlf = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
    if crlf { "\r\n" } else { "\n" }
}

/// The white space that the line of this place begins with.
fn indent(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = &text[start..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// How the file is laid out.
pub(super) struct Layout<'a> {
    text: &'a str,
    /// One step of indentation; `None` where everything is on one line.
    unit: Option<String>,
}

impl<'a> Layout<'a> {
    pub(super) fn of(text: &'a str, root: &Object<'_>) -> Self {
        let one_line = !text[root.range.start..root.range.end].contains('\n');
        let first = root.properties.first().map(|prop| prop.range.start);
        let unit = match first {
            Some(_) if one_line => None,
            Some(first) if text[root.range.start..first].contains('\n') => {
                Some(indent(text, first)).filter(|unit| !unit.is_empty())
            }
            _ => Some("  "),
        };
        let unit = unit.or_else(|| (!one_line).then_some("  "));
        Self { text, unit: unit.map(str::to_owned) }
    }

    /// Adds what is missing at the end of a container. Each hook has a line of its own.
    pub(super) fn add(
        &self,
        container: &Container,
        missing: Missing<'_>,
        command: &str,
    ) -> Vec<Splice> {
        let Container { open, items, .. } = container;
        let between = items.first().map(|first| &self.text[*open..first.start]);
        let own_lines = between.is_none_or(|gap| gap.contains('\n'));
        let newline = line_break(self.text);
        match (&self.unit, items.last(), items.first()) {
            (Some(unit), Some(last), Some(first)) if own_lines => {
                let indent = indent(self.text, first.start);
                let lines = Some((unit.as_str(), indent, newline));
                let added = format!("{newline}{indent}{}", missing.text(command, " ", lines));
                match remark_after(self.text, last.end) {
                    Some(end) => vec![(last.end..last.end, ",".to_owned()), (end..end, added)],
                    None => vec![(last.end..last.end, format!(",{added}"))],
                }
            }
            (Some(unit), None, _) => {
                let outer = indent(self.text, *open);
                let indent = format!("{outer}{unit}");
                let lines = Some((unit.as_str(), indent.as_str(), newline));
                let text = missing.text(command, " ", lines);
                vec![(*open..*open, format!("{newline}{indent}{text}{newline}{outer}"))]
            }
            (_, last, _) => {
                let space = if self.text.contains("\": ") { " " } else { "" };
                let text = missing.text(command, space, None);
                let at = last.map_or(*open, |last| last.end);
                let comma = if last.is_some() { format!(",{space}") } else { String::new() };
                vec![(at..at, format!("{comma}{text}"))]
            }
        }
    }
}

/// What a file lacks.
pub(super) enum Missing<'a> {
    /// Hooks at all, so also one for this event.
    Hooks(&'a str),
    /// Hooks for this event.
    Event(&'a str),
    /// Ours among an event's.
    Group,
}

impl Missing<'_> {
    /// As it is written: on one line, or with the event on its own (unit, indentation, line break).
    fn text(&self, command: &str, space: &str, lines: Option<(&str, &str, &str)>) -> String {
        match (self, lines) {
            (Self::Group, _) => {
                let command = quoted(command);
                let timeout = command::TIMEOUT_SECONDS;
                let handler = format!(
                    "{{\"type\":{space}\"command\",{space}\"command\":{space}{command},{space}\"timeout\":{space}{timeout}}}"
                );
                format!("{{\"hooks\":{space}[{handler}]}}")
            }
            (Self::Event(event), _) => {
                format!("{}:{space}[{}]", quoted(event), Missing::Group.text(command, space, None))
            }
            (Self::Hooks(event), lines) => {
                let event = Missing::Event(event).text(command, space, None);
                match lines {
                    None => format!("\"hooks\":{space}{{{event}}}"),
                    Some((unit, indent, newline)) => {
                        format!("\"hooks\": {{{newline}{indent}{unit}{event}{newline}{indent}}}")
                    }
                }
            }
        }
    }
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
