//! Daemons on hosts of their own as far as a network can tell: each in a network namespace, joined by a bridge
//! whose links are cut and healed. Where the machine makes none, it says so and is passed by.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // the lint's exception for tests does not reach plain functions here

mod host;

use std::{
    env, fs,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use host::{Host, NEVER, session};

/// Set where the test runs again, in namespaces of its own.
const INSIDE: &str = "RRD_TEST_NETWORK";

/// A network namespace with one link to the bridge, and the host in it.
struct Place {
    host: Host,
    number: u8,
    /// Holds the namespace.
    holder: Child,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.host.kill();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ip(words: &str) {
    let out = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(out.status.success(), "ip {words}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Place {
    fn new(number: u8) -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let mut place = Self { host: Host::new(&format!("h{number}")), number, holder };
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let begun = Instant::now();
        while fs::read_link(place.namespace()).is_ok_and(|namespace| namespace == own) {
            assert!(begun.elapsed() < NEVER, "no namespace");
            std::thread::sleep(Duration::from_millis(5));
        }
        let holder = place.holder.id();
        ip(&format!("link add to{number} type veth peer name out netns {holder}"));
        ip(&format!("link set to{number} master hub up"));
        for words in [
            "link set lo up",
            &format!("addr add {}/24 dev out", place.address()),
            "link set out up",
        ] {
            let [enter, place, ends] = place.nsenter();
            let mut command = Command::new(enter);
            let out = command.args([&place, &ends, "ip"]).args(words.split(' ')).output().unwrap();
            assert!(out.status.success(), "{words}: {}", String::from_utf8_lossy(&out.stderr));
        }
        place.host.within = place.nsenter().into();
        place.host.set("PATH", env::var("PATH").unwrap());
        let address = place.address();
        place.host.set("RRD_LISTEN", address);
        place
    }

    fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }

    /// Of a network that only these namespaces have.
    fn address(&self) -> String {
        format!("10.77.0.{}", self.number)
    }

    /// What runs a program there.
    fn nsenter(&self) -> [String; 3] {
        let namespace = format!("--net={}", self.namespace().display());
        ["nsenter", &namespace, "--"].map(str::to_owned)
    }

    /// Its one session takes a prompt that renames it.
    fn works_on(&self, what: &str) {
        self.host.works_on(&session(self.number.into()), what);
    }
}

/// Whether this machine lets anybody have namespaces, links and bridges.
fn has_namespaces() -> bool {
    let link = "ip link add hub type bridge && ip link add to1 type veth peer name out && nsenter --version";
    let mut probe = Command::new("unshare");
    probe.args(["--user", "--map-root-user", "--net", "sh", "-c", link]);
    let out = probe.stdin(Stdio::null()).output();
    out.is_ok_and(|out| out.status.success())
}

#[test]
fn a_host_that_is_cut_off_is_away_and_catches_up_when_the_link_heals() {
    if env::var_os(INSIDE).is_some() {
        return cut_and_heal();
    }
    if !has_namespaces() {
        // Past what the harness captures: a test that did nothing says so.
        let said = b"skipped: this machine makes no network namespaces\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    }
    let mut again = Command::new("unshare");
    again.args(["--user", "--map-root-user", "--net"]).arg(env::current_exe().unwrap());
    again.args(["--exact", "a_host_that_is_cut_off_is_away_and_catches_up_when_the_link_heals"]);
    let out = again.arg("--nocapture").env(INSIDE, "1").output().unwrap();
    let (said, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("1 passed"), "{said}\n{err}");
}

fn cut_and_heal() {
    ip("link add hub type bridge");
    ip("link set hub up");
    let mut hosts: Vec<Place> = (1..=3).map(Place::new).collect();
    for place in &mut hosts {
        place.works_on("first");
        place.host.start();
    }
    hosts[0].host.run(&["fleet", "init"]);
    for (inviter, joiner) in [(0, 1), (1, 2)] {
        let line = hosts[inviter].host.run(&["fleet", "invite"]);
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        assert!(words[2].starts_with(&hosts[inviter].address()), "{line}");
        hosts[joiner].host.run(&words);
    }
    let together = ["h1: first", "h2: first", "h3: first"];
    hosts.iter().for_each(|place| place.host.comes_to_list(&together));

    // Nothing goes in or out; both sides go on working.
    ip("link set to2 down");
    let without = ["h1: first", "h2: first (away)", "h3: first"];
    hosts[0].host.comes_to_list(&without);
    hosts[2].host.comes_to_list(&without);
    hosts[1].host.comes_to_list(&["h1: first (away)", "h2: first", "h3: first (away)"]);
    hosts[0].works_on("meanwhile");
    hosts[1].works_on("alone");
    hosts[2].host.comes_to_list(&["h1: meanwhile", "h2: first (away)", "h3: first"]);

    ip("link set to2 up");
    let again = ["h1: meanwhile", "h2: alone", "h3: first"];
    hosts.iter().for_each(|place| place.host.comes_to_list(&again));

    // All of them at once, as when a switch is restarted: each goes on by itself.
    ip("link set hub down");
    hosts[0].host.comes_to_list(&["h1: meanwhile", "h2: alone (away)", "h3: first (away)"]);
    hosts[2].works_on("last");
    ip("link set hub up");
    let at_last = ["h1: meanwhile", "h2: alone", "h3: last"];
    hosts.iter().for_each(|place| place.host.comes_to_list(&at_last));
}
