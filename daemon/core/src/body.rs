//! What is kept of all that an event says, and how bodies lie together in a block.
//!
//! Not here: texts as they are written ([`crate::long`]), compression, and where blocks are kept.

use std::borrow::Cow;

use rrd_proto::{Body, Event, EventKind};

use crate::long::Long;

/// Bytes of a body that are kept: of a longer one its head and its tail. As long as the transcript is
/// there, the whole can be read in it.
pub const MOST: usize = 64 << 10;

/// What is kept of `whole`; `None` where the event's own line is all of it. What is cut passes `redact`
/// first: what a cut leaves of a secret is not known for one.
#[must_use]
pub fn keep(
    event: &Event,
    whole: &Long<'_>,
    most: usize,
    redact: &mut dyn FnMut(&str) -> String,
) -> Option<Body> {
    let text = whole.whole();
    if text.is_empty() || text == event.text {
        return None;
    }
    let size = text.len() as u64;
    if text.len() <= most {
        return Some(Body { text: text.into_owned(), size, cut: None });
    }
    let text = redact(&text);
    let (head, tail) = ends(&text, most);
    let cut = (head.len() + tail.len() < text.len()).then_some(head.len() as u64);
    Some(Body { text: [head, tail].concat(), size, cut })
}

/// Gives an event what it says; what is not all of that is flagged.
pub fn give(event: &mut Event, body: Body) {
    event.truncated |= body.cut.is_some();
    event.body = Some(body);
}

/// The body of an event whose line is all that it says, and of which so none is kept.
#[must_use]
pub fn of_line(event: &Event) -> Option<Body> {
    use EventKind::{Error, Message, PeerMessage, Prompt, ToolResult};
    let says = matches!(event.kind, Prompt | Message | Error | PeerMessage | ToolResult);
    let is_all = says && !event.truncated && !event.text.is_empty();
    let size = event.text.len() as u64;
    is_all.then(|| Body { text: event.text.clone(), size, cut: None })
}

/// Head and tail of a text, together at most `most` bytes, between characters and, where one is near,
/// between lines; all of it where it is no longer.
fn ends(text: &str, most: usize) -> (&str, &str) {
    /// A line is not sought further than that.
    const NEAR: usize = 256;
    if text.len() <= most {
        return (text, "");
    }
    let mut end = most / 2;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut start = text.len() - most / 2;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    if let Some(line) = text[..end].rfind('\n').filter(|line| end - line <= NEAR) {
        end = line + 1;
    }
    if let Some(line) = text[start..].find('\n').filter(|line| *line <= NEAR) {
        start += line + 1;
    }
    (&text[..end], &text[start..])
}

/// Adds a body to a block: its event's seq, its sizes, its text.
pub fn put(block: &mut Vec<u8>, seq: u64, body: &Body) {
    for number in [seq, body.size, body.cut.map_or(0, |cut| cut + 1), body.text.len() as u64] {
        put_number(block, number);
    }
    block.extend_from_slice(body.text.as_bytes());
}

/// The bodies of a block, in the order in which they were added; ends at what is damaged.
pub fn read(block: &[u8]) -> impl Iterator<Item = (u64, Body)> {
    read_of(block, |_| true)
}

/// Of these only those of the events that are wanted; the others cost nothing.
pub fn read_of(
    mut block: &[u8],
    mut wanted: impl FnMut(u64) -> bool,
) -> impl Iterator<Item = (u64, Body)> {
    std::iter::from_fn(move || {
        loop {
            let seq = take_number(&mut block)?;
            let size = take_number(&mut block)?;
            let cut = take_number(&mut block)?.checked_sub(1);
            let len = usize::try_from(take_number(&mut block)?).ok()?;
            let (text, rest) = block.split_at_checked(len)?;
            block = rest;
            if wanted(seq) {
                let text = String::from_utf8_lossy(text);
                let is_boundary = |cut| text.is_char_boundary(usize::try_from(cut).unwrap_or(0));
                let cut = cut.filter(|cut| is_boundary(*cut));
                return Some((seq, Body { text: Cow::into_owned(text), size, cut }));
            }
        }
    })
}

fn put_number(block: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        block.push(number as u8 | 0x80);
        number >>= 7;
    }
    block.push(number as u8);
}

fn take_number(block: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = block.split_first()?;
        *block = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(text: &str) -> Event {
        let mut events = Vec::new();
        let facts = vec![crate::fact::Fact::Prompt { text: text.into() }];
        let parsed = crate::fact::Parsed { facts, ..Default::default() };
        crate::fold::Fold::default().apply(parsed, 0, &mut events);
        assert_eq!(events[0].kind, EventKind::Prompt);
        events.remove(0)
    }

    fn kept(text: &str, most: usize) -> Option<Body> {
        keep(&event(text), &text.into(), most, &mut |text| text.replace("SECRET", "*"))
    }

    #[test]
    fn a_line_is_its_own_body() {
        assert_eq!(kept("Publish it", MOST), None);
        assert_eq!(kept("", MOST), None);
        let two = kept("Publish it\nand tag it", MOST).unwrap();
        assert_eq!((two.text.as_str(), two.size, two.cut), ("Publish it\nand tag it", 21, None));
    }

    #[test]
    fn of_what_is_too_long_head_and_tail_stay_redacted() {
        let long = format!("{}SECRET{}", "é".repeat(60), "ü".repeat(60));
        let body = kept(&long, 100).unwrap();
        assert_eq!((body.size, body.cut), (246, Some(50)));
        assert_eq!(body.text, format!("{}{}", "é".repeat(25), "ü".repeat(25)));
        let lines = "0123456789\n".repeat(100);
        let body = kept(&lines, 100).unwrap();
        assert_eq!(body.text, "0123456789\n".repeat(8));
        assert_eq!(body.cut, Some(44));
        assert!(
            !kept(&format!("a{}SECRET", "b".repeat(200)), 100).unwrap().text.contains("SECRET")
        );
    }

    proptest! {
        #[test]
        fn a_block_gives_back_what_was_put_into_it(
            bodies in proptest::collection::vec((any::<u64>(), "\\PC{0,300}", any::<u64>()), 0..20)
        ) {
            let bodies: Vec<_> = bodies.into_iter().map(|(seq, text, size)| {
                let cut = (size % 2 == 0).then_some(0);
                (seq, Body { text, size, cut })
            }).collect();
            let mut block = Vec::new();
            bodies.iter().for_each(|(seq, body)| put(&mut block, *seq, body));
            prop_assert_eq!(read(&block).collect::<Vec<_>>(), bodies);
        }

        #[test]
        fn no_block_breaks_it(block in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(read(&block).count() <= block.len());
        }

        #[test]
        fn no_more_is_kept_than_was_to_be(text in "\\PC{0,400}", most in 16usize..200) {
            if let Some(body) = kept(&text, most) {
                prop_assert!(body.text.len() <= most.max(text.len().min(most)));
                prop_assert_eq!(body.size, text.len() as u64);
                prop_assert_eq!(body.cut.is_some(), text.len() > most);
            }
        }
    }
}
