//! `rrd redact`: JSONL in, the same without secrets out, counts on stderr.
//!
//! Streams: no more than a line is held, whatever comes in. Not here: what is secret.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Read, Write},
};

use serde::Serialize;

use crate::{
    cli::RedactArgs,
    error::{CliError, Kind},
    local::{
        self,
        redact::{Report, Stream},
    },
    output,
    text::clean,
};

#[derive(Serialize)]
struct Found<'a> {
    line: u64,
    rule: &'a str,
    path: &'a str,
    len: usize,
}

#[derive(Serialize)]
struct Summary<'a> {
    lines: u64,
    changed: u64,
    total: u64,
    rules: BTreeMap<&'a str, u64>,
    refused: Vec<BTreeMap<&'static str, String>>,
}

pub(crate) fn run(args: &RedactArgs) -> Result<(), CliError> {
    let (redactor, refused) = local::redactor();
    if !args.json {
        for rule in &refused {
            let reason = rule.reason.trim_end().replace('\n', " ");
            output::remark(&format!(
                "redact.toml: {} does not hold: {}",
                clean(&rule.rule),
                clean(&reason)
            ));
        }
    }
    let mut report = if args.explain { Report::explaining() } else { Report::default() };
    let mut stream = Stream::new(&redactor);
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let (mut lines, mut changed, mut failed) = (0, 0, None);
    let mut input = io::stdin().lock();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let len = match input.read(&mut buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let what = format!("cannot read stdin: {error}");
                return Err(CliError::new(Kind::Internal, what).hint("rrd redact < FILE.jsonl"));
            }
        };
        // The last line has its newline if it came with one.
        let torn = len == 0 && stream.is_torn();
        let mut before = report.total();
        let mut emit = |line: u64, text: local::redact::Redacted<&[u8]>, report: &mut Report| {
            let end: &[u8] = if torn { b"" } else { b"\n" };
            if failed.is_none() {
                failed = out.write_all(text.as_ref()).and_then(|()| out.write_all(end)).err();
            }
            for found in report.take_findings() {
                explain(
                    args.json,
                    &Found { line, rule: &found.rule, path: &found.path, len: found.len },
                );
            }
            lines = line;
            changed += u64::from(report.total() > before);
            before = report.total();
        };
        match len {
            0 => stream.finish(&mut report, &mut emit),
            len => stream.feed(&buffer[..len], &mut report, &mut emit),
        }
        if let Some(error) = failed.take() {
            return Err(output::stopped(error));
        }
        if len == 0 {
            break;
        }
    }
    out.flush().map_err(output::stopped)?;
    let counts = redactor.counts(&report);
    if args.json {
        let refused = refused
            .into_iter()
            .map(|r| BTreeMap::from([("rule", r.rule), ("reason", r.reason)]))
            .collect();
        let rules = counts.into_iter().collect();
        let summary = Summary { lines, changed, total: report.total(), rules, refused };
        output::remark(&serde_json::to_string(&summary).unwrap_or_default());
        return Ok(());
    }
    for (rule, count) in &counts {
        output::remark(&format!("{count:>8}  {rule}"));
    }
    let (total, s) = (report.total(), |n: u64| if n == 1 { "" } else { "s" });
    output::remark(&format!(
        "{total} secret{} replaced in {changed} of {lines} line{}",
        s(total),
        s(lines)
    ));
    Ok(())
}

fn explain(json: bool, found: &Found<'_>) {
    if json {
        return output::remark(&serde_json::to_string(found).unwrap_or_default());
    }
    let Found { line, rule, path, len } = found;
    let path = if path.is_empty() { "(no JSON)" } else { path };
    output::remark(&format!("line {line}: {rule}, {len} bytes at {}", clean(path)));
}
