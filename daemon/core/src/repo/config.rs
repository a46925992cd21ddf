//! The settings in the text of a git `config` file, by the rules of git-config(1), "Syntax".
//!
//! Not here: what they say of remotes ([`super::remotes`]), and other files that one includes.

use std::{iter::Peekable, str::Chars};

/// Of other sections nothing is kept.
const SECTIONS: [&str; 6] = ["branch", "extensions", "include", "includeif", "remote", "url"];

/// `[section "name"] key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub(super) section: String,
    pub(super) name: Option<String>,
    pub(super) key: String,
    pub(super) value: String,
}

impl Setting {
    /// The file whose settings stand here, and whether they do without a condition.
    #[must_use]
    pub fn included(&self) -> Option<(&str, bool)> {
        let always = match (self.section.as_str(), &self.name) {
            ("include", None) => true,
            ("includeif", Some(_)) => false,
            _ => return None,
        };
        (self.key == "path" && !self.value.is_empty()).then_some((&self.value, always))
    }
}

/// Those that tell of remotes, in the order in which they stand there.
#[must_use]
pub fn settings(config: &str) -> Vec<Setting> {
    let text = config.strip_prefix('\u{feff}').unwrap_or(config).replace("\r\n", "\n");
    let mut text = text.chars().peekable();
    let (mut found, mut of) = (Vec::new(), None);
    while let Some(c) = text.next() {
        match c {
            '#' | ';' => skip_line(&mut text),
            '[' => of = header(&mut text).filter(|(section, _)| SECTIONS.contains(&&**section)),
            c if c.is_whitespace() => {}
            c => {
                let mut key = String::from(c);
                key.push_str(&word(&mut text, |c| c.is_ascii_alphanumeric() || c == '-'));
                skip_blanks(&mut text);
                // One without a value is a switch.
                let value = text.next_if_eq(&'=').map(|_| value(&mut text)).unwrap_or_default();
                if let Some((section, name)) = of.clone() {
                    found.push(Setting { section, name, key: key.to_ascii_lowercase(), value });
                }
            }
        }
    }
    found
}

type Text<'t> = Peekable<Chars<'t>>;

/// What a section is about: `[remote "origin"]`, or as it was written once, `[remote.origin]`.
fn header(text: &mut Text<'_>) -> Option<(String, Option<String>)> {
    let section = word(text, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    let section = section.to_ascii_lowercase();
    skip_blanks(text);
    let mut name = None;
    if text.next_if_eq(&'"').is_some() {
        let name = name.insert(String::new());
        loop {
            match text.next()? {
                '"' => break,
                '\n' => return None,
                '\\' => name.push(text.next()?),
                c => name.push(c),
            }
        }
    }
    skip_blanks(text);
    text.next_if_eq(&']')?;
    Some(match (section.split_once('.'), name) {
        (None, name) => (section, name),
        (Some((of, begins)), None) => (of.to_owned(), Some(begins.to_owned())),
        (Some((of, begins)), Some(name)) => (of.to_owned(), Some(format!("{begins}.{name}"))),
    })
}

/// What stands behind a `=`, up to the end of the line or a comment.
fn value(text: &mut Text<'_>) -> String {
    // Blanks at the end are none of it, unless they are quoted.
    let (mut value, mut length, mut is_quoted) = (String::new(), 0, false);
    skip_blanks(text);
    while let Some(c) = text.next() {
        match c {
            '\n' => break,
            '#' | ';' if !is_quoted => {
                skip_line(text);
                break;
            }
            '"' => is_quoted = !is_quoted,
            '\\' => match text.next() {
                // The line goes on.
                Some('\n') | None => continue,
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('b') => value.push('\u{8}'),
                Some(c) => value.push(c),
            },
            c if c.is_whitespace() && !is_quoted => {
                value.push(c);
                continue;
            }
            c => value.push(c),
        }
        length = value.len();
    }
    value.truncate(length);
    value
}

fn word(text: &mut Text<'_>, is_of_it: impl Fn(char) -> bool) -> String {
    std::iter::from_fn(|| text.next_if(|c| is_of_it(*c))).collect()
}

fn skip_blanks(text: &mut Text<'_>) {
    while text.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
}

fn skip_line(text: &mut Text<'_>) {
    let _ = text.find(|c| *c == '\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The URLs of remotes, and whose they are.
    fn remotes(config: &str) -> Vec<(String, String)> {
        let all = settings(config).into_iter();
        let urls =
            all.filter(|it| it.section == "remote" && it.key == "url" && !it.value.is_empty());
        urls.filter_map(|it| Some((it.name?, it.value))).collect()
    }

    #[test]
    fn remotes_are_read_as_git_reads_them() {
        let url = "git@h:acme/secret.git";
        for config in [
            "[remote \"origin\"]\n\turl = git@h:acme/secret.git # mine\n",
            "[remote \"origin\"]\n\turl = git@h:acme/secret.git;mine\n",
            "[remote \"origin\"] ; a comment\n\turl=git@h:acme/secret.git",
            "# [remote \"no\"]\n; url = no\n[Remote \"origin\"]\n\tURL = git@h:acme/secret.git\n",
            "[remote \"origin\"] url = git@h:acme/secret.git\n",
            "[core]\n\tbare\n[remote \"origin\"] fetch = +a:b\n url = git@h:acme/secret.git  \t\n",
            "[remote \"origin\"]\r\n\turl = git@h:acme/secret.git\r\n",
            "[remote \"origin\"]\n\turl = git@h:\"acme/secret\".git\n",
            "[remote \"origin\"]\n\turl = \"git@h:acme/secret.git\" # mine\n",
            "[remote \"origin\"]\n\turl = git@h:acme/\\\nsecret.git\n",
            "[remote \"origin\"]\n\turl = git@h:acme/secret\\\n.git\\\n\n[core]\n",
            "[ remote \"no\"]\nurl = no\n[remote \"ori\\gin\"]\n\turl = git@h:acme/secret.git\n",
            "[remote.Origin]\n\turl = git@h:acme/secret.git\n",
            "\u{feff}[remote \"origin\"]\n\turl = git@h:acme/secret.git\n",
            "[remote \"origin\"]\nurl\nurl =\n\turl = git@h:acme/secret.git\n",
        ] {
            let found = remotes(config);
            let found: Vec<_> = found.iter().filter(|(name, _)| name != "no").collect();
            assert_eq!(found, [&("origin".to_owned(), url.to_owned())], "{config}");
        }
    }

    #[test]
    fn what_is_quoted_stays_what_it_is() {
        let of = |config| remotes(config).pop();
        let some = |name: &str, url: &str| Some((name.to_owned(), url.to_owned()));
        assert_eq!(of("[remote \"a \\\"b\\\\\"]\nurl = x"), some("a \"b\\", "x"));
        assert_eq!(of("[remote \"Origin\"]\nurl = x"), some("Origin", "x"));
        assert_eq!(of("[remote \"a\"]\nurl = \"/b #c; \" # d"), some("a", "/b #c; "));
        assert_eq!(of("[remote \"a\"]\nurl = /my \\\"b\\\"\\\\c"), some("a", "/my \"b\"\\c"));
        assert_eq!(of("[remote \"a\"]\nurl = a\\tb\\nc"), some("a", "a\tb\nc"));
        for none in
            ["[remote]\nurl = x", "[branch \"a\"]\nurl = x", "[remote \"a\nurl = x", "url = x"]
        {
            assert_eq!(of(none), None, "{none}");
        }
        for cut in
            ["[", "[remote", "[remote \"", "[remote \"a\\", "[remote \"a\"]\nurl = \\", "\"="]
        {
            assert_eq!(of(cut), None, "{cut}");
        }
    }

    #[test]
    fn other_files_are_named_with_and_without_a_condition() {
        let config = "[include]\n\tpath = a.inc\n\tpath =\n[Include \"x\"]\npath = no\n[includeIf]\n\
                      path = no\n[includeIf \"gitdir:~/work/\"]\n\tPath = \"~/b c\"\n[core]\npath = no\n";
        let all = settings(config);
        let named: Vec<_> = all.iter().filter_map(Setting::included).collect();
        assert_eq!(named, [("a.inc", true), ("~/b c", false)]);
    }

    #[test]
    fn names_with_dots_are_put_together() {
        let of = |config| settings(config).pop().map(|it| (it.section, it.name, it.value));
        let some = |name: Option<&str>, value: &str| {
            Some(("url".to_owned(), name.map(str::to_owned), value.to_owned()))
        };
        let base = "git@h:acme/x.y";
        assert_eq!(of("[url \"git@h:acme/x.y\"]\ninsteadOf = w:"), some(Some(base), "w:"));
        assert_eq!(of("[url.a \"B.c\"]\ninsteadOf = w:"), some(Some("a.B.c"), "w:"));
        assert_eq!(of("[url]\ninsteadOf"), some(None, ""));
        assert_eq!(of("[core \"url\"]\ninsteadOf = w:"), None);
    }
}
