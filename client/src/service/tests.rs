//! Files and commands as they would be on each platform, asserted on all of them.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Action, ServiceError,
    host::{Host, Manager, is_build_output},
    launchd,
    plan::{Answer, System},
    render, run_on, systemd, windows,
};

const ODD: &str = "/opt/a b/100% \"q\" 'x' $HOME ${X}/ünï\\co\tde <&>/@BINARY@/rrd";

fn host(manager: Manager, binary: &str, environment: &[(&'static str, &str)]) -> Host {
    Host {
        manager,
        binary: binary.to_owned(),
        file: PathBuf::from("/home/dev/.config/systemd/user/rrd.service"),
        home: PathBuf::from("/home/dev"),
        environment: environment.iter().map(|&(n, v)| (n, v.to_owned())).collect(),
        user: "DESK\\dev & co".to_owned(),
    }
}

/// A machine that only remembers: files in a map, commands answered from a list.
#[derive(Default)]
struct Fake {
    files: BTreeMap<PathBuf, Vec<u8>>,
    ran: Vec<String>,
    /// Commands that contain the text answer so; each entry is used once, all others succeed.
    answers: VecDeque<(&'static str, bool, &'static str)>,
    paused: u32,
}

impl System for Fake {
    fn run(&mut self, argv: &[String]) -> io::Result<Answer> {
        let command = argv.join(" ");
        let found = self.answers.iter().position(|(part, ..)| command.contains(part));
        self.ran.push(command);
        let (_, success, text) =
            found.and_then(|at| self.answers.remove(at)).unwrap_or(("", true, ""));
        Ok(Answer { success, text: text.to_owned() })
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.files.insert(path.to_owned(), bytes.to_owned());
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn pause(&mut self, _time: Duration) {
        self.paused += 1;
    }
}

impl Fake {
    fn act(&mut self, host: &Host, action: Action, print: bool) -> Result<String, ServiceError> {
        let mut out = Vec::new();
        run_on(host, false, action, print, Path::new("/home/dev/state"), self, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }
}

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
fn systemd_install_runs_these_commands_and_again_changes_nothing() {
    let host = host(Manager::Systemd, "/usr/bin/rrd", &[]);
    let mut fake = Fake::default();
    let said = fake.act(&host, Action::Install, false).unwrap();
    assert_eq!(
        fake.ran,
        [
            "systemctl --user show-environment",
            "systemctl --user daemon-reload",
            "systemctl --user enable rrd.service",
            "systemctl --user restart rrd.service",
            "loginctl --no-ask-password enable-linger",
        ]
    );
    assert_eq!(fake.files[&host.file], systemd::file(&host).into_bytes());
    assert!(said.contains("wrote /home/dev/.config/systemd/user/rrd.service"), "{said}");
    let files = fake.files.clone();
    let said = fake.act(&host, Action::Install, false).unwrap();
    assert!(said.contains("unchanged "), "{said}");
    assert_eq!(fake.files, files);
}

#[test]
fn a_unit_outside_the_usual_place_is_enabled_by_its_path() {
    let mut host = host(Manager::Systemd, "/usr/bin/rrd", &[]);
    host.file = PathBuf::from("/cfg/systemd/user/rrd.service");
    let mut fake = Fake::default();
    fake.act(&host, Action::Install, false).unwrap();
    assert_eq!(fake.ran[2], "systemctl --user enable /cfg/systemd/user/rrd.service");
    assert_eq!(fake.ran[3], "systemctl --user restart rrd.service");
}

#[test]
fn without_a_user_manager_nothing_is_written() {
    let host = host(Manager::Systemd, "/usr/bin/rrd", &[]);
    let mut fake = Fake::default();
    fake.answers.push_back(("show-environment", false, "Failed to connect to bus"));
    let error = fake.act(&host, Action::Install, false).unwrap_err();
    assert!(error.message().contains("Failed to connect to bus"), "{error}");
    assert!(error.hint().contains("`rrd daemon` in the foreground"), "{}", error.hint());
    assert!(fake.files.is_empty());
    assert_eq!(fake.ran.len(), 1);
}

#[test]
fn without_linger_the_rest_goes_on_and_it_is_said() {
    let host = host(Manager::Systemd, "/usr/bin/rrd", &[]);
    let mut fake = Fake::default();
    fake.answers.push_back(("enable-linger", false, "Access denied"));
    let said = fake.act(&host, Action::Install, false).unwrap();
    assert!(
        said.contains("Access denied") && said.contains("sudo loginctl enable-linger"),
        "{said}"
    );
}

#[test]
fn launchd_waits_for_the_old_daemon_to_go() {
    let host = host(Manager::Launchd, "/usr/local/bin/rrd", &[]);
    let mut fake = Fake::default();
    fake.answers.extend([
        ("id -u", true, "501"),
        ("bootstrap", false, "Bootstrap failed: 5: Input/output error"),
    ]);
    fake.act(&host, Action::Install, false).unwrap();
    assert_eq!(
        fake.ran[1..],
        [
            "launchctl bootout gui/501/dev.rrd.daemon",
            "launchctl enable gui/501/dev.rrd.daemon",
            "launchctl bootstrap gui/501 /home/dev/.config/systemd/user/rrd.service",
            "launchctl bootstrap gui/501 /home/dev/.config/systemd/user/rrd.service",
            "launchctl kickstart gui/501/dev.rrd.daemon",
        ]
    );
    assert_eq!(fake.paused, 1);
}

#[test]
fn windows_install_hands_the_file_over_and_records_the_environment() {
    let host = host(Manager::TaskScheduler, "C:\\rrd.exe", &[("RRD_HOME", "C:\\r = x")]);
    let mut fake = Fake::default();
    fake.act(&host, Action::Install, false).unwrap();
    assert_eq!(
        fake.ran,
        [
            "schtasks /Create /TN rrd /XML /home/dev/.config/systemd/user/rrd.service /F",
            "schtasks /End /TN rrd",
            "schtasks /Run /TN rrd",
        ]
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("environment.txt");
    std::fs::write(&path, &fake.files[&host.file.with_file_name("environment.txt")]).unwrap();
    let read = windows::read_environment(&path).unwrap();
    assert_eq!(read, [("RRD_HOME".to_owned(), OsString::from("C:\\r = x"))]);
}

#[test]
fn print_shows_everything_and_changes_nothing() {
    for manager in [Manager::Systemd, Manager::Launchd, Manager::TaskScheduler] {
        for action in [Action::Install, Action::Uninstall, Action::Status, Action::Restart] {
            let host = host(manager, "/usr/bin/rrd", &[("CODEX_HOME", "/cx")]);
            let mut fake = Fake::default();
            fake.answers.push_back(("id -u", true, "501"));
            let said = fake.act(&host, action, true).unwrap();
            assert!(fake.files.is_empty());
            assert!(fake.ran.iter().all(|command| command == "id -u"), "{:?}", fake.ran);
            assert!(said.contains("# would run"), "{said}");
        }
    }
}

#[test]
fn a_file_that_rrd_did_not_write_is_left_alone() {
    let host = host(Manager::Systemd, "/usr/bin/rrd", &[]);
    let mut fake = Fake::default();
    fake.files.insert(host.file.clone(), b"[Service]\nExecStart=/mine\n".to_vec());
    let error = fake.act(&host, Action::Install, false).unwrap_err();
    assert!(error.message().contains("rrd did not write it"), "{error}");
    assert_eq!(fake.ran, ["systemctl --user show-environment"]);
}

#[test]
fn uninstall_removes_the_file_and_says_what_stays() {
    let host = host(Manager::Systemd, "/usr/bin/rrd", &[]);
    let mut fake = Fake::default();
    fake.act(&host, Action::Install, false).unwrap();
    let said = fake.act(&host, Action::Uninstall, false).unwrap();
    assert!(fake.files.is_empty());
    assert!(said.contains("removed /home/dev/.config/systemd/user/rrd.service"), "{said}");
    assert!(said.contains("left in place: /home/dev/state"), "{said}");
    // Nothing there: still not an error.
    fake.act(&host, Action::Uninstall, false).unwrap();
}

#[test]
fn status_tells_whether_it_runs_and_which_binary() {
    let installed = host(Manager::Systemd, "/usr/bin/rrd", &[]);
    let mut fake = Fake::default();
    let said = fake.act(&installed, Action::Status, false).unwrap();
    assert!(said.contains("installed  no") && said.contains("rrd service install"), "{said}");
    assert!(fake.ran.is_empty());
    fake.act(&installed, Action::Install, false).unwrap();
    fake.answers.push_back(("is-active", true, "active"));
    let said = fake.act(&installed, Action::Status, false).unwrap();
    assert!(said.contains("running    yes: active"), "{said}");
    assert!(!said.contains("note:") && !said.contains("hint:"), "{said}");
    let other = host(Manager::Systemd, "/opt/rrd", &[]);
    fake.answers.push_back(("is-active", false, "failed"));
    let said = fake.act(&other, Action::Status, false).unwrap();
    assert!(said.contains("running    no: failed"), "{said}");
    assert!(said.contains("not this one: /opt/rrd") && said.contains("note:"), "{said}");
}

#[test]
fn restart_needs_an_installed_service() {
    let host = host(Manager::Systemd, "/usr/bin/rrd", &[]);
    let mut fake = Fake::default();
    assert_eq!(fake.act(&host, Action::Restart, false).unwrap_err().hint(), "rrd service install");
    fake.act(&host, Action::Install, false).unwrap();
    fake.ran.clear();
    fake.act(&host, Action::Restart, false).unwrap();
    assert_eq!(fake.ran, ["systemctl --user restart rrd.service"]);
}

#[test]
fn build_output_is_refused_but_can_be_printed() {
    let host = host(Manager::Systemd, "/src/rrd/target/release/rrd", &[]);
    let (mut fake, mut out, state) = (Fake::default(), Vec::new(), Path::new("/s"));
    let error =
        run_on(&host, true, Action::Install, false, state, &mut fake, &mut out).unwrap_err();
    assert!(error.hint().starts_with("cargo install --path client"), "{}", error.hint());
    assert!(fake.ran.is_empty() && fake.files.is_empty());
    run_on(&host, true, Action::Install, true, state, &mut fake, &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("# but not with this binary"));
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
        ("CLAUDE_CONFIG_DIR", "~/.claude, work/claude"),
        ("CODEX_HOME", "cx"),
        ("RRD_HOME", "~/r"),
        ("RRD_SECRET", "no"),
        ("OPENAI_API_KEY", "no"),
        ("XDG_STATE_HOME", "relative"),
        ("XDG_CONFIG_HOME", "/cfg"),
        ("RRD_WATCH", ""),
    ];
    let env = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into());
    let gathered =
        Host::gather(Manager::Systemd, Path::new("/usr/bin/rrd"), Path::new("/work"), &env)
            .unwrap();
    assert_eq!(gathered.file, Path::new("/cfg/systemd/user/rrd.service"));
    assert_eq!(
        gathered.environment,
        [
            ("HOME", "/home/dev".to_owned()),
            ("XDG_CONFIG_HOME", "/cfg".to_owned()),
            ("RRD_HOME", "/work/~/r".to_owned()),
            ("CLAUDE_CONFIG_DIR", "~/.claude,/work/work/claude".to_owned()),
            ("CODEX_HOME", "/work/cx".to_owned()),
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
