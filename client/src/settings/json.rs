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
    ast::{Object, Value},
    common::{Range, Ranged},
    parse_to_ast,
};

use self::layout::{Container, Layout, Missing, quoted};
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

mod layout;
#[cfg(test)]
mod tests;
