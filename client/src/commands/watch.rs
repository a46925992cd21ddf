//! `rrd sessions list --watch`: the table, redrawn in place as sessions change.
//!
//! Three threads feed one closed set of inputs into one loop: answers, the terminal, signals. Only
//! the loop draws. Not here: the screen itself ([`crate::screen`]).

use std::{
    collections::HashMap,
    io,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use rrd_proto::{HostState, ListReply, Session, SessionKey, Status};

use crate::{
    cli::ListArgs,
    clock,
    commands::sessions,
    connect, empty,
    error::{CliError, Kind},
    footer::{self, Chosen},
    local::{self, Config},
    look, output,
    screen::Screen,
    signals, table, text,
};

const WAIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Every host is asked for all its sessions: not more often than so.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const MARKED: Duration = Duration::from_secs(2);

enum Input {
    /// What is so now, and what to remark about who says so.
    Reply(Box<ListReply>, Option<String>),
    Redraw,
    Leave,
    /// A thread that feeds the loop has ended.
    Lost,
}

pub(crate) fn run(args: &ListArgs) -> Result<(), CliError> {
    args.raw.granted()?;
    if !output::is_terminal() {
        return Err(CliError::new(Kind::Usage, "--watch needs a terminal to draw on")
            .hint("rrd sessions list --json prints once; run that again when you need it"));
    }
    let config = local::config(None)?;
    // The bound is for form: each sender has at most a few inputs ahead of the loop.
    let (sender, inputs) = sync_channel(16);
    let mut screen = Screen::take().map_err(failed)?;
    spawn_terminal(sender.clone());
    // A signal must not leave the terminal raw, so it is an input like a key.
    let leaves = sender.clone();
    signals::on_leave(move || drop(leaves.send(Input::Leave)));
    spawn_answers(sender, config, args.clone());

    let mut view =
        View { color: output::has_color(), chosen: sessions::chosen(args), ..View::default() };
    loop {
        screen.draw(&view.lines(screen.size())).map_err(failed)?;
        match inputs.recv_timeout(Duration::from_secs(1)) {
            Ok(Input::Reply(reply, remark)) => view.take(*reply, remark),
            Ok(Input::Redraw) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Input::Leave) => return Ok(()),
            Ok(Input::Lost) | Err(RecvTimeoutError::Disconnected) => {
                return Err(CliError::new(Kind::Internal, "nothing reaches this screen any more")
                    .hint("rrd doctor checks what it depends on"));
            }
        }
    }
}

fn failed(error: io::Error) -> CliError {
    CliError::new(Kind::Internal, format!("cannot draw on this terminal: {error}"))
}

/// Tells when a feeding thread ends, however it ends: a picture that stands still would lie.
struct LostOnDrop(SyncSender<Input>);

impl Drop for LostOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(Input::Lost);
    }
}

fn spawn_answers(sender: SyncSender<Input>, config: Config, args: ListArgs) {
    thread::spawn(move || {
        let sender = LostOnDrop(sender);
        while answers(&sender.0, &config, &args).is_some() {}
    });
}

/// Sends answers until who gives them changes; `None` when nobody takes them any more.
fn answers(sender: &SyncSender<Input>, config: &Config, args: &ListArgs) -> Option<()> {
    let send = |reply, remark| {
        let reply = Box::new(sessions::narrowed(reply, args));
        sender.send(Input::Reply(reply, remark)).ok()
    };
    let connection = match connect::dial(&config.dirs.socket) {
        Ok(connection) => connection,
        Err(why) => {
            let begun = Instant::now();
            let scan = local::scan(config, &mut |_| {});
            let remark = format!("{why}: looking by itself ({})", why.remedy());
            send(scan.list(&sessions::query(args, clock::now())), Some(remark))?;
            thread::sleep(LOOK_AGAIN.max(begun.elapsed() * 2));
            return Some(());
        }
    };
    loop {
        let Ok(reply) = connection.list(&sessions::query(args, clock::now())) else {
            thread::sleep(LOOK_AGAIN / 8);
            return Some(());
        };
        let cursor = reply.cursor;
        let reading = reply.progress.is_some();
        let asks_others = (args.all || args.status == Some(Status::Ended))
            && reply.sessions.iter().any(|row| row.host_state != HostState::Here);
        send(reply, None)?;
        if asks_others {
            thread::sleep(ASK_AGAIN);
        }
        // While transcripts are read for the first time, how far that is matters too.
        let wait = if reading { Duration::from_secs(1) } else { WAIT };
        match connection.watch(cursor, wait) {
            Ok(Ok(_)) => {}
            // Too many wait: whoever looks now and then needs no place among them.
            Ok(Err(_)) => {
                drop(connection);
                thread::sleep(LOOK_AGAIN);
                return Some(());
            }
            Err(_) => return Some(()),
        }
    }
}

fn spawn_terminal(sender: SyncSender<Input>) {
    thread::spawn(move || {
        let sender = LostOnDrop(sender);
        while let Ok(event) = crossterm::event::read() {
            let input = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    match key.code {
                        KeyCode::Char('c' | 'd') if control => Input::Leave,
                        KeyCode::Char('q') | KeyCode::Esc => Input::Leave,
                        _ => continue,
                    }
                }
                Event::Resize(..) => Input::Redraw,
                _ => continue,
            };
            if sender.0.send(input).is_err() {
                return;
            }
        }
    });
}

#[derive(Default)]
struct View {
    reply: Option<ListReply>,
    remark: Option<String>,
    chosen: Chosen,
    changed: HashMap<(String, SessionKey), Instant>,
    color: bool,
}

impl View {
    fn take(&mut self, reply: ListReply, remark: Option<String>) {
        let id = |s: &Session| (s.host.clone(), s.key());
        if let Some(old) = &self.reply {
            let old: HashMap<_, _> = old.sessions.iter().map(|s| (id(s), s)).collect();
            for session in &reply.sessions {
                let id = id(session);
                if old.get(&id).is_none_or(|old| *old != session) {
                    self.changed.insert(id, Instant::now());
                }
            }
        }
        self.changed.retain(|_, at| at.elapsed() < MARKED);
        self.reply = Some(reply);
        self.remark = remark;
    }

    fn lines(&self, (columns, rows): (usize, usize)) -> Vec<String> {
        let now = clock::now();
        let Some(reply) = &self.reply else {
            return vec![text::fit_end("reading transcripts …", columns).into_owned()];
        };
        let mut below = vec![String::new()];
        below.extend(footer::lines(reply, self.chosen, now, Some(columns)));
        let remarks = footer::progress(reply).into_iter().chain(self.remark.clone());
        below.extend(remarks.map(|remark| text::fit_end(&remark, columns).into_owned()));
        below.push(look::paint(look::DIM, "q leaves"));
        let mut lines: Vec<String> = if reply.sessions.is_empty() {
            let lines = empty::lines(reply, self.chosen, now);
            lines.iter().map(|line| text::fit_end(&unstyled(line), columns).into_owned()).collect()
        } else {
            let lines = table::draw(&reply.sessions, now, Some(columns));
            lines.iter().map(|line| self.styled(line, &reply.sessions)).collect()
        };
        let room = rows.saturating_sub(below.len());
        if lines.len() > room {
            lines.truncate(room.saturating_sub(1));
            lines.push("… more in a taller window".to_owned());
        }
        lines.extend(below.iter().map(|line| self.shown(line)));
        lines
    }

    fn shown(&self, line: &str) -> String {
        if self.color { line.to_owned() } else { unstyled(line) }
    }

    /// What changed a moment ago is bold all along, whatever colours it has.
    fn styled(&self, line: &table::Line, sessions: &[Session]) -> String {
        let session = line.row.map(|row| &sessions[row]);
        let marked = session.is_some_and(|s| {
            self.changed.get(&(s.host.clone(), s.key())).is_some_and(|at| at.elapsed() < MARKED)
        });
        let text = self.shown(&line.text);
        if !marked {
            return text;
        }
        // Not a colour, so it stays where those are switched off.
        let bold = look::BOLD.render().to_string();
        format!("{bold}{}", text.replace("\u{1b}[0m", &format!("\u{1b}[0m{bold}")))
    }
}

fn unstyled(line: &str) -> String {
    anstream::adapter::strip_str(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        footer::tests::reply,
        table::tests::{executing, session, waiting},
        text::width,
    };

    fn view() -> View {
        let mut view = View { color: true, ..View::default() };
        view.take(reply(vec![waiting("b41f", "Bash: ls"), session("7f2c")]), None);
        view
    }

    #[test]
    fn what_changed_is_marked_and_the_first_picture_is_not() {
        let mut view = view();
        let bold = |view: &View| {
            let lines = view.lines((80, 24));
            lines.iter().filter(|line| line.starts_with("\u{1b}[1m")).count()
        };
        assert_eq!(bold(&view), 0);
        view.take(reply(vec![waiting("b41f", "Bash: ls"), executing("7f2c", "Edit")]), None);
        assert_eq!(bold(&view), 1);
        view.color = false;
        assert_eq!(bold(&view), 1);
    }

    #[test]
    fn a_picture_fits_any_window() {
        let mut view = view();
        view.remark = Some("no daemon is running: ".repeat(9));
        for size in [(80, 24), (40, 8), (40, 5), (200, 60)] {
            let lines = view.lines(size);
            assert!(lines.len() <= size.1, "{size:?}");
            assert!(lines.iter().all(|line| width(&unstyled(line)) <= size.0), "{size:?}");
        }
    }
}
