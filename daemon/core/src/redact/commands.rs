//! Passwords that neither a shape nor a name gives away but their place: in an address, after a flag
//! of a certain command, in a header, in a statement.

use super::{
    names::Class,
    value::{Place, is_secret, is_stand_in, seen},
};

/// How far a command line or a header goes.
const LINE: usize = 2048;
/// The longest password that a command takes.
const VALUE: usize = 512;

/// A command, and the flag after which it takes a password.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    flags: &'static [&'static str],
    takes: Takes,
}

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Password,
    /// Without a blank between.
    Attached,
    /// `user:password`, or `token:`.
    User,
    /// `name=value; …`, or a file's name.
    Cookies,
}

/// Sources: the manual pages of these commands.
pub(super) const COMMANDS: &[Command] = &[
    Command { name: "curl ", flags: &["-u", "--user", "-U", "--proxy-user"], takes: Takes::User },
    Command { name: "curl ", flags: &["-b", "--cookie"], takes: Takes::Cookies },
    Command { name: "gh secret set", flags: &["-b", "--body"], takes: Takes::Password },
    Command { name: "wget ", flags: &["--auth"], takes: Takes::User },
    Command { name: "http ", flags: &["-a", "--auth"], takes: Takes::User },
    Command { name: "mysql", flags: &["-p"], takes: Takes::Attached },
    Command { name: "mariadb", flags: &["-p"], takes: Takes::Attached },
    Command { name: "sshpass ", flags: &["-p"], takes: Takes::Password },
    Command { name: "docker login", flags: &["-p"], takes: Takes::Password },
    Command { name: "podman login", flags: &["-p"], takes: Takes::Password },
    Command { name: "registry login", flags: &["-p"], takes: Takes::Password },
    Command { name: "az login", flags: &["-p"], takes: Takes::Password },
    Command { name: "oc login", flags: &["-p"], takes: Takes::Password },
    Command { name: "redis-cli", flags: &["-a"], takes: Takes::Password },
    Command { name: "ldapsearch", flags: &["-w"], takes: Takes::Password },
    Command { name: "mongosh", flags: &["-p"], takes: Takes::Password },
    Command { name: "mongodump", flags: &["-p"], takes: Takes::Password },
    Command { name: "htpasswd -b", flags: &["-b"], takes: Takes::Password },
    Command { name: "unzip ", flags: &["-P"], takes: Takes::Password },
    Command { name: "7z ", flags: &["-p"], takes: Takes::Attached },
    Command {
        name: "openssl ",
        flags: &["-passin pass:", "-passout pass:", "-k"],
        takes: Takes::Password,
    },
    Command { name: "smbclient ", flags: &["-U"], takes: Takes::User },
];

/// Where the line of a command that goes on at `at` ends; over a backslash at its end it goes on.
fn line_end(text: &[u8], at: usize) -> usize {
    let limit = text.len().min(at + LINE);
    let mut from = at;
    loop {
        let end = memchr::memchr(b'\n', &text[from..limit]).map_or(limit, |i| from + i);
        if end + 1 >= limit || !text[..end].trim_ascii_end().ends_with(b"\\") {
            return end;
        }
        from = end + 1;
    }
}

impl Command {
    /// Calls `found` with each password in the command that goes on at `at`; gives how far it looked.
    pub(super) fn passwords(
        &self,
        text: &[u8],
        at: usize,
        found: &mut dyn FnMut(usize, usize),
    ) -> usize {
        let mut from = at;
        let mut end = line_end(text, at);
        while let Some(after) = self.next_flag(text, from, end) {
            from = after;
            let mut start = after;
            if self.takes != Takes::Attached {
                start += text[start..end].iter().take_while(|b| matches!(b, b' ' | b'=')).count();
            }
            let escaped = text[start..end].iter().take_while(|b| **b == b'\\').count();
            let quote = text
                .get(start + escaped)
                .copied()
                .filter(|b| matches!(b, b'"' | b'\'') && start + escaped < end);
            if quote.is_some() {
                start += escaped + 1;
            }
            let stop = word_end(text, start, quote);
            if self.takes == Takes::Cookies {
                if text[start..stop].contains(&b'=') {
                    // They are looked at once, however many flags are among them.
                    from = cookies(text, start, found).max(stop);
                    end = line_end(text, from);
                }
                continue;
            }
            let value = &text[start..stop];
            let (skip, stop) = match self.takes {
                Takes::User => match of_user(text, start, stop, quote) {
                    Some((from, stop)) => (from - start, stop),
                    None => continue,
                },
                _ => (0, stop),
            };
            let secret = &text[start + skip..stop];
            if secret.len() >= 4
                && is_password(secret)
                && !is_stand_in(value)
                && !(self.takes == Takes::Attached && secret.starts_with(b"assword"))
            {
                found(start + skip, stop);
                from = stop;
                // A long row of passwords is one command: no border within it that moves with what is replaced.
                end = line_end(text, stop);
            }
        }
        end
    }

    fn next_flag(&self, text: &[u8], from: usize, end: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let dash = at + memchr::memchr(b'-', &text[at..end])?;
            at = dash + 1;
            if dash > 0 && !matches!(text[dash - 1], b' ' | b'\t' | b'\n' | b'"' | b'\'') {
                continue;
            }
            for flag in self.flags {
                let after = dash + flag.len();
                if after >= end || &text[dash..after] != flag.as_bytes() {
                    continue;
                }
                let next = text[after];
                let apart = matches!(next, b' ' | b'=' | b'"' | b'\'') || flag.ends_with(':');
                let attached = self.takes == Takes::Attached;
                if attached != apart && (!attached || next != b'-')
                    || attached && matches!(next, b'"' | b'\'')
                {
                    return Some(after);
                }
                if self.takes == Takes::User && flag.len() == 2 && next.is_ascii_alphanumeric() {
                    return Some(after);
                }
            }
        }
    }
}

/// Where a word of a command ends: whole, wherever the look at the command does.
fn word_end(text: &[u8], start: usize, quote: Option<u8>) -> usize {
    let stops = |b: u8| match quote {
        Some(quote) => b == quote || matches!(b, b'\\' | b'\n'),
        None => {
            b.is_ascii_whitespace()
                || matches!(b, b'"' | b'\'' | b'`' | b'|' | b';' | b')' | b'<' | b'>' | b'\\')
        }
    };
    let limit = text.len().min(start + VALUE);
    text[start..limit].iter().position(|b| stops(*b)).map_or(limit, |i| start + i)
}

/// The password of `user:password`, each in quotes of its own if need be; or the token of `token:`.
fn of_user(text: &[u8], start: usize, stop: usize, quote: Option<u8>) -> Option<(usize, usize)> {
    let value = &text[start..stop];
    let is_quote = |at: usize| text.get(at).copied().filter(|b| matches!(b, b'"' | b'\''));
    let colon = value.iter().position(|b| *b == b':' || *b == b'%');
    let behind = match (colon, quote) {
        (Some(colon), _) => start + colon + 1,
        // `"user":"password"`
        (None, Some(_)) if is_quote(stop).is_some() && text.get(stop + 1) == Some(&b':') => {
            stop + 2
        }
        _ => return None,
    };
    if behind < stop {
        return Some((behind, stop));
    }
    let apart = quote.is_none() || behind > stop;
    if let Some(own) = is_quote(behind).filter(|_| apart) {
        return Some((behind + 1, word_end(text, behind + 1, Some(own))));
    }
    if behind > stop {
        return Some((behind, word_end(text, behind, None)));
    }
    let user = &text[start..behind - 1];
    (user.len() >= 12 && is_secret(Class::Secret, user, Place::Quoted))
        .then_some((start, behind - 1))
}

/// No word that stands for one.
fn is_password(secret: &[u8]) -> bool {
    const STOPS: [&str; 14] = [
        "password",
        "pass",
        "passwd",
        "pw",
        "pwd",
        "secret",
        "token",
        "user",
        "username",
        "x-oauth-basic",
        "mypassword",
        "userpass",
        "passphrase",
        "stdin",
    ];
    let secret = &*seen(secret);
    let lower = secret.to_ascii_lowercase();
    !is_stand_in(secret)
        && !STOPS.iter().any(|stop| lower == stop.as_bytes())
        && !secret.starts_with(b"$")
        && !secret.starts_with(b"{")
}

/// The password of `scheme://user:password@host`; `colon` is at `x://`, `at` behind it.
pub(super) fn url_password(text: &[u8], scheme: usize, at: usize) -> Option<(usize, usize)> {
    let limit = text.len().min(at + 256);
    // Most addresses name nobody.
    let last = memchr::memrchr(b'@', &text[at..limit])?;
    let stop = |b: u8| {
        b.is_ascii_whitespace()
            || matches!(b, b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\')
            || b < 0x20
    };
    let end = text[at..at + last + 1].iter().position(|b| stop(*b));
    let end = end.map_or(at + last + 1, |i| at + i);
    let run = &text[at..end];
    let slash = run.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(run.len());
    let http = text[..=scheme].ends_with(b"http") || text[..=scheme].ends_with(b"https");
    let sign = match run[..slash].iter().rposition(|b| *b == b'@') {
        Some(sign) => sign,
        // A password may hold a slash where nobody expects paths.
        None if !http => {
            let sign = run.iter().rposition(|b| *b == b'@')?;
            run[..sign].contains(&b':').then_some(sign)?
        }
        None => return None,
    };
    let info = &run[..sign];
    let (from, secret) = match info.iter().position(|b| *b == b':') {
        Some(colon) => (colon + 1, &info[colon + 1..]),
        None => (0, info),
    };
    let is = match from {
        0 => secret.len() >= 16 && is_secret(Class::Secret, secret, Place::Quoted),
        _ => {
            secret.len() >= 2 && is_password(secret) && !secret.contains(&b'/')
                || secret.len() >= 6 && is_password(secret)
        }
    };
    is.then_some((at + from, at + sign))
}

/// What follows `Bearer ` or `Basic `.
pub(super) fn authorization(text: &[u8], at: usize, basic: bool) -> Option<(usize, usize)> {
    let is_token = |b: &u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-' | b':')
    };
    let end = at + text[at..].iter().take(LINE * 4).take_while(|b| is_token(b)).count();
    let end =
        at + text[at..end].iter().rposition(|b| !matches!(b, b'.' | b':')).map_or(0, |i| i + 1);
    let token = &text[at..end];
    let is = match basic {
        true => is_user_and_password(token),
        false => is_secret(Class::Secret, token, Place::Quoted) && token.len() >= 12,
    };
    is.then_some((at, end))
}

/// Base64 of `user:password`, as of HTTP's Basic and of a registry's `auth`.
pub(super) fn is_user_and_password(token: &[u8]) -> bool {
    if token.len() < 8 || token.len() > 4096 {
        return false;
    }
    let (mut bits, mut count, mut colon) = (0u32, 0, false);
    for byte in token.iter().take_while(|b| **b != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            let byte = (bits >> count) & 0xff;
            if byte < 0x20 || byte == 0x7f {
                return false;
            }
            colon |= byte == u32::from(b':');
        }
    }
    colon
}

/// The values of a header with cookies.
pub(super) fn cookies(text: &[u8], at: usize, found: &mut dyn FnMut(usize, usize)) -> usize {
    const ATTRIBUTES: [&str; 7] =
        ["path", "domain", "expires", "max-age", "samesite", "version", "priority"];
    let limit = text.len().min(at + LINE * 2);
    let mut at = at
        + text[at..limit].iter().take_while(|b| matches!(b, b' ' | b'\t' | b'"' | b'\\')).count();
    let end = text[at..limit]
        .iter()
        .position(|b| matches!(b, b'\n' | b'\r' | b'"' | b'\'' | b'\\'))
        .map_or(limit, |i| at + i);
    while at < end {
        let stop = text[at..end].iter().position(|b| *b == b';').map_or(end, |i| at + i);
        let pair = &text[at..stop];
        if let Some(equals) = pair.iter().position(|b| *b == b'=') {
            let name = pair[..equals].trim_ascii().to_ascii_lowercase();
            let value = &pair[equals + 1..];
            let known = ATTRIBUTES.iter().any(|a| name == a.as_bytes());
            if !known
                && !name.contains(&b' ')
                && value.len() >= 8
                && is_secret(Class::Secret, value, Place::Quoted)
            {
                found(at + equals + 1, stop);
            }
        }
        at = stop + 1;
    }
    end
}

/// `IDENTIFIED BY 'password'`.
pub(super) fn sql_password(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let near = &text[at..text.len().min(at + 64)];
    let lead = near.iter().position(|b| matches!(b, b'\'' | b'"'))?;
    let blank = near[..lead].iter().all(|b| *b == b' ' || *b == b'\\')
        || near[..lead].ends_with(b"BY ")
        || near[..lead].ends_with(b"PASSWORD ");
    let start = at + lead + 1;
    let end = start
        + text[start..text.len().min(start + 256)]
            .iter()
            .position(|b| *b == near[lead] || *b == b'\\')?;
    (blank && is_secret(Class::Password, &text[start..end], Place::Quoted)).then_some((start, end))
}

/// `host:5432:database:user:password`, from behind the port.
pub(super) fn pgpass(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let near = &text[at..text.len().min(at + 256)];
    let end = near
        .iter()
        .position(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'\\'))
        .unwrap_or(near.len());
    let mut colons = near[..end].iter().enumerate().filter(|(_, b)| **b == b':').map(|(i, _)| i);
    let start = colons.nth(1)? + 1;
    (end > start + 3 && is_password(&near[start..end])).then_some((at + start, at + end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_take_passwords_after_their_flags() {
        let cases = [
            ("curl --user roger@x.org:pQ9wTxu4Fg https://x", Some("pQ9wTxu4Fg")),
            ("curl -u admin:s3cretX1 x", Some("s3cretX1")),
            ("curl -s -u 'admin:s3cretX1' x", Some("s3cretX1")),
            ("curl -sL --user \"$USER:$PASSWORD\" x", None),
            ("curl --insecure --user \"username:password\" \\", None),
            ("curl --user ${f5user}:${f5pass} x", None),
            ("mysql -h db -u root -pS3cret99 app", Some("S3cret99")),
            ("mysql -u root -p app", None),
            ("mysql -u root -p$PASS app", None),
            ("sshpass -p 'hunter2x' ssh x", Some("hunter2x")),
            ("docker login -u me -p dckr99xyz reg", Some("dckr99xyz")),
            ("redis-cli -a q8Hw2mzz ping", Some("q8Hw2mzz")),
            ("curl -u me:'s3cretX1' x", Some("s3cretX1")),
            ("curl --user \"me\":\"s3cretX1\" x", Some("s3cretX1")),
            ("curl --user \"me\":s3cretX1 x", Some("s3cretX1")),
            ("curl -u \"d2LkV78zLx!t:\" x", Some("d2LkV78zLx!t")),
            ("curl -u d2LkV78zLx7t: x", Some("d2LkV78zLx7t")),
            ("curl -u administrator: x", None),
            ("curl -u 'me:' 's3cretX1' x", None),
        ];
        for (text, want) in cases {
            let command = COMMANDS.iter().find(|c| text.starts_with(c.name)).unwrap();
            let mut got = None;
            command.passwords(text.as_bytes(), command.name.len(), &mut |start, end| {
                got = Some(&text[start..end])
            });
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn addresses_keep_all_but_their_password() {
        let cases = [
            ("postgres://app:s3cr3t@db:5432/x", Some("s3cr3t")),
            ("http://cafebabe:deadbeef@gems.x.com/", Some("deadbeef")),
            ("redis://:p4ssw0rd@h:6379/0", Some("p4ssw0rd")),
            ("https://user:pass@host", None),
            ("https://x.org/a@b", None),
            ("https://${USER}:${PASS}@host", None),
            ("mysql://u:p/w0rd9@h/db", Some("p/w0rd9")),
            ("https://me@x.org", None),
        ];
        for (text, want) in cases {
            let at = text.find("://").unwrap();
            assert_eq!(
                url_password(text.as_bytes(), at - 1, at + 3).map(|(s, e)| &text[s..e]),
                want,
                "{text}"
            );
        }
    }
}
