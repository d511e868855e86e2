//! `top`: who shares what, what that keeps out of memory, and how long starts take.
//!
//! | file | its story |
//! |---|---|
//! | `users` | who uses which base |
//! | `resident` | how much of a base is in memory |
//! | `latency` | how long starts took |
//! | `look` | all of that at one moment, and for programs |
//! | `table` | the same for people |

mod latency;
mod look;
mod resident;
mod table;
mod users;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use look::Looker;

use crate::cli::Top;
use crate::lifecycle::LifecycleError;
use crate::output::{self, say};
use crate::record::private_dir;
use crate::rootfs::Storage;

/// Moves to the upper left corner; what is left of a line; what is left of the screen (ECMA-48: CUP, EL, ED).
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// Shows the table until it is interrupted, or once.
///
/// # Errors
/// [`LifecycleError`].
pub fn top(storage: &Storage, args: &Top) -> Result<(), LifecycleError> {
    private_dir(&storage.pool.run_dir)?;
    let mut looker = Looker::new(storage, args.all);
    if args.json {
        say!("{:#}", looker.look()?.to_json());
        return Ok(());
    }
    if args.once || !io::stdout().is_terminal() {
        table::lines(&looker.look()?).iter().for_each(|line| say!("{line}"));
        return Ok(());
    }
    while !output::is_lost() {
        let lines = table::lines(&looker.look()?);
        let mut out = io::stdout().lock();
        output::wrote(out.write_all(screen(&lines, size()).as_bytes()).and_then(|()| out.flush()));
        std::thread::sleep(Duration::from_secs(args.interval));
    }
    Ok(())
}

/// Columns and rows of the terminal; one that does not know them takes all.
fn size() -> (usize, usize) {
    let known = |number: u16| if number == 0 { usize::MAX } else { usize::from(number) };
    rustix::termios::tcgetwinsize(io::stdout())
        .map_or((usize::MAX, usize::MAX), |size| (known(size.ws_col), known(size.ws_row)))
}

/// What draws these lines over the last ones, as far as there is room: the last row stays free for the cursor.
fn screen(lines: &[String], (columns, rows): (usize, usize)) -> String {
    let mut text = HOME.to_owned();
    for line in lines.iter().take(rows.saturating_sub(1)) {
        text.extend(line.chars().take(columns));
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
        let lines = ["IMAGE  SHARED", "a      1", "b      2"].map(str::to_owned);
        let wide = "\x1b[HIMAGE  SHARED\x1b[K\r\na      1\x1b[K\r\nb      2\x1b[K\r\n\x1b[J";
        assert_eq!(screen(&lines, (80, 24)), wide);
        assert_eq!(screen(&lines, (usize::MAX, usize::MAX)), wide);
        let cut = "\x1b[HIMAGE\x1b[K\r\na    \x1b[K\r\n\x1b[J";
        assert_eq!(screen(&lines, (5, 3)), cut);
        assert_eq!(screen(&lines, (5, 0)), "\x1b[H\x1b[J");
    }
}
