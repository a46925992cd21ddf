//! The replay as a state machine: keys, answers and time in, a state out.

use super::*;
use crate::table::tests::{NOW, session};

#[test]
fn it_begins_at_the_end() {
    let model = Model::new(session("b41f"), NOW);
    assert!(model.follow && model.playing.is_none());
}
