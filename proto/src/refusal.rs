//! Why the daemon did not do what it was asked: one shape for every call that can be refused.
//!
//! Not here: who refuses what.

use serde::{Deserialize, Serialize};

/// Why a call was not done, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong: lower case, one sentence, without a full stop.
    pub message: String,
    /// What else matters.
    pub facts: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
}
