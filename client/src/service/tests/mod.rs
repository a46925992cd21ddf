//! Commands as they would be on each platform, asserted on all of them.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Action, ServiceError,
    host::{Host, Manager},
    plan::{Answer, System},
    run_on, systemd, windows,
};

mod files;

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
    assert!(error.hint().starts_with("cargo install --locked --path client"), "{}", error.hint());
    assert!(fake.ran.is_empty() && fake.files.is_empty());
    run_on(&host, true, Action::Install, true, state, &mut fake, &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("# but not with this binary"));
}
