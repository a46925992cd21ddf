//! Whether a value looks like a secret, a stand-in for one, or something else altogether.
//!
//! Judged by its bytes alone, and by how much the name beside it says. Not here: where a value begins
//! and ends ([`super::assign`]).

use std::borrow::Cow;

use super::{names::Class, parts::Parts, view::View};

/// How a value stands in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between quotes, or a whole string of JSON.
    Quoted,
    /// Bare, after a setting's name at the start of a line, or a flag.
    Setting,
    /// Bare, somewhere in a text or in code.
    Bare,
}

/// Beyond this a value is judged by its beginning.
pub(super) const JUDGED: usize = 128;

/// What its readers see of a value. Of one that is judged by its beginning more has to be seen than that.
pub(super) fn seen(value: &[u8]) -> Cow<'_, [u8]> {
    if value.len() < JUDGED { View::Unseen.show(value) } else { Cow::Borrowed(value) }
}

/// Whether this value, beside a name of this class, is to be replaced.
pub(super) fn is_secret(class: Class, value: &[u8], place: Place) -> bool {
    let value = &*seen(value);
    let value = &value[..value.len().min(JUDGED)];
    // Cheapest first: a long text may be full of names.
    if class == Class::None || value.len() < 4 {
        return false;
    }
    let traits = Traits::of(value);
    let mixed = traits.digits > 0 && traits.letters() > 0;
    let may_be = match class {
        Class::None => false,
        Class::Password => place != Place::Bare || traits.kinds() >= 2 || value.len() >= 16,
        Class::Secret => match traits.digits == value.len() {
            true => place != Place::Bare && value.len() >= 9,
            false => value.len() >= if mixed { 6 } else { 8 },
        },
        Class::Weak => mixed && value.len() >= 16 && distinct(value) >= 9,
    };
    if !may_be || traits.spaces > 0 || is_stand_in(value) {
        return false;
    }
    if is_code(value, place) || is_measure(value) || is_place(value) || is_stop(value) {
        return false;
    }
    let wordy = is_wordy(value);
    match class {
        Class::Password if place != Place::Bare => !wordy || value.len() >= 5,
        Class::Weak => !wordy && !is_uuid(value) && !is_digest(value),
        _ => !wordy,
    }
}

static EXAMPLES: Parts<11> = Parts::new([
    "EXAMPLE",
    "example",
    "REDACTED",
    "your_",
    "your-",
    "YOUR_",
    "<",
    "placeholder",
    "abcdefghijkl",
    "ABCDEFGHIJKL",
    "1234567890123",
]);

/// Whether a token of a vendor's shape is only an example of it.
pub(super) fn is_example(token: &[u8]) -> bool {
    let token = &token[..token.len().min(JUDGED)];
    has_run(token, 6) || EXAMPLES.any_in(token) || (token.len() >= 24 && distinct(token) < 8)
}

#[rustfmt::skip]
static FRAGMENTS: Parts<41> = Parts::new([
    "your_", "your-", "yourpass", "yourtoken", "yoursecret", "yourapi", "_your", "-your", "example",
    "placeholder", "changeme", "change_me", "change-me", "redacted", "xxxx", "****", "....", "\u{2026}",
    "dummy", "insert", "replace", "fixme", "process.env", "os.environ", "getenv", "env[", "env.", "env(",
    "secrets.", "vault:", "arn:aws:", "ssm:", "secretkeyref", "${", "{{", "not-a-", "not_a_", "-here",
    "_here", "keychain", "$(",
]);

/// A stand-in: a reference to a variable, an example, a blank to be filled.
pub(super) fn is_stand_in(value: &[u8]) -> bool {
    let starts = |with: &[&str]| with.iter().any(|w| value.starts_with(w.as_bytes()));
    if starts(&["${", "$(", "{{", "<%", "#{", "%(", "%{", "[REDACTED", "@{", "${{", "<%=", "`"])
        || (value.starts_with(b"<") && value.ends_with(b">"))
        || (value.starts_with(b"{") && value.ends_with(b"}"))
        || (value.starts_with(b"%") && value.ends_with(b"%"))
        || (value.starts_with(b"[") && value.ends_with(b"]"))
        || (value.starts_with(b"__") && value.ends_with(b"__"))
    {
        return true;
    }
    if let Some(name) = value.strip_prefix(b"$") {
        let name = name.strip_prefix(b"env:").unwrap_or(name);
        let variable = name.iter().all(|b| b.is_ascii_alphanumeric() || b"_:->.[]'\"".contains(b));
        if variable && !name.first().is_some_and(u8::is_ascii_digit) && is_wordy(name) {
            return true;
        }
    }
    let lower = value.to_ascii_lowercase();
    if is_run(&lower) || lower.iter().all(|b| b"*x.-_#0?".contains(b)) {
        return true;
    }
    value.len() <= 96 && FRAGMENTS.any_in(&lower)
}

static PASSWORDS: Parts<3> = Parts::new(["password", "passwd", "pass_word"]);

/// Words that stand where a password could and are none.
fn is_stop(value: &[u8]) -> bool {
    const STOPS: [&str; 62] = [
        "password",
        "passwd",
        "secret",
        "token",
        "string",
        "text",
        "none",
        "null",
        "true",
        "false",
        "undefined",
        "required",
        "optional",
        "current",
        "new-password",
        "current-password",
        "hidden",
        "required|string",
        "number",
        "boolean",
        "bytes",
        "object",
        "any",
        "void",
        "self",
        "this",
        "empty",
        "value",
        "default",
        "test",
        "invalid",
        "incorrect",
        "wrong",
        "missing",
        "expired",
        "failed",
        "error",
        "unset",
        "stdin",
        "prompt",
        "prompting",
        "ask",
        "input",
        "authentication",
        "authorization",
        "bearer",
        "basic",
        "digest",
        "oauth",
        "oauth2",
        "apikey",
        "api_key",
        "unknown",
        "varchar",
        "method",
        "cookie",
        "plain",
        "plaintext",
        "enabled",
        "disabled",
        "encrypted",
        "char",
    ];
    let lower = value.to_ascii_lowercase();
    let lower = lower.strip_suffix(b"?").unwrap_or(&lower);
    lower.len() <= 16 && STOPS.iter().any(|stop| lower == stop.as_bytes())
        || PASSWORDS.any_in(lower) && is_wordy(lower)
}

#[rustfmt::skip]
static FORMATS: Parts<12> = Parts::new([
    "() ", "=> ", "%s", "{}", "%d,", "(?:", "[0-9", "[a-z", "[A-Z", "[a-f", "[^", "\\d",
]);
static ALPHABETS: Parts<2> = Parts::new(["abcdefghijklmnopqrst", "ABCDEFGHIJKLMNOPQRST"]);

/// An expression of a language rather than a value.
fn is_code(value: &[u8], place: Place) -> bool {
    if place == Place::Quoted {
        // A quoted template or call is code all the same.
        return FORMATS.any_in(value) || is_alphabet(value);
    }
    if is_expression(value) || is_structure(value) {
        return true;
    }
    let ident = value.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let starts_as_name = value[0].is_ascii_alphabetic() || value[0] == b'_';
    match value.get(ident) {
        // `load(`, `map[`, `cfg.token`, `Type::new`, `a->b`, `x?.y`
        Some(b'(' | b'[') if starts_as_name && ident > 0 => return true,
        Some(b'.') if starts_as_name && ident > 0 => {
            let wordy = value.split(|b| *b == b'.').all(|part| part.is_empty() || is_wordy(part));
            if wordy {
                return true;
            }
        }
        Some(b':') if value.get(ident + 1) == Some(&b':') => return true,
        Some(b'-') if value.get(ident + 1) == Some(&b'>') => return true,
        Some(b'?' | b'!') if value.get(ident + 1) == Some(&b'.') => return true,
        _ => {}
    }
    place == Place::Bare && b"([{<|,;=&\\".contains(&value[0]) || find(value, b"()")
}

/// `{"type":`, `["a",`, `[{`: an object or a list begins.
fn is_structure(value: &[u8]) -> bool {
    matches!(value, [b'{' | b'[', b'"' | b'\'', ..] | [b'[', b'{', ..])
}

/// `&self.token`, `input.parse(`, `Token![`, `Option<`, `ec::Key`, `*const`, `!this.x`, `(params:`: what
/// languages let stand without quotes, made of words where it could also be a value.
fn is_expression(value: &[u8]) -> bool {
    const ROOTS: [&[u8]; 22] = [
        b"self",
        b"this",
        b"ctx",
        b"cls",
        b"config",
        b"cfg",
        b"process",
        b"request",
        b"req",
        b"response",
        b"res",
        b"args",
        b"opts",
        b"options",
        b"params",
        b"settings",
        b"input",
        b"Self",
        b"super",
        b"crate",
        b"std",
        b"winreg",
    ];
    if value.starts_with(b"!0") || value.starts_with(b"!1") {
        return value.get(2).is_none_or(|b| !b.is_ascii_alphanumeric());
    }
    let sigils = value.iter().take_while(|b| b"&*!([".contains(b)).count();
    let mut rest = &value[sigils..];
    let (mut joints, mut plain, mut known) = (0, true, false);
    loop {
        let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        let (part, after) = rest.split_at(len);
        if part.first().is_none_or(u8::is_ascii_digit) {
            return known && joints > 0;
        }
        known |= joints == 0 && ROOTS.contains(&part);
        plain &= is_wordy(part) || part.iter().all(|b| b.is_ascii_lowercase() || *b == b'_');
        rest = match after {
            [b'.', next @ ..] => next,
            [b':', b':', next @ ..] | [b'-', b'>', next @ ..] => {
                plain = true;
                next
            }
            [b'?' | b'!', b'.', next @ ..] => next,
            [b'(' | b'[' | b'<', ..] => return true,
            [b'!', b'(' | b'[' | b'{', ..] => return true,
            [] | [b')' | b':' | b',' | b';' | b'?', ..] => {
                return joints > 0 && (known || plain) || sigils > 0 && is_wordy(part);
            }
            _ => return known && joints > 0,
        };
        joints += 1;
    }
}

/// All letters in their order: what may be in a name, a table for an encoding.
fn is_alphabet(value: &[u8]) -> bool {
    ALPHABETS.any_in(value)
}

/// A run of one character, and too little beside it to be a secret: some tokens begin with a run.
fn is_run(value: &[u8]) -> bool {
    if !has_run(value, 5) {
        return false;
    }
    let mut rest = Vec::new();
    for run in value.chunk_by(|a, b| a == b).filter(|run| run.len() < 5) {
        rest.extend_from_slice(run);
    }
    rest.len() < 24 || distinct(&rest) < 12
}

/// A date, a version, a size, an address: made of numbers, and no secret.
fn is_measure(value: &[u8]) -> bool {
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = &value[digits..];
    let dated = digits == 4
        && rest.len() >= 6
        && rest[0] == b'-'
        && rest[3] == b'-'
        && rest[1].is_ascii_digit();
    let numbers = value.iter().all(|b| b.is_ascii_digit() || b".,:/-".contains(b))
        && value.iter().any(|b| b".,:".contains(b));
    let unit = digits > 0
        && !rest.is_empty()
        && rest.len() <= 2
        && rest.iter().all(u8::is_ascii_alphabetic);
    dated
        || numbers
        || unit
        || value.starts_with(b"sha256:")
        || value.starts_with(b"sha512-")
        || value.starts_with(b"sha1-")
        || value.starts_with(b"sha384-")
        || value.starts_with(b"data:")
        || value.starts_with(b"ssh-")
        || value.starts_with(b"$2b$")
        || value.starts_with(b"$2a$")
        || value.starts_with(b"$argon2")
        || value.starts_with(b"0x") && value.len() <= 12
        || value.starts_with(b"#")
            && matches!(value.len(), 4 | 7 | 9)
            && value[1..].iter().all(u8::is_ascii_hexdigit)
}

/// A path or a URL.
fn is_place(value: &[u8]) -> bool {
    if find(value, b"://") {
        return true;
    }
    let starts =
        [&b"/"[..], b"./", b"../", b"~/", b"file:", b"C:\\"].iter().any(|s| value.starts_with(s));
    // A slash may begin a key in base64: the parts of a path are words.
    (starts || value.iter().filter(|b| **b == b'/').count() >= 2)
        && value
            .split(|b| matches!(b, b'/' | b'\\'))
            .all(|part| part.iter().all(|b| b"*.".contains(b)) || is_wordy(part))
}

/// Whether all of it is words, as people and programs write them.
pub(super) fn is_wordy(value: &[u8]) -> bool {
    let parts = value.split(|b| b"_-./:, @+~$*[]'\"".contains(b)).filter(|part| !part.is_empty());
    let mut letters = 0;
    for part in parts {
        let stem = part.iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |i| i + 1);
        let number = part.len() - stem;
        if stem == 0 {
            if number > 4 {
                return false;
            }
            continue;
        }
        let stem = &part[..stem];
        if !stem.iter().all(u8::is_ascii_alphabetic) || number > 4 || (number > 2 && stem.len() < 3)
        {
            return false;
        }
        letters += stem.len();
        if stem.eq_ignore_ascii_case(b"passwd") {
            continue;
        }
        if !is_pronounceable(stem) {
            return false;
        }
    }
    letters > 0
}

/// Letters that could be words run together in camel case.
fn is_pronounceable(letters: &[u8]) -> bool {
    let (mut pieces, mut consonants, mut vowels) = (1usize, 0, 0usize);
    for (i, letter) in letters.iter().enumerate() {
        if i > 0 && letter.is_ascii_uppercase() && letters[i - 1].is_ascii_lowercase() {
            pieces += 1;
        }
        match letter.to_ascii_lowercase() {
            b'a' | b'e' | b'i' | b'o' | b'u' | b'y' => {
                vowels += 1;
                consonants = 0;
            }
            _ => consonants += 1,
        }
        if consonants > 5 || (consonants > 4 && letters.len() > 8) {
            return false;
        }
    }
    let short = letters.len() <= 5;
    letters.len() <= 40
        && (short || vowels * 5 >= letters.len())
        && letters.len() >= pieces * 3 - usize::from(short) * 2
        && (short || !is_scrambled(letters))
}

/// Pairs of letters that no word has; three of them are no accident.
fn is_scrambled(letters: &[u8]) -> bool {
    let rare = |a: u8, b: u8| {
        let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
        match a {
            b'q' => b != b'u',
            b'j' | b'v' => !matches!(b, b'a' | b'e' | b'i' | b'o' | b'u' | b'y' | b's'),
            b'x' => !matches!(b, b'a' | b'e' | b'i' | b'o' | b'p' | b't' | b'c' | b'y' | b'u'),
            b'z' => !matches!(b, b'a' | b'e' | b'i' | b'o' | b'u' | b'y' | b'z' | b'l'),
            _ => {
                matches!(b, b'q' | b'j' | b'x' | b'z') && !b"aeioudnsbc".contains(&a)
                    || matches!(
                        (a, b),
                        (b'h', b'b' | b'c' | b'd' | b'f' | b'g' | b'k' | b'p' | b'v')
                            | (
                                b'w',
                                b'b' | b'c' | b'd' | b'f' | b'g' | b'm' | b'p' | b't' | b'v' | b'x'
                            )
                    )
                    || matches!((a, b), (b'f' | b'g' | b'k' | b'm' | b'p' | b't' | b'd' | b'b' | b'c', b'v' | b'q' | b'x' | b'k') if !(a == b'c' && b == b'k'))
                    || matches!(
                        (a, b),
                        (b'p' | b'k' | b'v' | b'b', b'g' | b'f' | b'm' | b'd' | b'c')
                    )
            }
        }
    };
    let pairs = letters.windows(2).filter(|pair| rare(pair[0], pair[1])).count();
    pairs * 10 >= letters.len() && pairs >= if letters.len() > 12 { 2 } else { 1 }
}

/// Eight, four, four, four and twelve digits.
fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Nothing but hexadecimal digits, of a length that hashes have.
fn is_digest(value: &[u8]) -> bool {
    matches!(value.len(), 32 | 40 | 56 | 64 | 96 | 128) && value.iter().all(u8::is_ascii_hexdigit)
}

fn has_run(value: &[u8], longest: usize) -> bool {
    value.windows(longest).any(|w| w.iter().all(|b| *b == w[0]))
}

fn find(value: &[u8], word: &[u8]) -> bool {
    value.windows(word.len()).any(|part| part == word)
}

/// What a value is made of.
struct Traits {
    digits: usize,
    lowers: usize,
    uppers: usize,
    others: usize,
    spaces: usize,
}

/// How many different bytes there are.
fn distinct(value: &[u8]) -> u32 {
    let mut seen = [0u64; 4];
    for byte in value {
        seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
    seen.iter().map(|s| s.count_ones()).sum()
}

impl Traits {
    /// Of at most [`JUDGED`] bytes. A pass for each trait: so the processor counts many bytes at once.
    fn of(value: &[u8]) -> Self {
        fn count(value: &[u8], is: impl Fn(u8) -> bool) -> usize {
            usize::from(value.iter().map(|b| u16::from(is(*b))).sum::<u16>())
        }
        let digits = count(value, |b| b.is_ascii_digit());
        let lowers = count(value, |b| b.is_ascii_lowercase());
        let uppers = count(value, |b| b.is_ascii_uppercase());
        let spaces = count(value, |b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
        let others = value.len() - digits - lowers - uppers - spaces;
        Self { digits, lowers, uppers, others, spaces }
    }

    fn letters(&self) -> usize {
        self.lowers + self.uppers
    }

    fn kinds(&self) -> usize {
        [self.digits, self.lowers, self.uppers, self.others].iter().filter(|n| **n > 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart() {
        use Class::{Password, Secret, Weak};
        use Place::{Bare, Quoted, Setting};
        let yes = [
            (Password, "pU#%PZlgjv18", Setting),
            (Password, "hunter", Quoted),
            (Password, "postgres", Setting),
            (Password, "r1**EJoM7#7r", Bare),
            (Password, "ovlmgncxwe", Quoted),
            (Secret, "z2WPhJCuKACMLCyJ", Quoted),
            (Secret, "0584584765300304", Setting),
            (Secret, "mj7jdfwn92zt92ll", Setting),
            (Secret, "/vaw5z_bao5s1pct/35vd8m1adk_hnm+r_1s/gotn+lf7e", Setting),
            (Secret, "fVxqiZFYpKahunpr", Quoted),
            (Weak, "9g6jfryxa4hj5fbm1cn6", Quoted),
            (Password, "Pa$$w0rd!", Setting),
            (Secret, "qzxvbnmkjhwrtplk", Quoted),
            (Secret, "AAAAAAAAAAAAAAAAAAAAAAq7Zk29vXw4Lm81Rt%3DpU9gW3nE5sY", Quoted),
        ];
        for (class, value, place) in yes {
            assert!(is_secret(class, value.as_bytes(), place), "{value}");
        }
        let no = [
            (Secret, "${API_KEY}", Bare),
            (Secret, "process.env.TOKEN", Bare),
            (Secret, "getToken()", Bare),
            (Secret, "self.token", Bare),
            (Secret, "self._authkey", Bare),
            (Secret, "input.parse(x)?", Setting),
            (Secret, "Token![=]", Setting),
            (Password, "Option<&CFString>", Setting),
            (Password, "*const", Setting),
            (Password, "&Self::Checkpoint", Setting),
            (Password, "(params:", Setting),
            (Secret, "(?:[0-9a-f]{1,3})x9", Quoted),
            (Secret, "0x746f6b65", Setting),
            (Secret, "#d8dee9", Quoted),
            (Password, "password", Quoted),
            (Password, "string", Setting),
            (Secret, "my-app-secret", Quoted),
            (Secret, "/run/secrets/db_password", Quoted),
            (Password, "<your-password>", Quoted),
            (Secret, "NEXUS-GPT4-API-KEY", Quoted),
            (Secret, "refresh_token", Quoted),
            (Weak, "kVK_Return.u16", Bare),
            (Secret, "2026-11-02T10:11:12Z", Quoted),
            (Secret, "os.environ[\"X\"]", Bare),
            (Secret, "xxxxxxxxxxxxxxxx", Setting),
            (Weak, "ceb6338e-bb70-4fb1-a3e6-b503647aea21", Quoted),
            (Secret, "refreshToken", Quoted),
            (Secret, "$GITHUB_TOKEN", Bare),
            (Password, "self.password", Bare),
            (Secret, "application/json", Quoted),
            (Secret, "authenticationService", Bare),
            (Secret, "not_long_enough", Quoted),
            (Weak, "createHash", Bare),
            (Password, "user_password", Quoted),
        ];
        for (class, value, place) in no {
            assert!(!is_secret(class, value.as_bytes(), place), "{value}");
        }
    }
}
