//! Lines on standard error. `eprintln!` would panic if nobody reads them, in the middle of the work.

use std::fmt::Arguments;
use std::io::{self, Write};

use crate::chain::readable;

/// Prints a line to standard error, formatted as by `eprintln!`. If this fails, there is no other place for the line.
#[macro_export]
macro_rules! say_aside {
    ($($text:tt)*) => { $crate::stderr::line(format_args!($($text)*)) };
}

/// See [`say_aside!`](crate::say_aside). The second and later lines of the text are indented: so a name with a newline in it
/// cannot make a line that looks like another message.
pub fn line(text: Arguments<'_>) {
    let _ =
        writeln!(io::stderr(), "{}", readable(&text.to_string()).trim_end().replace('\n', "\n  "));
}
