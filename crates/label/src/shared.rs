//! The label of bases: every container may read it, and none may write it. Without such a label no base is shared.

use std::fmt;

use super::contexts::Contexts;
use super::policy::{check_context, compute_access};
use super::{LabelError, MountLabel, parts};

/// The label of a base: without categories, so that every container may read the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLabel(MountLabel);

/// The permissions that containers must not have for files that other containers read.
///
/// A base is read-only in any case. But a label that containers may write is a label for the files of single containers, and
/// containers could exchange data through a FIFO of a base.
const FORBIDDEN: [(&str, &[&str]); 7] = [
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

/// The permissions that a container needs for the files of its root.
const NEEDED: [(&str, &[&str]); 3] = [
    ("dir", &["getattr", "open", "read", "search"]),
    ("file", &["getattr", "open", "read", "map", "execute", "entrypoint"]),
    ("lnk_file", &["read"]),
];

impl SharedLabel {
    /// Checks that the label has one level and no categories. Does not ask the policy.
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

    /// Chooses the label for new mounts of bases: `given` by the administrator, or else the label that the policy's files have
    /// for read-only content that containers share.
    ///
    /// This reads files and asks the kernel some ten times, so only the first container of an image calls it.
    ///
    /// # Errors
    /// [`LabelError`] if the loaded policy does not know the label, lets containers change files with it, or does not let them
    /// run programs from it.
    pub fn choose(given: Option<&Self>) -> Result<Self, LabelError> {
        let contexts = Contexts::of_host();
        let label = match given {
            Some(given) => given.clone(),
            None => Self::parse(contexts.ro_file()?)?,
        };
        check_context("shared label", label.0.as_context())?;
        let process = contexts.process()?;
        check_context("label of containers' processes", process)?;
        label.check(process)?;
        Ok(label)
    }

    /// Asks the loaded policy what processes with the label `process` may do with files of this label.
    fn check(&self, process: &str) -> Result<(), LabelError> {
        let (label, process_label) = (self.0.to_string(), process.to_owned());
        for (class, permissions) in FORBIDDEN {
            if let Some(permission) =
                compute_access(process, &label, class, permissions)?.allowed.first()
            {
                let process = process_label;
                return Err(LabelError::Writable { label, process, class, permission });
            }
        }
        for (class, permissions) in NEEDED {
            if let Some(permission) =
                compute_access(process, &label, class, permissions)?.denied.first()
            {
                let process = process_label;
                return Err(LabelError::Unusable { label, process, class, permission });
            }
        }
        Ok(())
    }

    /// The label as that of a mount.
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
