//! An error and its causes in one line, for a person.

/// The longest text of [`chain`], in bytes: some errors quote what they were given, which may be megabytes.
pub const LONGEST: usize = 4096;

/// Names that libraries give to a cause in general. The cause itself follows (`io error: No such file or directory`).
const GENERAL: [&str; 2] = ["io error: ", "nix error: "];

/// What Rust's standard library writes before the number of an error of the system.
const NUMBER: &str = " (os error ";

/// Prints an error and its causes in one line, the causes after it, as [`readable`] text.
///
/// A cause whose words stand in the line already is left out. Control characters except the newline become `?`: an error may
/// quote a file that an attacker wrote, and a terminal must not obey that file. The line ends with `…` after [`LONGEST`]
/// bytes.
///
/// ```
/// # use sharedroot_sys::chain::chain;
/// let error = std::io::Error::from_raw_os_error(2);
/// assert_eq!(error.to_string(), "No such file or directory (os error 2)");
/// assert_eq!(chain(&error), "No such file or directory");
/// ```
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = readable(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = readable(&error.to_string());
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    let mut text = readable(&text);
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

/// Removes what a person does not need from the text of an error: the number of an error of the system, which the words
/// before it say (`No such file or directory (os error 2)`), and a library's general name for the cause that follows
/// (`io error: `).
///
/// Messages that do not come from [`chain`] pass through this function where they are written to the log file, to the journal
/// and to standard error.
#[must_use]
pub fn readable(text: &str) -> String {
    let mut readable = without_numbers(text);
    for name in GENERAL {
        while let Some(rest) = readable.strip_prefix(name) {
            readable = rest.to_owned();
        }
        let inside = format!(": {name}");
        while readable.contains(&inside) {
            readable = readable.replace(&inside, ": ");
        }
    }
    readable
}

fn without_numbers(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(NUMBER) {
        kept.push_str(before);
        let number = after.split_once(')').filter(|(number, _)| number.parse::<i32>().is_ok());
        rest = number.map_or(after, |(_, rest)| rest);
        if number.is_none() {
            kept.push_str(NUMBER);
        }
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An error as this project's crates define them: Display has the source's words, too.
    #[derive(Debug, thiserror::Error)]
    #[error("read /etc/passwd: {source}")]
    struct Read {
        source: io::Error,
    }

    /// An error as libcontainer defines them.
    #[derive(Debug, thiserror::Error)]
    #[error("io error")]
    struct General(#[source] io::Error);

    /// An error that has the words of its source already, without the number.
    #[derive(Debug, thiserror::Error)]
    #[error("open /x: {name}")]
    struct Named {
        name: nix::errno::Errno,
        source: io::Error,
    }

    #[test]
    fn a_terminal_obeys_nothing_of_an_error() {
        let error = io::Error::other("read \u{1b}[2Ja\r\u{9b}31m:\n  | ^");
        assert_eq!(chain(&error), "read ?[2Ja??31m:\n  | ^");
    }

    #[test]
    fn a_chain_has_each_cause_once_and_no_number() {
        let missing = || io::Error::from_raw_os_error(2);
        assert!(missing().to_string().ends_with("(os error 2)"), "the standard library's words");
        assert_eq!(chain(&missing()), "No such file or directory");
        let read = Read { source: missing() };
        assert_eq!(chain(&read), "read /etc/passwd: No such file or directory");
        assert_eq!(chain(&General(missing())), "No such file or directory");
        let nested = io::Error::other(General(missing()));
        assert_eq!(chain(&nested), "No such file or directory");
        let named = Named { name: nix::errno::Errno::ENOENT, source: missing() };
        assert_eq!(chain(&named), "open /x: ENOENT: No such file or directory");
    }

    #[test]
    fn only_numbers_of_errors_are_removed() {
        assert_eq!(readable("a (os error 2): b (os error -5)"), "a: b");
        assert_eq!(readable("mount: io error: nix error: EPERM"), "mount: EPERM");
        for whole in ["", "a (os error)", "a (os error x) b", "a (os error 2", "an io error: b"] {
            assert_eq!(readable(whole), whole);
        }
    }
}
