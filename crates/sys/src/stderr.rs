//! Lines on standard error. `eprintln!` panics where nobody reads, in the midst of what the process does.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Prints a line to standard error, formatted as by `eprintln!`. Where that fails nobody is left to be told.
#[macro_export]
macro_rules! say_aside {
    ($($text:tt)*) => { $crate::stderr::line(format_args!($($text)*)) };
}

/// See [`say_aside!`](crate::say_aside).
pub fn line(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}
