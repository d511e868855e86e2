//! The labels of a snapshot, within containerd's bounds, and their update.

use std::collections::BTreeMap;

/// The most bytes of a label's key and value together (containerd, `pkg/labels/validate.go`).
pub const MAX_LABEL: usize = 4096;
/// The most labels of a snapshot.
pub const MAX_LABELS: usize = 512;

/// Why labels are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLabels {
    /// A label has no key.
    #[error("a label has no key")]
    NoKey,
    /// A label is too long.
    #[error("the label {key:?} has {bytes} bytes with its value, and {MAX_LABEL} are the most")]
    Long {
        /// The beginning of its key.
        key: String,
        /// The bytes of key and value.
        bytes: usize,
    },
    /// There are too many labels.
    #[error("a snapshot has {count} labels, and {MAX_LABELS} are the most")]
    Many {
        /// How many.
        count: usize,
    },
    /// A field mask names a field that no update changes.
    #[error("cannot update the field {path:?} of a snapshot; labels and labels.KEY can be updated")]
    Field {
        /// The field.
        path: String,
    },
}

/// The labels of a snapshot. A label without a value does not exist, as with containerd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All labels, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The labels after an update. Without paths `new` takes the place of all labels. The path `labels` does the same, and
    /// `labels.KEY` takes one label of `new`, or removes it if `new` does not have it.
    ///
    /// # Errors
    /// [`BadLabels`].
    pub fn updated(
        self,
        new: BTreeMap<String, String>,
        paths: &[String],
    ) -> Result<Self, BadLabels> {
        if paths.is_empty() {
            return new.try_into();
        }
        let mut labels = self.0;
        for path in paths {
            match (path.as_str(), path.strip_prefix("labels.")) {
                ("labels", _) => labels.clone_from(&new),
                (_, Some(key)) => {
                    labels.insert(key.to_owned(), new.get(key).cloned().unwrap_or_default());
                }
                _ => {
                    let path = path[..path.floor_char_boundary(64)].to_owned();
                    return Err(BadLabels::Field { path });
                }
            }
        }
        labels.try_into()
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = BadLabels;

    fn try_from(mut labels: BTreeMap<String, String>) -> Result<Self, BadLabels> {
        labels.retain(|_, value| !value.is_empty());
        if labels.len() > MAX_LABELS {
            return Err(BadLabels::Many { count: labels.len() });
        }
        for (key, value) in &labels {
            let bytes = key.len() + value.len();
            if key.is_empty() {
                return Err(BadLabels::NoKey);
            }
            if bytes > MAX_LABEL {
                let key = key[..key.floor_char_boundary(64)].to_owned();
                return Err(BadLabels::Long { key, bytes });
            }
        }
        Ok(Self(labels))
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn labels(of: &[(&str, &str)]) -> Labels {
        map(of).try_into().unwrap()
    }

    #[test]
    fn labels_have_containerds_bound() {
        let with = |length| Labels::try_from(map(&[("key", &"v".repeat(length))]));
        assert!(with(MAX_LABEL - 3).is_ok());
        assert_eq!(with(MAX_LABEL - 2), Err(BadLabels::Long { key: "key".into(), bytes: 4097 }));
        assert_eq!(Labels::try_from(map(&[("", "v")])), Err(BadLabels::NoKey));
        let many: BTreeMap<_, _> =
            (0..=MAX_LABELS).map(|number| (number.to_string(), "v".to_owned())).collect();
        assert_eq!(Labels::try_from(many), Err(BadLabels::Many { count: MAX_LABELS + 1 }));
        assert_eq!(labels(&[("a", ""), ("b", "1")]), labels(&[("b", "1")]));
    }

    #[test]
    fn an_update_changes_what_its_paths_name() {
        let paths =
            |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let before = labels(&[("a", "1"), ("b.c", "2")]);
        for (new, mask, after) in [
            (&[("d", "4")][..], &[][..], &[("d", "4")][..]),
            (&[("d", "4")], &["labels"], &[("d", "4")]),
            (&[("b.c", "3"), ("d", "4")], &["labels.b.c"], &[("a", "1"), ("b.c", "3")]),
            (&[], &["labels.a"], &[("b.c", "2")]),
            (&[("d", "")], &["labels.d", "labels.x"], &[("a", "1"), ("b.c", "2")]),
            (&[], &[], &[]),
        ] {
            let updated = before.clone().updated(map(new), &paths(mask)).unwrap();
            assert_eq!(updated, labels(after), "{mask:?}");
        }
        for wrong in ["kind", "name", "label", "Labels", "labels."] {
            assert!(
                before.clone().updated(map(&[("", "v")]), &paths(&[wrong])).is_err(),
                "{wrong}"
            );
        }
        let half = before.clone().updated(map(&[("a", "9")]), &paths(&["labels.a", "parent"]));
        assert_eq!(half, Err(BadLabels::Field { path: "parent".into() }));
    }
}
