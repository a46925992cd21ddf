//! `rrd sessions forget`: takes a session out of rrd, for good.
//!
//! Only a daemon can: it holds the index. Not here: what goes with it.

use rrd_proto::{HostState, LookupQuery};

use crate::{
    ask::Answerer,
    cli::ForgetArgs,
    connect,
    error::{CliError, Kind},
    local, output, table,
    text::{clean, counted},
};

pub(crate) fn run(args: &ForgetArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let connection = connect::dial(&config.dirs.socket).map_err(|why| {
        CliError::new(Kind::NoDaemon, format!("{why}: only a daemon can forget")).hint(why.remedy())
    })?;
    let answerer = Answerer::Daemon(connection);
    let session = answerer.find(&args.id, false)?;
    let Answerer::Daemon(connection) = &answerer else { return Ok(()) };
    let id = format!("{}/{}/{}", session.host, session.harness, session.session_id);
    if !args.yes && session.host_state == HostState::Here {
        let goes_on = if session.live == Some(true) { " It is still running." } else { "" };
        let title = table::title(&session);
        let question = format!(
            "Forget {} ({}), and all that is kept of it, for good?{goes_on}",
            clean(&title),
            clean(&session.session_id)
        );
        match output::ask(&question) {
            Some(true) => {}
            Some(false) => return Err(CliError::new(Kind::Usage, "nothing was forgotten")),
            None => {
                let error = CliError::new(Kind::Usage, "nobody to ask whether it may be forgotten");
                return Err(error.hint("--yes forgets it without asking"));
            }
        }
    }
    let forgotten = connection.forget(&LookupQuery { id, raw: false })?.map_err(CliError::from)?;
    output::remark(&format!("forgot {}", counted(forgotten.sessions, "session")));
    Ok(())
}
