//! `rrd graph`: its flags.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// How it is written.
    #[arg(long, value_enum, default_value_t = GraphFormat::Tree)]
    pub(crate) format: GraphFormat,
    /// Print JSON: the same as --format json.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// What must be done first, and who waits for it.
    Tree,
    /// For Graphviz.
    Dot,
    /// For pages that draw Mermaid.
    Mermaid,
    /// Nodes, edges, chains and circles.
    Json,
}
