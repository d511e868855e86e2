//! Old data never goes over newer: what a container changed before the end of its host meets its next start, whatever root
//! that one gets, and `gc`, which writes into nothing.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;
use sharedroot_tests::attack::bind;
use sharedroot_tests::command::{Cmd, out, run, unique_name};
use sharedroot_tests::documented;
use sharedroot_tests::kept::{
    files, go_down, host_ends, notes, nothing_is_kept, root, snapshots, starts,
};
use sharedroot_tests::lab::{RUN_DIR, STATE_DIR, TempDir, only_in_lab};
use sharedroot_tests::pool::{has, reboot, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Image, Stacked};

fn shown(bundle: &Stacked) -> String {
    fs::read_to_string(format!("{}/etc/unique", bundle.rootfs)).unwrap()
}

fn with_mode(bundle: &Stacked, mode: &str) {
    bundle.edit(|config| config["annotations"]["dev.sharedroot.mode"] = json!(mode));
}

#[test]
fn vm_a_start_has_what_was_kept_whatever_its_root_is() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    for (readonly, mode, kind) in
        [(false, "off", "not_shared"), (true, "off", "not_shared"), (true, "shared", "shared")]
    {
        let (bundle, id) = (image.bundle(&runtime, readonly, &["sleep", "1000"]), unique_name("c"));
        with_mode(&bundle, "private");
        if readonly {
            // A root that the container itself cannot write is written by `docker cp`, and by `go_down`.
            bundle.edit(|config| config["root"]["readonly"] = json!(false));
        }
        go_down(&runtime, &bundle, &id, "kept");
        bundle.mount();
        bundle.edit(|config| config["root"]["readonly"] = json!(readonly));
        with_mode(&bundle, mode);
        let log = format!("{}/log", bundle.str());
        let words = ["--log", &log, "create", "--bundle", bundle.str(), &id];
        runtime.cmd(&words).run().ok();
        runtime.cmd(&["start", &id]).run().ok();
        let container = runtime.container(id.clone());
        let record = sharedroot_tests::docker::record(&id);
        assert_eq!(record["rootfs"]["kind"], kind, "{record:#}");
        let seen = container.exec(&[], &["cat", "/etc/unique"]).ok();
        assert_eq!(seen, "kept", "{kind}");
        has(&fs::read_to_string(&log).unwrap(), &["writing back what it changed"]);
        nothing_is_kept();
        if !readonly {
            // What the container writes from now on stays, whatever `gc` does.
            fs::write(root(&container).join("etc/unique"), "newer").unwrap();
            out(&["sharedroot", "gc"]);
            assert_eq!(shown(&bundle), "newer");
        }
        container.call("delete", &["--force"]).ok();
    }
}

/// The three kinds of root that the start after the end of the host can have: read-only or not, and `dev.sharedroot.mode`.
const KINDS: [(bool, &str); 3] = [(false, "private"), (false, "off"), (true, "shared")];

/// A container that has a root of its own, whose host ends when `change` was done in it. The next start has the kind of root that
/// is wanted.
#[track_caller]
fn ends_with(
    runtime: &Runtime,
    image: &Image,
    (readonly, mode): (bool, &str),
    change: impl FnOnce(&Path),
) -> (Stacked, String) {
    let (bundle, id) = (image.bundle(runtime, false, &["sleep", "1000"]), unique_name("c"));
    with_mode(&bundle, "private");
    let (container, top) = starts(runtime, &bundle, &id);
    change(&top);
    host_ends(runtime, &bundle, container);
    bundle.unmount();
    bundle.mount();
    with_mode(&bundle, mode);
    bundle.edit(|config| config["root"]["readonly"] = json!(readonly));
    (bundle, id)
}

/// The engine's overlay has the link when the start has written it back, and not when the start begins.
#[test]
fn vm_no_link_of_the_last_run_leads_a_volume_over_dev() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    for (kind, target) in KINDS.into_iter().zip(["/dev", "../dev/./", "/dev/shm/.."]) {
        let volume = TempDir::new("volume");
        let (bundle, id) = ends_with(&runtime, &image, kind, |top| {
            symlink(target, top.join("elsewhere")).unwrap();
        });
        bundle.edit(|config| bind(config, volume.str(), "/elsewhere"));
        let said = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().fails(1);
        has(&said, &["/elsewhere", "symbolic link"]);
        nothing_is_kept();
        assert_eq!(
            fs::read_link(Path::new(&bundle.rootfs).join("elsewhere")).unwrap(),
            Path::new(target)
        );
        assert!(!runtime.container(id).exists(), "{kind:?}");
        assert_eq!(fs::read_dir(&volume.0).unwrap().count(), 0, "{kind:?}: nothing is made in it");
    }
}

/// Where mounts and masks are made, and which mode a file system in memory has, the root says that the container gets.
#[test]
fn vm_a_start_looks_at_what_it_brings() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    fs::create_dir(image.top().join("memory")).unwrap();
    for kind in KINDS {
        let volume = TempDir::new("volume");
        fs::write(volume.0.join("file"), "volume").unwrap();
        let (bundle, id) = ends_with(&runtime, &image, kind, |top| {
            symlink("/memory/inside", top.join("leads")).unwrap();
            symlink("etc/secret", top.join("masked")).unwrap();
            fs::write(top.join("etc/secret"), "secret").unwrap();
            fs::set_permissions(top.join("memory"), fs::Permissions::from_mode(0o710)).unwrap();
        });
        bundle.edit(|config| {
            let memory = json!({ "destination": "/memory", "type": "tmpfs", "source": "tmpfs" });
            config["mounts"].as_array_mut().unwrap().push(memory);
            bind(config, volume.str(), "/leads");
            config["linux"]["maskedPaths"] = json!(["/masked"]);
        });
        let (container, top) = starts(&runtime, &bundle, &id);
        let see = |script: &str| container.exec(&[], &["sh", "-c", script]).ok();
        assert_eq!(see("cat /memory/inside/file"), "volume", "{kind:?}");
        assert_eq!(see("cat /etc/secret"), "", "{kind:?}");
        let mode = fs::metadata(top.join("memory")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o710, "{kind:?}");
        container.call("delete", &["--force"]).ok();
        nothing_is_kept();
    }
}

/// A container on the engine's rootfs, made by a runtime that did not ask for the snapshot.
#[test]
fn vm_gc_writes_into_no_overlay() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    go_down(&runtime, &bundle, &id, "old");
    bundle.mount();
    let top = Path::new(&bundle.rootfs);
    fs::write(top.join("etc/unique"), "newer").unwrap();
    fs::write(top.join("new"), "").unwrap();
    let said = out(&["sharedroot", "gc"]);
    has(&said, &["kept private-", "the next start of the container writes its changes back"]);
    assert_eq!((shown(&bundle), top.join("new").exists()), ("newer".to_owned(), true), "{said}");
    assert_eq!((snapshots().len(), notes()), (1, 1));
    runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().ok();
    runtime.cmd(&["delete", "--force", &id]).run().ok();
    nothing_is_kept();
}

/// The overlay at the root path is not known to be the one that the changes belong to.
#[test]
fn vm_in_doubt_a_start_is_refused() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    go_down(&runtime, &bundle, &id, "kept");
    for mode in ["off", "private"] {
        let other = image.bundle(&runtime, false, &["sleep", "1000"]);
        with_mode(&other, mode);
        let said = runtime.cmd(&["create", "--bundle", other.str(), &id]).run().fails(1);
        has(&said, &[&id, &snapshots()[0], &bundle.upper, "not known to be", "sharedroot gc"]);
        assert_eq!(shown(&other), image.name, "nothing was written");
        // Nor is anything known of a directory.
        other.unmount();
        out(&["mount", "--bind", image.top().to_str().unwrap(), &other.rootfs]);
        runtime.cmd(&["create", "--bundle", other.str(), &id]).run().fails(1);
    }
    assert_eq!((snapshots().len(), notes()), (1, 1));
    bundle.mount();
    runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().ok();
    assert_eq!(shown(&bundle), "kept");
    runtime.cmd(&["delete", "--force", &id]).run().ok();
    nothing_is_kept();
}

/// A `create` that is killed when the change times are written and the note is not leaves files that belong to no snapshot.
#[test]
fn vm_gc_takes_away_what_a_killed_create_wrote() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = || {
        let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
        // What a stopped container holds over its image.
        fs::write(Path::new(&bundle.rootfs).join("engines"), "engine's").unwrap();
        bundle
    };
    let (kept, id) = (bundle(), unique_name("kept"));
    go_down(&runtime, &kept, &id, "kept");
    let of_kept = files();
    assert_eq!(of_kept.len(), 2, "a note and its times: {of_kept:?}");

    let (killed, other) = (bundle(), unique_name("killed"));
    // Once, for the base: then the first two files that come to the disk are these.
    runtime.cmd(&["create", "--bundle", killed.str(), &other]).run().ok();
    runtime.cmd(&["delete", "--force", &other]).run().ok();
    assert_eq!(files(), of_kept);
    let kill = |bundle: &Stacked, id: &str, at: &str| {
        let strace = Cmd::new("strace").args(&["-D", "-qq", "-o", "/dev/null", "-e", at]);
        let words = [runtime.program(), "--root", runtime.root(), "create", "--bundle"];
        assert_ne!(strace.args(&words).args(&[bundle.str(), id]).run().status, 0);
    };
    kill(&killed, &other, "inject=fsync:signal=KILL:when=2");
    // Only change times that were begun.
    let begun = bundle();
    kill(&begun, &unique_name("begun"), "inject=fsync:signal=KILL:when=1");
    let mut left = files();
    left.retain(|name| !of_kept.contains(name));
    let mut ends: Vec<_> =
        left.iter().map(|name| (name.ends_with(".new"), name.starts_with("times-"))).collect();
    ends.sort_unstable();
    assert_eq!(ends, [(false, true), (true, false), (true, true)], "{left:?}");
    assert_eq!(snapshots().len(), 1);

    // Its record is there: they are the container's own to take away.
    out(&["sharedroot", "gc"]);
    assert_eq!(files().len(), 5);
    reboot();
    out(&["sharedroot", "gc", "--dry-run"]);
    assert_eq!(files().len(), 5);
    out(&["sharedroot", "gc"]);
    assert_eq!(files(), of_kept);

    kept.mount();
    runtime.cmd(&["create", "--bundle", kept.str(), &id]).run().ok();
    assert_eq!(shown(&kept), "kept");
    runtime.cmd(&["delete", "--force", &id]).run().ok();
    nothing_is_kept();
}

#[test]
fn vm_gc_goes_on_after_a_snapshot_that_fails() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundles = [(); 4].map(|()| image.bundle(&runtime, false, &["sleep", "1000"]));
    for bundle in &bundles {
        go_down(&runtime, bundle, &unique_name("c"), "kept");
    }
    let names = snapshots();
    let note = |name: &str| Path::new(STATE_DIR).join(format!("{name}.json"));
    let texts: Vec<_> = names.iter().map(|name| fs::read(note(name)).unwrap()).collect();
    // In the order of `gc`: broken, gone, broken, gone.
    for (at, name) in names.iter().enumerate() {
        let mut text: serde_json::Value = serde_json::from_slice(&texts[at]).unwrap();
        match at % 2 {
            0 => text = json!("broken"),
            _ => text["upper"] = json!(format!("{}.gone", text["upper"].as_str().unwrap())),
        }
        fs::write(note(name), text.to_string()).unwrap();
    }
    let said = run(&["sharedroot", "gc"]);
    assert_eq!(said.status, 1, "{said}");
    let error = said.stderr.lines().find(|line| line.starts_with("sharedroot: error:")).unwrap();
    has(error, &[&names[0], &names[2], "sharedroot gc"]);
    has(&said.stdout, &[&format!("deleted {}", names[1]), &format!("deleted {}", names[3])]);
    assert_eq!(snapshots(), [&names[0][..], &names[2]], "the others are done");
    for at in [0, 2] {
        let mut text: serde_json::Value = serde_json::from_slice(&texts[at]).unwrap();
        text["upper"] = json!(format!("{}.gone", text["upper"].as_str().unwrap()));
        fs::write(note(&names[at]), text.to_string()).unwrap();
    }
    out(&["sharedroot", "gc"]);
    nothing_is_kept();
    bundles.iter().for_each(Stacked::mount);
}

/// Runs a read-only container of the image, and returns the key of its base.
fn base_of_a_container(runtime: &Runtime, image: &Image) -> String {
    let (bundle, id) = (image.bundle(runtime, true, &["sleep", "1000"]), unique_name("c"));
    let (container, top) = starts(runtime, &bundle, &id);
    let record = sharedroot_tests::docker::record(&id);
    assert_eq!(fs::read_to_string(top.join("etc/unique")).unwrap(), image.name);
    assert_eq!(record["rootfs"]["kind"], "shared", "{record:#}");
    container.call("delete", &["--force"]).ok();
    record["rootfs"]["base"].as_str().expect("a key").to_owned()
}

/// Makes the base of this key, which has no users, one that another version made in the format 2; returns its key.
fn change_format(key: &str) -> String {
    let other = format!("f2-{key}");
    out(&["umount", &format!("{RUN_DIR}/base/{key}")]);
    out(&["dmsetup", "remove", &format!("sharedroot-default-base-{key}")]);
    let store = format!("{STATE_DIR}/store.db");
    let rename = format!("UPDATE volumes SET name = 'base-{other}' WHERE name = 'base-{key}';");
    out(&["sqlite3", &store, &rename]);
    let catalog = Path::new(STATE_DIR).join("images.json");
    let text = fs::read_to_string(&catalog).unwrap();
    assert!(text.contains(key), "{text}");
    fs::write(catalog, text.replace(key, &other)).unwrap();
    other
}

#[test]
fn vm_a_base_of_another_format_is_kept_apart() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let key = base_of_a_container(&runtime, &image);
    assert_eq!(key.len(), 64, "the first format has no number: {key}");
    let other = change_format(&key);
    // What another version wrote of it is read, and a base of this version's format is made beside it.
    assert_eq!(base_of_a_container(&runtime, &image), key);
    for (key, mounted) in [(&key, true), (&other, false)] {
        let found = run(&["sharedroot", "image", "inspect", key]);
        let found = documented::check("image inspect", found);
        assert_eq!((&found["key"], &found["mounted"]), (&json!(key), &json!(mounted)), "{found:#}");
        assert!(found["source"].is_object() && found["ready"] == true, "{found:#}");
    }
    let verified = documented::json("image verify", &[&other]);
    assert_eq!(verified["key"], json!(other), "it can still be mounted: {verified:#}");

    let known = || -> Vec<String> {
        let keys = documented::images().into_iter().map(|base| base["key"].clone());
        keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()
    };
    assert!(known().contains(&key) && known().contains(&other), "{:?}", known());
    // Its image is there. A base of this version's format would stay, and no container of this version uses this one.
    let said = out(&["sharedroot", "gc", "--dry-run"]);
    has(&said, &["would delete the base", "flat-ext4 2"]);
    assert!(known().contains(&other), "{said}");
    let said = out(&["sharedroot", "gc"]);
    has(&said, &["deleted the base", "flat-ext4 2"]);
    assert!(known().contains(&key) && !known().contains(&other), "{said}\n{:?}", known());
    drop(image);
    let said = out(&["sharedroot", "gc"]);
    assert!(!known().contains(&key), "{said}\n{:?}", known());
}
