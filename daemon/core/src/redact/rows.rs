//! Takes secrets out of what rrd itself tells: sessions, events, the state of parts.
//!
//! Each type is taken apart by name, so whoever adds a field has to say whether it is a text. Ids, names
//! of hosts and everything that is not a text stay as they are. Such texts were cut to a line's length
//! before: what a cut left of a secret no longer looks like one, so the last word of a text that may
//! have been cut is judged by how it begins. Not here: records of a harness.

use rrd_proto::{
    Activity, Body, ChainEnd, Coverage, Event, EventKind, EventPage, HookCall, Issue, Link,
    ListReply, Lookup, MirrorAlarm, Notice, Notification, Outline, PartStatus, Root, RootState,
    SearchHit, SearchReply, Session, Stretch, Subagent, Task, Unheard, binding::Binding,
    json::is_unsafe, message::Message,
};

use super::{
    RULES, Redacted, Redactor, Report,
    text::{OWN, Suspects, URL},
    view::View,
};
use crate::fold::TITLE_TEXT;

/// A text of which not even so much is left tells nothing.
const LEAST: usize = 2;
/// The same of an own secret, which nothing else tells from a word.
const LEAST_OWN: usize = 4;

impl Redactor {
    /// Sessions, and where they were looked for.
    #[must_use]
    pub fn list(&self, mut reply: ListReply, report: &mut Report) -> Redacted<ListReply> {
        let ListReply {
            sessions,
            last_ended,
            roots,
            unheard,
            duplicated,
            as_of: _,
            cursor: _,
            totals: _,
            progress: _,
            alone: _,
        } = &mut reply;
        duplicated.iter_mut().for_each(|host| self.clean(host, report));
        for session in sessions.iter_mut().chain(last_ended.as_deref_mut()) {
            self.session(session, report);
        }
        for Root { path, state, harness: _ } in roots {
            self.clean(path, report);
            if let RootState::Unreadable(why) = state {
                self.clean(why, report);
            }
        }
        for Unheard { why, host: _, state: _, seen_at: _, told_at: _ } in unheard {
            why.iter_mut().for_each(|why| self.clean(why, report));
        }
        Redacted(reply)
    }

    /// One session.
    #[must_use]
    pub fn row(&self, mut session: Session, report: &mut Report) -> Redacted<Session> {
        self.session(&mut session, report);
        Redacted(session)
    }

    /// A session that was looked up.
    #[must_use]
    pub fn lookup(&self, mut lookup: Lookup, report: &mut Report) -> Redacted<Lookup> {
        match &mut lookup {
            Lookup::Found(session) => self.session(session, report),
            Lookup::Ambiguous(sessions) => {
                sessions.iter_mut().for_each(|s| self.session(s, report))
            }
            Lookup::NotFound => {}
        }
        Redacted(lookup)
    }

    /// Events.
    #[must_use]
    pub fn events(&self, mut page: EventPage, report: &mut Report) -> Redacted<EventPage> {
        for event in &mut page.events {
            let Event {
                text,
                tool,
                truncated,
                seq: _,
                at: _,
                kind,
                tool_call_id: _,
                is_error: _,
                direction: _,
                message_id: _,
                withdrawn: _,
                subagent: _,
                body,
            } = event;
            self.clean(text, report);
            if *truncated {
                self.clean_end(text, report);
            }
            tool.iter_mut().for_each(|tool| self.clean(tool, report));
            let is_input = *kind == EventKind::ToolCall;
            body.iter_mut().for_each(|body| self.body(body, is_input, report));
        }
        Redacted(page)
    }

    /// What a body was cut to has passed a redactor before: what a cut leaves of a secret is not known
    /// for one.
    fn body(&self, body: &mut Body, is_input: bool, report: &mut Report) {
        let Body { text, cut, size: _ } = body;
        let at = cut.and_then(|cut| usize::try_from(cut).ok());
        let (head, tail) = text.split_at_checked(at.unwrap_or(text.len())).unwrap_or((text, ""));
        let mut whole = self.body_text(head, is_input, report);
        *cut = at.map(|_| whole.len() as u64);
        whole.push_str(&self.body_text(tail, is_input, report));
        *text = whole;
    }

    /// A tool's input is JSON as its harness wrote it; anything else is what somebody said.
    fn body_text(&self, text: &str, is_input: bool, report: &mut Report) -> String {
        if !is_input {
            return self.text(text, report).into_inner();
        }
        let line = self.line(text.as_bytes(), report).into_inner();
        String::from_utf8_lossy(&line).into_owned()
    }

    /// A session from above.
    #[must_use]
    pub fn outline(&self, mut outline: Outline, report: &mut Report) -> Redacted<Outline> {
        let Outline {
            stretches,
            subagents,
            marks: _,
            more: _,
            copied_to: _,
            dropped: _,
            gaps: _,
            last_words: _,
            more_subagents: _,
        } = &mut outline;
        for Stretch { detail, from: _, to: _, status: _, waiting_for: _ } in stretches {
            detail.iter_mut().for_each(|detail| self.clean(detail, report));
        }
        for subagent in subagents {
            let Subagent {
                title,
                session_id: _,
                parent_session_id: _,
                status: _,
                from: _,
                to: _,
                failed: _,
            } = subagent;
            title.iter_mut().for_each(|title| self.clean(title, report));
        }
        Redacted(outline)
    }

    /// What was found. Snippets were cut out of texts that had passed before.
    #[must_use]
    pub fn found(&self, mut reply: SearchReply, report: &mut Report) -> Redacted<SearchReply> {
        let SearchReply { hits, unheard, more: _, looked_to: _, no_words: _, behind: _ } =
            &mut reply;
        for hit in hits {
            let SearchHit {
                repo,
                title,
                tool,
                snippet,
                marks,
                reference: _,
                host: _,
                node_id: _,
                harness: _,
                session_id: _,
                seq: _,
                at: _,
                kind: _,
                withdrawn: _,
                cut: _,
                score: _,
            } = hit;
            for text in [repo, tool].into_iter().flatten() {
                self.clean(text, report);
            }
            if let Some(title) = title {
                self.clean(title, report);
                if title.ends_with('…') || title.chars().count() >= TITLE_TEXT {
                    self.clean_end(title, report);
                }
            }
            let before = snippet.len();
            self.clean(snippet, report);
            if snippet.len() != before {
                marks.clear();
            }
        }
        for Unheard { why, host: _, state: _, seen_at: _, told_at: _ } in unheard {
            why.iter_mut().for_each(|why| self.clean(why, report));
        }
        Redacted(reply)
    }

    /// How the daemon's parts are.
    #[must_use]
    pub fn parts(
        &self,
        mut parts: Vec<PartStatus>,
        report: &mut Report,
    ) -> Redacted<Vec<PartStatus>> {
        for PartStatus { part, detail, hint, state: _ } in &mut parts {
            [part, detail].into_iter().chain(hint).for_each(|text| self.clean(text, report));
        }
        Redacted(parts)
    }

    /// That a place fails which this host mirrors to.
    #[must_use]
    pub fn alarm(&self, mut alarm: MirrorAlarm, report: &mut Report) -> Redacted<MirrorAlarm> {
        // What is left are figures.
        let MirrorAlarm { url, error, .. } = &mut alarm;
        [url].into_iter().chain(error).for_each(|text| self.clean(text, report));
        Redacted(alarm)
    }

    /// Counts what somebody else replaced in a text.
    pub fn count_replaced(&self, text: &str, report: &mut Report) {
        for mark in text.split("[REDACTED:").skip(1) {
            let id = mark.split_once(']').map_or("", |(id, _)| id);
            if let Some(rule) = self.matcher.ids.iter().position(|known| known == id) {
                report.count(rule);
            }
        }
    }

    /// Tasks.
    #[must_use]
    pub fn tasks(&self, mut tasks: Vec<Task>, report: &mut Report) -> Redacted<Vec<Task>> {
        for Task { task, link: _, history: _ } in &mut tasks {
            self.clean(task, report);
        }
        Redacted(tasks)
    }

    /// Bindings.
    #[must_use]
    pub fn bindings(
        &self,
        mut bindings: Vec<Binding>,
        report: &mut Report,
    ) -> Redacted<Vec<Binding>> {
        for binding in &mut bindings {
            let Binding {
                note,
                from,
                to,
                id: _,
                state: _,
                since: _,
                scopes: _,
                expires_at: _,
                history: _,
            } = binding;
            let texts = [note.as_mut(), from.title.as_mut(), to.title.as_mut()];
            for text in texts.into_iter().flatten() {
                self.clean(text, report);
            }
        }
        Redacted(bindings)
    }

    /// What a person is to be told of, before anything of it is cut.
    #[must_use]
    pub fn notice(&self, mut notice: Notice, report: &mut Report) -> Redacted<Notice> {
        self.notice_texts(&mut notice, report);
        Redacted(notice)
    }

    /// The same with all that it leaves with.
    #[must_use]
    pub fn notification(
        &self,
        mut told: Notification,
        report: &mut Report,
    ) -> Redacted<Notification> {
        let Notification {
            title,
            text,
            notices,
            id: _,
            priority: _,
            test: _,
            digest: _,
            told_by: _,
            page: _,
            left_out: _,
        } = &mut told;
        self.clean(title, report);
        self.clean(text, report);
        notices.iter_mut().for_each(|notice| self.notice_texts(notice, report));
        Redacted(told)
    }

    fn notice_texts(&self, notice: &mut Notice, report: &mut Report) {
        let Notice {
            repo,
            title,
            detail,
            id: _,
            kind: _,
            since: _,
            over: _,
            host: _,
            reference: _,
            harness: _,
            session_id: _,
            waiting_for: _,
            sessions: _,
        } = notice;
        for text in [repo, title, detail].into_iter().flatten() {
            let cut = text.ends_with('…') || text.chars().count() >= TITLE_TEXT;
            self.clean(text, report);
            if cut {
                self.clean_end(text, report);
            }
        }
    }

    /// Messages.
    #[must_use]
    pub fn messages(
        &self,
        mut messages: Vec<Message>,
        report: &mut Report,
    ) -> Redacted<Vec<Message>> {
        for Message { text, trouble, .. } in &mut messages {
            [text].into_iter().chain(trouble).for_each(|text| self.clean(text, report));
        }
        Redacted(messages)
    }

    /// A call of a hook.
    #[must_use]
    pub fn hook(&self, mut call: HookCall, report: &mut Report) -> Redacted<HookCall> {
        let HookCall {
            payload,
            task,
            id: _,
            harness: _,
            at: _,
            unattended: _,
            process: _,
            tmux: _,
        } = &mut call;
        let line = self.line(payload.as_bytes(), report).into_inner();
        *payload = String::from_utf8_lossy(&line).into_owned();
        // What is left of a name that holds a secret names something else.
        task.take_if(|task| *self.text(task, report).as_ref() != *task);
        Redacted(call)
    }

    fn session(&self, session: &mut Session, report: &mut Report) {
        let Session {
            repo,
            repo_root,
            repo_remote,
            branch,
            cwd,
            transcript_path,
            title,
            model,
            waiting_detail,
            activity,
            attach,
            issues,
            coverage,
            links,
            chain,
            deletion: _,
            workplaces: _,
            reference: _,
            host: _,
            node_id: _,
            harness: _,
            session_id: _,
            started_at: _,
            last_activity_at: _,
            status: _,
            status_since: _,
            status_source: _,
            waiting_for: _,
            waiting_on: _,
            turn_result: _,
            end_reason: _,
            active: _,
            live: _,
            interactive: _,
            pid: _,
            parent_session_id: _,
            parent_kind: _,
            counts: _,
            tokens: _,
            complete: _,
            host_state: _,
            host_seen_at: _,
        } = session;
        let (tool, summary) = match activity {
            Some(Activity { tool, summary, since: _, may_wait: _ }) => {
                (tool.as_mut(), Some(summary))
            }
            None => (None, None),
        };
        let (end, what) = match chain {
            Some(ChainEnd {
                title,
                detail,
                reference: _,
                host: _,
                cause: _,
                since: _,
                blocks: _,
            }) => (title.as_mut(), detail.as_mut()),
            None => (None, None),
        };
        let lines = [title.as_mut(), waiting_detail.as_mut(), summary, end, what];
        let lines = lines.into_iter().flatten();
        let lines = lines.map(|line| {
            let cut = line.ends_with('…') || line.chars().count() >= TITLE_TEXT;
            (line, cut)
        });
        let plain = [repo, repo_root, repo_remote, branch, cwd, transcript_path, model, attach];
        let details = issues.iter_mut().map(|issue| {
            let Issue { detail, kind: _, count: _, offset: _ } = issue;
            detail
        });
        let places = coverage.iter_mut().map(|place| {
            let Coverage { url, state: _, bytes_behind: _, since: _, only_here: _ } = place;
            url
        });
        let evidence = links.iter_mut().map(|link| {
            let Link {
                evidence,
                kind: _,
                state: _,
                to: _,
                incoming: _,
                any: _,
                group: _,
                since: _,
            } = link;
            evidence
        });
        let plain = plain.into_iter().chain(details).filter_map(Option::as_mut);
        let plain = plain.chain(tool).chain(places).chain(evidence);
        let mut texts: Vec<_> = lines.chain(plain.map(|text| (text, false))).collect();
        // One look at all of them: almost always there is nothing.
        let together = texts.iter().fold(String::new(), |all, (text, _)| all + text + "\n");
        let suspicious = self.is_suspicious(&together);
        for (text, cut) in &mut texts {
            if suspicious {
                self.clean(text, report);
            }
            if *cut {
                self.clean_end(text, report);
            }
        }
    }

    fn is_suspicious(&self, text: &str) -> bool {
        let mut suspects = Suspects::default();
        self.matcher.suspects(text.as_bytes(), &mut suspects);
        suspects.any()
    }

    fn clean(&self, text: &mut String, report: &mut Report) {
        if self.is_suspicious(text) {
            *text = self.text(text, report).into_inner();
        }
    }

    /// The last word goes from where it begins like a secret: the rest of one may have been cut.
    fn clean_end(&self, text: &mut String, report: &mut Report) {
        let whole = text.strip_suffix('…').unwrap_or(text);
        let word = whole.rsplit(char::is_whitespace).next().unwrap_or_default();
        let start = whole.len() - word.len();
        let seen: String = word.chars().filter(|c| !is_unsafe(*c)).collect();
        let begun = self
            .own_begun(&seen)
            .map(|at| (at, OWN))
            .or_else(|| token_begun(&seen))
            .or_else(|| Some((password_begun(&seen)?, URL)));
        let Some((at, rule)) = begun else { return };
        let mut place = [(at, seen.len())];
        View::Unseen.locate(word.as_bytes(), &mut place.iter_mut());
        let at = place[0].0;
        let end = if whole.len() < text.len() { "…" } else { "" };
        *text = format!("{}[REDACTED:{}]{end}", &whole[..start + at], self.matcher.ids[rule]);
        report.count(rule);
    }
}

impl Redactor {
    /// Where one of rrd's own secrets begins that lasts to the end of the word.
    fn own_begun(&self, word: &str) -> Option<usize> {
        let of = |secret: &Vec<u8>| {
            let most = secret.len().min(word.len());
            let left = (LEAST_OWN..=most).rev();
            let mut left = left.filter(|n| word.as_bytes().ends_with(&secret[..*n]));
            left.next().map(|n| word.len() - n).filter(|at| word.is_char_boundary(*at))
        };
        self.own.iter().filter_map(of).min()
    }
}

/// Where a vendor's token begins that lasts to the end of the word, and by which rule.
fn token_begun(word: &str) -> Option<(usize, usize)> {
    let in_token = |c: char| c.is_ascii_alphanumeric() || "_-./+=".contains(c);
    let begins = |keyword: &&str| {
        let (before, rest) = word.split_once(keyword)?;
        let alone = !before.ends_with(|c: char| c.is_ascii_alphanumeric());
        (alone && rest.len() >= LEAST && rest.chars().all(in_token)).then_some(before.len())
    };
    let rules = RULES.iter().enumerate();
    let begun = rules.filter_map(|(number, rule)| {
        Some((rule.keywords.iter().filter_map(begins).min()?, number))
    });
    begun.min()
}

/// Where the password of an address begins, when the host that would follow it is cut off.
fn password_begun(word: &str) -> Option<usize> {
    let (scheme, rest) = word.split_once("://")?;
    let (user, password) = rest.split_once(':')?;
    let is_port = password.chars().all(|c| c.is_ascii_digit());
    let is_host = user.contains('/') || password.contains(['@', '/']) || is_port;
    (!is_host).then_some(scheme.len() + 3 + user.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(text: &str) -> String {
        let mut text = text.to_owned();
        Redactor::new().clean_end(&mut text, &mut Report::default());
        text
    }

    #[test]
    fn what_a_cut_left_of_a_secret_goes() {
        for (text, left) in [
            ("push with gh~p_Ab3…", "push with [REDACTED:github-token]…"),
            ("key=sk-ant~-api03-Ab…", "key=[REDACTED:anthropic-key]…"),
            ("psql postgres://me:secr…", "psql postgres://me:[REDACTED:url-password]…"),
            ("no cut mark gh~p_Ab3", "no cut mark [REDACTED:github-token]"),
            ("split g\u{200b}h~p\u{ad}_Ab3…", "split [REDACTED:github-token]…"),
        ] {
            assert_eq!(end_of(&text.replace('~', "")), left);
        }
    }

    #[test]
    fn what_a_cut_left_of_an_own_secret_goes() {
        let own: &[&[u8]] = &[b"q7Rk2vXw9LmZ4tYb"];
        let (redactor, _) = Redactor::with(&crate::redact::Settings::default(), own);
        for (text, left) in [
            ("use q7Rk2vX…", "use [REDACTED:own-secret]…"),
            ("key=q7Rk", "key=[REDACTED:own-secret]"),
            ("use q7R…", "use q7R…"),
            ("q7Rk2 and more…", "q7Rk2 and more…"),
        ] {
            let mut text = text.to_owned();
            redactor.clean_end(&mut text, &mut Report::default());
            assert_eq!(text, left);
        }
    }

    #[test]
    fn what_only_looks_like_the_beginning_of_one_stays() {
        for text in [
            "see http://localhost:3000…",
            "see https://example.com/a:b…",
            "a task-force…",
            "what is gh_…",
            "gh then something else…",
            "次の\u{3000}作業…",
            "wide\u{a0}",
            "",
            "…",
        ] {
            assert_eq!(end_of(text), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,300}", cut in proptest::bool::ANY, begins in "(gh~p_|a@b:|x://y:)?") {
            let end = if cut { "…" } else { "" };
            let text = format!("{text}{}{end}", begins.replace('~', ""));
            let once = end_of(&text);
            proptest::prop_assert_eq!(end_of(&once), once);
        }
    }
}
