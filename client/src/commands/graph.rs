//! `rrd graph`: who waits for whom, and what a person must do first.
//!
//! Not here: how it is drawn ([`crate::graph`]), and how it is made (`rrd_core::graph`).

use crate::{
    cli::{GraphArgs, GraphFormat},
    clock, connect,
    error::CliError,
    graph, local, output,
};

pub(crate) fn run(args: &GraphArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let connection =
        connect::dial(&config.dirs.socket).map_err(connect::Unreachable::into_error)?;
    let graph = connection.graph()?;
    match if args.json { GraphFormat::Json } else { args.format } {
        GraphFormat::Json => output::json(&graph),
        GraphFormat::Dot => output::print_lines(&graph::text::dot(&graph)),
        GraphFormat::Mermaid => output::print_lines(&graph::text::mermaid(&graph)),
        GraphFormat::Tree => {
            let lines = graph::tree::lines(&graph, clock::now(), output::columns());
            if lines.is_empty() {
                output::remark("nobody waits, and nothing ties two sessions");
            }
            output::print_lines(&lines)
        }
    }
}
