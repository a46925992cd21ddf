//! `rrd service`: hands the flags to [`crate::service`] and prints what it says.

use crate::{
    cli::{ServiceAction, ServiceArgs},
    error::{CliError, Kind},
    local, output,
    service::{self, Action},
};

pub(crate) fn run(args: &ServiceArgs) -> Result<(), CliError> {
    let action = match args.action {
        ServiceAction::Install => Action::Install,
        ServiceAction::Uninstall => Action::Uninstall,
        ServiceAction::Status => Action::Status,
        ServiceAction::Restart => Action::Restart,
    };
    if action == Action::Install {
        // A service that cannot start would only fail in the background.
        local::config(None)?;
    }
    let dirs = local::dirs().ok_or_else(|| {
        CliError::new(Kind::Config, "cannot tell your home directory").hint("set HOME")
    })?;
    let mut said = Vec::new();
    let result = service::run(action, args.print, &dirs.state, &mut said);
    output::print(&String::from_utf8_lossy(&said))?;
    result.map_err(|error| {
        let mut lines = error.message().lines();
        let said = CliError::new(Kind::Internal, lines.next().unwrap_or_default());
        let said = lines.fold(said, CliError::fact);
        if error.hint().is_empty() { said } else { said.hint(error.hint()) }
    })
}
