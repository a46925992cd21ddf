//! Opens a place: puts what was gathered into the builders of `object_store`, and switches off what it does by
//! itself.
//!
//! It would try a failed request again, a PUT too: "connection closed before the answer" counts as never sent with
//! it, and the second attempt of a create that came through is refused by the first. So it tries nothing again,
//! and what an answer leaves open is looked up ([`super`]). No network here.

use std::sync::{Arc, OnceLock};

use object_store::{
    ClientOptions, HeaderValue, ObjectStore, RetryConfig, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
};

use super::{
    Ability, Access, Store, Target, TargetError,
    access::{BucketKind, Place},
    folder::Folder,
    keys::Settings,
    wire::{Anew, Connector, Patience},
};
use crate::{config::Env, dirs::Dirs};

impl Target {
    /// Opens the place at this address. Asks nobody: whether it is there shows with the first request.
    ///
    /// # Errors
    /// With what would do, when the address or the endpoint is none, or credentials cannot be used.
    pub(crate) fn open(
        url: &str,
        access: &Access,
        env: Env<'_>,
        dirs: &Dirs,
    ) -> Result<Self, TargetError> {
        Self::open_patient(url, access, env, dirs, Patience::default())
    }

    pub(super) fn open_patient(
        url: &str,
        access: &Access,
        env: Env<'_>,
        dirs: &Dirs,
        patience: Patience,
    ) -> Result<Self, TargetError> {
        let (ability, anew) = (OnceLock::new(), Anew::default());
        let (place, store) = match Place::parse(url)? {
            Place::Folder(root) => {
                // By its own making; nothing has to be found out.
                let _ = ability.set(Ability { create_only: true, if_match: true });
                (url.trim().to_owned(), Store::Folder(Folder { root }))
            }
            Place::Bucket { kind, bucket, prefix } => {
                let settings = Settings::gather(kind, access, env, dirs)?;
                let place = match settings.endpoint() {
                    Some(endpoint) => format!("{} at {endpoint}", url.trim()),
                    None => url.trim().to_owned(),
                };
                let store = bucket_store(kind, &bucket, &settings, patience, &anew)?;
                (place, Store::Bucket { store, prefix })
            }
        };
        Ok(Self { place: Arc::from(place), store, ability, anew })
    }
}

fn bucket_store(
    kind: BucketKind,
    bucket: &str,
    settings: &Settings,
    patience: Patience,
    anew: &Anew,
) -> Result<Box<dyn ObjectStore>, TargetError> {
    let agent = HeaderValue::from_static(concat!("rrd/", env!("CARGO_PKG_VERSION")));
    let options = ClientOptions::new()
        .with_user_agent(agent)
        .with_connect_timeout(patience.connect)
        .with_timeout_disabled()
        .with_allow_http(settings.in_clear);
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let connector = Connector(patience, anew.clone());
    // Every builder takes the names of the environment in small letters. Its own words of what is wrong with a
    // value are not used: they quote it.
    let pairs = settings.values.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let wrong = |what: &str| {
        TargetError::Credentials(format!(
            "{what}, as set in the environment or mirror.env, cannot be used"
        ))
    };
    Ok(match kind {
        BucketKind::S3 => {
            let mut builder = AmazonS3Builder::new();
            for (name, value) in pairs {
                builder = builder.with_config(name.parse().map_err(|_| wrong(&name))?, value);
            }
            let builder = builder.with_bucket_name(bucket).with_client_options(options);
            // Not every store has the request that deletes many.
            let builder = builder.with_retry(retry).with_disable_bulk_delete(true);
            let store = builder.with_http_connector(connector).build();
            Box::new(store.map_err(|_| wrong("what AWS_… variables say"))?)
        }
        BucketKind::Gcs => {
            let mut builder = GoogleCloudStorageBuilder::new();
            for (name, value) in pairs {
                builder = builder.with_config(name.parse().map_err(|_| wrong(&name))?, value);
            }
            let builder = builder.with_bucket_name(bucket).with_client_options(options);
            let store = builder.with_retry(retry).with_http_connector(connector).build();
            let what = "the credentials for Google (a service account's file, or gcloud's)";
            Box::new(store.map_err(|_| wrong(what))?)
        }
        BucketKind::Azure => {
            let mut builder = MicrosoftAzureBuilder::new();
            for (name, value) in pairs {
                builder = builder.with_config(name.parse().map_err(|_| wrong(&name))?, value);
            }
            let builder = builder.with_container_name(bucket).with_client_options(options);
            let store = builder.with_retry(retry).with_http_connector(connector).build();
            Box::new(store.map_err(|_| wrong("what AZURE_… variables say"))?)
        }
    })
}
