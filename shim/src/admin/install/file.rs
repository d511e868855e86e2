//! A configuration file, which is read, and replaced completely or not at all.
//!
//! A symbolic link is followed and kept, because configuration management uses links: the file that the daemon reads is
//! replaced. The new file has the old one's owner, mode and extended attributes, so also its SELinux label. A file that
//! did not exist belongs to root, is readable by all users, and gets the label from its directory.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use sharedroot_sys::new_file::NewFile;
use sharedroot_sys::xattr::Of;

use super::error::InstallError;

/// A configuration file before its change.
#[derive(Debug)]
pub struct ConfigFile {
    /// The file's real path.
    pub path: PathBuf,
    /// The file's text; `None` if there is no file.
    pub text: Option<String>,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`InstallError`]: the path cannot be read, or is not a file.
    pub fn read(path: &Path) -> Result<Self, InstallError> {
        let real = match fs::canonicalize(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if path.is_symlink() {
                    let path = path.to_owned();
                    return Err(InstallError::NoFile { path, what: "a link to nothing" });
                }
                let path = std::path::absolute(path).map_err(failed("find", path))?;
                return Ok(Self { path, text: None });
            }
            found => found.map_err(failed("find", path))?,
        };
        if !fs::metadata(&real).map_err(failed("stat", &real))?.is_file() {
            return Err(InstallError::NoFile { path: real, what: "no regular file" });
        }
        let text = fs::read_to_string(&real).map_err(failed("read", &real))?;
        Ok(Self { path: real, text: Some(text) })
    }

    /// Replaces the text. Afterwards the new text is on the disk.
    ///
    /// # Errors
    /// [`InstallError::File`]; then the file is unchanged.
    pub fn replace(&self, text: &str) -> Result<(), InstallError> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        if self.text.is_none() && !dir.exists() {
            DirBuilder::new().mode(0o755).create(dir).map_err(failed("create", dir))?;
        }
        self.write(text).map_err(failed("replace", &self.path))
    }

    /// Removes the file.
    ///
    /// # Errors
    /// [`InstallError::File`].
    pub fn remove(&self) -> Result<(), InstallError> {
        fs::remove_file(&self.path).map_err(failed("remove", &self.path))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let new = NewFile::beside(&self.path, 0o600)?;
        let mut file = new.file();
        file.write_all(text.as_bytes())?;
        let mut mode = 0o644;
        if self.text.is_some() {
            let old = File::open(&self.path)?;
            let stat = old.metadata()?;
            fchown(file, Some(stat.uid()), Some(stat.gid()))?;
            copy_attributes(&old, file)?;
            mode = stat.mode() & 0o7777;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        new.put_durably()
    }
}

/// Attributes with the kernel's measurements are left out, because they belong to the old content.
const OF_THE_CONTENT: [&[u8]; 2] = [b"security.ima", b"security.evm"];

fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let (from, has) = (Of::File(from.as_fd()), Of::File(to.as_fd()));
    for name in from.names()? {
        if OF_THE_CONTENT.contains(&name.to_bytes()) {
            continue;
        }
        let Some(value) = from.value(&name)? else { continue };
        // Usually this is the label, which a new file already has; setting a label again would need the policy's
        // permission.
        if has.value(&name).ok().flatten().as_ref() != Some(&value) {
            rustix::fs::fsetxattr(to, &*name, &value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

fn failed<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> InstallError + 'a {
    move |source| InstallError::File { step, path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
