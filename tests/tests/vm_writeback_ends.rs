//! The ends of a writable container that are not smooth: a hostile tree, a killed `delete`, a full disk, a reboot; and its size.
//!
//! Guest: --no-docker

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, CWD, FallocateFlags, FileType, Mode, XattrFlags};
use serde_json::json;
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::kept::{end, go_down, notes, nothing_is_kept, root, snapshots};
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::pool::{has, pool, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Image, Stacked};
use sharedroot_tests::tree::{differences, exact_until, list};

/// What a base has besides the image's files, and the engine's mounts in the running container.
const MOUNTED: [&str; 7] =
    ["proc", "sys", "dev", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
/// A time after every test's.
const NEVER: i64 = i64::MAX;

/// Of whole seconds, as a base has them.
fn writable(image: &Image, runtime: &Runtime) -> Stacked {
    let top = image.top();
    let all = ["-exec", "touch", "--no-dereference", "--date=@1000000", "{}", "+"];
    out(&[&["find", top.to_str().unwrap()][..], &all].concat());
    image.bundle(runtime, false, &["sleep", "1000"])
}

fn has_record(id: &str) -> bool {
    let roots = fs::read_dir("/run/sharedroot/containers").unwrap();
    roots.flatten().any(|root| root.path().join(id).exists())
}

#[test]
fn vm_a_hostile_tree_comes_back_as_it_is() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = writable(&image, &runtime);
    let container = runtime.start(&bundle);
    let top = root(&container);
    let outside = unique_name("outside");
    fs::write(format!("/tmp/{outside}"), "the host's").unwrap();
    let make = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, top.join(name), kind, Mode::from_raw_mode(0o666), device).unwrap();
    };
    // Where a file of the image was, and where a directory was: links that lead out.
    fs::remove_file(top.join("etc/unique")).unwrap();
    symlink(format!("/tmp/{outside}"), top.join("etc/unique")).unwrap();
    fs::remove_dir_all(top.join("tmp")).unwrap();
    symlink("/proc/1/root/tmp", top.join("tmp")).unwrap();
    symlink("x", top.join("x")).unwrap();
    make("fifo", FileType::Fifo, 0);
    make("watchdog", FileType::CharacterDevice, rustix::fs::makedev(10, 130));
    make("whiteout", FileType::CharacterDevice, 0);
    let sparse = File::create(top.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(b"end", (1 << 40) - 3).unwrap();
    // The snapshot is to be dropped below, and an open file would keep it in use.
    drop(sparse);
    fs::create_dir(top.join("opaque")).unwrap();
    rustix::fs::setxattr(top.join("opaque"), "trusted.overlay.opaque", b"y", XattrFlags::empty())
        .unwrap();
    fs::write(top.join("opaque/file"), "").unwrap();
    fs::create_dir_all(top.join(["d"; 400].join("/"))).unwrap();
    fs::write(top.join("flags"), "immutable").unwrap();
    out(&["chattr", "+i", top.join("flags").to_str().unwrap()]);
    rustix::fs::chmod(top.join("bin"), Mode::from_raw_mode(0o4000)).unwrap();

    let left_out = [&MOUNTED[..], &["whiteout", "sparse"]].concat();
    let before = list(Path::new(&bundle.rootfs), exact_until(NEVER), &left_out);
    container.call("delete", &["--force"]).ok();
    let mut after = list(Path::new(&bundle.rootfs), exact_until(NEVER), &left_out);
    // That says what is missing.
    after.retain(|name, _| !name.starts_with("sharedroot: this tree lacks files"));
    assert_eq!(differences(&after, &before), "");
    assert_eq!(fs::read_to_string(format!("/tmp/{outside}")).unwrap(), "the host's");
    let sparse = fs::File::open(format!("{}/sparse", bundle.rootfs)).unwrap();
    let mut last = [0; 3];
    sparse.read_exact_at(&mut last, (1 << 40) - 3).unwrap();
    assert_eq!((sparse.metadata().unwrap().len(), &last), (1 << 40, b"end"));
    assert!(!Path::new(&bundle.rootfs).join("whiteout").exists());
    // For the sake of the whiteout and the opaque directory, of which no overlay can hold either.
    let volume = snapshots().pop().expect("the snapshot stays");
    pool(&["drop", &volume]).ok();
    nothing_is_kept();
    fs::remove_file(format!("/tmp/{outside}")).unwrap();
}

/// What no overlay can do for itself: names of one image's file stay one file, and directories of the image move.
#[test]
fn vm_moved_directories_and_linked_files_of_the_image() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let top = image.top();
    for dir in ["one", "two", "moved/below", "kept"] {
        fs::create_dir_all(top.join(dir)).unwrap();
    }
    // Of one size and one time.
    for (file, text) in [
        ("one/f", "1"),
        ("two/f", "2"),
        ("moved/below/f", "3"),
        ("kept/f", "4"),
        ("link-1", "5"),
        ("cut-1", "6"),
    ] {
        fs::write(top.join(file), text).unwrap();
    }
    fs::hard_link(top.join("link-1"), top.join("link-2")).unwrap();
    fs::hard_link(top.join("cut-1"), top.join("cut-2")).unwrap();
    let large = File::create(top.join("large")).unwrap();
    large.set_len(1 << 30).unwrap();
    large.write_all_at(&[1; 1 << 20], 1 << 29).unwrap();
    let bundle = writable(&image, &runtime);
    let container = runtime.start(&bundle);
    let inside = root(&container);
    let swap = rustix::fs::RenameFlags::EXCHANGE;
    rustix::fs::renameat_with(CWD, inside.join("one"), CWD, inside.join("two"), swap).unwrap();
    fs::rename(inside.join("moved"), inside.join("kept/moved")).unwrap();
    fs::hard_link(inside.join("link-1"), inside.join("a-third")).unwrap();
    fs::write(inside.join("link-2"), "by all names").unwrap();
    // Another file with the same content is another file.
    fs::copy(inside.join("cut-1"), inside.join("copy")).unwrap();
    out(&["touch", "--date=@1000000", inside.join("copy").to_str().unwrap()]);
    fs::rename(inside.join("copy"), inside.join("cut-1")).unwrap();
    File::options()
        .write(true)
        .open(inside.join("large"))
        .unwrap()
        .write_all_at(b"x", 12345)
        .unwrap();

    let left_out = MOUNTED;
    let before = list(Path::new(&bundle.rootfs), exact_until(NEVER), &left_out);
    let linked = r#" one of {"a-third", "link-1", "link-2"}"#;
    assert!(["link-1", "link-2"].iter().all(|name| before[*name].ends_with(linked)), "{before:?}");
    container.call("delete", &["--force"]).ok();
    let after = list(Path::new(&bundle.rootfs), exact_until(NEVER), &left_out);
    assert_eq!(differences(&after, &before), "");
    // And again, from the upper directory.
    let container = runtime.start(&bundle);
    let again = list(Path::new(&bundle.rootfs), exact_until(NEVER), &left_out);
    assert_eq!(differences(&again, &before), "");
    container.call("delete", &["--force"]).ok();
    let after = list(Path::new(&bundle.rootfs), exact_until(NEVER), &left_out);
    assert_eq!(differences(&after, &before), "");
    // What was not touched was not copied up.
    let upper = Path::new(&bundle.upper);
    assert!(
        !upper.join("kept/f").exists() && !upper.join("bin").exists(),
        "{:?}",
        run(&["find", &bundle.upper])
    );
    nothing_is_kept();
}

#[test]
fn vm_a_killed_write_back_goes_on() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = writable(&image, &runtime);
    let container = runtime.start(&bundle);
    let many = root(&container).join("many");
    fs::create_dir(&many).unwrap();
    let count = 10_000;
    for n in 0..count {
        fs::write(many.join(n.to_string()), n.to_string()).unwrap();
    }
    let there = || fs::read_dir(Path::new(&bundle.upper).join("many")).map_or(0, Iterator::count);
    assert_eq!(there(), 0);
    let mut cuts = 0;
    while cuts < 3 {
        let before = there();
        let mut delete = Command::new("/usr/local/bin/sharedroot")
            .args(["--root", runtime.root(), "delete", "--force", &container.id])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(120);
        while there() < before + 500 && Instant::now() < end {
            sleep(Duration::from_millis(1));
        }
        delete.kill().unwrap();
        delete.wait().unwrap();
        cuts += 1;
        let done = there();
        assert!(done >= before + 500 && done < count, "cut {cuts} came at {done} files");
        assert_eq!((snapshots().len(), notes()), (1, 1), "the snapshot waits");
    }
    container.call("delete", &[]).ok();
    assert_eq!(there(), count);
    for n in [0, 1, count / 2, count - 1] {
        let text = fs::read_to_string(format!("{}/many/{n}", bundle.rootfs)).unwrap();
        assert_eq!(text, n.to_string());
    }
    nothing_is_kept();
}

#[test]
fn vm_a_full_disk_of_the_engine_loses_nothing() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = writable(&image, &runtime);
    bundle.unmount();
    // The engine's disk is a small one.
    let store = Path::new(&bundle.upper).parent().unwrap().to_str().unwrap().to_owned();
    out(&["mount", "-t", "tmpfs", "-o", "size=4m", "small", &store]);
    for name in ["fs", "work"] {
        fs::create_dir(format!("{store}/{name}")).unwrap();
    }
    rustix::fs::chmod(&bundle.upper, Mode::from_raw_mode(0o755)).unwrap();
    bundle.mount();
    let container = runtime.start(&bundle);
    fs::write(root(&container).join("large"), vec![7; 8 << 20]).unwrap();
    fs::write(root(&container).join("etc/unique"), "changed").unwrap();
    for _ in 0..2 {
        let said = container.call("delete", &["--force"]).fails(1);
        let volume = snapshots().pop().expect("the snapshot stays");
        has(&said, &[&container.id, "large", "No space left", &volume, "nothing is lost"]);
        assert_eq!(notes(), 1);
    }
    out(&["mount", "-o", "remount,size=64m", &store]);
    container.call("delete", &["--force"]).ok();
    assert_eq!(fs::read(format!("{}/large", bundle.rootfs)).unwrap(), vec![7; 8 << 20]);
    assert_eq!(fs::read_to_string(format!("{}/etc/unique", bundle.rootfs)).unwrap(), "changed");
    nothing_is_kept();

    // Or its engine gives it up, and `gc` takes away what is left.
    out(&["mount", "-o", "remount,size=12m", &store]);
    let container = runtime.start(&bundle);
    fs::write(root(&container).join("larger"), vec![7; 8 << 20]).unwrap();
    container.call("delete", &["--force"]).fails(1);
    bundle.unmount();
    out(&["sharedroot", "gc"]);
    assert_eq!(snapshots().len(), 1, "its record keeps it");
    out(&["umount", &store]);
    fs::remove_dir_all(&store).unwrap();
    has(&out(&["sharedroot", "gc"]), &["its container is gone"]);
    nothing_is_kept();
    assert!(!has_record(&container.id));
    fs::create_dir_all(&bundle.upper).unwrap();
    fs::create_dir_all(format!("{store}/work")).unwrap();
    bundle.mount();
}

#[test]
fn vm_a_reboot_loses_nothing() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = writable(&image, &runtime);
    let id = unique_name("c");
    let shown = || fs::read_to_string(format!("{}/etc/unique", bundle.rootfs)).unwrap();

    // Its engine has it, stopped: it waits.
    go_down(&runtime, &bundle, &id, "first");
    for words in [&["gc", "--dry-run"][..], &["gc"]] {
        has(&out(&[&["sharedroot"], words].concat()), &["kept private-"]);
        assert_eq!((snapshots().len(), notes()), (1, 1));
    }
    // The next start has it, and so has the engine.
    bundle.mount();
    assert_eq!(shown(), image.name);
    runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().ok();
    assert_eq!(shown(), "first", "in the new snapshot");
    runtime.cmd(&["delete", "--force", &id]).run().ok();
    assert_eq!(shown(), "first", "in the engine's root");
    nothing_is_kept();

    // Its engine has it mounted, as for `docker cp`: that is the start's to know, not `gc`'s.
    go_down(&runtime, &bundle, &id, "second");
    bundle.mount();
    has(&out(&["sharedroot", "gc"]), &["kept private-"]);
    assert_eq!(shown(), "first");
    runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().ok();
    assert_eq!(shown(), "second");
    runtime.cmd(&["delete", "--force", &id]).run().ok();
    nothing_is_kept();

    // Its engine has removed it.
    go_down(&runtime, &bundle, &id, "third");
    let store = Path::new(&bundle.upper).parent().unwrap();
    let aside = store.with_extension("aside");
    fs::rename(store, &aside).unwrap();
    has(&out(&["sharedroot", "gc"]), &["its container is gone"]);
    nothing_is_kept();
    fs::rename(&aside, store).unwrap();
    bundle.mount();
}

/// A file that is written up to here, and allocated up to twice of it, with none of its pages in memory.
fn half_written(path: &Path) {
    let file = File::create(path).unwrap();
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 2 * WRITTEN).unwrap();
    file.write_all_at(&vec![1; usize::try_from(WRITTEN).unwrap()], 0).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

const WRITTEN: u64 = 5 << 20;

/// Databases and logs have such files. Of their space nobody can say once and for all whether it is data or a hole.
#[test]
fn vm_space_that_is_allocated_and_not_written_keeps_no_container_from_its_end() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = writable(&image, &runtime);
    half_written(Path::new(&format!("{}/of-the-engine", bundle.rootfs)));
    let container = runtime.start(&bundle);
    let top = root(&container);
    half_written(&top.join("of-the-container"));
    let is_whole = |path: &Path| {
        let found = fs::read(path).unwrap();
        let (data, rest) = found.split_at(usize::try_from(WRITTEN).unwrap());
        assert!(data.iter().all(|byte| *byte == 1), "{}", path.display());
        assert!(
            rest.len() == data.len() && rest.iter().all(|byte| *byte == 0),
            "{}",
            path.display()
        );
    };
    is_whole(&top.join("of-the-engine"));
    container.cmd("delete", &["--force"]).limit(Duration::from_secs(60)).run().ok();
    for name in ["of-the-engine", "of-the-container"] {
        is_whole(&Path::new(&bundle.rootfs).join(name));
    }
    nothing_is_kept();
}

#[test]
fn vm_a_size_is_hard() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let sized = |size: &str, readonly: bool, more: &[(&str, &str)]| {
        let bundle = image.bundle(&runtime, readonly, &["sleep", "1000"]);
        bundle.edit(|config| {
            config["annotations"]["dev.sharedroot.size"] = json!(size);
            for (key, value) in more {
                config["annotations"][key] = json!(value);
            }
        });
        bundle
    };
    let bundle = sized("64M", false, &[]);
    let container = runtime.start(&bundle);
    let top = root(&container);
    let error = fs::write(top.join("large"), vec![1; 100 << 20])
        .and_then(|()| File::open(top.join("large"))?.sync_all());
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let used = fs::metadata(top.join("large")).unwrap().len() >> 20;
    assert!((50..64).contains(&used), "{used} MiB before the end");
    let full = container.exec(&[], &["sh", "-c", "echo more > /etc/more && sync"]);
    assert_ne!(full.status, 0, "also for root of the container: {full}");
    let free = out(&["df", "--output=avail", top.to_str().unwrap()]);
    assert!(free.ends_with("\n0") || free.trim_end().ends_with(" 0"), "{free}");
    fs::remove_file(top.join("large")).unwrap();
    fs::write(top.join("small"), vec![1; 10 << 20]).unwrap();
    container.call("delete", &["--force"]).ok();
    assert_eq!(fs::metadata(format!("{}/small", bundle.rootfs)).unwrap().len(), 10 << 20);

    let refused = |bundle: &Stacked| {
        let id = unique_name("c");
        let said = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().fails(1);
        nothing_is_kept();
        said
    };
    has(&refused(&sized("2G", false, &[])), &["2 GiB", "1 GiB", "base.size", "image rm"]);
    has(&refused(&sized("1M", false, &[])), &["1 MiB", "MiB that the image takes"]);
    has(&refused(&sized("5X", false, &[])), &["dev.sharedroot.size", "5X"]);
    let off = sized("64M", false, &[("dev.sharedroot.mode", "off")]);
    has(&refused(&off), &["dev.sharedroot.size", "not shared", "dev.sharedroot.mode is off"]);
    // Nothing can be written to it.
    let read_only = sized("64M", true, &[]);
    drop(runtime.start(&read_only));
}

#[test]
fn vm_an_unchanged_root_is_only_looked_at() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (top, dirs, files) = (image.top(), 300, 100);
    for dir in 0..dirs {
        fs::create_dir_all(top.join(format!("usr/{dir}"))).unwrap();
        for file in 0..files {
            fs::write(top.join(format!("usr/{dir}/{file}")), "").unwrap();
        }
    }
    // The least of three: on a busy machine the others are times of somebody else's work.
    let timed = |image: &Image| {
        let (mut finds, mut deletes) = (vec![], vec![]);
        for _ in 0..3 {
            let bundle = writable(image, &runtime);
            let container = runtime.start(&bundle);
            let begun = Instant::now();
            let top = format!("{}/", root(&container).display());
            let lines = run(&["find", &top, "-xdev", "-ls"]).ok().lines().count();
            assert!(lines > 20, "{lines}");
            finds.push(begun.elapsed());
            end(&container);
            let begun = Instant::now();
            container.call("delete", &["--force"]).ok();
            deletes.push(begun.elapsed());
            assert_eq!(fs::read_dir(&bundle.upper).unwrap().count(), 0, "nothing was copied up");
        }
        (deletes.into_iter().min().unwrap(), finds.into_iter().min().unwrap())
    };
    let (small, _) = timed(&Image::new());
    let (large, find) = timed(&image);
    let walk = large.saturating_sub(small);
    eprintln!("{} files: {walk:?} more than without; find -ls {find:?}", dirs * files);
    assert!(walk < find * 4 + Duration::from_secs(1), "{walk:?} against {find:?}");
    nothing_is_kept();
}
