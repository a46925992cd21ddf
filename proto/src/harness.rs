//! The programs that run agents and write the logs rrd follows.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A harness by name; a name this release does not know is kept as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Harness {
    /// Anthropic's Claude Code.
    ClaudeCode,
    /// OpenAI's Codex CLI.
    Codex,
    /// OpenClaw, formerly Clawdbot and Moltbot.
    OpenClaw,
    /// Nous Research's Hermes.
    Hermes,
    /// Mario Zechner's pi.
    Pi,
    /// A harness a newer release follows.
    Other(String),
}

impl Harness {
    /// The name used in tables, JSON, configuration and ids.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::OpenClaw => "openclaw",
            Self::Hermes => "hermes",
            Self::Pi => "pi",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Harness {
    fn from(name: &str) -> Self {
        match name {
            "claude-code" => Self::ClaudeCode,
            "codex" => Self::Codex,
            "openclaw" => Self::OpenClaw,
            "hermes" => Self::Hermes,
            "pi" => Self::Pi,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Harness {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Harness".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "claude-code, codex, openclaw, hermes, pi, …"})
    }
}

impl Serialize for Harness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Harness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self::from(name.as_str()))
    }
}
