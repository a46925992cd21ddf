//! Any bytes through the redactor: no panic, a second run changes nothing, JSON stays JSON.
//!
//! The checks are those of the `fuzz-redact` example. Not here: lines made from secrets, which the
//! example makes by itself.
#![no_main]

#[allow(dead_code)] // Only the check is of use here: the fuzzer makes the lines.
#[path = "../../tests/redact/mutate.rs"]
mod mutate;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rrd_core::redact::Redactor;

static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);

fuzz_target!(|line: &[u8]| {
    // A record has no newline.
    for line in line.split(|b| *b == b'\n') {
        if let Err(wrong) = mutate::check(&REDACTOR, line) {
            panic!("{wrong}");
        }
    }
});
