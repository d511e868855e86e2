//! Mounts as values: a file system is made detached, and exists nowhere until it is attached.
//!
//! A detached mount vanishes with its descriptor, so a killed process leaves none behind
//! (fsopen(2), fsmount(2), open_tree(2), move_mount(2); Linux 5.2). Options travel one by one as
//! strings, so a label's commas and a path's colons need no quoting.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

/// A step of mounting that failed, with what it was about.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused an option or the whole file system.
    #[error("{step} of a {fstype} file system on {what}: {source}{detail}")]
    Make {
        /// The system call or option.
        step: String,
        /// ext4, xfs, overlay.
        fstype: &'static str,
        /// The device or the topmost layer.
        what: PathBuf,
        /// The kernel's words from the file-system context, if any.
        detail: String,
        /// The error number.
        source: Errno,
    },
    /// An existing mount could not be opened for a bind.
    #[error("open the mount {path} for a bind: {source}")]
    Open {
        /// The mount.
        path: PathBuf,
        /// The error number.
        source: Errno,
    },
    /// The mount could not be placed.
    #[error("attach a mount at {path}: {source}")]
    Attach {
        /// The mount point.
        path: PathBuf,
        /// The error number.
        source: Errno,
    },
    /// The mount could not be taken away.
    #[error("unmount {path}: {source}")]
    Unmount {
        /// The mount point.
        path: PathBuf,
        /// The error number.
        source: Errno,
    },
    /// The process could not get a mount namespace of its own.
    #[error("make a private mount namespace ({step}): {source}")]
    Namespace {
        /// The system call.
        step: &'static str,
        /// The error number.
        source: Errno,
    },
}

impl MountError {
    /// Whether the kernel refused an option of the file system, or the option together with another mount of it.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Make { source: Errno::INVAL, .. })
    }
}

/// A mount that is attached nowhere; it ends with this value.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl From<Detached> for OwnedFd {
    fn from(mount: Detached) -> Self {
        mount.0
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One option of a file system, as fsconfig(2) takes it.
#[derive(Debug, Clone, Copy)]
pub enum Setting<'a> {
    /// A bare word, such as `noload`.
    Flag(&'a str),
    /// A key and its value, such as `context` and a label.
    Value(&'a str, &'a str),
    /// A key and a path.
    Path(&'a str, &'a Path),
}

fn make(
    fstype: &'static str,
    what: &Path,
    options: &[Setting<'_>],
    attributes: MountAttrFlags,
) -> Result<Detached, MountError> {
    let fail = |step: &str, context: Option<BorrowedFd<'_>>| {
        let step = step.to_owned();
        let detail = context.map(kernel_words).unwrap_or_default();
        move |source| MountError::Make { step, fstype, what: what.to_owned(), detail, source }
    };
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|e| fail("fsopen", None)(e))?;
    for option in options {
        let (name, result) = match option {
            Setting::Flag(key) => (key, rustix::mount::fsconfig_set_flag(&context, *key)),
            Setting::Value(key, value) => {
                (key, rustix::mount::fsconfig_set_string(&context, *key, *value))
            }
            Setting::Path(key, path) => {
                (key, rustix::mount::fsconfig_set_string(&context, *key, *path))
            }
        };
        result.map_err(|e| fail(&format!("option {name}"), Some(context.as_fd()))(e))?;
    }
    rustix::mount::fsconfig_create(&context)
        .map_err(|e| fail("creation", Some(context.as_fd()))(e))?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map(Detached)
        .map_err(|e| fail("fsmount", Some(context.as_fd()))(e))
}

/// What the kernel wrote into the file-system context about its refusal.
fn kernel_words(context: BorrowedFd<'_>) -> String {
    let mut words = String::new();
    let mut line = [0_u8; 1024];
    while let Ok(n @ 1..) = rustix::io::read(context, &mut line) {
        words.push_str(if words.is_empty() { " (kernel: " } else { "; " });
        words.push_str(String::from_utf8_lossy(&line[..n]).trim());
    }
    if !words.is_empty() {
        words.push(')');
    }
    words
}

/// Whether a file system can be written: its superblock, and with it its mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It cannot.
    ReadOnly,
    /// It can.
    ReadWrite,
}

/// The file system on a block device. Access times are never written.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn block_device(
    fstype: &'static str,
    device: &Path,
    access: Access,
    options: &[Setting<'_>],
) -> Result<Detached, MountError> {
    let mut all = vec![Setting::Path("source", device)];
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOATIME;
    if access == Access::ReadOnly {
        all.push(Setting::Flag("ro"));
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    all.extend_from_slice(options);
    make(fstype, device, &all, attributes)
}

/// The layers of an image as one tree; `layers` is topmost first.
///
/// Writes go to `upper` (with its scratch directory `work`) and never to a layer.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn overlay(layers: &[PathBuf], upper: &Path, work: &Path) -> Result<Detached, MountError> {
    let what = layers.first().map(PathBuf::as_path).unwrap_or(upper);
    let mut options: Vec<_> =
        layers.iter().map(|layer| Setting::Path("lowerdir+", layer)).collect();
    options.extend([Setting::Path("upperdir", upper), Setting::Path("workdir", work)]);
    make("overlay", what, &options, MountAttrFlags::MOUNT_ATTR_NOATIME)
}

/// Directories as one tree that nobody writes; `layers` is topmost first and at least two.
///
/// Files are the layers' own, and so is their page cache. Whether redirections are followed is the host's choice, as for
/// the engines' overlays.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn layers(layers: &[&Path], options: &[Setting<'_>]) -> Result<Detached, MountError> {
    let what = layers.first().copied().unwrap_or(Path::new("nothing"));
    let mut all: Vec<_> = layers.iter().map(|layer| Setting::Path("lowerdir+", layer)).collect();
    // An upper directory of the engine can be among them, and with an index the kernel would take that for a second writer.
    all.extend([Setting::Value("index", "off"), Setting::Flag("ro")]);
    all.extend_from_slice(options);
    let attributes = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_RDONLY;
    make("overlay", what, &all, attributes)
}

/// What a layer's `trusted.overlay` attributes could ask for, and here means nothing.
const NOTHING_FOLLOWED: [Setting<'_>; 3] = [
    Setting::Value("redirect_dir", "nofollow"),
    Setting::Value("metacopy", "off"),
    Setting::Value("index", "off"),
];

/// The directory `upper` as an overlay that shows it and nothing else; `work` is its scratch directory, and `lower` is empty,
/// for an overlay needs one. `source` is what the mount table calls it.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn upper_alone(
    [upper, work, lower]: [&Path; 3],
    source: &str,
    options: &[Setting<'_>],
) -> Result<Detached, MountError> {
    let mut all = vec![
        Setting::Value("source", source),
        Setting::Path("lowerdir+", lower),
        Setting::Path("upperdir", upper),
        Setting::Path("workdir", work),
    ];
    all.extend_from_slice(&NOTHING_FOLLOWED);
    all.extend_from_slice(options);
    make("overlay", upper, &all, MountAttrFlags::MOUNT_ATTR_NOATIME)
}

/// The same to be read, of a file system that is read-only.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn upper_to_read(
    [upper, lower]: [&Path; 2],
    options: &[Setting<'_>],
) -> Result<Detached, MountError> {
    let mut all = vec![Setting::Path("lowerdir+", upper), Setting::Path("lowerdir+", lower)];
    all.extend_from_slice(&NOTHING_FOLLOWED);
    all.push(Setting::Flag("ro"));
    all.extend_from_slice(options);
    let attributes = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_RDONLY;
    make("overlay", upper, &all, attributes)
}

/// A bind of the mount at `path`, without what is mounted below it.
///
/// # Errors
/// [`MountError::Open`].
pub fn bind(path: &Path) -> Result<Detached, MountError> {
    rustix::mount::open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
    )
    .map(Detached)
    .map_err(|source| MountError::Open { path: path.to_owned(), source })
}

/// A bind of the directory or file at `path`, which may be a link; with what is mounted below it
/// if `recursive`. It belongs to the same peer group as the mount it was made from.
///
/// # Errors
/// [`MountError::Open`].
pub fn bind_volume(path: &Path, recursive: bool) -> Result<Detached, MountError> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(CWD, path, flags)
        .map(Detached)
        .map_err(|source| MountError::Open { path: path.to_owned(), source })
}

/// An empty file system in memory.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn tmpfs(options: &[Setting<'_>]) -> Result<Detached, MountError> {
    make("tmpfs", Path::new("memory"), options, MountAttrFlags::empty())
}

/// An empty file system in memory that stays empty: read-only as a file system and as a mount.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn empty(options: &[Setting<'_>]) -> Result<Detached, MountError> {
    let all = [&[Setting::Value("source", "tmpfs"), Setting::Flag("ro")], options].concat();
    make("tmpfs", Path::new("memory"), &all, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

impl Detached {
    /// The device number of the file system.
    #[must_use]
    pub fn device(&self) -> Option<(u32, u32)> {
        let found = rustix::fs::fstat(&self.0).ok()?;
        Some((rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev)))
    }

    /// Whether it is an overlay.
    #[must_use]
    pub fn is_overlay(&self) -> bool {
        /// OVERLAYFS_SUPER_MAGIC of linux/magic.h.
        const OVERLAY: u64 = 0x794c_7630;
        rustix::fs::fstatfs(&self.0).is_ok_and(|found| found.f_type as u64 == OVERLAY)
    }

    /// Whether the root of the mount is a directory; a bind may be that of a file.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        rustix::fs::fstat(&self.0)
            .is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir())
    }

    /// Places the mount at `path`, which must be a real directory and not a link to one, or a
    /// file if the mount is that of a file.
    ///
    /// The guard takes it away again unless it is kept.
    ///
    /// # Errors
    /// [`MountError::Attach`].
    pub fn attach(self, path: &Path) -> Result<Attached, MountError> {
        rustix::mount::move_mount(&self.0, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|source| MountError::Attach { path: path.to_owned(), source })?;
        Ok(Attached { path: path.to_owned(), kept: false })
    }

    /// Places the mount over an open directory, for good; `path` is its name in an error.
    ///
    /// # Errors
    /// [`MountError::Attach`].
    pub fn cover(self, directory: impl AsFd, path: &Path) -> Result<(), MountError> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.0, "", directory, "", flags)
            .map_err(|source| MountError::Attach { path: path.to_owned(), source })
    }
}

/// A mount at its place. Dropping the guard takes it away.
#[derive(Debug)]
#[must_use = "dropping the guard unmounts"]
pub struct Attached {
    path: PathBuf,
    kept: bool,
}

impl Attached {
    /// The commit point: the mount stays.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = detach(&self.path)
        {
            tracing::warn!("{error}");
        }
    }
}

/// Takes the topmost mount at `path` away, never following a symlink.
///
/// The tree leaves the mount table at once; the file system ends with its last user.
///
/// # Errors
/// [`MountError::Unmount`].
pub fn detach(path: &Path) -> Result<(), MountError> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map_err(|source| MountError::Unmount { path: path.to_owned(), source })
}

/// Set once this process has a mount namespace of its own.
static PRIVATE: AtomicBool = AtomicBool::new(false);

/// Gives this process a mount namespace of its own: it goes on seeing the host's mounts come
/// and go, and the host sees none of its. Once it has one, nothing happens.
///
/// # Errors
/// [`MountError::Namespace`].
pub fn enter_private_namespace() -> Result<(), MountError> {
    if PRIVATE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    unshare_mounts()
}

/// The calling thread's own copy of the mount table.
fn unshare_mounts() -> Result<(), MountError> {
    let fail = |step| move |source| MountError::Namespace { step, source };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .map_err(|e| fail("unshare")(Errno::from_raw_os_error(e as i32)))?;
    rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(fail("make / a slave"))
}

/// Runs `act` on a thread with a mount namespace of its own: whatever it mounts there the host never sees, and it ends
/// with the thread, also with one that is killed. Only a detached mount can be brought back.
///
/// # Errors
/// [`MountError::Namespace`].
pub fn apart<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T, MountError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| unshare_mounts().map(|()| act()));
        thread.join().expect("a panic ends the process")
    })
}

/// The device number of the file system at `path`, if a mount is rooted exactly there.
///
/// One statx(2), whatever the length of the mount table.
#[must_use]
pub fn device_mounted_at(path: &Path) -> Option<(u32, u32)> {
    use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
    let found =
        rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).ok()?;
    let known = found.stx_attributes_mask & found.stx_attributes;
    known
        .contains(StatxAttributes::MOUNT_ROOT)
        .then_some((found.stx_dev_major, found.stx_dev_minor))
}
