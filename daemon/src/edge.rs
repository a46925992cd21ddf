//! The ways out: what leaves this process for anybody's eyes passes the redactor here, and is counted.
//!
//! A way out takes [`Redacted`] values, which only a redactor makes; so the compiler refuses what is raw.
//! Only the local socket may give texts as they are, to a person at a terminal who asks for that; and the
//! files of a session go as they are to whoever resumes it, where a `RawCopies` lets them. What is
//! kept on this host (index, memory) is not redacted: nothing would be won, and much could not be mended.
//! Not here: what is secret ([`rrd_core::redact`]), and where the rules come from ([`crate::redact`]).

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use rrd_core::redact::{Redacted, Redactor, Refused, Report, Settings};
use rrd_proto::{
    EventPage, Health, HookCall, ListReply, Lookup, MirrorAlarm, Notice, Notification, Outline,
    PartStatus, SearchReply, Session, Task, binding::Binding, message::Message,
};

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::{Config, Dirs, redact};

/// rrd's own secrets that a text must not hold.
pub(crate) type Secrets = Vec<Zeroizing<Vec<u8>>>;

/// A way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Answers on the local socket, or of a look without a daemon.
    Local,
    /// The log.
    Log,
    /// Calls of hooks that wait for a daemon.
    Spool,
    /// Records for other hosts.
    Gossip,
    /// Answers to other hosts.
    Member,
    /// Transcripts that are mirrored.
    Mirror,
    /// Copies of sessions' files for other hosts, where they are not told as they are; and out of buckets.
    Copy,
    /// What people are told where they have it told to them.
    Notify,
}

/// Each with its name.
const EDGES: [(Edge, &str); 8] = [
    (Edge::Local, "answers"),
    (Edge::Log, "log"),
    (Edge::Spool, "hook spool"),
    (Edge::Gossip, "gossip"),
    (Edge::Member, "answers to hosts"),
    (Edge::Mirror, "mirror"),
    (Edge::Copy, "copies"),
    (Edge::Notify, "notifications"),
];

/// The redactor, and what it replaced on each way.
#[derive(Debug)]
pub struct Edges {
    redactor: RwLock<Arc<Redactor>>,
    /// What the redactor is made of, for when there is one more thing to hide.
    settings: Settings,
    own: Mutex<Secrets>,
    refused: Vec<Refused>,
    counts: [Mutex<Report>; EDGES.len()],
}

impl Edges {
    /// With the rules of this host.
    #[must_use]
    pub fn open(dirs: &Dirs) -> Self {
        let (settings, wrong) = redact::settings(Some(dirs));
        let own = redact::own_secrets(Some(dirs));
        let (redactor, mut refused) = redact::with(&settings, &own);
        refused.extend(wrong);
        Self {
            redactor: RwLock::new(Arc::new(redactor)),
            settings,
            own: Mutex::new(own),
            refused,
            counts: Default::default(),
        }
    }

    /// Hides these from now on, too. Takes some milliseconds.
    pub(crate) fn hide(&self, secrets: Secrets) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let news: Secrets = secrets.into_iter().filter(|secret| !own.contains(secret)).collect();
        if news.is_empty() {
            return;
        }
        own.extend(news);
        let (redactor, _) = redact::with(&self.settings, &own);
        *self.redactor.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(redactor);
    }

    /// What takes secrets out, as it is now.
    pub(crate) fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.redactor.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sessions, as they are only if that is asked for.
    pub(crate) fn list(&self, reply: ListReply, raw: bool) -> ListReply {
        self.local(reply, raw, Redactor::list)
    }

    /// The same for rows of some.
    pub(crate) fn rows(&self, rows: Vec<Session>) -> Vec<Session> {
        rows.into_iter().map(|row| self.local(row, false, Redactor::row)).collect()
    }

    /// The same for a session.
    pub(crate) fn lookup(&self, lookup: Lookup, raw: bool) -> Lookup {
        self.local(lookup, raw, Redactor::lookup)
    }

    /// The same for events.
    pub(crate) fn events(&self, page: EventPage, raw: bool) -> EventPage {
        self.local(page, raw, Redactor::events)
    }

    /// The same for a session from above.
    pub(crate) fn outline(&self, outline: Outline) -> Outline {
        self.local(outline, false, Redactor::outline)
    }

    /// The same for what was found.
    pub(crate) fn found(&self, reply: SearchReply) -> SearchReply {
        self.local(reply, false, Redactor::found)
    }

    /// The same for a place that fails.
    pub(crate) fn alarm(&self, alarm: MirrorAlarm) -> MirrorAlarm {
        self.local(alarm, false, Redactor::alarm)
    }

    /// The same for tasks.
    pub(crate) fn tasks(&self, tasks: Vec<Task>) -> Vec<Task> {
        self.local(tasks, false, Redactor::tasks)
    }

    /// The same for bindings.
    pub(crate) fn bindings(&self, bindings: Vec<Binding>) -> Vec<Binding> {
        self.local(bindings, false, Redactor::bindings)
    }

    /// The same for messages.
    pub(crate) fn messages(&self, messages: Vec<Message>) -> Vec<Message> {
        self.local(messages, false, Redactor::messages)
    }

    /// The same for what parts say of themselves.
    pub(crate) fn parts(&self, parts: Vec<PartStatus>) -> Vec<PartStatus> {
        self.local(parts, false, Redactor::parts)
    }

    fn local<T>(
        &self,
        answer: T,
        raw: bool,
        redact: impl FnOnce(&Redactor, T, &mut Report) -> Redacted<T>,
    ) -> T {
        if raw {
            return answer;
        }
        self.through(Edge::Local, |redactor, report| redact(redactor, answer, report)).into_inner()
    }

    fn through<T>(
        &self,
        edge: Edge,
        redact: impl FnOnce(&Redactor, &mut Report) -> Redacted<T>,
    ) -> Redacted<T> {
        // Counted by itself first: answers do not wait for one another, and what panics in here can
        // still be logged.
        let mut report = Report::default();
        let redacted = redact(&self.redactor(), &mut report);
        self.report(edge).add(&report);
        redacted
    }

    fn report(&self, edge: Edge) -> MutexGuard<'_, Report> {
        self.counts[edge as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one line of the log.
    fn log(&self, line: &[u8], to: &mut dyn Write) -> io::Result<()> {
        let (line, end) = match line.strip_suffix(b"\n") {
            Some(line) => (line, &b"\n"[..]),
            None => (line, &b""[..]),
        };
        let line = self.through(Edge::Log, |redactor, report| redactor.line(line, report));
        send(&line, to)?;
        to.write_all(end)
    }

    /// A session as other hosts hear of it.
    pub(crate) fn gossiped(&self, session: Session) -> Redacted<Session> {
        self.through(Edge::Gossip, |redactor, report| redactor.row(session, report))
    }

    /// That a place fails, as other hosts hear of it.
    pub(crate) fn gossiped_alarm(&self, alarm: MirrorAlarm) -> MirrorAlarm {
        self.through(Edge::Gossip, |redactor, report| redactor.alarm(alarm, report)).into_inner()
    }

    /// The same for a member that asks.
    pub(crate) fn told(&self, session: Session) -> Redacted<Session> {
        self.through(Edge::Member, |redactor, report| redactor.row(session, report))
    }

    /// The same for events.
    pub(crate) fn told_events(&self, page: EventPage) -> Redacted<EventPage> {
        self.through(Edge::Member, |redactor, report| redactor.events(page, report))
    }

    /// The same for a session from above.
    pub(crate) fn told_outline(&self, outline: Outline) -> Redacted<Outline> {
        self.through(Edge::Member, |redactor, report| redactor.outline(outline, report))
    }

    /// The same for what was found.
    pub(crate) fn told_found(&self, reply: SearchReply) -> Redacted<SearchReply> {
        self.through(Edge::Member, |redactor, report| redactor.found(reply, report))
    }

    /// What a session writes to another one, wherever that is.
    pub(crate) fn sent(&self, text: &str) -> Redacted<String> {
        self.through(Edge::Member, |redactor, report| redactor.text(text, report))
    }

    /// One line of a file that is copied to another host.
    pub(crate) fn copied<'l>(&self, line: &'l [u8]) -> Redacted<Cow<'l, [u8]>> {
        self.through(Edge::Copy, |redactor, report| redactor.line(line, report))
    }

    /// What stands in for a line of such a file that is too long to be looked at.
    pub(crate) fn copied_oversized(&self, bytes: u64) -> Redacted<Cow<'static, [u8]>> {
        self.through(Edge::Copy, |redactor, report| redactor.oversized(bytes, report))
            .map(Cow::Owned)
    }

    /// A text that is cut before it is kept. Not counted: it stays here for now, and is looked at again
    /// when it leaves.
    pub(crate) fn kept(&self, text: &str) -> String {
        self.redactor().text(text, &mut Report::default()).into_inner()
    }

    /// What a person is to be told of.
    pub(crate) fn notice(&self, notice: Notice) -> Notice {
        self.through(Edge::Notify, |redactor, report| redactor.notice(notice, report)).into_inner()
    }

    /// The same as it leaves.
    pub(crate) fn notification(&self, told: Notification) -> Redacted<Notification> {
        self.through(Edge::Notify, |redactor, report| redactor.notification(told, report))
    }

    /// A text beside mirrored records.
    pub(crate) fn mirrored(&self, text: &str) -> Redacted<String> {
        self.through(Edge::Mirror, |redactor, report| redactor.text(text, report))
    }

    /// Counts what was replaced in mirrored records.
    pub(crate) fn count_mirrored(&self, replaced: &Report) {
        self.report(Edge::Mirror).add(replaced);
    }

    /// A record, or a text beside it, out of a bucket.
    pub(crate) fn copied_text(&self, text: &str) -> String {
        let line = self.copied(text.as_bytes()).into_inner();
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Counts what was replaced in records that came out of a bucket.
    pub(crate) fn count_copied(&self, replaced: &Report) {
        self.report(Edge::Copy).add(replaced);
    }

    /// The first of a person's rules that does not hold.
    pub(crate) fn refused(&self) -> Option<&Refused> {
        self.refused.first()
    }

    /// A call of a hook that has to wait for a daemon.
    pub fn spooled(&self, call: HookCall) -> Redacted<HookCall> {
        self.through(Edge::Spool, |redactor, report| redactor.hook(call, report))
    }

    /// Counts what was replaced in a call by whoever left it in the spool.
    pub(crate) fn count_spooled(&self, call: &HookCall) {
        let mut report = self.report(Edge::Spool);
        self.redactor().count_replaced(&call.payload, &mut report);
    }

    /// What has been replaced, for `rrd status`.
    pub(crate) fn part(&self) -> PartStatus {
        let redactor = self.redactor();
        let told = EDGES.iter().filter_map(|(edge, name)| {
            let report = self.report(*edge);
            let counts = redactor.counts(&report);
            let rules: Vec<String> =
                counts.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
            (!rules.is_empty()).then(|| format!("{name}: {}", rules.join(", ")))
        });
        let told: Vec<String> = told.collect();
        let replaced = match told.is_empty() {
            true => "nothing replaced since it started".to_owned(),
            false => format!("replaced since it started; {}", told.join("; ")),
        };
        let (state, detail, hint) = match self.refused.first() {
            None => (Health::Ok, replaced, None),
            Some(first) => (
                Health::Degraded,
                format!(
                    "redact.toml: {} does not hold ({}), {} in all; {replaced}",
                    first.rule,
                    first.reason.lines().next().unwrap_or_default(),
                    self.refused.len()
                ),
                Some("rrd redact </dev/null names each of them".to_owned()),
            ),
        };
        PartStatus { part: "redaction".to_owned(), state, detail, hint }
    }
}

/// That the files of a session may go to somebody as they are. The second way out besides [`Redacted`], and
/// the only one for texts that nobody has looked at: without one of these nothing gets into an [`Outgoing`]
/// but what was redacted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawCopies(());

impl RawCopies {
    /// For members of the fleet: where this host's settings say so.
    pub(crate) fn for_members(config: &Config) -> Option<Self> {
        config.resume_raw.then_some(Self(()))
    }

    /// For the user of this host, whose files they are: over the local socket.
    pub(crate) const fn for_their_owner() -> Self {
        Self(())
    }
}

/// Bytes of a copy that are about to leave.
#[derive(Debug, Default)]
pub(crate) struct Outgoing(Vec<u8>);

impl Outgoing {
    /// Adds what was redacted.
    pub(crate) fn push<T: AsRef<[u8]>>(&mut self, bytes: &Redacted<T>) {
        self.0.extend_from_slice(bytes.as_ref().as_ref());
    }

    /// Ends a line.
    pub(crate) fn end_line(&mut self) {
        self.0.push(b'\n');
    }

    /// Adds what a file holds, as it is.
    pub(crate) fn push_raw(&mut self, _: RawCopies, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first `most` bytes of it, or all.
    pub(crate) fn take(&mut self, most: usize) -> Bytes {
        let rest = self.0.split_off(most.min(self.0.len()));
        std::mem::replace(&mut self.0, rest).into()
    }
}

/// Where the log goes: to stderr, line by line, redacted.
#[derive(Debug, Clone)]
pub struct Log(pub Arc<Edges>);

impl Write for Log {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        // Whoever formats a log hands over whole lines.
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.0.log(line, &mut io::stderr().lock())?;
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn send<T: AsRef<[u8]>>(bytes: &Redacted<T>, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(bytes.as_ref().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges() -> Edges {
        Edges {
            redactor: RwLock::new(Arc::new(Redactor::new())),
            settings: Settings::default(),
            own: Mutex::default(),
            refused: Vec::new(),
            counts: Default::default(),
        }
    }

    /// In no file as it is.
    fn secret() -> String {
        format!("{}_{}", "ghp", "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb7c")
    }

    #[test]
    fn nothing_is_logged_as_it_is() {
        let edges = edges();
        let mut said = Vec::new();
        for line in [
            format!("{{\"level\":\"WARN\",\"path\":\"/x/{}/y\"}}\n", secret()),
            format!("\u{1b}[33m WARN\u{1b}[0m cannot read \"{}\"\n", secret()),
            format!("no newline {}", secret()),
        ] {
            edges.log(line.as_bytes(), &mut said).unwrap();
        }
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains(&secret()[..20]), "{said}");
        assert_eq!(said.matches("[REDACTED:github-token]").count(), 3, "{said}");
        assert_eq!(said.lines().count(), 3);
        assert!(edges.part().detail.contains("log: github-token 3"), "{:?}", edges.part());
    }

    #[test]
    fn raw_is_raw_and_is_not_counted() {
        let edges = edges();
        let part = |detail: String| PartStatus {
            part: "x".to_owned(),
            state: Health::Ok,
            detail,
            hint: None,
        };
        let page = EventPage::default();
        assert_eq!(edges.events(page.clone(), true), page);
        assert_eq!(edges.parts(vec![part(secret())])[0].detail, "[REDACTED:github-token]");
        assert!(edges.part().detail.contains("answers: github-token 1"));
    }

    #[test]
    fn what_is_to_be_hidden_from_now_on_is() {
        let edges = edges();
        let token = b"q7Rk2vXw9LmZ4tYb".to_vec();
        let logged = || {
            let mut said = Vec::new();
            edges.log(b"seen q7Rk2vXw9LmZ4tYb here\n", &mut said).unwrap();
            String::from_utf8(said).unwrap()
        };
        assert!(logged().contains("q7Rk"));
        edges.hide(vec![Zeroizing::new(token)]);
        assert!(!logged().contains("q7Rk"), "{}", logged());
    }

    #[test]
    fn a_rule_that_does_not_hold_is_told() {
        let refused =
            vec![Refused { rule: "mine".to_owned(), reason: "unclosed group\n^".to_owned() }];
        let part = Edges { refused, ..edges() }.part();
        assert_eq!(part.state, Health::Degraded);
        assert!(
            part.detail.starts_with("redact.toml: mine does not hold (unclosed group), 1 in all")
        );
    }
}
