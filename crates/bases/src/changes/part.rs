//! A file of the engine's overlay that a write-back began to copy and then left out: its content is no version of the file.
//!
//! While a write-back copies a file, the file has a special mode. A start after a write-back that did not end sees from this
//! mode that nobody copied the file there. A file that is left out stays in the overlay, and nobody could use the file with
//! that mode. So the file gets a usable mode, and a mark. The mark tells until when nobody else has written to the file.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{Stat, XattrFlags};
use rustix::io::Errno;

use super::attributes::MARK;
use super::node::Node;
use super::rights::{ACL, Rights, is_unfinished};

const LENGTH: usize = size_of::<i64>() * 2;

/// Gives the unfinished file of this name the mark, and then its mode: without the mark, the file does not get the mode. An ACL
/// is removed before the mode is set, because the group bits of the mode would become the ACL's mask. The ACL can be of the
/// file that was replaced, or come from the default ACL of a new file's directory.
pub(super) fn show(to: BorrowedFd<'_>, name: &CStr, rights: Rights) -> Result<(), Errno> {
    let node = Node::named(to, name)?;
    if !is_unfinished(&node.stat) {
        return Ok(());
    }
    rustix::fs::setxattr(node.path(), MARK, &mark(&node.stat), XattrFlags::empty())?;
    let rights = if remove_acl(&node)? { rights.of_owner_only() } else { rights };
    rustix::fs::chmod(node.path(), rights.mode_of(&node.stat))
}

/// Removes the ACL, and returns whether there was an ACL.
fn remove_acl(node: &Node) -> Result<bool, Errno> {
    // Without room for a value getxattr(2) returns the size of the value.
    match rustix::fs::getxattr(node.path(), ACL, &mut [0_u8; 0][..]) {
        Ok(_) => rustix::fs::removexattr(node.path(), ACL).map(|()| true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether the file has a mark, and its content has not changed since.
pub(super) fn is_part(node: &Node) -> Result<bool, Errno> {
    let mut value = [0; LENGTH + 1];
    match rustix::fs::getxattr(node.path(), MARK, &mut value[..]) {
        Ok(length) => Ok(value[..length] == mark(&node.stat)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn mark(stat: &Stat) -> [u8; LENGTH] {
    let (seconds, nanoseconds) = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
    let mut value = [0; LENGTH];
    value[..8].copy_from_slice(&seconds.to_le_bytes());
    value[8..].copy_from_slice(&nanoseconds.to_le_bytes());
    value
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::path::Path;

    use rustix::fs::FileType;

    use super::super::attributes::Attributes;
    use super::super::interrupted_tests::{ID, acl};
    use super::super::rights::UNFINISHED;
    use super::*;

    fn stat(mode: u32, (uid, gid): (u32, u32)) -> Stat {
        let mut stat = rustix::fs::stat("/").unwrap();
        stat.st_mode = FileType::RegularFile.as_raw_mode() | mode;
        (stat.st_uid, stat.st_gid) = (uid, gid);
        stat
    }

    #[test]
    fn a_part_lends_nobody_a_right() {
        let stat = |mode| stat(mode, (ID, ID));
        let mode = |wanted, before: Option<u32>| {
            Rights::of(&stat(wanted), before.map(stat).as_ref()).mode.as_raw_mode()
        };
        assert_eq!(mode(0o644, Some(0o644)), 0o644);
        assert_eq!(mode(0o4755, Some(0o755)), 0o755);
        assert_eq!(mode(0o4777, Some(0o4755)), 0o755);
        assert_eq!(mode(0o666, Some(0o600)), 0o600);
        assert_eq!(mode(0o2755, None), 0o755);
        assert_eq!(mode(0o666, Some(0o1000)), 0);
    }

    #[test]
    fn a_part_of_files_with_different_owners_is_nobodys() {
        let mode = |before, now| {
            let (wanted, before) = (stat(0o666, (0, 0)), stat(0o666, before));
            Rights::of(&wanted, Some(&before)).mode_of(&stat(0o1000, now)).as_raw_mode()
        };
        assert_eq!(mode((0, 0), (0, 0)), 0o666);
        for other in [(ID, 0), (0, ID)] {
            // The write-back can stop before or after the change of owner.
            assert_eq!(mode(other, other), 0, "{other:?}");
            assert_eq!(mode(other, (0, 0)), 0, "{other:?}");
            assert_eq!(mode((0, 0), other), 0, "{other:?}");
        }
    }

    /// Makes a file unfinished, after `prepare`, and calls [`show`] on the file. Returns its mode, and whether the file has an
    /// ACL.
    fn shown(rights: Rights, prepare: impl Fn(&Path)) -> (u32, bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part");
        fs::write(&path, "part").unwrap();
        prepare(&path);
        fs::set_permissions(&path, Permissions::from_mode(UNFINISHED.as_raw_mode())).unwrap();
        show(File::open(dir.path()).unwrap().as_fd(), c"part", rights).unwrap();
        let acl = rustix::fs::getxattr(&path, ACL, &mut [0_u8; 0][..]);
        (fs::metadata(&path).unwrap().mode() & 0o7777, acl.is_ok())
    }

    #[test]
    fn a_part_whose_owner_did_not_change_is_nobodys() {
        let rights = Rights::of(&stat(0o640, (ID, ID)), None);
        assert_eq!(shown(rights, |path| chown(path, Some(ID), Some(ID)).unwrap()), (0o640, false));
        assert_eq!(shown(rights, |_| ()), (0, false));
    }

    #[test]
    fn a_part_has_no_acl_of_another_file() {
        let owner = rustix::process::geteuid().as_raw();
        let rights = Rights::of(&stat(0o664, (owner, rustix::process::getegid().as_raw())), None);
        assert_eq!(shown(rights, |_| ()), (0o664, false));
        let set = |path: &Path, name: &CStr| {
            rustix::fs::setxattr(path, name, &acl(), XattrFlags::empty()).unwrap();
        };
        assert_eq!(shown(rights, |path| set(path, ACL)), (0o600, false));
        let inherited = |path: &Path| {
            set(path.parent().unwrap(), c"system.posix_acl_default");
            fs::remove_file(path).unwrap();
            fs::write(path, "part").unwrap();
        };
        assert_eq!(shown(rights, inherited), (0o600, false));
    }

    #[test]
    fn a_file_with_an_acl_gives_its_part_the_owners_rights_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "file").unwrap();
        let rights = || {
            let node = Node::named(File::open(dir.path()).unwrap().as_fd(), c"file").unwrap();
            Attributes::of(&node).unwrap().rights_of_part(None).mode.as_raw_mode()
        };
        fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
        assert_eq!(rights(), 0o660);
        rustix::fs::setxattr(&path, ACL, &acl(), XattrFlags::empty()).unwrap();
        assert_eq!(rights(), 0o600);
    }
}
