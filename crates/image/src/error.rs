//! Why a base cannot be made.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sharedroot_sys::mount::MountError;

/// A step of making a base that failed, with what it was about.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A layer directory of the image cannot be used.
    #[error(
        "layer {path} is missing ({source}): the image is damaged; remove it (`docker rmi`) and \
         pull it again"
    )]
    Layer {
        /// The layer directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The scratch directory cannot be used.
    #[error("{step} scratch directory {path}: {source}")]
    Scratch {
        /// What was tried.
        step: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The layers cannot be merged.
    #[error("merge the layers of the image: {0}")]
    Mount(#[from] MountError),
    /// An init file cannot be made.
    #[error("{step} {path} in the image's tree: {source}")]
    Init {
        /// The path inside the tree.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The tree cannot be read.
    #[error("{step} {path} in the image's tree: {source}")]
    Walk {
        /// The path inside the tree.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The image does not fit.
    #[error(
        "the image needs {needs} bytes with its file system's own, but {device} has {size} bytes: \
         make bases larger"
    )]
    TooLarge {
        /// The device.
        device: PathBuf,
        /// What the tree and the file system take, in bytes.
        needs: u64,
        /// What the device has, in bytes.
        size: u64,
    },
    /// The superblock of a base's file system cannot be read.
    #[error("read the superblock of {device}: {source}")]
    Superblock {
        /// The device.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files of a file system do not fit into a smaller one.
    #[error(
        "the files on {device} need {needs} bytes with their file system's own, and not {size}"
    )]
    FilesDoNotFit {
        /// The device.
        device: PathBuf,
        /// What its files and the file system take, in bytes.
        needs: u64,
        /// What is wanted, in bytes.
        size: u64,
    },
    /// debugfs, which takes commands by lines, cannot be told of it.
    #[error(
        "{path:?} has extended attributes or a time after 2038, and its name or theirs holds control characters or is too \
         long: no base can be made of such an image"
    )]
    NotForDebugfs {
        /// The path inside the tree.
        path: PathBuf,
    },
    /// ext4 has no room for the attributes of a file.
    #[error(
        "{path:?} has {bytes} bytes of extended attributes, and ext4 keeps at most {most} of one file: no base can be \
         made of such an image"
    )]
    Attributes {
        /// The path inside the tree.
        path: PathBuf,
        /// What its attributes take.
        bytes: usize,
        /// What there is.
        most: usize,
    },
    /// mke2fs takes no path of any length.
    #[error(
        "the image has a path of more than {most} bytes, {:?}…: no base is made of such an image",
        Path::new(std::ffi::OsStr::from_bytes(&path.as_os_str().as_bytes()[..path.as_os_str().len().min(64)]))
    )]
    LongPath {
        /// The path inside the tree.
        path: PathBuf,
        /// How many bytes it may have.
        most: usize,
    },
    /// ext4 cannot hold when a file was changed.
    #[error(
        "{path:?} was last changed {seconds} s after 1970, and ext4 keeps times from 1901 to 2446: no base can be made of such \
         an image"
    )]
    Time {
        /// The path inside the tree.
        path: PathBuf,
        /// When.
        seconds: i64,
    },
    /// More than what debugfs is told in a bearable time.
    #[error(
        "the image has more than {most} extended attributes and times after 2038, or more than {mib} MiB of them, {path:?} \
         being one too many: no base is made of such an image"
    )]
    Special {
        /// The path inside the tree.
        path: PathBuf,
        /// How many there may be.
        most: usize,
        /// How many MiB of paths, names and values.
        mib: usize,
    },
    /// A program of e2fsprogs is not installed.
    #[error("{program} is in none of {places}: install e2fsprogs")]
    NoTool {
        /// The program.
        program: &'static str,
        /// The directories that were looked at.
        places: String,
    },
    /// A program could not be started.
    #[error("start {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} on {device} failed ({status}): {stderr}")]
    Tool {
        /// The program.
        program: PathBuf,
        /// The device.
        device: PathBuf,
        /// How it ended.
        status: String,
        /// The first lines of what it said.
        stderr: String,
    },
}

impl MakeError {
    /// Whether the reason is the image: it is larger than bases are, or has what a base cannot hold. Another try ends the same.
    #[must_use]
    pub fn is_of_the_image(&self) -> bool {
        use MakeError::{Attributes, LongPath, NotForDebugfs, Special, Time, TooLarge};
        matches!(
            self,
            TooLarge { .. }
                | NotForDebugfs { .. }
                | Attributes { .. }
                | Special { .. }
                | LongPath { .. }
                | Time { .. }
        )
    }
}
