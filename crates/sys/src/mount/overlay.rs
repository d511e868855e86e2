//! A new mount of an overlay (Documentation/filesystems/overlayfs.rst).

use std::path::{Path, PathBuf};

use rustix::mount::MountAttrFlags;

use super::filesystem::{Access, Setting, make};
use super::{Detached, MountError};

/// Options that turn off what the attributes `trusted.overlay` of an untrusted layer could make the kernel do.
const NOTHING_FOLLOWED: [Setting<'_>; 3] = [
    Setting::Value("redirect_dir", "nofollow"),
    Setting::Value("metacopy", "off"),
    Setting::Value("index", "off"),
];

/// The directories of an overlay that shows its upper directory alone.
#[derive(Debug, Clone, Copy)]
pub struct UpperDirs<'a> {
    /// The directory that the overlay shows, and to which it writes.
    pub upper: &'a Path,
    /// The kernel's scratch directory, on the file system of `upper`.
    pub work: &'a Path,
    /// An empty directory: an overlay needs a lower layer.
    pub lower: &'a Path,
}

/// Mounts the layers of an image as one tree; `layers` is topmost first.
///
/// Writes go to `upper` and never to a layer. `work` is the kernel's scratch directory, on the file system of `upper`.
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

/// Mounts an overlay with options whose list is too long for mount(2). The superblock and the mount take writes or not.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn long_overlay(options: &[Setting<'_>], access: Access) -> Result<Detached, MountError> {
    let mut all = options.to_vec();
    let mut attributes = MountAttrFlags::empty();
    if access == Access::ReadOnly {
        all.push(Setting::Flag("ro"));
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    make("overlay", Path::new("overlay"), &all, attributes)
}

/// Mounts directories as one read-only tree; `layers` is topmost first and at least two.
///
/// A file of the tree is the file of its layer, and so both have one page cache. The host's setting decides whether the
/// kernel follows redirections (`redirect_dir`), as for the engines' overlays.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn layers(layers: &[&Path], options: &[Setting<'_>]) -> Result<Detached, MountError> {
    let what = layers.first().copied().unwrap_or(Path::new("nothing"));
    let mut all: Vec<_> = layers.iter().map(|layer| Setting::Path("lowerdir+", layer)).collect();
    // An upper directory of the engine can be among the layers. With an index the kernel would take this mount for a second
    // writer of that directory.
    all.extend([Setting::Value("index", "off"), Setting::Flag("ro")]);
    all.extend_from_slice(options);
    let attributes = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_RDONLY;
    make("overlay", what, &all, attributes)
}

/// Mounts an overlay that shows the directory `upper` and nothing else, for writing. The mount table names it `source`.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn upper_alone(
    dirs: UpperDirs<'_>,
    source: &str,
    options: &[Setting<'_>],
) -> Result<Detached, MountError> {
    let mut all = vec![
        Setting::Value("source", source),
        Setting::Path("lowerdir+", dirs.lower),
        Setting::Path("upperdir", dirs.upper),
        Setting::Path("workdir", dirs.work),
    ];
    all.extend_from_slice(&NOTHING_FOLLOWED);
    all.extend_from_slice(options);
    make("overlay", dirs.upper, &all, MountAttrFlags::MOUNT_ATTR_NOATIME)
}

/// Mounts an overlay that shows the directory `upper` and nothing else, read-only. The file system of `upper` may be
/// read-only. `lower` is an empty directory: an overlay without an upper directory needs two layers.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn upper_read_only(
    upper: &Path,
    lower: &Path,
    options: &[Setting<'_>],
) -> Result<Detached, MountError> {
    let mut all = vec![Setting::Path("lowerdir+", upper), Setting::Path("lowerdir+", lower)];
    all.extend_from_slice(&NOTHING_FOLLOWED);
    all.push(Setting::Flag("ro"));
    all.extend_from_slice(options);
    let attributes = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_RDONLY;
    make("overlay", upper, &all, attributes)
}
