//! How a client mounts a snapshot: the device with its options, as data.

use std::path::Path;

use sharedroot_label::{MountLabel, enabled};
use sharedroot_task::messages::task::Mount;

use crate::volumes::Shown;

/// Options of every writable mount. The inode tables are never initialised later and access times are never written, so that an
/// idle snapshot writes almost nothing; the maps of all block groups are not read ahead, which saves memory.
const WRITABLE: [&str; 4] = ["rw", "noatime", "noinit_itable", "no_prefetch_block_bitmaps"];

/// Whether a writable mount uses the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// What is written survives a power cut as a whole.
    Used,
    /// The journal stays as it is, and unused: an image is unpacked, and what a power cut leaves of that is thrown away.
    Unused,
}

/// The mount of an active snapshot. Its files have the label, where SELinux is on.
#[must_use]
pub fn writable(device: &Path, journal: Journal, label: Option<&MountLabel>) -> Mount {
    let mut options = WRITABLE.to_vec();
    let context = label.filter(|_| enabled()).map(context);
    options.extend(context.as_deref());
    if journal == Journal::Unused {
        // ext4 takes this for a writable mount, too, if the journal is empty (fs/ext4/super.c, `ext4_load_and_init_journal`).
        options.push("noload");
    }
    ext4(device, &options)
}

/// The option of mount(2) for a label, whose commas need the quotes.
fn context(label: &MountLabel) -> String {
    format!("context=\"{}\"", label.as_context())
}

/// The mount of an active snapshot that shows the base at `source`, which other containers share.
#[must_use]
pub fn shared(source: &Path) -> Mount {
    mount("bind", source, &["ro", "rbind"])
}

/// The mount of an active snapshot that is mounted at `source` already.
#[must_use]
pub fn bind(source: &Path) -> Mount {
    mount("bind", source, &["rw", "rbind"])
}

/// The mount of a view.
#[must_use]
pub fn read_only(shown: &Shown) -> Mount {
    match shown {
        // A sealed volume was unmounted, so its journal is empty, and its device takes no writes.
        Shown::Parent(device) => ext4(device, &["ro", "noload"]),
        Shown::Copy(device) => ext4(device, &["ro"]),
        Shown::Base(source) => shared(source),
    }
}

fn ext4(device: &Path, options: &[&str]) -> Mount {
    mount("ext4", device, options)
}

fn mount(of: &str, source: &Path, options: &[&str]) -> Mount {
    Mount {
        r#type: of.to_owned(),
        source: source.display().to_string(),
        target: String::new(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_option() {
        let label = MountLabel::parse("system_u:object_r:container_file_t:s0:c1,c2").unwrap();
        let quoted = "context=\"system_u:object_r:container_file_t:s0:c1,c2\"";
        assert_eq!(context(&label), quoted);
        let mount = writable(Path::new("/dev/dm-7"), Journal::Used, Some(&label));
        assert_eq!(mount.options.contains(&quoted.to_owned()), enabled());
    }

    #[test]
    fn what_is_shared_is_read_only() {
        let device = Path::new("/dev/dm-7");
        for journal in [Journal::Used, Journal::Unused] {
            let mount = writable(device, journal, None);
            assert_eq!((mount.r#type.as_str(), mount.source.as_str()), ("ext4", "/dev/dm-7"));
            assert!(mount.options.contains(&"rw".to_owned()), "{mount:?}");
            assert!(!mount.options.contains(&"ro".to_owned()), "{mount:?}");
        }
        let shown =
            [Shown::Parent(device.into()), Shown::Copy(device.into()), Shown::Base(device.into())];
        for mount in shown.iter().map(read_only).chain([shared(device)]) {
            assert_eq!(mount.options[0], "ro");
        }
    }
}
