//! Whether hooks may tell sessions of their messages: `[messages] deliver`.
//!
//! Off unless a person says otherwise: a hook that prints something speaks to a model.

use serde::Deserialize;

use super::{ConfigError, Settle, value_error};

/// What config.toml says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MessagesFile {
    pub(super) deliver: Option<bool>,
}

pub(super) fn settle(settle: Settle<'_>, of_file: Option<String>) -> Result<bool, ConfigError> {
    const KEY: &str = "messages.deliver";
    let default = "false".to_owned();
    let (deliver, from) = settle(KEY, None, "RRD_MESSAGES_DELIVER", of_file, default);
    let wrong = |_| value_error(KEY, &from, format!("`{deliver}` is neither true nor false"));
    deliver.parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SettingSource;

    #[test]
    fn hooks_are_silent_unless_somebody_says_otherwise() {
        let settled = |value: Option<&str>| {
            let mut source = |_: &str, _, _: &str, file: Option<String>, default: String| {
                (file.unwrap_or(default), SettingSource::File)
            };
            settle(&mut source, value.map(str::to_owned))
        };
        assert!(!settled(None).unwrap());
        assert!(settled(Some("true")).unwrap());
        assert!(settled(Some("yes")).is_err());
    }
}
