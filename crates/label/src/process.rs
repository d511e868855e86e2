//! The label of a process, set for what it executes next and for the keyrings that it makes.

use std::ffi::CString;
use std::io::Write;

use pathrs::flags::OpenFlags;
use pathrs::procfs::{ProcfsBase, ProcfsHandle};
use selinux::SecurityContext;

use super::{LabelError, ProcessLabel};

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
