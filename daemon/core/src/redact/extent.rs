//! Where a value begins and ends, once it is known that one should follow.
//!
//! Only [`JUDGED`] bytes are read before a value is judged; how far it goes is looked up after, so that a
//! long text full of names costs no more than its length. Not here: names and operators ([`super::assign`]).

use super::value::{JUDGED, Place};

/// A value: the part of it that is judged, and how it goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) place: Place,
    ends: Ends,
}

/// What ends a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// It has ended.
    Here,
    Quote(u8),
    Html,
    Bare(Place, bool),
}

/// What ends a bare value beside blanks; a table, as it is asked about each byte of a value.
static ENDS_BARE: [bool; 256] = {
    let (mut ends, mut i) = ([false; 256], 0);
    let bytes = b"\"'<>`,;)]}|&\\";
    while i < bytes.len() {
        ends[bytes[i] as usize] = true;
        i += 1;
    }
    ends
};

impl Ends {
    fn at(self, byte: u8) -> bool {
        match self {
            Self::Here => true,
            Self::Quote(quote) => byte == quote || byte.is_ascii_whitespace(),
            Self::Html => byte == b'&' || byte == b'%' || byte.is_ascii_whitespace(),
            Self::Bare(..) if byte <= b' ' => true,
            Self::Bare(Place::Setting, false) => false,
            Self::Bare(_, query) => ENDS_BARE[usize::from(byte)] || query && byte == b'#',
        }
    }
}

impl Value {
    /// Where it ends, however long it is.
    pub(super) fn whole(&self, text: &[u8]) -> usize {
        if self.ends == Ends::Here {
            return self.end;
        }
        let rest = text[self.end..].iter().position(|b| self.ends.at(*b));
        rest.map_or(text.len(), |i| self.end + i)
    }
}

/// The quotes of HTML and of URLs.
pub(super) fn html_quote(text: &[u8]) -> Option<usize> {
    ["&quot;", "&#34;", "&#39;", "&#x27;", "&apos;", "%22", "%27"]
        .iter()
        .find(|q| text.starts_with(q.as_bytes()))
        .map(|q| q.len())
}

/// What may stand between an operator and the quote of a string: `b"`, `@"`, `String::from("`.
fn is_lead(lead: &[u8]) -> bool {
    let prefixes: [&[u8]; 17] = [
        b"b",
        b"r",
        b"f",
        b"u",
        b"br",
        b"rb",
        b"L",
        b"N",
        b"@",
        b"$",
        b"$@",
        b"(",
        b"[",
        b"=",
        b"= ",
        b"pass:",
        b"new String(",
    ];
    prefixes.contains(&lead)
        || lead.ends_with(b"(")
            && lead.iter().all(|b| b.is_ascii_alphanumeric() || b"_.:(".contains(b))
}

/// The length of an HTTP scheme before what it carries.
pub(super) fn scheme(value: &[u8]) -> usize {
    const SCHEMES: [&str; 10] = [
        "Bearer ",
        "Basic ",
        "Token ",
        "token ",
        "bearer ",
        "basic ",
        "Bot ",
        "ApiKey ",
        "Key ",
        "Api-Token ",
    ];
    SCHEMES.iter().find(|s| value.starts_with(s.as_bytes())).map_or(0, |s| s.len())
}

/// The value that begins at `at`, with what quotes it taken off.
pub(super) fn take(
    text: &[u8],
    mut at: usize,
    place: Place,
    wants_quote: bool,
    query: bool,
) -> Option<Value> {
    let near = &text[at..text.len().min(at + 24)];
    let lead = near.iter().position(|b| matches!(b, b'"' | b'\'' | b'`'));
    if let Some(lead) = lead.filter(|lead| *lead > 0 && is_lead(&near[..*lead])) {
        at += lead;
    }
    let escapes = text[at..].iter().take(8).take_while(|b| **b == b'\\').count();
    let quote = text.get(at + escapes).copied().filter(|b| matches!(b, b'"' | b'\'' | b'`'));
    if let Some(quote) = quote {
        at += escapes;
        // `""x""`: doubled quotes, and the three of Python and TOML.
        let quotes = text[at..].iter().take(3).take_while(|b| **b == quote).count();
        at += quotes;
        // Two may also be a text without anything in it.
        if quotes == 2 && text.get(at).is_none_or(|b| b",;).}]+:?|& \n\r\\".contains(b)) {
            return None;
        }
        return quoted(text, at, quote);
    }
    let html = html_quote(&text[at..]).unwrap_or(0);
    if html > 0 {
        return plain(text, at + html, Place::Quoted, Ends::Html);
    }
    if wants_quote {
        return None;
    }
    at += scheme(&text[at..]);
    plain(text, at, place, Ends::Bare(place, query))
}

fn plain(text: &[u8], at: usize, place: Place, ends: Ends) -> Option<Value> {
    let near = &text[at..text.len().min(at + JUDGED)];
    let len = match ends {
        // What a value mostly is has no loop within the loop.
        Ends::Bare(Place::Setting, false) => near.iter().position(|b| *b <= b' '),
        _ => near.iter().position(|b| ends.at(*b)),
    };
    let mut end = at + len.unwrap_or(near.len());
    if len.is_some() || end == text.len() {
        // What closes a command or a list around it, or ends a sentence, is not the value's.
        let closes: &[u8] =
            if ends == Ends::Bare(Place::Setting, false) { b"\"',;`\\" } else { b".!?:" };
        while end > at && closes.contains(&text[end - 1]) {
            end -= 1;
        }
        return (end > at).then_some(Value { start: at, end, place, ends: Ends::Here });
    }
    Some(Value { start: at, end, place, ends })
}

/// A quoted value ends at its quote; without one, where the line or the word does.
fn quoted(text: &[u8], at: usize, quote: u8) -> Option<Value> {
    let limit = text.len().min(at + JUDGED);
    let (mut end, mut blank) = (at, None);
    let mut ends = Ends::Quote(quote);
    while end < limit {
        match text[end] {
            byte if byte == quote => {
                ends = Ends::Here;
                break;
            }
            b'\\' if text.get(end + 1) == Some(&quote) && !closes(text, end + 2) => end += 1,
            b'\\' if text[end..limit].iter().find(|b| **b != b'\\') == Some(&quote) => {
                ends = Ends::Here;
                break;
            }
            b'\n' => {
                end = blank.unwrap_or(end);
                ends = Ends::Here;
                break;
            }
            b' ' | b'\t' => {
                blank.get_or_insert(end);
            }
            _ => {}
        }
        end += 1;
    }
    let end = end.min(text.len());
    (end > at).then_some(Value { start: at, end, place: Place::Quoted, ends })
}

/// Whether what follows a quote says that it was the closing one.
fn closes(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|b| b",;)}] \n\r\\:>".contains(b))
}
