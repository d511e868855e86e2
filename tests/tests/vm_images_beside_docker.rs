//! `image import` beside Docker: layers that can be read in two ways, or that nobody's builder writes. The tree of the base is the
//! one that Docker makes of the same layers, or the layer is refused, or docs/images.md names the difference.
//!
//! Guest: --limit 900 --takes 60

use std::fs;
use std::path::Path;

use serde_json::json;
use sharedroot_tests::command::{Cmd, Output};
use sharedroot_tests::docker::docker;
use sharedroot_tests::lab::{Replaced, TempDir, only_in_lab};
use sharedroot_tests::layout::digest;
use sharedroot_tests::pool::CONFIG;
use sharedroot_tests::tree::{Lines, OverlayView, differences, list, seconds, without_daemons};
use tar::{Builder, Header};

/// A tar with entries of any form.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry whose header is changed. Its mode is 0750, its owner 3:4, its time 1000.
    fn entry(mut self, letter: u8, name: &str, link: &str, content: &[u8], change: Change) -> Self {
        let mut header = Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        old.linkflag = [letter];
        header.set_mode(0o750);
        header.set_uid(3);
        header.set_gid(4);
        header.set_mtime(1000);
        header.set_size(content.len() as u64);
        change(header.as_mut_bytes());
        header.set_cksum();
        self.0.append(&header, content).expect("write into memory");
        self
    }

    fn file(self, name: &str) -> Self {
        self.entry(b'0', name, "", name.as_bytes(), |_| {})
    }

    fn dir(self, name: &str) -> Self {
        self.entry(b'5', name, "", b"", |_| {})
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target, b"", |_| {})
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let records = records.iter().flat_map(|(key, value)| record(key, value));
        self.entry(b'x', "pax", "", &records.collect::<Vec<u8>>(), |_| {})
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("end a tar in memory")
    }
}

/// How a header is changed.
type Change = fn(&mut [u8; 512]);

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest + 1..).find(|n| n.to_string().len() + rest == *n).expect("a length");
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// An archive of `docker save`, in a directory of its own.
fn archive(name: &str, layers: &[Vec<u8>]) -> (TempDir, String) {
    let dir = TempDir::new("beside");
    let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let names: Vec<_> = (0..layers.len()).map(|n| format!("{n}.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": names}]);
    let mut tar = Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).expect("write into memory");
    };
    add("config.json", config.to_string().as_bytes());
    add("manifest.json", manifest.to_string().as_bytes());
    names.iter().zip(layers).for_each(|(name, layer)| add(name, layer));
    let path = format!("{}/image.tar", dir.str());
    fs::write(&path, tar.into_inner().expect("end a tar in memory")).expect("write the archive");
    (dir, path)
}

/// What `image import` makes of an archive, or what it says.
fn import((dir, archive): &(TempDir, String)) -> Result<Lines, Output> {
    only_in_lab();
    let sharedroot = |words: &[&str]| Cmd::new("sharedroot").arg("image").args(words).run();
    let imported = sharedroot(&["import", archive]);
    if imported.status != 0 {
        return Err(imported);
    }
    let key = imported.stdout.trim();
    let (tar, top) = (format!("{}/export.tar", dir.str()), dir.0.join("top"));
    fs::create_dir(&top).expect("make a directory");
    sharedroot(&["export", key, "--output", &tar]).ok();
    sharedroot(&["rm", key]).ok();
    let to = top.to_str().expect("ASCII");
    Cmd::new("tar").args(&["--xattrs", "--xattrs-include=*", "-xpf", &tar, "-C", to]).run().ok();
    Ok(list(Path::new(to), seconds, &[]))
}

/// What Docker makes of the layers, or what it says; and the same of `image import`.
fn trees(layers: &[Vec<u8>]) -> (Result<Lines, Output>, Result<Lines, Output>) {
    only_in_lab();
    let name = "lab/beside:1";
    let archive = archive(name, layers);
    let loaded = docker(&["load", "--input", &archive.1]);
    let dockers = match loaded.status {
        0 => {
            let view = OverlayView::of(name);
            let lines = list(&view.top(), seconds, &[]);
            drop(view);
            docker(&["rmi", name]).ok();
            Ok(lines)
        }
        _ => Err(loaded),
    };
    let ours = import(&archive);
    let image = dockers.as_ref().map(Lines::clone).unwrap_or_default();
    let plain = |lines| without_daemons(lines, &image);
    (dockers.map(plain), ours.map(plain))
}

/// Both make the same tree, in which these names are.
#[track_caller]
fn same(what: &str, layers: &[Make], names: &[&str]) {
    let layers: Vec<_> = layers.iter().map(|make| make(Tar::new()).bytes()).collect();
    let (dockers, ours) = trees(&layers);
    let dockers = dockers.unwrap_or_else(|output| panic!("{what}: Docker: {output}"));
    let ours = ours.unwrap_or_else(|output| panic!("{what}: {output}"));
    assert_eq!(differences(&ours, &dockers), "", "{what}");
    let found: Vec<_> = ours.keys().map(String::as_str).collect();
    assert_eq!(found, names, "{what}");
    println!("{what}: {} files are the same", ours.len());
}

/// Adds the entries of a layer to a tar.
type Make = fn(Tar) -> Tar;

fn magic(header: &mut [u8; 512], magic: &[u8; 8], prefix: &[u8]) {
    header[257..265].copy_from_slice(magic);
    header[345..345 + prefix.len()].copy_from_slice(prefix);
}

#[test]
fn vm_headers_are_read_as_docker_reads_them() {
    let _config = Replaced::with(CONFIG, "[base]\nsize = \"256M\"\n");
    same(
        "records before a global header",
        &[|tar| {
            let tar = tar.pax(&[("path", b"pax")]);
            let tar = tar.entry(b'g', "global", "", &record("comment", b"git's"), |_| {});
            tar.file("header").pax(&[("path", b"own")]).file("second")
        }],
        &["header", "own"],
    );
    same(
        "prefixes",
        &[|tar| {
            let ustar: Change = |header| magic(header, b"ustar\0 \0", b"ustar");
            let gnu: Change = |header| magic(header, b"ustar  \0", b"gnu");
            let times: Change = |header| magic(header, b"ustar  \0", b"14713302577");
            let star: Change = |header| {
                magic(header, b"ustar\x0000", &[b's'; 131]);
                header[476..500].copy_from_slice(b"14713302577\x0014713302577\0");
                header[508..].copy_from_slice(b"tar\0");
            };
            let tar = tar.dir("ustar").dir("gnu").pax(&[("path", &[b's'; 131])]).dir("star");
            let tar = tar.entry(b'0', "a", "", b"", ustar).entry(b'0', "b", "", b"", gnu);
            tar.entry(b'0', "c", "", b"", times).entry(b'0', "d", "", b"", star)
        }],
        &[
            "c",
            "gnu",
            "gnu/b",
            &"s".repeat(131),
            &format!("{}/d", "s".repeat(131)),
            "ustar",
            "ustar/a",
        ],
    );
    same(
        "an empty long name",
        &[|tar| tar.entry(b'L', "long", "", b"\0", |_| {}).dir("dir").dir("dir2")],
        &["dir", "dir2"],
    );
}

#[test]
fn vm_maps_and_devices_are_read_as_docker_reads_them() {
    let _config = Replaced::with(CONFIG, "[base]\nsize = \"256M\"\n");
    same(
        "two maps of a sparse file",
        &[|tar| {
            let records: [(&str, &[u8]); 6] = [
                ("GNU.sparse.offset", b"4"),
                ("GNU.sparse.numbytes", b"4"),
                ("GNU.sparse.map", b"0,4"),
                ("GNU.sparse.numblocks", b"1"),
                ("GNU.sparse.size", b"16"),
                ("GNU.sparse.name", b"sparse"),
            ];
            tar.pax(&records).file("head")
        }],
        &["sparse"],
    );
    same(
        "a device of Version 7",
        &[
            |tar| tar.file("gone").file("kept"),
            |tar| tar.entry(b'3', "gone", "", b"", |header| header[257..].fill(0)),
        ],
        &["kept"],
    );
}

#[test]
fn vm_entries_become_the_files_that_docker_makes_of_them() {
    let _config = Replaced::with(CONFIG, "[base]\nsize = \"256M\"\n");
    let below: Make = |tar| {
        let tar = tar.dir("real").file("real/secret").dir("real/deep").file("real/deep/secret");
        tar.dir("real/opaque").file("real/opaque/secret").file("real/kept")
    };
    same(
        "whiteouts through a link of the layer",
        &[below, |tar| {
            let tar = tar.dir("real").dir("real/deep").dir("real/opaque").symlink("s", "/real");
            tar.file("s/.wh.secret").file("s/deep/.wh.secret").file("s/opaque/.wh..wh..opq")
        }],
        &["real", "real/deep", "real/kept", "real/opaque", "s"],
    );
    same(
        "a hard link with metadata of its own, and a capability that it lacks",
        &[|tar| {
            let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let tar = tar.pax(&[("SCHILY.xattr.security.capability", &capability)]).file("file");
            tar.pax(&[("SCHILY.xattr.user.a", b"b")]).entry(b'1', "linked", "file", b"", |header| {
                header[100..108].copy_from_slice(b"0004711\0");
                header[108..116].copy_from_slice(b"0000007\0");
                header[136..148].copy_from_slice(b"00000002322\0");
            })
        }],
        &["file", "linked"],
    );
    same(
        "times",
        &[|tar| {
            let at = |tar: Tar, time: &'static [u8]| tar.pax(&[("mtime", time)]);
            let tar = at(at(tar, b"-1.25").file("before"), b"9223372037").file("beyond");
            at(at(tar, b"-5").dir("dir"), b"-1.25").symlink("link", "before")
        }],
        &["before", "beyond", "dir", "link"],
    );
    same(
        "an ACL beyond the mode, and a plain attribute",
        &[|tar| {
            let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\x05\0\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
            let tar = tar.pax(&[("SCHILY.xattr.system.posix_acl_access", acl)]).file("file");
            tar.pax(&[("SCHILY.xattr.user.overlay.x", b"y")]).file("plain")
        }],
        &["file", "plain"],
    );
}

/// Docker's overlay also lists the name of the whiteout, which leads nowhere.
#[test]
fn vm_the_way_to_a_whiteout_of_nothing_is_made() {
    let _config = Replaced::with(CONFIG, "[base]\nsize = \"256M\"\n");
    let layer = Tar::new().file("no/such/.wh.x").bytes();
    let ours = import(&archive("lab/beside:1", std::slice::from_ref(&layer))).expect("a tree");
    assert!(ours.contains_key("no/such") && !ours.contains_key("no/such/x"), "{ours:?}");
    let (_dir, archive) = archive("lab/beside:1", &[layer]);
    docker(&["load", "--input", &archive]).ok();
    let view = OverlayView::of("lab/beside:1");
    assert!(view.top().join("no/such").is_dir() && !view.top().join("no/such/x").exists());
    drop(view);
    docker(&["rmi", "lab/beside:1"]).ok();
}

/// What a difference is, and who has which tree.
#[test]
fn vm_what_docs_name_differs_as_they_say() {
    let _config = Replaced::with(CONFIG, "[base]\nsize = \"256M\"\n");
    let layers = |layers: &[Make]| -> Vec<_> {
        layers.iter().map(|make| make(Tar::new()).bytes()).collect()
    };
    // A directory without an entry of its own.
    let (dockers, ours) = trees(&layers(&[|tar| tar.dir("dir"), |tar| tar.file("dir/file")]));
    let line = |tree: &Result<Lines, Output>| tree.as_ref().expect("a tree")["dir"].clone();
    println!("a directory without an entry: Docker {}, here {}", line(&dockers), line(&ours));
    assert!(line(&ours).starts_with("40750 (3, 4) 1000 "), "{}", line(&ours));
    assert!(line(&dockers).starts_with("40755 (0, 0) "), "{}", line(&dockers));
    let names = |tree: Result<Lines, Output>| -> Vec<String> {
        tree.expect("a tree").into_keys().collect()
    };
    // A whiteout and a directory of one name; an opaque root.
    let again: [Make; 2] = [
        |tar| tar.dir("dir").file("dir/old"),
        |tar| tar.file(".wh.dir").dir("dir").file("dir/new"),
    ];
    let root: [Make; 2] = [|tar| tar.file("old"), |tar| tar.file(".wh..wh..opq").file("new")];
    let diff = docker(&["info", "--format", "{{range .DriverStatus}}{{.}}{{end}}"]).ok();
    println!("{diff}");
    let (dockers, ours) = trees(&layers(&again));
    assert_eq!(names(ours), ["dir", "dir/new"]);
    assert_eq!(names(dockers), ["dir", "dir/new", "dir/old"]);
    let (dockers, ours) = trees(&layers(&root));
    assert_eq!(names(ours), ["new"]);
    assert_eq!(names(dockers), ["new", "old"]);
}

/// Docker refuses these, and so does `image import`, or it takes them for what they say.
#[test]
fn vm_what_docker_refuses_has_no_second_tree() {
    let _config = Replaced::with(CONFIG, "[base]\nsize = \"256M\"\n");
    let both: [(&str, Make); 5] = [
        ("a sparse file that is a directory", |tar| {
            tar.pax(&[("GNU.sparse.map", b"0,0"), ("GNU.sparse.numblocks", b"1")]).dir("dir")
        }),
        ("a sparse file without a count", |tar| {
            tar.pax(&[("GNU.sparse.map", b"0,4"), ("GNU.sparse.size", b"16")]).file("head")
        }),
        ("a number with a sign", |tar| {
            tar.entry(b'0', "file", "", b"", |header| {
                header[108..116].copy_from_slice(b"+000005\0")
            })
        }),
        ("an attribute without a name", |tar| tar.pax(&[("SCHILY.xattr.", b"x")]).file("file")),
        ("an unknown type", |tar| tar.entry(b'V', "volume", "", b"", |_| {})),
    ];
    for (what, make) in both {
        let (dockers, ours) = trees(&[make(Tar::new()).bytes()]);
        let (dockers, ours) = (dockers.expect_err(what), ours.expect_err(what));
        println!("{what}: Docker: {}; here: {}", dockers.stderr.trim(), ours.stderr.trim());
    }
    // What a layer says twice, containerd takes as it is said last.
    let twice: [Make; 2] = [
        |tar| tar.file("gone").file("kept"),
        |tar| tar.file("gone").entry(b'3', "gone", "", b"", |_| {}),
    ];
    let (dockers, ours) = trees(&twice.map(|make| make(Tar::new()).bytes()));
    let said = dockers.expect_err("a name twice").stderr;
    assert!(said.contains("duplicates of file paths not supported"), "{said}");
    assert_eq!(ours.expect("a tree").into_keys().collect::<Vec<_>>(), ["kept"]);
    for (what, letter) in [("a contiguous file", b'7'), ("a sparse file of GNU's old form", b'S')] {
        let tar = Tar::new().entry(letter, "file", "", b"", |header| {
            magic(header, b"ustar  \0", b"");
            header[483..495].copy_from_slice(b"00000000000\0");
        });
        let (dockers, ours) = trees(&[tar.bytes()]);
        let said = dockers.expect_err(what).stderr;
        assert!(said.contains("unhandled tar header type"), "{what}: {said}");
        assert_eq!(ours.expect("a tree").into_keys().collect::<Vec<_>>(), ["file"], "{what}");
    }
}
