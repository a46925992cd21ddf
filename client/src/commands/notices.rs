//! `rrd notify`: what tells people something, and whether it does.
//!
//! Not here: what is told and when (the daemon's), and the settings of it.

use std::time::Duration;

use rrd_proto::{NoticeKind, NotifyCall, NotifyReply, SinkStatus, SinkTest, Timestamp, age};

use crate::{
    cli, clock, connect,
    error::{CliError, Kind},
    local, look, output,
    text::{clean, fit_end, pad, width},
};

/// A sink may take twelve seconds, and all are tried at once.
const WAIT: Duration = Duration::from_secs(20);

pub(crate) fn run(notify: &cli::Notify) -> Result<(), CliError> {
    let config = local::config(None)?;
    let dial = || connect::dial(&config.dirs.socket).map_err(connect::Unreachable::into_error);
    match notify {
        cli::Notify::Status(args) => {
            let NotifyReply::Status(sinks) = dial()?.notify(&NotifyCall::Status, WAIT)?? else {
                return Err(something_else());
            };
            if args.json { output::json(&sinks) } else { status(&sinks) }
        }
        cli::Notify::Test(args) => {
            let call = NotifyCall::Test { sink: args.sink.clone() };
            let NotifyReply::Tested(tests) = dial()?.notify(&call, WAIT)?? else {
                return Err(something_else());
            };
            match args.json {
                true => output::json(&tests)?,
                false => output::print_lines(&tests.iter().map(tested).collect::<Vec<_>>())?,
            }
            let failed = tests.iter().filter(|test| test.error.is_some()).count();
            match failed {
                0 => Ok(()),
                _ => Err(CliError::new(
                    Kind::NotFound,
                    format!("{failed} of {} could not be told", tests.len()),
                )
                .hint("rrd config shows what is set; rrd notify --help has examples")),
            }
        }
    }
}

fn something_else() -> CliError {
    CliError::new(Kind::Internal, "the daemon answered something else")
}

fn tested(test: &SinkTest) -> String {
    let name = clean(&test.name);
    match &test.error {
        None => format!(
            "{} {name}  told in {} ms",
            look::paint(look::health_sign(rrd_proto::Health::Ok).1, "✓"),
            test.took_ms
        ),
        Some(error) => {
            let (sign, style) = look::health_sign(rrd_proto::Health::Failed);
            format!("{} {name}  {}", look::paint(style, sign), clean(error))
        }
    }
}

fn status(sinks: &[SinkStatus]) -> Result<(), CliError> {
    if sinks.is_empty() {
        output::remark("nothing is told anywhere; rrd notify --help shows what config.toml needs");
        return Ok(());
    }
    let (now, columns) = (clock::now(), output::columns().unwrap_or(usize::MAX));
    let mut rows = vec![["SINK", "WHERE", "TOLD BY", "SENT", "LAST", "WAITING"].map(str::to_owned)];
    rows.extend(sinks.iter().map(|sink| cells(sink, now)));
    let widths: Vec<usize> =
        (0..6).map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0)).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| pad(cell, *width)).collect();
        fit_end(cells.join("  ").trim_end(), columns).into_owned()
    };
    let mut lines = vec![look::paint(look::DIM, &line(&rows[0]))];
    for (row, sink) in rows[1..].iter().zip(sinks) {
        lines.push(line(row));
        let event = |kind: &NoticeKind| match sink.tellers.get(kind) {
            Some(teller) => format!("{kind} (by {})", clean(teller)),
            None => kind.to_string(),
        };
        let events: Vec<String> = sink.events.iter().map(event).collect();
        lines.push(fit_end(&format!("    tells {}", events.join(", ")), columns).into_owned());
        lines.extend(wrong(sink, now));
    }
    output::print_lines(&lines)
}

fn cells(sink: &SinkStatus, now: Timestamp) -> [String; 6] {
    let teller = match (sink.local, &sink.teller) {
        (true, _) => "each host".to_owned(),
        (false, Some(_)) if !sink.tellers.is_empty() => format!("by event, of {}", sink.hosts),
        (false, Some(teller)) if sink.hosts > 1 => format!("{teller}, of {}", sink.hosts),
        (false, teller) => teller.clone().unwrap_or_else(|| "-".to_owned()),
    };
    let waiting = match sink.held {
        0 => sink.waiting.to_string(),
        held => format!("{} ({held} held back)", sink.waiting),
    };
    [
        clean(&sink.name).into_owned(),
        fit_end(&clean(&sink.target), 40).into_owned(),
        clean(&teller).into_owned(),
        sink.sent.to_string(),
        sink.last_sent_at.map_or("-".to_owned(), |at| format!("{} ago", age(now, at))),
        waiting,
    ]
}

fn wrong(sink: &SinkStatus, now: Timestamp) -> Option<String> {
    let error = sink.error.as_ref()?;
    let since = sink.failing_since.map(|at| age(now, at)).unwrap_or_default();
    let lost = match sink.lost {
        0 => String::new(),
        lost => format!(", {lost} given up"),
    };
    let (sign, style) = look::health_sign(rrd_proto::Health::Failed);
    let sign = look::paint(style, sign);
    Some(format!(
        "    {sign} failing for {since}, {} attempts{lost}: {}",
        sink.failed,
        clean(error)
    ))
}
