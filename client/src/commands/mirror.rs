//! `rrd mirror`: transcripts in a bucket of one's own.
//!
//! Not here: what is uploaded and when, which the daemon decides.

use std::time::Duration;

use rrd_proto::{
    CoverageState, MirrorCall, MirrorPruned, MirrorReply, MirrorShown, MirrorStatus, MirrorTarget,
    MirrorVerified, Mirrored, Timestamp, shown::size,
};

use serde::Serialize;

use crate::{
    cli::{Mirror, MirrorEnable},
    clock,
    commands::fleet::unexpected,
    connect::{self, Unreachable},
    error::{CliError, Kind},
    local, look, output,
    text::{clean, clean_lines, counted, fit_end, pad, width},
};

/// Everything may have to be uploaded.
const RUN: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn run(mirror: &Mirror) -> Result<(), CliError> {
    match mirror {
        Mirror::Enable(args) => enable(args),
        Mirror::Status(args) => {
            let all = status(&MirrorCall::Status, Duration::ZERO)?;
            if args.json { output::json(&all) } else { show(&all) }
        }
        Mirror::List(args) => {
            let MirrorReply::List(list) = ask(&MirrorCall::List, Duration::ZERO)? else {
                return Err(unexpected());
            };
            if args.json { output::json(&list) } else { table(&list) }
        }
        Mirror::Run(args) => {
            let all = status(&MirrorCall::Run, RUN)?;
            if args.json {
                output::json(&all)?
            } else {
                show(&all)?
            }
            match all.iter().find_map(|one| one.failing.as_ref()) {
                Some(failing) => {
                    Err(CliError::new(Kind::NotFound, clean(&failing.error).into_owned()))
                }
                None => Ok(()),
            }
        }
        Mirror::Show(args) => {
            let call = MirrorCall::Show { id: args.id.clone(), tail: args.tail };
            let MirrorReply::Shown(shown) = ask(&call, RUN)? else { return Err(unexpected()) };
            if args.json { output::json(&shown) } else { show_one(&shown) }
        }
        Mirror::Verify(args) => {
            let call = MirrorCall::Verify { id: args.id.clone() };
            let MirrorReply::Verified(all) = ask(&call, RUN)? else { return Err(unexpected()) };
            if args.json {
                output::json(&all)?
            } else {
                verified(&all)?
            }
            match all.iter().filter(|one| !one.wrong.is_empty()).count() {
                0 => Ok(()),
                wrong => Err(CliError::new(
                    Kind::NotFound,
                    format!("{} not as uploaded", counted(wrong as u64, "transcript")),
                )
                .hint("what a transcript here still has is being brought again: rrd mirror run waits for that, then verify once more")),
            }
        }
        Mirror::Compact(args) => {
            let all = status(&MirrorCall::Compact { id: args.id.clone() }, RUN)?;
            if args.json { output::json(&all) } else { show(&all) }
        }
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
        Mirror::Disable { url } => {
            let call = MirrorCall::Disable { url: url.clone() };
            let MirrorReply::Disabled(count) = ask(&call, Duration::ZERO)? else {
                return Err(unexpected());
            };
            output::remark(&match count {
                0 => "nothing was mirrored there; rrd mirror status names the places".to_owned(),
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
    connection.mirror(call, wait)?.map_err(CliError::from)
}

fn status(call: &MirrorCall, wait: Duration) -> Result<Vec<MirrorStatus>, CliError> {
    match ask(call, wait)? {
        MirrorReply::Status(all) => Ok(all),
        _ => Err(unexpected()),
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
    let target = MirrorTarget {
        url: args.url.trim_end_matches('/').to_owned(),
        project: args.project.clone(),
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        profile: args.profile.clone(),
        harness: args.harness.clone(),
        repo: args.repo.clone(),
        exclude_harness: args.exclude_harness.clone(),
        exclude_repo: args.exclude_repo.clone(),
        raw: args.no_redact,
        keep_days: args.keep_days,
    };
    ask(&MirrorCall::Enable(target), Duration::ZERO)?;
    output::remark("mirrored from now on; rrd mirror status shows how far it is");
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

fn show(all: &[MirrorStatus]) -> Result<(), CliError> {
    if all.is_empty() {
        output::remark("nothing is mirrored; rrd mirror enable --help has examples");
        return Ok(());
    }
    let now = clock::now();
    let mut lines = Vec::new();
    for one in all {
        lines.extend(words(one, now));
    }
    output::print_lines(&lines)
}

/// One place in a few lines.
fn words(one: &MirrorStatus, now: Timestamp) -> Vec<String> {
    let ago = |at| format!("{} ago", rrd_proto::age(now, at));
    let last =
        one.last_uploaded_at.map_or("nothing yet".to_owned(), |at| format!("last {}", ago(at)));
    let redacted = if one.redacted { "" } else { ", NOT redacted" };
    let sign = match (&one.failing, one.troubles.is_empty() && one.diverged == 0) {
        (Some(_), _) => "✗",
        (None, false) => "!",
        (None, true) => "✓",
    };
    let (url, project) = (clean(&one.url), clean(&one.project));
    let mut lines = vec![format!("{sign} {url}/{project}{redacted}")];
    lines.push(format!("  {}, {last}", counted(one.transcripts, "transcript")));
    if one.checking {
        lines.push("  still looking what there is to be mirrored".to_owned());
    }
    if one.behind > 0 || one.pending_parts > 0 {
        lines.push(format!(
            "  behind: {}, {} not there yet; {} ({}) on the way",
            counted(one.behind, "transcript"),
            size(one.bytes_behind),
            counted(one.pending_parts, "part"),
            size(one.pending_bytes)
        ));
    }
    if one.stopped > 0 {
        lines.push(format!(
            "  {} stopped by you (rrd mirror list)",
            counted(one.stopped, "transcript")
        ));
    }
    if let Some(days) = one.keep_days {
        lines.push(format!("  deleted there {} after the end", counted(days.into(), "day")));
    }
    if one.elsewhere > 0 {
        lines.push(format!("  {} left to other hosts", counted(one.elsewhere, "transcript")));
    }
    if one.diverged > 0 {
        lines.push(format!(
            "  {} went on here and on another host, which mirrors it: what only this host has is not there (rrd mirror list)",
            counted(one.diverged, "transcript")
        ));
    }
    if let Some(failing) = &one.failing {
        lines.push(format!(
            "  failing for {}: {}",
            rrd_proto::age(now, failing.since),
            clean(&failing.error)
        ));
    }
    for trouble in &one.troubles {
        lines.push(format!("  {}: {}", clean(&trouble.stream), clean(&trouble.error)));
    }
    lines
}

fn show_one(shown: &MirrorShown) -> Result<(), CliError> {
    let mut lines: Vec<String> = Vec::new();
    match &shown.meta {
        Some(meta) => lines.extend(clean_lines(meta)),
        None => lines.push("no meta.json; the parts say what follows".to_owned()),
    }
    let earlier = match shown.earlier_records {
        0 => String::new(),
        count => format!(", and {count} from before it was rewritten"),
    };
    let place = format!("{}/{}", clean(&shown.url), clean(&shown.directory));
    output::remark(&format!("{place}: {}{earlier}", counted(shown.records, "record")));
    for part in &shown.dropped {
        output::remark(&format!("{} does not count: {}", clean(&part.stream), clean(&part.error)));
    }
    if !shown.tail.is_empty() {
        lines.push(look::paint(look::DIM, "--- tail ---"));
        lines.extend(shown.tail.iter().map(|line| clean(line).into_owned()));
    }
    output::print_lines(&lines)
}

fn verified(all: &[MirrorVerified]) -> Result<(), CliError> {
    let wrong: Vec<String> = all
        .iter()
        .flat_map(|one| {
            one.wrong.iter().map(|why| format!("✗ {}{}", clean(&one.directory), clean(why)))
        })
        .collect();
    output::print_lines(&wrong)?;
    let (parts, records) =
        all.iter().fold((0, 0), |(parts, records), one| (parts + one.parts, records + one.records));
    output::remark(&format!(
        "read {} of {}, {}: {}",
        counted(parts, "part"),
        counted(all.len() as u64, "transcript"),
        counted(records, "record"),
        if wrong.is_empty() { "all as uploaded" } else { "not all as uploaded" }
    ));
    Ok(())
}

fn table(list: &[Mirrored]) -> Result<(), CliError> {
    if list.is_empty() {
        output::remark("nothing is mirrored; rrd mirror status says why");
        return Ok(());
    }
    let (now, header) =
        (clock::now(), ["SESSION", "HARNESS", "PARTS", "SIZE", "BEHIND", "LAST", "TITLE"]);
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(list.iter().map(|one| {
        let id = clean(&one.session_id);
        let id = match &one.agent {
            Some(_) => format!("└ {}", fit_end(&id, 12)),
            None => fit_end(&id, 12).into_owned(),
        };
        let by = one.by.as_ref().map(|host| match one.state {
            CoverageState::Diverged => format!("not what {} mirrors", clean(host)),
            _ => format!("by {}", clean(host)),
        });
        let by = by.or_else(|| match one.state {
            CoverageState::Stopped => Some("stopped by you".to_owned()),
            CoverageState::Excluded => Some("left out by your choice of sessions".to_owned()),
            CoverageState::Expired => Some("over for too long".to_owned()),
            _ => None,
        });
        [
            id,
            clean(one.harness.as_str()).into_owned(),
            one.parts.to_string(),
            size(one.uploaded_bytes),
            match one.bytes_behind {
                None if one.state == CoverageState::Diverged => "?".to_owned(),
                None | Some(0) => "-".to_owned(),
                Some(bytes) => size(bytes),
            },
            one.last_uploaded_at.map_or("-".to_owned(), |at| rrd_proto::age(now, at).to_string()),
            by.unwrap_or_else(|| one.title.as_deref().map(clean).unwrap_or_default().into_owned()),
        ]
    }));
    let widths: Vec<usize> = (0..header.len() - 1)
        .map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0))
        .collect();
    let columns = output::columns();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&pad(cell, *width));
                line.push_str("  ");
            }
            line.push_str(&row[header.len() - 1]);
            match columns {
                Some(columns) => fit_end(line.trim_end(), columns).into_owned(),
                None => line.trim_end().to_owned(),
            }
        })
        .collect();
    lines[0] = look::paint(look::DIM, &lines[0]);
    output::print_lines(&lines)
}
