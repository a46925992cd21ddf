//! How fast the redactor is with the records it is given, of one core, the best of five.
//!
//!     cargo run --release -p rrd-core --example redact-speed -- [FILE]...
//!
//! All lines of the given files together, then lines that are full of what is not seen: emoji, half of them
//! escaped, and a build's colours, with a zero width in each line.
#![allow(clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

use std::{hint::black_box, time::Instant};

use rrd_core::redact::{Redactor, Report};

const ROUNDS: usize = 5;
/// Bytes of lines that are made here.
const MADE: usize = 8 << 20;

fn made(lines: &[&str]) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < MADE {
        for (number, line) in lines.iter().enumerate() {
            all.extend_from_slice(
                format!(
                    "{{\"type\":\"user\",\"message\":{{\"role\":\"user\",\"content\":\"{number}: "
                )
                .as_bytes(),
            );
            for _ in 0..8 {
                all.extend_from_slice(line.as_bytes());
            }
            all.extend_from_slice(b"\"}}\n");
        }
    }
    all
}

fn main() -> std::io::Result<()> {
    let redactor = Redactor::new();
    let mut given = Vec::new();
    for path in std::env::args_os().skip(1) {
        given.extend(std::fs::read(path)?);
    }
    let emoji = made(&[
        "\u{2705} Done: the parser \u{1f680} is faster \u{26a0}\u{fe0f} but see \u{1f468}\u{200d}\u{1f4bb} below.\\n",
        "\\u2705 Done: the parser \\ud83d\\ude80 is faster \\u26a0\\ufe0f but see \\ud83d\\udc68\\u200d\\ud83d\\udcbb below.\\n",
    ]);
    let colours = made(&[
        "\\u001b[1m\\u001b[32m   Compiling\\u001b[0m rrd-core v0.1.0 (daemon/core)\\n\\u001b[33mwarning\\u001b[0m: unused\\u200b variable\\n",
    ]);
    for (name, lines) in [("given", given), ("emoji", emoji), ("colours", colours)] {
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for line in lines.split(|b| *b == b'\n') {
                black_box(redactor.line(line, &mut Report::default()));
            }
            best = best.min(began.elapsed().as_secs_f64());
        }
        println!(
            "{name:8} {:6.1} MB  {:5.0} MB/s",
            lines.len() as f64 / 1e6,
            lines.len() as f64 / best / 1e6
        );
    }
    Ok(())
}
