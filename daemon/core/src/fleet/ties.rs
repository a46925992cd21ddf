//! What ties a session to others, as its record tells it: those that are alike once, with all whom they name.
//!
//! A session may wait for more than a hundred others, and a circle may close through any of them: whom it waits for
//! comes before everything that is told of it, and all of them are named. What there is no room for is counted. Not
//! here: how much room there is ([`super::record`]).

use rrd_proto::{EdgeKind, Link, MESSAGE, Timestamp};
use serde_json::{Value, json};

/// Of one session, at most.
const MOST: usize = 512;

/// Bytes of what one of them is known by, at most.
const MAX_EVIDENCE: usize = 60;

/// Bytes of a ref, and of the id of a message, at most.
const MAX_REF: usize = 16;
const MAX_ID: usize = 64;

/// How much is told, the most first: that somebody waits is more than what tells so, and than since when it does.
const FORMS: [Form; 3] = [
    Form { evidence: true, since: true },
    Form { evidence: false, since: true },
    Form { evidence: false, since: false },
];

#[derive(Clone, Copy)]
struct Form {
    evidence: bool,
    /// Of each; else of the first among those that are alike.
    since: bool,
}

/// Ties that are alike, and the names of those whom they tie it to, each with its time.
struct Group<'a> {
    head: [Value; 3],
    evidence: String,
    since: Option<Timestamp>,
    names: Vec<(&'a str, Option<Timestamp>)>,
}

/// These in at most so many bytes of JSON, waits first; `None` where there are none, or no room for one.
pub(super) fn told(links: &[Link], room: usize) -> Option<Value> {
    let mut order: Vec<&Link> = links.iter().collect();
    order.sort_by_key(|link| link.kind != EdgeKind::Wait);
    let fits = |told: &Value| told.to_string().len() <= room;
    let some = &order[..order.len().min(MOST)];
    let form = |form: &Form| told_as(some, *form, links.len() - some.len());
    let whole = FORMS.iter().map(form).find(fits);
    let shortest = FORMS[FORMS.len() - 1];
    let first = |count: usize| told_as(&order[..count], shortest, links.len() - count);
    whole
        .or_else(|| (1..some.len()).rev().map(first).find(fits))
        .filter(|told| told.as_array().is_some_and(|groups| !groups.is_empty()))
}

/// `[[kind, state, flags, since, evidence, "ref ref@milliseconds-later …"], …, how many more]`
fn told_as(links: &[&Link], form: Form, more: usize) -> Value {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for Link { kind, state, to, incoming, any, group, since, evidence } in links {
        let flags = u64::from(*incoming) + 2 * u64::from(*any) + 4 * u64::from(*group);
        let head = [json!(kind.as_str()), json!(state.as_str()), json!(flags)];
        let mut evidence = if form.evidence { evidence.clone() } else { String::new() };
        super::record::shorten(&mut evidence, MAX_EVIDENCE);
        let is_alike = |group: &&mut Group<'_>| {
            group.head == head
                && group.evidence == evidence
                && group.since.is_some() == since.is_some()
        };
        match groups.iter_mut().find(is_alike) {
            Some(group) => {
                group.since = group.since.min(*since);
                group.names.push((to, *since));
            }
            None => groups.push(Group { head, evidence, since: *since, names: vec![(to, *since)] }),
        }
    }
    let tell = |Group { head: [kind, state, flags], evidence, since, names }: Group<'_>| {
        let later = |at: Option<Timestamp>| at.zip(since).map_or(0, |(at, first)| at.since(first));
        let name = |(name, at): &(&str, Option<Timestamp>)| match later(*at) {
            ms if ms > 0 && form.since => format!("{name}@{ms}"),
            _ => (*name).to_owned(),
        };
        let names: Vec<String> = names.iter().map(name).collect();
        json!([kind, state, flags, since.map(Timestamp::as_millis), evidence, names.join(" ")])
    };
    let mut all: Vec<Value> = groups.into_iter().map(tell).collect();
    if more > 0 {
        all.push(more.into());
    }
    Value::Array(all)
}

/// The same again; what this release does not know is passed by. That there are more is said of the last one.
pub(super) fn heard(told: &Value) -> Vec<Link> {
    let groups = told.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut links: Vec<Link> = groups.iter().filter_map(group).flatten().take(MOST).collect();
    let more = groups.last().and_then(Value::as_u64);
    if let (Some(last), Some(more)) = (links.last_mut(), more) {
        last.evidence = and_more(&last.evidence, more, "of its ties are");
    }
    links
}

/// What a tie is known by, where there are more than are told.
#[must_use]
pub fn and_more(evidence: &str, more: u64, of_what: &str) -> String {
    format!("{evidence} ({more} more {of_what} not told)").trim_start().to_owned()
}

fn group(told: &Value) -> Option<Vec<Link>> {
    let [kind, state, flags, since, evidence, names] = told.as_array()?.get(..6)? else {
        return None;
    };
    let (kind, state) = (kind.as_str()?.parse().ok()?, state.as_str()?.parse().ok()?);
    let (flags, evidence) = (flags.as_u64()?, evidence.as_str()?);
    let first = since.as_i64().map(Timestamp::from_millis);
    let link = |name: &str| {
        let (to, later) = name.split_once('@').unwrap_or((name, "0"));
        let later: i64 = later.parse().ok()?;
        is_name(to).then(|| Link {
            kind,
            state,
            to: to.to_owned(),
            incoming: flags & 1 != 0,
            any: flags & 2 != 0,
            group: u32::try_from(flags >> 2).unwrap_or(0),
            since: first.map(|first| first.plus(later)),
            evidence: evidence.to_owned(),
        })
    };
    Some(names.as_str()?.split(' ').filter_map(link).collect())
}

/// A ref, or what stands for one where only the message is known.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    match name.strip_prefix(MESSAGE) {
        Some(id) => (1..=MAX_ID).contains(&id.len()) && id.chars().all(is_plain),
        None => {
            (1..=MAX_REF).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rrd_proto::EdgeState;

    use super::*;

    fn link(kind: EdgeKind, at: usize, since: i64, evidence: &str) -> Link {
        let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
        Link {
            kind,
            state: if kind == EdgeKind::Wait { EdgeState::Declared } else { EdgeState::Unread },
            to: ["x", "y"].concat()
                + &[at / 676, at / 26, at].map(letter).iter().collect::<String>(),
            incoming: false,
            any: at.is_multiple_of(2),
            group: if at.is_multiple_of(2) { u32::try_from(at % 3).unwrap() } else { 0 },
            since: Some(Timestamp::from_millis(1_795_000_000_000 + since)),
            evidence: evidence.to_owned(),
        }
    }

    fn sorted(mut links: Vec<Link>) -> Vec<Link> {
        links.sort_by(|a, b| (a.kind, &a.to).cmp(&(b.kind, &b.to)));
        links
    }

    #[test]
    fn what_arrives_is_what_was_told() {
        let message = Link {
            to: format!("{MESSAGE}{}", "f".repeat(64)),
            since: None,
            incoming: true,
            ..link(EdgeKind::Message, 0, 0, "a message of the harness")
        };
        let waits = |count| (0..count).map(|n| link(EdgeKind::Wait, n, 7 * n as i64, "rrd wait"));
        for count in [0, 1, 64, 128] {
            let links: Vec<Link> = std::iter::once(message.clone()).chain(waits(count)).collect();
            let told = told(&links, 3_072).unwrap();
            assert_eq!(sorted(heard(&told)), sorted(links), "{told}");
        }
        assert_eq!(told(&[], 3_072), None);
        assert_eq!(told(&[message], 30), None);
    }

    #[test]
    fn whoever_is_waited_for_is_told_before_all_that_tells_of_it() {
        // Calls of a day and more, each in its own words, and messages to many.
        let wait = |n: usize| link(EdgeKind::Wait, n, 1_000_000 * n as i64, &format!("until {n}"));
        let sent = |n: usize| link(EdgeKind::Message, n, n as i64, &format!("{n} messages"));
        let links: Vec<Link> = (0..300).map(sent).chain((0..192).map(wait)).collect();
        let heard = heard(&told(&links, 3_072).unwrap());
        let waits = heard.iter().filter(|link| link.kind == EdgeKind::Wait).count();
        assert_eq!(waits, 192);
        // What is not told of is counted.
        let more = links.len() - heard.len();
        assert!(more > 0);
        assert!(heard.last().unwrap().evidence.contains(&format!("({more} more of its ties")));
    }

    #[test]
    fn what_a_later_release_says_and_what_harms_is_passed_by() {
        let told = told(&[link(EdgeKind::Wait, 1, 0, "rrd wait")], 200).unwrap().to_string();
        assert_eq!(heard(&serde_json::from_str(&told).unwrap()).len(), 1);
        for (from, to) in [
            ("\"wait\"", "\"marry\""),
            ("xyaab", "a/../b"),
            ("xyaab", "\\u001b[2J"),
            ("xyaab", "abcde@soon"),
            ("xyaab", "message:"),
            ("xyaab", ""),
        ] {
            let told = told.replace(from, to);
            assert_eq!(heard(&serde_json::from_str(&told).unwrap()), [], "{told}");
        }
        assert_eq!(heard(&json!({"wait": 1})), []);
        assert_eq!(heard(&json!([7, [], [1], null])), []);
    }

    proptest! {
        #[test]
        fn nothing_is_longer_than_there_is_room_for(count in 0_usize..600, room in 0_usize..4_096, evidence in ".{0,90}") {
            let kind = |n: usize| if n.is_multiple_of(3) { EdgeKind::Wait } else { EdgeKind::Message };
            let links: Vec<Link> = (0..count).map(|n| link(kind(n), n, n as i64, &evidence)).collect();
            if let Some(told) = told(&links, room) {
                prop_assert!(told.to_string().len() <= room);
                prop_assert!(!heard(&told).is_empty());
            } else {
                prop_assert!(count == 0 || room < 60);
            }
        }
    }
}
