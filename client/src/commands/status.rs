//! `rrd status`: how each part of the daemon is, one line each.

use rrd_proto::PartStatus;

use crate::{
    cli::JsonArgs,
    connect,
    error::CliError,
    local, look, output,
    text::{clean, pad, width},
};

pub(crate) fn run(args: &JsonArgs) -> Result<(), CliError> {
    let config = local::config(None)?;
    let connection =
        connect::dial(&config.dirs.socket).map_err(connect::Unreachable::into_error)?;
    let parts = connection.status()?;
    if args.json { output::json(&parts) } else { output::print_lines(&lines(&parts)) }
}

/// One line a part, and what helps beneath those that need it.
pub(crate) fn lines(parts: &[PartStatus]) -> Vec<String> {
    let names = parts.iter().map(|part| width(&clean(&part.part))).max().unwrap_or(0);
    let mut lines = Vec::new();
    for part in parts {
        let (sign, style) = look::health_sign(part.state);
        let name = pad(&clean(&part.part), names);
        lines.push(format!("{} {name}  {}", look::paint(style, sign), clean(&part.detail)));
        if let Some(hint) = &part.hint {
            lines.push(format!("  {}  hint: {}", " ".repeat(names), clean(hint)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use rrd_proto::Health;

    use super::*;

    #[test]
    fn a_part_is_a_sign_a_sentence_and_what_helps() {
        let part = |part: &str, state, hint: Option<&str>| PartStatus {
            part: part.to_owned(),
            state,
            detail: "a\u{1b}[2J sentence".to_owned(),
            hint: hint.map(str::to_owned),
        };
        let lines = lines(&[
            part("tail", Health::Ok, None),
            part("store", Health::Failed, Some("rrd doctor")),
        ]);
        let plain = anstream::adapter::strip_str(&lines.join("\n")).to_string();
        assert_eq!(
            plain,
            "✓ tail   a[2J sentence\n✕ store  a[2J sentence\n         hint: rrd doctor"
        );
    }
}
