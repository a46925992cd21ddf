//! `rrd graph`: who waits for whom, and what a person must do first.
//!
//! Not here: how it is drawn ([`crate::graph`]), and how it is made (`rrd_core::graph`).

use crate::{
    cli::{GraphArgs, GraphFormat},
    clock, connect,
    error::CliError,
    graph, local, output, text,
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
                let ties = graph.edges.len() as u64;
                output::remark(&match ties {
                    0 => "nobody waits, and nothing ties two sessions".to_owned(),
                    _ => format!(
                        "nobody waits; {} that ask for nothing are in rrd graph --json",
                        text::counted(ties, "tie")
                    ),
                });
            }
            output::print_lines(&lines)
        }
    }
}
