//! What is recorded, and how each format writes it.

#[cfg(unix)]
use std::ffi::OsString;
use std::path::Path;

use super::host;
#[cfg(unix)]
use crate::service::host::Host;
use crate::service::{
    host::{Manager, is_build_output},
    launchd, render, systemd, windows,
};

const ODD: &str = "/opt/a b/100% \"q\" 'x' $HOME ${X}/ünï\\co\tde <&>/@BINARY@/rrd";

#[test]
fn systemd_unit_quotes_what_it_is_given() {
    let host =
        host(Manager::Systemd, ODD, &[("CODEX_HOME", "/srv/50% \"x\"\\"), ("RRD_NAME", "ü $A")]);
    let unit = systemd::file(&host);
    let lines: Vec<&str> = unit
        .lines()
        .filter(|line| line.starts_with("ExecStart=") || line.starts_with("Environment="))
        .collect();
    assert_eq!(
        lines,
        [
            r#"ExecStart="/opt/a b/100%% \"q\" 'x' $HOME ${X}/ünï\\co\tde <&>/@BINARY@/rrd" daemon"#,
            r#"Environment="CODEX_HOME=/srv/50%% \"x\"\\""#,
            r#"Environment="RRD_NAME=ü $A""#,
        ]
    );
    assert_eq!(render::systemd_binary(&unit).as_deref(), Some(ODD));
    assert!(!unit.contains("@ENVIRONMENT@"));
}

#[test]
fn systemd_is_not_given_a_program_that_it_refuses() {
    for binary in ["/a\"b/rrd", "/a'b/rrd", "/a\\b/rrd"] {
        let error = systemd::install(&host(Manager::Systemd, binary, &[])).unwrap_err();
        assert!(error.message().contains("quotes or backslashes"), "{error}");
    }
    assert!(systemd::install(&host(Manager::Systemd, "/a b%$c/é/rrd", &[])).is_ok());
}

#[test]
fn launchd_agent_escapes_what_it_is_given() {
    let host = host(Manager::Launchd, ODD, &[("CODEX_HOME", "/srv/<a> & 'b'")]);
    let agent = launchd::file(&host);
    assert!(agent.contains("\t\t<string>/opt/a b/100% &quot;q&quot; &apos;x&apos; $HOME ${X}/ünï\\co\tde &lt;&amp;&gt;/@BINARY@/rrd</string>\n\t\t<string>daemon</string>"));
    assert!(agent.contains(
        "\t<dict>\n\t\t<key>CODEX_HOME</key>\n\t\t<string>/srv/&lt;a&gt; &amp; &apos;b&apos;</string>\n\t</dict>"
    ));
    assert!(agent.contains("Library/Logs/rrd.log</string>"));
    assert_eq!(render::launchd_binary(&agent).as_deref(), Some(ODD));
}

#[test]
fn windows_task_quotes_for_the_command_line_and_for_xml() {
    let binary = "C:\\Users\\Jörg & Co\\bin 100%\\rrd.exe";
    let mut host = host(Manager::TaskScheduler, binary, &[]);
    let task = windows::file(&host);
    assert!(task.contains("<Command>conhost.exe</Command>"));
    assert!(task.contains(
        "<Arguments>--headless &quot;C:\\Users\\Jörg &amp; Co\\bin 100%\\rrd.exe&quot; daemon</Arguments>"
    ));
    assert_eq!(task.matches("<UserId>DESK\\dev &amp; co</UserId>").count(), 2);
    assert_eq!(render::windows_binary(&task).as_deref(), Some(binary));
    host.environment.push(("CODEX_HOME", "D:\\cx".to_owned()));
    assert!(windows::file(&host).contains("daemon --environment &quot;"));
    assert_eq!(render::windows_word(r#"a\\"b\"#), r#""a\\\\\"b\\""#);
}

#[test]
fn a_task_file_is_utf16_with_its_mark() {
    let bytes = render::utf16_file("<ü>\n</ü>\n");
    assert_eq!(&bytes[..6], &[0xff, 0xfe, b'<', 0, 0xfc, 0]);
    assert_eq!(bytes[8..12], [b'\r', 0, b'\n', 0]);
    assert_eq!(render::file_text(&bytes), "<ü>\n</ü>\n");
}

#[test]
fn every_file_is_marked_as_ours_and_filled_whole() {
    for manager in [Manager::Systemd, Manager::Launchd, Manager::TaskScheduler] {
        let host = host(manager, "/usr/bin/rrd", &[]);
        let text = match manager {
            Manager::Systemd => systemd::file(&host),
            Manager::Launchd => launchd::file(&host),
            Manager::TaskScheduler => windows::file(&host),
        };
        assert!(text.contains(render::MARK), "{manager:?}");
        assert!(!text.contains('@') && !text.contains("\n\n\n"), "{manager:?}: {text}");
    }
}

#[test]
fn build_output_is_told_by_its_place() {
    let tagged = |path: &Path| path == Path::new("/var/cargo-out/.rustc_info.json");
    for (path, wanted) in [
        ("/src/rrd/target/release/rrd", true),
        ("/src/rrd/target/x86_64-unknown-linux-gnu/debug/rrd", true),
        ("/var/cargo-out/release/rrd", true),
        ("/home/dev/.cargo/bin/rrd", false),
        ("/home/target/.cargo/bin/rrd", false),
        ("/usr/bin/rrd", false),
    ] {
        assert_eq!(is_build_output(Path::new(path), &tagged), wanted, "{path}");
    }
}

#[cfg(unix)]
#[test]
fn only_named_variables_are_recorded_and_relative_ones_made_absolute() {
    let vars = [
        ("HOME", "/home/dev"),
        ("CLAUDE_CONFIG_DIR", "~/.claude, more/claude"),
        ("CODEX_HOME", "cx"),
        ("OPENCLAW_STATE_DIR", "~/claw"),
        ("OPENCLAW_HOME", "claws"),
        ("PI_CODING_AGENT_SESSION_DIR", "talks"),
        ("RRD_HOME", "~/r"),
        ("RRD_SECRET", "no"),
        ("OPENAI_API_KEY", "no"),
        ("XDG_STATE_HOME", "relative"),
        ("XDG_CONFIG_HOME", "/cfg"),
        ("RRD_WATCH", ""),
        ("RRD_HTTP", "off"),
        ("RRD_TAILSCALED", "/run/ts.sock"),
    ];
    let env = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into());
    let gathered =
        Host::gather(Manager::Systemd, Path::new("/usr/bin/rrd"), Path::new("/srv"), &env).unwrap();
    assert_eq!(gathered.file, Path::new("/cfg/systemd/user/rrd.service"));
    assert_eq!(
        gathered.environment,
        [
            ("HOME", "/home/dev".to_owned()),
            ("XDG_CONFIG_HOME", "/cfg".to_owned()),
            ("RRD_HOME", "/srv/~/r".to_owned()),
            ("RRD_HTTP", "off".to_owned()),
            ("RRD_TAILSCALED", "/run/ts.sock".to_owned()),
            ("CLAUDE_CONFIG_DIR", "~/.claude,/srv/more/claude".to_owned()),
            ("CODEX_HOME", "/srv/cx".to_owned()),
            ("OPENCLAW_STATE_DIR", "~/claw".to_owned()),
            ("OPENCLAW_HOME", "/srv/claws".to_owned()),
            ("PI_CODING_AGENT_SESSION_DIR", "/srv/talks".to_owned()),
        ]
    );
}

#[cfg(unix)]
#[test]
fn line_breaks_and_other_control_characters_are_refused() {
    for (binary, root) in
        [("/a\nb/rrd", "/x"), ("/rrd", "/x\nExecStartPre=/evil"), ("/rrd", "/\u{0}")]
    {
        let env = |name: &str| match name {
            "HOME" => Some("/home/dev".into()),
            "CODEX_HOME" => Some(OsString::from(root)),
            _ => None,
        };
        let error =
            Host::gather(Manager::Systemd, Path::new(binary), Path::new("/"), &env).unwrap_err();
        assert!(error.message().contains("control character"), "{error}");
    }
    let env = |name: &str| (name == "HOME").then(|| OsString::from("/home/dev"));
    use std::os::unix::ffi::OsStrExt;
    let binary = Path::new(std::ffi::OsStr::from_bytes(b"/\xff/rrd"));
    let error = Host::gather(Manager::Systemd, binary, Path::new("/"), &env).unwrap_err();
    assert!(error.message().contains("not Unicode"), "{error}");
}
