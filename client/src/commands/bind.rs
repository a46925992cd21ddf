//! `rrd bind`: what sessions ask each other for.
//!
//! Not here: how a binding stands (the daemon's), and how it is drawn ([`crate::graph`]).

use rrd_proto::{
    Timestamp,
    binding::{BindCall, Binding, BindingDeed, BindingEnd, BindingState, Scope},
};

use crate::{
    cli, clock,
    connect::{self, Connection, Unreachable},
    error::{CliError, Kind},
    grid, local, look, output,
    text::{clean, fit_end},
};

/// Columns that a session may have in the list.
const NAME: usize = 36;

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
    let mut rows = vec![["ID", "STATE", "SINCE", "FROM", "TO", "SCOPES"].map(str::to_owned)];
    rows.extend(all.iter().map(|binding| {
        let end = |end: &BindingEnd| fit_end(&named(end), NAME).into_owned();
        [
            clean(&binding.id).into_owned(),
            binding.state.to_string(),
            since(binding.since, now),
            end(&binding.from),
            end(&binding.to),
            joined(&binding.scopes),
        ]
    }));
    let mut lines = grid::lines(&rows, output::columns());
    for (line, binding) in lines.iter_mut().skip(1).zip(all) {
        let style = match binding.state {
            BindingState::Pending => look::AMBER,
            BindingState::Active => look::PLAIN,
            _ => look::DIM,
        };
        *line = look::paint(style, line);
    }
    output::print_lines(&lines)
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
