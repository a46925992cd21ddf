//! `rrd wait`: returns when another session has done something.
//!
//! A daemon that ends meanwhile is asked again when it is back, from where it was. Not here: what has come true
//! (the target's own host decides), and who this is ([`crate::caller`]).

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rrd_proto::{
    SessionKey,
    wait::{Awaited, Came, WaitNews, WaitTarget},
};
use serde::Serialize;

use crate::{
    absence::Absence,
    again, caller,
    cli::WaitArgs,
    clock,
    error::{CliError, Kind},
    local, output,
    text::clean,
    waits::Waiting,
};

/// What one call waits: a host that is away is noticed within.
const WAIT: Duration = Duration::from_secs(10);

/// What came of it, for a script.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// true, ended, unknown, timeout, away.
    outcome: &'static str,
    until: String,
    /// Who waited; null: a person.
    waiter: Option<String>,
    targets: &'a [WaitTarget],
}

pub(crate) fn run(args: &WaitArgs) -> Result<(), CliError> {
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let config = local::config(None)?;
    let socket = &*config.dirs.socket;
    let who =
        |answerer: &_| caller::here(answerer, args.named.as_deref(), "its waits are told there");
    let (waiter, there) = again::first(socket, deadline, who)?;
    let targets = args.ids.iter().cloned().map(Awaited::new).collect();
    let at = (socket, there.daemon);
    let bounds = (Absence::said_by(output::remark), deadline);
    let mut waiting =
        Waiting::new(at, bounds, waiter.clone(), targets, args.until.clone(), args.any);
    let (mut said_away, mut said, mut said_anew) = (false, HashSet::new(), HashSet::new());
    let mut within = Duration::ZERO;
    loop {
        waiting.ask(within)?;
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let is_late = left.is_some_and(|left| left.is_zero());
        let Some(news) = waiting.news() else {
            if is_late {
                return Err(waiting.refused());
            }
            within = left.map_or(WAIT, |left| left.min(WAIT));
            continue;
        };
        remark_renumbered(news, &mut said_anew);
        if let Some(came) = news.came {
            return over(args, waiter.as_ref(), news, came);
        }
        if !args.patient
            && let Some(target) = news.held_up(args.any)
        {
            return Err(away_error(args, waiter.as_ref(), news, target));
        }
        remark(news, &mut said_away, &mut said);
        if is_late {
            return Err(late(args, waiter.as_ref(), news, waiting.is_without_daemon()));
        }
        within = left.map_or(WAIT, |left| left.min(WAIT));
    }
}

/// Says what has changed while it is waited on.
fn remark(news: &WaitNews, said_away: &mut bool, said: &mut HashSet<String>) {
    let away = news.away().next();
    if let Some(target) = away.filter(|_| !*said_away) {
        output::remark(&format!("{} is away; waiting on", clean(&target.host)));
    }
    *said_away = away.is_some();
    let open = news.targets.iter().filter(|target| target.outcome.is_none()).count();
    let came = news.targets.iter().filter_map(|target| Some((target, target.outcome.as_ref()?)));
    for (target, outcome) in came {
        if said.insert(target.reference.clone()) {
            let status = outcome.status.map_or("not known", |status| status.as_str());
            let who = named(target);
            output::remark(&format!("{who}: now {status}; waiting on for {open} more"));
        }
    }
}

/// Says whose events have other numbers than when it began to wait.
fn remark_renumbered(news: &WaitNews, said: &mut HashSet<String>) {
    for target in news.targets.iter().filter(|target| target.renumbered) {
        if said.insert(target.reference.clone()) {
            let (who, host) = (named(target), clean(&target.host));
            output::remark(&format!(
                "{host} has numbered the events of {who} anew: what it did meanwhile may have been missed"
            ));
        }
    }
}

fn named(target: &WaitTarget) -> String {
    let title = target.title.as_deref().unwrap_or(&target.session_id);
    format!("{} ({}, {})", clean(title), clean(&target.host), clean(&target.reference))
}

fn print(
    args: &WaitArgs,
    waiter: Option<&SessionKey>,
    news: &WaitNews,
    outcome: &'static str,
) -> Result<(), CliError> {
    if !args.json {
        return Ok(());
    }
    output::json(&Answer {
        outcome,
        until: args.until.to_string(),
        waiter: waiter.map(ToString::to_string),
        targets: &news.targets,
    })
}

fn over(
    args: &WaitArgs,
    waiter: Option<&SessionKey>,
    news: &WaitNews,
    came: Came,
) -> Result<(), CliError> {
    print(args, waiter, news, came.as_str())?;
    let of = |target: &WaitTarget| target.outcome.as_ref().map(|outcome| outcome.came);
    let target = news.targets.iter().find(|target| of(target) == Some(came));
    let who = target.map_or_else(|| "it".to_owned(), named);
    let until = args.until.to_string();
    match came {
        Came::True if args.json => Ok(()),
        Came::True => {
            let outcome = target.and_then(|target| target.outcome.as_ref());
            let status = outcome.and_then(|outcome| outcome.status);
            let status = status.map_or_else(String::new, |status| format!(", now {status}"));
            output::print_lines(&[format!("{who}: {}{status}", clean(&until))])
        }
        Came::Unknown => {
            let host = clean(target.map_or("its host", |target| &target.host));
            let is_out = target.is_some_and(|target| target.host_state.is_none());
            let (why, hint) = if is_out {
                let why = format!("{who}: {host} is no member of the fleet any more");
                (why, "rrd fleet status shows who is")
            } else {
                let why = format!("{host} does not know {who} any more");
                (why, "rrd sessions list --all shows what it has")
            };
            Err(CliError::new(Kind::NotFound, why).hint(hint))
        }
        Came::Ended => {
            let why = format!("{who} has ended, so {} cannot come true", clean(&until));
            Err(CliError::new(Kind::Over, why).hint("rrd sessions show tells how it ended"))
        }
    }
}

fn late(
    args: &WaitArgs,
    waiter: Option<&SessionKey>,
    news: &WaitNews,
    is_without_daemon: bool,
) -> CliError {
    if let Err(error) = print(args, waiter, news, "timeout") {
        return error;
    }
    let open = news.targets.iter().find(|target| target.outcome.is_none());
    let who = open.map_or_else(|| "it".to_owned(), named);
    let error = CliError::new(Kind::Late, format!("nothing came of waiting for {who} in time"));
    match is_without_daemon {
        true => {
            error.hint("this host's daemon did not answer: rrd status tells whether it is back")
        }
        false => error.hint("rrd graph shows what it waits for"),
    }
}

fn away_error(
    args: &WaitArgs,
    waiter: Option<&SessionKey>,
    news: &WaitNews,
    target: &WaitTarget,
) -> CliError {
    if let Err(error) = print(args, waiter, news, "away") {
        return error;
    }
    let since = target.away_since.map_or_else(String::new, |at| {
        format!(", silent for {}", rrd_proto::age(clock::now(), at))
    });
    let why = format!("{} is on a host that is away{since}", named(target));
    CliError::new(Kind::Away, why).hint("--patient waits on until it is back")
}
