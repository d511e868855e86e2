//! A whole tree as lines, one for each file, with everything that a program can see of the file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::command::{Cmd, run};
use crate::docker::docker;
use crate::lab::TempDir;

/// The files that a daemon puts over every image. A base has its own files there.
const DAEMONS: [&str; 11] = [
    ".dockerenv",
    "dev",
    "dev/console",
    "dev/pts",
    "dev/shm",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "proc",
    "sys",
];

/// A path, and its line.
pub type Lines = BTreeMap<String, String>;

/// A line for each path below `top`, except `left_out`: type and mode, owner, time in the form of `time`, device, attributes,
/// link target, size and SHA-256, and all names of a file with several names.
///
/// # Panics
/// If something cannot be read.
#[track_caller]
pub fn list(top: &Path, time: impl Fn(&Metadata) -> String, left_out: &[&str]) -> Lines {
    let (mut lines, mut links) = (Lines::new(), HashMap::new());
    let mut below = vec![PathBuf::new()];
    while let Some(dir) = below.pop() {
        let at = top.join(&dir);
        let entries = fs::read_dir(&at).unwrap_or_else(|e| panic!("list {}: {e}", at.display()));
        for entry in entries {
            let name = dir.join(entry.expect("an entry").file_name());
            let shown = String::from_utf8_lossy(name.as_os_str().as_bytes()).into_owned();
            if left_out.contains(&shown.as_str()) {
                continue;
            }
            let path = top.join(&name);
            let stat = fs::symlink_metadata(&path).expect("stat");
            let (mode, owner, time) = (stat.mode(), (stat.uid(), stat.gid()), time(&stat));
            let (what, attributes) = (content(&path, &stat), attributes(&path));
            lines.insert(shown.clone(), format!("{mode:o} {owner:?} {time} {what}{attributes}"));
            if stat.is_dir() {
                below.push(name);
            } else {
                links.entry((stat.dev(), stat.ino())).or_insert_with(BTreeSet::new).insert(shown);
            }
        }
    }
    for names in links.values().filter(|names| names.len() > 1) {
        for name in names {
            *lines.get_mut(name).expect("seen") += &format!(" one of {names:?}");
        }
    }
    lines
}

/// A time in seconds, because a base has no fractions of a second.
pub fn seconds(stat: &Metadata) -> String {
    stat.mtime().to_string()
}

/// A time in nanoseconds; "new" if it is `since` (in seconds) or later.
pub fn exact_until(since: i64) -> impl Fn(&Metadata) -> String {
    move |stat| match stat.mtime() >= since {
        true => "new".to_owned(),
        false => format!("{}.{:09}", stat.mtime(), stat.mtime_nsec()),
    }
}

fn content(path: &Path, stat: &Metadata) -> String {
    let kind = stat.file_type();
    if kind.is_symlink() {
        return format!("-> {}", fs::read_link(path).expect("a link").display());
    }
    if kind.is_char_device() || kind.is_block_device() {
        return format!("device {:x}", stat.rdev());
    }
    if !kind.is_file() {
        return String::new();
    }
    format!("{} bytes {:02x?}", stat.len(), sha256(path))
}

/// The SHA-256 of a file or of a block device.
///
/// # Panics
/// If the file cannot be read.
#[track_caller]
pub fn sha256(path: &Path) -> [u8; 32] {
    let failed = |error| panic!("read {}: {error}", path.display());
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    let mut file = File::open(path).unwrap_or_else(failed);
    loop {
        match file
            .read(&mut buffer)
            .unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
        {
            0 => return hash.finalize().into(),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn attributes(path: &Path) -> String {
    let mut names = [0_u8; 4096];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let mut found = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if name == b"security.selinux" || name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = [0_u8; 4096];
        let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value);
        let value = &value[..length.expect("an attribute")];
        found.push(format!(" {}={value:02x?}", String::from_utf8_lossy(name)));
    }
    found.sort();
    found.concat()
}

/// The differences between two lists.
pub fn differences(ours: &Lines, other: &Lines) -> String {
    let mut text = String::new();
    for (name, line) in ours {
        match other.get(name) {
            Some(theirs) if theirs == line => {}
            Some(theirs) => text.push_str(&format!("{name}\n  ours:  {line}\n  other: {theirs}\n")),
            None => text.push_str(&format!("{name}: only ours: {line}\n")),
        }
    }
    for (name, line) in other.iter().filter(|(name, _)| !ours.contains_key(*name)) {
        text.push_str(&format!("{name}: only the other's: {line}\n"));
    }
    text
}

/// The lines of a base without the files that a daemon makes over every image. `/etc` is such a file if `image` has none.
pub fn without_daemons(mut lines: Lines, image: &Lines) -> Lines {
    lines.retain(|name, _| {
        let made = name == "etc" && !image.contains_key(name);
        !made && !DAEMONS.contains(&name.as_str())
    });
    lines
}

/// The layers of a Docker image in an overlay mount for one test. Dropping this value unmounts it.
#[derive(Debug)]
pub struct OverlayView {
    dir: TempDir,
}

impl OverlayView {
    /// Mounts the image's layers in the daemon's store.
    #[track_caller]
    pub fn of(image: &str) -> Self {
        let dir = TempDir::new("view");
        let part = |name: &str| {
            let format = format!("{{{{with .GraphDriver.Data.{name}}}}}{{{{.}}}}{{{{end}}}}");
            docker(&["inspect", "--format", &format, image]).ok()
        };
        let (top, empty) = (dir.0.join("top"), dir.0.join("empty"));
        fs::create_dir(&top).expect("make a directory");
        fs::create_dir(&empty).expect("make a directory");
        // overlay needs at least two layers.
        let layers =
            [empty.to_str().expect("ASCII").to_owned(), part("UpperDir"), part("LowerDir")];
        let layers: Vec<_> = layers.into_iter().filter(|layer| !layer.is_empty()).collect();
        let options = format!("ro,lowerdir={}", layers.join(":"));
        // fsconfig(2) takes options of at most 256 bytes. mount(2) takes a whole page.
        let mount = ["-t", "overlay", "overlay", "-o", &options, top.to_str().expect("ASCII")];
        Cmd::new("mount").args(&mount).env("LIBMOUNT_FORCE_MOUNT2", "always").run().ok();
        Self { dir }
    }

    /// The overlay's mount point.
    pub fn top(&self) -> PathBuf {
        self.dir.0.join("top")
    }
}

impl Drop for OverlayView {
    fn drop(&mut self) {
        run(&["umount", self.top().to_str().expect("ASCII")]);
    }
}
