//! The command line: every command, flag and example in one tree.
//!
//! Not here: what the commands do ([`crate::commands`]), and settings that are not flags.

mod bind;
mod fleet;
mod graph;
mod message;
mod mirror;
mod notices;
mod pair;
mod resume;
mod task;
mod wait;

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use clap_complete::Shell;
use rrd_proto::{Harness, MAX_HITS, SearchKind, Since, Status};

use crate::{
    error::{CliError, Kind},
    local, output, settings,
};
pub(crate) use bind::{Bind, BindId};
pub(crate) use fleet::{Fleet, Hosts, HostsArgs};
pub(crate) use graph::{GraphArgs, GraphFormat};
pub(crate) use message::{InboxArgs, SendArgs};
pub(crate) use mirror::{Mirror, MirrorEnable};
pub(crate) use notices::Notify;
pub(crate) use pair::{LookersArgs, OpenArgs, PairArgs, TokenArgs};
pub(crate) use resume::{From as ResumeFrom, ResumeArgs};
pub(crate) use task::Task;
pub(crate) use wait::WaitArgs;

/// See every coding-agent session on this machine: what each one does, and which one needs you.
///
/// rrd follows the transcripts that your agents already write. No wrapper and no account is needed;
/// without a daemon, `rrd sessions list` looks once by itself.
#[derive(Debug, Parser)]
#[command(
    name = "rrd",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  rrd sessions list            what is active, and what needs you
  rrd sessions list --watch    the same, live
  rrd sessions show b41f       one session: why it has its status, and its last events
  rrd sessions replay b41f     scrub through what it did
  rrd sessions tail b41f -f    follow what it does
  rrd sessions search publish  find what was said, by whomever, wherever
  rrd resume b41f              go on with it here, wherever it was
  rrd daemon                   keep watch in the foreground
  rrd doctor                   when something looks wrong
  rrd demo                     three hosts that are only played, when you have no sessions yet

An ID is any unique start of a session's id, its five-letter ref, or host/harness/id.
Exit codes: 0 done, 1 nothing matches or a check failed, 64 usage, 69 no daemon, 70 internal, 78 settings."
)]
pub(crate) struct Cli {
    /// Colours: auto, always or never; NO_COLOR and CLICOLOR_FORCE are heeded.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN",
        hide_possible_values = true, hide_default_value = true)]
    pub(crate) color: Color,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List sessions, look into one, follow one.
    #[command(subcommand, visible_alias = "s")]
    Sessions(Sessions),
    /// Go on with a session here, wherever it was: its transcript comes, and its harness takes it up.
    #[command(after_help = resume::HELP)]
    Resume(ResumeArgs),
    /// Which session works on what, whichever host it is on: link a task, see the links.
    #[command(subcommand, after_help = task::HELP)]
    Task(Task),
    /// What sessions ask each other for: a handoff that every host shows, and that somebody accepts.
    #[command(subcommand, after_help = bind::HELP)]
    Bind(Bind),
    /// How each part of the daemon is.
    #[command(after_help = "Exits 69 when no daemon is running.")]
    Status(JsonArgs),
    /// Check everything rrd depends on, and say what helps.
    #[command(after_help = "Exits 1 when a check fails.")]
    Doctor(JsonArgs),
    /// The settings in force, and where each came from.
    #[command(after_help = "\
A setting is taken from its flag, else its variable, else config.toml, else its default.

Example config.toml:
  name = \"mac\"
  idle_timeout = \"10m\"
  [fleet]
  listen = \"192.168.1.5\"
  seeds = [\"desk.example.net\"]     where members may be, if not where they say
  [harness.codex]
  roots = [\"~/.codex\", \"/srv/codex\"]")]
    Config(JsonArgs),
    /// Follow this host's sessions in the foreground.
    #[command(after_help = "\
Logs go to stderr: text on a terminal, else one JSON object a line. RRD_LOG sets how much of it:
  RRD_LOG=debug rrd daemon
Ctrl-C or SIGTERM ends it in order; a second one at once.")]
    Daemon(DaemonArgs),
    /// Three hosts in this process, with agents that are only played: see a fleet before you have one.
    #[command(after_help = "\
The daemons, their fleet and their lists are real; only the agents are played. Everything lies in a \
temporary directory that is removed at the end; nothing of yours is read or written, and nothing \
leaves this machine. Without --once it goes on until Ctrl-C.

Examples:
  rrd demo
  rrd demo --once     ends after the tour; exits 1 when something of it did not come about")]
    Demo(DemoArgs),
    /// Keep the daemon running: at every login, and again when it fails.
    #[command(after_help = "\
The service remembers where this shell looks (RRD_HOME, CODEX_HOME, …), so that both list the \
same. Install again after changing them, or after updating rrd.

Examples:
  rrd service install --print     what would be written and run; changes nothing
  rrd service install
  rrd service status")]
    Service(ServiceArgs),
    /// Let harnesses tell rrd at once what their logs tell late or never: optional, it sharpens.
    #[command(
        subcommand,
        after_help = "\
Everything works without hooks. With them a permission dialog of Codex shows at once (its log is \
silent about it), and a session that was left shows as ended the same moment.

Examples:
  rrd hooks status                  what is installed where
  rrd hooks install claude-code     shows the change to settings.json, and asks
  rrd hooks uninstall               takes rrd's hooks out again, and nothing else"
    )]
    Hooks(Hooks),
    /// Several hosts, one list: let hosts in, see who is in, change the key.
    #[command(
        subcommand,
        after_help = "\
A fleet is hosts that share a key; each keeps the whole list, and none is the server. The daemons \
speak over Tailscale where that is, else only on this machine; [fleet] listen in config.toml, or \
rrd daemon --listen ADDRESS, names another address. The key never stands on a command line.

Examples:
  rrd fleet init            on the first host
  rrd fleet invite          there again: prints the line to run on the next host
  rrd fleet join 100.64.0.1:7731/1a2b3c4d.QkJ…
  rrd fleet status
  rrd fleet rotate --drop old-laptop     when one was lost"
    )]
    Fleet(Fleet),
    /// Copies of every transcript in a place of your own, redacted: a folder, S3, GCS, Azure.
    #[command(
        subcommand,
        after_help = "\
The daemon brings what agents write into a bucket or a folder that you own: exactly once, redacted, \
and it stays there when a harness deletes its own copy or the machine is lost.

Examples:
  rrd mirror enable file:///mnt/nas/agents     the simplest: a folder on another disk
  rrd mirror enable s3://my-bucket/agents
  rrd mirror status
  rrd mirror list"
    )]
    Mirror(Mirror),
    /// Be told what needs you: by ntfy or another address, a program, this desktop.
    #[command(subcommand, after_help = notices::HELP)]
    Notify(Notify),
    /// The hosts of the fleet: which are live, since when, what each has.
    #[command(after_help = "\
A host that is away keeps its rows: they are its last word. CLOCK is how far its clock is from this \
one's; times of its sessions are shown by this one's.

Signs: ● live  ○ away  ◆ this host

Examples:
  rrd hosts
  rrd hosts forget old-laptop     its rows vanish on every host")]
    Hosts(HostsArgs),
    /// Who waits for whom, on all hosts, and what you must do first.
    #[command(after_help = "\
A session that cannot go on stands below what it waits for in the end; what blocks most comes first.
Sessions say that they wait (rrd wait), or it follows from what they do: one that has nothing open but \
a subagent waits for that. Below: what sessions ask each other for (rrd bind); and warnings: two at work \
in one worktree or on one branch, and one transcript on two hosts.

Examples:
  rrd graph
  rrd graph --format mermaid       for a page that draws it; dot for Graphviz
  rrd graph --json | jq '.chains[0]'")]
    Graph(GraphArgs),
    /// Wait until another session, on any host, has done something.
    #[command(after_help = wait::HELP)]
    Wait(WaitArgs),
    /// Write to another session, on any host: it is kept until that one has read it.
    #[command(after_help = message::SEND_HELP)]
    Send(SendArgs),
    /// What other sessions wrote to this one, until it is acknowledged.
    #[command(after_help = message::INBOX_HELP)]
    Inbox(InboxArgs),
    /// Let a phone, or another browser, look: shows a QR code that is good once, for five minutes.
    #[command(after_help = "\
Scan it, or open the address it shows. The browser is let in for 90 days, on that device alone; it \
sees sessions and their transcripts of every host, redacted, and can change nothing. A phone of your \
own on the tailnet sees the page without that, unless [http] pairing = \"required\".

Examples:
  rrd pair
  rrd pair --list                  who is let in, and since when
  rrd pair --revoke 1a2b3c4d       lets one in no more, at once; all for every one of them")]
    Pair(PairArgs),
    /// Open the page in this machine's browser, and let it in.
    #[command(after_help = "\
The browser is let in as by rrd pair. The address with the code goes to it by way of a file that only \
you can read: what a command line says, every user of this machine can see.

Examples:
  rrd open
  rrd open --print     the address alone, for a browser that is started otherwise")]
    Open(OpenArgs),
    /// Print a token with which a script may look: once, on stdout, and nothing else.
    #[command(after_help = "\
It counts until it is taken back, from everywhere the page can be reached, and allows what a paired \
browser may: to read. Keep it in a file that only you can read, past the shell's history.
One of --session-store is for programs made with the Claude Agent SDK: they keep their sessions here \
and read them back as they are, and see nothing else (client/adapters has what they need).

Examples:
  (umask 077; rrd token --label backup > ~/.rrd-token)
  printf 'Authorization: Bearer %s' \"$(cat ~/.rrd-token)\" |
    curl -H @- http://127.0.0.1:7730/sessions
  (umask 077; rrd token --session-store --label ci > ~/.rrd-store-token)
  rrd token --list
  rrd token --revoke 1a2b3c4d      its id, or the start of it; all for every one of them")]
    Token(TokenArgs),
    /// For agents: an MCP server on stdin and stdout, by which they see what the others do.
    #[command(after_help = "\
A harness starts it; you add it to the settings once:
  claude mcp add --scope user rrd -- rrd mcp
  codex mcp add rrd -- rrd mcp

Tools: list_sessions, get_session, read_events, search, graph, whoami, wait_for; send_message and inbox, \
the only ones that change something. What they tell from transcripts and messages is redacted and marked as data, at most 32 KiB at a time.
Which session asks is known for Claude Code and Codex.")]
    Mcp,
    /// What a hook runs: takes one call on stdin, is gone in a twentieth of a second (in half a second where the machine is too busy), exits 0.
    #[command(after_help = "\
For the settings of a harness; rrd hooks install writes it there. It never fails, and prints nothing, for a \
harness waits for it and may show what it prints to its model: but for messages to the session, where \
[messages] deliver = true in config.toml says so.

Example:
  echo '{\"hook_event_name\":\"Stop\",\"session_id\":\"…\"}' | rrd hook claude-code")]
    Hook {
        /// Who calls: claude-code, codex, hermes; others are taken and not understood.
        harness: String,
    },
    /// Take secrets out of JSONL: a filter from stdin to stdout.
    #[command(after_help = "\
Each secret becomes [REDACTED:rule]; every other byte stays as it came, and a second run changes \
nothing. Lines that are no JSON are redacted, too. How many each rule found goes to stderr.

Your own rules stand in redact.toml, beside config.toml (rrd config says where that is):
  [[deny]]
  id = \"acme-ticket\"
  pattern = 'ACME-[0-9]{6}'
  [allow]
  patterns = ['^sk-test-']            # matches within the secret
  literals = [\"not-really-a-secret\"]  # the whole secret

Examples:
  rrd redact < session.jsonl > clean.jsonl
  rrd redact --explain < session.jsonl > /dev/null     what would go, and where
  zstdcat old.jsonl.zst | rrd redact --json 2> counts.json | zstd > clean.jsonl.zst")]
    Redact(RedactArgs),
    /// Print a completion script for a shell.
    #[command(after_help = "\
Examples:
  rrd completions bash > ~/.local/share/bash-completion/completions/rrd
  rrd completions zsh  > ~/.zfunc/_rrd
  rrd completions fish > ~/.config/fish/completions/rrd.fish")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// What is active: what waits for someone first, then what runs, then what is idle.
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  rrd sessions list                       the active ones
  rrd sessions list --open                also those open but idle for long
  rrd sessions list --all --since 2d      everything of the last two days
  rrd sessions list --status waiting      only what needs someone
  rrd sessions list --json | jq -r '.[] | select(.status == \"waiting\") | .title'

Signs: ● waiting  ◐ executing  ○ idle  · ended  ✕ crashed  ◌ its host is away"
    )]
    List(ListArgs),
    /// One session: what, where, why it has its status, its last events, what to do next.
    #[command(after_help = "\
Examples:
  rrd sessions show b41f
  rrd sessions show b41f --limit 50
  rrd sessions show b41f --json --events | jq '.events[] | select(.is_error)'")]
    Show(ShowArgs),
    /// A session on a timeline, to go back and forth in: what it did, in full.
    #[command(after_help = "\
Examples:
  rrd sessions replay b41f                    its end, and what comes
  rrd sessions replay b41f --at 02:14         what it did then
  rrd sessions replay b41f --at -5m           five minutes before its last event
  rrd sessions replay b41f --at e7            its seventh event, as a search names it
  rrd sessions replay b41f --speed 20         plays it, dead time left out

Keys: ←→ step, e next error, w next wait, d next edit, space play, / search, ⏎ open, g go to a time,
? all of them, q leave. The mouse drags on the timeline. Nothing is written anywhere.")]
    Replay(ReplayArgs),
    /// The events of a session, one line each.
    #[command(after_help = "\
Examples:
  rrd sessions tail b41f -f
  rrd sessions tail b41f --limit 200 --json | jq -r 'select(.kind == \"tool_call\") | .text'

Following survives a restart of the daemon. Ctrl-C ends it. With --json what is no event has a type: \
status, a change of status; last_words, before those that another host tells.")]
    Tail(TailArgs),
    /// All of a session in a file: everything that is kept of what it did.
    #[command(after_help = "\
Examples:
  rrd sessions export b41f > b41f.jsonl
  rrd sessions export b41f --format md -o b41f.md
  rrd sessions export b41f --format html -o b41f.html
  rrd sessions export b41f | jq -r 'select(.kind == \"prompt\") | .body.text'

JSON Lines have a type each: session (with last_words where another host told them, copied_to of a \
fork), gap for what a limit took, event, and status for what it waited for and what else it was.")]
    Export(ExportArgs),
    /// Take a session, and all that is kept of it, out of rrd on this host, for good.
    #[command(after_help = "\
What it did goes from the index, and so does what it delegated; nothing brings it back, also not its \
transcript, which stays where its harness put it. Other hosts show it no more once they have asked anew.

Examples:
  rrd sessions forget b41f
  rrd sessions forget b41f --yes     without being asked")]
    Forget(ForgetArgs),
    /// Find what was said and done, on every host: prompts, answers, commands, file paths, errors.
    #[command(after_help = "\
Words are all to be found in one event; \"words in quotes\" one after the other; wor* is the beginning of \
a word. Upper and lower case and accents are the same, and so are - _ . / and blanks: src/main.rs finds \
those three words in a row. What tools printed is not looked through unless they failed, nor what was \
written into files.

Examples:
  rrd sessions search cargo publish
  rrd sessions search '\"connection refused\"' --kind error --since 2d
  rrd sessions search migrat* --repo api --json | jq -r '.[].snippet'")]
    Search(SearchArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hooks {
    /// Show the change to a harness's settings, ask, and make it; what was there is kept beside it.
    #[command(after_help = "\
The hooks run this very rrd. Only what is needed is added; every other byte of the file stays.

Examples:
  rrd hooks install claude-code
  rrd hooks install codex --yes     without being asked

Codex asks whether you trust a new hook, Hermes too: that answer stays yours.")]
    Install(HooksEdit),
    /// Take rrd's hooks out of a harness's settings again.
    #[command(after_help = "\
If nothing else has changed, the file is again what it was, to the last byte.")]
    Uninstall(HooksEdit),
    /// What is installed where.
    Status(HooksStatus),
}

#[derive(Debug, Args)]
pub(crate) struct HooksEdit {
    /// Only this harness: claude-code, codex or hermes; else every one that is here.
    #[arg(value_parser = hooked_harness)]
    pub(crate) harness: Option<String>,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HooksStatus {
    /// Only this harness: claude-code, codex or hermes.
    #[arg(value_parser = hooked_harness)]
    pub(crate) harness: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    /// Print a JSON array: every field of every row.
    #[arg(long, conflicts_with = "watch")]
    pub(crate) json: bool,
    /// Every session, ended ones too.
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Also sessions that are open but have been idle for long.
    #[arg(long)]
    pub(crate) open: bool,
    /// Only sessions of this host.
    #[arg(long)]
    pub(crate) local: bool,
    /// Only sessions of HOST.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Only sessions of this harness.
    #[arg(long, value_parser = harness())]
    pub(crate) harness: Option<Harness>,
    /// Only sessions in this repository.
    #[arg(long)]
    pub(crate) repo: Option<String>,
    /// Only this status: waiting, executing, idle or ended.
    #[arg(long, value_parser = status)]
    pub(crate) status: Option<Status>,
    /// Only sessions with activity since then: 90s, 5m, 2h or 3d ago, or a time (RFC 3339).
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub(crate) since: Option<Since>,
    /// Stay, and show changes as they happen; q leaves.
    #[arg(long, short)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) raw: RawArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// What to look for.
    #[arg(required = true)]
    pub(crate) text: Vec<String>,
    /// Only sessions of HOST.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Only sessions of this harness.
    #[arg(long, value_parser = harness())]
    pub(crate) harness: Option<Harness>,
    /// Only sessions in this repository.
    #[arg(long)]
    pub(crate) repo: Option<String>,
    /// Only what happened since then: 90s, 5m, 2h or 3d ago, or a time (RFC 3339).
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub(crate) since: Option<Since>,
    /// Only such: prompt, message, command, path, error or title.
    #[arg(long, value_parser = search_kind)]
    pub(crate) kind: Option<SearchKind>,
    /// At most so many hits.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_HITS)))]
    pub(crate) limit: u32,
    /// Print a JSON array: every field of every hit, the best first.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RawArgs {
    /// Show what is secret as it is; only on a terminal.
    #[arg(long)]
    pub(crate) raw: bool,
}

impl RawArgs {
    /// Whether texts are wanted as they are; refused where what is printed may end up anywhere.
    pub(crate) fn granted(&self) -> Result<bool, CliError> {
        if self.raw && !output::is_terminal() {
            return Err(CliError::new(
                Kind::Usage,
                "--raw shows secrets, so it prints to a terminal only",
            )
            .hint("leave it out: what is secret is then replaced by [REDACTED:rule]"));
        }
        if self.raw {
            output::remark("--raw: what is secret is shown as it is");
        }
        Ok(self.raw)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A unique start of its id, its ref, or host/harness/id.
    pub(crate) id: String,
    /// Print the session as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// All its events (at most 1,000, the newest) instead of the last ten; in JSON, an `events` key.
    #[arg(long)]
    pub(crate) events: bool,
    /// How many events, newest last.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: Option<u32>,
    /// With --json and --events: each with all that it says, not its line alone.
    #[arg(long, requires = "json", requires = "events")]
    pub(crate) bodies: bool,
    #[command(flatten)]
    pub(crate) raw: RawArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A unique start of its id, its ref, or host/harness/id.
    pub(crate) id: String,
    /// As what.
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// Into this file, which must not be there yet, instead of stdout.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) raw: RawArgs,
}

/// What a session is exported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportFormat {
    /// JSON Lines: the session, then each event and change of status.
    Jsonl,
    /// Markdown.
    Md,
    /// One HTML file with a timeline to scrub on, which needs no network and no other file.
    Html,
}

#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// A unique start of its id, its ref, or host/harness/id.
    pub(crate) id: String,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A unique start of its id, its ref, or host/harness/id.
    pub(crate) id: String,
    /// Where to begin: 02:14, 14:02:31, 2026-11-20 14:02, an RFC 3339 time, or -5m from its end.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) at: Option<String>,
    /// Play, from there or from the beginning, so many times as fast: 1 to 100.
    #[arg(long, value_name = "X", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) speed: Option<u32>,
    #[command(flatten)]
    pub(crate) raw: RawArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// A unique start of its id, its ref, or host/harness/id.
    pub(crate) id: String,
    /// Stay, and print events as they happen.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many of the past events to begin with.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) raw: RawArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RedactArgs {
    /// Say on stderr which rule matched where: line, path, length; never the secret.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Say it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// What to call this host, instead of its hostname.
    #[arg(long, value_name = "HOST")]
    pub(crate) name: Option<String>,
    /// Where other hosts of the fleet reach this one: auto, an address, or address:port.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Where browsers reach this host: auto (loopback, and the Tailscale address where there is a fleet or
    /// a paired device), off, an address, or address:port.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Option<String>,
    /// A file of NAME=value lines that come before the environment: a Windows task has none.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) environment: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after the tour, with a summary.
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// What to do.
    #[arg(value_enum)]
    pub(crate) action: ServiceAction,
    /// Show what would be written and run, and change nothing.
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServiceAction {
    /// Write the service file; start the daemon now and at every login.
    Install,
    /// Stop the daemon and remove the service file.
    Uninstall,
    /// What is installed, and whether it runs.
    Status,
    /// Stop the daemon and start it again.
    Restart,
}

/// Reads the command line; prints help and version by itself.
pub(crate) fn parse() -> Result<Cli, CliError> {
    let cli = Cli::try_parse().map_err(|error| {
        let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        // A closed pipe behind `rrd --help | head` is no failure either.
        let _ = error.print();
        CliError::new(if asked_for { Kind::Done } else { Kind::Usage }, "")
    })?;
    output::set_color(cli.color);
    Ok(cli)
}

/// Those this release reads, for help, mistakes and completions alike.
fn harness() -> impl TypedValueParser<Value = Harness> {
    let names = local::formats().iter().map(|format| format.name);
    PossibleValuesParser::new(names).map(|name| Harness::from(name.as_str()))
}

fn hooked_harness(name: &str) -> Result<String, String> {
    match settings::HARNESSES.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("not one of {}", settings::HARNESSES.join(", "))),
    }
}

fn status(word: &str) -> Result<Status, String> {
    word.parse()
}

fn since(text: &str) -> Result<Since, &'static str> {
    text.parse()
}

fn search_kind(word: &str) -> Result<SearchKind, String> {
    // What was changed is found by its path.
    let word = if word == "edit" { SearchKind::Path.as_str() } else { word };
    let words = SearchKind::ALL.map(SearchKind::as_str);
    let kind = SearchKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    kind.ok_or_else(|| format!("not one of {}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_words_are_refused_with_the_right_ones() {
        let says = |args: &[&str]| {
            let args = ["rrd", "sessions", "list"].iter().chain(args);
            Cli::try_parse_from(args).unwrap_err().to_string()
        };
        assert!(says(&["--status", "busy"]).contains("waiting, executing, idle, ended"));
        assert!(says(&["--since", "5"]).contains("90s, 5m, 2h or 3d"));
        assert!(says(&["--harness", "vim"]).contains("claude-code, codex"));
        assert!(says(&["--json", "--watch"]).contains("cannot be used with"));
    }
}
