//! The SELinux labels of a configuration.

use oci_spec::runtime::Spec;
use sharedroot_label::{self as label, LabelError, MountLabel, ProcessLabel};

/// The labels that a configuration asks for, checked against this host.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// `process.selinuxLabel`
    pub process: Option<ProcessLabel>,
    /// `linux.mountLabel`
    pub mount: Option<MountLabel>,
}

impl Labels {
    /// Reads both labels. An empty label counts as none, as with runc.
    ///
    /// # Errors
    /// [`LabelError`], also if SELinux is off, because then nothing would enforce the label.
    pub fn of(spec: &Spec) -> Result<Self, LabelError> {
        let process = spec.process().as_ref().and_then(|p| p.selinux_label().as_deref());
        let mount = spec.linux().as_ref().and_then(|l| l.mount_label().as_deref());
        let (process, mount) = (process.filter(|l| !l.is_empty()), mount.filter(|l| !l.is_empty()));
        let on = label::enabled();
        for (field, label) in [("process.selinuxLabel", process), ("linux.mountLabel", mount)] {
            if let Some(label) = label.filter(|_| !on) {
                return Err(LabelError::Disabled { field, label: label.to_owned() });
            }
        }
        Ok(Self {
            process: process.map(ProcessLabel::parse).transpose()?,
            mount: mount.map(MountLabel::parse).transpose()?,
        })
    }

    /// After a failure: the first label that the loaded policy does not know. The kernel only says EINVAL then.
    #[must_use]
    pub fn unknown(&self) -> Option<LabelError> {
        let process = self.process.as_ref().and_then(|label| label.known().err());
        process.or_else(|| self.mount.as_ref().and_then(|label| label.known().err()))
    }
}
