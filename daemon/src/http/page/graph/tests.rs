//! The page made of made-up graphs: what stands on it, how much of it, and that no text gets out of its place.

use rrd_proto::{Chain, Harness};

use super::{
    super::{
        ASSETS,
        tests::{HOSTILE, NOW, skeleton},
    },
    *,
};

fn node(one: &str, text: &str) -> GraphNode {
    GraphNode {
        reference: one.to_owned(),
        host: Some(text.to_owned()),
        host_state: Some(HostState::Live),
        harness: Some(Harness::Other(text.to_owned())),
        session_id: Some(text.to_owned()),
        repo: Some(text.to_owned()),
        title: Some(text.to_owned()),
        status: Some(Status::Waiting),
        status_since: Some(NOW.plus(-60_000)),
        waiting_for: None,
        waiting_detail: Some(text.to_owned()),
    }
}

fn edge(from: &str, to: &str, kind: EdgeKind, text: &str) -> Edge {
    let (from, to, evidence) = (from.to_owned(), to.to_owned(), text.to_owned());
    let since = Some(NOW.plus(-30_000));
    let (state, any, groups) = (EdgeState::Unread, false, Vec::new());
    Edge { from, to, kind, state, since, evidence, any, groups }
}

fn chain(sessions: &[&str], cause: Cause, text: &str, blocks: u64) -> Chain {
    let sessions = sessions.iter().map(|one| (*one).to_owned()).collect();
    let (detail, since) = (Some(text.to_owned()), Some(NOW.plus(-14 * 60_000)));
    Chain { sessions, cause, detail, since, blocks }
}

/// A chain of three, a circle with one behind it, a session nobody knows, ties of every kind.
fn saying(text: &str) -> Graph {
    let refs = ["aaaaa", "bbbbb", "ccccc", "ddddd", "eeeee", "fffff", "ggggg"];
    use EdgeKind as K;
    Graph {
        nodes: refs.iter().map(|one| node(one, text)).collect(),
        edges: vec![
            edge("aaaaa", "bbbbb", K::Wait, text),
            edge("bbbbb", "ccccc", K::Wait, text),
            edge("ddddd", "eeeee", K::Wait, text),
            edge("eeeee", "ddddd", K::Wait, text),
            edge("fffff", "ddddd", K::Wait, text),
            edge("ggggg", "gone1", K::Wait, text),
            edge("aaaaa", "ddddd", K::Message, text),
            edge("bbbbb", "ddddd", K::Binding, text),
            edge("aaaaa", "ggggg", K::Duplicate, text),
            edge("bbbbb", "ggggg", K::SameWorktree, text),
            edge("ccccc", "ggggg", K::Parent, text),
        ],
        chains: vec![
            chain(&["ddddd", "eeeee", "ddddd"], Cause::Deadlock, text, 2),
            chain(&["eeeee", "ddddd", "eeeee"], Cause::Deadlock, text, 2),
            chain(&["fffff", "ddddd", "eeeee", "ddddd"], Cause::Deadlock, text, 2),
            chain(&["aaaaa", "bbbbb", "ccccc"], Cause::Permission, text, 2),
            chain(&["bbbbb", "ccccc"], Cause::Permission, text, 2),
            chain(&["ccccc"], Cause::Permission, text, 2),
            chain(&["ggggg", "gone1"], Cause::Unknown, text, 1),
        ],
        cycles: vec![vec!["ddddd".to_owned(), "eeeee".to_owned()]],
    }
}

fn shown(of: &Graph) -> String {
    graph(&GraphView { host: "mac", graph: of, tally: &Tally::of(of, "7-1".to_owned()), now: NOW })
}

/// Tags, and the texts between them on one line.
fn words(page: &str) -> String {
    let texts = page.split('<').filter_map(|part| part.split_once('>').map(|(_, text)| text));
    texts.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn who_must_act_is_told_first_and_who_waits_for_that() {
    let page = shown(&saying("Publish"));
    let told = words(&page);
    let order = [
        "1 circle, 2 chains",
        "Circles: nobody in them can go on 1",
        "wait for each other 14m",
        "Publish Publish waits for Publish Publish waits for Publish Publish Let one",
        "1 waits behind them Publish Publish 30s",
        "Needs you 1",
        "needs permission Publish Publish 14m Publish Publish 2 wait behind it",
        "Waited for 1",
        "is not known 14m gone1",
        "Drawing",
        "Other ties 4",
        "Publish Publish has a message for Publish Publish unread",
    ];
    let mut rest = told.as_str();
    for said in order {
        let (_, after) = rest.split_once(said).unwrap_or_else(|| panic!("{said:?} in {rest}"));
        rest = after;
    }
    assert!(page.contains("<div class=\"drawing\"><svg width=\""), "{page}");
    // What is of the circle, and its two arrows.
    assert_eq!(page.matches(" round\" d=\"").count(), 4);
    assert_eq!(page.matches(" stuck\">").count(), 2);
    assert!(
        page.contains("<noscript><p class=\"says\">") && page.contains("http-equiv=\"refresh\"")
    );
}

#[test]
fn a_waiter_whose_host_is_away_is_said_to_be() {
    let mut graph = saying("Publish");
    assert!(!shown(&graph).contains("host away"));
    graph.nodes[1].host_state = Some(HostState::Away);
    let told = words(&shown(&graph));
    assert!(told.contains("2 wait behind it Publish Publish (host away) 30s"), "{told}");
}

#[test]
fn where_nobody_waits_it_says_so() {
    let page = shown(&Graph::default());
    assert!(page.contains("Nobody waits for another session.") && page.contains("rrd wait"));
    assert!(!page.contains("class=\"drawing\"") && !page.contains("Other ties"));
    assert!(page.contains("<a id=\"who\" href=\"/waits\">Who waits for whom</a>"));
}

#[test]
fn no_text_adds_a_tag_or_an_attribute() {
    let expected = skeleton(&shown(&saying("harmless")));
    assert!(expected.len() > 200, "{}", expected.len());
    for text in HOSTILE {
        let page = shown(&saying(text));
        let found = skeleton(&page);
        let first = found.iter().zip(&expected).find(|(a, b)| a != b);
        // A title of which nothing is left is an id, a detail of which nothing is left is not there.
        assert!(first.is_none() && found.len() == expected.len(), "{text}: {first:?}");
        assert!(!page.contains(['\u{202e}', '\u{200b}', '\0', '\u{1b}']));
        for (at, _) in page.match_indices("href=\"") {
            assert!(page[at + 6..].starts_with('/'), "{}", &page[at..at + 40]);
        }
        for tag in found {
            let inline = tag.starts_with("style") || tag.contains(" style=") || tag.contains(" on");
            assert!(!inline && (!tag.starts_with("script") || tag.contains("src=")), "{tag}");
        }
    }
}

/// So many sessions wait for one.
fn many(count: usize) -> Graph {
    let names: Vec<String> = (0..count).map(|n| format!("n{n:04}")).collect();
    let mut graph = Graph { nodes: vec![node("zzzzz", "End")], ..Graph::default() };
    for name in &names {
        graph.nodes.push(node(name, name));
        graph.edges.push(edge(name, "zzzzz", EdgeKind::Wait, ""));
        graph.edges.push(edge(name, "other", EdgeKind::Duplicate, ""));
        graph.chains.push(chain(&[name, "zzzzz"], Cause::Permission, "", count as u64));
    }
    graph
}

#[test]
fn a_thousand_are_told_of_in_short() {
    let page = shown(&many(1_000));
    assert!(page.len() < 40 << 10, "{}", page.len());
    let told = words(&page);
    for said in [
        "1000 wait behind it",
        "and 980 more: rrd graph shows all",
        "only those that wait or are waited for are drawn; 941 are left out",
        "and 950 more: rrd graph shows all",
        "and 53 more",
    ] {
        assert!(told.contains(said), "{said:?} in {told}");
    }
    assert!(!shown(&many(20)).contains("left out"));
    // Each waits for somebody else: as many ends.
    let mut apart = Graph::default();
    for n in 0..1_000 {
        let (one, other) = (format!("n{n:04}"), format!("m{n:04}"));
        apart.edges.push(edge(&one, &other, EdgeKind::Wait, ""));
        apart.chains.push(chain(&[&one, &other], Cause::Input, "", 1));
        apart.nodes.extend([node(&one, "x"), node(&other, "y")]);
    }
    let page = shown(&apart);
    assert!(page.len() < 128 << 10 && words(&page).contains("and 900 more"), "{}", page.len());
}

#[test]
fn a_drawing_is_no_wider_than_a_phone() {
    for graph in [many(2), many(9), many(50), saying("x")] {
        let page = shown(&graph);
        for picture in page.split("<svg width=\"").skip(1) {
            let width: usize = picture.split('"').next().unwrap().parse().unwrap();
            assert!(width <= 328, "{width}");
        }
    }
}

#[test]
fn with_its_assets_it_is_small() {
    let assets: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
    let page = shown(&saying("Publish the crate")).len();
    assert!(assets + page <= 64 * 1024, "{assets} + {page}");
}
