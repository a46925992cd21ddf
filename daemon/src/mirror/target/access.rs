//! Where a place is: its address, what a person may say of it beside, and why it cannot be opened.
//!
//! Not here: credentials ([`super::keys`]).

use std::{net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// What a person may say of a bucket beside its address. No credentials: those have places of their own.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Access {
    /// `https://…` of a store that is not its inventor's: MinIO, R2, Garage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// `eu-central-1`; many other stores want `us-east-1`, `auto` or their own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// A profile of `~/.aws`, before any other credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
}

/// Why a place cannot be opened, and what would do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// Not an address of a place. The address itself is not repeated: it may have a password in it.
    #[error(
        "{0}; give file:///DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
    )]
    Address(&'static str),
    /// The endpoint is not one, or would send everything in clear through the world.
    #[error("the endpoint {0}")]
    Endpoint(&'static str),
    /// `mirror.env` can be read by others.
    #[cfg(unix)]
    #[error("others can read {path} (mode {mode:o}): chmod 600 it, and change the keys in it")]
    Exposed { path: PathBuf, mode: u32 },
    /// A file with settings cannot be used.
    #[error("{path}: {why}")]
    File { path: PathBuf, why: String },
    /// Something about the credentials is missing or wrong.
    #[error("{0}")]
    Credentials(String),
}

/// An address, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket { kind: BucketKind, bucket: String, prefix: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BucketKind {
    S3,
    Gcs,
    Azure,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, TargetError> {
        let wrong = |why| Err(TargetError::Address(why));
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return wrong("this is not an address");
        };
        let kind = match scheme {
            "file" => return Self::folder(rest),
            "s3" => BucketKind::S3,
            "gs" => BucketKind::Gcs,
            "az" => BucketKind::Azure,
            _ => return wrong("the mirror does not know this kind of address"),
        };
        if rest.contains(['@', '?', '#']) {
            return wrong("the address of a bucket has no keys or options in it");
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let of_bucket = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if bucket.is_empty() || bucket.len() > 255 || !bucket.bytes().all(of_bucket) {
            return wrong("the address names no bucket");
        }
        if !prefix.is_empty() && !is_name(prefix) {
            return wrong("a prefix is made of letters, digits and ._%-, with / between its parts");
        }
        Ok(Self::Bucket { kind, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    fn folder(rest: &str) -> Result<Self, TargetError> {
        let path = percent_encoding::percent_decode_str(rest).decode_utf8();
        let path = path.map_err(|_| TargetError::Address("the path is not UTF-8"))?;
        if path.contains(char::is_control) {
            return Err(TargetError::Address("the path has signs in it that cannot be seen"));
        }
        // `file:///C:/dir` on Windows.
        let drive = path.strip_prefix('/').filter(|_| cfg!(windows));
        let path = PathBuf::from(drive.unwrap_or(&path));
        let steps_up = path.components().any(|part| part == std::path::Component::ParentDir);
        if !path.is_absolute() || steps_up || path.parent().is_none() || rest.contains('\0') {
            let why = "a folder is named by its whole path, with three slashes before it";
            return Err(TargetError::Address(why));
        }
        Ok(Self::Folder(path))
    }
}

/// The address without detours: a folder's has one spelling then, for each of its paths.
pub(crate) fn plain(url: &str) -> String {
    use std::path::Component::{Normal, Prefix};
    let Ok(Place::Folder(path)) = Place::parse(url) else {
        return url.trim().trim_end_matches('/').to_owned();
    };
    let parts = path.components().filter_map(|part| match part {
        Normal(part) => {
            let plain = |c: char| c != '%' && c != ' ' && !c.is_ascii_control();
            let encode =
                |c: char| if plain(c) { c.to_string() } else { format!("%{:02X}", u32::from(c)) };
            Some(part.to_string_lossy().chars().map(encode).collect())
        }
        Prefix(drive) => Some(drive.as_os_str().to_string_lossy().into_owned()),
        _ => None,
    });
    parts.fold("file://".to_owned(), |url, part| url + "/" + &part)
}

/// Where the folder of this address is, whatever links lead there; nothing of another place, or where it is not
/// there.
pub(crate) fn folder_of(url: &str) -> Option<PathBuf> {
    match Place::parse(url) {
        Ok(Place::Folder(path)) => path.canonicalize().ok(),
        _ => None,
    }
}

/// Whether this may be the name of an object: what no store and no file system reads in its own way.
pub(crate) fn is_name(name: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._%=-".contains(&byte);
    let part = |part: &str| {
        !matches!(part, "" | "." | "..") && part.len() <= 255 && part.bytes().all(of_name)
    };
    name.len() <= 1024 && name.split('/').all(part)
}

/// Whether this endpoint is spoken to in clear. Over `http` what is mirrored, though redacted, can be read on its
/// way: that is for this machine, a private network or a tailnet, which has its own encryption. Elsewhere only if
/// a person named this endpoint for this bucket; a variable of the environment is not enough.
pub(super) fn endpoint_in_clear(endpoint: &str, asked_for: bool) -> Result<bool, TargetError> {
    let wrong = |why| Err(TargetError::Endpoint(why));
    let (in_clear, rest) = match endpoint.split_once("://") {
        Some(("https", rest)) => (false, rest),
        Some(("http", rest)) => (true, rest),
        _ => return wrong("is not an address: it begins with https://, or http:// for one nearby"),
    };
    if rest.contains(['@', '?', '#']) || rest.is_empty() || rest.contains(char::is_whitespace) {
        return wrong(
            "is a host, perhaps with a port and a path; there are no keys or options in it",
        );
    }
    let host = rest.split('/').next().unwrap_or_default();
    if in_clear && !asked_for && !is_near(host) {
        let why = "is spoken to in clear and is not on a private network: use https://, or name it \
                   for this bucket";
        return wrong(why);
    }
    Ok(in_clear)
}

/// Whether a host, perhaps with its port, is this machine or on a private network.
fn is_near(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    match name.parse() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, ..] = address.octets();
            // 100.64/10: carrier-grade NAT, and every tailnet.
            let shared = a == 100 && (64..128).contains(&b);
            address.is_loopback() || address.is_private() || address.is_link_local() || shared
        }
        Ok(IpAddr::V6(address)) => {
            let local = address.is_unique_local() || address.is_unicast_link_local();
            address.is_loopback() || local
        }
        // Names without a dot are resolved by the network that one is in; the others are nobody's in the world.
        Err(_) => {
            let name = name.to_ascii_lowercase();
            let ends = [".local", ".lan", ".internal", ".home.arpa", ".localhost", ".ts.net"];
            !name.contains('.') || ends.iter().any(|end| name.ends_with(end))
        }
    }
}
