//! Why a base cannot be made.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sharedroot_sys::mount::MountError;

use crate::waiting::TooManyNames;

/// A step of making a base that failed, with what it was about.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A layer directory of the image cannot be used.
    #[error(
        "layer {path} is missing ({cause}): the image is damaged; remove the image (`docker rmi`) \
         and pull it again"
    )]
    Layer {
        /// The layer directory.
        path: PathBuf,
        /// The error of the system.
        cause: io::Error,
    },
    /// A file or directory for scratch cannot be used.
    #[error("{step} {path}")]
    Scratch {
        /// The operation, with the kind of the file.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The layers cannot be merged.
    #[error("merge the layers of the image")]
    Mount(#[from] MountError),
    /// An init file cannot be made.
    #[error("{step} {path} in the image's tree")]
    Init {
        /// The path inside the tree.
        path: PathBuf,
        /// The operation.
        step: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The tree cannot be read.
    #[error("{step} {path} in the image's tree")]
    Walk {
        /// The path inside the tree.
        path: PathBuf,
        /// The operation.
        step: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The image does not fit.
    #[error(
        "the image needs at least {needs} bytes with the metadata of its file system, but a base has {size} bytes: make \
         bases larger"
    )]
    TooLarge {
        /// What the files that were counted and the metadata of the file system take, in bytes. The count ends early where
        /// the number of the files alone is too large.
        needs: u64,
        /// What a base has, in bytes.
        size: u64,
    },
    /// The image has more of something than this program, mke2fs and debugfs handle in a bounded memory and time.
    #[error("the image has more than {most} {what}: no base is made of such an image")]
    TooMany {
        /// What the image has.
        what: &'static str,
        /// How many of them there may be.
        most: usize,
    },
    /// The directories have so many names that mke2fs and debugfs would take hours.
    #[error(
        "the directories of the image have so many names that mke2fs and debugfs would read more than {gib} GiB of \
         directories; {path:?} is beyond this bound: no base is made of such an image"
    )]
    LargeDirectories {
        /// The directory at which the bound was reached.
        path: PathBuf,
        /// How many GiB the programs may read.
        gib: u64,
    },
    /// The files with several names have so many names that mke2fs would take many minutes.
    #[error(
        "the image has so many names of files with several names that mke2fs would compare files more than {most} times: no \
         base is made of such an image"
    )]
    ManyLinks {
        /// How many comparisons there may be.
        most: u64,
    },
    /// The superblock of a base's file system cannot be read.
    #[error("read the superblock of {device}")]
    Superblock {
        /// The device.
        device: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The files of a file system do not fit into a smaller one.
    #[error(
        "shrink the file system on {device} to {size} bytes: its files need {needs} bytes with its metadata"
    )]
    FilesDoNotFit {
        /// The device.
        device: PathBuf,
        /// What the files and the metadata of the file system take, in bytes.
        needs: u64,
        /// The size that was asked for, in bytes.
        size: u64,
    },
    /// debugfs takes commands by lines, and a line cannot have this path or attribute.
    #[error(
        "{path:?} has extended attributes or a time after 2038, and its path or the name of an attribute has control \
         characters or is too long: no base can be made of such an image"
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
        /// What the attributes take, in bytes.
        bytes: usize,
        /// What ext4 has for them, in bytes.
        most: usize,
    },
    /// The path is longer than mke2fs takes.
    #[error(
        "the image has a path of more than {most} bytes, {:?}…: no base is made of such an image",
        Path::new(std::ffi::OsStr::from_bytes(&path.as_os_str().as_bytes()[..path.as_os_str().len().min(64)]))
    )]
    LongPath {
        /// The path inside the tree.
        path: PathBuf,
        /// How many bytes a path may have.
        most: usize,
    },
    /// The image has another file where mke2fs makes a directory.
    #[error(
        "the image has a file /lost+found that is no directory, and mke2fs makes a directory there: no base is made of such an \
         image"
    )]
    LostFound,
    /// The time of a file is outside of what ext4 keeps.
    #[error(
        "{path:?} was last changed {seconds} s after 1970, and ext4 keeps times from 1901 to 2446: no base can be made of such \
         an image"
    )]
    Time {
        /// The path inside the tree.
        path: PathBuf,
        /// The time of the last change, in seconds since 1970.
        seconds: i64,
    },
    /// There are more attributes and late times than debugfs sets in a reasonable time.
    #[error(
        "the image has more than {most} extended attributes and times after 2038, or more than {mib} MiB of them; {path:?} \
         is beyond this bound: no base is made of such an image"
    )]
    Special {
        /// The path inside the tree.
        path: PathBuf,
        /// How many attributes and times there may be.
        most: usize,
        /// How many MiB of paths, names and values there may be.
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
    #[error("start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} on {device} failed ({status}): {stderr}")]
    Tool {
        /// The program.
        program: PathBuf,
        /// The device.
        device: PathBuf,
        /// The exit code or signal.
        status: String,
        /// The first lines that the program wrote to standard error.
        stderr: String,
    },
}

impl From<TooManyNames> for MakeError {
    fn from(TooManyNames { what, most }: TooManyNames) -> Self {
        Self::TooMany { what, most }
    }
}

impl MakeError {
    /// Whether the reason is the image: it is larger than a base, or has what a base cannot hold. Another try would fail, too.
    #[must_use]
    pub fn is_of_the_image(&self) -> bool {
        use MakeError::{
            Attributes, LargeDirectories, LongPath, LostFound, ManyLinks, NotForDebugfs, Special,
            Time, TooLarge, TooMany,
        };
        matches!(
            self,
            TooLarge { .. }
                | TooMany { .. }
                | LargeDirectories { .. }
                | ManyLinks { .. }
                | NotForDebugfs { .. }
                | Attributes { .. }
                | Special { .. }
                | LongPath { .. }
                | LostFound
                | Time { .. }
        )
    }
}
