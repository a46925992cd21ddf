//! What opens a bucket: credentials, in the order in which they are looked for.
//!
//! S3: the profile that was asked for; else the environment; else `mirror.env` beside config.toml, `NAME=value` a
//! line, which nobody but its owner may read; else the profile of `AWS_PROFILE` or `default` in `~/.aws`; else
//! what the machine itself is given (web identity, container, instance), which `object_store` asks for when it is
//! needed. GCS and Azure: the environment, then `mirror.env`, by `object_store`'s names, then what the machine is
//! given. A key and its secret are taken from one source, never from two. No credential is in any error, and
//! nothing in here that has one can be printed.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use super::access::{Access, BucketKind, TargetError, endpoint_in_clear};
use crate::{config::Env, dirs::Dirs};

/// What `object_store` reads from the environment, as far as it is about where a bucket is and who asks.
const AWS: [&str; 16] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_REQUEST_PAYER",
];
const AWS_KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
const GOOGLE: [&str; 6] = [
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_BASE_URL",
];
const AZURE: [&str; 21] = [
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USE_AZURE_CLI",
    "AZURE_CREDENTIAL_TYPE",
    "AZURE_MSI_ENDPOINT",
    "AZURE_MSI_RESOURCE_ID",
    "AZURE_OBJECT_ID",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
];

/// One setting, if this source has it.
type Get<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Settings for a builder, by the names of the environment. Not to be printed.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) values: BTreeMap<&'static str, String>,
    /// Whether the endpoint, if there is one, is spoken to in clear.
    pub(super) in_clear: bool,
}

impl Settings {
    /// Gathers what opens this kind of bucket. Reads files, and asks nobody.
    pub(super) fn gather(
        kind: BucketKind,
        access: &Access,
        env: Env<'_>,
        dirs: &Dirs,
    ) -> Result<Self, TargetError> {
        let file = EnvFile::read(&dirs.config_file.with_file_name("mirror.env"))?;
        let of_env = |name: &str| env(name)?.into_string().ok().filter(|value| !value.is_empty());
        let mut settings = Self::default();
        let (names, endpoints): (&[&str], &[&str]) = match kind {
            BucketKind::S3 => (&AWS, &["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]),
            BucketKind::Gcs => (&GOOGLE, &["GOOGLE_BASE_URL"]),
            BucketKind::Azure => (&AZURE, &["AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT"]),
        };
        for name in names {
            if let Some(value) = of_env(name).or_else(|| file.get(name)) {
                settings.values.insert(name, value);
            }
        }
        if kind == BucketKind::S3 {
            settings.keys(access, &of_env, &file, dirs)?;
        }
        if kind == BucketKind::Azure && !settings.values.contains_key("AZURE_STORAGE_ACCOUNT_NAME")
        {
            let why = "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or another \
                       credential, in the environment or in mirror.env";
            return Err(TargetError::Credentials(why.to_owned()));
        }
        if let Some(region) = access.region.as_ref().filter(|_| kind == BucketKind::S3) {
            settings.values.insert("AWS_REGION", region.clone());
        }
        // The last of them counts most with every builder; one is left.
        let found = endpoints.iter().filter_map(|name| settings.values.remove(name)).next_back();
        let endpoint = match &access.endpoint {
            Some(endpoint) => Some((endpoint.clone(), true)),
            None => found.map(|endpoint| (endpoint, false)),
        };
        if let Some((endpoint, asked_for)) = endpoint {
            settings.in_clear = endpoint_in_clear(&endpoint, asked_for)?;
            settings.values.insert(endpoints[0], endpoint.trim_end_matches('/').to_owned());
        }
        Ok(settings)
    }

    /// The endpoint and the region, for whoever says where a bucket is.
    pub(super) fn endpoint(&self) -> Option<&str> {
        let names = ["AWS_ENDPOINT_URL", "GOOGLE_BASE_URL", "AZURE_ENDPOINT"];
        names.iter().find_map(|name| self.values.get(name)).map(String::as_str)
    }

    /// A key for S3, from the first source that has one; and what the profile says beside.
    fn keys(
        &mut self,
        access: &Access,
        of_env: Get<'_>,
        file: &EnvFile,
        dirs: &Dirs,
    ) -> Result<(), TargetError> {
        let asked_for = access.profile.is_some();
        let name = access.profile.clone().or_else(|| of_env("AWS_PROFILE"));
        let name = name.or_else(|| file.get("AWS_PROFILE"));
        let profile = || Profile::read(name.as_deref(), of_env, dirs);
        let sources: [(&str, Get<'_>); 2] =
            [("the environment", of_env), ("mirror.env", &|name| file.get(name))];
        let mut found = false;
        for (source, get) in sources.iter().filter(|_| !asked_for) {
            let [key, secret, token] = AWS_KEYS.map(get);
            match (key, secret) {
                (None, None) => continue,
                (Some(key), Some(secret)) => self.insert_keys(key, secret, token),
                _ => {
                    let why = format!(
                        "{source} has only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    );
                    return Err(TargetError::Credentials(why));
                }
            }
            found = true;
            break;
        }
        // With keys at hand a profile that does not exist is nobody's business.
        let profile = match profile() {
            Ok(profile) => profile,
            Err(_) if found => return Ok(()),
            Err(error) => return Err(error),
        };
        for (name, key) in [("AWS_REGION", "region"), ("AWS_ENDPOINT_URL", "endpoint_url")] {
            let set = match name {
                "AWS_REGION" => ["AWS_REGION", "AWS_DEFAULT_REGION"],
                _ => ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"],
            };
            let set = set.iter().any(|name| self.values.contains_key(name));
            if let Some(value) = profile.get(key).filter(|_| !set) {
                self.values.insert(name, value.to_owned());
            }
        }
        if found {
            return Ok(());
        }
        let own = ["aws_access_key_id", "aws_secret_access_key"].map(|key| profile.get(key));
        match own {
            [Some(key), Some(secret)] => {
                let token = profile.get("aws_session_token").map(str::to_owned);
                self.insert_keys(key.to_owned(), secret.to_owned(), token);
            }
            [None, None] => profile.must_be_understood()?,
            _ => return Err(profile.wrong("has only one of a key and its secret")),
        }
        Ok(())
    }

    fn insert_keys(&mut self, key: String, secret: String, token: Option<String>) {
        let [of_key, of_secret, of_token] = AWS_KEYS;
        self.values.extend([(of_key, key), (of_secret, secret)]);
        self.values.extend(token.map(|token| (of_token, token)));
    }
}

/// `mirror.env`. Not to be printed.
struct EnvFile(BTreeMap<String, String>);

/// A file of settings is smaller.
const MAX_FILE: u64 = 1 << 20;

impl EnvFile {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn read(path: &Path) -> Result<Self, TargetError> {
        let Some(text) = read(path, true)? else { return Ok(Self(BTreeMap::new())) };
        let mut values = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let Some((name, value)) = line
                .split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
                .filter(|(name, _)| !name.is_empty() && name.bytes().all(of_name))
            else {
                let why = format!("line {} is not NAME=value", number + 1);
                return Err(TargetError::File { path: path.to_owned(), why });
            };
            let quoted = ['"', '\''].iter().find_map(|quote| {
                value.strip_prefix(*quote).and_then(|value| value.strip_suffix(*quote))
            });
            values.insert(name.to_owned(), quoted.unwrap_or(value).to_owned());
        }
        Ok(Self(values))
    }
}

/// A file's text; `None` if there is none.
fn read(path: &Path, must_be_owners: bool) -> Result<Option<String>, TargetError> {
    let failed =
        |error: io::Error| TargetError::File { path: path.to_owned(), why: error.to_string() };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777;
        if must_be_owners && mode & 0o077 != 0 {
            return Err(TargetError::Exposed { path: path.to_owned(), mode });
        }
    }
    #[cfg(not(unix))]
    let _ = must_be_owners; // what is in a user's profile is the user's
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        let why = "this is not a file of settings".to_owned();
        return Err(TargetError::File { path: path.to_owned(), why });
    }
    let mut text = String::new();
    // Not the error's own words: they may quote what was read.
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|_| TargetError::File {
        path: path.to_owned(),
        why: "this is not text".to_owned(),
    })?;
    Ok(Some(text))
}

/// A profile of `~/.aws/credentials` and `~/.aws/config`, as the [AWS tools' guide] has them; without what nests
/// or refers to other sections. Not to be printed.
///
/// [AWS tools' guide]: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
struct Profile {
    name: String,
    values: BTreeMap<String, String>,
}

impl Profile {
    fn read(name: Option<&str>, of_env: Get<'_>, dirs: &Dirs) -> Result<Self, TargetError> {
        let at = |var, file| {
            let moved = of_env(var).map(PathBuf::from);
            moved.unwrap_or_else(|| dirs.user_home.join(".aws").join(file))
        };
        let credentials = read(&at("AWS_SHARED_CREDENTIALS_FILE", "credentials"), false)?;
        let config = read(&at("AWS_CONFIG_FILE", "config"), false)?;
        let of_config = format!("profile {}", name.unwrap_or("default"));
        let wanted = name.unwrap_or("default");
        // Keys in both: those of `credentials` count.
        let mut values = BTreeMap::new();
        let mut there = false;
        for (text, wanted) in [
            (&config, of_config.as_str()),
            (&config, if wanted == "default" { wanted } else { "" }),
            (&credentials, wanted),
        ] {
            let section = text.as_deref().and_then(|text| section(text, wanted));
            there |= section.is_some();
            values.extend(section.unwrap_or_default());
        }
        let profile = Self { name: wanted.to_owned(), values };
        if !there && name.is_some() {
            return Err(profile.wrong("is not in ~/.aws"));
        }
        Ok(profile)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    fn wrong(&self, why: &str) -> TargetError {
        TargetError::Credentials(format!("the AWS profile {} {why}", self.name))
    }

    /// A profile with credentials of a kind that is not read would be passed by in silence.
    fn must_be_understood(&self) -> Result<(), TargetError> {
        let others =
            ["sso_session", "sso_start_url", "credential_process", "role_arn", "login_session"];
        match others.iter().find(|key| self.values.contains_key(**key)) {
            None => Ok(()),
            Some(key) => Err(self.wrong(&format!(
                "has {key}, which rrd does not follow: put keys into mirror.env (`aws configure \
                 export-credentials --format env-no-export` prints them), or use a profile with keys"
            ))),
        }
    }
}

/// The settings of `[wanted]`; a later section of the name adds to an earlier one.
fn section(text: &str, wanted: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut inside = false;
    for line in text.lines() {
        // What is indented belongs to a nested setting.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let words: Vec<&str> = name.split_whitespace().collect();
            inside = words.join(" ").replace(['"', '\''], "") == wanted;
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            let comment =
                [" #", " ;", "\t#", "\t;"].iter().filter_map(|sign| value.find(sign)).min();
            let value = value[..comment.unwrap_or(value.len())].trim();
            if let Some(found) = found.as_mut().filter(|_| !value.is_empty()) {
                found.insert(key.trim().to_ascii_lowercase(), value.to_owned());
            }
        }
    }
    found
}
