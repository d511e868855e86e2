//! The label of a process: set for the program that it executes next, and for the keyrings that it makes.

use std::ffi::CString;
use std::io::Write;

use pathrs::flags::OpenFlags;
use pathrs::procfs::{ProcfsBase, ProcfsHandle};
use selinux::SecurityContext;

use super::{LabelError, ProcessLabel};

impl ProcessLabel {
    /// Sets the label for the next execve(2) of this thread.
    ///
    /// The caller is inside the container, where `/proc` may be a directory of the image, or a procfs with mounts of the
    /// container on it that discard the label or write it elsewhere (CVE-2019-16884, CVE-2025-52881). libpathrs opens the file
    /// in a procfs of its own, or without crossing a mount.
    ///
    /// # Errors
    /// [`LabelError::SetExec`]. The caller must not call execve(2) then.
    pub fn set_for_exec(&self) -> Result<(), LabelError> {
        let fail = |why: String| LabelError::SetExec { label: self.clone(), why };
        let procfs = ProcfsHandle::new().map_err(|e| fail(e.to_string()))?;
        let mut attribute = procfs
            .open(ProcfsBase::ProcThreadSelf, "attr/exec", OpenFlags::O_WRONLY)
            .map_err(|e| fail(format!("open /proc/thread-self/attr/exec: {e}")))?;
        attribute.write_all(self.0.as_bytes()).map_err(|e| fail(e.to_string()))
    }

    /// Sets the label of the keyrings that this thread makes next.
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

    /// Undoes [`Self::set_for_keyrings`]: the policy chooses the label of later keyrings.
    ///
    /// # Errors
    /// [`LabelError::Keyring`].
    pub fn reset_for_keyrings() -> Result<(), LabelError> {
        SecurityContext::set_default_context_for_new_kernel_key_rings().map_err(|e| {
            LabelError::Keyring { label: "of the policy".to_owned(), why: e.to_string() }
        })
    }
}
