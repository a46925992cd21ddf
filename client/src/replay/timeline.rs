//! The instrument of the replay: its rule is [`rrd_proto::timeline`], which the page and exports go by, too.

pub(crate) use rrd_proto::timeline::{Axis, Bucket, is_edit, is_error, waits};

#[cfg(test)]
#[path = "timeline_tests.rs"]
pub(crate) mod tests;
