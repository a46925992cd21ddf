//! Private keys in PEM and PGP armour, whole or cut, with whatever a listing puts before each line.
//!
//! What comes between the markers is base64 in lines; a tool that reads files puts numbers before them
//! (`  12→`), a diff signs, a mail `> `, a program quotes and `\n"`. A key whose end is cut off goes as
//! far as its lines do, and one whose beginning is, back as far; where a text was made one line, as far as its
//! words are base64. A mention of the marker alone stays.

use memchr::memmem;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const KIND: &[u8] = b"PRIVATE KEY";
/// The longest key; 16,384-bit RSA in a numbered listing is a third of it.
const LONGEST: usize = 64 << 10;
/// What may stand before or after the base64 of a line.
const MARGIN: usize = 48;

/// The key around the words "PRIVATE KEY" at `at`.
pub(super) fn around(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let from = at.saturating_sub(40);
    let before = &text[from..at];
    let marker = |mark: &[u8]| {
        let start = memmem::rfind(before, mark)?;
        let kind = &before[start + mark.len()..];
        kind.iter()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b' ' | b'-'))
            .then_some(from + start)
    };
    let after = at + KIND.len();
    let tail = &text[after..text.len().min(after + 16)];
    let close = memmem::find(tail, DASHES).map_or(after, |i| after + i + DASHES.len());
    if let Some(start) = marker(BEGIN) {
        let end = body_end(text, close)?;
        return Some((start, end));
    }
    let end_marker = marker(END)?;
    let start = body_start(text, end_marker)?;
    Some((start, close))
}

/// Where the key that begins at `start` ends; `None` if nothing of it is there.
fn body_end(text: &[u8], start: usize) -> Option<usize> {
    let near = &text[start..text.len().min(start + LONGEST)];
    let until = memmem::find(near, BEGIN).unwrap_or(near.len());
    if let Some(end) = memmem::find(&near[..until], END) {
        let close = &near[end + END.len()..near.len().min(end + END.len() + 60)];
        let end = memmem::find(close, DASHES).map_or(end, |i| end + END.len() + i + DASHES.len());
        return has_key(&near[..end.min(until)]).then_some(start + end);
    }
    let body = start + lines(&near[..until], true);
    let body = if has_key(&text[start..body]) { body } else { start };
    let body = body.max(start + words(&near[..until]));
    (body > start).then_some(body)
}

/// What a key may say of itself before its base64 (RFC 1421, RFC 9580).
const HEADERS: [&[u8]; 6] =
    [b"Proc-Type:", b"DEK-Info:", b"Version:", b"Comment:", b"Hash:", b"Charset:"];

/// The length of the words that could be a key's whose lines were made one, and whose end was cut off.
fn words(text: &[u8]) -> usize {
    let said = text.trim_ascii_start();
    let mut at = text.len() - said.len();
    if HEADERS.iter().any(|header| said.starts_with(header)) {
        // The last thing a header says may be 32 of hex.
        let near = &text[at..text.len().min(at + 400)];
        let first = near.windows(20).position(|w| w.iter().all(|b| is_base64(*b)) && kinds(w) == 3);
        let Some(first) = first else { return 0 };
        at += first;
    }
    let (mut end, mut pending) = (0, at);
    loop {
        // Blanks, quotes, `\\n` and the like.
        let gap = text[pending..].iter().take_while(|b| !is_base64(**b)).count();
        let run = text[pending + gap..].iter().take_while(|b| is_base64(**b)).count();
        let word = &text[pending + gap..pending + gap + run];
        let is_last = text[pending + gap + run..].iter().all(|b| !b.is_ascii_alphanumeric());
        let is_key = match run {
            0 => return end,
            1..16 if end > 0 => is_last,
            _ if end > 0 => kinds(word) >= 2,
            // Of the first one there may be little; a word of a language begins with upper case at most.
            5.. if is_last => kinds(&word[1..]) >= 2,
            16..40 => word[0] != b'/' && kinds(word) == 3,
            40.. => word[0] != b'/' && kinds(word) >= 2,
            _ => false,
        };
        pending += gap + run;
        if is_key && gap <= MOST_BETWEEN {
            end = pending;
        } else if !is_margin(word) || gap > MOST_BETWEEN {
            return end;
        }
    }
}

/// What may be between two words of a key.
const MOST_BETWEEN: usize = 16;

/// Of lower case, upper case and digits, how many are in it; words of a language have one, as a rule.
fn kinds(word: &[u8]) -> usize {
    let of: [fn(&u8) -> bool; 3] =
        [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit];
    of.into_iter().filter(|of| word.iter().any(of)).count()
}

/// A line's number, or what is left of an escape.
fn is_margin(word: &[u8]) -> bool {
    word.len() < 8 && word.iter().all(|b| b.is_ascii_digit() || matches!(b, b'n' | b'r' | b'+'))
}

/// Where the key whose end marker is at `end` begins.
fn body_start(text: &[u8], end: usize) -> Option<usize> {
    let from = end.saturating_sub(LONGEST);
    let from = memmem::rfind(&text[from..end], END).map_or(from, |i| from + i + END.len());
    let mut start = end;
    // A line at a time, backwards; the last may be the marker's own.
    while start > from {
        let line =
            text[from..start - 1].iter().rposition(|b| *b == b'\n').map_or(from, |i| from + i + 1);
        if !is_body(text[line..start].trim_ascii()) {
            break;
        }
        start = line;
    }
    has_key(&text[start..end]).then_some(start)
}

/// How far lines of a key reach, continuing after the end of a line that was cut.
pub(super) fn continues(text: &[u8], at: usize) -> usize {
    let near = &text[at..text.len().min(at + LONGEST)];
    match near.first() {
        Some(b'\n' | b'\r') => at + lines(near, false),
        _ => at,
    }
}

/// The length of the lines that could be a key's; ends after base64, not after its margin.
fn lines(text: &[u8], headers: bool) -> usize {
    let (mut at, mut end) = (0, 0);
    while at < text.len() {
        let len = text[at..].iter().position(|b| *b == b'\n').map_or(text.len() - at, |i| i + 1);
        let line = text[at..at + len].trim_ascii();
        let header = headers && (line.windows(2).any(|w| w == b": ") && line.len() < 100);
        if !(line.is_empty() || header || is_body(line)) {
            break;
        }
        if !line.is_empty() && !header {
            let lead = text[at..at + len].iter().take_while(|b| b.is_ascii_whitespace()).count();
            let (start, run) = longest_run(line);
            end = at + lead + start + run;
        }
        at += len;
    }
    end
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// A line of base64 with a little around it, or only the little: a number, a sign, a quote.
fn is_body(line: &[u8]) -> bool {
    if line.is_empty() {
        return true;
    }
    let (start, run) = longest_run(line);
    let rest = line.len() - run;
    let margin = |part: &[u8]| {
        part.iter()
            .all(|b| b.is_ascii_digit() || !b.is_ascii_alphanumeric() || matches!(b, b'n' | b'r'))
    };
    let wide = run >= 16 && rest <= MARGIN;
    let last = run < 16 && line.len() <= 40 && (line.ends_with(b"=") || !line.contains(&b' '));
    (wide || last) && margin(&line[..start]) && margin(&line[start + run..])
}

/// The longest stretch of base64 in a line: where it starts, how long it is.
fn longest_run(line: &[u8]) -> (usize, usize) {
    let (mut best, mut at) = ((0, 0), 0);
    while at < line.len() {
        let run = line[at..].iter().take_while(|b| is_base64(**b)).count();
        if run > best.1 {
            best = (at, run);
        }
        at += run + 1;
    }
    best
}

/// Whether there is enough base64 to be some of a key, and not a blank to be filled.
fn has_key(body: &[u8]) -> bool {
    let (mut at, mut longest) = (0, &body[..0]);
    while at < body.len() {
        let run = body[at..].iter().take_while(|b| is_base64(**b)).count();
        if run > longest.len() {
            longest = &body[at..at + run];
        }
        at += run + 1;
    }
    longest.len() >= 20 && !longest.windows(8).any(|w| w.iter().all(|b| *b == w[0]) && w[0] != b'A')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Vec<String> {
        (0..6u32)
            .map(|line| {
                let code = |i: u32| {
                    char::from(
                        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                            [((i * 37 + line * 11 + i * i) % 64) as usize],
                    )
                };
                (0..64).map(code).collect()
            })
            .collect()
    }

    fn found(text: &str) -> Option<&str> {
        let at = text.find("PRIVATE KEY")?;
        around(text.as_bytes(), at).map(|(start, end)| &text[start..end])
    }

    #[test]
    fn keys_are_found_whole_numbered_quoted_and_cut() {
        let (begin, end) = ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----");
        let key = key();
        let whole = format!("{begin}\n{}\n{end}", key.join("\n"));
        let with =
            |lead: &str| whole.lines().map(|l| format!("{lead}{l}")).collect::<Vec<_>>().join("\n");
        let numbered: Vec<String> =
            whole.lines().enumerate().map(|(i, l)| format!("  {:>4}\u{2192}{l}", i + 9)).collect();
        let texts = [
            format!("a\n{whole}\nb"),
            with("    "),
            with("+ "),
            with("> "),
            numbered.join("\n"),
            whole.replace('\n', " "),
            whole.lines().map(|l| format!("\"{l}\\n\" +")).collect::<Vec<_>>().join("\n"),
            whole.replace('\n', "\\n"),
            format!(
                "{begin}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{}",
                key.join("\n")
            ),
            format!("{begin}\n{}\nand then prose goes on here", key.join("\n")),
            format!("some prose\n{}\n{end}\n", key[2..].join("\n")),
        ];
        for text in &texts {
            let got = found(text).unwrap_or_else(|| panic!("not found: {text}"));
            for line in key.iter().filter(|line| text.contains(*line)) {
                assert!(got.contains(line), "{text}\n-- {got}");
            }
            assert!(!got.contains("prose"), "{got}");
        }
    }

    #[test]
    fn of_a_key_in_one_line_whose_end_was_cut_off_nothing_is_left() {
        let key = key();
        for begin in ["-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN PGP PRIVATE KEY BLOCK-----"] {
            for (between, headers) in [
                (" ", ""),
                ("  ", ""),
                ("\\n", ""),
                ("\\r\\n", ""),
                ("\\\\n", ""),
                ("\\n\" \"", ""),
                (" 12\u{2192}", ""),
                (
                    " ",
                    "Proc-Type: 4,ENCRYPTED DEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF ",
                ),
                (" ", "Version: GnuPG v2 Comment: of 2026 "),
            ] {
                let whole = format!("{begin}{between}{headers}{}", key.join(between));
                let body = begin.len() + between.len() + headers.len();
                let least = if headers.is_empty() { 8 } else { 24 };
                for cut in (body + least..whole.len()).filter(|cut| whole.is_char_boundary(*cut)) {
                    for end in ["", "…"] {
                        let text = format!("cat failed: {}{end}", &whole[..cut]);
                        let got = found(&text).unwrap_or_else(|| panic!("not found: {text}"));
                        let left = text.rsplit_once(got).unwrap().1.trim_end_matches('…');
                        assert!(
                            !left.chars().any(|c| c.is_ascii_alphabetic() && !"nr".contains(c)),
                            "{text}\n-- {left}"
                        );
                    }
                }
            }
        }
        // What follows and is none of it stays.
        let text = format!("-----BEGIN PRIVATE KEY----- {} {} and prose", key[0], key[1]);
        assert!(found(&text).unwrap().ends_with(&key[1]));
    }

    #[test]
    fn a_mention_of_a_key_is_left() {
        for text in [
            "grep -----BEGIN RSA PRIVATE KEY----- *",
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\n<your key>\n-----END PRIVATE KEY-----",
            "starts with \"-----BEGIN PRIVATE KEY-----\" and ends with -----END PRIVATE KEY-----",
            "a file that begins with -----BEGIN PGP PRIVATE KEY BLOCK----- is refused",
            "it begins with -----BEGIN PRIVATE KEY-----, see internationalization of 2026",
            "-----BEGIN OPENSSH PRIVATE KEY----- src/keys/reader2.rs:14: const BEGIN",
            "if text.contains(\"-----BEGIN RSA PRIVATE KEY-----\") { return isPrivateKeyFile(path); }",
            "-----BEGIN RSA PRIVATE KEY----- Proc-Type: 4,ENCRYPTED is what it says",
            "Begin with -----BEGIN PRIVATE KEY-----…",
            "it begins with -----BEGIN PRIVATE KEY-----. Others do not",
            "-----BEGIN PRIVATE KEY----- Otherwise",
            "-----BEGIN PRIVATE KEY-----\") => looksLikeAPrivateKey(path)",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
