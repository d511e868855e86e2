//! The shared label: one that every container may read and none may write, or bases are not shared.

use std::fmt;

use super::contexts::Contexts;
use super::policy::{ask, known};
use super::{LabelError, MountLabel, parts};

/// What a base carries: a label without categories, which every container may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLabel(MountLabel);

/// What a container must not do with what others read. A base cannot be written in any case, but a label that lets
/// containers write is that of somebody's own files; and through a pipe of a base they could talk.
const CHANGES: [(&str, &[&str]); 7] = [
    ("file", &["write", "append", "create", "setattr", "unlink", "rename", "link", "relabelfrom"]),
    (
        "dir",
        &[
            "write",
            "add_name",
            "remove_name",
            "create",
            "setattr",
            "rmdir",
            "rename",
            "relabelfrom",
        ],
    ),
    ("lnk_file", &["create", "unlink", "rename"]),
    ("fifo_file", &["write", "append", "create"]),
    ("sock_file", &["write", "create"]),
    ("chr_file", &["write"]),
    ("blk_file", &["write"]),
];

/// What a container needs of its root.
const USES: [(&str, &[&str]); 3] = [
    ("dir", &["getattr", "open", "read", "search"]),
    ("file", &["getattr", "open", "read", "map", "execute", "entrypoint"]),
    ("lnk_file", &["read"]),
];

impl SharedLabel {
    /// Checks that the label has one level and no categories.
    ///
    /// # Errors
    /// [`LabelError::Syntax`], [`LabelError::Categories`].
    pub fn parse(label: &str) -> Result<Self, LabelError> {
        let [_, _, _, level] = parts("shared label", label)?;
        if level.contains([':', '-', ',', '.']) {
            return Err(LabelError::Categories { label: label.to_owned() });
        }
        Ok(Self(MountLabel(label.to_owned())))
    }

    /// The label for new mounts of bases: what the administrator gave, else the policy's own for read-only content that
    /// containers share. The loaded policy must know it, let containers run from it, and not let them change it.
    ///
    /// This reads files and asks the kernel a dozen times: it is for the first container of an image.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn choose(given: Option<&Self>) -> Result<Self, LabelError> {
        let contexts = Contexts::of_host();
        let label = match given {
            Some(given) => given.clone(),
            None => Self::parse(contexts.ro_file()?)?,
        };
        known("shared label", label.0.as_context())?;
        let process = contexts.process()?;
        known("label of containers' processes", process)?;
        label.check(process)?;
        Ok(label)
    }

    /// Asks the loaded policy what processes of that label may do with it.
    fn check(&self, process: &str) -> Result<(), LabelError> {
        let (label, process_label) = (self.0.to_string(), process.to_owned());
        for (class, changes) in CHANGES {
            if let Some(permission) = ask(process, &label, class, changes)?.allowed.first() {
                let process = process_label;
                return Err(LabelError::Writable { label, process, class, permission });
            }
        }
        for (class, uses) in USES {
            if let Some(permission) = ask(process, &label, class, uses)?.denied.first() {
                let process = process_label;
                return Err(LabelError::Unusable { label, process, class, permission });
            }
        }
        Ok(())
    }

    /// The same label as a mount option's value.
    #[must_use]
    pub fn as_mount_label(&self) -> &MountLabel {
        &self.0
    }
}

impl fmt::Display for SharedLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_label_has_no_categories() {
        assert!(SharedLabel::parse("system_u:object_r:container_ro_file_t:s0").is_ok());
        for label in [
            "system_u:object_r:container_ro_file_t:s0:c1,c2",
            "system_u:object_r:container_ro_file_t:s0-s0:c0.c1023",
            "system_u:object_r:container_ro_file_t:s0-s15",
            "system_u:object_r:container_ro_file_t:SystemLow-SystemHigh",
        ] {
            assert!(matches!(SharedLabel::parse(label), Err(LabelError::Categories { .. })));
        }
    }
}
