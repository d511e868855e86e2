//! The extended attributes of a file that is given by a descriptor or a path.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{
    fgetxattr, flistxattr, flistxattr_query, getxattr, lgetxattr, listxattr, listxattr_query,
    llistxattr, llistxattr_query,
};
use rustix::io::Errno;

/// The most bytes of a value (linux/limits.h: `XATTR_SIZE_MAX`). A list of names has the same bound (`XATTR_LIST_MAX`).
pub const LARGEST: usize = 65_536;

/// How often the names are asked for again when another process changes them meanwhile.
const TRIES: usize = 16;

/// The file whose attributes are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// An open file, whose descriptor is not an `O_PATH` descriptor.
    File(BorrowedFd<'a>),
    /// The file that a path leads to; a link at the end is followed. Such a path is `/proc/self/fd/N`.
    Path(&'a Path),
    /// The file at a path; a link at the end is not followed.
    Link(&'a Path),
}

impl Of<'_> {
    /// The names of all attributes; none where the file system knows no attributes.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn names(self) -> io::Result<Vec<CString>> {
        let list = match self.list() {
            Err(Errno::OPNOTSUPP) => Vec::new(),
            list => list?,
        };
        let names = list.split_inclusive(|byte| *byte == 0);
        Ok(names
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
            .map(CStr::to_owned)
            .collect())
    }

    /// The first call asks only for the length of the list: most files have no attributes, and then this is the only call.
    fn list(self) -> Result<Vec<u8>, Errno> {
        for _ in 0..TRIES {
            let length = match self {
                Self::File(file) => flistxattr_query(file),
                Self::Path(path) => listxattr_query(path),
                Self::Link(path) => llistxattr_query(path),
            }?;
            let mut list = vec![0; length];
            if length == 0 {
                return Ok(list);
            }
            let read = match self {
                Self::File(file) => flistxattr(file, &mut list[..]),
                Self::Path(path) => listxattr(path, &mut list[..]),
                Self::Link(path) => llistxattr(path, &mut list[..]),
            };
            match read {
                Err(Errno::RANGE) => {}
                read => {
                    list.truncate(read?);
                    return Ok(list);
                }
            }
        }
        Err(Errno::RANGE)
    }

    /// The value of one attribute, in as many bytes as it has; none if the file has no such attribute.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn value(self, name: &CStr) -> io::Result<Option<Vec<u8>>> {
        // The result is a copy, so that it takes the value's bytes only, and not the whole buffer.
        let mut value = vec![0; LARGEST];
        let read = match self {
            Self::File(file) => fgetxattr(file, name, &mut value[..]),
            Self::Path(path) => getxattr(path, name, &mut value[..]),
            Self::Link(path) => lgetxattr(path, name, &mut value[..]),
        };
        match read {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            length => Ok(Some(value[..length?].to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use rustix::fs::{XattrFlags, fsetxattr};

    use super::*;

    #[test]
    fn names_and_values_are_those_of_the_file_and_not_of_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        let file = File::create(&path).unwrap();
        symlink(&path, &link).unwrap();
        let large = vec![7; 3000];
        for (name, value) in
            [(c"user.one", &b"1"[..]), (c"user.empty", b""), (c"user.large", &large)]
        {
            fsetxattr(&file, name, value, XattrFlags::CREATE).unwrap();
        }
        for of in [Of::File(file.as_fd()), Of::Path(&path), Of::Path(&link), Of::Link(&path)] {
            let mut names = of.names().unwrap();
            names.retain(|name| name.to_bytes().starts_with(b"user."));
            names.sort();
            assert_eq!(
                names,
                [c"user.empty", c"user.large", c"user.one"].map(CStr::to_owned),
                "{of:?}"
            );
            assert_eq!(of.value(c"user.large").unwrap().as_ref(), Some(&large));
            assert_eq!(of.value(c"user.empty").unwrap(), Some(Vec::new()));
            assert_eq!(of.value(c"user.none").unwrap(), None);
        }
        let of_link = Of::Link(&link).names().unwrap();
        assert!(!of_link.iter().any(|name| name.to_bytes().starts_with(b"user.")), "{of_link:?}");
        assert!(Of::Path(&dir.path().join("none")).names().is_err());
        // A file system without attributes.
        assert!(Of::Path(Path::new("/proc/version")).names().is_ok());
    }
}
