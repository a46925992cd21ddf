//! `rrd config`: every setting in force, and where it came from.

use serde::Serialize;

use crate::{
    cli::JsonArgs,
    error::CliError,
    local, look, output,
    text::{clean, pad, width},
};

#[derive(Serialize)]
struct Row {
    key: String,
    value: String,
    source: String,
}

pub(crate) fn run(args: &JsonArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let rows: Vec<Row> = config
        .settings()
        .iter()
        .map(|s| Row { key: s.key.clone(), value: s.value.clone(), source: s.source.to_string() })
        .collect();
    if args.json {
        return output::json(&rows);
    }
    let column = |of: fn(&Row) -> &str| {
        rows.iter().map(|row| width(&clean(of(row)))).max().unwrap_or(0).max("VALUE".len())
    };
    let (keys, values) = (column(|r| &r.key), column(|r| &r.value));
    let line = |key: &str, value: &str, source: &str| {
        format!("{}  {}  {source}", pad(&clean(key), keys), pad(&clean(value), values))
    };
    let mut lines = vec![look::paint(look::DIM, &line("KEY", "VALUE", "FROM"))];
    lines.extend(rows.iter().map(|row| line(&row.key, &row.value, &clean(&row.source))));
    lines.push(String::new());
    let file = &config.dirs.config_file;
    let there = if file.exists() { "" } else { " (not there)" };
    lines.push(format!("config.toml is {}{there}", clean(&file.display().to_string())));
    output::print_lines(&lines)
}
