//! A screen of its own, for what redraws in place; gives the terminal back however it ends.
//!
//! The alternate screen, a hidden cursor, raw mode and the mouse are undone on drop and, before the message is
//! printed, on a panic of any thread. Not here: what is drawn, and what keys mean.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor,
    event::{DisableMouseCapture, EnableMouseCapture},
    execute, queue, terminal,
};

static TAKEN: AtomicBool = AtomicBool::new(false);
static MOUSE: AtomicBool = AtomicBool::new(false);

/// The terminal, while it is ours.
pub(crate) struct Screen(());

impl Screen {
    /// Takes the terminal.
    pub(crate) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                print(panic);
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        let screen = Self(());
        terminal::enable_raw_mode()?;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Has the terminal tell of the mouse, until it is given back.
    pub(crate) fn listen_to_mouse(&mut self) -> io::Result<()> {
        MOUSE.store(true, Ordering::SeqCst);
        execute!(io::stdout(), EnableMouseCapture)
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (usize, usize) {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        (usize::from(columns), usize::from(rows))
    }

    /// Shows `lines`, none wider than the screen, in place of what stood there.
    pub(crate) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (_, rows) = self.size();
        let mut frame = String::new();
        for (at, line) in lines.iter().take(rows).enumerate() {
            // Raw mode: a line feed alone does not return. Each line is cleared before it is written,
            // because behind a line as wide as the screen clearing would take its last letter.
            let begin = if at == 0 { "" } else { "\r\n" };
            let _ = write!(frame, "{begin}\u{1b}[K{line}\u{1b}[0m");
        }
        if lines.len() < rows {
            frame.push_str("\r\n\u{1b}[J");
        }
        let mut out = io::stdout().lock();
        queue!(out, terminal::BeginSynchronizedUpdate, cursor::MoveTo(0, 0))?;
        out.write_all(frame.as_bytes())?;
        queue!(out, terminal::EndSynchronizedUpdate)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        if MOUSE.swap(false, Ordering::SeqCst) {
            let _ = execute!(io::stdout(), DisableMouseCapture);
        }
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}
