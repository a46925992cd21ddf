//! The command that a harness is told to run, and how it is known again.

use std::path::Path;

use crate::text;

/// How long a harness may wait for it. It takes a twentieth of a second; a machine that is busy
/// beyond measure takes longer to start it.
pub(super) const TIMEOUT_SECONDS: u64 = 5;

/// The command for `harness`; `None` for a binary whose path cannot be written down safely.
pub(super) fn line(binary: &str, harness: &str) -> Option<String> {
    let word = if cfg!(windows) {
        // Bash and cmd.exe agree on this much.
        let path = binary.replace('\\', "/");
        let odd = |c: char| c.is_control() || "\"$`%!".contains(c);
        (!path.contains(odd)).then(|| format!("\"{path}\""))
    } else {
        text::shell_word(binary)
    };
    Some(format!("{} hook {harness}", word?))
}

/// The binary that `command` runs, if that is rrd as a hook of `harness`.
pub(super) fn binary(command: &str, harness: &str) -> Option<String> {
    let words = words(command)?;
    let [binary, verb, of] = words.as_slice() else { return None };
    let name = Path::new(binary).file_stem()?;
    (name == "rrd" && verb == "hook" && of == harness).then(|| binary.clone())
}

/// The words of a simple command, as a shell reads them; `None` for anything less simple.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let inner = chars.as_str();
                let end = inner.find('\'')?;
                word.get_or_insert_default().push_str(&inner[..end]);
                chars = inner[end + 1..].chars();
            }
            '"' => {
                let inner = chars.as_str();
                let end = inner.find('"')?;
                word.get_or_insert_default().push_str(&inner[..end]);
                chars = inner[end + 1..].chars();
            }
            '\\' if !cfg!(windows) => word.get_or_insert_default().push(chars.next()?),
            '\n' | ';' | '&' | '|' | '<' | '>' | '$' | '`' | '(' | ')' => return None,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_command_is_known_again() {
        for path in
            ["/usr/local/bin/rrd", "/home/a b/.cargo/bin/rrd", "/o'brien/rrd", "/a\"b$c`d/rrd"]
        {
            let line = line(path, "codex").unwrap();
            assert_eq!(binary(&line, "codex").as_deref(), Some(path), "{line}");
            assert_eq!(binary(&line, "claude-code"), None);
        }
        assert_eq!(line("/usr/bin/rrd", "codex").unwrap(), "/usr/bin/rrd hook codex");
        assert_eq!(line("/a\nb/rrd", "codex"), None);
    }

    #[test]
    fn others_commands_are_not_ours() {
        for other in [
            "",
            "rrd",
            "rrd hook",
            "rrd hook codex --loud",
            "rrd hook codex; rm -rf /",
            "rrd hook codex || true",
            "/usr/bin/rrdtool hook codex",
            "'rrd hook codex",
            "echo rrd hook codex",
        ] {
            assert_eq!(binary(other, "codex"), None, "{other}");
        }
        assert_eq!(binary("rrd  hook codex", "codex").as_deref(), Some("rrd"));
        assert_eq!(binary("\"C:/x/rrd.exe\" hook codex", "codex").as_deref(), Some("C:/x/rrd.exe"));
    }
}
