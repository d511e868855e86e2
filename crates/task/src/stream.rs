//! Where a standard stream of a process leads, as a client of containerd says it: nothing, a path, or a URI.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;

/// When a logger counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// When it has closed descriptor 5 (`binary://`).
    Closed,
    /// When it has written to descriptor 5 (`binary-v2://`, containerd 2.2).
    Written,
}

/// A program that takes the output of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logger {
    /// The program.
    pub program: PathBuf,
    /// The words after the program's name: each key of the query with its first value, in the order of the query. With
    /// containerd's own shim the order of the keys is left to chance.
    pub arguments: Vec<OsString>,
    /// When the logger counts as ready.
    pub ready: Ready,
}

/// Where a stream leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// Nowhere: /dev/null.
    Null,
    /// A FIFO, or a file that is there.
    Path(PathBuf),
    /// A file that is made where it is missing.
    File(PathBuf),
    /// A logger.
    Logger(Logger),
}

/// A text that names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAStream {
    /// A stream must not depend on a working directory.
    #[error("the stream {0:?} has no absolute path")]
    Relative(String),
    /// A path and a word end at a NUL.
    #[error("the stream {0:?} has a byte that is no part of a path")]
    Byte(String),
    /// Nobody knows what the scheme means.
    #[error("streams of the kind {0}://")]
    Scheme(String),
}

impl FromStr for Stream {
    type Err = NotAStream;

    fn from_str(text: &str) -> Result<Self, NotAStream> {
        let plain = |path: &str| absolute(text, path.as_bytes().to_vec());
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Ok(Self::Null) } else { plain(text).map(Self::Path) };
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = || absolute(text, decoded(path, Plus::Plus));
        let logger = |ready| {
            Ok(Self::Logger(Logger { program: path()?, arguments: words(text, query)?, ready }))
        };
        match scheme {
            "fifo" => plain(rest).map(Self::Path),
            "file" => path().map(Self::File),
            "binary" => logger(Ready::Closed),
            "binary-v2" => logger(Ready::Written),
            scheme => Err(NotAStream::Scheme(scheme.to_owned())),
        }
    }
}

fn absolute(text: &str, path: Vec<u8>) -> Result<PathBuf, NotAStream> {
    match path.first() {
        _ if path.contains(&0) => Err(NotAStream::Byte(text.to_owned())),
        Some(b'/') => Ok(OsString::from_vec(path).into()),
        _ => Err(NotAStream::Relative(text.to_owned())),
    }
}

/// The keys of a query, each with its first value.
fn words(text: &str, query: &str) -> Result<Vec<OsString>, NotAStream> {
    let mut words: Vec<[Vec<u8>; 2]> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let pair = [key, value].map(|word| decoded(word, Plus::Space));
        if pair.iter().any(|word| word.contains(&0)) {
            return Err(NotAStream::Byte(text.to_owned()));
        }
        if !words.iter().any(|[known, _]| *known == pair[0]) {
            words.push(pair);
        }
    }
    Ok(words.into_iter().flatten().map(OsString::from_vec).collect())
}

/// What `+` means: a space, in a query (RFC 1866, 8.2.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Plus,
    Space,
}

/// Decodes `%HH`. A percent sign before anything else is itself.
fn decoded(text: &str, plus: Plus) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let byte = match first {
            b'+' if plus == Plus::Space => b' ',
            b'%' => match (digit(0), digit(1)) {
                (Some(high), Some(low)) => {
                    rest = &after[2..];
                    u8::try_from(high * 16 + low).unwrap_or(b'%')
                }
                _ => b'%',
            },
            byte => *byte,
        };
        bytes.push(byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger(program: &str, arguments: &[&str], ready: Ready) -> Result<Stream, NotAStream> {
        let arguments = arguments.iter().map(OsString::from).collect();
        Ok(Stream::Logger(Logger { program: program.into(), arguments, ready }))
    }

    #[test]
    fn a_stream_is_nothing_a_path_or_a_uri() {
        let path = |path: &str| Ok(Stream::Path(path.into()));
        for (text, wanted) in [
            ("", Ok(Stream::Null)),
            ("/a b", path("/a b")),
            ("/a%20b?c#d", path("/a%20b?c#d")),
            ("fifo:///a", path("/a")),
            ("file:///a%20b?max=1", Ok(Stream::File("/a b".into()))),
            ("a", Err(NotAStream::Relative("a".to_owned()))),
            ("file://a", Err(NotAStream::Relative("file://a".to_owned()))),
            ("binary://a/b", Err(NotAStream::Relative("binary://a/b".to_owned()))),
            ("npipe:////./pipe/a", Err(NotAStream::Scheme("npipe".to_owned()))),
            ("/a\0b", Err(NotAStream::Byte("/a\0b".to_owned()))),
            ("file:///a%00b", Err(NotAStream::Byte("file:///a%00b".to_owned()))),
            ("binary:///a?%00", Err(NotAStream::Byte("binary:///a?%00".to_owned()))),
        ] {
            assert_eq!(text.parse(), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_words_of_a_logger_are_those_of_its_query() {
        use Ready::*;
        for (text, wanted) in [
            ("binary:///bin/log", logger("/bin/log", &[], Closed)),
            ("binary-v2:///bin/log?", logger("/bin/log", &[], Written)),
            (
                "binary:///l?a=b&c&d=e%26f+g%2B",
                logger("/l", &["a", "b", "c", "", "d", "e&f g+"], Closed),
            ),
            // Only the first value of a key, as with containerd's own shim.
            ("binary:///l%2d+?a=1&a=2#x", logger("/l-+", &["a", "1"], Closed)),
            ("binary:///l?100%=%zz", logger("/l", &["100%", "%zz"], Closed)),
        ] {
            assert_eq!(text.parse(), wanted, "{text:?}");
        }
    }
}
