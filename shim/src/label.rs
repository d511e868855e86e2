//! SELinux labels as types: what may be shared, what a container's own files carry, what its
//! process runs as. No other module spells a label as a bare string.

use std::ffi::CString;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use pathrs::flags::OpenFlags;
use pathrs::procfs::{ProcfsBase, ProcfsHandle};
use selinux::{KernelSupport, SecurityContext};

/// A label that cannot be used, or could not be set.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// Not `user:role:type:level`.
    #[error("{field}: {label:?} is not an SELinux context (user:role:type:level)")]
    Syntax {
        /// Where it was given.
        field: &'static str,
        /// What was given.
        label: String,
    },
    /// A label for many containers may not name the categories of one.
    #[error(
        "shared label {label:?} has categories, so other containers could not read the base; \
         give one without, such as system_u:object_r:container_ro_file_t:s0"
    )]
    Categories {
        /// What was given.
        label: String,
    },
    /// As with runc: a label that nothing would enforce is an error.
    #[error("{field}: {label:?} is given, but SELinux is not enabled on this host")]
    Disabled {
        /// Where it was given.
        field: &'static str,
        /// What was given.
        label: String,
    },
    /// The policy's own file does not say which label read-only content has.
    #[error(
        "no shared label: {path} has no `ro_file` entry ({why}); install a policy that knows \
         containers (selinux-policy-default, container-selinux)"
    )]
    NoShared {
        /// The policy's contexts file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The loaded policy does not know the context.
    #[error(
        "{field}: the loaded SELinux policy does not know {label:?}, or may not be asked \
         (the domain of this process needs security check_context; see selinux-policy/)"
    )]
    Unknown {
        /// Where it was given.
        field: &'static str,
        /// What was given.
        label: String,
    },
    /// The kernel did not take the label for new keyrings.
    #[error("set the label {label} for new keyrings: {why}")]
    Keyring {
        /// The label.
        label: String,
        /// The library's or kernel's words.
        why: String,
    },
    /// The kernel did not take the label for the next execve.
    #[error("set the process label {label} for execve: {why}")]
    SetExec {
        /// The process label.
        label: ProcessLabel,
        /// The library's or kernel's words.
        why: String,
    },
}

/// Splits `user:role:type:level`; a level may hold further colons (`s0:c1,c2`).
fn parts<'a>(field: &'static str, label: &'a str) -> Result<[&'a str; 4], LabelError> {
    let syntax = || LabelError::Syntax { field, label: label.to_owned() };
    let found: Vec<&str> = label.splitn(4, ':').collect();
    let sane = |c: char| c.is_ascii_alphanumeric() || "_-.,:".contains(c);
    match <[&str; 4]>::try_from(found) {
        Ok(four) if label.chars().all(sane) && four.iter().all(|p: &&str| !p.is_empty()) => {
            Ok(four)
        }
        _ => Err(syntax()),
    }
}

macro_rules! label_type {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Checks the form of a context.
            ///
            /// # Errors
            /// [`LabelError::Syntax`].
            pub fn parse(label: &str) -> Result<Self, LabelError> {
                parts($field, label)?;
                Ok(Self(label.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

label_type!(
    /// What the container's process runs as (`process.selinuxLabel`).
    ProcessLabel,
    "process.selinuxLabel"
);
label_type!(
    /// What the files of one container carry (`linux.mountLabel`).
    MountLabel,
    "linux.mountLabel"
);

impl MountLabel {
    /// The value of the mount option `context`.
    #[must_use]
    pub fn as_context(&self) -> &str {
        &self.0
    }
}

/// What a base carries: a label without categories, which every container may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLabel(MountLabel);

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

    /// The label of read-only content shared by containers, from the policy's own contexts file
    /// (lxc_contexts(5), key `ro_file`), known to the loaded policy.
    ///
    /// # Errors
    /// [`LabelError::NoShared`], [`LabelError::Unknown`] and those of [`SharedLabel::parse`].
    pub fn of_policy() -> Result<Self, LabelError> {
        let path = selinux::path::lxc_contexts().map_err(|e| LabelError::NoShared {
            path: PathBuf::from("contexts/lxc_contexts"),
            why: e.to_string(),
        })?;
        let missing = |why: String| LabelError::NoShared { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|e| missing(e.to_string()))?;
        let label = ro_file(&text).ok_or_else(|| missing("no such line".to_owned()))?;
        let shared = Self::parse(label)?;
        known("shared label", label)?;
        Ok(shared)
    }

    /// The same label as a mount option's value.
    #[must_use]
    pub fn as_mount_label(&self) -> &MountLabel {
        &self.0
    }
}

/// The value of `ro_file = "…"`.
fn ro_file(contexts: &str) -> Option<&str> {
    contexts.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "ro_file").then(|| value.trim().trim_matches('"'))
    })
}

/// Asks the loaded policy.
fn known(field: &'static str, label: &str) -> Result<(), LabelError> {
    let unknown = || LabelError::Unknown { field, label: label.to_owned() };
    let text = CString::new(label).map_err(|_| unknown())?;
    match SecurityContext::from_c_str(&text, true).check() {
        Some(true) => Ok(()),
        _ => Err(unknown()),
    }
}

/// Whether the running kernel enforces or at least records labels.
#[must_use]
pub fn enabled() -> bool {
    selinux::kernel_support() != KernelSupport::Unsupported
}

impl ProcessLabel {
    /// Makes the next execve of this thread run under the label.
    ///
    /// Called inside the container, where `/proc` may be anything: a directory of the image, or a procfs on parts of
    /// which the container mounted something that swallows the label or sends it elsewhere (CVE-2019-16884,
    /// CVE-2025-52881). libpathrs opens the file of a procfs of its own, or without crossing a mount.
    ///
    /// # Errors
    /// [`LabelError::SetExec`]; the caller must not go on to execve.
    pub fn set_for_exec(&self) -> Result<(), LabelError> {
        let fail = |why: String| LabelError::SetExec { label: self.clone(), why };
        let procfs = ProcfsHandle::new().map_err(|e| fail(e.to_string()))?;
        let mut attribute = procfs
            .open(ProcfsBase::ProcThreadSelf, "attr/exec", OpenFlags::O_WRONLY)
            .map_err(|e| fail(format!("open /proc/thread-self/attr/exec: {e}")))?;
        attribute.write_all(self.0.as_bytes()).map_err(|e| fail(e.to_string()))
    }

    /// Makes the keyrings that this thread makes next carry the label.
    ///
    /// # Errors
    /// [`LabelError::Keyring`].
    pub fn set_for_keyrings(&self) -> Result<(), LabelError> {
        let fail = |why: String| LabelError::Keyring { label: self.to_string(), why };
        let text = CString::new(self.0.as_str()).map_err(|e| fail(e.to_string()))?;
        SecurityContext::from_c_str(&text, true)
            .set_for_new_kernel_key_rings(true)
            .map_err(|e| fail(e.to_string()))
    }

    /// Makes later keyrings carry the label that the policy gives them.
    ///
    /// # Errors
    /// [`LabelError::Keyring`].
    pub fn reset_for_keyrings() -> Result<(), LabelError> {
        SecurityContext::set_default_context_for_new_kernel_key_rings().map_err(|e| {
            LabelError::Keyring { label: "of the policy".to_owned(), why: e.to_string() }
        })
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
        ] {
            assert!(matches!(SharedLabel::parse(label), Err(LabelError::Categories { .. })));
        }
    }

    #[test]
    fn labels_are_four_parts() {
        for label in ["", "a", "a:b:c", "a:b:c:", "a:b:c:s0\"", "a:b:c:s0 x", "a:b:c:s0\n"] {
            assert!(MountLabel::parse(label).is_err(), "{label:?}");
        }
        let docker = "system_u:object_r:container_file_t:s0:c12,c345";
        assert_eq!(MountLabel::parse(docker).unwrap().to_string(), docker);
    }

    #[test]
    fn ro_file_is_read_from_the_policy() {
        let text = "process = \"system_u:system_r:container_t:s0\"\nfile = \"x\"\n\
                    ro_file=\"system_u:object_r:container_ro_file_t:s0\"\n";
        assert_eq!(ro_file(text), Some("system_u:object_r:container_ro_file_t:s0"));
        assert_eq!(ro_file("file = \"x\""), None);
    }
}
