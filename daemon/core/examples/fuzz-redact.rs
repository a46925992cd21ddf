//! Runs the redactor over lines made to break it: no panic, no hang, no invalid output.
//!
//!     cargo run --release -p rrd-core --example fuzz-redact -- [RUNS] [SEED]
//!
//! The same seed gives the same lines, so a failure is found again; the first one ends it.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub)]

#[path = "../tests/redact/mutate.rs"]
mod mutate;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let (runs, seed) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(1));
    let redactor = rrd_core::redact::Redactor::new();
    let mut random = mutate::Random(seed);
    for run in 0..runs {
        let line = mutate::line(&mut random);
        if let Err(wrong) = mutate::check(&redactor, &line) {
            eprintln!("run {run} of seed {seed}: {wrong}");
            return ExitCode::FAILURE;
        }
    }
    println!("{runs} runs of seed {seed}: nothing wrong");
    ExitCode::SUCCESS
}
