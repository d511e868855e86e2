//! SELinux labels as types. No other crate holds a label as a plain string.
//!
//! | type | what has the label |
//! |---|---|
//! | [`SharedLabel`] | a base, which many containers read |
//! | [`MountLabel`] | the files of one container (`linux.mountLabel`) |
//! | [`ProcessLabel`] | the process of one container (`process.selinuxLabel`) |
//!
//! | file | story |
//! |---|---|
//! | `shared` | the label of bases: chosen, and checked against the loaded policy |
//! | `process` | a process label set for the next execve(2) and for new keyrings |
//! | `contexts` | what the files of the policy say of containers |
//! | `policy` | questions to the loaded policy |
//! | `error` | what is wrong with a label |
//!
//! Labels are raw, as the kernel reads them and as runc and crun write them. The policy does not know a level that mcstransd(8)
//! has translated (`SystemLow`).
//!
//! ```
//! use sharedroot_label::{LabelError, SharedLabel};
//!
//! assert!(SharedLabel::parse("system_u:object_r:container_ro_file_t:s0").is_ok());
//! let of_one_container = SharedLabel::parse("system_u:object_r:container_file_t:s0:c1,c2");
//! assert!(matches!(of_one_container, Err(LabelError::Categories { .. })));
//! ```

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

/// Splits `user:role:type:level`. A level may have colons in it (`s0:c1,c2`).
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

/// Makes a type for the label of one field of config.json, so that no label is taken for that of another field.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Checks the form `user:role:type:level`. Does not ask the policy.
            ///
            /// # Errors
            /// [`LabelError::Syntax`].
            pub fn parse(label: &str) -> Result<Self, LabelError> {
                parts($field, label)?;
                Ok(Self(label.to_owned()))
            }

            /// Asks the loaded policy whether it knows the label.
            ///
            /// # Errors
            /// [`LabelError::Unknown`].
            pub fn known(&self) -> Result<(), LabelError> {
                policy::check_context($field, &self.0)
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
    /// The label of the files of one container.
    MountLabel,
    "linux.mountLabel"
);
label!(
    /// The label that the process of a container runs with.
    ProcessLabel,
    "process.selinuxLabel"
);

impl MountLabel {
    /// Reads the label of the file at `path`; a symbolic link is not followed. At the root of a mount with the option `context`
    /// this is the label of the whole mount.
    ///
    /// # Errors
    /// [`LabelError::OfFile`], also for a file without a label; [`LabelError::Syntax`].
    pub fn of_file(path: &Path) -> Result<Self, LabelError> {
        let fail = |why: String| LabelError::OfFile { path: path.to_owned(), why };
        let found = SecurityContext::of_path(path, false, true).map_err(|e| fail(chain(&e)))?;
        let text = found.as_ref().map(SecurityContext::to_c_string).transpose();
        match text.map_err(|e| fail(chain(&e)))?.flatten() {
            Some(text) => Self::parse(&text.to_string_lossy()),
            None => Err(fail("the file has no label".to_owned())),
        }
    }

    /// The label as the value of the mount option `context`.
    #[must_use]
    pub fn as_context(&self) -> &str {
        &self.0
    }
}

/// Whether SELinux is enabled in the running kernel, enforcing or permissive.
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
