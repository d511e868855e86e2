//! `top`: which containers share which base, how much memory that saves, and how long starts take.
//!
//! | file | its story |
//! |---|---|
//! | `users` | which containers use which base |
//! | `resident` | how much of a base is in memory |
//! | `latency` | how long starts took |
//! | `look` | all figures at one moment, and as JSON |
//! | `table` | the figures as a table for people |
//! | `keys` | the keys that end `top` |

mod keys;
mod latency;
mod look;
mod resident;
mod table;
mod users;

use std::io::{self, Write};
use std::time::Duration;

use look::Looker;
use sharedroot_bases::Bases;
use sharedroot_sys::private_dir::private_dir;

use super::for_programs;
use super::screen::{Line, Screen};
use crate::cli::Top;
use crate::lifecycle::LifecycleError;
use crate::output;

/// Moves the cursor to the upper left corner; clears the rest of a line; clears the rest of the screen (ECMA-48: CUP,
/// EL, ED).
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// Shows the table until it is interrupted, or once.
///
/// # Errors
/// [`LifecycleError`].
pub fn top(bases: &Bases, args: &Top) -> Result<(), LifecycleError> {
    private_dir(bases.run_dir())?;
    let mut looker = Looker::new(bases.config(), args.all);
    if args.json {
        for_programs(looker.look()?.to_json());
        return Ok(());
    }
    let screen = Screen::here();
    if args.once || !screen.terminal {
        screen.print(&table::lines(&looker.look()?, screen));
        return Ok(());
    }
    let (pace, input) = (Duration::from_secs(args.interval), io::stdin());
    while !output::is_lost() {
        let lines = table::lines(&looker.look()?, screen);
        let mut out = io::stdout().lock();
        let drawn = draw(&lines, size(), screen);
        output::wrote(out.write_all(drawn.as_bytes()).and_then(|()| out.flush()));
        if keys::wait(&input, pace) {
            break;
        }
    }
    Ok(())
}

/// The columns and rows of the terminal; without limit if they are unknown.
fn size() -> (usize, usize) {
    let known = |number: u16| if number == 0 { usize::MAX } else { usize::from(number) };
    rustix::termios::tcgetwinsize(io::stdout())
        .map_or((usize::MAX, usize::MAX), |size| (known(size.ws_col), known(size.ws_row)))
}

/// The text that draws these lines over the earlier ones, as far as there is room. The last row stays free for the
/// cursor.
fn draw(lines: &[Line], (columns, rows): (usize, usize), screen: Screen) -> String {
    let mut text = HOME.to_owned();
    for line in lines.iter().take(rows.saturating_sub(1)) {
        text.push_str(&line.cut(columns, screen));
        text.push_str(REST_OF_LINE);
        text.push_str("\r\n");
    }
    text.push_str(REST_OF_SCREEN);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_cut_to_the_terminal() {
        let lines = ["IMAGE  SHARED", "a      1", "b      2"].map(Line::plain);
        let draw = |size| draw(&lines, size, Screen::NONE);
        let wide = "\x1b[HIMAGE  SHARED\x1b[K\r\na      1\x1b[K\r\nb      2\x1b[K\r\n\x1b[J";
        assert_eq!(draw((80, 24)), wide);
        assert_eq!(draw((usize::MAX, usize::MAX)), wide);
        let cut = "\x1b[HIMAGE\x1b[K\r\na    \x1b[K\r\n\x1b[J";
        assert_eq!(draw((5, 3)), cut);
        assert_eq!(draw((5, 0)), "\x1b[H\x1b[J");
    }
}
