//! `rrd resume`: goes on with a session here, wherever it was.
//!
//! Shows what it is about to write and what differs, writes it, and prints or runs the harness's own command.
//! Not here: whether that may be (the core's rules), which copy and which clone ([`crate::resume`]).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use rrd_proto::{
    HostState, Issue, Session, SessionKey, TASK_VARIABLE,
    copy::{BucketCopy, CopyFile, Given},
};
use serde::Serialize;

use crate::{
    ask::Answerer,
    cli::{ResumeArgs, ResumeFrom},
    clock,
    commands::task,
    connect::Connection,
    error::{CliError, Kind},
    local::{
        self, Config,
        resume::{
            self, Header, Layout, Saw, Wish, git,
            place::{self, Became, Coming, Place, Placed},
        },
    },
    output,
    resume::{
        ahead, clone,
        copy::{self, Source},
        whence, which,
    },
    text::{self, clean, counted},
};

/// What came of it, for a script.
#[derive(Debug, Default, Serialize)]
struct Answer {
    /// Whose session it was.
    host: String,
    harness: String,
    session_id: String,
    /// What it is called from here on: another id for a fork that was copied.
    resumed_as: String,
    directory: PathBuf,
    command: Vec<String>,
    /// The task by which it was named.
    task: Option<String>,
    /// Variables that the command needs.
    environment: BTreeMap<String, String>,
    /// What is secret was taken out of the copy.
    redacted: bool,
    dropped_thinking: u64,
    files: Vec<Written>,
    /// What differs here from what the session saw.
    facts: Vec<String>,
    /// All that a person was told on the way, these facts among it.
    remarks: Vec<String>,
}

impl Answer {
    /// Tells it on stderr, and in the answer.
    fn remark(&mut self, text: &str) {
        let text = clean(text).into_owned();
        output::remark(&text);
        self.remarks.push(text);
    }
}

#[derive(Debug, Serialize)]
struct Written {
    path: PathBuf,
    became: &'static str,
}

pub(crate) fn run(args: &ResumeArgs) -> Result<(), CliError> {
    go_on(args).map_err(|error| error.map_hint(|hint| again(args, &hint)))
}

/// A hint to run it again, with what was said this time.
fn again(args: &ResumeArgs, hint: &str) -> String {
    const COMMAND: &str = "rrd resume ";
    let Some(at) = hint.find(COMMAND).map(|at| at + COMMAND.len()) else { return hint.to_owned() };
    let end = hint[at..].find(' ').map_or(hint.len(), |end| at + end);
    let from = match args.from {
        Some(ResumeFrom::Bucket) => " --from bucket",
        Some(ResumeFrom::Peer) => " --from peer",
        None => "",
    };
    // What another session needs first is that session, and not a fork of it.
    let forks = args.fork && !hint.ends_with(" first");
    let flags = [(from, true), (" --take-over", args.take_over), (" --fork", forks)];
    let said = flags.iter().filter(|(flag, said)| *said && !hint.contains(flag.trim_end()));
    let said: String = said.map(|(flag, _)| *flag).collect();
    format!("{}{said}{}", &hint[..end], &hint[end..])
}

fn go_on(args: &ResumeArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let answerer = Answerer::open(&config);
    let linked = match &args.task {
        Some(task) => Some(task::session(daemon(&answerer)?, task)?),
        None => None,
    };
    let typed = args.id.clone().unwrap_or_default();
    let wanted = linked.as_ref().map_or(typed, |key| key.session_id.clone());
    let ((session, copies), mut found) = match which::which(&answerer, &wanted) {
        // No host that is known had it; a bucket outlives hosts.
        Err(error) if error.kind() == Kind::NotFound && args.from == Some(ResumeFrom::Bucket) => {
            let found = copy::bucket(&answerer, &wanted, None)?;
            let row = copy::row(&found);
            ((row.clone(), vec![row]), Some(found))
        }
        Err(error) if error.kind() == Kind::NotFound => {
            return Err(
                error.fact("--from bucket looks into the buckets that this host mirrors to")
            );
        }
        found => (found?, None),
    };
    // One whose id only begins so is another one.
    if let Some(key) = linked.filter(|key| *key != session.key()) {
        let why =
            format!("{} works on it, and no host that is known has that", clean(&key.to_string()));
        return Err(CliError::new(Kind::NotFound, why).hint("rrd task show tells who linked it"));
    }
    let layout = resume::layout(&session.harness)?;
    if !layout.is_id(&session.session_id) {
        let why =
            format!("{:?} is no id that {} gives", clean(&session.session_id), session.harness);
        return Err(
            CliError::new(Kind::NotFound, why).hint("rrd sessions export keeps what it did")
        );
    }
    if let Some(found) = found.as_ref().filter(|_| !args.take_over && !args.fork) {
        is_known_here(found)?;
    }
    let now = clock::now();
    let from_bucket = args.from == Some(ResumeFrom::Bucket);
    let wish = Wish { fork: args.fork, take_over: args.take_over, from_bucket };
    resume::may(&session, &copies, wish, now)?;
    let mut answer = Answer {
        host: session.host.clone(),
        harness: session.harness.to_string(),
        session_id: session.session_id.clone(),
        resumed_as: session.session_id.clone(),
        ..Answer::default()
    };
    if let Some(doubt) = resume::doubt(&copies, now).filter(|_| !args.fork) {
        answer.remark(&doubt);
    }
    let is_here = session.host_state == HostState::Here;
    // Harnesses delete old transcripts.
    let is_gone = is_here && (found.is_some() || is_gone(&session));
    if args.from == Some(ResumeFrom::Peer) && is_here && !is_gone {
        let why = "it is a session of this host: no other host has to give it";
        return Err(CliError::new(Kind::Usage, why).hint("leave --from out"));
    }
    let looked = match is_here && found.is_none() {
        true => {
            let own = ahead::Known { session: &session, copies: &copies, is_gone, given: None };
            ahead::look(&answerer, args, &own, &config.dirs.state)?
        }
        false => ahead::Verdict::default(),
    };
    looked.remarks.iter().for_each(|remark| answer.remark(remark));
    let mut is_ahead = looked.taken.is_some() && !is_gone;
    // Its harness can do that by itself, and knows better how.
    let is_stored = is_here && !is_gone && is_stored(&config, &session);
    let is_own = is_here && !is_gone && !is_ahead && !is_stored;
    let own_fork = args.fork && is_own && layout == Layout::ClaudeCode;
    let is_copied = !is_own || (args.fork && !own_fork);
    if is_gone && found.is_none() {
        answer.remark("its transcript is not on this host any more: a bucket is asked for it");
    }
    let from = match is_here {
        true => (is_gone || is_ahead).then_some(ResumeFrom::Bucket),
        false => args.from,
    };
    let source = match (is_copied, found.take()) {
        (true, Some(found)) => Some(Source::Bucket(Box::new(found))),
        (true, None) => Some(copy::open(&answerer, &session, from, looked.taken)?),
        (false, _) => None,
    };
    let mut homes = local::homes(&config, &session.harness);
    // Of two that have a transcript of it the one that is listed.
    homes.sort_by_key(|home| !(is_here && lies_in(&session, home)));
    let row = copies.iter().find(|row| row.host_state == HostState::Here);
    let lies_at = row.and_then(|row| whence::transcript(row, layout, &homes));
    let own = row.zip(lies_at.as_deref());
    let wanted = args.cwd.as_deref();
    let (directory, why) = clone::find(&answerer, &session, own, wanted)?;
    answer.remark(&format!("{} goes on in {}, {why}", named(&session), directory.display()));
    let mut goes_on_with = lies_at.clone().filter(|_| !is_copied);
    let mut head = None;
    let home = match source {
        None => homes.iter().find(|home| lies_in(&session, home)).cloned(),
        Some(mut source) => {
            if args.fork {
                answer.resumed_as = resume::new_id(layout).map_err(|error| {
                    CliError::new(Kind::Internal, format!("no random bytes for a new id: {error}"))
                })?;
            }
            let ids = (&*session.session_id, &*answer.resumed_as);
            let place = Place::find(layout, ids, &homes, &directory)?;
            let home = place.home.clone();
            let is_stored = is_stored && !is_ahead;
            let mut coming = comes(&mut answer, &source, place.clone(), is_stored)?;
            if let Some(node) = source.giver() {
                let transcript = coming.transcript().map(Path::to_owned);
                let given = Given { node: Some(node.to_string()), transcript };
                let known = ahead::Known {
                    session: &session,
                    copies: &copies,
                    is_gone: false,
                    given: Some(given),
                };
                let looked = ahead::look(&answerer, args, &known, &config.dirs.state)?;
                looked.remarks.iter().for_each(|remark| answer.remark(remark));
                if looked.taken.is_some() {
                    let from = Some(ResumeFrom::Bucket);
                    source = copy::open(&answerer, &session, from, looked.taken)?;
                    coming = comes(&mut answer, &source, place, false)?;
                    is_ahead = true;
                }
            }
            if let Some(base) = coming.begins(|| local::redactor().0)? {
                let lies_at = place::transcript(layout, std::slice::from_ref(&home), &base);
                let key = SessionKey { harness: session.harness.clone(), session_id: base.clone() };
                ahead::went_on_nowhere_else(&answerer, &key, lies_at)?;
                answer.remark(&format!(
                    "it is a fork, and its beginning lies in session {base}, which is here in another form (redacted): \
                     where that ends is written anew"
                ));
            }
            head = Header::of(&coming.first_line()).head;
            answer.redacted = source.redacted();
            answer.dropped_thinking = coming.dropped_thinking;
            says_redacted(&mut answer, &source);
            compares(&mut answer, &session, head.take(), &directory);
            let in_use = |row: &Session| {
                row.host_state == HostState::Here && row.live == Some(true) && !args.fork
            };
            copy::comes(&answerer, &session, &source, &answer.resumed_as)?;
            let placed = coming.put(!copies.iter().any(in_use), || local::redactor().0);
            // Of a session of this host that alone is what is here.
            let of_bucket = |hint: String| match is_ahead {
                true => hint.replace("--fork", "--from bucket --fork"),
                false => hint,
            };
            let placed = placed.map_err(|no| CliError::from(no).map_hint(of_bucket))?;
            answer.files = placed.iter().map(written).collect();
            goes_on_with = placed.iter().find(|one| one.is_main).map(|one| one.path.clone());
            placed.iter().filter(|one| one.is_main).for_each(|one| answer.remark(&placed_as(one)));
            Some(home)
        }
    };
    if !is_copied {
        if let (Layout::Codex, Some(path), Some(home)) = (layout, &goes_on_with, &home) {
            let next = format!(
                "rrd resume {} --fork begins another one with all of it",
                session.session_id
            );
            place::begins(home, path, || local::redactor().0, &next)?;
        }
        compares(&mut answer, &session, head, &directory);
    }
    let paths = goes_on_with.map(|path| (shown(&path), shown(&whence::real(&directory))));
    let called = match &paths {
        Some((path, cwd)) => resume::named(layout, &answer.resumed_as, path, cwd).to_owned(),
        None => answer.resumed_as.clone(),
    };
    if called != answer.resumed_as {
        answer.remark(
            "its transcript lies in another directory's folder: the command names it by its path",
        );
    }
    let moves_to = match layout {
        Layout::ClaudeCode => None,
        Layout::Codex => Some(shown(&directory)).filter(|_| {
            let rollout =
                paths.as_ref().and_then(|(path, _)| resume::whence::thread_cwd(Path::new(path)));
            let was_in = rollout.or_else(|| session.cwd.clone());
            was_in.is_none_or(|cwd| whence::real(Path::new(&cwd)) != whence::real(&directory))
        }),
    };
    answer.command = resume::command(layout, &called, own_fork, moves_to.as_deref());
    answer.environment = environment(&config, &session, home.as_deref());
    if let Some(task) = &args.task {
        if answer.resumed_as != answer.session_id {
            let session_id = answer.resumed_as.clone();
            let key = SessionKey { harness: session.harness.clone(), session_id };
            task::link(daemon(&answerer)?, task, key)?;
        }
        // So that a hook links what goes on under an id that only the harness knows.
        if text::shell_word(task).is_some() {
            answer.environment.insert(TASK_VARIABLE.to_owned(), task.clone());
        }
        answer.task = Some(task.clone());
    }
    answer.directory = directory;
    match (args.exec, args.json) {
        (true, _) => exec(&answer),
        (false, true) => output::json(&answer),
        (false, false) => output::print_lines(&[line(&answer)]),
    }
}

/// All that a source has, beside its place.
fn comes(
    answer: &mut Answer,
    source: &Source<'_>,
    place: Place,
    is_stored: bool,
) -> Result<Coming, CliError> {
    let whose = match source {
        Source::Host { .. } if is_stored => "this host's session store",
        source => source.whose(&answer.host),
    };
    let said = announced(whose, source.files(), &place);
    answer.remark(&said);
    let mut coming = Coming::begin(place, source.redacted(), source.files())?;
    if is_stored {
        coming = coming.out_of_the_store();
    }
    if source.giver().is_some() {
        coming = coming.keeping_its_past();
    }
    source.give(&mut coming)?;
    Ok(coming)
}

/// Only a daemon knows tasks.
fn daemon(answerer: &Answerer) -> Result<&Connection, CliError> {
    match answerer {
        Answerer::Daemon(daemon) => Ok(daemon),
        Answerer::Scan(_) => Err(CliError::new(Kind::NoDaemon, "only a daemon knows tasks")
            .hint("rrd service install keeps one running")),
    }
}

/// What this host put into a bucket and knows no more may be open here all the same.
fn is_known_here(found: &BucketCopy) -> Result<(), CliError> {
    if !found.is_own {
        return Ok(());
    }
    let why = "this host put it there and knows nothing of it any more: it was forgotten, or its index is new; \
               nothing tells whether it is still open here";
    let hint = format!("rrd resume {} --take-over resumes it all the same", found.key.session_id);
    Err(CliError::new(Kind::NotFound, why).hint(hint))
}

fn named(session: &Session) -> String {
    format!("{} of {}", session.session_id, session.host)
}

/// Whether its transcript is where it was no more. What the redactor touched is no path any more: there the
/// daemon's word counts.
fn is_gone(session: &Session) -> bool {
    let says_so = || session.issues.iter().any(|one| one.kind == Issue::SOURCE_GONE);
    match session.transcript_path.as_deref() {
        Some(path) if path.contains("[REDACTED:") => !Path::new(path).exists() && says_so(),
        Some(path) => !Path::new(path).exists(),
        None => true,
    }
}

fn lies_in(session: &Session, home: &Path) -> bool {
    session.transcript_path.as_deref().is_some_and(|path| Path::new(path).starts_with(home))
}

/// Whether a program keeps it in the session store, where its harness does not look.
fn is_stored(config: &Config, session: &Session) -> bool {
    let path = session.transcript_path.as_deref().map(Path::new);
    config
        .followed()
        .iter()
        .any(|root| root.is_store && path.is_some_and(|p| p.starts_with(&root.path)))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What is about to be written: said before it is.
fn announced(whose: &str, files: &[CopyFile], place: &Place) -> String {
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let files = counted(files.len() as u64, "file");
    format!("copies {files} of {whose} ({bytes} bytes), to {}", place.shown().display())
}

fn says_redacted(answer: &mut Answer, source: &Source<'_>) {
    if let Source::Bucket(bucket) = source {
        let at = bucket.last_uploaded_at.map_or_else(String::new, |at| format!(" of {at}"));
        answer.remark(&format!("the copy{at} is what {} has of it", bucket.url));
        for why in &bucket.unasked {
            answer.remark(&format!("it may have more of it: {why}"));
        }
        for why in &bucket.dropped {
            answer.remark(&format!("not all of it is as it was uploaded: {why}"));
        }
    }
    let passed = match source {
        Source::Bucket(bucket) => bucket.redacted_here,
        Source::Host { .. } => 0,
    };
    if passed > 0 {
        let parts = counted(passed, "part");
        answer.remark(&format!(
            "of {parts} nobody knows whether they were redacted: they were on the way out of the bucket"
        ));
    }
    if let Source::Bucket(bucket) = source
        && !bucket.redacted
    {
        answer.remark(&format!(
            "{} was enabled with --no-redact: what is secret may be in the copy",
            bucket.url
        ));
    }
    if answer.redacted {
        let whose = source.whose(&answer.host);
        answer
            .remark(&format!("{whose} gives it redacted only: what is secret is not in the copy"));
    }
    if answer.dropped_thinking > 0 {
        let blocks = counted(answer.dropped_thinking, "block");
        answer.remark(&format!(
            "{blocks} of signed thinking held something secret and had to be left out"
        ));
    }
}

fn compares(answer: &mut Answer, session: &Session, head: Option<String>, directory: &Path) {
    let saw = Saw {
        cwd: session.cwd.clone(),
        branch: session.branch.clone(),
        head,
        remote: session.repo_remote.clone(),
    };
    answer.facts = resume::facts(&saw, &git::checkout(directory));
    for fact in answer.facts.clone() {
        answer.remark(&fact);
    }
}

fn written(placed: &Placed) -> Written {
    let became = match placed.became {
        Became::New => "new",
        Became::Same => "same",
        Became::NewerHere => "newer_here",
        Became::Replaced => "replaced",
        Became::Continued => "continued",
    };
    Written { path: placed.path.clone(), became }
}

fn placed_as(placed: &Placed) -> String {
    let path = placed.path.display();
    match placed.became {
        Became::New => format!("wrote {path}"),
        Became::Same => format!("{path} is there already, the same"),
        Became::NewerHere => {
            format!("{path} is there already and goes on further: that one is used")
        }
        Became::Replaced => format!("{path} was an older copy, and was replaced"),
        Became::Continued => {
            format!(
                "{path} is how it begins, but for what is secret: that stays as it was, and what is new follows it"
            )
        }
    }
}

/// What the command needs so that the harness looks where the transcript is.
fn environment(
    config: &Config,
    session: &Session,
    home: Option<&Path>,
) -> BTreeMap<String, String> {
    let variable = home.and_then(|home| local::home_variable(config, &session.harness, home));
    variable.into_iter().collect()
}

/// The command as a line for a shell.
fn line(answer: &Answer) -> String {
    let word = |word: &str| text::shell_word(word).unwrap_or_else(|| "?".to_owned());
    let set: Vec<String> =
        answer.environment.iter().map(|(name, value)| format!("{name}={}", word(value))).collect();
    let words = answer.command.iter().map(|part| word(part));
    let command: Vec<String> = set.into_iter().chain(words).collect();
    format!("cd {} && {}", word(&answer.directory.to_string_lossy()), command.join(" "))
}

fn exec(answer: &Answer) -> Result<(), CliError> {
    let Some((program, words)) = answer.command.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(words).current_dir(&answer.directory).envs(&answer.environment);
    let failed = |error: std::io::Error| {
        CliError::new(Kind::NotFound, format!("{program} cannot be run: {error}"))
            .hint(format!("install it, then: {}", line(answer)))
    };
    #[cfg(unix)]
    {
        Err(failed(std::os::unix::process::CommandExt::exec(&mut command)))
    }
    #[cfg(not(unix))]
    {
        let status = command.status().map_err(failed)?;
        match status.success() {
            true => Ok(()),
            false => Err(CliError::new(Kind::Internal, format!("{program} ended with {status}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_to_run_it_again_has_what_was_said() {
        let args = ResumeArgs {
            id: Some("e1".to_owned()),
            from: Some(ResumeFrom::Bucket),
            take_over: true,
            ..ResumeArgs::default()
        };
        let hint = |hint: &str| again(&args, hint);
        assert_eq!(
            hint("rrd resume e1 --cwd DIR"),
            "rrd resume e1 --from bucket --take-over --cwd DIR"
        );
        assert_eq!(
            hint("rrd resume e1 --take-over resumes it all the same"),
            "rrd resume e1 --from bucket --take-over resumes it all the same"
        );
        assert_eq!(hint("rrd resume e1"), "rrd resume e1 --from bucket --take-over");
        assert_eq!(hint("rrd mirror list"), "rrd mirror list");
    }

    #[test]
    fn the_line_can_be_pasted() {
        let mut answer = Answer {
            directory: PathBuf::from("/home/dev/my app"),
            command: resume::command(Layout::ClaudeCode, "7f2c", false, None),
            ..Answer::default()
        };
        assert_eq!(line(&answer), "cd '/home/dev/my app' && claude --resume 7f2c");
        let home = "/srv/it's".to_owned();
        answer.environment.insert("CLAUDE_CONFIG_DIR".to_owned(), home);
        assert!(
            line(&answer).contains(r"&& CLAUDE_CONFIG_DIR='/srv/it'\''s' claude"),
            "{}",
            line(&answer)
        );
    }
}
