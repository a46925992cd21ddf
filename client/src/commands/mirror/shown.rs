//! How the answers to `rrd mirror` look.
//!
//! Not here: asking for them ([`super`]).

use std::collections::BTreeSet;

use rrd_proto::{
    CoverageState, MirrorFound, MirrorShown, MirrorStatus, MirrorVerified, Mirrored, Timestamp,
    shown::size,
};

use crate::{
    clock,
    error::CliError,
    look, output,
    text::{clean, clean_lines, counted, fit_end, pad, width},
};

pub(super) fn places(all: &[MirrorStatus]) -> Result<(), CliError> {
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

/// What the user chose for a place, a line each; nothing where it gets every session for ever.
pub(super) fn in_force(one: &MirrorStatus) -> Vec<String> {
    let names = |all: &[String]| all.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    for (word, of, chosen) in [
        ("only", "of", &one.harness),
        ("only", "in", &one.repo),
        ("not", "of", &one.exclude_harness),
        ("not", "in", &one.exclude_repo),
    ] {
        if !chosen.is_empty() {
            lines.push(format!("{word} sessions {of} {}", names(chosen)));
        }
    }
    if !one.unknown_repos.is_empty() {
        let known = "rrd sessions list --all shows the names (REPO)";
        lines
            .push(format!("no session that is known is in {}: {known}", names(&one.unknown_repos)));
    }
    if let Some(days) = one.keep_days {
        lines.push(format!("deleted there {} after the end", counted(days.into(), "day")));
    }
    lines
}

/// One place in a few lines.
fn words(one: &MirrorStatus, now: Timestamp) -> Vec<String> {
    let ago = |at| format!("{} ago", rrd_proto::age(now, at));
    let last = match (one.last_uploaded_at, one.transcripts) {
        (Some(at), _) => format!(", last {}", ago(at)),
        (None, 0) => ": nothing yet".to_owned(),
        // Another one brought them, or this host before it forgot when.
        (None, _) => String::new(),
    };
    let redacted = if one.redacted { "" } else { ", NOT redacted" };
    let sign = match (&one.failing, one.troubles.is_empty() && one.diverged == 0) {
        (Some(_), _) => "✗",
        (None, false) => "!",
        (None, true) => "✓",
    };
    let (url, project) = (clean(&one.url), clean(&one.project));
    let mut lines = vec![format!("{sign} {url}/{project}{redacted}")];
    lines.push(format!("  {} there{last}", counted(one.transcripts, "transcript")));
    if one.checking {
        lines.push("  still looking what there is to be mirrored".to_owned());
    }
    if one.behind > 0 || one.pending_parts > 0 {
        let bytes = match (one.known_behind(), one.behind_unknown) {
            (Some(bytes), 0) => format!("{} not there yet", size(bytes)),
            (Some(bytes), _) => format!("{} and more not there yet", size(bytes)),
            (None, _) => "nobody knows by how much".to_owned(),
        };
        lines.push(format!(
            "  behind: {}, {bytes}; {} ({}) on the way",
            counted(one.behind, "transcript"),
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
    if one.held > 0 {
        lines.push(format!(
            "  {} held back: nobody knows in which repository",
            counted(one.held, "transcript")
        ));
        for held in &one.held_for {
            lines.push(format!("    {}: {}", clean(&held.stream), clean(&held.error)));
        }
        if one.held > one.held_for.len() as u64 {
            lines.push("    …".to_owned());
        }
    }
    if one.redacted && one.raw_transcripts > 0 {
        lines.push(format!(
            "  {} there with secrets in them, from when it was not redacted; to be rid of them",
            counted(one.raw_transcripts, "transcript")
        ));
        lines.push(format!(
            "    rrd mirror disable {url}/{project}, delete that directory with the store's own tools, enable it again"
        ));
    }
    lines.extend(in_force(one).iter().map(|line| format!("  {line}")));
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
            "  {}: {}",
            match (one.stands_still, now.as_millis() - failing.since.as_millis()) {
                (true, _) => "nothing goes there".to_owned(),
                (_, ..1_000) => "failing since just now".to_owned(),
                _ => format!("failing for {}", rrd_proto::age(now, failing.since)),
            },
            clean(&failing.error)
        ));
    }
    for trouble in &one.troubles {
        lines.push(format!("  {}: {}", clean(&trouble.stream), clean(&trouble.error)));
    }
    lines
}

pub(super) fn one(shown: &MirrorShown) -> Result<(), CliError> {
    let mut lines: Vec<String> = Vec::new();
    match &shown.meta {
        Some(meta) => lines.extend(clean_lines(meta)),
        None if shown.meta_is_odd => {
            lines.push("its meta.json cannot be understood; the parts say what follows".to_owned());
        }
        None => lines.push("no meta.json; the parts say what follows".to_owned()),
    }
    let earlier = match shown.earlier_records {
        0 => String::new(),
        count => format!(", and {count} from before it was rewritten"),
    };
    let place = format!("{}/{}", clean(&shown.url), clean(&shown.directory));
    output::remark(&format!("{place}: {}{earlier}", counted(shown.records, "record")));
    for part in &shown.dropped {
        output::remark(&format!("{}: {}", clean(&part.stream), clean(&part.error)));
    }
    if !shown.redacted {
        output::remark("NOT redacted: the place was enabled with --no-redact");
    }
    if !shown.tail.is_empty() {
        lines.push(look::paint(look::DIM, "--- tail ---"));
        lines.extend(shown.tail.iter().map(|line| clean(line).into_owned()));
    }
    output::print_lines(&lines)
}

/// `is_all`: every place has answered.
pub(super) fn verified(all: &[MirrorVerified], is_all: bool) -> Result<(), CliError> {
    let wrong: Vec<String> = all
        .iter()
        .flat_map(|one| {
            one.wrong.iter().map(|why| format!("✗ {}{}", clean(&one.directory), clean(why)))
        })
        .collect();
    output::print_lines(&wrong)?;
    for one in all {
        for what in &one.harmless {
            output::remark(&format!("{}{}", clean(&one.directory), clean(what)));
        }
    }
    let (parts, records) =
        all.iter().fold((0, 0), |(parts, records), one| (parts + one.parts, records + one.records));
    output::remark(&format!(
        "read {} of {}, {}: {}",
        counted(parts, "part"),
        counted(all.len() as u64, "transcript"),
        counted(records, "record"),
        match (wrong.is_empty(), is_all) {
            (true, true) => "all as uploaded",
            (true, false) => "as uploaded, as far as it could be read",
            (false, _) => "not all as uploaded",
        }
    ));
    Ok(())
}

/// What becomes of what is not as uploaded, and what helps.
pub(super) fn mended(all: &[MirrorVerified]) -> &'static str {
    let is_each =
        |is: fn(&MirrorVerified) -> bool| all.iter().filter(|one| !one.wrong.is_empty()).all(is);
    if is_each(|one| one.stays_out) {
        "what stays out of a place is not brought there again: rrd mirror list tells how it is with each session"
    } else if is_each(|one| one.wrong.len() == one.foreign.len()) {
        "what is named counts for nobody: delete it there, then verify once more"
    } else {
        "what a transcript here still has, and this host mirrors, is being brought again: rrd mirror run waits for that, \
         then verify once more"
    }
}

pub(super) fn list(list: &[Mirrored]) -> Result<(), CliError> {
    if list.is_empty() {
        output::remark("nothing is mirrored; rrd mirror status says why");
        return Ok(());
    }
    let now = clock::now();
    let mut rows =
        vec![header(&["SESSION", "HARNESS", "PLACE", "PARTS", "SIZE", "BEHIND", "LAST", "TITLE"])];
    let mut above: Option<&Mirrored> = None;
    rows.extend(list.iter().map(|one| {
        let id = clean(&one.session_id);
        let is_below =
            |above: &Mirrored| above.url == one.url && one.directory.starts_with(&above.directory);
        let id = match &one.agent {
            Some(_) if above.is_some_and(is_below) => format!("└ {}", fit_end(&id, 12)),
            _ => fit_end(&id, 12).into_owned(),
        };
        above = if one.agent.is_none() { Some(one) } else { above };
        let by = one.by.as_ref().map(|host| match one.state {
            CoverageState::Diverged => format!("not what {} mirrors", clean(host)),
            _ => format!("by {}", clean(host)),
        });
        let by = by.or_else(|| match one.state {
            CoverageState::Stopped => Some("stopped by you".to_owned()),
            CoverageState::Excluded => Some("left out by your choice of sessions".to_owned()),
            CoverageState::Held => Some("held back: its repository is not known".to_owned()),
            CoverageState::Expired => Some("over for too long".to_owned()),
            _ => None,
        });
        let behind = match one.bytes_behind {
            None if one.state == CoverageState::Diverged => "?".to_owned(),
            None => "-".to_owned(),
            // Of a transcript in which nothing is, nothing is missing; what a database has is not known.
            Some(0) if one.parts == 0 && one.state != CoverageState::Mirrored => {
                "all of it".to_owned()
            }
            Some(0) => "-".to_owned(),
            Some(bytes) => size(bytes),
        };
        vec![
            id,
            clean(one.harness.as_str()).into_owned(),
            clean(&one.url).into_owned(),
            one.parts.to_string(),
            size(one.uploaded_bytes),
            behind,
            one.last_uploaded_at.map_or("-".to_owned(), |at| rrd_proto::age(now, at).to_string()),
            by.unwrap_or_else(|| one.title.as_deref().map(clean).unwrap_or_default().into_owned()),
        ]
    }));
    table(rows, list.iter().map(|one| &*one.url))?;
    output::remark("this host's; rrd mirror list --from-bucket shows what other hosts put there");
    Ok(())
}

/// What lies in buckets, whoever put it there.
pub(super) fn found(all: &[MirrorFound]) -> Result<(), CliError> {
    if all.is_empty() {
        output::remark("no bucket has a session; rrd mirror status names the places");
        return Ok(());
    }
    let now = clock::now();
    let mut rows = vec![header(&[
        "SESSION", "HARNESS", "PLACE", "HOST", "PARTS", "SIZE", "LAST", "REPO", "TITLE",
    ])];
    rows.extend(all.iter().map(|one| {
        let text = |text: &Option<String>| {
            text.as_deref().map_or("-".to_owned(), |text| fit_end(&clean(text), 32).into_owned())
        };
        let title = one.title.as_deref().map(|title| clean(title).into_owned());
        vec![
            fit_end(&clean(&one.session_id), 12).into_owned(),
            clean(one.harness.as_str()).into_owned(),
            clean(&one.url).into_owned(),
            text(&one.host),
            one.parts.to_string(),
            size(one.bytes),
            one.last_uploaded_at.map_or("-".to_owned(), |at| rrd_proto::age(now, at).to_string()),
            text(&one.repo),
            title
                .or_else(|| one.cwd.as_deref().map(|cwd| clean(cwd).into_owned()))
                .unwrap_or_default(),
        ]
    }));
    table(rows, all.iter().map(|one| &*one.url))?;
    output::remark("rrd resume ID --from bucket goes on with one; rrd mirror show ID reads it");
    Ok(())
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Columns as wide as what is in them; the third, the place, only where there are several.
fn table<'u>(
    mut rows: Vec<Vec<String>>,
    places: impl Iterator<Item = &'u str>,
) -> Result<(), CliError> {
    if places.collect::<BTreeSet<_>>().len() < 2 {
        rows.iter_mut().for_each(|row| drop(row.remove(2)));
    }
    let last = rows[0].len() - 1;
    let widths: Vec<usize> =
        (0..last).map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0)).collect();
    let columns = output::columns();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&pad(cell, *width));
                line.push_str("  ");
            }
            line.push_str(&row[last]);
            match columns {
                Some(columns) => fit_end(line.trim_end(), columns).into_owned(),
                None => line.trim_end().to_owned(),
            }
        })
        .collect();
    lines[0] = look::paint(look::DIM, &lines[0]);
    output::print_lines(&lines)
}
