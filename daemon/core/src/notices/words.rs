//! A notification in words: a title of one line and a few lines of text, whatever is in them.

use rrd_proto::{Notice, NoticeKind, Notification, WaitingFor, json::is_unsafe};

use super::queue::Batch;

/// Letters of a title, at most.
pub const MAX_TITLE: usize = 120;

/// Letters of a line of text, at most.
const MAX_LINE: usize = 300;

/// Notices that are spelt out; ntfy takes 4,096 bytes of text.
const SPELT: usize = 10;

/// Notices that are in a notification with all they say; of more only the number is told.
const MOST: usize = 50;

/// What the settings say of texts.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Texts may leave.
    pub details: bool,
    /// The label of this host.
    pub told_by: String,
    /// Where a page with sessions is.
    pub page: Option<String>,
}

/// What is told of a batch.
#[must_use]
pub fn notification(batch: Batch, wish: &Wish) -> Notification {
    let Batch { mut notices, digest, left_out, number: _ } = batch;
    let id = match &notices[..] {
        [one] => one.id.clone(),
        several => {
            let mut ids: Vec<&str> = several.iter().map(|one| &*one.id).collect();
            ids.sort_unstable();
            format!("{:016x}", crate::hash(ids.join(" ").as_bytes()))
        }
    };
    for one in &mut notices {
        *one = match wish.details {
            true => cleaned(one),
            false => without_texts(one),
        };
    }
    let highest = notices.iter().map(|one| priority(one.kind)).max().unwrap_or(3);
    let title = match &notices[..] {
        [one] => title(one),
        several => summary(several, digest),
    };
    let page = wish.page.as_deref().map(|base| page(base, &notices));
    let mut lines: Vec<String> = match (&notices[..], wish.details) {
        (_, false) => Vec::new(),
        ([one], true) => text(one),
        (several, true) => several.iter().take(SPELT).map(line).collect(),
    };
    let spelt = if notices.len() > 1 && wish.details { SPELT } else { notices.len() };
    let more = notices.len().saturating_sub(spelt) as u64 + left_out;
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    let beyond = notices.len().saturating_sub(MOST) as u64;
    notices.truncate(MOST);
    Notification {
        id,
        title: cut(&title, MAX_TITLE),
        text: lines.join("\n"),
        priority: if digest { highest.min(3) } else { highest },
        test: false,
        digest,
        told_by: if wish.details { clean(&wish.told_by, MAX_TITLE) } else { String::new() },
        page,
        notices,
        left_out: left_out + beyond,
    }
}

/// What a test says.
#[must_use]
pub fn test(id: String, sink: &str, wish: &Wish) -> Notification {
    let from = if wish.details { format!(" from {}", wish.told_by) } else { String::new() };
    Notification {
        id,
        title: clean(&format!("rrd: a test{from}"), MAX_TITLE),
        text: format!("This is how {} tells of sessions that need you.", clean(sink, MAX_TITLE)),
        priority: 3,
        test: true,
        digest: false,
        told_by: if wish.details { clean(&wish.told_by, MAX_TITLE) } else { String::new() },
        page: wish.page.clone(),
        notices: Vec::new(),
        left_out: 0,
    }
}

/// How urgent it is, 1 to 5, as ntfy counts.
#[must_use]
pub const fn priority(kind: NoticeKind) -> u8 {
    match kind {
        NoticeKind::NeedsYou | NoticeKind::Crashed | NoticeKind::Deadlock => 4,
        NoticeKind::HostAwayWithWork | NoticeKind::MirrorFailing => 3,
        NoticeKind::Finished => 2,
    }
}

fn title(one: &Notice) -> String {
    let what = what(one);
    let place = [one.host.as_deref(), one.repo.as_deref()];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    let over = if one.over { " (over by now)" } else { "" };
    match place.is_empty() {
        true => format!("{}{over}", capital(&what)),
        false => format!("{}: {what}{over}", place.join(" · ")),
    }
}

fn what(one: &Notice) -> String {
    let sessions = |count: u64| match count {
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    };
    match (one.kind, one.waiting_for) {
        (NoticeKind::NeedsYou, Some(WaitingFor::Permission)) => "needs permission".to_owned(),
        (NoticeKind::NeedsYou, Some(WaitingFor::Input)) => "waits for your answer".to_owned(),
        (NoticeKind::NeedsYou, _) => "a session needs you".to_owned(),
        (NoticeKind::Crashed, _) => "a session crashed".to_owned(),
        (NoticeKind::Deadlock, _) => format!("{} wait for each other", sessions(one.sessions)),
        (NoticeKind::HostAwayWithWork, _) => {
            format!("is away, with work in {}", sessions(one.sessions))
        }
        (NoticeKind::MirrorFailing, _) => "its mirror fails".to_owned(),
        (NoticeKind::Finished, _) => "a session is done".to_owned(),
    }
}

fn text(one: &Notice) -> Vec<String> {
    let name = match (&one.title, &one.reference) {
        (Some(title), Some(reference)) => Some(format!("{title} ({reference})")),
        (title, reference) => title.clone().or_else(|| reference.clone()),
    };
    name.into_iter().chain(one.detail.clone()).collect()
}

fn line(one: &Notice) -> String {
    let text = text(one);
    let rest = if text.is_empty() { String::new() } else { format!(": {}", text.join(" · ")) };
    cut(&format!("{}{rest}", title(one)), MAX_LINE)
}

/// `2 sessions need you, 1 crashed`.
fn summary(several: &[Notice], digest: bool) -> String {
    let of = |kind: NoticeKind| several.iter().filter(|one| one.kind == kind).count();
    let words = |kind: NoticeKind| {
        let count = of(kind);
        let s = if count == 1 { "" } else { "s" };
        let said = match kind {
            NoticeKind::NeedsYou if count == 1 => "1 session needs you".to_owned(),
            NoticeKind::NeedsYou => format!("{count} sessions need you"),
            NoticeKind::Crashed => format!("{count} session{s} crashed"),
            NoticeKind::Deadlock => format!("{count} deadlock{s}"),
            NoticeKind::HostAwayWithWork => format!("{count} host{s} away with work"),
            NoticeKind::MirrorFailing => format!("{count} mirror{s} failing"),
            NoticeKind::Finished => format!("{count} session{s} done"),
        };
        (count > 0).then_some(said)
    };
    let said: Vec<String> = NoticeKind::ALL.into_iter().filter_map(words).collect();
    let since = if digest { "held back: " } else { "" };
    capital(&format!("{since}{}", said.join(", ")))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn page(base: &str, notices: &[Notice]) -> String {
    let base = base.trim_end_matches('/');
    match notices {
        [Notice { host: Some(host), harness: Some(harness), session_id: Some(id), .. }] => {
            format!("{base}/s/{}/{}/{}", segment(host), segment(harness.as_str()), segment(id))
        }
        _ => format!("{base}/"),
    }
}

/// Percent-encoded but for letters, digits and what RFC 3986 calls unreserved besides.
fn segment(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Texts of one line each, without what a terminal or a display would act on.
fn cleaned(one: &Notice) -> Notice {
    let text = |text: &Option<String>| text.as_deref().map(|text| clean(text, MAX_LINE));
    Notice {
        host: text(&one.host),
        reference: text(&one.reference),
        session_id: text(&one.session_id),
        repo: text(&one.repo),
        title: text(&one.title),
        detail: text(&one.detail),
        ..one.clone()
    }
}

/// What it is, and since when: nothing that anybody wrote, and no name. The ref, which says nothing to whoever has
/// no rrd that knows it, stays.
fn without_texts(one: &Notice) -> Notice {
    Notice {
        host: None,
        harness: None,
        session_id: None,
        repo: None,
        title: None,
        detail: None,
        ..one.clone()
    }
}

/// One line of so many letters at most, without what is there unseen.
#[must_use]
pub fn clean(text: &str, most: usize) -> String {
    let is_seen = |c: &char| c.is_whitespace() || !is_unsafe(*c);
    let plain: String = text.chars().filter(is_seen).collect();
    cut(&plain.split_whitespace().collect::<Vec<_>>().join(" "), most)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}
