//! Where rrd keeps its own files, and where its local socket is.
//!
//! `RRD_HOME=DIR` puts everything under DIR, so several daemons can live on one machine, each for
//! itself. Else the platform's directories. Not here: creating or securing any of them.

use std::path::{Path, PathBuf};

use crate::config::Env;

/// rrd's own places. Nothing here has been created.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// The user's home.
    pub user_home: PathBuf,
    /// config.toml.
    pub config_file: PathBuf,
    /// What must survive: the index, identity.
    pub state: PathBuf,
    /// The local socket (a path), or on Windows the pipe's name.
    pub socket: PathBuf,
}

/// `sun_path` holds 104 bytes on macOS and 108 on Linux, with its NUL.
#[cfg(not(windows))]
const MAX_SOCKET_PATH: usize = 100;

impl Dirs {
    /// Settles the places, or `None` without a home directory.
    #[must_use]
    pub fn resolve(env: Env<'_>) -> Option<Self> {
        let set = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let user_home = set("HOME")
            .or_else(|| set("USERPROFILE"))
            .or_else(|| directories::BaseDirs::new().map(|base| base.home_dir().to_owned()));
        if let Some(home) = set("RRD_HOME") {
            let home = std::path::absolute(&home).unwrap_or(home);
            return Some(Self {
                user_home: user_home.unwrap_or_else(|| home.clone()),
                config_file: home.join("config.toml"),
                state: home.join("state"),
                socket: socket(&home.join("run"), &home),
            });
        }
        let user_home = user_home?;
        let (config, state) = if cfg!(any(windows, target_os = "macos")) {
            let project = directories::ProjectDirs::from("", "", "rrd")?;
            (project.config_dir().to_owned(), project.data_local_dir().to_owned())
        } else {
            let xdg = |name: &str, fallback: &str| {
                // The XDG specification: a relative path is to be ignored.
                let base = set(name).filter(|p| p.is_absolute());
                base.unwrap_or_else(|| user_home.join(fallback)).join("rrd")
            };
            (xdg("XDG_CONFIG_HOME", ".config"), xdg("XDG_STATE_HOME", ".local/state"))
        };
        let run = set("XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), |dir| dir.join("rrd"));
        let socket = socket(&run, &state);
        Some(Self { user_home, config_file: config.join("config.toml"), state, socket })
    }
}

#[cfg(not(windows))]
fn socket(run: &Path, identity: &Path) -> PathBuf {
    let path = run.join("rrd.sock");
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return path;
    }
    let short = std::env::temp_dir().join(format!("rrd-{:016x}", place_hash(identity)));
    short.join("rrd.sock")
}

/// A pipe has a flat name, so the place it stands for is hashed into it.
#[cfg(windows)]
fn socket(_run: &Path, identity: &Path) -> PathBuf {
    PathBuf::from(format!("rrd-{:016x}", place_hash(identity)))
}

fn place_hash(path: &Path) -> u64 {
    rrd_core::hash(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn resolve(vars: &[(&str, &str)]) -> Dirs {
        Dirs::resolve(&|n| vars.iter().find(|(k, _)| *k == n).map(|(_, v)| OsString::from(v)))
            .unwrap()
    }

    #[test]
    fn rrd_home_holds_everything() {
        let dirs = resolve(&[
            ("RRD_HOME", "/r"),
            ("HOME", "/home/dev"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
        ]);
        for path in [&dirs.config_file, &dirs.state] {
            assert!(path.starts_with("/r"), "{}", path.display());
        }
        assert_eq!(dirs.user_home, Path::new("/home/dev"));
        #[cfg(unix)]
        assert!(dirs.socket.starts_with("/r"));
    }

    #[cfg(unix)]
    #[test]
    fn a_long_home_still_gets_a_socket_that_fits() {
        let long = format!("/{}", "x".repeat(150));
        let dirs = resolve(&[("RRD_HOME", &long)]);
        assert!(dirs.socket.as_os_str().len() <= MAX_SOCKET_PATH);
        assert_ne!(dirs.socket, resolve(&[("RRD_HOME", &format!("{long}y"))]).socket);
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn platform_directories_follow_xdg() {
        let dirs = resolve(&[
            ("HOME", "/home/dev"),
            ("XDG_STATE_HOME", "rel"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
        ]);
        assert_eq!(dirs.config_file, Path::new("/home/dev/.config/rrd/config.toml"));
        assert_eq!(dirs.state, Path::new("/home/dev/.local/state/rrd"));
        assert_eq!(dirs.socket, Path::new("/run/user/1/rrd/rrd.sock"));
    }
}
