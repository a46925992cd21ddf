//! Hooks in a JSON settings file (Claude Code's `settings.json`, Codex's `hooks.json`), edited by
//! splicing: what is not ours keeps every byte, comments and odd layout too.
//!
//! ```json
//! {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "…", "timeout": 5}]}]}}
//! ```
//!
//! Removing is the exact inverse of adding, except where an empty list or object was there before: two
//! texts become the same then, and only the backup knows which it was. Not here: files.

use jsonc_parser::{
    CollectOptions, CommentCollectionStrategy, ParseOptions,
    ast::{Array, Object, Value},
    common::{Range, Ranged},
    parse_to_ast,
};

use super::{Hook, command};

/// More hooks than anybody has.
const MAX_STEPS: usize = 1_000;

/// Why a file is left alone.
pub(super) type Refusal = String;

/// Our hooks in `text`.
pub(super) fn hooks(text: &str, harness: &str) -> Result<Vec<Hook>, Refusal> {
    let found = with_root(text, |root| {
        let ours = ours(root.object, harness)?;
        Ok(ours.into_iter().map(|found| found.hook).collect())
    })?;
    Ok(found.unwrap_or_default())
}

/// Whether the harness has been told to call no hook at all.
pub(super) fn switched_off(text: &str) -> bool {
    let off = |root: &Root<'_, '_>| {
        Ok(root.object.get_boolean("disableAllHooks").is_some_and(|lit| lit.value))
    };
    with_root(text, off).ok().flatten().unwrap_or(false)
}

/// `text` with a hook that runs `command` for each of `events`, and no other hook of ours.
pub(super) fn install(
    text: &str,
    harness: &str,
    events: &[&str],
    command: &str,
) -> Result<String, Refusal> {
    let nothing = text.trim_start_matches('\u{feff}').trim().is_empty();
    let text = if nothing { "{}\n" } else { text };
    settle(text, |text, root| step(text, root, harness, events, command))
}

/// `text` without any hook of ours.
pub(super) fn uninstall(text: &str, harness: &str) -> Result<String, Refusal> {
    settle(text, |text, root| match ours(root.object, harness)?.last() {
        None => Ok(Vec::new()),
        Some(found) => removal(text, root, found.place),
    })
}

/// One change after the other, each on what the one before left, until there is none.
fn settle(
    text: &str,
    step: impl Fn(&str, &Root<'_, '_>) -> Result<Vec<Splice>, Refusal>,
) -> Result<String, Refusal> {
    let mut text = text.to_owned();
    for _ in 0..MAX_STEPS {
        match with_root(&text, |root| step(&text, root))? {
            Some(splices) if !splices.is_empty() => text = splice(&text, splices),
            _ => return Ok(text),
        }
    }
    Err("it holds too many hooks".to_owned())
}

/// Replaces a range of the text.
type Splice = (std::ops::Range<usize>, String);

fn splice(text: &str, mut splices: Vec<Splice>) -> String {
    let mut text = text.to_owned();
    splices.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    for (range, new) in splices {
        text.replace_range(range, &new);
    }
    text
}

/// What a file holds.
struct Root<'a, 'b> {
    object: &'b Object<'a>,
    comments: Vec<Range>,
}

/// Parses and hands the root over; offsets are those of `text`.
fn with_root<T>(
    text: &str,
    look: impl FnOnce(&Root<'_, '_>) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    // The byte order mark stays where it is: to the parser it is a space, and as many bytes.
    let plain = match text.strip_prefix('\u{feff}') {
        Some(rest) => std::borrow::Cow::Owned(format!("   {rest}")),
        None => std::borrow::Cow::Borrowed(text),
    };
    let collect = CollectOptions { comments: CommentCollectionStrategy::Separate, tokens: false };
    let parsed = parse_to_ast(&plain, &collect, &options)
        .map_err(|error| format!("it is not valid JSON: {error}"))?;
    match parsed.value {
        Some(Value::Object(object)) => {
            let comments = parsed.comments.iter().flat_map(|comments| comments.values());
            let comments = comments.flat_map(|all| all.iter().map(Ranged::range)).collect();
            look(&Root { object: &object, comments }).map(Some)
        }
        Some(_) => Err("it holds no JSON object".to_owned()),
        None => Ok(None),
    }
}

/// One of our hooks, and where it is.
struct Found {
    hook: Hook,
    /// Indexes of its event, its group and itself.
    place: (usize, usize, usize),
    command: Range,
}

fn ours(root: &Object<'_>, harness: &str) -> Result<Vec<Found>, Refusal> {
    let mut found = Vec::new();
    let Some(events) = events_of(root)? else { return Ok(found) };
    for (e, event) in events.properties.iter().enumerate() {
        let Value::Array(groups) = &event.value else { continue };
        for (g, handlers) in groups.elements.iter().enumerate() {
            let handlers = handlers.as_object().and_then(|group| group.get_array("hooks"));
            for (h, handler) in handlers.iter().flat_map(|list| &list.elements).enumerate() {
                let line = handler.as_object().and_then(|handler| handler.get_string("command"));
                let Some(line) = line else { continue };
                if let Some(binary) = command::binary(&line.value, harness) {
                    let name = event.name.as_str().to_owned();
                    let hook = Hook { event: name, command: line.value.to_string(), binary };
                    found.push(Found { hook, place: (e, g, h), command: line.range });
                }
            }
        }
    }
    Ok(found)
}

fn events_of<'a, 'b>(root: &'b Object<'a>) -> Result<Option<&'b Object<'a>>, Refusal> {
    let mut all = root.properties.iter().filter(|prop| prop.name.as_str() == "hooks");
    match (all.next().map(|prop| &prop.value), all.next()) {
        (None, _) => Ok(None),
        (Some(Value::Object(events)), None) => Ok(Some(events)),
        (Some(_), None) => Err("its \"hooks\" is no object".to_owned()),
        (Some(_), Some(_)) => Err("it has \"hooks\" twice".to_owned()),
    }
}

/// The next change towards what is wanted.
fn step(
    text: &str,
    root: &Root<'_, '_>,
    harness: &str,
    events: &[&str],
    command: &str,
) -> Result<Vec<Splice>, Refusal> {
    let found = ours(root.object, harness)?;
    // What another binary, or another release, put there.
    let mut seen = Vec::new();
    for Found { hook, place, command: range } in &found {
        if !events.contains(&hook.event.as_str()) || seen.contains(&&hook.event) {
            return removal(text, root, *place);
        }
        if hook.command != command {
            return Ok(vec![(range.start..range.end, quoted(command))]);
        }
        seen.push(&hook.event);
    }
    let Some(event) = events.iter().find(|event| !found.iter().any(|f| f.hook.event == **event))
    else {
        return Ok(Vec::new());
    };
    let layout = Layout::of(text, root.object);
    let root = root.object;
    Ok(match events_of(root)? {
        None => layout.add(&Container::of_object(root), Missing::Hooks(event), command),
        Some(known) => match known.properties.iter().find(|p| p.name.as_str() == *event) {
            None => layout.add(&Container::of_object(known), Missing::Event(event), command),
            Some(prop) => match &prop.value {
                Value::Array(groups) => {
                    layout.add(&Container::of_array(groups), Missing::Group, command)
                }
                _ => return Err(format!("its \"hooks\" has a \"{event}\" that is no list")),
            },
        },
    })
}

/// Removes a hook, and with it whatever holds nothing else, not even a comment.
fn removal(
    text: &str,
    root: &Root<'_, '_>,
    (e, g, h): (usize, usize, usize),
) -> Result<Vec<Splice>, Refusal> {
    let lost = || "it changed while it was looked at".to_owned();
    let events = events_of(root.object)?.ok_or_else(lost)?;
    let event = events.properties.get(e).ok_or_else(lost)?;
    let Value::Array(groups) = &event.value else { return Err(lost()) };
    let group = groups.elements.get(g).and_then(Value::as_object).ok_or_else(lost)?;
    let handlers = group.get_array("hooks").ok_or_else(lost)?;
    let hooks = root.object.properties.iter().position(|prop| prop.name.as_str() == "hooks");
    let outward = [
        (Container::of_array(handlers), h),
        (Container::of_array(groups), g),
        (Container::of_object(events), e),
        (Container::of_object(root.object), hooks.ok_or_else(lost)?),
    ];
    let remarked =
        |item: Range| root.comments.iter().any(|of| item.start <= of.start && of.end <= item.end);
    let (mut container, mut index) = (&outward[0].0, outward[0].1);
    for (outer, at) in &outward[1..] {
        if container.items.len() > 1 || remarked(outer.items[*at]) {
            break;
        }
        (container, index) = (outer, *at);
    }
    Ok(container.without(text, index))
}

/// An object or a list: what is between its brackets.
struct Container {
    open: usize,
    close: usize,
    items: Vec<Range>,
}

impl Container {
    fn of_object(object: &Object<'_>) -> Self {
        let items = object.properties.iter().map(|prop| prop.range).collect();
        Self { open: object.range.start + 1, close: object.range.end - 1, items }
    }

    fn of_array(array: &Array<'_>) -> Self {
        let items = array.elements.iter().map(Ranged::range).collect();
        Self { open: array.range.start + 1, close: array.range.end - 1, items }
    }

    /// Takes an item out, so that what [`Layout::add`] added is gone to the last byte.
    fn without(&self, text: &str, index: usize) -> Vec<Splice> {
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
struct Layout<'a> {
    text: &'a str,
    /// One step of indentation; `None` where everything is on one line.
    unit: Option<String>,
}

impl<'a> Layout<'a> {
    fn of(text: &'a str, root: &Object<'_>) -> Self {
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
    fn add(&self, container: &Container, missing: Missing<'_>, command: &str) -> Vec<Splice> {
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
enum Missing<'a> {
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

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
