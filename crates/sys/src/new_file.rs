//! A file that is written under a new name and then takes the place of the old one: a reader finds it whole, and nothing that
//! stands under either name is followed or written to.
//!
//! The directory may be another user's (`metrics --output`, a pid file): a name that the user planted there, a link to a file
//! of root's above all, is refused or replaced, never opened. What its owner can do in the directory afterwards, the owner
//! could do before.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};

/// How many names are tried: each that is taken was planted, or is left of a killed process that had our number.
const TRIES: usize = 16;

/// What follows the name of a file in a directory of our own while its new text is written: a killed process leaves it.
pub const BEGUN: &str = ".new";

/// A file under a new name. Dropping it removes it; [`Self::put`] gives it the name that it is for.
#[derive(Debug)]
pub struct NewFile {
    dir: OwnedFd,
    /// Where it is now, and where it goes.
    new: OsString,
    name: OsString,
    file: File,
    placed: bool,
}

impl NewFile {
    /// A new empty file beside `path`, with the permissions `mode` less the caller's umask.
    ///
    /// # Errors
    /// What the operating system says.
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

    /// A new empty file in `dir` whose name is `name` and `suffix`.
    fn called(dir: &OwnedFd, name: &OsStr, suffix: &str, mode: u32) -> io::Result<Self> {
        let mut new = name.to_owned();
        new.push(suffix);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        let file = rustix::fs::openat(dir, &new, flags | OFlags::CLOEXEC, mode)?;
        let (dir, name) = (dir.try_clone()?, name.to_owned());
        Ok(Self { dir, new, name, file: file.into(), placed: false })
    }

    /// The file, to write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The same, and content and name are on the disk when this returns.
    ///
    /// # Errors
    /// What the operating system says. What had the name still has it, but where the directory could not be synced.
    pub fn put_durably(self) -> io::Result<()> {
        self.file.sync_all()?;
        // fsync(2) takes no descriptor of O_PATH.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, ".", flags, Mode::empty())?;
        self.put()?;
        Ok(rustix::fs::fsync(dir)?)
    }

    /// Gives the file its name; what had it is gone. A power cut may take that back, or leave the name without the content.
    ///
    /// # Errors
    /// What the operating system says; the new file is removed then.
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

/// Gives the file at `path` a new text, whole or not at all: a killed process leaves the old one.
///
/// # Errors
/// What the operating system says; the file is as it was.
pub fn write(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let new = NewFile::beside(path, mode)?;
    new.file().write_all(text)?;
    new.put()
}

/// The same in a directory of our own, and durable: text and name are on the disk when this returns. The new name is always the
/// same one, so that a killed process leaves at most one file. The caller holds the lock of what it writes.
///
/// # Errors
/// What the operating system says. The file is as it was, but where the directory could not be synced: then it has the new
/// text, which a power cut may take back.
pub fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = own(path)?;
    new.file().write_all(text)?;
    new.put_durably()
}

/// The same, but for the name, which is on the disk when something in the directory has been written durably: for a file that
/// means nothing without another one.
///
/// # Errors
/// What the operating system says; the file is as it was.
pub fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = own(path)?;
    new.file().write_all(text)?;
    new.file().sync_all()?;
    new.put()
}

/// The same without waiting for the disk: for what ends with the host's uptime.
///
/// # Errors
/// What the operating system says; the file is as it was.
pub fn write_own(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = own(path)?;
    new.file().write_all(text)?;
    new.put()
}

fn own(path: &Path) -> io::Result<NewFile> {
    let (dir, name) = place(path)?;
    match NewFile::called(&dir, &name, BEGUN, 0o600) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // What a killed process left. unlink(2) follows no link.
            let mut left = name.clone();
            left.push(BEGUN);
            rustix::fs::unlinkat(&dir, &left, AtFlags::empty())?;
            NewFile::called(&dir, &name, BEGUN, 0o600)
        }
        made => made,
    }
}

/// The directory of `path`, opened once for all that is done there, and the name in it.
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
            // Every name that was ever written to on the way, and some that could be guessed.
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
            // A failure: nothing takes the place of a directory.
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
