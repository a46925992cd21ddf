//! Runs random sequences of actions from a fixed seed, and makes a failing one as short as it can.
//!
//! `RRD_TORTURE_SEED` and `RRD_TORTURE_CASES` choose others. Not here: what the actions are and do.

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

/// Runs `cases` sequences of `actions`; `run` says what went wrong.
pub(crate) fn sequences<A: std::fmt::Debug>(
    seed: u64,
    cases: u32,
    actions: impl Strategy<Value = Vec<A>>,
    run: impl Fn(Vec<A>) -> Result<(), String>,
) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("RRD_TORTURE_SEED").unwrap_or(seed);
    let cases = number("RRD_TORTURE_CASES").map_or(cases, |cases| u32::try_from(cases).unwrap());
    let config =
        Config { cases, max_shrink_time: 45_000, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    match runner.run(&actions, |actions| run(actions).map_err(TestCaseError::fail)) {
        Ok(()) => {}
        Err(TestError::Fail(why, actions)) => panic!("seed {seed}: {actions:?}\n{why}"),
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
}
