//! The binary (placeholder until the commands stand).

fn main() {}
