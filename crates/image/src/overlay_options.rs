//! The options of an overlay in the mount table (fs/overlayfs/params.c and super.c). All texts are bytes: a path need not be
//! UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use sharedroot_sys::mountinfo::unescape_octal;

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
                // The kernel prints the last two only if they are not the host's own setting, which the overlay of a base has
                // (fs/overlayfs/params.c, `ovl_show_options`): the same layers would be another tree.
                b"datadir+" | b"userxattr" | b"metacopy" | b"redirect_dir" => {
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
    use crate::fuzz::escape;

    #[test]
    fn options_of_the_engines() {
        type Row = (&'static [u8], &'static [&'static str], Option<&'static str>, usize);
        let table: [Row; 10] = [
            (b"rw,lowerdir=/a:/b,upperdir=/u,workdir=/w,index=off", &["/a", "/b"], Some("/u"), 0),
            (b"ro,lowerdir+=/a:1,lowerdir+=/b\\054", &["/a:1", "/b,"], None, 0),
            (b"rw,lowerdir=/a\\134:1:/b\\134\\054", &["/a:1", "/b,"], None, 0),
            (b"rw,lowerdir=19/fs:18/fs,upperdir=/u", &["19/fs", "18/fs"], Some("/u"), 0),
            (b"rw,lowerdir=/a,userxattr", &["/a"], None, 1),
            (b"rw,lowerdir=/a,metacopy=on,redirect_dir=on", &["/a"], None, 2),
            (b"rw,lowerdir=/a,metacopy=off,redirect_dir=nofollow", &["/a"], None, 2),
            (b"rw,lowerdir=/a,redirect_dir=follow", &["/a"], None, 1),
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
            let _ = OverlayOptions::parse(&bytes);
        }
    }
}
