//! Rules about the shape of the source, held by `cargo test` so that no second gate is needed.
//!
//! Each rule is a function from one file to what is wrong with it, and is itself shown a violation:
//! a rule that finds nothing must be known to be able to find something.
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Non-test lines a file may have.
const LONGEST: usize = 800;

/// What the core must not know of: these touch the world, or a clock.
const OUTSIDE: [&str; 12] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant::now",
    "tokio",
    "tarpc",
    "rusqlite",
    "notify",
    "chitchat",
];
/// The same as packages.
const OUTSIDE_PACKAGES: [&str; 8] =
    ["tokio", "tarpc", "rusqlite", "notify", "chitchat", "interprocess", "mio", "socket2"];

/// Names under which anything could be put, so that nothing can be found.
const NAMELESS: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "manager", "types", "misc"];

/// A file: its path from the root with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The code before the tests, without comments: prose may name what code must not.
    fn code(&self) -> impl Iterator<Item = &str> {
        let own = self.own_lines();
        own.filter(|line| !line.trim_start().starts_with("//"))
    }

    fn own_lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]")
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("_tests.rs")
    }

    fn uses(&self, word: &str) -> Option<String> {
        self.code().find(|line| names(line, word)).map(|line| format!("`{}`", line.trim()))
    }
}

/// Whether `line` holds `word` and not just as part of a longer name.
fn names(line: &str, word: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !inside(before) && !inside(after)
    })
}

type Rule = fn(&Source) -> Option<String>;

fn opens_with_a_header(file: &Source) -> Option<String> {
    (!file.text.starts_with("//! ")).then(|| "does not open with a `//! ` header".to_owned())
}

fn stays_readable(file: &Source) -> Option<String> {
    let lines = file.own_lines().count();
    (!file.is_test() && lines > LONGEST).then(|| format!("{lines} lines; the most is {LONGEST}"))
}

fn core_does_no_io(file: &Source) -> Option<String> {
    if !file.path.starts_with("daemon/core/src/") || file.is_test() {
        return None;
    }
    OUTSIDE.iter().find_map(|word| file.uses(word)).map(|line| format!("the core does IO: {line}"))
}

fn one_file_names_the_daemon(file: &Source) -> Option<String> {
    if !file.path.starts_with("client/src/") || file.path == "client/src/local.rs" {
        return None;
    }
    file.uses("rrd_daemon").map(|line| format!("only local.rs names the daemon: {line}"))
}

fn one_file_names_notify(file: &Source) -> Option<String> {
    if file.is_test() || file.path == "daemon/src/tail/watch.rs" {
        return None;
    }
    let line = file.code().find(|line| names(line, "notify") && line.contains("notify::"));
    line.map(|line| format!("only tail/watch.rs names notify: `{}`", line.trim()))
}

fn one_place_names_object_store(file: &Source) -> Option<String> {
    if file.is_test() || file.path.starts_with("daemon/src/mirror/target") {
        return None;
    }
    let line = file.uses("object_store");
    line.map(|line| format!("only mirror/target names object_store: {line}"))
}

fn has_a_name(file: &Source) -> Option<String> {
    let of_folder = file
        .path
        .split('/')
        .find(|part| NAMELESS.contains(&part.strip_suffix(".rs").unwrap_or(part)));
    let inline = || {
        file.text.lines().find(|line| {
            NAMELESS.iter().any(|name| names(line, &format!("mod {name}")))
                && !line.trim_start().starts_with("//")
        })
    };
    // This file has to name the names.
    let exempt = file.path == "client/tests/tidy.rs";
    let found = of_folder.or_else(inline).filter(|_| !exempt)?;
    Some(format!("`{}` says nothing about what is in it", found.trim()))
}

/// Hosts speak to each other in one place, behind the fleet's key.
fn opens_no_network_socket(file: &Source) -> Option<String> {
    // Gossip drives the socket that the fleet bound; browsers connect at one place.
    let has_them =
        ["daemon/src/fleet/", "daemon/src/gossip/driver.rs", "daemon/src/http/listen.rs"];
    if file.is_test() || has_them.iter().any(|path| file.path.starts_with(path)) {
        return None;
    }
    let sockets = ["TcpListener", "TcpStream", "UdpSocket"];
    sockets.iter().find_map(|word| file.uses(word)).map(|line| format!("a network socket: {line}"))
}

/// What the daemon says of its own accord goes through one file.
fn one_file_writes_the_log(file: &Source) -> Option<String> {
    if !file.path.starts_with("daemon/src/") || file.is_test() || file.path == "daemon/src/edge.rs"
    {
        return None;
    }
    let ways = ["eprintln!", "println!", "stderr()", "stdout()", "dbg!"];
    ways.iter().find_map(|word| file.uses(word)).map(|line| format!("past the redactor: {line}"))
}

/// A session's files leave as they are in one place, where the settings say so.
fn one_file_gives_raw_copies(file: &Source) -> Option<String> {
    let has_them = ["daemon/src/edge.rs", "daemon/src/resume/give.rs"];
    if !file.path.starts_with("daemon/src/") || file.is_test() || has_them.contains(&&*file.path) {
        return None;
    }
    file.uses("RawCopies").map(|line| format!("unredacted: {line}"))
}

/// A harness's transcripts are written in one place; the client writes settings and its own files.
fn one_file_places_transcripts(file: &Source) -> Option<String> {
    if !file.path.starts_with("daemon/src/") || file.is_test() {
        return None;
    }
    // Beside it, only what is rrd's own is put under a name at once.
    let may = file.path.starts_with("daemon/src/resume/place/");
    let ways = ["persist_noclobber", "persist", "tempfile_in"];
    let found = ways.iter().find_map(|word| file.uses(word));
    found.filter(|_| !may).map(|line| format!("writes: {line}"))
}

const RULES: [(&str, Rule); 11] = [
    ("what leaves unredacted leaves in one place", one_file_gives_raw_copies),
    ("a harness's transcripts are written in one place", one_file_places_transcripts),
    ("the log is written through the redactor", one_file_writes_the_log),
    ("every file says what it is for", opens_with_a_header),
    ("a file can be read in one sitting", stays_readable),
    ("the core is sans-IO", core_does_no_io),
    ("the client reaches a daemon through rrd-proto", one_file_names_the_daemon),
    ("notifications are hints, behind one seam", one_file_names_notify),
    ("buckets are spoken with in one place", one_place_names_object_store),
    ("modules are named for what is in them", has_a_name),
    ("only the fleet and the page open network sockets", opens_no_network_socket),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<Source> {
    let root = root();
    let mut folders: Vec<PathBuf> =
        ["client", "daemon", "proto"].iter().map(|top| root.join(top)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name() != Some("target".as_ref()) {
                folders.push(path);
            } else if path.extension() == Some("rs".as_ref()) {
                let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                files.push(Source { path: relative.replace('\\', "/"), text });
            }
        }
    }
    files
}

#[test]
fn the_source_keeps_its_rules() {
    let files = sources();
    assert!(files.len() > 20, "the walk found {} files", files.len());
    let mut broken = Vec::new();
    for file in &files {
        for (rule, check) in RULES {
            broken.extend(check(file).map(|what| format!("{}: {rule}: {what}", file.path)));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// `cargo tree` of `package` without dev-dependencies, one `name version` a line.
fn dependencies(package: &str) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "-p", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn outside(tree: &str) -> Vec<&str> {
    let packages = tree.lines().filter_map(|line| line.split_whitespace().next());
    packages.filter(|package| OUTSIDE_PACKAGES.contains(package)).collect()
}

#[test]
fn the_core_depends_on_nothing_that_does_io() {
    let tree = dependencies("rrd-core");
    assert!(tree.starts_with("rrd-core "), "{tree}");
    assert_eq!(outside(&tree), [""; 0]);
    // The daemon has what the core must not: the check can see it.
    assert!(outside(&dependencies("rrd-daemon")).contains(&"tokio"));
}

#[test]
fn the_protocol_depends_on_no_crate_of_ours() {
    let tree = dependencies("rrd-proto");
    let ours = tree.lines().skip(1).filter(|line| line.starts_with("rrd"));
    assert_eq!(ours.count(), 0, "{tree}");
}

/// Where a Markdown text's links and pictures lead, but for other sites.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let kinds = [("](", ')'), ("src=\"", '"')].into_iter();
    let all = kinds.flat_map(move |(begin, end)| {
        text.split(begin).skip(1).filter_map(move |rest| rest.split(end).next())
    });
    all.filter(|address| !address.contains("://"))
}

/// The anchors of its headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut in_code = false;
    let headings = text.lines().filter(|line| {
        in_code ^= line.starts_with("```");
        !in_code && line.starts_with('#')
    });
    let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| kept(*c)).collect()
    };
    headings.map(anchor).collect()
}

/// The addresses of the text of `file` that lead nowhere.
fn dead_links<'a>(file: &Path, text: &'a str) -> Vec<&'a str> {
    let leads = |address: &&str| {
        let (path, anchor) = address.split_once('#').unwrap_or((address, ""));
        let to = if path.is_empty() { file.into() } else { file.with_file_name("").join(path) };
        let there =
            || fs::read_to_string(&to).is_ok_and(|it| anchors(&it).iter().any(|a| a == anchor));
        to.exists() && (anchor.is_empty() || there())
    };
    addresses(text).filter(|address| !leads(address)).collect()
}

#[test]
fn every_link_in_the_markdown_files_leads_somewhere() {
    let (mut read, mut dead) = (0, Vec::new());
    for folder in ["", "docs", "client/adapters"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension() == Some("md".as_ref()) {
                let text = fs::read_to_string(&path).unwrap();
                read += addresses(&text).count();
                dead.extend(
                    dead_links(&path, &text).iter().map(|to| format!("{}: {to}", path.display())),
                );
            }
        }
    }
    assert!(read > 100, "{read} links");
    assert!(dead.is_empty(), "{dead:#?}");
    // It can find one.
    let text = "# A thing\n[a](docs) [b](#a-thing) [c](https://x.example) <img src=\"none.png\"> \
                [d](README.md#nothing) [e](nowhere.md)";
    let found = dead_links(&root().join("README.md"), text);
    assert_eq!(found, ["#a-thing", "README.md#nothing", "nowhere.md", "none.png"]);
}

#[test]
fn each_rule_sees_a_violation_and_lets_the_like_of_it_pass() {
    let long = format!("//! x\n{}", "fn x() {}\n".repeat(LONGEST));
    let long_tests = format!("//! x\n#[cfg(test)]\n{long}");
    let cases: [(Rule, &str, &str, bool); 31] = [
        (one_file_gives_raw_copies, "daemon/src/desk.rs", "//! x\nRawCopies::x()", true),
        (one_file_gives_raw_copies, "daemon/src/edge.rs", "//! x\nRawCopies::x()", false),
        (one_file_places_transcripts, "daemon/src/a.rs", "//! x\nf.persist(to)", true),
        (
            one_file_places_transcripts,
            "daemon/src/resume/place/coming.rs",
            "//! x\nf.persist(to)",
            false,
        ),
        (one_file_writes_the_log, "daemon/src/a.rs", "//! x\neprintln!(\"{text}\");\n", true),
        (one_file_writes_the_log, "daemon/src/a.rs", "//! x\ntracing::warn!(\"x\");\n", false),
        (one_file_writes_the_log, "daemon/src/edge.rs", "//! x\nio::stderr()\n", false),
        (opens_with_a_header, "proto/src/a.rs", "use std::fmt;\n", true),
        (opens_with_a_header, "proto/src/a.rs", "//! About.\n", false),
        (stays_readable, "daemon/src/a.rs", &long, true),
        (stays_readable, "daemon/src/a.rs", &long_tests, false),
        (stays_readable, "daemon/tests/a.rs", &long, false),
        (core_does_no_io, "daemon/core/src/a.rs", "//! x\nuse std::fs;\n", true),
        (
            core_does_no_io,
            "daemon/core/src/a.rs",
            "//! x\nlet t = std::time::Instant::now();",
            true,
        ),
        (
            core_does_no_io,
            "daemon/core/src/a.rs",
            "//! Without tokio.\nfn notify_all() {}\n",
            false,
        ),
        (core_does_no_io, "daemon/src/a.rs", "//! x\nuse std::fs;\n", false),
        (one_file_names_the_daemon, "client/src/a.rs", "//! x\nrrd_daemon::run();\n", true),
        (one_file_names_the_daemon, "client/src/a.rs", "//! x\n// rrd_daemon does it\n", false),
        (one_file_names_the_daemon, "client/src/local.rs", "//! x\nrrd_daemon::run();\n", false),
        (one_file_names_notify, "daemon/src/tail/sweep.rs", "//! x\nuse notify::Event;\n", true),
        (one_file_names_notify, "daemon/src/tail/watch.rs", "//! x\nuse notify::Event;\n", false),
        (one_file_names_notify, "daemon/src/hub.rs", "//! x\nwaker.notify();\n", false),
        (one_place_names_object_store, "daemon/src/a.rs", "//! x\nuse object_store::Path;\n", true),
        (
            one_place_names_object_store,
            "daemon/src/mirror/target/a.rs",
            "//! x\nuse object_store::Path;\n",
            false,
        ),
        (has_a_name, "daemon/src/util.rs", "//! x\n", true),
        (has_a_name, "daemon/src/helpers/mod.rs", "//! x\n", true),
        (has_a_name, "client/src/main.rs", "//! x\nmod common;\n", true),
        (has_a_name, "client/src/main.rs", "//! x\nmod commands;\n", false),
        (opens_no_network_socket, "daemon/src/a.rs", "//! x\nTcpListener::bind(a)", true),
        (opens_no_network_socket, "daemon/tests/a.rs", "//! x\nTcpListener::bind(a)", false),
        (opens_no_network_socket, "daemon/src/fleet/a.rs", "//! x\nTcpListener::bind(a)", false),
    ];
    for (rule, path, text, broken) in cases {
        let file = Source { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(rule(&file).is_some(), broken, "{path}: {text:.60}");
    }
    // Every rule of the list has at least one case of each kind above.
    for (name, rule) in RULES {
        for kind in [true, false] {
            let shown = cases
                .iter()
                .any(|(case, .., broken)| std::ptr::fn_addr_eq(*case, rule) && *broken == kind);
            assert!(shown, "{name}: {kind}");
        }
    }
}
