//! The mount table of a process (proc_pid_mountinfo(5)). All texts are bytes: a path need not be UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The file with the mount table of this process.
pub const OWN: &str = "/proc/self/mountinfo";

/// One mount: the fields of its line that the programs need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's ID.
    pub id: u64,
    /// The ID of the mount that it is on.
    pub parent: u64,
    /// The major and minor number of the file system's device.
    pub device: (u32, u32),
    /// The directory of the file system that is mounted; `/` unless the mount is a bind of another directory.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The type of the file system.
    pub fstype: Vec<u8>,
    /// The name that the process gave that mounted it: a device, or any word.
    pub source: Vec<u8>,
    /// The options of the superblock, still escaped.
    pub options: Vec<u8>,
}

impl Mount {
    /// Reads one line; `None` if the kernel does not print such a line.
    ///
    /// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let device = device(fields.next()?)?;
        let root = path(unescape_octal(fields.next()?)?);
        let point = path(unescape_octal(fields.next()?)?);
        fields.by_ref().find(|&field| field == b"-")?;
        let fstype = unescape_octal(fields.next()?)?;
        let source = unescape_octal(fields.next()?)?;
        let options = fields.next()?.to_owned();
        Some(Self { id, parent, device, root, point, fstype, source, options })
    }
}

/// The mounts of a table, in the kernel's order. A line that the kernel does not print is left out.
pub fn mounts(table: &[u8]) -> impl Iterator<Item = Mount> {
    table.split(|&b| b == b'\n').filter_map(Mount::parse)
}

/// The mount that the kernel finds at the path `point`: of several mounts there, the one that no other covers.
#[must_use]
pub fn topmost(table: &[u8], point: &Path) -> Option<Mount> {
    let here: Vec<_> = mounts(table).filter(|mount| mount.point == point).collect();
    // The parent of the root mount is the root mount.
    let on = |other: &Mount, mount: &Mount| other.parent == mount.id && other.id != mount.id;
    let covered = |mount: &Mount| here.iter().any(|other| on(other, mount));
    here.iter().rfind(|mount| !covered(mount)).cloned()
}

/// Undoes the kernel's `seq_escape`: a backslash with three octal digits is one byte. `None` if other characters follow a
/// backslash.
#[must_use]
pub fn unescape_octal(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if first != b'\\' {
            out.push(first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(3)?;
        let octal = digits.iter().try_fold(0_u16, |value, digit| match digit {
            b'0'..=b'7' => Some(value * 8 + u16::from(digit - b'0')),
            _ => None,
        })?;
        out.push(u8::try_from(octal).ok()?);
        rest = after;
    }
    Some(out)
}

fn number<N: FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `MAJOR:MINOR`
fn device(text: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = text.split_at(text.iter().position(|&b| b == b':')?);
    Some((number(major)?, number(&minor[1..])?))
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel does to a field (`seq_escape`), for the way back.
    fn escape(bytes: &[u8], special: &[u8]) -> Vec<u8> {
        bytes.iter().fold(Vec::new(), |mut out, &byte| {
            match special.contains(&byte) {
                true => out.extend(format!("\\{byte:03o}").bytes()),
                false => out.push(byte),
            }
            out
        })
    }

    #[test]
    fn a_line_of_every_kind() {
        let line = b"42 29 0:37 / /a\\040b\\134c rw,relatime shared:5 master:1 - overlay overlay rw,lowerdir=/x";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.id, mount.parent, mount.device), (42, 29, (0, 37)));
        assert_eq!(mount.point, Path::new("/a b\\c"));
        assert_eq!((&*mount.fstype, &*mount.source), (&b"overlay"[..], &b"overlay"[..]));
        assert_eq!(mount.options, b"rw,lowerdir=/x");
        let no_tags = b"1 0 8:1 /sub / rw - ext4 /dev/root rw";
        assert_eq!(Mount::parse(no_tags).unwrap().root, Path::new("/sub"));
        for bad in [
            &b""[..],
            b"1 2",
            b"x 1 8:1 / / rw - ext4 a b",
            b"1 1 8 / / rw - ext4 a b",
            b"1 1 8:1 / /\\0 rw - e a b",
        ] {
            assert_eq!(Mount::parse(bad), None);
        }
    }

    #[test]
    fn the_topmost_of_a_pile_is_on_no_line_in_particular() {
        let pile = b"30 20 0:1 / /r rw - overlay o a\n50 40 0:3 / /r rw - overlay o c\n40 30 0:2 / /r rw - tmpfs t b\n60 50 0:4 / /r/x rw - tmpfs t d\n";
        assert_eq!(topmost(pile, Path::new("/r")).unwrap().id, 50);
        assert_eq!(topmost(pile, Path::new("/r/x")).unwrap().id, 60);
        assert_eq!(topmost(pile, Path::new("/")), None);
        let own_parent = b"1 1 0:2 / / rw - rootfs rootfs rw\n";
        assert_eq!(topmost(own_parent, Path::new("/")).unwrap().id, 1);
    }

    /// A path as bytes: anything but NUL.
    fn path_bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(1_u8.., 1..20)
    }

    proptest! {
        #[test]
        fn a_mount_point_survives(point in path_bytes()) {
            let mut line = b"1 2 0:3 / ".to_vec();
            line.extend(escape(&point, b" \t\n\\#"));
            line.extend_from_slice(b" rw - overlay overlay rw");
            let mount = Mount::parse(&line);
            prop_assert_eq!(mount.map(|m| m.point), Some(path(point)));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = Mount::parse(&bytes);
            let _ = topmost(&bytes, Path::new("/"));
        }
    }
}
