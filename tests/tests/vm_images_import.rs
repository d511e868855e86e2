//! `sharedroot image`: what can be imported, what is refused by what name, and that neither leaves anything behind.
//!
//! Guest: --no-docker --limit 800 --takes 55

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use sharedroot_tests::census::{Census, pools, thin_ids};
use sharedroot_tests::command::{Cmd, Output, out};
use sharedroot_tests::documented::{self, check, images};
use sharedroot_tests::lab::{Replaced, TempDir, only_in_lab};
use sharedroot_tests::layout::{Layout, layer};
use sharedroot_tests::pool::{CONFIG, Device, NoPool, has, pool};
use sharedroot_tests::tree::{differences, list, seconds, without_daemons};
use tar::EntryType;

fn image(words: &[&str]) -> Output {
    only_in_lab();
    Cmd::new("sharedroot").arg("image").args(words).run()
}

fn small_bases() -> Replaced {
    Replaced::with(CONFIG, "[base]\nsize = \"256M\"\n")
}

/// Two layers, the second of which changes the first; the content makes the image another one.
fn two_layers(content: &str) -> [Vec<u8>; 2] {
    use EntryType::{Directory, Link, Regular, Symlink};
    let below = layer(&[
        (Directory, "dir/", "", b""),
        (Regular, "dir/file", "", content.as_bytes()),
        (Regular, "gone", "", b"gone"),
        (Symlink, "link", "dir/file", b""),
    ]);
    let above = layer(&[(Regular, ".wh.gone", "", b""), (Link, "linked", "dir/file", b"")]);
    [below, above]
}

/// The keys of all bases.
fn keys() -> Vec<String> {
    images().iter().map(|base| base["key"].as_str().expect("a key").to_owned()).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn vm_every_form_of_an_image_is_the_same_base() {
    let _config = small_bases();
    let layers = two_layers("every form");
    let layout = Layout::plain(&layers);
    let key = image(&["import", layout.str(), "lab/forms:1"]).ok();

    // As a tar, compressed layers, one in two members, and what older versions of `docker save` write.
    let dir = TempDir::new("forms");
    let at = |name: &str| dir.0.join(name).to_str().expect("ASCII").to_owned();
    out(&["tar", "-cf", &at("layout.tar"), "-C", layout.str(), "."]);
    let gzip = |bytes: &[u8]| {
        fs::write(at("plain"), bytes).expect("write");
        out(&[
            "sh",
            "-c",
            "gzip -nk \"$1\"; { cat \"$1.gz\"; head -c 0 /dev/null | gzip -n; } > \"$1.two\"; rm \"$1.gz\"",
            "sh",
            &at("plain"),
        ]);
        fs::read(at("plain.two")).expect("read")
    };
    let compressed = Layout::new(&layers.clone().map(|tar| (gzip(&tar), tar)));
    let saved = at("saved");
    fs::create_dir_all(format!("{saved}/one")).expect("make a directory");
    fs::create_dir_all(format!("{saved}/two")).expect("make a directory");
    fs::write(format!("{saved}/one/layer.tar"), &layers[0]).expect("write");
    fs::write(format!("{saved}/layer"), &layers[1]).expect("write");
    symlink("../layer", format!("{saved}/two/layer.tar")).expect("link");
    let manifest: Value = layout.descriptor();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest").trim_start_matches("sha256:");
        fs::read(layout.path(&format!("blobs/sha256/{digest}"))).expect("a blob")
    };
    let manifest: Value = serde_json::from_slice(&blob(&manifest)).expect("JSON");
    let config = blob(&manifest["config"]);
    let name = manifest["config"]["digest"]
        .as_str()
        .expect("a digest")
        .trim_start_matches("sha256:")
        .to_owned()
        + ".json";
    fs::write(format!("{saved}/{name}"), config).expect("write");
    let list = json!([{"Config": name, "RepoTags": ["lab/saved:2"], "Layers": ["one/layer.tar", "two/layer.tar"]}]);
    fs::write(format!("{saved}/manifest.json"), list.to_string()).expect("write");
    out(&["tar", "-cf", &at("saved.tar"), "-C", &saved, "."]);

    for source in [&at("layout.tar"), compressed.str(), &at("saved.tar")] {
        image(&["rm", &key]).ok();
        assert_eq!(image(&["import", source]).ok(), key, "{source}");
        let export = image(&["export", &key, "--output", &at("export.tar")]);
        export.ok();
        let listing = out(&["tar", "-tvf", &at("export.tar")]);
        has(&listing, &["dir/file", "linked link to dir/file", "link -> dir/file", ".dockerenv"]);
        assert!(!listing.contains("gone") && !listing.contains(".wh."), "{listing}");
    }
    let names = &image(&["inspect", &key]).json()["names"];
    assert_eq!(
        names,
        &json!(["lab/saved:2"]),
        "`rm` took the first name, the archive brought its own"
    );

    // A name moves, serves in place of the key, and is refused where it is none.
    image(&["import", layout.str(), "lab/forms:1"]).ok();
    let other = Layout::plain(&two_layers("another"));
    let imported = documented::json("image import", &[other.str(), "lab/forms:1"]);
    assert_eq!((&imported["name"], &imported["was_there"]), (&"lab/forms:1".into(), &false.into()));
    let second = imported["key"].as_str().expect("a key").to_owned();
    assert_ne!(second, key);
    assert_eq!(check("image inspect", image(&["inspect", "lab/forms:1"]))["key"], second.as_str());
    has(&image(&["list"]).ok(), &["lab/forms:1", "lab/saved:2", "IMAGE", "USED"]);
    has(&image(&["import", layout.str(), "../up"]).fails(1), &["../up", "name"]);
    has(&image(&["verify", "no/such"]).fails(1), &["no/such", "image list"]);
    assert_eq!(documented::json("image rm", &["lab/forms:1"])["key"], second.as_str());
    image(&["rm", &key[..12]]).ok();
    assert!(!Path::new("/var/lib/sharedroot/images.json").exists(), "names of no base are left");
}

#[test]
fn vm_verify_finds_what_changed_and_export_is_what_was_imported() {
    let _config = small_bases();
    let dir = TempDir::new("root");
    let root = dir.0.join("rootfs");
    sharedroot_tests::bundle::make_rootfs(&root);
    fs::hard_link(root.join("etc/passwd"), root.join("linked")).expect("link");
    fs::set_permissions(root.join("linked"), Permissions::from_mode(0o4711)).expect("chmod");
    fs::write(root.join("unique"), "what nobody else has in a base").expect("write");
    let root_path = root.to_str().expect("ASCII");
    let key = image(&["import", root_path, "lab/root"]).ok();
    assert_eq!(image(&["import", root_path]).ok(), key, "the same tree is the same base");
    has(&image(&["verify", "lab/root"]).ok(), &["every file is as in the source of the base"]);
    let whole = image(&["inspect", "lab/root"]).json();
    assert_eq!(whole["source"]["path"], root_path);
    assert!(whole["used_bytes"].as_u64() > Some(1 << 20), "{whole}");

    // What is exported and imported again is the same tree; of a directory it is even the same key.
    let tar = dir.0.join("export.tar");
    let tar = tar.to_str().expect("ASCII");
    let second = dir.0.join("again");
    fs::create_dir(&second).expect("make a directory");
    image(&["export", "lab/root", "-o", tar]).ok();
    image(&["export", "lab/root", "-o", "/dev/null"]).ok();
    let null = fs::metadata("/dev/null").expect("it is nobody's to remove");
    assert!(null.file_type().is_char_device());
    out(&[
        "tar",
        "--xattrs",
        "--xattrs-include=*",
        "-xpf",
        tar,
        "-C",
        second.to_str().expect("ASCII"),
    ]);
    let [before, after] = [&root, &second].map(|top| {
        let lines = list(top, seconds, &[]);
        without_daemons(lines.clone(), &lines)
    });
    assert_eq!(differences(&after, &before), "");
    let piped =
        out(&["sh", "-c", "sharedroot image export lab/root | sha256sum | cut -d ' ' -f 1"]);
    assert_eq!(piped, out(&["sh", "-c", &format!("sha256sum {tar} | cut -d ' ' -f 1")]));

    // One byte of a file, changed behind sharedroot's back.
    let [id] = &thin_ids(&pools()[0])[..] else { panic!("one base is one thin ID") };
    let script = "set -eu
        pool=$(dmsetup info -c --noheadings --separator : -o major,minor sharedroot-default)
        dmsetup create tampered --table \"0 $((256 << 11)) thin $pool $1\"
        node=/dev/dm-$(dmsetup info -c --noheadings -o minor tampered)
        block=$(debugfs -R 'blocks /unique' $node 2>/dev/null | tr -d ' ')
        printf W | dd of=$node bs=1 seek=$((block * 4096)) conv=notrunc,fsync status=none
        dmsetup remove --retry tampered";
    out(&["sh", "-c", script, "sh", id]);
    let wrong = image(&["verify", "lab/root"]).fails(1);
    has(&wrong, &["is not what it was made from", "image rm"]);
    image(&["rm", "lab/root"]).ok();

    // A layer is no root.
    out(&["mknod", &format!("{root_path}/whiteout"), "c", "0", "0"]);
    has(&image(&["import", root_path]).fails(1), &["a mark of overlay's", "whiteout"]);
    assert!(keys().is_empty(), "{:?}", keys());
}

/// An error that names what is wrong, and then the machine as before.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn vm_what_is_wrong_is_refused_and_leaves_nothing() {
    let _config = small_bases();
    image(&["rm", &image(&["import", Layout::plain(&two_layers("first")).str()]).ok()]).ok();
    let before = Census::take();
    let refused = |source: &str, words: &[&str]| {
        let said = image(&["import", source, "lab/wrong"]).fails(1);
        assert_eq!(said.matches("sharedroot: error:").count(), 1, "{said}");
        has(&said, words);
        assert!(keys().is_empty(), "{words:?} left a base: {:?}", keys());
        let left = Census::take().against(&before);
        let left: Vec<_> =
            left.lines().filter(|line| !line.contains("sharedroot-tests-layout")).collect();
        assert!(left.is_empty(), "{words:?}: {left:#?}");
    };
    let layers = two_layers("wrong");
    let change = |layout: &Layout, name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(layout.path(name)).expect("read a blob");
        change(&mut bytes);
        fs::write(layout.path(name), bytes).expect("write a blob");
    };
    let blob = |layout: &Layout, n: usize| format!("blobs/sha256/{}", layout.layers[n]);

    let layout = Layout::plain(&layers);
    change(&layout, &blob(&layout, 0), &|bytes| bytes[512] ^= 1); // a byte of the second entry's header or content
    refused(layout.str(), &["layer"]);
    let layout = Layout::plain(&layers);
    change(&layout, &blob(&layout, 0), &|bytes| bytes[1024] ^= 1); // a byte of a file
    refused(layout.str(), &["layer 1 of 2", "was expected", "damaged"]);
    let mut layout = Layout::plain(&layers);
    change(&layout, &blob(&layout, 1), &|bytes| bytes.truncate(600));
    refused(layout.str(), &["600", "bytes"]);
    layout = Layout::new(&[(layers[0].clone(), layers[1].clone())]);
    refused(layout.str(), &["the diff ID"]);
    let manifest = layout.descriptor()["digest"]
        .as_str()
        .expect("a digest")
        .trim_start_matches("sha256:")
        .to_owned();
    change(&layout, &format!("blobs/sha256/{manifest}"), &|bytes| bytes.push(b' '));
    refused(layout.str(), &[&manifest, "was expected"]);
    fs::remove_file(layout.path(&format!("blobs/sha256/{manifest}"))).expect("remove");
    refused(layout.str(), &[&manifest, "incomplete"]);

    // A gzip that ends early, under the digest that it has.
    let dir = TempDir::new("gzip");
    let file = format!("{}/file", dir.str());
    fs::write(&file, &layers[0]).expect("write");
    out(&["gzip", "-n", &file]);
    let gzip = fs::read(format!("{file}.gz")).expect("read");
    refused(
        Layout::new(&[(gzip[..gzip.len() - 20].to_vec(), layers[0].clone())]).str(),
        &["layer 1 of 1"],
    );
    drop(dir);

    let link = layer(&[(EntryType::Link, "bad", "../../etc/passwd", b"")]);
    refused(
        Layout::plain(&[layers[0].clone(), link]).str(),
        &["layer 2 of 2", "\"bad\"", "no layer up to here has"],
    );
    let large = vec![7; 300 << 20];
    refused(
        Layout::plain(&[layer(&[(EntryType::Regular, "large", "", &large)])]).str(),
        &["make bases larger"],
    );
    drop(large);

    let layout = Layout::plain(&layers);
    let mut descriptor = layout.descriptor();
    descriptor["platform"] = json!({"os": "linux", "architecture": "riscv64"});
    layout.index(&[descriptor.clone()]);
    refused(layout.str(), &["no image for linux/amd64", "linux/riscv64"]);
    let named = |name: &str| {
        let mut one = layout.blob(name.as_bytes(), "application/vnd.oci.image.manifest.v1+json");
        one["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        one
    };
    layout.index(&[named("one"), named("two")]);
    refused(layout.str(), &["several images", "one, two"]);
    fs::write(layout.path("index.json"), "{").expect("write");
    refused(layout.str(), &["index.json"]);
    refused("/no/such/file", &["/no/such/file"]);
    refused("/dev/null", &["/dev/null", "OCI layout"]);
}

#[test]
fn vm_an_image_larger_than_the_pool_leaves_the_pool_as_it_was() {
    let no_pool = NoPool::at_first();
    let fits = Layout::plain(&two_layers("fits"));
    // What no compression and no hole makes smaller.
    let mut random = Vec::new();
    let urandom = fs::File::open("/dev/urandom").expect("open");
    urandom.take(160 << 20).read_to_end(&mut random).expect("read");
    let large = Layout::plain(&[layer(&[(EntryType::Regular, "large", "", &random)])]);
    drop(random);
    let bases = "[base]\nsize = \"2G\"\n";
    {
        let [data, metadata] = ["96M", "16M"].map(Device::new);
        let devices = format!("data_dev = {:?}\nmetadata_dev = {:?}", data.node, metadata.node);
        let _config = Replaced::with(CONFIG, &format!("[pool]\n{devices}\n{bases}"));
        pool(&["create"]).ok();
        let key = image(&["import", fits.str()]).ok();
        let before = pool(&["status", "--json"]).json();
        let said = image(&["import", large.str()]).fails(1);
        has(&said, &["too small for 1", "sharedroot pool grow"]);
        assert_eq!(keys(), std::slice::from_ref(&key), "{said}");
        let after = pool(&["status", "--json"]).json();
        assert_eq!(after["data"]["used_bytes"], before["data"]["used_bytes"], "{said}");
        assert_eq!((&after["mode"], &after["volumes"]), (&json!("rw"), &before["volumes"]));
        has(&image(&["verify", &key]).ok(), &["every file"]);
        pool(&["destroy", "--force"]).ok();
    }
    // One on loop files grows for it, before anything is written.
    let config = Replaced::with(CONFIG, bases);
    pool(&["create", "--loop-size", "96M"]).ok();
    let key = image(&["import", large.str()]).ok();
    has(&image(&["verify", &key]).ok(), &["every file"]);
    drop(config);
    pool(&["destroy", "--force"]).ok();
    no_pool.again();
}

/// Killed at many moments, an import leaves no base that is used, and the next one is as if it were the first.
#[test]
fn vm_a_killed_import_is_as_if_it_had_never_been() {
    let _config = small_bases();
    let content: Vec<u8> =
        (0..12 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let layout = Layout::plain(&[
        layer(&[(EntryType::Regular, "large", "", &content)]),
        two_layers("killed")[0].clone(),
    ]);
    let key = image(&["import", layout.str()]).ok();
    image(&["rm", &key]).ok();
    let before = Census::take();
    let mut left_something = 0;
    for delay in (0..50).map(|n| Duration::from_millis(50 * n)) {
        let mut child = Command::new("sharedroot")
            .args(["image", "import", layout.str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start an import");
        sleep(delay);
        child.kill().expect("kill it");
        child.wait().expect("wait for it");
        left_something += usize::from(Path::new("/var/lib/sharedroot/imports").exists());
        // A kill can come when everything is done.
        if images().iter().any(|base| base["ready"] == true) {
            break;
        }
    }
    assert!(left_something > 0, "no import was killed while it worked");
    assert_eq!(image(&["import", layout.str()]).ok(), key);
    has(&image(&["verify", &key]).ok(), &["every file is as in the source of the base"]);
    assert_eq!(documented::json("image verify", &[&key])["compared_with"], "source");
    image(&["rm", &key]).ok();
    before.nothing_left();

    // `gc` takes away what a killed import left, too.
    let mut child = Command::new("sharedroot")
        .args(["image", "import", layout.str()])
        .stdout(Stdio::null())
        .spawn()
        .expect("start");
    sharedroot_tests::lab::wait_for("layers are unpacked", || {
        Path::new("/var/lib/sharedroot/imports").exists().then_some(())
    });
    child.kill().expect("kill it");
    child.wait().expect("wait for it");
    out(&["sharedroot", "gc"]);
    before.nothing_left();
}
