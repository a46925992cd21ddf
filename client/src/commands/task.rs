//! `rrd task`: which session works on what.
//!
//! Not here: which of several links counts (the daemon's), and going on with the session (`rrd resume`).

use rrd_proto::{Harness, SessionKey, Task, TaskCall, TaskLink, Timestamp};

use crate::{
    ask::Answerer,
    caller, cli, clock,
    connect::{self, Connection, Unreachable},
    error::{CliError, Kind},
    grid::{give_way, lines},
    local, output,
    text::{clean, fit_end},
};

/// Columns that a task's name may have in the list.
const NAME: usize = 40;

/// And what it and an id keep where there is no room: both are known by how they begin.
const LEAST: usize = 12;

pub(crate) fn run(task: &cli::Task) -> Result<(), CliError> {
    let config = local::config(None)?;
    let daemon = connect::dial(&config.dirs.socket).map_err(Unreachable::into_error)?;
    match task {
        cli::Task::Link(args) => {
            let answerer = Answerer::Daemon(daemon);
            let hint = "name the session: rrd task link TASK ID";
            let key = caller::session(&answerer, args.id.as_deref(), hint)?.key;
            let Answerer::Daemon(daemon) = &answerer else { return Ok(()) };
            link(daemon, &args.task, key)
        }
        cli::Task::Unlink { task } => {
            one(&daemon, TaskCall::Unlink { task: task.clone() })?;
            output::remark(&format!("no session works on {} any more", clean(task)));
            Ok(())
        }
        cli::Task::List(args) => {
            let all = daemon.task(&TaskCall::List)??;
            if args.json { output::json(&all) } else { table(&all) }
        }
        cli::Task::Show { task, json } => {
            let task = one(&daemon, TaskCall::Show { task: task.clone() })?;
            if *json { output::json(&task) } else { show(&task) }
        }
    }
}

/// Links a task, and says so.
pub(crate) fn link(daemon: &Connection, task: &str, key: SessionKey) -> Result<(), CliError> {
    let said = format!("{} works on {} from now on", clean(&key.to_string()), clean(task));
    one(daemon, TaskCall::Link { task: task.to_owned(), key })?;
    output::remark(&said);
    Ok(())
}

/// The session that works on a task.
pub(crate) fn session(daemon: &Connection, task: &str) -> Result<SessionKey, CliError> {
    let found = one(daemon, TaskCall::Show { task: task.to_owned() })?;
    found.link.key().ok_or_else(|| {
        CliError::new(Kind::NotFound, format!("no session works on {} any more", clean(task)))
            .hint("rrd task show tells which ones did; rrd resume ID goes on with one of them")
    })
}

fn one(daemon: &Connection, call: TaskCall) -> Result<Task, CliError> {
    let found = daemon.task(&call)??.into_iter().next();
    found.ok_or_else(|| CliError::new(Kind::Internal, "the daemon answered something else"))
}

fn table(all: &[Task]) -> Result<(), CliError> {
    if all.is_empty() {
        output::remark("no task is linked; rrd task --help has examples");
        return Ok(());
    }
    let (now, columns) = (clock::now(), output::columns());
    let mut rows =
        vec![["TASK", "HARNESS", "SESSION", "LINKED", "BY", "BEFORE"].map(str::to_owned)];
    rows.extend(all.iter().map(|task| {
        let [harness, session, linked, by] = cells(&task.link, now);
        let name = fit_end(&clean(&task.task), NAME).into_owned();
        [name, harness, session, linked, by, task.history.len().to_string()]
    }));
    [2, 0].iter().for_each(|at| give_way(&mut rows, *at, LEAST, columns));
    output::print_lines(&lines(&rows, columns))
}

fn show(task: &Task) -> Result<(), CliError> {
    let (now, columns) = (clock::now(), output::columns());
    let mut rows = vec![["", "HARNESS", "SESSION", "LINKED", "BY"].map(str::to_owned)];
    for (at, link) in std::iter::once(&task.link).chain(&task.history).enumerate() {
        let [harness, session, linked, by] = cells(link, now);
        rows.push([
            if at == 0 { "now" } else { "before" }.to_owned(),
            harness,
            session,
            linked,
            by,
        ]);
    }
    give_way(&mut rows, 2, LEAST, columns);
    let title = [clean(&task.task).into_owned()];
    let lines: Vec<String> = title.into_iter().chain(lines(&rows, columns)).collect();
    output::print_lines(&lines)
}

fn cells(link: &TaskLink, now: Timestamp) -> [String; 4] {
    let text = |text: Option<&str>| text.map_or("-".to_owned(), |text| clean(text).into_owned());
    let by = link.host.clone().unwrap_or_else(|| link.node_id.to_string());
    [
        text(link.harness.as_ref().map(Harness::as_str)),
        text(link.session_id.as_deref()),
        format!("{} ago", rrd_proto::age(now, link.linked_at)),
        text(Some(&by)),
    ]
}
