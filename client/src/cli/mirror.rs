//! `rrd mirror`: its commands and flags.

use clap::{Args, Subcommand};

use rrd_proto::Harness;

use super::{JsonArgs, harness};

#[derive(Debug, Subcommand)]
pub(crate) enum Mirror {
    /// Mirror every session to this place from now on; what there is already goes first.
    ///
    /// Once more for a place changes what is named, and says what is in force.
    #[command(after_help = "\
Whatever leaves has passed the redactor. A session goes out when its turn ends, and about once a \
minute while it works. Credentials come from the daemon's environment (AWS_ACCESS_KEY_ID, …), from \
mirror.env beside config.toml (NAME=value a line, chmod 600), or from the profiles in ~/.aws.

Of a place that is enabled already what you do not name stays: sessions that were left out stay left \
out. Names add up; --all takes the choice of sessions back, --keep-forever the days. Secrets stay in \
only with --no-redact each time.

Examples:
  rrd mirror enable file:///mnt/nas/agents
  rrd mirror enable s3://my-bucket/agents --region eu-central-1
  rrd mirror enable s3://my-bucket --endpoint https://minio.tail1234.ts.net --project laptop
  rrd mirror enable file:///backup --exclude-repo secret-thing --keep-days 365
  rrd mirror enable file:///backup --exclude-harness hermes   and that is left out, too
  rrd mirror enable file:///backup --all                      every session again")]
    Enable(MirrorEnable),
    /// How it is with each place: what is there, what is not, and what is wrong.
    Status(JsonArgs),
    /// What is mirrored, the newest first. Asks no bucket.
    ///
    /// What this host knows of its own sessions. Every session in the buckets, any host's, is listed with
    /// --from-bucket, and so it is where this host knows nothing yet: on a new machine, say. rrd resume ID
    /// --from bucket then goes on with one.
    #[command(visible_alias = "ls")]
    List(MirrorList),
    /// What a bucket itself has of a session, any host's: its meta.json, and its last lines.
    Show(MirrorShow),
    /// Read back what was uploaded and compare it, part by part.
    Verify(MirrorSome),
    /// Make few large parts of many small ones now; quiet sessions of more than 64 are done anyway.
    Compact(MirrorSome),
    /// Mirror a session and its delegates no more. What is there stays there.
    ///
    /// It stays so over restarts and for places that come later, until rrd mirror start. Where a place is
    /// named, only there.
    Stop(MirrorOne),
    /// Mirror a session again that was stopped.
    Start(MirrorOne),
    /// Delete from the buckets what they keep no longer (see enable --keep-days). Done by itself, too.
    ///
    /// Only sessions that this host mirrors, that have ended, with their delegates, and whose last record is
    /// old enough. A session that goes on is mirrored again, whole.
    Prune {
        /// Only show what would be deleted.
        #[arg(long)]
        dry_run: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Bring everything that is not there yet into the buckets, and wait for that.
    Run {
        /// What it does anyway: it ends when everything is there, and the daemon goes on by itself.
        #[arg(long)]
        once: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Mirror to this place no more, or to none. What is there stays there.
    Disable {
        /// Its address, as rrd mirror status shows it; all of them without.
        #[arg(value_name = "URL")]
        url: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MirrorEnable {
    /// file:///DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// The directory in there that all names begin with.
    #[arg(long, default_value = "rrd", value_name = "NAME")]
    pub(crate) project: String,
    /// The store's address where it is not Amazon's own: MinIO, R2, Garage.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Where the bucket is.
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// A profile of ~/.aws.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Only sessions of this harness; may be given again.
    #[arg(long, value_name = "NAME", value_parser = harness(), hide_possible_values = true)]
    pub(crate) harness: Vec<Harness>,
    /// Only sessions in this repository; may be given again. Where nobody knows that, it is held back.
    #[arg(long, value_name = "NAME", value_parser = repository)]
    pub(crate) repo: Vec<String>,
    /// No sessions of this harness; may be given again.
    #[arg(long, value_name = "NAME", value_parser = harness())]
    pub(crate) exclude_harness: Vec<Harness>,
    /// No sessions that are or were in this repository, in whichever case it is written; may be given
    /// again. Where nobody knows that, it is held back.
    #[arg(long, value_name = "NAME", value_parser = repository)]
    pub(crate) exclude_repo: Vec<String>,
    /// Every session: takes back what was chosen before by the four above.
    #[arg(long)]
    pub(crate) all: bool,
    /// Delete sessions there that have been over for so many days; else they stay for ever.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_days: Option<u32>,
    /// Delete no sessions there any more: takes --keep-days back.
    #[arg(long, conflicts_with = "keep_days")]
    pub(crate) keep_forever: bool,
    /// Leave secrets in: only for a bucket that nobody else can read. Asks first.
    #[arg(long)]
    pub(crate) no_redact: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MirrorList {
    /// Ask the buckets themselves: every session there, whoever put it there.
    #[arg(long)]
    pub(crate) from_bucket: bool,
    /// Print JSON; it asks buckets only with --from-bucket.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MirrorShow {
    /// The session's id, or the start of it.
    pub(crate) id: String,
    /// Print so many of its last lines, too.
    #[arg(long, default_value_t = 0, value_name = "LINES")]
    pub(crate) tail: u32,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MirrorOne {
    /// The session's id, or the start of it, or its five letters. It has to be one of this host's.
    pub(crate) id: String,
    /// Only this place, as rrd mirror status shows it.
    #[arg(long, value_name = "URL")]
    pub(crate) on: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MirrorSome {
    /// Only this session: its id, or the start of it.
    pub(crate) id: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// No name is longer.
const LONGEST: usize = 255;

/// What a repository is called. What can be none's name would leave nothing out, and everything would be uploaded.
fn repository(text: &str) -> Result<String, String> {
    // A directory may be called so, but no forge takes it, and who writes it means several.
    if text.contains(',') {
        return Err("names are given one by one, each with the flag before it".to_owned());
    }
    let name = bare(text);
    match name {
        "" | "." | ".." => {
            Err("no repository is called that; rrd sessions list shows REPO".to_owned())
        }
        name if name.contains(['*', '?']) => {
            Err("names are taken as they are, without patterns".to_owned())
        }
        name if name.contains(char::is_control) => {
            Err("no repository is called that: there is a control character in it".to_owned())
        }
        name if name.len() > LONGEST => Err(format!("no name has more than {LONGEST} bytes")),
        name if name == text => Ok(name.to_owned()),
        name => Err(format!("only its name is asked for: write {name}")),
    }
}

/// The name in what is a path, an address, or quoted, with blanks around it.
fn bare(text: &str) -> &str {
    let mut rest = text;
    loop {
        let whole = rest.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        let quoted = ['"', '\'', '`'].iter().find_map(|quote| {
            whole.strip_prefix(*quote).and_then(|whole| whole.strip_suffix(*quote))
        });
        if let Some(quoted) = quoted {
            rest = quoted;
            continue;
        }
        let path = whole.trim_end_matches(['/', '\\']);
        let path =
            match path.len().checked_sub(".git".len()).and_then(|at| path.split_at_checked(at)) {
                Some((before, end)) if end.eq_ignore_ascii_case(".git") => before,
                _ => path,
            };
        let name = path.rsplit(['/', '\\', ':']).next().unwrap_or_default();
        if name.len() == rest.len() {
            return name;
        }
        rest = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_by_its_name() {
        assert_eq!(repository("rrd.rs").as_deref(), Ok("rrd.rs"));
        for text in
            ["acme/secret", "git@host:secret.git", "https://host/acme/secret/", "secret.GIT"]
        {
            assert!(repository(text).is_err_and(|why| why.ends_with(": write secret")), "{text}");
        }
        for text in ["", "/", ".git", ".", "..", " ", "\"\"", "\n"] {
            assert!(repository(text).is_err_and(|why| why.contains("REPO")), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_around_a_name_is_refused_with_the_name() {
        for text in [
            " secret",
            "secret ",
            "secret\n",
            "secret\r\n",
            "\tsecret",
            "secret.git ",
            "secret.git.git",
            "\"secret\"",
            "' secret/ '",
            "`acme/secret`",
            "\"git@host:acme/secret.git\"\n",
            "\u{a0}secret",
        ] {
            assert!(repository(text).is_err_and(|why| why.ends_with(": write secret")), "{text:?}");
        }
        for (text, why) in [
            ("secret,other", "one by one"),
            ("secret, other", "one by one"),
            ("sec*", "patterns"),
            ("acme/*", "patterns"),
            ("secre?", "patterns"),
            ("sec\tret", "control"),
            ("sec\u{1b}[0mret", "control"),
            (&"x".repeat(5000), "255"),
        ] {
            assert!(repository(text).is_err_and(|it| it.contains(why)), "{text:?}");
        }
        for name in ["my app", "it's", "a\"b", "secret.github", "%73ecret", "ä", &"x".repeat(255)]
        {
            assert_eq!(repository(name).as_deref(), Ok(name));
        }
    }
}
