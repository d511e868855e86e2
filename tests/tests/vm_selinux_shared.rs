//! The label that bases share: where it comes from, what is refused, and what happens when it changes while they are mounted.
//! In a guest where SELinux is enforcing.
//!
//! Guest: --selinux enforcing --limit 900 --shim long

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{Replaced, TempDir};
use sharedroot_tests::pool::{CONFIG, has};
use sharedroot_tests::runtime::{Container, Runtime};
use sharedroot_tests::selinux::{Context, SHARED, enforcing};
use sharedroot_tests::stack::Image;

/// Another that containers may read and not write.
const OTHER: &str = "unconfined_u:object_r:container_ro_file_t:s0";

/// The policy's file of containers' labels, and where the engines look besides.
const OF_POLICY: &str = "/etc/selinux/default/contexts/lxc_contexts";
const OF_CONTAINERS: &str = "/usr/share/containers/selinux/contexts";

/// A configuration with a shared label.
#[track_caller]
fn shared_label(label: &str) -> Replaced {
    Replaced::with(CONFIG, &format!("[base]\nsize = \"1G\"\n[selinux]\nshared_label = {label:?}\n"))
}

#[track_caller]
fn sharedroot(words: &[&str]) -> String {
    out(&[&["sharedroot"], words].concat())
}

/// Why the container runs on the engine's rootfs, not shared.
#[track_caller]
fn why_not_shared(container: &Container<'_>) -> String {
    let status: Value = serde_json::from_str(&sharedroot(&["status", "--json"])).expect("JSON");
    let reasons = status["containers"]["not_shared"].as_array().expect("a list").clone();
    let its = |reason: &&Value| {
        reason["ids"].as_array().is_some_and(|ids| ids.contains(&json!(container.id)))
    };
    let reason = reasons
        .iter()
        .find(its)
        .unwrap_or_else(|| panic!("{} is not listed as not shared: {status}", container.id));
    reason["why"].as_str().expect("a reason").to_owned()
}

#[test]
fn vm_a_shared_label_is_refused_by_what_the_policy_says_of_it() {
    enforcing();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, true, &["sleep", "1000"]);
    let bases = || sharedroot(&["image", "list"]);
    let before = bases();
    for (label, words) in [
        ("container_ro_file_t", &["is not an SELinux context"][..]),
        ("system_u:object_r:container_ro_file_t:s0:c1,c2", &["has categories or a range"]),
        ("system_u:object_r:container_ro_file_t:s0-s0:c0.c1023", &["has categories or a range"]),
        ("system_u:object_r:no_such_t:s0", &["does not know", "no_such_t"]),
        // As mcstransd(8) would show it.
        ("system_u:object_r:container_ro_file_t:SystemLow", &["does not know", "SystemLow"]),
        // What containers write.
        (
            "system_u:object_r:container_file_t:s0",
            &["lets containers", "container_t", "write a file"],
        ),
        // What they cannot read, and what they can read but not run.
        ("system_u:object_r:shadow_t:s0", &["does not let containers", "none could run"]),
        ("system_u:object_r:usr_t:s0", &["does not let containers", "none could run"]),
    ] {
        let _config = shared_label(label);
        let refused = runtime.cmd(&["create", "--bundle", bundle.str(), &unique_name("c")]).run();
        let said = refused.fails(1);
        has(&said, &["selinux.shared_label in the configuration: ", label]);
        has(&said, words);
    }
    assert_eq!(bases(), before, "a base was made that could not be mounted");
    // And one that is right, in the same bundle.
    let _config = shared_label(OTHER);
    let container = runtime.start(&bundle);
    assert!(root_of(container.pid()).is_on_dm());
    assert_eq!(Context::seen_by(container.pid(), "/"), OTHER);
    assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
    has(&sharedroot(&["status"]), &[&format!("label     {OTHER}")]);
}

#[test]
fn vm_the_shared_label_is_in_the_policys_file_or_in_that_of_containers() {
    enforcing();
    let runtime = Runtime::sharedroot();
    let start = |image: &Image| image.bundle(&runtime, true, &["sleep", "1000"]);
    let of_policy = fs::read_to_string(OF_POLICY).expect("the policy's file");
    let without: String = of_policy
        .lines()
        .filter(|line| !line.starts_with("ro_file"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_ne!(without, of_policy);
    let _of_policy = Replaced::with(OF_POLICY, &without);
    {
        let image = Image::new();
        let bundle = start(&image);
        let container = runtime.start(&bundle);
        assert!(!root_of(container.pid()).is_on_dm());
        assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
        has(&why_not_shared(&container), &["`ro_file`", OF_POLICY, OF_CONTAINERS]);
        has(&sharedroot(&["status"]), &["label     none: ", "`ro_file`"]);
    }
    let _of_containers = Replaced::with(OF_CONTAINERS, &format!("ro_file = \"{SHARED}\"\n"));
    let image = Image::new();
    let bundle = start(&image);
    let container = runtime.start(&bundle);
    assert!(root_of(container.pid()).is_on_dm());
    assert_eq!(Context::seen_by(container.pid(), "/"), SHARED);
}

#[test]
fn vm_a_changed_shared_label_waits_for_the_last_container() {
    enforcing();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = || image.bundle(&runtime, true, &["sleep", "1000"]);
    let bundles = [bundle(), bundle(), bundle()];
    // The last one needs a mount point that the base lacks.
    bundles[2].edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts are a list");
        mounts.push(json!({ "destination": "/missing", "type": "tmpfs", "source": "tmpfs" }));
    });
    let first = runtime.start(&bundles[0]);
    let device = root_of(first.pid()).device;
    assert_eq!(Context::seen_by(first.pid(), "/"), SHARED);

    let config = shared_label(OTHER);
    let [second, third] = [&bundles[1], &bundles[2]].map(|bundle| runtime.start(bundle));
    assert_eq!(
        (Context::seen_by(second.pid(), "/"), root_of(second.pid()).device),
        (Context::new(SHARED), device)
    );
    assert_eq!(
        (Context::seen_by(third.pid(), "/"), root_of(third.pid()).fstype),
        (Context::new(SHARED), "overlay".to_owned())
    );
    let ours = |text: &str| {
        let line = text.lines().find(|line| line.contains(SHARED));
        line.unwrap_or_else(|| panic!("nothing of {SHARED} in: {text}")).to_owned()
    };
    has(&sharedroot(&["status"]), &[&format!("label     {OTHER}")]);
    has(&ours(&sharedroot(&["status"])), &["still has", "containers use it"]);
    has(&ours(&sharedroot(&["gc"])), &["kept the base", "containers use it"]);
    for container in [&first, &second, &third] {
        assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
    }
    drop((first, second, third));

    has(&ours(&sharedroot(&["gc", "--dry-run"])), &["would unmount the base"]);
    has(&ours(&sharedroot(&["gc"])), &["unmounted the base"]);
    assert!(!sharedroot(&["status"]).contains(SHARED));
    let container = runtime.start(&bundles[0]);
    assert_eq!(Context::seen_by(container.pid(), "/"), OTHER);
    assert!(root_of(container.pid()).is_on_dm());

    // Back, while a mount is left that nobody knows of.
    drop(config);
    let base =
        out(&["findmnt", "--noheadings", "--output=TARGET", "--source", &source_of(&container)]);
    let base = base.lines().next().expect("the base is mounted").trim();
    let left = TempDir::new("left");
    out(&["mount", "--bind", base, left.str()]);
    drop(container);
    has(&sharedroot(&["gc"]), &["unmounted the base", OTHER]);
    let container = runtime.start(&bundles[0]);
    assert!(!root_of(container.pid()).is_on_dm());
    has(
        &why_not_shared(&container),
        &["with the shared label", SHARED, "still mounted with another label"],
    );
    drop(container);
    out(&["umount", left.str()]);
    let container = runtime.start(&bundles[0]);
    assert!(root_of(container.pid()).is_on_dm());
    assert_eq!(Context::seen_by(container.pid(), "/"), SHARED);
}

/// The device of a container's root.
#[track_caller]
fn source_of(container: &Container<'_>) -> String {
    let table =
        fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).expect("mountinfo");
    let root = table.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
    let (_, rest) = root.split_once(" - ").expect("a separator");
    rest.split(' ').nth(1).expect("a source").to_owned()
}

/// The newest version of a binary policy that Debian 13's secilc writes, and Debian 12's.
const SECILC_KNOWS: u32 = 33;

/// Another policy in the kernel, with files of its own. Dropping it loads the machine's again.
struct OtherPolicy(Vec<Replaced>);

impl OtherPolicy {
    #[track_caller]
    fn without_containers(lxc_contexts: &str) -> Self {
        const SOURCE: &str = include_str!("../fixtures/selinux/without-containers.cil");
        let dir = TempDir::new("policy");
        let path = |name: &str| dir.0.join(name).to_str().expect("a path of ASCII").to_owned();
        fs::write(path("source.cil"), SOURCE).expect("write a policy");
        // The kernel may know a newer version than secilc; it loads older ones.
        let version = fs::read_to_string("/sys/fs/selinux/policyvers").expect("a version");
        let version = version.trim().parse::<u32>().expect("a number").min(SECILC_KNOWS);
        let [source, binary, files] = ["source.cil", "policy", "files"].map(path);
        out(&["secilc", "-c", &version.to_string(), "-o", &binary, "-f", &files, &source]);
        let config = "SELINUX=enforcing\nSELINUXTYPE=without-containers\n";
        let contexts = "/etc/selinux/without-containers/contexts/lxc_contexts";
        let replaced = vec![
            Replaced::with("/etc/selinux/config", config),
            Replaced::with(contexts, lxc_contexts),
        ];
        fs::write("/sys/fs/selinux/load", fs::read(binary).expect("a policy"))
            .expect("load a policy");
        Self(replaced)
    }
}

impl Drop for OtherPolicy {
    fn drop(&mut self) {
        self.0.clear();
        let loaded = run(&["load_policy"]);
        if loaded.status != 0 {
            eprintln!("{loaded}");
        }
    }
}

#[test]
fn vm_a_policy_without_containers_shares_nothing() {
    enforcing();
    let runtime = Runtime::sharedroot();
    // Debian 12's file names types that its policy does not have.
    let of_debian = fs::read_to_string(OF_POLICY).expect("the policy's file");
    for (contexts, words) in [
        (of_debian.as_str(), &["does not know", "container_ro_file_t"][..]),
        ("", &["no entry `ro_file`"]),
    ] {
        // Made before: a file that is made under the other policy has no label that this one knows.
        let image = Image::new();
        let given = Bundle::new(&runtime, &["true"]);
        let [bundle, stacked] = [(); 2].map(|()| image.bundle(&runtime, true, &["sleep", "1000"]));
        let policy = OtherPolicy::without_containers(contexts);
        let container = runtime.start(&bundle);
        assert!(!root_of(container.pid()).is_on_dm());
        assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
        has(&why_not_shared(&container), &["no base is shared: "]);
        has(&why_not_shared(&container), words);
        drop(container);
        // A label of containers in the bundle or the configuration is refused.
        bundle.edit(|config| {
            config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2")
        });
        let refused = runtime.cmd(&["create", "--bundle", bundle.str(), &unique_name("c")]).run();
        has(
            &refused.fails(1),
            &["process.selinuxLabel: the loaded SELinux policy does not know", "container_t"],
        );
        let _config = shared_label(SHARED);
        // A root without layers needs no shared label.
        drop(runtime.create(&given));
        let refused = runtime.cmd(&["create", "--bundle", stacked.str(), &unique_name("c")]).run();
        has(&refused.fails(1), &["selinux.shared_label in the configuration: ", "does not know"]);
        drop(policy);
        let container = runtime.start(&stacked);
        assert_eq!(
            Context::seen_by(container.pid(), "/"),
            SHARED,
            "with its own policy it is as before"
        );
    }
}
