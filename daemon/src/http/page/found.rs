//! The page that finds what was said: a field, and hits that lead to their moments. It needs no JavaScript.

use rrd_proto::{HostState, SearchHit, SearchReply, Timestamp};

use super::{Shell, close, html::Html, list, open};

/// What the page is made of.
#[derive(Debug)]
pub(crate) struct FoundView<'a> {
    /// What is looked for.
    pub(crate) text: &'a str,
    /// What was found; `None` where nothing is looked for yet.
    pub(crate) reply: Option<&'a SearchReply>,
    pub(crate) now: Timestamp,
}

/// The page at `/find`.
pub(crate) fn found(view: &FoundView<'_>) -> String {
    let FoundView { text, reply, now } = *view;
    let title = if text.is_empty() { "Find · rrd".to_owned() } else { format!("{text} · rrd") };
    let mut page =
        open(&Shell { title: &title, event_id: "", as_of: now, live: false, style: None });
    page.raw("<main id=\"found\"><form role=\"search\" action=\"/find\" method=\"get\">");
    page.raw("<a class=\"back\" href=\"/\" aria-label=\"All sessions\">‹</a>");
    page.raw("<input type=\"search\" name=\"q\" aria-label=\"Find what was said\" ");
    page.raw("placeholder=\"Find what was said\" autocomplete=\"off\" autocapitalize=\"off\" ");
    page.raw("spellcheck=\"false\" enterkeyhint=\"search\" maxlength=\"1000\"").attr("value", text);
    page.raw("><button>Find</button></form>");
    if let Some(reply) = reply {
        missing(&mut page, reply, now);
        page.raw("<ol>");
        reply.hits.iter().for_each(|hit| one(&mut page, hit, now));
        page.raw("</ol>");
        if reply.no_words {
            page.raw("<p class=\"says\">Letters and digits make a word.</p>");
        } else if reply.hits.is_empty() {
            page.raw(
                "<p class=\"says\">Nothing says that. Fewer words find more, and wor* finds every ",
            );
            page.raw("word that begins so.</p>");
        } else if reply.more {
            page.raw("<p class=\"says\">There is more. Another word narrows it.</p>");
        }
    } else {
        page.raw("<p class=\"says\">In prompts, answers, commands, file paths and errors, on every host. ");
        page.raw(
            "Words are all to be in one of them; \"words in quotes\" one after the other; wor* is ",
        );
        page.raw("the beginning of a word.</p>");
    }
    page.raw("</main>");
    close(page)
}

/// What may be missing.
fn missing(page: &mut Html, reply: &SearchReply, now: Timestamp) {
    for unheard in &reply.unheard {
        page.raw("<p class=\"missing\">").text(&unheard.host);
        page.raw(match (&unheard.why, unheard.state) {
            (None, HostState::Away) => " is away: its sessions were not searched.</p>",
            _ => " did not answer: its sessions were not searched.</p>",
        });
    }
    if let Some(to) = reply.looked_to {
        page.raw("<p class=\"missing\">Looked back to ");
        list::clock(page, to, now);
        page.raw("; another word goes further.</p>");
    }
    if reply.behind > 0 {
        page.raw("<p class=\"missing\">").number(reply.behind);
        page.raw(" events cannot be found yet: they are still being read.</p>");
    }
}

/// One hit, which is a link to its moment.
fn one(page: &mut Html, hit: &SearchHit, now: Timestamp) {
    page.raw(if hit.withdrawn { "<li class=\"withdrawn\"><a href=\"" } else { "<li><a href=\"" });
    page.address(&hit.host, hit.harness.as_str(), &hit.session_id);
    page.raw("?around=").number(hit.seq).raw("#e").number(hit.seq);
    page.raw("\"><span class=\"line\"><b class=\"").raw(hit.kind.as_str()).raw("\">");
    page.raw(hit.kind.as_str()).raw("</b><span class=\"place\"><span>").text(&hit.host);
    page.raw("</span>");
    if let Some(repo) = hit.repo.as_deref() {
        page.raw("<span>").text(repo).raw("</span>");
    }
    page.raw("</span>");
    if let Some(at) = hit.at {
        list::clock(page, at, now);
    }
    page.raw("</span><span class=\"snippet\">").raw(if hit.cut.0 { "…" } else { "" });
    for (text, found) in hit.pieces() {
        let blank = |at: bool| if at { " " } else { "" };
        page.raw(blank(text.starts_with(' '))).raw(if found { "<mark>" } else { "" }).text(text);
        page.raw(if found { "</mark>" } else { "" });
        page.raw(blank(text.ends_with(' ') && text.len() > 1));
    }
    page.raw(if hit.cut.1 { "…" } else { "" }).raw("</span>");
    if let Some(title) = hit.title.as_deref() {
        page.raw("<span class=\"title\">").text(title).raw("</span>");
    }
    page.raw("</a></li>");
}
