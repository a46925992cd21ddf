//! Circles that a wait would close, as they are spelt out.

use super::*;

#[test]
fn a_wait_that_would_close_a_circle_is_spelt_out() {
    let rows = [waits_for("a", &["b"]), waits_for("b", &["c"]), asks("c", "x", 1)];
    let way = |of, to| would_close(&rows, of, vec![wait(to, false)]);
    let circle = way("c", "a").unwrap();
    assert_eq!(circle.told, "c waits for a waits for b waits for c");
    assert_eq!(circle.named, ["a", "b", "c"]);
    assert_eq!(way("a", "c"), None);
    assert_eq!(way("c", "elsewhere"), None);
}

#[test]
fn a_circle_through_one_of_several_is_spelt_out_with_every_arm_of_it() {
    let told = |rows: &[Session], of: &str, links: Vec<Link>| {
        let mut backwards: Vec<Session> = rows.iter().rev().cloned().collect();
        backwards.iter_mut().for_each(|row| row.links.reverse());
        let circle = would_close(rows, of, links.clone());
        assert_eq!(would_close(&backwards, of, links), circle);
        circle.map_or_else(String::new, |circle| circle.told)
    };
    let mut rows = vec![waits_for_one("a", &["b", "c"]), waits_for("b", &["a"]), row("c")];
    assert_eq!(
        told(&rows, "c", vec![wait("a", false)]),
        "c waits for a, which waits for any of b (which waits for a) and c"
    );
    rows[0].links.clear();
    let any = || vec![wait("b", true), wait("c", true)];
    assert_eq!(told(&rows, "a", any()), "");
    rows[2] = waits_for("c", &["d"]);
    rows.push(waits_for("d", &["b"]));
    assert_eq!(
        told(&rows, "a", any()),
        "a waits for any of c (which waits for d, which waits for b) and b (which waits for a)"
    );
    // What goes on besides holds nobody up, nor does what it waits for of one that is enough.
    let mut rows = vec![waits_for("a", &["z"]), waits_for("z", &["c"]), row("b"), row("c")];
    rows[0].links.extend(any());
    assert_eq!(told(&rows, "c", vec![wait("a", false)]), "c waits for a waits for z waits for c");
}

#[test]
fn however_long_a_circle_is_a_screen_holds_it() {
    let name = |at: usize| format!("s{at:03}");
    let mut rows: Vec<Session> = (0..40).map(|at| waits_for(&name(at), &[&name(at + 1)])).collect();
    rows.push(row(&name(40)));
    let circle = would_close(&rows, &name(40), vec![wait(&name(0), false)]).unwrap();
    assert!(circle.told.starts_with("s040 waits for s000 waits for s001 waits for "));
    assert!(
        circle.told.ends_with(" waits for s007 waits for 32 more waits for s040"),
        "{circle:?}"
    );
    assert_eq!(circle.named.len(), 9);
    let many: Vec<String> = (1..60).map(name).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut rows: Vec<Session> = many.iter().map(|one| waits_for(one, &["s000"])).collect();
    rows.push(waits_for_one("s000", &many));
    rows[58] = row("s059");
    let circle = would_close(&rows, "s059", vec![wait("s000", false)]).unwrap();
    assert!(
        circle.told.starts_with(
            "s059 waits for s000, which waits for any of 50 others, s008 (which waits"
        ),
        "{circle:?}"
    );
    assert!(circle.told.ends_with(", s001 (which waits for s000) and s059"), "{circle:?}");
    assert!(circle.told.len() < 350, "{}", circle.told.len());
    let next = |at: usize| [name(2 * at + 1), name(2 * at + 2)];
    let mut rows: Vec<Session> = (0..200)
        .map(|at| waits_for_one(&name(at), &next(at).each_ref().map(String::as_str)))
        .collect();
    rows.extend((200..401).map(|at| waits_for(&name(at), &["s000"])));
    rows[0].links.clear();
    let any = next(0).iter().map(|one| wait(one, true)).collect();
    let circle = would_close(&rows, "s000", any).unwrap();
    assert!(circle.told.contains("any of 1 other and s002 (which"), "{circle:?}");
    assert!(circle.told.len() < 450, "{}", circle.told.len());
}

proptest! {
    /// Where nobody is stuck without it, a circle begins and ends at who asks, and says of each only what is so.
    #[test]
    fn a_circle_that_a_wait_closes_comes_back_to_who_asks(
        waits in prop::collection::vec((0usize..6, 0usize..6, prop::option::weighted(0.6, 0u32..2)), 0..14),
        asks in prop::collection::vec((1usize..6, any::<bool>()), 1..4),
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut rows: Vec<Session> = names.iter().map(|name| row(name)).collect();
        for (from, to, group) in waits.into_iter().filter(|(from, to, _)| from != to) {
            let group = Link { group: group.unwrap_or(0), ..wait(names[to], group.is_some()) };
            rows[from].links.push(group);
        }
        let any = asks[0].1;
        let links: Vec<Link> = asks.iter().map(|(to, _)| wait(names[*to], any)).collect();
        let mut after = rows.clone();
        after[0].links.extend(links.iter().cloned().map(|link| Link { group: 9, ..link }));
        let circle = would_close(&rows, "a", links);
        prop_assert_eq!(circle.is_some(), Plain(&after).stuck().contains("a"));
        let Some(Circle { told, named }) = circle else { return Ok(()) };
        prop_assert_eq!(named.last().map(String::as_str), Some("a"));
        prop_assert!(told.starts_with("a waits for "));
        let words = || told.split([' ', ',', '(', ')']);
        if Plain(&rows).stuck().is_empty() {
            prop_assert!(words().filter(|word| *word == "a").count() > 1, "{}", told);
        }
        let plain = Plain(&after);
        let stuck = plain.stuck();
        for name in names.iter().filter(|name| words().any(|word| word == **name)) {
            prop_assert!(stuck.contains(name) && named.iter().any(|one| one == name), "{}", told);
        }
    }
}
