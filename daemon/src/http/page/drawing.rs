//! A drawing of who waits for whom: whoever is waited for above whoever waits, as SVG.
//!
//! Sessions that are tied, directly or not, are one picture; pictures stand side by side where there is room.
//! None is wider than a phone. Not here: what is told in words ([`mod@super::graph`]).

use std::collections::{BTreeMap, BTreeSet};

use rrd_proto::{Edge, EdgeKind, EdgeState, Graph, ends};

use super::{
    graph::{Names, class},
    html::Html,
};

/// Sessions of all pictures, at most.
const MOST: usize = 60;
/// Sessions of one layer, at most: for the others one box tells how many they are.
const MOST_OF_LAYER: usize = 6;
/// Boxes that stand side by side.
const ABREAST: usize = 2;
/// Sizes in pixels: two boxes, the way between, and one beside them for what goes back, fit on 328.
const WIDTH: usize = 146;
const HEIGHT: usize = 46;
const LETTERS: usize = 17;
const BETWEEN: usize = 8;
const BESIDE: usize = 14;
const BELOW: usize = 34;

/// Tied sessions.
struct Picture<'a> {
    /// From above; in each the refs of sessions, and how many more there are.
    layers: Vec<(Vec<&'a str>, usize)>,
    edges: Vec<&'a Edge>,
}

/// Where a box is, by its left and upper corner.
type Place = (usize, usize);

/// Draws what there is to be drawn.
pub(super) fn write(page: &mut Html, graph: &Graph, names: &Names<'_>) {
    let chosen = Chosen::of(graph);
    if chosen.edges.is_empty() {
        return;
    }
    page.raw("<h2>Drawing</h2><div class=\"drawing\">");
    for picture in chosen.pictures() {
        picture.write(page, graph, names);
    }
    page.raw("</div><p class=\"rest\">Whoever waits points at whom it waits for");
    if chosen.is_short {
        page.raw("; of so many sessions only those that wait or are waited for are drawn");
    }
    if chosen.left_out > 0 {
        page.raw("; ").number(chosen.left_out as u64).raw(" are left out");
    }
    page.raw(".</p>");
}

struct Chosen<'a> {
    refs: BTreeSet<&'a str>,
    edges: Vec<&'a Edge>,
    is_short: bool,
    left_out: usize,
}

impl<'a> Chosen<'a> {
    fn of(graph: &'a Graph) -> Self {
        let ends_of = |edges: &[&'a Edge]| -> BTreeSet<&'a str> {
            edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]).collect()
        };
        let is_open = |edge: &&Edge| {
            !matches!(edge.state, EdgeState::Done | EdgeState::Read | EdgeState::Inactive)
        };
        let mut edges: Vec<&Edge> = graph.edges.iter().filter(is_open).collect();
        let mut refs = ends_of(&edges);
        let is_short = refs.len() > MOST;
        if is_short {
            edges.retain(|edge| edge.kind == EdgeKind::Wait);
            refs = ends_of(&edges);
        }
        let all = refs.len();
        if all > MOST {
            // What a person must do first, with those behind it.
            let ends = ends(graph);
            let order = ends.iter().flat_map(|end| {
                std::iter::once(end.at).chain(end.behind.iter().map(|(_, one)| *one))
            });
            refs = order.filter(|one| refs.contains(one)).take(MOST).collect();
            edges.retain(|e| refs.contains(e.from.as_str()) && refs.contains(e.to.as_str()));
        }
        let left_out = all - refs.len();
        Self { refs, edges, is_short, left_out }
    }

    /// Those that are tied together; what must be done first first.
    fn pictures(&self) -> Vec<Picture<'a>> {
        let mut beside: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
        for edge in &self.edges {
            beside.entry(edge.from.as_str()).or_default().push(&edge.to);
            beside.entry(edge.to.as_str()).or_default().push(&edge.from);
        }
        let mut left = self.refs.clone();
        let mut pictures = Vec::new();
        while let Some(first) = left.pop_first() {
            let (mut of, mut at) = (BTreeSet::from([first]), vec![first]);
            while let Some(one) = at.pop() {
                for other in beside.get(one).into_iter().flatten() {
                    if left.remove(other) {
                        of.insert(*other);
                        at.push(other);
                    }
                }
            }
            let edges: Vec<&Edge> =
                self.edges.iter().filter(|edge| of.contains(edge.from.as_str())).copied().collect();
            if !edges.is_empty() {
                pictures.push(Picture { layers: layers(&of, &edges), edges });
            }
        }
        pictures.sort_by_key(|picture| {
            let waits = |edge: &&&Edge| edge.kind == EdgeKind::Wait;
            std::cmp::Reverse(picture.edges.iter().filter(waits).count())
        });
        pictures
    }
}

/// Who stands above whom on a drawing: whoever is waited for, and whose child it is.
fn above(edge: &Edge) -> Option<(&str, &str)> {
    match edge.kind {
        EdgeKind::Wait => Some((&edge.from, &edge.to)),
        EdgeKind::Parent => Some((&edge.to, &edge.from)),
        EdgeKind::Message | EdgeKind::Binding => Some((&edge.to, &edge.from)),
        EdgeKind::Duplicate | EdgeKind::SameWorktree => None,
    }
}

fn layers<'a>(refs: &BTreeSet<&'a str>, edges: &[&'a Edge]) -> Vec<(Vec<&'a str>, usize)> {
    let mut up: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (low, high) in edges.iter().filter_map(|edge| above(edge)) {
        up.entry(low).or_default().push(high);
    }
    // How far below: one more than the lowest of those above. What closes a circle does not count.
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    for first in refs {
        let mut way: Vec<(&str, usize)> = vec![(first, 0)];
        while let Some((one, next)) = way.pop() {
            if next == 0 && depths.contains_key(one) {
                continue;
            }
            let above = up.get(one).map(Vec::as_slice).unwrap_or_default();
            match above.get(next) {
                Some(high) => {
                    way.push((one, next + 1));
                    if !depths.contains_key(high) && !way.iter().any(|(on, _)| on == high) {
                        way.push((high, 0));
                    }
                }
                None => {
                    let of = above.iter().filter_map(|high| depths.get(high));
                    let depth = of.max().map_or(0, |depth| depth + 1);
                    depths.insert(one, depth);
                }
            }
        }
    }
    let mut layers: Vec<(Vec<&str>, usize)> = Vec::new();
    for one in refs {
        let depth = depths.get(one).copied().unwrap_or(0);
        if layers.len() <= depth {
            layers.resize(depth + 1, (Vec::new(), 0));
        }
        let (layer, more) = &mut layers[depth];
        if layer.len() < MOST_OF_LAYER {
            layer.push(one);
        } else {
            *more += 1;
        }
    }
    layers.retain(|(layer, _)| !layer.is_empty());
    layers
}

/// Where everything of a picture is.
struct Laid<'a> {
    boxes: BTreeMap<&'a str, Place>,
    /// How many more there are, and where that is told.
    rest: Vec<(usize, Place)>,
    width: usize,
    height: usize,
}

impl Picture<'_> {
    fn write(&self, page: &mut Html, graph: &Graph, names: &Names<'_>) {
        let Laid { boxes, rest, width, height } = self.laid();
        page.raw("<svg width=\"").number(width as u64).raw("\" height=\"").number(height as u64);
        page.raw("\">");
        for edge in &self.edges {
            let ends = (boxes.get(edge.from.as_str()), boxes.get(edge.to.as_str()));
            if let (Some(from), Some(to)) = ends {
                line(page, edge.kind, *from, *to, is_round(graph, edge));
            }
        }
        for (one, place) in &boxes {
            let is_stuck = graph.cycles.iter().flatten().any(|stuck| stuck == one);
            names.linked(page, one, |page| {
                let node = names.node(one);
                begin(page, *place);
                page.raw(" class=\"box ").raw(class(node)).raw(if is_stuck {
                    " stuck\">"
                } else {
                    "\">"
                });
                page.raw("<rect x=\"1\" y=\"1\" width=\"144\" height=\"44\" rx=\"7\"/>");
                page.raw("<text x=\"9\" y=\"18\">").text(&short(names.title(one))).raw("</text>");
                page.raw("<text class=\"s\" x=\"9\" y=\"35\">");
                match node.and_then(|node| Some((node.status?, node.host.as_deref()?))) {
                    Some((status, host)) => page.raw(status.as_str()).raw(" · ").text(host),
                    None => page.raw("nobody knows it"),
                };
                page.raw("</text></svg>");
            });
        }
        for (more, place) in rest {
            begin(page, place);
            page.raw(" class=\"box more\"><text x=\"9\" y=\"26\">and ").number(more as u64);
            page.raw(" more</text></svg>");
        }
        page.raw("</svg>");
    }

    fn laid(&self) -> Laid<'_> {
        let (mut boxes, mut rest) = (BTreeMap::new(), Vec::new());
        let abreast = self.layers.iter().map(|(layer, more)| layer.len() + usize::from(*more > 0));
        let abreast = abreast.max().unwrap_or(1).min(ABREAST);
        let width = abreast * WIDTH + (abreast - 1) * BETWEEN;
        let mut top = 0;
        for (layer, more) in &self.layers {
            let count = layer.len() + usize::from(*more > 0);
            for at in 0..count {
                // A row that is not full stands in the middle.
                let row = at / abreast;
                let in_row = (count - row * abreast).min(abreast);
                let own = in_row * WIDTH + (in_row - 1) * BETWEEN;
                let x = (width - own) / 2 + (at % abreast) * (WIDTH + BETWEEN);
                let y = top + row * (HEIGHT + BETWEEN);
                match layer.get(at) {
                    Some(one) => {
                        boxes.insert(*one, (x, y));
                    }
                    None => rest.push((*more, (x, y))),
                }
            }
            let rows = count.div_ceil(abreast);
            top += rows * HEIGHT + (rows - 1) * BETWEEN + BELOW;
        }
        let (width, height) = (width + 2 * BESIDE, top - BELOW.min(top));
        Laid { boxes, rest, width, height }
    }
}

/// As much of a title as a box has room for; what takes more room than most letters do is cut at its edge.
fn short(title: String) -> String {
    match title.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", title.get(..end).unwrap_or_default().trim_end()),
        None => title,
    }
}

fn begin(page: &mut Html, (x, y): Place) {
    page.raw("<svg x=\"").number((x + BESIDE) as u64).raw("\" y=\"").number(y as u64);
    page.raw("\" width=\"146\" height=\"46\"");
}

/// Both its ends lie in one circle, and it is of it.
fn is_round(graph: &Graph, edge: &Edge) -> bool {
    edge.kind == EdgeKind::Wait
        && graph.cycles.iter().any(|cycle| {
            let at = cycle.iter().position(|one| *one == edge.from);
            at.is_some_and(|at| cycle[(at + 1) % cycle.len()] == edge.to)
        })
}

fn line(page: &mut Html, kind: EdgeKind, from: Place, to: Place, is_round: bool) {
    let (class, points) = match kind {
        EdgeKind::Wait => ("wait", true),
        EdgeKind::Parent => ("parent", true),
        EdgeKind::Message | EdgeKind::Binding => ("dash", true),
        EdgeKind::Duplicate | EdgeKind::SameWorktree => ("dots", false),
    };
    page.raw("<path class=\"").raw(class).raw(if is_round { " round" } else { "" }).raw("\" d=\"M");
    let point = |page: &mut Html, x: usize, y: usize| {
        page.number(x as u64).raw(" ").number(y as u64);
    };
    let left = |place: Place| place.0 + BESIDE;
    let middle = |place: Place| left(place) + WIDTH / 2;
    // Up, where it can; else beside the boxes.
    let (end, sideways) = if from.1 > to.1 {
        let (x, y) = (middle(from), from.1);
        let (tx, ty) = (middle(to), to.1 + HEIGHT);
        point(page, x, y);
        page.raw("C");
        point(page, x, y.saturating_sub(BELOW / 2));
        page.raw(" ");
        point(page, tx, ty + BELOW / 2);
        page.raw(" ");
        point(page, tx, ty + if points { 4 } else { 0 });
        ((tx, ty), false)
    } else {
        let is_right = left(from) > BESIDE || left(to) > BESIDE;
        let side = |place: Place| if is_right { left(place) + WIDTH } else { left(place) };
        let out = |x: usize| if is_right { x + BESIDE } else { x.saturating_sub(BESIDE) };
        let (x, y) = (side(from), from.1 + HEIGHT / 2);
        let (tx, ty) = (side(to), to.1 + HEIGHT / 2);
        point(page, x, y);
        page.raw("C");
        point(page, out(x.max(tx)), y);
        page.raw(" ");
        point(page, out(x.max(tx)), ty);
        page.raw(" ");
        point(page, tx, ty);
        ((tx, ty), true)
    };
    page.raw("\"/>");
    if points {
        // The head of an arrow.
        page.raw("<path class=\"head ").raw(class).raw(if is_round { " round" } else { "" });
        page.raw("\" d=\"M");
        let (x, y) = end;
        let is_right = sideways && left(to) < x;
        for (number, (dx, dy)) in match (sideways, is_right) {
            (false, _) => [(0_i8, 0_i8), (-4, 7), (4, 7)],
            (true, true) => [(0, 0), (7, -4), (7, 4)],
            (true, false) => [(0, 0), (-7, -4), (-7, 4)],
        }
        .into_iter()
        .enumerate()
        {
            page.raw(if number == 0 { "" } else { "L" });
            point(page, x.saturating_add_signed(dx.into()), y.saturating_add_signed(dy.into()));
        }
        page.raw("z\"/>");
    }
}
