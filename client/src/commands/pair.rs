//! `rrd pair`: lets a phone look. And what it shares with `rrd open` and `rrd token`: who is let in, and
//! taking that back.
//!
//! A code is shown here and nowhere else; it is dead after its first use. Not here: who may look without.

use rrd_proto::{Looker, LookerCall, LookerCode, LookerKind, LookerReply, Timestamp};

use crate::{
    cli::{LookersArgs, PairArgs},
    clock,
    commands::fleet::unexpected,
    connect::{self, Unreachable},
    error::CliError,
    local, look, output, picture,
    text::{clean, counted, pad, width},
};

pub(crate) fn run(args: &PairArgs) -> Result<(), CliError> {
    if let Some(done) = managed(&args.lookers, LookerKind::Browser) {
        return done;
    }
    let code = code(LookerCall::Pair)?;
    if args.lookers.json {
        return output::json(&code);
    }
    show(&code, !args.no_qr)
}

/// Asks the daemon.
pub(super) fn ask(call: LookerCall) -> Result<LookerReply, CliError> {
    let config = local::config(None)?;
    let connection = connect::dial(&config.dirs.socket).map_err(Unreachable::into_error)?;
    connection.lookers(&call)?.map_err(CliError::from)
}

pub(super) fn code(call: LookerCall) -> Result<LookerCode, CliError> {
    match ask(call)? {
        LookerReply::Code(code) if !code.urls.is_empty() => Ok(code),
        _ => Err(unexpected()),
    }
}

/// Shows who is let in or takes that back, if that is what is asked for.
pub(super) fn managed(args: &LookersArgs, kind: LookerKind) -> Option<Result<(), CliError>> {
    match &args.revoke {
        Some(id) => Some(revoke(id, args.json, kind)),
        None => args.list.then(|| list(args.json, kind)),
    }
}

fn list(json: bool, kind: LookerKind) -> Result<(), CliError> {
    let LookerReply::Lookers(lookers) = ask(LookerCall::List(kind))? else {
        return Err(unexpected());
    };
    if json {
        return output::json(&lookers);
    }
    if lookers.is_empty() {
        output::remark(match kind {
            LookerKind::Browser => "no browser was let in; rrd pair lets one in",
            LookerKind::Script => "there is no token; rrd token makes one",
        });
        return Ok(());
    }
    output::print_lines(&lines(&lookers, clock::now()))
}

fn revoke(id: &str, json: bool, kind: LookerKind) -> Result<(), CliError> {
    let id = (id != "all").then(|| id.to_owned());
    let LookerReply::Revoked(count) = ask(LookerCall::Revoke { kind, id })? else {
        return Err(unexpected());
    };
    if json {
        return output::json(&serde_json::json!({ "revoked": count }));
    }
    let what = match kind {
        LookerKind::Browser => "browser",
        LookerKind::Script => "script",
    };
    let verb = if count == 1 { "is" } else { "are" };
    output::print_lines(&[format!("{} {verb} let in no more", counted(count.into(), what))])
}

fn show(code: &LookerCode, qr: bool) -> Result<(), CliError> {
    let urls: Vec<_> = code.urls.iter().map(|url| clean(url)).collect();
    if qr && output::is_terminal() {
        output::print(&picture::of(&urls[0]))?;
    }
    output::print_lines(&urls)?;
    let until = clock::time_of_day(code.until, clock::now());
    let which = if urls.len() > 1 { "one of these" } else { "this" };
    output::remark(&format!("scan it, or open {which} on the other device: once, until {until}"));
    output::remark(
        "that browser then sees every session and its transcript, redacted, for 90 days; \
         rrd pair --list and --revoke take it back",
    );
    if code.only_here {
        let why = code.note.as_ref().map(|note| format!(" ({})", clean(note))).unwrap_or_default();
        output::remark(&format!(
            "only this machine reaches that address{why}: for a phone, run Tailscale here and there"
        ));
    }
    Ok(())
}

fn lines(lookers: &[Looker], now: Timestamp) -> Vec<String> {
    let header = ["ID", "WHAT", "WHERE", "SINCE", "SEEN", "UNTIL"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(lookers.iter().map(|looker| {
        let ago = |at| format!("{} ago", rrd_proto::age(now, at));
        [
            clean(&looker.id).into_owned(),
            clean(&looker.label).into_owned(),
            looker.bound_to.as_ref().map_or("everywhere".into(), |to| clean(to)).into_owned(),
            ago(looker.made_at),
            looker.seen_at.map_or_else(|| "never".to_owned(), ago),
            looker.until.map_or_else(
                || "revoked".to_owned(),
                |until| format!("{} from now", rrd_proto::age(until, now)),
            ),
        ]
    }));
    let widths: Vec<usize> = (0..header.len())
        .map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines[0] = look::paint(look::DIM, &lines[0]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_let_in_is_a_line_each() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let phone = Looker {
            id: "1a2b3c4d".to_owned(),
            kind: LookerKind::Browser,
            label: "Safari,\u{1b} iPhone".to_owned(),
            bound_to: Some("tailnet:nPhone1CNTRL".to_owned()),
            made_at: now.plus(-7_200_000),
            seen_at: Some(now.plus(-60_000)),
            until: Some(now.plus(86_400_000)),
        };
        let script = Looker { bound_to: None, seen_at: None, until: None, ..phone.clone() };
        let shown = lines(&[phone, script], now).join("\n");
        let shown = anstream::adapter::strip_str(&shown).to_string();
        let wanted = "\
ID        WHAT            WHERE                 SINCE   SEEN    UNTIL
1a2b3c4d  Safari, iPhone  tailnet:nPhone1CNTRL  2h ago  1m ago  1d from now
1a2b3c4d  Safari, iPhone  everywhere            2h ago  never   revoked";
        assert_eq!(shown, wanted);
    }
}
