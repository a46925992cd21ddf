//! `rrd mirror`: transcripts in a bucket of one's own.
//!
//! Not here: how answers look ([`shown`]), and what is uploaded and when, which the daemon decides.

mod shown;

use std::time::Duration;

use rrd_proto::{
    Harness, MirrorCall, MirrorPruned, MirrorReply, MirrorStatus, MirrorTarget, MirrorWish,
    shown::size,
};
use serde::Serialize;

use crate::{
    cli::{Mirror, MirrorEnable},
    clock,
    commands::fleet::unexpected,
    connect::{self, Unreachable},
    error::{CliError, Kind},
    local, output,
    text::{clean, counted},
};

/// The daemon waits for a place that is new for 30 s, and then says so.
const ENABLE: Duration = Duration::from_secs(35);

/// Everything may have to be uploaded.
const RUN: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn run(mirror: &Mirror) -> Result<(), CliError> {
    match mirror {
        Mirror::Enable(args) => enable(args),
        Mirror::Status(args) => {
            let all = status(&MirrorCall::Status, Duration::ZERO)?;
            if args.json { output::json(&all) } else { shown::places(&all) }
        }
        Mirror::List(args) => {
            if args.from_bucket {
                return found(args.json);
            }
            let MirrorReply::List(list) = ask(&MirrorCall::List, Duration::ZERO)? else {
                return Err(unexpected());
            };
            match (args.json, list.is_empty()) {
                (true, _) => output::json(&list),
                (false, false) => shown::list(&list),
                (false, true) if status(&MirrorCall::Status, Duration::ZERO)?.is_empty() => {
                    shown::list(&list)
                }
                (false, true) => {
                    output::remark("this host has mirrored nothing yet; what is there already:");
                    found(false)
                }
            }
        }
        // Once is how it is run, said or not.
        Mirror::Run { once: _, json } => done(&MirrorCall::Run, *json),
        Mirror::Show(args) => {
            let call = MirrorCall::Show { id: args.id.clone(), tail: args.tail };
            let MirrorReply::Shown(shown) = ask(&call, RUN)? else { return Err(unexpected()) };
            for why in &shown.unasked {
                output::remark(&format!("it may have more of it: {}", clean(why)));
            }
            if args.json { output::json(&shown) } else { shown::one(&shown) }
        }
        Mirror::Verify(args) => {
            let call = MirrorCall::Verify { id: args.id.clone() };
            let MirrorReply::Verified(all, unasked) = ask(&call, RUN)? else {
                return Err(unexpected());
            };
            if args.json {
                output::json(&all)?
            } else {
                shown::verified(&all, unasked.is_empty())?
            }
            match all.iter().filter(|one| !one.wrong.is_empty()).count() {
                0 => asked_all(&unasked),
                wrong => Err(unasked
                    .iter()
                    .fold(
                        CliError::new(
                            Kind::NotFound,
                            format!("{} not as uploaded", counted(wrong as u64, "transcript")),
                        ),
                        |error, why| error.fact(clean(why).into_owned()),
                    )
                    .hint(shown::mended(&all))),
            }
        }
        Mirror::Compact(args) => done(&MirrorCall::Compact { id: args.id.clone() }, args.json),
        Mirror::Stop(args) => {
            let call = MirrorCall::Stop { id: args.id.clone(), url: args.on.clone() };
            stopped(&call, args.json, "what is there stays there; rrd mirror start takes it back")
        }
        Mirror::Start(args) => {
            let call = MirrorCall::Start { id: args.id.clone(), url: args.on.clone() };
            stopped(&call, args.json, "rrd mirror status shows how far it is")
        }
        Mirror::Prune { dry_run, json } => {
            let call = MirrorCall::Prune { dry_run: *dry_run };
            let MirrorReply::Pruned(all) = ask(&call, RUN)? else { return Err(unexpected()) };
            if *json { output::json(&all) } else { pruned(&all, *dry_run) }
        }
        Mirror::Disable { url, json } => {
            let call = MirrorCall::Disable { url: url.clone() };
            let MirrorReply::Disabled(count) = ask(&call, Duration::ZERO)? else {
                return Err(unexpected());
            };
            if *json {
                return output::json(&Disabled { disabled: count });
            }
            output::remark(&match count {
                0 => "nothing was mirrored".to_owned(),
                _ => format!(
                    "mirrors to {} no more; what is there stays there",
                    counted(count.into(), "place")
                ),
            });
            Ok(())
        }
    }
}

fn ask(call: &MirrorCall, wait: Duration) -> Result<MirrorReply, CliError> {
    let config = local::config(None)?;
    let connection = connect::dial(&config.dirs.socket).map_err(Unreachable::into_error)?;
    let what = match call {
        MirrorCall::Enable(wish) => format!("asking {}", wish.said.url),
        MirrorCall::Run => "bringing what is new; Ctrl-C ends the wait and not the work".to_owned(),
        _ => "asking; a bucket may take a while".to_owned(),
    };
    let answer = output::patiently(&what, || connection.mirror(call, wait))?;
    answer.map_err(|mut refusal| {
        if refusal.message.contains("mirror.env") {
            let path = config.dirs.config_file.with_file_name("mirror.env");
            refusal.facts.push(format!("mirror.env is {}", path.display()));
        }
        CliError::from(refusal)
    })
}

/// What is in the buckets, whoever put it there.
fn found(json: bool) -> Result<(), CliError> {
    let MirrorReply::Found(all, left_out, unasked) = ask(&MirrorCall::Found, RUN)? else {
        return Err(unexpected());
    };
    if json {
        output::json(&all)?
    } else {
        shown::found(&all)?
    }
    if left_out > 0 {
        output::remark(&format!("{} left out", counted(left_out, "older session")));
    }
    asked_all(&unasked)
}

/// What was told is not all there is where a place did not answer.
fn asked_all(unasked: &[String]) -> Result<(), CliError> {
    let Some((first, others)) = unasked.split_first() else { return Ok(()) };
    let error = CliError::new(Kind::NotFound, clean(first).into_owned());
    let error = others.iter().fold(error, |error, why| error.fact(clean(why).into_owned()));
    Err(error.hint("rrd mirror status says how it is with each place; the others are told above"))
}

fn status(call: &MirrorCall, wait: Duration) -> Result<Vec<MirrorStatus>, CliError> {
    match ask(call, wait)? {
        MirrorReply::Status(all) => Ok(all),
        _ => Err(unexpected()),
    }
}

/// How each place is once that was done, or why it was not.
fn done(call: &MirrorCall, json: bool) -> Result<(), CliError> {
    let all = status(call, RUN)?;
    if json {
        output::json(&all)?
    } else {
        shown::places(&all)?
    }
    let said = |error: &str| {
        let error = CliError::new(Kind::NotFound, clean(error).into_owned());
        Err(error.hint("rrd mirror status shows how it is with each place"))
    };
    if let Some(failing) = all.iter().find_map(|one| one.failing.as_ref()) {
        return said(&failing.error);
    }
    match all.iter().map(|one| one.troubles.len() as u64).sum() {
        0 => Ok(()),
        troubles => said(&format!("{} not mirrored", counted(troubles, "transcript"))),
    }
}

fn enable(args: &MirrorEnable) -> Result<(), CliError> {
    if args.no_redact && !args.yes {
        let question = format!(
            "upload transcripts with every secret in them to {}, where anybody who reads it has these?",
            clean(&args.url)
        );
        match output::ask(&question) {
            Some(true) => {}
            Some(false) => return Err(CliError::new(Kind::NotFound, "nothing was changed")),
            None => {
                return Err(CliError::new(Kind::Usage, "--no-redact needs somebody to ask")
                    .hint("--yes says that it is meant"));
            }
        }
    }
    let names = |of: &[Harness]| of.iter().map(ToString::to_string).collect();
    let said = MirrorTarget {
        url: args.url.trim_end_matches('/').to_owned(),
        project: args.project.clone(),
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        profile: args.profile.clone(),
        harness: names(&args.harness),
        repo: args.repo.clone(),
        exclude_harness: names(&args.exclude_harness),
        exclude_repo: args.exclude_repo.clone(),
        raw: args.no_redact,
        keep_days: args.keep_days,
    };
    let wish = MirrorWish { said, all: args.all, keep_forever: args.keep_forever };
    let MirrorReply::Enabled(place) = ask(&MirrorCall::Enable(wish), ENABLE)? else {
        return Err(unexpected());
    };
    if args.json {
        return output::json(&place);
    }
    output::remark("mirrored from now on; rrd mirror status shows how far it is");
    shown::in_force(&place).iter().for_each(|line| output::remark(line));
    if args.keep_days.is_some() {
        output::remark(
            "what is over for longer is deleted there in ten minutes; rrd mirror prune --dry-run shows what that is",
        );
    }
    Ok(())
}

/// What a stop or its opposite did, and what follows from it.
fn stopped(call: &MirrorCall, json: bool, then: &str) -> Result<(), CliError> {
    let MirrorReply::Stopped(session, places) = ask(call, RUN)? else { return Err(unexpected()) };
    let is_stop = matches!(call, MirrorCall::Stop { .. });
    if json {
        return output::json(&Stopped { session_id: &session, stopped: is_stop, places: &places });
    }
    let places: Vec<_> = places.iter().map(|place| clean(place)).collect();
    let again = if is_stop { "no more" } else { "again" };
    let session = clean(&session);
    output::remark(&format!("{session} is mirrored to {} {again}; {then}", places.join(", ")));
    Ok(())
}

#[derive(Serialize)]
struct Disabled {
    /// So many places.
    disabled: u32,
}

#[derive(Serialize)]
struct Stopped<'a> {
    session_id: &'a str,
    stopped: bool,
    places: &'a [String],
}

fn pruned(all: &[MirrorPruned], dry_run: bool) -> Result<(), CliError> {
    let now = clock::now();
    let line = |one: &MirrorPruned| {
        let age = rrd_proto::age(now, one.last_activity_at);
        let place = format!("{}/{}", clean(&one.url), clean(&one.directory));
        format!("{place}  {}, over for {age}", size(one.bytes))
    };
    output::print_lines(&all.iter().map(line).collect::<Vec<_>>())?;
    let count = counted(all.len() as u64, "transcript");
    output::remark(&match (all.is_empty(), dry_run) {
        (true, _) => "nothing is older than its place keeps it".to_owned(),
        (false, true) => format!("{count} would be deleted; nothing was"),
        (false, false) => format!("{count} deleted"),
    });
    Ok(())
}
