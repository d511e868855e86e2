//! Layers for tests: tars with any content, unpacked and merged by an overlay.

use std::fs;
use std::io::Cursor;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::lower_layers::LowerLayers;
use super::tar_stream::Archive;
use super::unpack::unpack;
use super::unpack_error::UnpackError;
use crate::assemble;
use crate::testing::{TestDir, image, need_root};
use crate::tree::Tree;
use sharedroot_sys::chain::chain;

/// Builds a tar.
pub(super) struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub(super) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Adds an entry. Its name is not checked.
    pub(super) fn raw(mut self, kind: EntryType, name: &[u8], link: &[u8], content: &[u8]) -> Self {
        let (mut records, mut short) = (Vec::new(), name);
        if name.len() > 100 {
            records.extend(record(b"path", name));
            short = b"";
        }
        let header = header(kind, short, |header| {
            header.set_size(content.len() as u64);
            match link.len() {
                0..=100 => header.as_old_mut().linkname[..link.len()].copy_from_slice(link),
                _ => records.extend(record(b"linkpath", link)),
            }
        });
        if !records.is_empty() {
            self = self.pax(&records);
        }
        self.header(&header, content)
    }

    /// Adds a pax header for the next entry.
    pub(super) fn pax(self, records: &[u8]) -> Self {
        let size = records.len() as u64;
        let header = header(EntryType::XHeader, "", |header| header.set_size(size));
        self.header(&header, records)
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.raw(EntryType::Regular, name.as_bytes(), b"", content.as_bytes())
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.raw(EntryType::Directory, name.as_bytes(), b"", b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    pub(super) fn link(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Link, name.as_bytes(), target.as_bytes(), b"")
    }

    pub(super) fn header(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.append(header, content).unwrap();
        self
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// The header of an entry of root's that has no content: of the form ustar, with the usual mode of a file or a directory. The
/// name, of at most 100 bytes, is not checked. `change` changes the header before its checksum is set.
pub(super) fn header(
    kind: EntryType,
    name: impl AsRef<[u8]>,
    change: impl FnOnce(&mut Header),
) -> Header {
    filled(Header::new_ustar(), kind, name.as_ref(), change)
}

/// The same as [`header`], of GNU's form.
pub(super) fn gnu_header(
    kind: EntryType,
    name: impl AsRef<[u8]>,
    change: impl FnOnce(&mut Header),
) -> Header {
    filled(Header::new_gnu(), kind, name.as_ref(), change)
}

fn filled(
    mut header: Header,
    kind: EntryType,
    name: &[u8],
    change: impl FnOnce(&mut Header),
) -> Header {
    header.set_entry_type(kind);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1000);
    header.set_size(0);
    change(&mut header);
    header.set_cksum();
    header
}

/// A record of a pax header.
pub(super) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..).find(|n| n.to_string().len() + rest == *n).unwrap();
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Unpacked layers, beside a file that no layer may reach.
pub(super) struct Unpacked {
    pub(super) dir: TestDir,
    layers: Vec<PathBuf>,
    /// How often a layer was looked into.
    pub(super) looks: u64,
}

/// The merged layers, as overlay shows them.
pub(super) struct Merged {
    _tree: Tree,
    top: OwnedFd,
}

impl Unpacked {
    /// Unpacks the layers, the lowest first. Checks that nothing outside of them has changed, also after an error.
    pub(super) fn of(tars: &[Vec<u8>]) -> Result<Self, UnpackError> {
        Self::within(tars, LowerLayers::default())
    }

    /// The same with other bounds, which `below` has.
    pub(super) fn within(tars: &[Vec<u8>], mut below: LowerLayers) -> Result<Self, UnpackError> {
        need_root();
        let dir = TestDir::new();
        let sentinel = dir.write("outside/sentinel", "untouched");
        let unpacked = tars.iter().enumerate().try_for_each(|(n, tar)| {
            let path = dir.dir(&n.to_string());
            let mut archive = Archive::new(Cursor::new(tar));
            let root = unpack(&mut archive, &path, &mut below)?;
            below.push(path, root);
            Ok(())
        });
        assert_eq!(fs::read_to_string(&sentinel).unwrap(), "untouched");
        assert_eq!(fs::read_dir(sentinel.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(
            fs::read_dir("/")
                .unwrap()
                .flatten()
                .find(|e| e.file_name() == "escaped-of-test")
                .map(|e| e.path()),
            None
        );
        let looks = below.looks.done;
        unpacked.map(|()| Self { dir, layers: below.into_paths(), looks })
    }

    pub(super) fn merged(&self) -> Merged {
        let tree = assemble(&image(self.layers.clone()), &self.dir.path().join("scratch")).unwrap();
        let top = tree.root().try_clone_to_owned().unwrap();
        Merged { _tree: tree, top }
    }

    /// The error of unpacking these layers, which must fail.
    pub(super) fn error(tars: &[Vec<u8>]) -> String {
        match Self::of(tars) {
            Err(error) => chain(&error),
            Ok(_) => panic!("this was to fail"),
        }
    }
}

impl Merged {
    /// A path by which the test reaches the merged tree.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        sharedroot_sys::by_descriptor::by_descriptor(&self.top).join(name)
    }

    pub(super) fn read(&self, name: impl AsRef<Path>) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(super) fn has(&self, name: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// The names in a directory, without the init files at the top.
    pub(super) fn names(&self, name: &str) -> Vec<String> {
        let daemons = [".dockerenv", "dev", "etc", "proc", "sys"];
        let entries = fs::read_dir(self.path(name)).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> =
            names.filter(|n| name != "." || !daemons.contains(&n.as_str())).collect();
        names.sort();
        names
    }
}
