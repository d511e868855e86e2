//! What a container wants of its root, told by the records that its engine keeps of it.
//!
//! | file | story |
//! |---|---|
//! | `docker` | Docker's files of a container |
//! | `containerd` | containerd's record of a container |
//! | `spec` | the container's configuration in that record |
//!
//! All of this is a hint, because these records are the engine's own: what is missing, foreign or cannot be read means a writable
//! root, which is right for every container. A hint chooses only between roots that show the same files, and the runtime checks
//! again what it got. So a wrong hint makes a start fail, and lets no container write what it shares.

mod containerd;
mod docker;
mod spec;

use std::path::PathBuf;

use sharedroot_dm::Bytes;
use sharedroot_label::MountLabel;

pub use containerd::Containerd;
#[cfg(any(test, feature = "fuzz"))]
pub use containerd::wish_of_record;

use crate::key::{Key, Space};

/// The beginning of the name of containerd's shim of ours.
const SHIM: &str = "io.containerd.sharedroot.";
/// containerd's label for the size of a snapshot.
const MAX_SIZE: &str = "containerd.io/snapshot/max-size";

/// What a container wants of its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whether a base that other containers share is enough.
    pub access: Access,
    /// The label of the files of a writable root.
    pub label: Option<MountLabel>,
    /// The size of a writable root.
    pub size: Option<Bytes>,
}

/// How a container uses its root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// The root is written, or nothing is known.
    #[default]
    Writable,
    /// The container is read-only, and its runtime is ours, which makes mount points above the base and protects the base.
    Shared,
}

/// Where the records are.
#[derive(Debug)]
pub struct Hints {
    /// The data directories of Docker daemons.
    pub docker: Vec<PathBuf>,
    /// containerd.
    pub containerd: Option<Containerd>,
}

impl Hints {
    /// What the container of an active snapshot wants. This may ask containerd.
    #[must_use]
    pub fn wish(&self, space: &Space, key: &Key) -> Wish {
        let Some(parts) = key.parts().filter(|_| !key.is_extraction()) else {
            return Wish::default();
        };
        let of_docker = self.docker.iter().find_map(|root| docker::wish(root, parts.key));
        let wish =
            of_docker.or_else(|| self.containerd.as_ref()?.wish(space, parts)).unwrap_or_default();
        tracing::debug!(%key, ?wish, "hints");
        wish
    }
}

/// What a label asks of the size of a container's snapshot. A label that is no number asks nothing. A layer that is unpacked has the
/// labels that its image's manifest names, and other images have the same layer: no image may choose the size of it.
#[must_use]
pub fn size_of_label(key: &Key, labels: &crate::labels::Labels) -> Option<Bytes> {
    if key.is_extraction() {
        return None;
    }
    let bytes = labels.get(MAX_SIZE)?.parse().ok().filter(|bytes| *bytes > 0);
    bytes.map(Bytes)
}

/// The facts that both kinds of records have.
#[derive(Debug, Default)]
struct Facts<'r> {
    read_only: bool,
    /// Whether the runtime is ours.
    ours: bool,
    mode: Option<&'r str>,
    size: Option<&'r str>,
    label: Option<&'r str>,
}

impl Facts<'_> {
    fn wish(&self) -> Wish {
        let shares = self.read_only && self.ours && matches!(self.mode, None | Some("shared"));
        Wish {
            access: if shares { Access::Shared } else { Access::Writable },
            label: self.label.and_then(|label| MountLabel::parse(label).ok()),
            size: self
                .size
                .and_then(|size| Some(Bytes(size.parse::<sharedroot_config::Size>().ok()?.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_read_only_container_of_ours_shares() {
        let facts = |read_only, ours, mode| Facts { read_only, ours, mode, ..Facts::default() };
        let access = |read_only, ours, mode| facts(read_only, ours, mode).wish().access;
        assert_eq!(access(true, true, None), Access::Shared);
        assert_eq!(access(true, true, Some("shared")), Access::Shared);
        for mode in ["off", "private", "", "x"] {
            assert_eq!(access(true, true, Some(mode)), Access::Writable, "{mode}");
        }
        assert_eq!(access(false, true, None), Access::Writable);
        assert_eq!(access(true, false, None), Access::Writable);
    }

    #[test]
    fn what_has_no_form_is_not_wished() {
        let label = "system_u:object_r:container_file_t:s0:c1,c2";
        let facts = Facts { size: Some("64M"), label: Some(label), ..Facts::default() };
        let Wish { label: known, size, .. } = facts.wish();
        assert_eq!(size, Some(Bytes::mib(64)));
        assert_eq!(known.map(|label| label.to_string()).as_deref(), Some(label));
        let facts = Facts { size: Some("much"), label: Some("x\",rw"), ..Facts::default() };
        assert_eq!(facts.wish(), Wish::default());
    }

    #[test]
    fn a_label_of_containerds_is_a_number_of_bytes() {
        let labels = |value: &str| {
            let map = [(MAX_SIZE.to_owned(), value.to_owned())];
            crate::labels::Labels::try_from(std::collections::BTreeMap::from(map)).unwrap()
        };
        let container: Key = "moby/7/c1".parse().unwrap();
        assert_eq!(size_of_label(&container, &labels("1048576")), Some(Bytes::mib(1)));
        for wrong in ["0", "-1", "1M", "x"] {
            assert_eq!(size_of_label(&container, &labels(wrong)), None, "{wrong}");
        }
        assert_eq!(size_of_label(&container, &crate::labels::Labels::default()), None);
        // containerd's client gives a layer the annotations of its descriptor as labels.
        let layer: Key = "moby/7/extract-1234-abcd sha256:00".parse().unwrap();
        assert_eq!(size_of_label(&layer, &labels("1048576")), None);
    }
}
