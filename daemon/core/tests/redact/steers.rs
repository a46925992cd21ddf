//! Secrets that control sequences and control strings of a terminal split.

use rrd_core::redact::Report;
use serde_json::json;

use super::REDACTOR;

#[test]
fn what_a_terminal_swallows_is_left_out_as_a_whole() {
    let long = "0;".repeat(100);
    for between in [
        "\u{1b}]8;;https://example.com/x\u{1b}\\".to_owned(),
        format!("\u{1b}]8;;https://example.com/{long}\u{7}"),
        format!("\u{1b}]8;;https://example.com/{long}\u{1b}\\"),
        format!("\u{1b}[{long}m"),
    ] {
        swallowed(&between);
    }
}

/// That a token is found which this splits, in a text and in JSON, with escapes and without, also within JSON.
fn swallowed(between: &str) {
    let text = format!("use ghp_q7Zk29vXw4Lm{between}81RtYh3Bn6Jd0Ps5Fg8Ce2Wa ok");
    let line = json!({ "content": text }).to_string();
    let ascii = |c: char| match c {
        ' '..='~' => c.to_string(),
        c => format!("\\u{:04x}", u32::from(c)),
    };
    let escaped: String = line.chars().map(ascii).collect();
    let mut outs = vec![REDACTOR.text(&text, &mut Report::default()).into_inner()];
    for line in [line, escaped] {
        for line in [json!({ "content": line }).to_string(), line] {
            let out = REDACTOR.line(line.as_bytes(), &mut Report::default()).into_inner();
            outs.push(String::from_utf8_lossy(&out).into_owned());
        }
    }
    for out in outs {
        assert!(out.contains("use [REDACTED:github-token] ok"), "{between:?}: {out:?}");
    }
}

#[test]
fn control_strings_are_left_out_in_seven_bits_and_in_eight() {
    let long = "1;".repeat(100);
    let strings = [
        ("\u{1b}]", "\u{9d}"),
        ("\u{1b}P", "\u{90}"),
        ("\u{1b}X", "\u{98}"),
        ("\u{1b}^", "\u{9e}"),
        ("\u{1b}_", "\u{9f}"),
    ];
    for opener in strings.into_iter().flat_map(|(seven, eight)| [seven, eight]) {
        for end in ["\u{1b}\\", "\u{9c}", "\u{18}", "\u{1a}"] {
            for said in ["", ";x", "8;;https://example.com/é·x", "$q\"p", &long] {
                swallowed(&format!("{opener}{said}{end}"));
            }
            swallowed(&format!("{opener}1{end}\u{200b}{opener}2{end}\u{1b}[1m"));
        }
    }
    for opener in ["\u{1b}]", "\u{9d}"] {
        swallowed(&format!("{opener}0;title\u{7}"));
        // A little over others.
        swallowed(&format!("{opener}0;\u{1b}[1mtitle\u{7}"));
    }
    for sequence in
        ["\u{9b}1;31m", "\u{9b}?25l", "\u{1b}[1;3\u{18}", "\u{9b}0;\u{1a}", "\u{1b}=", "\u{1b}(B"]
    {
        swallowed(sequence);
        swallowed(&format!("{sequence}\u{2060}{sequence}"));
    }
}

#[test]
fn what_has_no_end_swallows_nothing() {
    let token = "ghp_q7Zk29vXw4Lm81RtYh3Bn6Jd0Ps5Fg8Ce2Wa";
    for opener in ["\u{1b}]", "\u{1b}P", "\u{90}", "\u{98}", "\u{9b}", "\u{9d}", "\u{9e}", "\u{9f}"]
    {
        for text in [
            format!("a {opener} {token} b"),
            format!("a {token} {opener} {token} {opener}b"),
            // Nor is what is swallowed left as it is.
            format!("a {opener} {token}\u{9c} b"),
            format!("a {opener} ghp_q7Zk29vXw4\u{200b}Lm81RtYh3Bn6Jd0Ps5Fg8Ce2Wa\u{1b}\\ b"),
        ] {
            let out = REDACTOR.text(&text, &mut Report::default()).into_inner();
            assert!(out.starts_with("a ") && out.contains('b'), "{out:?}");
            assert!(out.contains("[REDACTED:github-token]") && !out.contains("Jd0Ps5"), "{out:?}");
        }
    }
}
