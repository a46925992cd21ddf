//! `rrd demo`: a tour of a fleet for whoever has none yet, on three hosts within this process.
//!
//! Every step waits for what it says to be so on every host, and is measured; what does not come about is
//! said, and fails `--once`. Not here: what a host and a session are made of ([`crate::demo`]).

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

use rrd_proto::{HostState, ListReply, Session, Status};

use crate::{
    cli::DemoArgs,
    clock,
    demo::{Host, Played, Seen, Transcript},
    error::{CliError, Kind},
    footer::{self, Chosen},
    look, output, signals, table,
};

const NAMES: [&str; 3] = ["laptop", "desktop", "server"];
const LAPTOP: usize = 0;
const DESKTOP: usize = 1;
const SERVER: usize = 2;

/// What has not come about by then does not count as having come about.
const NEVER: Duration = Duration::from_secs(20);

/// Between steps, so that they can be read; after the tour, between two changes.
const PAUSE: Duration = Duration::from_millis(600);
const REST: Duration = Duration::from_millis(1_500);

/// After the tour, a list is shown again after so many changes.
const CHANGES: usize = 10;

/// Wide enough for a table, where nobody says how wide lines may be.
const COLUMNS: usize = 80;

enum Input {
    Seen(Box<Seen>),
    Leave,
}

impl From<Seen> for Input {
    fn from(seen: Seen) -> Self {
        Self::Seen(Box::new(seen))
    }
}

/// Why the tour is over before its end.
enum Cut {
    /// Somebody leaves.
    Left,
    Failed(CliError),
}

impl From<CliError> for Cut {
    fn from(error: CliError) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        let message = format!("cannot write a transcript of the demo: {error}");
        Self::Failed(CliError::new(Kind::Internal, message))
    }
}

pub(crate) fn run(args: &DemoArgs) -> Result<(), CliError> {
    let root = tempfile::Builder::new().prefix("rrd-demo-").tempdir().map_err(|error| {
        let folder = std::env::temp_dir();
        CliError::new(Kind::Internal, format!("no directory in {}: {error}", folder.display()))
            .hint("TMPDIR names another place for temporary files")
    })?;
    let (sender, inputs) = sync_channel(16);
    let leaves = sender.clone();
    signals::on_leave(move || drop(leaves.send(Input::Leave)));
    let mut tour = Tour {
        hosts: NAMES.iter().map(|name| Host::new(root.path(), name)).collect::<Result<_, _>>()?,
        sender,
        inputs,
        lists: [const { None }; 3],
        steps: Vec::new(),
        columns: output::columns().unwrap_or(COLUMNS),
    };
    let result = tour.all(args.once);
    let missed = tour.steps.iter().filter(|step| step.took.is_none()).count();
    // Daemons first, then what they keep open.
    drop(tour);
    let removed = root.close();
    match result {
        Err(Cut::Failed(error)) => return Err(error),
        Err(Cut::Left) => {}
        Ok(()) if missed > 0 => {
            return Err(CliError::new(Kind::NotFound, "not all of the tour came about"));
        }
        Ok(()) => {}
    }
    removed.map_err(|error| {
        CliError::new(Kind::Internal, format!("the demo's directory could not be removed: {error}"))
    })
}

struct Tour {
    hosts: Vec<Host>,
    sender: SyncSender<Input>,
    inputs: Receiver<Input>,
    /// What each host listed last.
    lists: [Option<ListReply>; 3],
    steps: Vec<Step>,
    columns: usize,
}

/// Something that was to be so, and after what time it was.
struct Step {
    what: String,
    took: Option<Duration>,
}

/// The sessions, by their hosts.
struct Cast {
    tests: Transcript,
    notes: Transcript,
    image: Transcript,
    settings: Transcript,
    keys: Transcript,
    import: Transcript,
}

impl Cast {
    fn begin(hosts: &[Host]) -> io::Result<Self> {
        let begin = |host: usize, harness, id: &str, repo: &str, ago: i64, prompt: &str| {
            let mut session = Transcript::begin(hosts[host].home(), harness, id, repo, ago)?;
            session.prompt(prompt)?;
            Ok::<_, io::Error>(session)
        };
        let (claude, codex) = (Played::ClaudeCode, Played::Codex);
        const TESTS: &str = "7f2c41d0-5a1e-4c0b-9d36-2f1f6f0a8b11";
        const NOTES: &str = "b41f9c02-8e57-4d21-a3c4-90d1c7e5f622";
        const IMAGE: &str = "019f3a7c-2b40-7d13-8a55-61c2e0d4b733";
        const SETTINGS: &str = "a93755e8-1c64-4f8a-b0d7-3e4a5b6c7d44";
        const KEYS: &str = "019f3a80-77e1-7c02-9b18-d20f4a6c8e55";
        const IMPORT: &str = "c0de1ab4-63f9-4e70-8f2d-15b7a9e3d066";
        let mut cast = Self {
            tests: begin(LAPTOP, claude, TESTS, "shop", 41, "Fix flaky login test")?,
            notes: begin(LAPTOP, claude, NOTES, "site", 190, "Sketch release notes")?,
            image: begin(DESKTOP, codex, IMAGE, "infra", 64, "Speed up image build")?,
            settings: begin(DESKTOP, claude, SETTINGS, "shop", 25, "Use the settings API")?,
            keys: begin(SERVER, codex, KEYS, "infra", 130, "Rotate backup keys")?,
            import: begin(SERVER, Played::Pi, IMPORT, "data", 12, "Watch nightly import")?,
        };
        cast.tests.runs("cargo test login")?;
        cast.notes.answers("The notes are in CHANGELOG.md.")?;
        cast.image.runs("docker build .")?;
        cast.settings.runs("npm test")?;
        cast.keys.answers("All three keys are new.")?;
        cast.import.runs("tail import.log")?;
        for session in cast.all() {
            session.now();
        }
        Ok(cast)
    }

    fn all(&mut self) -> [&mut Transcript; 6] {
        let Self { tests, notes, image, settings, keys, import } = self;
        [tests, notes, image, settings, keys, import]
    }
}

impl Tour {
    fn all(&mut self, once: bool) -> Result<(), Cut> {
        self.say(&[
            "Three hosts in this one process, each with a home and a daemon of its own.",
            "Their agents are played, everything else is real. Nothing of yours is read or",
            "written, and nothing leaves this machine.",
        ])?;
        let mut cast = Cast::begin(&self.hosts)?;
        self.begins()?;
        self.becomes_a_fleet()?;
        self.changes(&mut cast)?;
        self.goes_away_and_comes_back(&mut cast)?;
        self.sums_up()?;
        if once { Ok(()) } else { self.goes_on(&mut cast) }
    }

    fn begins(&mut self) -> Result<(), Cut> {
        let begun = Instant::now();
        for number in 0..NAMES.len() {
            self.hosts[number].start(number, self.sender.clone())?;
        }
        self.comes_about("each host lists its own sessions", begun, &[0, 1, 2], |_, list| {
            titles(list).len() == 2
        })?;
        self.say(&["", "At first each host knows its own sessions, as yours does now."])?;
        (0..NAMES.len()).try_for_each(|number| self.shows(number))
    }

    fn becomes_a_fleet(&mut self) -> Result<(), Cut> {
        self.pause(PAUSE)?;
        self.say(&[
            "",
            "One founds a fleet. Any member lets others in, with a line that is good once.",
        ])?;
        let begun = Instant::now();
        self.types(LAPTOP, "fleet init")?;
        self.hosts[LAPTOP].init()?;
        for (inviter, joiner) in [(LAPTOP, DESKTOP), (DESKTOP, SERVER)] {
            self.types(inviter, "fleet invite")?;
            let invite = self.hosts[inviter].invite()?;
            self.types(joiner, &format!("fleet join {invite}"))?;
            self.hosts[joiner].join(&invite)?;
        }
        self.comes_about("three hosts are a fleet with one list", begun, &[0, 1, 2], |_, list| {
            titles(list).len() == 6 && away(list).is_empty()
        })?;
        let took = self.took();
        self.say(&["", &format!("{took} after it was founded, any of them answers for all.")])?;
        (0..NAMES.len()).try_for_each(|number| self.shows(number))
    }

    fn changes(&mut self, cast: &mut Cast) -> Result<(), Cut> {
        self.pause(PAUSE)?;
        self.say(&[
            "",
            "On the desktop an agent has a question for you. The others know it from there:",
        ])?;
        let begun = Instant::now();
        cast.settings.result("14 passed")?;
        cast.settings.asks("Drop the old endpoint, too?", ["Drop it", "Keep it"])?;
        let id = cast.settings.id().to_owned();
        self.comes_about(
            "a question is on the other hosts",
            begun,
            &[LAPTOP, SERVER],
            |_, list| row(list, &id).is_some_and(|row| row.status == Status::Waiting),
        )?;
        let took = self.took();
        self.say(&[&format!("{took} from the line in its log to the list of the last of them.")])?;
        self.shows(SERVER)
    }

    fn goes_away_and_comes_back(&mut self, cast: &mut Cast) -> Result<(), Cut> {
        self.pause(PAUSE)?;
        self.say(&[
            "",
            "The desktop's daemon is stopped. What it said last stays, marked as such,",
        ])?;
        self.say(&["while an agent over there works on unseen."])?;
        let begun = Instant::now();
        self.hosts[DESKTOP].stop();
        self.lists[DESKTOP] = None;
        let there = [LAPTOP, SERVER];
        self.comes_about("a host that stops is away, its rows stay", begun, &there, |_, list| {
            titles(list).len() == 6 && away(list) == ["desktop"]
        })?;
        cast.image.result("built in 412 s")?;
        cast.image.answers("The build takes 412 s; its cache was off.")?;
        self.shows(LAPTOP)?;
        self.pause(PAUSE * 2)?;
        self.say(&[
            "",
            "It is started again: it reads on where it was, and tells what it missed.",
        ])?;
        let begun = Instant::now();
        self.hosts[DESKTOP].start(DESKTOP, self.sender.clone())?;
        let id = cast.image.id().to_owned();
        self.comes_about("it is back, and its news with it", begun, &[0, 1, 2], |_, list| {
            let idle = row(list, &id).is_some_and(|row| row.status == Status::Idle);
            titles(list).len() == 6 && away(list).is_empty() && idle
        })?;
        self.shows(LAPTOP)
    }

    fn sums_up(&self) -> Result<(), Cut> {
        let mut lines = vec![String::new()];
        for Step { what, took } in &self.steps {
            let (sign, style, took) = match took {
                Some(took) => ("✓", look::GREEN, measured(*took)),
                None => ("✕", look::RED, format!("not within {} s", NEVER.as_secs())),
            };
            lines.push(format!("{} {what:<44} {took:>8}", look::paint(style, sign)));
        }
        lines.push(String::new());
        lines.push(
            "Your own: rrd service install, then rrd fleet init on the first host.".to_owned(),
        );
        self.say(&lines)
    }

    /// After the tour, until somebody leaves.
    fn goes_on(&mut self, cast: &mut Cast) -> Result<(), Cut> {
        let set = format!("RRD_HOME={}", self.hosts[LAPTOP].rrd_home().display());
        self.say(&[
            "",
            "It goes on until Ctrl-C. From another terminal:",
            &format!("  {set} rrd sessions list --watch"),
        ])?;
        for (host, name) in self.hosts.iter().zip(NAMES) {
            if let Some(page) = host.page() {
                self.say(&[format!("In a browser, what {name} knows: http://{page}")])?;
            }
        }
        self.say(&[""])?;
        cast.settings.result("Drop it")?;
        let turns = [
            ("cargo test", "All tests pass now."),
            ("git diff --stat", "Two files changed."),
            ("make check", "Nothing is left to do."),
        ];
        for round in 0.. {
            self.pause(REST)?;
            let number = round % 6;
            let (command, answer) = turns[(round / 18) % turns.len()];
            let session = &mut *cast.all()[number];
            let begun = Instant::now();
            let what = match (round / 6) % 3 {
                0 => {
                    session.prompt("Go on")?;
                    "has a new prompt".to_owned()
                }
                1 => {
                    session.runs(command)?;
                    format!("runs {command}")
                }
                _ => {
                    session.answers(answer)?;
                    "is done".to_owned()
                }
            };
            let (id, last) = (session.id().to_owned(), session.last());
            let host = number / 2;
            let others: Vec<usize> = (0..NAMES.len()).filter(|other| *other != host).collect();
            // The clocks of hosts are compared over the wire: to some milliseconds.
            let told = move |_: usize, list: &ListReply| {
                let at = row(list, &id).and_then(|row| row.last_activity_at);
                at.is_some_and(|at| at.since(last) >= -20)
            };
            let times = self.reaches(begun, &others, told)?;
            let times: Vec<String> = others
                .iter()
                .map(|other| {
                    let took = times[*other].map_or_else(|| "never".to_owned(), measured);
                    format!("{} {took}", NAMES[*other])
                })
                .collect();
            let what = format!("{} {what}", session.id().get(..4).unwrap_or_default());
            self.say(&[format!("{:<8} {what:<32} {}", NAMES[host], times.join(", "))])?;
            if (round + 1) % CHANGES == 0 {
                self.shows((round / CHANGES) % NAMES.len())?;
                self.say(&[""])?;
            }
        }
        Ok(())
    }

    /// Waits until the lists of `hosts` are as wanted, and notes how long that took from `begun`.
    fn comes_about(
        &mut self,
        what: &str,
        begun: Instant,
        hosts: &[usize],
        so: impl Fn(usize, &ListReply) -> bool,
    ) -> Result<(), Cut> {
        let times = self.reaches(begun, hosts, so)?;
        let last = hosts.iter().map(|host| times[*host]).collect::<Option<Vec<_>>>();
        let took = last.and_then(|times| times.into_iter().max());
        self.steps.push(Step { what: what.to_owned(), took });
        Ok(())
    }

    /// When the list of each of `hosts` was as wanted, from `begun`; `None`: not in time.
    fn reaches(
        &mut self,
        begun: Instant,
        hosts: &[usize],
        so: impl Fn(usize, &ListReply) -> bool,
    ) -> Result<[Option<Duration>; 3], Cut> {
        let mut times = [None; 3];
        for host in hosts {
            let list = self.lists[*host].as_ref();
            times[*host] = list.filter(|list| so(*host, list)).map(|_| begun.elapsed());
        }
        while hosts.iter().any(|host| times[*host].is_none()) {
            let left = NEVER.saturating_sub(begun.elapsed());
            let Some((host, at)) = self.looks(left)? else { break };
            if hosts.contains(&host) && self.lists[host].as_ref().is_some_and(|list| so(host, list))
            {
                times[host].get_or_insert(at.saturating_duration_since(begun));
            }
        }
        Ok(times)
    }

    /// The next host whose list has changed, within `most`.
    fn looks(&mut self, most: Duration) -> Result<Option<(usize, Instant)>, Cut> {
        match self.inputs.recv_timeout(most) {
            Ok(Input::Leave) => Err(Cut::Left),
            Ok(Input::Seen(seen)) => {
                let Seen { host, at, reply } = *seen;
                self.lists[host] = Some(reply);
                Ok(Some((host, at)))
            }
            Err(_) => Ok(None),
        }
    }

    fn pause(&mut self, length: Duration) -> Result<(), Cut> {
        let until = Instant::now() + length;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.looks(left)?;
        }
        Ok(())
    }

    /// How long the last step took.
    fn took(&self) -> String {
        let took = self.steps.last().and_then(|step| step.took);
        took.map_or_else(|| "(it did not come about)".to_owned(), measured)
    }

    fn types(&self, host: usize, words: &str) -> Result<(), Cut> {
        let host = look::paint(look::DIM, &format!("{} $", NAMES[host]));
        self.say(&[format!("{host} {}", look::paint(look::BOLD, &format!("rrd {words}")))])
    }

    /// What `rrd sessions list` prints there.
    fn shows(&self, host: usize) -> Result<(), Cut> {
        let Some(list) = &self.lists[host] else { return Ok(()) };
        self.say(&[""])?;
        self.types(host, "sessions list")?;
        let columns = Some(self.columns);
        let now = clock::now();
        let table = table::draw(&list.sessions, now, columns).into_iter().map(|line| line.text);
        let footer = footer::lines(list, Chosen::default(), now, columns);
        self.say(&table.chain([String::new()]).chain(footer).collect::<Vec<_>>())
    }

    fn say<S: AsRef<str>>(&self, lines: &[S]) -> Result<(), Cut> {
        Ok(output::print_lines(lines)?)
    }
}

fn measured(took: Duration) -> String {
    match took.as_millis() {
        ms @ 0..1_000 => format!("{} ms", ms.max(1)),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

fn row<'a>(list: &'a ListReply, id: &str) -> Option<&'a Session> {
    list.sessions.iter().find(|row| row.session_id == id)
}

/// What is listed of live hosts and of those that are away.
fn titles(list: &ListReply) -> Vec<&str> {
    list.sessions.iter().filter_map(|row| row.title.as_deref()).collect()
}

/// Hosts that are away, once for all their rows; a name twice where only some are.
fn away(list: &ListReply) -> Vec<&str> {
    let mut away: Vec<&str> = list
        .sessions
        .iter()
        .filter(|row| row.host_state == HostState::Away)
        .map(|row| row.host.as_str())
        .collect();
    away.dedup();
    away
}
