//! Where the mounts of a configuration are, and which of them a path is in. A question takes a time that grows with the length of
//! the path, and not with the number of mounts: a configuration decides how many there are.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::path::{Path, PathBuf};

/// Paths in the order in which they were added.
#[derive(Debug, Default)]
pub struct Places {
    state: RandomState,
    paths: Vec<PathBuf>,
    /// The last path with this hash of its components.
    last: HashMap<u64, usize>,
    /// How many components the paths have.
    depths: HashSet<usize>,
    /// The hashes of the paths and of the directories above them.
    ways: HashSet<u64>,
}

impl Places {
    /// Adds a path, also one that was added before.
    pub fn add(&mut self, path: PathBuf) {
        let ways: Vec<_> = self.hashes(&path).collect();
        if let Some((depth, hash)) = ways.last() {
            self.last.insert(*hash, self.paths.len());
            self.depths.insert(*depth);
        }
        self.ways.extend(ways.into_iter().map(|(_, hash)| hash));
        self.paths.push(path);
    }

    /// The number of the last path that `path` is in, or that it is. The first path has the number 0.
    #[must_use]
    pub fn over(&self, path: &Path) -> Option<usize> {
        let found = self.hashes(path).filter_map(|(_, hash)| self.last.get(&hash).copied());
        found.max().filter(|at| path.starts_with(&self.paths[*at]))
    }

    /// The path of this number, as [`Self::over`] returns it.
    #[must_use]
    pub fn path(&self, number: usize) -> &Path {
        &self.paths[number]
    }

    /// Whether the absolute path `path`, which has so many names, is one of the paths.
    #[must_use]
    pub fn has(&self, path: &Path, names: usize) -> bool {
        // The leading slash is a component, too.
        self.depths.contains(&(names + 1))
            && self.hashes(path).last().is_some_and(|(_, hash)| self.last.contains_key(&hash))
    }

    /// Whether one of the paths is `path`, or is in it.
    #[must_use]
    pub fn leads_to(&self, path: &Path) -> bool {
        self.hashes(path).last().is_some_and(|(_, hash)| self.ways.contains(&hash))
    }

    /// The number of components of each beginning of the path, and its hash.
    fn hashes(&self, path: &Path) -> impl Iterator<Item = (usize, u64)> {
        let mut hasher = self.state.build_hasher();
        let nothing = (0, hasher.finish());
        let beginnings = path.components().enumerate().map(move |(at, part)| {
            part.hash(&mut hasher);
            (at + 1, hasher.finish())
        });
        std::iter::once(nothing).chain(beginnings)
    }
}

impl<P: Into<PathBuf>> FromIterator<P> for Places {
    fn from_iter<I: IntoIterator<Item = P>>(paths: I) -> Self {
        let mut places = Self::default();
        paths.into_iter().for_each(|path| places.add(path.into()));
        places
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_path_that_a_path_is_in() {
        let places = Places::from_iter(["/a/b", "/a", "/c//d/./e/", "/a/x", "rel/x", "/c"]);
        for (path, over) in [
            ("/a/b/c", Some(1)),
            ("/a/x/y", Some(3)),
            ("/c/d/e", Some(5)),
            ("/ab", None),
            ("/rel/x", None),
            ("rel/x/y", Some(4)),
            ("/", None),
        ] {
            assert_eq!(places.over(Path::new(path)), over, "{path}");
        }
        assert!(places.has(Path::new("/c/d/e"), 3) && !places.has(Path::new("/c/d"), 2));
        for (path, leads) in [("/", true), ("/c/d", true), ("/c/d/e", true), ("/c/d/e/f", false)] {
            assert_eq!(places.leads_to(Path::new(path)), leads, "{path}");
        }
    }

    proptest! {
        /// The same as a look at each path.
        #[test]
        fn as_a_look_at_each_path(paths in prop::collection::vec("/?([ab.]{1,2}/){0,4}", 0..9), asked in "/?([ab.]{1,2}/){0,5}") {
            let (places, asked) = (Places::from_iter(&paths), Path::new(&asked));
            prop_assert_eq!(places.over(asked), paths.iter().rposition(|path| asked.starts_with(path)));
            prop_assert_eq!(places.leads_to(asked), paths.iter().any(|path| Path::new(path).starts_with(asked)));
            let names = asked.components().count().saturating_sub(1);
            if asked.is_absolute() {
                prop_assert_eq!(places.has(asked, names), paths.iter().any(|path| Path::new(path) == asked));
            }
        }
    }

    /// A look at each of the other paths would take 5·10^9 comparisons.
    #[test]
    fn the_time_does_not_grow_with_the_square_of_the_number() {
        let began = Instant::now();
        let paths: Vec<_> =
            (0..100_000).map(|n| PathBuf::from(format!("/common/way/{n}"))).collect();
        let places = Places::from_iter(&paths);
        assert!((0..paths.len()).all(|at| places.over(&paths[at]) == Some(at)));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
