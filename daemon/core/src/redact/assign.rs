//! Names and the values given to them, in whatever language: `NAME=value`, `"name": "value"`,
//! `--name value`, `name("value")`, `<name>value</name>`, `Name: Bearer value`.
//!
//! One careful reader of the few bytes after a name instead of a grammar per language. Everything is
//! bounded: it looks at most [`NEAR`] bytes ahead before it has decided. Not here: what names say
//! ([`super::names`]), what values are ([`super::value`]).

use super::{
    extent::{Value, html_quote, scheme, take},
    names::{Class, classify},
    parts::Parts,
    value::{Place, is_secret, is_wordy, seen},
};

/// How far around a name is looked.
const NEAR: usize = 64;

/// A value that is a secret because of its name: its place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) class: Class,
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' || byte == b'.'
}

/// The whole name around the word at `at`.
pub(super) fn name_around(text: &[u8], at: usize, len: usize) -> (usize, usize) {
    let from = at.saturating_sub(NEAR);
    let mut start =
        text[from..at].iter().rposition(|b| !is_name(*b)).map_or(from, |i| from + i + 1);
    let to = text.len().min(at + len + NEAR);
    let mut end = text[at + len..to].iter().position(|b| !is_name(*b)).map_or(to, |i| at + len + i);
    // `-->`, a full stop, a dash between words are not the name's.
    while end > at + len && matches!(text[end - 1], b'-' | b'.') {
        end -= 1;
    }
    while start < at && matches!(text[start], b'-' | b'.') {
        start += 1;
    }
    (start, end)
}

/// The value given to the name at `start..end`, if it is a secret.
pub(super) fn assigned(text: &[u8], start: usize, end: usize) -> Option<Assigned> {
    if start >= 10 && &text[start - 10..start] == b"[REDACTED:" {
        return None;
    }
    let class = classify(&text[start..end]);
    if class == Class::None {
        return None;
    }
    let value = find_value(text, start, end, class)?;
    let name = start;
    let start = value.start + scheme(&text[value.start..value.end]);
    let place = if start > value.start { Place::Quoted } else { value.place };
    // `user.password = hashed` is code; settings with words for passwords have no blanks, or quotes.
    let blank = text.get(end) == Some(&b' ');
    let judged = &*seen(&text[start..value.end]);
    if blank && place == Place::Setting && is_wordy(judged) && !is_flag(text, name) {
        return None;
    }
    is_secret(class, judged, place).then(|| Assigned { start, end: value.whole(text), class })
}

/// Whether the name is a command's flag.
fn is_flag(text: &[u8], start: usize) -> bool {
    start >= 1 && text[start - 1] == b'-'
}

/// Walks from the name over quotes, types and an operator to the value.
fn find_value(text: &[u8], start: usize, end: usize, class: Class) -> Option<Value> {
    let limit = text.len().min(end + NEAR);
    let mut at = end;
    let mut quoted_name = false;
    let is_flag = is_flag(text, start);
    // What closes the name: quotes, brackets, their escapes, HTML's quotes, markdown's stars.
    while at < limit {
        if let Some(len) = html_quote(&text[at..limit]) {
            at += len;
            quoted_name = true;
            continue;
        }
        match text[at] {
            b'"' | b'\'' | b'`' => quoted_name = true,
            b'\\' | b']' | b')' | b'*' | b'}' => {}
            b'?' | b'!' if text.get(at + 1) == Some(&b':') || text.get(at + 1) == Some(&b'=') => {}
            _ => break,
        }
        at += 1;
    }
    let spaced = at;
    at = skip_blanks(text, at, limit);
    let had_space = at > spaced;
    let rest = &text[at..limit];
    let setting = is_flag || begins_line(text, start, quoted_name);
    let first = *rest.first()?;
    if matches!(first, b'\n' | b'\r') && is_named(text, start) {
        let from = value_key(text, at)?;
        return take(text, from, Place::Setting, false, false);
    }
    let two = rest.get(..2).unwrap_or_default();
    let mut bare = setting;
    let mut colon = false;
    at += match first {
        _ if rest.starts_with(b"%3D") || rest.starts_with(b"%3d") || rest.starts_with(b"%3A") => 3,
        _ if rest.starts_with(b"=&gt;") || rest.starts_with(b"-&gt;") => 5,
        _ if rest.starts_with(b"===")
            || rest.starts_with(b"!==")
            || rest.starts_with(b"||=")
            || rest.starts_with(b"??=")
            || rest.starts_with(b"::=") =>
        {
            3
        }
        _ if two == b"=>"
            || two == b":="
            || two == b"->"
            || two == b"=="
            || two == b"!="
            || two == b"?="
            || two == b".="
            || two == b"+="
            || two == b"<-" =>
        {
            bare = bare && two == b":=";
            2
        }
        b'=' => 1,
        b':' if rest.get(1) == Some(&b':') => return None,
        // A list with colons between its parts, as in an ARN.
        b':' if start > 0 && text[start - 1] == b':' && !had_space && !quoted_name => return None,
        b':' => {
            colon = true;
            1
        }
        b'>' => 1,
        b',' if quoted_name => 1,
        b'|' if had_space && (setting || is_cell(text, start)) => 1,
        b'(' if !had_space => 1,
        // `<password>` has its `>`; `--flag value`, `machine … password value`, `ENV NAME value`.
        _ if had_space => return after_space(text, start, at, is_flag, quoted_name, class),
        _ => return None,
    };
    let wants_quote = matches!(first, b',' | b'(');
    at = skip_blanks(text, at, text.len().min(at + NEAR));
    let mut typed = false;
    if colon && let Some(after) = type_and_equals(text, at) {
        at = after;
        colon = false;
        typed = true;
    }
    if colon && let Some(line) = block_scalar(text, at) {
        return take(text, line, Place::Setting, false, false).filter(|v| ends_line(text, v.end));
    }
    if first == b',' {
        at = value_key(text, at).unwrap_or(at);
    }
    // The value of a tag or of a block may begin on the next line.
    if matches!(first, b'>' | b'=' | b':' | b'(' | b',')
        && at < text.len()
        && matches!(text[at], b'\n' | b'\r')
        && (first != b':' || quoted_name || !setting)
    {
        if first == b'=' || first == b':' && !quoted_name {
            return None;
        }
        let limit = text.len().min(at + NEAR);
        at += text[at..limit].iter().take_while(|b| b.is_ascii_whitespace()).count();
    }
    let setting = bare && (!colon || begins_line(text, start, quoted_name));
    let place = if setting { Place::Setting } else { Place::Bare };
    let value = take(text, at, place, wants_quote, is_query(text, start))?;
    let bare = value.place != Place::Quoted;
    let judged = &*seen(&text[value.start..value.end]);
    let is_code = match first {
        _ if bare && typed => true,
        // A list of words is no list of pairs.
        b',' => is_wordy(judged) || !is_flag && !is_pair(text, start) && !is_dense(judged),
        b'(' if is_wordy(judged) => {
            class != Class::Password || text[start..end].to_ascii_lowercase().ends_with(b"pass")
        }
        _ => bare && colon && !quoted_name && is_field(text, &value),
    };
    (!is_code).then_some(value)
}

/// A declared field or an entry of an object in code, `name: Type,`: no setting ends in a comma.
fn is_field(text: &[u8], value: &Value) -> bool {
    let judged = &*seen(&text[value.start..value.end]);
    let rest = &text[value.end..text.len().min(value.end + 3)];
    let ends = matches!(rest, [] | [b'\n' | b'\r', ..]);
    let digits = judged.iter().filter(|b| b.is_ascii_digit()).count();
    matches!(rest, [b',' | b';', b'\n' | b'\r', ..] | [b',' | b';'] | [b';', b' ', ..])
        && !ends
        && judged.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
        && !judged.first().is_some_and(u8::is_ascii_digit)
        && (digits < 3 || judged.contains(&b'_') && digits * 4 < judged.len())
}

/// Within a table: a bar is before the name, too.
fn is_cell(text: &[u8], start: usize) -> bool {
    let before = text[start.saturating_sub(NEAR)..start].iter();
    before.rev().find(|b| !b"\"'`* ".contains(b)) == Some(&b'|')
}

/// The first of a call's or a tuple's parts: `("name", "value")`.
fn is_pair(text: &[u8], start: usize) -> bool {
    let before = text[start.saturating_sub(8)..start].iter().rev();
    let mut before = before.skip_while(|b| matches!(b, b'"' | b'\'' | b'`' | b'\\' | b' ' | b':'));
    before.next().is_none_or(|b| matches!(b, b'(' | b'{' | b'['))
}

/// Digits and letters close together, no path and no name.
fn is_dense(value: &[u8]) -> bool {
    is_random(value) && !value.iter().any(|b| matches!(b, b'/' | b'.' | b'_' | b' '))
}

/// Whether the name is itself a value: `name: DB_PASSWORD`, above `value: …`.
fn is_named(text: &[u8], start: usize) -> bool {
    let near = start.saturating_sub(NEAR);
    let before = text[near..start].trim_ascii_end();
    let before = before.strip_suffix(b"\"").or(before.strip_suffix(b"'")).unwrap_or(before);
    let before = before.trim_ascii_end();
    [&b"name:"[..], b"key:", b"Name:", b"Key:", b"name\":", b"key\":", b"Name\":", b"Key\":"]
        .iter()
        .any(|key| before.ends_with(key))
}

/// Behind `value:` or `"Value": `, if that comes next.
fn value_key(text: &[u8], at: usize) -> Option<usize> {
    let near = &text[at..text.len().min(at + NEAR)];
    let skip = |from: usize| {
        from + near[from..]
            .iter()
            .take_while(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'\\'))
            .count()
    };
    let key = skip(0);
    let rest = &near[key..];
    let len = [&b"value"[..], b"Value"].iter().find(|w| rest.starts_with(w))?.len();
    let mut operator = skip(key + len);
    if !matches!(near.get(operator)?, b':' | b'=') {
        return None;
    }
    operator += 1;
    operator += near[operator..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    Some(at + operator)
}

/// `?name=` or `&name=`: an ampersand ends the value.
fn is_query(text: &[u8], start: usize) -> bool {
    start >= 1 && matches!(text[start - 1], b'?' | b'&')
}

// How a line of netrc begins, and of what is written like it.
static LOGIN: Parts<1> = Parts::new(["login "]);
static USER: Parts<1> = Parts::new(["user "]);

/// A value after nothing but a space: only where something else says that it is one.
fn after_space(
    text: &[u8],
    start: usize,
    at: usize,
    is_flag: bool,
    quoted_name: bool,
    class: Class,
) -> Option<Value> {
    let rest = &text[at..text.len().min(at + NEAR)];
    for attribute in ["value=", "content=", "value:", "default=", "is ", "was ", "to ", "are "] {
        if rest.starts_with(attribute.as_bytes()) {
            let equals = attribute.ends_with(['=', ':']);
            let from = skip_blanks(text, at + attribute.len(), text.len().min(at + NEAR));
            // "password is hunter2": in prose only what could be no word.
            return take(text, from, Place::Bare, equals, false)
                .filter(|v| equals || is_random(&text[v.start..v.end]));
        }
    }
    if is_flag {
        return match rest.first()? {
            b'-' | b'=' | b'|' | b'&' | b'>' => None,
            _ => take(text, at, Place::Setting, false, false),
        };
    }
    if quoted_name {
        return None;
    }
    let near = start.saturating_sub(NEAR);
    let line = memchr::memrchr(b'\n', &text[near..start]).map_or(near, |i| near + i + 1);
    let before = &text[line..start];
    let trimmed = before.trim_ascii();
    let says = |word: &&str| {
        // The last letter first: a long text may be full of names.
        let last = trimmed.last().map(u8::to_ascii_lowercase);
        if last != word.as_bytes().last().copied() {
            return false;
        }
        let Some(at) = trimmed.len().checked_sub(word.len()) else { return false };
        trimmed[at..].eq_ignore_ascii_case(word.as_bytes())
            && (at == 0 || b" \"'".contains(&trimmed[at - 1]))
    };
    const SETTERS: &[&str] = &[
        "env",
        "arg",
        "set",
        "setx",
        "export",
        "config set",
        "secrets set",
        "string",
        "const",
        "setenv",
        "set -x",
        "set -gx",
        "set -ux",
        "const char*",
        "#define",
        "define",
    ];
    let setting = SETTERS.iter().any(says);
    let password = class == Class::Password;
    let netrc = LOGIN.any_in(before) || password && (USER.any_in(before) || trimmed.is_empty());
    let quote = matches!(rest.first(), Some(b'\'' | b'"'));
    if setting || netrc {
        return take(text, at, Place::Bare, false, false).filter(|v| {
            quote || setting && is_random(&text[v.start..v.end]) || netrc && ends_line(text, v.end)
        });
    }
    (quote && class == Class::Password)
        .then(|| take(text, at, Place::Bare, true, false))
        .flatten()
        .filter(|v| is_random(&text[v.start..v.end]))
}

/// Nothing more on the line, or only what netrc has after a password.
fn ends_line(text: &[u8], end: usize) -> bool {
    let rest = &text[end..text.len().min(end + NEAR)];
    let rest = &rest[rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count()..];
    rest.is_empty()
        || rest[0] == b'\n'
        || rest.starts_with(b"port ")
        || rest.starts_with(b"account ")
}

/// Digits and letters, or both cases: no word of prose.
fn is_random(value: &[u8]) -> bool {
    let digit = value.iter().any(u8::is_ascii_digit);
    let letter = value.iter().any(u8::is_ascii_alphabetic);
    digit && letter && value.len() >= 6
}

/// Whether the name is the first thing on its line but for what introduces settings.
fn begins_line(text: &[u8], start: usize, quoted_name: bool) -> bool {
    let from = start.saturating_sub(NEAR);
    let line = memchr::memrchr(b'\n', &text[from..start]).map_or(from, |i| from + i + 1);
    if line == from && from > 0 && text[from - 1] != b'\n' {
        return false;
    }
    let mut before = text[line..start].trim_ascii();
    if quoted_name {
        before = before
            .strip_suffix(b"\"")
            .or_else(|| before.strip_suffix(b"'"))
            .unwrap_or(before)
            .trim_ascii_end();
    }
    // `12→`, `12:`, `12|`, `+ ` of a listing or a diff.
    let numbered = before.iter().take_while(|b| b.is_ascii_digit()).count();
    if numbered > 0 && numbered < before.len() {
        before = &before[numbered..];
        before = before
            .strip_prefix("\u{2192}".as_bytes())
            .or_else(|| before.strip_prefix(b":"))
            .or_else(|| before.strip_prefix(b"|"))
            .unwrap_or(before)
            .trim_ascii_start();
    }
    matches!(
        before,
        b"" | b"export"
            | b"set"
            | b"-"
            | b"+"
            | b"- -"
            | b"#"
            | b"//"
            | b"env"
            | b"declare -x"
            | b"ENV"
            | b"ARG"
            | b"-e"
            | b"$ export"
            | b">"
            | b"export -x"
            | b"setx"
            | b"+ export"
            | b"$env:"
            | b"*"
            | b"- export"
    )
}

fn skip_blanks(text: &[u8], at: usize, limit: usize) -> usize {
    let end = text[at..limit.max(at)].iter().position(|b| !matches!(b, b' ' | b'\t' | 0xc2 | 0xa0));
    end.map_or(limit.max(at), |i| at + i)
}

/// `key: |` and `key: >-` of YAML: where the next line says something.
fn block_scalar(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..text.len().min(at + NEAR)];
    let sign = 1 + usize::from(matches!(rest.get(1), Some(b'-' | b'+')));
    let opens = matches!(rest.first()?, b'|' | b'>') && matches!(rest.get(sign)?, b'\n' | b'\r');
    let blank = rest[sign..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    opens.then_some(at + sign + blank)
}

/// `: string = `, `: &str = `, `: Optional[str] = `: a type stands between the name and the value.
fn type_and_equals(text: &[u8], at: usize) -> Option<usize> {
    let limit = text.len().min(at + 40);
    let len = text[at..limit].iter().position(|b| *b == b'=')?;
    let is_type = |b: &u8| b.is_ascii_alphanumeric() || b" &'_<>[].|?*:".contains(b);
    let named = text[at..at + len].trim_ascii();
    let spaced = text[at..at + len].ends_with(b" ");
    let after = text.get(at + len + 1)?;
    (spaced
        && !named.is_empty()
        && named.iter().all(is_type)
        && matches!(after, b' ' | b'"' | b'\'' | b'`'))
    .then(|| skip_blanks(text, at + len + 1, text.len().min(at + len + NEAR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        let at = text.find(name).unwrap();
        let (start, end) = name_around(text.as_bytes(), at, name.len());
        assigned(text.as_bytes(), start, end).map(|a| &text[a.start..a.end])
    }

    #[test]
    fn values_are_found_in_many_languages() {
        let v = "q7Zk29vXw4Lm81Rt";
        let forms = [
            "API_KEY={}",
            "export API_KEY=\"{}\" && x",
            "  api_key: {}\n",
            "{\"api_key\": \"{}\"}",
            "{\\\"api_key\\\": \\\"{}\\\"}",
            "api_key = '{}'",
            "const apiKey = `{}`;",
            "apiKey := \"{}\"",
            ":api_key => '{}',",
            "--api-key {} --x",
            "--api-key={}",
            "var apiKey: string = \"{}\"",
            "let api_key: &str = \"{}\";",
            "System.setProperty(\"API_KEY\", \"{}\")",
            "<apiKey>{}</apiKey>",
            "<apiKey>\n    {}\n</apiKey>",
            "x-api-key: {}",
            "curl -H 'X-Api-Key: {}'",
            "https://x.y/z?api_key={}&b=c",
            "<add key=\"ApiKey\" value=\"{}\" />",
            "config['api_key'] = '{}'",
            "$config[\"api_key\"]=\"{}\";",
            "client(api_key=\"{}\")",
            "api_key=\"\"{}\"\"",
            "ENV API_KEY {}",
            "| api_key | {} |",
            "setApiKey(\"{}\")",
            "api_key ?= \"{}\"",
            "api_key ::= \"{}\"",
            "string apiKey = \"{}\";",
            "api_key&quot;:&quot;{}&quot;",
            "api_key%3D{}",
            "if apiKey == \"{}\"",
            "apiKey -> \"{}\"",
            "12\u{2192}API_KEY={}",
            "+API_KEY={}",
            "'api_key', '{}'",
            "api_key is {}.",
            "\"api_key\":\"{}",
            "api_key = String::from(\"{}\")",
            "api_key = b'{}'",
            "**api_key**: {}",
            "`api_key`: `{}`",
            "- name: API_KEY\n  value: {}\n",
            "  - name: \"API_KEY\"\n    value: \"{}\"\n",
            "{name: \"api_key\", value: \"{}\",",
            "{\"Name\": \"API_KEY\",\n  \"Value\": \"{}\",",
        ];
        for form in forms {
            let text = form.replace("{}", v);
            let name = ["api_key", "API_KEY", "apiKey", "api-key", "Api-Key", "ApiKey"]
                .into_iter()
                .find(|n| text.contains(n))
                .unwrap();
            assert_eq!(value_of(&text, name), Some(v), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_left() {
        let cases = [
            ("fix: token refresh loop", "token"),
            ("def test_password_reset_token_expires():", "token"),
            ("token = getToken(x)", "token"),
            ("api_key: ${API_KEY}", "api_key"),
            ("the password is required", "password"),
            ("\"max_tokens\": 4096", "token"),
            ("token: string;", "token"),
            ("password: str = None", "password"),
            ("secret = secrets.get(name)", "secret"),
            ("apiKey: process.env.API_KEY,", "apiKey"),
            ("password=[REDACTED:password]", "password"),
            ("JFROG_SECRET = $(cat /run/secrets/jfrog)", "SECRET"),
            ("token::new", "token"),
            ("Token(kind, text)", "Token"),
            ("token = self.get_token(x)", "token"),
            ("password: LPWSTR,\n", "password"),
            ("pub const FLAG_PASSWORD: u32 = 262144u32;", "FLAG_PASSWORD"),
            ("\"passwd\", \"shell\",", "passwd"),
            ("\"--no-ask-password\", \"enable-linger\"", "no-ask-password"),
            ("this.password=``,this.token=`a`+b1", "password"),
            ("[REDACTED:api-key]=q7Zk29vXw4Lm81Rt", "api-key"),
        ];
        for (text, name) in cases {
            assert_eq!(value_of(text, name), None, "{text}");
        }
    }
}
