//! `rrd bind`: what sessions ask each other for.
//!
//! Not here: how a binding stands (the daemon's), and how it is drawn ([`crate::graph`]).

use anstyle::Style;
use rrd_proto::{
    Timestamp,
    binding::{BindCall, Binding, BindingDeed, BindingEnd, BindingState, Scope},
};

use crate::{
    cli, clock,
    connect::{self, Connection, Unreachable},
    error::{CliError, Kind},
    grid, local, look, output,
    text::{clean, fit_both, fit_end, width},
};

/// Columns that a session may have in the list.
const NAME: usize = 36;
/// And must have: with less, a binding has several lines.
const LEAST_NAME: usize = 12;

pub(crate) fn run(bind: &cli::Bind) -> Result<(), CliError> {
    let config = local::config(None)?;
    let daemon = connect::dial(&config.dirs.socket).map_err(Unreachable::into_error)?;
    match bind {
        cli::Bind::Request(args) => {
            let call = BindCall::Request {
                from: args.from.clone(),
                to: args.to.clone(),
                scopes: args.scopes.clone(),
                note: args.note.clone(),
            };
            let binding = one(&daemon, &call)?;
            done(&binding, args.json)?;
            if !args.json {
                let id = clean(&binding.id);
                output::remark(&format!("rrd bind accept {id}, or reject, on any host answers it"));
            }
            Ok(())
        }
        cli::Bind::Accept(args) => decide(&daemon, args, BindingDeed::Accept),
        cli::Bind::Reject(args) => decide(&daemon, args, BindingDeed::Reject),
        cli::Bind::Revoke(args) => decide(&daemon, args, BindingDeed::Revoke),
        cli::Bind::List(args) => {
            let all = daemon.bind(&BindCall::List)??;
            if args.json { output::json(&all) } else { table(&all) }
        }
        cli::Bind::Show { id, json } => {
            let binding = one(&daemon, &BindCall::Show { id: id.clone() })?;
            if *json { output::json(&binding) } else { show(&binding) }
        }
    }
}

fn decide(daemon: &Connection, args: &cli::BindId, deed: BindingDeed) -> Result<(), CliError> {
    let binding = one(daemon, &BindCall::Decide { id: args.id.clone(), deed })?;
    done(&binding, args.json)
}

fn one(daemon: &Connection, call: &BindCall) -> Result<Binding, CliError> {
    let found = daemon.bind(call)??.into_iter().next();
    found.ok_or_else(|| CliError::new(Kind::NotFound, "that binding is gone"))
}

fn done(binding: &Binding, json: bool) -> Result<(), CliError> {
    if json {
        return output::json(binding);
    }
    let Binding { id, state, from, to, scopes, .. } = binding;
    let (from, to, scopes) = (named(from), named(to), joined(scopes));
    output::print_lines(&[format!("{} is {state}: {from} asks {to} for {scopes}", clean(id))])
}

fn joined(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
}

fn named(end: &BindingEnd) -> String {
    let title = end.title.as_deref().unwrap_or(&end.session_id);
    format!("{} ({}, {})", clean(title), clean(&host(end)), clean(&end.reference))
}

fn host(end: &BindingEnd) -> String {
    end.host.clone().unwrap_or_else(|| end.node_id.to_string())
}

fn table(all: &[Binding]) -> Result<(), CliError> {
    if all.is_empty() {
        output::remark(
            "no session has asked another one for anything; rrd bind --help has examples",
        );
        return Ok(());
    }
    let now = clock::now();
    let Some(mut lines) = wide(all, now, output::columns()) else {
        let columns = output::columns().unwrap_or(usize::MAX);
        let lines: Vec<String> = all.iter().flat_map(|one| narrow(one, now, columns)).collect();
        return output::print_lines(&lines);
    };
    for (line, binding) in lines.iter_mut().skip(1).zip(all) {
        *line = look::paint(style(binding), line);
    }
    output::print_lines(&lines)
}

fn style(binding: &Binding) -> Style {
    match binding.state {
        BindingState::Pending => look::AMBER,
        BindingState::Active => look::PLAIN,
        _ => look::DIM,
    }
}

/// A line each, if it has room for all that one asks for and something of both names.
fn wide(all: &[Binding], now: Timestamp, columns: Option<usize>) -> Option<Vec<String>> {
    let header = ["ID", "STATE", "SINCE", "FROM", "TO", "SCOPES"].map(str::to_owned);
    let rows = |name: usize| {
        let cells = |binding: &Binding| {
            let end = |end: &BindingEnd| fit_end(&named(end), name).into_owned();
            [
                clean(&binding.id).into_owned(),
                binding.state.to_string(),
                since(binding.since, now),
                end(&binding.from),
                end(&binding.to),
                joined(&binding.scopes),
            ]
        };
        let rows: Vec<[String; 6]> =
            std::iter::once(header.clone()).chain(all.iter().map(cells)).collect();
        grid::lines(&rows, None)
    };
    let fits = |name: &usize| {
        let lines = rows(*name);
        columns.is_none_or(|columns| lines.iter().skip(1).all(|line| width(line) <= columns))
    };
    (LEAST_NAME..=NAME).rev().find(fits).map(rows)
}

/// Three lines: which and how it stands, between whom, for what.
fn narrow(binding: &Binding, now: Timestamp, columns: usize) -> [String; 3] {
    let Binding { id, state, from, to, scopes, .. } = binding;
    let stands = format!("{}  {state}, {}", clean(id), since(binding.since, now));
    let (from, to) = (named(from), named(to));
    let (from, to) = fit_both(&from, &to, columns.saturating_sub(width("   → ")));
    let lines = [stands, format!("  {from} → {to}"), format!("  {}", joined(scopes))];
    lines.map(|line| look::paint(style(binding), &fit_end(&line, columns)))
}

fn since(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", rrd_proto::age(now, at))
}

fn show(binding: &Binding) -> Result<(), CliError> {
    let now = clock::now();
    let end = |word: &str, end: &BindingEnd| {
        let id = format!("{}/{}/{}", host(end), end.harness, end.session_id);
        format!("  {word:<6}  {}  {}", named(end), clean(&id))
    };
    let mut lines = vec![
        format!("{}  {}, {}", clean(&binding.id), binding.state, since(binding.since, now)),
        end("from", &binding.from),
        end("to", &binding.to),
        format!("  {:<6}  {}", "for", joined(&binding.scopes)),
    ];
    if let Some(note) = &binding.note {
        lines.push(format!("  {:<6}  {}", "note", clean(note)));
    }
    if let Some(at) = binding.expires_at {
        let left = rrd_proto::span(at.as_millis().saturating_sub(now.as_millis()));
        lines.push(format!("  {:<6}  {left} from now, if nobody answers", "until"));
    }
    lines.extend(binding.history.iter().map(|step| {
        let by = step.host.clone().unwrap_or_else(|| step.node_id.to_string());
        format!("  {:<6}  {} on {}", step.what, since(step.at, now), clean(&by))
    }));
    let columns = output::columns().unwrap_or(usize::MAX);
    let lines: Vec<String> = lines.iter().map(|line| fit_end(line, columns).into_owned()).collect();
    output::print_lines(&lines)
}

#[cfg(test)]
mod tests {
    use rrd_proto::{Harness, NodeId};

    use super::*;

    #[test]
    fn names_give_way_and_neither_the_id_nor_the_scopes() {
        let end = |reference: &str| BindingEnd {
            reference: reference.to_owned(),
            host: Some("laptop".to_owned()),
            node_id: NodeId::LEAST,
            harness: Harness::Codex,
            session_id: reference.to_owned(),
            title: Some("Review the migration of the invoices and everything".to_owned()),
        };
        let binding = Binding {
            id: "k3x9a".to_owned(),
            state: BindingState::Pending,
            since: Timestamp::from_millis(0),
            from: end("aaaaa"),
            to: end("bbbbb"),
            scopes: vec![Scope::EventsRead, Scope::MessagesWrite],
            note: None,
            expires_at: None,
            history: Vec::new(),
        };
        let (all, now) = ([binding], Timestamp::from_millis(60_000));
        let plain = |line: &String| anstream::adapter::strip_str(line).to_string();
        for columns in [40, 60, 80, 100, 160] {
            let lines = wide(&all, now, Some(columns));
            assert_eq!(lines.is_some(), columns >= 80, "{columns}");
            let lines = lines.unwrap_or_else(|| narrow(&all[0], now, columns).to_vec());
            let lines: Vec<String> = lines.iter().map(plain).collect();
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
            let text = lines.join("\n");
            for word in ["k3x9a", "pending", "1m ago", "events:read, messages:write"] {
                assert!(text.contains(word), "{columns}, {word}: {text}");
            }
            assert_eq!(text.matches("Review").count(), 2, "{text}");
        }
        assert!(wide(&all, now, None).is_some());
    }
}
