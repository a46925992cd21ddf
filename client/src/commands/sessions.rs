//! `rrd sessions list`: the table, once.

use rrd_proto::{HostState, ListQuery, ListReply, Timestamp};

use crate::{
    ask::Answerer,
    cli::ListArgs,
    clock, empty,
    error::CliError,
    footer::{self, Chosen},
    local, output, table,
};

pub(crate) fn run(args: &ListArgs) -> Result<(), CliError> {
    args.raw.granted()?;
    let config = local::config(None)?;
    let answerer = Answerer::open(&config);
    let reply = narrowed(answerer.list(&query(args, clock::now()))?, args);
    if let Some(progress) = footer::progress(&reply) {
        output::remark(&progress);
    }
    for unheard in footer::unheard(&reply) {
        output::remark(&unheard);
    }
    if reply.sessions.is_empty()
        && let Some(unknown) = answerer.unknown_host(&config, args.host.as_deref())
    {
        output::remark(&unknown);
    }
    if args.json {
        return output::json(&reply.sessions);
    }
    let columns = output::columns();
    let lines: Vec<String> = if reply.sessions.is_empty() {
        empty::lines(&reply, chosen(args), reply.as_of)
    } else {
        let drawn = table::draw(&reply.sessions, reply.as_of, columns);
        let footer = footer::lines(&reply, chosen(args), reply.as_of, columns);
        drawn.into_iter().map(|line| line.text).chain([String::new()]).chain(footer).collect()
    };
    output::print_lines(&lines)
}

/// What `args` ask for, at `now`.
pub(crate) fn query(args: &ListArgs, now: Timestamp) -> ListQuery {
    ListQuery {
        all: args.all,
        open: args.open,
        host: args.host.clone(),
        harness: args.harness.clone(),
        repo: args.repo.clone(),
        status: args.status,
        since: args.since.map(|since| since.at(now)),
        raw: args.raw.raw,
    }
}

/// `--local` is about this host whatever its label is, so it is decided by the rows.
pub(crate) fn narrowed(mut reply: ListReply, args: &ListArgs) -> ListReply {
    if args.local {
        reply.sessions.retain(|session| session.host_state == HostState::Here);
    }
    reply
}

pub(crate) fn chosen(args: &ListArgs) -> Chosen {
    let filtered = args.host.is_some()
        || args.harness.is_some()
        || args.repo.is_some()
        || args.status.is_some()
        || args.since.is_some();
    Chosen { filtered, open: args.open, all: args.all }
}
