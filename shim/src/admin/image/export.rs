//! `image export`: a base's files as a tar. The same base gives the same bytes on every host.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::FileType;
use sharedroot_bases::{BaseTree, Bases, RootfsError};
use sharedroot_image::walk::{Found, WalkError, walk};
use sharedroot_sys::output::Output;
use tar::{Builder, EntryType, Header};

use super::Base;
use crate::admin::progress::Progress;
use crate::lifecycle::LifecycleError;
use crate::output;

/// Writes the tar to `output`, or to standard output, which must not be a terminal.
///
/// # Errors
/// [`LifecycleError`]; then an incomplete file is removed.
pub fn export(bases: &Bases, base: &Base, output: Option<&Path>) -> Result<(), LifecycleError> {
    let tree = bases.open_base(&base.key, &base.volume.name)?;
    let Some(path) = output else {
        if io::stdout().is_terminal() {
            let (flag, value) = ("image export", "standard output".to_owned());
            let wanted = "a terminal takes no tar; give --output FILE, or a pipe";
            return Err(LifecycleError::Argument { flag, value, wanted });
        }
        return match write(&tree, io::stdout().lock()) {
            Err(ExportError::Write(error)) => {
                output::wrote(Err(error));
                Ok(())
            }
            written => written.map_err(|error| failed(Path::new("standard output"), error)),
        };
    };
    write_file(&tree, path).map_err(|error| failed(path, error))
}

/// The file is written completely or not at all: an older file of this name stays until the tar is complete.
fn write_file(tree: &BaseTree, path: &Path) -> Result<(), ExportError> {
    let new = match Output::at(path, 0o600)? {
        // A pipe or a device must not be replaced by a file.
        Output::Stream(stream) => return write(tree, stream),
        Output::File(new) => new,
    };
    let progress = Progress::of_bytes("writing", tree.used().unwrap_or(0));
    write(tree, progress.of_writing(new.file()))?;
    new.file().sync_all()?;
    Ok(new.put()?)
}

/// An error of reading or of writing.
enum ExportError {
    Read(WalkError),
    Write(io::Error),
}

impl From<WalkError> for ExportError {
    fn from(error: WalkError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

fn failed(path: &Path, error: ExportError) -> LifecycleError {
    match error {
        ExportError::Read(error) => RootfsError::from(error).into(),
        ExportError::Write(source) => {
            LifecycleError::File { step: "write", path: path.to_owned(), source }
        }
    }
}

fn write(tree: &BaseTree, to: impl Write) -> Result<(), ExportError> {
    let mut tar = Builder::new(BufWriter::with_capacity(256 << 10, to));
    walk(tree.top(), |found| entry(&mut tar, found))?;
    Ok(tar.into_inner()?.flush()?)
}

fn entry<W: Write>(tar: &mut Builder<W>, found: Found) -> Result<(), ExportError> {
    let stat = &found.stat;
    let mut header = Header::new_ustar();
    let kind = match (&found.same_as, found.kind()) {
        (Some(_), _) => EntryType::Link,
        (_, FileType::RegularFile) => EntryType::Regular,
        (_, FileType::Directory) => EntryType::Directory,
        (_, FileType::Symlink) => EntryType::Symlink,
        (_, FileType::CharacterDevice) => EntryType::Char,
        (_, FileType::BlockDevice) => EntryType::Block,
        (_, FileType::Fifo) => EntryType::Fifo,
        // A socket is left out, because no tar has a type for it.
        _ => return Ok(()),
    };
    let size = match &found.content {
        Some(_) => u64::try_from(stat.st_size).unwrap_or(0),
        None => 0,
    };
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    let mut records = Records::default();
    records.number("uid", u64::from(stat.st_uid), 0o7777777, |n| header.set_uid(n));
    records.number("gid", u64::from(stat.st_gid), 0o7777777, |n| header.set_gid(n));
    records.number("size", size, 0o77777777777, |n| header.set_size(n));
    match u64::try_from(stat.st_mtime) {
        Ok(time) => records.number("mtime", time, 0o77777777777, |n| header.set_mtime(n)),
        Err(_) => records.add(b"mtime", stat.st_mtime.to_string().as_bytes()),
    }
    if kind == EntryType::Char || kind == EntryType::Block {
        header.set_device_major(rustix::fs::major(stat.st_rdev))?;
        header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
    }
    let mut path = found.path.as_os_str().as_bytes().to_vec();
    if kind == EntryType::Directory {
        path.push(b'/');
    }
    let link = found.same_as.as_ref().map(|first| first.as_os_str().as_bytes());
    let link = link.or(found.target.as_deref());
    records
        .name("path", &path, |name| header.as_old_mut().name[..name.len()].copy_from_slice(name));
    if let Some(link) = link {
        let field = |name: &[u8]| header.as_old_mut().linkname[..name.len()].copy_from_slice(name);
        records.name("linkpath", link, field);
    }
    for (name, value) in &found.attributes {
        records.add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    header.set_cksum();
    let to = tar.get_mut();
    records.write(to)?;
    to.write_all(header.as_bytes())?;
    if let Some(content) = found.content {
        let copied = io::copy(&mut io::Read::take(File::from(content), size), to)?;
        if copied != size {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(WalkError { step: "read", path: found.path, source }.into());
        }
        pad(to, size)?;
    }
    Ok(())
}

fn pad(to: &mut impl Write, length: u64) -> io::Result<()> {
    let rest = length.next_multiple_of(512) - length;
    to.write_all(&[0; 512][..usize::try_from(rest).unwrap_or(0)])
}

/// The records of a pax header: values that do not fit into the plain header.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// Writes the pax header before the entry's own header; nothing if there is no record.
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.as_old_mut().name[..3].copy_from_slice(b"pax");
        header.set_mode(0o644);
        header.set_size(self.0.len() as u64);
        header.set_cksum();
        to.write_all(header.as_bytes())?;
        to.write_all(&self.0)?;
        pad(to, self.0.len() as u64)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        // The length of a record includes the digits of the length.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        for part in [b" ", key, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }

    fn number(&mut self, key: &str, value: u64, most: u64, set: impl FnOnce(u64)) {
        set(value.min(most));
        if value > most {
            self.add(key.as_bytes(), value.to_string().as_bytes());
        }
    }

    /// Copies as much of a name as fits into the header.
    fn name(&mut self, key: &str, name: &[u8], set: impl FnOnce(&[u8])) {
        set(&name[..name.len().min(100)]);
        if name.len() > 100 || !name.is_ascii() {
            self.add(key.as_bytes(), name);
        }
    }
}
