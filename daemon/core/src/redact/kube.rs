//! What a Secret of Kubernetes holds: base64 under names of anybody's choice, which nothing but
//! `kind: Secret` beside it gives away. As YAML and as JSON, before the kind or after it.
//!
//! Source: kubernetes.io/docs, "Secret". Not here: its `stringData`, plain texts whose names say what they
//! are ([`super::assign`]); a docker config in it ([`super::rules`]).

use memchr::memmem;

/// How far from the kind its data may be; what lies further off is left.
const REACH: usize = 16 << 10;
/// Shorter values say too little: `YWRtaW4=`.
const SHORTEST: usize = 10;
/// Certificates are public.
const CERTIFICATE: &[u8] = b"LS0tLS1CRUdJTiBDRVJU";

/// Whether a `kind` that ends at `at` is that of a Secret, escapes and quotes between them.
pub(super) fn is_secret(text: &[u8], at: usize) -> bool {
    let near = &text[at..text.len().min(at + 32)];
    let lead = near.iter().take_while(|b| b"\"'\\: \t".contains(b)).count();
    let (lead, word) = near.split_at(lead);
    lead.contains(&b':')
        && word.get(..6).is_some_and(|w| w.eq_ignore_ascii_case(b"secret"))
        && word.get(6).is_none_or(|b| !b.is_ascii_alphanumeric() && !b"-_.".contains(b))
}

/// Calls `found` with each value of the Secret whose `kind` ends at `at`; gives how far it looked.
pub(super) fn data(text: &[u8], at: usize, found: &mut dyn FnMut(usize, usize)) -> usize {
    let border = b"\n---";
    let from = at.saturating_sub(REACH);
    let from = memmem::rfind(&text[from..at], border).map_or(from, |i| from + i + border.len());
    let to = text.len().min(at + REACH);
    let to = memmem::find(&text[at..to], border).map_or(to, |i| at + i);
    // A value that has begun is taken whole.
    let whole = text.len().min(to + REACH);
    let mut look = from;
    while let Some(key) = memmem::find(&text[look..to], b"data").map(|i| look + i) {
        look = key + 4;
        let alone = key == 0 || b" \t\n\r\"'{,".contains(&text[key - 1]);
        let rest = &text[look..to];
        let closed = rest.iter().take_while(|b| b"\"'".contains(b)).count();
        if !alone || rest.get(closed) != Some(&b':') {
            continue;
        }
        let blank = rest[closed + 1..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let body = look + closed + 1 + blank;
        look = match text.get(body) {
            Some(b'{') => object(&text[..whole], body + 1, to, found),
            Some(b'\n' | b'\r') => block(&text[..whole], body, to, indent(text, key), found),
            _ => body,
        };
    }
    to
}

/// `"name": "value", …}`.
fn object(text: &[u8], mut at: usize, to: usize, found: &mut dyn FnMut(usize, usize)) -> usize {
    let mut strings = 0;
    while at < to {
        match text[at] {
            b'}' => return at,
            b'"' => {
                let end = memchr::memchr(b'"', &text[at + 1..]).map_or(text.len(), |i| at + 1 + i);
                strings += 1;
                if strings % 2 == 0 {
                    value(text, at + 1, end, found);
                }
                at = end + 1;
            }
            b' ' | b'\t' | b'\n' | b'\r' | b':' | b',' => at += 1,
            _ => return at,
        }
    }
    to
}

/// Lines that stand further in than their key.
fn block(
    text: &[u8],
    mut at: usize,
    to: usize,
    key: usize,
    found: &mut dyn FnMut(usize, usize),
) -> usize {
    while at < to {
        let start = at + usize::from(text[at] == b'\n');
        let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |i| start + i);
        let line = &text[start..end];
        let lead = line.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let said = line[lead..].trim_ascii_end();
        if !said.is_empty() && lead <= key {
            return start;
        }
        if !said.starts_with(b"#") {
            // A name before it, unless it goes on from the line above.
            let from = said.iter().position(|b| *b == b':').map_or(0, |i| i + 1);
            let quote = |b: &u8| b" \t\"'".contains(b);
            let skip = said[from..].iter().take_while(|b| quote(b)).count();
            let tail = said[from + skip..].iter().rev().take_while(|b| quote(b)).count();
            value(text, start + lead + from + skip, start + lead + said.len() - tail, found);
        }
        at = end.max(at + 1);
    }
    to
}

fn value(text: &[u8], start: usize, end: usize, found: &mut dyn FnMut(usize, usize)) {
    let value = &text[start..end];
    let digits =
        value.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+/".contains(b)).count();
    if digits >= SHORTEST
        && value[digits..].iter().all(|b| *b == b'=')
        && !value.starts_with(CERTIFICATE)
    {
        found(start, end);
    }
}

/// How far in the line stands that holds `at`; a listing's own numbers count, as they do for every line.
fn indent(text: &[u8], at: usize) -> usize {
    let near = at.saturating_sub(128);
    let line = memchr::memrchr(b'\n', &text[near..at]).map_or(near, |i| near + i + 1);
    text[line..at].iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_before_and_after_the_kind() {
        let cases: [(&str, &[&str]); 8] = [
            (
                "kind: Secret\ndata:\n  a: YWRtaW46cGFzcw==\n  b: 'UyFCXCpkJHpE'\nx: AAAAAAAAAAAAAAAA",
                &["YWRtaW46cGFzcw==", "UyFCXCpkJHpE"],
            ),
            ("data:\n\ta: |\n\t  YWRtaW46cGFzcw==\nkind: secret", &["YWRtaW46cGFzcw=="]),
            (
                "{\"data\":{\"a\":\"YWRtaW46cGFzcw==\",\"b\":\"YQ==\"},\"kind\":\"Secret\"}",
                &["YWRtaW46cGFzcw=="],
            ),
            ("kind: Secret\ndata:\n  ca.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t\n", &[]),
            ("data:\n  a: YWRtaW46cGFzcw==\n---\nkind: Secret", &[]),
            ("kind: Secret\nmetadata:\n  name: aaaaaaaaaaaaaaaa\n", &[]),
            ("kind: Secret\ndata:\n  a: {{ .Values.a }}\n  # YWRtaW46cGFzcw==\n", &[]),
            ("kind: Secret\ndata: {}\nspec:\n  a: YWRtaW46cGFzcw==\n", &[]),
        ];
        for (text, want) in cases {
            let at = text.find("kind").unwrap() + 4;
            assert!(is_secret(text.as_bytes(), at), "{text}");
            let mut got = Vec::new();
            data(text.as_bytes(), at, &mut |start, end| got.push(&text[start..end]));
            assert_eq!(got, want, "{text}");
        }
        for text in
            ["kind: SecretStore", "kind: ExternalSecret", "kind secret", "kind: secret-santa"]
        {
            assert!(!is_secret(text.as_bytes(), 4), "{text}");
        }
    }
}
