use std::fs;

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

use super::super::testing::{Tar, record};
use super::*;
use crate::testing::{TestDir, need_root};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A layout with a compressed layer of each tar.
fn layout(tars: &[Vec<u8>]) -> TestDir {
    let dir = TestDir::new();
    let blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(dir.dir("blobs/sha256").join(digest.hex()), bytes).unwrap();
        format!(r#"{{"digest":"{digest}","size":{}}}"#, bytes.len())
    };
    let diff_ids = tars.iter().map(|tar| format!("\"{}\"", Digest::of(tar))).collect::<Vec<_>>();
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#, diff_ids.join(","));
    let layers = tars.iter().map(|tar| blob(&gzip(tar))).collect::<Vec<_>>().join(",");
    let config = blob(config.as_bytes());
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, blob(manifest.as_bytes()));
    dir.write("index.json", &index);
    dir.write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    dir
}

/// A layer of 20 kB that is 20 MiB: behind the end of its tar, in one file, and in files that later entries replace.
#[test]
fn all_layers_together_have_a_bound_in_bytes() {
    need_root();
    let zeros = vec![0; 10 << 20];
    let text = str::from_utf8(&zeros).unwrap();
    let behind = [Tar::new().file("file", "x").bytes(), zeros.clone(), zeros.clone()].concat();
    let again = Tar::new().file("file", text).file("file", text).bytes();
    let one = Tar::new().file("file", text).bytes();
    for (tars, what) in
        [(vec![behind], "behind"), (vec![again], "again"), (vec![one.clone(), one], "two layers")]
    {
        let whole: u64 = tars.iter().map(|tar| tar.len() as u64).sum();
        let layout = layout(&tars);
        let image = Importable::open(layout.path(), None).unwrap().unwrap();
        assert!(image.stored_bytes().unwrap() < 1 << 20, "{what}");
        let unpack = |most: u64| {
            let scratch = TestDir::new();
            image.unpack(scratch.path(), most, |_| ()).map(|_| ())
        };
        for most in [whole - 1, 12 << 20, 100] {
            let refused = unpack(most).unwrap_err();
            assert!(matches!(refused, ImportError::TooLarge { .. }), "{what}, {most}: {refused:?}");
        }
        unpack(whole).unwrap();
    }
}

/// Layers of a kB with a file of holes: nothing else in them is large, but the digest of the tree takes every byte.
#[test]
fn all_files_together_have_a_bound_with_their_holes() {
    need_root();
    let holes = |size: u64| {
        let map = [record(b"GNU.sparse.map", b"0,4"), record(b"GNU.sparse.numblocks", b"1")];
        let size = record(b"GNU.sparse.size", size.to_string().as_bytes());
        Tar::new().pax(&[map.concat(), size].concat()).file("file", "data").bytes()
    };
    let unpack = |tars: &[Vec<u8>], most: u64| {
        let (layout, scratch) = (layout(tars), TestDir::new());
        let image = Importable::open(layout.path(), None).unwrap().unwrap();
        image.unpack(scratch.path(), most, |_| ()).map(|_| ())
    };
    for tars in [vec![holes(1 << 40)], vec![holes(1 << 39), holes(1 << 39)]] {
        let refused = unpack(&tars, (1 << 40) - 1).unwrap_err();
        assert!(matches!(refused, ImportError::TooLarge { .. }), "{refused:?}");
        unpack(&tars, 1 << 40).unwrap();
    }
}
