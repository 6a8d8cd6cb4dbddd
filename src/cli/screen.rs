//! The terminal behind standard output: what it can show, and a part of it that is drawn anew.

use std::io::{self, IsTerminal as _, Write};

use crate::report::output::Look;

/// Switches colours off where it is set to anything: <https://no-color.org>.
const NO_COLOR: &str = "NO_COLOR";

/// A terminal that says that it knows no colours, or nothing else.
const DUMB: &str = "dumb";

/// A terminal's second screen, without cursor; what was there before comes back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// To its first line; to the end of a line, and of the screen, what was drawn before goes.
const HOME: &str = "\u{1b}[H";
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";

/// What standard output can show.
pub(super) fn look() -> Look {
    if !io::stdout().is_terminal() {
        return Look::default();
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let dumb = set("TERM").is_some_and(|term| term == DUMB);
    Look { colour: set(NO_COLOR).is_none() && !dumb, width: size().map(|(width, _)| width) }
}

/// Columns and lines of the terminal behind standard output.
fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// What is drawn again and again: in place on a terminal, one below the other elsewhere.
pub(super) struct Screen {
    in_place: bool,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> io::Result<Self> {
        let screen = Self { in_place: io::stdout().is_terminal() };
        if screen.in_place {
            let mut out = io::stdout().lock();
            out.write_all(ENTER.as_bytes())?;
            out.flush()?;
        }
        Ok(screen)
    }

    /// Shows `text` in place of what was there; what does not fit is left out at the end.
    pub(super) fn draw(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.in_place {
            writeln!(out, "{text}")?;
            return out.flush();
        }
        let lines = size().map_or(usize::MAX, |(_, lines)| usize::from(lines));
        let mut frame = HOME.to_owned();
        for (number, line) in text.lines().take(lines).enumerate() {
            if number > 0 {
                frame.push_str("\r\n");
            }
            frame.push_str(line);
            frame.push_str(REST_OF_LINE);
        }
        frame.push_str(REST_OF_SCREEN);
        out.write_all(frame.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    /// Gives the terminal back, however the command ends.
    fn drop(&mut self) {
        if self.in_place {
            let mut out = io::stdout().lock();
            let _ = out.write_all(LEAVE.as_bytes());
            let _ = out.flush();
        }
    }
}
