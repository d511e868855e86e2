//! The text of `/proc/self/mountinfo`, and the options of overlays in it (proc_pid_mountinfo(5); fs/overlayfs/params.c and
//! super.c). All texts are bytes: a path need not be UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// One mount: the fields of its line that this crate needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) id: u64,
    pub(super) parent: u64,
    /// The directory of the file system that is mounted; `/` unless the mount is a bind of another directory.
    pub(super) root: PathBuf,
    pub(super) point: PathBuf,
    pub(super) fstype: Vec<u8>,
    /// The name that the process gave that mounted it: a device, or any word.
    pub(super) source: Vec<u8>,
    /// The options of the superblock, still escaped.
    pub(super) options: Vec<u8>,
}

impl Mount {
    /// Reads one line.
    ///
    /// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let _device = fields.next()?;
        let root = path(unescape_octal(fields.next()?)?);
        let point = path(unescape_octal(fields.next()?)?);
        fields.by_ref().find(|&field| field == b"-")?;
        let fstype = unescape_octal(fields.next()?)?;
        let source = unescape_octal(fields.next()?)?;
        let options = fields.next()?.to_owned();
        Some(Self { id, parent, root, point, fstype, source, options })
    }
}

/// The mount that the kernel finds at the path `point`: of several mounts there, the one that no other covers.
pub(super) fn topmost(table: &[u8], point: &Path) -> Option<Mount> {
    let here: Vec<_> = table
        .split(|&b| b == b'\n')
        .filter_map(Mount::parse)
        .filter(|mount| mount.point == point)
        .collect();
    // The parent of the root mount is the root mount.
    let on = |other: &Mount, mount: &Mount| other.parent == mount.id && other.id != mount.id;
    let covered = |mount: &Mount| here.iter().any(|other| on(other, mount));
    here.iter().rfind(|mount| !covered(mount)).cloned()
}

/// The layers of an overlay, from its options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct OverlayOptions {
    /// Topmost first.
    pub(super) layers: Vec<PathBuf>,
    pub(super) upper: Option<PathBuf>,
    /// Options that change the meaning of the layers.
    pub(super) unusual: Vec<String>,
}

impl OverlayOptions {
    /// Reads the options of the superblock of an overlay.
    ///
    /// `lowerdir=` is a list with colons and escapes. `lowerdir+=` is one path, without escapes.
    pub(super) fn parse(options: &[u8]) -> Option<Self> {
        let mut stack = Self::default();
        for option in options.split(|&b| b == b',') {
            let equals = option.iter().position(|&b| b == b'=');
            let (key, value) = option.split_at(equals.unwrap_or(option.len()));
            let value = unescape_octal(value.strip_prefix(b"=").unwrap_or(value))?;
            match key {
                b"lowerdir" => match split_layers(&value) {
                    Some(layers) => stack.layers.extend(layers),
                    None => stack.unusual.push("lowerdir=…::…".to_owned()),
                },
                b"lowerdir+" => stack.layers.push(path(value)),
                // In some versions of the kernel a backslash is an escape here, in others not (ovl_unescape).
                b"upperdir" if value.contains(&b'\\') => {
                    stack.unusual.push("upperdir=…\\…".to_owned());
                }
                b"upperdir" => stack.upper = Some(path(value)),
                b"datadir+" | b"userxattr" => stack.unusual.push(lossy(option)),
                b"metacopy" | b"redirect_dir" if value == b"on" => {
                    stack.unusual.push(lossy(option));
                }
                _ => {}
            }
        }
        Some(stack)
    }
}

/// Splits the list of `lowerdir=` at its colons. A backslash takes the next byte literally. None for a list with data-only
/// layers, which begin with two colons.
fn split_layers(list: &[u8]) -> Option<Vec<PathBuf>> {
    let mut layers = vec![Vec::new()];
    let mut bytes = list.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => layers.push(Vec::new()),
            b'\\' => layers.last_mut()?.push(bytes.next()?),
            other => layers.last_mut()?.push(other),
        }
    }
    layers.into_iter().map(|layer| (!layer.is_empty()).then(|| path(layer))).collect()
}

/// Undoes the kernel's `seq_escape`: a backslash with three octal digits is one byte.
fn unescape_octal(text: &[u8]) -> Option<Vec<u8>> {
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

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

fn lossy(bytes: &[u8]) -> String {
    std::ffi::OsStr::from_bytes(bytes).to_string_lossy().into_owned()
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
        assert_eq!((mount.id, mount.parent), (42, 29));
        assert_eq!(mount.point, Path::new("/a b\\c"));
        assert_eq!((&*mount.fstype, &*mount.source), (&b"overlay"[..], &b"overlay"[..]));
        assert_eq!(mount.options, b"rw,lowerdir=/x");
        let no_tags = b"1 0 8:1 /sub / rw - ext4 /dev/root rw";
        assert_eq!(Mount::parse(no_tags).unwrap().root, Path::new("/sub"));
        for bad in [&b""[..], b"1 2", b"x 1 8:1 / / rw - ext4 a b", b"1 1 8:1 / /\\0 rw - e a b"] {
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

    #[test]
    fn options_of_the_engines() {
        type Row = (&'static [u8], &'static [&'static str], Option<&'static str>, usize);
        let table: [Row; 9] = [
            (b"rw,lowerdir=/a:/b,upperdir=/u,workdir=/w,index=off", &["/a", "/b"], Some("/u"), 0),
            (b"ro,lowerdir+=/a:1,lowerdir+=/b\\054", &["/a:1", "/b,"], None, 0),
            (b"rw,lowerdir=/a\\134:1:/b\\134\\054", &["/a:1", "/b,"], None, 0),
            (b"rw,lowerdir=19/fs:18/fs,upperdir=/u", &["19/fs", "18/fs"], Some("/u"), 0),
            (b"rw,lowerdir=/a,userxattr", &["/a"], None, 1),
            (b"rw,lowerdir=/a,metacopy=on,redirect_dir=on", &["/a"], None, 2),
            (b"rw,lowerdir=/a,metacopy=off,redirect_dir=nofollow", &["/a"], None, 0),
            (b"rw,lowerdir=/a::/data", &[], None, 1),
            (b"rw,lowerdir=/a,upperdir=/u\\134x", &["/a"], None, 1),
        ];
        for (text, layers, upper, unusual) in table {
            let stack = OverlayOptions::parse(text).unwrap();
            assert_eq!(stack.layers, layers.iter().map(PathBuf::from).collect::<Vec<_>>());
            assert_eq!(stack.upper, upper.map(PathBuf::from));
            assert_eq!(stack.unusual.len(), unusual, "{stack:?}");
        }
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
        fn layers_survive(paths in proptest::collection::vec(path_bytes(), 1..6), one_by_one: bool) {
            let mut text = b"rw".to_vec();
            if one_by_one {
                for path in &paths {
                    text.extend_from_slice(b",lowerdir+=");
                    text.extend(escape(path, b", \t\n\\"));
                }
            } else {
                let quoted = paths.iter().map(|path| path.iter().fold(Vec::new(), |mut out, &b| {
                    if matches!(b, b':' | b'\\' | b',') { out.push(b'\\'); }
                    out.push(b);
                    out
                })).collect::<Vec<_>>().join(&b':');
                text.extend_from_slice(b",lowerdir=");
                text.extend(escape(&quoted, b", \t\n\\"));
            }
            let stack = OverlayOptions::parse(&text).unwrap();
            prop_assert_eq!(stack.layers, paths.into_iter().map(path).collect::<Vec<_>>());
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let _ = Mount::parse(&bytes);
            let _ = OverlayOptions::parse(&bytes);
            let _ = topmost(&bytes, Path::new("/"));
        }
    }
}
