//! A file that is written under a new name and then takes the place of the old file. A reader finds a whole file, old or new. A
//! file that already stands under either name is never followed and never written to.
//!
//! The directory may belong to another user (`metrics --output`, a pid file). A name that the user planted there, such as a
//! link to a file of root's, is refused or replaced, and never opened. What the directory's owner can do in the directory
//! afterwards, the owner could do before, too.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};

/// How many names are tried. A name that exists was planted, or was left by a killed process that had this process's PID.
const TRIES: usize = 16;

/// The end of the name of a file in a directory of sharedroot while its new text is written. A killed process leaves such a
/// file.
pub const BEGUN: &str = ".new";

/// A file under a new name. [`Self::put`] gives the file its final name; Drop removes a file that was not put.
#[derive(Debug)]
pub struct NewFile {
    dir: OwnedFd,
    /// The present name of the file, and its final name.
    new: OsString,
    name: OsString,
    file: File,
    placed: bool,
}

impl NewFile {
    /// Makes a new empty file beside `path`, with the permissions `mode` less the caller's umask.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn beside(path: &Path, mode: u32) -> io::Result<Self> {
        let (dir, name) = place(path)?;
        Self::new_name(&dir, &name, mode)
    }

    pub(crate) fn new_name(dir: &OwnedFd, name: &OsStr, mode: u32) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..TRIES {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let suffix = format!(".{}-{count}.new", std::process::id());
            match Self::called(dir, name, &suffix, mode) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Makes a new empty file in `dir`, with the name `name` and `suffix`.
    fn called(dir: &OwnedFd, name: &OsStr, suffix: &str, mode: u32) -> io::Result<Self> {
        let mut new = name.to_owned();
        new.push(suffix);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        let file = rustix::fs::openat(dir, &new, flags | OFlags::CLOEXEC, mode)?;
        let (dir, name) = (dir.try_clone()?, name.to_owned());
        Ok(Self { dir, new, name, file: file.into(), placed: false })
    }

    /// The file, for writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its final name, as [`Self::put`] does. When this returns, content and name are on the disk.
    ///
    /// # Errors
    /// The operating system's error. The old file still has the name, except if only the sync of the directory failed.
    pub fn put_durably(self) -> io::Result<()> {
        self.file.sync_all()?;
        // fsync(2) takes no O_PATH descriptor.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, ".", flags, Mode::empty())?;
        self.put()?;
        Ok(rustix::fs::fsync(dir)?)
    }

    /// Gives the file its final name. The file that had this name before is gone. A power cut may undo this, or leave the name
    /// without the content.
    ///
    /// # Errors
    /// The operating system's error; the new file is removed then.
    pub fn put(mut self) -> io::Result<()> {
        rustix::fs::renameat(&self.dir, &self.new, &self.dir, &self.name)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.placed {
            let _ = rustix::fs::unlinkat(&self.dir, &self.new, AtFlags::empty());
        }
    }
}

/// Gives the file at `path` a new text, whole or not at all: a killed process leaves the old file.
///
/// # Errors
/// The operating system's error; the file is unchanged.
pub fn write(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let new = NewFile::beside(path, mode)?;
    new.file().write_all(text)?;
    new.put()
}

/// Gives a file in a directory of sharedroot a new text, whole or not at all, and durably: text and name are on the disk when
/// this returns. The temporary name is always the same, so that a killed process leaves at most one file. The caller holds a
/// lock, so that no other process writes this file.
///
/// # Errors
/// The operating system's error. The file is unchanged, except if only the sync of the directory failed: then the file has the
/// new text, and a power cut may undo the change.
pub fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = own(path)?;
    new.file().write_all(text)?;
    new.put_durably()
}

/// Writes as [`write_durably`] does, but does not sync the name. The name is on the disk when another file of the directory has
/// been written durably. This is for a file that means nothing without that other file.
///
/// # Errors
/// The operating system's error; the file is unchanged.
pub fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = own(path)?;
    new.file().write_all(text)?;
    new.file().sync_all()?;
    new.put()
}

/// Writes as [`write_durably`] does, but does not wait for the disk. This is for files that end with the host's uptime.
///
/// # Errors
/// The operating system's error; the file is unchanged.
pub fn write_own(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = own(path)?;
    new.file().write_all(text)?;
    new.put()
}

fn own(path: &Path) -> io::Result<NewFile> {
    let (dir, name) = place(path)?;
    match NewFile::called(&dir, &name, BEGUN, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A killed process may have left this file. unlink(2) follows no link.
            let mut left = name.clone();
            left.push(BEGUN);
            rustix::fs::unlinkat(&dir, &left, AtFlags::empty())?;
            NewFile::called(&dir, &name, BEGUN, 0o600)
        }
        made => made,
    }
}

/// The directory of `path`, opened once for all steps, and the file's name in it.
pub(crate) fn place(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((rustix::fs::open(above.unwrap_or(Path::new(".")), flags, Mode::empty())?, name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;
    use crate::output::Output;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str, mode: u32) -> Self {
            let name = format!("sharedroot-new-file-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            Self(dir)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap().flatten();
            let mut names: Vec<_> =
                entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    type Write = fn(&Path, &[u8]) -> io::Result<()>;

    const WAYS: [(&str, Write); 5] = [
        ("write", |path, text| write(path, text, 0o644)),
        ("write_durably", write_durably),
        ("write_synced", write_synced),
        ("write_own", write_own),
        ("output", |path, text| Output::at(path, 0o644)?.write(text)),
    ];

    #[test]
    fn no_planted_name_is_followed() {
        for (way, write) in WAYS {
            let dir = Dir::new(way, 0o777);
            let victim = dir.0.join("victim");
            fs::write(&victim, "root's own").unwrap();
            let path = dir.0.join("figures.prom");
            // Every temporary name that any version used, and some names that an attacker could guess.
            let pid = std::process::id();
            for name in ["figures.prom", "figures.new", "figures.prom.new"] {
                symlink(&victim, dir.0.join(name)).unwrap();
            }
            symlink(&victim, dir.0.join(format!("figures.prom.{pid}.part"))).unwrap();
            for count in 0..5 {
                let _ = symlink(&victim, dir.0.join(format!("figures.prom.{pid}-{count}.new")));
            }
            write(&path, b"figures").unwrap();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "root's own", "{way}");
            assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{way}: a link was kept");
            assert_eq!(fs::read_to_string(&path).unwrap(), "figures", "{way}");
        }
    }

    #[test]
    fn nothing_is_left_beside_it() {
        for (way, write) in WAYS {
            let dir = Dir::new(&format!("left-{way}"), 0o755);
            let path = dir.0.join("file");
            for text in ["one", "two"] {
                write(&path, text.as_bytes()).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), text, "{way}");
            }
            // This must fail: a file does not take the place of a directory.
            fs::create_dir(dir.0.join("directory")).unwrap();
            assert!(write(&dir.0.join("directory"), b"x").is_err(), "{way}");
            assert_eq!(dir.names(), ["directory", "file"], "{way}");
        }
    }

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let dir = Dir::new("killed", 0o700);
        fs::write(dir.0.join("record.json.new"), "half a rec").unwrap();
        write_own(&dir.0.join("record.json"), b"a record").unwrap();
        assert_eq!(dir.names(), ["record.json"]);
    }
}
