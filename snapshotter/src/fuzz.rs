//! The functions that the fuzz targets call. The crate in `fuzz/` gives random bytes; the tests below give the seeds and damaged
//! seeds.
//!
//! | function | who wrote it |
//! |---|---|
//! | [`filter`] | a client: filters and labels, and filters meet snapshots |
//! | [`hints`] | engines, of their containers; what they keep is what their users asked for |

mod hints;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use self::hints::hints;
use crate::filter::{Fields, Filters};
use crate::key::{Key, MAX_KEY};
use crate::labels::{Labels, MAX_LABEL};

/// A snapshot whose fields all have the same value.
struct Uniform<'b>(&'b [u8]);

impl Fields for Uniform<'_> {
    fn field(&self, path: &[Vec<u8>]) -> Option<Cow<'_, [u8]>> {
        assert!(!path.is_empty(), "a selector names a field");
        Some(Cow::Borrowed(self.0))
    }
}

/// A snapshot without fields.
struct Bare;

impl Fields for Bare {
    fn field(&self, _path: &[Vec<u8>]) -> Option<Cow<'_, [u8]>> {
        None
    }
}

/// Each line is a filter, a name, and an update of labels.
///
/// # Panics
/// If a promise is broken.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines: Vec<_> = text.lines().collect();
    let all = Filters::parse(&lines);
    let each: Vec<_> = lines.iter().map(|line| Filters::parse(&[line])).collect();
    if let Ok(all) = &all {
        let any = |of: &dyn Fn(&Filters) -> bool| lines.is_empty() || each.iter().flatten().any(of);
        let uniform = Uniform(bytes);
        assert_eq!(all.pass(&uniform), any(&|one| one.pass(&uniform)), "one filter is enough");
        assert_eq!(all.pass(&Bare), any(&|one| one.pass(&Bare)), "one filter is enough");
    }
    for error in each.iter().filter_map(|one| one.as_ref().err()) {
        let error = error.to_string();
        assert!(error.len() < 1000 && error.contains("at byte"), "{error}");
    }
    for line in lines {
        if let Ok(key) = line.parse::<Key>() {
            assert!(key.to_string() == line && (1..=MAX_KEY).contains(&line.len()));
        }
        let (key, value) = line.split_once('=').unwrap_or((line, "x"));
        let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        if let Ok(labels) = Labels::default().updated(labels, &[format!("labels.{key}")]) {
            let sum = |(key, value): (&str, &str)| key.len() + value.len();
            assert!(labels.iter().map(sum).all(|bytes| bytes <= MAX_LABEL));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_damaged_seeds_are_read_or_refused() {
        let targets: [sharedroot_seeds::Target; 2] = [("filter", filter), ("hints", hints)];
        sharedroot_seeds::every_seed(&targets);
        sharedroot_seeds::damaged_seeds(&targets);
    }
}
