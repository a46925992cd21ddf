//! The two files with secrets: `identity.key` and `fleet.key`, in the state directory.
//!
//! Made and replaced whole, for their owner only; a file that others can read is refused, as is a link.
//! Nothing in here is ever printed. `fleet.key` has a line for each key, the one in force first: its
//! number, which rises with each rotation, and its text. Not here: what the keys are for.

use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use rrd_core::fleet::{
    identity::{Identity, SECRET_LEN},
    key::{FleetKey, KeyId, base64, from_base64},
};
use rrd_proto::NodeId;
use zeroize::Zeroizing;

/// Bytes of such a file, at most.
const MAX_FILE: u64 = 4_096;

/// Former keys that are kept, for members that were off while they were replaced.
const MAX_FORMER: usize = 8;

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file system says no.
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Others can read it.
    #[cfg(unix)]
    #[error("{path} can be read by others (mode {mode:o})", path = path.display())]
    Exposed { path: PathBuf, mode: u32 },
    /// It holds something else.
    #[error("{path} is not what rrd put there", path = path.display())]
    Foreign { path: PathBuf },
    /// The system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

impl KeyError {
    /// What helps.
    pub(crate) fn remedy(&self) -> String {
        match self {
            #[cfg(unix)]
            Self::Exposed { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Foreign { path } => format!(
                "put the file back from a backup, or move {} away and join the fleet anew",
                path.display()
            ),
            Self::Io { .. } | Self::Random(_) => "rrd doctor looks into it".to_owned(),
        }
    }
}

/// The fleet's key, and those it had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The key in force, and its number.
    pub(crate) now: (u64, FleetKey),
    /// The newest first.
    pub(crate) former: Vec<(u64, FleetKey)>,
}

impl Keys {
    pub(crate) fn first(number: u64, key: FleetKey) -> Self {
        Self { now: (number, key), former: Vec::new() }
    }

    /// With another key in force.
    pub(crate) fn followed_by(&self, number: u64, key: FleetKey) -> Self {
        let mut former = vec![self.now.clone()];
        former.extend(self.former.iter().cloned());
        former.truncate(MAX_FORMER);
        Self { now: (number, key), former }
    }

    /// Of two keys the one to use: two members may rotate at once, and all must come to the same.
    pub(crate) fn is_older_than(&self, number: u64, key: &FleetKey) -> bool {
        (self.now.0, self.now.1.id()) < (number, key.id())
    }

    /// A former key.
    pub(crate) fn former(&self, id: KeyId) -> Option<&FleetKey> {
        self.former.iter().map(|(_, key)| key).find(|key| key.id() == id)
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for (number, key) in std::iter::once(&self.now).chain(&self.former) {
            text.push_str(&format!("{number} "));
            text.push_str(&key.reveal());
            text.push('\n');
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let (number, key) = line.split_once(' ')?;
            Some((number.parse().ok()?, FleetKey::parse(key)?))
        };
        let mut keys = text.lines().map(line).collect::<Option<Vec<_>>>()?;
        if keys.is_empty() {
            return None;
        }
        let now = keys.remove(0);
        Some(Self { now, former: keys })
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut()).map_err(KeyError::Random)?;
    Ok(bytes)
}

/// This node's identity; made when there is none yet.
pub(crate) fn identity(state_dir: &Path) -> Result<Identity, KeyError> {
    match known_identity(state_dir)? {
        Some(identity) => Ok(identity),
        None => {
            let secret = random::<SECRET_LEN>()?;
            create(&identity_path(state_dir), base64(secret.as_ref()).as_bytes())?;
            Ok(Identity::from_secret(&secret))
        }
    }
}

/// Another identity in the place of the one that is there.
pub(crate) fn new_identity(state_dir: &Path) -> Result<Identity, KeyError> {
    let secret = random::<SECRET_LEN>()?;
    replace(&identity_path(state_dir), base64(secret.as_ref()).as_bytes())?;
    Ok(Identity::from_secret(&secret))
}

fn known_identity(state_dir: &Path) -> Result<Option<Identity>, KeyError> {
    let path = identity_path(state_dir);
    let Some(text) = read(&path)? else { return Ok(None) };
    let secret =
        Zeroizing::new(from_base64::<SECRET_LEN>(text.trim()).ok_or_else(|| foreign(&path))?);
    Ok(Some(Identity::from_secret(&secret)))
}

/// This node's name, where it has one already. Makes nothing.
pub(crate) fn known_node(state_dir: &Path) -> Option<NodeId> {
    known_identity(state_dir).ok().flatten().map(|identity| identity.node())
}

/// The fleet's keys, if there is a fleet.
pub(crate) fn keys(state_dir: &Path) -> Result<Option<Keys>, KeyError> {
    let path = fleet_path(state_dir);
    let Some(text) = read(&path)? else { return Ok(None) };
    Keys::parse(&text).map(Some).ok_or_else(|| foreign(&path))
}

/// Keeps them; `None` for no fleet.
pub(crate) fn keep(state_dir: &Path, keys: Option<&Keys>) -> Result<(), KeyError> {
    let path = fleet_path(state_dir);
    match keys {
        Some(keys) => replace(&path, keys.text().as_bytes()),
        None => match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KeyError::Io { path, source })
            }
            _ => Ok(()),
        },
    }
}

/// What must be found in nothing that leaves this host. What cannot be read is left out.
pub(crate) fn own_secrets(state_dir: &Path) -> Vec<Zeroizing<Vec<u8>>> {
    let words = [identity_path(state_dir), fleet_path(state_dir)]
        .into_iter()
        .filter_map(|path| read(&path).ok().flatten());
    let mut secrets = Vec::new();
    for text in words {
        for word in text.split_whitespace().filter(|word| word.len() > 40) {
            secrets.push(Zeroizing::new(word.as_bytes().to_vec()));
            if let Some(bytes) = from_base64::<32>(word) {
                secrets.push(Zeroizing::new(bytes.to_vec()));
            }
            if let Some(bytes) = from_base64::<SECRET_LEN>(word) {
                secrets.push(Zeroizing::new(bytes.to_vec()));
            }
        }
    }
    secrets
}

fn identity_path(state_dir: &Path) -> PathBuf {
    state_dir.join("identity.key")
}

fn fleet_path(state_dir: &Path) -> PathBuf {
    state_dir.join("fleet.key")
}

fn foreign(path: &Path) -> KeyError {
    KeyError::Foreign { path: path.to_owned() }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let mut options = fs::File::options();
    options.read(true);
    // No link is followed, and no pipe waited for.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NOFOLLOW | libc::O_NONBLOCK,
    );
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(foreign(path));
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
    }
    // At once as large as it may be: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|_| foreign(path))?;
    Ok(Some(text))
}

/// Makes a file that must not be there yet, and has it on the disk before it returns.
fn create(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let write = || {
        let mut options = fs::File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let fresh = path.with_extension("key.new");
    // Left by one that was killed here; only one daemon writes in this directory.
    let _ = fs::remove_file(&fresh);
    create(&fresh, bytes)?;
    fs::rename(&fresh, path)
        .and_then(|()| sync_dir(path))
        .map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

/// Has a rename on the disk, where a directory can be opened for that.
fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if cfg!(unix) => fs::File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_keys_are_kept_in_order() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(known_node(dir.path()), None);
        let made = identity(dir.path()).unwrap().node();
        assert_eq!(known_node(dir.path()), Some(made));
        assert_eq!(identity(dir.path()).unwrap().node(), made);
        assert_ne!(new_identity(dir.path()).unwrap().node(), made);

        assert_eq!(keys(dir.path()).unwrap(), None);
        let one = Keys::first(1, FleetKey::new([1; 32]));
        let two = one.followed_by(2, FleetKey::new([2; 32]));
        keep(dir.path(), Some(&two)).unwrap();
        assert_eq!(keys(dir.path()).unwrap(), Some(two.clone()));
        assert_eq!(two.former(one.now.1.id()), Some(&one.now.1));
        assert!(one.is_older_than(2, &two.now.1) && !two.is_older_than(1, &one.now.1));
        assert_eq!(own_secrets(dir.path()).len(), 6);
        keep(dir.path(), None).unwrap();
        assert_eq!(keys(dir.path()).unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_read_or_is_a_link_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        identity(dir.path()).unwrap();
        let path = identity_path(dir.path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = identity(dir.path()).unwrap_err();
        assert!(error.to_string().contains("can be read by others (mode 640)"), "{error}");
        assert!(error.remedy().starts_with("chmod 600 "));
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(identity(dir.path()), Err(KeyError::Io { .. })));
        fs::remove_file(&path).unwrap();
        fs::write(dir.path().join("fleet.key"), "1 AAAA\n").unwrap();
        fs::set_permissions(fleet_path(dir.path()), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(keys(dir.path()), Err(KeyError::Foreign { .. })));
    }
}
