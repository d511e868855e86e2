//! SELinux labels as types: what may be shared, what a container's own files carry, what its
//! process runs as. No other module spells a label as a bare string.
//!
//! Labels are raw, as the kernel reads them and as runc and crun write them: a level that mcstransd(8) translates
//! (`SystemLow`) is one that the policy does not know.

mod contexts;
mod error;
mod policy;
mod process;
mod shared;

use std::fmt;
use std::path::Path;

use selinux::{KernelSupport, SecurityContext};
use sharedroot_sys::chain::chain;

pub use error::LabelError;
pub use shared::SharedLabel;

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

/// A label that one field of config.json gives, as a type that no other field's is taken for.
macro_rules! label {
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

            /// Whether the loaded policy knows it.
            ///
            /// # Errors
            /// [`LabelError::Unknown`].
            pub fn known(&self) -> Result<(), LabelError> {
                policy::known($field, &self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

label!(
    /// What the files of one container carry.
    MountLabel,
    "linux.mountLabel"
);
label!(
    /// What the container's process runs as.
    ProcessLabel,
    "process.selinuxLabel"
);

impl MountLabel {
    /// The label that the file at `path`, no link, has now: for the root of a mount with a label that is the mount's.
    ///
    /// # Errors
    /// [`LabelError::OfFile`], also for a file without one; [`LabelError::Syntax`].
    pub fn of_file(path: &Path) -> Result<Self, LabelError> {
        let fail = |why: String| LabelError::OfFile { path: path.to_owned(), why };
        let found = SecurityContext::of_path(path, false, true).map_err(|e| fail(chain(&e)))?;
        let text = found.as_ref().map(SecurityContext::to_c_string).transpose();
        match text.map_err(|e| fail(chain(&e)))?.flatten() {
            Some(text) => Self::parse(&text.to_string_lossy()),
            None => Err(fail("it has none".to_owned())),
        }
    }

    /// The value of the mount option `context`.
    #[must_use]
    pub fn as_context(&self) -> &str {
        &self.0
    }
}

/// Whether the running kernel enforces or at least records labels.
#[must_use]
pub fn enabled() -> bool {
    selinux::kernel_support() != KernelSupport::Unsupported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_four_parts() {
        for label in ["", "a", "a:b:c", "a:b:c:", "a:b:c:s0\"", "a:b:c:s0 x", "a:b:c:s0\n"] {
            assert!(MountLabel::parse(label).is_err(), "{label:?}");
            assert!(ProcessLabel::parse(label).is_err(), "{label:?}");
        }
        for docker in [
            "system_u:object_r:container_file_t:s0:c12,c345",
            "system_u:system_r:container_t:s0-s0:c0.c1023",
            "system_u:system_r:spc_t:s0:c1,c3.c7,c9-s15:c0.c1023",
        ] {
            assert_eq!(MountLabel::parse(docker).unwrap().to_string(), docker);
            assert_eq!(ProcessLabel::parse(docker).unwrap().to_string(), docker);
        }
    }
}
