//! The one way HTML is written: markup from this program's source, and everything else escaped.
//!
//! Markup must be `'static`, so no text of a session can be taken for it by mistake; there is no way to
//! write an unescaped string that was made at run time. Text loses what is not seen or reorders what is
//! (controls, bidirectional marks, zero widths) and becomes one line; `app.js` does the same.

use std::{fmt::Write as _, io};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rrd_proto::Session;
pub(super) use rrd_proto::json::is_unsafe;

/// HTML as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(16 * 1024))
    }

    /// Markup, as it stands in this program's source.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, on one line; also right between the quotes of an attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let mut space = true;
        let mut owed = false;
        for c in text.chars() {
            if c.is_whitespace() {
                owed = !space;
                continue;
            }
            if is_unsafe(c) {
                continue;
            }
            if owed {
                self.0.push(' ');
                owed = false;
            }
            space = false;
            self.escaped(c);
        }
        self
    }

    fn escaped(&mut self, c: char) {
        match c {
            '&' => self.0.push_str("&amp;"),
            '<' => self.0.push_str("&lt;"),
            '>' => self.0.push_str("&gt;"),
            '"' => self.0.push_str("&quot;"),
            '\'' => self.0.push_str("&#39;"),
            c => self.0.push(c),
        }
    }

    /// Text of one line as it is written: blanks stay, for they may be what a program is made of.
    pub(super) fn written(&mut self, line: &str) -> &mut Self {
        for c in line.chars() {
            match c {
                '\t' => self.0.push_str("    "),
                c if is_unsafe(c) => {}
                c => self.escaped(c),
            }
        }
        self
    }

    /// ` name="value"`
    pub(super) fn attr(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.raw(" ").raw(name).raw("=\"").text(value).raw("\"")
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        let _ = write!(self.0, "{number}");
        self
    }

    /// ` href="/s/HOST/HARNESS/ID"` and what follows it.
    pub(super) fn href(&mut self, session: &Session, query: &'static str) -> &mut Self {
        self.raw(" href=\"").path(session).raw(query)
    }

    /// The session's address.
    pub(super) fn path(&mut self, session: &Session) -> &mut Self {
        self.address(&session.host, session.harness.as_str(), &session.session_id)
    }

    /// The same of one that is named.
    pub(super) fn address(&mut self, host: &str, harness: &str, id: &str) -> &mut Self {
        self.raw("/s");
        for part in [host, harness, id] {
            self.raw("/").percent(part);
        }
        self
    }

    /// One piece of a URL, encoded as JavaScript's `encodeURIComponent` does, and `'` too.
    pub(super) fn percent(&mut self, piece: &str) -> &mut Self {
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'!')
            .remove(b'~')
            .remove(b'*')
            .remove(b'(')
            .remove(b')');
        let _ = write!(self.0, "{}", utf8_percent_encode(piece, KEPT));
        self
    }

    /// Writes what there is, and goes on with nothing.
    pub(super) fn write_out(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(self.0.as_bytes())?;
        self.0.clear();
        Ok(())
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// `text` as [`Html::text`] would show it, to be compared.
pub(super) fn clean(text: &str) -> String {
    let seen = |word: &str| word.chars().filter(|c| !is_unsafe(*c)).collect::<String>();
    let words = text.split_whitespace().map(seen).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut html = Html::new();
        html.text(text);
        html.into_string()
    }

    #[test]
    fn what_a_browser_acts_on_is_text() {
        for (raw, shown) in [
            ("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"),
            ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
            ("one\n\ttwo \u{0}three ", "one two three"),
            ("rm \u{202e}fr-\u{202c} x\u{200b}", "rm fr- x"),
            ("日本 naïve 🦀", "日本 naïve 🦀"),
        ] {
            assert_eq!(written(raw), shown);
        }
    }

    #[test]
    fn a_url_holds_no_byte_that_means_something_there() {
        let mut html = Html::new();
        html.percent("a/../b?c#d\"<'>%2f é\0");
        assert_eq!(html.into_string(), "a%2F..%2Fb%3Fc%23d%22%3C%27%3E%252f%20%C3%A9%00");
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_its_place(raw in any::<String>()) {
            let html = written(&raw);
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
            prop_assert!(!html.chars().any(is_unsafe));
            let back = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            prop_assert_eq!(back.replace("&#39;", "'").replace("&amp;", "&"), clean(&raw));
        }
    }
}
