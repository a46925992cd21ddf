//! `rrd completions SHELL`: a completion script on stdout.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{cli::Cli, error::CliError, output};

pub(crate) fn run(shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "rrd", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
