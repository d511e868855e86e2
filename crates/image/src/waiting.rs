//! Names that wait for their turn in a walk over a tree, the last one first. An image can have millions of directories below a
//! path of 2,000 bytes, so the walk keeps each name alone, and the path to where the walk is once.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How many names may wait at once, and how many names the tree of an image may have.
pub(super) const MOST_NAMES: usize = 1 << 21;
/// How many bytes these names may have together.
pub(super) const MOST_NAME_BYTES: usize = 64 << 20;

/// There are more names than a walk keeps.
#[derive(Debug, thiserror::Error)]
#[error("more than {most} {what} in its directories")]
pub(super) struct TooManyNames {
    pub(super) what: &'static str,
    pub(super) most: usize,
}

impl From<TooManyNames> for io::Error {
    fn from(error: TooManyNames) -> Self {
        Self::other(error)
    }
}

/// Counts names, which have a bound.
#[derive(Debug)]
pub(super) struct NameCount {
    most: usize,
    most_bytes: usize,
    number: usize,
    bytes: usize,
}

impl Default for NameCount {
    fn default() -> Self {
        Self::bounded(MOST_NAMES, MOST_NAME_BYTES)
    }
}

impl NameCount {
    pub(super) fn bounded(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, number: 0, bytes: 0 }
    }

    pub(super) fn add(&mut self, name: &[u8]) -> Result<(), TooManyNames> {
        self.number += 1;
        self.bytes += name.len();
        if self.number > self.most {
            return Err(TooManyNames { what: "names", most: self.most });
        }
        if self.bytes > self.most_bytes {
            return Err(TooManyNames { what: "MiB of names", most: self.most_bytes >> 20 });
        }
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) {
        self.number -= 1;
        self.bytes -= name.len();
    }
}

/// A place in a tree, and the names that the walk will visit. The walk begins at the top.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// For each name its bytes, its depth and its length.
    stack: Vec<u8>,
    count: NameCount,
    /// Where the walk is: the path below the top.
    path: Vec<u8>,
    /// Where in `path` each directory above ends.
    ends: Vec<usize>,
}

/// What a name takes in the stack besides its bytes.
const DEPTH: usize = size_of::<u32>();
const LENGTH: usize = size_of::<u16>();

impl Waiting {
    /// The path of where the walk is, below the top; `.` at the top.
    pub(super) fn path(&self) -> &Path {
        let path = if self.path.is_empty() { b"." } else { self.path.as_slice() };
        Path::new(OsStr::from_bytes(path))
    }

    /// How many directories are above the place.
    pub(super) fn depth(&self) -> usize {
        self.ends.len()
    }

    /// Lets a name of the directory where the walk is wait for its turn.
    pub(super) fn push(&mut self, name: &[u8]) -> io::Result<()> {
        let wrong = |_| io::Error::from(io::ErrorKind::InvalidFilename);
        let length = u16::try_from(name.len()).map_err(wrong)?;
        let depth = u32::try_from(self.depth()).map_err(wrong)?;
        self.count.add(name)?;
        self.stack.extend_from_slice(name);
        self.stack.extend_from_slice(&depth.to_ne_bytes());
        self.stack.extend_from_slice(&length.to_ne_bytes());
        Ok(())
    }

    /// Goes to the name that was pushed last. Returns false if no name waits.
    pub(super) fn go_on(&mut self) -> bool {
        let Some((rest, length)) = self.stack.split_last_chunk::<LENGTH>() else { return false };
        let Some((rest, depth)) = rest.split_last_chunk::<DEPTH>() else { return false };
        let begin = rest.len() - usize::from(u16::from_ne_bytes(*length));
        let (name, depth) = (&rest[begin..], u32::from_ne_bytes(*depth) as usize);
        // The directory of the name is the place itself, or is above it.
        if let Some(&end) = self.ends.get(depth) {
            self.path.truncate(end);
            self.ends.truncate(depth);
        }
        self.ends.push(self.path.len());
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        self.count.remove(name);
        self.stack.truncate(begin);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(waiting: &mut Waiting, names: &[&str]) {
        names.iter().for_each(|name| waiting.push(name.as_bytes()).unwrap());
    }

    #[test]
    fn each_name_is_visited_at_its_place() {
        let mut waiting = Waiting::default();
        let mut seen = Vec::new();
        loop {
            seen.push(waiting.path().to_str().unwrap().to_owned());
            match waiting.path().to_str().unwrap() {
                "." => all(&mut waiting, &["c", "b", "a"]),
                "a" => all(&mut waiting, &["y", "x"]),
                "a/x" => all(&mut waiting, &["deep"]),
                "b" => all(&mut waiting, &["."]),
                _ => {}
            }
            if !waiting.go_on() {
                break;
            }
        }
        assert_eq!(seen, [".", "a", "a/x", "a/x/deep", "a/y", "b", "b/.", "c"]);
        assert_eq!((waiting.stack.len(), waiting.count.number, waiting.count.bytes), (0, 0, 0));
    }

    #[test]
    fn names_have_a_bound_by_number_and_by_bytes() {
        let mut waiting = Waiting { count: NameCount::bounded(3, 1 << 20), ..Waiting::default() };
        all(&mut waiting, &["a", "b", "c"]);
        let error = waiting.push(b"d").unwrap_err();
        assert_eq!(error.to_string(), "more than 3 names in its directories");
        let long = vec![b'x'; 1 << 15];
        let mut waiting = Waiting { count: NameCount::bounded(100, 1 << 20), ..Waiting::default() };
        (0..32).for_each(|_| waiting.push(&long).unwrap());
        let error = waiting.push(b"x").unwrap_err();
        assert_eq!(error.to_string(), "more than 1 MiB of names in its directories");
    }

    /// What 10,000 names take that wait below a path of 1,950 bytes: their own bytes.
    #[test]
    fn a_long_path_is_kept_once() {
        let mut waiting = Waiting::default();
        waiting.push(&[b'p'; 1950]).unwrap();
        assert!(waiting.go_on());
        for n in 0..10_000 {
            waiting.push(format!("{n:05}").as_bytes()).unwrap();
        }
        assert_eq!(waiting.stack.len(), 10_000 * (5 + DEPTH + LENGTH));
        assert!(waiting.go_on());
        assert_eq!(waiting.path().as_os_str().len(), 1950 + 1 + 5);
    }
}
