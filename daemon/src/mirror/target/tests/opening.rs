//! Of addresses and credentials; nothing here asks anybody.

use super::{Access, Home, KEY, SECRET, fs};
use crate::mirror::target::{
    TargetError,
    access::{BucketKind, Place, plain},
    keys::Settings,
};

#[test]
fn an_address_is_a_place_or_says_what_would_be_one() {
    let bucket = |kind, bucket: &str, prefix: &str| Place::Bucket {
        kind,
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    };
    for (url, place) in [
        ("s3://transcripts", bucket(BucketKind::S3, "transcripts", "")),
        ("s3://my.bucket/team/rrd/", bucket(BucketKind::S3, "my.bucket", "team/rrd")),
        (" gs://b_1/p%20q ", bucket(BucketKind::Gcs, "b_1", "p%20q")),
        ("az://container/x", bucket(BucketKind::Azure, "container", "x")),
    ] {
        assert_eq!(Place::parse(url).unwrap(), place, "{url}");
    }
    #[cfg(unix)]
    for (url, path) in [("file:///srv/rrd", "/srv/rrd"), ("file:///srv/my%20own/", "/srv/my own")] {
        assert_eq!(Place::parse(url).unwrap(), Place::Folder(path.into()), "{url}");
    }
    assert_eq!(plain("s3://bucket/a/"), "s3://bucket/a");
    #[cfg(unix)]
    for (url, address) in [
        ("file:///srv/./my//%6fwn/", "file:///srv/my/own"),
        (" file:///srv/my own%25", "file:///srv/my%20own%25"),
        ("not one", "not one"),
    ] {
        assert_eq!(plain(url), address);
        assert_eq!(plain(address), address);
    }
    for wrong in [
        "",
        "transcripts",
        "/srv/rrd",
        "s3:transcripts",
        "s3://",
        "s3:///prefix",
        "s3://b/a//b",
        "s3://b/../c",
        "s3://b/a b",
        "s3://b?region=x",
        "S3://b",
        "https://b.s3.amazonaws.com",
        "ftp://b",
        "file://",
        "file:///",
        "file://srv/rrd",
        "file://~/rrd",
        "file:///srv/../etc",
        "file:///srv/%ff",
        "s3://AKIA:tops3cret@b/c",
    ] {
        let error = Place::parse(wrong).unwrap_err().to_string();
        assert!(error.contains("file:///DIR"), "{wrong}: {error}");
        assert!(!error.contains("tops3cret"), "{wrong}: {error}");
    }
}

impl Home {
    fn gather(&self, access: &Access) -> Result<Settings, TargetError> {
        Settings::gather(BucketKind::S3, access, &|name| self.env(name), &self.dirs())
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        #[cfg(unix)]
        set_mode(&path, 0o600);
    }

    /// Key, secret, token, region, endpoint.
    fn found(&self, access: &Access) -> [String; 5] {
        let settings = self.gather(access).unwrap();
        let region =
            settings.values.get("AWS_REGION").or(settings.values.get("AWS_DEFAULT_REGION"));
        let of = |name: &str| settings.values.get(name).cloned().unwrap_or_default();
        let [key, secret, token] =
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].map(of);
        let endpoint = settings.endpoint().unwrap_or_default().to_owned();
        [key, secret, token, region.cloned().unwrap_or_default(), endpoint]
    }
}

#[cfg(unix)]
fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

const CREDENTIALS: &str = "\
# of a person
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key=sec/ret+default= # a comment

[ work ]
AWS_ACCESS_KEY_ID = AKIAWORK
aws_secret_access_key = secretwork
aws_session_token = tokenwork
[half]
aws_access_key_id = AKIAHALF
";
const CONFIG: &str = "\
[default]
region = eu-north-1
s3 =
  region = nested-is-not-meant
[profile work]
region = eu-west-1
endpoint_url = https://work.example
[profile \"by hand\"]
sso_session = corp
[work]
region = this-is-no-profile
";

#[test]
fn credentials_come_from_the_first_source_that_has_them() {
    let mut home = Home::new(&[]);
    let any = Access::default();
    assert_eq!(home.found(&any), [""; 5], "the machine is asked when it is needed");
    home.write(".aws/credentials", CREDENTIALS);
    home.write(".aws/config", CONFIG);
    let default = ["AKIADEFAULT", "sec/ret+default=", "", "eu-north-1", ""];
    assert_eq!(home.found(&any), default);
    let work = ["AKIAWORK", "secretwork", "tokenwork", "eu-west-1", "https://work.example"];
    home.vars.insert("AWS_PROFILE", "work".to_owned());
    assert_eq!(home.found(&any), work);

    home.write(
        "mirror.env",
        "# keys\nexport AWS_ACCESS_KEY_ID='AKIAFILE'\nAWS_SECRET_ACCESS_KEY = \"file=secret\"\n\nOTHER=1\n",
    );
    let file = ["AKIAFILE", "file=secret", "", "eu-west-1", "https://work.example"];
    assert_eq!(home.found(&any), file);
    home.vars.extend([
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("AWS_DEFAULT_REGION", "us-west-2".to_owned()),
        ("AWS_ENDPOINT_URL", "https://general.example".to_owned()),
        ("AWS_ENDPOINT_URL_S3", "https://s3.example/".to_owned()),
    ]);
    assert_eq!(home.found(&any), [KEY, SECRET, "", "us-west-2", "https://s3.example"]);
    let asked = Access {
        endpoint: Some("https://asked.example".to_owned()),
        region: Some("auto".to_owned()),
        profile: Some("work".to_owned()),
    };
    let wanted = ["AKIAWORK", "secretwork", "tokenwork", "auto", "https://asked.example"];
    assert_eq!(home.found(&asked), wanted, "what a person asks for counts before all else");
}

#[test]
fn what_cannot_be_used_says_what_would_be() {
    let home = Home::new(&[("AWS_ACCESS_KEY_ID", KEY)]);
    let wrong = |home: &Home, access: &Access| {
        let text = home.gather(access).err().unwrap().to_string();
        for secret in [KEY, SECRET, "AKIAHALF", "tops3cret"] {
            assert!(!text.contains(secret), "{text}");
        }
        text
    };
    let any = Access::default();
    assert!(wrong(&home, &any).contains("AWS_SECRET_ACCESS_KEY"));
    let mut home = Home::new(&[]);
    home.write(".aws/credentials", CREDENTIALS);
    home.write(".aws/config", CONFIG);
    let profile = |name: &str| Access { profile: Some(name.to_owned()), ..Access::default() };
    assert!(wrong(&home, &profile("none")).contains("profile none is not in ~/.aws"));
    assert!(wrong(&home, &profile("half")).contains("only one of"));
    assert!(wrong(&home, &profile("by hand")).contains("mirror.env"));
    home.write("mirror.env", "AWS_SECRET_ACCESS_KEY tops3cret\n");
    assert!(wrong(&home, &any).contains("mirror.env: line 1 is not NAME=value"));
    #[cfg(unix)]
    {
        home.write("mirror.env", "AWS_REGION=x\n");
        set_mode(&home.dir.path().join("mirror.env"), 0o640);
        assert!(wrong(&home, &any).contains("chmod 600"));
        set_mode(&home.dir.path().join("mirror.env"), 0o600);
    }
    home.write("mirror.env", "");
    let azure = home.open("az://container", &any).unwrap_err().to_string();
    assert!(azure.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{azure}");
    home.vars.insert("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"tops3cret\": 1".to_owned());
    let google = home.open("gs://bucket", &any).unwrap_err().to_string();
    assert!(google.contains("service account") && !google.contains("tops3cret"), "{google}");
}

#[test]
fn in_clear_only_nearby_or_where_it_was_asked_for() {
    let mut home = Home::with_keys();
    for (endpoint, near) in [
        ("http://127.0.0.1:9000", true),
        ("http://[::1]:9000", true),
        ("http://localhost:9000/base", true),
        ("http://minio:9000", true),
        ("http://10.1.2.3", true),
        ("http://192.168.1.9:3900", true),
        ("http://100.101.102.103:9000", true),
        ("http://nas.tail1234.ts.net:9000", true),
        ("http://nas.local", true),
        ("http://[fd7a:115c:a1e0::1]:9000", true),
        ("http://100.128.0.1", false),
        ("http://203.0.113.9", false),
        ("http://s3.example.com", false),
        ("http://127.0.0.1.example.com", false),
        ("http://[2001:db8::1]", false),
    ] {
        home.vars.insert("AWS_ENDPOINT_URL", endpoint.to_owned());
        let found = home.gather(&Access::default());
        assert_eq!(found.is_ok_and(|settings| settings.in_clear), near, "{endpoint}");
        let asked = Access { endpoint: Some(endpoint.to_owned()), ..Access::default() };
        assert!(home.gather(&asked).unwrap().in_clear, "{endpoint}");
    }
    for wrong in ["minio:9000", "ftp://x", "https://", "https://AKIA:tops3cret@host", "https://a b"]
    {
        let asked = Access { endpoint: Some(wrong.to_owned()), ..Access::default() };
        let error = home.gather(&asked).err().unwrap().to_string();
        assert!(error.starts_with("the endpoint") && !error.contains("tops3cret"), "{error}");
    }
}

#[test]
fn every_kind_opens_without_asking_anybody_and_hides_what_opened_it() {
    let home = Home::new(&[
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", SECRET),
        // Names of each list, so that one that a builder does not know is noticed.
        ("AWS_ENDPOINT_URL_STS", "https://sts.example"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false"),
        ("AWS_ROLE_ARN", "arn"),
        ("AWS_ROLE_SESSION_NAME", "name"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/none"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/none"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/none"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/none"),
        ("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1"),
        ("AWS_SERVER_SIDE_ENCRYPTION", "AES256"),
        ("AWS_REQUEST_PAYER", "requester"),
        ("GOOGLE_BEARER_TOKEN", SECRET),
        ("GOOGLE_BASE_URL", "https://storage.example"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "bm90LXRvLWJlLXNlZW4="),
        ("AZURE_AUTHORITY_HOST", "https://login.example"),
        ("AZURE_USE_AZURE_CLI", "false"),
        ("AZURE_CREDENTIAL_TYPE", "access_key"),
        ("AZURE_MSI_ENDPOINT", "http://127.0.0.1:1"),
    ]);
    let access = Access { region: Some("eu-central-1".to_owned()), ..Access::default() };
    for url in ["s3://bucket/prefix", "gs://bucket", "az://container/prefix", "file:///nowhere/rrd"]
    {
        if url.starts_with("file") && cfg!(windows) {
            continue;
        }
        let target = home.open(url, &access).unwrap();
        let shown = format!("{target:?} {}", target.place());
        assert!(shown.contains(url), "{shown}");
        for secret in [KEY, SECRET, "bm90"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn what_a_person_may_say_has_no_room_for_secrets() {
    let text = r#"{"endpoint":"https://r2.example","region":"auto"}"#;
    let access: Access = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&access).unwrap(), text);
    assert!(serde_json::from_str::<Access>(r#"{"secret_access_key":"x"}"#).is_err());
}
