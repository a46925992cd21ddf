//! A session as one HTML file that stands by itself: no network, no other file, the same writing as the page.
//!
//! It is written as events come, so however many there are, only those wait in memory whose other half may
//! still come. What the file may do is said in its own policy: this style and this script, by their hashes,
//! and nothing else at all. Not here: where events come from, and which of them may leave (they have
//! passed the redactor).

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Write},
    sync::LazyLock,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rrd_proto::{Event, EventKind, Mark, Outline, Session, Timestamp, VERSION};
use sha2::{Digest as _, Sha256};

use super::{
    asset,
    event::{self, Answer},
    html::Html,
    list, session,
    strip::Strip,
    within::Within,
    words,
};

/// Columns of the strip: there is room for more than on a phone.
const COLUMNS: usize = 192;
/// A call waits for its result while so many events, or bytes of them, come in between.
const HELD: usize = 200;
const HELD_BYTES: usize = 4 << 20;
/// Events that are laid out together.
const CHUNK: usize = 100;

static STYLE: LazyLock<String> =
    LazyLock::new(|| [asset::BASE, asset::SESSION, include_str!("export.css")].concat());
const SCRIPT: &str = include_str!("export.js");

/// What a file says of itself.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The session.
    pub session: &'a Session,
    /// All of it from above.
    pub outline: &'a Outline,
    /// The label of the host that writes it.
    pub host: &'a str,
    /// When.
    pub at: Timestamp,
    /// What its reader should know: a sentence each, without the full stop.
    pub remarks: &'a [String],
}

/// A file as it is written.
#[derive(Debug)]
pub struct Export<W> {
    out: W,
    html: Html,
    /// What comes after the events.
    footer: Html,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Calls of the results that come too late for one line with them.
    far: HashMap<u64, u64>,
    /// Events written.
    lines: usize,
}

#[derive(Debug)]
struct Held {
    event: Event,
    /// The result, of a call.
    result: Option<Event>,
}

impl Held {
    fn is_open_call(&self) -> bool {
        self.event.kind == EventKind::ToolCall
            && self.event.tool_call_id.is_some()
            && self.result.is_none()
    }
}

fn bytes(event: &Event) -> usize {
    event.text.len() + event.body.as_ref().map_or(0, |body| body.text.len())
}

impl<W: Write> Export<W> {
    /// Writes what stands before the events.
    ///
    /// # Errors
    /// When it cannot be written, as everything here.
    pub fn begin(out: W, about: &About<'_>) -> io::Result<Self> {
        let About { session: s, outline, at, .. } = *about;
        let strip = Strip::of(s, outline, COLUMNS, at);
        let (mut html, mut footer) = (Html::new(), Html::new());
        head(&mut html, about);
        footer.raw("</ol></div></section><footer class=\"next\" data-waits=\"");
        for (n, seq) in strip.waited_at().enumerate() {
            footer.raw(if n > 0 { " " } else { "" }).number(seq);
        }
        footer.raw("\">");
        strip.write(&mut footer, Within::File);
        footer.raw("<div class=\"jumps\">");
        for to in ["error", "wait", "edit"] {
            footer.raw("<button type=\"button\"").attr("data-to", to).raw("></button>");
        }
        footer.raw("</div>");
        session::what(&mut footer, s);
        footer.raw("</footer></article><script>").raw(SCRIPT).raw("</script></body></html>\n");
        let far = |mark: &Mark| Some((mark.seq, mark.call?));
        let far = outline.marks.iter().filter_map(far);
        let far = far.filter(|(result, call)| result.saturating_sub(*call) > HELD as u64).collect();
        let held = VecDeque::new();
        let mut export = Self { out, html, footer, held, held_bytes: 0, far, lines: 0 };
        export.html.write_out(&mut export.out)?;
        Ok(export)
    }

    /// Takes the next event, in their order.
    ///
    /// # Errors
    /// See [`Self::begin`].
    pub fn event(&mut self, event: Event) -> io::Result<()> {
        self.held_bytes += bytes(&event);
        let is_of =
            |held: &&mut Held| held.is_open_call() && held.event.tool_call_id == event.tool_call_id;
        let of = match event.kind {
            EventKind::ToolResult => self.held.iter_mut().rev().find(is_of),
            _ => None,
        };
        match of {
            Some(call) => call.result = Some(event),
            None => self.held.push_back(Held { event, result: None }),
        }
        loop {
            let too_much = self.held.len() > HELD || self.held_bytes > HELD_BYTES;
            match self.held.front() {
                Some(first) if too_much || !first.is_open_call() => {}
                _ => return Ok(()),
            }
            self.write_first(Answer::Apart)?;
        }
    }

    fn write_first(&mut self, unanswered: Answer<'_>) -> io::Result<()> {
        let Some(Held { event, result }) = self.held.pop_front() else { return Ok(()) };
        self.held_bytes -= bytes(&event) + result.as_ref().map_or(0, bytes);
        if self.lines.is_multiple_of(CHUNK) {
            self.html.raw(if self.lines > 0 { "</ol>\n<ol>" } else { "" });
        }
        self.lines += 1;
        match event.kind {
            EventKind::ToolCall => {
                let answer = result.as_ref().map_or(unanswered, Answer::Is);
                event::tool(&mut self.html, Within::File, &event, answer);
            }
            _ => {
                let call = self.far.get(&event.seq).copied();
                event::line(&mut self.html, Within::File, &event, call);
            }
        }
        self.html.raw("\n");
        self.html.write_out(&mut self.out)
    }

    /// Writes what stands after the events, and gives back what it was written to.
    ///
    /// # Errors
    /// See [`Self::begin`].
    pub fn end(mut self) -> io::Result<W> {
        while !self.held.is_empty() {
            self.write_first(Answer::Missing)?;
        }
        self.footer.write_out(&mut self.out)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn head(html: &mut Html, about: &About<'_>) {
    let About { session: s, outline, host, at, remarks } = *about;
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    // First of all, before there is anything that it might allow.
    html.raw(concat!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ",
        "base-uri 'none'; form-action 'none'; style-src 'sha256-",
    ));
    html.text(&hash(&STYLE)).raw("'; script-src 'sha256-").text(&hash(SCRIPT)).raw("'\"><title>");
    html.text(&words::title(s)).raw(concat!(
        " · rrd</title><meta name=\"viewport\" content=\"width=device-width,initial-scale=1,viewport-fit=cover\">",
        "<meta name=\"referrer\" content=\"no-referrer\"><meta name=\"color-scheme\" content=\"dark light\"><style>",
    ));
    html.raw(&STYLE).raw("</style></head><body><article id=\"session\"");
    html.attr("class", words::class(s)).raw("><header><details class=\"facts\"><summary><h1>");
    html.text(&words::title(s)).raw("</h1><span class=\"line\"><span class=\"state\">");
    list::state(html, s, at);
    html.raw("</span><span class=\"place\"><span class=\"host\">").text(&s.host).raw("</span>");
    if let Some(repo) = s.repo.as_deref() {
        html.raw(" · <span>").text(repo).raw("</span>");
    }
    html.raw("</span></span></summary>");
    session::facts(html, s, Within::File, at);
    html.raw("</details></header><section class=\"activity\" aria-label=\"Activity\">");
    html.raw("<p class=\"made\">Exported ");
    Within::File.clock(html, at);
    html.raw(" by rrd ").raw(VERSION).raw(" on ").text(host).raw(", with its status of then. ");
    let marks = outline.marks.len() as u64;
    html.number(marks).raw(if marks == 1 { " event." } else { " events." });
    let subagents = outline.subagents.len() as u64 + outline.more_subagents;
    if subagents > 0 {
        html.raw(" Below the timeline, when its ").number(subagents);
        html.raw(if subagents == 1 { " subagent was" } else { " subagents were" });
        html.raw(" at work; the events of subagents are no part of this file.");
    }
    html.raw("</p>");
    for remark in remarks {
        html.raw("<p class=\"made\">").text(remark).raw(".</p>");
    }
    if let Some(copied) = outline.copied_to {
        html.raw("<p class=\"made\">What is older than ");
        Within::File.clock(html, copied);
        html.raw(" was copied from the session that this one is a fork of.</p>");
    }
    html.raw("<div id=\"log\"><ol>");
}

#[cfg(test)]
mod tests {
    use rrd_proto::{Body, Status};

    use super::{
        super::tests::{HOSTILE, NOW, call, event, saying, session_of},
        *,
    };

    fn whole(text: &str, event: Event) -> Event {
        let body = Body { text: text.to_owned(), size: text.len() as u64, cut: None };
        Event { body: Some(body), ..event }
    }

    fn file(s: &Session, outline: &Outline, events: Vec<Event>) -> String {
        let remarks = [s.session_id.clone()];
        let about = About { session: s, outline, host: &s.host, at: NOW, remarks: &remarks };
        let mut export = Export::begin(Vec::new(), &about).unwrap();
        for event in events {
            export.event(event).unwrap();
        }
        String::from_utf8(export.end().unwrap()).unwrap()
    }

    fn outline(events: &[Event]) -> Outline {
        Outline { marks: events.iter().map(Mark::of).collect(), ..Outline::default() }
    }

    #[test]
    fn calls_have_their_results_and_every_event_is_there_once() {
        let mut events = vec![event(0, EventKind::Prompt, "Do it")];
        // One whose result comes soon, one whose comes late, one whose never does.
        for (seq, id) in [(1, "soon"), (2, "late"), (3, "never")] {
            events.push(call(seq, id, EventKind::ToolCall, id));
        }
        events.push(call(4, "soon", EventKind::ToolResult, "1"));
        for seq in 5..505 {
            events.push(whole(
                &format!("said {seq}\nin full"),
                event(seq, EventKind::Message, "said"),
            ));
        }
        events.push(call(505, "late", EventKind::ToolResult, "2"));
        events.push(call(506, "soon", EventKind::ToolResult, "again"));
        events.push(call(507, "open", EventKind::ToolCall, "x"));
        let mut outline = outline(&events);
        (outline.marks[4].call, outline.marks[505].call) = (Some(1), Some(2));
        let html = file(&session_of("7f2c", "x", Status::Idle), &outline, events);
        assert_eq!(html.matches("<a href=\"#e2\">of event 3</a>").count(), 1);
        let log = html.split_once("<div id=\"log\">").unwrap().1;
        let log = log.split_once("<footer").unwrap().0;
        for seq in 0..508 {
            assert_eq!(log.matches(&format!(" id=\"e{seq}\"")).count(), 1, "{seq}");
        }
        for seq in 5..505 {
            assert_eq!(log.matches(&format!("<pre>said {seq}\nin full</pre>")).count(), 1);
        }
        // Where the result's own moment can be found, too.
        let at = NOW.plus(-56_000);
        let result = format!("<span class=\"result\" id=\"e4\" data-at=\"{at}\">✓ 3s</span>");
        assert!(log.contains(&result), "{log:.2000}");
        assert!(
            log.contains("<li class=\"tool\" id=\"e2\"")
                && log.contains("<li class=\"note\" id=\"e505\"")
        );
        assert!(log.contains("<li class=\"tool unanswered\" id=\"e507\""));
        assert_eq!(log.matches("not answered").count(), 1);
        let ids = log.split("data-seq=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        assert!(ids.map(|id| id.parse::<u64>().unwrap()).is_sorted(), "in their order");
    }

    #[test]
    fn nothing_of_a_session_gets_out_of_its_place() {
        let kinds = [
            EventKind::Prompt,
            EventKind::Message,
            EventKind::ToolCall,
            EventKind::ToolResult,
            EventKind::Error,
            EventKind::Compaction,
            EventKind::PermissionRequest,
            EventKind::PeerMessage,
        ];
        let all = [&HOSTILE[..], &["</details></li></ol>", "</script><script>", "</style>", "*/"]];
        for text in all.concat() {
            let events: Vec<Event> = kinds
                .iter()
                .zip(0..)
                .map(|(kind, seq)| {
                    let input =
                        format!("{{\"{text}\": \"{text}\\n{text}\", \"old_string\": \"{text}\"}}");
                    let said = [format!("{text}\n{text}"), input][usize::from(seq == 2)].clone();
                    let id = [Some(text.to_owned()), None][usize::from(seq == 3)].clone();
                    let one = event(seq, *kind, text);
                    whole(&said, Event { tool: Some(text.to_owned()), tool_call_id: id, ..one })
                })
                .collect();
            let html = file(&saying(text), &outline(&events), events);
            assert_eq!(html.matches("<script>").count(), 1, "{text}");
            assert_eq!(html.matches("</script>").count(), 1, "{text}");
            assert_eq!(html.matches("<style>").count(), 1, "{text}");
            assert!(
                !html.contains("forged<") && !html.contains("<img") && !html.contains("<iframe")
            );
            let opened = html.matches("<details").count();
            assert_eq!(opened, html.matches("</details>").count(), "{text}");
            assert_eq!(html.matches("<li ").count(), html.matches("</li>").count(), "{text}");
            assert!(!html.contains("<link") && !html.contains("<a href=\"http"), "{text}");
        }
    }

    #[test]
    fn what_a_limit_took_is_said_where_it_was() {
        let taken = Event { truncated: true, ..call(1, "c", EventKind::ToolResult, "") };
        let events = vec![call(0, "c", EventKind::ToolCall, "ls"), taken];
        let html = file(&session_of("7f2c", "x", Status::Idle), &outline(&events), events);
        assert!(html.contains("… the rest is not kept</i></pre></div><p class=\"at\">"), "{html}");
    }

    #[test]
    fn the_policy_allows_this_style_and_this_script_alone() {
        let html = file(&session_of("7f2c", "x", Status::Idle), &Outline::default(), Vec::new());
        let within = |from: &str, to: &str| {
            html.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned()
        };
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        let policy = within("Security-Policy\" content=\"", "\"");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains(&hash(&within("<style>", "</style>"))), "{policy}");
        assert!(policy.contains(&hash(&within("<script>", "</script>"))), "{policy}");
        assert!(!policy.contains("unsafe") && !html.contains(" style="));
    }

    /// Counts what it is given, and how much at once.
    #[derive(Debug, Default)]
    struct Sink {
        bytes: usize,
        most: usize,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes += bytes.len();
            self.most = self.most.max(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_hundred_thousand_events_are_written_as_they_come() {
        const COUNT: u64 = 100_000;
        let kinds = [EventKind::Prompt, EventKind::ToolCall, EventKind::ToolResult];
        let one = |seq: u64| {
            let kind = kinds[usize::try_from(seq % 3).unwrap()];
            whole("line\n", call(seq, &format!("c{}", seq / 3), kind, "line"))
        };
        let marks = (0..COUNT).map(|seq| Mark::of(&one(seq))).collect();
        let outline = Outline { marks, ..Outline::default() };
        let s = session_of("7f2c", "x", Status::Idle);
        let about = About { session: &s, outline: &outline, host: "mac", at: NOW, remarks: &[] };
        let mut export = Export::begin(Sink::default(), &about).unwrap();
        let begun = export.out.bytes;
        for seq in 0..COUNT {
            export.event(one(seq)).unwrap();
            assert!(export.held.len() <= 1 + HELD, "{seq}");
            assert!(
                export.out.bytes > begun + usize::try_from(seq).unwrap().saturating_sub(3) * 60
            );
        }
        let sink = export.end().unwrap();
        assert!(sink.most < 128 << 10, "{} bytes at once", sink.most);
    }
}
