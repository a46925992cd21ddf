//! Fills the service files: each format's quoting, and its inverse for `status`.
//!
//! Pure, and the same on every platform, so that every format is tested on each of them.
//! Invariant: what `*_binary` reads back is what was filled in, whatever its characters.

use std::borrow::Cow;

/// The systemd user unit.
pub(super) const UNIT: &str = include_str!("../../../systemd/rrd.service");
/// The launchd agent.
pub(super) const AGENT: &str = include_str!("../../../launchd/dev.rrd.daemon.plist");
/// The Windows logon task.
pub(super) const TASK: &str = include_str!("rrd-task.xml");

/// What every file of ours says of itself; one without it is somebody else's.
pub(super) const MARK: &str = "Written by `rrd service install`";

/// Replaces each `@NAME@` once, in one pass: what is filled in is never looked at again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some(at) = rest.find('@') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match values.iter().find(|(name, _)| from.starts_with(name)) {
            Some((name, value)) => {
                out.push_str(value);
                rest = &from[name.len()..];
                // An empty value on a line of its own would leave a hole.
                if value.is_empty() && out.ends_with('\n') {
                    rest = rest.strip_prefix('\n').unwrap_or(rest);
                }
            }
            None => {
                out.push('@');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// One word of a systemd setting: quoted, C-escaped, specifiers doubled.
///
/// `$` stays single: it is expanded neither in the path of a command nor in `Environment=`, and
/// `$$` would be taken as it stands there.
pub(super) fn systemd_word(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '%' => out.push_str("%%"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The binary in a unit.
pub(super) fn systemd_binary(unit: &str) -> Option<String> {
    let value = unit.lines().find_map(|line| line.strip_prefix("ExecStart=\""))?;
    let mut out = String::new();
    let mut chars = value.chars();
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                't' => out.push('\t'),
                c => out.push(c),
            },
            '%' => {
                chars.next()?;
                out.push('%');
            }
            c => out.push(c),
        }
    }
}

/// Text inside an XML element.
pub(super) fn xml_text(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn xml_unescaped(text: &str) -> String {
    // `&amp;` last, or `&amp;lt;` would be undone twice.
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The binary in a launchd agent: the first of its program arguments.
pub(super) fn launchd_binary(agent: &str) -> Option<String> {
    let (_, arguments) = agent.split_once("<key>ProgramArguments</key>")?;
    let (_, first) = arguments.split_once("<string>")?;
    first.split_once("</string>").map(|(text, _)| xml_unescaped(text))
}

/// One argument of a Windows command line, quoted as its C runtime takes it apart.
pub(super) fn windows_word(text: &str) -> String {
    let mut out = String::from("\"");
    let mut backslashes = 0;
    for c in text.chars() {
        if c == '"' {
            // Backslashes before a quote count double, and the quote itself needs one.
            out.extend(std::iter::repeat_n('\\', backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        out.push(c);
    }
    out.extend(std::iter::repeat_n('\\', backslashes));
    out.push('"');
    out
}

/// The binary in a logon task. A Windows path holds no quotes, so none are undone.
pub(super) fn windows_binary(task: &str) -> Option<String> {
    let (_, arguments) = task.split_once("<Arguments>")?;
    let (arguments, _) = arguments.split_once("</Arguments>")?;
    let arguments = xml_unescaped(arguments);
    let (_, path) = arguments.split_once('"')?;
    path.split_once('"').map(|(path, _)| path.to_owned())
}

/// `schtasks /XML` believes the file's own `encoding="UTF-16"`, and wants the mark to go with it.
pub(super) fn utf16_file(text: &str) -> Vec<u8> {
    std::iter::once('\u{feff}')
        .chain(text.chars().flat_map(|c| (c == '\n').then_some('\r').into_iter().chain([c])))
        .collect::<String>()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// A service file as text again, whichever way it was written.
pub(super) fn file_text(bytes: &[u8]) -> String {
    match bytes.strip_prefix(&[0xff, 0xfe]) {
        Some(utf16) => {
            let units: Vec<u16> =
                utf16.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units).replace("\r\n", "\n")
        }
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}
