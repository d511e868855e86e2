//! A mount of a rootfs as the system calls take it.

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags};
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::{Access, Setting, long_overlay};
use sharedroot_task::messages::task::Mount;

use crate::helper::Failed;
use crate::helper::loopback::{self, Modes};

/// The most bytes of a file system's options for mount(2), which takes one page with a NUL.
const MOST_OPTIONS: usize = 4095;

/// What is mounted.
#[derive(Debug, PartialEq, Eq)]
enum What {
    /// The source, as mount(2) takes it.
    Source,
    /// The source is a file that needs a loop device.
    Looped(Modes),
    /// An overlay whose list of options is too long for mount(2).
    LongOverlay,
}

/// A mount.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The file system.
    pub kind: String,
    /// What the caller names as the source.
    pub source: String,
    what: What,
    flags: MountFlags,
    propagation: Option<MountPropagationFlags>,
    data: String,
}

impl Plan {
    /// The words are those of mount(8), which containerd's snapshotters send (`mount/mount_linux.go`, `parseMountOptions`).
    ///
    /// # Errors
    /// The mount is of a kind that this shim does not know.
    pub fn of(mount: &Mount) -> Result<Self, Failed> {
        if !mount.target.is_empty() {
            return Err(Failed::unsupported(format!("a rootfs mount at {:?}", mount.target)));
        }
        let (mut flags, mut propagation) = (MountFlags::empty(), None);
        let (mut data, mut looped, mut direct_io) = (Vec::new(), false, false);
        for option in &mount.options {
            if let Some(flag) = flag(option) {
                flags |= flag;
            } else if let Some(change) = propagation_of(option) {
                propagation = Some(change);
            } else if ["rw", "suid", "dev", "exec", "async", "atime"].contains(&option.as_str()) {
                // The defaults.
            } else if option == "loop" {
                looped = true;
            } else if option == "direct-io" {
                direct_io = true;
            } else if option.starts_with("X-") || is_id_map(option) {
                return Err(Failed::unsupported(format!("the rootfs mount option {option:?}")));
            } else {
                data.push(option.as_str());
            }
        }
        if !looped && direct_io {
            data.push("direct-io");
        }
        let data = data.join(",");
        if data.contains('\0') {
            return Err(Failed::invalid("a rootfs mount option with a NUL"));
        }
        let read_only = flags.contains(MountFlags::RDONLY);
        let what = match (looped, data.len() > MOST_OPTIONS) {
            (true, false) => What::Looped(Modes { read_only, direct_io }),
            (false, false) => What::Source,
            (false, true)
                if mount.r#type == "overlay"
                    && (flags - MountFlags::RDONLY).is_empty()
                    && !data.contains('\\') =>
            {
                What::LongOverlay
            }
            _ => {
                let bytes = data.len();
                let text =
                    format!("rootfs mount options of {bytes} bytes (at most {MOST_OPTIONS})");
                return Err(Failed::unsupported(text));
            }
        };
        let (kind, source) = (mount.r#type.clone(), mount.source.clone());
        Ok(Self { kind, source, what, flags, propagation, data })
    }

    /// Mounts at `target`.
    ///
    /// # Errors
    /// Those of the system calls; then nothing is mounted, except that a last change of a mount can fail.
    pub fn mount(&self, target: &Path) -> io::Result<()> {
        match self.what {
            What::Source => self.mount_source(Path::new(&self.source), target)?,
            What::Looped(modes) => {
                let device = loopback::attach(Path::new(&self.source), modes)?;
                let node = device.path().ok_or(io::ErrorKind::NotFound)?;
                self.mount_source(&node, target)?;
            }
            What::LongOverlay => self.mount_long_overlay(target)?,
        }
        if let Some(change) = self.propagation {
            rustix::mount::mount_change(target, change)?;
        }
        // A bind takes no other flag when it is made.
        let others = self.flags - MountFlags::BIND - MountFlags::REC;
        if self.flags.contains(MountFlags::BIND) && !others.is_empty() {
            rustix::mount::mount_remount(target, others | MountFlags::BIND, "")?;
        }
        Ok(())
    }

    fn mount_source(&self, source: &Path, target: &Path) -> io::Result<()> {
        let data = CString::new(self.data.as_str())?;
        let data = (!data.is_empty()).then_some(data.as_c_str());
        Ok(rustix::mount::mount(source, target, self.kind.as_str(), self.flags, data)?)
    }

    /// Gives each option to the kernel in a call of its own. containerd's own shim shortens the names of the layers, relative to
    /// a working directory; then the mount table would not say where they are.
    fn mount_long_overlay(&self, target: &Path) -> io::Result<()> {
        let mut settings = vec![Setting::Value("source", &self.source)];
        for option in self.data.split(',') {
            match option.split_once('=') {
                Some(("lowerdir", layers)) => {
                    let layers = layers.split(':').map(Path::new);
                    settings.extend(layers.map(|layer| Setting::Path("lowerdir+", layer)));
                }
                Some((key, value)) => settings.push(Setting::Value(key, value)),
                None => settings.push(Setting::Flag(option)),
            }
        }
        let read_only = self.flags.contains(MountFlags::RDONLY);
        let access = if read_only { Access::ReadOnly } else { Access::ReadWrite };
        let made = long_overlay(&settings, access).and_then(|overlay| overlay.attach(target));
        made.map_err(|e| io::Error::other(chain(&e)))?.keep();
        Ok(())
    }
}

fn is_id_map(option: &str) -> bool {
    option.starts_with("uidmap=") || option.starts_with("gidmap=")
}

fn flag(option: &str) -> Option<MountFlags> {
    Some(match option {
        "bind" => MountFlags::BIND,
        "rbind" => MountFlags::BIND | MountFlags::REC,
        "ro" => MountFlags::RDONLY,
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        "strictatime" => MountFlags::STRICTATIME,
        "sync" => MountFlags::SYNCHRONOUS,
        "dirsync" => MountFlags::DIRSYNC,
        _ => return None,
    })
}

fn propagation_of(option: &str) -> Option<MountPropagationFlags> {
    let (rec, name) = match option.strip_prefix('r') {
        Some(name) => (MountPropagationFlags::REC, name),
        None => (MountPropagationFlags::empty(), option),
    };
    Some(
        rec | match name {
            "private" => MountPropagationFlags::PRIVATE,
            "shared" => MountPropagationFlags::SHARED,
            "slave" => MountPropagationFlags::DOWNSTREAM,
            "unbindable" => MountPropagationFlags::UNBINDABLE,
            _ => return None,
        },
    )
}

#[cfg(test)]
mod tests {
    use sharedroot_task::Code;

    use super::*;

    fn plan(options: &[&str]) -> Result<Plan, Failed> {
        Plan::of(&Mount {
            r#type: "overlay".to_owned(),
            source: "overlay".to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            ..Mount::default()
        })
    }

    #[test]
    fn options_are_flags_or_go_to_the_file_system() {
        let overlay =
            plan(&["index=off", "workdir=/w", "lowerdir=/a:/b", "ro", "rprivate"]).unwrap();
        assert_eq!(overlay.flags, MountFlags::RDONLY);
        assert_eq!(overlay.data, "index=off,workdir=/w,lowerdir=/a:/b");
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        assert_eq!(overlay.propagation, Some(private));
        let bind = plan(&["rbind", "rw"]).unwrap();
        assert_eq!((bind.flags, bind.data.as_str()), (MountFlags::BIND | MountFlags::REC, ""));
        let modes = Modes { read_only: true, direct_io: true };
        assert_eq!(plan(&["loop", "ro", "direct-io"]).unwrap().what, What::Looped(modes));
        let long = format!("lowerdir={}", "/a:".repeat(2000));
        assert_eq!(plan(&[&long]).unwrap().what, What::LongOverlay);
    }

    #[test]
    fn what_would_be_mounted_otherwise_is_refused() {
        for option in ["uidmap=0:1:2", "X-containerd.mkfs"] {
            assert_eq!(plan(&[option]).unwrap_err().code, Code::Unimplemented, "{option}");
        }
        let long = "x".repeat(5000);
        for words in [&["loop", &long][..], &["nosuid", &long]] {
            assert_eq!(plan(words).unwrap_err().code, Code::Unimplemented);
        }
        let below = Mount { target: "a".to_owned(), ..Mount::default() };
        assert_eq!(Plan::of(&below).unwrap_err().code, Code::Unimplemented);
        assert_eq!(plan(&["a\0b"]).unwrap_err().code, Code::InvalidArgument);
    }
}
