//! Mounts whose destination another process exchanges with a link, and images with links in their way
//! (CVE-2021-30465, CVE-2024-45310). Generic: `RUNTIME=crun` must pass too.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use sharedroot_tests::attack::{Swapper, bind, listing, report, targets};
use sharedroot_tests::command::unique_name;
use sharedroot_tests::kernel_view::mounts_of;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// Mounts of one container below the directory that is exchanged: each is a chance for the race.
const MOUNTS: usize = 30;
/// Containers for each kind of root.
const ROUNDS: usize = 6;

/// Where mount `n` goes: every second one to a directory that the link's aim outside has, too; the others would have
/// to be made there.
fn name_of(n: usize) -> String {
    format!("mount{n}")
}

#[test]
fn vm_a_racing_link_leads_no_mount_out() {
    let (runtime, volume, outside) =
        (Runtime::of_env(), TempDir::new("volume"), TempDir::new("outside"));
    let source = TempDir::new("source");
    fs::write(source.0.join("mark"), "").unwrap();
    let inside = |path: &str| outside.0.join(path);
    for n in (0..MOUNTS).step_by(2) {
        fs::create_dir(inside(&name_of(n))).unwrap();
    }
    let before = listing(&outside.0);
    let exchanged = volume.0.join("dir");
    fs::create_dir(&exchanged).unwrap();
    // Inside of the root the link leads to directories, too, so that a mount can succeed either way.
    let image = |root: &Path| {
        fs::create_dir(root.join("volume")).unwrap();
        for n in 0..MOUNTS {
            let there = root.join(&outside.str()[1..]).join(name_of(n));
            fs::create_dir_all(there).unwrap();
        }
    };
    let mark = source.0.file_name().unwrap().to_str().unwrap();
    let (mut swaps, mut made, mut refused) = (0, 0, 0);
    for target in targets(&runtime, &["sleep", "1000"], image) {
        target.edit(|config| {
            bind(config, volume.str(), "/volume");
            for n in 0..MOUNTS {
                bind(config, source.str(), &format!("/volume/dir/{}", name_of(n)));
            }
        });
        for _ in 0..ROUNDS {
            let container = runtime.container(unique_name("race"));
            let swapper = Swapper::start(&exchanged, &outside.0);
            let flags = ["create", "--bundle", target.str(), &container.id];
            let created = runtime.cmd(&flags).run();
            swaps += swapper.swaps();
            drop(swapper);
            let what = format!("{}: {created}", target.kind);
            assert_eq!(listing(&outside.0), before, "something was made outside, {what}");
            if created.status == 0 {
                made += 1;
                let mounts = mounts_of(&container.pid().to_string());
                let placed = mounts.iter().filter(|mount| mount.root.ends_with(mark)).count();
                assert_eq!(placed, MOUNTS, "a mount is outside of the root, {what}");
            } else {
                refused += 1;
            }
            drop(container);
            reset(&volume.0);
        }
    }
    report(&format!("{swaps} exchanges; {made} containers made, {refused} refused"));
    assert!(swaps > 1000, "only {swaps} exchanges: the race did not take place");
}

/// The volume as it was: an empty directory, no link.
#[track_caller]
fn reset(volume: &Path) {
    for entry in fs::read_dir(volume).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        let removed = if kind.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed.unwrap();
    }
    fs::create_dir(volume.join("dir")).unwrap();
}

/// The means are real: who makes a directory by path makes it outside, sooner or later.
#[test]
fn vm_a_racing_link_leads_a_naive_writer_out() {
    let (volume, outside) = (TempDir::new("volume"), TempDir::new("outside"));
    sharedroot_tests::lab::only_in_lab();
    let exchanged = volume.0.join("dir");
    fs::create_dir(&exchanged).unwrap();
    let swapper = Swapper::start(&exchanged, &outside.0);
    for n in 0..100_000 {
        // Checked and then used, by path.
        let checked = fs::symlink_metadata(&exchanged).is_ok_and(|found| found.is_dir());
        if checked
            && fs::create_dir(exchanged.join(n.to_string())).is_ok()
            && !listing(&outside.0).is_empty()
        {
            report(&format!("outside after {n} attempts and {} exchanges", swapper.swaps()));
            return;
        }
    }
    panic!("{} exchanges led nobody out", swapper.swaps());
}

/// No race: the image itself has links on the way to the destination.
#[test]
fn vm_links_of_an_image_lead_no_mount_out() {
    let (runtime, outside, source) =
        (Runtime::of_env(), TempDir::new("outside"), TempDir::new("source"));
    fs::write(source.0.join("mark"), "").unwrap();
    fs::create_dir(outside.0.join("there")).unwrap();
    let before = listing(&outside.0);
    let relative = format!("{}{}", "../".repeat(20), &outside.str()[1..]);
    let image = |root: &Path| {
        symlink(outside.str(), root.join("absolute")).unwrap();
        symlink(&relative, root.join("relative")).unwrap();
        fs::create_dir_all(root.join(&outside.str()[1..]).join("there")).unwrap();
        fs::create_dir_all(root.join(&outside.str()[1..]).join("new")).unwrap();
        fs::write(root.join(&outside.str()[1..]).join("file"), "").unwrap();
    };
    let mark = source.0.join("mark");
    for target in targets(&runtime, &["sleep", "1000"], image) {
        target.edit(|config| {
            for link in ["/absolute", "/relative"] {
                bind(config, source.str(), &format!("{link}/there"));
                bind(config, source.str(), &format!("{link}/new"));
                bind(config, mark.to_str().unwrap(), &format!("{link}/file"));
            }
        });
        let container = target.start(&runtime);
        assert_eq!(listing(&outside.0), before, "{}", target.kind);
        assert_eq!(listing(&outside.0.join("there")), [] as [String; 0], "{}", target.kind);
        for dir in ["there", "new"] {
            let path = format!("{}/{dir}", outside.str());
            assert_eq!(container.exec(&[], &["ls", &path]).ok(), "mark", "{}", target.kind);
        }
    }
}
