//! `rrd sessions replay`: a session on a timeline, to go back and forth in.
//!
//! One loop owns the [`model::Model`] and draws it; threads feed it with keys, answers and what happens,
//! through one closed set of inputs. Only marks of all events are in memory; events and bodies come as
//! they are looked at. Nothing of a transcript reaches the screen but through [`crate::text`].

mod ask;
mod body;
mod events;
mod keys;
mod lane;
mod list;
mod model;
mod moment;
mod motion;
mod opened;
mod paint;
mod rows;
mod search;
mod source;
mod strip;
mod timeline;
mod view;

use std::{
    io::{self, Stdout},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use crossterm::{event::Event, queue, terminal};
use ratatui::{Terminal, backend::CrosstermBackend};
use rrd_proto::{MAX_MARKS, OutlineQuery, Session};

pub(crate) use self::{ask::Of, moment::Moment};
use self::{
    ask::{Ask, Told},
    model::Model,
};
use crate::{
    ask::Answerer,
    clock,
    error::{CliError, Kind},
    local::Config,
    output,
    screen::Screen,
    signals,
};

/// A picture while playing.
const FRAME: Duration = Duration::from_millis(33);
/// What happens by itself is drawn no more often than so; what the person does, at once.
const CALM: Duration = Duration::from_millis(16);
/// Ages count in seconds.
const TICK: Duration = Duration::from_millis(500);
/// What the first picture waits for its rows.
const PATIENCE: Duration = Duration::from_millis(40);

enum Input {
    Terminal(Event),
    Told(Told),
    Leave,
    /// A thread that feeds the loop has ended.
    Lost,
}

/// What to show, and how to begin.
pub(crate) struct Wish {
    pub(crate) session: Session,
    pub(crate) at: Option<Moment>,
    pub(crate) speed: Option<u32>,
    pub(crate) raw: bool,
}

/// Shows a session until the person leaves.
pub(crate) fn run(answerer: Answerer, config: Config, wish: Wish) -> Result<(), CliError> {
    let Wish { session, at, speed, raw } = wish;
    let mut model = Model::new(session.clone(), clock::now()).begin(at, speed);
    let of = model.of(0);
    outline(&answerer, &of, &mut model)?;
    let last = model.lanes[0].last_seq();

    let (sender, inputs) = sync_channel(64);
    let (asks, asked) = channel();
    let (searches, searched) = channel();
    let mut screen = Screen::take().map_err(failed)?;
    screen.listen_to_mouse().map_err(failed)?;
    spawn_terminal(sender.clone());
    let leaves = sender.clone();
    signals::on_leave(move || drop(leaves.send(Input::Leave)));
    match &answerer {
        Answerer::Daemon(_) => spawn(sender.clone(), {
            let config = config.clone();
            move |tell| source::follow(&config, &session, &of, raw, last, tell)
        }),
        Answerer::Scan(_) => {
            model.follow = false;
            model.trouble = Some("no daemon: as it was when this began".to_owned());
        }
    }
    spawn(sender.clone(), {
        let config = config.clone();
        move |tell| source::answer(answerer, &config, raw, &asked, tell)
    });
    spawn(sender, move |tell| {
        search::run(&|| Answerer::open_quietly(&config), raw, &searched, tell);
    });

    let mut picture = Picture::new(output::has_color()).map_err(failed)?;
    if !begin(&mut model, &asks, &inputs)? {
        return Ok(());
    }
    picture.draw(&mut model).map_err(failed)?;
    let (mut changed, mut drawn) = (false, Instant::now());
    loop {
        let wait = match changed {
            true => CALM.saturating_sub(drawn.elapsed()),
            false if model.playing.is_some() => FRAME,
            false => TICK,
        };
        let before = Instant::now();
        let Some(input) = source::next(&inputs, wait) else { return Err(lost()) };
        let passed = i64::try_from(before.elapsed().as_millis()).unwrap_or(0);
        changed |= model.tick(passed, clock::now());
        let mut urgent = false;
        for input in input.into_iter().chain(inputs.try_iter().take(256)) {
            urgent |= matches!(input, Input::Terminal(_));
            match take(&mut model, input)? {
                Taken::Leave => return Ok(()),
                Taken::Nothing => {}
                Taken::Changed => changed = true,
            }
        }
        if changed && (urgent || drawn.elapsed() >= CALM) {
            picture.draw(&mut model).map_err(failed)?;
            (changed, drawn) = (false, Instant::now());
        }
        for ask in model.asks() {
            let _ = asks.send(ask);
        }
        if let Some(search) = model.search.take() {
            let _ = searches.send(search);
        }
    }
}

enum Taken {
    Leave,
    Nothing,
    Changed,
}

fn take(model: &mut Model, input: Input) -> Result<Taken, CliError> {
    match input {
        Input::Leave => return Ok(Taken::Leave),
        Input::Lost => return Err(lost()),
        Input::Told(told) => model.take(told),
        Input::Terminal(Event::Key(key)) if !key.is_release() => {
            if keys::press(model, key) {
                return Ok(Taken::Leave);
            }
        }
        Input::Terminal(Event::Mouse(mouse)) => {
            if !keys::point(model, mouse) {
                return Ok(Taken::Nothing);
            }
        }
        Input::Terminal(Event::Resize(..)) => {}
        Input::Terminal(_) => return Ok(Taken::Nothing),
    }
    Ok(Taken::Changed)
}

/// The marks of the session, all of them, before there is anything to see.
fn outline(answerer: &Answerer, of: &Of, model: &mut Model) -> Result<(), CliError> {
    while !model.lanes[0].complete {
        let after = model.lanes[0].last_seq();
        let query = OutlineQuery { key: of.key.clone(), node: of.node, after, limit: MAX_MARKS };
        let outline = answerer.outline(&query)?;
        model.take(Told::Outline { lane: 0, outline });
    }
    Ok(())
}

/// Waits a little for the rows of the first picture; false when the person leaves already.
fn begin(
    model: &mut Model,
    asks: &Sender<Ask>,
    inputs: &Receiver<Input>,
) -> Result<bool, CliError> {
    let until = Instant::now() + PATIENCE;
    for ask in model.asks() {
        let _ = asks.send(ask);
    }
    while !model.lane().pages_wanted().is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        let Some(Some(input)) = source::next(inputs, left) else { break };
        if matches!(take(model, input)?, Taken::Leave) {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Picture {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    color: bool,
}

impl Picture {
    fn new(color: bool) -> io::Result<Self> {
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?, color })
    }

    fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        queue!(io::stdout(), terminal::BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| view::draw(model, frame.buffer_mut(), self.color))?;
        queue!(io::stdout(), terminal::EndSynchronizedUpdate)?;
        io::Write::flush(&mut io::stdout())
    }
}

fn failed(error: io::Error) -> CliError {
    CliError::new(Kind::Internal, format!("cannot draw on this terminal: {error}"))
}

fn lost() -> CliError {
    CliError::new(Kind::Internal, "nothing reaches this screen any more")
        .hint("rrd doctor checks what it depends on")
}

/// Runs `work` on a thread of its own; the loop hears when it panics.
fn spawn(sender: SyncSender<Input>, work: impl FnOnce(source::Tell<'_>) + Send + 'static) {
    thread::spawn(move || {
        let lost = LostOnPanic(sender);
        work(&|told| lost.0.send(Input::Told(told)).is_ok());
    });
}

/// Tells when a feeding thread dies: a picture that stands still would lie.
struct LostOnPanic(SyncSender<Input>);

impl Drop for LostOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Input::Lost);
        }
    }
}

fn spawn_terminal(sender: SyncSender<Input>) {
    thread::spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if sender.send(Input::Terminal(event)).is_err() {
                return;
            }
        }
        let _ = sender.send(Input::Lost);
    });
}
