//! The fuzz targets for the tar of a layer and the archive of an image, and the list by which the tar of a layer is compared with Go's.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};
use sharedroot_seeds::says_something;
use sharedroot_sys::chain::chain;

use super::beneath::clean;
use super::importable::Importable;
use super::lower_layers::LowerLayers;
use super::tar_stream::{Archive, Entry, EntryKind, Extent, TarError, Time};
use super::unpack::unpack;

/// The tar of a layer: read entry by entry, then unpacked twice, the second time as a layer above itself.
///
/// # Panics
/// If a rule is broken. The first rule: nothing outside of the layer's directory changes.
pub fn tar(input: &[u8]) {
    let mut archive = Archive::new(Cursor::new(input));
    loop {
        let entry = match archive.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) => {
                says_something(&error);
                break;
            }
        };
        assert!(archive.position() <= input.len() as u64, "more was read than there is");
        assert!(!entry.path.contains(&0));
        assert!(clean(&entry.path).iter().all(|name| !matches!(*name, b"" | b"." | b"..")));
        let mut end = 0;
        for extent in entry.extents.iter().flatten() {
            assert!(entry.kind == EntryKind::File && extent.offset >= end);
            end = extent.offset.checked_add(extent.length).expect("the end of an extent");
            assert!(end <= entry.size);
        }
    }
    let place = Place::new();
    let mut below = LowerLayers::default();
    for name in ["below", "above"] {
        let path = place.0.join(name);
        fs::create_dir(&path).expect("make a directory");
        match unpack(&mut Archive::new(Cursor::new(input)), &path, &mut below) {
            Ok(root) => below.push(path, root),
            Err(error) => says_something(&error),
        }
    }
    place.holds(&["above", "below", "beside"]);
}

/// A line for each entry of a tar, and then the end, as `hack/tar.d/main.go` prints them with Go's archive/tar.
#[must_use]
pub fn list(input: &[u8]) -> Vec<String> {
    let mut archive = Archive::new(Cursor::new(input));
    let mut lines = Vec::new();
    loop {
        let line = archive
            .next()
            .and_then(|entry| entry.map(|entry| describe(&mut archive, &entry)).transpose());
        match line {
            Ok(Some(line)) => lines.push(line),
            Ok(None) => lines.push("end".to_owned()),
            Err(error) => lines.push(format!("error {:?}", chain(&error))),
        }
        if lines.last().is_some_and(|line| line == "end" || line.starts_with("error ")) {
            return lines;
        }
    }
}

/// What this reader reads of a text as an index or a manifest, and as a configuration; none where it refuses the text.
#[cfg(feature = "fuzz")]
#[must_use]
pub fn documents(text: &[u8]) -> [Option<serde_json::Value>; 2] {
    [super::index::document(text), super::contents::configuration(text)]
}

/// A longer file's content is not read: it may be holes.
const LONGEST_LISTED: u64 = 4 << 20;

fn describe(archive: &mut Archive<Cursor<&[u8]>>, entry: &Entry) -> Result<String, TarError> {
    let (kind, link, device) = match &entry.kind {
        EntryKind::Directory => ("5", &[][..], None),
        EntryKind::File => ("file", &[][..], None),
        EntryKind::HardLink(link) => ("1", link.as_slice(), None),
        EntryKind::Symlink(link) => ("2", link.as_slice(), None),
        EntryKind::Character(major, minor) => ("3", &[][..], Some((major, minor))),
        EntryKind::Block(major, minor) => ("4", &[][..], Some((major, minor))),
        EntryKind::Fifo => ("6", &[][..], None),
    };
    let device = device.map(|(major, minor)| format!("{major}:{minor}")).unwrap_or_default();
    let content = match entry.kind == EntryKind::File && entry.size <= LONGEST_LISTED {
        true => hex(&Sha256::digest(content(archive, entry)?)),
        false => String::new(),
    };
    let attributes = entry.xattrs.iter();
    let mut attributes: Vec<_> =
        attributes.map(|(name, value)| format!("{}={}", hex(name), hex(value))).collect();
    attributes.sort();
    let Entry { path, mode, uid, gid, mtime: Time { seconds, nanoseconds }, size, .. } = entry;
    Ok(format!(
        "{kind} name={} link={} device={device} mode={mode:o} owner={uid}:{gid} time={seconds}.{nanoseconds} size={size} \
         content={content} attributes={}",
        hex(path),
        hex(link),
        attributes.join(",")
    ))
}

/// The whole content of a file, with its holes.
fn content(archive: &mut Archive<Cursor<&[u8]>>, entry: &Entry) -> Result<Vec<u8>, TarError> {
    let mut content = vec![0; usize::try_from(entry.size).expect("a short file")];
    let whole = [Extent { offset: 0, length: entry.size }];
    for Extent { offset, length } in entry.extents.as_deref().unwrap_or(&whole) {
        let end = usize::try_from(offset + length).expect("in the file");
        let begin = usize::try_from(*offset).expect("in the file");
        archive.read(&mut content[begin..end])?;
    }
    Ok(content)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many bytes the layers of an archive may have: a fuzzer soon finds a megabyte that is a gigabyte.
const MOST: u64 = 64 << 20;

/// The file that `image import` reads: an archive, which is searched, and its image unpacked.
///
/// # Panics
/// If a rule is broken.
pub fn archive(input: &[u8]) {
    let place = Place::new();
    let source = place.0.join("source");
    fs::write(&source, input).expect("write the archive");
    let layers = place.0.join("layers");
    fs::create_dir(&layers).expect("make a directory");
    let unpacked = Importable::open(&source, None).and_then(|image| {
        let Some(image) = image else { return Ok(()) };
        let stored = image.stored_bytes()?;
        let mut most = 0;
        let unpacked = image.unpack(&layers, MOST, |passed| most = passed)?;
        assert_eq!(most, stored, "what was read of the layers");
        assert!(unpacked.layers.iter().all(|layer| layer.starts_with(&layers)));
        Ok(())
    });
    if let Err(error) = unpacked {
        says_something(&error);
    }
    place.holds(&["beside", "layers", "source"]);
}

/// A directory for two layers, with a file that they must not reach.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sharedroot-tar-{}-{number}", std::process::id());
        let path = fs::canonicalize(std::env::temp_dir()).expect("a directory").join(name);
        fs::create_dir(&path).expect("make a directory");
        fs::write(path.join("beside"), "untouched").expect("write a file");
        Self(path)
    }

    /// Checks that the directory has exactly these names, and that the file is unchanged.
    fn holds(&self, expected: &[&str]) {
        let beside = fs::read(self.0.join("beside")).expect("the file beside the layers");
        assert_eq!(beside, b"untouched");
        let entries = fs::read_dir(&self.0).expect("list");
        let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, expected);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("remove what was unpacked");
    }
}
